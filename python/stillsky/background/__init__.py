"""Background models: statistics in cells of a grid, interpolated or approximated over the image.

`makeBackground` measures the grid, `Background.image` evaluates it; `fitBackground` and `subtractBackground` are the
usual sequence with the settings of `SubtractBackgroundConfig`.
"""

from .approximate import ApproximateControl, ChebyshevApproximation
from .background import Background, BackgroundList, makeBackground
from .control import BackgroundControl, InterpolateStyle, UndersampleStyle, interpolate, maxInterpStyle, minInterpPoints
from .scale_variance import ExceedsMaxVarianceScaleError, computeScaleFactors, scaleVariance
from .subtract import BackgroundSettings, SubtractedBackground, fitBackground, subtractBackground

__all__ = [
    "ApproximateControl",
    "Background",
    "BackgroundControl",
    "BackgroundList",
    "BackgroundSettings",
    "ChebyshevApproximation",
    "ExceedsMaxVarianceScaleError",
    "InterpolateStyle",
    "SubtractBackgroundConfig",
    "SubtractedBackground",
    "UndersampleStyle",
    "computeScaleFactors",
    "fitBackground",
    "interpolate",
    "makeBackground",
    "maxInterpStyle",
    "minInterpPoints",
    "scaleVariance",
    "subtractBackground",
]


def __getattr__(name):
    if name == "SubtractBackgroundConfig":  # loads lsst.pex.config
        from .config import SubtractBackgroundConfig

        return SubtractBackgroundConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
