"""Statistics of a residual image in units of its own standard deviation."""

import logging

import numpy as np

from .._core import _ImageStatistics

__all__ = ["ImageStatistics", "ImageStatisticsD", "ImageStatisticsF", "ImageStatisticsI"]

_log = logging.getLogger(__name__)


class _Planes:
    """Image, mask and variance arrays as the compiled core wants them."""

    def __init__(self, maskedImage):
        pixels = np.asarray(getattr(maskedImage.image, "array", maskedImage.image))
        self.image = pixels if pixels.dtype in (np.float32, np.float64) else pixels.astype(np.float64)
        self.mask = getattr(maskedImage.mask, "array", maskedImage.mask)
        self.variance = getattr(maskedImage.variance, "array", maskedImage.variance)


class ImageStatistics:
    """Mean and spread of value/sqrt(variance) over the unmasked pixels of a masked image.

    Parameters
    ----------
    badMaskPlanes : sequence of str, or mapping with the key ``badMaskPlanes``
        Pixels with any of these planes are not used. A name that the image's mask does not know is skipped.

    Notes
    -----
    Pixels with zero variance (1/variance not finite) are not used. A used pixel that is not finite makes `apply`
    raise `NumericalError`. Integer images are accepted and converted to float64.
    """

    def __init__(self, badMaskPlanes=()):
        if hasattr(badMaskPlanes, "badMaskPlanes"):
            badMaskPlanes = badMaskPlanes.badMaskPlanes
        elif hasattr(badMaskPlanes, "keys"):
            badMaskPlanes = badMaskPlanes["badMaskPlanes"]
        self.badMaskPlanes = tuple(badMaskPlanes)
        self._bits = None
        self._core = _ImageStatistics()

    def reset(self):
        """Forget everything accumulated."""
        self._core.reset()

    def apply(self, maskedImage, core=-1):
        """Reset, then accumulate.

        Parameters
        ----------
        maskedImage : MaskedImage
        core : int
            When >= 0 only the (2 core + 1)**2 pixels around the image's centre are used.
        """
        self._core.badMask = self._badBits(maskedImage.mask) if self._bits is None else self._bits
        self._core.apply(_Planes(maskedImage), core)

    def _badBits(self, mask):
        for name in self.badMaskPlanes:
            if name not in mask.schema:
                _log.debug("mask plane %s is not defined; ignored", name)
        return int(mask.bitmask(self.badMaskPlanes, ignoreMissing=True))

    @property
    def bpMask(self):
        """Bits of the planes that exclude a pixel; 0 before `apply` unless set."""
        return self._core.badMask if self._bits is None else self._bits

    @bpMask.setter
    def bpMask(self, bits):
        self._bits = int(bits)
        self._core.badMask = self._bits

    def setBpMask(self, bits):
        """Set the excluding bits directly, in place of plane names."""
        self.bpMask = bits

    def getBpMask(self):
        """Return the excluding bits."""
        return self.bpMask

    def getNpix(self):
        """Return the number of pixels used."""
        return self._core.nPixels

    @property
    def nPixels(self):
        """Number of pixels used."""
        return self._core.nPixels

    def getMean(self):
        """Return the mean, in sigma; NaN without pixels."""
        return self._core.mean

    def getVariance(self):
        """Return the unbiased variance, in sigma squared; NaN with fewer than two pixels."""
        return self._core.variance

    def getRms(self):
        """Return the square root of the variance."""
        return self._core.rms

    mean = property(getMean, doc="Mean, in sigma; NaN without pixels.")
    variance = property(getVariance, doc="Unbiased variance; NaN with fewer than two pixels.")
    rms = property(getRms, doc="Square root of the variance.")


ImageStatisticsI = ImageStatisticsF = ImageStatisticsD = ImageStatistics
