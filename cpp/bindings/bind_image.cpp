#include <array>

#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/image/interpolate.hpp"

namespace stillsky {
namespace {

InterpolationControl controlOf(bool alongColumns, bool fallbackAtEdge, double fallback, std::string const& variance) {
    InterpolationControl control;
    control.alongColumns = alongColumns;
    control.fallbackAtEdge = fallbackAtEdge;
    control.fallback = fallback;
    if (variance == "infinite") {
        control.variance = InterpolatedVariance::INFINITE;
    } else if (variance == "propagate") {
        control.variance = InterpolatedVariance::PROPAGATE;
    } else if (variance == "reference") {
        control.variance = InterpolatedVariance::REFERENCE;
    } else {
        throw DomainError("variance: wanted infinite, propagate or reference, got " + variance);
    }
    return control;
}

template <typename T>
py::dict count(py::array const& image, py::array const& bad, MaskPixel bits, bool alongColumns, bool fallbackAtEdge) {
    const auto pixels = viewOf<const T>(image, "image");
    const auto badPixels = viewOf<const MaskPixel>(bad, "bad");
    const auto control = controlOf(alongColumns, fallbackAtEdge, 0.0, "infinite");
    InterpolationCount result;
    {
        py::gil_scoped_release release;
        result = countInterpolation<T>(pixels, badPixels, bits, control);
    }
    py::dict out;
    out["pixels"] = result.pixels;
    out["boxes"] = result.boxes;
    out["needsFallback"] = result.needsFallback;
    return out;
}

template <typename T>
void interpolate(py::array const& image, py::array const& mask, py::array const& variance, py::array const& bad,
                 MaskPixel bits, MaskPixel setBits, bool alongColumns, bool fallbackAtEdge, double fallback,
                 std::string const& mode) {
    const auto pixels = maskedViewOf<T>(image, mask, variance);
    const auto badPixels = viewOf<const MaskPixel>(bad, "bad");
    const auto control = controlOf(alongColumns, fallbackAtEdge, fallback, mode);
    py::gil_scoped_release release;
    interpolateBadPixels<T>(pixels, badPixels, bits, setBits, control);
}

}  // namespace

void bindImage(py::module_& m) {
    m.def("interpolationWeights", [](int length, int t, int before, int behind) {
        std::array<double, 4> w{};
        interpolationWeights(length, t, before, behind, w.data());
        return w;
    });
    m.def("countInterpolation", [](py::array const& image, py::array const& bad, MaskPixel bits, bool alongColumns,
                                   bool fallbackAtEdge) {
        return py::isinstance<py::array_t<double>>(image) ? count<double>(image, bad, bits, alongColumns, fallbackAtEdge)
                                                          : count<float>(image, bad, bits, alongColumns, fallbackAtEdge);
    });
    m.def("interpolateBadPixels",
          [](py::array const& image, py::array const& mask, py::array const& variance, py::array const& bad,
             MaskPixel bits, MaskPixel setBits, bool alongColumns, bool fallbackAtEdge, double fallback,
             std::string const& mode) {
              if (py::isinstance<py::array_t<double>>(image)) {
                  interpolate<double>(image, mask, variance, bad, bits, setBits, alongColumns, fallbackAtEdge, fallback,
                                      mode);
              } else {
                  interpolate<float>(image, mask, variance, bad, bits, setBits, alongColumns, fallbackAtEdge, fallback,
                                     mode);
              }
          });
}

}  // namespace stillsky
