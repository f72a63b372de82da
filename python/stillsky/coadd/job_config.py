"""Configuration of a coadd of plain files."""

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, ListField, RangeField

from ..diffim.config import PsfModelConfig, StarConfig
from ..psfmatch.config import ModelPsfMatchConfig
from ..warp.config import WarperConfig
from .compare_warp_config import CompareArtifactsConfig
from .config import AssembleCoaddAlgorithmConfig

__all__ = ["CoaddJobConfig", "STATISTICS"]

#: Method -> statistic of the stack.
STATISTICS = {"mean": "MEAN", "meanclip": "MEANCLIP", "median": "MEDIAN", "compare": "MEAN"}


class CoaddJobConfig(Config):
    """From files to a coadd."""

    method = ChoiceField(
        dtype=str,
        optional=False,
        doc="How the inputs of a pixel become one value.",
        default="meanclip",
        allowed={
            "mean": "weighted mean",
            "meanclip": "weighted mean without outliers of a pixel",
            "median": "median",
            "compare": "weighted mean without artifacts: what the PSF-matched inputs have and the static sky has not",
        },
    )
    scale = ChoiceField(
        dtype=str,
        optional=False,
        doc="How inputs are brought to the first (or --reference, if that is an input).",
        default="stars",
        allowed={
            "stars": "flux scale by common stars, sky level by clipped sky",
            "sky": "sky level only",
            "none": "not at all: inputs are calibrated and free of sky, or alike",
        },
    )
    register = ChoiceField(
        dtype=str,
        optional=False,
        doc="Whether inputs are brought onto the first (or --reference) by shift, rotation and scale of their objects.",
        default="auto",
        allowed={
            "auto": "those that have no WCS, when objects or a correlation beyond noise show that they do not lie on it",
            "always": "all, whatever their WCS say",
            "never": "none: equal shapes without a WCS are one grid",
        },
    )
    site = ListField(
        dtype=float,
        doc="Longitude (degrees East), latitude (degrees) and height (metres) of the telescope, for inputs that do not say it.",
        default=[],
        listCheck=lambda values: len(values) in (0, 3),
    )
    minScaleStars = RangeField(dtype=int, doc="Fewest common stars that give a flux scale.", default=3, min=1)
    backgroundBinSize = RangeField(
        dtype=int, doc="Cell of the sky that stars are measured on, pixels.", default=128, min=8
    )
    doEstimatePsf = Field(dtype=bool, doc="Estimate the PSF of inputs that bring none, from their stars.", default=True)
    modelFwhm = RangeField(
        dtype=float,
        doc="FWHM in pixels of the PSF that inputs are matched to when the method needs it; unset: 1.1 times the largest.",
        default=None, min=0.5, optional=True,
    )  # fmt: skip
    widenClip = Field(
        dtype=bool,
        doc="Clip fewer inputs than 15 at more than assemble.sigmaClip: the quartiles of few samples scatter, and good samples "
        "would be lost (4 sigma of five inputs: 5 % of them, and 5 % of the depth). Three and four, whose quartiles an outlier "
        "moves, by their variances: what is off the median by 5 sigma.",
        default=True,
    )
    stars = ConfigField("Which objects count as stars.", StarConfig)
    psf = ConfigField("PSF of inputs that bring none.", PsfModelConfig)
    warp = ConfigField("Resampling.", WarperConfig)
    modelPsfMatch = ConfigField("Matching of PSFs to the model.", ModelPsfMatchConfig)
    assemble = ConfigField("The stack.", AssembleCoaddAlgorithmConfig)
    staticSky = ConfigField("The stack of PSF-matched inputs that artifacts are sought against.",
                            AssembleCoaddAlgorithmConfig)  # fmt: skip
    artifacts = ConfigField("Search for artifacts (method compare).", CompareArtifactsConfig)

    def setDefaults(self):
        super().setDefaults()
        self.modelPsfMatch.kernel["AL"].scaleByFwhm = True
        for stack in (self.assemble, self.staticSky):
            stack.requireUnit = False
            stack.doInterp = False  # where nothing was measured the coadd has no value
        # Three sigma cost 4 % of the depth of twenty images: their quartiles do not know their scatter well enough.
        self.assemble.sigmaClip = 4.0
        # foreign masks know cosmic rays
        self.assemble.badMaskPlanes = ["NO_DATA", "BAD", "SAT", "CR", "EDGE"]
        self.staticSky.badMaskPlanes = ["NO_DATA"]
        self.staticSky.warpType = "psfMatched"
        self.staticSky.sigmaClip, self.staticSky.clipIter = 2.5, 3
