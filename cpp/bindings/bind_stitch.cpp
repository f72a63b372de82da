#include <optional>

#include "bindings.hpp"
#include "numpy_view.hpp"
#include "stillsky/image/stitch.hpp"

namespace stillsky {
namespace {

using Array = py::array const&;
using Found = std::pair<long long, bool>;  // valid pixels, overflow
using Overlap = std::tuple<long long, long long, long long, long long>;

bool isDouble(Array array) { return py::isinstance<py::array_t<double>>(array); }

// f(T()) for the type of an image.
template <typename F>
auto onPixels(Array image, F const& f) {
    return isDouble(image) ? f(double()) : f(float());
}

struct Sums {
    Sums(Array image, Array variance, std::optional<py::array> const& weights) {
        views.image = viewOf<double>(image, "sumImage");
        views.variance = viewOf<double>(variance, "sumVariance");
        if (!weights) return;
        weight = viewOf<double>(*weights, "sumWeight");
        views.weight = &weight;
    }
    StitchSums views;
    View2<double> weight;
};

Found write(Array image, Array mask, Array variance, Array count, Array patch, Array patchMask, Array patchVariance,
            bool reference) {
    return onPixels(image, [&](auto t) {
        return onPixels(patch, [&](auto p) {
            using P = decltype(p);
            const auto out = maskedViewOf<decltype(t)>(image, mask, variance);
            const auto from = maskedViewOf<const P>(patch, patchMask, patchVariance);
            const auto counts = viewOf<std::uint16_t>(count, "count");
            py::gil_scoped_release release;
            const auto found = stitchWrite(out, counts, from, reference);
            return Found(found.valid, found.overflow);
        });
    });
}

Found add(Array sumImage, Array sumVariance, std::optional<py::array> const& sumWeight, Array mask, Array count,
          Array patch, Array patchMask, Array patchVariance, std::optional<py::array> const& weight, bool squared,
          bool reference) {
    return onPixels(patch, [&](auto p) {
        const Sums sums(sumImage, sumVariance, sumWeight);
        const auto from = maskedViewOf<const decltype(p)>(patch, patchMask, patchVariance);
        const auto bits = viewOf<MaskPixel>(mask, "mask");
        const auto counts = viewOf<std::uint16_t>(count, "count");
        View2<const double> weights;
        if (weight) weights = viewOf<const double>(*weight, "weight");
        py::gil_scoped_release release;
        const auto found = stitchAdd(sums.views, bits, counts, from, weight ? &weights : nullptr, squared, reference);
        return Found(found.valid, found.overflow);
    });
}

Found copy(Array image, Array mask, Array variance, Array writer, Array patch, Array patchMask, Array patchVariance,
           std::uint32_t mark, bool reference) {
    return onPixels(image, [&](auto t) {
        return onPixels(patch, [&](auto p) {
            const auto out = maskedViewOf<decltype(t)>(image, mask, variance);
            const auto from = maskedViewOf<const decltype(p)>(patch, patchMask, patchVariance);
            StitchCount found;
            if (py::isinstance<py::array_t<std::uint16_t>>(writer)) {
                const auto marks = viewOf<std::uint16_t>(writer, "writer");
                py::gil_scoped_release release;
                found = stitchCopy(out, marks, from, static_cast<std::uint16_t>(mark), reference);
            } else {
                const auto marks = viewOf<std::uint32_t>(writer, "writer");
                py::gil_scoped_release release;
                found = stitchCopy(out, marks, from, mark, reference);
            }
            return Found(found.valid, found.overflow);
        });
    });
}

void settle(Array image, Array variance, Array sumImage, Array sumVariance, std::optional<py::array> const& sumWeight,
            Array count, bool average, bool squared) {
    onPixels(image, [&](auto t) {
        const Sums sums(sumImage, sumVariance, sumWeight);
        const auto out = viewOf<decltype(t)>(image, "image");
        const auto noise = viewOf<VariancePixel>(variance, "variance");
        const auto counts = viewOf<const std::uint16_t>(count, "count");
        py::gil_scoped_release release;
        stitchSettle(out, noise, sums.views, counts, average, squared);
    });
}

template <typename T, typename C>
Overlap finishAs(Array image, Array mask, Array variance, Array count, MaskPixel bits, bool blank, bool reference) {
    const auto out = maskedViewOf<T>(image, mask, variance);
    const auto counts = viewOf<const C>(count, "count");
    StitchOverlap found;
    {
        py::gil_scoped_release release;
        found = stitchFinish(out, counts, bits, blank, reference);
    }
    return Overlap(found.largest, found.smallest, found.sum, found.blank);
}

Overlap finish(Array image, Array mask, Array variance, Array count, MaskPixel bits, bool blank, bool reference) {
    return onPixels(image, [&](auto t) {
        using T = decltype(t);
        return py::isinstance<py::array_t<std::uint16_t>>(count)
                       ? finishAs<T, std::uint16_t>(image, mask, variance, count, bits, blank, reference)
                       : finishAs<T, std::uint32_t>(image, mask, variance, count, bits, blank, reference);
    });
}

}  // namespace

void bindStitch(py::module_& m) {
    m.def("stitchWrite", &write);
    m.def("stitchAdd", &add);
    m.def("stitchCopy", &copy);
    m.def("stitchSettle", &settle);
    m.def("stitchFinish", &finish);
}

}  // namespace stillsky
