"""What AssembleCoaddTask reads and writes."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT

__all__ = ["AssembleCoaddConnections", "PATCH_DIMENSIONS"]

PATCH_DIMENSIONS = ("tract", "patch", "band", "skymap")


class AssembleCoaddConnections(
    pipeBase.PipelineTaskConnections,
    dimensions=PATCH_DIMENSIONS,
    defaultTemplates={
        "inputCoaddName": "deep",
        "outputCoaddName": "deep",
        "warpType": "direct",
        "warpTypeSuffix": "",
        "fakesType": "",
    },
):
    """Warps of one patch in, a coadd out."""

    inputWarps = cT.Input(
        name="{inputCoaddName}Coadd_{warpType}Warp",
        doc="Images of single visits on the pixel grid of the tract.",
        storageClass="StillskyExposure",
        dimensions=("tract", "patch", "skymap", "visit", "instrument"),
        deferLoad=True,
        multiple=True,
    )
    skyMap = cT.Input(
        name="skyMap", doc="Tracts and patches.", storageClass="StillskySkyMap", dimensions=("skymap",)
    )  # fmt: skip
    selectedVisits = cT.Input(
        name="{outputCoaddName}Visits",
        doc="Visits that may take part, by number.",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "tract", "patch", "skymap", "band"),
    )
    brightObjectMask = cT.PrerequisiteInput(
        name="brightObjectMask",
        doc="Regions around bright objects.",
        storageClass="StillskyTable",
        dimensions=PATCH_DIMENSIONS,
        minimum=0,
    )
    coaddExposure = cT.Output(
        name="{fakesType}{outputCoaddName}Coadd{warpTypeSuffix}",
        doc="The coadd.",
        storageClass="StillskyExposure",
        dimensions=PATCH_DIMENSIONS,
    )
    nImage = cT.Output(
        name="{outputCoaddName}Coadd_nImage",
        doc="Number of inputs of each pixel.",
        storageClass="StillskyImage",
        dimensions=PATCH_DIMENSIONS,
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is None:
            return
        for kind, name, wanted in (
            ("inputs", "selectedVisits", config.doSelectVisits),
            ("prerequisiteInputs", "brightObjectMask", config.doMaskBrightObjects),
            ("outputs", "nImage", config.doNImage),
        ):
            if not wanted:
                self._leaveOut(kind, name)

    def _leaveOut(self, kind, name):
        getattr(self, kind).discard(name)
        delattr(self, name)
