"""Configuration of coadds, without the subtasks that only the pipeline tasks have."""

import logging

from lsst.pex.config import (
    ChoiceField,
    Config,
    ConfigField,
    DictField,
    Field,
    FieldValidationError,
    ListField,
    RangeField,
)

from ..diffim.template_config import CoaddPsfConfig
from .input_recorder_config import CoaddInputRecorderConfig
from .interp_image_config import InterpImageConfig, ModelPsfConfig
from .scaling_config import ScaleZeroPointConfig

__all__ = ["AssembleCoaddAlgorithmConfig", "AssembleCoaddFields", "CoaddBaseFields", "CoaddModelPsfConfig"]

_LOG = logging.getLogger("stillsky.coadd")

#: Statistics whose value is that of the sky, so that gaps in them can be interpolated.
_INTERPOLABLE = ("MEAN", "MEDIAN", "MEANCLIP", "VARIANCE", "VARIANCECLIP")
#: Statistics that an image can be made of.
_STACKABLE = (
    *_INTERPOLABLE, "STDEV", "STDEVCLIP", "IQRANGE", "MIN", "MAX", "SUM", "MEANSQUARE",
)  # fmt: skip


def _flag(default, doc, **kwargs):
    return Field(dtype=bool, doc=doc, default=default, **kwargs)


class CoaddModelPsfConfig(ModelPsfConfig):
    """The PSF that warps were matched to, for those that do not bring it."""

    defaultFwhm = RangeField(
        dtype=float, optional=True, default=None, min=0.0, inclusiveMin=False,
        doc="Width, pixels; None: a coadd whose warps bring no PSF has none.",
    )  # fmt: skip


class CoaddBaseFields(Config):
    """What all tasks share that combine warps."""

    coaddName = Field(dtype=str, doc="Beginning of the names of datasets: deep, goodSeeing, ...", default="deep")
    badMaskPlanes = ListField(dtype=str, doc="Mask planes of pixels that are left out.", default=["NO_DATA"])
    doPsfMatch = _flag(
        False, "Combine warps that were matched to one PSF.",
        deprecated="doPsfMatch sets warpType to psfMatched; set that instead.",
    )  # fmt: skip
    modelPsf = ConfigField(
        "PSF of a coadd of warps matched to one PSF (warpType psfMatched), where no warp brings it.",
        CoaddModelPsfConfig,
    )
    doApplyUberCal = _flag(False, "No effect.", deprecated="doApplyUberCal has no effect: warps are calibrated.")
    useMeasMosaic = _flag(False, "No effect.", deprecated="useMeasMosaic has no effect: warps are calibrated.")
    includeCalibVar = _flag(False, "No effect.", deprecated="includeCalibVar has no effect: warps are calibrated.")
    matchingKernelSize = RangeField(
        dtype=int,
        doc="Size of the kernel that warps were matched with, odd: polygons of their inputs are shrunk by half of it.",
        default=21,
        min=1,
    )

    def validate(self):
        super().validate()
        if self.matchingKernelSize % 2 == 0:
            self._refuse("matchingKernelSize", f"wanted an odd number, given {self.matchingKernelSize}")

    def _refuse(self, field, reason):
        raise FieldValidationError(type(self)._fields[field], self, reason)


class AssembleCoaddFields(CoaddBaseFields):
    """How warps become a coadd."""

    warpType = ChoiceField(
        dtype=str,
        optional=False,
        doc="Kind of warps that are combined.",
        default="direct",
        allowed={"direct": "warped only", "psfMatched": "warped and matched to one PSF"},
    )
    subregionSize = ListField(
        dtype=int,
        doc="Width and height of the blocks that are combined at once, pixels; the result does not depend on it, and "
        "`memory` may cut them further.",
        default=[2000, 2000],
        length=2,
        itemCheck=lambda size: size > 0,
    )
    statistic = Field(dtype=str, doc="Statistic of the samples of a pixel.", default="MEANCLIP")
    doOnlineForMean = _flag(False, "Take the mean as warps come, one at a time, rather than band by band (MEAN only).")
    doSigmaClip = _flag(
        False, "Statistic MEANCLIP.", deprecated="doSigmaClip sets the statistic to MEANCLIP; set that instead."
    )
    sigmaClip = RangeField(
        dtype=float, doc="Samples further from the mean, in standard deviations, are clipped.", default=3.0, min=0.0,
        inclusiveMin=False,
    )  # fmt: skip
    clipIter = RangeField(dtype=int, doc="Rounds of clipping.", default=2, min=1)
    calcErrorFromInputVariance = _flag(True, "Variance from the inputs' variances rather than from the scatter.")
    doScaleZeroPoint = _flag(False, "Scale warps that are not in nJy to one zero point, by their calibrations.")
    doInterp = _flag(True, "Interpolate over pixels without data.")
    doWrite = _flag(True, "Write the coadd.")
    doWriteArtifactMasks = _flag(False, "Write the masks of artifacts (compare-warp only).")
    doNImage = _flag(False, "Make images of the number of inputs of each pixel.")
    doUsePsfMatchedPolygons = _flag(False, "Take valid polygons of inputs from the warps matched to one PSF.")
    maskPropagationThresholds = DictField(
        keytype=str,
        itemtype=float,
        doc="Planes of left-out pixels that the coadd has where those make up more than this part of the weight.",
        default={"SAT": 0.1},
    )
    removeMaskPlanes = ListField(dtype=str, doc="Mask planes that are cleared on all warps.", default=["NOT_DEBLENDED"])
    doMaskBrightObjects = _flag(False, "Mask regions around bright objects.")
    brightObjectMaskName = Field(dtype=str, doc="Mask plane of those.", default="BRIGHT_OBJECT")
    coaddPsf = ConfigField("PSF of the coadd.", CoaddPsfConfig)
    doAttachTransmissionCurve = _flag(False, "Attach the weighted throughput; all inputs must have one.")
    hasFakes = _flag(False, "Inputs hold injected sources: names of outputs begin with fakes.")
    doSelectVisits = _flag(False, "Keep only the visits of a list.")
    doInputMap = _flag(False, "Make a HEALPix map of what went where (tasks only; needs the package healsparse).")
    memory = RangeField(
        dtype=int,
        doc="Bytes for rows of warps and for the result; the result does not depend on it.",
        default=2 * 1024**3,
        min=1,
    )
    strict = _flag(False, "A warp that cannot be used is an error; otherwise it is left out and named in the result.")
    effectiveWeights = _flag(
        False, "Weight warps by the scatter of their pixels rather than by what their variance planes say."
    )
    requireUnit = _flag(False, "Refuse warps whose BUNIT is not nJy, unless doScaleZeroPoint (pipeline tasks do).")
    compat = _flag(
        False,
        "As the Rubin task: the mask has the bits of clipped samples, the variance of a median is that of the scatter.",
    )

    def setDefaults(self):
        super().setDefaults()
        self.badMaskPlanes = ["NO_DATA", "BAD", "SAT", "EDGE"]
        self.coaddPsf.cacheSize = 0  # nothing is cached; as today's Rubin configuration

    def validate(self):
        self._applyOldFields()
        super().validate()
        if self.statistic not in _STACKABLE:
            self._refuse("statistic", f"wanted one of {', '.join(_STACKABLE)}, given {self.statistic!r}")
        if self.doInterp and self.statistic not in _INTERPOLABLE:
            self._refuse("doInterp", f"wanted statistic to be one of {', '.join(_INTERPOLABLE)} for doInterp, given "
                         f"{self.statistic!r}")  # fmt: skip
        if self.doWriteArtifactMasks and not hasattr(self, "assembleStaticSkyModel"):
            self._refuse("doWriteArtifactMasks", "only the compare-warp task finds artifacts")
        if self.doInputMap and not hasattr(self, "inputMapper"):
            self._refuse(
                "doInputMap", "only the pipeline tasks make maps of inputs: use doNImage and the table of inputs"
            )
        for name, value in self.maskPropagationThresholds.items():
            if not 0 <= value <= 1:
                self._refuse("maskPropagationThresholds", f"wanted a fraction for {name}, given {value}")

    def _applyOldFields(self):
        """What fields of old configurations stand for, said in the log."""
        for old, name, value in (("doSigmaClip", "statistic", "MEANCLIP"), ("doPsfMatch", "warpType", "psfMatched")):
            if getattr(self, old) and getattr(self, name) != value:
                _LOG.warning("%s: %s is %s, not %s", old, name, value, getattr(self, name))
                setattr(self, name, value)


class AssembleCoaddAlgorithmConfig(AssembleCoaddFields):
    """`AssembleCoaddFields` with the configurations of what the functions use."""

    inputRecorder = ConfigField("Record of what went into the coadd.", CoaddInputRecorderConfig)
    scaleZeroPoint = ConfigField("Scaling of warps to one zero point.", ScaleZeroPointConfig)
    interpImage = ConfigField("Interpolation over pixels without data.", InterpImageConfig)
