"""MakeWarpTask: the detectors of one visit on the grid of one patch, as a pipeline task."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT
from lsst.pex.config import ConfigurableField
from lsst.utils.timer import timeMethod

from ..errors import NoDataError
from ..task_base import CommandLineVerbs, EarlyPipelineVerbs, assignMetadata, quantumThreads
from .input_recorder_task import CoaddInputRecorderTask
from .make_warp import makeWarp
from .make_warp_config import MakeWarpFields
from .sky_info import makeSkyInfo

__all__ = ["MakeWarpConfig", "MakeWarpConnections", "MakeWarpTask"]

_WARP = ("tract", "patch", "skymap", "instrument", "visit")


class MakeWarpConnections(
    pipeBase.PipelineTaskConnections, dimensions=_WARP, defaultTemplates={"coaddName": "deep", "fakesType": ""}
):
    """Detectors of one visit in, warps out."""

    calexps = cT.Input(
        name="{fakesType}calexp",
        doc="Calibrated images of the detectors that overlap the patch.",
        storageClass="StillskyExposure",
        dimensions=("instrument", "visit", "detector"),
        multiple=True,
        deferLoad=True,
    )
    skyMap = cT.Input(name="skyMap", doc="Tracts and patches.", storageClass="StillskySkyMap", dimensions=("skymap",))
    direct = cT.Output(
        name="{coaddName}Coadd_directWarp",
        doc="The visit on the pixel grid of the tract.",
        storageClass="StillskyExposure",
        dimensions=_WARP,
    )
    psfMatched = cT.Output(
        name="{coaddName}Coadd_psfMatchedWarp",
        doc="The same with the model PSF.",
        storageClass="StillskyExposure",
        dimensions=_WARP,
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is not None and not config.makePsfMatched:
            self.outputs.discard("psfMatched")
            del self.psfMatched


class MakeWarpConfig(MakeWarpFields, pipeBase.PipelineTaskConfig, pipelineConnections=MakeWarpConnections):
    """Configuration of `MakeWarpTask`."""

    inputRecorder = ConfigurableField(target=CoaddInputRecorderTask, doc="Records the detectors of a warp.")


class MakeWarpTask(CommandLineVerbs, EarlyPipelineVerbs, pipeBase.PipelineTask):
    """Resample the detectors of a visit onto a patch: see `stillsky.coadd.make_warp.makeWarp`.

    Notes
    -----
    Metadata: numDetectors, numUsed, goodPixels (per detector), notes.
    """

    ConfigClass = MakeWarpConfig
    _DefaultName = "makeWarp"

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.makeSubtask("inputRecorder")

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Read one detector at a time, warp, write. One thread unless the environment says otherwise."""
        with quantumThreads():
            dataId = butlerQC.quantum.dataId
            sky = makeSkyInfo(butlerQC.get(inputRefs.skyMap), dataId["tract"], dataId["patch"])
            refs = sorted(inputRefs.calexps, key=lambda ref: ref.dataId["detector"])
            handles = butlerQC.get(refs)
            ids = [ref.dataId["visit"] * 1000 + ref.dataId["detector"] for ref in refs]
            outputs = self.run((handle.get() for handle in handles), sky.bbox, sky.wcs, dataId["visit"], ids)
            butlerQC.put(outputs, outputRefs)

    @timeMethod
    def run(self, calexps, bbox, wcs, visit, ids=None):
        """Make the warps.

        Parameters
        ----------
        calexps : iterable of `stillsky.image.Exposure`
        bbox, wcs : `stillsky.geom.Box2I`, `stillsky.wcs.SkyWcs`
            Outer box of the patch, WCS of the tract.
        visit : `int`
        ids : sequence of `int`, optional
            Identifiers of the detector exposures.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``direct``, ``psfMatched`` (left out when it is not made).

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            No detector has data in the patch.
        """
        try:
            made = makeWarp(calexps, bbox, wcs, visit, self.config, ids=ids, recorder=self.inputRecorder, log=self.log)
        except NoDataError as error:
            raise pipeBase.NoWorkFound(str(error)) from error
        used = [count for count in made.goodPixels if count]
        assignMetadata(
            self.metadata,
            {
                "numDetectors": len(made.goodPixels),
                "numUsed": len(used),
                "goodPixels": made.goodPixels,
                "notes": made.notes,
            },
        )
        outputs = pipeBase.Struct(direct=made.direct)
        if made.psfMatched is not None:
            outputs.psfMatched = made.psfMatched
        return outputs
