// What the bindings of measurements share: planes that may be None, lists, footprints, stamps.
#pragma once

#include <cstdint>

#include "numpy_view.hpp"
#include "stillsky/measure/measure_input.hpp"
#include "stillsky/spans/span_set.hpp"

namespace stillsky {
namespace measure_views {

template <typename V>
using Array = py::array_t<V, py::array::c_style | py::array::forcecast>;

template <typename V>
std::vector<V> listOf(Array<V> const& values) {
    return std::vector<V>(values.data(), values.data() + values.size());
}

template <typename T>
View2<const T> optionalView(py::object const& array, const char* name) {
    if (array.is_none()) return View2<const T>();
    return viewOf<const T>(py::reinterpret_borrow<py::array>(array), name);
}

template <typename Row>
py::array_t<Row> tableOf(std::vector<Row> const& rows) {
    py::array_t<Row> out(static_cast<py::ssize_t>(rows.size()));
    std::copy(rows.begin(), rows.end(), out.mutable_data());
    return out;
}

// Footprints as (spans (n, 3), offsets); None: none.
inline std::vector<SpanSet> footprintsOf(py::object const& packed) {
    std::vector<SpanSet> out;
    if (packed.is_none()) return out;
    const auto pair = packed.cast<py::tuple>();
    const auto spans = pair[0].cast<Array<std::int32_t>>();
    const auto offsets = pair[1].cast<Array<std::int64_t>>();
    for (py::ssize_t i = 0; i + 1 < offsets.size(); ++i) {
        std::vector<Span> list;
        for (std::int64_t k = offsets.at(i); k < offsets.at(i + 1); ++k) {
            list.push_back({spans.at(k, 0), spans.at(k, 1), spans.at(k, 2)});
        }
        out.push_back(SpanSet(std::move(list)));
    }
    return out;
}

inline StampStack stackOf(Array<double> const& stamps) {
    if (stamps.ndim() != 3) throw ShapeError("stamps: wanted an array of shape (n, height, width)");
    return {stamps.data(), static_cast<int>(stamps.shape(0)), static_cast<int>(stamps.shape(2)),
            static_cast<int>(stamps.shape(1))};
}

// Calls body(input) with the image's pixel type and the GIL released.
template <typename Body>
auto withInput(py::array const& image, py::object const& variance, py::object const& mask, MaskPixel badBits,
               Body const& body) {
    const auto var = optionalView<VariancePixel>(variance, "variance");
    const auto bits = optionalView<MaskPixel>(mask, "mask");
    if (py::isinstance<py::array_t<double>>(image)) {
        const MeasureInput<double> input(viewOf<const double>(image, "image"), var, bits, badBits);
        py::gil_scoped_release release;
        return body(input);
    }
    const MeasureInput<float> input(viewOf<const float>(image, "image"), var, bits, badBits);
    py::gil_scoped_release release;
    return body(input);
}

}  // namespace measure_views
}  // namespace stillsky
