"""Exposures and mappers that the tests of map-reduce share."""

import lsst.pipe.base as pipeBase
import numpy as np
from lsst.pex.config import Field

from stillsky import makeExposure
from stillsky.mapreduce.task import (
    ImageMapper,
    ImageMapperConfig,
    ImageMapReduceConfig,
    ImageMapReduceTask,
    ImageReducer,
)
from stillsky.psf import GaussianPsf, KernelPsf

# An 11 x 11 stamp of a Gaussian of sigma 2, measured on its pixels as Rubin does: FWHM 4.7038.
SMALL_PSF = KernelPsf(np.array(GaussianPsf(11, 11, 2.0).computeKernelImage().array))


def exposureOf(image=None, *, size=(128, 128), xy0=(0, 0), variance=0.0, psf=SMALL_PSF, mask=None, **more):
    """A float32 exposure; ``size`` is (width, height)."""
    image = np.zeros(size[::-1], np.float32) if image is None else np.asarray(image, np.float32)
    variance = np.broadcast_to(np.float32(variance), image.shape).copy()
    exposure = makeExposure(image.copy(), variance=variance, psf=psf, xy0=xy0, **more)
    exposure.image.array[...] = image
    exposure.variance.array[...] = variance
    exposure.mask.array[...] = 0 if mask is None else mask
    return exposure


class AddAmountConfig(ImageMapperConfig):
    """Configuration of `AddAmountMapper`."""

    addAmount = Field(dtype=float, doc="Amount to add.", default=5.0)
    addNans = Field(dtype=bool, doc="Set the first pixel of each cell to NaN.", default=False)


class AddAmountMapper(ImageMapper):
    """Adds an amount to the image of each cell. Its second argument has a name of its own, as mappers are free to."""

    ConfigClass = AddAmountConfig
    _DefaultName = "addAmount"

    def run(self, subExposure, expandedSubExp, fullBBox, **kwargs):
        patch = subExposure.copy()
        patch.image.array[...] += self.config.addAmount
        if self.config.addNans:
            patch.image.array[0, 0] = np.nan
        return pipeBase.Struct(subExposure=patch)


class MeanMapper(ImageMapper):
    """The mean of each cell, or a number in place of an exposure."""

    _DefaultName = "meanMapper"

    def run(self, subExposure, expandedSubExp, fullBBox, **kwargs):
        return pipeBase.Struct(subExposure=float(subExposure.image.array.mean()), result=subExposure.image.array.mean())


def makeTask(mapper=AddAmountMapper, operation="average", compat=True, reducer=ImageReducer, **fields):
    """A task; fields of the config by name, ``scaleByFwhm`` off unless given."""
    config = ImageMapReduceConfig()
    config.mapper.retarget(mapper)
    if reducer is not ImageReducer:
        config.reducer.retarget(reducer)
    config.reducer.reduceOperation = operation
    config.compat = compat
    fields.setdefault("scaleByFwhm", False)
    for name, value in fields.items():
        setattr(config, name, value)
    return ImageMapReduceTask(config=config)


def pairs(**sizes):
    """``cell=40`` -> {"cellSizeX": 40, "cellSizeY": 40}; cell, step, border."""
    stems = {"cell": "cellSize", "step": "gridStep", "border": "borderSize"}
    return {stems[name] + axis: value for name, value in sizes.items() for axis in "XY"}
