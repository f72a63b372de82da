"""ImageDifferenceTask: template, registration, subtraction, decorrelation, detection and measurement in one task."""

import contextlib
import os

import lsst.pipe.base as pipeBase
import numpy as np
from lsst.utils.timer import timeMethod

from ..errors import DomainError, InvalidPsfError, NoDataError
from ..image import Exposure, MaskedImage
from ..psfmatch.registration import isRegistered
from ..task_base import CommandLineVerbs, EarlyPipelineVerbs, ErrorMetadata, assignMetadata
from ..threads import numThreads
from . import detect_errors, kernel_stars
from . import image_difference_run as steps
from .alard_lupton_inputs import applyExternalCalibration, coveredFraction
from .detect_measure_task import TooManyCosmicRays
from .ids import layoutOfDataId, makeIdFactory
from .image_difference_sources import SourceFinder
from .image_difference_task_config import ImageDifferenceConfig, ImageDifferenceFromTemplateConfig
from .match_sources import idsOf, matchIds, matchOnPixels
from .reference import ReferenceLoader
from .resampling_noise import ResamplingNoise
from .source_schema import sourceSchema
from .template_config import GetCalexpAsTemplateConfig
from .template_task import GetCalexpAsTemplateTask

__all__ = [
    "ImageDifferenceConfig",
    "ImageDifferenceFromTemplateConfig",
    "ImageDifferenceFromTemplateTask",
    "ImageDifferenceTask",
    "NoKernelStarsError",
]


class NoKernelStarsError(ErrorMetadata, kernel_stars.NoKernelStarsError, pipeBase.AlgorithmError):
    """No source serves the kernel fit, as a repeatable failure of a pipeline task."""


class ImageDifferenceTask(CommandLineVerbs, EarlyPipelineVerbs, pipeBase.PipelineTask):
    """Subtract a template from a science image, and find and measure what differs.

    Parameters
    ----------
    butler : optional
        Accepted for callers of old, not used.
    refObjLoader : `stillsky.diffim.reference.ReferenceLoader`, optional
        Reference objects; default: as ``config.refObjLoader`` says.
    **kwargs
        Of `lsst.pipe.base.PipelineTask`.

    Attributes
    ----------
    schema, outputSchema : `astropy.table.Table`
        Empty, with the columns of the sources.
    algMetadata : `dict`
        Names of the algorithms that measure the sources.
    detected : `stillsky.diffim.DetectAndMeasureResult` or None
        Everything about the last search: footprints, counts, seconds.
    debug : `dict`
        Switches of `runDebug`: display, showSubtracted, showPixelResiduals, showDiaSources, showDipoles,
        maskTransparency, path.
    figures : `dict`
        What `runDebug` drew last.

    Notes
    -----
    Metadata are assigned: a second run replaces them. Those of the subtasks are in theirs (`getFullMetadata`).

    Raises
    ------
    ValueError
        doMatchSources or kernelSourcesFromRef without reference objects.
    """

    ConfigClass = ImageDifferenceConfig
    _DefaultName = "imageDifference"

    def __init__(self, butler=None, *, refObjLoader=None, **kwargs):
        super().__init__(**kwargs)
        config = self.config
        self.makeSubtask("getTemplate")
        self.makeSubtask("subtract")
        if config.decorrelates:
            self.makeSubtask("decorrelate")
        if config.doScaleTemplateVariance or config.doScaleDiffimVariance:
            self.makeSubtask("scaleVariance")
        if config.doUseRegister:
            self.makeSubtask("register")
        self.schema = self.outputSchema = sourceSchema()
        self.algMetadata = {"plugins": list(config.detectAndMeasure.measurement.plugins)}
        if config.doSelectSources:
            self.makeSubtask("sourceSelector")
        if config.doMatchSources or (config.doSelectSources and config.kernelSourcesFromRef):
            self.makeSubtask("astrometer", refObjLoader=self._loader(refObjLoader))
        if config.doDetection:
            self.makeSubtask("detection")
        for name, wanted in (("measurement", "doMeasurement"), ("applyApCorr", "doApCorr"),
                             ("forcedMeasurement", "doForcedMeasurement"), ("skySources", "doSkySources")):  # fmt: skip
            if getattr(config, wanted):
                self.makeSubtask(name)
        self.detected, self.quality, self.debug, self.figures = None, None, {}, {}

    def _loader(self, given):
        """Reference objects; None when pipelines will give them."""
        settings = self.config.refObjLoader
        if given is not None:
            return given
        if settings.path:
            return ReferenceLoader(settings.path, settings)
        if settings.fromButler:
            return None
        raise DomainError(
            "doMatchSources and kernelSourcesFromRef need reference objects: set refObjLoader.path or "
            "refObjLoader.fromButler, or give a refObjLoader"
        )

    def getSchemaCatalogs(self):
        """The empty table of sources, by its dataset type."""
        return {f"{self.config.coaddName}Diff_diaSrc": self.outputSchema}

    # ------------------------------------------------------------------ pipelines

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Read, make the template, run, write. One thread unless the environment says otherwise."""
        with contextlib.nullcontext() if os.environ.get("STILLSKY_NUM_THREADS") else numThreads(1):
            inputs = butlerQC.get(inputRefs)
            exposure = self._calibrated(inputs)
            if not self.config.doSubtract:
                self._finishQuantum(butlerQC, outputRefs, inputs, exposure, None)
                return
            refs = getattr(inputRefs, "dcrCoadds" if self.config.coaddName == "dcr" else "coaddExposures")
            if self.config.coaddName == "dcr" and not getattr(self.getTemplate, "takesSubfilters", False):
                raise DomainError(
                    "coaddName='dcr': getTemplate cannot combine models of sub-bands", remedy="retarget getTemplate"
                )
            found = self.getTemplate.runQuantum(exposure, butlerQC, inputRefs.skyMap, refs)
            inputs.setdefault("templateSources", found.sources)
            self._finishQuantum(butlerQC, outputRefs, inputs, exposure, found.exposure)

    def runDataRef(self, sensorRef, templateIdList=None):
        """Second-generation entry: read through a data reference, run, write what the configuration says.

        Parameters
        ----------
        sensorRef : `stillsky.compat.store.DataRef`
            Instrument, visit, detector, and the sky map where there are several.
        templateIdList : sequence of mappings, optional
            Data ids of calibrated exposures, the first of which is the template, in place of coadds; what they leave open
            is as in ``sensorRef``.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            As of `run`.
        """
        if not templateIdList:
            return super().runDataRef(sensorRef)
        names = {name: one.name for name, one in self.getInputDatasetTypes(self.config).items()}
        read = {"exposure": sensorRef.get(names["exposure"])}
        for name in ("selectSources", "calexpBackground"):
            if name in names and sensorRef.datasetExists(names[name]):
                read[name] = sensorRef.get(names[name])
        others = [type(sensorRef)(sensorRef.store, {**sensorRef.dataId.mapping, **one}) for one in templateIdList]
        chosen = GetCalexpAsTemplateConfig()
        chosen.doAddCalexpBackground = self.config.doAddCalexpBackground
        chooser = GetCalexpAsTemplateTask(name="getCalexpAsTemplate", parentTask=self, config=chosen)
        self.getCalexpAsTemplate = (
            chooser  # the task's metadata are also those of its subtasks, which must live for that
        )
        background = others[0].get(names["calexpBackground"]) if self.config.doAddCalexpBackground else None
        calexps = [other.get(names["exposure"]) for other in others]
        template = chooser.run(read["exposure"], calexps, background).exposure
        results = self.run(
            self._calibrated(read),
            selectSources=read.get("selectSources"),
            templateExposure=template,
            idFactory=self._ids(sensorRef.dataId),
            calexpBackgroundExposure=read.get("calexpBackground"),
        )
        for name, one in self.getOutputDatasetTypes(self.config).items():
            thing = getattr(results, name, None)
            if thing is not None:
                sensorRef.store.register(one.name, one.storageClass, one.dimensions)
                sensorRef.put(thing, one.name)
        return results

    @classmethod
    def _makeArgumentParser(cls):
        """``--id`` for the science images, ``--templateId`` for exposures that are templates in place of coadds."""
        parser = super()._makeArgumentParser()
        parser.add_id_argument("--templateId", "calexp", help="data ids of the visits that are the template")
        return parser

    @classmethod
    def _targetArguments(cls, parsedCmd):
        return {"templateIdList": [dict(ref.dataId.mapping) for ref in parsedCmd.templateId.refList]}

    def _getConfigName(self):
        return f"{self.config.coaddName}Diff_config"

    def _getMetadataName(self):
        return f"{self.config.coaddName}Diff_metadata"

    def _calibrated(self, inputs):
        """The science image with its final calibration; what was read stays as it was, others may read it, too."""
        exposure = Exposure(inputs["exposure"].maskedImage, inputs["exposure"].info)
        return self.prepareCalibratedExposure(exposure, inputs.get("finalizedPsfApCorrCatalog"))

    def _finishQuantum(self, butlerQC, outputRefs, inputs, exposure, template):
        """From template to written outputs."""
        if inputs.get("referenceCatalog") is not None:
            if len(inputs["referenceCatalog"]) == 0:
                raise pipeBase.NoWorkFound("There are no reference objects for the science image.")
            self.astrometer.refObjLoader = ReferenceLoader(inputs["referenceCatalog"], self.config.refObjLoader)
        try:
            steps.prepared(exposure, "science image")
        except NoDataError as error:
            raise pipeBase.UpstreamFailureNoWorkFound(str(error)) from error
        if self.config.doSubtract:
            self.checkTemplateIsSufficient(template, exposure)
        outputs = pipeBase.Struct()
        try:
            self.run(
                exposure,
                selectSources=inputs.get("selectSources"),
                templateExposure=template,
                templateSources=inputs.get("templateSources"),
                idFactory=self._ids(butlerQC.quantum.dataId),
                calexpBackgroundExposure=inputs.get("calexpBackground"),
                subtractedExposure=inputs.get("inputDifference"),
                results=outputs,
            )
        except pipeBase.AlgorithmError as error:
            failure = pipeBase.AnnotatedPartialOutputsError.annotate(error, self, log=self.log)
            if outputs.getDict():
                self._put(butlerQC, outputs, outputRefs)
            raise failure from error
        self._put(butlerQC, outputs, outputRefs)

    @staticmethod
    def _put(butlerQC, outputs, outputRefs):
        if outputs.diaSources is None:
            del outputs.diaSources
        butlerQC.put(outputs, outputRefs)

    def _ids(self, dataId):
        """Ids of the detector and visit, of the current layout."""
        layout = layoutOfDataId(dataId, self.config.idGenerator)
        factory = self.makeIdFactory(layout.upper, layout.releaseBits + layout.maxBits)
        factory.meta = layout.meta  # how to unpack them goes into the table
        return factory

    @staticmethod
    def makeIdFactory(expId, expBits):
        """Ids of the sources of one exposure: the exposure's number above a counter; see `stillsky.diffim.makeIdFactory`.

        Parameters
        ----------
        expId : `int`
        expBits : `int`
            Bits that numbers of exposures may have.

        Returns
        -------
        idFactory : `stillsky.diffim.ids.IdFactory`

        Raises
        ------
        IdOverflowError
            The number does not fit (a RuntimeError).
        """
        return makeIdFactory(expId, expBits)

    # ------------------------------------------------------------------ inputs

    def prepareCalibratedExposure(self, exposure, finalizedPsfApCorrCatalog=None):
        """Give an exposure the final PSF and aperture corrections of its detector.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            Changed in place.
        finalizedPsfApCorrCatalog : `astropy.table.Table` with id, psf and apCorrMap, or mapping of ids to records
            None: nothing happens. Without a row for the detector, or when the row lacks either, both are kept, with a
            warning.

        Returns
        -------
        exposure : `stillsky.image.Exposure`
            The same.

        Raises
        ------
        ValueError
            The exposure does not know its detector.
        """
        applyExternalCalibration(exposure, finalizedPsfApCorrCatalog, self.log, together=True)
        return exposure

    def checkTemplateIsSufficient(self, templateExposure, science=None):
        """Raise when too little of a template has data.

        Parameters
        ----------
        templateExposure : `stillsky.image.Exposure`
        science : `stillsky.image.Exposure`, optional
            Counts as well where the template lies on its grid.

        Returns
        -------
        fraction : `float`
            Pixels without NO_DATA whose value and variance are finite in both images, over all pixels of the science
            image; of a template on another grid, its own pixels over all of them.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            It is below ``requiredTemplateFraction``, or there is no template.
        """
        if templateExposure is None:
            raise pipeBase.NoWorkFound("There is no template for the science image.")
        fraction = coveredFraction(*_onOneGrid(templateExposure, science))
        self.log.info("The template has %.1f percent of its pixels", 100 * fraction)
        required = self.config.requiredTemplateFraction
        if fraction < required:
            raise pipeBase.NoWorkFound(
                f"Insufficient template coverage: {100 * fraction:.1f} % < {100 * required:.1f} % required. To go on all "
                "the same, set requiredTemplateFraction=0."
            )
        return fraction

    def fitAstrometry(self, templateSources, templateExposure, selectSources):
        """Refit the WCS of the template so that its sources fall on those of the science image.

        Parameters
        ----------
        templateSources : `astropy.table.Table`
        templateExposure : `stillsky.image.Exposure`
        selectSources : `astropy.table.Table`
            Of the science image.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            ``matches`` and ``wcs``; see `RegisterTask.run`.
        """
        return self.register.run(templateSources, templateExposure.wcs, templateExposure.bbox, selectSources)

    # ------------------------------------------------------------------ run

    @timeMethod
    def run(
        self,
        exposure=None,
        selectSources=None,
        templateExposure=None,
        templateSources=None,
        idFactory=None,
        calexpBackgroundExposure=None,
        subtractedExposure=None,
        *,
        overwrite=False,
        results=None,
    ):
        """Match PSFs, subtract, detect and measure.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`, optional
            Science image, with a PSF. May be None with ``doSubtract=False``: then only the difference is measured.
        selectSources : `astropy.table.Table`, optional
            Sources of the science image; detected when needed and not given.
        templateExposure : `stillsky.image.Exposure`, optional
            Is warped onto the science grid if it lies on another one.
        templateSources : `astropy.table.Table`, optional
            Sources of the template.
        idFactory : `IdFactory` or `IdGenerator`, optional
            Default: 1, 2, ...
        calexpBackgroundExposure : `stillsky.image.Image` or Exposure, optional
            Wanted with ``doAddCalexpBackground``.
        subtractedExposure : `stillsky.image.Exposure`, optional
            Wanted with ``doSubtract=False``: sources are searched on it.
        overwrite : `bool`
            Let the exposures given change, which saves copies. Otherwise none of them does.
        results : `lsst.pipe.base.Struct`, optional
            Is filled and returned; after a failure of the search for sources it holds the images.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            subtractedExposure (None with an Alard-Lupton score image), scoreExposure, warpedExposure, matchedExposure
            (None for zogy), subtractRes, diaSources (None without detection), selectSources.

        Raises
        ------
        lsst.pipe.base.TaskError
            The science image has no PSF.
        ValueError
            An input that the configuration needs is missing; a table lacks columns; no photometric calibration and not
            ``assumeCalibrated``.
        RuntimeError
            No overlap, nothing to match, no kernel stars, too many sources for the ids (`IdOverflowError`).
        NoDataError
            An image without a single finite pixel.
        lsst.pipe.base.AlgorithmError
            Nothing to fit a kernel to (`NoKernelStarsError`, `NoKernelCandidatesError`, `ObjectSizeNoGoodSourcesError`),
            a variance plane that is far off, or more cosmic rays than may be (`TooManyCosmicRays`).

        Notes
        -----
        With an Alard-Lupton score image the kernel is fitted twice: sources are searched on the score and measured on
        the difference, which serves that alone. Peak memory about 15 float32 planes beyond the inputs, of which 9 are
        returned.
        """
        config = self.config
        if config.doSubtract:
            self._requireInputs(exposure, templateExposure)
        elif subtractedExposure is None:
            raise DomainError("doSubtract=False: wanted subtractedExposure, got None")
        if config.doAddCalexpBackground and exposure is not None:
            exposure = steps.withBackground(exposure, calexpBackgroundExposure, overwrite)
        made, choice, residuals = steps.DifferenceProducts(difference=subtractedExposure), None, None
        science = exposure
        if config.doSubtract:
            science = steps.prepared(exposure, "science image")
            made, science, choice, selectSources, residuals = self._subtract(
                science, steps.prepared(templateExposure, "template"), selectSources, templateSources, overwrite
            )
        elif config.doDetection and not overwrite:
            made.difference = subtractedExposure.copy()
        results = pipeBase.Struct() if results is None else results
        diaSources = None
        self._collect(results, made, selectSources, None)
        if config.doDetection:
            diaSources = self._findSources(made, science, selectSources, idFactory)
            self._collect(results, made, selectSources, diaSources)
        self._note(made, science)
        if config.doAddMetrics and choice is not None:
            self.quality.aggregate(selectSources, residuals, diaSources)
        kernelSources = None if choice is None else choice.kernelSources
        self.runDebug(exposure, made.result, selectSources, kernelSources, diaSources, difference=made.difference)
        return results

    def _collect(self, results, made, selectSources, diaSources):
        """What there is, as members of the result."""
        config = self.config
        hidden = config.doSubtract and config.useScoreImageDetection and not config.isZogy
        values = dict(
            subtractedExposure=None if hidden else made.difference,
            scoreExposure=made.score,
            warpedExposure=made.warped,
            matchedExposure=made.matched,
            subtractRes=made.result,
            diaSources=diaSources,
            selectSources=selectSources,
        )
        for name, value in values.items():
            setattr(results, name, value)

    def _requireInputs(self, exposure, template):
        for name, given in (("exposure", exposure), ("templateExposure", template)):
            if given is None:
                raise DomainError(f"{name}: wanted an exposure with doSubtract=True, got None")
        if exposure.psf is None:
            raise pipeBase.TaskError("Exposure has no psf")
        if template.psf is None:
            raise DomainError("templateExposure: wanted an exposure with a PSF")
        if not self.config.assumeCalibrated:
            for name, given in (("exposure", exposure), ("templateExposure", template)):
                if given.photoCalib is None:
                    raise DomainError(f"{name}: wanted a photometric calibration", remedy="set assumeCalibrated")

    # ------------------------------------------------------------------ subtraction

    def _subtract(self, science, template, selectSources, templateSources, overwrite):
        """(products, science image in the units of the difference, choice of kernel stars, selectSources, residuals)."""
        config = self.config
        if config.doScaleTemplateVariance:
            template = self._scaledVariance(template, "scaleTemplateVarianceFactor", overwrite)
        assignMetadata(self.metadata, {"psfMatchingAlgorithm": config.subtract.name})
        filtered = config.useScoreImageDetection and not config.isZogy
        assignMetadata(self.metadata, steps.psfFigures(science, template, filtered))
        if config.isZogy:
            made, science = steps.properDifference(self, science, template)
            return made, science, None, selectSources, None
        choice, residuals, kernelSources, correlation = None, None, None, None
        if config.doSelectSources:
            if selectSources is None:
                self.log.warning("No sources of the science image are given: they are detected")
                selectSources = self.subtract.getSelectSources(science, sigma=steps.psfSigma(science))
            if config.doAddMetrics:
                self.quality = steps.KernelQuality(self, science, template)
                selectSources = self.quality.withColumns(selectSources)
            with _asAlgorithmError():
                choice = steps.KernelStarChoice(self, science, selectSources, templateSources)
            kernelSources = choice.kernelSources
            assignMetadata(self.metadata, {"nKernelSources": len(choice.stars.kernel),
                                           "nControlSources": len(choice.stars.control)})  # fmt: skip
        if config.doUseRegister:
            template, correlation, residuals = self._registered(
                science, template, selectSources, templateSources, choice
            )
        with _asAlgorithmError():
            made = steps.AlardLupton(self, science, template, kernelSources, correlation).run()
        if config.doAddMetrics and choice is not None:
            self.quality.fill(choice, made)
        return made, science, choice, selectSources, residuals

    def _registered(self, science, template, selectSources, templateSources, choice):
        """(template on the science grid, how that correlates its noise, residuals by source)."""
        if templateSources is None:
            templateSources = self.subtract.getSelectSources(template, sigma=steps.psfSigma(template))
        found = self.fitAstrometry(templateSources, template, selectSources)
        residuals = None
        if self.config.doDebugRegister:
            residuals = steps.registrationResiduals(self, choice, templateSources, selectSources)
        warped = self.register.warpExposure(template, found.wcs, science.wcs, science.bbox)
        correlation = ResamplingNoise((science.wcs, found.wcs), self.config.register.warper.warpingKernelName)
        return warped, correlation, residuals

    def _scaledVariance(self, exposure, key, overwrite):
        if not overwrite:
            own = exposure.maskedImage
            exposure = Exposure(MaskedImage(own.image, own.mask, own.variance.copy()), exposure.info)
        assignMetadata(self.metadata, {key: self.scaleVariance.run(exposure.maskedImage)})
        return exposure

    # ------------------------------------------------------------------ sources

    def _findSources(self, made, science, selectSources, idFactory):
        config = self.config
        score = made.score if config.useScoreImageDetection else None
        if score is not None and made.difference is None:
            made.difference = score  # sources are not measured
        if config.doScaleDiffimVariance:
            searched = made.difference if score is None else score
            self._scaledVariance(searched, "scaleDiffimVarianceFactor", True)
            if score is not None and made.difference is not score:
                self.scaleVariance.run(made.difference.maskedImage)
        try:
            finder = SourceFinder(science, made.template, made.difference, config, self, score, made.psfMode)
        except InvalidPsfError as error:
            raise pipeBase.UpstreamFailureNoWorkFound(str(error)) from error
        seed = int(getattr(made.difference, "id", None) or 0)
        if config.doMeasurement:
            try:
                self.detected = finder.measured(steps.usedStars(self.subtract), idFactory, seed)
            except detect_errors.TooManyCosmicRays as error:
                raise TooManyCosmicRays.of(error) from error
        else:
            self.detected = finder.detected(idFactory, seed)
        assignMetadata(self.metadata, self.detected.metadata)
        sources = self.detected.sources
        if config.doMatchSources:
            self._matchSources(sources, made.difference, selectSources)
        return sources

    def _matchSources(self, sources, difference, selectSources):
        """Fill srcMatchId and refMatchId."""
        radius = self.config.diaSourceMatchRadius
        if difference.wcs is None:
            raise DomainError("doMatchSources: wanted images with a WCS, they have none")
        if selectSources is None:
            self.log.warning("No sources of the science image are given: srcMatchId stays 0")
        elif len(selectSources):
            pixels = radius * np.radians(1 / 3600) / float(difference.wcs.pixelScale())
            rows, partners = matchOnPixels(sources, selectSources, pixels)
            sources["srcMatchId"][:] = matchIds(len(sources), rows, partners, idsOf(selectSources))
        found = self.astrometer.loadAndMatch(difference, sources, radius)
        sources["refMatchId"][:] = matchIds(len(sources), found.rows, found.partners, found.refCat["id"])

    # ------------------------------------------------------------------ figures of merit

    def _note(self, made, science):
        values = {}
        if made.warped is not None:
            values["templateCoveragePercent"] = 100 * coveredFraction(*_onOneGrid(made.warped, science))
        if made.result is not None and not self.config.isZogy:
            values["convolvedExposure"] = "Template" if self.config.convolveTemplate else "Science"
            if self.config.useScoreImageDetection:
                values["convolvedExposure"] = "Preconvolution"
            values["nPsfSources"] = len(steps.usedStars(self.subtract))
        if self.config.isZogy and made.result is not None:
            for name in ("zogyBeta", "zogyGamma"):
                values[name] = self.subtract.zogyTask.metadata.get(name)
        values.update(steps.decorrelationFigures(self))
        values.update(steps.depths(made))
        assignMetadata(self.metadata, values)

    def runDebug(self, exposure, subtractRes, selectSources, kernelSources, diaSources, difference=None):
        """Draw what ``debug`` asks for; without a switch nothing is done.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
        subtractRes : `lsst.pipe.base.Struct`
        selectSources : `astropy.table.Table`
        kernelSources : `list` of rows
        diaSources : `astropy.table.Table`
        difference : `stillsky.image.Exposure`, optional
            Default: that of ``subtractRes``.

        Returns
        -------
        figures : `dict` [`str`, `matplotlib.figure.Figure`]
            By switch; also in the attribute ``figures``.
        """
        from .image_difference_figures import debugFigures, debugSwitches

        switches = debugSwitches(self.debug)
        self.figures = {}
        if switches["display"]:
            if difference is None:
                difference = getattr(subtractRes, "subtractedExposure", None)
            self.figures = debugFigures(switches, difference, exposure, selectSources, kernelSources, diaSources)
        return self.figures


class ImageDifferenceFromTemplateTask(ImageDifferenceTask):
    """As `ImageDifferenceTask`, with a template that exists already."""

    ConfigClass = ImageDifferenceFromTemplateConfig
    _DefaultName = "imageDifference"

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Read, check the template, run, write. One thread unless the environment says otherwise."""
        with contextlib.nullcontext() if os.environ.get("STILLSKY_NUM_THREADS") else numThreads(1):
            inputs = butlerQC.get(inputRefs)
            if self.config.doSubtract:
                self.checkTemplateIsSufficient(inputs["inputTemplate"])
            exposure = self._calibrated(inputs)
            self._finishQuantum(butlerQC, outputRefs, inputs, exposure, inputs.get("inputTemplate"))


def _onOneGrid(template, science):
    """Both images over the box of the science image; the template alone when it lies on another grid."""
    if science is None or not template.bbox.contains(science.bbox):
        return (template,)
    if (template.wcs is None) != (science.wcs is None):
        return (template,)  # the registration says what is wrong
    part = template[science.bbox]
    return (part, science) if isRegistered(part, science) else (template,)


@contextlib.contextmanager
def _asAlgorithmError():
    """A lack of kernel stars as a failure that pipelines understand."""
    try:
        yield
    except kernel_stars.NoKernelStarsError as error:
        parts = {name: getattr(error, name) for name in ("found", "remedy", "metadata")}
        raise NoKernelStarsError(*error.args, **parts) from error
