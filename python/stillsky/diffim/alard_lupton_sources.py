"""Kernel stars of the current subtraction tasks: sources that both images show undamaged, the best of them."""

import logging

import numpy as np
from scipy.spatial import cKDTree

from ..errors import NoDataError
from ..psfmatch.algorithm import affordableSources
from ..psfmatch.candidates_selection import sourcePosition, stampsOnBothImages

__all__ = [
    "InsufficientKernelSourcesError",
    "affordableSources",
    "brightestSources",
    "isolatedSources",
    "kernelSourceArea",
    "selectKernelSources",
]

_log = logging.getLogger("stillsky.diffim")
_ENOUGH = 30  # isolated stars that make crowded ones dispensable
_FLUXES = ("slot_PsfFlux_instFlux", "base_PsfFlux_instFlux")


class InsufficientKernelSourcesError(NoDataError):
    """Too few sources to fit a kernel.

    Attributes
    ----------
    metadata : `dict`
        nSources, nRequired.
    """

    def __init__(self, nSources, nRequired):
        super().__init__(
            f"Only {nSources} sources are fit for the kernel, {nRequired} are required",
            found=f"{nSources} sources",
            remedy="lower minKernelSources, or allowKernelSourceDetection",
        )
        self.metadata = {"nSources": int(nSources), "nRequired": int(nRequired)}


def kernelSourceArea(box, kernelSize, preconvolved, restrictEdges):
    """Box that the squares of kernel stars must lie in: smaller by a kernel for a filtered image, and by another one where
    that is asked for. May be empty."""
    return box.eroded(kernelSize * (int(preconvolved) + int(restrictEdges)))


def selectKernelSources(sources, selected, template, reference, area, kernelSize, excludePlanes, maxSources):
    """Sources whose squares of side ``2 kernelSize + 1`` are whole and clean in both images.

    Parameters
    ----------
    sources : `astropy.table.Table`
    selected : `numpy.ndarray` of bool
        What a selector made of them.
    template, reference : `stillsky.image.Exposure`
    area : `stillsky.geom.Box2I`
        Squares must lie inside.
    kernelSize : `int`
        Pixels.
    excludePlanes : sequence of `str`
    maxSources : `int`
        Of more the brightest by PSF signal-to-noise are kept; 0 or less: all.

    Returns
    -------
    kernelSources : `astropy.table.Table`
        Rows of ``sources``, in their order.
    """
    rows = [sources[int(i)] for i in np.flatnonzero(selected)]
    area = area.clipped(template.bbox).clipped(reference.bbox)
    stamps = []
    if rows and not area.isEmpty:
        stamps = stampsOnBothImages(rows, template[area], reference[area], kernelSize, excludePlanes)
    kept = np.array([stamp.source.index for stamp in stamps], int)
    _log.info("%d of %d sources are fit for the kernel", len(kept), len(sources))
    kept = sources[kept]
    return brightestSources(kept, maxSources) if maxSources > 0 else kept


def brightestSources(sources, n):
    """The n sources of highest PSF signal-to-noise ratio, in their order; those without one come last."""
    if len(sources) <= n:
        return sources
    ratio = np.full(len(sources), np.nan)
    name = next((f for f in _FLUXES if f in sources.colnames and f + "Err" in sources.colnames), None)
    if name is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.asarray(sources[name], float) / np.asarray(sources[name + "Err"], float)
    rating = np.where(np.isnan(ratio), -np.inf, ratio)
    return sources[np.sort(np.argsort(-rating, kind="stable")[:n])]


def isolatedSources(sources, selected, kernelSize, wcs=None):
    """Of the selected sources those without a neighbour nearer than two kernels, unless these are too few.

    Catalogues without blend information tell it by their positions.

    Returns
    -------
    selected : `numpy.ndarray` of bool
        With fewer than 30 isolated sources: as given.
    """
    if len(sources) < 2:
        return selected
    xy = np.array([sourcePosition(row, wcs) for row in sources])
    good = np.isfinite(xy).all(axis=1)
    alone = np.ones(len(sources), bool)
    if np.count_nonzero(good) > 1:
        distance, _ = cKDTree(xy[good]).query(xy[good], k=2)
        alone[good] = distance[:, 1] > 2 * kernelSize
    isolated = selected & alone
    return isolated if np.count_nonzero(isolated) >= _ENOUGH else selected
