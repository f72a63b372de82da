#include "bindings.hpp"

namespace stillsky {

void bindMath(py::module_&) {}

}  // namespace stillsky
