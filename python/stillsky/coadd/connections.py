"""What AssembleCoaddTask reads and writes."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT

__all__ = ["PATCH_DIMENSIONS", "WARP_DIMENSIONS", "AssembleCoaddConnections", "patchOutput", "warpsInput"]

PATCH_DIMENSIONS = ("tract", "patch", "band", "skymap")
WARP_DIMENSIONS = ("tract", "patch", "skymap", "visit", "instrument")


def warpsInput(name, doc="Images of single visits on the pixel grid of the tract."):
    """Warps of a patch, read when and where their pixels are needed."""
    return cT.Input(
        name=name, doc=doc, storageClass="StillskyExposure", dimensions=WARP_DIMENSIONS, deferLoad=True, multiple=True
    )


def patchOutput(name, doc, storageClass="StillskyExposure", *extra):
    """What is made of a patch, or with the ``extra`` dimensions each of several such."""
    return cT.Output(
        name=name, doc=doc, storageClass=storageClass, dimensions=(*PATCH_DIMENSIONS, *extra), multiple=bool(extra)
    )


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

    inputWarps = warpsInput("{inputCoaddName}Coadd_{warpType}Warp")
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
    coaddExposure = patchOutput("{fakesType}{outputCoaddName}Coadd{warpTypeSuffix}", "The coadd.")
    nImage = patchOutput("{outputCoaddName}Coadd_nImage", "Number of inputs of each pixel.", "StillskyImage")
    inputMap = patchOutput(
        "{outputCoaddName}Coadd_inputMap", "Which detector exposure went where on the sky.", "StillskyHealSparseMap"
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is None:
            return
        for kind, name, wanted in (
            ("inputs", "selectedVisits", config.doSelectVisits),
            ("prerequisiteInputs", "brightObjectMask", config.doMaskBrightObjects),
            ("outputs", "nImage", config.doNImage),
            ("outputs", "inputMap", config.doInputMap),
        ):
            if not wanted:
                self._leaveOut(kind, name)

    def _leaveOut(self, kind, name):
        getattr(self, kind).discard(name)
        delattr(self, name)
