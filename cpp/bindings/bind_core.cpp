#include "bindings.hpp"
#include "stillsky/core/config.hpp"
#include "stillsky/core/parallel.hpp"

namespace stillsky {

void bindCore(py::module_& m) {
    m.def("version", &version);
    m.def("simdTargets", &simdTargets);
    m.def("getNumThreads", &getNumThreads);
    m.def("setNumThreads", &setNumThreads, py::arg("n"));
}

}  // namespace stillsky
