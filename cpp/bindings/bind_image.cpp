#include "bindings.hpp"

namespace stillsky {

void bindImage(py::module_&) {}

}  // namespace stillsky
