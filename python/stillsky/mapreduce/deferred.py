"""An exposure that stays in its file: cells are read when they are mapped."""

from ..errors import FitsLayoutError, ShapeError
from ..fits import readExposure
from ..fits.layout import readOrigin
from ..geom import Box2I

__all__ = ["DeferredExposure"]


class DeferredExposure:
    """An exposure in a file, of which each mapper reads only its expanded cell.

    Parameters
    ----------
    path : path-like
        As for `stillsky.readExposure`; plain or compressed, any layout.
    bbox : `stillsky.geom.Box2I`, optional
        Box of the image, parent coordinates; default: read from the file.
    **options
        Passed to `stillsky.readExposure`.

    Notes
    -----
    Noise levels that the reader measures in the pixels would differ from cell to cell: give ``gain``, ``readNoise`` or
    ``variance="model"``, or a file with a variance plane. Objects of this class can be sent to processes.
    """

    def __init__(self, path, bbox=None, **options):
        self._path, self._options = path, options
        self._bbox = self._boxOfFile() if bbox is None else bbox

    def _boxOfFile(self):
        """From the first extension that is an image, without its pixels."""
        from astropy.io import fits

        with fits.open(self._path, lazy_load_hdus=True) as hdus:
            for hdu in hdus:
                if hdu.is_image and len(hdu.shape) == 2:
                    height, width = hdu.shape
                    return Box2I(readOrigin(hdu.header), (width, height))
        raise FitsLayoutError(f"{self._path}: no extension is an image; give bbox")

    bbox = property(lambda self: self._bbox, doc="Pixels of the file, in parent coordinates.")

    def subset(self, box):
        """The pixels of a box (parent coordinates), read from the file."""
        if not self._bbox.contains(box) or box.isEmpty:
            raise ShapeError(f"DeferredExposure: {box} is not inside {self._bbox}")
        return readExposure(self._path, region=box, **self._options)[0]
