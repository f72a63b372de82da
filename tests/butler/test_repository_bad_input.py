"""Bad input of a repository: the errors that are documented, and a repository that is whole afterwards."""

import os
import shutil
import subprocess

import astropy.units as u
import numpy as np
import pytest
from astropy.time import Time

pytest.importorskip("lsst.daf.butler")

from lsst.daf.butler import (
    ButlerUserError,
    CollectionType,
    DatasetNotFoundError,
    DatasetType,
    DimensionNameError,
    MissingCollectionError,
    MissingDatasetTypeError,
    Timespan,
)
from lsst.daf.butler.registry import ConflictingDefinitionError, DataIdError
from lsst.pipe.base import PipelineGraph, PipelineTask, PipelineTaskConfig, PipelineTaskConnections
from lsst.pipe.base import connectionTypes as cT
from lsst.pipe.base.all_dimensions_quantum_graph_builder import AllDimensionsQuantumGraphBuilder
from lsst.pipe.base.quantum_graph_builder import QuantumGraphBuilderError

from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import checkRepository, createRepository, ingestExposures, openRepository
from stillsky.image import Image

CAM = InstrumentDefinition("Cam", {0: "a", 1: "b"}, {"r.01": "r"})
PLANE = Image(np.arange(240, dtype=np.float32).reshape(20, 12))


@pytest.fixture
def camera(butler):
    """A repository with an instrument of two detectors, the type ``plane`` (instrument, detector) and the run u/one."""
    fill(butler)
    yield butler
    assert checkRepository(butler, read=True).problems == []  # whatever went wrong


def fill(butler):
    CAM.register(butler.registry)
    kind = DatasetType("plane", ("instrument", "detector"), "StillskyImage", universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.collections.register("u/one")


def datasets(butler):
    return len(set(butler.registry.queryDatasets("plane", collections="u/one")))


def test_a_dataset_type_that_is_not_registered(camera):
    with pytest.raises(MissingDatasetTypeError, match="absent"):
        camera.put(PLANE, "absent", instrument="Cam", detector=0, run="u/one")
    with pytest.raises(MissingDatasetTypeError, match="absent"):
        camera.get("absent", instrument="Cam", detector=0, collections="u/one")
    unregistered = DatasetType("absent", ("instrument",), "StillskyImage", universe=camera.dimensions)
    with pytest.raises(MissingDatasetTypeError, match="absent"):
        camera.put(PLANE, unregistered, instrument="Cam", run="u/one")


def test_dimensions_that_are_wrong(camera):
    for wrong, error in (
        ({"instrument": "Cam"}, DimensionNameError),  # no detector
        ({"instrument": "Cam", "detector": 7}, DataIdError),  # no such detector
        ({"instrument": "Cam", "detector": "left"}, (DataIdError, ValueError)),
        ({"instrument": "Other", "detector": 0}, DataIdError),
        ({"instrument": "Cam", "detector": 0, "detectors": 1}, ButlerUserError),
    ):
        with pytest.raises(error):
            camera.put(PLANE, "plane", wrong, run="u/one")
    with pytest.raises(ConflictingDefinitionError, match="plane"):
        kind = DatasetType("plane", ("instrument",), "StillskyImage", universe=camera.dimensions)
        camera.registry.registerDatasetType(kind)
    with pytest.raises(MissingCollectionError, match="u/absent"):
        camera.put(PLANE, "plane", instrument="Cam", detector=0, run="u/absent")
    assert datasets(camera) == 0


def test_a_put_in_conflict_changes_nothing(camera):
    ref = camera.put(PLANE, "plane", instrument="Cam", detector=0, run="u/one")
    other = Image(PLANE.array + 1)
    with pytest.raises(ConflictingDefinitionError):
        camera.put(other, "plane", instrument="Cam", detector=0, run="u/one")
    with pytest.raises(TypeError):
        camera.put("not an image", "plane", instrument="Cam", detector=1, run="u/one")
    np.testing.assert_array_equal(camera.get(ref).array, PLANE.array)
    assert datasets(camera) == 1


def test_a_calibration_is_found_within_its_range_only(camera):
    """Task-framework 12, check 11."""
    kind = DatasetType(
        "gain", ("instrument", "detector"), "StillskyImage", universe=camera.dimensions, isCalibration=True
    )
    camera.registry.registerDatasetType(kind)
    camera.collections.register("Cam/calib", CollectionType.CALIBRATION)
    refs = [camera.put(PLANE, kind, instrument="Cam", detector=0, run=run) for run in ("u/one",)]

    def tai(text):
        return Time(text, scale="tai")

    camera.registry.certify("Cam/calib", refs, Timespan(tai("2026-01-01T00:02:30"), tai("2026-02-01")))
    with camera.registry.transaction():
        for name, minute in ((1, 1), (4, 4)):
            begin = tai("2026-01-01T00:00:00") + minute * u.min
            span = Timespan(begin, begin + 30 * u.s)
            day = {"instrument": "Cam", "id": 20251231, "timespan": Timespan(tai("2025-12-31T12:00"), None)}
            camera.registry.syncDimensionData("day_obs", day)
            camera.registry.syncDimensionData("group", {"instrument": "Cam", "name": str(name)})
            record = {"instrument": "Cam", "id": name, "obs_id": str(name), "physical_filter": "r.01", "timespan": span}
            camera.registry.syncDimensionData("exposure", record | {"group": str(name), "day_obs": 20251231})
    where = {"instrument": "Cam", "detector": 0}
    with pytest.raises(DatasetNotFoundError):
        camera.get("gain", **where, exposure=1, collections="Cam/calib")
    np.testing.assert_array_equal(camera.get("gain", **where, exposure=4, collections="Cam/calib").array, PLANE.array)
    camera.collections.register("u/two")
    second = camera.put(PLANE, kind, instrument="Cam", detector=0, run="u/two")
    with pytest.raises(ConflictingDefinitionError, match="conflict"):
        camera.registry.certify("Cam/calib", [second], Timespan(tai("2026-01-15"), None))
    camera.registry.decertify("Cam/calib", "gain", Timespan(tai("2026-01-15"), None))
    (left,) = camera.registry.queryDatasetAssociations("gain", collections="Cam/calib")
    assert left.timespan.end == tai("2026-01-15") and left.timespan.begin == tai("2026-01-01T00:02:30")


class _FlatConnections(PipelineTaskConnections, dimensions=("instrument", "detector")):
    plane = cT.Input(name="plane", doc="In.", storageClass="StillskyImage", dimensions=("instrument", "detector"))
    gain = cT.PrerequisiteInput(
        name="gain", doc="Calibration.", storageClass="StillskyImage", dimensions=("instrument", "detector"), isCalibration=True,
    )  # fmt: skip


class _FlatConfig(PipelineTaskConfig, pipelineConnections=_FlatConnections):
    pass


class FlatTask(PipelineTask):
    """Needs a calibration."""

    ConfigClass, _DefaultName = _FlatConfig, "flat"


def test_a_pipeline_without_its_calibration_makes_no_graph(camera):
    from stillsky import PlotPhotonTransferCurveTask

    def build(task):
        graph = PipelineGraph(universe=camera.dimensions)
        graph.add_task("one", task)
        builder = AllDimensionsQuantumGraphBuilder(graph, camera, input_collections=["u/one"], output_run="u/made")
        return builder.build(attach_datastore_records=False)

    camera.put(PLANE, "plane", instrument="Cam", detector=0, run="u/one")
    with pytest.raises(QuantumGraphBuilderError, match="'calib' found .the dataset type is not even registered"):
        build(PlotPhotonTransferCurveTask)
    kind = DatasetType(
        "gain", ("instrument", "detector"), "StillskyImage", universe=camera.dimensions, isCalibration=True
    )
    camera.registry.registerDatasetType(kind)
    with pytest.raises(
        FileNotFoundError, match=r"Not enough datasets \(0\) found for non-optional connection one.gain"
    ):
        build(FlatTask)
    camera.put(PLANE, kind, instrument="Cam", detector=0, run="u/one")
    assert len(build(FlatTask)) == 1


def test_files_that_are_damaged_are_named_one_by_one(butler, calexpFiles, tmp_path):
    """Missing, truncated, other bytes of the right size in a header and in the pixels, and a file that nobody owns."""
    ingestExposures(butler, calexpFiles((1, 2), (0, 1)), CAM, transfer="copy")
    refs = sorted(butler.registry.queryDatasets("calexp", collections="Cam/calexp"), key=lambda one: str(one.dataId))
    paths = [butler.getURI(ref).ospath for ref in refs]
    os.remove(paths[0])
    os.truncate(paths[1], 5000)
    with open(paths[2], "r+b") as file:
        file.write(b"X" * 2880)
    with open(paths[3], "r+b") as file:  # one bit of one pixel: astropy reads it happily
        file.seek(os.path.getsize(paths[3]) - 2880 * 3)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    orphan = tmp_path / "repo" / "Cam" / "calexp" / "orphan.fits"
    orphan.write_bytes(b"left by a killed worker")
    said = checkRepository(butler, read=True).problems
    assert len(said) == 5
    for path, word in zip(
        (*paths, orphan), ("missing", "5000 bytes", "cannot be read", "other bytes", "no dataset owns")
    ):
        (problem,) = (one for one in said if os.path.basename(path) in one)
        assert word in problem
    for ref, error in zip(refs, (FileNotFoundError, RuntimeError, ValueError)):
        with pytest.raises(error):
            butler.get(ref)
    butler.get(refs[3])  # only the checksum knows
    # what is broken is taken out and put again: the repository is whole
    orphan.unlink()
    butler.pruneDatasets(refs, disassociate=True, unstore=True, purge=True)
    ingestExposures(butler, calexpFilesAgain(tmp_path), CAM, transfer="copy")
    whole = checkRepository(butler, read=True)
    assert whole.datasets == 4 and whole.problems == []


def calexpFilesAgain(folder):
    return sorted(str(path) for path in folder.glob("v*d*.fits"))


@pytest.fixture
def smallDisk(tmp_path):
    """A disk of 3 MB of its own, where this user may mount one."""
    where = tmp_path / "disk"
    where.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(where)]
    if os.geteuid() != 0 or shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_disk_loses_nothing_that_was_written(smallDisk):
    createRepository(smallDisk / "repo")
    big = Image(np.random.default_rng(1).normal(size=(300, 300)).astype(np.float32))
    with openRepository(smallDisk / "repo", writeable=True) as butler:
        fill(butler)
        number = 0
        with pytest.raises(RuntimeError, match="Failed to serialize") as caught:
            for number in range(100):
                butler.collections.register(f"u/{number}")
                butler.put(big, "plane", instrument="Cam", detector=0, run=f"u/{number}")
        assert isinstance(caught.value.__cause__, OSError) and "space" in str(caught.value.__cause__)
        assert number >= 2
        report = checkRepository(butler, read=True)
        assert report.datasets == number and report.problems == []  # no half file, no row without a file
        first = butler.find_dataset("plane", instrument="Cam", detector=0, collections="u/0")
        butler.pruneDatasets([first], disassociate=True, unstore=True, purge=True)
        ref = butler.put(big, "plane", instrument="Cam", detector=0, run=f"u/{number}")  # what failed goes in now
        np.testing.assert_array_equal(butler.get(ref).array, big.array)
        assert checkRepository(butler, read=True).problems == []


def test_a_write_that_the_system_refuses_leaves_nothing(camera):
    """As the test above, for users who may not mount: files may not grow beyond 1.5 MB."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    large = Image(np.zeros((1000, 1000), np.float32))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, before[1]))
    try:
        with pytest.raises(RuntimeError, match="Failed to serialize") as caught:
            camera.put(large, "plane", instrument="Cam", detector=0, run="u/one")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert isinstance(caught.value.__cause__, OSError)
    assert datasets(camera) == 0
    camera.put(large, "plane", instrument="Cam", detector=0, run="u/one")
