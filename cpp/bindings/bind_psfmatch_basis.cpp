#include <pybind11/stl.h>

#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/psfmatch/basis.hpp"
#include "stillsky/psfmatch/regularize.hpp"

namespace stillsky {
namespace {

py::array_t<double> matrix(Matrix const& m) { return arrayOf<const double>(m.view()); }

py::dict describe(AlardLuptonBasis::Function const& f) {
    py::dict out;
    out["gauss"] = f.gauss;
    out["a"] = f.a;
    out["b"] = f.b;
    out["filterX"] = f.filterX;
    out["filterY"] = f.filterY;
    out["scale"] = f.scale;
    out["subtract"] = f.subtract;
    return out;
}

py::list describeAll(std::vector<AlardLuptonBasis::Function> const& functions) {
    py::list out;
    for (auto const& f : functions) out.append(describe(f));
    return out;
}

void bindBasisClasses(py::module_& m) {
    py::class_<AlardLuptonBasis, std::shared_ptr<AlardLuptonBasis>>(
            m, "AlardLuptonBasis",
            "The Alard-Lupton functions in separable form: scale * filterX(x) filterY(y) - subtract * B_0.")
            .def(py::init<int, std::vector<double> const&, std::vector<int> const&>(), py::arg("halfWidth"),
                 py::arg("sigmas"), py::arg("degrees"))
            .def_property_readonly("halfWidth", &AlardLuptonBasis::halfWidth)
            .def_property_readonly("width", &AlardLuptonBasis::width)
            .def_property_readonly("sigmas", &AlardLuptonBasis::sigmas)
            .def_property_readonly("degrees", &AlardLuptonBasis::degrees)
            .def_property_readonly("nFunctions", &AlardLuptonBasis::nFunctions)
            .def_property_readonly("functions", [](AlardLuptonBasis const& b) { return describeAll(b.functions()); })
            .def_property_readonly("dropped", [](AlardLuptonBasis const& b) { return describeAll(b.dropped()); })
            .def_property_readonly("filters", [](AlardLuptonBasis const& b) {
                py::array_t<double> out({b.nFilters(), b.width()});
                std::copy_n(b.filter(0), out.size(), out.mutable_data());
                return out;
            }, "The distinct 1-D filters, [filter, tap].")
            .def("imageAt", [](AlardLuptonBasis const& b, int i) {
                Image<double> image(b.width(), b.width());
                b.computeImage(i, image.view());
                return arrayOf<double>(image.view());
            }, py::arg("i"), "Pixels of function i, [row, column].");
    py::class_<AlardLuptonKernel, FixedKernel, std::shared_ptr<AlardLuptonKernel>>(
            m, "AlardLuptonKernel", "A FixedKernel that knows which function of an AlardLuptonBasis it is.")
            .def(py::init([](AlardLuptonBasis const& basis, int index) {
                     return std::make_shared<AlardLuptonKernel>(std::make_shared<AlardLuptonBasis const>(basis), index);
                 }), py::arg("basis"), py::arg("index"))
            .def_property_readonly("index", &AlardLuptonKernel::index)
            .def_property_readonly("basis", [](AlardLuptonKernel const& k) {
                return std::make_shared<AlardLuptonBasis>(*k.basis());
            })
            .def(py::pickle([](AlardLuptonKernel const& k) {
                                return py::make_tuple(k.basis()->halfWidth(), k.basis()->sigmas(), k.basis()->degrees(),
                                                      k.index());
                            },
                            [](py::tuple const& t) {
                                auto basis = std::make_shared<AlardLuptonBasis const>(
                                        t[0].cast<int>(), t[1].cast<std::vector<double>>(), t[2].cast<std::vector<int>>());
                                return std::make_shared<AlardLuptonKernel>(basis, t[3].cast<int>());
                            }));
}

}  // namespace

void bindPsfmatchBasis(py::module_& m) {
    bindBasisClasses(m);
    m.def("makeAlardLuptonBasisList", &makeAlardLuptonBasisList, py::arg("halfWidth"), py::arg("nGauss"),
          py::arg("sigGauss"), py::arg("degGauss"));
    m.def("makeDeltaFunctionBasisList", &makeDeltaFunctionBasisList, py::arg("width"), py::arg("height"));
    m.def("renormalizeKernelList", &renormalizeKernelList, py::arg("kernels"));
    m.def("makeCentralDifferenceMatrix",
          [](int w, int h, int stencil, double penalty, bool background) {
              return matrix(makeCentralDifferenceMatrix(w, h, stencil, penalty, background));
          },
          py::arg("width"), py::arg("height"), py::arg("stencil"), py::arg("borderPenalty"),
          py::arg("fitForBackground"));
    m.def("makeForwardDifferenceMatrix",
          [](int w, int h, std::vector<int> const& orders, double penalty, bool background) {
              return matrix(makeForwardDifferenceMatrix(w, h, orders, penalty, background));
          },
          py::arg("width"), py::arg("height"), py::arg("orders"), py::arg("borderPenalty"),
          py::arg("fitForBackground"));
    m.def("makeRegularizationMatrix",
          [](std::string const& type, int w, int h, int stencil, std::vector<int> const& orders, double penalty,
             bool background, bool sumBeforeSquaring) {
              RegularizationControl control{type, w, h, stencil, orders, penalty, background, sumBeforeSquaring};
              return matrix(makeRegularizationMatrix(control));
          },
          py::arg("regularizationType"), py::arg("width"), py::arg("height"),
          py::arg("centralRegularizationStencil") = 9,
          py::arg("forwardRegularizationOrders") = std::vector<int>{1, 2},
          py::arg("regularizationBorderPenalty") = 3.0, py::arg("fitForBackground") = true,
          py::arg("sumBeforeSquaring") = false);
    m.def("makeFiniteDifferenceRegularization",
          [](int w, int h, int order, int boundary, int difference) {
              return matrix(makeFiniteDifferenceRegularization(w, h, order, boundary, difference));
          },
          py::arg("width"), py::arg("height"), py::arg("order"), py::arg("boundary"), py::arg("difference"));
}

}  // namespace stillsky
