"""Configuration of source detection: Rubin's field names, types, defaults and ranges."""

from lsst.pex.config import ChoiceField, Config, Field, ListField, RangeField

from .detect import STATS_MASK

__all__ = ["SourceDetectionConfig", "detectionKeywords", "thresholdTypeField"]


def thresholdTypeField(doc="Meaning of the threshold."):
    """A choice of the meanings that a detection threshold may have."""
    return ChoiceField(
        dtype=str,
        optional=False,
        doc=doc,
        default="pixel_stdev",
        allowed={
            "value": "counts",
            "stdev": "standard deviations of the image",
            "variance": "variances of the image",
            "pixel_stdev": "standard deviations of each pixel",
        },
    )


class SourceDetectionConfig(Config):
    """How sources are found; the algorithm is `stillsky.detection.detectSources`."""

    minPixels = RangeField(dtype=int, doc="Smallest number of pixels of a source, before growing.", default=1, min=0)
    isotropicGrow = Field(dtype=bool, doc="Grow by a circle; False: by a diamond.", default=True)
    combinedGrow = Field(dtype=bool, doc="Sources that touch after growing become one.", default=True)
    nSigmaToGrow = Field(dtype=float, doc="Growth in widths (sigma) of the PSF.", default=2.4)
    returnOriginalFootprints = Field(
        dtype=bool, doc="Return footprints before growing; the mask shows the grown ones.", default=False
    )
    thresholdValue = RangeField(dtype=float, doc="Threshold.", default=5.0, min=0.0)
    includeThresholdMultiplier = RangeField(
        dtype=float, doc="A source must somewhere reach this many times the threshold.", default=1.0, min=0.0
    )
    thresholdType = thresholdTypeField("Meaning of thresholdValue.")
    thresholdPolarity = ChoiceField(
        dtype=str,
        optional=False,
        doc="Sign of the sources.",
        default="positive",
        allowed={"positive": "above", "negative": "below", "both": "either"},
    )
    reEstimateBackground = Field(
        dtype=bool, doc="Fit and subtract the background once more without the sources found.", default=True
    )
    doTempLocalBackground = Field(
        dtype=bool, doc="Look for peaks of crowded sources above a background of small cells.", default=True
    )
    nPeaksMaxSimple = Field(dtype=int, doc="Sources with more peaks than this are crowded.", default=1)
    nSigmaForKernel = RangeField(
        dtype=float, doc="Full width of the smoothing kernel in widths (sigma) of the PSF.", default=7.0, min=1.0
    )
    statsMask = ListField(
        dtype=str, doc="Mask planes left out of the image's standard deviation.", default=list(STATS_MASK)
    )
    excludeMaskPlanes = ListField(dtype=str, doc="Mask planes in which nothing is detected.", default=[])


def detectionKeywords(config):
    """Arguments of `detectSources` that a configuration stands for.

    Parameters
    ----------
    config : `SourceDetectionConfig`

    Returns
    -------
    keywords : `dict`
    """
    names = (
        "minPixels",
        "isotropicGrow",
        "combinedGrow",
        "nSigmaToGrow",
        "returnOriginalFootprints",
        "includeThresholdMultiplier",
        "thresholdType",
        "doTempLocalBackground",
        "nPeaksMaxSimple",
        "nSigmaForKernel",
    )
    return {
        "threshold": config.thresholdValue,
        "polarity": config.thresholdPolarity,
        "statsMask": tuple(config.statsMask),
        "excludeMaskPlanes": tuple(config.excludeMaskPlanes),
        **{name: getattr(config, name) for name in names},
    }
