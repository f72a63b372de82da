"""Configuration of detection and measurement on a difference image."""

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, ListField, RangeField

from ..background.config import SubtractBackgroundConfig
from ..detection.config import SourceDetectionConfig
from ..detection.sky import SKY_AVOID
from ..measure.dipole_config import DipoleFitConfig
from .source_schema import EXTRA_PLANES, SOURCE_PLUGINS

__all__ = [
    "CandidateCutConfig",
    "DetectAndMeasureAlgorithmConfig",
    "DetectAndMeasureTaskFields",
    "FindCosmicRaysConfig",
    "IdGeneratorConfig",
    "MeasurementConfig",
    "SkyObjectsConfig",
]


class SkyObjectsConfig(Config):
    """Empty positions measured like sources."""

    avoidMask = ListField(dtype=str, doc="Mask planes to stay away from.", default=list(SKY_AVOID))
    growMask = RangeField(dtype=int, doc="Pixels by which these are grown first.", default=0, min=0)
    sourceRadius = RangeField(dtype=float, doc="Radius of the discs, pixels.", default=8.0, min=0.0)
    nSources = Field(dtype=int, doc="Number wanted; 0 or less: none.", default=100)
    nTrialSources = Field(
        dtype=int, doc="Positions tried; null: nSources times nTrialSourcesMultiplier.", default=None, optional=True
    )
    nTrialSourcesMultiplier = RangeField(dtype=int, doc="See nTrialSources.", default=5, min=1)

    @property
    def trials(self):
        """Positions tried."""
        return self.nSources * self.nTrialSourcesMultiplier if self.nTrialSources is None else self.nTrialSources


class FindCosmicRaysConfig(Config):
    """Search for cosmic rays; the algorithm is `stillsky.detection.findCosmicRays`."""

    keepCRs = Field(dtype=bool, doc="Only mark them; False: interpolate, too.", default=True)
    minSigma = RangeField(
        dtype=float, doc="Smallest excess over neighbours, standard deviations.", default=6.0, min=1.0
    )
    min_DN = Field(
        dtype=float,
        doc="Smallest sum over a cosmic ray, image units; null: 10 times the median noise of a pixel (150 with compat).",
        default=None,
        optional=True,
    )
    cond3_fac = RangeField(dtype=float, doc="Standard deviations of the comparison with the PSF.", default=2.0, min=0.0)
    cond3_fac2 = RangeField(dtype=float, doc="Times the PSF's contrast.", default=0.35, min=0.01)
    niteration = RangeField(dtype=int, doc="Rounds that extend the rays.", default=6, min=0)
    nCrPixelMax = RangeField(dtype=int, doc="Largest number of pixels.", default=1000000, min=1)


class IdGeneratorConfig(Config):
    """Layout of source ids; see `stillsky.diffim.sourceIdLayout`."""

    release_id = RangeField(dtype=int, doc="Release; 0: not recorded.", default=0, min=0)
    n_releases = RangeField(dtype=int, doc="Number of releases that ids must tell apart.", default=64, min=1)
    n_detectors = Field(dtype=int, doc="Detectors; null: as the instrument says.", default=None, optional=True)
    n_observations = Field(dtype=int, doc="Visits; null: as the instrument says.", default=None, optional=True)


class MeasurementConfig(Config):
    """What is measured on each source."""

    plugins = ListField(dtype=str, doc="Algorithms.", default=list(SOURCE_PLUGINS))
    maxDistToPeak = Field(
        dtype=float, doc="Farthest a centroid may be from its peak, pixels; negative: no limit.", default=5.0
    )
    extraPlanes = ListField(
        dtype=str, doc="Mask planes of PixelFlags beyond the standard ones.", default=list(EXTRA_PLANES)
    )
    doDipoles = Field(dtype=bool, doc="Fit dipoles.", default=True)
    dipole = ConfigField("Fit of dipoles.", DipoleFitConfig)


class CandidateCutConfig(Config):
    """Limits of the candidate flags; see `stillsky.diffim.candidate_features`."""

    threshold = RangeField(
        dtype=float, doc="Smallest flux over its error with the kernel's uncertainty in it.", default=5.0, min=0.0
    )
    maxSharpness = RangeField(
        dtype=float, doc="Largest contrast at the centre over that of the PSF.", default=1.6, min=0.0
    )
    sharpnessSigmas = RangeField(
        dtype=float, doc="Least excess of that contrast, standard deviations.", default=5.0, min=0.0
    )
    minWidthRatio = RangeField(dtype=float, doc="Smallest width over that of the PSF.", default=0.6, min=0.0)
    maxWidthRatio = RangeField(
        dtype=float, doc="Largest width of a clear point source over that of the PSF.", default=1.7, min=0.0
    )
    widthSigmas = RangeField(dtype=float, doc="Standard deviations of noise beyond these.", default=4.0, min=0.0)
    maxChi2 = RangeField(dtype=float, doc="Largest reduced chi squared of the PSF fit.", default=1.5, min=0.0)
    chi2FluxFraction = RangeField(
        dtype=float, doc="Error of the PSF model as a fraction of the flux: loosens maxChi2.", default=0.1, min=0.0
    )
    maxMaskedFraction = RangeField(
        dtype=float, doc="Largest fraction of masked pixels within 5 pixels.", default=0.1, min=0.0
    )
    haloRadii = RangeField(dtype=float, doc="Halo of a saturated core, in radii of the core.", default=2.0, min=0.0)
    haloSignificance = RangeField(
        dtype=float,
        doc="Sources of the shape of the PSF are good from this significance on, in a halo or beside saturated pixels.",
        default=7.0,
        min=0.0,
    )
    dipoleRatio = RangeField(
        dtype=float, doc="Weaker over stronger lobe from which on a source is a dipole.", default=0.5, min=0.0
    )
    maxDipoleSeparation = RangeField(
        dtype=float, doc="Farthest the peaks of both signs of a dipole are apart, widths (sigma) of the PSF.", default=6.0,
        min=0.0,
    )  # fmt: skip
    minTrailLength = RangeField(
        dtype=float, doc="Trails at least this long may differ from the PSF.", default=3.0, min=0.0
    )


class DetectAndMeasureAlgorithmConfig(Config):
    """How sources of a difference image are found, merged, measured and judged."""

    doMerge = Field(dtype=bool, doc="Join positive and negative footprints that overlap.", default=True)
    doForcedMeasurement = Field(
        dtype=bool, doc="PSF flux at each source on the science image and the matched template.", default=True
    )
    doSubtractBackground = Field(
        dtype=bool, doc="Subtract a background of the difference before the detection, in two passes.", default=True
    )
    doCalculateResidualMetics = Field(dtype=bool, doc="Measure what is left at the kernel stars.", default=True)
    doFindCosmicRays = Field(dtype=bool, doc="Look for cosmic rays on the difference.", default=True)
    doApCorr = Field(dtype=bool, doc="Apply aperture corrections, if the difference has any.", default=True)
    doRejectBadMaskPlaneDetections = Field(
        dtype=bool, doc="Drop sources whose first peak is on a pixel with badMaskPlanes.", default=True
    )
    writeGlintInfo = Field(dtype=bool, doc="Look for sources in a row, and write their lines.", default=True)
    doDeblend = Field(
        dtype=bool,
        doc="Split footprints of several peaks, and measure sources that overlap without the light of their neighbours: "
        "positions and PSF fluxes of all together.",
        default=False,
    )
    doSplitOpposite = Field(
        dtype=bool,
        doc="Of two peaks of opposite sign that lie together, those whose fluxes differ by more than a dipole's may, and by "
        "more than noise, are two sources.",
        default=True,
    )
    doSkySources = Field(dtype=bool, doc="Add sources at empty positions.", default=False)
    subtractInitialBackground = ConfigField("Background of the first pass.", SubtractBackgroundConfig)
    subtractFinalBackground = ConfigField("Background that is subtracted.", SubtractBackgroundConfig)
    cosmicray = ConfigField("Cosmic rays.", FindCosmicRaysConfig)
    detection = ConfigField("Detection.", SourceDetectionConfig)
    missingMaskPlanes = ListField(
        dtype=str,
        doc="Pixels of these mask planes are missing to the detection: no source on them, none swallowed by them. Cosmic "
        "rays are found and flagged.",
        default=["NO_DATA", "BAD", "SAT"],
    )
    maxLobeSeparation = RangeField(
        dtype=float,
        doc="Peaks of opposite sign farther apart, in widths (sigma) of the PSF, are two sources.",
        default=5.0,
        min=0.0,
    )
    growFootprint = RangeField(dtype=int, doc="Growth before merging, pixels.", default=2, min=0)
    badSourceFlags = ListField(
        dtype=str,
        doc="Sources with one of these flags are dropped.",
        default=[
            f"base_PixelFlags_flag_{name}"
            for name in (
                "offimage interpolatedCenterAll badCenter edgeCenter nodataCenter saturatedCenter sat_templateCenter "
                "spikeCenter"
            ).split()
        ],
    )
    clearMaskPlanes = ListField(
        dtype=str,
        doc="Planes cleared first.",
        default=["DETECTED", "DETECTED_NEGATIVE", "NOT_DEBLENDED", "STREAK"],
    )
    badMaskPlanes = ListField(
        dtype=str, doc="See doRejectBadMaskPlaneDetections.", default=["NO_DATA", "BAD", "SAT", "EDGE"]
    )
    measurement = ConfigField("Measurements.", MeasurementConfig)
    skySources = ConfigField("Sky sources.", SkyObjectsConfig)
    candidates = ConfigField("Flags of candidates.", CandidateCutConfig)
    compat = ChoiceField(
        dtype=str,
        optional=False,
        doc="Where defaults differ from Rubin's.",
        default="stillsky",
        allowed={
            "stillsky": "reject by the first peak, NaN where there is no data",
            "reference": "reject by any peak, 0 where there is no data, cosmic rays above 150 image units",
        },
    )

    def setDefaults(self):
        super().setDefaults()
        for config, size in ((self.subtractInitialBackground, 8), (self.subtractFinalBackground, 40)):
            config.binSize = size
            config.useApprox = False
            config.statisticsProperty = "MEDIAN"
            config.doFilterSuperPixels = True
            config.ignoredPixelMask = ["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"]
        self.detection.thresholdPolarity = "both"
        self.detection.thresholdValue = 5.0
        self.detection.thresholdType = "pixel_stdev"
        self.detection.reEstimateBackground = False


class DetectAndMeasureTaskFields(DetectAndMeasureAlgorithmConfig):
    """What the pipeline tasks add: when to give up, what to write, ids, and names that are kept."""

    raiseOnBadSubtractionRatio = Field(
        dtype=bool, doc="Tasks raise when the residuals of the kernel stars are too large.", default=True
    )
    raiseOnNoDiaSources = Field(dtype=bool, doc="Tasks raise when no source is found.", default=True)
    badSubtractionRatioThreshold = RangeField(
        dtype=float, doc="Largest mean ratio of residuals to stars.", default=0.2, min=0.0
    )
    badSubtractionVariationThreshold = RangeField(
        dtype=float, doc="Largest standard deviation of that ratio.", default=0.4, min=0.0
    )
    doWriteBackground = Field(dtype=bool, doc="Write that background.", default=False)
    doMaskStreaks = Field(dtype=bool, doc="Kept for its name: streaks are not searched.", default=True)
    streakBinFactor = RangeField(dtype=int, doc="Kept for its name: streaks are not searched.", default=4, min=1)
    writeStreakInfo = Field(dtype=bool, doc="Kept for its name: streaks are not searched.", default=False)
    doAddMetrics = Field(dtype=bool, doc="Kept for its name: the features are always written.", default=False)
    diaSourceMatchRadius = RangeField(dtype=float, doc="Match radius, arcsec.", default=0.5, min=0.0)
    idGenerator = ConfigField("Source ids.", IdGeneratorConfig)
