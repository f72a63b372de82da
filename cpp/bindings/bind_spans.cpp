#include "bindings.hpp"

namespace stillsky {

void bindSpans(py::module_&) {}

}  // namespace stillsky
