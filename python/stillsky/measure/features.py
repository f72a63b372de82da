"""Features of candidates: a documented vector that tells real sources from artefacts."""

import numpy as np

from .. import _core
from ..detection.sources import emptySourceTable
from .algorithms import _pixels, _positions, _psfOf, _signs
from .psf_stamps import PsfShapes, chunks, starImages

#: Mask planes whose share of the pixels near a source is a feature: suffix -> planes.
MASK_FEATURES = {
    "Bad": ("BAD", "NO_DATA"),
    "Saturated": ("SAT", "SAT_TEMPLATE"),
    "CosmicRay": ("CR",),
    "Interpolated": ("INTRP",),
    "Edge": ("EDGE",),
    "Streak": ("STREAK", "SPIKE"),
}
#: Radius of these shares, pixels.
MASK_RADIUS = 5.0
#: Radius of the other features, in widths (sigma) of the PSF.
RADIUS = 2.5

_F8 = np.float64
FEATURE_COLUMNS = (
    ("psfChi2", _F8, None, "chi-square per degree of freedom of the PSF within 2.5 sigma: 1 for a point source"),
    (
        "sharpness",
        _F8,
        None,
        "centre minus mean of its 8 neighbours, in units of the fitted PSF's: 1 for a point source",
    ),
    ("dipoleDeltaChi2", _F8, None, "chi-square gained by adding the PSF's gradients to the PSF: 2 for a point source"),
    ("dipoleMoment", _F8, None, "length of the fitted gradient over its standard deviation"),
    ("negativeFraction", _F8, None, "share of pixels of the wrong sign in the absolute flux: 0.5 for noise"),
    ("asymmetry", _F8, None, "flux that changes under a turn by 180 degrees over all flux, noise subtracted"),
    ("widthRatio", _F8, None, "root of the source's over the PSF's xx + yy; NaN where the shape is flagged"),
    *(
        (f"maskFraction{name}", _F8, None, f"share of the pixels within 5 pixels that are {' or '.join(planes)}")
        for name, planes in MASK_FEATURES.items()
    ),
    ("maskFractionOff", _F8, None, "share of the pixels within 5 pixels that are off the image"),
    ("nearestStar", _F8, "pix", "distance to the nearest star given; NaN without stars"),
)


def candidateFeatures(exposure, x, y, *, isNegative=False, psf=None, shapes=None, stars=None, badPlanes=None):
    """Features of sources of a difference image.

    Parameters
    ----------
    exposure : Exposure
        The difference.
    x, y : array_like
        Centroids, parent coordinates.
    isNegative : bool or array_like of bool
        Polarity.
    psf : Psf, optional
        Default: that of the exposure.
    shapes : `astropy.table.Table`, optional
        Columns of `sdssShape` with the PSF's moments, for ``widthRatio``.
    stars : (array_like, array_like), optional
        Positions of stars, parent coordinates, for ``nearestStar``.
    badPlanes : sequence of str, optional
        Pixels left out. Default `BAD_PLANES`.

    Returns
    -------
    table : `astropy.table.Table`
        `FEATURE_COLUMNS`, NaN where a feature could not be measured.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, badPlanes, "default")
    table = emptySourceTable(FEATURE_COLUMNS, len(x))
    if len(x) == 0:
        return table
    psf = _psfOf(exposure, psf)
    sigma = np.nan_to_num(PsfShapes(psf, x, y).sigma)
    signs = np.where(_signs(isNegative, len(x)) != 0, -1, 1)
    for part in chunks(len(x)):
        images, x0, y0, _ = starImages(psf, x[part], y[part])
        found = _core.sourceFeatures(
            *pixels.planes, images, x0 - pixels.x0, y0 - pixels.y0, x[part] - pixels.x0, y[part] - pixels.y0,
            RADIUS * sigma[part], signs[part],
        )  # fmt: skip
        for name in ("psfChi2", "sharpness", "dipoleDeltaChi2", "dipoleMoment", "negativeFraction", "asymmetry"):
            table[name][part] = found[name]
    mask = getattr(exposure, "maskedImage", exposure).mask
    bits = [mask.bitmask(list(planes), ignoreMissing=True) for planes in MASK_FEATURES.values()]
    shares = _core.maskFractions(pixels.mask, x - pixels.x0, y - pixels.y0, MASK_RADIUS, np.array(bits))
    for name, column in zip((*MASK_FEATURES, "Off"), shares.reshape(len(x), -1).T, strict=True):
        table["maskFraction" + name][:] = column
    if shapes is not None:
        table["widthRatio"][:] = _widthRatio(shapes)
    if stars is not None and len(stars[0]):
        table["nearestStar"][:] = _nearest(x, y, *stars)
    return table


def _widthRatio(shapes):
    size, psfSize = (
        np.asarray(shapes[f"base_SdssShape_{a}"], float) + np.asarray(shapes[f"base_SdssShape_{b}"], float)
        for a, b in (("xx", "yy"), ("psf_xx", "psf_yy"))
    )
    bad = np.asarray(shapes["base_SdssShape_flag"]) | ~(psfSize > 0) | ~(size > 0)
    with np.errstate(all="ignore"):
        return np.where(bad, np.nan, np.sqrt(size / psfSize))


def _nearest(x, y, starX, starY):
    from scipy.spatial import cKDTree

    known = np.isfinite(x) & np.isfinite(y)
    out = np.full(len(x), np.nan)
    stars = np.column_stack([starX, starY]).astype(float)
    stars = stars[np.isfinite(stars).all(axis=1)]
    if known.any() and len(stars):
        out[known] = cKDTree(stars).query(np.column_stack([x[known], y[known]]))[0]
    return out
