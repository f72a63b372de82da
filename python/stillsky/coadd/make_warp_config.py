"""Configuration of warps."""

from lsst.pex.config import Config, ConfigField, Field, RangeField

from ..psfmatch.config import ModelPsfMatchConfig
from ..warp.config import WarperConfig

__all__ = ["MakeWarpAlgorithmConfig", "MakeWarpFields"]


class MakeWarpFields(Config):
    """From the detectors of a visit to its warps."""

    makePsfMatched = Field(dtype=bool, doc="Also make a warp of one PSF, with which artifacts are found.", default=True)
    modelPsfFwhm = RangeField(
        dtype=float,
        doc="FWHM of that PSF in pixels of the tract; the same for all visits, larger than their seeing.",
        default=7.7,
        min=0,
        inclusiveMin=False,
    )
    requireCalibration = Field(
        dtype=bool,
        doc="Refuse detectors without photometric calibration; otherwise counts are taken as nJy.",
        default=True,
    )
    warp = ConfigField("Resampling.", WarperConfig)
    modelPsfMatch = ConfigField("Matching to the model PSF.", ModelPsfMatchConfig)


class MakeWarpAlgorithmConfig(MakeWarpFields):
    """Configuration of `makeWarp`."""
