#include "bindings.hpp"

namespace stillsky {

void bindMeasure(py::module_&) {}

}  // namespace stillsky
