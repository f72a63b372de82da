"""Configuration of image subtraction as run from the command line and from `stillsky.subtract`."""

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, FieldValidationError, ListField, RangeField

from ..psfmatch.config import AlardLuptonFields, DeltaFunctionFields
from ..warp.config import WarperConfig
from .decorrelate_config import DecorrelateConfig
from .detect_measure_config import DetectAndMeasureAlgorithmConfig
from .injection_config import InjectionConfig
from .zogy_config import ZogySubtractConfig

__all__ = ["KernelFitConfig", "PsfModelConfig", "StarConfig", "SubtractConfig"]


class StarConfig(Config):
    """Which objects count as stars, and which of them carry the kernel fit."""

    minSignalToNoise = RangeField(dtype=float, doc="Smallest signal-to-noise ratio of a star.", default=20.0, min=3.0)
    lowestSignalToNoise = RangeField(
        dtype=float,
        doc="minSignalToNoise is halved, but not below this, while fewer than wantedNumber objects pass.",
        default=5.0,
        min=3.0,
    )
    wantedNumber = RangeField(
        dtype=int, doc="Number of objects below which fainter ones are used too.", default=10, min=1
    )
    maxNumber = RangeField(dtype=int, doc="Largest number of stars kept, brightest first.", default=20000, min=10)
    saturatedPlanes = ListField(
        dtype=str,
        doc="Mask planes that make a star unusable when they touch it.",
        default=["SAT", "BAD", "NO_DATA", "CR", "EDGE"],
    )
    isolationRadius = RangeField(
        dtype=float,
        doc="A brighter or comparable neighbour within this many FWHM disqualifies a star.",
        default=2.5,
        min=0.0,
    )
    isolationFraction = RangeField(
        dtype=float, doc="A neighbour counts when it is brighter than this fraction of the star.", default=0.1, min=0.0
    )
    sizeTolerance = RangeField(
        dtype=float,
        doc="Largest relative deviation from the size locus, added to three measuring errors.",
        default=0.06,
        min=0.0,
    )
    maxEllipticityDeviation = RangeField(
        dtype=float,
        doc="Largest deviation of the ellipticity from that of the other stars, beyond three errors.",
        default=0.15,
        min=0.0,
    )
    useGalaxies = ChoiceField(
        dtype=str,
        optional=False,
        doc="Whether extended objects may carry the kernel fit.",
        default="auto",
        allowed={"auto": "only when there are too few stars", "yes": "always", "no": "never"},
    )
    maxFluxRatioDeviation = RangeField(
        dtype=float,
        doc="An object whose flux ratio between the images deviates by more than this many standard deviations is variable.",
        default=5.0,
        min=1.0,
    )
    matchRadius = RangeField(
        dtype=float, doc="Largest distance in pixels between the two images' positions.", default=2.0, min=0.1
    )


class PsfModelConfig(Config):
    """Empirical PSF of an image that brings none."""

    halfSizeFwhm = RangeField(
        dtype=float, doc="Half size of the measured stamp in FWHM.", default=4.0, min=1.5, max=30.0
    )
    wingsFwhm = RangeField(
        dtype=float,
        doc="Half size of the model in FWHM; power-law wings fill the rest.",
        default=5.0,
        min=1.5,
        max=30.0,
    )
    minSignalToNoise = RangeField(
        dtype=float,
        doc="Stars with a smaller joint signal-to-noise ratio give a Gaussian of their median width only.",
        default=60.0,
        min=0.0,
    )
    maxOrder = RangeField(dtype=int, doc="Largest order of the variation over the image.", default=2, min=0)
    starsPerTerm = RangeField(
        dtype=int, doc="The order is lowered until there are this many stars per term.", default=3, min=1
    )
    maxComponents = RangeField(dtype=int, doc="Largest number of principal components.", default=6, min=1)
    maxStars = RangeField(dtype=int, doc="Largest number of stars used.", default=500, min=5)
    rejectionRounds = RangeField(
        dtype=int, doc="Rounds of rejecting stars that the model does not fit.", default=3, min=0, max=100
    )
    tieToKernel = Field(
        dtype=bool,
        doc="Once the matching kernel is known, let the PSF of the image that is not convolved be the mean of its own model "
        "and of the other image's through the kernel, weighted with the starlight behind each. PSFs of files stay.",
        default=True,
    )


class KernelFitConfig(AlardLuptonFields, DeltaFunctionFields):
    """Fields of both basis sets; ``kernelBasisSet`` chooses."""

    stampHalfSize = RangeField(
        dtype=int,
        doc="Half side in pixels of the stamps that the kernel is fitted to; 0: the side of the kernel.",
        default=0,
        min=0,
    )
    maxSumErrorOfWideGaussian = RangeField(
        dtype=float,
        doc="With more than three Gaussians the last one is left out, and the kernel fitted again, where the fractional "
        "error of the kernel sum exceeds this: the wide one, which few or faint stars cannot tell from the background, "
        "is worth 0.3 % of the sum.",
        default=0.01,
        min=0.0,
    )

    def setDefaults(self):
        super().setDefaults()
        self.kernelBasisSet = "alard-lupton"
        self.maxConditionNumber = 5.0e7
        self.usePcaForSpatialKernel = False
        self.fitForBackground = True
        # A fourth, wide Gaussian and a support that reaches the PSFs' wings: without them the kernel sum of Moffat-like
        # PSFs comes out 0.2 to 0.4 % low.
        self.alardNGauss = 4
        self.alardDegGauss = [4, 2, 2, 0]
        self.alardSigGauss = [0.7, 1.4, 2.8, 5.6]
        self.kernelSizeFwhmScaling = 4.5
        self.spatialKernelOrder = 2
        self.spatialBgOrder = 2
        self.constantVarianceWeighting = False
        self.candidatesPerTerm = 3  # with two the kernel swings where no star is near
        self.iterateSingleKernel = True
        self.badMaskPlanes = ["NO_DATA", "EDGE", "SAT", "BAD", "CR"]


class SubtractConfig(Config):
    """Everything that can be set for a subtraction; each field is a ``-c`` key of the command line."""

    convolve = ChoiceField(
        dtype=str,
        optional=False,
        doc="Which image is convolved.",
        default="auto",
        allowed={
            "auto": "the one that predicts the smaller flux error in the difference",
            "template": "the template",
            "science": "the science image",
        },
    )
    stars = ConfigField("Selection of stars.", StarConfig)
    psf = ConfigField("Empirical PSF.", PsfModelConfig)
    psfmatch = ConfigField("Fit of the matching kernel.", KernelFitConfig)
    warp = ConfigField("Resampling of the template.", WarperConfig)
    zogy = ConfigField("Proper subtraction, with the method zogy.", ZogySubtractConfig)
    requiredTemplateFraction = RangeField(
        dtype=float,
        doc="Smallest fraction of the science image that the template must cover.",
        default=0.1,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    minKernelSources = RangeField(dtype=int, doc="Smallest number of objects to fit the kernel to.", default=3, min=1)
    # On 4096^2 pixels 400, 600 or all stars give the same kernel sum and its error to 5 %: fainter ones only cost time.
    maxKernelSources = Field(dtype=int, doc="Largest number of objects, brightest first; 0 or less: all.", default=400)
    maxOffset = RangeField(
        dtype=float,
        doc="A larger median offset of the stars, in pixels, means that the images are not registered.",
        default=1.5,
        min=0.0,
    )
    doRegister = Field(
        dtype=bool,
        doc="Register the template by its objects: translation, rotation and scale, on top of the WCS if both have one.",
        default=False,
    )
    subtractBackground = Field(dtype=bool, doc="Subtract the differential background of the fit.", default=True)
    backgroundBinSize = RangeField(
        dtype=int,
        doc="Cell size in pixels of the sky background that is removed while stars are searched.",
        default=128,
        min=16,
    )
    doDecorrelation = Field(
        dtype=bool,
        doc="Make the noise of the difference white: image, variance plane and PSF change.",
        default=True,
    )
    decorrelate = ConfigField("Decorrelation of the difference.", DecorrelateConfig)
    doCovariance = Field(
        dtype=bool,
        doc="Also tell how the noise of neighbouring pixels is correlated: HDU COVARIANCE of the difference, by which "
        "errors of apertures and PSF fluxes go. Not for proper differences.",
        default=False,
    )
    doCopyEdge = Field(
        dtype=bool,
        doc="Where the kernel does not fit: copy the convolved image and set EDGE, instead of NO_DATA.",
        default=False,
    )
    doDetection = Field(dtype=bool, doc="Find and measure the sources of the difference.", default=True)
    detect = ConfigField("Sources of the difference.", DetectAndMeasureAlgorithmConfig)
    inject = ConfigField("Sources planted to measure the efficiency.", InjectionConfig)

    def setDefaults(self):
        super().setDefaults()
        # The fit has a background, and the sky of the difference is centred after it.
        self.detect.doSubtractBackground = False
        self.detect.doDeblend = True

    def validate(self):
        super().validate()
        if self.inject.n and not self.doDetection:
            raise FieldValidationError(SubtractConfig.doDetection, self, "planted sources need a detection")
