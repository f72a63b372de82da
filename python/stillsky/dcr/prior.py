"""What the subfilters of a DCR coadd may look like before the visits are read: equal shares of the coadd, give or take a
fraction of the local flux that is smooth over the PSF.

The model y = A m + n alone leaves the differences between subfilters undetermined where refraction moves light by less than
a PSF, and conjugate gradients fill them with noise. Bayes' remedy (Wiener 1949; Tikhonov & Arsenin 1977; for irregularly
sampled data Rybicki & Press 1992, ApJ 398, 169) is a Gaussian prior. Light comes from points, so that whatever a subfilter
has more than its share has the shape of the PSF and at most about the flux that is there::

    m = t / N + W z,   W = G(s) diag(a) R,   z ~ N(0, tau^2),   a = sqrt(4 pi) sigma f / N,   s = sigma / sqrt(2)

with t the coadd in the whole band, f >= 0 its flux with the noise taken off (it saturates where the visits decide), sigma the
width of the PSF, G(s) a convolution with a Gaussian in each subfilter, and R between the subfilters: R multiplies their sum,
which the coadd knows, by rho, what rises along a straight line with wavelength by 1, and every other difference by 1/2, for
spectra bend less within a band than they tilt (orthogonal polynomials of the number of the subfilter). Of a star of flux F, f is F times a
PSF; the deviation of subfilter k by c times its share has the flux c F / N and is W z with ``sum z^2 = c^2``: tau is the rms of
c, whatever the flux, the width, and the sampling. Where f is 0 nothing deviates. The estimate is what minimises
``sum_i w_i |y_i - T_i m|^2 + (nu/tau)^2 |z|^2``, nu^2 the noise of a visit of weight 1.

The visits themselves tell tau and rho: they are where their marginal likelihood (the evidence of MacKay 1992, Neural
Computation 4, 415)

    2 ln p = g^T (H + (nu/tau)^2)^-1 g / nu^2 - ln det(1 + (tau/nu)^2 H),   H = W^T A^T w A W,   g = W^T A^T w (y - A t/N)

is highest, with rho out of two. Both terms for all tau at once come from two Lanczos recursions with H, one from g and one
from random signs (Golub & Meurant 1994; Ubaru, Chen & Saad 2017, SIAM J. Matrix Anal. Appl. 38, 1075).
"""

import logging
import math

import numpy as np

from .. import _core

__all__ = ["FluxPrior", "NoPrior", "dot", "makePrior", "sourceWidth", "visitNoise"]

_LOG = logging.getLogger("stillsky.dcr")
_MIN_SIGMA, _MAX_SIGMA = 0.6, 20.0  # pixels
_LANCZOS_STEPS = 8
_RATIOS = (0.7, 0.25)  # rho: where colours are hardly seen the sum sharpens the coadd as much as differences divide it
_BRIGHT = 10.0  # noises of a visit in a pixel
_FEW = 100  # pixels of background that tell no noise
_SAMPLES = 60000  # pixels of a visit that its noise is taken from
_BENDS = 0.5
_TAUS = np.geomspace(1e-3, 10.0, 121)


class NoPrior:
    """Least squares: every pixel of every subfilter is free."""

    penalty = 0.0
    strength = math.nan
    sigma = math.nan
    mixing = None
    diagonal = None

    def move(self, mixed, out):
        """Deviations from equal shares, of R z."""
        return mixed

    def back(self, planes, out):
        """What `collect` makes of planes, before R."""
        return planes

    def expand(self, z):
        """Deviations from equal shares."""
        return z

    def collect(self, planes):
        """The adjoint of `expand`."""
        return planes


class FluxPrior:
    """Deviations of the subfilters in proportion to the flux, smooth over the PSF.

    Parameters
    ----------
    flux : `numpy.ndarray`
        f, float32, not negative.
    sigma : `float`
        Of the PSF, pixels.
    n : `int`
        Number of subfilters.
    covered : `numpy.ndarray` of `bool`
        Pixels where the subfilters may deviate.
    coverage : `float`
        Mean weighted coverage of a subfilter.

    Attributes
    ----------
    strength : `float`
        tau; set by the caller, or by `findStrength`.
    noise : `float`
        nu.
    ratio : `float`
        rho; set by `findStrength`.
    diagonal : `numpy.ndarray`
        Of H, about: what conjugate gradients are preconditioned with.
    """

    def __init__(self, flux, sigma, n, covered, coverage=1.0):
        self.sigma, self.noise, self.strength, self._n = float(sigma), 1.0, 1.0, n
        self.ratio = _RATIOS[0]
        self.amplitude = (flux * np.float32(math.sqrt(4 * math.pi) * sigma / n)).astype(np.float32)
        self._covered = None if covered.all() else covered.astype(np.float32)
        self.diagonal = self.amplitude**2 * np.float32(coverage / (2 * math.pi * sigma**2))  # of H, with sum G^2

    @property
    def penalty(self):
        """(nu / tau)^2."""
        return (self.noise / self.strength) ** 2

    def move(self, mixed, out):
        """W z of R z, in ``out``."""
        for plane, to in zip(mixed, out, strict=True):
            self._smooth(plane, self.amplitude, self._covered, to)
        return out

    def back(self, planes, out):
        """The transposed of W without R, in ``out``."""
        for plane, to in zip(planes, out, strict=True):
            self._smooth(plane, self._covered, self.amplitude, to)
        return out

    @property
    def ratio(self):
        """rho."""
        return self._ratio

    @ratio.setter
    def ratio(self, value):
        self._ratio, self.mixing = float(value), _mixing(self._n, float(value))

    def expand(self, z):
        """W z: deviations of the subfilters."""
        return self.move(self._mix(z), [np.empty_like(p) for p in z])

    def collect(self, planes):
        """The transposed of W; the planes of the list are replaced by the new ones."""
        planes[:] = self._mix(self.back(planes, [np.empty_like(p) for p in planes]))
        return planes

    def _mix(self, planes):
        """R times planes."""
        out = [np.zeros_like(plane) for plane in planes]
        scratch = np.empty_like(planes[0])
        for to, row in zip(out, self.mixing, strict=True):
            for plane, share in zip(planes, row, strict=True):
                to += np.multiply(plane, np.float32(share), out=scratch)
        return out

    def _smooth(self, plane, before, after, out):
        _core.smoothWeighted(plane, self.sigma / math.sqrt(2), before, after, out)

    def findStrength(self, residual, matrix):
        """Set tau and rho to where the visits are most probable.

        Parameters
        ----------
        residual : `list` of `numpy.ndarray`
            ``A^T w (y - A t/N)``.
        matrix : callable
            ``A^T w A`` of planes.

        Returns
        -------
        gradient : `list` of `numpy.ndarray`
            g.
        """
        best = -math.inf
        for ratio in _RATIOS:
            self.ratio = ratio
            likelihood, strength = self._evidence(residual, lambda z: self.collect(matrix(self.expand(z))))
            if likelihood > best:
                best, chosen = likelihood, (ratio, strength)
        self.ratio, self.strength = chosen
        _LOG.debug("DCR: relative deviations of the subfilters %.3g, of their sum %.3g", self.strength, self.ratio)
        return self.collect(residual)

    def _evidence(self, residual, matrix):
        """Highest marginal likelihood, and its tau: from 0.001, where the visits tell no colour, to 10."""
        values, shares, total = _lanczos(matrix, self.collect(list(residual)))
        modes, ofModes, count = _lanczos(matrix, self._signs(len(residual)))
        ratio = (_TAUS[:, None] / self.noise) ** 2
        gain = total / self.noise**2 * np.sum(shares * ratio / (1 + ratio * values), axis=1)
        cost = count * np.sum(ofModes * np.log1p(ratio * modes), axis=1)
        i = int(np.argmax(gain - cost))
        return float((gain - cost)[i]), float(_TAUS[i])

    def _signs(self, n):
        """Random signs where something may deviate, the same every time."""
        rng, free = np.random.default_rng(20260121), self.amplitude > 0
        planes = []
        for _ in range(n):
            plane = np.sign(rng.random(free.shape, np.float32) - np.float32(0.5))
            plane *= free
            planes.append(plane)
        return planes


def _mixing(n, ratio):
    """R (n, n): of the sum, of straight lines, of all that bends."""
    modes = np.linalg.qr(np.vander(np.linspace(-1, 1, n), increasing=True))[0]
    return (modes * np.array([ratio, 1.0] + [_BENDS] * (n - 2))[:n]) @ modes.T


def _lanczos(matrix, start):
    """Nodes and weights of the Gauss quadrature of a spectrum seen from a vector, which is spoilt, and its squared length."""
    total = dot(start, start)
    if not total > 0:
        return np.zeros(1), np.zeros(1), 0.0
    vector, before = _scaled(start, math.sqrt(total)), None
    diagonal, beside = [], []
    for _ in range(_LANCZOS_STEPS):
        new = matrix(vector)
        diagonal.append(dot(vector, new))
        for k, plane in enumerate(new):
            plane -= np.float32(diagonal[-1]) * vector[k]
            if before is not None:
                plane -= np.float32(beside[-1]) * before[k]
        length = math.sqrt(dot(new, new))
        if length <= 1e-5 * diagonal[0]:
            break
        beside.append(length)
        before, vector = vector, _scaled(new, length)
    beside = beside[: len(diagonal) - 1]
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return np.maximum(values, 0), vectors[0] ** 2, total


def _scaled(planes, length):
    for plane in planes:
        plane /= np.float32(length)
    return planes


def dot(a, b):
    """Sum over all planes of the products."""
    return _core.planesDot(list(a), list(b))


def makePrior(problem, config, covered, coverage):
    """Prior of a problem, without its strength unless the configuration has it.

    Parameters
    ----------
    problem : `stillsky.dcr.solve.DcrProblem`
    config : `stillsky.dcr.config.DcrFields`
    covered : `numpy.ndarray` of `bool`
        Pixels where the subfilters may deviate.
    coverage : `list` of `numpy.ndarray`
        Weighted, of each subfilter.

    Returns
    -------
    prior : `FluxPrior` or `NoPrior`
        The latter where nothing is known of the noise.
    """
    if config.prior == "none":
        return NoPrior()
    noise = visitNoise(problem)
    if not noise > 0:
        return NoPrior()
    sigma = problem.sigma or sourceWidth(problem.template, problem.detected, problem.excluded)
    sigma = float(np.clip(sigma, _MIN_SIGMA, _MAX_SIGMA))
    seen = float(np.mean([np.mean(plane) for plane in coverage]))
    visit = noise / math.sqrt(float(np.mean(problem.data.weights)))
    prior = FluxPrior(_localFlux(problem, sigma, visit), sigma, problem.data.numSubfilters, covered, seen)
    prior.noise = noise
    if config.priorStrength is not None:
        prior.strength = config.priorStrength
    return prior


def _localFlux(problem, sigma, visit):
    """f: the template smoothed, and its noise taken off in quadrature; 0 on the sky but for one pixel in six.

    It saturates at ten times the noise of a visit, where the visits decide whatever is allowed: the deviations of the
    brightest stars, which are small for their flux, would otherwise hold down those of all others.
    """
    s = sigma / math.sqrt(2)
    flux = np.empty(problem.template.shape, np.float32)
    _core.smoothWeighted(problem.template, s, None, None, flux)
    empty = flux[~problem.excluded]
    if empty.size > _FEW:
        noise = float(np.sqrt(np.mean(np.square(empty, dtype=np.float64))))
    else:  # of white noise in the mean of the visits
        noise = visit / math.sqrt(len(problem.data.visits)) / (2 * math.sqrt(math.pi) * s)
    square = np.maximum(flux * np.abs(flux) - np.float32(noise**2), 0)
    bright = _BRIGHT**2 * visit**2
    return np.sqrt(square / (1 + square / np.float32(bright)))


def sourceWidth(template, detected, excluded):
    """Sigma, in pixels, of the Gaussian whose neighbouring pixels correlate as those of the sources do.

    Parameters
    ----------
    template : `numpy.ndarray`
    detected, excluded : `numpy.ndarray` of `bool`
        Sources; pixels that are no background.

    Returns
    -------
    sigma : `float`
        From the correlation at distance 1, exp(-1/(4 sigma^2)), with the noise of the background taken off.
    """
    background = template[~excluded]
    variance = float(np.var(background, dtype=np.float64)) if background.size > 1 else 0.0
    power = product = 0.0
    for axis in (0, 1):
        first, second = (slice(None), slice(None, -1)), (slice(None), slice(1, None))
        first, second = (first, second) if axis == 1 else (first[::-1], second[::-1])
        here, there = template[first].astype(float), template[second].astype(float)
        both = detected[first] & detected[second]
        power += float(np.sum(((here**2 + there**2) / 2 - variance)[both]))
        product += float(np.sum((here * there)[both]))
    if not 0 < product < power:
        return _MIN_SIGMA if product <= 0 else _MAX_SIGMA
    return math.sqrt(-1 / (4 * math.log(product / power)))


def visitNoise(problem):
    """Noise per pixel of a visit of weight 1, from the background pixels of all visits against the template.

    Parameters
    ----------
    problem : `stillsky.dcr.solve.DcrProblem`

    Returns
    -------
    noise : `float`
        The scatter is that of the median absolute deviation; what the mean of M visits has of each is put back. Without
        background it is that of all pixels, which refraction makes a little larger. 0 without good pixels.
    """
    from .engine import unpackBits

    height, width = problem.template.shape
    empty = ~problem.excluded
    if np.count_nonzero(empty) <= _FEW:
        empty = np.ones_like(empty)
    step = max(1, height * width // _SAMPLES)
    shares, weights = [], []
    for visit in problem.data.visits:
        deviations = []
        for row in range(step // 2, height, step):
            use = unpackBits(visit.good[row : row + 1], width)[0] & empty[row]
            pixels = visit.rows(row, row + 1)[0][use]
            deviations.append(pixels - problem.template[row][use] if len(problem.data.visits) > 1 else pixels)
        values = np.concatenate(deviations)
        if values.size > 1:
            scatter = 1.482602218505602 * float(np.median(np.abs(values - np.median(values))))
            shares.append(visit.weight * scatter**2)
            weights.append(visit.weight)
    if not shares:
        return 0.0
    own = len(shares) / (len(shares) - 1) if len(shares) > 1 else 1.0
    return math.sqrt(float(np.mean(shares)) * own)
