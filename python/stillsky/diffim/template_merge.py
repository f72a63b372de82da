"""Merge images of one pixel grid that overlap: patches of a coadd, or tracts that were warped onto one grid."""

import numpy as np

from ..errors import DomainError
from ..image import Image, Mask, MaskedImage, MaskSchema

__all__ = ["TemplateMerger", "mergeMaskedImages"]

WEIGHTINGS = {
    "inverse-sigma": "V**-1/2: patches made from the same visits hold nearly the same noise",
    "inverse-variance": "1/V: inputs whose noise is independent",
    "last": "the later input replaces the earlier one",
}


class TemplateMerger:
    """Weighted mean of overlapping inputs, one input in memory at a time.

    A pixel of an input is good where its variance is finite and positive, its value finite, and NO_DATA not set: at the
    rim of a warped tract values are guessed from one side. With weights w over the good inputs of a pixel::

        image = sum w I / sum w     variance = sum w V / sum w     mask = OR

    The variance is the weighted mean of the variances, not the variance of the mean: overlapping patches are built from
    the same visits, so that averaging them does not reduce the noise.

    Parameters
    ----------
    box : `stillsky.geom.Box2I`
        Box of the result.
    weighting : {"inverse-sigma", "inverse-variance", "last"}
    dtype : float type of the image

    Raises
    ------
    DomainError
        Unknown weighting, or an empty box.

    Notes
    -----
    Memory: four planes of the box.
    """

    def __init__(self, box, weighting="inverse-sigma", dtype=np.float32):
        if weighting not in WEIGHTINGS:
            raise DomainError(f"weighting: wanted one of {', '.join(WEIGHTINGS)}, given {weighting!r}")
        if box.isEmpty:
            raise DomainError("merge: wanted a box with pixels, given an empty one")
        self._box, self._weighting = box, weighting
        self._image, self._variance, self._weight = (np.zeros(box.shape, t) for t in (dtype, np.float32, np.float32))
        self._mask = Mask(np.zeros(box.shape, np.int32), box.min, MaskSchema.standard())

    def add(self, maskedImage):
        """Take an input; parts outside the box do not count.

        Parameters
        ----------
        maskedImage : `stillsky.image.MaskedImage`
            In the pixel frame of the box. Planes of its mask are found by name.

        Returns
        -------
        nGood : `int`
            Its good pixels within the box.
        """
        overlap = maskedImage.bbox.clipped(self._box)
        if overlap.isEmpty:
            return 0
        source = maskedImage[overlap]
        cut = overlap.slices(self._box.min)
        image, variance = source.image.array, source.variance.array
        good = np.isfinite(variance) & (variance > 0) & np.isfinite(image) & ~source.mask.isSet("NO_DATA")
        bits = self._bits(source.mask)
        if self._weighting == "last":
            for target, values in ((self._image, image), (self._variance, variance), (self._mask.array, bits)):
                np.copyto(target[cut], values, where=good)
            self._weight[cut][good] = 1
            return int(np.count_nonzero(good))
        power = -0.5 if self._weighting == "inverse-sigma" else -1.0
        weight = np.zeros(variance.shape, np.float32)
        np.power(variance, power, out=weight, where=good)
        for total, values in ((self._image, image), (self._variance, variance)):
            total[cut] += np.multiply(weight, values, out=np.zeros_like(total[cut]), where=good)
        self._weight[cut] += weight
        np.bitwise_or(self._mask.array[cut], bits, out=self._mask.array[cut], where=good)
        return int(np.count_nonzero(good))

    def _bits(self, mask):
        """Pixels of a mask in the planes of the result, which learns the names it lacks."""
        for name in mask.schema:
            self._mask.addPlane(name, mask.schema.doc(name))
        if all(self._mask.bit(name) == bit for name, bit in mask.schema.items()):
            return mask.array
        return mask.copy().conformTo(self._mask.schema).array

    def result(self):
        """The merged image.

        Returns
        -------
        merged : `stillsky.image.MaskedImage`
            Pixels that no input covers have the mask NO_DATA alone, image NaN, variance +inf.
        nGood : `int`
            Pixels that some input covers.
        """
        covered = self._weight > 0
        for total in (self._image, self._variance):
            np.divide(total, self._weight, out=total, where=covered)
        self._image[~covered], self._variance[~covered] = np.nan, np.inf
        self._mask.array[~covered] = 1 << self._mask.addPlane("NO_DATA")
        corner = self._box.min
        merged = MaskedImage(Image(self._image, corner), self._mask, Image(self._variance, corner))
        return merged, int(np.count_nonzero(covered))


def mergeMaskedImages(maskedImages, box, weighting="inverse-sigma"):
    """Merge masked images of one pixel grid; see `TemplateMerger`.

    Parameters
    ----------
    maskedImages : iterable of `stillsky.image.MaskedImage`
    box : `stillsky.geom.Box2I`
    weighting : `str`

    Returns
    -------
    merged : `stillsky.image.MaskedImage`
    nGood : `int`
    """
    merger = TemplateMerger(box, weighting)
    for maskedImage in maskedImages:
        merger.add(maskedImage)
    return merger.result()
