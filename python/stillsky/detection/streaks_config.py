"""Configuration of the search for streaks."""

from lsst.pex.config import Config, Field, ListField, RangeField

__all__ = ["MaskStreaksConfig"]


class MaskStreaksConfig(Config):
    """How straight trails are found and how wide they are masked; the algorithm is `stillsky.detection.findStreaks`."""

    detectedMaskPlane = Field(dtype=str, doc="Mask plane in which lines are sought.", default="DETECTED")
    streaksMaskPlane = Field(dtype=str, doc="Mask plane that is set on them.", default="STREAK")
    badMaskPlanes = ListField(
        dtype=str, doc="Mask planes whose pixels are left out.",
        default=["NO_DATA", "BAD", "SAT", "CR", "INTRP", "EDGE"],
    )  # fmt: skip
    onlyMaskDetected = Field(
        dtype=bool, doc="Set the plane on detected pixels only, not over the whole width and length.", default=False
    )
    binFactor = RangeField(dtype=int, doc="Pixels along a side of the cells that vote.", default=4, min=1, max=32)
    thickness = RangeField(
        dtype=float, doc="Detected regions into which a disc of this radius fits (pixels) do not vote: bright stars.",
        default=12.0, min=1.0,
    )  # fmt: skip
    thetaBinSize = RangeField(dtype=float, doc="Step of the angles that are tried, degrees.", default=0.5, min=0.05)
    minSignificance = RangeField(
        dtype=float, doc="Votes of a line above those of chance, in standard deviations.", default=5.0, min=1.0
    )
    minLength = RangeField(dtype=float, doc="Shortest streak, pixels.", default=100.0, min=8.0)
    minFilledFraction = RangeField(
        dtype=float, doc="Part of a streak's length along which its light must be seen.", default=0.5, min=0.0, max=1.0
    )
    minProfileSignificance = RangeField(
        dtype=float, doc="Light of a streak over its noise, along its whole length.", default=15.0, min=1.0
    )
    maxHalfWidth = RangeField(
        dtype=int, doc="Largest distance from the axis that is looked at, pixels.", default=40, min=4
    )
    nSigmaMask = RangeField(
        dtype=float,
        doc="The mask ends where the profile falls below this part of a pixel's noise.",
        default=0.5,
        min=0.01,
    )
    maxStreaks = RangeField(dtype=int, doc="Most streaks that are sought in one image.", default=20, min=1)
