"""Configuration of the photon-transfer fit and of its plots: Rubin's field names, types, defaults and allowed values.

Fields that Rubin does not have are grouped at the end of each class; ``compat = True`` turns all of them back to the behaviour
of the reference.
"""

from lsst.pex.config import ChoiceField, Config, DictField, Field, RangeField

from ..errors import DomainError

__all__ = ["PhotonTransferCurveSolveAlgorithmConfig", "PlotPhotonTransferCurveAlgorithmConfig"]


class PhotonTransferCurveSolveAlgorithmConfig(Config):
    """How the photon transfer curves of the amplifiers of a detector are fitted."""

    ptcFitType = ChoiceField(
        dtype=str,
        optional=False,
        doc="Model.",
        default="EXPAPPROXIMATION",
        allowed={
            "POLYNOMIAL": "variance as a polynomial of the mean (historic)",
            "EXPAPPROXIMATION": "variance alone, Eq. 16 of Astier et al. 2019",
            "FULLCOVARIANCE": "all covariances, Eq. 20 of Astier et al. 2019",
            "FULLCOVARIANCE_NO_B": "the same with b = 0",
        },
    )
    minMeanSignal = DictField(
        keytype=str,
        itemtype=float,
        doc="Pairs whose mean (adu) is not above this are left out, by amplifier or ALL_AMPS, which wins. "
        "The limit itself is left out, too.",
        default={"ALL_AMPS": 0.0},
    )
    maxMeanSignal = DictField(
        keytype=str,
        itemtype=float,
        doc="Pairs whose mean (adu) is not below this are left out, by amplifier or ALL_AMPS, which wins. "
        "The limit itself is left out, too.",
        default={"ALL_AMPS": 1e6},
    )
    maximumRangeCovariancesAstier = RangeField(
        dtype=int, doc="Lags 0 to this minus one are kept, in each direction.", default=10, min=1
    )
    maximumRangeCovariancesAstierFullCovFit = RangeField(
        dtype=int, doc="Lags 0 to this minus one enter the full covariance fit.", default=10, min=1
    )
    doSubtractLongRangeCovariances = Field(
        dtype=bool,
        doc="Subtract a surface fitted to the distant covariances of each pair before the full fit.",
        default=False,
    )
    startLongRangeCovariances = RangeField(
        dtype=int, doc="Covariances are distant from this lag on, in either direction.", default=4, min=1
    )
    polyDegLongRangeCovariances = RangeField(
        dtype=int, doc="Degree of that surface in each direction.", default=1, min=0
    )
    sigmaClipFullFitCovariancesAstier = RangeField(
        dtype=float,
        doc="Covariances further than this many robust standard deviations from the full fit are left out.",
        default=5.0,
        min=0.0,
    )
    maxIterFullFitCovariancesAstier = RangeField(dtype=int, doc="Rounds of that rejection; 0: none.", default=3, min=0)
    polynomialFitDegree = RangeField(dtype=int, doc="Degree for ptcFitType POLYNOMIAL.", default=3, min=1)
    doModelPtcRolloff = Field(
        dtype=bool, doc="Fit how the curve rolls off before its turn-off, and end the used range there.", default=False
    )
    maxPtcRolloffDeviation = RangeField(
        dtype=float,
        doc="Largest deviation from the model before the roll-off, as a fraction of the variance.",
        default=0.01,
        min=0.0,
    )
    sigmaCutPtcOutliers = RangeField(dtype=float, doc="Cut of the outlier rejection.", default=5.0, min=0.0)
    maxIterationsPtcOutliers = RangeField(
        dtype=int, doc="Rounds of outlier rejection; 0: one fit, none rejected.", default=2, min=0
    )
    maxSignalInitialPtcOutlierFit = RangeField(
        dtype=float,
        doc="Highest mean of the first fit: electron if scaleMaxSignalInitialPtcOutlierFit, else adu.",
        default=50000.0,
        min=0.0,
    )
    maxDeltaInitialPtcOutlierFit = RangeField(
        dtype=float,
        doc="A gap of rejected points at least this wide ends the curve; unit as maxSignalInitialPtcOutlierFit.",
        default=9000.0,
        min=0.0,
    )
    scaleMaxSignalInitialPtcOutlierFit = Field(
        dtype=bool, doc="The two limits are in electron and are divided by an approximate gain.", default=True
    )
    extendRollofSearchMaskSizeAdu = RangeField(
        dtype=float, doc="Range beyond the turn-off, adu, that joins the fit of the roll-off.", default=5000.0, min=0.0
    )
    minVarPivotSearch = Field(
        dtype=float, doc="Old turn-off rule: variance (adu^2) above which it looks.", default=10000.0
    )
    consecutivePointsVarDecreases = RangeField(
        dtype=int, doc="Old turn-off rule: successive decreases of the variance that end the curve.", default=2, min=1
    )
    ksTestMinPvalue = RangeField(
        dtype=float,
        doc="Pairs whose difference has a lower Kolmogorov-Smirnov p-value are left out.",
        default=0.01,
        min=0.0,
        max=1.0,
        inclusiveMax=True,
    )
    doFitBootstrap = Field(dtype=bool, doc="Errors of the curve fit from resampled residuals.", default=False)
    binSize = RangeField(
        dtype=int, doc="Binning of the extraction; above 1 the bounds of the fit are lifted.", default=1, min=1
    )
    doAmpOffsetGainRatioFixup = Field(
        dtype=bool, doc="Adjust the ratios of gains by the offsets between amplifiers (historic).", default=False
    )
    ampOffsetGainRatioMinAdu = Field(dtype=float, doc="Lowest mean (adu) for that adjustment.", default=1000.0)
    ampOffsetGainRatioMaxAdu = Field(dtype=float, doc="Highest mean (adu) for that adjustment.", default=20000.0)
    doLegacyTurnoffSelection = Field(
        dtype=bool, doc="Find the turn-off by an old rule, legacyTurnoffRule, first (historic).", default=False
    )
    initialNonLinearityExclusionThresholdPositive = RangeField(
        dtype=float,
        doc="Oldest turn-off rule: largest relative excess of variance/mean over its median.",
        default=0.05,
        min=0.0,
    )
    initialNonLinearityExclusionThresholdNegative = RangeField(
        dtype=float,
        doc="Oldest turn-off rule: largest relative deficit of variance/mean from its median.",
        default=0.25,
        min=0.0,
    )
    minMeanRatioTest = Field(dtype=float, doc="Oldest turn-off rule: mean (adu) above which it looks.", default=20000.0)

    # stillsky's own
    compat = Field(dtype=bool, doc="Do as the reference does: all fields below are ignored.", default=False)
    legacyTurnoffRule = ChoiceField(
        dtype=str,
        optional=False,
        doc="Rule of doLegacyTurnoffSelection.",
        default="VARIANCE_DECREASE",
        allowed={
            "VARIANCE_DECREASE": "the variance decreases at successive points (2021-12 to 2022)",
            "LINEARITY": "variance/mean departs from its median (before 2021-12)",
        },
    )
    outlierResiduals = ChoiceField(
        dtype=str,
        optional=False,
        doc="What sigmaCutPtcOutliers is compared with.",
        default="BOTH",
        allowed={
            "SQRTVAR": "residual over the square root of the variance, the reference's measure (adu, not sigmas)",
            "SIGMA": "residual over its standard deviation, from the number of pixels",
            "BOTH": "a point is an outlier if it is one by either measure's larger tolerance",
        },
    )
    initialLimitOnVariance = Field(
        dtype=bool, doc="Compare the variance, too, with maxSignalInitialPtcOutlierFit.", default=False
    )
    approximateGainAllPoints = Field(
        dtype=bool, doc="Approximate gain from all points instead of the usable lower half of the range.", default=False
    )
    adaptStartToData = Field(
        dtype=bool, doc="Start values and bounds of the first fit follow an approximate gain.", default=True
    )
    outlierFitUnweighted = Field(
        dtype=bool, doc="Fit without weights or a robust loss while finding outliers.", default=False
    )
    secondOutlierPass = Field(
        dtype=bool, doc="Reject outliers once more before the final fit of EXPAPPROXIMATION.", default=False
    )
    fitWeights = ChoiceField(
        dtype=str,
        optional=False,
        doc="Variances that the weights of the final fits are computed with.",
        default="MODEL",
        allowed={"MODEL": "those of the model: unbiased", "DATA": "the measured ones"},
    )
    fitErrors = ChoiceField(
        dtype=str,
        optional=False,
        doc="Errors of the fitted parameters.",
        default="LARGER",
        allowed={
            "ABSOLUTE": "from the weights",
            "SCALED": "from the scatter about the model",
            "LARGER": "the larger of the two",
        },
    )
    fitLoss = ChoiceField(
        dtype=str,
        optional=False,
        doc="Loss function of the final curve fit.",
        default="linear",
        allowed={
            "linear": "least squares",
            "soft_l1": "smooth absolute value beyond one standard deviation",
            "huber": "absolute value beyond one standard deviation",
            "cauchy": "logarithmic",
        },
    )
    boundNoise = Field(dtype=bool, doc="Keep the fitted noise variance at or above zero.", default=True)
    maximumRangeB = Field(
        dtype=int, doc="b is fitted at lags below this in each direction; default: all.", default=None, optional=True
    )
    bootstrapSamples = RangeField(dtype=int, doc="Refits of doFitBootstrap.", default=100, min=2)
    bootstrapSeed = Field(dtype=int, doc="Seed of doFitBootstrap.", default=0)

    def validate(self):
        super().validate()
        r, rf = self.maximumRangeCovariancesAstier, self.maximumRangeCovariancesAstierFullCovFit
        if self.ptcFitType in ("FULLCOVARIANCE", "FULLCOVARIANCE_NO_B") and rf > r:
            raise DomainError(
                f"maximumRangeCovariancesAstierFullCovFit: wanted at most maximumRangeCovariancesAstier = {r}, given {rf}"
            )
        start = self.startLongRangeCovariances
        if self.doSubtractLongRangeCovariances and start >= r:
            raise DomainError(
                f"startLongRangeCovariances: wanted less than maximumRangeCovariancesAstier = {r}, given {start}"
            )


class PlotPhotonTransferCurveAlgorithmConfig(Config):
    """How the figures of a photon transfer dataset are drawn."""

    signalElectronsRelativeA = RangeField(
        dtype=float,
        doc="Level, in electron, at which covariances are compared with their first order.",
        default=75000.0,
        min=0.0,
    )
    plotNormalizedCovariancesNumberOfBins = RangeField(
        dtype=int, doc="Bins of mean level in the figures of normalised covariances.", default=10, min=1
    )

    # stillsky's own
    dpi = RangeField(dtype=float, doc="Pixels per inch of PNG files.", default=100.0, min=10.0)
