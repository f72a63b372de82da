"""Is a repository whole? Every dataset has its file, as it was written, and every file has its dataset."""

import os
from dataclasses import dataclass, field

from ..image import READ_ERRORS
from .definitions import staleDefinitions

__all__ = ["CheckReport", "checkRepository"]

_WRITE_ONLY = ("Plot",)  # a picture does not become a figure again
_OWN_FILES = ("butler.yaml", "gen3.sqlite3")  # the registry's with its journal


@dataclass
class CheckReport:
    """What `checkRepository` found.

    Attributes
    ----------
    datasets : `int`
        Datasets of the registry that were looked at.
    problems : `list` [`str`]
        One sentence each; empty for a repository that is whole.
    removed : `list` [`str`]
        Files that no dataset owned, and that ``clean`` has removed.
    """

    datasets: int = 0
    problems: list = field(default_factory=list)
    removed: list = field(default_factory=list)


def checkRepository(butler, *, read=False, clean=False):
    """Prove that a repository is whole: every dataset has its file, of the size that is recorded, and no file is left over.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
    read : `bool`
        Also compare every file with its checksum, where one was recorded (`createRepository` has it so), and read every
        dataset with its formatter.
    clean : `bool`
        Remove the files that no dataset owns, such as what a killed worker was writing. Nothing may write into the repository
        at that time: its files would be taken for such.

    Returns
    -------
    report : `CheckReport`

    Notes
    -----
    A dataset of the registry without a record of a file is legal: it was removed from the datastore, or announced by a
    workflow that did not write it. Two queries for each dataset type; without ``read`` one look at each file.
    """
    from lsst.daf.butler import CollectionType, MissingDatasetTypeError

    report, known = CheckReport(), set()
    stale = staleDefinitions(getattr(butler._config, "configFile", None))
    report.problems += [f"storage class {name}: {problem} (stillsky repo update)" for name, problem in stale]
    runs = butler.collections.query("*", collection_types={CollectionType.RUN})
    for kind in butler.registry.queryDatasetTypes("*"):
        try:
            refs = set(butler.registry.queryDatasets(kind, collections=runs)) if runs else set()
        except MissingDatasetTypeError:
            continue
        records = _fileRecords(butler, refs)
        located = butler._datastore.getManyURIs(refs, allow_missing=True)
        for ref in sorted(refs, key=lambda one: (one.run, str(one.dataId))):
            report.datasets += 1
            if ref in located:
                report.problems += _problemsOf(butler, ref, located[ref], records.get(ref.id, []), read, known)
    left = _leftOver(butler, known)
    if clean:
        for path in left:
            os.remove(path)
        report.removed += left
    else:
        report.problems += [f"no dataset owns {path}" for path in left]
    return report


def _problemsOf(butler, ref, located, records, read, known):
    """At most one sentence about a dataset's files: missing, of another size, of other bytes, or unreadable."""
    what = f"{ref.datasetType.name} {dict(ref.dataId.required)} in {ref.run}"
    uris = [uri for uri in (located.primaryURI, *located.componentURIs.values()) if uri is not None]
    known |= {os.path.realpath(uri.ospath) for uri in uris if uri.isLocal}
    (record,) = records if len(uris) == len(records) == 1 else (None,)
    for uri in uris:
        if not uri.exists():
            return [f"{what}: its file is missing: {uri}"]
        if record is not None and record.file_size >= 0 and uri.size() != record.file_size:
            return [f"{what}: {uri} has {uri.size()} bytes, wanted {record.file_size}"]
    if not read:
        return []
    if ref.datasetType.storageClass_name not in _WRITE_ONLY:
        try:
            butler.get(ref)
        except (*READ_ERRORS, ImportError) as error:  # a class of another package, which is not here
            return [f"{what}: cannot be read: {type(error).__name__}: {' '.join(str(error).split())}"]
    if record is not None and record.checksum and uris[0].isLocal and _checksum(uris[0]) != record.checksum:
        return [f"{what}: {uris[0]} has other bytes than were written (checksum differs)"]
    return []


def _fileRecords(butler, refs):
    """Dataset id to what the datastore noted of its files when they came."""
    found = {}
    for data in butler._datastore.export_records(refs).values():
        for ident, byTable in data.records.items():
            found.setdefault(ident, []).extend(info for infos in byTable.values() for info in infos)
    return found


def _checksum(uri):
    from lsst.daf.butler.datastores.fileDatastore import FileDatastore

    return FileDatastore.computeChecksum(uri, block_size=1 << 20)


def _leftOver(butler, known):
    """Paths below the datastore's folder that no dataset owns: what a killed worker left."""
    left = []
    for root in butler._datastore.roots.values():
        if root is None or not root.isLocal:
            continue
        top = os.path.realpath(root.ospath)
        for folder, _, files in os.walk(top):
            own = folder == top
            names = (name for name in files if not (own and name.startswith(_OWN_FILES)))
            left += [
                path for path in (os.path.join(folder, name) for name in names) if os.path.realpath(path) not in known
            ]
    return sorted(left)
