"""Mappers that come along, as plain callables; mapper_tasks.py wraps them as tasks."""

import math
from types import SimpleNamespace

import numpy as np

from ..errors import DomainError, ShapeError
from ..image import Exposure, Image, Mask, MaskedImage
from ..kernel import ConvolutionControl, FixedKernel, convolve
from ..stats import clippedStats

__all__ = ["CallableCell", "ConvolveCell", "StatisticsCell", "passThrough"]


def passThrough(subExposure, expandedSubExposure, fullBBox, **kwargs):
    """The cell as it is.

    Returns
    -------
    result : object with ``subExposure``
    """
    return SimpleNamespace(subExposure=subExposure)


class StatisticsCell:
    """Sigma-clipped mean, median and standard deviation of a cell, without pixels of ignored planes.

    Parameters
    ----------
    config : `StatisticsMapperConfig`, optional
    """

    wantsCellContext = True

    def __init__(self, config=None):
        from .config import StatisticsMapperConfig

        self.config = config or StatisticsMapperConfig()

    def run(self, subExposure, expandedSubExposure, fullBBox, ignoreMaskPlanes=(), **kwargs):
        """Statistics of one cell.

        Returns
        -------
        result : object
            x, y (centre, parent), mean, median, stdev, numGood (pixels after clipping), numPixels; NaN where no pixel
            is good.
        """
        center = subExposure.bbox.center
        bad = subExposure.mask.bitmask(list(ignoreMaskPlanes), ignoreMissing=True)
        median, mean, stdev, n = clippedStats(
            subExposure, badBits=bad, numSigma=self.config.numSigmaClip, numIter=self.config.numIter
        )
        return SimpleNamespace(
            x=center.x, y=center.y, mean=mean, median=median, stdev=stdev, numGood=n, numPixels=subExposure.bbox.area
        )


class ConvolveCell:
    """Convolution with a Gaussian or the cell's PSF: image, variance and mask. The result is the core.

    Parameters
    ----------
    config : `ConvolveMapperConfig`, optional

    Notes
    -----
    The border must be as wide as the kernel's half-width, else the pixels at the edges of inner cells have no value
    (DomainError). Pixels nearer to the edge of the image than that are NaN with NO_DATA and EDGE, as of
    `stillsky.convolve`.
    """

    def __init__(self, config=None):
        from .config import ConvolveMapperConfig

        self.config = config or ConvolveMapperConfig()

    def kernelFor(self, exposure, center):
        """Kernel image for a cell, (height, width), sum 1."""
        if self.config.kernel == "psf":
            if exposure.info.psf is None:
                raise DomainError("convolve: the exposure has no PSF")
            return np.array(exposure.info.psf.computeKernelImage(center).array)
        half = max(1, math.ceil(self.config.nSigma * self.config.sigma))
        profile = np.exp(-0.5 * (np.arange(-half, half + 1) / self.config.sigma) ** 2)
        kernel = np.outer(profile, profile)
        return kernel / kernel.sum()

    def run(self, subExposure, expandedSubExposure, fullBBox, **kwargs):
        """The convolved core of one cell."""
        core, box = subExposure.bbox, expandedSubExposure.bbox
        array = self.kernelFor(expandedSubExposure, core.center)
        _checkBorder(core, box, fullBBox, array.shape[1] // 2, array.shape[0] // 2)
        control = ConvolutionControl(doNormalize=True)
        out = expandedSubExposure.maskedImage.emptyLike()
        convolve(out, expandedSubExposure.maskedImage, FixedKernel(array), control)
        return SimpleNamespace(subExposure=Exposure(out, subExposure.info)[core])


def _checkBorder(core, box, full, halfX, halfY):
    """DomainError unless the expanded cell reaches as far as a kernel does, or to the edge of the image."""
    for name, have, edge, half in (
        ("X", core.minX - box.minX, box.minX == full.minX, halfX),
        ("X", box.maxX - core.maxX, box.maxX == full.maxX, halfX),
        ("Y", core.minY - box.minY, box.minY == full.minY, halfY),
        ("Y", box.maxY - core.maxY, box.maxY == full.maxY, halfY),
    ):
        if have < half and not edge:
            raise DomainError(f"borderSize{name}: the kernel reaches {half} pixels, the border of {core} only {have}")


class CallableCell:
    """Any function of arrays as a mapper.

    Parameters
    ----------
    function : callable
        ``f(image, mask, variance, xy0)`` of the expanded cell; returns the image, or (image, mask, variance) of the same
        shape, or of the core's; planes that are None or missing are the input's. Anything else is the result's ``value``.
    """

    def __init__(self, function):
        self.function = function

    def run(self, subExposure, expandedSubExposure, fullBBox, **kwargs):
        """The function's arrays, cut to the core."""
        planes = [plane.array for plane in expandedSubExposure.maskedImage.planes]
        made = self.function(*planes, tuple(expandedSubExposure.xy0))
        if isinstance(made, np.ndarray):
            made = (made,)
        if not isinstance(made, (tuple, list)):
            return SimpleNamespace(value=made)
        core, box = subExposure.bbox, expandedSubExposure.bbox
        out = []
        for plane, given in zip(planes, [*made, None, None][:3]):
            given = plane if given is None else np.asarray(given)
            if given.shape == box.shape:
                given = given[core.slices(box.min)]
            elif given.shape != core.shape:
                raise ShapeError(f"mapper function: wanted arrays of {box.shape} or {core.shape}, got {given.shape}")
            out.append(given)
        schema = expandedSubExposure.mask.schema
        image = MaskedImage(Image(out[0], core.min), Mask(out[1], core.min, schema), Image(out[2], core.min))
        return SimpleNamespace(subExposure=Exposure(image, subExposure.info))
