"""Second-generation verbs of the tasks that combine warps: warps of exposures, ids of sources, a patch from lists of data."""

import hashlib

from lsst.pipe.base import NoWorkFound

from ..diffim.ids import makeIdFactory
from ..errors import DomainError, NoDataError
from ..image import READ_ERRORS
from .store import DataRef

_BANDS = (
    *("u", "g", "r", "i", "z", "y"),
    *("U", "B", "V", "R", "I", "Z", "Y", "J", "H", "K", "Ks", "L", "M"),
    *("NUV", "FUV", "w", "VR", "white", "clear", "BP", "RP", "G", "VIS", "o", "c"),
)  # places in ids: append, never insert
_KNOWN_PLACES, _BAND_PLACES = 64, 4096  # of the bands above; of all, the others by the digest of their names

__all__ = ["idFactoryOfPatch", "runPatch", "visitsOf", "warpReferences"]


def visitsOf(things):
    """Visits of exposures, handles or data ids, in the order of their first appearance.

    Parameters
    ----------
    things : iterable
        Mappings with ``visit``, or objects with ``dataId`` or ``visitInfo``.

    Returns
    -------
    visits : `list` [`int`]

    Raises
    ------
    DomainError
        One that does not say its visit.
    """
    return list(dict.fromkeys(_visitOf(thing) for thing in things))


def _visitOf(thing):
    dataId = thing if hasattr(thing, "keys") else getattr(thing, "dataId", None)
    if dataId is not None and "visit" in dataId:
        return int(dataId["visit"])
    visit = getattr(getattr(thing, "visitInfo", None), "id", None)
    if visit is None:
        raise DomainError(f"calExpRefList: wanted data with a visit, given {thing!r}")
    return int(visit)


def warpReferences(patchRef, datasetName, visits):
    """Deferred handles of the warps of some visits, in their order; visits without a warp on the patch are left out.

    Parameters
    ----------
    patchRef : `stillsky.compat.store.DataRef`, or object with ``butler`` and ``dataId``
        Its data id has ``skymap``, ``tract`` and ``patch``, and ``instrument`` where several have visits of one number.
    datasetName : `str`
    visits : sequence of `int`

    Returns
    -------
    handles : `list` [`lsst.daf.butler.DeferredDatasetHandle`]

    Raises
    ------
    DomainError
        `patchRef` has no Butler or no patch, or two instruments have warps of one visit number.
    """
    butler = getattr(patchRef, "butler", None)
    given = dict(getattr(patchRef.dataId, "mapping", patchRef.dataId)) if hasattr(patchRef, "dataId") else {}
    if butler is None or not {"skymap", "tract", "patch"} <= given.keys():
        raise DomainError(
            f"patchRef: wanted a data reference with a Butler, skymap, tract and patch, given {patchRef!r}",
            remedy="stillsky.compat.store.DataRef(butler, dataId), or handles of the warps themselves",
        )
    wanted = {key: given[key] for key in ("skymap", "tract", "patch", "instrument") if key in given}
    collections = patchRef.store.collections if hasattr(patchRef, "store") else None
    known = {one.name for one in butler.registry.queryDatasetTypes(datasetName)}
    found = {}
    refs = butler.query_datasets(datasetName, collections=collections, explain=False, **wanted) if known else ()
    for ref in refs:
        if found.setdefault(int(ref.dataId["visit"]), ref).dataId["instrument"] != ref.dataId["instrument"]:
            raise DomainError(f"patchRef: two instruments have a warp of visit {ref.dataId['visit']}; give instrument")
    return [butler.getDeferred(found[visit]) for visit in visits if visit in found]


def idFactoryOfPatch(dataRef):
    """Ids of the sources of a coadd: the packed tract, patch and band above a counter from 1.

    Parameters
    ----------
    dataRef : `stillsky.compat.store.DataRef`, or object with ``dataId``
        The Butler packs skymap, tract, patch and band. Without one the data id says it: ``coaddId`` and ``coaddIdBits``.

    Returns
    -------
    factory : `stillsky.diffim.ids.IdFactory`
        Positive 63-bit integers, ``(packed << (63 - nbits)) + counter``.

    Raises
    ------
    DomainError
        Neither is there.
    IdOverflowError
        The packed id needs more than 40 bits, which leaves too few to count sources.
    """
    dataId = getattr(dataRef, "dataId", {})
    butler = getattr(dataRef, "butler", None)
    if butler is not None:
        packed, bits = _packed(butler, dataId)
    elif "coaddId" in dataId and "coaddIdBits" in dataId:
        packed, bits = int(dataId["coaddId"]), int(dataId["coaddIdBits"])
    else:
        raise DomainError(f"dataRef: wanted a Butler, or coaddId and coaddIdBits in its dataId, given {dataRef!r}")
    if bits > 40:
        raise DomainError(f"dataRef: the packed id has {bits} bits, wanted at most 40 to leave 23 for sources")
    return makeIdFactory(packed, bits)


def _packed(butler, dataId):
    """Packed tract, patch and band of a data id, and the bits that such numbers of this sky map may have.

    A sky map's record says how many tracts and patches it may have; the number of a band follows from its name alone, so that
    an id does not change when a repository gets one more band.
    """
    given = dict(getattr(dataId, "mapping", dataId))
    keys = {key: given[key] for key in ("skymap", "tract", "patch", "band") if key in given}
    if len(keys) < 4:
        raise DomainError(f"dataRef: wanted skymap, tract, patch and band in its dataId, given {given}")
    band = _bandNumber(butler, str(keys["band"]))
    sky = butler.registry.expandDataId(skymap=keys["skymap"]).records["skymap"]
    perTract = sky.patch_nx_max * sky.patch_ny_max
    packed = (int(keys["tract"]) * perTract + int(keys["patch"])) * _BAND_PLACES + band
    return packed, max(1, (sky.tract_max * perTract * _BAND_PLACES - 1).bit_length())


def _bandNumber(butler, band):
    """Number of a band below _BAND_PLACES; DomainError if another band of the repository has the same one."""
    if band in _BANDS:
        return _BANDS.index(band)
    number = _digest(band)
    for record in butler.registry.queryDimensionRecords("band"):
        if record.name not in (band, *_BANDS) and _digest(record.name) == number:
            raise DomainError(
                f"dataRef: bands {band!r} and {record.name!r} would have the same ids",
                remedy="rename one, or give coaddId and coaddIdBits in the dataId of an object without a Butler",
            )
    return number


def _digest(band):
    value = int.from_bytes(hashlib.sha256(band.encode()).digest()[:8], "big")
    return _KNOWN_PLACES + value % (_BAND_PLACES - _KNOWN_PLACES)


def runPatch(task, dataRef, selectDataList=None, warpRefList=None):
    """Combine chosen data to the coadd of a patch and write it.

    Parameters
    ----------
    task : `stillsky.AssembleCoaddTask`
    dataRef : `stillsky.compat.store.DataRef`, or object with ``skyMap``, ``dataId`` and ``put(thing, name)``
        Where the coadd is; other inputs (bright objects, PSF-matched warps, a template) are read from it by the names of their
        dataset types. Nothing is written by one without ``put``.
    selectDataList : iterable, optional
        Exposures, of which those that overlap the patch are taken by their warps.
    warpRefList : iterable, optional
        Handles of warps; exactly one of the lists is wanted.

    Returns
    -------
    struct : `lsst.pipe.base.Struct` or None
        Of the task's ``run``; None, and a warning, when there is nothing to combine.

    Raises
    ------
    RuntimeError
        Both lists, or neither, are given.
    """
    if (selectDataList is None) == (warpRefList is None):
        raise RuntimeError("selectDataList, warpRefList: wanted exactly one of them")
    skyInfo = task.getSkyInfo(dataRef)
    if warpRefList is None:
        chosen = task.selectExposures(dataRef, skyInfo, selectDataList)
        warpRefList = task.getTempExpRefList(dataRef, chosen) if chosen else []
    warps = list(warpRefList)
    if not warps:
        task.log.warning("No exposures to coadd for %s", getattr(dataRef, "dataId", dataRef))
        return None
    try:
        results = task._runInputs(_inputs(task, dataRef, skyInfo, warps), dataRef.dataId)
    except (NoWorkFound, NoDataError) as error:
        task.log.warning("Nothing to coadd for %s: %s", getattr(dataRef, "dataId", dataRef), error)
        return None
    if task.config.doWrite and hasattr(dataRef, "put"):
        _write(task, dataRef, results)
    return results


def _inputs(task, dataRef, skyInfo, warps):
    """What the connections of a task ask for, by their names; what is not there is left out."""
    inputs = {"inputWarps": warps, "skyMap": skyInfo.skyMap}
    connections = task.config.ConnectionsClass(config=task.config)
    names = set(connections.inputs) | set(connections.prerequisiteInputs)
    for name in sorted(names - inputs.keys()):
        connection = connections.allConnections[name]
        if name == "brightObjectMask":
            inputs[name] = _guarded(task, dataRef, connection.name)
        elif connection.multiple:
            inputs[name] = warpReferences(dataRef, connection.name, visitsOf(warps))
        else:
            inputs[name] = dataRef.get(connection.name)
    return inputs


def _guarded(task, dataRef, name):
    """The regions of bright objects, or None and a warning."""
    try:
        return dataRef.get(name)
    except READ_ERRORS as error:
        task.log.warning("Unable to read %s: %s", name, error)
        return None


def _write(task, dataRef, results):
    """Put each result that is named like an output; lists go one by one, by subfilter or by visit."""
    connections = task.config.ConnectionsClass(config=task.config)
    for name in sorted(connections.outputs):
        connection, thing = connections.allConnections[name], getattr(results, name, None)
        if thing is None:
            continue
        if hasattr(dataRef, "store"):
            dataRef.store.register(connection.name, connection.storageClass, connection.dimensions)
        if not connection.multiple:
            dataRef.put(thing, connection.name)
        elif "subfilter" in connection.dimensions:
            for number, one in enumerate(thing):
                _put(dataRef, one, connection.name, {"subfilter": number})


def _put(dataRef, thing, name, more):
    if isinstance(dataRef, DataRef):
        given = dict(getattr(dataRef.dataId, "mapping", dataRef.dataId))
        DataRef(dataRef.store, {**given, **more}).put(thing, name)
    else:
        dataRef.put(thing, name, **more)
