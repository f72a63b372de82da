"""What a task, its configuration and its metadata promise (task-framework 12, checks 3, 4 and 18; 11, items 9 and 10)."""

import numpy as np
import pytest
from astropy.table import Table
from lsst.pex.config import Config, ConfigurableField, FieldValidationError
from lsst.pipe.base import NoWorkFound, PipelineTask, Struct, Task, TaskMetadata
from seed_names import COMMAND, TASK

import stillsky
from stillsky import (
    AssembleCoaddConfig,
    AssembleCoaddTask,
    DcrAssembleCoaddTask,
    ImageDifferenceConfig,
    ImageDifferenceTask,
    ImageReducer,
    PhotonTransferCurveExtractTask,
)
from stillsky.coadd import AssembleCoaddAlgorithmConfig
from stillsky.task_base import SchemaVerbs, assignMetadata, earlierArguments


class SubTask(SchemaVerbs, Task):
    """Writes one catalog."""

    ConfigClass = Config
    _DefaultName = "sub"

    def getSchemaCatalogs(self):
        return {"below": Table({"id": np.zeros(0, np.int64)})}


class TopConfig(Config):
    """Has a subtask."""

    sub = ConfigurableField(target=SubTask, doc="The subtask.")


class TopTask(SchemaVerbs, Task):
    """Writes one catalog, and so does its subtask."""

    ConfigClass = TopConfig
    _DefaultName = "top"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.makeSubtask("sub")

    def getSchemaCatalogs(self):
        return {"above": Table({"id": np.zeros(0, np.int64)})}


def test_a_task_knows_its_subtasks_their_metadata_and_its_time():
    task = TopTask()
    task.metadata["a"], task.sub.metadata["b"] = 1, 2
    found = task.getFullMetadata()
    assert (found["top"]["a"], found["top:sub"]["b"]) == (1, 2)
    task.emptyMetadata()
    assert len(task.metadata) == len(task.sub.metadata) == 0
    assert set(task.getFullMetadata().keys()) <= {"top", "top:sub"}
    assert task.sub.getFullName() == "top.sub" and len(task.getTaskDict()) == 2
    with task.timer("x"):
        pass
    assert {"xStartUtc", "xEndUtc"} <= set(task.metadata.names())
    with pytest.raises(KeyError):
        task.makeSubtask("other")
    # the dictionary has weak references, this has the tasks
    assert list(task.iterTasks()) == [task, task.sub] == list(task.sub.iterTasks())


def test_all_catalogs_are_the_same_from_any_task_of_the_hierarchy():
    task = TopTask()
    assert set(task.getAllSchemaCatalogs()) == set(task.sub.getAllSchemaCatalogs()) == {"above", "below"}
    assert set(task.getSchemaCatalogs()) == {"above"}


def test_constructors_take_the_places_of_old():
    top = TopTask()
    with pytest.warns(DeprecationWarning, match="name, parentTask"):
        old = ImageReducer(ImageReducer.ConfigClass(), "part", top)
    assert old.getFullName() == "top.part" and old.log.name.endswith("top.part")
    config = AssembleCoaddConfig()
    config.statistic = "MEDIAN"
    with pytest.warns(DeprecationWarning, match="name"):
        task = AssembleCoaddTask(config, "coadd")
    assert task.getName() == "coadd" and AssembleCoaddTask(config).config.statistic == "MEDIAN"
    with pytest.raises(TypeError, match="once each"):
        AssembleCoaddTask(config, config=config)
    assert ImageDifferenceTask(None, config=ImageDifferenceConfig()).getName() == "imageDifference"


def test_a_verb_takes_the_arguments_of_old_by_place_and_by_name():
    class Any:
        @earlierArguments("a mask b", unused=["mask"], older="b")
        def verb(self, a, b):
            return a, b

    one = Any()
    assert one.verb(1, 2) == one.verb(1, "mask", 2) == one.verb(1, older=2) == one.verb(1, mask=None, b=2) == (1, 2)
    with pytest.raises(TypeError, match="multiple values"):
        one.verb(1, "mask", a=2)
    with pytest.raises(TypeError):
        one.verb(1)


def test_configurations_refuse_wrong_values_unknown_fields_and_changes_once_frozen():
    config = AssembleCoaddConfig()
    with pytest.raises(FieldValidationError, match="sigmaClip"):
        config.sigmaClip = "wide"
    with pytest.raises(AttributeError, match="noSuchField"):
        config.noSuchField = 1
    config.freeze()
    with pytest.raises(FieldValidationError, match="frozen|Cannot modify"):
        config.sigmaClip = 3.0
    assert config.sigmaClip == AssembleCoaddConfig().sigmaClip


def test_a_file_of_assignments_serves_algorithm_and_pipeline_and_a_saved_one_its_class(tmp_path):
    overrides = tmp_path / "overrides.py"
    overrides.write_text("config.sigmaClip = 2.5\nconfig.badMaskPlanes = ['BAD']\n")
    configs = AssembleCoaddAlgorithmConfig(), AssembleCoaddConfig()
    for config in configs:
        config.load(str(overrides))
        assert config.sigmaClip == 2.5 and list(config.badMaskPlanes) == ["BAD"]
        config.save(str(tmp_path / "saved.py"))
        again = type(config)()
        again.load(str(tmp_path / "saved.py"))
        assert again.compare(config, shortcut=False) and again.toDict() == config.toDict()
    with pytest.raises(AssertionError, match="AssembleCoaddConfig"):
        configs[0].load(str(tmp_path / "saved.py"))  # the last one: of the other class


def test_structs_and_metadata_of_the_framework_do_what_tasks_rely_on():
    one, two = Struct(a=1, b=[2]), Struct(c=3, a=0)
    assert one.getDict() == {"a": 1, "b": [2]} and len(one) == 2 and one.copy().b is one.b
    with pytest.raises(RuntimeError, match="a"):
        one.mergeItems(two, "c", "a")
    assert one.c == 3 and one.a == 1  # what came before the clash was taken
    with pytest.raises(RuntimeError):
        Struct(getDict=1)
    metadata = TaskMetadata()
    assignMetadata(
        metadata, {"n": np.int64(3), "yes": np.True_, "none": None, "empty": [], "list": np.arange(2.0), "in": {"x": 1}}
    )
    assert metadata["n"] == 3 and metadata["yes"] is True and metadata.getArray("list") == [0.0, 1.0]
    assert metadata["in.x"] == 1 and "none" not in metadata and "empty" not in metadata
    metadata.add("n", 4)
    assert metadata["n"] == 4 and metadata.getArray("n") == [3, 4]
    with pytest.raises(ValueError):
        metadata["wrong"] = np.zeros(3)
    assignMetadata(metadata, {"n": None})
    assert "n" not in metadata


def test_a_missing_catalogue_is_no_work_for_its_quantum_and_no_failure_of_the_graph():
    config = ImageDifferenceConfig()
    config.doMatchSources, config.refObjLoader.fromButler = True, True
    assert config.ConnectionsClass(config=config).referenceCatalog.minimum == 0
    with pytest.raises(NoWorkFound, match="no reference objects"):
        ImageDifferenceTask(config=config)._finishQuantum(None, None, {"referenceCatalog": []}, None, None)


def test_every_task_of_the_package_has_the_verbs_of_tasks_and_pipeline_tasks_those_of_commands():
    names = [name for name in stillsky.__all__ if name.endswith(("Task", "Mapper", "Reducer"))]
    assert len(names) > 40
    for cls in (getattr(stillsky, name) for name in names):
        wanted = [*TASK, *COMMAND, "runDataRef", "run", "runQuantum"] if issubclass(cls, PipelineTask) else TASK
        assert [verb for verb in wanted if not callable(getattr(cls, verb, None))] == [], cls.__name__


@pytest.mark.parametrize(
    "cls, kind",
    [
        (AssembleCoaddTask, "deepCoadd_directWarp"),
        (DcrAssembleCoaddTask, "deepCoadd"),
        (ImageDifferenceTask, "calexp"),
        (PhotonTransferCurveExtractTask, "ptcInputExposurePairs"),
    ],
)
def test_data_ids_of_a_command_are_those_of_the_input_that_is_most_like_its_quantum(cls, kind):
    datasetType, dimensions = cls._makeArgumentParser()._idArguments["id"]
    config = cls.ConfigClass()
    if cls is DcrAssembleCoaddTask:
        config.effectiveWavelength, config.bandwidth = 476.3, 147.0
    assert datasetType(config) == kind and set(dimensions) == set(cls.ConfigClass.ConnectionsClass.dimensions)
    if cls is PhotonTransferCurveExtractTask:
        config.connections.inputExp = "flat"
        assert datasetType(config) == "flat"
