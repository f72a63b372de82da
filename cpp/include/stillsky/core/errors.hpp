// The exceptions of the library. In Python each becomes stillsky.<Name>, which also derives from the named builtin.
// A message says what was wanted, what was given, and which argument.
#pragma once

#include <stdexcept>
#include <string>

namespace stillsky {

// Base of all others, and: operation impossible in this state. Python: RuntimeError.
class StillskyError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

// Dimensions or boxes do not fit. Python: ValueError.
class ShapeError : public StillskyError {
public:
    using StillskyError::StillskyError;
};

// A parameter lies outside its allowed set. Python: ValueError.
class DomainError : public StillskyError {
public:
    using StillskyError::StillskyError;
};

// A pixel, cell or list index is out of range. Python: IndexError.
class OutOfBoundsError : public StillskyError {
public:
    using StillskyError::StillskyError;
};

// Unknown mask plane, schemas that differ, too many planes. Python: ValueError.
class MaskSchemaError : public StillskyError {
public:
    using StillskyError::StillskyError;
};

// Nothing is left after masking or clipping. Python: RuntimeError.
class NoDataError : public StillskyError {
public:
    using StillskyError::StillskyError;
};

// A look-up by key found nothing. Python: KeyError.
class NotFoundError : public StillskyError {
public:
    using StillskyError::StillskyError;
};

// Singular or non-finite where a result is impossible. Python: ArithmeticError.
class NumericalError : public StillskyError {
public:
    using StillskyError::StillskyError;
};

}  // namespace stillsky
