"""Calls of the verbs that tasks, command-line tasks and early pipeline tasks share, with what each does."""

import logging
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from lsst.daf.butler import DatasetRef
from lsst.pex.config import Config, ConfigurableField
from lsst.pipe.base import TaskError
from seed_world import PATCH, ChildTask, dcrConfig, extractConfig, parentTask

import stillsky
from stillsky.compat.store import DataRef, RunStore


# ---------------------------------------------------------------------- tasks
def emptyMetadata(world, name):
    task = parentTask(name)
    task.metadata["seen"], task.child.metadata["seen"] = 1, 2
    task.emptyMetadata()
    assert "seen" not in task.metadata and "seen" not in task.child.metadata


def getAllSchemaCatalogs(world, name):
    task = parentTask(name)
    catalogs = task.getAllSchemaCatalogs()
    assert catalogs["childSrc"].colnames == ["id", "flux"] and set(task.getSchemaCatalogs()) < set(catalogs)
    fromBelow = task.child.getAllSchemaCatalogs()
    assert fromBelow.keys() == catalogs.keys() and all(len(one) == 0 for one in fromBelow.values())


def getFullMetadata(world, name):
    task = parentTask(name)
    task.metadata["seen"], task.child.metadata["deep"] = 1, 2
    found = task.getFullMetadata()
    top = task.getName()
    assert found[top]["seen"] == 1 and found[f"{top}:child"]["deep"] == 2
    assert {f"{top}.seen", f"{top}:child.deep"} <= found.names()


def getFullName(world, name):
    task = parentTask(name)
    assert task.getFullName() == task.getName() and task.child.getFullName() == f"{task.getName()}.child"


def getName(world, name):
    task = parentTask(name)
    assert task.getName() == type(task)._DefaultName and task.child.getName() == "child"


def getSchemaCatalogs(world, name):
    catalogs = parentTask(name).getSchemaCatalogs()
    assert "childSrc" not in catalogs and all(len(table) == 0 for table in catalogs.values())
    assert list(catalogs) == (["deepDiff_diaSrc"] if name == "ImageDifferenceTask" else [])


def getTaskDict(world, name):
    task = parentTask(name)
    tasks = task.getTaskDict()
    top = task.getName()
    assert isinstance(tasks[top], weakref.ref) and tasks[top]() is task and tasks[f"{top}.child"]() is task.child
    tasks.clear()  # a copy
    assert len(task.getTaskDict()) >= 2 and list(task.iterTasks())[0] is task


def makeField(world, name):
    cls = type(parentTask(name))
    field = cls.makeField("the class of the page")
    assert isinstance(field, ConfigurableField) and field.doc == "the class of the page"
    config = type("AnyConfig", (Config,), {"part": field, "__module__": __name__})()
    assert config.part.target is cls


def makeSubtask(world, name):
    task = parentTask(name)
    assert isinstance(task.child, ChildTask) and task.child.config is not None
    assert task.child.log.name.endswith(f"{task.getName()}.child")
    with pytest.raises((KeyError, AttributeError), match="absent"):
        task.makeSubtask("absent")
    with pytest.raises(TypeError):
        task.makeSubtask("child", unheardOf=1)


def timer(world, name):
    task = parentTask(name)
    with task.timer("work", logLevel=logging.INFO):
        sum(range(1000))
    for end in ("Start", "End"):
        assert task.metadata.getScalar(f"work{end}CpuTime") >= 0 and "T" in task.metadata[f"work{end}Utc"]


TASK = {one.__name__: one for one in (
    emptyMetadata, getAllSchemaCatalogs, getFullMetadata, getFullName, getName, getSchemaCatalogs, getTaskDict, makeField,
    makeSubtask, timer,
)}  # fmt: skip


# ---------------------------------------------------------------------- command-line tasks
def applyOverrides(world, name):
    config = type(parentTask(name)).ConfigClass()
    before = config.toDict()
    assert getattr(stillsky, name).applyOverrides(config) is None and config.toDict() == before


def getResourceConfig(world, name):
    task = parentTask(name)
    assert task.getResourceConfig() is None
    resources = SimpleNamespace(minMemoryMB=2000, minNumCores=2)
    task.config = SimpleNamespace(resources=resources)
    assert task.getResourceConfig() is resources


def parseAndRun(world, name):
    _RUNS[name](world)


def writeConfig(world, name):
    task, store = parentTask(name), RunStore(world.butler, f"config/{name}")
    stored = task._getConfigName()
    task.writeConfig(store)
    assert store.get(stored).child.depth == 1
    task.writeConfig(store)
    task.config.child.depth = 2
    with pytest.raises(TaskError, match="child.depth"):
        task.writeConfig(store)
    task.writeConfig(store, clobber=True)
    assert store.get(stored).child.depth == 2
    assert world.get(stored, {}, f"config/{name}~1").child.depth == 1
    task.writeConfig(store, clobber=True, doBackup=False)
    assert not world.butler.collections.query("config/*~2")


def writeMetadata(world, name):
    task = parentTask(name)
    task.metadata["seen"] = 3
    given = {
        "PhotonTransferCurveExtractTask": {"instrument": "Lab", "detector": 3},
        "ImageDifferenceTask": {"instrument": "MyCam", "visit": 1, "detector": 0, "skymap": "plane"},
        "DcrAssembleCoaddTask": PATCH,
    }
    dataId = world.butler.registry.expandDataId(given[name])
    reference = DataRef(RunStore(world.butler, f"metadata/{name}"), dataId)
    task.writeMetadata(reference)
    assert reference.get(task._getMetadataName())[task.getName()]["seen"] == 3
    task.metadata["seen"] = 4
    task.writeMetadata(reference)  # over the first
    assert reference.get(task._getMetadataName())[task.getName()]["seen"] == 4


def writePackageVersions(world, name):
    task, store = parentTask(name), RunStore(world.butler, f"versions/{name}")
    task.writePackageVersions(store, dataset=f"{name}_packages")
    assert store.get(f"{name}_packages")["numpy"] == np.__version__


def writeSchemas(world, name):
    task, store = parentTask(name), RunStore(world.butler, f"schemas/{name}")
    task.writeSchemas(store)
    assert store.get("childSrc_schema").colnames == ["id", "flux"]
    task.writeSchemas(store)
    assert len(set(world.butler.registry.queryDatasets(..., collections=store.run))) == len(task.getAllSchemaCatalogs())


COMMAND = {one.__name__: one for one in (
    applyOverrides, getResourceConfig, parseAndRun, writeConfig, writeMetadata, writePackageVersions, writeSchemas,
)}  # fmt: skip


def _runExtract(world):
    cls = stillsky.PhotonTransferCurveExtractTask
    done = cls.parseAndRun(
        [str(world.path), "--id", "detector=3", "--input", "Lab/defaults", "--output", "u/ptc", "--no-versions"],
        config=extractConfig(), doReturnResults=True,
    )  # fmt: skip
    assert [one.exitStatus for one in done.resultList] == [0]
    kinds = []
    for exposure in range(1, 5):
        where = {"instrument": "Lab", "detector": 3, "exposure": exposure}
        kinds.append(world.get("ptcCovariances", where, "u/ptc").ptcFitType)
    assert kinds == ["PARTIAL", "DUMMY", "PARTIAL", "DUMMY"]
    done.parsedCmd.butler.close()


def _runDifference(world):
    done = stillsky.ImageDifferenceTask.parseAndRun(
        [str(world.path), "--id", "visit=1", "ccd=0", "--input", "MyCam/defaults,warps", "--output", "u/diff",
         "--no-versions", "-c", "doDetection=False", "doMerge=False", "doMeasurement=False", "doForcedMeasurement=False",
         "doApCorr=False"],
    )  # fmt: skip
    assert [one.exitStatus for one in done.resultList] == [0]
    difference = world.get("deepDiff_differenceExp", {"instrument": "MyCam", "visit": 1, "detector": 0}, "u/diff")
    assert difference.image.array[116, 79] > 8 * np.nanmedian(np.abs(difference.image.array))  # a change of the scene
    done.parsedCmd.butler.close()


def _runDcr(world):
    done = stillsky.DcrAssembleCoaddTask.parseAndRun(
        [str(world.path), "--id", "tract=4", "patch=0,0", "filter=g", "--input", "warps,skymaps", "--output", "u/dcr",
         "--no-versions"],
        config=dcrConfig(),
    )  # fmt: skip
    assert [one.exitStatus for one in done.resultList] == [0]
    coadd = world.get("dcrCoadd", {**PATCH, "subfilter": 2}, "u/dcr")
    assert coadd.metadata["SUBFILT"] == 2
    np.testing.assert_allclose(coadd.image.array, world.dcr.dcrCoadds[2].image.array, atol=1e-3)
    done.parsedCmd.butler.close()


_RUNS = {
    "PhotonTransferCurveExtractTask": _runExtract,
    "ImageDifferenceTask": _runDifference,
    "DcrAssembleCoaddTask": _runDcr,
}


# ---------------------------------------------------------------------- early pipeline tasks (the DCR coadd)
def adaptArgsAndRun(world, name):
    data = {"inputWarps": world.warpHandles(), "skyMap": world.skyMap, "templateExposure": world.coadd}
    made = world.dcrTask.adaptArgsAndRun(data, {}, {"coaddExposure": [PATCH]}, world.butler)
    np.testing.assert_array_equal(made.coaddExposure.image.array, world.dcr.coaddExposure.image.array)
    np.testing.assert_array_equal(made.nImage.array, world.dcr.nImage.array)


def getDatasetTypes(world, name):
    found = stillsky.DcrAssembleCoaddTask.getDatasetTypes(dcrConfig(), None)
    assert {"inputWarps", "templateExposure", "dcrCoadds"} <= set(found)
    assert found["dcrCoadds"].name == "dcrCoadd" and not found["dcrCoadds"].scalar


def getInputDatasetTypes(world, name):
    found = stillsky.DcrAssembleCoaddTask.getInputDatasetTypes(dcrConfig())
    assert found["inputWarps"].manualLoad and found["templateExposure"].scalar and "psfMatchedWarps" not in found
    assert "brightObjectMask" not in found
    bright = dcrConfig()
    bright.doMaskBrightObjects = True
    assert "brightObjectMask" in stillsky.DcrAssembleCoaddTask.getInputDatasetTypes(bright)


def getOutputDatasetTypes(world, name):
    config = dcrConfig()
    assert set(stillsky.DcrAssembleCoaddTask.getOutputDatasetTypes(config)) == {"dcrCoadds", "dcrNImages"}
    config.doNImage = False
    assert set(stillsky.DcrAssembleCoaddTask.getOutputDatasetTypes(config)) == {"dcrCoadds"}


def getInitInputDatasetTypes(world, name):
    assert stillsky.DcrAssembleCoaddTask.getInitInputDatasetTypes(dcrConfig()) == {}


def getInitOutputDatasetTypes(world, name):
    assert stillsky.DcrAssembleCoaddTask.getInitOutputDatasetTypes(dcrConfig()) == {}
    found = stillsky.ImageDifferenceTask.getInitOutputDatasetTypes(stillsky.ImageDifferenceTask.ConfigClass())
    assert found["outputSchema"].name == "deepDiff_diaSrc_schema"


def getInitOutputDatasets(world, name):
    assert world.dcrTask.getInitOutputDatasets() == {}
    assert len(world.differenceTask.getInitOutputDatasets()["outputSchema"]) == 0


def getPerDatasetTypeDimensions(world, name):
    assert stillsky.DcrAssembleCoaddTask.getPerDatasetTypeDimensions(dcrConfig()) == frozenset()


def getPrerequisiteDatasetTypes(world, name):
    bright = dcrConfig()
    assert stillsky.DcrAssembleCoaddTask.getPrerequisiteDatasetTypes(bright) == set()
    bright.doMaskBrightObjects = True
    assert stillsky.DcrAssembleCoaddTask.getPrerequisiteDatasetTypes(bright) == {"brightObjectMask"}


def saveStruct(world, name):
    store = RunStore(world.butler, "saved")
    kind = store.register("dcrCoadd", "StillskyExposure", (*PATCH, "subfilter"))
    refs = [
        DatasetRef(kind, world.butler.registry.expandDataId({**PATCH, "subfilter": k}), run="saved") for k in range(3)
    ]
    world.dcrTask.saveStruct(world.dcr, {"dcrCoadds": refs}, world.butler)
    for k, ref in enumerate(refs):
        np.testing.assert_array_equal(world.butler.get(ref).image.array, world.dcr.dcrCoadds[k].image.array)


EARLY = {one.__name__: one for one in (
    adaptArgsAndRun, getDatasetTypes, getInitInputDatasetTypes, getInitOutputDatasetTypes, getInitOutputDatasets,
    getInputDatasetTypes, getOutputDatasetTypes, getPerDatasetTypeDimensions, getPrerequisiteDatasetTypes, saveStruct,
)}  # fmt: skip
