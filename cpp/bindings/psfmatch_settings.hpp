// PsfMatchSettings from Python: the object itself, or a mapping with the configuration's field names.
#pragma once

#include <pybind11/pybind11.h>

#include "stillsky/psfmatch/settings.hpp"

namespace stillsky {
namespace py = pybind11;

// KeyError for a missing field, TypeError for one of a wrong type, DomainError for a value that is not allowed.
// `maskSchema` (anything with bitmask(names, ignoreMissing=True)) gives the bits of the bad planes; without one they
// are the standard bits.
PsfMatchSettings settingsOf(py::handle object, py::handle maskSchema = py::none());

}  // namespace stillsky
