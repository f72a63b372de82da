"""What GetTemplateTask reads and writes."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT

__all__ = ["GetTemplateConnections"]


class GetTemplateConnections(
    pipeBase.PipelineTaskConnections,
    dimensions=("instrument", "visit", "detector"),
    defaultTemplates={"coaddName": "goodSeeing", "warpTypeSuffix": "", "fakesType": ""},
):
    """Box and WCS of a science image and the coadds around it in, a template on its grid out."""

    bbox = cT.Input(
        name="{fakesType}calexp.bbox",
        doc="Box of the science image.",
        storageClass="StillskyBox",
        dimensions=("instrument", "visit", "detector"),
    )
    wcs = cT.Input(
        name="{fakesType}calexp.wcs",
        doc="WCS of the science image.",
        storageClass="StillskyWcs",
        dimensions=("instrument", "visit", "detector"),
    )
    skyMap = cT.Input(
        name="skyMap",
        doc="Tracts and patches of the coadds.",
        storageClass="StillskySkyMap",
        dimensions=("skymap",),
    )
    coaddExposures = cT.Input(
        name="{fakesType}{coaddName}Coadd{warpTypeSuffix}",
        doc="Patches that may overlap the science image.",
        storageClass="StillskyExposure",
        dimensions=("tract", "patch", "skymap", "band"),
        multiple=True,
        deferLoad=True,
        deferGraphConstraint=True,
    )
    template = cT.Output(
        name="{fakesType}{coaddName}Diff_templateExp{warpTypeSuffix}",
        doc="Patches merged and warped to the pixel grid of the science image.",
        storageClass="StillskyExposure",
        dimensions=("instrument", "visit", "detector"),
    )
