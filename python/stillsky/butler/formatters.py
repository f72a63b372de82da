"""Formatters: how each storage class is a file. Each calls what plain files use, so both doors open the same files.

The butler gives a temporary name and renames, so a file that exists is complete; what is put is never changed.
"""

from lsst.daf.butler import FormatterV2

__all__ = [
    "BoxFormatter",
    "CoaddInputsFormatter",
    "ExposureFormatter",
    "HealSparseMapFormatter",
    "ImageFormatter",
    "KernelFormatter",
    "MaskFormatter",
    "MaskedImageFormatter",
    "PsfFormatter",
    "PtcFormatter",
    "SkyMapFormatter",
    "TableFormatter",
    "WcsFormatter",
]


class _FileFormatter(FormatterV2):
    """A format with a file of its own, read from and written to a local disk."""

    can_read_from_local_file = True
    default_extension = ".fits"
    supported_extensions = frozenset({".fits"})

    @property
    def bbox(self):
        """Parameter ``bbox`` of the reading (`Box2I`), or None."""
        return (self.file_descriptor.parameters or {}).get("bbox")


class ExposureFormatter(_FileFormatter):
    """`Exposure`: with ``bbox`` only those rows are read, components without the pixels that they do not need.

    Foreign files (DECam, ZTF, plain FITS, ...) that were ingested are read as `stillsky.read` reads them.
    """

    supported_extensions = frozenset({".fits", ".fits.fz", ".fits.gz", ".fz", ".fit"})

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..fits import readExposure, readPart

        if component is None:
            return readExposure(path, region=self.bbox)[0]
        if component in ("image", "mask", "variance"):
            if self.bbox is not None or not _isNative(path):
                return getattr(readExposure(path, region=self.bbox)[0], component)
            return readPart(path, component)
        if component in ("bbox", "xy0", "dimensions") or _isNative(path):
            return readPart(path, component)
        return componentOf(readExposure(path)[0], component)

    def write_local_file(self, in_memory_dataset, uri):
        from ..fits import writeExposure

        writeExposure(in_memory_dataset, uri.ospath, overwrite=True)


class MaskedImageFormatter(_FileFormatter):
    """`MaskedImage`."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..fits import readBBox, readMaskedImage

        if component == "bbox":
            return readBBox(path)
        found = readMaskedImage(path, region=self.bbox)
        return found if component is None else getattr(found, component)

    def write_local_file(self, in_memory_dataset, uri):
        from ..fits import writeMaskedImage

        writeMaskedImage(in_memory_dataset, uri.ospath, overwrite=True)


class ImageFormatter(_FileFormatter):
    """`Image`, with the pixel type that it has."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..fits import readImage

        return readImage(path, region=self.bbox, dtype=None)

    def write_local_file(self, in_memory_dataset, uri):
        from ..fits import writeImage

        writeImage(in_memory_dataset, uri.ospath, overwrite=True)


class MaskFormatter(_FileFormatter):
    """`Mask` with its planes."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..fits import readMask

        return readMask(path, region=self.bbox)

    def write_local_file(self, in_memory_dataset, uri):
        from ..fits import writeMask

        writeMask(in_memory_dataset, uri.ospath, overwrite=True)


class HealSparseMapFormatter(_FileFormatter):
    """`healsparse.HealSparseMap`, in its own FITS layout."""

    default_extension = ".hsp"
    supported_extensions = frozenset({".hsp", ".fits", ".fit"})

    def read_from_local_file(self, path, component=None, expected_size=-1):
        import healsparse

        return healsparse.HealSparseMap.read(path)

    def write_local_file(self, in_memory_dataset, uri):
        in_memory_dataset.write(uri.ospath, clobber=True)


class KernelFormatter(_FileFormatter):
    """Kernel of a match, as in ``P.kernel.fits``; the background of the file is left to `stillsky.fits.readKernel`."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..fits import readKernel

        return readKernel(path).kernel

    def write_local_file(self, in_memory_dataset, uri):
        from ..fits import writeKernel

        writeKernel(in_memory_dataset, uri.ospath, overwrite=True)


class PsfFormatter(_FileFormatter):
    """A PSF alone: the table that an exposure's file has for it."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..fits import readPart

        return readPart(path, "psf")

    def write_local_file(self, in_memory_dataset, uri):
        from ..fits import writePsf

        writePsf(in_memory_dataset, uri.ospath, overwrite=True)


class PtcFormatter(_FileFormatter):
    """`PhotonTransferCurveDataset`."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..ptc import PhotonTransferCurveDataset

        return PhotonTransferCurveDataset.readFits(path)

    def write_local_file(self, in_memory_dataset, uri):
        in_memory_dataset.writeFits(uri.ospath, overwrite=True)


class SkyMapFormatter(_FileFormatter):
    """`SkyMap`."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..wcs import SkyMap

        return SkyMap.readFits(path)

    def write_local_file(self, in_memory_dataset, uri):
        in_memory_dataset.writeFits(uri.ospath, overwrite=True)


class CoaddInputsFormatter(_FileFormatter):
    """`CoaddInputs`: the tables of visits and detectors."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..image import CoaddInputs

        return CoaddInputs.readFits(path)

    def write_local_file(self, in_memory_dataset, uri):
        in_memory_dataset.writeFits(uri.ospath, overwrite=True)


class TableFormatter(_FileFormatter):
    """`astropy.table.Table` as Parquet that keeps units, descriptions and meta; ECSV and FITS tables are read too."""

    default_extension = ".parquet"
    supported_extensions = frozenset({".parquet", ".parq", ".ecsv", ".fits"})

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from ..diffim import readSources

        table = readSources(path)
        if component == "columns":
            return list(table.colnames)
        if component == "rowcount":
            return len(table)
        return selectColumns(table, (self.file_descriptor.parameters or {}).get("columns"))

    def write_local_file(self, in_memory_dataset, uri):
        from ..diffim import writeSources

        writeSources(in_memory_dataset, uri.ospath, overwrite=True)


class WcsFormatter(_FileFormatter):
    """`SkyWcs`: the cards of a FITS header."""

    def read_from_local_file(self, path, component=None, expected_size=-1):
        from astropy.io import fits

        from ..wcs import SkyWcs

        return SkyWcs.fromHeader(fits.getheader(path))

    def write_local_file(self, in_memory_dataset, uri):
        from astropy.io import fits

        header = fits.Header(in_memory_dataset.toHeader())
        fits.PrimaryHDU(header=header).writeto(uri.ospath, overwrite=True)


class BoxFormatter(_FileFormatter):
    """`Box2I` as JSON: [x0, y0, width, height]."""

    default_extension = ".json"
    supported_extensions = frozenset({".json"})

    def read_from_local_file(self, path, component=None, expected_size=-1):
        import json

        from ..geom import Box2I, Extent2I, Point2I

        with open(path, encoding="utf-8") as file:
            x0, y0, width, height = json.load(file)
        return Box2I(Point2I(x0, y0), Extent2I(width, height))

    def write_local_file(self, in_memory_dataset, uri):
        import json

        box = in_memory_dataset
        with open(uri.ospath, "w", encoding="utf-8") as file:
            json.dump([box.minX, box.minY, box.width, box.height], file)


def _isNative(path):
    from ..fits.files import openFits
    from ..fits.native import isNative

    with openFits(path) as hdus:
        return isNative(hdus)


#: Components of an exposure that are not attributes of the same name.
_DERIVED = {
    "xy0": lambda exposure: exposure.bbox.min,
    "dimensions": lambda exposure: exposure.bbox.dimensions,
    "coaddInputs": lambda exposure: exposure.info.coaddInputs,
    "apCorrMap": lambda exposure: exposure.info.apCorrMap,
    "summaryStats": lambda exposure: exposure.info.summaryStats,
}


def componentOf(exposure, name):
    """A component of an exposure in memory by its name in the storage class."""
    return _DERIVED.get(name, lambda whole: getattr(whole, name))(exposure)


def selectColumns(table, wanted):
    """Columns of a table by name or names; all of them for None."""
    return table if wanted is None else table[[wanted] if isinstance(wanted, str) else list(wanted)]
