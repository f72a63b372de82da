"""Warper: a control with Rubin's defaults, and the choice of the destination box."""

import math

import numpy as np

from .._core import WarpingControl
from ..errors import DomainError
from ..geom import Box2I, Point2I
from ..image import Exposure, Image, Mask, MaskedImage
from ..wcs import pairTransform
from .algorithm import warpExposure, warpImage

__all__ = ["Warper", "computeDestBBox"]

_EDGE_BIT = 1 << 4


def computeDestBBox(srcBBox, srcToDest, border=0, maxBBox=None):
    """The destination box that holds a source box.

    Parameters
    ----------
    srcBBox : `stillsky.geom.Box2I`
    srcToDest : callable
        (x, y) -> (x, y) over arrays, source to destination positions.
    border : `int`
        Pixels to grow by; negative shrinks.
    maxBBox : `stillsky.geom.Box2I`, optional
        Clip to this.

    Returns
    -------
    bbox : `stillsky.geom.Box2I`
        Encloses the images of nine points along each edge, not of the corners alone: edges
        of distorted detectors bulge.
    """
    t = np.linspace(0.0, 1.0, 9)
    x0, x1, y0, y1 = srcBBox.minX - 0.5, srcBBox.maxX + 0.5, srcBBox.minY - 0.5, srcBBox.maxY + 0.5
    alongX, alongY = x0 + t * (x1 - x0), y0 + t * (y1 - y0)
    x = np.concatenate([alongX, alongX, np.full(9, x0), np.full(9, x1)])
    y = np.concatenate([np.full(9, y0), np.full(9, y1), alongY, alongY])
    qx, qy = (np.asarray(q, dtype=float) for q in srcToDest(x, y))
    good = np.isfinite(qx) & np.isfinite(qy)
    if not good.any():
        raise DomainError("the source box has no position on the destination grid")
    # Whole pixels that overlap, 1e-6 of a pixel of round-off aside.
    low = [math.floor(q[good].min() + 0.5 + 1e-6) for q in (qx, qy)]
    high = [math.ceil(q[good].max() - 0.5 - 1e-6) for q in (qx, qy)]
    bbox = Box2I.fromMinMax(Point2I(*low), Point2I(*high)).dilated(border)
    return bbox if maxBBox is None else bbox.clipped(maxBBox)


class Warper:
    """Warps images and exposures onto the grid of a WCS.

    Parameters
    ----------
    warpingKernelName : `str`
        "bilinear", "lanczos3", "lanczos4", "lanczos5" (or any other kernel of `WarpingControl`).
    maskWarpingKernelName : `str`
        The same, or "" for the image kernel.
    interpLength : `int`
        Spacing in pixels of the grid of exact positions.
    cacheSize : `int`
        Tabulated kernel offsets; see `WarpingControl`.
    growFullMask : `int`
        Mask bits that spread by the full kernel. Default: EDGE.
    model : `str`
        "stillsky" or "reference"; see `WarpingControl`.
    """

    def __init__(
        self,
        warpingKernelName="lanczos3",
        *,
        maskWarpingKernelName="bilinear",
        interpLength=10,
        cacheSize=1000000,
        growFullMask=_EDGE_BIT,
        model="stillsky",
    ):
        self._control = WarpingControl(
            warpingKernelName, maskWarpingKernelName, cacheSize, interpLength, growFullMask, model
        )

    @classmethod
    def fromConfig(cls, config):
        """A Warper from an object with the five fields of `stillsky.warp.config.WarperConfig`."""
        return cls(
            config.warpingKernelName,
            maskWarpingKernelName=config.maskWarpingKernelName or "",
            interpLength=config.interpLength,
            cacheSize=config.cacheSize,
            growFullMask=config.growFullMask,
        )

    @property
    def control(self):
        """A copy of the options."""
        return self._control.copy()

    @property
    def warpingKernelName(self):
        """Interpolation kernel, as of `makeWarpingKernel`."""
        return self._control.warpingKernelName

    def __eq__(self, other):
        return self._control == other._control if isinstance(other, Warper) else NotImplemented

    __hash__ = None

    def __repr__(self):
        return f"Warper({self._control!r})"

    def warpImage(self, destWcs, srcImage, srcWcs, border=0, maxBBox=None, destBBox=None):
        """Warp an image or a masked image.

        Parameters
        ----------
        destWcs, srcWcs : `stillsky.wcs.SkyWcs`
        srcImage : `stillsky.image.Image` or `stillsky.image.MaskedImage`
        border, maxBBox
            See `computeDestBBox`; ignored with ``destBBox``.
        destBBox : `stillsky.geom.Box2I`, optional
            Destination box; default: what the source covers.

        Returns
        -------
        image : same type as ``srcImage``
        """
        if destBBox is None:
            destBBox = computeDestBBox(srcImage.bbox, pairTransform(srcWcs, destWcs), border, maxBBox)
        shape = (destBBox.height, destBBox.width)
        xy0 = destBBox.min
        masked = hasattr(srcImage, "variance")
        pixels = srcImage.image.array if masked else srcImage.array
        dest = Image(np.empty(shape, pixels.dtype), xy0=xy0)
        if masked:
            mask = Mask(np.zeros(shape, np.int32), xy0=xy0, schema=srcImage.mask.schema)
            dest = MaskedImage(dest, mask, Image(np.empty(shape, np.float32), xy0=xy0))
        warpImage(dest, srcImage, (destWcs, srcWcs), self._control)
        return dest

    def warpExposure(self, destWcs, srcExposure, border=0, maxBBox=None, destBBox=None, warpPsf=False):
        """Warp an exposure.

        Parameters
        ----------
        destWcs : `stillsky.wcs.SkyWcs`
        srcExposure : `stillsky.image.Exposure`
            With a WCS.
        border, maxBBox, destBBox
            See `warpImage`.
        warpPsf : `bool`
            Give the result a `stillsky.psf.WarpedPsf` of the source's PSF; otherwise it has none.

        Returns
        -------
        exposure : `stillsky.image.Exposure`
            On the grid of ``destWcs``, with id, photoCalib, filter and visitInfo of the source.
        """
        if srcExposure.wcs is None:
            raise DomainError("Warper.warpExposure: the source exposure has no WCS")
        if destBBox is None:
            destBBox = computeDestBBox(srcExposure.bbox, pairTransform(srcExposure.wcs, destWcs), border, maxBBox)
        shape, xy0 = (destBBox.height, destBBox.width), destBBox.min
        dest = Exposure(
            MaskedImage(
                Image(np.empty(shape, srcExposure.image.array.dtype), xy0=xy0),
                Mask(np.zeros(shape, np.int32), xy0=xy0, schema=srcExposure.mask.schema),
                Image(np.empty(shape, np.float32), xy0=xy0),
            ),
            wcs=destWcs,
        )
        warpExposure(dest, srcExposure, self._control)
        if warpPsf and srcExposure.psf is not None:
            from ..psf import WarpedPsf

            dest.psf = WarpedPsf(srcExposure.psf, pairTransform(srcExposure.wcs, destWcs))
        return dest
