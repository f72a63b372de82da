"""DcrAssembleCoaddTask: coadds in subfilters as a pipeline task (coadds and DCR, sections 7 and 8)."""

import math

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT
import numpy as np
from lsst.pex.config import ConfigurableField, Field, FieldValidationError, RangeField

from ..coadd.compare_warp_task import (
    CompareWarpAssembleCoaddConfig,
    CompareWarpAssembleCoaddConnections,
    CompareWarpAssembleCoaddTask,
)
from ..coadd.connections import PATCH_DIMENSIONS, patchOutput, warpsInput
from ..coadd.edge_bits import setCoaddEdgeBits
from ..coadd.warps import asWarp
from ..detection import detectSources
from ..diffim.measure_psf_task import MeasurePsfTask
from ..diffim.source_finding_task import SourceDetectionTask
from ..errors import NoDataError, StillskyError
from ..image import Exposure, Image, MaskedImage
from ..measure.task import SingleFrameMeasurementTask
from ..psf import CoaddPsf
from ..task_base import assignMetadata, quantumThreads
from . import regularize
from .algorithm import assembleDcr
from .band import bandOf
from .config import DcrFields
from .model import DcrModel
from .scheme import DcrScheme

__all__ = ["DcrAssembleCoaddConfig", "DcrAssembleCoaddConnections", "DcrAssembleCoaddTask"]

FWHM_OF_SIGMA = 2 * math.sqrt(2 * math.log(2))


class DcrAssembleCoaddConnections(
    CompareWarpAssembleCoaddConnections,
    dimensions=PATCH_DIMENSIONS,
    defaultTemplates={
        "inputWarpName": "deep",
        "inputCoaddName": "deep",
        "outputCoaddName": "dcr",
        "warpType": "direct",
        "warpTypeSuffix": "",
        "fakesType": "",
    },
):
    """Direct warps of one patch and their coadd in; a coadd of each subfilter out."""

    inputWarps = warpsInput("{inputWarpName}Coadd_{warpType}Warp")
    templateExposure = cT.Input(
        name="{fakesType}{inputCoaddName}Coadd{warpTypeSuffix}",
        doc="Coadd of the same patch in the whole band.",
        storageClass="StillskyExposure",
        dimensions=PATCH_DIMENSIONS,
    )
    dcrCoadds = patchOutput(
        "{fakesType}{outputCoaddName}Coadd{warpTypeSuffix}",
        "Coadds of the subfilters, 0 the bluest; they add up to the band.",
        "StillskyExposure",
        "subfilter",
    )
    dcrNImages = patchOutput(
        "{outputCoaddName}Coadd_nImage",
        "Number of visits of each pixel in each subfilter.",
        "StillskyImage",
        "subfilter",
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        outputs = ("coaddExposure", "nImage", "inputMap")
        for kind, name in (("inputs", "psfMatchedWarps"), *(("outputs", name) for name in outputs)):
            if name in getattr(self, kind):
                self._leaveOut(kind, name)
        if config is not None and not config.doWrite:
            self._leaveOut("outputs", "dcrCoadds")
        if config is not None and not config.doNImage:
            self._leaveOut("outputs", "dcrNImages")


class DcrAssembleCoaddConfig(
    DcrFields, CompareWarpAssembleCoaddConfig, pipelineConnections=DcrAssembleCoaddConnections
):
    """Configuration of `DcrAssembleCoaddTask`; effectiveWavelength and bandwidth, or bandLimits, must be set."""

    doCalculatePsf = Field(
        dtype=bool, doc="Measure the PSF of the coadd; otherwise it is that of the visits chosen.", default=False
    )
    detectionThreshold = RangeField(
        dtype=float, default=5.0, min=0.0, inclusiveMin=False,
        doc="Significance of the sources in which the subfilters may differ, where no earlier step has marked any as "
        "DETECTED; not with compat.",
    )  # fmt: skip
    detectPsfSources = ConfigurableField(target=SourceDetectionTask, doc="Finds the sources for that.")
    measurePsfSources = ConfigurableField(target=SingleFrameMeasurementTask, doc="Measures them.")
    measurePsf = ConfigurableField(target=MeasurePsfTask, doc="Chooses the stars among them, and fits the PSF.")

    def setDefaults(self):
        super().setDefaults()
        self.doNImage = True
        self.warpType = "direct"
        self.detectPsfSources.returnOriginalFootprints = False
        self.detectPsfSources.thresholdPolarity = "positive"
        self.detectPsfSources.thresholdValue = 50
        self.detectPsfSources.nSigmaToGrow = 2
        self.detectPsfSources.minPixels = 25
        self.detectPsfSources.thresholdType = "pixel_stdev"

    def validate(self):
        super().validate()
        self.validateBand()
        if self.doWriteArtifactMasks:
            raise FieldValidationError(
                type(self)._fields["doWriteArtifactMasks"], self, "the DCR task writes no masks of artifacts"
            )


class DcrAssembleCoaddTask(DcrScheme, CompareWarpAssembleCoaddTask):
    """Combine the warps of one patch to coadds in subfilters of the band.

    Attributes
    ----------
    bufferSize : `int`
        Pixels by which a region is grown to allow for the shifts; set by `prepareDcrInputs`.
    """

    ConfigClass = DcrAssembleCoaddConfig
    _DefaultName = "dcrAssembleCoadd"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if self.config.doCalculatePsf:
            for name in ("detectPsfSources", "measurePsfSources", "measurePsf"):
                self.makeSubtask(name)

    # ------------------------------------------------------------------ quanta

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Solve the patch of a quantum and write the coadds, sorted by subfilter. Nothing without warps (a warning)."""
        inputs = butlerQC.get(inputRefs)
        quantum = getattr(butlerQC, "quantum", None)
        dataId = quantum.dataId if quantum is not None else outputRefs.dcrCoadds[0].dataId
        try:
            with quantumThreads():
                results = self._runInputs(inputs, dataId)
        except pipeBase.NoWorkFound:
            self.log.warning("No warp can be combined for %s", dataId)
            return None
        for name in ("dcrCoadds", "dcrNImages"):
            refs = getattr(outputRefs, name, None)
            if refs is not None:  # the order of the list is the only link between coadds and references
                made = getattr(results, name)
                setattr(results, name, [made[int(ref.dataId["subfilter"])] for ref in refs])
        if self.config.doWrite:
            butlerQC.put(results, outputRefs)
        return results

    def _runInputs(self, inputs, dataId, **context):
        results = super()._runInputs(inputs, dataId, **context)
        if self.config.doCalculatePsf:
            self.measureCoaddPsf(results.coaddExposure)
        for coadd in results.dcrCoadds:
            coadd.psf = results.coaddExposure.psf
            self.processResults(coadd, inputs.get("brightObjectMask"), dataId)
        return results

    def _makeSupplementaryData(self, *, inputs, skyInfo, dataId=None, prepared=None, **context):
        """The coadd in the whole band that was read."""
        template = inputs.get("templateExposure")
        if template is None:
            raise NoDataError("templateExposure: wanted the coadd of the patch in the whole band, given none")
        if not hasattr(template, "maskedImage"):
            template = template.get()
        return pipeBase.Struct(
            templateCoadd=template,
            nImage=None,
            warpRefList=prepared.warpRefList,
            imageScalerList=prepared.imageScalerList,
            weightList=prepared.weightList,
        )

    def makeSupplementaryDataGen3(self, inputData=None, inputDataIds=None, outputDataIds=None, butler=None):
        """The coadd ``inputData["templateExposure"]``, and the weights of ``inputData["inputWarps"]``."""
        prepared = self.prepareInputs(list(inputData["inputWarps"]))
        return self._makeSupplementaryData(inputs=inputData, skyInfo=None, prepared=prepared)

    def makeSupplementaryData(self, dataRef, selectDataList=None, warpRefList=None):
        """The coadd of a patch in the whole band: ``dataRef.get("templateExposure")``."""
        prepared = self.prepareInputs(list(warpRefList or ()))
        return self._makeSupplementaryData(
            inputs={"templateExposure": dataRef.get("templateExposure")}, skyInfo=None, prepared=prepared
        )

    # ------------------------------------------------------------------ the coadd

    def combine(self, skyInfo, given, mask=None, supplementaryData=None):
        """Solve a patch; see `stillsky.dcr.assembleDcr`.

        Parameters
        ----------
        skyInfo : struct
            ``bbox`` and ``wcs``.
        given : `stillsky.coadd.task.GivenWarps`
            Direct warps with scalers and weights.
        mask
            Not used.
        supplementaryData : struct
            ``templateCoadd``: the coadd in the whole band.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``coaddExposure`` (the sum of the subfilters), ``nImage``, ``dcrCoadds``, ``dcrNImages``; ``warpRefList``,
            ``imageScalerList``, ``weightList``, ``altMaskList``; ``dcr``, the `stillsky.dcr.DcrResult`.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            No warp can be used.
        """
        warps = [asWarp(w) for w in given.warps]
        scalers = [None] * len(warps) if given.scalers is None else list(given.scalers)
        weights = [1.0] * len(warps) if given.weights is None else [float(w) for w in given.weights]
        template = supplementaryData.templateCoadd
        template = self._withSources(template if template.bbox == skyInfo.bbox else template[skyInfo.bbox])
        baseMask = template.mask.copy()
        baseVariance = Image(template.variance.array / np.float32(self.config.dcrNumSubfilters), template.bbox.min)
        spans = self.findArtifacts(template, warps, scalers, weights)
        # CLIPPED is no bad plane here: light that is strongly refracted looks like an artifact and is the signal.
        recorded = list(weights)
        model = self.prepareDcrInputs(template, warps, recorded)
        try:
            result = assembleDcr(
                warps, template, self.config, weights=weights, scalers=scalers, strict=self.config.strict, psf=model.psf,
                prepareMask=lambda i, mask: self.applyAltMaskPlanes(mask, spans[i]),
            )  # fmt: skip
        except NoDataError as error:
            raise pipeBase.NoWorkFound(str(error)) from error
        assignMetadata(self.metadata, {k: v for k, v in result.metadata.items()
                                       if k not in ("visits", "airmasses", "parallacticAngles")})  # fmt: skip
        for name, reason in result.skipped:
            self.log.warning("Warp %s is left out: %s", name, reason)
        used = [v.index for v in result.visits]
        coadds = self.fillCoadd(
            result.models, skyInfo, [warps[i] for i in used], [recorded[i] for i in used],
            calibration=template.photoCalib, coaddInputs=template.info.coaddInputs, mask=baseMask, variance=baseVariance,
            amplification=1.0,
        )  # fmt: skip
        for coadd, made in zip(coadds, result.dcrCoadds, strict=True):
            for key in (
                "SUBFILT",
                "DCREFFWL",
                "DCRWIDTH",
                "DCRNUM",
                "DCRLMIN",
                "DCRLMAX",
                "DCRORDER",
                "DCRVAR",
                "DCRCURVE",
            ):
                if key in made.metadata:
                    coadd.metadata[key] = made.metadata[key]
            if result.models.throughput is not None:
                coadd.info.transmissionCurve = result.models.throughput
        return pipeBase.Struct(
            coaddExposure=self.stackCoadd(coadds),
            nImage=result.nImage if self.config.doNImage else None,
            dcrCoadds=coadds,
            dcrNImages=result.nImages if self.config.doNImage else None,
            warpRefList=[warps[i] for i in used],
            imageScalerList=[scalers[i] for i in used],
            weightList=[recorded[i] for i in used],
            altMaskList=[spans[i] for i in used],
            dcr=result,
        )

    def _withSources(self, template):
        """The template, or a copy with its sources marked when nobody has: elsewhere all subfilters are alike."""
        if self.config.compat or "DETECTED" not in self.config.convergenceMaskPlanes:
            return template
        if template.mask.isSet("DETECTED").any():
            return template
        template = template.copy()
        detectSources(template, self.config.detectionThreshold, sigma=None if template.psf is not None else 2.0)
        share = float(np.mean(template.mask.isSet("DETECTED")))
        self.log.info("Sources of the template: %.1f %% of the pixels, where the subfilters may differ", 100 * share)
        if share == 0:
            self.log.warning("No source is detected in the template: all subfilters are alike")
        return template

    def prepareDcrInputs(self, templateCoadd, warpRefList, weightList):
        """Equal subfilters of the template, ``bufferSize``, and what is known of the visits.

        Parameters
        ----------
        templateCoadd : `stillsky.image.Exposure`
        warpRefList : sequence
        weightList : `list` of `float`
            With doAirmassWeight multiplied by the airmasses, in place.

        Returns
        -------
        dcrModels : `stillsky.dcr.DcrModel`
        """
        effective, width, limits, throughput, _ = bandOf(self.config, templateCoadd)
        model = DcrModel.fromImage(
            templateCoadd.maskedImage, self.config.dcrNumSubfilters, effective, width, templateCoadd.wcs,
            templateCoadd.filter, templateCoadd.psf, templateCoadd.photoCalib, bandLimits=limits, throughput=throughput,
            model="reference" if self.config.compat else "default",
        )  # fmt: skip
        rows, largest = [], 0.0
        for i, thing in enumerate(warpRefList):
            warp = asWarp(thing)
            info = warp.get(component="visitInfo")
            try:
                shifts = model.shifts(info) if info is not None else None
            except StillskyError as error:
                self.log.warning("Warp %s: %s", warp.name, error)
                shifts = None
            if shifts is None:
                continue
            airmass = info.boresightAirmass if math.isfinite(info.boresightAirmass) else shifts.pointing.airmass
            size = _fwhm(warp.get(component="psf"))
            if self.config.doAirmassWeight:
                weightList[i] *= airmass
            largest = max(largest, shifts.maxShift)
            angle = math.degrees(shifts.pointing.parallacticAngle)
            rows.append((str(warp.dataId.get("visit", i)), airmass, angle, size))
            self.log.info("Visit %s: airmass %.3f, parallactic angle %.1f degrees, FWHM %.2f pixels", *rows[-1])
        self.bufferSize = int(math.ceil(largest) + 1)
        names = ("visits", "airmasses", "parallacticAngles", "selectedPsfSizes")
        assignMetadata(self.metadata, {name: [row[k] for row in rows] for k, name in enumerate(names)})
        try:
            model.psf = self.selectCoaddPsf(templateCoadd, warpRefList)
        except StillskyError as error:  # the template's is there
            self.log.warning("The PSF of the template is used: %s", error)
        return model

    def selectCoaddPsf(self, templateCoadd, warpRefList):
        """PSF of the detectors whose PSF is no wider than the median, nor than the template's.

        Parameters
        ----------
        templateCoadd : `stillsky.image.Exposure`
            With coaddInputs.
        warpRefList : sequence
            Warps, by ``dataId["visit"]``.

        Returns
        -------
        psf : `stillsky.psf.CoaddPsf`

        Raises
        ------
        NoDataError
            No input of the coadd is that narrow, or none is recorded.
        """
        inputs = templateCoadd.info.coaddInputs
        if inputs is None or len(inputs.ccds) == 0:
            raise NoDataError("selectCoaddPsf: the template has no record of its inputs")
        ofVisit = {}
        for thing in warpRefList:
            warp = asWarp(thing)
            ofVisit[warp.dataId.get("visit")] = _fwhm(warp.get(component="psf"))
        from ..coadd.input_recorder import makeCoaddPsf

        sizes = np.array([ofVisit.get(row["visit"], math.inf) for row in inputs.ccds])
        limit = min(float(np.median(sizes)), _fwhm(templateCoadd.psf))
        chosen = np.flatnonzero(sizes <= limit)
        if len(chosen) == 0:
            raise NoDataError(f"selectCoaddPsf: no input has a PSF within {limit:.2f} pixels")
        psf = makeCoaddPsf(inputs.ccds[chosen], templateCoadd.wcs, self.config.coaddPsf.warpingKernelName)
        if not isinstance(psf, CoaddPsf):
            raise NoDataError("selectCoaddPsf: the inputs have no PSFs")
        return psf

    def fillCoadd(
        self, dcrModels, skyInfo, warpRefList, weightList, calibration=None, coaddInputs=None, mask=None, variance=None, *,
        amplification=None,
    ):  # fmt: skip
        """Exposures of the subfilters.

        Parameters
        ----------
        dcrModels : `stillsky.dcr.DcrModel`
            Its images are amplified in place, if they are.
        skyInfo : struct
            ``bbox`` and ``wcs``.
        warpRefList, weightList : sequence
        calibration : `stillsky.photom.PhotoCalib`, optional
        coaddInputs : `stillsky.image.CoaddInputs`, optional
        mask : `stillsky.image.Mask`, optional
        variance : `stillsky.image.Image`, optional
            In place of the model's.
        amplification : `float`, optional
            Of the differences between subfilters; default: ``config.accelerateModel``, as models of the published
            iteration need it. The models of `stillsky.dcr.assembleDcr` have it already.

        Returns
        -------
        dcrCoadds : `list` of `stillsky.image.Exposure`
        """
        factor = self.config.accelerateModel if amplification is None else amplification
        for k, image in enumerate(regularize.amplified(dcrModels._complete(), factor)):
            dcrModels[k] = image
        coadds = []
        for image in dcrModels:
            ownMask = (dcrModels.mask if mask is None else mask).copy()
            ownVariance = (dcrModels.variance if variance is None else variance).copy()
            if mask is None:
                setCoaddEdgeBits(ownMask, ownVariance)
            coadd = Exposure(MaskedImage(Image(image.copy(), skyInfo.bbox.min), ownMask, ownVariance), wcs=skyInfo.wcs)
            if len(warpRefList):
                self.assembleMetadata(coadd, warpRefList, weightList)
            if calibration is not None:
                coadd.photoCalib = calibration
            if coaddInputs is not None:
                coadd.info.coaddInputs = coaddInputs
            if dcrModels.filter is not None:
                coadd.info.filter = dcrModels.filter
            coadd.psf = dcrModels.psf
            coadds.append(coadd)
        return coadds

    def measureCoaddPsf(self, coaddExposure):
        """Measure the PSF of a coadd, and set it: `detectPsfSources` finds sources, `measurePsfSources` measures them, and
        `measurePsf` chooses the stars and fits. A failure is a warning, and the PSF stays.

        Parameters
        ----------
        coaddExposure : `stillsky.image.Exposure`
            Its psf is replaced; its mask gets the planes of the detection.
        """
        try:
            footprints = self.detectPsfSources.detectFootprints(coaddExposure, clearMask=False).positive
            sources = self.measurePsfSources.run(footprints, coaddExposure).sources
            coaddExposure.psf = self.measurePsf.run(coaddExposure, sources).psf
        except StillskyError as error:
            self.log.warning("The PSF of the coadd is not measured: %s", error)


def _fwhm(psf):
    """FWHM of a PSF at its average position, pixels; NaN without one."""
    if psf is None:
        return math.nan
    position = psf.averagePosition
    return FWHM_OF_SIGMA * psf.determinantRadius(position() if callable(position) else position)
