"""A toy pipeline by two executors, exit codes, streaming, validity of calibrations (task-framework 12, checks 8 to 11)."""

import gc
import json
import shutil
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")
sys.path.append(str(Path(__file__).parents[1]))

import astropy.units as u
from astropy.time import Time
from lsst.daf.butler import CollectionType, DatasetNotFoundError, DatasetType, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

from stillsky import SkyMap, TractInfo
from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import ingestExposures, openRepository, registerSkyMap
from stillsky.fits import read, writeExposure
from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.image import Image, makeExposure
from stillsky.meta import FilterLabel, VisitInfo
from stillsky.wcs import makeTanWcs
from toy_pipeline import MeanTask

SHAPE = (50, 40)
PIPELINE = "description: toy\ntasks:\n  scale: toy_pipeline.ScaleTask\n  mean: toy_pipeline.MeanTask\n"
WHERE = "instrument='MyCam' AND skymap='plane'"


def patch(number):
    return {"skymap": "plane", "tract": 0, "patch": number, "band": "r"}


@pytest.fixture(scope="module")
def night(tmp_path_factory, emptyRepository):
    """Folder with a repository of four visits of two detectors that lie on two patches; images by (visit, detector)."""
    folder, rng, images, paths = tmp_path_factory.mktemp("night"), np.random.default_rng(4), {}, []
    shutil.copytree(emptyRepository, folder / "repo")
    scale = 0.2 / 3600
    for visit in (1, 2, 3, 4):
        for detector in (0, 1):
            image = makeExposure(rng.normal(100, 5, SHAPE).astype(np.float32), variance=25.0)
            image.wcs = makeTanWcs((20.0 - 70 * detector, 25.0), (0.17, 0.03), np.diag([-scale, scale]))
            date = Time("2026-01-02T00:00:00", scale="tai") + visit * u.min
            image.info.visitInfo = VisitInfo(id=visit, exposureTime=30.0, date=date)
            image.filter = FilterLabel("r", "r.01")
            image.metadata["DETECTOR"] = detector
            images[visit, detector] = image
            paths.append(str(folder / f"v{visit}d{detector}.fits"))
            writeExposure(image, paths[-1])
    with openRepository(folder / "repo", writeable=True) as butler:
        camera = InstrumentDefinition("MyCam", {0: "a", 1: "b"}, {"r.01": "r"})
        assert not ingestExposures(butler, paths, camera).failed
        # the second detector lies 70 pixels beside the first, within the second patch
        box = Box2I(Point2I(0, 0), Extent2I(120, 50))
        registerSkyMap(butler, "plane", SkyMap([TractInfo(0, images[1, 0].wcs, box, (60, 50), 0)]))
    (folder / "toy.yaml").write_text(PIPELINE)
    return folder, images


def pipetask(*args):
    """Result of ``pipetask run`` in this process."""
    from lsst.ctrl.mpexec.cli.pipetask import cli
    from lsst.daf.butler.cli.utils import LogCliRunner

    return LogCliRunner().invoke(cli, ["run", *map(str, args)])


@pytest.fixture(scope="module")
def simple(night):
    """Means of both patches by the executor of lsst-pipe-base."""
    folder, _ = night
    MeanTask.seen.clear()
    butler = SimplePipelineExecutor.prep_butler(str(folder / "repo"), inputs=["MyCam/defaults"], output="u/simple")
    with butler:
        executor = SimplePipelineExecutor.from_pipeline_filename(str(folder / "toy.yaml"), butler=butler, where=WHERE)
        assert len(executor.run(register_dataset_types=True)) == 8 + 2
        return [butler.get("meanCoadd", patch(k)) for k in (0, 1)]


def test_patches_are_means_of_their_own_detectors_read_in_strips(night, simple):
    _, images = night
    for k, mean in enumerate(simple):
        truth = 3 * np.mean([images[visit, k].image.array for visit in (1, 2, 3, 4)], axis=0)
        np.testing.assert_allclose(mean.array, truth, rtol=1e-4)
    read = [{detector for detector, _ in MeanTask.seen[part]} for part in (slice(0, 4), slice(4, 8))]
    assert sorted(read, key=min) == [{0}, {1}] and len(MeanTask.seen) == 8
    assert MeanTask.mostPixels == 10 * 40  # a strip of one image, never more


def test_an_image_lives_no_longer_than_its_last_reference(night):
    """Times in headers once left a cycle behind each image read, which held it until the garbage collector came by."""
    from astropy.io import fits

    folder, _ = night
    with fits.open(folder / "v1d0.fits") as file:
        pixels = file[1].data
    foreign = fits.Header({"DATE-OBS": "2026-01-02T03:01:00", "EXPTIME": 1.0, "GAIN": 1.0, "FILTER": "r"})
    fits.writeto(folder / "foreign.fits", pixels, foreign, overwrite=True)
    gc.collect()
    gc.disable()
    try:
        with openRepository(folder / "repo") as butler:
            where = {"instrument": "MyCam", "visit": 1, "detector": 0}
            image = butler.get("calexp", where, collections="MyCam/calexp")
            last = [weakref.ref(image)]
            for name in ("v1d0.fits", "foreign.fits"):
                image = read(folder / name)
                assert image.visitInfo.date is not None
                last.append(weakref.ref(image))
            del image
            assert [one() for one in last] == [None] * 3
    finally:
        gc.enable()


@pytest.mark.engine
def test_pipetask_gives_the_same_numbers(night, simple):
    pytest.importorskip("lsst.ctrl.mpexec")
    folder, _ = night
    done = pipetask("-b", folder / "repo", "-p", folder / "toy.yaml", "-i", "MyCam/defaults", "-o", "u/pipetask",
                    "-d", WHERE, "--register-dataset-types")  # fmt: skip
    assert done.exit_code == 0, done.output
    with openRepository(folder / "repo") as butler:
        for k in (0, 1):
            again = butler.get("meanCoadd", patch(k), collections="u/pipetask")
            np.testing.assert_array_equal(again.array, simple[k].array)


@pytest.mark.engine
@pytest.mark.parametrize(
    "option, code, status", [("factor=2", 0, "success"), ("nothing=True", 0, "success"), ("fail=True", 1, "failure")]
)
def test_exit_codes_and_summaries(night, tmp_path, option, code, status):
    pytest.importorskip("lsst.ctrl.mpexec")
    folder, _ = night
    done = pipetask("-b", folder / "repo", "-t", "toy_pipeline.ScaleTask:scale", "-i", "MyCam/defaults",
                    "-o", f"u/{option.partition('=')[0]}", "-d", "instrument='MyCam' AND visit=1 AND detector=0",
                    "--register-dataset-types", "-c", f"scale:{option}", "--summary", tmp_path / "s.json")  # fmt: skip
    assert done.exit_code == code
    assert json.loads((tmp_path / "s.json").read_text())["status"] == status


def test_a_calibration_is_valid_from_its_begin_to_before_its_end(night):
    folder, _ = night

    def tai(text):
        return Time(text, scale="tai")

    where = {"instrument": "MyCam", "detector": 0}
    with openRepository(folder / "repo", writeable=True) as butler:
        kind = DatasetType("gains", ("instrument", "detector"), "StillskyImage", universe=butler.dimensions,
                           isCalibration=True)  # fmt: skip
        butler.registry.registerDatasetType(kind)
        butler.collections.register("gains/run")
        butler.collections.register("gains/calib", CollectionType.CALIBRATION)
        ref = butler.put(Image(np.ones((2, 2), np.float32)), kind, where, run="gains/run")
        butler.registry.certify("gains/calib", [ref], Timespan(tai("2026-01-02T00:02:30"), tai("2026-02-01")))
        with pytest.raises(DatasetNotFoundError):  # the exposure of 00:01
            butler.get("gains", {**where, "exposure": 1}, collections="gains/calib")
        assert butler.get("gains", {**where, "exposure": 4}, collections="gains/calib").array.sum() == 4
        with pytest.raises(ConflictingDefinitionError):
            butler.registry.certify("gains/calib", [ref], Timespan(tai("2026-01-20"), tai("2026-03-01")))
        butler.registry.decertify("gains/calib", kind, Timespan(tai("2026-01-15"), None))
        (left,) = butler.registry.queryDatasetAssociations(kind, collections="gains/calib")
        assert left.timespan == Timespan(tai("2026-01-02T00:02:30"), tai("2026-01-15"))
