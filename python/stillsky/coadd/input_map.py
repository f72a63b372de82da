"""Which input contributed where on the sky: a sparse HEALPix map with a bit for each detector exposure of a coadd."""

import numpy as np

from ..errors import NoDataError, NotFoundError
from ..geom import Box2D
from ..image import CoaddInputs
from .input_map_config import InputMapConfig

__all__ = ["makeInputMap", "requireHealsparse"]

_ROWS = 512  # of a mask at a time


def requireHealsparse():
    """The package healsparse; NotFoundError says how to get it."""
    try:
        import healsparse
    except ModuleNotFoundError as error:
        if error.name not in ("healsparse", "hpgeom"):
            raise
        raise NotFoundError(
            "maps of inputs need the package healsparse", found=f"no module {error.name}",
            remedy="pip install 'stillsky[maps]', or doInputMap=False",
        ) from None  # fmt: skip
    return healsparse


def makeInputMap(inputs, bbox, wcs, warps, badMaskPlanes, config=None):
    """Map of the detector exposures that a coadd is made of.

    Parameters
    ----------
    inputs : `stillsky.image.CoaddInputs`
        Of the coadd. Its detector exposures have a bit each, in their order; of a coadd whose inputs record no detectors each
        visit has one.
    bbox, wcs : `stillsky.geom.Box2I`, `stillsky.wcs.SkyWcs`
        Of the coadd.
    warps : sequence
        Warps with ``dataId["visit"]``, for their masks.
    badMaskPlanes : sequence of `str`
        Pixels of a warp that do not count.
    config : `InputMapConfig`, optional

    Returns
    -------
    inputMap : `healsparse.HealSparseMap`
        Wide mask. Its metadata name what bit n stands for: ``BnnnnCCD``, ``BnnnnVIS``, ``BnnnnWT``.

    Raises
    ------
    NotFoundError
        healsparse is not installed.
    NoDataError
        The coadd has no record of its inputs.

    Notes
    -----
    A pixel of the map belongs to an input when its centre lies within the input's valid polygon, or its box, and within the
    coadd's box. It is taken away where more than ``badMaskMinCoverage`` of it are bad pixels of that visit's warp.
    """
    healsparse = requireHealsparse()
    config = InputMapConfig() if config is None else config
    rows = inputs.ccds if inputs is not None and len(inputs.ccds) else getattr(inputs, "visits", ())
    if not len(rows):
        raise NoDataError(
            "the coadd has no record of its inputs", remedy="warps with coaddInputs, as MakeWarpTask makes them"
        )
    visits = np.asarray(rows["visit"] if "visit" in rows.colnames else rows["id"], np.int64)
    made = healsparse.HealSparseMap.make_empty(
        nside_coverage=config.nsideCoverage, nside_sparse=config.nside, dtype=healsparse.WIDE_MASK,
        wide_mask_maxbits=len(rows),
    )  # fmt: skip
    made.metadata = {}
    whole = _pixelsWithin(Box2D(bbox).corners, wcs, config.nside)
    for bit, row in enumerate(rows):
        made.metadata[f"B{bit:04d}CCD"] = int(row["ccd"]) if "ccd" in rows.colnames else -1
        made.metadata[f"B{bit:04d}VIS"] = int(visits[bit])
        made.metadata[f"B{bit:04d}WT"] = float(row["weight"])
        pixels = whole
        if row["wcs"] is not None:
            outline = row["validPolygon"].vertices if row["validPolygon"] is not None else (
                Box2D(CoaddInputs.bboxOf(row)).corners
            )  # fmt: skip
            pixels = np.intersect1d(whole, _pixelsWithin(outline, row["wcs"], config.nside))
        made.set_bits_pix(pixels, [bit])
    for warp in warps:
        mine = np.flatnonzero(visits == int(warp.dataId["visit"]))
        bad = _badPixels(warp, bbox, wcs, badMaskPlanes, config)
        if len(mine) and len(bad):
            made.clear_bits_pix(bad, mine.tolist())
    return made


def _pixelsWithin(corners, wcs, nside):
    """HEALPix pixels (nested) whose centres lie within a convex polygon of image positions."""
    import hpgeom

    ra, dec = wcs.pixelToSky(*(np.array([c[k] for c in corners], float) for k in (0, 1)))
    return np.unique(hpgeom.query_polygon(nside, np.degrees(ra), np.degrees(dec)))


def _badPixels(warp, bbox, wcs, badMaskPlanes, config):
    """HEALPix pixels on which more bad pixels of a warp lie than they may."""
    import hpgeom

    box, found = warp.bbox.clipped(bbox), []
    bits = warp.schema.bitmask(list(badMaskPlanes), ignoreMissing=True)
    for y in range(box.minY, box.maxY + 1, _ROWS):
        rows = type(box)((box.minX, y), (box.width, _ROWS)).clipped(box)
        j, i = np.nonzero(warp.block(rows)[1].astype(np.int32) & np.int32(bits))
        ra, dec = wcs.pixelToSky(i + float(rows.minX), j + float(rows.minY))
        found.append(
            np.unique(hpgeom.angle_to_pixel(config.nside, np.degrees(ra), np.degrees(dec)), return_counts=True)
        )
    warp.release(box)
    pixels, first = np.unique(np.concatenate([f[0] for f in found]), return_inverse=True)
    counts = np.bincount(first, np.concatenate([f[1] for f in found]), len(pixels))
    perPixel = hpgeom.nside_to_pixel_area(config.nside, degrees=False) / wcs.pixelScale(*bbox.center) ** 2
    return pixels[counts > config.badMaskMinCoverage * perPixel]
