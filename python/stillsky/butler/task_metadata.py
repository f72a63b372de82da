"""Metadata of tasks as they were written: whole numbers stay whole, truth values stay truth values, texts stay texts.

The model of lsst-pipe-base that reads them turned numbers, truth values and texts that look like numbers into floats from
January 2026 on (30.2026.4300 does, 30.2026.500 does not); the files themselves say what each was.
"""

import json

from ..errors import NotFoundError

__all__ = ["readTaskMetadata", "taskMetadataFrom"]


def readTaskMetadata(butler, name, dataId=None, *, collections=None):
    """Metadata of a task from a repository.

    Parameters
    ----------
    butler : `lsst.daf.butler.Butler`
    name : `str` or `lsst.daf.butler.DatasetRef`
        Dataset type, ``<label>_metadata``.
    dataId : mapping, optional
    collections : `str` or sequence of `str`, optional
        Those of the butler by default.

    Returns
    -------
    metadata : `lsst.pipe.base.TaskMetadata`

    Raises
    ------
    NotFoundError
        There are none.
    """
    ref = name if hasattr(name, "datasetType") else butler.find_dataset(name, dataId or {}, collections=collections)
    if ref is None:
        raise NotFoundError(f"wanted {name} of {dict(dataId or {})}; the repository has none")
    return taskMetadataFrom(json.loads(butler.getURI(ref).read()))


def taskMetadataFrom(stored):
    """Metadata of what a file holds.

    Parameters
    ----------
    stored : mapping
        ``scalars``, ``arrays`` and ``metadata``, the last of mappings like this one; None stands for not a number.

    Returns
    -------
    metadata : `lsst.pipe.base.TaskMetadata`
    """
    from lsst.pipe.base import TaskMetadata

    def known(value):
        return float("nan") if value is None else value

    made = TaskMetadata()
    for key, value in stored.get("scalars", {}).items():
        made.scalars[key] = known(value)
    for key, values in stored.get("arrays", {}).items():
        made.arrays[key] = [known(value) for value in values]
    for key, below in stored.get("metadata", {}).items():
        made.metadata[key] = taskMetadataFrom(below)
    return made
