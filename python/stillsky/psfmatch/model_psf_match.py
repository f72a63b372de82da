"""ModelPsfMatchTask: give an exposure another PSF, from the two PSF models."""

import lsst.pipe.base as pipeBase

from ..errors import InvalidPsfError
from ..image import Exposure
from ..kernel import ConvolutionControl, convolve
from ..task_base import ErrorMetadata
from . import model_match
from .config import ModelPsfMatchConfig
from .make_kernel import logAndMakeBasisList
from .model_match import nextOddInteger
from .task import PsfMatchTask

__all__ = [
    "ModelPsfMatchConfig",
    "ModelPsfMatchTask",
    "PsfComputeShapeError",
    "WarpedPsfTransformTooBigError",
    "nextOddInteger",
]

_SEED = 68  # of the positions near the average one


class PsfComputeShapeError(ErrorMetadata, model_match.PsfComputeShapeError, pipeBase.AlgorithmError):
    """A PSF cannot be evaluated where its size is needed, as a repeatable failure of a pipeline task."""


class WarpedPsfTransformTooBigError(PsfComputeShapeError, model_match.WarpedPsfTransformTooBigError):
    """A warped PSF cannot be evaluated because its transform stretches too much."""


class ModelPsfMatchTask(PsfMatchTask):
    """Match the PSF model of an exposure to a reference PSF model; no stars are needed."""

    ConfigClass = ModelPsfMatchConfig
    _DefaultName = "modelPsfMatch"
    _debugName = "lsst.ip.diffim.modelPsfMatch"

    def run(self, exposure, referencePsfModel, kernelSum=1.0):
        """Convolve an exposure so that its PSF becomes the reference.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            With a PSF. Not modified.
        referencePsfModel : `stillsky.psf.Psf`
        kernelSum : `float`
            Sum of the matching kernel: fluxes of the result are this times those of the exposure.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            psfMatchedExposure (with the reference PSF, resized to the padded size, and the exposure's id, WCS, filter,
            PhotoCalib and visit info), psfMatchingKernel, kernelCellSet, metadata.

        Raises
        ------
        InvalidPsfError
            The exposure has no PSF.
        PsfComputeShapeError
            A PSF cannot be evaluated.
        DomainError
            The kernel does not fit into the PSF images, or the padding is odd.
        """
        if exposure.psf is None:
            raise InvalidPsfError("exposure: wanted one with a PSF model, it has none")
        try:
            cellSet, basisList, reference = self._buildCellSet(exposure, referencePsfModel)
        except model_match.PsfComputeShapeError as error:
            raise _repeatable(error) from error
        _, kernel, _ = self._solve(cellSet, basisList)
        kernel = model_match.scaledKernel(kernel, kernelSum, firstOnly=self.kConfig.compat)
        matched = exposure.maskedImage.emptyLike()
        # Rubin normalises the kernel, so that the flux scale of the result does not follow kernelSum.
        convolve(matched, exposure.maskedImage, kernel, ConvolutionControl(doNormalize=self.kConfig.compat))
        psfMatchedExposure = Exposure(
            matched,
            id=exposure.info.id,
            wcs=exposure.wcs,
            filter=exposure.filter,
            photoCalib=exposure.photoCalib,
            visitInfo=exposure.visitInfo,
            psf=reference,
        )
        return pipeBase.Struct(
            psfMatchedExposure=psfMatchedExposure,
            psfMatchingKernel=kernel,
            kernelCellSet=cellSet,
            metadata=self.metadata,
        )

    def _buildCellSet(self, exposure, referencePsfModel):
        """Cells of model images, the basis for them, and the reference on images of the padded size."""
        config = self.kConfig
        widths = (model_match.modelFwhm(exposure.psf, _SEED), model_match.modelFwhm(referencePsfModel))
        basisList = logAndMakeBasisList(self, *widths, metadata=self.metadata)
        kernelSize = basisList[0].width
        cells = model_match.planModelCells(exposure.bbox, config.sizeCellX, config.sizeCellY)
        size = model_match.modelPsfSize(
            exposure.psf,
            cells,
            kernelSize,
            autoPadTo=self.config.autoPadPsfTo if self.config.doAutoPadPsf else None,
            padBy=self.config.padPsfBy,
        )
        reference = model_match.resizedModel(referencePsfModel, size, self.log)
        cellSet = model_match.buildModelCellSet(
            exposure.psf, reference, cells, size, kernelSize, self._settings(), padTemplate=not config.compat
        )
        return cellSet, basisList, reference

    def _diagnostic(self, kernelCellSet, spatialSolution, spatialKernel, spatialBg):
        """Nothing: models have no noise and no outliers to report on."""


def _repeatable(error):
    """The same error, as one that pipelines understand."""
    warped = isinstance(error, model_match.WarpedPsfTransformTooBigError)
    position = error.metadata["position"]
    failure = (WarpedPsfTransformTooBigError if warped else PsfComputeShapeError)((position["x"], position["y"]))
    failure.args = error.args
    return failure
