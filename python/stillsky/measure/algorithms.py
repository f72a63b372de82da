"""The measurement algorithms, each for all sources at once. Failures are flags, never exceptions."""

from dataclasses import dataclass

import numpy as np

from .. import _core, errors
from ..detection.planes import asImageArray, asMaskArray, asVarianceArray
from .psf_stamps import PsfKernels, PsfShapes, chunks, starImages
from .schema import PIXEL_FLAG_PLANES, emptyTable

#: Mask planes whose pixels are not used, except with ``model="reference"``.
BAD_PLANES = ("BAD", "SAT", "CR", "NO_DATA")
MODELS = ("default", "reference")


@dataclass
class _Pixels:
    """What the compiled code gets: arrays, origin, bad bits."""

    image: np.ndarray
    variance: np.ndarray
    mask: np.ndarray
    x0: int
    y0: int
    bits: int
    reference: bool

    @property
    def planes(self):
        return self.image, self.variance, self.mask, self.bits


def _pixels(exposure, badPlanes, model):
    if model not in MODELS:
        raise errors.DomainError(f"model: wanted one of {', '.join(MODELS)}, got {model!r}")
    masked = getattr(exposure, "maskedImage", exposure)
    image = asImageArray(masked.image)
    planes = (BAD_PLANES if model == "default" else ()) if badPlanes is None else badPlanes
    bits = masked.mask.bitmask(list(planes), ignoreMissing=True)
    x0, y0 = (int(v) for v in masked.xy0)
    return _Pixels(
        image,
        asVarianceArray(masked.variance, image.shape),
        asMaskArray(masked.mask, image.shape),
        x0,
        y0,
        bits,
        model == "reference",
    )


def _positions(x, y):
    x, y = (np.atleast_1d(np.asarray(v, np.float64)) for v in (x, y))
    if x.shape != y.shape or x.ndim != 1:
        raise errors.ShapeError(f"positions: wanted x and y of one length, got shapes {x.shape} and {y.shape}")
    return x, y


def _signs(isNegative, n):
    return np.ascontiguousarray(np.broadcast_to(np.asarray(isNegative, bool), n), np.int8)


def _psfOf(exposure, psf):
    psf = getattr(exposure, "psf", None) if psf is None else psf
    if psf is None:
        raise errors.InvalidPsfError("measurement: the exposure has no PSF; give psf")
    return psf


def _packedFootprints(footprints, n, pixels):
    """(spans, offsets) in local coordinates, or None."""
    if footprints is None:
        return None
    spans, offsets = footprints._packed[:2]
    if len(offsets) != n + 1:
        raise errors.ShapeError(f"footprints: {len(offsets) - 1} footprints for {n} positions")
    return spans - np.array([pixels.y0, pixels.x0, pixels.x0], np.int32), offsets


def _setFlags(table, prefix, bits, names):
    for bit, name in names.items():
        table[prefix + name][:] = bits & bit != 0


def _unitOf(exposure):
    metadata = getattr(exposure, "metadata", None)
    return "nJy" if metadata is not None and str(metadata.get("BUNIT", "")).strip() == "nJy" else "count"


def sdssCentroid(
    exposure,
    x,
    y,
    *,
    footprints=None,
    isNegative=False,
    psf=None,
    kernels=None,
    sigma=None,
    badPlanes=None,
    binmax=16,
    wfac=1.5,
    peakMin=-1.0,
    maxDistToPeak=-1.0,
    doFootprintCheck=True,
    model="default",
):
    """Centroids: the maximum of the PSF-smoothed image by quartic interpolation (Pier et al. 2003, AJ 125, 1559).

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Starting positions (peaks), parent coordinates.
    footprints : `FootprintSet`, optional
        One per position, for the footprint check.
    isNegative : bool or array_like of bool
        Sources that are minima.
    psf : Psf, optional
        Default: that of the exposure.
    kernels, sigma : arrays, optional
        PSF images (n or 1, height, width), centred on a pixel, and their widths, instead of a PSF.
    badPlanes : sequence of str, optional
        Pixels left out (replaced by the fitted PSF). Default `BAD_PLANES`; none for ``model="reference"``.
    binmax, wfac, peakMin : int, float, float
        Largest binning of wide sources, their limit, least smoothed peak.
    maxDistToPeak : float
        Positions farther from the start are reset, pixels; negative: no limit.
    doFootprintCheck : bool
        Reset positions outside their footprints.
    model : {"default", "reference"}
        "reference" gives Rubin's numbers: every pixel used as it is, a 5x5 Gaussian near edges, the sky's variance
        counted twice in the errors.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_SdssCentroid_*``; see `schema.CENTROID`.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, badPlanes, model)
    table = emptyTable("base_SdssCentroid", len(x))
    if len(x) == 0:
        return table
    psf = _psfOf(exposure, psf) if kernels is None else None
    if kernels is not None:
        kernels = np.asarray(kernels, np.float64)
    start = [_startPixels(v, o) for v, o in ((x, pixels.x0), (y, pixels.y0))]
    if sigma is not None:
        sigma = np.broadcast_to(np.asarray(sigma, float), len(x))
    signs, packed = _signs(isNegative, len(x)), _packedFootprints(footprints, len(x), pixels)
    for part in chunks(len(x)):
        regions = None
        if packed is not None:
            regions = (packed[0], packed[1][part.start : part.stop + 1])
        shapes = PsfKernels(psf, x[part], y[part]) if kernels is None else None
        stack = _kernelsOf(shapes, kernels, part)
        width = np.ascontiguousarray(shapes.sigma if sigma is None else sigma[part])
        found = _core.sdssCentroid(
            *pixels.planes, start[0][part], start[1][part], signs[part], stack, width, regions, int(binmax),
            float(wfac), float(peakMin), float(maxDistToPeak), bool(doFootprintCheck), pixels.reference,
        )  # fmt: skip
        _fillCentroids(table[part], found, x[part], y[part], pixels)
    return table


def _startPixels(values, origin):
    """Local pixels; positions that are not finite fall off the image."""
    near = np.where(np.isfinite(values) & (np.abs(values) < 1e9), values, -1e9)
    return (np.floor(near + 0.5) - origin).astype(np.int32)


def _kernelsOf(shapes, kernels, part):
    if shapes is None:
        return kernels if len(kernels) == 1 else kernels[part]
    index = shapes.index
    if len(shapes.kernels) == 0:
        return np.full((1, 1, 1), np.nan)
    if len(shapes.kernels) == 1 and (index >= 0).all():
        return shapes.kernels
    if len(shapes.kernels) == len(index):
        return shapes.kernels
    stack = shapes.kernels[np.maximum(index, 0)]
    stack[index < 0] = np.nan
    return stack


def _fillCentroids(rows, found, x, y, pixels):
    prefix = "base_SdssCentroid_"
    bits = found["flagBits"]
    # A source that keeps its start keeps it exactly.
    kept = bits & (2 | 4 | 16 | 128) != 0
    rows[prefix + "x"][:] = np.where(kept, x, found["x"] + pixels.x0)
    rows[prefix + "y"][:] = np.where(kept, y, found["y"] + pixels.y0)
    rows[prefix + "xErr"][:], rows[prefix + "yErr"][:] = found["xErr"], found["yErr"]
    _setFlags(rows, prefix, bits, {
        1: "flag", 2: "flag_edge", 4: "flag_noSecondDerivative", 8: "flag_almostNoSecondDerivative",
        16: "flag_notAtMaximum", 32: "flag_near_edge", 64: "flag_badError", 128: "flag_resetToPeak",
        256: "flag_masked",
    })  # fmt: skip


def psfFlux(exposure, x, y, *, psf=None, stamps=None, badPlanes=None, model="default"):
    """Least-squares fluxes of the PSF at fixed positions, not weighted by the variance.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Positions, parent coordinates.
    psf : Psf, optional
        Default: that of the exposure; its `computeImage` makes the model at each position.
    stamps : (array, x0, y0), optional
        Model images (n, height, width) and the parent coordinates of their first pixels, instead of a PSF.
    badPlanes : sequence of str, optional
        Pixels left out. Default `BAD_PLANES`; none for ``model="reference"``.
    model : {"default", "reference"}
        "reference": a value that is not finite under the PSF fails the source instead of being left out.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_PsfFlux_*``; see `schema.PSF_FLUX`.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, badPlanes, model)
    prefix = "base_PsfFlux_"
    table = emptyTable("base_PsfFlux", len(x), _unitOf(exposure))
    psf = _psfOf(exposure, psf) if stamps is None else None
    for part in chunks(len(x)):
        if stamps is None:
            images, x0, y0, ok = starImages(psf, x[part], y[part])
        else:
            images, x0, y0 = stamps[0][part], *(np.asarray(v)[part] for v in stamps[1:])
            ok = np.ones(len(images), bool)
        found = _core.psfFlux(*pixels.planes, images, x0 - pixels.x0, y0 - pixels.y0, pixels.reference)
        rows, bits = table[part], np.where(ok, found["flagBits"], 3)
        with np.errstate(over="ignore"):  # chi2 in the column's float32: infinite where the image has next to no noise
            for name, field in (("instFlux", "flux"), ("instFluxErr", "fluxErr"), ("area", "area"), ("chi2", "chi2")):
                rows[prefix + name][:] = np.where(ok, found[field], np.nan)
        rows[prefix + "npixels"][:] = np.where(ok, found["nPixels"], 0)
        _setFlags(rows, prefix, bits, {1: "flag", 2: "flag_noGoodPixels", 4: "flag_edge", 8: "flag_masked"})
    return table


def sdssShape(
    exposure,
    x,
    y,
    *,
    isNegative=False,
    psf=None,
    badPlanes=None,
    background=0.0,
    maxIter=100,
    maxShift=0.0,
    tol1=1e-5,
    tol2=1e-4,
    doMeasurePsf=True,
    psfShapes=None,
    model="default",
):
    """Adaptive moments about fixed positions, with the moments of the PSF beside them.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Positions, parent coordinates.
    isNegative : bool or array_like of bool
        Sources that are minima: every test of sign is reversed.
    psf : Psf, optional
        Default: that of the exposure; without any, ``psf_*`` are NaN and ``flag_psf`` is set.
    badPlanes : sequence of str, optional
        Pixels left out (replaced by the current Gaussian). Default `BAD_PLANES`; none for ``model="reference"``.
    background, maxIter, maxShift, tol1, tol2
        Level to subtract; rounds; greatest shift of the centroid (clamped to [2, 10] pixels); tolerances of ellipticity
        and size.
    doMeasurePsf : bool
        Fill ``psf_*``.
    psfShapes : `PsfShapes`, optional
        The PSF at the positions, where it is known already.
    model : {"default", "reference"}
        "reference": every pixel is used as it is.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_SdssShape_*``; see `schema.SHAPE`.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, badPlanes, model)
    prefix = "base_SdssShape_"
    table = emptyTable("base_SdssShape", len(x), _unitOf(exposure))
    found = _core.sdssShape(
        *pixels.planes, x - pixels.x0, y - pixels.y0, _signs(isNegative, len(x)), float(background), int(maxIter),
        float(maxShift), float(tol1), float(tol2), pixels.reference,
    )  # fmt: skip
    for name in ("xx", "yy", "xy", "xxErr", "yyErr", "xyErr"):
        table[prefix + name][:] = found[name]
    table[prefix + "x"][:], table[prefix + "y"][:] = found["x"] + pixels.x0, found["y"] + pixels.y0
    for name, field in (
        ("instFlux", "flux"),
        ("instFluxErr", "fluxErr"),
        ("instFlux_xx_Cov", "fluxXxCov"),
        ("instFlux_yy_Cov", "fluxYyCov"),
        ("instFlux_xy_Cov", "fluxXyCov"),
    ):
        table[prefix + name][:] = found[field]
    _setFlags(table, prefix, found["flagBits"], {
        1: "flag", 2: "flag_unweightedBad", 4: "flag_unweighted", 8: "flag_shift", 16: "flag_maxIter", 32: "flag_masked",
    })  # fmt: skip
    if doMeasurePsf and len(x):
        psf = getattr(exposure, "psf", None) if psf is None else psf
        moments = np.full((len(x), 3), np.nan)
        if psf is not None or psfShapes is not None:
            moments = (PsfShapes(psf, x, y) if psfShapes is None else psfShapes).moments
        for name, values in zip(("psf_xx", "psf_yy", "psf_xy"), moments.T, strict=True):
            table[prefix + name][:] = values
        table[prefix + "flag_psf"][:] = ~np.isfinite(moments).all(axis=1)
    return table


def sizeExtendedness(shapes):
    """How much larger than the PSF sources are: 1 - exp(-(T - T_P)^2/(2 T_P)), T = xx + yy of source and PSF.

    Parameters
    ----------
    shapes : `astropy.table.Table`
        As `sdssShape` returns it, with the moments of the PSF.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_ClassificationSizeExtendedness_value`` (0: as small as the PSF, 1: much larger; NaN where the
        shape of source or PSF is flagged) and ``_flag``.
    """
    table = emptyTable("base_ClassificationSizeExtendedness", len(shapes))
    prefix = "base_SdssShape_"
    size, psfSize = (
        np.asarray(shapes[prefix + a], float) + np.asarray(shapes[prefix + b], float)
        for a, b in (("xx", "yy"), ("psf_xx", "psf_yy"))
    )
    bad = np.asarray(shapes[prefix + "flag"]) | np.asarray(shapes[prefix + "flag_psf"]) | ~(psfSize > 0)
    with np.errstate(all="ignore"):
        value = -np.expm1(-0.5 * (size - psfSize) ** 2 / psfSize)
    table["base_ClassificationSizeExtendedness_value"][:] = np.where(bad, np.nan, value)
    table["base_ClassificationSizeExtendedness_flag"][:] = bad
    return table


def gaussianFlux(exposure, x, y, xx, yy, xy, *, badPlanes=None, model="default"):
    """Fluxes of elliptical Gaussians with known centres and moments.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Positions, parent coordinates.
    xx, yy, xy : array_like
        Second moments, square pixels; NaN or not positive definite: flagged.
    badPlanes : sequence of str, optional
        Pixels left out. Default `BAD_PLANES`; none for ``model="reference"``.
    model : {"default", "reference"}
        "reference": every pixel is used as it is.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_GaussianFlux_*``; see `schema.GAUSSIAN_FLUX`.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, badPlanes, model)
    prefix = "base_GaussianFlux_"
    table = emptyTable("base_GaussianFlux", len(x), _unitOf(exposure))
    found = _core.gaussianFlux(
        *pixels.planes, x - pixels.x0, y - pixels.y0, *(np.asarray(v, float) for v in (xx, yy, xy)), pixels.reference
    )
    table[prefix + "instFlux"][:], table[prefix + "instFluxErr"][:] = found["flux"], found["fluxErr"]
    _setFlags(table, prefix, found["flagBits"], {1: "flag", 2: "flag_masked"})
    return table


def pixelFlags(exposure, x, y, *, footprints=None, extraPlanes=()):
    """Which mask planes touch footprints and centres.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    x, y : array_like
        Positions, parent coordinates.
    footprints : `FootprintSet`, optional
        One per position; without, the footprint columns stay False.
    extraPlanes : sequence of str
        Further planes; their columns carry the lower-case name. A plane that the mask lacks counts as not set.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``base_PixelFlags_*``; see `schema.pixelFlagColumns`.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, (), "default")
    mask = getattr(exposure, "maskedImage", exposure).mask
    prefix = "base_PixelFlags_flag"
    table = emptyTable("base_PixelFlags", len(x), extraPlanes=extraPlanes)
    found = _core.pixelFlags(
        pixels.mask, x - pixels.x0, y - pixels.y0, _packedFootprints(footprints, len(x), pixels) if len(x) else None
    )
    finite = np.isfinite(x) & np.isfinite(y)
    off = found["offImage"] & finite
    table[prefix][:] = ~finite
    table[prefix + "_offimage"][:] = off
    for suffix, plane in {**PIXEL_FLAG_PLANES, **{p.lower(): p for p in extraPlanes}}.items():
        bit = mask.bitmask([plane], ignoreMissing=True)
        for ending, field in (("", "footprint"), ("Center", "center"), ("CenterAll", "centerAll")):
            table[f"{prefix}_{suffix}{ending}"][:] = (found[field] & bit != 0) | (off & (suffix == "edge"))
    return table


def skyCoord(exposure, x, y, xErr=None, yErr=None, *, wcs=None):
    """Sky coordinates of positions, with errors by linear propagation.

    Parameters
    ----------
    exposure : Exposure
        Gives the WCS.
    x, y : array_like
        Positions, parent coordinates.
    xErr, yErr : array_like, optional
        Standard deviations, pixels, taken as independent.
    wcs : SkyWcs, optional
        Default: that of the exposure.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``coord_*``; see `schema.SKY_COORD`.

    Raises
    ------
    StillskyError
        No WCS.
    """
    x, y = _positions(x, y)
    wcs = getattr(exposure, "wcs", None) if wcs is None else wcs
    if wcs is None:
        raise errors.StillskyError("skyCoord: the exposure has no WCS; give wcs")
    table = emptyTable("base_SkyCoord", len(x))
    if len(x) == 0:
        return table
    ra, dec = wcs.pixelToSky(x, y)
    table["coord_ra"][:], table["coord_dec"][:] = ra, dec
    if xErr is None or yErr is None:
        return table
    # Central differences over one pixel; right ascension may pass through 0.
    dx = [b - a for a, b in zip(wcs.pixelToSky(x - 0.5, y), wcs.pixelToSky(x + 0.5, y), strict=True)]
    dy = [b - a for a, b in zip(wcs.pixelToSky(x, y - 0.5), wcs.pixelToSky(x, y + 0.5), strict=True)]
    dx[0], dy[0] = ((d + np.pi) % (2 * np.pi) - np.pi for d in (dx[0], dy[0]))
    vx, vy = (np.asarray(v, float) ** 2 for v in (xErr, yErr))
    table["coord_raErr"][:] = np.sqrt(dx[0] ** 2 * vx + dy[0] ** 2 * vy)
    table["coord_decErr"][:] = np.sqrt(dx[1] ** 2 * vx + dy[1] ** 2 * vy)
    table["coord_ra_dec_Cov"][:] = dx[0] * dx[1] * vx + dy[0] * dy[1] * vy
    return table
