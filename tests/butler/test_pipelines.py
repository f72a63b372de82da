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
from lsst.daf.butler import DatasetType
from lsst.pipe.base import Pipeline
from lsst.pipe.base.simple_pipeline_executor import SimplePipelineExecutor

from stillsky import SkyMap, TractInfo
from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import checkRepository, ingestExposures, registerSkyMap
from stillsky.fits import writeExposure
from stillsky.image import makeExposure
from stillsky.meta import FilterLabel, VisitInfo


def run(repository, name, inputs, output, **options):
    """Run a shipped pipeline; the butler of its output."""
    butler = SimplePipelineExecutor.prep_butler(str(repository), inputs=inputs, output=output)
    pipeline = Pipeline.from_uri(str(files("stillsky") / "pipelines" / f"{name}.yaml"))
    for key, value in options.items():
        label, field = key.split("__")
        pipeline.addConfigOverride(label, field.replace("_", "."), value)
    executor = SimplePipelineExecutor.from_pipeline(pipeline, butler=butler)
    quanta = executor.run(register_dataset_types=True)
    return butler, quanta


def written(image, visit, folder):
    image.info.visitInfo = VisitInfo(id=visit, exposureTime=30.0, date=Time("2026-01-02T03:04:05") + visit * u.min)
    image.filter = FilterLabel("r", "r.01")
    path = str(folder / f"v{visit}.fits")
    writeExposure(image, path)
    return path


def test_difference_from_a_coadd_to_its_sources(butler, tmp_path):
    science, template = pair(size=384, step=64, noise=10.0)
    paths = [written(science, 1, tmp_path)]
    assert not ingestExposures(butler, paths, InstrumentDefinition("MyCam", {0: "a"}, {"r.01": "r"})).failed
    size = (template.bbox.width, template.bbox.height)
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, template.wcs, template.bbox, size, 0)]))
    kind = DatasetType(
        "deepCoadd", ("skymap", "tract", "patch", "band"), "StillskyExposure", universe=butler.dimensions
    )
    butler.registry.registerDatasetType(kind)
    butler.collections.register("coadds")
    butler.put(template, kind, skymap="plane", tract=0, patch=0, band="r", run="coadds")
    made, quanta = run(tmp_path / "repo", "difference", ["MyCam/defaults", "coadds"], "u/diff")
    assert len(quanta) == 3
    where = {"instrument": "MyCam", "visit": 1, "detector": 0}
    sources = made.get("deepDiff_diaSrc", where)
    assert sorted(found(sources)) == [0, 1, 2] and sources["id"].dtype == np.int64
    difference = made.get("deepDiff_differenceExp", where)
    assert difference.bbox == science.bbox and difference.psf is not None
    assert checkRepository(made, read=True).problems == []


def test_photon_transfer_from_flats_to_gains_and_a_certified_calibration(butler, tmp_path, rng):
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
            graph = Pipeline.from_uri(str(path)).to_graph()
            assert len(graph.tasks) >= 2, path.name


def test_exposures_without_visits_make_no_difference_graph(butler, tmp_path, rng):
    from lsst.pipe.base.quantum_graph_builder import QuantumGraphBuilderError

    path = str(tmp_path / "plain.fits")
    writeExposure(makeExposure(rng.normal(size=(20, 20)).astype(np.float32)), path)
    report = ingestExposures(butler, [path], InstrumentDefinition("MyCam"))
    assert report.failed and "date" in report.failed[0][1]
    with pytest.raises(QuantumGraphBuilderError, match="calexp|deepCoadd|datasets"):
        run(tmp_path / "repo", "difference", ["MyCam/calexp"], "u/none")
