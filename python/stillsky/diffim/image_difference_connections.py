"""What ImageDifferenceTask reads and writes."""

import dataclasses

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT

from ..errors import DomainError

__all__ = ["ImageDifferenceConnections", "ImageDifferenceFromTemplateConnections", "coaddNameOf"]

_QUANTUM = ("instrument", "visit", "detector")
_TEMPLATES = {"coaddName": "deep", "skyMapName": "deep", "warpTypeSuffix": "", "fakesType": ""}
_DIFF = "{fakesType}{coaddName}Diff_"
_COADD = {"storageClass": "StillskyExposure", "multiple": True, "deferLoad": True}


def _input(name, doc, storageClass="StillskyExposure"):
    return cT.Input(name=name, doc=doc, storageClass=storageClass, dimensions=_QUANTUM)


def _output(name, doc, storageClass="StillskyExposure"):
    return cT.Output(name=_DIFF + name, doc=doc, storageClass=storageClass, dimensions=_QUANTUM)


class ImageDifferenceConnections(
    pipeBase.PipelineTaskConnections, dimensions=(*_QUANTUM, "skymap"), defaultTemplates=_TEMPLATES
):
    """Science image and coadds in; difference, sources and what they came from out, as configured."""

    exposure = _input("{fakesType}calexp", "Science image.")
    skyMap = cT.Input(
        name="skyMap", doc="Tracts and patches of the coadds.", storageClass="StillskySkyMap", dimensions=("skymap",)
    )
    coaddExposures = cT.Input(
        name="{fakesType}{coaddName}Coadd{warpTypeSuffix}",
        doc="Patches that may overlap the science image.",
        dimensions=("tract", "patch", "skymap", "band"),
        **_COADD,
    )
    dcrCoadds = cT.Input(
        name="{fakesType}dcrCoadd{warpTypeSuffix}",
        doc="Patches of the models of each sub-band.",
        dimensions=("tract", "patch", "skymap", "band", "subfilter"),
        **_COADD,
    )
    finalizedPsfApCorrCatalog = cT.Input(
        name="finalVisitSummary",
        doc="PSF and aperture corrections of the detectors of the visit.",
        storageClass="StillskyTable",
        dimensions=("instrument", "visit"),
    )
    selectSources = _input("{fakesType}src", "Sources of the science image.", "StillskyTable")
    templateSources = _input(_DIFF + "templateSources", "Sources of the template.", "StillskyTable")
    calexpBackground = _input("calexpBackground", "What was subtracted from the science image.", "StillskyImage")
    referenceCatalog = cT.PrerequisiteInput(
        name="reference_catalog",
        doc="Reference objects by pieces of the sky.",
        storageClass="StillskyTable",
        dimensions=("skypix",),
        multiple=True,
        deferLoad=True,
        minimum=0,  # a visit outside of all pieces must not fail the graph of the others
    )
    inputDifference = _input(_DIFF + "differenceExp", "Difference that exists and is to be searched.")
    outputSchema = cT.InitOutput(
        name=_DIFF + "diaSrc_schema", doc="Columns of the sources.", storageClass="StillskyTable"
    )
    subtractedExposure = _output("differenceExp", "Science minus template.")
    scoreExposure = _output("scoreExp", "Likelihood image.")
    warpedExposure = _output("warpedExp", "Template on the science grid.")
    matchedExposure = _output("matchedExp", "Template as it was subtracted.")
    diaSources = _output("diaSrc", "Sources of the difference.", "StillskyTable")

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is None:
            return
        self._renameCoadds(config)
        fromReference = config.doMatchSources or (config.doSelectSources and config.kernelSourcesFromRef)
        wanted = {
            "skyMap": config.doSubtract,
            "coaddExposures": config.doSubtract and config.coaddName != "dcr",
            "dcrCoadds": config.doSubtract and config.coaddName == "dcr",
            "inputDifference": not config.doSubtract,
            "finalizedPsfApCorrCatalog": config.doApplyFinalizedPsf,
            "selectSources": config.doSelectSources or config.doMatchSources,
            "templateSources": config.doSelectSources and not config.kernelSourcesFromRef,
            "calexpBackground": config.doAddCalexpBackground,
            "referenceCatalog": fromReference and config.refObjLoader.fromButler,
            # what is read cannot be written again under its name
            "subtractedExposure": config.doWriteSubtractedExp and config.doSubtract,
            "scoreExposure": config.doWriteScoreExp,
            "warpedExposure": config.doWriteWarpedExp,
            "matchedExposure": config.doWriteMatchedExp,
            "diaSources": config.doWriteSources and config.doDetection,
        }
        for name, keep in wanted.items():
            if not keep:
                self._leaveOut(name)
        if not config.doSubtract:
            self.dimensions = set(_QUANTUM)

    def _leaveOut(self, name):
        if name in self.allConnections:
            delattr(self, name)

    def _renameCoadds(self, config):
        """Dataset names follow config.coaddName, so that it is set in one place."""
        templates = {name: getattr(config.connections, name) for name in self.defaultTemplates}
        given, templates["coaddName"] = templates["coaddName"], coaddNameOf(config)
        if given == templates["coaddName"]:
            return
        for name, connection in list(self.allConnections.items()):
            setattr(
                self, name, dataclasses.replace(connection, name=getattr(config.connections, name).format(**templates))
            )


def coaddNameOf(config):
    """The coaddName of the datasets: that of the configuration, unless the connections were given another.

    Raises
    ------
    DomainError
        Both were given and differ.
    """
    default = config.ConnectionsClass.defaultTemplates["coaddName"]
    given = config.connections.coaddName
    if given not in (default, config.coaddName):
        raise DomainError(f"coaddName={config.coaddName!r} and connections.coaddName={given!r} must agree")
    return config.coaddName


class ImageDifferenceFromTemplateConnections(
    ImageDifferenceConnections, defaultTemplates={**_TEMPLATES, "coaddName": "goodSeeing"}
):
    """As `ImageDifferenceConnections`, but the template exists already."""

    inputTemplate = _input(_DIFF + "templateExp{warpTypeSuffix}", "Template on, or around, the science grid.")

    def __init__(self, *, config=None):
        super().__init__(config=config)
        left = ["coaddExposures", "dcrCoadds", "skyMap"]
        if config is not None and not config.doSubtract:
            left.append("inputTemplate")
        for name in left:
            self._leaveOut(name)
        self.dimensions = set(_QUANTUM)
