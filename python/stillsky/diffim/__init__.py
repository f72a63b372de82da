"""Image differencing: `subtract` two exposures, or `matchPsfs` only."""

import importlib

__all__ = [
    "DecorrelateConfig",
    "DecorrelateResult",
    "MatchResult",
    "SubtractConfig",
    "SubtractResult",
    "decorrelate",
    "decorrelationTransfer",
    "matchPsfs",
    "scoreTransfer",
    "subtract",
]

_MODULES = {
    "DecorrelateALKernelConfig": "decorrelate_config",
    "DecorrelateALKernelMapper": "decorrelate_task",
    "DecorrelateALKernelSpatialConfig": "decorrelate_task",
    "DecorrelateALKernelSpatialTask": "decorrelate_task",
    "DecorrelateALKernelTask": "decorrelate_task",
    "DecorrelateConfig": "decorrelate_config",
    "DecorrelateResult": "decorrelation",
    "MatchResult": "result",
    "SubtractConfig": "config",
    "SubtractResult": "result",
    "decorrelate": "decorrelation",
    "decorrelationTransfer": "transfer",
    "matchPsfs": "algorithm",
    "scoreTransfer": "transfer",
    "subtract": "algorithm",
}


def __getattr__(name):
    # lsst.pex.config takes a second to load: only those who touch a configuration pay for it
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
