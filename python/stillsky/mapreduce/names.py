"""Objects by name."""

import importlib

from ..errors import DomainError

__all__ = ["loadObject"]


def loadObject(name):
    """The object that ``module:name`` names.

    Raises
    ------
    DomainError
        No such module or object, or the text has another form.
    """
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        raise DomainError(f"wanted module:name, got {name!r}")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise DomainError(f"cannot load {name}: {error}") from error
