"""Choice of images for a coadd as subtasks."""

import lsst.pipe.base as pipeBase

from ..task_base import SchemaVerbs
from .select_images import psfWithin, selectOverlapping
from .select_images_config import PsfWcsSelectImagesConfig, WcsSelectImagesConfig

__all__ = ["PsfWcsSelectImagesConfig", "PsfWcsSelectImagesTask", "WcsSelectImagesConfig", "WcsSelectImagesTask"]


class WcsSelectImagesTask(SchemaVerbs, pipeBase.Task):
    """Choose images whose outline on the sky meets that of a patch."""

    ConfigClass = WcsSelectImagesConfig
    _DefaultName = "selectImages"

    def run(self, wcsList, bboxList, coordList=None, dataIds=None, *, wcs=None, bbox=None, psfList=None, **kwargs):
        """Numbers of the images that are chosen.

        Parameters
        ----------
        wcsList : sequence of `stillsky.wcs.SkyWcs` or None
        bboxList : sequence of `stillsky.geom.Box2I`
        coordList : sequence of (ra, dec), optional
            Corners of the patch, radians: its convex outline; instead of ``wcs`` and ``bbox``.
        dataIds : sequence, optional
            Not used here.
        wcs, bbox : `stillsky.wcs.SkyWcs`, `stillsky.geom.Box2I`
            Of the patch.
        psfList : sequence of `stillsky.psf.Psf`, optional

        Returns
        -------
        chosen : `list` [`int`]
        """
        from .select_images import ImageOutline, outlineOverlaps

        candidates = [ImageOutline(w, b) for w, b in zip(wcsList, bboxList, strict=True)]
        if coordList is not None:
            return [i for i, c in enumerate(candidates) if outlineOverlaps(c.wcs, c.bbox, coordList)]
        return selectOverlapping(candidates, wcs, bbox)


class PsfWcsSelectImagesTask(WcsSelectImagesTask):
    """The same, leaving out images whose PSF exceeds the limits of the configuration."""

    ConfigClass = PsfWcsSelectImagesConfig

    def run(self, wcsList, bboxList, coordList=None, dataIds=None, *, psfList=None, **kwargs):
        """As `WcsSelectImagesTask.run`; images without a PSF are not chosen when there is a limit."""
        chosen = super().run(wcsList, bboxList, coordList, dataIds, **kwargs)
        limits = self.config.maxPsfFwhm, self.config.maxPsfEllipticity
        psfs = [None] * len(wcsList) if psfList is None else list(psfList)
        return [i for i in chosen if psfWithin(psfs[i], *limits)]
