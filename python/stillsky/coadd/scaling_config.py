"""Configuration of the scaling to a zero point."""

from lsst.pex.config import ChoiceField, Config, Field

__all__ = ["ScaleZeroPointConfig", "SpatialScaleZeroPointConfig"]


class ScaleZeroPointConfig(Config):
    """Zero point to which exposures are scaled; the algorithm is `stillsky.coadd.computeImageScaler`."""

    zeroPoint = Field(dtype=float, default=27.0, doc="AB magnitude of a source of flux 1 after scaling.")


class SpatialScaleZeroPointConfig(ScaleZeroPointConfig):
    """As `ScaleZeroPointConfig`, with factors measured at several positions of an exposure."""

    interpStyle = ChoiceField(
        dtype=str,
        default="CONSTANT",
        optional=False,
        allowed={"CONSTANT": "mean of all factors"},
        doc="How the factors are interpolated.",
    )
