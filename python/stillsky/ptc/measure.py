"""Everything that is measured in one region of one pair of flats."""

import math
from dataclasses import dataclass, field

import numpy as np

from .. import _core
from ..errors import DomainError, OutOfBoundsError, ShapeError
from ..geom import Box2I
from .binning import binDifference
from .covariance import CovarianceResult, covariances
from .gain import gainFromRatio
from .histogram import gaussianHistogram
from .moments import clippedMoments, clipVarianceFactor, clipWeights, differenceOfFlats
from .pixels import realPixels
from .settings import makeSettings

__all__ = ["FlatPairMeasurement", "PairPixels", "gainRatio", "measureFlatPair", "rowMeanVariance"]

_NAN = math.nan
WORST_MISMATCH = 1e-3  # of the variance, above which a pair gets a warning


@dataclass(repr=False)
class FlatPairMeasurement:
    """Figures of one region of one pair of flats. Levels in adu, variances in adu^2; NaN or None where not measured.

    Attributes
    ----------
    mean1, mean2, mean : `float`
        Clipped means of the two exposures, and their average mu.
    delta : `float`
        mean2 - mean1.
    nPixels : `int`
        Pixels of the region that are finite and unmasked (requested planes) in both exposures.
    nGood : `int`
        Pixels, or bins, that entered the covariances.
    clipMean, clipVariance : `float`
        Clipped mean and variance of the flux-matched difference (mean2 I1 - mean1 I2)/mean.
    varDiff : `float`
        Half of clipVariance, that is, per exposure; times binSize^2 with bins. Not corrected for clipping.
    rawVar : `float`
        varDiff corrected for clipping.
    rowMeanVariance : `float`
        Clipped variance of the means of the rows of the difference.
    covariance : `CovarianceResult` or None
        Covariances of the difference and numbers of pixel pairs by lag [dx, dy]: neither halved nor corrected.
    covArray : `numpy.ndarray` or None, (r, r)
        Half covariances corrected for clipping, [dx, dy].
    covSqrtWeights : `numpy.ndarray` or None, (r, r)
        One over the standard errors of uncorrelated pixels, 1/adu^2; 0 for a lag with too few pairs.
    gainRatio : `float`
        <(I1 - I2)^2 / (I1 + I2)>, adu.
    gain : `float`
        Electrons per adu.
    histVar, histChi2Dof, kspValue : `float`
        See `gaussianHistogram`; kspValue is 1 when the histogram was not asked for, 0 when nothing could be measured.
    problem : `str`
        Why there are no covariances; empty when there are.
    warnings : `list` [`str`]
    """

    mean1: float = _NAN
    mean2: float = _NAN
    mean: float = _NAN
    delta: float = _NAN
    nPixels: int = 0
    nGood: int = 0
    clipMean: float = _NAN
    clipVariance: float = _NAN
    varDiff: float = _NAN
    rawVar: float = _NAN
    rowMeanVariance: float = _NAN
    covariance: CovarianceResult | None = None
    covArray: np.ndarray | None = None
    covSqrtWeights: np.ndarray | None = None
    gainRatio: float = _NAN
    gain: float = _NAN
    histVar: float = _NAN
    histChi2Dof: float = _NAN
    kspValue: float = 0.0
    problem: str = ""
    warnings: list = field(default_factory=list)

    @property
    def isGood(self):
        """Whether there are covariances."""
        return not self.problem

    def __repr__(self):
        figures = self.problem or (
            f"mean {self.mean:.6g} adu, variance {self.rawVar:.6g} adu^2, gain {self.gain:.4g} e/adu,"
            f" {self.nGood} pixels, lags below {len(self.covArray)}"
        )
        return f"<FlatPairMeasurement: {figures}>"

    def giveUp(self, problem):
        """Note why the measurement stops here."""
        self.problem = problem
        self.warnings.append(problem)
        return self

    def setGain(self, readNoise, correctionType):
        """Gain from the ratio, with a read noise in adu."""
        notes = _Notes(self.warnings)
        self.gain = gainFromRatio(self.gainRatio, self.mean, readNoise, correctionType, notes)

    def removeRowVariance(self, variance):
        """Take the noise of the subtracted overscan levels out of ``rawVar`` and ``covArray``.

        Parameters
        ----------
        variance : `float`
            What the level of a row adds to the variance of an exposure, adu^2 (for bins: of their means, times binSize^2).
            It is common to the pixels of a row, so that the covariances at dy = 0 have all of it, too, and the others
            nothing. ``varDiff`` and ``covariance`` stay as they were measured.
        """
        if variance > 0 and self.isGood:
            self.rawVar -= variance
            self.covArray = self.covArray.copy()
            self.covArray[:, 0] -= variance

    def covTuples(self):
        """[(dx, dy, var, cov, npix), ...], dy outside and dx inside, (0, 0) first; not halved. None when not measured."""
        return None if self.covariance is None else self.covariance.tuples()


class _Notes:
    """Stands in for a log: keeps the sentences."""

    def __init__(self, sentences):
        self.sentences = sentences

    def warning(self, text, *args):
        self.sentences.append(text % args)


@dataclass
class PairPixels:
    """Pixels of one region of two flats.

    Attributes
    ----------
    image1, image2 : `numpy.ndarray`, (height, width)
        Shared with the flats, adu.
    good1, good2 : `numpy.ndarray` of bool
        Finite, and without a bit of the requested planes.
    clean : `numpy.ndarray` of bool or None
        Without a bit of any plane in either flat; None when nobody asked.
    """

    image1: np.ndarray
    image2: np.ndarray
    good1: np.ndarray
    good2: np.ndarray
    clean: np.ndarray | None = None

    @classmethod
    def of(cls, flat1, flat2, settings, region=None):
        """From two exposures, masked images or arrays (no mask).

        Raises
        ------
        ShapeError
            Different sizes.
        OutOfBoundsError
            The region reaches out of a flat.
        """
        (image1, bits1, wanted1), (image2, bits2, wanted2) = (
            _planes(flat, region, settings.maskNameList) for flat in (flat1, flat2)
        )
        if image1.shape != image2.shape:
            raise ShapeError(f"flat pair: wanted equal sizes (height, width), given {image1.shape} and {image2.shape}")
        clean = None
        if settings.covarianceMaskPlanes == "any":
            clean = np.ones(image1.shape, bool)
            for bits in (bits1, bits2):
                if bits is not None:
                    clean &= bits == 0
        return cls(image1, image2, _usable(image1, bits1, wanted1), _usable(image2, bits2, wanted2), clean)

    @property
    def good(self):
        """Good in both."""
        return self.good1 & self.good2

    def levels(self, settings):
        """Clipped means of both, adu; NaN without pixels."""
        clip = settings.nSigmaClipPtc, settings.nIterSigmaClipPtc
        return tuple(
            float(clippedMoments(image, good, *clip).mean)
            for image, good in ((self.image1, self.good1), (self.image2, self.good2))
        )

    def gainRatio(self, mean1, mean2, settings, keep=None):
        """`gainRatio` of the pixels that count; ``keep``: those that clipping the difference left, if already known."""
        if not mean1 + mean2 > 0:
            return _NAN
        if not settings.fluxMatchedGain:
            return gainRatio(self.image1, self.image2, self.good)
        if keep is None:
            keep = self.clippedDifference(mean1, mean2, settings)[2]
        return gainRatio(self.image1, self.image2, keep, mean1, mean2)

    def histogram(self, mean1, mean2, settings):
        """`gaussianHistogram` of the difference; NaN, NaN, 0 without valid means."""
        good, mean = self.good, 0.5 * (mean1 + mean2)
        if not mean > 0:
            return _NAN, _NAN, 0.0
        if settings.fluxMatchedHistogram:
            difference, moments, _ = self.clippedDifference(mean1, mean2, settings)
            values, width = difference[good], math.sqrt(moments.variance)
        else:  # the reference takes the variance to be the mean level, and levels to be equal
            values = np.subtract(self.image1[good], self.image2[good], dtype=np.float64)
            width = math.sqrt(mean)
        return gaussianHistogram(
            values, settings.ksHistLimitMultiplier * width, settings.ksHistNBins, settings.ksHistMinDataValues
        )

    def clippedDifference(self, mean1, mean2, settings):
        """Flux-matched difference, its clipped moments, and the pixels that clipping left."""
        good = self.good
        difference = differenceOfFlats(self.image1, self.image2, mean1, mean2)
        return difference, *clipped(difference, good, settings)


def _planes(flat, region, maskNames):
    """Image array, mask array or None, and the bits that exclude a pixel."""
    if isinstance(flat, np.ndarray):
        return _part(flat, region), None, 0
    area = flat if region is None else flat[region]
    return area.image.array, area.mask.array, area.mask.bitmask(maskNames, ignoreMissing=True)


def _part(array, region):
    if region is None:
        return array
    frame = Box2I((0, 0), array.shape[::-1])
    if not frame.contains(region):
        raise OutOfBoundsError(f"flat: wanted a region inside {frame}, given {region}")
    return array[region.slices()]


def _usable(image, bits, wanted):
    usable = np.empty(image.shape, np.uint8)
    _core.usablePixels(realPixels(image), bits, wanted, usable)
    return usable.view(bool)


def measureFlatPair(flat1, flat2, config, *, region=None, readNoise=_NAN, nLags=None, log=None):
    """Mean, variance, covariances and the other figures of one region of one pair of flats.

    Parameters
    ----------
    flat1, flat2 : `stillsky.image.Exposure`, `stillsky.image.MaskedImage` or `numpy.ndarray`, (height, width)
        Two flats of equal illumination, adu. Not modified. NaN, infinite and masked pixels are left out of everything.
    config : `PhotonTransferCurveExtractConfigBase` or `FlatPairSettings`
    region : `stillsky.geom.Box2I`, optional
        Part of both, in parent coordinates; default: all.
    readNoise : `float`
        Of one exposure, adu, for the single-pair gain.
    nLags : `int`, optional
        Lags 0 to nLags - 1 are measured; default: the side of the covariance matrices.
    log : `logging.Logger`, optional
        Where warnings go at once; they are kept in the record in any case.

    Returns
    -------
    measurement : `FlatPairMeasurement`
        A region where nothing can be measured is described, not raised.

    Raises
    ------
    ShapeError, OutOfBoundsError
        Flats of different sizes; a region outside.

    Notes
    -----
    Astier et al. 2019, A&A 629, A36, appendix A. In double precision throughout. Extra memory: about 25 bytes per pixel
    of the region. Order of the work: clipped mean of each flat; flux-matched difference; its clipped moments; weights;
    covariances; gain ratio, histogram, row means.
    """
    settings = makeSettings(config)
    pixels = PairPixels.of(flat1, flat2, settings, region)
    record = FlatPairMeasurement()
    if _measureLevels(record, pixels, settings):
        _measureDifference(record, pixels, settings, readNoise, nLags)
    if log is not None:
        for text in record.warnings:
            log.warning("%s", text)
    return record


def _measureLevels(record, pixels, settings):
    """Clipped means of both flats; False when they make no sense."""
    record.mean1, record.mean2 = pixels.levels(settings)
    record.nPixels = int(np.count_nonzero(pixels.good))
    record.mean = 0.5 * (record.mean1 + record.mean2)
    record.delta = record.mean2 - record.mean1
    if not math.isfinite(record.mean):
        record.giveUp(f"Mean of the flats is not a number: {record.mean1:g} and {record.mean2:g} adu.")
    elif min(record.mean1, record.mean2) <= 0:
        record.giveUp(f"Illegal means of the flats, {record.mean1:g} and {record.mean2:g} adu; they must be positive.")
    elif _mismatch(record) > WORST_MISMATCH:
        record.warnings.append(
            f"The levels of the flats, {record.mean1:g} and {record.mean2:g} adu, differ by"
            f" {100 * abs(record.delta) / record.mean:.3g} percent; matching them makes the variance of light too small by"
            f" {100 * _mismatch(record):.2g} percent."
        )
    return record.isGood


def _mismatch(record):
    """Fraction by which flux matching lowers the variance of Poisson light: 1 - mean1 mean2/mean^2."""
    return (0.5 * record.delta / record.mean) ** 2


def _measureDifference(record, pixels, settings, readNoise, nLags):
    """Everything that comes from the difference of the two flats."""
    levels = record.mean1, record.mean2
    difference, moments, use = pixels.clippedDifference(*levels, settings)
    if settings.doGain:
        record.gainRatio = pixels.gainRatio(*levels, settings, use)
        record.setGain(readNoise, settings.gainCorrectionType)
    record.rowMeanVariance = _rowMeanVariance(difference, use if settings.clippedRowMeans else pixels.good, settings)

    scale, least, area = 1.0, settings.minNumberGoodPixelsForCovariance, settings.binSize**2
    if settings.binSize > 1:
        difference, good = binDifference(difference, pixels.good, settings.binSize, settings.binGoodPixels)
        moments, use = clipped(difference, good, settings)
        scale, least = (float(area) if settings.binGoodPixels else 1.0), least / area
    if pixels.clean is not None:
        clean = pixels.clean
        use = use & (clean if settings.binSize == 1 else binDifference(clean, clean, settings.binSize, False)[1])
    record.clipMean, record.clipVariance = float(moments.mean), float(moments.variance)
    record.nGood = int(np.count_nonzero(use))
    if not record.clipVariance > 0:
        record.giveUp(f"Variance of the difference is {record.clipVariance:g}; it must be positive.")
    elif record.nGood < least:
        record.giveUp(f"Number of good points, {record.nGood}, is less than the {least:g} wanted for covariances.")
    else:
        _measureCovariances(record, difference, use, scale, settings, nLags)
    if not settings.doKsHistMeasurement:
        record.kspValue = 1.0
    elif record.isGood:
        record.histVar, record.histChi2Dof, record.kspValue = pixels.histogram(*levels, settings)


def clipped(difference, good, settings):
    """Clipped moments of a difference, and the good pixels (bool) that enter its covariances."""
    moments = clippedMoments(difference, good, settings.nSigmaClipPtc, settings.nIterSigmaClipPtc)
    if not math.isfinite(moments.variance):
        return moments, np.zeros(good.shape, bool)
    # The reference cuts |difference| and adds the mean on one side only.
    lower = moments.lower if settings.clipRule == "symmetric" else -moments.upper
    return moments, clipWeights(difference, good, (lower, moments.upper)).view(bool)


def _rowMeanVariance(difference, use, settings):
    rows = slice(None) if settings.lastRow else slice(-1)
    return rowMeanVariance(difference[rows], use[rows], settings.nSigmaClipPtc, settings.nIterSigmaClipPtc)


def _measureCovariances(record, difference, use, scale, settings, nLags):
    """Covariances, their weights, and the check against the clipped variance."""
    side = settings.maximumRangeCovariancesAstier
    try:
        cov, npix = covariances(
            difference,
            use,
            (side if nLags is None else nLags) - 1,
            estimator=settings.covarianceEstimator,
            quadrants=settings.covarianceQuadrants,
            minPairsPerLag=settings.minPairsPerLag,
        )
    except DomainError as error:
        record.giveUp(f"Not enough pixels covering the requested range of lags: {error}.")
        return
    record.covariance = CovarianceResult(cov * scale, npix)
    record.varDiff = 0.5 * record.clipVariance * scale
    factor = clipVarianceFactor(settings.nSigmaClipPtc)
    record.rawVar = factor * record.varDiff
    record.covArray, record.covSqrtWeights = _correctedCovariances(record.covariance, side, factor, settings)
    off = 100.0 * abs(1.0 - record.varDiff / (0.5 * record.covariance.cov[0, 0]))
    if off >= settings.thresholdDiffAfwVarVsCov00:
        record.warnings.append(
            f"Clipped variance {record.varDiff:g} and covariance at lag 0, {0.5 * record.covariance.cov[0, 0]:g} adu^2,"
            f" differ by {off:.3g} percent."
        )


def _correctedCovariances(result, side, factor, settings):
    """Half covariances of lags below ``side`` corrected for clipping, and the roots of their weights.

    Independent Gaussian pixels of variance V give a covariance over N pairs the variance V^2/N, and the variance 2V^2/N.
    Clipping narrows the variance by 1/factor and covariances, each factor of whose products is narrowed, by its square.
    """
    cov, npix = result.cov[:side, :side], result.npix[:side, :side]
    weights = np.sqrt(npix) / (0.5 * cov[0, 0])
    weights[0, 0] /= math.sqrt(2.0)
    weights[npix == 0] = 0.0
    corrected = 0.5 * cov * factor**2
    if settings.clipCorrection == "element":
        corrected[0, 0] /= factor
    else:
        corrected[0] /= factor
    return corrected, weights


def gainRatio(image1, image2, good, mean1=None, mean2=None):
    """<(I1 - I2)^2 / (I1 + I2)> over the good pixels, adu; NaN without any.

    Parameters
    ----------
    image1, image2 : `numpy.ndarray`
    good : `numpy.ndarray` of bool
    mean1, mean2 : `float`, optional
        Levels; given, both flats are first brought to the average of the two. Levels that differ otherwise add
        (mean1 - mean2)^2/(2 mean).
    """
    first, second = realPixels(image1, "image1"), realPixels(image2, "image2")
    if first.dtype != second.dtype:
        first, second = first.astype(np.float64, copy=False), second.astype(np.float64, copy=False)
    scales = (1.0, 1.0) if mean1 is None else (2.0 * mean2 / (mean1 + mean2), 2.0 * mean1 / (mean1 + mean2))
    return _core.flatPairRatio(first, second, np.ascontiguousarray(good).view(np.uint8), *scales)


def rowMeanVariance(difference, use, nSigma=5.5, nIter=3):
    """Clipped variance of the means of the rows, adu^2; rows without pixels are left out.

    Parameters
    ----------
    difference : `numpy.ndarray`, (height, width)
        May be anything, NaN too, where ``use`` is false.
    use : `numpy.ndarray` of bool
    nSigma, nIter
        Clipping of the list of means.
    """
    means = _core.rowMeans(np.ascontiguousarray(difference), np.ascontiguousarray(use).view(np.uint8))
    means = means[np.isfinite(means)].reshape(1, -1)
    if means.size == 0:
        return _NAN
    return float(clippedMoments(means, np.ones(means.shape, bool), nSigma, nIter).variance)
