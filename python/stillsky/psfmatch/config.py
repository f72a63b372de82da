"""Configuration of PSF matching: Rubin's field names, types, defaults and ranges.

Fields that Rubin does not have are grouped at the end of `KernelFields`; ``compat = True`` (the preset ``rubin``)
turns all of them back to the behaviour of the reference.
"""

from lsst.pex.config import ChoiceField, Config, ConfigChoiceField, ConfigField, Field, ListField, RangeField

from ..background.config import SubtractBackgroundConfig
from ..detection.config import SourceDetectionConfig, thresholdTypeField
from ..warp.config import WarperConfig

__all__ = [
    "AlardLuptonFields",
    "DeltaFunctionFields",
    "DetectionConfig",
    "ImagePsfMatchConfig",
    "KernelFields",
    "MakeKernelConfig",
    "MatchDetectionConfig",
    "MatchMeasurementConfig",
    "ModelPsfMatchConfig",
    "PsfMatchConfig",
    "PsfMatchConfigAL",
    "PsfMatchConfigDF",
    "SnapPsfMatchConfig",
    "SnapPsfMatchConfigAL",
    "SnapPsfMatchConfigDF",
    "makeKernelChoice",
]


def _oddField(doc, default):
    return RangeField(dtype=int, doc=doc, default=default, min=1)


class DetectionConfig(Config):
    """Candidate detection of the older PsfMatch tasks."""

    detThreshold = RangeField(dtype=float, doc="Threshold of a footprint.", default=10.0, min=3.0)
    detThresholdType = thresholdTypeField("Meaning of detThreshold.")
    detOnTemplate = Field(dtype=bool, doc="Detect on the template instead of the science image.", default=True)
    badMaskPlanes = ListField(
        dtype=str, doc="Mask planes that disqualify a footprint.", default=["NO_DATA", "EDGE", "SAT"]
    )
    fpNpixMin = RangeField(dtype=int, doc="Smallest number of pixels of a footprint.", default=5, min=5)
    fpNpixMax = RangeField(
        dtype=int, doc="Largest number of pixels of a footprint.", default=500, max=500, inclusiveMax=True
    )
    fpGrowKernelScaling = RangeField(
        dtype=float, doc="Footprints grow by this times the kernel size, with scaleByFwhm.", default=1.0, min=1.0
    )
    fpGrowPix = RangeField(
        dtype=int, doc="Footprints grow by this many pixels, without scaleByFwhm.", default=30, min=10
    )
    scaleByFwhm = Field(dtype=bool, doc="Scale the growth by the kernel size.", default=True)


class MatchDetectionConfig(SourceDetectionConfig):
    """Detection of the sources that ImagePsfMatchTask and MakeKernelTask use as candidates."""

    def setDefaults(self):
        super().setDefaults()
        self.thresholdValue = 10.0
        self.reEstimateBackground = False


class KernelFields(Config):
    """Fields of the fit, shared by both basis sets; ``compat = True`` turns off those that Rubin does not have."""

    fitForBackground = Field(dtype=bool, doc="Fit a differential background together with the kernel.", default=False)
    kernelBasisSet = ChoiceField(
        dtype=str,
        optional=False,
        doc="Functions that make up the kernel.",
        default="alard-lupton",
        allowed={
            "alard-lupton": "sum of Gaussians times polynomials (Alard & Lupton 1998)",
            "delta-function": "one function per pixel",
        },
    )
    kernelSize = _oddField("Side of the kernel in pixels, odd. Derived from the PSFs with scaleByFwhm.", 21)
    scaleByFwhm = Field(dtype=bool, doc="Derive kernel size and Gaussian widths from the two PSF widths.", default=True)
    kernelSizeFwhmScaling = RangeField(
        dtype=float,
        doc="Kernel size over the width (sigma, despite the name) of the widest Gaussian.",
        default=6.0,
        min=1.0,
    )
    kernelSizeMin = _oddField("Smallest derived kernel size, odd.", 21)
    kernelSizeMax = _oddField("Largest derived kernel size, odd.", 35)
    spatialModelType = ChoiceField(
        dtype=str,
        optional=False,
        doc="Functions of position.",
        default="chebyshev1",
        allowed={"chebyshev1": "Chebyshev polynomials of the first kind", "polynomial": "powers of pixel coordinates"},
    )
    # no image supports the 1326 terms of order 50: more is a slip of the finger that would fill the memory
    spatialKernelOrder = RangeField(
        dtype=int, doc="Order of the kernel's variation over the image.", default=2, min=0, max=50, inclusiveMax=True
    )
    spatialBgOrder = RangeField(
        dtype=int, doc="Order of the differential background.", default=1, min=0, max=50, inclusiveMax=True
    )
    sizeCellX = RangeField(dtype=int, doc="Width of a spatial cell in pixels.", default=128, min=32)
    sizeCellY = RangeField(dtype=int, doc="Height of a spatial cell in pixels.", default=128, min=32)
    maxKernelFitSeconds = RangeField(
        dtype=float,
        doc="Kernel stars whose fit would take longer on a slow core are left out, the faintest first; 0: no limit.",
        default=120.0,
        min=0.0,
    )
    nStarPerCell = Field(dtype=int, doc="Active candidates per cell; 0 or less: all.", default=5)
    maxSpatialIterations = RangeField(
        dtype=int, doc="Rounds of fitting and rejecting.", default=3, min=1, max=5, inclusiveMax=True
    )
    usePcaForSpatialKernel = Field(
        dtype=bool, doc="Replace the basis by principal components of the candidates' kernels.", default=False
    )
    subtractMeanForPca = Field(dtype=bool, doc="Subtract the mean kernel first; it becomes component 0.", default=True)
    numPrincipalComponents = RangeField(dtype=int, doc="Components kept, the mean included.", default=5, min=3)
    singleKernelClipping = Field(dtype=bool, doc="Reject candidates by the residual of their own kernel.", default=True)
    kernelSumClipping = Field(dtype=bool, doc="Reject candidates by their kernel sum.", default=True)
    spatialKernelClipping = Field(
        dtype=bool, doc="Reject candidates by the residual of the spatial kernel.", default=True
    )
    checkConditionNumber = Field(
        dtype=bool, doc="Reject candidates whose matrix has a large condition number.", default=False
    )
    badMaskPlanes = ListField(
        dtype=str, doc="Mask planes whose pixels carry no weight.", default=["NO_DATA", "EDGE", "SAT"]
    )
    candidateResidualMeanMax = RangeField(
        dtype=float, doc="Largest mean residual of a candidate, in sigma.", default=0.25, min=0.0
    )
    candidateResidualStdMax = RangeField(
        dtype=float, doc="Largest standard deviation of a candidate's residuals, in sigma.", default=1.50, min=0.0
    )
    useCoreStats = Field(dtype=bool, doc="Judge the residuals of the central pixels only.", default=False)
    candidateCoreRadius = RangeField(
        dtype=int, doc="The central pixels are a square of (2r + 1)^2; also used for the rating.", default=3, min=1
    )
    maxKsumSigma = RangeField(
        dtype=float, doc="Largest deviation of a kernel sum, in standard deviations.", default=3.0, min=0.0
    )
    maxConditionNumber = RangeField(
        dtype=float, doc="Largest condition number of a candidate, with checkConditionNumber.", default=5.0e7, min=0.0
    )
    conditionNumberType = ChoiceField(
        dtype=str,
        optional=False,
        doc="How condition numbers are computed.",
        default="EIGENVALUE",
        allowed={"SVD": "largest over smallest singular value", "EIGENVALUE": "largest over smallest eigenvalue"},
    )
    maxSpatialConditionNumber = RangeField(
        dtype=float, doc="A larger condition number of the spatial fit gives a warning.", default=1.0e10, min=0.0
    )
    iterateSingleKernel = Field(
        dtype=bool,
        doc="Fit each candidate twice, the second time with the variance of its own difference"
        " (only without constantVarianceWeighting).",
        default=False,
    )
    constantVarianceWeighting = Field(dtype=bool, doc="Give all pixels of a candidate the same weight.", default=True)
    calculateKernelUncertainty = Field(
        dtype=bool, doc="Also compute the covariance of the kernel coefficients.", default=False
    )
    # Beyond the reference
    compat = Field(dtype=bool, doc="Do as the reference does: all fields below are ignored.", default=False)
    perPixelSpatialTerms = Field(
        dtype=bool,
        doc="Evaluate the spatial model at every pixel of a stamp in the final fit, not at its centre only.",
        default=True,
    )
    correctTemplateNoise = Field(
        dtype=bool,
        doc="Subtract the contribution of the convolved image's own noise from the normal equations; without it the"
        " kernel sum is too low.",
        default=True,
    )
    maskWeights = Field(
        dtype=bool,
        doc="Give masked pixels zero weight in the fit instead of trusting that stamps are clean.",
        default=True,
    )
    minGoodFraction = RangeField(
        dtype=float,
        doc="A stamp with a smaller fraction of usable pixels is rejected.",
        default=0.5,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    adaptiveKernelSumClipping = Field(
        dtype=bool,
        doc="Let the limit on kernel sums grow with the number of candidates, so that few good ones are lost.",
        default=True,
    )
    lowerSpatialOrders = Field(
        dtype=bool, doc="Lower the spatial orders until there are enough good candidates per term.", default=True
    )
    candidatesPerTerm = RangeField(dtype=int, doc="See lowerSpatialOrders.", default=2, min=1)
    scaledPolynomials = Field(
        dtype=bool,
        doc="Fit the spatial model 'polynomial' in scaled coordinates and convert the coefficients.",
        default=True,
    )
    buildReplacements = Field(
        dtype=bool, doc="Candidates that enter with the last fit are fitted on their own before it.", default=True
    )
    spatialPhotometricOrder = RangeField(
        dtype=int,
        doc="Order of the variation of the flux scale over the image.",
        default=0,
        min=0,
        max=50,
        inclusiveMax=True,
    )

    def validate(self):
        super().validate()
        for name in ("kernelSize", "kernelSizeMin", "kernelSizeMax"):
            if getattr(self, name) % 2 == 0:
                self._fail(name, f"must be odd, got {getattr(self, name)}")
        if self.kernelSizeMin > self.kernelSizeMax:
            self._fail("kernelSizeMin", f"{self.kernelSizeMin} exceeds kernelSizeMax {self.kernelSizeMax}")

    def _fail(self, name, message):
        from lsst.pex.config import FieldValidationError

        raise FieldValidationError(self._fields[name], self, message)


class AlardLuptonFields(KernelFields):
    """Fields of the Alard-Lupton basis: Gaussians times polynomials."""

    alardNGauss = RangeField(dtype=int, doc="Number of Gaussians.", default=3, min=1)
    alardDegGauss = ListField(dtype=int, doc="Polynomial degree of each Gaussian.", default=(4, 2, 2))
    alardSigGauss = ListField(
        dtype=float,
        doc="Widths (sigma) in pixels, used when they are not derived from the PSFs.",
        default=(0.7, 1.5, 3.0),
    )
    alardGaussBeta = RangeField(dtype=float, doc="Ratio of successive derived widths.", default=2.0, min=0.0)
    alardMinSig = RangeField(dtype=float, doc="Smallest derived width in pixels.", default=0.7, min=0.25)
    alardWidthRule = ChoiceField(
        dtype=str,
        optional=False,
        doc="How widths are derived from the PSFs.",
        default="current",
        allowed={
            "current": "a ladder that changes continuously with the PSF widths",
            "legacy": "the rule of Rubin's releases before 2024, with degrees and widths of its own when the kernel"
            " sharpens",
        },
    )
    alardDegGaussDeconv = RangeField(
        dtype=int,
        doc="Polynomial degree of every Gaussian when the kernel sharpens, with alardWidthRule legacy.",
        default=3,
        min=1,
    )
    alardMinSigDeconv = RangeField(
        dtype=float, doc="Smallest derived width in pixels when the kernel sharpens.", default=0.4, min=0.25
    )
    alardNGaussDeconv = RangeField(
        dtype=int,
        doc="Number of Gaussians when the kernel sharpens, with alardWidthRule legacy; that rule is defined for 3.",
        default=3,
        min=1,
    )

    def setDefaults(self):
        super().setDefaults()
        self.kernelBasisSet = "alard-lupton"
        self.maxConditionNumber = 5.0e7

    def validate(self):
        super().validate()
        for name in ("alardDegGauss", "alardSigGauss"):
            if len(getattr(self, name)) != self.alardNGauss:
                self._fail(name, f"wanted {self.alardNGauss} entries (alardNGauss), got {len(getattr(self, name))}")


class DeltaFunctionFields(KernelFields):
    """Fields of the delta-function basis: one function per kernel pixel, regularised."""

    useRegularization = Field(dtype=bool, doc="Penalise kernels that are not smooth.", default=True)
    regularizationType = ChoiceField(
        dtype=str,
        optional=False,
        doc="Difference that is penalised.",
        default="centralDifference",
        allowed={"centralDifference": "Laplacian", "forwardDifference": "forward differences"},
    )
    centralRegularizationStencil = ChoiceField(
        dtype=int,
        optional=False,
        doc="Points of the Laplacian.",
        default=9,
        allowed={5: "five points", 9: "nine points"},
    )
    forwardRegularizationOrders = ListField(
        dtype=int, doc="Orders of the forward differences.", default=(1, 2), itemCheck=lambda order: 0 < order < 4
    )
    regularizationBorderPenalty = RangeField(
        dtype=float, doc="Penalty of border pixels, where differences are not defined.", default=3.0, min=0.0
    )
    lambdaType = ChoiceField(
        dtype=str,
        optional=False,
        doc="How the strength of the regularisation is chosen.",
        default="absolute",
        allowed={
            "absolute": "lambdaValue",
            "relative": "lambdaScaling times the ratio of the traces of the two matrices",
            "minimizeBiasedRisk": "least biased risk",
            "minimizeUnbiasedRisk": "least unbiased risk",
        },
    )
    lambdaValue = Field(dtype=float, doc="Strength for lambdaType absolute.", default=0.2)
    lambdaScaling = Field(
        dtype=float, doc="Strength for lambdaType relative, as a fraction of the trace ratio.", default=1e-4
    )
    lambdaStepType = ChoiceField(
        dtype=str,
        optional=False,
        doc="Grid of strengths for the risk.",
        default="log",
        allowed={"log": "limits and step are exponents of ten", "linear": "linear"},
    )
    lambdaMin = Field(dtype=float, doc="First grid point (exponent with log).", default=-1.0)
    lambdaMax = Field(dtype=float, doc="Last grid point (exponent with log).", default=2.0)
    lambdaStep = Field(dtype=float, doc="Step of the grid.", default=0.1)

    def setDefaults(self):
        super().setDefaults()
        self.kernelBasisSet = "delta-function"
        self.maxConditionNumber = 5.0e6
        self.usePcaForSpatialKernel = True
        self.subtractMeanForPca = True

    def validate(self):
        super().validate()
        if self.lambdaMin > self.lambdaMax:
            self._fail("lambdaMin", f"{self.lambdaMin} exceeds lambdaMax {self.lambdaMax}")
        if self.lambdaStep <= 0:
            self._fail("lambdaStep", f"must be positive, got {self.lambdaStep}")


class PsfMatchConfig(KernelFields):
    """Fields shared by the tasks with both basis sets."""

    warpingConfig = ConfigField("Resampling of the template onto the science grid.", WarperConfig)
    detectionConfig = ConfigField("Detection of candidates (older tasks).", DetectionConfig)
    afwBackgroundConfig = ConfigField("Background removed while candidates are detected.", SubtractBackgroundConfig)
    useAfwBackground = Field(
        dtype=bool,
        doc="Subtract that background from both images before the fit and the difference.",
        default=False,
    )
    useBicForKernelBasis = Field(
        dtype=bool, doc="Let the candidates vote for the polynomial degrees by their BIC.", default=False
    )


class PsfMatchConfigAL(AlardLuptonFields, PsfMatchConfig):
    """Alard-Lupton basis: Gaussians times polynomials."""


class PsfMatchConfigDF(DeltaFunctionFields, PsfMatchConfig):
    """Delta-function basis, one function per kernel pixel, regularised."""


def makeKernelChoice(*names, default="AL"):
    """A ``kernel`` field that offers the named basis sets (``"AL"``, ``"DF"``)."""
    both = {"AL": PsfMatchConfigAL, "DF": PsfMatchConfigDF}
    return ConfigChoiceField(
        doc="Basis set of the matching kernel, with its configuration.",
        typemap={name: both[name] for name in names or both},
        default=default,
    )


class MatchMeasurementConfig(Config):
    """Measurements of the sources that become candidates."""

    plugins = ListField(
        dtype=str,
        doc="Measurements, in this order.",
        default=["SdssCentroid", "PsfFlux", "PixelFlags", "SdssShape", "GaussianFlux", "SkyCoord"],
    )


class ImagePsfMatchConfig(Config):
    """Configuration of ImagePsfMatchTask."""

    kernel = makeKernelChoice()
    selectDetection = ConfigField("Detection of the candidates.", MatchDetectionConfig)
    selectMeasurement = ConfigField("Measurement of the candidates.", MatchMeasurementConfig)


class MakeKernelConfig(PsfMatchConfig):
    """Configuration of MakeKernelTask.

    Of the fields inherited from `PsfMatchConfig`, ``badMaskPlanes`` alone is used, to refuse candidates; the fit reads
    ``kernel``.
    """

    kernel = makeKernelChoice()
    selectDetection = ConfigField("Detection of the candidates.", MatchDetectionConfig)
    selectMeasurement = ConfigField("Measurement of the candidates.", MatchMeasurementConfig)
    fwhmExposureGrid = RangeField(
        dtype=int,
        doc="Positions along each axis at which the PSF is evaluated where it is not defined at its average position.",
        default=10,
        min=1,
    )
    fwhmExposureBuffer = RangeField(
        dtype=float, doc="Fraction of the extent left out on every side of that grid.", default=0.05, min=0.0, max=0.5
    )

    def setDefaults(self):
        super().setDefaults()
        self.selectDetection.excludeMaskPlanes = ["EDGE"]
        self.selectMeasurement.plugins = [*self.selectMeasurement.plugins, "ClassificationSizeExtendedness"]


class ModelPsfMatchConfig(Config):
    """Configuration of ModelPsfMatchTask."""

    kernel = makeKernelChoice("AL")
    doAutoPadPsf = Field(
        dtype=bool, doc="Pad the PSF images with zeros until they are autoPadPsfTo times the kernel.", default=True
    )
    autoPadPsfTo = RangeField(
        dtype=float,
        doc="Width of the padded PSF image over that of the kernel.",
        default=1.4,
        min=1.0,
        max=2.0,
        inclusiveMax=True,
    )
    padPsfBy = Field(
        dtype=int, doc="Pixels added to the width of the PSF images, without doAutoPadPsf; even.", default=0
    )

    def setDefaults(self):
        super().setDefaults()
        kernel = self.kernel["AL"]
        # PSF models have no noise and no outliers: nothing to clip, and all cells weigh the same.
        kernel.singleKernelClipping = False
        kernel.kernelSumClipping = False
        kernel.spatialKernelClipping = False
        kernel.checkConditionNumber = False
        kernel.constantVarianceWeighting = True
        kernel.scaleByFwhm = False
        kernel.correctTemplateNoise = False
        # A model image is the PSF at one position, at all of its pixels.
        kernel.perPixelSpatialTerms = False


def _snapDefaults(config):
    """Two exposures taken in a row differ little, and equally over the field."""
    config.spatialKernelOrder = 0
    config.fitForBackground = False
    config.kernelSize = 7
    config.spatialKernelClipping = False


class SnapPsfMatchConfigDF(PsfMatchConfigDF):
    """Delta-function kernel between two snaps of a visit."""

    def setDefaults(self):
        super().setDefaults()
        _snapDefaults(self)
        self.useRegularization = False
        self.usePcaForSpatialKernel = True
        self.subtractMeanForPca = True
        self.numPrincipalComponents = 5


class SnapPsfMatchConfigAL(PsfMatchConfigAL):
    """Alard-Lupton kernel between two snaps of a visit."""

    def setDefaults(self):
        super().setDefaults()
        _snapDefaults(self)
        self.alardNGauss = 2
        self.alardDegGauss = [4, 2]
        self.alardSigGauss = [1.0, 2.5]


class SnapPsfMatchConfig(ImagePsfMatchConfig):
    """Configuration of SnapPsfMatchTask."""

    kernel = ConfigChoiceField(
        doc="Basis set of the matching kernel, with its configuration.",
        typemap={"AL": SnapPsfMatchConfigAL, "DF": SnapPsfMatchConfigDF},
        default="AL",
    )
    doWarping = Field(dtype=bool, doc="Warp the template onto the science image.", default=False)
