"""Warps: images on the pixel grid of a coadd, of which rows are read when they are needed.

A warp has ``dataId``, ``bbox``, ``schema`` (names of its mask bits), ``get(component=None, parameters=None)`` as the
handles of a butler have it, ``block(box)`` and ``read(box)`` for the pixels of a box, and ``release(box)``. Warps may lie
in memory, in plain FITS files (mapped), in compressed or foreign FITS files (decoded once to a scratch file), or behind a
handle of a butler.
"""

import os
import tempfile
import weakref

import numpy as np

from ..errors import MismatchError, NotFoundError, ShapeError
from ..fits import readExposure
from ..fits.files import isCompressedWhole, openFits, readingErrors, splitExtension
from ..fits.layout import pixelShape, readOrigin, readPixels
from ..fits.native import findPlane, planeSchema
from ..fits.reader import readOpened
from ..fits.scratch import checkRoom, writingScratch
from ..fits.surveys import detectKind
from ..geom import Box2I
from ..image import Exposure, HandleReader, Image, Mask, MaskedImage
from .mapped_planes import FilePlane, MappedPlanes

__all__ = ["DeferredWarp", "InMemoryWarp", "WarpHandle", "asWarp"]

_PLANES = ("IMAGE", "MASK", "VARIANCE")
_SCRATCH_ROWS = 256


class Warp:
    """What all kinds of warps share. Subclasses give ``shell`` (an exposure of some pixels with all components), ``bbox``, ``schema`` and ``block``."""

    isRead = False  # whether `read` copies rows to the memory that it is given

    def __init__(self, dataId):
        self.dataId = dict(dataId or {}) if isinstance(dataId, dict) or dataId is None else dataId

    @property
    def metadata(self):
        """Header of the image (`stillsky.meta.Header`)."""
        return self.get(component="metadata")

    def get(self, component=None, parameters=None):
        """The exposure, a box of it, or one component.

        Parameters
        ----------
        component : `str`, optional
            image, mask, variance, maskedImage, bbox, xy0, or a field of `stillsky.image.ExposureInfo`.
        parameters : `dict`, optional
            ``bbox``: parent box wanted, inside the warp.

        Raises
        ------
        NotFoundError
            No such component.
        ShapeError
            The box is not inside the warp.
        """
        parameters = dict(parameters or {})
        box = parameters.pop("bbox", None)
        if parameters:
            raise NotFoundError(f"parameters: wanted bbox, given {sorted(parameters)}")
        if component == "bbox":
            return self.bbox
        if component == "xy0":
            return self.bbox.min
        if component in (None, "image", "mask", "variance", "maskedImage"):
            pixels = self._maskedImage(self.bbox if box is None else box)
            if component is None:
                return Exposure(pixels, self.shell._copiedInfo())
            return pixels if component == "maskedImage" else getattr(pixels, component)
        info = self.shell.info
        if not hasattr(info, component) or component.startswith("_"):
            raise NotFoundError(f"no exposure component {component!r}")
        return getattr(info, component)

    def _maskedImage(self, box):
        """Pixels of a box, copied."""
        image, mask, variance = self.block(box)
        return MaskedImage(
            Image(image.astype(image.dtype.newbyteorder("=")), box.min),
            Mask(mask.astype(np.int32), box.min, self.schema),
            Image(variance.astype(np.float32), box.min),
        )

    def _slices(self, box):
        if box.isEmpty or not self.bbox.contains(box):
            raise ShapeError(f"warp {self.name}: {box} is not inside {self.bbox}")
        return box.slices(self.bbox.min)

    def read(self, box, buffer=None):
        """As `block`, in memory that is not that of a file: ``buffer`` (uint8, ``rowBytes`` for each row) if it serves."""
        return self.block(box)

    def filePlanes(self):
        """`MappedPlanes` in which row 0 is that of the first pixel, where rows lie in a file as they are; else None."""
        return None

    @property
    def rowBytes(self):
        """Bytes of memory that `read` needs for one row."""
        return 12 * self.bbox.width

    def release(self, box):
        """The pixels of a box are not needed for now."""

    def close(self):
        """Give back what is held outside this process's memory; the warp opens again when it is used."""

    @property
    def name(self):
        """For messages: the data id, or where the pixels are."""
        items = self.dataId.items() if hasattr(self.dataId, "items") else getattr(self.dataId, "mapping", {}).items()
        return ", ".join(f"{k}={v}" for k, v in items) or type(self).__name__

    def __repr__(self):
        return f"{type(self).__name__}({self.name})"


class InMemoryWarp(Warp):
    """A warp whose pixels are in memory; they are never changed.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
    dataId : mapping, optional
        Default: ``{"visit": id}`` where the exposure has one.
    """

    def __init__(self, exposure, dataId=None):
        if not hasattr(exposure, "maskedImage"):
            raise TypeError(f"exposure: wanted an Exposure, got {type(exposure).__name__}")
        if dataId is None:
            number = exposure.visitInfo.id if exposure.visitInfo is not None else exposure.info.id
            dataId = {"visit": number} if number else {}
        super().__init__(dataId)
        self._exposure = exposure

    shell = property(lambda self: self._exposure, doc="The exposure.")
    bbox = property(lambda self: self._exposure.bbox, doc="Pixels of the warp in the patch.")
    schema = property(lambda self: self._exposure.mask.schema, doc="Mask planes.")

    def block(self, box):
        """Image, mask and variance of a box: views, arrays (height, width)."""
        part = self._slices(box)
        pixels = self.shell.maskedImage
        return pixels.image.array[part], pixels.mask.array[part], pixels.variance.array[part]


class DeferredWarp(Warp):
    """A warp behind a handle of a butler: ``get(component=, parameters=)``, read box by box where the handle can.

    Parameters
    ----------
    handle : object with ``dataId`` and ``get``
    """

    def __init__(self, handle):
        super().__init__(getattr(handle, "dataId", None))
        self._reader, self._info = HandleReader(handle), None
        self._bbox = self._reader.component("bbox")

    bbox = property(lambda self: self._bbox, doc="Pixels of the warp in the patch.")
    handle = property(lambda self: self._reader.thing, doc="What the warp is read with.")

    @property
    def shell(self):
        """Exposure of the first pixel, or more, with all components."""
        if self._reader.whole is not None:
            return self._reader.whole
        if self._info is None:
            self._info = self._reader.box(Box2I(self._bbox.min, (1, 1)))
        return self._info

    schema = property(lambda self: self.shell.mask.schema, doc="Mask planes.")

    def block(self, box):
        """Image, mask and variance of a box, arrays (height, width)."""
        self._slices(box)
        part = self._reader.box(box)
        if self._info is None and box.min == self._bbox.min:  # the first pixel has come with the others
            self._info = part[Box2I(box.min, (1, 1))].copy()
        if part.mask.schema != self.schema:
            raise MismatchError(f"warp {self.name}: mask planes differ between its parts")
        return part.image.array, part.mask.array, part.variance.array


class WarpHandle(Warp):
    """A warp in a FITS file.

    Parameters
    ----------
    path : path-like
        Any layout that `stillsky.readExposure` reads. The rows of plain files with IMAGE, MASK and VARIANCE are mapped
        into memory; compressed and foreign files are decoded once, when pixels are first asked for, to a file of 12
        bytes a pixel in the scratch folder, which goes with this object.
    dataId : mapping, optional
        Default: ``{"file": name}``.
    scratch : path-like, optional
        Folder of scratch files; default: that of `tempfile`.
    **options
        Passed to `stillsky.readExposure`.

    Notes
    -----
    Nothing is read before it is asked for. Decoding a compressed file of this layout needs 256 rows of memory, a foreign
    one the whole image.
    """

    isRead = True

    def __init__(self, path, dataId=None, *, scratch=None, **options):
        super().__init__({"file": os.path.basename(os.fspath(path))} if dataId is None else dataId)
        self.path = path
        self._scratch, self._options = scratch, options
        self._opened = self._exposure = self._planes = None

    # ------------------------------------------------------------------ headers

    def _open(self):
        """Box, mask planes and, for files that can be mapped, the places of the planes."""
        if self._opened is None:
            self._opened = self._layout() or self._foreign()
        return self._opened

    def _layout(self):
        """Of a file with the three planes; None for any other, or with options that change pixels."""
        path, ext = splitExtension(self.path)
        if ext is not None or self._options:
            return None
        with openFits(path) as hdus, readingErrors(path):
            if detectKind(path, hdus) != "native":
                return None
            found = [findPlane(hdus, name, path=path) for name in _PLANES]
            if any(hdu is None for hdu in found) or len({pixelShape(hdu) for hdu in found}) != 1:
                return None  # what the reader makes of them
            shape = pixelShape(found[0])
            bbox = Box2I(readOrigin(found[0].header), (shape[1], shape[0]))
            if not bbox.isEmpty:  # while the file is open: whoever asks for the box wants the components next
                self._exposure = readOpened(hdus, path, Box2I(bbox.min, (1, 1)))
            return {
                "bbox": bbox,
                "schema": planeSchema(found[1].header)[0],
                "shape": shape,
                "planes": _placesOf(path, found),
            }

    def _foreign(self):
        """Read the whole image; its pixels go to the scratch file, its components stay."""
        exposure = readExposure(self.path, **self._options)[0]
        planes = exposure.maskedImage
        self._writeScratch(exposure.bbox.shape, lambda rows: (planes.image.array[rows], planes.mask.array[rows],
                                                              planes.variance.array[rows]))  # fmt: skip
        corner = Box2I(exposure.bbox.min, (1, 1))
        self._exposure = exposure[corner].copy()
        return {"bbox": exposure.bbox, "schema": exposure.mask.schema, "shape": exposure.bbox.shape, "planes": None}

    bbox = property(lambda self: self._open()["bbox"], doc="Pixels of the warp in the patch.")
    schema = property(lambda self: self._open()["schema"], doc="Mask planes.")

    @property
    def shell(self):
        """Exposure of the first pixel, with all components."""
        box = Box2I(self.bbox.min, (1, 1))
        if self._exposure is None:
            self._exposure = readExposure(self.path, region=box, **self._options)[0]
        return self._exposure

    # ------------------------------------------------------------------ pixels

    def _mapped(self):
        layout = self._open()
        if self._planes is None:
            if layout["planes"]:
                self._planes = MappedPlanes(splitExtension(self.path)[0], layout["shape"], layout["planes"])
            else:
                self._decode(layout["shape"])
        return self._planes

    def _decode(self, shape):
        """Compressed planes to the scratch file."""
        path = splitExtension(self.path)[0]
        with openFits(path) as hdus, readingErrors(path):
            found = [findPlane(hdus, name, path=path) for name in _PLANES]
            types = (np.float32, np.int32, np.float32)

            def read(rows):
                part = (rows, slice(0, shape[1]))
                return [readPixels(hdu, dtype, part) for hdu, dtype in zip(found, types)]

            self._writeScratch(shape, read)

    def _writeScratch(self, shape, read):
        """Planes one after the other, native byte order; the file has no name by the time this returns, where the
        system allows that. Errors of ``read`` are those of the input, those of writing are ScratchError."""
        size = shape[0] * shape[1] * 4
        folder = tempfile.gettempdir() if self._scratch is None else self._scratch
        checkRoom(folder, 3 * size)
        with writingScratch(folder, 3 * size):
            handle, name = tempfile.mkstemp(prefix="stillsky-", suffix=".warp", dir=folder)
        remove = weakref.finalize(self, _remove, name)
        types = (np.float32, np.int32, np.float32)
        try:
            with open(handle, "wb", buffering=0) as stream:
                for start in range(0, shape[0], _SCRATCH_ROWS):
                    planes = read(slice(start, min(start + _SCRATCH_ROWS, shape[0])))
                    with writingScratch(folder, 3 * size):
                        for k, (array, dtype) in enumerate(zip(planes, types)):
                            _writeAt(stream, k * size + start * shape[1] * 4, np.ascontiguousarray(array, dtype))
            with writingScratch(folder, 3 * size):
                self._planes = MappedPlanes(
                    name, shape, [FilePlane(k * size, np.dtype(t)) for k, t in enumerate(types)]
                )
        except BaseException:
            remove()
            raise

    def block(self, box):
        """Image, mask and variance of a box, arrays (height, width) in the byte order of the file, not to be written to."""
        rows, columns = self._slices(box)
        return [plane[:, columns] for plane in self._mapped().rows(rows.start, rows.stop)]

    def read(self, box, buffer=None):
        rows, columns = self._slices(box)
        return [plane[:, columns] for plane in self._mapped().readRows(rows.start, rows.stop, buffer)]

    def filePlanes(self):
        return self._mapped()

    def release(self, box):
        if self._planes is not None:
            rows = self._slices(box)[0]
            self._planes.release(rows.start, rows.stop)

    def close(self):
        if self._opened is not None and self._opened["planes"]:
            self._planes = None  # a scratch file stays: decoding is dear


def _placesOf(path, hdus):
    """Places of plain planes without scaling; None where pixels must be decoded."""
    if isCompressedWhole(path):
        return None
    places = []
    for hdu, dtype in zip(hdus, (">f4", ">i4", ">f4")):
        header = hdu.header
        bitpix = -32 if dtype == ">f4" else 32
        info = hdu.fileinfo()
        plain = header.get("BITPIX") == bitpix and (header.get("BSCALE", 1), header.get("BZERO", 0)) == (1, 0)
        if not plain or "BLANK" in header or type(hdu).__name__ == "CompImageHDU" or not info:
            return None
        if info["datLoc"] % 4:
            return None
        places.append(FilePlane(info["datLoc"], np.dtype(dtype)))
    return places


def _writeAt(stream, offset, array):
    """All bytes of an array; a stream without buffer, so that nothing is left to be written when it is closed."""
    stream.seek(offset)
    rest = memoryview(array).cast("B") if array.size else b""
    while len(rest):
        rest = rest[stream.write(rest) :]


def _remove(path):
    try:
        os.unlink(path)
    except OSError:
        pass


def _localFile(handle):
    """Path of the file behind a deferred handle of a butler, where it is one of ours on this machine; else None.

    Its rows can then be mapped; through the handle each box would open the file anew.
    """
    getURI, ref = getattr(getattr(handle, "butler", None), "getURI", None), getattr(handle, "ref", None)
    if getURI is None or ref is None or getattr(handle, "parameters", None) or getattr(handle, "storageClass", None):
        return None
    if ref.datasetType.storageClass_name != "StillskyExposure":
        return None
    try:
        uri = getURI(ref)
    except (LookupError, OSError, RuntimeError):
        return None  # no dataset, no file, or several
    return uri.ospath if uri.isLocal and not uri.fragment and uri.exists() else None


def asWarp(thing, dataId=None, **options):
    """A warp of whatever stands for one.

    Parameters
    ----------
    thing : warp, path-like, `stillsky.image.Exposure`, or handle with ``get``
    dataId : mapping, optional
        For files and exposures.
    **options
        Of `WarpHandle`, for files.
    """
    if isinstance(thing, Warp):
        return thing
    if isinstance(thing, str | os.PathLike):
        return WarpHandle(thing, dataId, **options)
    if hasattr(thing, "maskedImage"):
        return InMemoryWarp(thing, dataId)
    if hasattr(thing, "get"):
        path = _localFile(thing)
        return DeferredWarp(thing) if path is None else WarpHandle(path, thing.dataId, **options)
    raise TypeError(f"warps: wanted files, exposures or handles, got {type(thing).__name__}")
