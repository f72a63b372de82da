"""Configuration of the whole job: from files of flats to a fitted photon transfer curve."""

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, FieldValidationError, RangeField

from .config import PhotonTransferCurveExtractAlgorithmConfig
from .solve_config import PhotonTransferCurveSolveAlgorithmConfig

__all__ = ["LimitsConfig", "PhotonTransferJobConfig", "PixelMapsConfig"]


class LimitsConfig(Config):
    """Limits beyond which an amplifier fails; null: no limit."""

    gainScatter = RangeField(
        dtype=float, doc="Relative distance of a gain from the median of the amplifiers.", default=0.15, min=0.0,
        optional=True,
    )  # fmt: skip
    noise = RangeField(dtype=float, doc="Read noise in electrons.", default=None, min=0.0, optional=True)
    chi2Dof = RangeField(dtype=float, doc="Reduced chi-square of the fit.", default=None, min=0.0, optional=True)


class PixelMapsConfig(Config):
    """Gain and noise per pixel."""

    minLevels = RangeField(dtype=int, doc="Fewest light levels of a line.", default=3, min=2)
    minFrames = RangeField(dtype=int, doc="Fewest frames of a light level.", default=20, min=3)
    memory = RangeField(dtype=int, doc="Megabytes for the frames of a band of rows.", default=64, min=1)


class PhotonTransferJobConfig(Config):
    """From files to a table."""

    pairBy = ChoiceField(
        dtype=str,
        optional=False,
        doc="What the two flats of a pair have in common.",
        default="auto",
        allowed={
            "auto": "pairKey if given, else exposure time (without any, flat1 and flat2 in the names), else the level",
            "time": "exposure time",
            "key": "value of the header key pairKey",
            "name": "file name up to flat1 or flat2",
            "order": "first and second, third and fourth, ...",
            "level": "median of the pixels within levelTolerance",
        },
    )
    pairKey = Field(dtype=str, doc="Header key whose equal values make a pair.", default=None, optional=True)
    levelTolerance = RangeField(
        dtype=float, doc="Largest relative difference of the medians of a pair by level.", default=0.1, min=0.0
    )
    subtractOverscan = Field(
        dtype=bool, doc="Subtract the median of every row of the serial overscan, where there is one.", default=True
    )
    findBadPixels = Field(
        dtype=bool,
        doc="Mask pixels that respond less than half or more than 1.5 times as their neighbours to light.",
        default=True,
    )
    pedestalSubtracted = Field(
        dtype=bool, doc="The files have neither bias nor pedestal any more: no warning about it.", default=False
    )
    saturation = Field(
        dtype=float, doc="Raw values from here on are flagged SAT; unset: the header's, else the converter's largest value.",
        default=None, optional=True,
    )  # fmt: skip
    minPairs = RangeField(dtype=int, doc="Fewest pairs that are a photon transfer curve.", default=2, min=1)
    extract = ConfigField("Measurement of the pairs.", PhotonTransferCurveExtractAlgorithmConfig)
    solve = ConfigField("Fit of the curve.", PhotonTransferCurveSolveAlgorithmConfig)
    pixelMaps = ConfigField("Gain and noise per pixel.", PixelMapsConfig)
    limits = ConfigField("Limits of the report.", LimitsConfig)

    def validate(self):
        super().validate()
        if self.pairBy == "key" and not self.pairKey:
            raise FieldValidationError(type(self).pairKey, self, "pairBy = key needs the name of a header key")
        if self.solve.maximumRangeCovariancesAstier != self.extract.maximumRangeCovariancesAstier:
            text = "extract and solve need the same maximumRangeCovariancesAstier (--range N sets all)"
            raise FieldValidationError(type(self.solve).maximumRangeCovariancesAstier, self.solve, text)
        if self.solve.binSize != self.extract.binSize:
            raise FieldValidationError(type(self.solve).binSize, self.solve, "extract and solve need the same binSize")
