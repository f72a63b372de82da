"""Stamps of stars and the pixels of an empirical PSF in plain NumPy: the truth for the compiled ones."""

import numpy as np

_TAPS = 5


def centredStamps(maskedImage, badBits, x, y, half, neighbours):
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

    pixels = windows(image).astype(float)
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


def fitPixels(stamps, weights, terms, fwhm, rounds):
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
