#include "bindings.hpp"

namespace stillsky {

void bindWarp(py::module_&) {}

}  // namespace stillsky
