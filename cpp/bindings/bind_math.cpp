#include <pybind11/operators.h>
#include <pybind11/stl.h>

#include "bindings.hpp"
#include "geom_cast.hpp"
#include "numpy_view.hpp"
#include "stillsky/math/gaussian.hpp"
#include "stillsky/math/polynomial.hpp"

namespace stillsky {
namespace {

template <typename F, typename Class>
void bindFunctionCommon(Class& cls) {
    cls.def_property_readonly("nParameters", &F::nParameters)
            .def_property("parameters", &F::parameters, &F::setParameters)
            .def("getParameters", &F::parameters)
            .def("setParameters", &F::setParameters, py::arg("parameters"))
            .def("getParameter", &F::parameter, py::arg("i"))
            .def("setParameter", &F::setParameter, py::arg("i"), py::arg("value"))
            .def_property_readonly("isLinearCombination", &F::isLinearCombination)
            .def("clone", &F::clone, "A deep copy.")
            .def("__copy__", &F::clone)
            .def("__deepcopy__", [](F const& self, py::dict) { return self.clone(); }, py::arg("memo"))
            .def("__repr__", &F::str);
}

bool sameFunction1(Function1 const& a, py::object const& other) {
    if (!py::isinstance<Function1>(other)) return false;
    auto const& b = other.cast<Function1 const&>();
    return typeid(a) == typeid(b) && a.parameters() == b.parameters();
}

py::array_t<double> basisValues(BasePolynomialFunction2 const& f, py::array_t<double> const& x,
                                py::array_t<double> const& y) {
    // Broadcasts like a ufunc; the terms are the last axis.
    auto call = py::vectorize([](double u, double) { return u; });
    auto callY = py::vectorize([](double, double v) { return v; });
    py::array_t<double, py::array::c_style | py::array::forcecast> xs(call(x, y)), ys(callY(x, y));
    std::vector<py::ssize_t> shape(xs.shape(), xs.shape() + xs.ndim());
    shape.push_back(f.nParameters());
    py::array_t<double> out(shape);
    double* values = out.mutable_data();
    for (py::ssize_t i = 0; i < xs.size(); ++i) {
        f.basisValues(xs.data()[i], ys.data()[i], values + i * f.nParameters());
    }
    return out;
}

void bindFunctions1(py::module_& m) {
    py::class_<Function1, std::shared_ptr<Function1>> base(m, "Function1", "A function of x with parameters.");
    bindFunctionCommon<Function1>(base);
    base.def("__call__", [](Function1 const& f, py::array_t<double> x) {
            return py::vectorize([&f](double u) { return f(u); })(x);
        }, py::arg("x"))
        .def("__eq__", &sameFunction1)
        .attr("__hash__") = py::none();
    py::class_<GaussianFunction1, Function1, std::shared_ptr<GaussianFunction1>>(
            m, "GaussianFunction1", "Gaussian of unit integral and standard deviation `sigma`.")
            .def(py::init<double>(), py::arg("sigma"))
            .def(py::pickle([](GaussianFunction1 const& f) { return py::make_tuple(f.parameters()); },
                            [](py::tuple const& t) {
                                return std::make_shared<GaussianFunction1>(t[0].cast<std::vector<double>>()[0]);
                            }));
    py::class_<PolynomialFunction1, Function1, std::shared_ptr<PolynomialFunction1>>(
            m, "PolynomialFunction1", "Polynomial in x; parameters in increasing power.")
            .def(py::init<std::vector<double>>(), py::arg("parameters"))
            .def(py::pickle([](PolynomialFunction1 const& f) { return py::make_tuple(f.parameters()); },
                            [](py::tuple const& t) {
                                return std::make_shared<PolynomialFunction1>(t[0].cast<std::vector<double>>());
                            }));
}

void bindFunctions2(py::module_& m) {
    py::class_<Function2, std::shared_ptr<Function2>> base(m, "Function2", "A function of (x, y) with parameters.");
    bindFunctionCommon<Function2>(base);
    base.def("__call__", [](Function2 const& f, py::array_t<double> x, py::array_t<double> y) {
            return py::vectorize([&f](double u, double v) { return f(u, v); })(x, y);
        }, py::arg("x"), py::arg("y"))
        .def("__eq__", [](Function2 const& a, py::object const& b) {
            return py::isinstance<Function2>(b) && a.equals(b.cast<Function2 const&>());
        })
        .attr("__hash__") = py::none();

    py::class_<BasePolynomialFunction2, Function2, std::shared_ptr<BasePolynomialFunction2>>(
            m, "BasePolynomialFunction2",
            "Polynomial of (x, y): terms by total degree, then by increasing power of y.")
            .def_property_readonly("order", &BasePolynomialFunction2::order)
            .def("getOrder", &BasePolynomialFunction2::order)
            .def("basisValues", &basisValues, py::arg("x"), py::arg("y"),
                 "Value of every term at (x, y), on a new last axis.");
    py::class_<PolynomialFunction2, BasePolynomialFunction2, std::shared_ptr<PolynomialFunction2>>(
            m, "PolynomialFunction2", "sum p_i x^a y^b on raw coordinates.")
            .def(py::init<int>(), py::arg("order"))
            .def(py::init<std::vector<double>>(), py::arg("parameters"))
            .def(py::pickle([](PolynomialFunction2 const& f) { return py::make_tuple(f.parameters()); },
                            [](py::tuple const& t) {
                                return std::make_shared<PolynomialFunction2>(t[0].cast<std::vector<double>>());
                            }));
    const auto boxTuple = [](Chebyshev1Function2 const& f) {
        return py::make_tuple(f.box().minX, f.box().minY, f.box().maxX, f.box().maxY);
    };
    py::class_<Chebyshev1Function2, BasePolynomialFunction2, std::shared_ptr<Chebyshev1Function2>>(
            m, "Chebyshev1Function2",
            "sum p_i T_a(x') T_b(y') over a box: a Box2D, a Box2I (extended by half a pixel) or (minX, minY, maxX, maxY).")
            .def(py::init([](int order, py::object const& box) {
                     return std::make_shared<Chebyshev1Function2>(order, box2DFrom(box));
                 }), py::arg("order"), py::arg("box"))
            .def(py::init([](std::vector<double> const& parameters, py::object const& box) {
                     return std::make_shared<Chebyshev1Function2>(parameters, box2DFrom(box));
                 }), py::arg("parameters"), py::arg("box"))
            .def_property_readonly("box", boxTuple, "(minX, minY, maxX, maxY), half-pixel-extended.")
            .def("truncate", &Chebyshev1Function2::truncate, py::arg("order"))
            .def(py::pickle([boxTuple](Chebyshev1Function2 const& f) {
                                return py::make_tuple(f.parameters(), boxTuple(f));
                            },
                            [](py::tuple const& t) {
                                return std::make_shared<Chebyshev1Function2>(t[0].cast<std::vector<double>>(),
                                                                             box2DFrom(t[1]));
                            }));
    py::class_<GaussianFunction2, Function2, std::shared_ptr<GaussianFunction2>>(
            m, "GaussianFunction2", "Elliptical Gaussian of unit integral, rotated by `angle` radians.")
            .def(py::init<double, double, double>(), py::arg("sigma1"), py::arg("sigma2"), py::arg("angle") = 0.0)
            .def(py::pickle([](GaussianFunction2 const& f) { return py::make_tuple(f.parameters()); },
                            [](py::tuple const& t) {
                                const auto p = t[0].cast<std::vector<double>>();
                                return std::make_shared<GaussianFunction2>(p[0], p[1], p[2]);
                            }));
    py::class_<DoubleGaussianFunction2, Function2, std::shared_ptr<DoubleGaussianFunction2>>(
            m, "DoubleGaussianFunction2", "Two round Gaussians; `ampl2` is the ratio of their peaks. Unit integral.")
            .def(py::init<double, double, double>(), py::arg("sigma1"), py::arg("sigma2") = 0.0, py::arg("ampl2") = 0.0)
            .def(py::pickle([](DoubleGaussianFunction2 const& f) { return py::make_tuple(f.parameters()); },
                            [](py::tuple const& t) {
                                const auto p = t[0].cast<std::vector<double>>();
                                return std::make_shared<DoubleGaussianFunction2>(p[0], p[1], p[2]);
                            }));
}

}  // namespace

void bindMath(py::module_& m) {
    bindFunctions1(m);
    bindFunctions2(m);
    m.def("polynomialSize", &polynomialSize, py::arg("order"));
    m.def("polynomialOrder", &polynomialOrder, py::arg("n"));
    m.def("polynomialTerms", [](int order) {
        std::vector<std::pair<int, int>> out;
        for (auto const& t : polynomialTerms(order)) out.emplace_back(t.a, t.b);
        return out;
    }, py::arg("order"));
}

}  // namespace stillsky
