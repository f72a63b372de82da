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
    "KernelPair",
    "PsfPair",
    "ZogyArrays",
    "ZogyResult",
    "astrometricVariance",
    "fluxFromScore",
    "generateGrid",
    "padCenterOriginArray",
    "scoreCorr",
    "splitBorder",
    "zogy",
    "zogyExposures",
    "zogyTransfer",
    "FluxRatio",
    "fitFluxRatio",
    "ZogyConfig",
    "ZogyImagePsfMatchConfig",
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
    "KernelPair": "zogy_nodes",
    "PsfPair": "zogy_nodes",
    "ZogyArrays": "zogy_arrays",
    "ZogyResult": "zogy_exposures",
    "astrometricVariance": "zogy_arrays",
    "fluxFromScore": "zogy_arrays",
    "generateGrid": "zogy_layout",
    "padCenterOriginArray": "zogy_layout",
    "scoreCorr": "zogy_arrays",
    "splitBorder": "zogy_layout",
    "zogy": "zogy_arrays",
    "zogyExposures": "zogy_exposures",
    "zogyTransfer": "zogy_transfer",
    "FluxRatio": "zogy_scale",
    "fitFluxRatio": "zogy_scale",
    "ZogyConfig": "zogy_config",
    "ZogyImagePsfMatchConfig": "zogy_config",
    "ZogyImagePsfMatchTask": "zogy_task",
    "ZogyMapper": "zogy_task",
    "ZogyTask": "zogy_task",
}


def __getattr__(name):
    # lsst.pex.config takes a second to load: only those who touch a configuration pay for it
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
