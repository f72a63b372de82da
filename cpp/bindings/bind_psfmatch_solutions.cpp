#include <memory>

#include "psfmatch_common.hpp"
#include "psfmatch_settings.hpp"
#include "stillsky/psfmatch/kernel_solution.hpp"
#include "stillsky/psfmatch/spatial_solution.hpp"

namespace stillsky {
namespace {

using InputArray = py::array_t<double, py::array::c_style | py::array::forcecast>;
using Released = py::call_guard<py::gil_scoped_release>;

// Calls f with views of two images of the same pixel type and a float32 variance.
template <typename Function>
void withStamps(py::object const& a, py::object const& b, py::object const& variance, Function&& f) {
    const py::array imageA = planeOf(a), imageB = planeOf(b), planeV = planeOf(variance);
    const auto v = viewOf<const VariancePixel>(planeV, "variance");
    if (py::isinstance<py::array_t<double>>(imageA)) {
        const auto va = viewOf<const double>(imageA, "template");
        const auto vb = viewOf<const double>(imageB, "science");
        py::gil_scoped_release release;
        f(va, vb, v);
    } else {
        const auto va = viewOf<const float>(imageA, "template");
        const auto vb = viewOf<const float>(imageB, "science");
        py::gil_scoped_release release;
        f(va, vb, v);
    }
}

View2<const MaskPixel> maskView(py::array const& mask) { return viewOf<const MaskPixel>(mask, "mask"); }

constexpr MaskPixel kDefaultBad = mask_planes::BAD | mask_planes::SAT | mask_planes::NO_DATA | mask_planes::EDGE;

void bindBase(py::module_& m) {
    py::class_<KernelSolution, py::smart_holder> base(m, "KernelSolution", "A linear system M a = b and its solution.");
    base.def(py::init([](InputArray const& matrix, InputArray const& b, bool fitForBackground) {
                return std::make_shared<KernelSolution>(matrixOf(matrix, "M"), vectorOf(b), fitForBackground);
            }),
             py::arg("m"), py::arg("b"), py::arg("fitForBackground") = false)
            .def("solve", py::overload_cast<>(&KernelSolution::solve), Released())
            .def(
                    "solve",
                    [](KernelSolution& self, InputArray const& matrix, InputArray const& b) {
                        self.solve(matrixOf(matrix, "M"), vectorOf(b));
                    },
                    py::arg("m"), py::arg("b"))
            .def_property_readonly("isSolved", &KernelSolution::isSolved)
            .def_property_readonly("solvedBy", &KernelSolution::getSolvedBy)
            .def("getSolvedBy", &KernelSolution::getSolvedBy)
            .def_property_readonly("nDropped", &KernelSolution::nDropped)
            .def(
                    "getConditionNumber",
                    [](KernelSolution const& self, int type) {
                        if (type != 0 && type != 1) throw DomainError("getConditionNumber: wanted EIGENVALUE or SVD");
                        return self.getConditionNumber(static_cast<ConditionNumberType>(type));
                    },
                    py::arg("conditionNumberType"))
            .def(
                    "getConditionNumber",
                    [](KernelSolution const&, InputArray const& matrix, int type) {
                        if (type != 0 && type != 1) throw DomainError("getConditionNumber: wanted EIGENVALUE or SVD");
                        return KernelSolution::getConditionNumber(matrixOf(matrix, "M"), static_cast<ConditionNumberType>(type));
                    },
                    py::arg("m"), py::arg("conditionNumberType"))
            .def("getM", [](KernelSolution const& self) { return arrayOfMatrix(self.getM()); }, "A copy of M.")
            .def("getB", [](KernelSolution const& self) { return arrayOfVector(self.getB()); }, "A copy of b.")
            .def("getA", [](KernelSolution const& self) { return arrayOfVector(self.getA()); },
                 "A copy of the coefficients.")
            .def("printM", [](KernelSolution const& self) { py::print(arrayOfMatrix(self.getM())); })
            .def("printB", [](KernelSolution const& self) { py::print(arrayOfVector(self.getB())); })
            .def("printA", [](KernelSolution const& self) { py::print(arrayOfVector(self.getA())); })
            .def_property_readonly("id", &KernelSolution::getId)
            .def("getId", &KernelSolution::getId)
            .def_property_readonly("fitForBackground", &KernelSolution::fitForBackground);
    base.attr("KernelSolvedBy") = m.attr("KernelSolvedBy");
    base.attr("ConditionNumberType") = m.attr("ConditionNumberType");
    for (const char* name : {"NONE", "CHOLESKY_LDLT", "CHOLESKY_LLT", "LU", "EIGENVECTOR", "QR"}) {
        base.attr(name) = m.attr("KernelSolvedBy").attr(name);
    }
    for (const char* name : {"EIGENVALUE", "SVD"}) base.attr(name) = m.attr("ConditionNumberType").attr(name);
}

void bindStatic(py::module_& m) {
    py::class_<StaticKernelSolution, KernelSolution, py::smart_holder>(
            m, "StaticKernelSolution", "The kernel of one stamp: S = sum_i a_i B_i (x) T + background.")
            .def(py::init<KernelList const&, bool>(), py::arg("basisList"), py::arg("fitForBackground"))
            .def(
                    "build",
                    [](StaticKernelSolution& self, py::object const& t, py::object const& s, py::object const& v) {
                        withStamps(t, s, v, [&](auto a, auto b, auto c) { self.build(a, b, c); });
                    },
                    py::arg("template"), py::arg("science"), py::arg("variance"))
            .def("getKernel", &StaticKernelSolution::getKernel)
            .def("makeKernelImage", [](StaticKernelSolution const& self) { return arrayOf<const double>(self.makeKernelImage().view()); })
            .def("getBackground", &StaticKernelSolution::getBackground)
            .def("getKsum", &StaticKernelSolution::getKsum)
            .def("getKsumError", &StaticKernelSolution::getKsumError)
            .def("getSolutionPair", &StaticKernelSolution::getSolutionPair)
            .def("getCovariance", [](StaticKernelSolution const& self) { return arrayOfMatrix(self.getCovariance()); },
                 "Covariance of the coefficients.")
            .def("getNoiseMatrix",
                 [](StaticKernelSolution const& self) {
                     if (!self.equations()) throw StillskyError("StaticKernelSolution: build() has not been called");
                     return arrayOfMatrix(self.equations()->noise);
                 },
                 "What the template's noise adds to M on average; 0 x 0 when it was not computed.")
            .def("getRawM",
                 [](StaticKernelSolution const& self) {
                     if (!self.equations()) throw StillskyError("StaticKernelSolution: build() has not been called");
                     return arrayOfMatrix(self.equations()->m);
                 },
                 "M before the noise correction.")
            .def("chi2",
                 [](StaticKernelSolution const& self, InputArray const& a) {
                     if (!self.equations()) throw StillskyError("StaticKernelSolution: build() has not been called");
                     return self.equations()->chi2(vectorOf(a));
                 },
                 py::arg("coefficients"), "Weighted sum of squared residuals of any coefficients, without pixels.");

    py::class_<MaskedKernelSolution, StaticKernelSolution, py::smart_holder>(
            m, "MaskedKernelSolution", "The kernel of one stamp, fitted on the pixels that are not masked.")
            .def(py::init<KernelList const&, bool>(), py::arg("basisList"), py::arg("fitForBackground"))
            .def(
                    "build",
                    [](MaskedKernelSolution& self, py::object const& t, py::object const& s, py::object const& v,
                       py::object const& maskT, py::object const& maskS, MaskPixel bad) {
                        const py::array ma = planeOf(maskT), mb = planeOf(maskS);
                        const auto va = maskView(ma), vb = maskView(mb);
                        withStamps(t, s, v, [&](auto a, auto b, auto c) { self.build(a, b, c, va, vb, bad); });
                    },
                    py::arg("template"), py::arg("science"), py::arg("variance"), py::arg("templateMask"),
                    py::arg("scienceMask"), py::arg("badMask") = kDefaultBad)
            .def(
                    "buildWithMask",
                    [](MaskedKernelSolution& self, py::object const& t, py::object const& s, py::object const& v,
                       py::object const& mask, MaskPixel bad) {
                        const py::array plane = planeOf(mask);
                        const auto view = maskView(plane);
                        withStamps(t, s, v, [&](auto a, auto b, auto c) { self.buildWithMask(a, b, c, view, bad); });
                    },
                    py::arg("template"), py::arg("science"), py::arg("variance"), py::arg("mask"),
                    py::arg("badMask") = kDefaultBad)
            .def(
                    "buildOrig",
                    [](MaskedKernelSolution& self, py::object const& t, py::object const& s, py::object const& v,
                       py::object const& mask, MaskPixel bad) {
                        const py::array plane = planeOf(mask);
                        const auto view = maskView(plane);
                        withStamps(t, s, v, [&](auto a, auto b, auto c) { self.buildOrig(a, b, c, view, bad); });
                    },
                    py::arg("template"), py::arg("science"), py::arg("variance"), py::arg("mask"),
                    py::arg("badMask") = kDefaultBad)
            .def(
                    "buildSingleMaskOrig",
                    [](MaskedKernelSolution& self, py::object const& t, py::object const& s, py::object const& v,
                       py::object const& box) {
                        const Box2I inside = boxOf(box);
                        withStamps(t, s, v, [&](auto a, auto b, auto c) { self.buildSingleMaskOrig(a, b, c, inside); });
                    },
                    py::arg("template"), py::arg("science"), py::arg("variance"), py::arg("box"));

    py::class_<RegularizedKernelSolution, StaticKernelSolution, py::smart_holder>(
            m, "RegularizedKernelSolution", "(M + lambda H) a = b; lambda as the settings' lambdaType says.")
            .def(py::init([](KernelList const& bases, bool fitForBackground, InputArray const& h, py::object const& settings) {
                     return std::make_shared<RegularizedKernelSolution>(bases, fitForBackground, matrixOf(h, "hMat"),
                                                                        settingsOf(settings));
                 }),
                 py::arg("basisList"), py::arg("fitForBackground"), py::arg("hMat"), py::arg("settings"))
            .def("getLambda", &RegularizedKernelSolution::getLambda)
            .def_property_readonly("lambdaAtGridEnd", &RegularizedKernelSolution::lambdaAtGridEnd)
            .def("lambdaGrid", &RegularizedKernelSolution::lambdaGrid)
            .def("estimateRisk", &RegularizedKernelSolution::estimateRisk, py::arg("maxCond"), Released())
            .def("risk", &RegularizedKernelSolution::risk, py::arg("lambda_"), py::arg("maxCond"))
            .def("getM", [](RegularizedKernelSolution const& self, bool include) { return arrayOfMatrix(self.getM(include)); },
                 py::arg("includeHmat") = true);
}

void bindSpatial(py::module_& m) {
    py::class_<SpatialKernelSolution, KernelSolution, py::smart_holder>(
            m, "SpatialKernelSolution", "The fit of a spatially varying kernel to many stamps.")
            .def(py::init([](KernelList const& bases, py::object const& region, py::object const& settings) {
                     return std::make_shared<SpatialKernelSolution>(bases, boxOf(region), settingsOf(settings));
                 }),
                 py::arg("basisList"), py::arg("region"), py::arg("settings"))
            .def(
                    "addConstraint",
                    [](SpatialKernelSolution& self, double x, double y, InputArray const& q, InputArray const& w) {
                        self.addConstraint(x, y, matrixOf(q, "q"), vectorOf(w));
                    },
                    py::arg("x"), py::arg("y"), py::arg("q"), py::arg("w"))
            .def_property_readonly("nConstraints", &SpatialKernelSolution::nConstraints)
            .def("getKernel", &SpatialKernelSolution::getKernel)
            .def("getBackground", &SpatialKernelSolution::getBackground)
            .def("getSolutionPair", &SpatialKernelSolution::getSolutionPair)
            .def(
                    "makeKernelImage",
                    [](SpatialKernelSolution const& self, std::pair<double, double> position) {
                        return arrayOf<const double>(self.makeKernelImage({position.first, position.second}).view());
                    },
                    py::arg("pos"))
            .def("getKsum", &SpatialKernelSolution::getKsum)
            .def("kernelSumAt", &SpatialKernelSolution::kernelSumAt, py::arg("x"), py::arg("y"))
            .def("kernelSumErrorAt", &SpatialKernelSolution::kernelSumErrorAt, py::arg("x"), py::arg("y"))
            .def("coefficientsAt",
                 [](SpatialKernelSolution const& self, double x, double y) { return arrayOfVector(self.coefficientsAt(x, y)); },
                 py::arg("x"), py::arg("y"))
            .def("getCovariance", [](SpatialKernelSolution const& self) { return arrayOfMatrix(self.getCovariance()); })
            .def_property_readonly("nTerms", [](SpatialKernelSolution const& self) { return self.layout().nTerms(); });
}

}  // namespace

void bindPsfmatchSolutions(py::module_& m) {
    bindBase(m);
    bindStatic(m);
    bindSpatial(m);
    m.def(
            "spatialLeaveOneOut",
            [](SpatialKernelSolution const& solution, double x, double y, InputArray const& q, InputArray const& w) {
                NormalEquations equations;
                equations.m = matrixOf(q, "q");
                equations.b = vectorOf(w);
                return arrayOfVector(solution.leaveOneOut(x, y, equations));
            },
            py::arg("solution"), py::arg("x"), py::arg("y"), py::arg("q"), py::arg("w"),
            "Coefficients at (x, y) of the solution without the constraint (q, w) that was added there.");
    m.def(
            "convolveWithBasis",
            [](KernelList const& bases, py::object const& image) {
                const BasisConvolver convolver(bases);
                const InputArray pixels = planeOf(image);
                const View2<const double> stamp(pixels.data(), static_cast<int>(pixels.shape(1)), static_cast<int>(pixels.shape(0)));
                const int gw = convolver.goodWidth(stamp.width), gh = convolver.goodHeight(stamp.height);
                const int row = convolver.rowLength(stamp.width), n = convolver.columnLength(stamp.width, stamp.height);
                std::vector<double> columns(static_cast<std::size_t>(std::max(n, 0)) * bases.size());
                BasisConvolver::Scratch scratch;
                convolver.convolve(stamp, columns.data(), n, scratch);
                py::array_t<double> out({static_cast<py::ssize_t>(bases.size()), static_cast<py::ssize_t>(gh), static_cast<py::ssize_t>(gw)});
                for (int i = 0; i < convolver.nBases(); ++i) {
                    for (int y = 0; y < gh; ++y) std::copy_n(&columns[static_cast<std::size_t>(i) * static_cast<std::size_t>(n) + static_cast<std::size_t>(y * row)], gw, out.mutable_data(i, y, 0));
                }
                return py::make_tuple(out, convolver.nSeparable());
            },
            py::arg("basisList"), py::arg("image"),
            "Every basis function convolved with an image: (array (n, rows, columns) of the good region, number of "
            "functions that were separable).");
}

}  // namespace stillsky
