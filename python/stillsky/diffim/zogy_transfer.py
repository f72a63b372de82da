"""Transfer functions of proper image subtraction (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27: ZOGY).

With the PSFs P, flux scales F and white noise variances V of science N and template R, hats for discrete Fourier
transforms (equation numbers of arXiv:1601.02655):

    den = V_N F_R^2 |P_R^|^2 + V_R F_N^2 |P_N^|^2
    D^  = c_N N^ - c_R R^,  c_N = F_R P_R^ / sqrt(den),  c_R = F_N P_N^ / sqrt(den)           [13]
    F_D = F_N F_R / sqrt(V_N F_R^2 + V_R F_N^2)                                              [15]
    P_D^ = F_N F_R P_N^ P_R^ / (F_D sqrt(den))                                               [14]
    S^  = F_D conj(P_D^) D^ = k_N^ N^ - k_R^ R^                                               [12, 17]
    F_S = mean over frequencies of F_N^2 F_R^2 |P_N^|^2 |P_R^|^2 / den                        [42]

The noise of D is white with variance 1; D / F_D is calibrated.

Resampling colours the noise of a template: with its power spectrum r(k) over its mean, V_R r(k) takes the place of V_R
throughout, and V_R r(0) in F_D, which is defined by P_D^(0) = 1. D is white again, S the optimal statistic.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import scipy.fft

from ..errors import DomainError, ShapeError
from .zogy_layout import padCenterOriginArray

_FLOORS = 5.0  # noise floors: below this a transform is replaced, above twice as much it is kept

__all__ = ["EPSILON", "ZogyTransfer", "denoisedTransform", "parsevalMean", "psfTransform", "realKernel",
           "transferOf", "zogyTransfer"]  # fmt: skip

EPSILON = 1e-6  # PSF transforms smaller than this in both images are rounding noise


@dataclass(frozen=True)
class ZogyTransfer:
    """Half-plane transforms (those of `scipy.fft.rfft2`) that make the proper difference of two images.

    Attributes
    ----------
    science, template : `numpy.ndarray` of complex
        c_N and c_R: the transform of the unit-noise difference is ``science * N - template * R``.
    psf : `numpy.ndarray` of complex
        Transform of the unit-sum PSF of the difference.
    fluxScale : `float`
        F_D: the difference divided by it is in units of the flux scales.
    scoreFlux : `float`
        F_S: the score at a source of unit flux; also the variance of the score in uniform noise.
    shape : (`int`, `int`)
        Of the images.
    """

    science: np.ndarray
    template: np.ndarray
    psf: np.ndarray
    fluxScale: float
    scoreFlux: float
    shape: tuple

    @property
    def scoreScience(self):
        """Transform of k_N, the part of the score that filters the science image."""
        return self.fluxScale * np.conj(self.psf) * self.science

    @property
    def scoreTemplate(self):
        """Transform of k_R, the part of the score that filters the template."""
        return self.fluxScale * np.conj(self.psf) * self.template


def zogyTransfer(
    sciencePsf,
    templatePsf,
    scienceVariance,
    templateVariance,
    shape,
    *,
    scienceFlux=1.0,
    templateFlux=1.0,
    epsilon=EPSILON,
    templateSpectrum=None,
):
    """Transfer functions for two PSFs, noise levels and flux scales.

    Parameters
    ----------
    sciencePsf, templatePsf : array_like, (h, w), odd
        Centred PSF images of unit sum.
    scienceVariance, templateVariance : `float`
        Variances of the white noise; positive.
    shape : (`int`, `int`)
        Of the images, not smaller than the PSFs.
    scienceFlux, templateFlux : `float`
        Flux scales: counts of a source of unit flux. Positive.
    epsilon : `float`
        Where both PSF transforms are smaller, their ratio is rounding noise and keeps the last reliable value towards
        zero frequency; the difference stays white and its PSF has no power there (DMTN-179 takes limits likewise).
        0: the reference's rule, which only guards against an underflowing denominator.
    templateSpectrum : `numpy.ndarray`, (h, w // 2 + 1), optional
        Noise power of the template over its mean, where resampling has coloured it; positive. Default: white noise.

    Returns
    -------
    transfer : `ZogyTransfer`

    Raises
    ------
    ShapeError
        A PSF is even-sized, whose centre would lie half a pixel off, or larger than the images.
    DomainError
        A variance or flux scale is not positive and finite, or a PSF has no finite positive sum.

    Notes
    -----
    Cost: two real transforms and some 30 passes over the half-plane.
    """
    shape = tuple(int(n) for n in shape)
    for name, value in (
        ("scienceVariance", scienceVariance),
        ("templateVariance", templateVariance),
        ("scienceFlux", scienceFlux),
        ("templateFlux", templateFlux),
    ):
        if not (np.isfinite(value) and value > 0):
            raise DomainError(f"{name}: wanted a positive finite number, got {value}")
    pn, pr = (psfTransform(p, shape, name) for p, name in ((sciencePsf, "sciencePsf"), (templatePsf, "templatePsf")))
    fluxes = (scienceFlux, templateFlux)
    return transferOf(pn, pr, scienceVariance, templateVariance, shape, *fluxes, epsilon, templateSpectrum)


def transferOf(
    pn,
    pr,
    scienceVariance,
    templateVariance,
    shape,
    scienceFlux=1.0,
    templateFlux=1.0,
    epsilon=EPSILON,
    templateSpectrum=None,
):
    """`zogyTransfer` for transforms of PSFs, which the score and the numerators take with their phases."""
    fn, fr, vn, mean = float(scienceFlux), float(templateFlux), float(scienceVariance), float(templateVariance)
    vr = mean if templateSpectrum is None else mean * templateSpectrum
    lowest = mean if templateSpectrum is None else float(vr[0, 0])  # at zero frequency
    powerN, powerR = _power(pn), _power(pr)
    den = vn * fr**2 * powerR + vr * fn**2 * powerN
    if epsilon > 0:
        weak = np.maximum(powerN, powerR) < epsilon**2
    else:
        tiny = 100 * np.finfo(float).tiny
        weak = den < tiny
    root = np.sqrt(np.where(weak, 1.0, den))
    science, template = fr * pr / root, fn * pn / root
    fluxScale = fn * fr / np.sqrt(vn * fr**2 + lowest * fn**2)
    psf = (fn * fr / fluxScale) * pn * pr / root
    if weak.any():
        psf[weak] = 0
        if epsilon > 0:
            source = _lastReliable(weak, shape)
            science, template = science.ravel()[source], template.ravel()[source]
        else:
            total = np.sqrt(vn * fr**2 + lowest * fn**2)
            science[weak], template[weak] = fr / total, fn / total
        if templateSpectrum is not None:  # the noise has another mix there
            noise = np.sqrt(vn * _power(science) + vr * _power(template))[weak]
            science[weak] /= noise
            template[weak] /= noise
    scoreFlux = fluxScale**2 * parsevalMean(_power(psf), shape)
    return ZogyTransfer(science, template, psf, float(fluxScale), float(scoreFlux), shape)


def parsevalMean(half, shape):
    """Mean over the whole frequency plane of a real quantity known on the half-plane of `scipy.fft.rfft2`."""
    rows = half.sum(axis=0, dtype=float)
    twice = rows[1 : (shape[1] + 1) // 2].sum()  # all columns but the first and, for even widths, the last
    return (rows.sum() + twice) / (shape[0] * shape[1])


def realKernel(transfer, shape, halfSize):
    """Real-space kernel of a transfer function, centred on an odd stamp of (2 halfSize + 1) pixels or what there is."""
    kernel = scipy.fft.irfft2(transfer, s=shape)
    size = tuple(min(2 * halfSize + 1, n - 1 + n % 2) for n in shape)
    return padCenterOriginArray(kernel, size, useInverse=True)


def denoisedTransform(transform, shape):
    """Transform of a PSF whose values near its noise floor are replaced by a smooth continuation.

    The ratio of two PSFs' transforms decides how the images are mixed. Where both are noise, that mix would be random
    from mode to mode: the filters would reach as far as the stamps and scatter bright stars over them. The floor is the
    typical modulus beyond 0.55 cycles per pixel; the continuation exp(-q^(b/2)), q a quadratic form of the frequency
    (b = 2: a Gaussian), is fitted to the modes above it.

    Parameters
    ----------
    transform : `numpy.ndarray` of complex
        Half-plane of a centred PSF of unit sum.
    shape : (`int`, `int`)

    Returns
    -------
    transform : `numpy.ndarray` of complex
        The same object where there is nothing to replace: a floor below 1e-6, or too few modes above it.
    """
    ky = scipy.fft.fftfreq(shape[0])[:, None]
    kx = scipy.fft.rfftfreq(shape[1])[None, :]
    modulus = np.sqrt(_power(transform))
    floor = float(np.median(modulus[kx**2 + ky**2 > 0.55**2]))
    fitted = (modulus > _FLOORS * floor) & (modulus < 0.5)
    if floor < EPSILON or np.count_nonzero(fitted) < 20:
        return transform
    y, x = (np.broadcast_to(k, modulus.shape)[fitted] for k in (ky, kx))
    terms = np.stack([x * x, y * y, x * y])
    best = None
    depth = -np.log(modulus[fitted])
    logDepth = np.log(depth)
    for b in np.arange(0.8, 2.41, 0.2):
        # the same weights for all b: those of errors of the depth
        power = np.exp((2 / b) * logDepth)
        weighted = terms * (0.5 * b * depth / power) ** 2
        try:
            q = np.linalg.solve(weighted @ terms.T, weighted @ power)
        except np.linalg.LinAlgError:
            continue
        value = q @ terms
        if not value.min() > 0:
            continue
        misfit = float(np.sum((np.exp((0.5 * b) * np.log(value)) - depth) ** 2))
        if best is None or misfit < best[0]:
            best = (misfit, b, q)
    if best is None:
        return transform
    _, b, q = best
    form = np.maximum(q[0] * kx**2 + q[1] * ky**2 + q[2] * kx * ky, 0)
    with np.errstate(divide="ignore"):
        model = np.exp(-np.exp((0.5 * b) * np.log(form)))
    share = np.clip((model / floor - _FLOORS) / _FLOORS, 0, 1)  # of the measured transform
    share *= share * (3 - 2 * share)
    return share * transform + (1 - share) * model


def _power(transform):
    return transform.real**2 + transform.imag**2


def psfTransform(psf, shape, name="psf"):
    """Transform of a centred PSF image of odd dimensions, divided by its sum; errors as of `zogyTransfer`."""
    psf = np.asarray(psf, dtype=np.float64)
    if psf.ndim != 2 or psf.shape[0] % 2 == 0 or psf.shape[1] % 2 == 0:
        raise ShapeError(f"{name}: wanted an image of odd dimensions, centred on a pixel, got shape {psf.shape}")
    if any(p > n for p, n in zip(psf.shape, shape)):
        raise ShapeError(f"{name}: wanted a PSF no larger than the images {shape}, got {psf.shape}")
    total = psf.sum()
    if not (np.isfinite(total) and total > 0):
        raise DomainError(f"{name}: wanted a PSF with a positive finite sum, got {total}")
    return scipy.fft.rfft2(padCenterOriginArray(psf / total, shape))


@lru_cache(maxsize=16)
def _inward(shape):
    """Flat index of each frequency's neighbour on the ray towards zero frequency."""
    ky = scipy.fft.fftfreq(shape[0], 1 / shape[0])[:, None]
    kx = np.arange(shape[1] // 2 + 1)[None, :]
    steps = np.maximum(np.maximum(np.abs(ky), kx), 1)
    nearer = 1 - 1 / steps
    y = np.rint(ky * nearer).astype(np.intp) % shape[0]
    x = np.rint(kx * nearer).astype(np.intp)
    index = y * (shape[1] // 2 + 1) + x
    index.setflags(write=False)
    return index


def _lastReliable(weak, shape):
    """Flat index, for every frequency, of itself or of the last one inward along its ray that is not weak."""
    source = np.where(weak, _inward(shape), np.arange(weak.size).reshape(weak.shape))
    while True:
        jumped = source.ravel()[source]
        if np.array_equal(jumped, source):
            return source
        source = jumped
