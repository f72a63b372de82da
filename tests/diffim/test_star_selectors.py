"""Selectors of kernel stars: by size, by a reference catalogue."""

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from astropy.table import Table
from lsst.pex.config import FieldValidationError

from stillsky import DiaCatalogSourceSelectorTask, ObjectSizeStarSelectorTask
from stillsky.diffim.star_selector_task import sourceSelectorRegistry
from stillsky.errors import DomainError


def catalogue(rng, nStars=80, nGalaxies=120):
    """Stars of width 2 within 2 %, galaxies of 2.6 to 8; bright sources first."""
    width = np.concatenate([2.0 * (1 + 0.02 * rng.standard_normal(nStars)), rng.uniform(2.6, 8, nGalaxies)])
    n = len(width)
    return Table({
        "id": np.arange(n), "base_SdssShape_xx": width**2 * 1.1, "base_SdssShape_yy": width**2 * 0.9,
        "base_PsfFlux_instFlux": np.linspace(1e5, 1e4, n), "base_PsfFlux_instFluxErr": np.full(n, 50.0),
        "base_SdssCentroid_flag": np.zeros(n, bool), "base_PixelFlags_flag_edge": np.zeros(n, bool),
    })  # fmt: skip


def test_starsAreTheClusterOfSmallestWidth(rng):
    table = catalogue(rng)
    result = ObjectSizeStarSelectorTask().run(table)
    assert np.count_nonzero(result.selected[:80]) >= 70 and not np.any(result.selected[80:])
    assert np.array_equal(result.sourceCat["id"], table["id"][result.selected])


def test_flaggedFaintAndNanSourcesAreNoCandidates(rng):
    table = catalogue(rng)
    plain = ObjectSizeStarSelectorTask().run(table).selected
    table["base_PixelFlags_flag_edge"][0] = True
    table["base_SdssCentroid_flag"][1] = True  # by its slot's name in the configuration
    table["base_PsfFlux_instFluxErr"][2] = 1e5
    table["base_PsfFlux_instFlux"][3] = np.nan
    table["base_SdssShape_xx"][4] = np.nan
    selected = ObjectSizeStarSelectorTask().run(table, sourceSelectedField="use").selected
    assert not np.any(selected[:5]) and np.count_nonzero(plain[5:] != selected[5:]) <= 3
    assert np.array_equal(table["use"], selected)


def test_limitsOfFluxAndSignalToNoise(rng):
    config = ObjectSizeStarSelectorTask.ConfigClass()
    config.doFluxLimit, config.fluxMin, config.fluxMax = True, 7e4, 9e4
    table = catalogue(rng)
    selected = ObjectSizeStarSelectorTask(config=config).run(table).selected
    flux = table["base_PsfFlux_instFlux"][selected]
    assert selected.any() and flux.min() >= 7e4 and flux.max() <= 9e4
    config = ObjectSizeStarSelectorTask.ConfigClass()
    config.signalToNoiseMax = 1500.0
    selected = ObjectSizeStarSelectorTask(config=config).run(table).selected
    assert table["base_PsfFlux_instFlux"][selected].max() <= 1500 * 50


def test_nothingToChooseFromIsAnError(rng):
    task, table = ObjectSizeStarSelectorTask(), catalogue(rng)
    with pytest.raises(pipeBase.AlgorithmError, match="no sources") as error:
        task.run(table[:0])
    assert error.value.metadata == {"nSources": 0}
    table["base_PsfFlux_instFluxErr"][:] = 1e6
    with pytest.raises(pipeBase.AlgorithmError, match="no good source") as error:
        task.run(table)
    assert error.value.metadata["nBright"] == 0 and error.value.metadata["nSources"] == 200
    del table["base_SdssShape_xx"]
    with pytest.raises(DomainError, match="slot_Shape_xx"):
        task.run(table)


def test_widthsInTheWrongOrderAreRefused():
    config = ObjectSizeStarSelectorTask.ConfigClass()
    config.widthMin, config.widthMax = 5.0, 4.0
    with pytest.raises(FieldValidationError, match="widthMin"):
        config.validate()


def references():
    """star, galaxy, variable star, red star, blue star"""
    return [
        {"resolved": r, "photometric": p, "g_flux": 10 ** (-0.4 * colour), "r_flux": 1.0}
        for r, p, colour in ((False, True, 1.0), (True, True, 1.0), (False, False, 1.0), (False, True, 3.5), (False, True, -0.5))
    ]  # fmt: skip


@pytest.mark.parametrize(
    "settings, wanted",
    [({}, {0}), ({"selectGalaxy": True}, {0, 1}), ({"selectStar": False, "selectGalaxy": True}, {1}),
     ({"includeVariable": True}, {0, 2}), ({"grMin": 3.0, "grMax": 99.999}, {3}), ({"grMin": -99.999, "grMax": 0.0}, {4})],
)  # fmt: skip
def test_typesAndColoursOfTheReferenceDecide(rng, settings, wanted):
    config = DiaCatalogSourceSelectorTask.ConfigClass()
    config.update(**settings)
    table = catalogue(rng)[:5]
    selected = (
        DiaCatalogSourceSelectorTask(config=config).run(table, matches=list(zip(references(), range(5)))).selected
    )
    assert set(np.flatnonzero(selected)) == wanted


def test_sourcesAreFoundByTheirRowsNotByTheOrderOfMatches(rng):
    table = catalogue(rng)
    matches = [(references()[0], table[150], 0.1), (references()[1], table[7], 0.2), (references()[0], 3, 0.0)]
    selected = DiaCatalogSourceSelectorTask().run(table, matches=matches).selected
    assert set(np.flatnonzero(selected)) == {3, 150}


def test_flagsAndFluxesOfSourcesCount(rng):
    config = DiaCatalogSourceSelectorTask.ConfigClass()
    config.fluxLim, config.fluxMax = 9e4, 9.9e4
    table = catalogue(rng)
    table["base_PixelFlags_flag_edge"][10] = True
    matches = [(references()[0], row) for row in range(len(table))]
    flux = table["base_PsfFlux_instFlux"]
    wanted = (flux >= 9e4) & (flux <= 9.9e4) & (np.arange(len(table)) != 10)
    assert np.array_equal(DiaCatalogSourceSelectorTask(config=config).run(table, matches=matches).selected, wanted)


def test_withoutColoursAllAreAcceptedWithOneWarning(rng, caplog):
    bare = [{"resolved": False, "photometric": True} for _ in range(4)]
    with caplog.at_level("WARNING"):
        selected = DiaCatalogSourceSelectorTask().run(catalogue(rng), matches=list(zip(bare, range(4)))).selected
    assert np.count_nonzero(selected) == 4 and caplog.text.count("every colour") == 1


def test_matchesAreWantedAndMustBelongToTheCatalogue(rng):
    with pytest.raises(RuntimeError, match="matches"):
        DiaCatalogSourceSelectorTask().run(catalogue(rng))
    with pytest.raises(DomainError, match="row 900"):
        DiaCatalogSourceSelectorTask().run(catalogue(rng), matches=[(references()[0], 900)])


def test_theRegistryKnowsBoth():
    assert sourceSelectorRegistry["objectSize"] is ObjectSizeStarSelectorTask
    assert sourceSelectorRegistry["diaCatalog"] is DiaCatalogSourceSelectorTask
