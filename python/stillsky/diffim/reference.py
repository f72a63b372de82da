"""Reference objects around an image, from a table that somebody else made."""

import numpy as np
from astropy.table import Table, vstack

from ..errors import DomainError, FitsLayoutError
from .register import skyPositions

__all__ = ["ReferenceLoader"]

_WANTED = ("id", "coord_ra", "coord_dec")


class ReferenceLoader:
    """Loads reference objects.

    Parameters
    ----------
    source : `astropy.table.Table`, path, or sequence of tables or of handles with ``get()``
        With id, coord_ra and coord_dec (radians unless the columns have units). A path is read on first use.
    config : `stillsky.diffim.reference_config.ReferenceLoaderConfig`, optional
    """

    def __init__(self, source, config=None):
        self._source = source
        self.pixelMargin = 250 if config is None else int(config.pixelMargin)
        self._table = None

    @property
    def table(self):
        """All objects.

        Raises
        ------
        FitsLayoutError
            The file cannot be read as a table.
        DomainError
            A column is missing.
        """
        if self._table is None:
            self._table = self._read()
        return self._table

    def _read(self):
        source = self._source
        if isinstance(source, Table):
            table = source
        elif isinstance(source, str) or hasattr(source, "__fspath__"):
            try:
                table = Table.read(source)
            except FileNotFoundError:
                raise
            except Exception as error:  # astropy's readers raise whatever they like
                raise FitsLayoutError(f"{source}: not a table of reference objects ({error})") from error
        else:
            parts = [part if isinstance(part, Table) else part.get() for part in source]
            table = vstack(parts, metadata_conflicts="silent") if parts else Table({n: np.zeros(0) for n in _WANTED})
        missing = [name for name in _WANTED if name not in table.colnames]
        if missing:
            raise DomainError(f"reference objects: wanted columns {', '.join(_WANTED)}, missing {', '.join(missing)}")
        return table

    def loadPixelBox(self, bbox, wcs):
        """Objects on an image and up to ``pixelMargin`` pixels off it.

        Parameters
        ----------
        bbox : `stillsky.geom.Box2I`
        wcs : `stillsky.wcs.SkyWcs`

        Returns
        -------
        objects : `astropy.table.Table`
        """
        if wcs is None:
            raise DomainError("reference objects: wanted an exposure with a WCS, it has none")
        box = bbox.dilated(self.pixelMargin)
        if not len(self.table):
            return self.table
        x, y = wcs.skyToPixel(*skyPositions(self.table))
        with np.errstate(invalid="ignore"):
            inside = (x >= box.minX - 0.5) & (x < box.maxX + 0.5) & (y >= box.minY - 0.5) & (y < box.maxY + 0.5)
        return self.table[inside]
