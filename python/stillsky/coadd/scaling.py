"""Scaling images to a common zero point (coadds and DCR, section 2.12)."""

import math

import numpy as np

from ..errors import DomainError, NoDataError, ShapeError
from ..photom import PhotoCalib

__all__ = ["ImageScaler", "SpatialImageScaler", "computeImageScaler", "zeroPointCalib"]


class ImageScaler:
    """Multiplies masked images by a number.

    Parameters
    ----------
    scale : `float`

    Raises
    ------
    DomainError
        The scale is not finite.
    """

    def __init__(self, scale=1.0):
        scale = float(scale)
        if not math.isfinite(scale):
            raise DomainError(f"ImageScaler: wanted a finite scale, given {scale}")
        self._scale = scale

    @property
    def scale(self):
        """The factor."""
        return self._scale

    def scaleMaskedImage(self, maskedImage):
        """Multiply in place: image by the scale, variance by its square, mask unchanged.

        Parameters
        ----------
        maskedImage : `stillsky.image.MaskedImage` or `stillsky.image.Exposure`
        """
        pixels = getattr(maskedImage, "maskedImage", maskedImage)
        pixels *= self.scale

    def __repr__(self):
        return f"{type(self).__name__}({self.scale!r})"


class SpatialImageScaler(ImageScaler):
    """Scale from factors measured at several positions; with the style "CONSTANT" their mean.

    Parameters
    ----------
    interpStyle : `str`
        "CONSTANT".
    xList, yList : sequence of `float`
        Positions, pixels.
    scaleList : sequence of `float`

    Raises
    ------
    ShapeError
        (a RuntimeError) The lists differ in length.
    DomainError
        Another style.
    NoDataError
        (a RuntimeError) The lists are empty, on use.
    """

    def __init__(self, interpStyle, xList, yList, scaleList):
        lengths = len(xList), len(yList), len(scaleList)
        if len(set(lengths)) != 1:
            raise ShapeError(f"SpatialImageScaler: wanted lists of one length, given {lengths}")
        if interpStyle != "CONSTANT":
            raise DomainError(f"interpStyle: wanted 'CONSTANT', given {interpStyle!r}")
        self._interpStyle = interpStyle
        self._xList, self._yList, self._scaleList = tuple(xList), tuple(yList), tuple(float(v) for v in scaleList)

    @property
    def scale(self):
        """Mean of the factors."""
        if not self._scaleList:
            raise NoDataError("SpatialImageScaler: cannot scale without any factor")
        return float(np.mean(self._scaleList))

    def __repr__(self):
        return f"SpatialImageScaler({len(self._scaleList)} factors)"


def zeroPointCalib(zeroPoint=27.0):
    """Calibration of an image on which a source of magnitude ``zeroPoint`` (AB) has flux 1."""
    return PhotoCalib.fromMagZeroPoint(zeroPoint)


def computeImageScaler(exposure, zeroPoint=27.0):
    """Scaler that brings an exposure to a zero point.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        With a photoCalib; its mean counts, where it varies. Not changed.
    zeroPoint : `float`
        AB magnitude.

    Returns
    -------
    scaler : `ImageScaler`
        Its scale is 1/counts(zeroPoint).

    Raises
    ------
    DomainError
        The exposure has no calibration, or one of 0 nJy per count.
    """
    calib = exposure.photoCalib
    if calib is None:
        raise DomainError("computeImageScaler: the exposure has no photoCalib")
    if not calib.mean > 0:
        raise DomainError(f"computeImageScaler: wanted a calibration above 0 nJy per count, given {calib.mean}")
    return ImageScaler(1.0 / calib.magToInstFlux(zeroPoint))
