#include "bindings.hpp"

namespace stillsky {

void bindKernel(py::module_&) {}

}  // namespace stillsky
