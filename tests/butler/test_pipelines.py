"""The shipped pipelines on a repository of plain files, by lsst.pipe.base's own executor."""

import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")
sys.path.insert(0, str(Path(__file__).parents[1] / "diffim"))

import astropy.units as u
from astropy.time import Time
from image_difference_scenes import found, pair
from lsst.pipe.base import Pipeline

from repository_fixtures import putTemplate
from stillsky import PhotoCalib, SkyMap, TractInfo
from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import checkRepository, ingestExposures, registerSkyMap
from stillsky.butler.run_pipeline import runPipeline
from stillsky.fits import writeExposure
from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.image import makeExposure
from stillsky.meta import FilterLabel, VisitInfo


@pytest.fixture
def run():
    """Function that runs a shipped pipeline, and gives the butler of its output, to be closed with the test, and the quanta."""
    made = []

    def call(repository, name, inputs, output, **options):
        config = {key.replace("__", ":").replace("_", "."): value for key, value in options.items()}
        made.append(runPipeline(repository, name, inputs, output, config=config))
        return made[-1].butler, made[-1].quanta

    yield call
    for one in made:
        one.butler.close()


def written(image, visit, folder):
    image.info.visitInfo = VisitInfo(id=visit, exposureTime=30.0, date=Time("2026-01-02T03:04:05") + visit * u.min)
    image.filter = FilterLabel("r", "r.01")
    path = str(folder / f"v{visit}.fits")
    writeExposure(image, path)
    return path


def test_difference_from_a_coadd_to_its_sources(butler, run, tmp_path):
    science, template = pair(size=384, step=64, noise=10.0)
    paths = [written(science, 1, tmp_path)]
    assert not ingestExposures(butler, paths, InstrumentDefinition("MyCam", {0: "a"}, {"r.01": "r"})).failed
    putTemplate(butler, template)
    made, quanta = run(tmp_path / "repo", "difference", ["MyCam/defaults", "coadds"], "u/diff")
    assert len(quanta) == 3
    where = {"instrument": "MyCam", "visit": 1, "detector": 0}
    sources = made.get("deepDiff_diaSrc", where)
    assert sorted(found(sources)) == [0, 1, 2] and sources["id"].dtype == np.int64
    difference = made.get("deepDiff_differenceExp", where)
    assert difference.bbox == science.bbox and difference.psf is not None
    assert checkRepository(made, read=True).problems == []


def test_photon_transfer_from_flats_to_gains_and_a_certified_calibration(butler, run, tmp_path, rng):
    from astropy.io import fits
    from lsst.daf.butler import CollectionType, Timespan

    gain, paths = 1.6, []
    for level in (2000.0, 8000.0, 20000.0, 40000.0):
        for _ in range(2):
            number = len(paths) + 1
            electrons = rng.poisson(level, (100, 120)) + rng.normal(0, 5.0, (100, 120))
            cards = {"DATE-OBS": f"2026-01-02T03:{number:02d}:00", "EXPTIME": level / 1e4, "EXPNUM": number}
            cards |= {"OBSTYPE": "flat", "FILTER": "r", "CCDNUM": 3, "GAIN": 1.0}
            paths.append(str(tmp_path / f"flat{number}.fits"))
            fits.writeto(paths[-1], (electrons / gain).astype(np.float32), fits.Header(cards))
    report = ingestExposures(butler, paths, InstrumentDefinition("Lab"), datasetType="flat", dimension="exposure")
    assert not report.failed
    made, quanta = run(
        tmp_path / "repo", "ptc", ["Lab/flat"], "u/ptc",
        cpPtcExtract__maximumRangeCovariancesAstier=2, cpPtcSolve__maximumRangeCovariancesAstier=2,
    )  # fmt: skip
    assert len(quanta) == 3
    curves = made.get("ptcDatsetProposal", instrument="Lab", detector=3)
    (amp,) = curves.ampNames
    assert curves.gain[amp] == pytest.approx(gain, rel=0.03)  # eight flats of 12000 pixels: 1 %
    # certified for January: an exposure of that month finds it, another does not
    ref = made.find_dataset("ptcDatsetProposal", instrument="Lab", detector=3)
    butler.registry.refresh()
    butler.collections.register("Lab/calib", CollectionType.CALIBRATION)
    month = Timespan(Time("2026-01-01", scale="tai"), Time("2026-02-01", scale="tai"))
    butler.registry.certify("Lab/calib", [ref], month)
    where = {"instrument": "Lab", "detector": 3}
    inside = Timespan(Time("2026-01-02", scale="tai"), Time("2026-01-03", scale="tai"))
    outside = Timespan(Time("2026-02-01", scale="tai"), Time("2026-02-02", scale="tai"))
    assert butler.find_dataset("ptcDatsetProposal", where, collections="Lab/calib", timespan=inside) is not None
    assert butler.find_dataset("ptcDatsetProposal", where, collections="Lab/calib", timespan=outside) is None


def test_pipelines_name_classes_that_exist():
    for path in (files("stillsky") / "pipelines").iterdir():
        if path.name.endswith(".yaml"):
            pipeline = Pipeline.from_uri(str(path))
            if "dcr" in path.name:  # the band has no default
                pipeline.addConfigOverride("parameters", "bandLimits", [402.8, 549.8])
            graph = pipeline.to_graph()
            assert len(graph.tasks) >= 2, path.name


def test_exposures_without_visits_make_no_difference_graph(butler, run, tmp_path, rng):
    from lsst.pipe.base.quantum_graph_builder import QuantumGraphBuilderError

    path = str(tmp_path / "plain.fits")
    writeExposure(makeExposure(rng.normal(size=(20, 20)).astype(np.float32)), path)
    report = ingestExposures(butler, [path], InstrumentDefinition("MyCam"))
    assert report.failed and "date" in report.failed[0][1]
    with pytest.raises(QuantumGraphBuilderError, match="calexp|deepCoadd|datasets"):
        run(tmp_path / "repo", "difference", ["MyCam/calexp"], "u/none")


@pytest.fixture
def visitsOnTwoPatches(butler, makeCalexp, tmp_path):
    """Four visits of two detectors side by side, on the grid of a tract with a patch for each detector; exposures by key."""
    exposures, paths = {}, []
    for visit in (1, 2, 3, 4):
        for detector in (0, 1):
            made = makeCalexp(visit, detector, shape=(120, 110), crpix=(80.0 - 110 * detector, 45.0))
            made.photoCalib = PhotoCalib(2.0)
            exposures[visit, detector] = made
            paths.append(str(tmp_path / f"v{visit}d{detector}.fits"))
            writeExposure(made, paths[-1])
    assert not ingestExposures(butler, paths, InstrumentDefinition("MyCam", {0: "a", 1: "b"}, {"r.01": "r"})).failed
    first = exposures[1, 0]
    box = Box2I(first.bbox.min, Extent2I(220, 120))
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, first.wcs, box, (110, 120), 0)]))
    return exposures


def test_coadds_of_a_night_from_detectors_to_patches(butler, run, visitsOnTwoPatches, tmp_path):
    made, quanta = run(
        tmp_path / "repo", "coadd", ["MyCam/defaults"], "u/coadd", makeWarp__modelPsfFwhm=5.0,
        assembleCoadd__statistic="MEAN", assembleCoadd__doInterp=False,
    )  # fmt: skip
    assert len(quanta) == 8 + 2 + 2
    for patch in (0, 1):
        truth = np.mean([visitsOnTwoPatches[visit, patch].image.array for visit in (1, 2, 3, 4)], axis=0) * 2
        where = {"skymap": "plane", "tract": 0, "patch": patch, "band": "r"}
        simple = made.get("simpleCoadd", where)
        assert simple.metadata["BUNIT"] == "nJy" and simple.psf is not None
        inside = np.s_[6:-6, 6:-6]  # the resampling kernel's margin
        np.testing.assert_allclose(simple.image.array[inside], truth[inside], rtol=1e-4)
        # the coadd of a patch was made of its own detector
        assert set(simple.info.coaddInputs.ccds["id"]) == {visit * 1000 + patch for visit in (1, 2, 3, 4)}
        assert made.get("deepCoadd", where).bbox == simple.bbox
    warp = made.get("deepCoadd_psfMatchedWarp", instrument="MyCam", skymap="plane", tract=0, patch=0, visit=1)
    assert warp.psf.fwhm() == pytest.approx(5.0, rel=0.1)
    assert checkRepository(made, read=True).problems == []


def test_a_visit_beside_the_patch_is_no_work_and_one_without_calibration_is_refused(makeCalexp):
    from lsst.pipe.base import NoWorkFound

    from stillsky import MakeWarpTask
    from stillsky.errors import MismatchError

    exposure = makeCalexp(1, shape=(60, 60))
    task, far = MakeWarpTask(), Box2I(Point2I(5000, 5000), Extent2I(50, 50))
    with pytest.raises(MismatchError, match="calibration"):
        task.run([exposure], exposure.bbox, exposure.wcs, 1)
    exposure.photoCalib = PhotoCalib(1.0)
    with pytest.raises(NoWorkFound, match="visit 1"):
        task.run([exposure], far, exposure.wcs, 1)
    before = exposure.image.array.copy()
    made = task.run([exposure, exposure], exposure.bbox, exposure.wcs, 1)
    np.testing.assert_array_equal(exposure.image.array, before)
    assert task.metadata.getArray("goodPixels")[1] == 0  # the second has nothing to add to the first
    assert made.direct.info.coaddInputs.visits["id"].tolist() == [1]
