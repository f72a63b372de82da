"""Configuration of the scaling to a zero point."""

from lsst.pex.config import Config, Field

__all__ = ["ScaleZeroPointConfig"]


class ScaleZeroPointConfig(Config):
    """Zero point to which exposures are scaled; the algorithm is `stillsky.coadd.computeImageScaler`."""

    zeroPoint = Field(dtype=float, default=27.0, doc="AB magnitude of a source of flux 1 after scaling.")
