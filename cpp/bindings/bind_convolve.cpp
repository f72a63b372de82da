#include "bindings.hpp"

namespace stillsky {

void bindConvolve(py::module_&) {}

}  // namespace stillsky
