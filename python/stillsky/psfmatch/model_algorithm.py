"""Giving an exposure the PSF of a model, without the task framework."""

from ..errors import InvalidPsfError
from ..image import Exposure
from ..kernel import ConvolutionControl, convolve
from . import fitSpatialKernel
from .basis import makeKernelBasisList
from .model_match import buildModelCellSet, modelFwhm, modelPsfSize, planModelCells, resizedModel, scaledKernel
from .settings import makeSettings

__all__ = ["matchToModel"]

_SEED = 68  # of the positions near the average one


def matchToModel(exposure, referencePsf, config):
    """Convolve an exposure so that its PSF becomes the reference: what ModelPsfMatchTask does.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        With a PSF. Not modified.
    referencePsf : `stillsky.psf.Psf`
    config : `ModelPsfMatchConfig`

    Returns
    -------
    matched : `stillsky.image.Exposure`
        With the reference PSF and all else of the exposure; edges within half a kernel carry EDGE.
    kernel : `stillsky.kernel.LinearCombinationKernel`
        Of sum 1.

    Raises
    ------
    InvalidPsfError
        The exposure has no PSF.
    PsfComputeShapeError
        A PSF cannot be evaluated.
    """
    if exposure.psf is None:
        raise InvalidPsfError("exposure: wanted one with a PSF model, it has none")
    kernelConfig = config.kernel.active
    basisList = makeKernelBasisList(kernelConfig, modelFwhm(exposure.psf, _SEED), modelFwhm(referencePsf))
    size = basisList[0].width
    cells = planModelCells(exposure.bbox, kernelConfig.sizeCellX, kernelConfig.sizeCellY)
    psfSize = modelPsfSize(
        exposure.psf,
        cells,
        size,
        autoPadTo=config.autoPadPsfTo if config.doAutoPadPsf else None,
        padBy=config.padPsfBy,
    )
    reference = resizedModel(referencePsf, psfSize)
    settings = makeSettings(kernelConfig, exposure.mask)
    cellSet = buildModelCellSet(
        exposure.psf, reference, cells, psfSize, size, settings, padTemplate=not kernelConfig.compat
    )
    kernel = scaledKernel(fitSpatialKernel(cellSet, basisList, settings).kernel, 1.0, firstOnly=kernelConfig.compat)
    matched = exposure.maskedImage.emptyLike()
    convolve(matched, exposure.maskedImage, kernel, ConvolutionControl(doNormalize=kernelConfig.compat))
    return Exposure(matched, exposure.info, psf=reference), kernel
