// Conversions shared by the bindings of the room psfmatch: boxes, matrices, masked images given as Python objects.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <utility>
#include <vector>

#include "numpy_view.hpp"
#include "stillsky/geom/box.hpp"
#include "stillsky/image/image.hpp"
#include "stillsky/math/matrix.hpp"

namespace stillsky {
namespace py = pybind11;

void bindPsfmatchSolve(py::module_& m);
void bindPsfmatchSettings(py::module_& m);
void bindPsfmatchCells(py::module_& m);
void bindPsfmatchSolutions(py::module_& m);
void bindPsfmatchCandidates(py::module_& m);
void bindPsfmatchFit(py::module_& m);

// From a stillsky.geom.Box2I (or anything with minX, minY, width and height), or a tuple (x0, y0, width, height).
inline Box2I boxOf(py::handle box) {
    if (py::isinstance<py::tuple>(box)) {
        const auto t = box.cast<std::tuple<int, int, int, int>>();
        return Box2I({std::get<0>(t), std::get<1>(t)}, {std::get<2>(t), std::get<3>(t)});
    }
    return Box2I({box.attr("minX").cast<int>(), box.attr("minY").cast<int>()},
                 {box.attr("width").cast<int>(), box.attr("height").cast<int>()});
}

inline py::object boxToPython(Box2I const& box) {
    py::module_ geom = py::module_::import("stillsky.geom");
    return geom.attr("Box2I")(geom.attr("Point2I")(box.minX(), box.minY()),
                              geom.attr("Extent2I")(box.width(), box.height()));
}

inline DenseMatrix matrixOf(py::array_t<double, py::array::c_style | py::array::forcecast> const& array, const char* name) {
    if (array.ndim() != 2) {
        throw ShapeError(std::string(name) + ": wanted a 2-D array, got " + std::to_string(array.ndim()) + " dimensions");
    }
    DenseMatrix out(static_cast<int>(array.shape(0)), static_cast<int>(array.shape(1)));
    std::copy_n(array.data(), array.size(), out.data());
    return out;
}

inline std::vector<double> vectorOf(py::array_t<double, py::array::c_style | py::array::forcecast> const& array) {
    return std::vector<double>(array.data(), array.data() + array.size());
}

inline py::array_t<double> arrayOfMatrix(DenseMatrix const& matrix) {
    py::array_t<double> out({matrix.rows(), matrix.cols()});
    std::copy_n(matrix.data(), out.size(), out.mutable_data());
    return out;
}

inline py::array_t<double> arrayOfVector(std::vector<double> const& values) {
    py::array_t<double> out(static_cast<py::ssize_t>(values.size()));
    std::copy_n(values.data(), values.size(), out.mutable_data());
    return out;
}

// The array of an Image or Mask object, or the array itself.
inline py::array planeOf(py::handle object) {
    return py::hasattr(object, "array") ? py::array(object.attr("array")) : py::array::ensure(object);
}

// Parent coordinates of the first pixel: the object's xy0 (a point or a pair), or (0, 0).
inline Point2I originOf(py::handle object) {
    if (!py::hasattr(object, "xy0")) return {};
    py::object xy0 = object.attr("xy0");
    if (py::hasattr(xy0, "x")) return {xy0.attr("x").cast<int>(), xy0.attr("y").cast<int>()};
    return pointOf(xy0.cast<std::pair<int, int>>());
}

// Calls f(MaskedView<const float>) or f(MaskedView<const double>) with the planes of a Python masked image: an object
// with image, mask and variance. TypeError for other pixel types.
template <typename Function>
auto withMaskedView(py::handle object, const char* name, Function&& f) {
    for (const char* attribute : {"image", "mask", "variance"}) {
        if (!py::hasattr(object, attribute)) {
            throw py::type_error(std::string(name) + ": wanted a MaskedImage (with image, mask and variance), got " +
                                 std::string(py::str(py::type::handle_of(object))));
        }
    }
    py::object image = object.attr("image");
    const py::array pixels = planeOf(image), mask = planeOf(object.attr("mask"));
    const py::array variance = planeOf(object.attr("variance"));
    const Point2I xy0 = originOf(py::hasattr(object, "xy0") ? object : py::handle(image));
    if (py::isinstance<py::array_t<double>>(pixels)) return f(maskedViewOf<const double>(pixels, mask, variance, xy0));
    return f(maskedViewOf<const float>(pixels, mask, variance, xy0));
}

// A view of an image given as an array or an Image; doubles are used as they are, floats too.
template <typename Function>
auto withImageView(py::handle object, const char* name, Function&& f) {
    const py::array pixels = planeOf(object);
    if (py::isinstance<py::array_t<double>>(pixels)) return f(viewOf<const double>(pixels, name));
    return f(viewOf<const float>(pixels, name));
}

}  // namespace stillsky
