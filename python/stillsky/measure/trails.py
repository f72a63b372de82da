"""Trailed sources: length and angle from second moments, flux from a trail model."""

import numpy as np
from scipy import special

from .. import _core
from .algorithms import _pixels, _positions, _unitOf
from .psf_stamps import PsfShapes, sigmaOf
from .schema import emptyTable

#: Rounder sources, by b^2/a^2, have length 0.
ROUND = 0.98
_ROOT_PI = np.sqrt(np.pi)
_ANY_ANGLE = np.pi / np.sqrt(12)  # standard deviation of an angle of which nothing is known


def trailedSources(
    exposure,
    x,
    y,
    shapes,
    xErr=None,
    yErr=None,
    *,
    psf=None,
    psfShapes=None,
    wcs=None,
    apertureFlux=None,
    badPlanes=None,
    model="default",
):
    """Trails of sources: a uniform line convolved with the PSF (Veres et al. 2012, PASP 124, 1197).

    The length L follows from the adaptive moments: ``erf(z) = c z exp(-z^2)`` with c = 4 a^2/((a^2 + b^2) sqrt(pi)) and
    L = 2 z sqrt(2 (a^2 + b^2)), a and b the axes of the moments: exact for a Gaussian PSF.

    Parameters
    ----------
    exposure : Exposure
    x, y : array_like
        Middles, parent coordinates.
    shapes : `astropy.table.Table`
        Columns of `sdssShape`.
    xErr, yErr : array_like, optional
        Standard deviations of the middles, pixels.
    psf, wcs : optional
        Instead of the exposure's. Without a WCS ``ra`` and ``dec`` are NaN, without a PSF ``flag_noSigma`` is set.
    psfShapes : `PsfShapes`, optional
        The PSF at the positions, where it is known already.
    apertureFlux : array_like, optional
        Fluxes to fall back on where the model has none.
    badPlanes, model
        As in the other algorithms.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``ext_trailedSources_Naive_*``. Sources with b^2/a^2 above `ROUND` have length 0 and the flag set: a point
        is no trail. Errors propagate linearly those of moments, middle and pixels, taken as independent.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, badPlanes, model)
    table, prefix = emptyTable("ext_trailedSources_Naive", len(x), _unitOf(exposure)), "ext_trailedSources_Naive_"
    if len(x) == 0:
        return table
    moments = np.array([np.asarray(shapes[f"base_SdssShape_{c}"], float) for c in ("xx", "yy", "xy")])
    errors = np.array([np.asarray(shapes[f"base_SdssShape_{c}Err"], float) for c in ("xx", "yy", "xy")])
    badShape = np.asarray(shapes["base_SdssShape_flag"]) | ~np.isfinite(moments).all(axis=0)
    length, lengthErr, angle, angleErr, isRound, ok = trailGeometry(moments, errors)
    psf = getattr(exposure, "psf", None) if psf is None else psf
    if psfShapes is None and psf is not None:
        psfShapes = PsfShapes(psf, x, y)
    ofPsf = np.full((len(x), 3), np.nan) if psfShapes is None else psfShapes.moments
    sigma, radius = np.sqrt(0.5 * (ofPsf[:, 0] + ofPsf[:, 1])), sigmaOf(ofPsf)
    usable = ok & ~badShape
    length, lengthErr, angle, angleErr = (np.where(usable, v, np.nan) for v in (length, lengthErr, angle, angleErr))
    middle = [np.zeros(len(x)) if e is None else np.asarray(e, float) for e in (xErr, yErr)]
    flux, fluxErr = _fluxes(pixels, x, y, length, angle, sigma, (*middle, lengthErr, angleErr))
    noFlux = ~np.isfinite(flux) | (np.abs(flux) > 1e10)
    if apertureFlux is not None:
        flux = np.where(noFlux, np.asarray(apertureFlux, float), flux)
        noFlux = ~np.isfinite(flux)
    ends = _ends(x, y, length, angle, middle, lengthErr, angleErr)
    for name, values in (
        *ends.items(), ("flux", flux), ("fluxErr", fluxErr), ("length", length), ("lengthErr", lengthErr),
        ("angle", angle), ("angleErr", angleErr), *_sky(exposure, wcs, x, y).items(),
    ):  # fmt: skip
        table[prefix + name][:] = values
    edge, off = _edges(exposure, pixels, ends)
    flags = {
        "noFlux": noFlux,
        "noConverge": ~ok & ~badShape,
        "noSigma": ~(sigma > 0),
        "edge": edge & usable,
        "off_image": off & usable,
        "nan": ~np.isfinite(np.sum(list(ends.values())[:4], axis=0)),
        "suspect_long_trail": length > 3 * radius,
        "shape": badShape,
    }
    for name, values in flags.items():
        table[f"{prefix}flag_{name}"][:] = values
    table[prefix + "flag"][:] = badShape | ~ok | isRound | flags["nan"] | flags["off_image"] | noFlux | flags["noSigma"]
    return table


def trailGeometry(moments, momentErrs=None):
    """Length and angle of trails from adaptive second moments.

    Parameters
    ----------
    moments, momentErrs : array_like, shape (3, n)
        xx, yy, xy and their standard deviations, square pixels.

    Returns
    -------
    length, lengthErr, angle, angleErr : arrays
        Pixels; radians from +x towards +y.
    isRound, ok : bool arrays
        Length 0 by `ROUND`; whether there is a solution.
    """
    xx, yy, xy = np.asarray(moments, float)
    errors = np.zeros((3, len(xx))) if momentErrs is None else np.asarray(momentErrs, float)
    with np.errstate(all="ignore"):
        total, difference = xx + yy, np.hypot(xx - yy, 2 * xy)
        ok = (total > 0) & (total > difference)
        isRound = ok & ((total - difference) > ROUND * (total + difference))
        ratio = np.where(ok & ~isRound, difference / total, 0.5)
        z = _solveLength(ratio)
        length = np.where(isRound, 0.0, 2 * z * np.sqrt(2 * total))
        # dL = 2 sqrt(2 T) dz + L/(2 T) dT; R(z) = erf(z) exp(z^2)/z = c, dc = 2/sqrt(pi) d(difference/total).
        rate = _ratioDerivative(z)
        dLdRatio = 2 * np.sqrt(2 * total) * (2 / _ROOT_PI) / rate
        dLdTotal = length / (2 * total) - dLdRatio * difference / total**2
        dDifference = np.array([xx - yy, yy - xx, 4 * xy]) / difference
        gradient = dLdRatio / total * dDifference + dLdTotal * np.array([1, 1, 0])[:, None]
        lengthErr = np.where(isRound, np.nan, np.sqrt(np.sum((gradient * errors) ** 2, axis=0)))
        angle = 0.5 * np.arctan2(2 * xy, xx - yy)
        turn = np.array([-xy, xy, xx - yy]) / difference**2
        angleErr = np.minimum(np.sqrt(np.sum((turn * errors) ** 2, axis=0)), _ANY_ANGLE)
    return length, lengthErr, angle, np.where(difference > 0, angleErr, np.nan), isRound, ok


def _solveLength(ratio):
    """z in (0, 1) with erf(z) exp(z^2)/z = 2 (1 + ratio)/sqrt(pi), for 0 < ratio < 1: Newton's method within brackets."""
    wanted = 2 * (1 + ratio) / _ROOT_PI
    low, high = np.zeros_like(wanted), np.ones_like(wanted)
    z = np.sqrt(np.clip(1.5 * ratio, 1e-6, 0.9))
    for _ in range(60):
        value = special.erf(z) * np.exp(z**2) / z - wanted
        low, high = np.where(value < 0, z, low), np.where(value < 0, high, z)
        step = z - value / _ratioDerivative(z)
        new = np.where((step > low) & (step < high), step, 0.5 * (low + high))
        if np.all(np.abs(new - z) <= 1e-15):
            break
        z = new
    return z


def _ratioDerivative(z):
    """Derivative of erf(z) exp(z^2)/z."""
    grown = special.erf(z) * np.exp(z**2)
    return (2 / _ROOT_PI + 2 * z * grown) / z - grown / z**2


def _fluxes(pixels, x, y, length, angle, sigma, errors):
    """Fluxes of the model; errors from the pixels and from the geometry by central differences."""
    geometry = [x - pixels.x0, y - pixels.y0, length, angle]
    finite = [np.where(np.isfinite(v), v, np.nan) for v in geometry]
    found = _core.trailFlux(*pixels.planes, *finite, sigma)
    variance = found["fluxErr"] ** 2
    for k, (error, step) in enumerate(zip(errors, (0.05, 0.05, 0.05, 0.005), strict=True)):
        error = np.nan_to_num(error, posinf=np.inf)
        if not error.any():
            continue
        sides = []
        for sign in (1, -1):
            moved = list(finite)
            moved[k] = moved[k] + sign * step
            if k == 2:
                moved[k] = np.maximum(moved[k], 0.0)
            sides.append(_core.trailFlux(*pixels.planes, *moved, sigma)["flux"])
        with np.errstate(invalid="ignore"):  # no dependence on what is not known at all
            variance = variance + np.nan_to_num(((sides[0] - sides[1]) / (2 * step) * error) ** 2, posinf=np.inf)
    return found["flux"], np.sqrt(variance)


def _ends(x, y, length, angle, middle, lengthErr, angleErr):
    c, s = np.cos(angle), np.sin(angle)
    half, halfErr = 0.5 * length, 0.5 * np.nan_to_num(lengthErr, posinf=np.inf)
    # A round source has no angle, and no length to turn.
    turn = half * np.nan_to_num(angleErr)
    with np.errstate(invalid="ignore"):  # an unknown length across an axis that does not feel it
        xErr, yErr = (
            np.sqrt(e**2 + np.nan_to_num((a * halfErr) ** 2, posinf=np.inf) + (b * turn) ** 2)
            for e, a, b in ((middle[0], c, s), (middle[1], s, c))
        )
    return {
        "x0": x - half * c, "y0": y - half * s, "x1": x + half * c, "y1": y + half * s,
        "x0Err": xErr, "y0Err": yErr, "x1Err": xErr, "y1Err": yErr,
    }  # fmt: skip


def _sky(exposure, wcs, x, y):
    wcs = getattr(exposure, "wcs", None) if wcs is None else wcs
    out, known = np.full((2, len(x)), np.nan), np.isfinite(x) & np.isfinite(y)
    if wcs is not None and known.any():
        out[:, known] = np.degrees(wcs.pixelToSky(x[known], y[known]))
    return dict(zip(("ra", "dec"), out, strict=True))


def _edges(exposure, pixels, ends):
    """(an end off the image or on an EDGE pixel, an end off the image)."""
    mask = getattr(exposure, "maskedImage", exposure).mask
    bit = mask.bitmask(["EDGE"], ignoreMissing=True)
    height, width = pixels.image.shape
    edge, off = np.zeros(len(ends["x0"]), bool), np.zeros(len(ends["x0"]), bool)
    for end in "01":
        px, py = (np.nan_to_num(ends[c + end], nan=-1e6) for c in "xy")
        ix, iy = np.floor(px + 0.5).astype(int) - pixels.x0, np.floor(py + 0.5).astype(int) - pixels.y0
        inside = (ix >= 0) & (iy >= 0) & (ix < width) & (iy < height)
        off |= ~inside
        edge[inside] |= pixels.mask[iy[inside], ix[inside]] & bit != 0
    return edge | off, off
