#include <optional>

#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/math/spline.hpp"
#include "stillsky/stats/clipped_stats.hpp"
#include "stillsky/stats/grid_statistics.hpp"
#include "stillsky/stats/select.hpp"
#include "stillsky/stats/statistics.hpp"

namespace stillsky {
namespace {

using OptionalArray = std::optional<py::array>;

template <typename T>
StatisticsSamples<T> samplesOf(py::array const& image, OptionalArray const& mask, OptionalArray const& variance,
                               OptionalArray const& weights) {
    StatisticsSamples<T> s;
    s.image = viewOf<const T>(image, "image");
    if (mask) s.mask = viewOf<const MaskPixel>(*mask, "mask");
    if (variance) s.variance = viewOf<const VariancePixel>(*variance, "variance");
    if (weights && py::isinstance<py::array_t<float>>(*weights)) s.weights = viewOf<const float>(*weights, "weights");
    else if (weights) s.weights64 = viewOf<const double>(*weights, "weights");
    return s;
}

// Calls f(T()) with the pixel type of the array.
template <typename F>
auto withPixelType(py::array const& image, F const& f) {
    if (py::isinstance<py::array_t<double>>(image)) return f(double());
    if (py::isinstance<py::array_t<std::int32_t>>(image)) return f(std::int32_t());
    if (py::isinstance<py::array_t<std::uint16_t>>(image)) return f(std::uint16_t());
    return f(float());  // viewOf refuses anything else
}

template <typename F>
auto withRealPixelType(py::array const& image, F const& f) {
    if (py::isinstance<py::array_t<double>>(image)) return f(double());
    return f(float());
}

Statistics pyMakeStatistics(py::array const& image, OptionalArray const& mask, OptionalArray const& variance,
                            OptionalArray const& weights, int flags, StatisticsControl const& control) {
    return withPixelType(image, [&](auto zero) {
        const auto samples = samplesOf<decltype(zero)>(image, mask, variance, weights);
        py::gil_scoped_release release;
        return computeStatistics(samples, flags, control);
    });
}

Statistics pyMakeMaskStatistics(py::array const& mask, int flags, StatisticsControl const& control) {
    const auto view = viewOf<const MaskPixel>(mask, "mask");
    py::gil_scoped_release release;
    return makeMaskStatistics(view, flags, control);
}

py::tuple pyClippedStats(py::array const& image, OptionalArray const& mask, MaskPixel badBits, double numSigma, int numIter,
                         int subsample) {
    const ClippedStats s = withRealPixelType(image, [&](auto zero) {
        const auto samples = samplesOf<decltype(zero)>(image, mask, std::nullopt, std::nullopt);
        py::gil_scoped_release release;
        return clippedStats(samples.image, samples.mask, badBits, numSigma, numIter, subsample);
    });
    return py::make_tuple(s.median, s.mean, s.stdev, s.n);
}

double pyRobustSigma(py::array const& image, OptionalArray const& mask, MaskPixel badBits, int subsample) {
    return withRealPixelType(image, [&](auto zero) {
        const auto samples = samplesOf<decltype(zero)>(image, mask, std::nullopt, std::nullopt);
        py::gil_scoped_release release;
        return robustSigma(samples.image, samples.mask, badBits, subsample);
    });
}

py::array_t<double> pyQuantiles(py::array const& image, std::vector<double> const& fractions) {
    const std::vector<double> q = withPixelType(image, [&](auto zero) {
        using T = decltype(zero);
        const auto view = viewOf<const T>(image, "values");
        if (view.height > 1 && view.stride != view.width) throw ShapeError("values: wanted a contiguous array");
        py::gil_scoped_release release;
        return quantiles(view.data, static_cast<std::size_t>(view.size()), fractions);
    });
    return py::array_t<double>(static_cast<py::ssize_t>(q.size()), q.data());
}

py::tuple pyGridStatistics(py::array const& image, OptionalArray const& mask, OptionalArray const& variance, int nx, int ny,
                           int property, StatisticsControl const& control, int rowStep) {
    const GridStatistics g = withRealPixelType(image, [&](auto zero) {
        const auto samples = samplesOf<decltype(zero)>(image, mask, variance, std::nullopt);
        py::gil_scoped_release release;
        return gridStatistics(samples, nx, ny, static_cast<StatisticsProperty>(property), control, rowStep);
    });
    return py::make_tuple(arrayOf(g.values.view()), arrayOf(g.variances.view()), g.nEmpty);
}

py::tuple pyGridCells(int size, int n) {
    const GridCells cells = gridCells(size, n);
    return py::make_tuple(cells.begin, cells.end, cells.centre);
}

void pyFillFromGrid(py::array const& nodes, std::vector<double> const& xNodes, std::vector<double> const& yNodes,
                    std::string const& style, std::string const& undersample, std::pair<int, int> xy0, py::array const& out) {
    const auto grid = viewOf<const double>(nodes, "nodes");
    const InterpolateStyle how = stringToInterpolateStyle(style);
    const UndersampleStyle under = stringToUndersampleStyle(undersample);
    withRealPixelType(out, [&](auto zero) {
        const auto view = viewOf<decltype(zero)>(out, "out");
        py::gil_scoped_release release;
        fillFromGrid(grid, xNodes, yNodes, how, under, pointOf(xy0), view);
        return 0;
    });
}

py::array_t<double> pyInterpolate(std::vector<double> const& x, std::vector<double> const& y, std::string const& style,
                                  py::array_t<double, py::array::c_style | py::array::forcecast> const& at) {
    const Interpolate spline(x, y, stringToInterpolateStyle(style));
    py::array_t<double> out(std::vector<py::ssize_t>(at.shape(), at.shape() + at.ndim()));
    for (py::ssize_t i = 0; i < at.size(); ++i) out.mutable_data()[i] = spline(at.data()[i]);
    return out;
}

StatisticsControl makeControl(double numSigmaClip, int numIter, MaskPixel andMask, bool nanSafe, std::optional<bool> weighted,
                              bool fromVariance, bool mosaic, MaskPixel noGoodPixelsMask,
                              std::map<int, double> const& thresholds, bool orMaskClipped, bool compat) {
    StatisticsControl c;
    c.setNumSigmaClip(numSigmaClip);
    c.setNumIter(numIter);
    c.setAndMask(andMask);
    c.setNanSafe(nanSafe);
    c.setWeighted(weighted);
    c.setCalcErrorFromInputVariance(fromVariance);
    c.setCalcErrorMosaicMode(mosaic);
    c.setNoGoodPixelsMask(noGoodPixelsMask);
    for (auto const& t : thresholds) c.setMaskPropagationThreshold(t.first, t.second);
    c.setOrMaskClipped(orMaskClipped);
    c.setCompat(compat);
    return c;
}

std::map<int, double> thresholdsOf(StatisticsControl const& c) {
    std::map<int, double> out;
    for (std::size_t b = 0; b < c.maskPropagationThresholds().size(); ++b) {
        if (c.maskPropagationThresholds()[b] != 1.0) out[static_cast<int>(b)] = c.maskPropagationThresholds()[b];
    }
    return out;
}

py::tuple controlState(StatisticsControl const& c) {
    return py::make_tuple(c.numSigmaClip(), c.numIter(), c.andMask(), c.nanSafe(), c.weighted(), c.calcErrorFromInputVariance(),
                          c.calcErrorMosaicMode(), c.noGoodPixelsMask(), thresholdsOf(c), c.orMaskClipped(), c.compat());
}

StatisticsControl controlFromState(py::tuple const& t) {
    return makeControl(t[0].cast<double>(), t[1].cast<int>(), t[2].cast<MaskPixel>(), t[3].cast<bool>(),
                       t[4].cast<std::optional<bool>>(), t[5].cast<bool>(), t[6].cast<bool>(), t[7].cast<MaskPixel>(),
                       t[8].cast<std::map<int, double>>(), t[9].cast<bool>(), t[10].cast<bool>());
}

std::string controlRepr(StatisticsControl const& c) {
    return py::str("StatisticsControl(numSigmaClip={}, numIter={}, andMask={}, nanSafe={}, weighted={}, "
                   "calcErrorFromInputVariance={}, calcErrorMosaicMode={}, noGoodPixelsMask={}, "
                   "maskPropagationThresholds={}, orMaskClipped={}, compat={})")
            .format(*controlState(c))
            .cast<std::string>();
}

void bindControl(py::module_& m) {
    using C = StatisticsControl;
    py::class_<C> cls(m, "StatisticsControl",
                      R"(How statistics are computed.

Parameters
----------
numSigmaClip : float
    Half-width of a clipping round in standard deviations; > 0.
numIter : int
    Number of clipping rounds; >= 1.
andMask : int
    Samples whose mask has any of these bits are not used.
nanSafe : bool
    Leave out samples that are not finite.
weighted : bool or None
    None: weights are used if given. True without weights: 1/variance. False with weights: an error.
calcErrorFromInputVariance, calcErrorMosaicMode : bool
    Error of mean and median from the variance plane: ``sqrt(sum w^2 v)/sum w``, or ``sqrt(sum w v/sum w)``; not both.
noGoodPixelsMask : int
    Bits that stacks write where no sample was usable.
maskPropagationThresholds : dict of int to float
    Bit number -> share of rejected weight above which the bit enters the OR mask.
orMaskClipped : bool
    The OR mask is that of the samples that clipping kept, where clipped properties are requested with ORMASK.
compat : bool
    Reproduce the Rubin pipelines exactly, defects included.)");
    const C d;
    cls.def(py::init(&makeControl), py::arg("numSigmaClip") = d.numSigmaClip(), py::arg("numIter") = d.numIter(),
            py::arg("andMask") = d.andMask(), py::arg("nanSafe") = d.nanSafe(), py::arg("weighted") = py::none(),
            py::arg("calcErrorFromInputVariance") = false, py::arg("calcErrorMosaicMode") = false,
            py::arg("noGoodPixelsMask") = d.noGoodPixelsMask(),
            py::arg("maskPropagationThresholds") = std::map<int, double>(), py::arg("orMaskClipped") = true,
            py::arg("compat") = false);
    cls.def_property("numSigmaClip", &C::numSigmaClip, &C::setNumSigmaClip)
            .def_property("numIter", &C::numIter, &C::setNumIter)
            .def_property("andMask", &C::andMask, &C::setAndMask)
            .def_property("noGoodPixelsMask", &C::noGoodPixelsMask, &C::setNoGoodPixelsMask)
            .def_property("nanSafe", &C::nanSafe, &C::setNanSafe)
            .def_property("weighted", &C::weighted, &C::setWeighted)
            .def_property("calcErrorFromInputVariance", &C::calcErrorFromInputVariance, &C::setCalcErrorFromInputVariance)
            .def_property("calcErrorMosaicMode", &C::calcErrorMosaicMode, &C::setCalcErrorMosaicMode)
            .def_property_readonly("maskPropagationThresholds", &thresholdsOf)
            .def_property("orMaskClipped", &C::orMaskClipped, &C::setOrMaskClipped)
            .def_property("compat", &C::compat, &C::setCompat);
    // Setters and getters that Rubin's users know.
    cls.def("setNumSigmaClip", &C::setNumSigmaClip, py::arg("numSigmaClip"))
            .def("setNumIter", &C::setNumIter, py::arg("numIter"))
            .def("setAndMask", &C::setAndMask, py::arg("andMask"))
            .def("setNoGoodPixelsMask", &C::setNoGoodPixelsMask, py::arg("noGoodPixelsMask"))
            .def("setNanSafe", &C::setNanSafe, py::arg("nanSafe"))
            .def("setWeighted", &C::setWeighted, py::arg("weighted"))
            .def("getWeighted", [](C const& c) { return c.weighted().value_or(false); })
            .def("getWeightedIsSet", [](C const& c) { return c.weighted().has_value(); })
            .def("setCalcErrorFromInputVariance", &C::setCalcErrorFromInputVariance, py::arg("on"))
            .def("setCalcErrorMosaicMode", &C::setCalcErrorMosaicMode, py::arg("on"))
            .def("setMaskPropagationThreshold", &C::setMaskPropagationThreshold, py::arg("bit"), py::arg("threshold"))
            .def("getMaskPropagationThreshold", &C::maskPropagationThreshold, py::arg("bit"));
    cls.def("__repr__", &controlRepr)
            .def("__eq__",
                 [](C const& a, py::object const& b) {
                     return py::isinstance<C>(b) && controlState(a).equal(controlState(b.cast<C const&>()));
                 })
            .def("__copy__", [](C const& c) { return C(c); })
            .def("__deepcopy__", [](C const& c, py::dict const&) { return C(c); })
            .def(py::pickle(&controlState, &controlFromState));
    cls.attr("__hash__") = py::none();
}

StatisticsProperty asProperty(int p) { return static_cast<StatisticsProperty>(p); }

void bindResult(py::module_& m) {
    using S = Statistics;
    py::class_<S>(m, "Statistics", "Values and errors of the requested properties; made by `makeStatistics`.")
            .def("getValue", [](S const& s, int p) { return s.getValue(asProperty(p)); }, py::arg("property") = 0,
                 "Value of a property; without one, of the only property requested (ERRORS aside).")
            .def("getError", [](S const& s, int p) { return s.getError(asProperty(p)); }, py::arg("property") = 0,
                 "Standard error of a property; NaN unless ERRORS was requested.")
            .def("getResult", [](S const& s, int p) { return s.getResult(asProperty(p)); }, py::arg("property") = 0,
                 "(value, error) of a property.")
            .def("getOrMask", &S::orMask, "Same as the property `orMask`.")
            .def_property_readonly("orMask", &S::orMask, "OR of the mask pixels of the samples used, plus propagated bits.")
            .def_property_readonly("nUsed", &S::nUsed, "Number of samples kept by clipping (usable ones without it).")
            .def_property_readonly("flags", &S::flags, "The properties that were requested.");
}

}  // namespace

void bindStats(py::module_& m) {
    bindControl(m);
    bindResult(m);
    m.def("stringToStatisticsProperty", [](std::string const& name) { return static_cast<int>(stringToStatisticsProperty(name)); });
    m.def("makeStatistics", &pyMakeStatistics, py::arg("image"), py::arg("mask"), py::arg("variance"), py::arg("weights"),
          py::arg("flags"), py::arg("control"));
    m.def("makeMaskStatistics", &pyMakeMaskStatistics, py::arg("mask"), py::arg("flags"), py::arg("control"));
    m.def("clippedStats", &pyClippedStats, py::arg("image"), py::arg("mask"), py::arg("badBits"), py::arg("numSigma"),
          py::arg("numIter"), py::arg("subsample"));
    m.def("robustSigma", &pyRobustSigma, py::arg("image"), py::arg("mask"), py::arg("badBits"), py::arg("subsample"));
    m.def("quantiles", &pyQuantiles, py::arg("values"), py::arg("fractions"));
    m.def("gridStatistics", &pyGridStatistics, py::arg("image"), py::arg("mask"), py::arg("variance"), py::arg("nx"),
          py::arg("ny"), py::arg("property"), py::arg("control"), py::arg("rowStep") = 1);
    m.def("windowMedians", [](py::array const& grid, int size) {
        const auto view = viewOf<const double>(grid, "grid");
        Image<double> out;
        {
            py::gil_scoped_release release;
            out = windowMedians(view, size);
        }
        return arrayOf(out.view());
    }, py::arg("grid"), py::arg("size"));
    m.def("gridCells", &pyGridCells, py::arg("size"), py::arg("n"));
    m.def("fillFromGrid", &pyFillFromGrid, py::arg("nodes"), py::arg("xNodes"), py::arg("yNodes"), py::arg("style"),
          py::arg("undersample"), py::arg("xy0"), py::arg("out"));
    m.def("interpolate", &pyInterpolate, py::arg("x"), py::arg("y"), py::arg("style"), py::arg("at"));
    m.def("minInterpPoints", [](std::string const& style) { return minInterpPoints(stringToInterpolateStyle(style)); });
    m.def("maxInterpStyle", [](int n) { return interpolateStyleName(maxInterpStyle(n)); });
}

}  // namespace stillsky
