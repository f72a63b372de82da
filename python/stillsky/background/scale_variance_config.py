"""Configuration of the rescaling of variance planes."""

from lsst.pex.config import Config, ConfigField, ListField, RangeField

from .config import SubtractBackgroundConfig

__all__ = ["ScaleVarianceConfig"]

_PLANES = ("DETECTED", "DETECTED_NEGATIVE", "BAD", "SAT", "NO_DATA", "INTRP")


class ScaleVarianceConfig(Config):
    """How far a variance plane may be off, and which pixels tell; the algorithm is `stillsky.background.scaleVariance`."""

    background = ConfigField("Background that is removed, from a copy, before the scatter is measured.",
                             SubtractBackgroundConfig)  # fmt: skip
    maskPlanes = ListField(dtype=str, doc="Mask planes whose pixels are left out.", default=list(_PLANES))
    limit = RangeField(
        dtype=float, doc="Largest factor that is believed; beyond it the image-based one is tried.", default=10.0,
        min=0.0, inclusiveMin=False,
    )  # fmt: skip
    mapCells = RangeField(
        dtype=int,
        doc="Cells along each axis of a map of factors, for variance planes that are wrong by a gradient; 0: one factor.",
        default=0,
        min=0,
        max=64,
        inclusiveMax=True,
    )

    def setDefaults(self):
        super().setDefaults()
        self.background.binSize = 32
        self.background.useApprox = False
        self.background.undersampleStyle = "REDUCE_INTERP_ORDER"
        self.background.isNanSafe = True
        self.background.ignoredPixelMask = list(_PLANES)
