"""CompareWarpAssembleCoaddTask: coadds without the artifacts of single epochs, as a pipeline task."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import ConfigurableField

from ..background.scale_variance_task import ScaleVarianceTask
from ..detection.streaks_task import MaskStreaksTask
from ..diffim.source_finding_task import SourceDetectionTask
from ..errors import NoDataError
from ..task_base import assignMetadata, earlierArguments
from . import artifact_rules, compare_warp
from .compare_warp import reorderAndPadList
from .compare_warp_coadd import pairWarps
from .compare_warp_config import CompareWarpFields, setDetectionDefaults, setStaticSkyDefaults
from .connections import PATCH_DIMENSIONS, WARP_DIMENSIONS, AssembleCoaddConnections, patchOutput, warpsInput
from .task import AssembleCoaddTask, GivenWarps
from .task_config import AssembleCoaddConfig
from .warps import asWarp

__all__ = [
    "CompareWarpAssembleCoaddConfig",
    "CompareWarpAssembleCoaddConnections",
    "CompareWarpAssembleCoaddTask",
    "reorderAndPadList",
]


class CompareWarpAssembleCoaddConnections(AssembleCoaddConnections, dimensions=PATCH_DIMENSIONS):
    """Direct and PSF-matched warps of one patch in; a coadd, the static sky and masks of artifacts out."""

    psfMatchedWarps = warpsInput(
        "{inputCoaddName}Coadd_psfMatchedWarp",
        "Images of single visits on the pixel grid of the tract, matched to one PSF.",
    )
    templateCoadd = patchOutput("{outputCoaddName}CoaddPsfMatched", "The static sky that warps are compared with.")
    artifactMasks = cT.Output(
        name="compare_warp_artifact_mask",
        doc="Masks of the direct warps with their artifacts.",
        storageClass="StillskyMask",
        dimensions=WARP_DIMENSIONS,
        multiple=True,
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is None:
            return
        config.validate()
        if not config.assembleStaticSkyModel.doWrite:
            self._leaveOut("outputs", "templateCoadd")
        if not config.doWriteArtifactMasks:
            self._leaveOut("outputs", "artifactMasks")


class CompareWarpAssembleCoaddConfig(
    CompareWarpFields, AssembleCoaddConfig, pipelineConnections=CompareWarpAssembleCoaddConnections
):
    """Configuration of `CompareWarpAssembleCoaddTask`."""

    assembleStaticSkyModel = ConfigurableField(
        target=AssembleCoaddTask, doc="Makes the static sky that warps are compared with."
    )
    detect = ConfigurableField(target=SourceDetectionTask, doc="Finds outliers in warp minus static sky.")
    detectTemplate = ConfigurableField(target=SourceDetectionTask, doc="Finds sources of the static sky.")
    maskStreaks = ConfigurableField(target=MaskStreaksTask, doc="Finds streaks.")
    scaleWarpVariance = ConfigurableField(target=ScaleVarianceTask, doc="Scales the variance of warps.")

    def setDefaults(self):
        super().setDefaults()
        setStaticSkyDefaults(self.assembleStaticSkyModel)
        setDetectionDefaults(self.detect, self.detectTemplate)


class CompareWarpAssembleCoaddTask(AssembleCoaddTask):
    """Combine the warps of one patch without the artifacts of single visits.

    Attributes
    ----------
    artifacts : `stillsky.coadd.ArtifactSearch` or None
        Everything about the last search: counts of epochs, numbers for each visit, what failed.
    """

    ConfigClass = CompareWarpAssembleCoaddConfig
    _DefaultName = "compareWarpAssembleCoadd"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.makeSubtask("assembleStaticSkyModel")
        self.makeSubtask("detect")
        if self.config.doPreserveContainedBySource:
            self.makeSubtask("detectTemplate")
        if self.config.doScaleWarpVariance:
            self.makeSubtask("scaleWarpVariance")
        if self.config.doFilterMorphological:
            self.makeSubtask("maskStreaks")
        self.artifacts = None

    # ------------------------------------------------------------------ the static sky

    def _makeSupplementaryData(self, *, inputs, skyInfo, dataId=None, prepared=None, **context):
        """The static sky of the PSF-matched warps of a quantum; see `staticSky`."""
        return self.staticSky(skyInfo, inputs.get("psfMatchedWarps"), dataId)

    def makeSupplementaryData(self, dataRef, selectDataList=None, warpRefList=None):
        """The static sky of PSF-matched warps.

        Parameters
        ----------
        dataRef
            As of `getSkyInfo`.
        selectDataList
            Not used.
        warpRefList : sequence
            PSF-matched warps or their handles.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            As of `staticSky`.
        """
        return self.staticSky(self.getSkyInfo(dataRef), warpRefList, getattr(dataRef, "dataId", None))

    def makeSupplementaryDataGen3(self, inputData=None, inputDataIds=None, outputDataIds=None, butler=None):
        """The static sky of the handles ``inputData["psfMatchedWarps"]``; ``inputData["skyMap"]`` and the data id of the
        coadd, ``outputDataIds["coaddExposure"]``, tell the patch."""
        dataId = outputDataIds["coaddExposure"]
        dataId = dataId[0] if isinstance(dataId, list | tuple) else dataId
        skyInfo = self.makeSkyInfo(inputData["skyMap"], dataId["tract"], dataId["patch"])
        return self.staticSky(skyInfo, inputData.get("psfMatchedWarps"), dataId)

    def staticSky(self, skyInfo, psfMatchedWarps, dataId=None):
        """Combine PSF-matched warps to the static sky.

        Parameters
        ----------
        skyInfo : struct
            ``bbox`` and ``wcs``.
        psfMatchedWarps : sequence
            Warps, handles, files or exposures.
        dataId : optional
            For messages.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``templateCoadd``, ``nImage``, ``nKept``; ``warpRefList``, ``imageScalerList``, ``weightList`` of the PSF-matched
            warps, and ``psfMatchedWarpRefList``, the same as the first.

        Raises
        ------
        RuntimeError
            There is no PSF-matched warp that can be combined (`stillsky.NoDataError`).
        """
        task = self.assembleStaticSkyModel
        prepared = task.prepareInputs([w for w in psfMatchedWarps or () if w is not None], skyInfo.bbox)
        if not prepared.warpRefList:
            name = f"{self.config.connections.inputCoaddName}Coadd_psfMatchedWarp"
            raise NoDataError(
                f"no {name} can be combined: there is no static sky to compare with{f' for {dataId}' if dataId else ''}",
                found="; ".join(f"{s.name}: {s.reason}" for s in prepared.skipped[:5]) or "none is given",
                remedy=f"make {name} of the visits of the direct warps, or run AssembleCoaddTask",
            )
        made = task.run(
            skyInfo,
            warpRefList=prepared.warpRefList,
            imageScalerList=prepared.imageScalerList,
            weightList=prepared.weightList,
        )
        return pipeBase.Struct(
            templateCoadd=made.coaddExposure,
            nImage=made.nImage,
            nKept=getattr(made, "nKept", None),
            warpRefList=made.warpRefList,
            imageScalerList=made.imageScalerList,
            weightList=made.weightList,
            psfMatchedWarpRefList=made.warpRefList,
        )

    # ------------------------------------------------------------------ the coadd

    def combine(self, skyInfo, given, mask=None, supplementaryData=None):
        """Find artifacts and combine the warps without them.

        Parameters
        ----------
        skyInfo : struct
            ``bbox`` and ``wcs``.
        given : `GivenWarps`
            Direct warps; their altMasks are not used: artifacts are found here. PSF-matched ones (default: those of
            ``supplementaryData``) are aligned by data id; a visit without one takes no part.
        mask : optional
            Bad planes; default: ``config.badMaskPlanes`` and CLIPPED.
        supplementaryData : struct
            Of `staticSky`.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            As of `AssembleCoaddTask.run`; with ``templateCoadd``.
        """
        warps = [asWarp(w) for w in given.warps]
        static = self.staticSky(skyInfo, given.psfMatched) if supplementaryData is None else supplementaryData
        warps, matched = pairWarps(warps, static.warpRefList)
        keys, wanted = [id(w) for w in static.warpRefList], [id(w) for w in matched]
        scalers = reorderAndPadList(static.imageScalerList, keys, wanted)
        weights = reorderAndPadList(static.weightList, keys, wanted, padWith=0.0)
        spans = self.findArtifacts(static.templateCoadd, matched, scalers, weights, getattr(static, "nKept", None))
        bad = [*self.config.badMaskPlanes, "CLIPPED"] if mask is None else mask
        usable = [w for w, v in zip(matched, self.artifacts.visits, strict=True) if v.isUsable]
        result = super().combine(skyInfo, GivenWarps(warps, given.scalers, given.weights, spans, usable), bad)
        self.applyAltEdgeMask(result.coaddExposure.mask, result.altMaskList)
        result.templateCoadd = static.templateCoadd
        if self.config.assembleStaticSkyModel.doWrite:
            self.assembleStaticSkyModel.processResults(result.templateCoadd)
        return result

    # ------------------------------------------------------------------ artifacts

    @earlierArguments(tempExpRefList="warpRefList")
    def findArtifacts(self, templateCoadd, warpRefList, imageScalerList=None, weightList=None, nKept=None):
        """Find what single visits have and the static sky has not; see `stillsky.coadd.findArtifacts`.

        Parameters
        ----------
        templateCoadd : `stillsky.image.Exposure`
            Static sky; not changed.
        warpRefList : sequence
            PSF-matched warps, or None for visits without one.
        imageScalerList, weightList : sequence, optional
            Scalers of the warps, and their weights in the static sky.
        nKept : `stillsky.image.Image`, optional
            Samples that each pixel of the static sky rests on.

        Returns
        -------
        altMaskList : `list` [`dict`]
            For each visit mask plane (CLIPPED, NO_DATA, EDGE) to list of `stillsky.detection.SpanSet`.
        """
        search = compare_warp.findArtifacts(
            templateCoadd, list(warpRefList), self.config, weights=weightList, scalers=imageScalerList, kept=nKept,
            strict=self.config.strict, steps=self._steps(),
        )  # fmt: skip
        self.artifacts = search
        visits = search.visits
        assignMetadata(
            self.metadata,
            {
                "nArtifactCandidates": [v.candidates for v in visits],
                "nArtifacts": [v.masked for v in visits],
                "nStreaks": [v.streaks for v in visits],
                "nArtifactPixels": [v.maskedPixels for v in visits],
                "warpVarianceFactors": [v.varianceFactor for v in visits],
                "artifactNotes": [f"{i}: {note}" for i, note in search.notes.items()],
            },
        )
        for i, note in search.notes.items():
            self.log.warning("Warp %d: %s", i, note)
        return search.altMasks

    def _steps(self):
        """The subtasks, as the search calls them; those that are not wanted are not there."""

        def detect(difference, sigma, factor=1.0):
            found = self.detect.detectFootprints(
                difference, doSmooth=False, sigma=sigma, clearMask=True, **_times(factor)
            )
            return found.positive.merge(found.negative)

        def detectTemplate(exposure, sigma, factor=1.0):
            return self.detectTemplate.detectFootprints(
                exposure, sigma=sigma, clearMask=True, **_times(factor)
            ).positive

        return compare_warp.ArtifactSteps(
            detect,
            detectTemplate,
            lambda pixels: self.scaleWarpVariance.run(pixels),
            lambda difference: self.maskStreaks.find(difference).lines,
        )

    def prefilterArtifacts(self, spanSetList, exp):
        """Candidates that are not mostly bad pixels; see `stillsky.coadd.prefilterArtifacts`."""
        return artifact_rules.prefilterArtifacts(spanSetList, exp, self.config)

    def filterArtifacts(self, spanSetList, epochCountImage, nImage, footprintsToExclude=None):
        """Candidates that few epochs show; see `stillsky.coadd.filterArtifacts`."""
        return artifact_rules.filterArtifacts(spanSetList, epochCountImage, nImage, self.config, footprintsToExclude)

    def applyAltEdgeMask(self, mask, altMaskList):
        """Mark where PSF-matched warps end; see `stillsky.coadd.applyAltEdgeMask`."""
        compare_warp.applyAltEdgeMask(mask, altMaskList)


def _times(factor):
    """Argument that multiplies a threshold, where it is needed: not every target of the subtasks need know it."""
    return {} if factor == 1.0 else {"factor": factor}
