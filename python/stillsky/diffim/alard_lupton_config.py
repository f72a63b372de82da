"""Configuration of the current subtraction tasks: what concerns the algorithm; the subtasks are added by the tasks."""

from lsst.pex.config import ChoiceField, Config, Field, ListField, RangeField

__all__ = ["AlardLuptonSubtractFields", "configureSelector", "modeField"]


def modeField():
    """Which image is convolved."""
    return ChoiceField(
        dtype=str,
        optional=False,
        doc="Which image is convolved.",
        default="convolveTemplate",
        allowed={
            "auto": "the one whose convolution promises the smaller flux errors; see autoRule",
            "convolveTemplate": "the template",
            "convolveScience": "the science image",
        },
    )


def configureSelector(selector, isolated):
    """Cuts on kernel stars: unresolved, signal-to-noise ratio between 10 and 500 and, where asked, isolated."""
    selector.doSkySources = selector.doUnresolved = selector.doSignalToNoise = True
    selector.signalToNoise.minimum, selector.signalToNoise.maximum = 10.0, 500.0
    selector.doIsolated = selector.doRequirePrimary = isolated


class AlardLuptonSubtractFields(Config):
    """Fields shared by the subtraction tasks; Rubin's names and defaults, and a few more at the end."""

    doDecorrelation = Field(dtype=bool, doc="Make the noise of the difference white.", default=True)
    requiredTemplateFraction = RangeField(
        dtype=float,
        doc="Smallest fraction of the science image that the template must cover; 0: no limit.",
        default=0.1,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    minTemplateFractionForExpectedSuccess = RangeField(
        dtype=float,
        doc="Below this coverage a failing kernel fit is no failure but means that there is nothing to do.",
        default=0.2,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    doScaleVariance = Field(dtype=bool, doc="Scale the variance planes of both images to their scatter.", default=True)
    doSubtractBackground = Field(dtype=bool, doc="Subtract the background of the kernel fit.", default=False)
    doApplyExternalCalibrations = Field(
        dtype=bool, doc="Take PSF and aperture corrections from the visit summary.", default=False
    )
    detectionThreshold = Field(
        dtype=float,
        doc="Smallest signal-to-noise ratio of a kernel star.",
        default=10.0,
        deprecated="Not used: sourceSelector.signalToNoise.minimum takes its place.",
    )
    detectionThresholdMax = Field(
        dtype=float,
        doc="Largest signal-to-noise ratio of a kernel star.",
        default=500.0,
        deprecated="Not used: sourceSelector.signalToNoise.maximum takes its place.",
    )
    restrictKernelEdgeSources = Field(
        dtype=bool, doc="Keep kernel stars one kernel width further from the edge.", default=True
    )
    maxKernelSources = Field(
        dtype=int, doc="Most kernel stars, those of highest signal-to-noise ratio; 0 or less: all.", default=1000
    )
    minKernelSources = RangeField(dtype=int, doc="Fewest kernel stars.", default=3, min=1)
    excludeMaskPlanes = ListField(
        dtype=str,
        doc="Mask planes that a kernel star must be clear of, in both images; a plane that an image lacks is ignored.",
        default=["NO_DATA", "BAD", "SAT", "EDGE", "FAKE", "HIGH_VARIANCE"],
    )
    badMaskPlanes = ListField(
        dtype=str,
        doc="Mask planes whose pixels are replaced by the median before the science image is filtered with its PSF.",
        default=["NO_DATA", "BAD", "SAT", "EDGE"],
    )
    preserveTemplateMask = ListField(
        dtype=str,
        doc="Mask planes of the template that reach the difference.",
        default=["NO_DATA", "BAD", "HIGH_VARIANCE"],
    )
    renameTemplateMask = ListField(
        dtype=str,
        doc="Mask planes of the template that reach the difference with _TEMPLATE added to their names.",
        default=["SAT", "INJECTED", "INJECTED_CORE"],
    )
    preserveMaskPlanes = ListField(
        dtype=str,
        doc="Mask planes that a convolution does not spread.",
        default=["INJECTED", "INJECTED_CORE", "INJECTED_TEMPLATE", "INJECTED_CORE_TEMPLATE"],
    )
    allowKernelSourceDetection = Field(
        dtype=bool, doc="Search the science image for kernel stars when too few are left.", default=False
    )
    # Beyond the reference
    autoRule = ChoiceField(
        dtype=str,
        optional=False,
        doc="How mode auto decides.",
        default="forecast",
        allowed={
            "forecast": "smaller predicted error of a PSF flux; within 0.5 percent the template",
            "radius": "smaller determinant radius of the PSF; within 5 percent the template",
            "reference": "the template unless it is wider than the science image in x and in y",
        },
    )
    maxKernelFitSeconds = RangeField(
        dtype=float,
        doc="Kernel stars whose fit would take longer on a slow core are left out, the faintest first; 0: no limit.",
        default=120.0,
        min=0.0,
    )
    assumeCalibrated = Field(
        dtype=bool,
        doc="Go on without photometric calibrations: both images have the same flux unit, or the kernel takes up the"
        " difference.",
        default=False,
    )
    compat = Field(
        dtype=bool,
        doc="As the reference: with the science image convolved only that image is divided by the kernel sum; the"
        " pre-filter is the reflected PSF; autoRule reference; the noise of a resampled template counts as white."
        " Decorrelation has a compat of its own.",
        default=False,
    )
