"""The steps of AssembleCoaddTask, each as a method that can be called and replaced alone."""

from ..errors import DomainError
from ..task_base import earlierArguments
from . import algorithm, metadata, pixel_changes, planes, processing
from .bands import subBBoxIter
from .input_recorder import shrinkValidPolygons
from .inputs import PreparedWarp
from .warps import asWarp

__all__ = ["AssembleCoaddSteps"]


class AssembleCoaddSteps:
    """Methods over `stillsky.coadd`; a mixin for `AssembleCoaddTask`."""

    @earlierArguments(tempExpRefList="warpRefList")
    def assembleMetadata(self, coaddExposure, warpRefList, weightList, psfMatchedWarpRefList=None):
        """Set the inputs, PSF, aperture corrections, filter and unit of a coadd.

        Parameters
        ----------
        coaddExposure : `stillsky.image.Exposure`
            Changed.
        warpRefList, weightList : sequence
        psfMatchedWarpRefList : sequence, optional

        Raises
        ------
        DomainError
            The lists differ in length.
        """
        inputs = self._inputs(coaddExposure.bbox, warpRefList, weightList, matched=psfMatchedWarpRefList)
        calib = self.scaleZeroPoint.getPhotoCalib() if self.config.doScaleZeroPoint else None
        metadata.assembleMetadata(coaddExposure, inputs, self.config, recorder=self.inputRecorder, photoCalib=calib)

    @staticmethod
    def subBBoxIter(bbox, subregionSize):
        """Blocks of a box; see `stillsky.coadd.subBBoxIter`."""
        return subBBoxIter(bbox, subregionSize)

    _subBBoxIter = subBBoxIter

    @earlierArguments(tempExpRefList="warpRefList")
    def assembleSubregion(
        self, coaddExposure, bbox, warpRefList, imageScalerList, weightList, altMaskList, statsFlags, statsCtrl,
        nImage=None,
    ):  # fmt: skip
        """Combine the pixels of a box.

        Parameters
        ----------
        coaddExposure : `stillsky.image.Exposure`
            Assigned in the box; its mask gets the planes of the warps.
        bbox : `stillsky.geom.Box2I`
        warpRefList, imageScalerList, weightList, altMaskList : sequence
            One entry per warp; scalers and masks may be None.
        statsFlags, statsCtrl
            Of `prepareStats`.
        nImage : `stillsky.image.Image` (uint16), optional
            Assigned in the box.
        """
        inputs = self._inputs(bbox, warpRefList, weightList, imageScalerList, altMaskList)
        self._addPlanes(coaddExposure.mask, inputs)
        config = self.config if not self.config.doOnlineForMean else self._withoutOnline()
        algorithm.stackBox(coaddExposure.maskedImage, bbox, inputs, config, statsCtrl, flags=statsFlags, nImage=nImage)

    def assembleOnlineMeanCoadd(
        self, coaddExposure, warpRefList, imageScalerList, weightList, altMaskList, statsCtrl, nImage=None
    ):
        """The mean of warps that come one at a time, over the whole coadd; arguments as of `assembleSubregion`."""
        from ..stats import Property

        inputs = self._inputs(coaddExposure.bbox, warpRefList, weightList, imageScalerList, altMaskList)
        self._addPlanes(coaddExposure.mask, inputs)
        config = self._withoutOnline()
        config.doOnlineForMean = True
        algorithm.stackBox(
            coaddExposure.maskedImage, coaddExposure.bbox, inputs, config, statsCtrl, flags=Property.MEAN, nImage=nImage
        )

    def _withoutOnline(self):
        from .config import AssembleCoaddAlgorithmConfig

        config = AssembleCoaddAlgorithmConfig()
        config.doInterp = False
        for name in ("subregionSize", "statistic", "badMaskPlanes", "removeMaskPlanes", "memory",
                     "doUsePsfMatchedPolygons"):  # fmt: skip
            value = getattr(self.config, name)
            setattr(config, name, list(value) if name.endswith("Planes") or name == "subregionSize" else value)
        return config

    @staticmethod
    def _inputs(bbox, warps, weights, scalers=None, altMasks=None, matched=None):
        n = len(warps)
        lists = {
            "weightList": weights,
            "imageScalerList": scalers,
            "altMaskList": altMasks,
            "psfMatchedWarpRefList": matched,
        }
        for name, values in lists.items():
            lists[name] = [None] * n if values is None else list(values)
            if len(lists[name]) != n:
                raise DomainError(f"{name}: wanted one per warp, {n}, given {len(lists[name])}")
        made = []
        for thing, weight, scaler, altMask, other in zip(warps, *lists.values()):
            warp = asWarp(thing)
            box = warp.bbox.clipped(bbox)
            other = None if other is None else asWarp(other)
            made.append(PreparedWarp(warp, box, float(weight), scaler, altMask, other))
        return [item for item in made if not item.box.isEmpty]

    @staticmethod
    def _addPlanes(mask, inputs):
        for name in ("REJECTED", "CLIPPED", "SENSOR_EDGE"):
            mask.addPlane(name)
        mask.schema = mask.schema.merged(algorithm.schemaOf(inputs))

    @staticmethod
    def setRejectedMaskMapping(statsCtrl, schema=None):
        """Which planes of warps set which planes of the coadd; see `stillsky.coadd.rejectedMaskMapping`.

        Parameters
        ----------
        statsCtrl : `stillsky.stats.StatisticsControl`
        schema : `stillsky.image.MaskSchema`, optional
            Names of the bits; default: `stillsky.coadd.coaddSchema`.
        """
        return planes.rejectedMaskMapping(statsCtrl.andMask, planes.coaddSchema() if schema is None else schema)

    def removeMaskPlanes(self, maskedImage):
        """Clear the planes of ``config.removeMaskPlanes`` on a masked image, or mask, in place; unknown ones are said."""
        mask = getattr(maskedImage, "mask", maskedImage)
        for name in self.config.removeMaskPlanes:
            if name in mask.schema:
                mask.clearPlane(name)
            else:
                self.log.debug("Cannot clear mask plane %s: there is none", name)

    def applyAltMaskPlanes(self, mask, altMaskSpans):
        """Set planes of a mask on spans; see `stillsky.coadd.applyAltMaskPlanes`.

        With doUsePsfMatchedPolygons and NO_DATA among the bad planes, bad planes are first cleared on the NO_DATA spans.

        Returns
        -------
        mask : `stillsky.image.Mask`
            The argument, changed in place.
        """
        clear = self.config.doUsePsfMatchedPolygons and "NO_DATA" in self.config.badMaskPlanes
        return pixel_changes.applyAltMaskPlanes(mask, altMaskSpans, self.config.badMaskPlanes if clear else ())

    def setInexactPsf(self, mask):
        """Set INEXACT_PSF where SENSOR_EDGE, CLIPPED or REJECTED is set, in place."""
        planes.setInexactPsf(mask)

    def shrinkValidPolygons(self, coaddInputs):
        """Take half the matching kernel off the valid polygons of the detectors, in place."""
        shrinkValidPolygons(coaddInputs, self.config.matchingKernelSize)

    @earlierArguments(dataRef="brightObjectMasks")
    def processResults(self, coaddExposure, brightObjectMasks=None, dataId=None):
        """Interpolate over pixels without data and mask bright objects, as configured, in place.

        Parameters
        ----------
        coaddExposure : `stillsky.image.Exposure`
        brightObjectMasks : `astropy.table.Table`, or data reference of one, optional
        dataId : mapping, optional
            For messages.
        """
        if brightObjectMasks is not None and not hasattr(brightObjectMasks, "colnames"):
            wanted, reference = self.config.doMaskBrightObjects, brightObjectMasks
            brightObjectMasks = self.readBrightObjectMasks(reference) if wanted else None
        processing.processResults(
            coaddExposure, self.config, brightObjects=brightObjectMasks, interpolate=self._interpolate
        )

    def _interpolate(self, exposure, planeName):
        self.interpImage.run(exposure, planeName=planeName)
        self.log.debug("Interpolated over %s", planeName)

    def setBrightObjectMasks(self, exposure, brightObjectMasks, dataId=None):
        """Set the plane ``config.brightObjectMaskName`` in regions; see `stillsky.coadd.setBrightObjectMasks`.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            Changed in place.
        brightObjectMasks : `astropy.table.Table` or None
            None: a warning.
        dataId : mapping, optional
            For messages. The order of 2019, (exposure, dataId, masks), is understood as well.
        """
        from .bright_objects import setBrightObjectMasks

        if dataId is not None and hasattr(dataId, "colnames"):
            brightObjectMasks, dataId = dataId, brightObjectMasks
        if brightObjectMasks is None:
            self.log.warning("Unable to apply bright object mask: none supplied")
            return
        setBrightObjectMasks(exposure, brightObjectMasks, self.config.brightObjectMaskName)
