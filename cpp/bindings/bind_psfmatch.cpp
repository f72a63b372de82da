#include "bindings.hpp"

namespace stillsky {

void bindPsfmatch(py::module_&) {}

}  // namespace stillsky
