"""The simulated pair: reproducible, and as its truth says."""

import time
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from stillsky.errors import DomainError
from stillsky.sim import MoffatField, addGalaxies, addStars, saturate, simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(size=512, seed=3)


def test_same_seed_same_pixels(pair):
    again = simulatePair(size=512, seed=3)
    np.testing.assert_array_equal(pair.science.image, again.science.image)
    np.testing.assert_array_equal(pair.template.image, again.template.image)
    assert not np.array_equal(pair.science.image, simulatePair(size=512, seed=4).science.image)


def test_ingredients_have_their_own_random_streams(pair):
    other = simulatePair(size=512, seed=3, nTransients=10, templateFwhm=3.5)
    np.testing.assert_array_equal(pair.stars["flux"], other.stars["flux"])
    np.testing.assert_array_equal(pair.galaxies["x"], other.galaxies["x"])
    assert other.transients["x"].size == 10


def test_moffat_field_is_normalised_and_has_its_width():
    psf = MoffatField(1000, 800, 4.0, e1Terms=(0.1, 0.02, 0.0), e2Terms=(-0.05, 0.0, 0.01))
    r = np.arange(-300.0, 301.0)
    stamp = psf.profile(r[None, :], r[:, None], 500.0, 400.0)
    assert stamp.sum() == pytest.approx(1.0, abs=1e-4)  # the wings beyond 300 pixels hold (a/r)^5
    round_ = MoffatField(1000, 800, 4.0)
    peak = round_.profile(0.0, 0.0, 10.0, 10.0)
    assert round_.profile(2.0, 0.0, 10.0, 10.0) == pytest.approx(0.5 * peak, rel=1e-12)
    # the first moments are 0 and the major axis follows the sign of e1
    assert np.sum(stamp * r[None, :]) == pytest.approx(0.0, abs=1e-9)
    assert np.sum(stamp * r[None, :] ** 2) > 1.2 * np.sum(stamp * r[:, None] ** 2)


def test_noise_is_the_stated_variance():
    pair = simulatePair(size=512, seed=5, starDensity=0, galaxyDensity=0, nTransients=0, defects=False)
    for frame in (pair.science, pair.template):
        x, y = np.meshgrid(np.linspace(-1, 1, 512), np.linspace(-1, 1, 512))
        plane = np.stack([np.ones(x.size), x.ravel(), y.ravel()], axis=1)
        residual = frame.image.ravel() - plane @ np.linalg.lstsq(plane, frame.image.ravel(), rcond=None)[0]
        chi2 = np.mean(residual**2 / frame.variance.ravel())
        assert chi2 == pytest.approx(1.0, abs=5 * np.sqrt(2 / residual.size))


def test_planted_flux_comes_back_from_a_psf_fit(pair):
    """The pair without the transients differs from the pair with them by the stated fluxes, within the noise."""
    without = simulatePair(size=512, seed=3, nTransients=0)
    truth = pair.transients
    pulls = []
    for i in np.flatnonzero((truth["kind"] == "new") & ~truth["masked"]):
        x, y = truth["x"][i], truth["y"][i]
        ys, xs = slice(round(y) - 10, round(y) + 11), slice(round(x) - 10, round(x) + 11)
        dx, dy = np.arange(xs.start, xs.stop) - x, np.arange(ys.start, ys.stop) - y
        profile = pair.science.psf.profile(dx[None, :], dy[:, None], x, y)
        planted = (pair.science.image - without.science.image)[ys, xs]
        noise = np.sqrt(np.sum(profile**2 * pair.science.variance[ys, xs])) / np.sum(profile**2)
        pulls.append((np.sum(profile * planted) / np.sum(profile**2) - truth["flux"][i]) / noise)
    assert len(pulls) >= 3
    assert np.max(np.abs(pulls)) < 5.0


def test_faded_sources_are_negative_and_only_in_the_template():
    pair = simulatePair(size=512, seed=3, starDensity=0, galaxyDensity=0, defects=False, nTransients=40)
    truth = pair.transients
    assert np.all(truth["flux"][truth["kind"] == "faded"] < 0)
    assert np.all(truth["flux"][truth["kind"] == "new"] > 0)
    faded = (truth["kind"] == "faded") & (truth["snr"] > 20)
    assert np.any(faded)
    x, y = np.round(truth["x"][faded]).astype(int), np.round(truth["y"][faded]).astype(int)
    noise = np.sqrt(pair.template.variance[y, x])
    assert np.all(pair.template.image[y, x] - pair.template.sky > 2 * noise)


def test_wcs_of_both_frames_agree_on_the_sky():
    pair = simulatePair(size=256, seed=2, offset=(3.25, -1.5), rotation=0.7)
    truth = pair.transients
    science, template = (WCS(fits.Header(f.wcsCards)) for f in (pair.science, pair.template))
    a = np.array(science.all_pix2world(truth["x"], truth["y"], 0))
    b = np.array(template.all_pix2world(truth["xTemplate"], truth["yTemplate"], 0))
    np.testing.assert_allclose(a, b, atol=1e-10)
    assert np.max(np.abs(truth["x"] - truth["xTemplate"])) > 1.0


def test_saturation_clips_and_bleeds_along_columns():
    array = np.full((41, 9), 10.0)
    array[20, 4] = 1000.0
    mask = saturate(array, 100.0)
    assert array.max() == 100.0
    assert set(np.flatnonzero(mask.any(axis=0))) == {4}
    assert mask[:, 4].sum() == 1 + 2 * 5  # half the surplus of 900 fills 4.5 pixels of 100 each way


def test_masks_name_the_defects(pair):
    assert set(pair.science.masks) == {"SAT", "BAD", "CR"}
    assert pair.science.masks["BAD"].any() and pair.science.masks["CR"].any()
    assert np.all(pair.science.image[pair.science.masks["SAT"] & ~pair.science.masks["BAD"]] == pair.science.saturation)


def test_galaxy_flux_and_invariance_under_shift():
    psf = MoffatField(200, 200, 3.0)
    galaxy = {
        "x": [100.3],
        "y": [99.1],
        "flux": [500.0],
        "radius": [2.0],
        "index": [0.5],
        "axisRatio": [0.6],
        "angle": [0.4],
    }
    a, b = np.zeros((200, 200)), np.zeros((200, 200))
    addGalaxies(a, psf, galaxy)
    addGalaxies(b, psf, {**galaxy, "x": [107.3], "y": [95.1]})
    assert a.sum() == pytest.approx(500.0, rel=2e-3)
    np.testing.assert_allclose(np.roll(a, (-4, 7), (0, 1)), b, atol=1e-9)


def test_stars_outside_the_array_are_harmless():
    array = np.zeros((50, 60), dtype=np.float32)
    addStars(array, MoffatField(60, 50, 3.0), [-200.0, 61.0], [10.0, 25.0], [1e4, 1e4], 0.1)
    assert np.isfinite(array).all()
    assert 0 < array[25, 59] and array[:, 0].max() == 0


def test_truth_table_has_units_and_descriptions(pair):
    table = pair.truthTable()
    assert table["ra"].unit == "deg" and table["flux"].unit == "adu"
    assert all(table[c].description for c in table.colnames)
    assert table.meta["seed"] == 3
    assert np.all(table["snr"] > 3.0)


def test_exposures_know_when_they_were_taken(pair):
    """A year lies between them: light curves of simulated pairs have dates."""
    science, template = (f.toExposure(psf=False).visitInfo for f in (pair.science, pair.template))
    assert science.exposureTime == pair.science.cards["EXPTIME"] and science.date.utc.isot.startswith(
        "2026-03-01T02:00:15.000"
    )
    assert (science.date - template.date).to_value("day") == pytest.approx(365.0)


@pytest.mark.parametrize(
    "bad", [{"size": 10}, {"scienceFwhm": 0.5}, {"fluxScale": 0.0}, {"templateDepth": float("nan")}]
)
def test_bad_arguments_are_named(bad):
    with pytest.raises(DomainError, match=next(iter(bad))):
        simulatePair(**bad)


def test_memory_of_a_pair_is_a_few_planes():
    tracemalloc.start()
    start = time.process_time()
    simulatePair(size=512, seed=1)
    seconds = time.process_time() - start
    peak = tracemalloc.get_traced_memory()[1] / (512 * 512 * 4)
    tracemalloc.stop()
    print(f"{peak:.1f} float32 planes, {seconds:.2f} s traced")
    assert peak < 20


def test_pairsShowThemselvesBriefly():
    pair = simulatePair(size=64, seed=1)
    assert repr(pair).startswith("<SimulatedPair 64x64: ") and len(repr(pair)) < 100
    assert len(repr(pair.science)) < 120
