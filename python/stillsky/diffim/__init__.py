"""Image differencing: `subtract` two exposures, or `matchPsfs` only."""

import importlib

__all__ = ["MatchResult", "SubtractConfig", "SubtractResult", "matchPsfs", "subtract"]

_MODULES = {
    "MatchResult": "result",
    "SubtractConfig": "config",
    "SubtractResult": "result",
    "matchPsfs": "algorithm",
    "subtract": "algorithm",
}


def __getattr__(name):
    # lsst.pex.config takes a second to load: only those who touch a configuration pay for it
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
