// The only place where C++ exceptions become Python classes. The classes themselves are Python, in stillsky/errors.py,
// so that importing them does not load the extension.
#include <pybind11/pybind11.h>

#include <exception>

#include "bindings.hpp"
#include "stillsky/core/errors.hpp"

namespace stillsky {
namespace {

void raise(const char* name, const char* message) {
    py::object type = py::module_::import("stillsky.errors").attr(name);
    py::set_error(type, message);
}

}  // namespace

void bindErrors(py::module_&) {
    py::register_local_exception_translator([](std::exception_ptr p) {
        try {
            if (p) std::rethrow_exception(p);
        } catch (ShapeError const& e) {
            raise("ShapeError", e.what());
        } catch (DomainError const& e) {
            raise("DomainError", e.what());
        } catch (OutOfBoundsError const& e) {
            raise("OutOfBoundsError", e.what());
        } catch (MaskSchemaError const& e) {
            raise("MaskSchemaError", e.what());
        } catch (NoDataError const& e) {
            raise("NoDataError", e.what());
        } catch (NotFoundError const& e) {
            raise("NotFoundError", e.what());
        } catch (NumericalError const& e) {
            raise("NumericalError", e.what());
        } catch (StillskyError const& e) {
            raise("StillskyError", e.what());
        }
    });
}

}  // namespace stillsky
