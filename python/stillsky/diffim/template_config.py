"""Configuration of the construction of templates."""

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, RangeField

from ..background.config import SubtractBackgroundConfig
from ..warp.config import WarperConfig
from .template_merge import WEIGHTINGS

__all__ = [
    "CoaddPsfConfig",
    "GetCalexpAsTemplateConfig",
    "GetCoaddAsTemplateConfig",
    "GetTemplateAlgorithmConfig",
    "TemplateMergeFields",
]


class CoaddPsfConfig(Config):
    """How the PSFs of the inputs are brought to the grid of the template."""

    warpingKernelName = ChoiceField(
        dtype=str,
        optional=False,
        doc="Interpolation kernel of the warps.",
        default="lanczos3",
        allowed={name: f"{name} kernel" for name in ("bilinear", "lanczos3", "lanczos4", "lanczos5")},
    )
    cacheSize = Field(
        dtype=int,
        doc="Kept for configurations of the Rubin pipelines: taps are exact, nothing is cached.",
        default=100000,
    )


class TemplateMergeFields(Config):
    """What all ways to make a template from patches share."""

    templateBorderSize = RangeField(
        dtype=int, doc="Pixels by which the template is larger than the science image on each side.", default=20, min=0
    )
    coaddPsf = ConfigField("PSF of the template.", CoaddPsfConfig)
    weighting = ChoiceField(
        dtype=str,
        optional=False,
        doc="Weights where inputs overlap.",
        default="inverse-sigma",
        allowed=dict(WEIGHTINGS),
    )
    doScalePhotometry = Field(
        dtype=bool,
        doc="Bring inputs of different photometric calibration to that of the first; otherwise they are refused.",
        default=False,
    )


class GetTemplateAlgorithmConfig(TemplateMergeFields):
    """Template from patches of coadds, on the pixel grid of the science image."""

    warp = ConfigField("Resampling of the patches.", WarperConfig)
    varianceBackground = ConfigField("Smooth model of the variance plane.", SubtractBackgroundConfig)
    highVarianceThreshold = RangeField(
        dtype=float,
        doc="Where the model of the variance exceeds this many times its median, HIGH_VARIANCE is set.",
        default=4.0,
        min=1.0,
    )
    highVarianceMaskFraction = RangeField(
        dtype=float,
        doc="Smallest fraction of usable pixels with which that is done.",
        default=0.1,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )

    def setDefaults(self):
        super().setDefaults()
        self.warp.warpingKernelName = "lanczos3"
        self.warp.cacheSize = 100000
        self.warp.interpLength = 100
        self.varianceBackground.algorithm = "LINEAR"
        self.varianceBackground.binSize = 32
        self.varianceBackground.useApprox = False
        self.varianceBackground.statisticsProperty = "MEDIAN"
        self.varianceBackground.doFilterSuperPixels = True
        self.varianceBackground.isNanSafe = True
        self.varianceBackground.ignoredPixelMask = ["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"]


class GetCoaddAsTemplateConfig(TemplateMergeFields):
    """Template from patches of one tract, on the pixel grid of the tract."""

    coaddName = Field(dtype=str, doc="Coadd: deep, goodSeeing, ...", default="deep")
    warpType = ChoiceField(
        dtype=str,
        optional=False,
        doc="Kind of warps that the coadd was made of.",
        default="direct",
        allowed={"direct": "warped only", "psfMatched": "warped and matched to one PSF"},
    )
    compat = Field(
        dtype=bool,
        doc="As the Rubin task: later patches overwrite earlier ones, one patch's PSF serves everywhere.",
        default=False,
    )

    @property
    def datasetName(self):
        """Dataset type of the patches."""
        return f"{self.coaddName}Coadd" + ("" if self.warpType == "direct" else "PsfMatched")


class GetCalexpAsTemplateConfig(Config):
    """Another visit's exposure as the template."""

    doAddCalexpBackground = Field(
        dtype=bool, doc="Add the background that was subtracted from that exposure.", default=True
    )
