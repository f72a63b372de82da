#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/dcr/dcr_pass.hpp"
#include "stillsky/dcr/descent.hpp"
#include "stillsky/dcr/regularize.hpp"
#include "stillsky/dcr/smooth.hpp"
#include "stillsky/dcr/spline_shift.hpp"

namespace stillsky {
namespace {

using ShiftPairs = std::vector<std::vector<std::pair<double, double>>>;

std::vector<std::vector<PixelShift>> shiftsOf(ShiftPairs const& pairs) {
    std::vector<std::vector<PixelShift>> out;
    for (auto const& ofModel : pairs) {
        out.emplace_back();
        for (auto const& pair : ofModel) out.back().push_back({pair.first, pair.second});
    }
    return out;
}

template <typename F>
auto withPixels(py::array const& image, F const& f) {
    if (py::isinstance<py::array_t<double>>(image)) return f(double());
    return f(float());  // viewOf refuses anything else
}

template <typename T>
std::vector<View2<T>> viewsOf(std::vector<py::array> const& arrays, const char* name) {
    std::vector<View2<T>> out;
    for (auto const& array : arrays) out.push_back(viewOf<T>(array, name));
    return out;
}

void pyPrefilterSpline(py::array const& image, int order, bool adjoint) {
    withPixels(image, [&](auto zero) {
        const auto pixels = viewOf<decltype(zero)>(image, "image");
        py::gil_scoped_release release;
        prefilterSpline(pixels, order, adjoint);
    });
}

void pyShiftSpline(py::array const& image, double dy, double dx, int order, py::array const& out, double factor,
                   bool accumulate, bool adjoint) {
    withPixels(image, [&](auto zero) {
        using T = decltype(zero);
        const auto in = viewOf<const T>(image, "image");
        const auto to = viewOf<T>(out, "out");
        py::gil_scoped_release release;
        if (adjoint) shiftSplineAdjoint(in, PixelShift{dy, dx}, order, to, factor, accumulate);
        else shiftSpline(in, PixelShift{dy, dx}, order, to, factor, accumulate);
    });
}

// (image or None, good, score or None, imageRow0, weight, forward, backward)
DcrVisit visitOf(py::tuple const& t) {
    DcrVisit visit;
    if (!t[0].is_none()) visit.image = viewOf<const float>(t[0].cast<py::array>(), "image");
    visit.good = viewOf<const std::uint8_t>(t[1].cast<py::array>(), "good");
    if (!t[2].is_none()) visit.score = viewOf<const std::uint8_t>(t[2].cast<py::array>(), "score");
    visit.imageRow0 = t[3].cast<int>();
    visit.weight = t[4].cast<double>();
    visit.forward = shiftsOf(t[5].cast<ShiftPairs>());
    visit.backward = shiftsOf(t[6].cast<ShiftPairs>());
    return visit;
}

DcrPassValue passValue(std::string const& name) {
    if (name == "residual") return DcrPassValue::RESIDUAL;
    if (name == "model") return DcrPassValue::MODEL;
    if (name == "image") return DcrPassValue::IMAGE;
    if (name == "coverage") return DcrPassValue::COVERAGE;
    throw DomainError("value: wanted residual, model, image or coverage, given " + name);
}

py::array_t<double> pyDcrPass(std::vector<py::array> const& models, int order, std::vector<py::tuple> const& visits,
                              std::string const& value, py::object const& significance,
                              std::vector<py::array> const& accumulators, int rowBegin, int rowEnd, bool normal) {
    const auto images = viewsOf<const float>(models, "models");
    const auto sums = viewsOf<float>(accumulators, "accumulators");
    const auto weights = significance.is_none() ? View2<const float>()
                                                : viewOf<const float>(significance.cast<py::array>(), "significance");
    std::vector<DcrVisit> list;
    for (auto const& visit : visits) list.push_back(visitOf(visit));
    const DcrPassValue kind = passValue(value);
    DcrPassResult result;
    {
        py::gil_scoped_release release;
        result = dcrPass(images, order, list, kind, weights, sums, rowBegin, rowEnd, normal);
    }
    py::array_t<double> out({static_cast<py::ssize_t>(list.size()), static_cast<py::ssize_t>(result.tilesY),
                             static_cast<py::ssize_t>(result.tilesX), static_cast<py::ssize_t>(4)});
    double* to = out.mutable_data();
    for (auto const& m : result.metric) {
        *to++ = m.difference;
        *to++ = m.total;
        *to++ = m.square;
        *to++ = static_cast<double>(m.count);
    }
    return out;
}

int pyDcrHalo(std::vector<ShiftPairs> const& backward, int order) {
    std::vector<DcrVisit> visits(backward.size());
    for (std::size_t i = 0; i < backward.size(); ++i) visits[i].backward = shiftsOf(backward[i]);
    return dcrHalo(visits, order);
}

void pyDcrTemplate(std::vector<py::array> const& models, int order, ShiftPairs const& shifts, py::array const& out) {
    const auto images = viewsOf<const float>(models, "models");
    const auto lists = shiftsOf(shifts);
    const auto to = viewOf<float>(out, "out");
    py::gil_scoped_release release;
    dcrTemplate(images, order, lists, to);
}

View2<const float> planeOrNone(py::object const& plane, const char* name) {
    return plane.is_none() ? View2<const float>() : viewOf<const float>(plane.cast<py::array>(), name);
}

void pySmoothWeighted(py::array const& image, double sigma, py::object const& before, py::object const& after,
                      py::array const& out) {
    const auto in = viewOf<const float>(image, "image");
    const auto first = planeOrNone(before, "before"), second = planeOrNone(after, "after");
    const auto to = viewOf<float>(out, "out");
    py::gil_scoped_release release;
    smoothWeighted(in, sigma, first, second, to);
}

using Arrays = std::vector<py::array>;

double pyPlanesDot(Arrays const& a, Arrays const& b) {
    const auto first = viewsOf<const float>(a, "a"), second = viewsOf<const float>(b, "b");
    py::gil_scoped_release release;
    return planesDot(first, second);
}

// (diagonal or None, penalty, mixing)
DescentPrior priorOf(py::tuple const& t) {
    return {planeOrNone(t[0], "diagonal"), t[1].cast<float>(), t[2].cast<std::vector<float>>()};
}

double pyDescentStep(Arrays const& models, Arrays const& residual, Arrays const& moves, Arrays const& product,
                     Arrays const& direction, py::tuple const& prior, double length) {
    const auto to = viewsOf<float>(models, "models"), left = viewsOf<float>(residual, "residual");
    const auto by = viewsOf<const float>(moves, "moves"), seen = viewsOf<const float>(product, "product");
    const auto along = viewsOf<const float>(direction, "direction");
    const DescentPrior settings = priorOf(prior);
    py::gil_scoped_release release;
    return descentStep(to, left, by, seen, along, settings, length);
}

double pyDescentDirection(Arrays const& direction, Arrays const& residual, py::tuple const& prior, double factor,
                          Arrays const& mixed) {
    const auto along = viewsOf<float>(direction, "direction"), out = viewsOf<float>(mixed, "mixed");
    const auto left = viewsOf<const float>(residual, "residual");
    const DescentPrior settings = priorOf(prior);
    py::gil_scoped_release release;
    return descentDirection(along, left, settings, factor, out);
}

void pyOpenDiamond(py::array const& flags, int steps) {
    const auto bits = viewOf<std::uint8_t>(flags, "flags");
    py::gil_scoped_release release;
    openDiamond(bits, steps);
}

void pyClampChange(py::array const& image, py::array const& old, float high, float low, float lowNegative, int steps) {
    const auto pixels = viewOf<float>(image, "image");
    const auto before = viewOf<const float>(old, "old");
    py::gil_scoped_release release;
    clampChange(pixels, before, {high, low, lowNegative}, steps);
}

void pyClampRatios(Arrays const& images, Arrays const& smooth, float high, float low, float cutoff) {
    const auto pixels = viewsOf<float>(images, "images");
    const auto levels = viewsOf<const float>(smooth, "smooth");
    py::gil_scoped_release release;
    clampRatios(pixels, levels, high, low, cutoff);
}

double pyBackgroundScatter(py::array const& image, py::array const& excluded, int border) {
    const auto pixels = viewOf<const float>(image, "image");
    const auto out = viewOf<const std::uint8_t>(excluded, "excluded");
    py::gil_scoped_release release;
    return backgroundScatter(pixels, out, border);
}

}  // namespace

void bindDcr(py::module_& m) {
    m.attr("DCR_TILE_WIDTH") = DCR_TILE_WIDTH;
    m.attr("DCR_TILE_HEIGHT") = DCR_TILE_HEIGHT;
    m.def("prefilterSpline", &pyPrefilterSpline, py::arg("image"), py::arg("order"), py::arg("adjoint"));
    m.def("shiftSpline", &pyShiftSpline, py::arg("image"), py::arg("dy"), py::arg("dx"), py::arg("order"), py::arg("out"),
          py::arg("factor"), py::arg("accumulate"), py::arg("adjoint"));
    m.def("dcrPass", &pyDcrPass, py::arg("models"), py::arg("order"), py::arg("visits"), py::arg("value"),
          py::arg("significance"), py::arg("accumulators"), py::arg("rowBegin"), py::arg("rowEnd"), py::arg("normal"));
    m.def("smoothWeighted", &pySmoothWeighted, py::arg("image"), py::arg("sigma"), py::arg("before"), py::arg("after"),
          py::arg("out"));
    m.def("openDiamond", &pyOpenDiamond, py::arg("flags"), py::arg("steps"));
    m.def("clampChange", &pyClampChange, py::arg("image"), py::arg("old"), py::arg("high"), py::arg("low"),
          py::arg("lowNegative"), py::arg("steps"));
    m.def("clampRatios", &pyClampRatios, py::arg("images"), py::arg("smooth"), py::arg("high"), py::arg("low"),
          py::arg("cutoff"));
    m.def("backgroundScatter", &pyBackgroundScatter, py::arg("image"), py::arg("excluded"), py::arg("border"));
    m.def("planesDot", &pyPlanesDot, py::arg("a"), py::arg("b"));
    m.def("descentStep", &pyDescentStep, py::arg("models"), py::arg("residual"), py::arg("moves"), py::arg("product"),
          py::arg("direction"), py::arg("prior"), py::arg("length"));
    m.def("descentDirection", &pyDescentDirection, py::arg("direction"), py::arg("residual"), py::arg("prior"),
          py::arg("factor"), py::arg("mixed"));
    m.def("dcrHalo", &pyDcrHalo, py::arg("backward"), py::arg("order"));
    m.def("dcrTemplate", &pyDcrTemplate, py::arg("models"), py::arg("order"), py::arg("shifts"), py::arg("out"));
}

}  // namespace stillsky
