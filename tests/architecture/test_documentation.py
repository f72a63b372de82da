"""Every public name says what it is."""

import importlib
import inspect
import pkgutil

import stillsky


def _publicCallables(module):
    """(name, documented) of the functions and classes that a module defines, and of what its classes define."""
    for name, item in vars(module).items():
        if name.startswith("_") or getattr(item, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(item):
            yield name, bool(inspect.getdoc(item))
        elif inspect.isclass(item):
            yield name, bool(item.__doc__)
            for member, value in vars(item).items():
                function = getattr(value, "__func__", value)
                if not member.startswith("_") and (isinstance(value, property) or inspect.isfunction(function)):
                    yield f"{name}.{member}", bool(inspect.getdoc(value) or inspect.getdoc(getattr(item, member)))


def testEveryPublicFunctionClassMethodAndPropertyHasADocstring():
    seen, missing = 0, []
    for info in pkgutil.walk_packages(stillsky.__path__, "stillsky."):
        if "._" in info.name:  # private, or a program
            continue
        for name, documented in _publicCallables(importlib.import_module(info.name)):
            seen += 1
            if not documented:
                missing.append(f"{info.name}: {name}")
    assert seen > 1500
    assert not missing
