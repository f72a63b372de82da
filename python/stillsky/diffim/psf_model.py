"""Empirical PSF of an image from its stars: principal components with coefficients that vary over the image.

Stamps of isolated unsaturated stars are shifted to a common centre and scaled to unit flux. Every pixel of the model is
a Chebyshev polynomial of position, fitted to all stars with inverse-variance weights; the pixel-by-pixel polynomials
are then written as principal components times polynomial coefficients (an exact rotation; see Jee et al. 2007, PASP
119, 1403, for the idea). Where the measured profile drowns in noise it continues as a power law.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from .. import _core
from ..errors import DomainError, NoDataError
from ..psf import PcaPsf

__all__ = ["PsfModel", "estimatePsf"]

_TAPS = 5  # pixels around a stamp that centring it reads
_CALM_TERMS = 3  # constant and linear
_MANY_STARS = 40  # a term: enough for the wings as well


@dataclass
class PsfModel:
    """An empirical PSF and how it came about.

    Attributes
    ----------
    psf : `stillsky.psf.PcaPsf`
    fwhm : `float`
        At the centre of the image, pixels.
    used : `numpy.ndarray` of bool
        Which of the given stars survived the rejection.
    order : `int`
        Order of the variation over the image.
    wingSlope : `float`
        Exponent of the power-law wings.
    """

    psf: PcaPsf
    fwhm: float
    used: np.ndarray
    order: int
    wingSlope: float


def estimatePsf(maskedImage, badBits, x, y, fwhm, config, neighbours=None):
    """Model the PSF of an image from its stars.

    Parameters
    ----------
    maskedImage : `stillsky.image.MaskedImage`
        Without sky background. Only the pixels around the stars are read.
    badBits : `int`
        Mask bits of pixels without value; non-finite pixels and variances that are not positive count as well.
    x, y : `numpy.ndarray`, (n,)
        Positions of the stars, array indices.
    fwhm : `float`
        Typical width in pixels.
    config : `PsfModelConfig`
    neighbours : pair of `numpy.ndarray`, optional
        Positions of all objects; pixels nearer to another object than to the star get no weight.

    Returns
    -------
    model : `PsfModel`

    Raises
    ------
    NoDataError
        No star gives a usable stamp.

    Notes
    -----
    Cost: 500 stars of 35 x 35 pixels at order 2 take about 0.1 s. Memory: five such cubes in double.
    """
    half = int(np.ceil(config.halfSizeFwhm * fwhm))
    stamps, weights, inside = _centredStamps(maskedImage, badBits, x, y, half, neighbours)
    if not len(inside):
        raise NoDataError("estimatePsf: no star has a usable stamp", found=f"{len(x)} stars, none inside the image")
    shape = maskedImage.image.array.shape
    order = _affordableOrder(len(inside), config)
    while True:
        terms = _spatialTerms(x[inside], y[inside], shape, order)
        coefficients, keep = _fitPixels(stamps, weights, terms, fwhm, config.rejectionRounds)
        _calmWings(coefficients, stamps, weights, terms, fwhm, config.rejectionRounds)
        coefficients, slope = _addWings(coefficients, half, int(np.ceil(config.wingsFwhm * fwhm)), fwhm)
        psf = PcaPsf(*_principalComponents(coefficients, config.maxComponents), maskedImage.bbox)
        width = _plausibleWidth(psf, maskedImage.bbox, fwhm)
        if width is not None or order == 0:
            break
        order -= 1  # the stars do not reach far enough to say how the PSF varies
    if width is None:
        raise NoDataError(
            "estimatePsf: the stars give no PSF",
            found=f"{len(keep)} stamps, whose mean is not a peak of width {fwhm:.1f} px",
        )
    used = np.zeros(len(x), bool)
    used[inside[keep]] = True
    return PsfModel(psf, width, used, order, slope)


def _affordableOrder(nStars, config):
    """Largest order that leaves enough stars per term."""
    order = config.maxOrder
    while order > 0 and (order + 1) * (order + 2) // 2 * config.starsPerTerm > nStars:
        order -= 1
    return order


def _plausibleWidth(psf, bbox, fwhm):
    """FWHM at the centre, or None when the model is no peak of about the right width there or at a corner."""
    try:
        widths = [psf.fwhm(position) for position in (bbox.center, *bbox.corners)]
    except (DomainError, NoDataError):
        return None
    return float(widths[0]) if all(0.5 * fwhm < width < 2.0 * fwhm for width in widths) else None


def _centredStamps(maskedImage, badBits, x, y, half, neighbours):
    """Stamps shifted to their centres, with weights, and which of the stars they are of: not those near the edge."""
    first, near = [], ((), ())
    if neighbours is not None and len(x):
        positions = np.column_stack([x, y])
        lists = cKDTree(np.column_stack(neighbours)).query_ball_point(positions, 1.5 * (half + _TAPS))
        first = np.concatenate([[0], np.cumsum([len(near) for near in lists])])
        chosen = np.concatenate(lists).astype(int)
        near = [np.asarray(axis)[chosen] for axis in neighbours]
    image, mask, variance = (plane.array for plane in maskedImage.planes)
    return _core.centredStamps(image, mask, variance, badBits, x, y, first, *near, half)


def _spatialTerms(x, y, shape, order):
    """Chebyshev terms at the stars, in the term order of `stillsky.kernel.Chebyshev1Function2`."""
    u = (x - (shape[1] - 1) / 2) * 2 / shape[1]
    v = (y - (shape[0] - 1) / 2) * 2 / shape[0]
    chebyshev = np.polynomial.chebyshev.chebvander
    tu, tv = chebyshev(u, order), chebyshev(v, order)
    return np.array([tu[:, d - b] * tv[:, b] for d in range(order + 1) for b in range(d + 1)]).T


def _fitPixels(stamps, weights, terms, fwhm, rounds):
    """Polynomial of position for every pixel, by iterated weighted least squares with rejection of stars and pixels."""
    half = stamps.shape[1] // 2
    radius = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    return _core.fitPsfPixels(stamps, weights, terms, radius < 1.2 * fwhm, rounds)


def _calmWings(coefficients, stamps, weights, terms, fwhm, rounds):
    """Outside the core, where the pixels of few stars say little, let the model vary linearly only; in place.

    A polynomial of higher order turns the neighbours and cosmic rays of single stars into wings: at 10 stars a term
    they held a tenth of the light.
    """
    if terms.shape[1] <= _CALM_TERMS or len(stamps) >= _MANY_STARS * terms.shape[1]:
        return
    half = stamps.shape[1] // 2
    radius = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    calm, _ = _fitPixels(stamps, weights, terms[:, :_CALM_TERMS], fwhm, rounds)
    blend = np.clip(radius / fwhm - 1.0, 0.0, 1.0)
    coefficients *= 1 - blend
    coefficients[:_CALM_TERMS] += blend * calm


def _addWings(coefficients, half, wings, fwhm):
    """Remove the pedestal that neighbours leave, continue the profile as a power law, renormalise to unit sum.

    The mean profile is fitted by a Moffat function plus a constant (Moffat 1969, A&A 3, 455); the constant is not PSF.
    """
    wings = max(wings, half)
    size = 2 * wings + 1
    grown = np.zeros((len(coefficients), size, size))
    inner = slice(wings - half, wings + half + 1)
    grown[:, inner, inner] = coefficients
    radius = np.hypot(*np.mgrid[-wings : wings + 1, -wings : wings + 1])
    (amplitude, scale, beta), pedestal = _moffatProfile(grown[0], radius, fwhm, half)
    grown[0][radius <= half * 1.5] -= pedestal
    wing = amplitude * (1 + (radius / scale) ** 2) ** -beta
    blend = np.clip((radius - 2.5 * fwhm) / fwhm, 0.0, 1.0)
    grown[0] = (1 - blend) * grown[0] + blend * wing
    outer = (radius > 2.7 * fwhm) & (radius <= half)
    for term in grown[1:]:
        term[radius <= half * 1.5] -= np.median(term[outer]) if outer.any() else 0.0
    grown[1:] *= 1 - blend
    return grown / grown[0].sum(), -2 * beta


def _moffatProfile(image, radius, fwhm, half):
    """Moffat parameters (amplitude, scale, beta) and pedestal of the mean profile between 0.5 FWHM and the stamp's edge."""
    used = (radius > 0.5 * fwhm) & (radius <= half)
    ring = np.floor(radius[used]).astype(int)
    counts = np.maximum(np.bincount(ring), 1)

    def ringMeans(pixels):
        return np.bincount(ring, pixels) / counts

    present = np.bincount(ring) > 0
    squared, pixels = radius[used] ** 2, image[used]
    profile = ringMeans(pixels)
    spread = np.sqrt(np.maximum(ringMeans((pixels - profile[ring]) ** 2), 0) / counts)
    error = spread + 0.01 * np.abs(profile) + 1e-9
    scale = fwhm / (2 * np.sqrt(2 ** (1 / 3.5) - 1))
    start = [np.log(max(image.max(), 1e-6)), np.log(scale), np.log(3.5), 0.0]

    def residual(p):
        moffat = np.exp(p[0]) * (1 + squared / np.exp(2 * p[1])) ** -np.exp(p[2])
        return ((ringMeans(moffat) + p[3] - profile) / error)[present]

    bounds = (
        [start[0] - 3, start[1] - 2, np.log(1.2), -abs(profile).max()],
        [start[0] + 3, start[1] + 3, np.log(60.0), abs(profile).max()],
    )
    if np.count_nonzero(present) < 5:
        return (np.exp(start[0]), scale, 3.5), 0.0
    from scipy.optimize import least_squares  # slow to import, and not wanted where files bring their PSF

    fit = least_squares(residual, start, bounds=bounds, loss="soft_l1")
    return tuple(np.exp(fit.x[:3])), float(fit.x[3])


def _principalComponents(coefficients, maxComponents):
    """Rotate (nTerms, h, w) coefficients into components: the mean first, then the strongest variations."""
    nTerms, height, width = coefficients.shape
    if nTerms <= maxComponents:
        return coefficients, np.eye(nTerms)
    mean, rest = coefficients[0], coefficients[1:].reshape(nTerms - 1, -1)
    left, strength, right = np.linalg.svd(rest, full_matrices=False)
    n = maxComponents - 1
    basis = np.concatenate([mean[None], right[:n].reshape(n, height, width)])
    loadings = np.zeros((maxComponents, nTerms))
    loadings[0, 0] = 1.0
    loadings[1:, 1:] = (left[:, :n] * strength[:n]).T
    return basis, loadings
