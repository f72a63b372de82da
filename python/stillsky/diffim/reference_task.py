"""The matcher of sources and reference objects as a task."""

import lsst.pipe.base as pipeBase

from ..errors import StillskyError
from ..task_base import SchemaVerbs
from .match_sources import matchSky
from .reference_config import DirectMatchConfig

__all__ = ["DirectMatchConfig", "DirectMatchTask"]


class DirectMatchTask(SchemaVerbs, pipeBase.Task):
    """Pair sources with reference objects by position; the WCS is taken as it is.

    Parameters
    ----------
    refObjLoader : `stillsky.diffim.reference.ReferenceLoader`, optional
    """

    ConfigClass = DirectMatchConfig
    _DefaultName = "matchReference"

    def __init__(self, refObjLoader=None, **kwargs):
        super().__init__(**kwargs)
        self.refObjLoader = refObjLoader

    def loadAndMatch(self, exposure, sourceCat, radius=None):
        """Load the reference objects of an exposure and pair them.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            With a WCS.
        sourceCat : `astropy.table.Table`
            With coord_ra and coord_dec.
        radius : `float`, optional
            Instead of ``matchRadius``, arcsec.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``refCat`` (table), ``rows`` and ``partners`` (rows of the sources and of refCat), ``matches`` (list of
            reference row, number of the source).

        Raises
        ------
        RuntimeError
            There is no loader.
        """
        if self.refObjLoader is None:
            raise StillskyError("matching to reference objects: wanted a refObjLoader, there is none")
        refCat = self.refObjLoader.loadPixelBox(exposure.bbox, exposure.wcs)
        rows, partners = matchSky(sourceCat, refCat, self.config.matchRadius if radius is None else radius)
        matches = [(refCat[int(p)], int(r)) for r, p in zip(rows, partners)]
        return pipeBase.Struct(refCat=refCat, rows=rows, partners=partners, matches=matches)
