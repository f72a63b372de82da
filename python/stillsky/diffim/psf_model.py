"""Empirical PSF of an image from its stars: principal components with coefficients that vary over the image.

Stamps of isolated unsaturated stars are shifted to a common centre and scaled to unit flux. Every pixel of the model is
a Chebyshev polynomial of position, fitted to all stars with inverse-variance weights; the pixel-by-pixel polynomials
are then written as principal components times polynomial coefficients (an exact rotation; see Jee et al. 2007, PASP
119, 1403, for the idea). Where the measured profile drowns in noise it continues as a power law.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares

from ..errors import DomainError, NoDataError
from ..psf import PcaPsf

__all__ = ["PsfModel", "estimatePsf"]

_TAPS = 5  # half-length of the Lanczos kernel that centres the stamps


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


def estimatePsf(maskedImage, sky, badBits, x, y, fwhm, config, neighbours=None):
    """Model the PSF of an image from its stars.

    Parameters
    ----------
    maskedImage : `stillsky.image.MaskedImage`
        Only the pixels around the stars are read.
    sky : `numpy.ndarray`, (h, w), or `float`
        Background to subtract.
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
    Cost: 500 stars of 35 x 35 pixels at order 2 take about 0.1 s. Memory: three such cubes in double.
    """
    half = int(np.ceil(config.halfSizeFwhm * fwhm))
    stamps, weights, inside = _centredStamps(maskedImage, sky, badBits, x, y, half, neighbours)
    if not inside.any():
        raise NoDataError("estimatePsf: no star has a usable stamp", found=f"{len(x)} stars, none inside the image")
    shape = maskedImage.image.array.shape
    order = _affordableOrder(np.count_nonzero(inside), config)
    while True:
        terms = _spatialTerms(x[inside], y[inside], shape, order)
        coefficients, keep = _fitPixels(stamps, weights, terms, fwhm, config.rejectionRounds)
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
    used[np.flatnonzero(inside)[keep]] = True
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


def _centredStamps(maskedImage, sky, badBits, x, y, half, neighbours):
    """Unit-flux stamps shifted to their centres, with weights; stars too near the edge are left out."""
    image, mask, variance = (plane.array for plane in maskedImage.planes)
    margin = half + _TAPS
    ix, iy = np.floor(x + 0.5).astype(int), np.floor(y + 0.5).astype(int)
    inside = (ix >= margin) & (iy >= margin) & (ix + margin < image.shape[1]) & (iy + margin < image.shape[0])
    ix, iy = ix[inside], iy[inside]
    size = 2 * margin + 1
    if not inside.any():
        return np.zeros((0, 2 * half + 1, 2 * half + 1)), np.zeros((0, 2 * half + 1, 2 * half + 1)), inside

    def windows(plane):
        return np.lib.stride_tricks.sliding_window_view(plane, (size, size))[iy - margin, ix - margin]

    pixels = windows(image) - (windows(sky) if np.ndim(sky) else sky)
    pixels = pixels.astype(float)
    noise = windows(variance).astype(float)
    unusable = ((windows(mask) & badBits) != 0) | ~np.isfinite(pixels) | ~(noise > 0) | ~np.isfinite(noise)
    if neighbours is not None:
        unusable |= _nearerToOther(x[inside], y[inside], ix, iy, margin, neighbours)
    pixels[unusable] = 0.0
    matrixX = _shiftMatrices(x[inside] - ix, half)
    matrixY = _shiftMatrices(y[inside] - iy, half)
    stamps = np.einsum("nij,njk,nlk->nil", matrixY, pixels, matrixX, optimize=True)
    touched = np.einsum("nij,njk,nlk->nil", np.abs(matrixY), unusable.astype(float), np.abs(matrixX), optimize=True)
    inner = slice(_TAPS, -_TAPS)
    weights = np.where(touched > 0.02, 0.0, 1.0 / np.where(unusable, np.inf, noise)[:, inner, inner])
    radius = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    # a star whose core is damaged teaches nothing
    core = weights[:, radius < 0.3 * half]
    good = (core > 0).mean(axis=1) > 0.95
    inside[np.flatnonzero(inside)[~good]] = False
    return stamps[good], weights[good], inside


def _nearerToOther(x, y, ix, iy, margin, neighbours):
    """Pixels of each stamp that lie nearer to another object than to the star itself."""
    from scipy.spatial import cKDTree

    others = np.column_stack(neighbours)
    lists = cKDTree(others).query_ball_point(np.column_stack([x, y]), 1.5 * margin)
    offsetY, offsetX = np.mgrid[-margin : margin + 1, -margin : margin + 1]
    result = np.zeros((len(x), 2 * margin + 1, 2 * margin + 1), bool)
    for k, near in enumerate(lists):
        own = (offsetX + ix[k] - x[k]) ** 2 + (offsetY + iy[k] - y[k]) ** 2
        for j in near:
            dx, dy = others[j]
            if (dx - x[k]) ** 2 + (dy - y[k]) ** 2 > 2.0:
                result[k] |= (offsetX + ix[k] - dx) ** 2 + (offsetY + iy[k] - dy) ** 2 < own
    return result


def _shiftMatrices(fractions, half):
    """One interpolation matrix per star: Lanczos kernels normalised to unit sum."""
    target = np.arange(-half, half + 1)
    source = np.arange(-half - _TAPS, half + _TAPS + 1)
    t = target[None, :, None] + fractions[:, None, None] - source[None, None, :]
    weight = np.where(np.abs(t) < _TAPS, np.sinc(t) * np.sinc(t / _TAPS), 0.0)
    return weight / weight.sum(axis=2, keepdims=True)


def _spatialTerms(x, y, shape, order):
    """Chebyshev terms at the stars, in the term order of `stillsky.kernel.Chebyshev1Function2`."""
    u = (x - (shape[1] - 1) / 2) * 2 / shape[1]
    v = (y - (shape[0] - 1) / 2) * 2 / shape[0]
    chebyshev = np.polynomial.chebyshev.chebvander
    tu, tv = chebyshev(u, order), chebyshev(v, order)
    return np.array([tu[:, d - b] * tv[:, b] for d in range(order + 1) for b in range(d + 1)]).T


def _fitPixels(stamps, weights, terms, fwhm, rounds):
    """Polynomial of position for every pixel, by iterated weighted least squares with rejection of stars and pixels."""
    n, size, _ = stamps.shape
    half = size // 2
    radius = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    core = radius < 1.2 * fwhm
    flux = np.where(weights > 0, stamps, 0)[:, core].sum(axis=1)
    sky = np.zeros(n)
    keep = flux > 0
    weights = weights.copy()
    coefficients = None
    for iteration in range(rounds + 2):
        scaled = (stamps - sky[:, None, None]) / np.where(keep, flux, 1)[:, None, None]
        # 1 % of each pixel is left to model errors: no single bright star dictates the model
        modelled = np.abs(scaled).mean(axis=0) if coefficients is None else np.abs(np.tensordot(terms, coefficients, 1))
        inverse = np.where(weights > 0, 1 / np.where(weights > 0, weights, 1), np.inf)
        w = 1 / (inverse / np.where(keep, flux, 1)[:, None, None] ** 2 + (0.01 * modelled) ** 2 + 1e-14)
        w[~keep] = 0
        coefficients = _solvePixels(scaled, w, terms)
        model = np.tensordot(terms, coefficients, 1)
        flux, sky = _fluxAndSky(stamps, weights, model, flux)
        keep &= flux > 0
        if iteration < rounds:
            residual = (stamps - sky[:, None, None] - flux[:, None, None] * model) ** 2 / (
                inverse + (0.02 * flux[:, None, None] * model) ** 2 + 1e-30
            )
            chi = residual[:, core].mean(axis=1)
            limit = np.median(chi[keep]) + 5 * 1.4826 * np.median(np.abs(chi[keep] - np.median(chi[keep]))) + 0.5
            if np.count_nonzero(keep & (chi < limit)) >= max(3, terms.shape[1]):
                keep &= chi < limit
            weights[residual > 25.0] = 0  # neighbours and cosmic rays
    return coefficients / coefficients[0].sum(), keep


def _solvePixels(scaled, w, terms):
    n, size, _ = scaled.shape
    nTerms = terms.shape[1]
    flat = w.reshape(n, -1)
    products = (terms[:, :, None] * terms[:, None, :]).reshape(n, -1)
    matrices = (flat.T @ products).reshape(-1, nTerms, nTerms)
    right = (flat * scaled.reshape(n, -1)).T @ terms
    # a pixel that no star sees falls back on zero
    scale = np.trace(matrices, axis1=1, axis2=2)
    matrices += (1e-9 * scale + (scale == 0))[:, None, None] * np.eye(nTerms)
    return np.linalg.solve(matrices, right[:, :, None])[:, :, 0].T.reshape(nTerms, size, size)


def _fluxAndSky(stamps, weights, model, fallback):
    """Weighted least squares of ``flux * model + sky`` for every stamp; the sky takes up faint unresolved neighbours."""
    mm = np.einsum("nij,nij,nij->n", weights, model, model)
    m1 = np.einsum("nij,nij->n", weights, model)
    ms = np.einsum("nij,nij,nij->n", weights, model, stamps)
    s1 = np.einsum("nij,nij->n", weights, stamps)
    w1 = weights.sum(axis=(1, 2))
    determinant = mm * w1 - m1**2
    solvable = determinant > 1e-12 * mm * w1
    safe = np.where(solvable, determinant, 1)
    return (
        np.where(solvable, (ms * w1 - s1 * m1) / safe, fallback),
        np.where(solvable, (mm * s1 - m1 * ms) / safe, 0.0),
    )


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
