"""The write verbs, data references and early verbs on a repository (task-framework 12, check 17; 3.4, 4)."""

import pytest
from astropy.table import Table

pytest.importorskip("lsst.daf.butler")

from lsst.pipe.base import TaskError
from lsst.utils.packages import Packages

from stillsky.compat.store import DataRef, RunStore
from toy_task import ToyTask


@pytest.fixture
def butler(filledButler):
    """A repository with visits 1 and 2 of detectors 0 and 1."""
    return filledButler


def test_package_versions_are_compared_in_common_and_extended(butler):
    task, store = ToyTask(), RunStore(butler, "u/v")
    task.writePackageVersions(store)
    full = store.get("packages")
    kind = butler.get_dataset_type("packages")
    fewer = Packages({name: full[name] for name in list(full)[:3]})
    store.replace(fewer, kind)
    task.writePackageVersions(store)
    assert set(store.get("packages")) == set(full)
    store.replace(Packages({**full, "numpy": "0.1"}), kind)
    with pytest.raises(TaskError, match="numpy"):
        task.writePackageVersions(store)
    task.writePackageVersions(store, clobber=True)
    assert store.get("packages")["numpy"] == full["numpy"]


def test_schemas_are_written_once_and_compared_exactly(butler, monkeypatch):
    task, store = ToyTask(), RunStore(butler, "u/w")
    task.writeSchemas(store)
    assert store.get("toySources_schema").colnames == ["id", "flux"]
    task.writeSchemas(store)
    monkeypatch.setattr(ToyTask, "columns", ("id", "magnitude"))
    with pytest.raises(TaskError, match="magnitude"):
        task.writeSchemas(store)
    task.writeSchemas(store, clobber=True)
    assert store.get("toySources_schema").colnames == ["id", "magnitude"]
    # two catalogs of which one does not fit: neither is written
    both = {"another": Table({"id": [1]})[:0], "toySources": Table({"id": [1.0]})[:0]}
    monkeypatch.setattr(ToyTask, "getSchemaCatalogs", lambda self: both)
    with pytest.raises(TaskError, match="toySources_schema.*magnitude"):
        task.writeSchemas(store)
    assert store.get("another_schema") is None


def test_what_another_writer_put_meanwhile_is_compared(butler, monkeypatch):
    task, store = ToyTask(), RunStore(butler, "u/race")
    true, seen = RunStore.get, []

    def late(self, *args):
        """Sees nothing at first, as one that came at the same time."""
        seen.append(args)
        return None if len(seen) == 1 else true(self, *args)

    for verb, name in ((task.writeConfig, "toy_config"), (task.writePackageVersions, "packages")):
        verb(store)
        seen.clear()
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "get", late)
            verb(store)
        assert len(seen) == 2 and store.get(name) is not None
    other = ToyTask.ConfigClass()
    other.factor = 7.0
    store.replace(other, butler.get_dataset_type("toy_config"))
    with pytest.raises(TaskError, match="factor"):
        task.writeConfig(store)


def test_a_data_reference_reads_writes_and_knows_old_names(butler):
    from stillsky.geom import Box2I, Extent2I, Point2I

    ref = DataRef(RunStore(butler, "u/r", ["MyCam/calexp"]), {"instrument": "MyCam", "visit": 1, "detector": 0})
    box = Box2I(Point2I(65, 25), Extent2I(4, 3))
    assert ref.datasetExists("calexp") and not ref.datasetExists("nothing")
    assert ref.get("calexp_sub", bbox=box).bbox == box
    assert ref.get("calexp_visitInfo").id == 1 and ref.get("calexp").filter.band == "r"
    ref.put(ref.get("calexp"), "calexp")
    ref.put(ref.get("calexp"), "calexp")  # over the first, in the run
    assert ref.store.find("calexp", ref.dataId) is not None


def test_early_verbs_describe_the_connections_and_save_structs(butler):
    config = ToyTask.ConfigClass()
    inputs = ToyTask.getInputDatasetTypes(config)
    assert list(inputs) == ["image"] and inputs["image"].name == "calexp" and inputs["image"].scalar
    assert inputs["image"].dimensions == ("detector", "instrument", "visit") and not inputs["image"].manualLoad
    assert list(ToyTask.getOutputDatasetTypes(config)) == ["scaled"]
    assert set(ToyTask.getDatasetTypes(config)) == {"image", "scaled"}
    assert ToyTask.getInitInputDatasetTypes(config) == ToyTask.getInitOutputDatasetTypes(config) == {}
    assert ToyTask.getPrerequisiteDatasetTypes(config) == set()
    assert ToyTask.getPerDatasetTypeDimensions(config) == frozenset()
    task = ToyTask()
    assert task.getInitOutputDatasets() == {} and task.getResourceConfig() is None
    image = butler.get("calexp", instrument="MyCam", visit=1, detector=0, collections="MyCam/calexp")
    struct = task.adaptArgsAndRun({"image": image}, {}, {}, butler)
    put = []
    butlerLike = type("Putting", (), {"put": lambda self, thing, ref: put.append((thing, ref))})()
    task.saveStruct(struct, {"scaled": "reference"}, butlerLike)
    assert put == [(struct.scaled, "reference")]


def test_metadata_of_one_data_id_have_one_place_however_it_is_written(butler):
    task = ToyTask()
    where = {"instrument": "MyCam", "visit": 1, "detector": 0}
    store = RunStore(butler, "u/m")
    for number, given in enumerate((
        {**where, "band": "r", "physical_filter": "r.01"}, butler.registry.expandDataId(where), {**where, "colour": "red"},
    )):  # fmt: skip
        task.metadata["seen"] = number
        task.writeMetadata(DataRef(store, given))
        assert DataRef(store, where).get("toy_metadata")["toy"]["seen"] == number
    assert set(butler.get_dataset_type("toy_metadata").dimensions.required) == set(where)
    assert len(set(butler.registry.queryDatasets("toy_metadata", collections="u/m"))) == 1
