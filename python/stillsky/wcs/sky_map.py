"""SkyMap: a list of tracts, tangent planes on the sky that are cut into patches."""

import hashlib
import json
from dataclasses import dataclass

import numpy as np

from ..errors import DomainError, FitsLayoutError, NoDataError, OutOfBoundsError
from ..geom import Box2I, Extent2I, Point2I
from .sky_wcs import SkyWcs

__all__ = ["PatchInfo", "SkyMap", "TractInfo"]


class _SkyBox:
    """What tracts and patches share: an outer box of a tangent plane and its outline on the sky."""

    def contains(self, ra, dec):
        """Whether the outer box holds a sky position (radians); arrays welcome. A pixel reaches half a pixel out."""
        return _holds(self.outerBBox, self.wcs, ra, dec)

    @property
    def outerSkyPolygon(self):
        """Unit vectors (4, 3) of the outer box's corners, counter-clockwise in pixels from the lower left."""
        return _skyCorners(self.outerBBox, self.wcs)

    @property
    def innerSkyPolygon(self):
        """Unit vectors (4, 3) of the inner box's corners, counter-clockwise in pixels from the lower left."""
        return _skyCorners(self.innerBBox, self.wcs)

    @property
    def outerRegion(self):
        """The outer box as `lsst.sphgeom.ConvexPolygon`, as a butler's dimension records want it."""
        return _region(self.outerSkyPolygon)

    @property
    def innerRegion(self):
        """The inner box as `lsst.sphgeom.ConvexPolygon`."""
        return _region(self.innerSkyPolygon)


@dataclass(frozen=True)
class PatchInfo(_SkyBox):
    """One patch of a tract. Immutable.

    Attributes
    ----------
    index : (`int`, `int`)
        Column and row among the patches of the tract.
    sequentialIndex : `int`
        Row by row from the lower left.
    innerBBox, outerBBox : `stillsky.geom.Box2I`
        Tract pixels. Inner boxes tile the tract; outer boxes reach the border further, within the tract.
    wcs : `stillsky.wcs.SkyWcs`
        That of the tract.
    """

    index: tuple
    sequentialIndex: int
    innerBBox: Box2I
    outerBBox: Box2I
    wcs: SkyWcs


@dataclass(frozen=True)
class TractInfo(_SkyBox):
    """One tract: a tangent plane, its box and its grid of patches. Immutable; iterates over its patches.

    Parameters
    ----------
    id : `int`
    wcs : `stillsky.wcs.SkyWcs`
    bbox : `stillsky.geom.Box2I`
        All pixels of the tract.
    patchInnerDimensions : (`int`, `int`)
        Width and height of the inner boxes; those of the last column and row are cut at the tract's edge.
    patchBorder : `int`
        Pixels by which outer boxes exceed inner ones.

    Raises
    ------
    DomainError
        An empty box, patches without pixels, or a negative border or id.
    """

    id: int
    wcs: SkyWcs
    bbox: Box2I
    patchInnerDimensions: Extent2I
    patchBorder: int = 0

    def __post_init__(self):
        inner = Extent2I(*(int(v) for v in self.patchInnerDimensions))
        for name, value in (("id", int(self.id)), ("patchInnerDimensions", inner),
                            ("patchBorder", int(self.patchBorder))):  # fmt: skip
            object.__setattr__(self, name, value)
        if self.bbox.isEmpty:
            raise DomainError(f"tract {self.id}: wanted a box with pixels, given {self.bbox}")
        if min(inner) < 1 or self.patchBorder < 0 or self.id < 0:
            raise DomainError(
                f"tract {self.id}: wanted patches of at least one pixel, a border and an id >= 0, given"
                f" {tuple(inner)} and {self.patchBorder}"
            )

    @property
    def outerBBox(self):
        """The tract's box."""
        return self.bbox

    @property
    def innerBBox(self):
        """The tract's box; which of two tracts owns a position is decided by distance, see `SkyMap.findTract`."""
        return self.bbox

    @property
    def numPatches(self):
        """(columns, rows)."""
        return Extent2I(
            -(-self.bbox.width // self.patchInnerDimensions.x), -(-self.bbox.height // self.patchInnerDimensions.y)
        )

    @property
    def skyCenter(self):
        """(ra, dec) of the middle of the box, ICRS radians."""
        return tuple(float(v) for v in self.wcs.pixelToSky(*self.bbox.center))

    def __len__(self):
        return self.numPatches.x * self.numPatches.y

    def __iter__(self):
        return (self.patch(i) for i in range(len(self)))

    def __getitem__(self, index):
        return self.patch(index)

    def patch(self, index):
        """A patch by its sequential index, by (column, row), or by the text "column,row".

        Raises
        ------
        OutOfBoundsError
            No such patch.
        """
        nx, ny = self.numPatches
        try:
            if isinstance(index, str):
                index = tuple(int(part) for part in index.split(","))
            i, j = index if np.ndim(index) == 1 else (int(index) % nx, int(index) // nx)
        except (TypeError, ValueError):
            raise DomainError(f"patch: wanted a number, (column, row) or 'column,row', given {index!r}") from None
        if not (0 <= i < nx and 0 <= j < ny):
            raise OutOfBoundsError(f"patch: tract {self.id} has {nx} x {ny} patches, given {index!r}")
        width, height = self.patchInnerDimensions
        corner = Point2I(self.bbox.minX + int(i) * width, self.bbox.minY + int(j) * height)
        inner = Box2I(corner, Extent2I(width, height)).clipped(self.bbox)
        outer = inner.dilated(self.patchBorder).clipped(self.bbox)
        return PatchInfo((int(i), int(j)), int(j) * nx + int(i), inner, outer, self.wcs)

    def findPatch(self, ra, dec):
        """The patch whose inner box holds a sky position (radians).

        Raises
        ------
        NoDataError
            The position is outside the tract.
        """
        if not self.contains(ra, dec):
            raise NoDataError(
                f"tract {self.id} does not hold the position", found=f"{np.degrees(ra):.6f}, {np.degrees(dec):+.6f} deg"
            )
        x, y = self.wcs.skyToPixel(ra, dec)
        column = int(np.floor(x + 0.5)) - self.bbox.minX
        row = int(np.floor(y + 0.5)) - self.bbox.minY
        return self.patch((
            min(max(column, 0) // self.patchInnerDimensions.x, self.numPatches.x - 1),
            min(max(row, 0) // self.patchInnerDimensions.y, self.numPatches.y - 1),
        ))  # fmt: skip

    def findPatchList(self, ra, dec):
        """Patches whose outer boxes meet the box around sky positions (radians); positions that cannot be projected
        do not count."""
        x, y = (np.atleast_1d(v) for v in self.wcs.skyToPixel(ra, dec))
        good = np.isfinite(x) & np.isfinite(y)
        if not good.any():
            return []
        limit = 1 << 30
        low = [int(np.clip(np.floor(v[good].min() + 0.5), -limit, limit)) for v in (x, y)]
        high = [int(np.clip(np.floor(v[good].max() + 0.5), -limit, limit)) for v in (x, y)]
        box = Box2I.fromMinMax(Point2I(*low), Point2I(*high))
        return [patch for patch in self if patch.outerBBox.overlaps(box)]

    def _definition(self):
        box, inner = self.bbox, self.patchInnerDimensions
        return {
            "id": self.id,
            "wcs": self.wcs.toHeader().tostring(),
            "box": [box.minX, box.minY, box.width, box.height],
            "inner": [inner.x, inner.y],
            "border": self.patchBorder,
        }

    @classmethod
    def _fromDefinition(cls, d):
        from astropy.io.fits import Header

        x0, y0, width, height = (int(v) for v in d["box"])
        wcs = SkyWcs.fromHeader(Header.fromstring(d["wcs"]))
        return cls(d["id"], wcs, Box2I(Point2I(x0, y0), Extent2I(width, height)), d["inner"], d["border"])


class SkyMap:
    """Tracts of the sky, in the order of their ids. Immutable; iterates over tracts.

    Parameters
    ----------
    tracts : iterable of `TractInfo`

    Raises
    ------
    DomainError
        No tract, or an id twice.
    """

    __slots__ = ("_tracts",)

    def __init__(self, tracts):
        tracts = sorted(tracts, key=lambda tract: tract.id)
        ids = [tract.id for tract in tracts]
        if not ids or len(set(ids)) != len(ids):
            raise DomainError(f"tracts: wanted at least one, each with an id of its own, given ids {ids}")
        object.__setattr__(self, "_tracts", {tract.id: tract for tract in tracts})

    def __setattr__(self, name, value):
        raise AttributeError("SkyMap is immutable")

    def __len__(self):
        return len(self._tracts)

    def __iter__(self):
        return iter(self._tracts.values())

    def __getitem__(self, tractId):
        """A tract by its id; OutOfBoundsError when there is none."""
        try:
            return self._tracts[int(tractId)]
        except KeyError:
            raise OutOfBoundsError(f"tract: wanted one of {sorted(self._tracts)}, given {tractId!r}") from None

    def findTract(self, ra, dec):
        """The tract that a sky position (radians) belongs to: of those that hold it, the one with the nearest middle.

        Raises
        ------
        NoDataError
            No tract holds the position.
        """
        here = _vectors(ra, dec)
        holding = [tract for tract in self if tract.contains(ra, dec)]
        if not holding:
            raise NoDataError(
                "no tract of the sky map holds the position",
                found=f"{np.degrees(ra):.6f}, {np.degrees(dec):+.6f} deg, {len(self)} tracts",
            )
        return max(holding, key=lambda tract: (float(_vectors(*tract.skyCenter) @ here), -tract.id))

    def findTractPatchList(self, ra, dec):
        """All (tract, patches) whose outer boxes meet sky positions, corners of an image for instance (radians)."""
        found = ((tract, tract.findPatchList(ra, dec)) for tract in self)
        return [(tract, patches) for tract, patches in found if patches]

    @property
    def sha1(self):
        """SHA-1 (20 bytes) of the definition: equal for equal maps, on any machine."""
        text = json.dumps([tract._definition() for tract in self], sort_keys=True, separators=(",", ":"))
        return hashlib.sha1(text.encode(), usedforsecurity=False).digest()

    def toHdu(self):
        """A FITS table with one row per tract: id, box (x0, y0, width, height), inner patch size, border, WCS cards."""
        from astropy.io import fits

        rows = [tract._definition() for tract in self]
        width = max(len(row["wcs"]) for row in rows)
        columns = [
            fits.Column("TRACT", "J", array=np.array([row["id"] for row in rows])),
            fits.Column("BOX", "4J", "pix", array=np.array([row["box"] for row in rows])),
            fits.Column("INNER", "2J", "pix", array=np.array([row["inner"] for row in rows])),
            fits.Column("BORDER", "J", "pix", array=np.array([row["border"] for row in rows])),
            fits.Column("WCS", f"{width}A", array=np.array([row["wcs"] for row in rows])),
        ]
        hdu = fits.BinTableHDU.from_columns(columns, name="SKYMAP")
        hdu.header["SKYMAPV"] = (1, "version of this layout")
        hdu.header["SHA1"] = (self.sha1.hex(), "of the definition")
        return hdu

    @classmethod
    def fromHdu(cls, hdu):
        """From the table of `toHdu`.

        Raises
        ------
        FitsLayoutError
            Another layout, or contents that differ from their SHA-1.
        """
        names = [] if getattr(hdu, "columns", None) is None else hdu.columns.names
        missing = [name for name in ("TRACT", "BOX", "INNER", "BORDER", "WCS") if name not in names]
        if missing or hdu.header.get("SKYMAPV") != 1:
            raise FitsLayoutError(
                f"sky map: wanted a table of version 1 with TRACT, BOX, INNER, BORDER, WCS; missing {missing},"
                f" version {hdu.header.get('SKYMAPV')}"
            )
        keys = ("id", "box", "inner", "border", "wcs")
        rows = zip(*(hdu.data[name] for name in ("TRACT", "BOX", "INNER", "BORDER", "WCS")))
        new = cls(TractInfo._fromDefinition(dict(zip(keys, row))) for row in rows)
        if hdu.header.get("SHA1") not in (None, new.sha1.hex()):
            raise FitsLayoutError("sky map: the table does not have the SHA-1 that its header says")
        return new

    def writeFits(self, path, *, overwrite=False):
        """Write to a file, under a temporary name first; OSError when it exists and ``overwrite`` is not given."""
        import os

        from astropy.io import fits

        path = os.fspath(path)
        if os.path.exists(path) and not overwrite:
            raise FileExistsError(f"{path} exists; overwrite=True replaces it")
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            fits.HDUList([fits.PrimaryHDU(), self.toHdu()]).writeto(temporary, overwrite=True)
            os.replace(temporary, path)
        finally:
            if os.path.exists(temporary):
                os.remove(temporary)

    @classmethod
    def readFits(cls, path):
        """Read what `writeFits` wrote."""
        from astropy.io import fits

        with fits.open(path, memmap=False) as hdus:
            for hdu in hdus:
                if hdu.name == "SKYMAP":
                    return cls.fromHdu(hdu)
        raise FitsLayoutError(f"{path}: no extension SKYMAP")

    def __eq__(self, other):
        return self.sha1 == other.sha1 if isinstance(other, SkyMap) else NotImplemented

    def __hash__(self):
        return hash(self.sha1)

    def __reduce__(self):
        return SkyMap, (list(self),)

    def __repr__(self):
        return f"SkyMap({len(self)} tracts, {sum(len(t) for t in self)} patches, {self.sha1.hex()[:8]})"


def _vectors(ra, dec):
    """Unit vectors, the last axis of length 3."""
    ra, dec = np.asarray(ra, float), np.asarray(dec, float)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _skyCorners(box, wcs):
    x0, x1, y0, y1 = box.minX - 0.5, box.maxX + 0.5, box.minY - 0.5, box.maxY + 0.5
    return _vectors(*wcs.pixelToSky(np.array([x0, x1, x1, x0]), np.array([y0, y0, y1, y1])))


def _holds(box, wcs, ra, dec):
    x, y = wcs.skyToPixel(ra, dec)
    with np.errstate(invalid="ignore"):
        inside = (x >= box.minX - 0.5) & (x < box.maxX + 0.5) & (y >= box.minY - 0.5) & (y < box.maxY + 0.5)
    return bool(inside) if np.ndim(inside) == 0 else inside


def _region(vectors):
    from lsst.sphgeom import ConvexPolygon, UnitVector3d

    return ConvexPolygon([UnitVector3d(*(float(c) for c in v)) for v in vectors])
