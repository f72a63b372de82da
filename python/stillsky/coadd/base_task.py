"""What all tasks share that combine warps: names, geometry, choice of inputs."""

import lsst.pipe.base as pipeBase

from ..task_base import CommandLineVerbs, EarlyPipelineVerbs
from . import planes
from .select_images import ImageOutline
from .sky_info import makeSkyInfo, skyInfoOf
from .warps import asWarp

__all__ = ["CoaddBaseTask"]


class CoaddBaseTask(CommandLineVerbs, EarlyPipelineVerbs, pipeBase.PipelineTask):
    """What all tasks share that combine warps: names, geometry, choice of inputs. Subclasses have a ConfigClass."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.makeSubtask("select")
        self.makeSubtask("inputRecorder")

    def getSkyInfo(self, patchRef):
        """Pixel grid of a patch (`stillsky.coadd.sky_info.SkyInfo`); see `stillsky.coadd.sky_info.skyInfoOf`."""
        return skyInfoOf(patchRef)

    def makeSkyInfo(self, skyMap, tractId, patchId):
        """Pixel grid of a patch of a sky map; see `stillsky.coadd.sky_info.makeSkyInfo`."""
        return makeSkyInfo(skyMap, tractId, patchId)

    def getCoaddDatasetName(self, warpType="direct"):
        """Dataset type of the coadd of a kind of warps."""
        return f"{self.config.coaddName}Coadd{_suffix(warpType)}"

    def getTempExpDatasetName(self, warpType="direct"):
        """Dataset type of warps of a kind."""
        return f"{self.config.coaddName}Coadd_{warpType}Warp"

    def getBadPixelMask(self):
        """Bits (of `stillsky.coadd.coaddSchema`) of the planes whose pixels are left out; absent planes do not count."""
        return planes.coaddSchema().bitmask(list(self.config.badMaskPlanes), ignoreMissing=True)

    def selectExposures(self, patchRef, skyInfo=None, selectDataList=()):
        """Choose the exposures whose convex outline on the sky meets that of the patch.

        Parameters
        ----------
        patchRef
            As for `getSkyInfo`; not used when ``skyInfo`` is given.
        skyInfo : struct, optional
        selectDataList : iterable
            Exposures, handles or warps; those without a usable WCS are not chosen.

        Returns
        -------
        chosen : `list`
        """
        skyInfo = self.getSkyInfo(patchRef) if skyInfo is None else skyInfo
        things = list(selectDataList)
        outlines = [_outlineOf(thing) for thing in things]
        chosen = self.select.run(
            [o.wcs for o in outlines], [o.bbox for o in outlines], psfList=[o.psf for o in outlines],
            wcs=skyInfo.wcs, bbox=skyInfo.bbox,
        )  # fmt: skip
        return [things[i] for i in chosen]

    def getTempExpRefList(self, patchRef, calExpRefList):
        """Deferred handles of the warps of some exposures' visits, in the order in which the visits first appear.

        Parameters
        ----------
        patchRef : `stillsky.compat.store.DataRef`
            A Butler and a data id with skymap, tract and patch.
        calExpRefList : iterable
            Exposures, handles or data ids with a visit.

        Returns
        -------
        handles : `list` [`lsst.daf.butler.DeferredDatasetHandle`]
            Visits without a warp on the patch have none.
        """
        from ..compat.coadd_verbs import visitsOf, warpReferences

        return warpReferences(patchRef, self.getTempExpDatasetName(self.warpType), visitsOf(calExpRefList))

    def makeIdFactory(self, dataRef):
        """Ids of the sources of a coadd (`stillsky.diffim.ids.IdFactory`); see
        `stillsky.compat.coadd_verbs.idFactoryOfPatch`."""
        from ..compat.coadd_verbs import idFactoryOfPatch

        return idFactoryOfPatch(dataRef)


def _suffix(warpType):
    return "" if warpType == "direct" else warpType[0].upper() + warpType[1:]


def _outlineOf(thing):
    if hasattr(thing, "wcs") and hasattr(thing, "bbox"):
        return ImageOutline(thing.wcs, thing.bbox, getattr(thing, "psf", None))
    warp = asWarp(thing)
    return ImageOutline(warp.get(component="wcs"), warp.bbox, warp.get(component="psf"), warp.dataId)
