"""Relative astrometry: refit the WCS of one image so that its sources fall on those of another.

The image whose WCS is refitted is called *input*, the one that it shall agree with *target*: for a subtraction, the
template and the science image.
"""

import logging
from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from ..errors import DomainError, NoDataError
from ..psf import WarpedPsf
from ..warp import Warper
from ..wcs import pairTransform
from .distortion import Polynomial2, fitPolynomial, tanSipWcs

__all__ = [
    "RegistrationResult",
    "SourceMatches",
    "fitAstrometry",
    "fitRelativeWcs",
    "matchOnSky",
    "residualsByColour",
    "skyPositions",
    "sourcePositions",
    "warpToTarget",
    "warpedSources",
]

_log = logging.getLogger("stillsky.diffim.register")
_ARCSEC = np.radians(1 / 3600)
_SMALLEST_RMS = 1e-9  # arcsec: what is left of exact positions is rounding
_MATCHES_PER_TERM = 3
_PIXEL_COLUMNS = (("slot_Centroid_x", "slot_Centroid_y"), ("base_SdssCentroid_x", "base_SdssCentroid_y"),
                  ("centroid_x", "centroid_y"), ("x", "y"))  # fmt: skip


@dataclass(frozen=True)
class SourceMatches:
    """Pairs of sources, by their rows; iterates over (first, second, distance).

    Attributes
    ----------
    first : `numpy.ndarray` of int
        Rows of the target sources.
    second : `numpy.ndarray` of int
        Rows of the input sources.
    distance : `numpy.ndarray`
        Separation, arcsec.
    """

    first: np.ndarray
    second: np.ndarray
    distance: np.ndarray

    def __len__(self):
        return len(self.first)

    def __iter__(self):
        return iter(zip(self.first.tolist(), self.second.tolist(), self.distance.tolist()))


@dataclass(frozen=True)
class RegistrationResult:
    """A refitted WCS and how well it fits.

    Attributes
    ----------
    wcs : `stillsky.wcs.SkyWcs`
        Of the input image, TAN-SIP.
    matches : `SourceMatches`
        All of them.
    used : `numpy.ndarray` of bool
        Which matches the last fit kept.
    order : `int`
        Of the polynomial that was fitted.
    rmsPixels, rmsArcsec : `float`
        Residual of the matches kept.
    warnings : `list` [`str`]
    """

    wcs: object
    matches: SourceMatches
    used: np.ndarray
    order: int
    rmsPixels: float
    rmsArcsec: float
    warnings: list = field(default_factory=list)

    @property
    def metadata(self):
        """MATCH_NUM, SIP_RMS (pixels), SIP_GOOD, SIP_REJECTED, SIP_ORDER."""
        good = int(np.count_nonzero(self.used))
        return {
            "MATCH_NUM": len(self.matches),
            "SIP_RMS": float(self.rmsPixels),
            "SIP_GOOD": good,
            "SIP_REJECTED": len(self.matches) - good,
            "SIP_ORDER": self.order,
        }


# ------------------------------------------------------------------------------------------------ catalogues


def sourcePositions(sources):
    """Pixel positions (x, y) of a catalogue, from its centroid columns; DomainError when it has none."""
    for x, y in _PIXEL_COLUMNS:
        if x in sources.colnames and y in sources.colnames:
            return _plain(sources[x]), _plain(sources[y])
    raise DomainError(
        f"sources: wanted columns {' or '.join(x for x, _ in _PIXEL_COLUMNS)} (and y), given {sources.colnames}"
    )


def skyPositions(sources):
    """(ra, dec) of a catalogue, radians; DomainError without coord_ra and coord_dec."""
    missing = [name for name in ("coord_ra", "coord_dec") if name not in sources.colnames]
    if missing:
        raise DomainError(f"sources: wanted columns coord_ra and coord_dec, missing {missing}")
    return tuple(_radians(sources[name]) for name in ("coord_ra", "coord_dec"))


def _radians(column):
    unit = getattr(column, "unit", None)
    return _plain(column) if unit is None else np.asarray(column.quantity.to_value("rad"), float)


def _plain(column):
    return np.ma.filled(np.ma.asarray(column, float), np.nan)


def _vectors(ra, dec):
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])


# ------------------------------------------------------------------------------------------------ matching


def matchOnSky(target, source, radius):
    """Pair the sources of two lists by position.

    Parameters
    ----------
    target, source : (ra, dec), radians
        Positions that are not finite match nothing.
    radius : `float`
        Largest separation, arcsec.

    Returns
    -------
    matches : `SourceMatches`
        Each source in one pair at most.

    Notes
    -----
    The offset that most pairs within the radius share is found first; then those are paired that are each other's nearest
    once it is taken out, so that an offset comparable to the distances between sources confuses nothing.
    """
    lists = [np.column_stack([np.asarray(v, float) for v in p]).reshape(-1, 2) for p in (target, source)]
    rows = [np.flatnonzero(np.isfinite(p).all(axis=1)) for p in lists]
    a, b = (_vectors(*p[r].T) for p, r in zip(lists, rows))
    none = np.zeros(0, int)
    if not (len(a) and len(b)):
        return SourceMatches(none, none, np.zeros(0))
    near = cKDTree(a).sparse_distance_matrix(cKDTree(b), _chord(radius), output_type="coo_matrix")
    if not near.nnz:
        return SourceMatches(none, none, np.zeros(0))
    i, j = near.row, near.col
    offset = b[j] - a[i]
    residual = np.linalg.norm(offset - _commonOffset(offset, 0.1 * _chord(radius)), axis=1)
    keep = _mutualNearest(i, j, residual)
    i, j = i[keep], j[keep]
    order = np.argsort(i, kind="stable")
    i, j = i[order], j[order]
    distance = 2 * np.arcsin(0.5 * np.linalg.norm(b[j] - a[i], axis=1)) / _ARCSEC
    return SourceMatches(rows[0][i], rows[1][j], distance)


def _chord(arcsec):
    return 2 * np.sin(0.5 * arcsec * _ARCSEC)


def _commonOffset(offsets, scale):
    """Median of the offsets in the densest ball of a radius."""
    tree = cKDTree(offsets)
    sample = offsets if len(offsets) <= 3000 else offsets[:: len(offsets) // 3000 + 1]
    counts = tree.query_ball_point(sample, scale, return_length=True)
    return np.median(offsets[tree.query_ball_point(sample[np.argmax(counts)], scale)], axis=0)


def _mutualNearest(i, j, distance):
    """Which pairs are the best one of both of their members."""
    order = np.argsort(distance, kind="stable")
    best = np.zeros(len(i), bool)
    firsts = [np.unique(k[order], return_index=True)[1] for k in (i, j)]
    mask = [np.zeros(len(i), bool), np.zeros(len(i), bool)]
    for m, f in zip(mask, firsts):
        m[order[f]] = True
    np.logical_and(*mask, out=best)
    return best


# ------------------------------------------------------------------------------------------------ the fit


def fitRelativeWcs(inputSources, inputWcs, inputBBox, targetSources, config=None):
    """Match two catalogues on the sky and refit the WCS of the input image.

    Parameters
    ----------
    inputSources : `astropy.table.Table`
        Sources of the image whose WCS is refitted: pixel centroids and coord_ra, coord_dec.
    inputWcs, inputBBox
        Its WCS and box.
    targetSources : `astropy.table.Table`
        Sources of the image it shall agree with; their sky positions count.
    config : `stillsky.diffim.register_config.RegisterConfig`, optional

    Returns
    -------
    result : `RegistrationResult`

    Raises
    ------
    NoDataError
        Nothing matches (a RuntimeError).

    Notes
    -----
    A polynomial in pixels is fitted to the differences between where the old WCS puts a target and where its source is,
    so that what the old WCS knows of the distortion is kept where matches are few; in rounds, each of which keeps what
    lies within ``sipRej`` times the rms (about zero). The product with the old WCS is written as TAN-SIP.
    """
    config = _orDefault(config)
    matches = matchOnSky(skyPositions(targetSources), skyPositions(inputSources), config.matchRadius)
    pixels = np.column_stack(sourcePositions(inputSources))[matches.second]
    ra, dec = (v[matches.first] for v in skyPositions(targetSources))
    wanted = np.column_stack(inputWcs.skyToPixel(ra, dec)).reshape(-1, 2)
    usable = np.isfinite(pixels).all(axis=1) & np.isfinite(wanted).all(axis=1)
    if not usable.any():
        raise NoDataError(
            "Unable to match source catalogs",
            found=f"{len(targetSources)} and {len(inputSources)} sources, none within {config.matchRadius:g} arcsec",
        )
    order, warnings = _affordableOrder(config.sipOrder, int(usable.sum()))
    scale = inputWcs.pixelScale(*inputBBox.center) / _ARCSEC
    model, used = _fitRobustly(pixels, wanted, usable, order, inputBBox, config, scale)
    residual = np.hypot(*(wanted - model(pixels))[used].T)
    rms = float(np.sqrt(np.mean(residual**2)))
    for sentence in warnings:
        _log.warning("%s", sentence)
    wcs = tanSipWcs(inputWcs, inputBBox, model)
    return RegistrationResult(wcs, matches, used, order, rms, rms * scale, warnings)


def fitAstrometry(templateSources, templateExposure, selectSources, config=None):
    """Refit the WCS of a template to the sources of the science image; see `fitRelativeWcs`."""
    return fitRelativeWcs(templateSources, templateExposure.wcs, templateExposure.bbox, selectSources, config)


def _orDefault(config):
    if config is None:
        from .register_config import RegisterConfig

        config = RegisterConfig()
    return config


def _affordableOrder(order, nMatches):
    wanted = order
    while order > 0 and nMatches < _MATCHES_PER_TERM * Polynomial2.numTerms(order):
        order -= 1
    if order == wanted:
        return order, []
    return order, [
        f"{nMatches} matches are too few for a polynomial of order {wanted}, which wants"
        f" {_MATCHES_PER_TERM * Polynomial2.numTerms(wanted)}: order {order} is fitted"
    ]


def _fitRobustly(pixels, wanted, usable, order, bbox, config, scale):
    """The polynomial from pixels to corrected pixels, and which matches it rests on."""
    used = usable.copy()
    for _ in range(config.sipIter):
        model = fitPolynomial(pixels[used], wanted[used], order, bbox)
        residual = np.hypot(*(wanted - model(pixels)).T) * scale
        rms = max(float(np.sqrt(np.mean(residual[used] ** 2))), _SMALLEST_RMS)
        with np.errstate(invalid="ignore"):
            kept = usable & (residual < config.sipRej * rms)
        if np.array_equal(kept, used) or np.count_nonzero(kept) < Polynomial2.numTerms(order):
            break
        used = kept
    return fitPolynomial(pixels[used], wanted[used], order, bbox), used


# ------------------------------------------------------------------------------------------------ applying it


def warpToTarget(inputExposure, newWcs, targetWcs, targetBBox, config=None):
    """Resample the input image, with its new WCS, to the target's grid.

    Parameters
    ----------
    inputExposure : `stillsky.image.Exposure`
        Not changed.
    newWcs, targetWcs : `stillsky.wcs.SkyWcs`
    targetBBox : `stillsky.geom.Box2I`
    config : `stillsky.diffim.register_config.RegisterConfig`, optional

    Returns
    -------
    warped : `stillsky.image.Exposure`
        With the target's WCS, the warped PSF, and photoCalib, filter and visitInfo of the input.
    """
    source = type(inputExposure)(inputExposure.maskedImage, inputExposure.info)
    source.wcs, source.psf = newWcs, None
    warped = Warper.fromConfig(_orDefault(config).warper).warpExposure(targetWcs, source, destBBox=targetBBox)
    if inputExposure.psf is not None:
        warped.psf = WarpedPsf(inputExposure.psf, pairTransform(newWcs, targetWcs))
    return warped


def warpedSources(inputSources, newWcs, targetWcs, targetBBox):
    """Sources of the input image where they lie on the target's grid.

    Parameters
    ----------
    inputSources : `astropy.table.Table`
        Not changed.
    newWcs, targetWcs : `stillsky.wcs.SkyWcs`
    targetBBox : `stillsky.geom.Box2I`

    Returns
    -------
    sources : `astropy.table.Table`
        A copy with new pixel and sky positions; sources outside the box are left out.
    """
    table = inputSources.copy()
    ra, dec = newWcs.pixelToSky(*sourcePositions(inputSources))
    x, y = targetWcs.skyToPixel(ra, dec)
    for names in _PIXEL_COLUMNS:
        if names[0] in table.colnames and names[1] in table.colnames:
            table[names[0]][:], table[names[1]][:] = x, y
    for name, value in (("coord_ra", ra), ("coord_dec", dec)):
        if name in table.colnames:
            column = table[name]
            column[:] = value if column.unit is None else np.degrees(value) if str(column.unit) == "deg" else value
    with np.errstate(invalid="ignore"):
        inside = (
            (x >= targetBBox.minX - 0.5) & (x < targetBBox.maxX + 0.5)
            & (y >= targetBBox.minY - 0.5) & (y < targetBBox.maxY + 0.5)
        )  # fmt: skip
    return table[inside]


def residualsByColour(result, inputSources, targetSources, colour, grMin, grMax):
    """Offsets that are left after the fit, for blue, green and red sources.

    Parameters
    ----------
    result : `RegistrationResult`
    inputSources, targetSources : `astropy.table.Table`
        As for the fit.
    colour : array
        g - r of the target sources, by row; NaN belongs to no bin.
    grMin, grMax : `float`
        Blue lies below, red above, green between (both included).

    Returns
    -------
    metadata : `dict`
        ``Register{Blue,Green,Red}{Long,Lat}Offset{Median,Std}``, arcsec, tangent-plane components of target minus
        source; Std is 0.741 times the interquartile range. NaN for an empty bin.
    long, lat : `numpy.ndarray`
        The offsets of all matches.
    """
    matches = result.matches
    ra, dec = (v[matches.first] for v in skyPositions(targetSources))
    newRa, newDec = result.wcs.pixelToSky(*(v[matches.second] for v in sourcePositions(inputSources)))
    long = ((ra - newRa + np.pi) % (2 * np.pi) - np.pi) * np.cos(dec) / _ARCSEC
    lat = (dec - newDec) / _ARCSEC
    colour = np.asarray(colour, float)[matches.first]
    bins = {"Blue": colour < grMin, "Green": (colour >= grMin) & (colour <= grMax), "Red": colour > grMax}
    metadata = {}
    for name, members in bins.items():
        for axis, values in (("Long", long), ("Lat", lat)):
            quartiles = np.percentile(values[members], (25, 50, 75)) if members.any() else np.full(3, np.nan)
            metadata[f"Register{name}{axis}OffsetMedian"] = float(quartiles[1])
            metadata[f"Register{name}{axis}OffsetStd"] = 0.741 * float(quartiles[2] - quartiles[0])
    return metadata, long, lat
