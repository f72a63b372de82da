// Points and boxes between Python and C++. The Python classes live in stillsky.geom; anything with the same attributes
// (or, for points, any pair) serves.
#pragma once

#include <pybind11/pybind11.h>

#include <string>

#include "stillsky/core/errors.hpp"
#include "stillsky/geom/box.hpp"

namespace stillsky {
namespace py = pybind11;

// Two numbers from a Point, Extent, tuple or list.
template <typename T>
Point<T> pointFrom(py::handle object, const char* name) {
    py::tuple pair = py::reinterpret_steal<py::tuple>(PySequence_Tuple(object.ptr()));
    if (!pair) {
        PyErr_Clear();
        throw py::type_error(std::string(name) + ": wanted a pair (x, y)");
    }
    if (pair.size() != 2) throw py::type_error(std::string(name) + ": wanted a pair (x, y)");
    return {pair[0].cast<T>(), pair[1].cast<T>()};
}

inline Box2I box2IFrom(py::handle box) {
    return Box2I({box.attr("minX").cast<int>(), box.attr("minY").cast<int>()},
                 {box.attr("width").cast<int>(), box.attr("height").cast<int>()});
}

// A Box2D as it is, a Box2I extended by half a pixel on every side, or (minX, minY, maxX, maxY) of a real box.
inline Box2D box2DFrom(py::handle box) {
    if (py::isinstance<py::sequence>(box) && !py::hasattr(box, "minX")) {
        const py::sequence corners = py::reinterpret_borrow<py::sequence>(box);
        if (corners.size() != 4) throw py::type_error("box: wanted (minX, minY, maxX, maxY), a Box2D or a Box2I");
        return {corners[0].cast<double>(), corners[1].cast<double>(), corners[2].cast<double>(),
                corners[3].cast<double>()};
    }
    const double minX = box.attr("minX").cast<double>(), maxX = box.attr("maxX").cast<double>();
    const double minY = box.attr("minY").cast<double>(), maxY = box.attr("maxY").cast<double>();
    // A box of pixels is wider than max - min by one.
    const double growX = 0.5 * (box.attr("width").cast<double>() - (maxX - minX));
    const double growY = 0.5 * (box.attr("height").cast<double>() - (maxY - minY));
    return {minX - growX, minY - growY, maxX + growX, maxY + growY};
}

inline py::object box2ITo(Box2I const& box) {
    py::object type = py::module_::import("stillsky.geom").attr("Box2I");
    return type(py::make_tuple(box.minX(), box.minY()), py::make_tuple(box.width(), box.height()));
}

}  // namespace stillsky
