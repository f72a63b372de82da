// The room psfmatch; one file per topic.
#include "bindings.hpp"
#include "psfmatch_common.hpp"

namespace stillsky {

void bindPsfmatch(py::module_& m) {
    bindPsfmatchSolve(m);
    bindPsfmatchCells(m);
}

}  // namespace stillsky
