"""Sources that overlap: fluxes and positions of all of a group at once; and the score of sources that moved."""

from contextlib import contextmanager

import numpy as np

from .. import _core, errors
from .algorithms import _pixels, _positions, _psfOf
from .dipoles import splineStack
from .psf_stamps import PsfKernels, chunks, starImages

__all__ = ["BLEND_FLAGS", "fitBlends", "motionScore", "withoutNeighbours"]

#: Bits of `fitBlends`' ``flagBits``.
BLEND_FLAGS = {1: "failed", 2: "notConverged", 4: "atBound", 8: "fixed"}
_LEAST_RADIUS = 4.0  # pixels


def fitBlends(exposure, x, y, groups, *, psf=None, badPlanes=None, radius=4.5, maxShift=1.5):
    """Fit PSFs to all sources of each group at once, positions and fluxes.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        Background subtracted; nothing is changed.
    x, y : array_like
        Where the sources are about, parent coordinates.
    groups : array_like of int
        Number of the group of each source, in any order.
    psf : Psf, optional
        Default: the exposure's. Taken at the middle of each group.
    badPlanes : sequence of str, optional
        Pixels left out; default `BAD_PLANES`.
    radius : float
        Of the discs of pixels around the sources, widths (sigma) of the PSF.
    maxShift : float
        How far a source may move from its start in each coordinate, widths of the PSF. 0: the positions are known, only
        the fluxes are fitted.

    Returns
    -------
    found : structured array
        ``x, y`` (parent), ``flux`` (of any sign), ``xErr, yErr, fluxErr``, ``fluxCov`` (with the next source of the
        same group in order of the input), ``chi2, nPixels`` of the group, ``flagBits`` (`BLEND_FLAGS`). Failed: NaN
        fluxes, positions of the start.

    Notes
    -----
    Pixels are not weighted by their variance, so that an isolated source gets the flux that `psfFlux` gives; the errors
    are those of the pixels' noise, positions and fluxes together. The PSF's error is not in them. About 0.2 ms a pair.
    """
    x, y = _positions(x, y)
    groups = np.asarray(groups, int)
    if groups.shape != x.shape:
        raise errors.ShapeError(f"fitBlends: wanted a group for each of {len(x)} positions, got {groups.shape}")
    pixels = _pixels(exposure, badPlanes, "default")
    psf = _psfOf(exposure, psf)
    order = np.argsort(groups, kind="stable")
    _, inverse, counts = np.unique(groups[order], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts).astype(np.int32)
    xs, ys = x[order] - pixels.x0, y[order] - pixels.y0
    middle = [np.bincount(inverse, v, len(counts)) / counts for v in (x[order], y[order])]
    parts = []
    for part in chunks(len(counts)):
        shapes = PsfKernels(psf, middle[0][part], middle[1][part])
        sigma = np.nan_to_num(shapes.sigma, nan=1.0)
        first = ends[part.start] - counts[part.start]
        rows = slice(first, ends[part.stop - 1])
        parts.append(
            _core.blendFit(
                *pixels.planes,
                splineStack(shapes),
                xs[rows],
                ys[rows],
                ends[part] - first,
                np.maximum(radius * sigma, _LEAST_RADIUS),
                maxShift * sigma,
            )  # fmt: skip
        )
    found = np.concatenate(parts) if parts else _core.blendFit(*pixels.planes, np.zeros((1, 1, 1)), [], [], [], [], [])
    found["x"] += pixels.x0
    found["y"] += pixels.y0
    out = np.empty_like(found)
    out[order] = found
    return out


def motionScore(exposure, x, y, *, psf=None, badPlanes=None):
    """Chi-square of the gradient of the PSF at positions: two degrees of freedom where there is noise or a plain source.

    A static source of flux F that is displaced by d leaves -F d . grad P in a difference. With the sums
    Z_j = sum (d_j P) D/v and A_jl = sum (d_j P)(d_l P)/v the score is Z A^-1 Z (Springer et al. 2024, TRANSLIENT): large
    between the lobes of a misplaced star, small on a change of brightness, whose gradient is 0 on average.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        The difference, its noise white.
    x, y : array_like
        Positions, parent coordinates: the middle of a dipole, the centroid of another source.
    psf, badPlanes
        As for `psfFlux`.

    Returns
    -------
    score : float32 array
        NaN where nothing can be said.
    """
    x, y = _positions(x, y)
    pixels = _pixels(exposure, badPlanes, "default")
    psf = _psfOf(exposure, psf)
    out = np.full(len(x), np.nan, np.float32)
    for part in chunks(len(x)):
        images, x0, y0, ok = starImages(psf, x[part], y[part])
        found = _core.motionScore(*pixels.planes, images, x0 - pixels.x0, y0 - pixels.y0)
        out[part] = np.where(ok, np.minimum(found["chi2"], 1e30), np.nan)
    return out


@contextmanager
def withoutNeighbours(exposure, found, rows, psf=None):
    """The image less the models of some sources for as long as the context lasts, in place; after it every bit is back.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        Its pixels change meanwhile.
    found : structured array
        Of `fitBlends`.
    rows : array of int or bool
        Sources to take off.
    psf : Psf, optional
        Default: the exposure's.
    """
    masked = getattr(exposure, "maskedImage", exposure)
    psf = _psfOf(exposure, psf)
    pixels, (left, low) = masked.image.array, (int(v) for v in masked.xy0)
    height, width = pixels.shape
    kept = []
    try:
        sources = found[rows]
        sources = sources[np.isfinite(sources["flux"])]
        for part in chunks(len(sources)):
            some = sources[part]
            stamps, x0, y0, _ = starImages(psf, some["x"], some["y"])
            for stamp, i, j, flux in zip(stamps, x0 - left, y0 - low, some["flux"], strict=True):
                rows_ = slice(max(j, 0), min(j + stamp.shape[0], height))
                columns = slice(max(i, 0), min(i + stamp.shape[1], width))
                if rows_.start >= rows_.stop or columns.start >= columns.stop:
                    continue
                cut = pixels[rows_, columns]
                kept.append((rows_, columns, cut.copy()))
                own = stamp[rows_.start - j : rows_.stop - j, columns.start - i : columns.stop - i]
                np.subtract(cut, flux * own, out=cut, casting="same_kind")
        yield exposure
    finally:
        for rows_, columns, values in reversed(kept):
            pixels[rows_, columns] = values
