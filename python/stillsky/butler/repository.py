"""Repositories: make one, bring exposures and sky maps into it, and prove that it is whole."""

import logging
import os
import shutil
from collections import defaultdict
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from ..errors import DomainError, StillskyError
from .check import CheckReport, checkRepository
from .definitions import STORAGE, readConfiguration
from .instruments import InstrumentDefinition, observationOf
from .records import registerExposure

__all__ = [
    "CheckReport",
    "IngestReport",
    "STORAGE",
    "checkRepository",
    "createRepository",
    "ingestExposures",
    "openRepository",
    "registerInstrument",
    "registerSkyMap",
    "registerSubfilters",
]

_LOG = logging.getLogger("stillsky.butler")

_SKYMAPS = "skymaps"
_DIMENSIONS = {"visit": ("instrument", "visit", "detector"), "exposure": ("instrument", "exposure", "detector")}


def createRepository(path, *, db=None, namespace=None):
    """Make an empty repository: SQLite registry in its folder, or a PostgreSQL one; files in its folder.

    Parameters
    ----------
    path : `str`
        A folder that does not exist yet, or is empty.
    db : `str`, optional
        ``postgresql://user@host:port/name`` (the database has the extension btree_gist); SQLite by default. Passwords
        belong into ``~/.lsst/db-auth.yaml``, or what else PostgreSQL knows: the URL is written into the repository.
    namespace : `str`, optional
        Schema of the tables within the PostgreSQL database.

    Raises
    ------
    FileExistsError
        There is something.
    DomainError
        Another kind of registry, or a database that cannot hold one.
    ConnectionError
        The server cannot be reached, or refuses.

    Notes
    -----
    Whatever ends it early leaves nothing in the folder.
    """
    from lsst.daf.butler import Butler, Config

    if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
        raise FileExistsError(17, "a repository needs a folder of its own, there is something", os.fspath(path))
    seed = Config(STORAGE)
    if db is not None:
        if not db.startswith("postgresql://"):
            raise DomainError(
                f"db: wanted postgresql://user@host:port/name, given {db!r}",
                found=repr(db),
                remedy="the URL of a PostgreSQL database, or no --db: SQLite in the folder of the repository",
            )
        seed["registry", "db"] = db
        if namespace is not None:
            seed["registry", "namespace"] = namespace
    elif namespace is not None:
        raise DomainError("namespace: only a PostgreSQL registry has one; give db too")
    with _registryErrors(db):
        if db is not None:
            _proveServer(seed)
        with ExitStack() as undo:  # also of an interrupt: half a repository would be in the way of the next one
            undo.callback(_empty, path, os.path.isdir(path))
            Butler.makeRepo(os.fspath(path), config=seed)
            undo.pop_all()


def _empty(path, keep):
    """Remove what is in a folder, and itself unless it is to be kept."""
    if not keep:
        shutil.rmtree(path, ignore_errors=True)
        return
    for entry in os.scandir(path):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)


def _proveServer(seed):
    """Reach the server and its extension before anything is made: what fails later leaves half a repository."""
    from lsst.daf.butler.registry import RegistryConfig
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    engine = create_engine(RegistryConfig(seed).connectionString, poolclass=NullPool)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT COUNT(*) FROM pg_extension WHERE extname='btree_gist'")).scalar()
    if not found:
        raise DomainError(
            "db: wanted a database with the extension btree_gist (as its owner: CREATE EXTENSION btree_gist), "
            f"given {seed['registry', 'db']}"
        )


@contextmanager
def _registryErrors(where):
    """Say what is wrong with a PostgreSQL registry, in the project's words."""
    from sqlalchemy.exc import DBAPIError

    try:
        yield
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("psycopg"):
            raise
        raise DomainError("db: a PostgreSQL registry needs a driver: pip install 'stillsky[postgres]'") from None
    except DBAPIError as error:
        refused = ConnectionError(5, f"the registry refuses: {' '.join(str(error.orig).split())}", where)
        refused.remedy = (
            "check that the server runs, and host, port, database and user; passwords are in ~/.lsst/db-auth.yaml"
            if str(where).startswith("postgresql:")
            else "a server may be down (butler.yaml names it); a file gen3.sqlite3 that is damaged comes back from a backup alone"
        )
        raise refused from error


def openRepository(path, *, writeable=False):
    """A `lsst.daf.butler.Butler` of a repository, to be closed.

    Raises
    ------
    FileNotFoundError
        There is none, or its registry is gone.
    OSError
        Its ``butler.yaml`` is no configuration of a repository.
    ConnectionError
        Its registry is on a server that cannot be reached, or is damaged.
    """
    from lsst.daf.butler import Butler

    _refuseLostRegistry(path, readConfiguration(path))
    with _registryErrors(os.fspath(path)):
        return Butler.from_config(os.fspath(path), writeable=writeable)


def _refuseLostRegistry(path, configuration):
    """FileNotFoundError for a repository whose SQLite file is gone: who opens it to write would make an empty one."""
    where = os.path.join(path, "gen3.sqlite3")
    own = ("registry", "db") in configuration and str(configuration["registry", "db"]).endswith(
        "<butlerRoot>/gen3.sqlite3"
    )
    if own and not os.path.exists(where):
        error = FileNotFoundError(2, "the registry of the repository is gone", where)
        error.remedy = "bring it back from a backup; the files of the datasets are no repository without it"
        raise error


@dataclass
class IngestReport:
    """What `ingestExposures` did.

    Attributes
    ----------
    ingested : `list` [`lsst.daf.butler.DatasetRef`]
    skipped : `list` [`str`]
        Files that are in the run already.
    failed : `list` [(`str`, `str`)]
        File and reason; nothing of such a file is in the repository.
    """

    ingested: list = field(default_factory=list)
    skipped: list = field(default_factory=list)
    failed: list = field(default_factory=list)


def ingestExposures(butler, paths, definition, *, run=None, datasetType="calexp", dimension="visit", transfer="direct"):
    """Bring FITS exposures into a repository, with records of exposures, visits and the sky that they cover.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable.
    paths : iterable of `str`
        One detector of one exposure each; any layout that `stillsky.read` knows.
    definition : `InstrumentDefinition`
        Registered when it is not yet.
    run : `str`, optional
        Collection; ``<instrument>/<datasetType>`` by default. It becomes one of the chain ``<instrument>/defaults``.
    datasetType : `str`
        Registered as StillskyExposure when it is not yet.
    dimension : {"visit", "exposure"}
        What identifies a dataset beside instrument and detector: visit for images of the sky, exposure for flats, and for
        images without sky coordinates, of which there is no visit.
    transfer : `str`
        direct (the files stay where they are), copy, move, link, ...

    Returns
    -------
    report : `IngestReport`
        A file that cannot be read fails alone. Repeating an ingest adds what is missing and changes nothing else.

    Raises
    ------
    DomainError
        Another ``dimension``, a dataset type that exists with other dimensions or another storage class, or an instrument that
        is registered with another definition (`registerInstrument` changes it).
    """
    from lsst.daf.butler import DatasetRef, DatasetType, FileDataset
    from lsst.daf.butler.registry import ConflictingDefinitionError, RegistryError

    if dimension not in _DIMENSIONS:
        raise DomainError(f"dimension: wanted visit or exposure, given {dimension!r}")
    run = run or f"{definition.name}/{datasetType}"
    _refuseOtherKind(butler, run)
    try:
        kind = DatasetType(datasetType, _DIMENSIONS[dimension], "StillskyExposure", universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)
    except (ConflictingDefinitionError, RegistryError, ValueError) as error:
        raise DomainError(
            f"dataset type {datasetType}: {error}",
            found=f"{datasetType} identified by {', '.join(_DIMENSIONS[dimension])}",
            remedy="--exposures identifies images by exposure, which is by visit otherwise; --type gives another name",
        ) from None
    registerInstrument(butler, definition)
    butler.collections.register(run)
    _addDefault(butler, f"{definition.name}/defaults", run)
    report = IngestReport()
    groups = _observations(paths, definition, report, needsSky=dimension == "visit")
    for observations in groups.values():
        try:
            registerExposure(butler.registry, definition, observations)
        except (RegistryError, ConflictingDefinitionError, DomainError) as error:
            report.failed += [(one.path, " ".join(str(error).split())) for one in observations]
            continue
        for one in observations:
            dataId = {"instrument": definition.name, dimension: one.exposure, "detector": one.detector}
            if butler.find_dataset(kind, dataId, collections=run) is not None:
                report.skipped.append(one.path)
                continue
            ref = DatasetRef(kind, butler.registry.expandDataId(dataId), run=run)
            try:
                butler.ingest(FileDataset(one.path, [ref], formatter=_formatter()), transfer=transfer)
            except (OSError, RuntimeError, ValueError, NotImplementedError) as error:
                report.failed.append((one.path, f"{type(error).__name__}: {' '.join(str(error).split())}"))
            else:
                report.ingested.append(ref)
    return report


def registerInstrument(butler, definition, *, update=False):
    """Insert the records of an instrument; sky maps that are there become part of its chain ``<instrument>/defaults``.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable.
    definition : `InstrumentDefinition`
    update : `bool`
        Names of detectors and bands of filters that are registered otherwise are changed.

    Raises
    ------
    DomainError
        Something is registered otherwise, and ``update`` is False.
    """
    from lsst.daf.butler.registry import ConflictingDefinitionError

    try:
        definition.register(butler.registry, update=update)
    except ConflictingDefinitionError as error:
        raise DomainError(
            f"instrument {definition.name}: registered with another definition (stillsky repo update REPO --instrument "
            f"FILE changes it): {' '.join(str(error).split())}"
        ) from None
    if _SKYMAPS in butler.collections.query("*"):
        _addDefault(butler, f"{definition.name}/defaults", _SKYMAPS)


def _addDefault(butler, chain, collection):
    """Append a collection to a chain, which is made when it is not there."""
    from lsst.daf.butler import CollectionType

    butler.collections.register(chain, CollectionType.CHAINED)
    if collection not in butler.collections.get_info(chain).children:
        butler.collections.extend_chain(chain, collection)


def _formatter():
    from .formatters import ExposureFormatter

    return ExposureFormatter


def _refuseOtherKind(butler, run):
    """DomainError if a collection that is no run has this name."""
    from lsst.daf.butler import CollectionType, MissingCollectionError

    try:
        kind = butler.collections.get_info(run).type
    except MissingCollectionError:
        return
    if kind is not CollectionType.RUN:
        raise DomainError(
            f"run: {run} is a collection of kind {kind.name}, which holds no datasets of its own",
            found=f"{run} ({kind.name})",
            remedy="another name for the run; it becomes one of the chain INSTRUMENT/defaults by itself",
        )


def _observations(paths, definition, report, *, needsSky):
    """Exposure id to its observations, one per detector; what cannot be read, or lacks a sky that it needs, goes to the report."""
    groups = defaultdict(list)
    for path in paths:
        try:
            one = observationOf(os.fspath(path), definition)
        except (StillskyError, OSError, ValueError) as error:
            report.failed.append((os.path.abspath(path), " ".join(str(error).split())))
            continue
        if needsSky and one.corners is None:
            report.failed.append(
                (one.path, "no sky coordinates (WCS), without which it is no visit; --exposures takes it")
            )
            continue
        twin = next((other for other in groups[one.exposure] if other.detector == one.detector), None)
        if twin is not None:
            report.failed.append((one.path, f"exposure {one.exposure}, detector {one.detector} is {twin.path} already"))
            continue
        groups[one.exposure].append(one)
    return groups


def registerSkyMap(butler, name, skyMap, *, run=_SKYMAPS):
    """Insert the records of a sky map, its tracts and patches, and put the map itself as dataset ``skyMap``.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
        Writeable.
    name : `str`
    skyMap : `stillsky.wcs.SkyMap`
    run : `str`
        Collection of the dataset. It becomes one of the chain ``<instrument>/defaults`` of every instrument.

    Raises
    ------
    DomainError
        A map of that name that is another one is there.
    """
    from lsst.daf.butler import DatasetType
    from lsst.daf.butler.registry import ConflictingDefinitionError

    tracts = list(skyMap)
    shapes = [tract.numPatches for tract in tracts]
    record = {
        "name": name,
        "hash": skyMap.sha1,
        "tract_max": max(tract.id for tract in tracts) + 1,
        "patch_nx_max": max(shape[0] for shape in shapes),
        "patch_ny_max": max(shape[1] for shape in shapes),
    }
    registry = butler.registry
    try:
        with registry.transaction():
            registry.syncDimensionData("skymap", record)
            for tract in tracts:
                where = {"skymap": name, "tract": tract.id}
                registry.syncDimensionData("tract", {"skymap": name, "id": tract.id, "region": tract.outerRegion})
                for patch in tract:
                    row = where | {"id": patch.sequentialIndex, "cell_x": patch.index[0], "cell_y": patch.index[1]}
                    registry.syncDimensionData("patch", row | {"region": patch.outerRegion})
    except ConflictingDefinitionError as error:
        raise DomainError(f"sky map {name}: another one of that name is registered ({error})") from None
    kind = DatasetType("skyMap", ("skymap",), "StillskySkyMap", universe=butler.dimensions)
    registry.registerDatasetType(kind)
    butler.collections.register(run)
    if butler.find_dataset(kind, skymap=name, collections=run) is None:
        butler.put(skyMap, kind, run=run, skymap=name)
    for instrument in registry.queryDimensionRecords("instrument"):
        _addDefault(butler, f"{instrument.name}/defaults", run)


def registerSubfilters(butler, band, number):
    """Insert subfilters 0 to ``number`` - 1 of a band, which the quantum graph of a DCR coadd needs."""
    with butler.registry.transaction():
        for subfilter in range(number):
            butler.registry.syncDimensionData("subfilter", {"band": band, "id": subfilter})


def definitionOf(butler, name):
    """`InstrumentDefinition` of an instrument that is registered; DomainError when it is not."""
    known = sorted(one.name for one in butler.registry.queryDimensionRecords("instrument"))
    if name not in known:
        raise DomainError(
            f"instrument {name}: not registered; give its definition as YAML",
            found=f"registered are {', '.join(known) or 'none'}",
            remedy="--instrument FILE such as {name: MyCam, detectors: {0: left}, filters: {r.01: r}}",
        )
    detectors = butler.registry.queryDimensionRecords("detector", instrument=name)
    filters = butler.registry.queryDimensionRecords("physical_filter", instrument=name)
    return InstrumentDefinition(
        name, {one.id: one.full_name for one in detectors}, {one.name: one.band for one in filters}
    )
