"""What GetTemplateTask reads and writes."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT

from ..task_base import knowStorageClasses

__all__ = ["GetTemplateConnections", "QUANTUM", "patchesInput", "scienceInput"]

QUANTUM = ("instrument", "visit", "detector")
knowStorageClasses()


def scienceInput(component, doc, storageClass):
    """A component of the science image."""
    return cT.Input(name="{fakesType}calexp." + component, doc=doc, storageClass=storageClass, dimensions=QUANTUM)


def patchesInput(name, doc, *extra):
    """Coadds of patches, one for each of the ``extra`` dimensions, of which those are read that overlap."""
    return cT.Input(
        name=name,
        doc=doc,
        storageClass="StillskyExposure",
        dimensions=("tract", "patch", "skymap", "band", *extra),
        multiple=True,
        deferLoad=True,
        deferGraphConstraint=True,
    )


class GetTemplateConnections(
    pipeBase.PipelineTaskConnections,
    dimensions=QUANTUM,
    defaultTemplates={"coaddName": "goodSeeing", "warpTypeSuffix": "", "fakesType": ""},
):
    """Box and WCS of a science image and the coadds around it in, a template on its grid out."""

    bbox = scienceInput("bbox", "Box of the science image.", "StillskyBox")
    wcs = scienceInput("wcs", "WCS of the science image.", "StillskyWcs")
    skyMap = cT.Input(
        name="skyMap",
        doc="Tracts and patches of the coadds.",
        storageClass="StillskySkyMap",
        dimensions=("skymap",),
    )
    coaddExposures = patchesInput(
        "{fakesType}{coaddName}Coadd{warpTypeSuffix}", "Patches that may overlap the science image."
    )
    template = cT.Output(
        name="{fakesType}{coaddName}Diff_templateExp{warpTypeSuffix}",
        doc="Patches merged and warped to the pixel grid of the science image.",
        storageClass="StillskyExposure",
        dimensions=QUANTUM,
    )
