"""The inputs of a CoaddPsf as plain arrays: PSFs, WCS and polygons once each, and columns with one row per input."""

import json

import numpy as np
from astropy.io.fits import Header

from ..errors import StillskyError
from ..geom import Box2I, Polygon
from ..wcs import SkyWcs
from .base import Psf
from .warped import bytesOf, textOf

__all__ = ["Once", "fromArrays", "packRecords", "toArrays", "unpackRecord"]


class Once:
    """Numbers for distinct objects, equal ones having the same; -1 for None."""

    def __init__(self):
        self.items, self._byId, self._byValue = [], {}, {}

    def number(self, item):
        """Number of an item, new or known."""
        if item is None:
            return -1
        if id(item) not in self._byId:
            try:
                self._byId[id(item)] = self._byValue.setdefault(item, len(self.items))
            except (TypeError, StillskyError):  # no hash, or no form as data: equal only to itself
                self._byId[id(item)] = len(self.items)
            if self._byId[id(item)] == len(self.items):
                self.items.append(item)
        return self._byId[id(item)]


def toArrays(components, coaddWcs):
    """Arrays of the inputs and the common WCS.

    Returns
    -------
    arrays : `dict` [`str`, `numpy.ndarray`]
        ``boxes`` (n, 4) x0 y0 width height; ``weights``, ``ids``, ``goodpix`` (-1 where unknown), ``tapers`` (n, 4, -1
        where none), ``psfs``, ``wcss`` (-1: none), ``corners`` (vertices of each polygon, n numbers) with ``vertices``
        (m, 2); ``floats`` and ``bytes`` hold the arrays of the PSFs one after the other, as ``catalog`` (JSON) lists.
    """
    psfs, wcss = Once(), Once()
    common = wcss.number(coaddWcs)
    polygons = [c.validPolygon for c in components]
    vertices = [
        np.array([tuple(v) for v in p.vertices], float).reshape(-1, 2) if p else np.zeros((0, 2)) for p in polygons
    ]
    arrays = {
        "boxes": np.array([(*c.bbox.min, c.bbox.width, c.bbox.height) for c in components], np.int64),
        "weights": np.array([c.weight for c in components], float),
        "ids": np.array([c.id for c in components], np.int64),
        "goodpix": np.array([-1.0 if c.goodPixels is None else c.goodPixels for c in components], float),
        "tapers": np.array([c.taper or (-1, -1, -1, -1) for c in components], np.int64),
        "psfs": np.array([psfs.number(c.psf) for c in components], np.int64),
        "wcss": np.array([wcss.number(c.wcs) for c in components], np.int64),
        "corners": np.array([len(v) for v in vertices], np.int64),
        "vertices": np.concatenate(vertices),
    }
    return {**arrays, **_packed(psfs.items, [wcs.toHeader().tostring() for wcs in wcss.items], common)}


def _packed(psfs, wcsTexts, common):
    arrays, entries = packRecords(psf.persist() for psf in psfs)
    catalog = {"psfs": entries, "wcs": wcsTexts, "common": common}
    return {**arrays, "catalog": bytesOf(json.dumps(catalog, sort_keys=True))}


def packRecords(records):
    """Objects as two long arrays and a list that can be JSON.

    Parameters
    ----------
    records : iterable of (class name, scalars, arrays)
        As `Psf.persist` returns them.

    Returns
    -------
    arrays : `dict`
        ``floats`` (float64) and ``bytes`` (uint8): the arrays one after the other.
    entries : `list`
        Class name, scalars, and for each array its name, dtype, shape, store, start and size.
    """
    floats, raw, entries = [], [], []
    starts = {"f": 0, "b": 0}
    for className, header, arrays in records:
        fields = []
        for name, array in arrays.items():
            array = np.asarray(array)
            kind, store = ("f", floats) if array.dtype == np.float64 else ("b", raw)
            flat = array.ravel() if kind == "f" else np.frombuffer(np.ascontiguousarray(array).tobytes(), np.uint8)
            fields.append([name, array.dtype.str, list(array.shape), kind, starts[kind], flat.size])
            store.append(flat)
            starts[kind] += flat.size
        entries.append([className, header, fields])
    arrays = {
        "floats": np.concatenate(floats) if floats else np.zeros(0),
        "bytes": np.concatenate(raw) if raw else np.zeros(0, np.uint8),
    }
    return arrays, entries


def fromArrays(arrays):
    """Inputs and common WCS of `toArrays`."""
    from .coadd import CoaddPsfComponent

    catalog = json.loads(textOf(arrays["catalog"]))
    stores = {"f": np.asarray(arrays["floats"]), "b": np.asarray(arrays["bytes"], np.uint8)}
    psfs = [Psf.restore(*unpackRecord(entry, stores)) for entry in catalog["psfs"]]
    wcss = [SkyWcs.fromHeader(Header.fromstring(text)) for text in catalog["wcs"]]
    ends = np.cumsum(arrays["corners"])
    vertices = np.asarray(arrays["vertices"], float).reshape(-1, 2)
    components = []
    for i, (x, y, w, h) in enumerate(np.asarray(arrays["boxes"]).reshape(-1, 4).tolist()):
        corners = vertices[ends[i] - arrays["corners"][i] : ends[i]]
        good, taper = float(arrays["goodpix"][i]), tuple(np.asarray(arrays["tapers"]).reshape(-1, 4)[i].tolist())
        components.append(
            CoaddPsfComponent(
                psf=psfs[int(arrays["psfs"][i])],
                bbox=Box2I((x, y), (w, h)),
                wcs=wcss[int(arrays["wcss"][i])] if arrays["wcss"][i] >= 0 else None,
                weight=float(arrays["weights"][i]),
                id=int(arrays["ids"][i]),
                goodPixels=None if good < 0 else good,
                validPolygon=Polygon(corners) if len(corners) else None,
                taper=None if taper[0] < 0 else taper,
            )
        )
    return components, wcss[catalog["common"]] if catalog["common"] >= 0 else None


def unpackRecord(entry, stores):
    """(class name, scalars, arrays) of an entry of `packRecords`; ``stores`` has the long arrays as "f" and "b"."""
    className, header, fields = entry
    arrays = {}
    for name, dtype, shape, kind, start, size in fields:
        flat = stores[kind][start : start + size]
        flat = flat.astype(np.float64) if kind == "f" else np.frombuffer(flat.tobytes(), np.dtype(dtype))
        arrays[name] = flat.reshape(shape).copy()
    return className, header, arrays
