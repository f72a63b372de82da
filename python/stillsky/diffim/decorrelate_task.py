"""Decorrelation as tasks: with one kernel, or cell by cell through map-reduce."""

import lsst.pipe.base as pipeBase
import numpy as np
from lsst.pex.config import Config, ConfigField, ListField
from lsst.utils.timer import timeMethod

from ..errors import DomainError, StillskyError
from ..image import Exposure
from ..mapreduce.task import ImageMapper, ImageMapReduceConfig, ImageMapReduceTask
from ..stats import clippedStats
from ..task_base import SchemaVerbs, assignMetadata
from .decorrelate_config import STATISTICS_PLANES, DecorrelateALKernelConfig, DecorrelateConfig
from .decorrelation import decorrelate, kernelImage

__all__ = [
    "DecorrelateALKernelConfig",
    "DecorrelateALKernelMapper",
    "DecorrelateALKernelMapperConfig",
    "DecorrelateALKernelSpatialConfig",
    "DecorrelateALKernelSpatialTask",
    "DecorrelateALKernelTask",
    "DecorrelateALKernelTiledTask",
]


class DecorrelateALKernelTask(SchemaVerbs, pipeBase.Task):
    """Make the noise of an Alard-Lupton difference white, with the kernel at one position.

    The pixel noise of the result has the variance ``svar + tvar K0^2`` (DMTN-021, Reiss & Lupton 2016); with
    ``preConvMode`` the result is the likelihood image of DMTN-179. Variance plane and PSF are those of the result.

    Notes
    -----
    Metadata: the items of `stillsky.diffim.DecorrelateResult`. They are assigned: a second run of the same
    task replaces them.
    """

    ConfigClass = DecorrelateALKernelConfig
    _DefaultName = "ip_diffim_decorrelateALKernel"

    def computeVarianceMean(self, exposure):
        """Sigma-clipped mean of the variance plane over pixels without any of ``config.ignoreMaskPlanes``.

        Parameters
        ----------
        exposure : `stillsky.Exposure`

        Returns
        -------
        variance : `float`
            NaN when no pixel is left.
        """
        bits = exposure.mask.bitmask(self.config.ignoreMaskPlanes, ignoreMissing=True)
        return float(clippedStats(exposure.variance.array, exposure.mask.array, bits)[1])

    @timeMethod
    def run(
        self,
        scienceExposure,
        templateExposure,
        subtractedExposure,
        psfMatchingKernel,
        preConvKernel=None,
        xcen=None,
        ycen=None,
        svar=None,
        tvar=None,
        templateMatched=True,
        preConvMode=False,
        kernelSum=None,
        templateCorrelation=None,
        **kwargs,
    ):
        """Decorrelate a difference, or turn a pre-filtered one into the score image.

        Parameters
        ----------
        scienceExposure : `stillsky.Exposure`
            Before any filter.
        templateExposure : `stillsky.Exposure`
            On the grid of the science image, before the matching.
        subtractedExposure : `stillsky.Exposure`
            The difference; not modified. A PSF that it lacks is that of the image that was not convolved.
        psfMatchingKernel : `stillsky.kernel.Kernel` or `numpy.ndarray`
            Not normalised.
        preConvKernel : `stillsky.kernel.Kernel` or `numpy.ndarray`, optional
            Unit-sum kernel that filtered the science image; only with ``preConvMode``. Default there: the PSF of
            ``scienceExposure`` at its average position.
        xcen, ycen : `float`, optional
            Where the kernel is taken, parent pixels; default: the centre of the difference.
        svar, tvar : `float`, optional
            Noise variances; default: `computeVarianceMean`.
        templateMatched : `bool`
            The template was convolved; otherwise the science image, and the difference was divided by the kernel sum.
        preConvMode : `bool`
            ``subtractedExposure`` is pre-filtered science minus matched template.
        kernelSum : `float`, optional
            What the difference was divided by when the science image was convolved; default: the kernel sum at its
            centre.
        templateCorrelation : `numpy.ndarray` or callable, optional
            Autocorrelation of the template's noise, see `stillsky.diffim.decorrelate`; default: white.
        **kwargs
            Ignored, so that mappers may pass on theirs.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``correctedExposure``: a new exposure.

        Raises
        ------
        ValueError
            A ``preConvKernel`` without ``preConvMode`` and a convolved template; variances that leave no noise.
        stillsky.NoDataError
            An image without a finite pixel.
        """
        if preConvKernel is not None and not (templateMatched and preConvMode):
            raise DomainError("preConvKernel: wanted only with preConvMode=True and templateMatched=True")
        if preConvMode and not templateMatched:
            raise DomainError("preConvMode: the template must be the convolved image, got templateMatched=False")
        if preConvMode and preConvKernel is None:
            psf = scienceExposure.psf
            if psf is None:
                raise DomainError("preConvMode: wanted a preConvKernel or a science exposure with a PSF, got neither")
            preConvKernel = psf.localKernel(psf.averagePosition)
        center = subtractedExposure.bbox.center
        position = tuple(float(c if given is None else given) for given, c in zip((xcen, ycen), center))
        psf = subtractedExposure.psf
        if psf is None:
            psf = (scienceExposure if templateMatched else templateExposure).psf
        found = self._decorrelate(
            subtractedExposure,
            scienceExposure,
            templateExposure,
            psfMatchingKernel,
            templateMatched=templateMatched,
            kernelSum=kernelSum,
            preConvKernel=preConvKernel,
            psf=psf,
            position=position,
            scienceVariance=_given(svar),
            templateVariance=_given(tvar),
            templateCorrelation=templateCorrelation,
        )
        return pipeBase.Struct(correctedExposure=found)

    def _decorrelate(self, difference, *args, **kwargs):
        found = decorrelate(difference, *args, config=self.config, **kwargs)
        assignMetadata(self.metadata, found.metadata)
        for code, sentence in found.warnings:
            self.log.warning("%s: %s", code, sentence)
        self.log.info(
            "Variance of the science image %.6g, of the template %.6g; of the decorrelated image %.6g",
            *(found.metadata[name] for name in ("scienceVariance", "templateVariance", "noiseVariance")),
        )
        if not self.config.updatePsf:
            return Exposure(found.maskedImage, difference.info)
        # aperture corrections belong to the PSF that they were measured with
        return Exposure(found.maskedImage, difference.info, psf=found.psf, apCorrMap=None)


def _given(variance):
    """A variance that was given, or None: NaN stands for unknown."""
    return None if variance is None or np.isnan(variance) else float(variance)


class DecorrelateALKernelTiledTask(DecorrelateALKernelTask):
    """Decorrelation that follows kernel and noise over the image, tile by tile, as `stillsky.diffim.subtract` does it.

    With ``spatiallyVarying=False`` it is `DecorrelateALKernelTask`.
    """

    ConfigClass = DecorrelateConfig
    _DefaultName = "ip_diffim_decorrelateALKernelTiled"


class DecorrelateALKernelMapperConfig(DecorrelateALKernelConfig):
    """Configuration of `DecorrelateALKernelMapper`."""


class DecorrelateALKernelMapper(DecorrelateALKernelTask, ImageMapper):
    """Decorrelation of one cell, with the kernel at its centre and the noise of its own pixels.

    Cells are read from the input and never from each other's results.
    """

    ConfigClass = DecorrelateALKernelMapperConfig
    _DefaultName = "ip_diffim_decorrelateALKernelMapper"

    def run(
        self,
        subExposure,
        expandedSubExposure,
        fullBBox,
        template,
        science,
        alTaskResult=None,
        psfMatchingKernel=None,
        preConvKernel=None,
        **kwargs,
    ):
        """Decorrelate a cell.

        Parameters
        ----------
        subExposure, expandedSubExposure : `stillsky.Exposure`
            The cell, and it with its border; only read.
        fullBBox : `stillsky.geom.Box2I`
        template, science : `stillsky.Exposure`
            The whole images before the matching.
        alTaskResult : object with ``psfMatchingKernel``, optional
            Stands in for ``psfMatchingKernel``.
        psfMatchingKernel, preConvKernel : `stillsky.kernel.Kernel`, optional
        **kwargs
            templateMatched, preConvMode, kernelSum, templateCorrelation as of `DecorrelateALKernelTask.run`.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``subExposure``. A cell without a finite pixel is returned as it is.

        Raises
        ------
        RuntimeError
            Neither ``alTaskResult`` nor ``psfMatchingKernel``.
        """
        if psfMatchingKernel is None:
            if alTaskResult is None:
                raise StillskyError("wanted alTaskResult or psfMatchingKernel, both are None")
            psfMatchingKernel = alTaskResult.psfMatchingKernel
        box = expandedSubExposure.bbox
        if not np.isfinite(expandedSubExposure.image.array).any():
            return pipeBase.Struct(subExposure=subExposure.copy())
        found = super().run(
            science[box], template[box], expandedSubExposure, psfMatchingKernel, preConvKernel, **kwargs
        )
        return pipeBase.Struct(subExposure=found.correctedExposure[subExposure.bbox])


class DecorrelateALKernelSpatialConfig(Config):
    """Configuration of `DecorrelateALKernelSpatialTask`."""

    decorrelateConfig = ConfigField(
        dtype=DecorrelateConfig, doc="Decorrelation of the whole image, tile by tile, and of every cell."
    )
    decorrelateMapReduceConfig = ConfigField(dtype=ImageMapReduceConfig, doc="The cells, and how they are run.")
    ignoreMaskPlanes = ListField(
        dtype=str,
        doc="Mask planes to ignore for sigma-clipped statistics of the variance planes.",
        default=list(STATISTICS_PLANES),
    )

    def setDefaults(self):
        super().setDefaults()
        cells = self.decorrelateMapReduceConfig
        cells.gridStepX = cells.gridStepY = 40
        cells.cellSizeX = cells.cellSizeY = 41
        cells.borderSizeX = cells.borderSizeY = 8
        cells.mapper.retarget(DecorrelateALKernelMapper)
        cells.reducer.reduceOperation = "average"


class DecorrelateALKernelSpatialTask(SchemaVerbs, pipeBase.Task):
    """Decorrelation that follows the kernel over the image, cell by cell.

    Notes
    -----
    `stillsky.diffim.decorrelate`, which `subtract` uses, does the same faster and blends its tiles: that is ``tiled=True``;
    the default is Rubin's grid of cells. ``config.decorrelateConfig`` and ``config.ignoreMaskPlanes`` hold for the cells
    as well.

    Attributes
    ----------
    last : `lsst.pipe.base.Task`
        The subtask that the last run was left to; its metadata have the figures of a decorrelation without cells.
    """

    ConfigClass = DecorrelateALKernelSpatialConfig
    _DefaultName = "ip_diffim_decorrelateALKernelSpatial"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        settings = {**self.config.decorrelateConfig.toDict(), "ignoreMaskPlanes": list(self.config.ignoreMaskPlanes)}
        plain, tiles = DecorrelateALKernelConfig(), DecorrelateConfig()
        tiles.update(**settings)
        plain.update(**{name: value for name, value in settings.items() if name in plain.keys()})
        self.decorrelateTask = DecorrelateALKernelTask(config=plain, name="decorrelate", parentTask=self)
        self.tiledTask = DecorrelateALKernelTiledTask(config=tiles, name="decorrelateTiles", parentTask=self)
        self.last = None
        cells = self.config.decorrelateMapReduceConfig.copy()
        if issubclass(cells.mapper.target, DecorrelateALKernelTask):
            cells.mapper.value.update(**plain.toDict())
        self.mapReduceTask = ImageMapReduceTask(config=cells, name="mapReduce", parentTask=self)

    def computeVarianceMean(self, exposure):
        """Sigma-clipped mean of the variance plane; see `DecorrelateALKernelTask.computeVarianceMean`."""
        return self.decorrelateTask.computeVarianceMean(exposure)

    @timeMethod
    def run(
        self,
        scienceExposure,
        templateExposure,
        subtractedExposure,
        psfMatchingKernel,
        spatiallyVarying=True,
        preConvKernel=None,
        templateMatched=True,
        preConvMode=False,
        templateCorrelation=None,
        tiled=False,
    ):
        """Decorrelate a difference, or turn a pre-filtered one into the score image.

        Parameters
        ----------
        scienceExposure, templateExposure, subtractedExposure, psfMatchingKernel, preConvKernel, templateMatched, preConvMode, templateCorrelation
            See `DecorrelateALKernelTask.run`.
        spatiallyVarying : `bool`
            Cell by cell; otherwise the whole image with the kernel and the noise of its centre.
        tiled : `bool`
            Without ``spatiallyVarying``: tile by tile, as ``config.decorrelateConfig`` says, instead of one filter for the
            whole image.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``correctedExposure``: a new exposure, with the mask of ``subtractedExposure``.

        Raises
        ------
        ValueError
            A ``preConvKernel`` without ``preConvMode``; cells in units of a PSF that the difference lacks.
        """
        if not spatiallyVarying:
            self.last = self.tiledTask if tiled else self.decorrelateTask
            return self.last.run(
                scienceExposure,
                templateExposure,
                subtractedExposure,
                psfMatchingKernel,
                preConvKernel=preConvKernel,
                templateMatched=templateMatched,
                preConvMode=preConvMode,
                templateCorrelation=templateCorrelation,
            )
        self.last = self.mapReduceTask
        center = subtractedExposure.bbox.center
        found = self.mapReduceTask.run(
            subtractedExposure,
            forceEvenSized=True,
            science=scienceExposure,
            template=templateExposure,
            psfMatchingKernel=psfMatchingKernel,
            preConvKernel=preConvKernel,
            templateMatched=templateMatched,
            preConvMode=preConvMode,
            templateCorrelation=templateCorrelation,
            kernelSum=float(kernelImage(psfMatchingKernel, *center).sum()),
        )
        corrected = found.exposure
        corrected.mask.array[...] = subtractedExposure.mask.array
        corrected.mask.schema = subtractedExposure.mask.schema
        return pipeBase.Struct(correctedExposure=corrected)
