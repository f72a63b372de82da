"""Cuts on the sources of a science image."""

import numpy as np
import pytest
from alard_lupton_scenes import makeSources, makeStars
from astropy.table import Table

from stillsky.diffim.alard_lupton_config import configureSelector
from stillsky.diffim.alard_lupton_sources import isolatedSources, kernelSourceArea
from stillsky.diffim.science_selector import selectScienceSources
from stillsky.diffim.science_selector_config import ScienceSourceSelectorConfig
from stillsky.diffim.science_selector_task import ScienceSourceSelectorTask
from stillsky.diffim.star_selector_task import sourceSelectorRegistry
from stillsky.errors import NotFoundError
from stillsky.geom import Box2I


def configOf(isolated=True):
    config = ScienceSourceSelectorConfig()
    configureSelector(config, isolated)
    return config


@pytest.fixture
def sources():
    table = makeSources(makeStars(8))
    table["base_PsfFlux_instFluxErr"] = table["base_PsfFlux_instFlux"] / 100
    return table


@pytest.mark.parametrize(
    "column, value, cut",
    [
        ("sky_source", True, "doSkySources"),
        ("base_ClassificationSizeExtendedness_value", 0.1, "doUnresolved"),
        ("base_ClassificationSizeExtendedness_value", np.nan, "doUnresolved"),
        ("base_PsfFlux_flag", True, "doSignalToNoise"),
        ("base_PsfFlux_instFlux", np.nan, "doSignalToNoise"),
        ("base_PsfFlux_instFluxErr", 0.0, "doSignalToNoise"),
        ("parent", 5, "doIsolated"),
        ("deblend_nChild", 2, "doIsolated"),
        ("detect_isPrimary", False, "doRequirePrimary"),
    ],
)
def test_everyCutMustHold(sources, column, value, cut):
    assert selectScienceSources(sources, configOf()).selected.all()
    sources[column][3] = value
    found = selectScienceSources(sources, configOf())
    assert list(np.flatnonzero(~found.selected)) == [3]
    assert found.counts[cut] == 7 and min(found.counts.values()) == 7
    loose = configOf()
    setattr(loose, cut, False)
    assert selectScienceSources(sources, loose).selected.all()


def test_limitsOfSignalToNoiseAreExclusive(sources):
    sources["base_PsfFlux_instFlux"] = [10.0, 500.0, 10.001, 499.99, 9.99, 500.01, 50.0, -50.0]
    sources["base_PsfFlux_instFluxErr"] = 1.0
    selected = selectScienceSources(sources, configOf()).selected
    assert list(np.flatnonzero(selected)) == [2, 3, 6]


def test_fallbackDoesNotAskForBlends(sources):
    sources["parent"][3], sources["detect_isPrimary"][4] = 5, False
    assert selectScienceSources(sources, configOf(False)).selected.all()


def test_missingColumns(sources):
    for name in ("parent", "deblend_nChild", "detect_isPrimary", "sky_source"):
        sources.remove_column(name)
    found = selectScienceSources(sources, configOf())
    assert found.selected.all() and found.skipped == ["doSkySources", "doIsolated", "doRequirePrimary"]
    sources.remove_column("base_PsfFlux_instFluxErr")
    with pytest.raises(NotFoundError, match="base_PsfFlux_instFluxErr"):
        selectScienceSources(sources, configOf())


def test_fluxLimitsAndFlags(sources):
    config = ScienceSourceSelectorConfig()
    assert selectScienceSources(sources, config).selected.all()
    config.doFluxLimit = config.doFlags = True
    config.fluxLimit.fluxField = "base_PsfFlux_instFlux"
    config.fluxLimit.minimum = float(np.median(sources["base_PsfFlux_instFlux"]))
    config.flags.good, config.flags.bad = ["detect_isPrimary"], ["sky_source", "no_such_flag"]
    brightest = int(np.argmax(sources["base_PsfFlux_instFlux"]))
    sources["sky_source"][brightest] = True
    selected = selectScienceSources(sources, config).selected
    assert selected.sum() == 3 and not selected[brightest]


def test_taskAndRegistry(sources):
    task = ScienceSourceSelectorTask(config=configOf())
    sources["parent"][0] = 1
    found = task.run(sources, sourceSelectedField="calib_used")
    assert len(found.sourceCat) == 7 and list(sources["calib_used"]) == [False] + [True] * 7
    assert sourceSelectorRegistry["science"] is ScienceSourceSelectorTask


def test_isolationIsReadFromPositions():
    rng = np.random.default_rng(1)
    grid = np.array([(x, y) for x in range(0, 600, 100) for y in range(0, 600, 100)], float)
    positions = np.concatenate([grid, grid[:3] + rng.uniform(5, 10, (3, 2))])
    table = Table({"x": positions[:, 0], "y": positions[:, 1]})
    table["x"][10] = np.nan
    selected = np.ones(len(table), bool)
    found = isolatedSources(table, selected, 21)
    assert not found[:3].any() and not found[-3:].any() and found[3:10].all() and found.sum() == len(grid) - 3
    # few stars are not made fewer
    assert isolatedSources(table[:4], selected[:4], 60).all()


def test_areaShrinksByAKernelForFilterAndRim():
    box = Box2I((10, 10), (200, 100))
    assert kernelSourceArea(box, 21, False, False) == box
    assert kernelSourceArea(box, 21, True, False) == box.eroded(21)
    assert kernelSourceArea(box, 21, True, True) == box.eroded(42)
    assert kernelSourceArea(box, 31, True, True).isEmpty
