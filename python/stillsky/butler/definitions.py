"""Definitions of stillsky's storage classes and formatters: the installed ones, and those that a repository keeps."""

import os

from ..task_base import STORAGE

__all__ = ["STORAGE", "configurationOf", "readConfiguration", "staleDefinitions", "updateStorage"]


def configurationOf(path):
    """Path of a repository's ``butler.yaml``; FileNotFoundError when there is none."""
    found = os.path.join(path, "butler.yaml")
    if not os.path.exists(found):
        error = FileNotFoundError(2, "no repository (it has no butler.yaml)", os.fspath(path))
        error.remedy = f"check the name, or make one: stillsky repo create {path}"
        raise error
    return found


def readConfiguration(path):
    """What a repository's ``butler.yaml`` says (`lsst.daf.butler.Config`).

    Raises
    ------
    FileNotFoundError
        There is no such file.
    OSError
        It is no configuration of a repository.
    """
    import yaml
    from lsst.daf.butler import Config

    where = configurationOf(path)
    try:
        found = Config(where)
        if "registry" in found or "datastore" in found or "cls" in found:
            return found
        reason = "it names neither registry nor datastore"
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError, yaml.YAMLError) as wrong:
        reason = " ".join(str(wrong).split())
    error = OSError(22, f"no configuration of a repository: {reason}", where)
    error.remedy = "bring it back from a backup, or from another repository of the same kind"
    raise error


def staleDefinitions(path):
    """Storage classes whose definition in a ``butler.yaml`` is older than, or otherwise not, the installed one's.

    Parameters
    ----------
    path : `str`, `lsst.resources.ResourcePath`, or None
        The file; None for a butler that was made without one.

    Returns
    -------
    problems : `list` [(`str`, `str`)]
        Name and sentence.
    """
    from lsst.daf.butler import Config

    if path is None:
        return []
    stored, current, problems = Config(path), Config(STORAGE), []
    for name in current["storageClasses"]:
        key = ("storageClasses", name)
        if key not in stored:
            problems.append((name, "the repository has no definition of it; it was made by an older stillsky"))
        elif stored[key] != current[key]:
            problems.append((name, "the repository's definition differs from this stillsky's"))
    return problems


def updateStorage(path):
    """Replace the storage classes and formatters of stillsky in a repository's ``butler.yaml`` by those of this stillsky.

    Parameters
    ----------
    path : `str`
        The repository's folder, whose other definitions stay. Butlers that are open keep the old ones.

    Returns
    -------
    changes : `list` [`str`]
        One sentence each; empty when nothing differed, and then nothing is written.

    Raises
    ------
    FileNotFoundError
        There is no repository.
    OSError
        Its ``butler.yaml`` is no configuration.

    Notes
    -----
    A process knows one definition of a storage class: who opened a repository of the old ones cannot open it with the new.
    """
    from lsst.daf.butler import Config

    where = configurationOf(path)
    stored, current = readConfiguration(path), Config(STORAGE)
    changes = [f"storage class {name}: {problem}" for name, problem in staleDefinitions(where)]
    for name in current["storageClasses"]:
        _replace(stored, current, ("storageClasses", name))
    for name in current["datastore", "formatters"]:
        if _replace(stored, current, ("datastore", "formatters", name)):
            changes.append(f"formatter of {name}: is {current['datastore', 'formatters', name]} now")
    if ("datastore", "checksum") not in stored:
        stored["datastore", "checksum"] = current["datastore", "checksum"]
        changes.append("checksums: are recorded from now on")
    if changes:
        temporary = where + ".new.yaml"
        stored.dumpToUri(temporary, overwrite=True)
        os.replace(temporary, where)
    return changes


def _replace(stored, current, key):
    """Whether a key was absent or another one; it is the current one now."""
    if key in stored:
        if stored[key] == current[key]:
            return False
        del stored[key]
    stored[key] = current[key]
    return True
