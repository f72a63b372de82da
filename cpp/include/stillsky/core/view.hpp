// View2: a borrowed rectangle of pixels. The only array currency between C++ functions, and between C++ and NumPy.
#pragma once

#include <cstddef>
#include <string>
#include <type_traits>

#include "stillsky/core/errors.hpp"

namespace stillsky {

// Pointer, size and row stride of a 2-D array whose rows are contiguous. Never owns; copies are cheap.
// Index order: row y, column x; (x, y) in every argument list. `stride` is in elements, not bytes.
template <typename T>
struct View2 {
    T* data = nullptr;
    int width = 0;
    int height = 0;
    std::ptrdiff_t stride = 0;

    View2() = default;
    View2(T* data_, int width_, int height_, std::ptrdiff_t stride_)
            : data(data_), width(width_), height(height_), stride(stride_) {}
    View2(T* data_, int width_, int height_) : View2(data_, width_, height_, width_) {}

    // A view of mutable pixels serves where constant ones are wanted.
    template <typename U, typename = std::enable_if_t<std::is_same<T, const U>::value>>
    View2(View2<U> const& other) : View2(other.data, other.width, other.height, other.stride) {}

    T* row(int y) const { return data + static_cast<std::ptrdiff_t>(y) * stride; }
    T& operator()(int x, int y) const { return row(y)[x]; }
    bool empty() const { return width <= 0 || height <= 0; }
    long long size() const { return static_cast<long long>(width) * height; }

    // The w x h rectangle whose first pixel is (x0, y0). ShapeError when it does not lie inside.
    View2 sub(int x0, int y0, int w, int h) const {
        if (x0 < 0 || y0 < 0 || w < 0 || h < 0 || x0 + w > width || y0 + h > height) {
            throw ShapeError("View2::sub: rectangle at (" + std::to_string(x0) + ", " + std::to_string(y0) +
                             ") of " + std::to_string(w) + "x" + std::to_string(h) + " is not inside " +
                             std::to_string(width) + "x" + std::to_string(height));
        }
        return View2(row(y0) + x0, w, h, stride);
    }
};

}  // namespace stillsky
