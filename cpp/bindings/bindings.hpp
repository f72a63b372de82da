// One function per room; each lives in bind_ROOM.cpp.
#pragma once

#include <pybind11/pybind11.h>

namespace stillsky {
namespace py = pybind11;

void bindErrors(py::module_& m);
void bindCore(py::module_& m);
void bindMath(py::module_& m);
void bindImage(py::module_& m);
void bindStitch(py::module_& m);
void bindSpans(py::module_& m);
void bindStats(py::module_& m);
void bindKernel(py::module_& m);
void bindMeasure(py::module_& m);
void bindStack(py::module_& m);
void bindWarp(py::module_& m);
void bindPtc(py::module_& m);
void bindDcr(py::module_& m);
void bindPsfmatchBasis(py::module_& m);
void bindPsfmatch(py::module_& m);

}  // namespace stillsky
