// The only conversion between NumPy arrays and views: dtype, dimensions, strides and writability are checked here.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <string>
#include <utility>

#include "stillsky/core/view.hpp"
#include "stillsky/image/image.hpp"

namespace stillsky {
namespace py = pybind11;

// Borrow a 2-D array for the length of a call. No copy is ever made: a wrong dtype or byte order is a TypeError, a
// wrong number of dimensions or rows that are not contiguous a ShapeError, read-only where writing is asked a
// TypeError. `name` is the argument's name, for the message.
template <typename T>
View2<T> viewOf(py::array const& array, const char* name) {
    using Pixel = std::remove_const_t<T>;
    if (!py::isinstance<py::array_t<Pixel>>(array)) {
        throw py::type_error(std::string(name) + ": wanted a native " + std::string(py::str(py::dtype::of<Pixel>())) +
                             " array, got " + std::string(py::str(array.dtype())));
    }
    if (array.ndim() != 2) {
        throw ShapeError(std::string(name) + ": wanted a 2-D array, got " + std::to_string(array.ndim()) + " dimensions");
    }
    if (array.size() > 0 && ((array.shape(1) > 1 && array.strides(1) != static_cast<py::ssize_t>(sizeof(Pixel))) ||
                             array.strides(0) % static_cast<py::ssize_t>(sizeof(Pixel)) != 0)) {
        throw ShapeError(std::string(name) + ": rows must be contiguous in memory (use numpy.ascontiguousarray)");
    }
    if (!std::is_const<T>::value && !array.writeable()) {
        throw py::type_error(std::string(name) + ": array is read-only");
    }
    return View2<T>(static_cast<T*>(const_cast<void*>(array.data())), static_cast<int>(array.shape(1)),
                    static_cast<int>(array.shape(0)),
                    array.strides(0) / static_cast<py::ssize_t>(sizeof(Pixel)));
}

// Image, mask and variance arrays as one view.
template <typename T>
MaskedView<T> maskedViewOf(py::array const& image, py::array const& mask, py::array const& variance,
                           Point2I xy0 = Point2I()) {
    return MaskedView<T>(viewOf<T>(image, "image"), viewOf<typename MaskedView<T>::Mask>(mask, "mask"),
                         viewOf<typename MaskedView<T>::Variance>(variance, "variance"), xy0);
}

// A new NumPy array holding a copy of the pixels.
template <typename T>
py::array_t<std::remove_const_t<T>> arrayOf(View2<T> view) {
    py::array_t<std::remove_const_t<T>> out({view.height, view.width});
    for (int y = 0; y < view.height; ++y) std::copy_n(view.row(y), view.width, out.mutable_data(y, 0));
    return out;
}

// (x, y) tuples from Python and back.
inline Point2I pointOf(std::pair<int, int> const& xy) { return {xy.first, xy.second}; }

}  // namespace stillsky
