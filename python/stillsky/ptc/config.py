"""Configuration of the photon-transfer extraction: Rubin's field names, types, defaults and allowed values.

Fields that Rubin does not have are grouped at the end of `PhotonTransferCurveExtractConfigBase`; ``compat = True`` turns
all of them back to the behaviour of the reference.
"""

from lsst.pex.config import ChoiceField, Config, DictField, Field, FieldValidationError, ListField, RangeField

__all__ = [
    "PhotonTransferCurveExtractAlgorithmConfig",
    "PhotonTransferCurveExtractConfigBase",
    "PhotonTransferCurveExtractPairAlgorithmConfig",
]


class PhotonTransferCurveExtractConfigBase(Config):
    """Fields that the list task and the pair task share."""

    # Pairs
    matchExposuresType = ChoiceField(
        dtype=str,
        optional=False,
        doc="What two exposures of a pair have in common.",
        default="TIME",
        allowed={"TIME": "exposure time", "FLUX": "a header value", "EXPID": "adjacent exposure ids"},
    )
    matchExposuresByFluxKeyword = Field(
        dtype=str, doc="Header key that measures the light, for matchExposuresType FLUX.", default="CCOBFLUX"
    )
    matchByExposureId = Field(
        dtype=bool, doc="Older name of matchExposuresType = EXPID; wins when true.", default=False
    )

    # Pixels
    maskNameList = ListField(
        dtype=str,
        doc="Mask planes that exclude a pixel; planes that a mask lacks are ignored.",
        default=["SUSPECT", "BAD", "NO_DATA", "SAT"],
    )
    nSigmaClipPtc = RangeField(dtype=float, doc="Clipping threshold in standard deviations.", default=5.5, min=0.0)
    nIterSigmaClipPtc = RangeField(dtype=int, doc="Clipping iterations.", default=3, min=1)
    minNumberGoodPixelsForCovariance = RangeField(
        dtype=int,
        doc="Fewest pixels of a region that give covariances; divided by binSize^2 for binned images.",
        default=10000,
        min=1,
    )
    detectorMeasurementRegion = ChoiceField(
        dtype=str,
        optional=False,
        doc="Where to measure.",
        default="AMP",
        allowed={"AMP": "each amplifier", "FULL": "the whole image, the same figures for every amplifier"},
    )
    numEdgeSuspect = RangeField(
        dtype=int, doc="Width in pixels of the border that is flagged SUSPECT; 0: none.", default=0, min=0
    )
    edgeMaskLevel = ChoiceField(
        dtype=str,
        optional=False,
        doc="Whose border numEdgeSuspect is.",
        default="DETECTOR",
        allowed={"DETECTOR": "of the image", "AMP": "of each amplifier"},
    )
    binSize = RangeField(
        dtype=int,
        doc="Bin factor of both axes. Variances and covariances are those of bin means times binSize^2, so that the"
        " slope of the photon-transfer curve stays 1/gain; lags then count bins.",
        default=1,
        min=1,
    )
    minMeanSignal = DictField(
        keytype=str,
        itemtype=float,
        doc="Pairs whose mean is at or below this are not used (exclusive), in adu, by amplifier name or ALL_AMPS,"
        " which wins over names.",
        default={"ALL_AMPS": 0.0},
    )
    maxMeanSignal = DictField(
        keytype=str,
        itemtype=float,
        doc="Pairs whose mean is at or above this are not used (exclusive), in adu, by amplifier name or ALL_AMPS,"
        " which wins over names.",
        default={"ALL_AMPS": 1.0e6},
    )

    # Covariances
    maximumRangeCovariancesAstier = RangeField(
        dtype=int, doc="Side of the covariance matrices: lags 0 to one less are kept.", default=10, min=1
    )
    covAstierRealSpace = Field(
        dtype=bool,
        doc="Force the direct estimator (true) or the Fourier estimator (false); unset: covarianceEstimator decides.",
        default=None,
        optional=True,
    )
    thresholdDiffAfwVarVsCov00 = RangeField(
        dtype=float,
        doc="Warn when clipped variance and covariance at lag 0 differ by this many percent.",
        default=1.0,
        min=0.0,
    )

    # Gain
    doGain = Field(dtype=bool, doc="Estimate a gain from every single pair.", default=True)
    gainCorrectionType = ChoiceField(
        dtype=str,
        optional=False,
        doc="How the single-pair gain allows for read noise.",
        default="READNOISE",
        allowed={
            "NONE": "not at all",
            "READNOISE": "subtract the read noise from the variance; unbiased for Poisson light",
            "SIMPLE": "the reference's correction to second order, in one step",
            "FULL": "the reference's correction to second order, as a quadratic",
        },
    )

    # Histogram
    doKsHistMeasurement = Field(
        dtype=bool,
        doc="Fit a Gaussian to the histogram of differences and test it (Kolmogorov-Smirnov).",
        default=False,
    )
    ksHistNBins = RangeField(dtype=int, doc="Bins of that histogram.", default=100, min=4)
    ksHistLimitMultiplier = RangeField(
        dtype=float, doc="Half range of the histogram in standard deviations.", default=8.0, min=0.0
    )
    ksHistMinDataValues = RangeField(dtype=int, doc="Fewest pixels that are tested.", default=100, min=1)

    # Headers and photodiode
    auxiliaryHeaderKeys = ListField(dtype=str, doc="Header values that are copied to the dataset.", default=[])
    doExtractPhotodiodeData = Field(dtype=bool, doc="Integrate photodiode readings given as input.", default=False)
    useEfdPhotodiodeData = Field(
        dtype=bool, doc="Integrate photodiode readings of an external telemetry service.", default=False
    )
    efdPhotodiodeSeries = Field(
        dtype=str, doc="Telemetry series to ask for.", default="lsst.sal.Electrometer.logevent_logMessage"
    )
    efdSalIndex = Field(
        dtype=int, doc="Instrument of the telemetry series: 101 main, 201 auxiliary telescope.", default=201
    )
    photodiodeIntegrationMethod = ChoiceField(
        dtype=str,
        optional=False,
        doc="How readings become one charge.",
        default="TRIMMED_SUM",
        allowed={
            "DIRECT_SUM": "trapezium rule; the scale is ignored",
            "TRIMMED_SUM": "trapezium rule above a clipped baseline",
            "CHARGE_SUM": "readings are charges; the background current outside the pulse is subtracted",
            "MEAN": "mean current times exposure time",
        },
    )
    photodiodeCurrentScale = Field(dtype=float, doc="Factor of the readings.", default=-1.0)

    # Vignetting
    doVignetteFunctionRegionSelection = Field(
        dtype=bool, doc="Use only the part of an amplifier where the vignetting is nearly flat.", default=False
    )
    vignetteFunctionPolynomialCoeffs = ListField(
        dtype=float,
        doc="Polynomial of the vignetting, highest power first, in focal-plane radius in metres.",
        default=None,
        optional=True,
    )
    vignetteFunctionRegionSelectionMinimumPixels = RangeField(
        dtype=int, doc="Pixels that the selected part should have.", default=250000, min=1
    )
    vignetteFunctionRegionSelectionPercent = RangeField(
        dtype=float,
        doc="Variation of the vignetting over the selected part to start with, percent.",
        default=2.0,
        min=0.0,
    )

    # Beyond the reference
    compat = Field(dtype=bool, doc="Do as the reference does: all fields below are ignored.", default=False)
    covarianceEstimator = ChoiceField(
        dtype=str,
        optional=False,
        doc="How covariances are summed; all agree to rounding.",
        default="auto",
        allowed={
            "auto": "direct up to lag 32, Fourier beyond",
            "direct": "in real space",
            "fft": "by Fourier transforms",
        },
    )
    covarianceQuadrants = ChoiceField(
        dtype=str,
        optional=False,
        doc="Weights of the lags (dx, dy) and (dx, -dy) in their average.",
        default="equal",
        allowed={"equal": "one half each", "weighted": "by their numbers of pixel pairs"},
    )
    minPairsPerLag = RangeField(
        dtype=int, doc="A lag with fewer pixel pairs becomes NaN with weight 0.", default=1, min=1
    )
    clipRule = ChoiceField(
        dtype=str,
        optional=False,
        doc="Pixels of the difference that enter covariances.",
        default="symmetric",
        allowed={
            "symmetric": "within nSigmaClipPtc of the mean of the difference",
            "oneSided": "|difference| below mean + nSigmaClipPtc sigma (the reference)",
        },
    )
    covarianceMaskPlanes = ChoiceField(
        dtype=str,
        optional=False,
        doc="Mask planes that exclude a pixel from covariances.",
        default="requested",
        allowed={"requested": "maskNameList", "any": "every plane (the reference before 2024-12)"},
    )
    clipCorrection = ChoiceField(
        dtype=str,
        optional=False,
        doc="Elements of the covariance matrix that are variances, which clipping narrows once instead of twice.",
        default="element",
        allowed={"element": "[0, 0]", "row": "the whole row dx = 0 (the reference before 2023-03)"},
    )
    fluxMatchedGain = Field(
        dtype=bool,
        doc="Bring both exposures to their mean level and use the clipped pixels for the single-pair gain.",
        default=True,
    )
    clippedRowMeans = Field(
        dtype=bool, doc="Row means of the difference use the clipped pixels, and all rows.", default=True
    )
    binGoodPixels = Field(
        dtype=bool,
        doc="Bins average their unmasked pixels and are flagged when fewer than half remain; variances are rescaled.",
        default=True,
    )
    fluxMatchedHistogram = Field(
        dtype=bool,
        doc="The histogram is of the flux-matched difference, its half range in measured standard deviations.",
        default=True,
    )
    timeTolerance = RangeField(
        dtype=float,
        doc="Exposure times within this many seconds (plus 1e-5 of the time) are equal.",
        default=5e-3,
        min=0.0,
    )

    def validate(self):
        super().validate()
        if self.doExtractPhotodiodeData and self.useEfdPhotodiodeData:
            raise FieldValidationError(
                type(self).useEfdPhotodiodeData,
                self,
                "doExtractPhotodiodeData and useEfdPhotodiodeData exclude each other",
            )
        if self.doVignetteFunctionRegionSelection and not self.vignetteFunctionPolynomialCoeffs:
            raise FieldValidationError(
                type(self).vignetteFunctionPolynomialCoeffs,
                self,
                "doVignetteFunctionRegionSelection needs vignetteFunctionPolynomialCoeffs",
            )


class PhotonTransferCurveExtractAlgorithmConfig(PhotonTransferCurveExtractConfigBase):
    """Extraction from a list of flats."""


class PhotonTransferCurveExtractPairAlgorithmConfig(PhotonTransferCurveExtractConfigBase):
    """Extraction from one pair of flats."""

    doOutputBinnedImages = Field(dtype=bool, doc="Also write a table of block means of both flats.", default=False)
    outputBinnedImagesBinFactor = RangeField(dtype=int, doc="Side of those blocks in pixels.", default=8, min=1)
