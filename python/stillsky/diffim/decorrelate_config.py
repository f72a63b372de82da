"""Configuration of the decorrelation of difference images."""

from lsst.pex.config import Config, Field, ListField, RangeField

__all__ = ["DecorrelateALKernelConfig", "DecorrelateConfig", "STATISTICS_PLANES"]

STATISTICS_PLANES = ("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE")


class DecorrelateALKernelConfig(Config):
    """Decorrelation with the kernel at one position, in one transform of the whole image."""

    ignoreMaskPlanes = ListField(
        dtype=str,
        doc="Mask planes to ignore for sigma-clipped statistics of the variance planes.",
        default=list(STATISTICS_PLANES),
    )
    completeVarPlanePropagation = Field(
        dtype=bool,
        doc="Filter both variance planes with the squared filters, instead of taking them as constant over a filter.",
        default=False,
    )
    holePlanes = ListField(
        dtype=str,
        doc="Pixels with one of these planes keep their value, and do not spread it, when they deviate by more than "
        "holeSigma. Pixels that are not finite always do.",
        default=["SAT", "CR", "BAD", "NO_DATA"],
    )
    holeSigma = RangeField(dtype=float, doc="See holePlanes.", default=5.0, min=0.0)
    updatePsf = Field(
        dtype=bool,
        doc="Give the result its own PSF, which is narrower than that of the images, instead of theirs.",
        default=True,
    )
    compat = Field(
        dtype=bool,
        doc="As the LSST pipelines: not finite pixels filled by the mean, zero beyond the borders, masked pixels spread.",
        default=False,
    )


class DecorrelateConfig(DecorrelateALKernelConfig):
    """Decorrelation that follows the kernel over the image, tile by tile."""

    spatiallyVarying = Field(
        dtype=bool,
        doc="Take kernel and noise at the centre of every tile; otherwise those of the whole image, in one transform.",
        default=True,
    )
    tileSize = RangeField(
        dtype=int, doc="Side in pixels of the transforms; larger where overlap needs it.", default=256, min=32
    )
    overlap = RangeField(
        dtype=int,
        doc="Smallest border in pixels that a tile reads around the pixels it writes; more is taken when the filter "
        "reaches further.",
        default=32,
        min=0,
        max=512,
    )
    blend = RangeField(
        dtype=int, doc="Width in pixels over which neighbouring tiles are blended.", default=16, min=1, max=512
    )
    localVariance = Field(
        dtype=bool,
        doc="Take the noise of both images at every tile, from the variance planes; otherwise of the whole image.",
        default=True,
    )
