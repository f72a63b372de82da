"""Fluxes in apertures and at points, centroids without a PSF, and the level around sources."""

import numpy as np
import scipy.fft
from scipy import special

from .. import _core, errors
from .algorithms import BAD_PLANES, _pixels, _positions, _psfOf, _setFlags, _unitOf
from .psf_stamps import PsfShapes
from .schema import aperturePrefix, emptyTable

#: Up to this radius the reference weights pixels by the sinc method.
MAX_SINC_RADIUS = 10.0


def circularApertureFlux(exposure, x, y, radii=(12.0,), *, badPlanes=None, model="default"):
    """Sums in circles.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Centres, parent coordinates.
    radii : sequence of float
        Pixels; DomainError unless positive.
    badPlanes : sequence of str, optional
        Pixels that count as 0, with ``flag_masked``. Default `BAD_PLANES`; none for ``model="reference"``.
    model : {"default", "reference", "centers"}
        "default": every pixel by the share of it that the circle covers, exactly. "reference": Rubin's numbers, that is
        sinc weights (Bickerton & Lupton 2013, MNRAS 431, 1275) up to 10 pixels, above it the pixels whose centres lie
        inside; masks and NaN are not looked at. "centers": those pixels for every radius, as in the reference.

    Returns
    -------
    table : `astropy.table.Table`
        For each radius columns with the prefix ``base_CircularApertureFlux_12_0_``; see `further_columns.APERTURE`. No
        flux where the circle leaves the image.
    """
    x, y = _positions(x, y)
    radii = [float(r) for r in radii]
    if not all(0 < r < np.inf for r in radii):
        raise errors.DomainError(f"circularApertureFlux radii: wanted pixels > 0, got {radii}")
    centers = model == "centers"
    pixels = _pixels(exposure, badPlanes, "reference" if centers else model)
    table = emptyTable("base_CircularApertureFlux", len(x), _unitOf(exposure), radii=radii)
    found = _core.apertureFlux(
        *pixels.planes, x - pixels.x0, y - pixels.y0, np.array(radii), pixels.reference, pixels.reference
    ).reshape(len(x), len(radii))
    for k, radius in enumerate(radii):
        prefix, rows = aperturePrefix(radius), found[:, k]
        bits = rows["flagBits"]
        if pixels.reference:
            # A value that is not finite spreads unseen.
            bits = np.where(bits & 8 != 0, 0, bits)
        if pixels.reference and not centers and radius <= MAX_SINC_RADIUS:
            rows, table[prefix + "flag_sincCoeffsTruncated"][:] = _sincFlux(pixels, x, y, radius, rows)
        table[prefix + "instFlux"][:], table[prefix + "instFluxErr"][:] = rows["flux"], rows["fluxErr"]
        _setFlags(table, prefix, bits, {1: "flag", 2: "flag_apertureTruncated", 4: "flag_masked"})
    return table


def _sincFlux(pixels, x, y, radius, plain):
    """(rows with the fluxes of the sinc weights where the aperture is on the image, whether the weights are cut)."""
    weights = sincWeights(radius)
    half = weights.shape[0] // 2
    rows = np.flatnonzero(plain["flagBits"] & 2 == 0)
    ix, iy = (np.floor(v[rows] + 0.5).astype(int) for v in (x, y))
    out, cut = plain.copy(), np.ones(len(x), bool)
    if len(rows):
        stamps = np.array([_shiftedInside(weights, *d) for d in zip(x[rows] - ix, y[rows] - iy, strict=True)])
        out[rows] = _core.stampFlux(*pixels.planes, stamps, ix - half - pixels.x0, iy - half - pixels.y0, True)
        cut[rows] = out["flagBits"][rows] & 2 != 0
    return out, cut


def sincWeights(radius):
    """Weights whose sum over a band-limited image is its integral over a circle centred on a pixel.

    The inverse transform of the circle's, r J1(2 pi r k)/k, cut at the Nyquist frequency (Bickerton & Lupton 2013, MNRAS
    431, 1275, eq. 5), on a grid of (2 h - 1)^2 pixels, h the next power of two above 2 r, at least 8.
    """
    half = max(8, 2 ** int(np.ceil(np.log2(2 * radius))))
    size = 2 * half - 1
    k = scipy.fft.fftfreq(size)
    r = np.hypot(k[:, None], k)
    r[0, 0] = 1.0
    transform = radius * special.j1(2 * np.pi * radius * r) / r
    transform[0, 0] = np.pi * radius**2
    return scipy.fft.fftshift(scipy.fft.ifft2(transform).real)


def _shiftedInside(weights, dx, dy):
    """Weights moved by lanczos5 where the kernel fits into the array, as the reference does; the border stays."""
    out = weights
    block = [slice(None), slice(None)]
    for axis, d in ((1, dx), (0, dy)):
        t = np.arange(-4, 6) - d if d >= 0 else np.arange(-5, 5) - d
        taps = np.where(np.abs(t) < 5, np.sinc(t) * np.sinc(t / 5), 0.0)
        taps /= taps.sum()
        # out[i] = sum_j taps[j] in[i - j]
        first = 5 if d >= 0 else 4
        valid = out.shape[axis] - 9
        moved = sum(w * np.take(out, np.arange(valid) + 9 - n, axis=axis) for n, w in enumerate(taps))
        block[axis] = slice(first, first + valid)
        out = moved
    result = weights.copy()
    result[block[0], block[1]] = out
    return result


def peakLikelihoodFlux(exposure, x, y, *, psf=None, area=None, psfShapes=None, model="default"):
    """Fluxes of sources on an image that was filtered with its PSF (not normalised to the PSF's square).

    The value at the position (lanczos4) times the effective area of the PSF, (sum P)^2/sum P^2. On an image that was not
    filtered it is the flux that one pixel suggests.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Positions, parent coordinates.
    psf : Psf, optional
        Default: that of the exposure.
    area : float or array_like, optional
        Effective areas, pixels, instead of a PSF.
    psfShapes : `PsfShapes`, optional
        The PSF at the positions, where it is known already.
    model : {"default", "reference"}
        "reference": kernels that reach a NaN give NaN unflagged. Rubin's code adds the image's origin twice; this one
        never does.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_PeakLikelihoodFlux_*``; flagged where the kernel leaves the image.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, (), model)
    table, prefix = emptyTable("base_PeakLikelihoodFlux", len(x), _unitOf(exposure)), "base_PeakLikelihoodFlux_"
    if len(x) == 0:
        return table
    if area is None:
        area = (PsfShapes(_psfOf(exposure, psf), x, y) if psfShapes is None else psfShapes).effectiveArea
    area = np.broadcast_to(area, len(x))
    known = np.isfinite(x) & np.isfinite(y) & np.isfinite(area)
    px, py = (np.where(known, v, -1e6) for v in (x, y))
    # The reference's nearest pixel and the kernel of eight taps around it.
    ix, iy = (np.floor(v + 0.5).astype(int) for v in (px, py))
    (tapsX, firstX), (tapsY, firstY) = (_lanczos(v - i, 4) for v, i in ((px, ix), (py, iy)))
    x0, y0 = ix + firstX - pixels.x0, iy + firstY - pixels.y0
    height, width = pixels.image.shape
    known &= (x0 >= 0) & (y0 >= 0) & (x0 + 8 <= width) & (y0 + 8 <= height)
    stamps = tapsY[:, :, None] * tapsX[:, None, :]
    found = _core.stampFlux(*pixels.planes, stamps, x0, y0, True)
    finite = np.isfinite(found["flux"]) & np.isfinite(found["fluxErr"])
    table[prefix + "flag"][:] = ~known if pixels.reference else ~(known & finite)
    for name, field in (("instFlux", "flux"), ("instFluxErr", "fluxErr")):
        table[prefix + name][:] = np.where(known, found[field] * area, np.nan)
    return table


def _lanczos(d, order):
    """(taps (n, 2 order) that move a value from 0 to the fraction d of a pixel, first pixel); the taps sum to 1."""
    first = np.where(d < 0, -order, 1 - order)
    t = first[:, None] + np.arange(2 * order) - d[:, None]
    taps = np.sinc(t) * np.sinc(t / order) * (np.abs(t) < order)
    return taps / taps.sum(axis=1, keepdims=True), first


def naiveCentroid(exposure, x, y, *, background=0.0):
    """First moments of the 3x3 pixels around peaks: for tables written by older pipelines.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Peaks, parent coordinates.
    background : float
        Level to subtract from every pixel.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_NaiveCentroid_*``; flagged positions are the peaks.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, (), "default")
    table, prefix = emptyTable("base_NaiveCentroid", len(x)), "base_NaiveCentroid_"
    height, width = pixels.image.shape
    known = np.isfinite(x) & np.isfinite(y)
    ix, iy = (np.floor(np.where(known, v, -1e6) + 0.5).astype(int) - o for v, o in ((x, pixels.x0), (y, pixels.y0)))
    inside = known & (ix >= 1) & (iy >= 1) & (ix < width - 1) & (iy < height - 1)
    step = np.arange(-1, 2)
    block = np.zeros((len(x), 3, 3))
    block[inside] = pixels.image[iy[inside, None, None] + step[:, None], ix[inside, None, None] + step] - background
    total = block.sum(axis=(1, 2))
    good = inside & np.isfinite(total) & (total != 0)
    with np.errstate(all="ignore"):
        dx, dy = ((block * w).sum(axis=(1, 2)) / total for w in (step, step[:, None]))
    table[prefix + "x"][:] = np.where(good, ix + pixels.x0 + dx, x)
    table[prefix + "y"][:] = np.where(good, iy + pixels.y0 + dy, y)
    table[prefix + "flag"][:], table[prefix + "flag_edge"][:] = ~good, ~inside
    table[prefix + "flag_noCounts"][:] = inside & ~good
    return table


def localBackground(exposure, x, y, *, psf=None, annulus=(7.0, 15.0), nSigma=3.0, numIter=3, badPlanes=None):
    """Clipped mean level in rings around sources; nothing is subtracted from other measurements.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Positions, parent coordinates.
    psf : Psf, optional
        Default: that of the exposure.
    annulus : (float, float)
        Inner and outer radius, in widths (sigma) of the PSF.
    nSigma, numIter : float, int
        Rejection about the median.
    badPlanes : sequence of str, optional
        Pixels left out. Default `BAD_PLANES` and the detected ones.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_LocalBackground_*``, the level per pixel.
    """
    x, y = _positions(x, y)
    planes = (*BAD_PLANES, "DETECTED", "DETECTED_NEGATIVE") if badPlanes is None else badPlanes
    pixels = _pixels(exposure, planes, "default")
    table, prefix = emptyTable("base_LocalBackground", len(x), _unitOf(exposure)), "base_LocalBackground_"
    if len(x) == 0:
        return table
    sigma = PsfShapes(_psfOf(exposure, psf), x, y).sigma
    found = _core.localBackground(
        *pixels.planes, x - pixels.x0, y - pixels.y0, annulus[0] * np.nan_to_num(sigma), annulus[1] * np.nan_to_num(sigma),
        float(nSigma), int(numIter),
    )  # fmt: skip
    table[prefix + "instFlux"][:], table[prefix + "instFluxErr"][:] = found["value"], found["valueErr"]
    failed = found["flagBits"] & 1 != 0
    table[prefix + "flag"][:] = failed
    table[prefix + "flag_noPsf"][:] = ~(sigma > 0)
    table[prefix + "flag_noGoodPixels"][:] = failed & (sigma > 0)
    return table
