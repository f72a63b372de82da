// The room psfmatch; one file per topic.
#include "bindings.hpp"
#include "psfmatch_common.hpp"

namespace stillsky {

void bindPsfmatch(py::module_& m) {
    bindPsfmatchSolve(m);
    bindPsfmatchSettings(m);
    bindPsfmatchCells(m);
    bindPsfmatchSolutions(m);
    bindPsfmatchCandidates(m);
    bindPsfmatchFit(m);
}

}  // namespace stillsky
