"""Sources of a whole subtraction: found, measured, written."""

import numpy as np
import pytest

from stillsky.diffim import SubtractConfig, readFootprints, readSources, subtract
from stillsky.errors import DomainError
from stillsky.sim import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(size=600, seed=5, starDensity=900.0, fluxScale=0.8, nTransients=30)


@pytest.fixture(scope="module", params=["al", "zogy", "al-preconv"])
def result(pair, request):
    return subtract(
        pair.science.toExposure(psf=False), pair.template.toExposure(psf=False), method=request.param, keepWarped=True
    )


def _matches(table, x, y):
    """Index of the nearest row and its distance."""
    distance = np.hypot(table["base_SdssCentroid_x"][:, None] - x, table["base_SdssCentroid_y"][:, None] - y)
    return np.argmin(distance, axis=0), np.min(distance, axis=0)


def test_plantedTransientsAreFoundWithTheirFluxes(pair, result):
    """Truth against the table: every transient of S/N 8 and more, with its sign; pulls of fluxes and positions."""
    table, truth = result.sources, pair.transients
    x, y, flux = (truth[name] for name in ("x", "y", "flux"))
    rows, distance = _matches(table, x, y)
    wanted = (np.minimum(x, y) > 40) & (np.maximum(x, y) < 560) & (truth["snr"] > 8) & ~truth["masked"]
    assert np.count_nonzero(wanted) >= 12
    assert (distance[wanted] < 2.0).all()
    measured, error = (np.asarray(table[f"base_PsfFlux_{name}"])[rows] for name in ("instFlux", "instFluxErr"))
    assert (np.sign(measured) == np.sign(flux))[wanted].all()
    alone = wanted & (truth["host"] < 0)  # a host brings the error of the kernel
    pulls = ((measured - flux) / error)[alone]
    n = len(pulls)
    assert n >= 6 and abs(pulls.mean()) < 4 / np.sqrt(n) and pulls.std() < 1 + 4 / np.sqrt(2 * n)


def test_forcedFluxesStandOnTheSky(pair, result):
    """Both images have a sky of some hundred counts per pixel, which is no part of a flux."""
    table, truth = result.sources, pair.transients
    rows, distance = _matches(table, truth["x"], truth["y"])
    new = (truth["kind"] == "new") & (truth["host"] < 0) & (truth["snr"] > 8) & ~truth["masked"] & (distance < 2)
    assert np.count_nonzero(new) >= 3
    found = table[rows[new]]
    science, error = (np.asarray(found[f"ip_diffim_forced_PsfFlux_{name}"]) for name in ("instFlux", "instFluxErr"))
    template, templateError = (
        np.asarray(found[f"ip_diffim_forced_template_PsfFlux_{name}"]) for name in ("instFlux", "instFluxErr")
    )
    assert np.median(np.abs(science - truth["flux"][new]) / error) < 3
    assert np.median(np.abs(template) / templateError) < 3
    assert np.median(np.abs(found["candidate_templateFlux"]) / templateError) < 3
    # where the images are alike, their fluxes differ by that of the difference
    if result.metadata["psfMatchingAlgorithm"] != "zogy":
        good = ~table["candidate_flag"] & ~table["sky_source"]
        direct = table["ip_diffim_forced_PsfFlux_instFlux"] - table["ip_diffim_forced_template_PsfFlux_instFlux"]
        pulls = (direct - table["base_PsfFlux_instFlux"]) / table["base_PsfFlux_instFluxErr"]
        assert np.median(np.abs(pulls[good])) < 1


def test_countsDescribeTheTable(result):
    table, metadata = result.sources, result.metadata
    assert metadata["nDiaSources"] == len(table) - np.count_nonzero(table["sky_source"])
    assert metadata["nPositive"] + metadata["nNegative"] == metadata["nDiaSources"]
    assert metadata["nGoodDiaSources"] == np.count_nonzero(~table["candidate_flag"] & ~table["sky_source"])
    assert len(result.footprints) == len(table) and np.all(np.diff(table["id"]) > 0)
    assert any("candidates (" in sentence for sentence in result.decisions)
    assert f"{metadata['nDiaSources']} candidates" in result.summary()
    assert "sources" in result.timings


@pytest.mark.parametrize("suffix", [".ecsv", ".parquet", ".fits"])
def test_sourcesAreWrittenAndReadBack(result, suffix, tmp_path):
    result.write(tmp_path / "p", sources=suffix, picture=False, report=False, summary=False)
    back = readSources(tmp_path / f"p.sources{suffix}")
    assert back.colnames == result.sources.colnames and len(back) == len(result.sources)
    np.testing.assert_array_equal(back["base_PsfFlux_instFlux"], result.sources["base_PsfFlux_instFlux"])
    footprints, ids = readFootprints(tmp_path / "p.footprints.fits")
    np.testing.assert_array_equal(ids, result.sources["id"])
    assert [f.area for f in footprints] == [f.area for f in result.footprints]
    lines = (tmp_path / "p.sources.reg").read_text().splitlines()
    assert sum(line.startswith("circle(") for line in lines) == len(result.sources)


def test_anotherSuffixIsRefusedBeforeAnythingIsWritten(result, tmp_path):
    with pytest.raises(DomainError):
        result.write(tmp_path / "p", sources=".csv")
    assert list(tmp_path.iterdir()) == []


def test_thresholdAndDetectionAreConfigurable(pair):
    exposures = pair.science.toExposure(psf=False), pair.template.toExposure(psf=False)
    config = SubtractConfig()
    config.detect.detection.thresholdValue = 12.0
    high = subtract(*exposures, config=config)
    significance = np.asarray(high.sources["detectSignificance"])
    assert len(significance) and significance.min() >= 12.0
    config.doDetection = False
    none = subtract(*exposures, config=config)
    assert none.sources is None and "nDiaSources" not in none.metadata
