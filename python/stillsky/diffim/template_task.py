"""Tasks that make templates: from coadds on the science grid, from one tract, from another visit."""

from collections import defaultdict

import lsst.pipe.base as pipeBase
from lsst.utils.timer import timeMethod

from ..errors import DomainError, MismatchError, NoDataError
from ..geom import Box2D, Polygon
from ..image import HandleReader
from ..meta import VisitInfo
from ..task_base import CommandLineVerbs, SchemaVerbs, assignMetadata, quantumThreads
from .coadd_template import makeTractTemplate
from .template import TemplateInput, makeTemplate, outlineOverlap
from .template_config import GetCalexpAsTemplateConfig, GetCoaddAsTemplateConfig, GetTemplateAlgorithmConfig
from .template_connections import GetTemplateConnections

__all__ = [
    "GetCalexpAsTemplateConfig",
    "GetCalexpAsTemplateTask",
    "GetCoaddAsTemplateConfig",
    "GetCoaddAsTemplateTask",
    "GetTemplateConfig",
    "GetTemplateTask",
]


class GetTemplateConfig(
    GetTemplateAlgorithmConfig, pipeBase.PipelineTaskConfig, pipelineConnections=GetTemplateConnections
):
    """Configuration of `GetTemplateTask`."""


class GetTemplateTask(CommandLineVerbs, pipeBase.PipelineTask):
    """Make the template of a science image from patches of coadds, on the pixel grid of that image."""

    ConfigClass = GetTemplateConfig
    _DefaultName = "getTemplate"

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Read, run, write. NoWorkFound when nothing overlaps."""
        inputs = butlerQC.get(inputRefs)
        with quantumThreads():
            found = self._patches(inputs)
            quantum = getattr(butlerQC, "quantum", None)
            dataId = quantum.dataId if quantum is not None else outputRefs.template.dataId
            outputs = self.run(
                coaddExposureHandles=found.coaddExposures,
                bbox=inputs["bbox"],
                wcs=inputs["wcs"],
                dataIds=found.dataIds,
                physical_filter=dataId["physical_filter"],
                visit=dataId["visit"],
            )
        butlerQC.put(outputs, outputRefs)

    def _patches(self, inputs):
        """Handles of the patches that overlap, among what was read."""
        return self.getExposures(inputs["coaddExposures"], inputs["bbox"], inputs["skyMap"], inputs["wcs"])

    def getExposures(self, coaddExposureHandles, bbox, skymap, wcs):
        """Handles of the patches that overlap a science image.

        Parameters
        ----------
        coaddExposureHandles : iterable of handles
            With ``dataId["tract"]``, ``dataId["patch"]`` and ``get()``.
        bbox : `stillsky.geom.Box2I`
            Of the science image; patches that only its border of templateBorderSize pixels touches count too.
        skymap : `stillsky.wcs.SkyMap`
        wcs : `stillsky.wcs.SkyWcs`

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``coaddExposures`` and ``dataIds``: lists by tract.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            No WCS, or no overlap.
        """
        if wcs is None:
            raise pipeBase.NoWorkFound("The science image has no WCS: no template can be made for it.")
        box = bbox.dilated(self.config.templateBorderSize)
        handles, dataIds = defaultdict(list), defaultdict(list)
        for handle in coaddExposureHandles:
            tract = skymap[handle.dataId["tract"]]
            patch = tract.patch(handle.dataId["patch"])
            if outlineOverlap(box, wcs, patch.outerBBox, tract.wcs) is not None:
                handles[tract.id].append(handle)
                dataIds[tract.id].append(handle.dataId)
        if not handles:
            raise pipeBase.NoWorkFound("No patches found to overlap the science image.")
        return pipeBase.Struct(coaddExposures=dict(handles), dataIds=dict(dataIds))

    @timeMethod
    def run(self, coaddExposureHandles, bbox, wcs, dataIds, physical_filter, visit=None):
        """Make a template; see `stillsky.diffim.template.makeTemplate`.

        Parameters
        ----------
        coaddExposureHandles : `dict` [`int`, `list`]
            Handles, or exposures, by tract.
        bbox : `stillsky.geom.Box2I`
            Of the science image; not changed.
        wcs : `stillsky.wcs.SkyWcs`
        dataIds : `dict` [`int`, `list`]
            Data ids with "patch", in the order of the handles.
        physical_filter : `str`
        visit : `int`, optional
            Identifier for the template's visitInfo.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``template``, `stillsky.image.Exposure`.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            Nothing overlaps, or no pixel has data.
        RuntimeError
            Inputs of several bands or photometric calibrations (`stillsky.MismatchError`).
        """
        try:
            inputs = list(self._inputs(coaddExposureHandles, dataIds))
            info = None if visit is None else VisitInfo(id=int(visit))
            result = makeTemplate(inputs, bbox, wcs, self.config, filter=physical_filter, visitInfo=info)
        except NoDataError as error:
            raise pipeBase.NoWorkFound(str(error)) from error
        assignMetadata(
            self.metadata,
            {"nTemplateInputs": len(result.inputs.ccds), "templateGoodPixels": result.nGood, "notes": result.notes},
        )
        return pipeBase.Struct(template=result.exposure)

    @staticmethod
    def _inputs(handles, dataIds):
        """Inputs whose WCS and box are read without pixels where the handle can do that."""
        for tract, ofTract in handles.items():
            for handle, dataId in zip(ofTract, dataIds[tract], strict=True):
                reader = HandleReader(handle)
                wcs, bbox = reader.component("wcs"), reader.component("bbox")
                yield TemplateInput(handle, wcs, bbox, int(tract), int(dataId["patch"]))


class GetCoaddAsTemplateTask(SchemaVerbs, pipeBase.Task):
    """Make a template from the patches of one tract, on the tract's pixel grid, larger than the science image."""

    ConfigClass = GetCoaddAsTemplateConfig
    _DefaultName = "getCoaddAsTemplate"

    def runQuantum(self, exposure, butlerQC, skyMapRef, coaddExposureRefs):
        """Read the patches that overlap and make the template.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            The science image.
        butlerQC : quantum context
            ``get(ref)`` reads one dataset.
        skyMapRef : dataset reference
        coaddExposureRefs : iterable of dataset references
            With ``dataId["tract"]``, ``dataId["patch"]`` and, for deferred ones, ``datasetRef``.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``exposure`` (None when nothing overlaps), ``sources`` (None), ``area`` (pixels with data).

        Raises
        ------
        RuntimeError
            Patches of several tracts.
        """
        refs = list(coaddExposureRefs)
        tracts = {_dataId(ref)["tract"] for ref in refs}
        if len(tracts) > 1:
            raise MismatchError(
                "patches of several tracts: wanted those of one", found=f"tracts {sorted(tracts)}",
                remedy="GetTemplateTask takes any number of tracts",
            )  # fmt: skip
        nothing = pipeBase.Struct(exposure=None, sources=None, area=0)
        if exposure.wcs is None or not tracts:
            self.log.info("No template: %s", "the science image has no WCS" if tracts else "no patch is given")
            return nothing
        tractInfo = butlerQC.get(skyMapRef)[tracts.pop()]
        chosen, area = self._overlapping(exposure, tractInfo, refs)
        if not area:
            self.log.warning("No patch overlaps the science image")
            return nothing
        handles = {index: _loader(butlerQC, ref) for index, ref in chosen.items()}
        patches = [tractInfo.patch(index) for index in chosen]
        corners = Box2D(exposure.bbox).corners
        ra, dec = exposure.wcs.pixelToSky([c[0] for c in corners], [c[1] for c in corners])
        result = self.run(tractInfo, patches, list(zip(ra, dec)), handles, exposure.visitInfo)
        good = ~result.mask.isSet("NO_DATA")
        return pipeBase.Struct(exposure=result, sources=None, area=int(good.sum()))

    @staticmethod
    def _overlapping(exposure, tractInfo, refs):
        """References by patch whose patches overlap, and the overlap in square science pixels."""
        outline = exposure.info.validPolygon or Polygon(exposure.bbox)
        area, chosen = 0.0, {}
        for ref in refs:
            index = int(_dataId(ref)["patch"])
            patch = tractInfo.patch(index)
            corners = Box2D(patch.outerBBox).corners
            x, y = exposure.wcs.skyToPixel(*tractInfo.wcs.pixelToSky([c[0] for c in corners], [c[1] for c in corners]))
            if not all(map(_isFinite, (x, y))):
                continue
            overlap = Polygon(list(zip(x, y))).intersection(outline)
            if overlap is not None:
                area += overlap.area
                chosen[index] = ref
        return chosen, area

    @timeMethod
    def run(self, tractInfo, patchList, skyCorners, availableCoaddRefs, visitInfo=None, sensorRef=None):
        """Make the template; see `stillsky.diffim.coadd_template.makeTractTemplate`.

        Parameters
        ----------
        tractInfo : `stillsky.wcs.TractInfo`
        patchList : iterable of `stillsky.wcs.PatchInfo`
        skyCorners : sequence of (ra, dec)
            Corners of the science image, radians.
        availableCoaddRefs : `dict` [`int`, handle]
            By the sequential index of the patch: exposures or handles. Patches without one are left out.
        visitInfo : `stillsky.meta.VisitInfo`, optional
        sensorRef
            Of the second-generation middleware: refused.

        Returns
        -------
        template : `stillsky.image.Exposure`

        Raises
        ------
        ValueError
            ``sensorRef`` is given.
        RuntimeError
            No patch, no PSF, no photometric calibration.
        """
        if sensorRef is not None:
            raise DomainError("sensorRef: references of the second-generation middleware are not taken")
        inputs = []
        for patch in patchList:
            handle = availableCoaddRefs.get(patch.sequentialIndex)
            if handle is None:
                self.log.warning("Patch %d of tract %d is missing", patch.sequentialIndex, tractInfo.id)
                continue
            inputs.append(TemplateInput(handle, tractInfo.wcs, patch.outerBBox, tractInfo.id, patch.sequentialIndex))
        result = makeTractTemplate(inputs, tractInfo.wcs, skyCorners, self.config, visitInfo=visitInfo)
        assignMetadata(self.metadata, {"nTemplateInputs": len(result.inputs.ccds), "templateGoodPixels": result.nGood})
        return result.exposure

    def getCoaddDatasetName(self):
        """Dataset type of the patches."""
        return self.config.datasetName


def _isFinite(values):
    import numpy as np

    return bool(np.all(np.isfinite(values)))


def _dataId(ref):
    return ref.dataId if hasattr(ref, "dataId") else ref.datasetRef.dataId


def _loader(butlerQC, ref):
    """A callable that reads a dataset; a context may hand out a deferred handle first."""

    def load():
        got = butlerQC.get(ref)
        return got if hasattr(got, "image") else got.get()

    return load


class GetCalexpAsTemplateTask(SchemaVerbs, pipeBase.Task):
    """Take another visit's calibrated exposure as the template."""

    ConfigClass = GetCalexpAsTemplateConfig
    _DefaultName = "getCalexpAsTemplate"

    def runQuantum(self, exposure, butlerQC, templateRefs, backgroundRefs=(), sourceRefs=()):
        """Read the exposure of the first template reference.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            The science image.
        butlerQC : quantum context
        templateRefs, backgroundRefs, sourceRefs : sequences of dataset references
            Exposures, their backgrounds and their source catalogues, in one order.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            As of `run`.
        """
        first = self._first(list(templateRefs))
        got = [butlerQC.get(refs[0]) if len(refs) else None for refs in (backgroundRefs, sourceRefs)]
        return self.run(exposure, [butlerQC.get(first)], *got)

    def _first(self, items):
        if not items:
            raise NoDataError("no template exposure is given", remedy="name the visit whose exposure is the template")
        if len(items) > 1:
            self.log.warning("%d template exposures are given: the first is used", len(items))
        return items[0]

    def run(self, exposure, templateExposures, background=None, sources=None):
        """The first of the exposures, with its background.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            The science image.
        templateExposures : sequence of `stillsky.image.Exposure`
            Not changed.
        background : `stillsky.image.Image`, array or background list, optional
            What was subtracted from the template exposure; wanted with doAddCalexpBackground.
        sources : `astropy.table.Table`, optional
            Sources of the template exposure.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``exposure``, ``sources``.

        Raises
        ------
        RuntimeError
            No exposure is given.
        lsst.pipe.base.TaskError
            It has no PSF.
        """
        template = self._first(list(templateExposures))
        if template.psf is None:
            raise pipeBase.TaskError("The template exposure has no PSF.")
        if self.config.doAddCalexpBackground:
            if background is None:
                raise pipeBase.TaskError("doAddCalexpBackground is set and no background of the template is given.")
            template = template.copy()
            template.image.array[...] += _pixelsOf(background)
        return pipeBase.Struct(exposure=template, sources=sources)


def _pixelsOf(background):
    """Pixels of an image, an exposure, a background list, or an array."""
    for name in ("getImage", "image"):
        value = getattr(background, name, None)
        if value is not None:
            background = value() if callable(value) else value
            break
    return getattr(background, "array", background)
