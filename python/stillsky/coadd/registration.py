"""Plain inputs registered by their objects: those that have no WCS, or whose WCS is not to be trusted."""

from contextlib import nullcontext

import numpy as np

from ..diffim.inputs import moveTemplate, usable
from ..diffim.registration import measureShift
from ..diffim.similarity import SimilarityFit, findSimilarity, refineSimilarity, requireSimilarity
from ..errors import MismatchError
from ..geom import AffineTransform
from ..psf import WarpedPsf
from ..wcs import pairTransform
from .common_grid import ALIGNED_WITHIN

__all__ = ["Registrar", "moveInput", "movedPsf", "noteRegistration", "placesOf"]

_MOST = 500  # objects that a fit is made from
_NEGLIGIBLE = 0.25  # pixels: less smears stars by less than resampling does


def placesOf(objects):
    """Positions (n, 2) of undamaged objects that are bright enough to have one, brightest first, parent pixels."""
    use = ~objects.damaged & (objects.signalToNoise > objects.threshold)
    return np.column_stack([objects.x[use], objects.y[use]])[:_MOST]


class Registrar:
    """Registers inputs to one of them.

    Parameters
    ----------
    reference : `stillsky.coadd.job_inputs.CoaddInput`
        Measured.
    radius : `float`
        Largest distance of a pair of objects, pixels.
    quietly : callable
        Context manager in which files are read.
    """

    def __init__(self, reference, radius, quietly=nullcontext):
        self.reference, self.radius, self._quietly = reference, radius, quietly
        self._pixels = None

    def fit(self, item):
        """The similarity that brings an input onto the reference.

        Parameters
        ----------
        item : `stillsky.coadd.job_inputs.CoaddInput`
            Measured.

        Returns
        -------
        fit : `stillsky.diffim.similarity.SimilarityFit` or None
            To pixels of the reference; from those too where both have a WCS, else from the input's own. None where it is in
            place already.

        Raises
        ------
        MismatchError
            Fewer than 10 objects come together, or no better than half a pixel.
        """
        reference = self.reference
        places, common = self._onReference(item)
        wanted, fit = reference.measure.places, None
        if min(len(places), len(wanted)) > 1:
            fit = refineSimilarity(wanted, places, radius=self.radius)
        if fit is None or not fit.isGood:
            fit = findSimilarity(wanted.T, places.T, self.radius)
        try:
            requireSimilarity(fit)
        except MismatchError as error:
            raise MismatchError(
                f"{item.name} cannot be registered to {reference.name} by its objects",
                found=error.found, remedy=error.remedy,
            ) from error  # fmt: skip
        return None if self._isInPlace(item, fit, common) else fit

    def fitOrShift(self, item):
        """As `fit`; of an image of the same shape without enough objects the shift by cross-correlation, if noise has none such."""
        try:
            return self.fit(item)
        except MismatchError:
            if item.bbox.dimensions != self.reference.bbox.dimensions:
                raise
        if self._pixels is None:
            self._pixels = self._pixelsOf(self.reference)
        own = self._pixelsOf(item)
        shift = measureShift(self._pixels[0], own[0], self._pixels[1], own[1])
        if shift is None:
            return None
        corner = np.array(tuple(self.reference.bbox.min)) - tuple(item.bbox.min)
        fit = SimilarityFit(AffineTransform(translation=tuple(corner + shift)), 0, np.nan)
        return None if self._isInPlace(item, fit, False) else fit

    def _pixelsOf(self, item):
        """Image and mask of unusable pixels."""
        with self._quietly():
            exposure = item.load()
        return exposure.image.array, ~usable(exposure)

    def _onReference(self, item):
        """Places of an input in the pixels of the reference as far as WCS tell, and whether they do."""
        common = self.reference.wcs is not None and item.wcs is not None
        places = item.measure.places
        if not common or not len(places):
            return places, common
        places = np.column_stack(pairTransform(item.wcs, self.reference.wcs)(places[:, 0], places[:, 1]))
        return places[np.isfinite(places).all(axis=1)], common

    def _isInPlace(self, item, fit, common):
        """What has no WCS stays as it is where resampling would cost more than it brings."""
        box = self.reference.bbox
        return fit.isWithin(ALIGNED_WITHIN if common else _NEGLIGIBLE, box) and (common or item.bbox == box)


def noteRegistration(reference, item, fit):
    """Let an input be where the fit brings it: its stars, its WCS and the area of its pixels are those of the reference."""
    common = reference.wcs is not None and item.wcs is not None
    item.registration, item.throughWcs = fit, common
    measure = item.measure
    x, y = pairTransform(item.wcs, reference.wcs)(measure.x, measure.y) if common else (measure.x, measure.y)
    measure.x, measure.y = (np.asarray(v, float) for v in fit.transform(np.asarray(x), np.asarray(y)))
    measure.wcs = reference.wcs


def moveInput(exposure, item, grid, warpConfig):
    """Pixels and PSF of a registered input on the grid of its reference, by one interpolation."""
    wcs = grid.wcs if item.throughWcs else None
    moved = moveTemplate(exposure, item.registration.transform, warpConfig, grid.bbox, wcs)
    if not np.any(~moved.mask.isSet("NO_DATA")):
        raise MismatchError(f"{item.name} has no pixel in common with the grid of the coadd")
    return moved.maskedImage, moved.psf


def movedPsf(psf, item, grid):
    """The PSF of a registered input as it is on the grid."""
    if item.throughWcs:
        psf = WarpedPsf(psf, pairTransform(item.wcs, grid.wcs))
    return WarpedPsf(psf, item.registration.transform)
