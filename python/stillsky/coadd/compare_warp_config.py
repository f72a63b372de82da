"""Configuration of the search for artifacts in warps, and of the coadd that leaves them out."""

from lsst.pex.config import Config, ConfigField, Field, FieldValidationError, ListField, RangeField

from ..background.scale_variance_config import ScaleVarianceConfig
from ..detection.config import SourceDetectionConfig
from ..detection.streaks_config import MaskStreaksConfig
from .config import AssembleCoaddAlgorithmConfig, AssembleCoaddFields

__all__ = [
    "ARTIFACT_VALUES_2019",
    "COMPARE_WARP_VALUES_2019",
    "ArtifactFields",
    "CompareArtifactsConfig",
    "CompareWarpAlgorithmConfig",
    "CompareWarpFields",
    "setDetectionDefaults",
    "setStaticSkyDefaults",
]

#: What the task of 2019 had where today's defaults differ, by dotted name: values for a preset.
ARTIFACT_VALUES_2019 = {
    "detect.thresholdValue": 5.0,
    "detect.nSigmaToGrow": 2.0,
    "detectTemplate.nSigmaToGrow": 2.0,
    "detectTemplate.thresholdValue": 5.0,
    "detectTemplate.doTempLocalBackground": False,
    "detectTemplate.reEstimateBackground": False,
    "prefilterArtifactsMaskPlanes": ["NO_DATA", "BAD", "SAT", "SUSPECT"],
    "compat": True,
}

#: The same for the whole task.
COMPARE_WARP_VALUES_2019 = {**ARTIFACT_VALUES_2019, "assembleStaticSkyModel.calcErrorFromInputVariance": False}


def setDetectionDefaults(detect, detectTemplate):
    """The values that differ from those of any detection: outliers of both signs, and very bright template sources."""
    detect.thresholdPolarity = "both"
    detect.thresholdType = "pixel_stdev"
    detect.thresholdValue = 7.5
    detect.minPixels = 4
    detect.isotropicGrow = True
    detect.nSigmaToGrow = 0.4
    detect.doTempLocalBackground = False
    detect.reEstimateBackground = False
    detect.returnOriginalFootprints = False
    detectTemplate.nSigmaToGrow = 2.4
    detectTemplate.thresholdValue = 300.0
    detectTemplate.doTempLocalBackground = True
    detectTemplate.reEstimateBackground = True
    detectTemplate.returnOriginalFootprints = False


def setStaticSkyDefaults(static):
    """How the static sky is made: a clipped mean of all PSF-matched warps, edges and bad pixels included."""
    static.badMaskPlanes = ["NO_DATA"]
    static.warpType = "psfMatched"
    static.statistic = "MEANCLIP"
    static.sigmaClip = 2.5
    static.clipIter = 3
    static.calcErrorFromInputVariance = True
    static.doWrite = False


def _fraction(doc, default):
    return RangeField(dtype=float, doc=doc, default=default, min=0.0, max=1.0, inclusiveMax=True)


class ArtifactFields(Config):
    """What tells an artifact from a source that varies; the rule itself is `stillsky.coadd.filterArtifacts`."""

    detectTemplateIterMultiplier = RangeField(
        dtype=float, doc="Growth of the threshold after a search of the template whose sources cover nearly all of it.",
        default=1.25, min=1.0, inclusiveMin=False,
    )  # fmt: skip
    maxDetectTemplateIter = RangeField(dtype=int, doc="Most searches of the template.", default=10, min=1)
    maxSourceCoverage = _fraction("Sources that cover more than this part of the template are sought once more.", 0.7)
    streakMaskName = Field(dtype=str, doc="Mask plane of streaks.", default="STREAK")
    maxNumEpochs = RangeField(
        dtype=int, doc="Epochs in which an artifact may be seen at one place, of few.", default=2, min=0
    )
    maxFractionEpochsLow = _fraction("The same as a fraction of the epochs there, for the fewest.", 0.4)
    maxFractionEpochsHigh = _fraction("What each epoch there adds to maxNumEpochs.", 0.03)
    spatialThreshold = _fraction("An artifact is transient on more than this part of its pixels.", 0.5)
    doScaleWarpVariance = Field(dtype=bool, doc="Scale the variance of the warps to their scatter.", default=True)
    doPreserveContainedBySource = Field(
        dtype=bool, doc="Keep what lies inside one source of the template.", default=True
    )
    doPrefilterArtifacts = Field(dtype=bool, doc="Drop candidates that are mostly bad pixels.", default=True)
    prefilterArtifactsMaskPlanes = ListField(
        dtype=str, doc="Mask planes of bad pixels for that.", default=["NO_DATA", "BAD", "SUSPECT"]
    )
    prefilterArtifactsRatio = _fraction("Candidates have more than this part of good pixels.", 0.05)
    doFilterMorphological = Field(
        dtype=bool, doc="Find streaks, and mask them whatever other epochs show.", default=False
    )
    growStreakFp = RangeField(dtype=float, doc="Growth of streaks in widths (sigma) of the PSF.", default=5.0, min=0.0)
    doExtendArtifacts = Field(
        dtype=bool,
        doc="Artifacts reach to where they fall below extendThreshold rather than below the threshold of detection.",
        default=True,
    )
    extendThreshold = RangeField(
        dtype=float, doc="Threshold of the extent of artifacts, as the threshold of detection is given.",
        default=5.0, min=0.0, inclusiveMin=False,
    )  # fmt: skip
    doKeepTrails = Field(
        dtype=bool,
        doc="Long thin positive candidates are judged as a whole: they are masked, even where other trails cross them "
        "or where there are only two epochs, unless enough epochs show the same one.",
        default=True,
    )
    trailLength = RangeField(dtype=float, doc="Shortest of them, pixels.", default=40.0, min=4.0)
    trailElongation = RangeField(dtype=float, doc="Their smallest ratio of length to width.", default=6.0, min=1.0)
    trailOverlap = RangeField(
        dtype=float, doc="Two epochs show the same one if they share this part of their pixels.",
        default=0.7, min=0.0, max=1.0, inclusiveMax=True,
    )  # fmt: skip
    compat = Field(
        dtype=bool,
        doc="As the Rubin task: variance of the difference without the covariance of warp and template, parts outside "
        "the image count as bad pixels, neither extension nor trails.",
        default=False,
    )


class CompareArtifactsConfig(ArtifactFields):
    """`ArtifactFields` with the configurations of what they use, for the functions alone."""

    badMaskPlanes = ListField(
        dtype=str, doc="Mask planes of pixels that do not count as an epoch.", default=["NO_DATA", "BAD", "SAT"]
    )
    detect = ConfigField("Detection of outliers in warp minus template.", SourceDetectionConfig)
    detectTemplate = ConfigField("Detection of sources on the template.", SourceDetectionConfig)
    scaleWarpVariance = ConfigField("Scaling of the variance of warps.", ScaleVarianceConfig)
    maskStreaks = ConfigField("Search for streaks.", MaskStreaksConfig)

    def setDefaults(self):
        super().setDefaults()
        setDetectionDefaults(self.detect, self.detectTemplate)


class CompareWarpFields(ArtifactFields, AssembleCoaddFields):
    """How warps become a coadd without artifacts. Subclasses have the field ``assembleStaticSkyModel``."""

    def setDefaults(self):
        super().setDefaults()
        self.statistic = "MEAN"
        self.badMaskPlanes = [name for name in self.badMaskPlanes if name != "EDGE"]
        self.removeMaskPlanes = [*self.removeMaskPlanes, "EDGE"]
        self.doUsePsfMatchedPolygons = True

    def validate(self):
        super().validate()
        static = self.assembleStaticSkyModel
        if static.doNImage:
            self._refuseStatic(
                "wanted doNImage False: the numbers of PSF-matched warps would replace those of the coadd"
            )
        if static.doWrite and static.warpType == self.warpType:
            self._refuseStatic(
                f"doWrite: the static sky and the coadd would be one dataset, warpType {self.warpType!r}"
            )

    def _refuseStatic(self, reason):
        raise FieldValidationError(type(self)._fields["assembleStaticSkyModel"], self, reason)


class CompareWarpAlgorithmConfig(CompareWarpFields, AssembleCoaddAlgorithmConfig):
    """`CompareWarpFields` with the configurations of what the functions use."""

    assembleStaticSkyModel = ConfigField("The static sky that warps are compared with.", AssembleCoaddAlgorithmConfig)
    detect = ConfigField("Detection of outliers in warp minus static sky.", SourceDetectionConfig)
    detectTemplate = ConfigField("Detection of sources on the static sky.", SourceDetectionConfig)
    scaleWarpVariance = ConfigField("Scaling of the variance of warps.", ScaleVarianceConfig)
    maskStreaks = ConfigField("Search for streaks.", MaskStreaksConfig)

    def setDefaults(self):
        super().setDefaults()
        setStaticSkyDefaults(self.assembleStaticSkyModel)
        setDetectionDefaults(self.detect, self.detectTemplate)
