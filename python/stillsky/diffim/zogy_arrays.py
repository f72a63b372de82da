"""Proper image subtraction of whole arrays (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27: ZOGY).

Pure functions: arrays in, arrays out, periodic at the edges. Exposures, masks, and everything that varies over the
image are the business of `stillsky.diffim.zogy_exposures`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft

from ..errors import DomainError, ShapeError
from .zogy_layout import padCenterOriginArray
from .zogy_transfer import EPSILON, ZogyTransfer, zogyTransfer

__all__ = ["ZogyArrays", "astrometricVariance", "fluxFromScore", "scoreCorr", "zogy"]


@dataclass
class ZogyArrays:
    """Proper difference and score of two arrays.

    Attributes
    ----------
    difference : `numpy.ndarray`
        D, white noise of variance 1.
    differenceVariance : `numpy.ndarray` or None
        Variance planes through the filters: V_N * c_N^2 + V_R * c_R^2; with variance planes only.
    psf : `numpy.ndarray`
        Unit-sum PSF of the difference, of the shape of the science PSF, central pixel at n // 2.
    psfSum : `float`
        Sum of that PSF before its crop was normalised.
    score : `numpy.ndarray` or None
        S, the matched-filter image.
    scoreVariance : `numpy.ndarray` or None
        V_S, or None without variance planes (then it is ``scoreFlux`` everywhere).
    scoreScience, scoreTemplate : `numpy.ndarray` or None
        S_N and S_R with S = S_N - S_R, for the astrometric term.
    transfer : `ZogyTransfer`
    """

    difference: np.ndarray
    differenceVariance: Any
    psf: np.ndarray
    psfSum: float
    score: Any
    scoreVariance: Any
    scoreScience: Any
    scoreTemplate: Any
    transfer: ZogyTransfer

    @property
    def fluxScale(self):
        """F_D."""
        return self.transfer.fluxScale

    @property
    def scoreFlux(self):
        """F_S."""
        return self.transfer.scoreFlux

    @property
    def calibrated(self):
        """D / F_D: in units of the flux scales."""
        return self.difference / self.difference.dtype.type(self.fluxScale)


def zogy(
    science,
    template,
    sciencePsf,
    templatePsf,
    scienceVariance,
    templateVariance,
    *,
    scienceFlux=1.0,
    templateFlux=1.0,
    scienceVariancePlane=None,
    templateVariancePlane=None,
    score=True,
    epsilon=EPSILON,
    workers=None,
):
    """Proper difference of two images with constant PSFs, ZOGY eqs. 12-17 and 26-29.

    Parameters
    ----------
    science, template : `numpy.ndarray`, (height, width), float32 or float64
        Finite, background subtracted, registered. Their edges are joined periodically.
    sciencePsf, templatePsf : array_like, odd
        Centred PSFs; divided by their sums.
    scienceVariance, templateVariance : `float`
        Variance of the background noise.
    scienceFlux, templateFlux : `float`
        Flux scales (counts of a source of unit flux).
    scienceVariancePlane, templateVariancePlane : `numpy.ndarray`, optional
        Variance of every pixel, source noise included; both or none.
    score : `bool`
        Compute the score too.
    epsilon : `float`
        See `zogyTransfer`; 0 is the reference's rule.
    workers : `int`, optional
        Threads of the transforms; default: the thread setting.

    Returns
    -------
    result : `ZogyArrays`
        In the dtype of the images, which the transforms keep.

    Raises
    ------
    ShapeError
        Images of different shape, unsuitable PSFs.
    DomainError
        Pixels that are not finite, variances or flux scales that are not positive.

    Notes
    -----
    Cost: 6 real transforms; with variance planes 9 more. Memory: eight half-planes of complex numbers.
    """
    science, template = (_floating(a, name) for a, name in ((science, "science"), (template, "template")))
    dtype = np.result_type(science, template)
    _sameShape(science.shape, template, "template")
    workers = workers or _threads()
    shape = science.shape
    transfer = zogyTransfer(
        sciencePsf,
        templatePsf,
        scienceVariance,
        templateVariance,
        shape,
        scienceFlux=scienceFlux,
        templateFlux=templateFlux,
        epsilon=epsilon,
    )
    kind = np.result_type(dtype, np.complex64)

    def forward(pixels):
        return scipy.fft.rfft2(pixels.astype(dtype, copy=False), workers=workers)

    def back(transform):
        return scipy.fft.irfft2(transform.astype(kind, copy=False), s=shape, workers=workers)

    hatN, hatR = forward(science), forward(template)
    hatD = transfer.science.astype(kind) * hatN - transfer.template.astype(kind) * hatR
    size = np.shape(sciencePsf)
    psf = padCenterOriginArray(scipy.fft.irfft2(transfer.psf, s=shape, workers=workers), size, useInverse=True)
    psfSum = float(psf.sum())
    result = ZogyArrays(back(hatD), None, psf / psfSum, psfSum, None, None, None, None, transfer)
    if score:
        result.scoreScience = back(transfer.scoreScience * hatN)
        result.scoreTemplate = back(transfer.scoreTemplate * hatR)
        result.score = back(transfer.fluxScale * np.conj(transfer.psf) * hatD)
    if (scienceVariancePlane is None) != (templateVariancePlane is None):
        raise DomainError("zogy: wanted both variance planes or none, got one")
    if scienceVariancePlane is not None:
        planes = [_floating(p, n) for p, n in ((scienceVariancePlane, "scienceVariancePlane"),
                                               (templateVariancePlane, "templateVariancePlane"))]  # fmt: skip
        for plane in planes:
            _sameShape(shape, plane, "variance planes")
        hats = [scipy.fft.rfft2(plane.astype(np.float64), workers=workers) for plane in planes]

        def through(*transfers):
            squares = [scipy.fft.rfft2(scipy.fft.irfft2(t, s=shape) ** 2, workers=workers) for t in transfers]
            total = sum(hat * square for hat, square in zip(hats, squares))
            return scipy.fft.irfft2(total, s=shape, workers=workers).astype(dtype)

        result.differenceVariance = through(transfer.science, transfer.template)
        if score:
            result.scoreVariance = through(transfer.scoreScience, transfer.scoreTemplate)
    return result


def astrometricVariance(scoreScience, scoreTemplate, sigmaX, sigmaY=None):
    """Variance of the score by registration errors, ZOGY eqs. 30-33.

    Parameters
    ----------
    scoreScience, scoreTemplate : `numpy.ndarray`, (height, width)
        S_N and S_R.
    sigmaX, sigmaY : `float`
        Standard deviation of the relative registration, pixels; default of the second: the first.

    Returns
    -------
    variance : `numpy.ndarray`
        Half of the relative error is put on each image, since both have the same gradients at a static star.
    """
    sigmaY = sigmaX if sigmaY is None else sigmaY
    total = np.zeros_like(scoreScience)
    for part in (scoreScience, scoreTemplate):
        total += 0.5 * sigmaX**2 * np.gradient(part, axis=1) ** 2
        total += 0.5 * sigmaY**2 * np.gradient(part, axis=0) ** 2
    return total


def scoreCorr(score, scoreVariance, astrometric=None):
    """Significance of the score: S / sqrt(V_S + V_ast), ZOGY eq. 25.

    Parameters
    ----------
    score : `numpy.ndarray`
    scoreVariance : `numpy.ndarray` or `float`
        V_S.
    astrometric : `numpy.ndarray`, optional
        V_ast, see `astrometricVariance`.

    Returns
    -------
    significance : `numpy.ndarray`
        In standard deviations; 0 where the variance is not positive and finite.
    """
    variance = scoreVariance if astrometric is None else scoreVariance + astrometric
    variance = np.broadcast_to(np.asarray(variance, dtype=np.asarray(score).dtype), np.shape(score))
    good = np.isfinite(variance) & (variance > 0) & np.isfinite(score)
    return np.where(good, np.where(good, score, 0) / np.sqrt(np.where(good, variance, 1)), 0)


def fluxFromScore(score, scoreVariance, scoreFlux):
    """Flux of a point source, and its standard deviation, from the score at its position, ZOGY eqs. 41-43.

    Parameters
    ----------
    score, scoreVariance : array_like
        S and V_S at the positions.
    scoreFlux : array_like
        F_S.

    Returns
    -------
    flux, fluxErr : `numpy.ndarray`
        In units of the flux scales.
    """
    scoreFlux = np.asarray(scoreFlux, dtype=float)
    return np.asarray(score) / scoreFlux, np.sqrt(np.asarray(scoreVariance)) / scoreFlux


def _threads():
    from .._core import getNumThreads

    return getNumThreads()


def _floating(array, name):
    array = np.asarray(array)
    if array.ndim != 2:
        raise ShapeError(f"{name}: wanted an image [y, x], got shape {array.shape}")
    if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
        array = array.astype(np.float64)
    if not np.isfinite(np.dot(array.ravel(), array.ravel())) and not np.isfinite(array).all():
        raise DomainError(f"{name}: wanted finite pixels only; fill holes first")
    return array


def _sameShape(shape, array, name):
    if array.shape != shape:
        raise ShapeError(f"{name}: wanted the shape {shape} of the science image, got {array.shape}")
