"""Metadata of tasks come back as they were written, whichever lsst-pipe-base reads them (task-framework 12, check 14)."""

import math

import pytest

pytest.importorskip("lsst.daf.butler")

from lsst.daf.butler import DatasetType
from lsst.pipe.base import TaskMetadata

from stillsky.butler.task_metadata import readTaskMetadata, taskMetadataFrom
from stillsky.compat.store import DataRef, RunStore
from stillsky.errors import NotFoundError


def made():
    metadata = TaskMetadata()
    metadata["top"] = TaskMetadata.from_dict({"i": 3, "b": True, "s": "r12", "n": "12", "x": 0.5, "list": [1, 2, 3]})
    metadata["top:sub.nothing"], metadata["flags"] = math.nan, [True, False]
    return metadata


def test_types_are_restored(butler):
    kind = DatasetType("any_metadata", (), "TaskMetadata", universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.collections.register("run")
    ref = butler.put(made(), kind, run="run")
    for found in (
        readTaskMetadata(butler, "any_metadata", collections="run"),
        readTaskMetadata(butler, ref),
        DataRef(RunStore(butler, "run"), {}).get("any_metadata"),
    ):
        top = found["top"]
        assert (top["i"], top["b"], top["s"], top["n"], top["x"]) == (3, True, "r12", "12", 0.5)
        kinds = [type(top[key]) for key in ("i", "b", "s", "n", "x")]
        assert kinds == [int, bool, str, str, float]
        assert top.getArray("list") == [1, 2, 3] and type(top.getArray("list")[0]) is int
        assert found.getArray("flags") == [True, False] and found.getArray("flags")[0] is True
        assert math.isnan(found["top:sub.nothing"])
    butler.collections.register("empty")
    with pytest.raises(NotFoundError, match="any_metadata"):
        readTaskMetadata(butler, "any_metadata", collections=["empty"])


def test_nulls_of_other_writers_are_not_a_number():
    found = taskMetadataFrom({"scalars": {"x": None}, "arrays": {"y": [1.0, None]}})
    assert math.isnan(found["x"]) and math.isnan(found.getArray("y")[1])
