"""The pixel grid of a patch."""

from dataclasses import dataclass
from typing import Any

from ..errors import DomainError

__all__ = ["SkyInfo", "makeSkyInfo", "skyInfoOf"]


@dataclass(frozen=True)
class SkyInfo:
    """Where a coadd is.

    Attributes
    ----------
    skyMap : `stillsky.wcs.SkyMap` or None
    tractInfo, patchInfo : `stillsky.wcs.TractInfo`, `stillsky.wcs.PatchInfo` or None
    wcs : `stillsky.wcs.SkyWcs`
        Of the tract.
    bbox : `stillsky.geom.Box2I`
        Outer box of the patch.
    """

    skyMap: Any = None
    tractInfo: Any = None
    patchInfo: Any = None
    wcs: Any = None
    bbox: Any = None


def makeSkyInfo(skyMap, tractId, patchId):
    """Grid of a patch.

    Parameters
    ----------
    skyMap : `stillsky.wcs.SkyMap`
    tractId : `int`
    patchId : `int`, (`int`, `int`) or `str`
        Sequential number, (column, row), or "column,row".

    Returns
    -------
    skyInfo : `SkyInfo`

    Raises
    ------
    OutOfBoundsError
        No such tract or patch.
    """
    tractInfo = skyMap[tractId]
    patchInfo = tractInfo.patch(patchId)
    return SkyInfo(skyMap, tractInfo, patchInfo, tractInfo.wcs, patchInfo.outerBBox)


def skyInfoOf(patchRef):
    """Grid of whatever names a patch.

    Parameters
    ----------
    patchRef : (skyMap, tract, patch), or object
        With ``skyMap`` (or ``get("skyMap")``), and ``tract`` and ``patch`` as attributes or in ``dataId``.

    Raises
    ------
    DomainError
        The argument does not say which.
    """
    if isinstance(patchRef, tuple | list) and len(patchRef) == 3:
        return makeSkyInfo(*patchRef)
    dataId = getattr(patchRef, "dataId", {})
    tract = getattr(patchRef, "tract", None)
    patch = getattr(patchRef, "patch", None)
    tract = dataId["tract"] if tract is None and "tract" in dataId else tract
    patch = dataId["patch"] if patch is None and "patch" in dataId else patch
    skyMap = getattr(patchRef, "skyMap", None)
    if skyMap is None and hasattr(patchRef, "get"):
        skyMap = patchRef.get("skyMap")
    if skyMap is None or tract is None or patch is None:
        raise DomainError(f"patchRef: wanted a sky map, a tract and a patch, given {patchRef!r}")
    return makeSkyInfo(skyMap, tract, patch)
