"""AssembleCoaddTask: coadds as a pipeline task, with every step as a method of its own."""

from dataclasses import dataclass
from typing import Any

import lsst.pipe.base as pipeBase
from lsst.utils.timer import timeMethod

from ..errors import NoDataError
from ..image import READ_ERRORS
from ..task_base import assignMetadata, quantumThreads
from . import algorithm, planes
from .base_task import CoaddBaseTask
from .connections import AssembleCoaddConnections
from .input_map import requireHealsparse
from .inputs import prepareInputs
from .sky_info import makeSkyInfo
from .task_config import AssembleCoaddConfig
from .task_steps import AssembleCoaddSteps

__all__ = ["AssembleCoaddConfig", "AssembleCoaddConnections", "AssembleCoaddTask", "GivenWarps"]


@dataclass(frozen=True)
class GivenWarps:
    """The warps that `AssembleCoaddTask.run` was given; of the other lists, one entry for each warp, or None."""

    warps: list
    scalers: Any = None
    weights: Any = None
    altMasks: Any = None
    psfMatched: Any = None  #: not in the order of the warps: found by data id


class AssembleCoaddTask(AssembleCoaddSteps, CoaddBaseTask):
    """Combine the warps of one patch.

    Notes
    -----
    Warps stay where they are: their rows are read band by band within ``config.memory``. Counts, bands and warps that were
    left out are in the task's metadata.
    """

    ConfigClass = AssembleCoaddConfig
    _DefaultName = "assembleCoadd"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.makeSubtask("interpImage")
        if self.config.doScaleZeroPoint:
            self.makeSubtask("scaleZeroPoint")
        if self.config.doInputMap:
            requireHealsparse()
            self.makeSubtask("inputMapper")
        self.warpType = self.config.warpType
        if self.config.doMaskBrightObjects:
            self.brightObjectBitmask = planes.coaddSchema().add(self.config.brightObjectMaskName).bitmask(
                self.config.brightObjectMaskName
            )  # fmt: skip

    # ------------------------------------------------------------------ quanta

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Combine the warps of a quantum and write the coadd. NoWorkFound when no warp can be combined."""
        inputs = butlerQC.get(inputRefs)
        quantum = getattr(butlerQC, "quantum", None)
        dataId = quantum.dataId if quantum is not None else outputRefs.coaddExposure.dataId
        with quantumThreads():
            results = self._runInputs(inputs, dataId, inputRefs=inputRefs, outputRefs=outputRefs, butlerQC=butlerQC)
        if self.config.doWriteArtifactMasks:
            self._putArtifactMasks(butlerQC, outputRefs, results)
        if self.config.doWrite:
            butlerQC.put(results, outputRefs)
        return results

    def runDataRef(self, dataRef, selectDataList=None, warpRefList=None):
        """Combine the warps of a patch and write the coadd.

        Parameters
        ----------
        dataRef : `stillsky.compat.store.DataRef`, or object with ``skyMap`` and ``dataId``
        selectDataList : iterable, optional
            Exposures to choose from by their place on the sky.
        warpRefList : iterable, optional
            Handles of warps. Without both lists the repository says what belongs to the patch.

        Returns
        -------
        struct : `lsst.pipe.base.Struct` or None
            Of `run`; None when there is nothing to combine.

        Raises
        ------
        RuntimeError
            Both lists are given, or none where there is no repository.
        """
        if selectDataList is None and warpRefList is None and hasattr(dataRef, "butler"):
            return super().runDataRef(dataRef)
        from ..compat.coadd_verbs import runPatch

        return runPatch(self, dataRef, selectDataList, warpRefList)

    def adaptArgsAndRun(self, inputData, inputDataIds, outputDataIds, butler=None):
        """Combine the warps of a patch without writing anything.

        Parameters
        ----------
        inputData : `dict`
            ``inputWarps`` (handles), ``skyMap``; also ``brightObjectMask``, ``selectedVisits`` and what a subclass reads.
        inputDataIds : `dict`
            Not used: handles have data ids.
        outputDataIds : `dict`
            ``coaddExposure``: data id (or a list of one) with tract and patch.
        butler
            Not used.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``coaddExposure``, ``nImage``.
        """
        dataId = outputDataIds["coaddExposure"]
        dataId = dataId[0] if isinstance(dataId, list | tuple) else dataId
        results = self._runInputs(inputData, dataId)
        return pipeBase.Struct(coaddExposure=results.coaddExposure, nImage=results.nImage)

    def _runInputs(self, inputs, dataId, **context):
        """From what was read to the results that are to be written."""
        skyInfo = makeSkyInfo(inputs["skyMap"], dataId["tract"], dataId["patch"])
        warps = list(inputs["inputWarps"])
        if inputs.get("selectedVisits") is not None:
            warps = self.filterWarps(warps, inputs["selectedVisits"])
        prepared = self.prepareInputs(warps, skyInfo.bbox, inputs.get("psfMatchedWarps"))
        self.log.info("Found %d %s warps", len(prepared.warpRefList), self.warpType)
        if not prepared.warpRefList:
            raise pipeBase.NoWorkFound("No warp can be combined.")
        supplementary = self._makeSupplementaryData(
            inputs=inputs, skyInfo=skyInfo, dataId=dataId, prepared=prepared, **context
        )
        try:
            results = self.run(
                skyInfo,
                warpRefList=prepared.warpRefList,
                imageScalerList=prepared.imageScalerList,
                weightList=prepared.weightList,
                psfMatchedWarpRefList=prepared.psfMatchedWarpRefList,
                supplementaryData=supplementary,
            )
        except pipeBase.AlgorithmError as error:
            raise pipeBase.AnnotatedPartialOutputsError.annotate(error, self, log=self.log) from error
        self.processResults(results.coaddExposure, inputs.get("brightObjectMask"), dataId)
        return results

    def _putArtifactMasks(self, butlerQC, outputRefs, results):
        """Write the mask of each warp with its artifacts, in the order of the output references."""
        byVisit = {
            int(warp.dataId["visit"]): (warp, spans) for warp, spans in zip(results.warpRefList, results.altMaskList)
        }
        results.artifactMasks = []
        for ref in outputRefs.artifactMasks:
            warp, spans = byVisit.get(int(ref.dataId["visit"]), (None, None))
            if warp is None:
                results.artifactMasks.append(None)
                continue
            mask = warp.get(component="mask", parameters={"bbox": warp.bbox.clipped(results.coaddExposure.bbox)})
            results.artifactMasks.append(self.applyAltMaskPlanes(mask, spans or {}))

    def filterWarps(self, inputs, goodVisits):
        """Handles whose visit is a key of ``goodVisits``, in its order."""
        byVisit = {int(handle.dataId["visit"]): handle for handle in inputs}
        return [byVisit[int(visit)] for visit in goodVisits if int(visit) in byVisit]

    # ------------------------------------------------------------------ the coadd

    @timeMethod
    def run(
        self,
        skyInfo,
        warpRefList=None,
        imageScalerList=None,
        weightList=None,
        altMaskList=None,
        mask=None,
        supplementaryData=None,
        *,
        psfMatchedWarpRefList=None,
        tempExpRefList=None,
    ):
        """Combine warps; see `stillsky.coadd.assembleCoadd`, and `combine` for what this kind of task does.

        Parameters
        ----------
        skyInfo : struct
            ``bbox`` and ``wcs`` of the coadd.
        warpRefList : sequence
            Warps, handles, files or exposures; ``tempExpRefList`` is another name.
        imageScalerList : sequence
            With ``scaleMaskedImage``, or None.
        weightList : sequence of `float`
        altMaskList : sequence of `dict`, optional
            Mask plane to span sets, one per warp.
        mask : `int` or iterable of `str`, optional
            Bad planes, as bits of `stillsky.coadd.coaddSchema` or by name; default: ``config.badMaskPlanes``.
        supplementaryData : struct, optional
            For subclasses. It was the fifth argument of some of them in 2019, which is understood.
        psfMatchedWarpRefList : sequence, optional
            The same visits matched to one PSF.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``coaddExposure``, ``nImage`` (None without doNImage), ``nKept``, ``warpRefList``, ``imageScalerList``,
            ``weightList``, ``altMaskList`` (of the warps that were used), ``inputMap`` (None without doInputMap).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            No warps.
        """
        warps = list(warpRefList if warpRefList is not None else tempExpRefList or ())
        if not warps:
            raise pipeBase.NoWorkFound("No warps were given.")
        if supplementaryData is None and hasattr(altMaskList, "templateCoadd"):
            altMaskList, supplementaryData = None, altMaskList
        given = GivenWarps(warps, imageScalerList, weightList, altMaskList, psfMatchedWarpRefList)
        return self.combine(skyInfo, given, mask, supplementaryData)

    def combine(self, skyInfo, given, mask=None, supplementaryData=None):
        """What `run` does with its arguments; subclasses combine otherwise.

        Parameters
        ----------
        skyInfo, mask, supplementaryData
            As of `run`.
        given : `GivenWarps`

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
        """
        try:
            result = algorithm.assembleCoadd(
                given.warps,
                skyInfo.bbox,
                skyInfo.wcs,
                self.config,
                weights=given.weights,
                scalers=given.scalers,
                altMaskList=given.altMasks,
                psfMatchedWarps=given.psfMatched,
                badMaskPlanes=mask,
                process=False,
                recorder=self.inputRecorder,
                photoCalib=self.scaleZeroPoint.getPhotoCalib() if self.config.doScaleZeroPoint else None,
            )
        except NoDataError as error:
            raise pipeBase.NoWorkFound(str(error)) from error
        assignMetadata(self.metadata, {**result.metadata, "varianceFactor": result.varianceFactor, "notes": result.notes,
                                       "skippedWhileCombining": [s.name for s in result.skipped]})  # fmt: skip
        return pipeBase.Struct(
            coaddExposure=result.coadd,
            nImage=result.nImage if self.config.doNImage else None,
            nKept=result.nKept if self.config.doNImage else None,
            warpRefList=result.warps,
            imageScalerList=result.scalers,
            weightList=result.weights,
            inputMap=self._inputMap(result) if self.config.doInputMap else None,
            altMaskList=result.altMaskList,
        )

    def _inputMap(self, result):
        return self.inputMapper.run(result.coadd, result.warps, self.config.badMaskPlanes).inputMap

    # ------------------------------------------------------------------ inputs

    def prepareInputs(self, refList, coadd_bbox=None, psfMatchedWarpRefList=None):
        """Find the warps that can be combined and their weights; see `stillsky.coadd.prepareInputs`.

        Parameters
        ----------
        refList : iterable
            Handles, warps, files or exposures.
        coadd_bbox : `stillsky.geom.Box2I`, optional
        psfMatchedWarpRefList : iterable, optional
            The same visits matched to one PSF.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``warpRefList`` (also ``tempExpRefList``), ``weightList``, ``imageScalerList``, ``psfMatchedWarpRefList`` (None
            where there is none), ``skipped``.

        Raises
        ------
        ValueError
            A warp is not in nJy (`stillsky.MismatchError`), without doScaleZeroPoint.
        """
        scalerOf = self.scaleZeroPoint.computeImageScaler if self.config.doScaleZeroPoint else None
        prepared = prepareInputs(
            refList, coadd_bbox, self.config, scalerOf=scalerOf, psfMatchedWarps=psfMatchedWarpRefList
        )  # fmt: skip
        assignMetadata(self.metadata, {"nWarps": len(prepared.inputs), "nWarpsSkipped": len(prepared.skipped),
                                       "skippedWarps": [f"{s.name}: {s.reason}" for s in prepared.skipped]})  # fmt: skip
        for item in prepared.inputs:
            self.log.info("Weight of %s: %.4g", item.warp.name, item.weight)
        return pipeBase.Struct(
            warpRefList=prepared.warps,
            tempExpRefList=prepared.warps,
            weightList=prepared.weights,
            imageScalerList=prepared.scalers,
            psfMatchedWarpRefList=prepared.psfMatchedWarps,
            skipped=prepared.skipped,
        )

    def prepareStats(self, mask=None, schema=None):
        """How the samples of a pixel are combined.

        Parameters
        ----------
        mask : `int` or iterable of `str`, optional
            Bits or names of bad planes; default: ``config.badMaskPlanes``.
        schema : `stillsky.image.MaskSchema`, optional
            Names of the bits; default: `stillsky.coadd.coaddSchema`.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``ctrl``, `stillsky.stats.StatisticsControl`; ``flags``, `stillsky.stats.Property`.
        """
        from ..stats import stringToStatisticsProperty

        schema = planes.coaddSchema() if schema is None else schema
        ctrl = algorithm.makeStatisticsControl(self.config, schema, mask)
        return pipeBase.Struct(ctrl=ctrl, flags=stringToStatisticsProperty(self.config.statistic))

    def makeSupplementaryData(self, dataRef, selectDataList=None, warpRefList=None):
        """Inputs of a subclass: none here."""
        return pipeBase.Struct()

    def makeSupplementaryDataGen3(self, inputData=None, inputDataIds=None, outputDataIds=None, butler=None):
        """Inputs of a subclass: none here."""
        return pipeBase.Struct()

    def _makeSupplementaryData(self, *, inputs, skyInfo, dataId, prepared, **context):
        """Hook of `runQuantum` for subclasses.

        Parameters
        ----------
        inputs : `dict`
            What was read, by connection.
        skyInfo : `stillsky.coadd.sky_info.SkyInfo`
        dataId : mapping
        prepared : `lsst.pipe.base.Struct`
            Of `prepareInputs`.
        **context
            ``butlerQC``, ``inputRefs``, ``outputRefs`` in a quantum.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            Given to `run` as ``supplementaryData``.
        """
        return pipeBase.Struct()

    def readBrightObjectMasks(self, dataRef):
        """Table of regions around bright objects, or None (and a warning) where there is none.

        Parameters
        ----------
        dataRef : object with ``get``
            A handle of the table, or of more, from which ``get("brightObjectMask")`` takes it.
        """
        try:
            try:
                return dataRef.get()
            except TypeError:
                return dataRef.get("brightObjectMask", immediate=True)
        except READ_ERRORS as error:
            self.log.warning("Unable to read brightObjectMask for %s: %s", getattr(dataRef, "dataId", dataRef), error)
            return None
