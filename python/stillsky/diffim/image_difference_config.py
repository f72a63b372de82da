"""Configuration of the whole image differencing in one task, without its subtasks.

`ImageDifferenceFields` has the names, types and defaults of Rubin's ImageDifferenceConfig. Fields that it lacks there:
allowCorrelatedNoise, assumeCalibrated, controlGrMin, controlGrMax, detectAndMeasure, idGenerator.
"""

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, FieldValidationError, RangeField

from .detect_measure_config import DetectAndMeasureAlgorithmConfig, IdGeneratorConfig
from .reference_config import ReferenceLoaderConfig

__all__ = ["ImageDifferenceFields"]


def _flag(default, doc):
    return Field(dtype=bool, doc=doc, default=default)


class ImageDifferenceFields(Config):
    """What the image difference does; the subtasks are added by `ImageDifferenceConfig`."""

    doAddCalexpBackground = _flag(False, "Add the background that was subtracted back to the science image first.")
    doUseRegister = _flag(False, "Refit the WCS of the template to the science sources, and warp with it (al only).")
    doDebugRegister = _flag(False, "Note the residuals of the registration in the metadata and the quality columns.")
    doSelectSources = _flag(False, "Choose the kernel stars here, instead of inside the subtraction (al only).")
    doSelectDcrCatalog = _flag(False, "Add stars of extreme colour to the control sample (al only).")
    doSelectVariableCatalog = _flag(False, "Add variable stars to the control sample (al only).")
    doSubtract = _flag(True, "Compute the difference.")
    doPreConvolve = Field(
        dtype=bool,
        doc="No effect.",
        default=False,
        deprecated="doPreConvolve has no effect: useScoreImageDetection replaces it.",
    )
    useScoreImageDetection = _flag(
        False, "Detect on a likelihood image: that of the pre-filtered science image (al), or the score S (zogy)."
    )
    doWriteScoreExp = _flag(False, "Write the score exposure.")
    doScaleTemplateVariance = _flag(
        False, "Scale the template's variance to the scatter of its pixels before matching."
    )
    doScaleDiffimVariance = _flag(
        True, "Scale the variance of the image that is searched to the scatter of its pixels."
    )
    useGaussianForPreConvolution = _flag(
        False, "Pre-filter with a Gaussian of the PSF's width instead of the PSF (al with a score image only)."
    )
    doDetection = _flag(True, "Detect sources.")
    doDecorrelation = _flag(True, "Make the noise of the difference white and update its PSF; zogy does so by itself.")
    doMerge = _flag(True, "Join positive and negative footprints that overlap.")
    doMatchSources = _flag(False, "Fill srcMatchId and refMatchId.")
    doMeasurement = _flag(True, "Measure the sources.")
    doDipoleFitting = _flag(
        True, "Give the science image and the matched template to the dipole fit; False: the difference only."
    )
    doForcedMeasurement = _flag(True, "PSF fluxes on the science image and the matched template at the sources.")
    doWriteSubtractedExp = _flag(True, "Write the difference.")
    doWriteWarpedExp = _flag(False, "Write the template on the science grid.")
    doWriteMatchedExp = _flag(False, "Write the template as it was subtracted (al only).")
    doWriteSources = _flag(True, "Write the sources.")
    doAddMetrics = _flag(False, "Add columns on the quality of kernel stars to the source catalogue (al only).")
    doApplyFinalizedPsf = _flag(False, "Take PSF and aperture corrections from the visit summary.")
    coaddName = ChoiceField(
        dtype=str,
        optional=False,
        doc="Kind of the coadds that the template is made of; names the datasets, too.",
        default="deep",
        allowed={"deep": "all visits", "goodSeeing": "the best visits", "dcr": "models of the refraction"},
    )
    convolveTemplate = _flag(True, "Convolve the template; False: the science image.")
    refObjLoader = ConfigField("Reference objects.", ReferenceLoaderConfig)
    doSpatiallyVarying = _flag(
        False, "Decorrelate on the grid of cells instead of tile by tile (al only; zogy has a grid of its own)."
    )
    doApCorr = _flag(True, "Apply aperture corrections.")
    controlStepSize = RangeField(
        dtype=int, doc="Every so many-th kernel star goes to the control sample.", default=5, min=2
    )
    controlRandomSeed = RangeField(dtype=int, doc="Seed of the order in which they are counted.", default=10, min=0)
    kernelSourcesFromRef = _flag(
        False, "Kernel stars are matched to the reference catalogue instead of to the template's sources."
    )
    templateSipOrder = RangeField(
        dtype=int, doc="Kept for its name: register.sipOrder is the order of the fit.", default=2, min=0
    )
    growFootprint = RangeField(dtype=int, doc="Growth before merging, pixels.", default=2, min=0)
    diaSourceMatchRadius = RangeField(
        dtype=float, doc="Match radius of the sources, arcsec.", default=0.5, min=0.0, inclusiveMin=False
    )
    requiredTemplateFraction = RangeField(
        dtype=float,
        doc="No work is found where less of the template than this has data; 0: always go on.",
        default=0.1,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    doSkySources = _flag(False, "Add sources at empty positions.")

    allowCorrelatedNoise = _flag(
        False, "Search a difference without decorrelation: its significances are off by the correlation of its noise."
    )
    assumeCalibrated = _flag(
        False, "Exposures without a photometric calibration are on one flux scale or made so by the fit."
    )
    controlGrMin = Field(dtype=float, doc="Bluest g - r that is not extreme, for the control sample.", default=0.0)
    controlGrMax = Field(dtype=float, doc="Reddest g - r that is not extreme, for the control sample.", default=3.0)
    detectAndMeasure = ConfigField(
        "Detection and measurement, as far as this configuration has no fields of its own for it: those win.",
        DetectAndMeasureAlgorithmConfig,
    )
    idGenerator = ConfigField("Source ids.", IdGeneratorConfig)

    def setDefaults(self):
        super().setDefaults()
        self.detectAndMeasure.doSubtractBackground = False  # the kernel fit has a background

    @property
    def isZogy(self):
        """The subtraction is the proper one."""
        return self.subtract.name == "zogy"

    @property
    def decorrelates(self):
        """Decorrelation is wanted and is not part of the subtraction already."""
        return self.doDecorrelation and not self.isZogy

    def validate(self):
        super().validate()
        for rules in (_GENERAL, _ZOGY if self.isZogy else _AL):
            for name, others, broken in rules:
                if broken(self):
                    self._refuse(name, others)
        if self.controlGrMin > self.controlGrMax:
            self._refuse("controlGrMin", f"is larger than controlGrMax {self.controlGrMax}")
        if self.isZogy and self.doDecorrelation and not self._frozen:
            self.doDecorrelation = False  # so that the configuration can be saved and read again

    def _refuse(self, name, problem):
        field = self._fields[name]
        raise FieldValidationError(field, self, f"{name}={getattr(self, name)} {problem}")


def _needs(name, other):
    return name, f"needs {other}=True", lambda c: getattr(c, name) and not getattr(c, other)


def _searchesColouredNoise(config):
    """Thresholds in units of each pixel's noise mean nothing where smoothing adds pixels that go together."""
    return (
        config.doSubtract
        and config.doDetection
        and not config.doDecorrelation
        and not config.useScoreImageDetection
        and not config.allowCorrelatedNoise
        and config.detection.value.thresholdType == "pixel_stdev"
    )


def _explicitDecorrelation(config):
    """Set to True by somebody: the default has no meaning under zogy."""
    return config.doDecorrelation and any(label != "default" for _, _, label in config._history["doDecorrelation"])


# name of the field at fault, the problem in words with the other field, and whether it is there
_GENERAL = (
    ("doSubtract", "and doDetection=False leave nothing to do", lambda c: not c.doSubtract and not c.doDetection),
    _needs("doMeasurement", "doDetection"),
    _needs("doMerge", "doDetection"),
    _needs("doSkySources", "doDetection"),
    _needs("doUseRegister", "doSelectSources"),
    _needs("doForcedMeasurement", "doMeasurement"),
    _needs("doMatchSources", "doMeasurement"),
    _needs("doApCorr", "doMeasurement"),
    _needs("doSelectDcrCatalog", "doSelectSources"),
    _needs("doSelectVariableCatalog", "doSelectSources"),
    (
        "doScaleDiffimVariance",
        "and doScaleTemplateVariance=True would scale the noise twice: choose one",
        lambda c: c.doScaleDiffimVariance and c.doScaleTemplateVariance,
    ),
)
_NOT_WITH_ZOGY = "has no meaning with subtract='zogy'"
_ZOGY = (
    ("doWriteMatchedExp", _NOT_WITH_ZOGY, lambda c: c.doWriteMatchedExp),
    ("doAddMetrics", _NOT_WITH_ZOGY, lambda c: c.doAddMetrics),
    ("doDecorrelation", f"{_NOT_WITH_ZOGY}, which is white by itself", _explicitDecorrelation),
    ("doSelectSources", _NOT_WITH_ZOGY, lambda c: c.doSelectSources),
    ("useGaussianForPreConvolution", _NOT_WITH_ZOGY, lambda c: c.useGaussianForPreConvolution),
)
_AL = (
    (
        "useScoreImageDetection",
        "needs convolveTemplate=True with subtract='al'",
        lambda c: c.useScoreImageDetection and not c.convolveTemplate,
    ),
    (
        "doWriteSubtractedExp",
        "and useScoreImageDetection=True exclude each other with subtract='al': the score stands for the difference",
        lambda c: c.doWriteSubtractedExp and c.useScoreImageDetection,
    ),
    (
        "doWriteScoreExp",
        "needs useScoreImageDetection=True with subtract='al'",
        lambda c: c.doWriteScoreExp and not c.useScoreImageDetection,
    ),
    ("doAddMetrics", "needs doSubtract=True", lambda c: c.doAddMetrics and not c.doSubtract),
    (
        "useGaussianForPreConvolution",
        "needs useScoreImageDetection=True with subtract='al'",
        lambda c: c.useGaussianForPreConvolution and not c.useScoreImageDetection,
    ),
    (
        "doDecorrelation",
        "with detection.thresholdType='pixel_stdev' searches correlated noise: set allowCorrelatedNoise=True to mean it",
        _searchesColouredNoise,
    ),
)
