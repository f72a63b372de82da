"""The pipelines of coadds by colour and of differences from them, on a repository of simulated visits."""

import shutil

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from night import BAND, PATCH, SCIENCE, WHERE, fillRepository

from stillsky.butler.repository import checkRepository
from stillsky.butler.run_pipeline import runPipeline

SIZE = 260


@pytest.fixture(scope="module")
def made(emptyRepository, tmp_path_factory):
    """Folder of a repository with plain and DCR differences, and the night in it."""
    folder = tmp_path_factory.mktemp("dcr")
    shutil.copytree(emptyRepository, folder / "repo")
    night = fillRepository(folder, size=SIZE, numVisits=6, levels=[1e3], sensor=50, patch=SIZE)
    repo, parameters = folder / "repo", {"parameters:bandLimits": BAND}
    quanta = []
    for pipeline, inputs, output, which, config in (
        ("dcr", [], "u/dcr", "visit > 1000", parameters),
        ("difference-dcr", ["u/dcr"], "u/byColour", "visit = 1000", parameters),
        ("difference", ["u/dcr"], "u/plain", "visit = 1000", {}),
    ):
        where = f"{WHERE} AND {which}"
        with runPipeline(repo, pipeline, [*inputs, "SimCam/defaults"], output, where=where, config=config) as run:
            quanta.append(len(run.quanta))
    assert quanta == [6 + 1 + 1, 3, 3]
    return repo, night


@pytest.fixture
def butler(made):
    from lsst.daf.butler import Butler

    with Butler.from_config(str(made[0]), collections=["u/byColour", "u/plain"]) as opened:
        yield opened


def test_subfilters_add_up_to_the_coadd_and_have_the_colours(made, butler):
    coadds = [butler.get("dcrCoadd", {**PATCH, "subfilter": k}) for k in range(3)]
    assert [coadd.metadata["SUBFILT"] for coadd in coadds] == [0, 1, 2]
    whole = butler.get("deepCoadd", PATCH)
    sources = coadds[0].mask.isSet("DETECTED") & np.isfinite(whole.image.array)
    sources[:20], sources[-20:], sources[:, :20], sources[:, -20:] = False, False, False, False
    assert sources.sum() > 1000
    total = sum(coadd.image.array for coadd in coadds)
    assert np.sum(total[sources]) == pytest.approx(np.sum(whole.image.array[sources]), rel=0.01)
    # the colours of the stars are in the subfilters
    stars = made[1].field.stars
    red = np.array([np.sum([(coadds[2].image.array - coadds[0].image.array)[int(y) - 4 : int(y) + 6, int(x) - 4 : int(x) + 6]])
                    for x, y in zip(stars["x"], stars["y"], strict=True)])  # fmt: skip
    chosen = (stars["flux"] > 3000) & np.all([(stars[c] > 30) & (stars[c] < SIZE - 30) for c in "xy"], axis=0)
    assert np.corrcoef(red[chosen] / stars["flux"][chosen], stars["slope"][chosen])[0, 1] > 0.9


def test_the_template_of_the_airmass_leaves_less_of_the_stars(made, butler):
    stars = made[1].field.stars
    chosen = (stars["flux"] > 3000) & (np.abs(stars["slope"]) > 0.2)
    chosen &= np.all([(stars[c] > 30) & (stars[c] < SIZE - 30) for c in "xy"], axis=0)
    assert chosen.sum() >= 5

    def misfit(name):
        difference = butler.get(name, SCIENCE)
        chi = difference.image.array / np.sqrt(difference.variance.array)
        stamps = [chi[int(y) - 5 : int(y) + 6, int(x) - 5 : int(x) + 6]
                  for x, y in zip(stars["x"][chosen], stars["y"][chosen], strict=True)]  # fmt: skip
        return np.nanmean(np.square(stamps))

    # 1 is noise alone
    assert misfit("dcrDiff_differenceExp") - 1 < 0.4 * (misfit("deepDiff_differenceExp") - 1)


def test_transients_are_found_on_either_template(made, butler):
    truth, stars = made[1].field.transients, made[1].field.stars
    alone = np.min(np.hypot(truth["x"][:, None] - stars["x"], truth["y"][:, None] - stars["y"]), axis=1) > 8
    assert alone.sum() >= 2
    for name in ("dcrDiff_diaSrc", "deepDiff_diaSrc"):
        sources = butler.get(name, SCIENCE)
        x, y = (np.asarray(sources[f"base_SdssCentroid_{c}"]) for c in "xy")
        nearest = np.min(np.hypot(x[:, None] - truth["x"], y[:, None] - truth["y"]), axis=0)
        assert np.all(nearest[alone] < 2.0), name
        assert len(set(sources["id"])) == len(sources)


def test_the_repository_is_whole(butler):
    assert checkRepository(butler).problems == []


def test_a_band_without_edges_is_refused(made):
    with pytest.raises(ValueError, match="nm"):
        runPipeline(made[0], "dcr", ["SimCam/defaults"], "u/none", where=WHERE)
