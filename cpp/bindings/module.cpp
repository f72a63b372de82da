// Defines _core: calls one bind function per room, left to right, and nothing else.
#include <pybind11/pybind11.h>

#include "bindings.hpp"

PYBIND11_MODULE(_core, m) {
    m.doc() = "Compiled core of stillsky. Private: use the stillsky packages.";
    stillsky::bindErrors(m);
    stillsky::bindCore(m);
    stillsky::bindMath(m);
    stillsky::bindImage(m);
    stillsky::bindStitch(m);
    stillsky::bindSpans(m);
    stillsky::bindStats(m);
    stillsky::bindKernel(m);
    stillsky::bindMeasure(m);
    stillsky::bindStack(m);
    stillsky::bindWarp(m);
    stillsky::bindPsfmatchBasis(m);
    stillsky::bindPsfmatch(m);
    stillsky::bindPtc(m);
    stillsky::bindDcr(m);
}
