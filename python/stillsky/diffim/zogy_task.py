"""Proper image subtraction (ZOGY) as tasks: of registered exposures, cell by cell, and with the template warped first."""

import lsst.pipe.base as pipeBase
import numpy as np
from lsst.utils.timer import timeMethod

from ..errors import DomainError, MismatchError, ShapeError
from ..image import Exposure, MaskedImage
from ..mapreduce.task import ImageMapper
from ..photom import PhotoCalib
from ..psfmatch.image_psf_match import ImagePsfMatchTask, subtractAlgorithmRegistry
from ..psfmatch.registration import registerTemplate
from ..stats import clippedStats
from ..task_base import SchemaVerbs, assignMetadata
from .polynomial_field import Background
from .resampling_noise import ResamplingNoise
from .zogy_config import ZogyConfig, ZogyImagePsfMatchConfig
from .zogy_exposures import zogyExposures
from .zogy_scale import fitFluxRatio

__all__ = [
    "ZogyConfig",
    "ZogyImagePsfMatchConfig",
    "ZogyImagePsfMatchTask",
    "ZogyMapper",
    "ZogyMapperConfig",
    "ZogyTask",
]


class ZogyTask(SchemaVerbs, pipeBase.Task):
    """Proper difference and score of two registered exposures.

    Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27); see `stillsky.diffim.zogyExposures`.

    Notes
    -----
    Metadata: zogyBeta, zogyGamma and the other items of `stillsky.diffim.ZogyResult`. They are assigned: a second run of
    the same task replaces them.
    """

    ConfigClass = ZogyConfig
    _DefaultName = "imageDifferenceZogy"

    @timeMethod
    def run(self, exposure1, exposure2, calculateScore=True, templateCorrelation=None):
        """Subtract the second exposure from the first.

        Parameters
        ----------
        exposure1, exposure2 : `stillsky.Exposure`
            Science and template, on one pixel grid, with PSFs. Not modified.
        calculateScore : `bool`
            Make the score exposure too.
        templateCorrelation : `numpy.ndarray` or callable, optional
            Of the noise of a resampled template; see `stillsky.diffim.zogyExposures`.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``diffExp`` (calibrated difference, white noise, PSF of the difference), ``scoreExp`` (score S with its
            variance; or None), ``scoreCorr`` (significance, `stillsky.image.Image`; or None) and ``ftDiff`` (the
            `ZogyResult` with all diagnostics). With ``scaleByCalibration`` they are in nJy.

        Raises
        ------
        ValueError
            Different dimensions, a missing PhotoCalib, PSFs off centre, a background that cannot be computed.
        stillsky.NoDataError
            No pixel with a positive variance, or too few stars for ``fitFluxRatio``.
        """
        science, template = self._prepare(exposure1, exposure2)
        config = self.config
        if config.scaleByCalibration:
            scales = (1.0, 1.0)
        else:
            scales = (config.scienceFluxScaling, config.templateFluxScaling)
        ratio, background, sigma = scales[0] / scales[1], None, config.astrometricSigma
        metadata = {"zogyGamma": 0.0}
        if config.fitFluxRatio:
            found = self._fitFluxRatio(science, template)
            ratio = found.beta
            shape = science.image.array.shape
            background = Background(np.array([[found.gamma]]), shape)
            sigma = sigma or float(max(found.scatter))
            metadata = {"zogyGamma": found.gamma, "zogyBetaError": found.betaError, "zogyOffset": list(found.offset),
                        "zogyFluxStars": found.nStars, "zogyIterations": found.iterations}  # fmt: skip
        result = zogyExposures(
            science,
            template,
            fluxRatio=ratio,
            background=background,
            astrometricSigma=sigma,
            score=calculateScore,
            holePlanes=tuple(config.holeMaskPlanes),
            statPlanes=tuple(config.ignoreMaskPlanes),
            maxCentroidDistance=config.maxPsfCentroidDist,
            spatiallyVarying=config.doSpatialGrid,
            innerSize=config.gridInnerSize,
            templateCorrelation=templateCorrelation,
        )
        assignMetadata(self.metadata, {**result.metadata, **metadata})
        self.log.info("Flux scale of the difference %.6g, one-sigma flux of the score %.6g",
                      result.metadata["zogyFluxScale"], result.metadata["zogyScoreFlux"] ** -0.5)  # fmt: skip
        self._toFluxUnits(result, scales[0], exposure1)
        return pipeBase.Struct(
            diffExp=result.difference, scoreExp=result.score, scoreCorr=result.scoreCorr, ftDiff=result
        )

    def _prepare(self, exposure1, exposure2):
        """Both exposures on one box, in nJy and without background as the configuration has it; new where changed."""
        if tuple(exposure1.dimensions) != tuple(exposure2.dimensions):
            raise ShapeError(
                f"exposures: wanted equal dimensions, got {tuple(exposure1.dimensions)} and {tuple(exposure2.dimensions)}"
            )
        if exposure1.bbox != exposure2.bbox:
            raise MismatchError(f"exposures: wanted one box, got {exposure1.bbox} and {exposure2.bbox}")
        prepared = []
        for exposure, name in ((exposure1, "science"), (exposure2, "template")):
            pixels = exposure.maskedImage
            if self.config.scaleByCalibration:
                if exposure.photoCalib is None:
                    raise DomainError(f"scaleByCalibration: wanted exposures with a PhotoCalib, the {name} has none")
                pixels = exposure.photoCalib.calibrateImage(pixels)
            if self.config.correctBackground:
                pixels = self._withoutMean(pixels, name)
            prepared.append(Exposure(pixels, exposure.info))
        return prepared

    def _withoutMean(self, pixels, name):
        bits = pixels.mask.bitmask(list(self.config.ignoreMaskPlanes), ignoreMissing=True)
        mean = clippedStats(pixels.image.array, pixels.mask.array, bits)[1]
        if not np.isfinite(mean):
            raise DomainError(f"correctBackground: the clipped mean of the {name} image is {mean}: no usable pixel")
        image = pixels.image.copy()
        image -= float(mean)
        return MaskedImage(image, pixels.mask, pixels.variance)

    def _fitFluxRatio(self, science, template):
        from .config import StarConfig
        from .stars import classifyStars, findObjects

        config = StarConfig()
        objects = findObjects(science.maskedImage, config)
        classifyStars(objects, config, science.image.array.shape)
        stars = objects.isStar if objects.isStar.any() else ~objects.damaged
        bits = [e.mask.bitmask(list(self.config.holeMaskPlanes), ignoreMissing=True) for e in (science, template)]
        return fitFluxRatio(
            science.maskedImage,
            template.maskedImage,
            science.psf,
            template.psf,
            objects.x[stars],
            objects.y[stars],
            bits,
        )

    def _toFluxUnits(self, result, scale, exposure1):
        """Divide by the flux scale of the science image, and say what a count is."""
        difference, score = result.difference, result.score
        if scale != 1.0:
            difference.maskedImage /= scale
            if score is not None:
                score.maskedImage *= scale  # F_S grows with the square of the scale
        if self.config.scaleByCalibration:
            for exposure in (difference, score):
                if exposure is not None:
                    exposure.photoCalib = PhotoCalib(1.0)
        result.fluxScales *= scale
        result.scoreFluxes *= scale**2


class ZogyMapperConfig(ZogyConfig):
    """Configuration of `ZogyMapper`."""

    def setDefaults(self):
        super().setDefaults()
        self.doSpatialGrid = False  # the cells are the grid


class ZogyMapper(ZogyTask, ImageMapper):
    """Proper difference of one cell of a map-reduce, with the PSFs and the noise at its centre."""

    ConfigClass = ZogyMapperConfig
    _DefaultName = "ip_diffim_zogyMapper"

    def run(self, subExposure, expandedSubExposure, fullBBox, template, calculateScore=False, **kwargs):
        """Subtract the template from a cell.

        Parameters
        ----------
        subExposure, expandedSubExposure : `stillsky.Exposure`
            The cell of the science image, and it with its border; only read.
        fullBBox : `stillsky.geom.Box2I`
        template : `stillsky.Exposure`
            The whole template, on the grid of the science image.
        calculateScore : `bool`
            Return the score in place of the difference.
        **kwargs
            Ignored.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``subExposure``.
        """
        box = expandedSubExposure.bbox
        found = ZogyTask.run(self, expandedSubExposure, template[box], calculateScore=calculateScore)
        made = found.scoreExp if calculateScore else found.diffExp
        return pipeBase.Struct(subExposure=made[subExposure.bbox])


class ZogyImagePsfMatchTask(ImagePsfMatchTask):
    """Warp a template onto the science grid if needed, and make the proper difference.

    There is no matching kernel: PSFs of both exposures are required.
    """

    ConfigClass = ZogyImagePsfMatchConfig
    _DefaultName = "zogyImagePsfMatch"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.zogyTask = ZogyTask(config=self.config.zogyConfig, name="zogy", parentTask=self)

    def run(self, scienceExposure, templateExposure, doWarping=True):
        """Subtract the template from the science exposure.

        Parameters
        ----------
        scienceExposure, templateExposure : `stillsky.Exposure`
            With WCS and PSFs. Not modified.
        doWarping : `bool`
            False: exposures on different grids are an error.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            The items of `ZogyTask.run`, ``subtractedExposure`` (the difference) and ``warpedExposure`` (the template on
            the science grid).

        Raises
        ------
        RuntimeError
            Not registered and ``doWarping`` is False, or no overlap on the sky.
        ValueError
            As `ZogyTask.run`.
        """
        warped = registerTemplate(templateExposure, scienceExposure, self.kConfig.warpingConfig, doWarping)
        noise = None
        if warped is not templateExposure:
            mapping = (scienceExposure.wcs, templateExposure.wcs)
            noise = ResamplingNoise(mapping, self.kConfig.warpingConfig.warpingKernelName)
        found = self.zogyTask.run(scienceExposure, warped, templateCorrelation=noise)
        return pipeBase.Struct(**found.getDict(), subtractedExposure=found.diffExp, warpedExposure=warped)

    def subtractExposures(self, *args, **kwargs):
        """Not part of proper subtraction; use `run`.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("ZOGY has no subtractExposures: use run(scienceExposure, templateExposure)")

    def subtractMaskedImages(self, *args, **kwargs):
        """Not part of proper subtraction, which needs PSFs; use `run`.

        Raises
        ------
        NotImplementedError
            Always.
        """
        raise NotImplementedError("ZOGY has no subtractMaskedImages: use run(scienceExposure, templateExposure)")


subtractAlgorithmRegistry.register("zogy", ZogyImagePsfMatchTask)
