#include "bindings.hpp"

namespace stillsky {

void bindStats(py::module_&) {}

}  // namespace stillsky
