"""Quality of kernel candidates: statistics of their residuals and moments of their kernels."""

from dataclasses import dataclass

import numpy as np
from scipy import special

__all__ = ["ResidualQuality", "andersonDarling", "kernelMoments", "kernelMse", "residualQuality"]

QA_MASK_PLANES = ("BAD", "SAT", "NO_DATA", "EDGE")

# D'Agostino & Stephens 1986, Goodness-of-Fit Techniques, table 4.7: normal distribution, mean and variance estimated.
_AD_SIGNIFICANCE = np.array([15.0, 10.0, 5.0, 2.5, 1.0])  # percent
_AD_CRITICAL = np.array([0.561, 0.631, 0.752, 0.873, 1.035])
_NOT_FINITE = 9999.0


@dataclass(frozen=True)
class ResidualQuality:
    """Statistics of a difference image in units of its noise; names follow the columns KCDiffim*."""

    Mean: float
    Median: float
    IQR: float
    StDev: float
    KSD: float
    KSProb: float
    ADA2: float
    ADCrit: np.ndarray
    ADSig: np.ndarray
    ChiSq: float
    MseResids: float


def andersonDarling(values):
    """Anderson-Darling test of normality with mean and variance taken from the sample.

    Parameters
    ----------
    values : array_like, (n,)

    Returns
    -------
    a2 : `float`
        9999 when it is not finite: fewer than two values, or all equal.
    critical : `numpy.ndarray`, (5,)
        Values of a2 above which normality is rejected at 15, 10, 5, 2.5 and 1 percent.
    significance : `numpy.ndarray`, (5,)
        Those percentages.
    """
    values = np.sort(np.asarray(values, float))
    n = len(values)
    spread = values.std(ddof=1) if n > 1 else 0.0
    if not spread > 0:
        return _NOT_FINITE, _AD_CRITICAL.copy(), _AD_SIGNIFICANCE.copy()
    w = (values - values.mean()) / spread
    i = np.arange(1, n + 1)
    a2 = -n - np.sum((2 * i - 1.0) / n * (special.log_ndtr(w) + special.log_ndtr(-w[::-1])))
    critical = _AD_CRITICAL / (1.0 + 0.75 / n + 2.25 / n**2)
    return (float(a2) if np.isfinite(a2) else _NOT_FINITE), critical, _AD_SIGNIFICANCE.copy()


def residualQuality(difference, dof=0, badBits=None):
    """Statistics of d = D / sqrt(variance) over the unmasked pixels of a difference image.

    Parameters
    ----------
    difference : `stillsky.image.MaskedImage`
        It is not modified.
    dof : `int`
        Degrees of freedom of the kernel, for the reduced chi-square.
    badBits : `int`, optional
        Mask bits of pixels to leave out; default those of BAD, SAT, NO_DATA, EDGE. Pixels that are not finite or
        without a positive variance are left out, too.

    Returns
    -------
    quality : `ResidualQuality` or None
        None without a usable pixel. The mean squared residual is mean(d^2), bias included.
    """
    if badBits is None:
        badBits = difference.mask.bitmask(list(QA_MASK_PLANES), ignoreMissing=True)
    data, variance = difference.image.array.astype(float), difference.variance.array.astype(float)
    use = np.isfinite(data) & np.isfinite(variance) & (variance > 0) & ((difference.mask.array & badBits) == 0)
    d = data[use] / np.sqrt(variance[use])
    if d.size == 0:
        return None
    low, median, high = np.percentile(d, [25, 50, 75])
    from scipy import stats  # slow to import, and not wanted by every run

    ks = stats.kstest(d, "norm")
    a2, critical, significance = andersonDarling(d)
    nFree = d.size - 1 - dof
    return ResidualQuality(
        Mean=float(d.mean()),
        Median=float(median),
        IQR=float(high - low),
        StDev=float(d.std()),
        KSD=float(ks.statistic),
        KSProb=float(ks.pvalue),
        ADA2=a2,
        ADCrit=critical,
        ADSig=significance,
        ChiSq=float(np.sum(d**2) / nFree) if nFree > 0 else 0.0,
        MseResids=float(np.mean(d**2)),
    )


def rejectedLevel(a2, critical, significance):
    """Smallest tabulated significance (percent) at which normality is rejected; 100 when it is at none."""
    levels = np.asarray(significance)[np.asarray(a2) > np.asarray(critical)]
    return float(levels.min()) if levels.size else 100.0


def kernelMoments(image):
    """Centroid and width of a kernel image, weighted by the squares of its pixels.

    Parameters
    ----------
    image : array_like, (height, width)

    Returns
    -------
    x, y, stdX, stdY : `float`
        Array pixels; NaN for an image of zeros.
    """
    weight = np.asarray(image, float) ** 2
    total = weight.sum()
    if not total > 0:
        return (np.nan,) * 4
    y, x = np.indices(weight.shape)
    cx, cy = (float((weight * axis).sum() / total) for axis in (x, y))
    vx, vy = (float((weight * (axis - c) ** 2).sum() / total) for axis, c in ((x, cx), (y, cy)))
    return cx, cy, vx**0.5, vy**0.5


def kernelMse(spatial, local):
    """Mean squared difference of two kernel images; -99.999 without a local one."""
    return -99.999 if local is None else float(np.mean((np.asarray(spatial) - np.asarray(local)) ** 2))
