import numpy as np
import pytest

from stillsky import _core, errors
from stillsky.image import makeExposure
from stillsky.measure import circularApertureFlux, localBackground, measureSources, naiveCentroid, peakLikelihoodFlux
from stillsky.psf import GaussianPsf

SIGMA = 2.0
PREFIX = "base_CircularApertureFlux_12_0_"


def scene(image, variance=1.0, xy0=(0, 0), **components):
    plane = np.full(image.shape, variance, np.float32)
    return makeExposure(np.asarray(image), variance=plane, psf=GaussianPsf(25, 25, SIGMA), xy0=xy0, **components)


def test_check27_7_3_apertureOf12PixelsHoldsAllOfAStar(addStars):
    x, y = 40.3, 39.6
    image = addStars(np.zeros((81, 81)), x, y, 1.0, SIGMA, radius=40)
    table = circularApertureFlux(scene(image), [x, 40.0], [y, 40.0], [12.0])
    # 1 - exp(-12^2/(2 2^2)) = 1 - 1.5e-8; pixels are float32.
    assert table[PREFIX + "instFlux"][0] == pytest.approx(1 - 1.5e-8, abs=2e-7)
    assert not table[PREFIX + "flag"].any()


@pytest.mark.parametrize("radius", [0.3, 0.5, 1.0, 2.5, 12.0, 37.7])
def test_areaOfCirclesIsExact(rng, radius):
    """Design of 13.4: area error below 1e-6, for every radius and position."""
    exposure = scene(np.ones((101, 101)), variance=4.0)
    x, y = rng.uniform(45, 55, (2, 20))
    table = circularApertureFlux(exposure, x, y, [radius])
    name = [n for n in table.colnames if n.endswith("instFlux")][0]
    np.testing.assert_allclose(table[name], np.pi * radius**2, rtol=1e-6 / max(1, np.pi * radius**2))


def test_overlapOfCircleAndPixelAgreesWithFineGrid(rng):
    for _ in range(20):
        radius, cx, cy = rng.uniform(0.2, 3), *rng.uniform(-3, 3, 2)
        t = (np.arange(1000) + 0.5) / 1000 - 0.5
        wanted = np.mean((cx + t) ** 2 + (cy + t[:, None]) ** 2 <= radius**2)
        overlap = _core.circleRectangleOverlap(radius, cx - 0.5, cx + 0.5, cy - 0.5, cy + 0.5)
        assert overlap == pytest.approx(wanted, abs=1e-3)


def test_exactAndReferenceAperturesAgree(addStars):
    """Documented difference at most 0.5 % at 12 pixels."""
    xs, ys = np.array([30.0, 80.4, 30.3]), np.array([30.5, 30.2, 79.9])
    exposure = scene(addStars(np.zeros((110, 110)), xs, ys, np.full(3, 1e4), SIGMA))
    fluxes = [circularApertureFlux(exposure, xs, ys, model=m)[PREFIX + "instFlux"] for m in ("default", "reference")]
    np.testing.assert_allclose(*fluxes, rtol=0.005)


def test_apertureErrorsAreThoseOfTheNoise(rng):
    exposure = scene(rng.normal(0, 3, (600, 600)), variance=9.0)
    x, y = (g.ravel() + 0.37 for g in np.meshgrid(np.arange(15, 585, 25), np.arange(15, 585, 25)))
    table = circularApertureFlux(exposure, x, y)
    pull = table[PREFIX + "instFlux"] / table[PREFIX + "instFluxErr"]
    assert pull.std() == pytest.approx(1, abs=0.1)


def test_apertureThatLeavesTheImageHasNoFlux():
    table = circularApertureFlux(
        scene(np.ones((50, 60)), xy0=(100, 200)), [112.0, 110.0, np.nan], [225.0, 225.0, 220.0]
    )
    np.testing.assert_array_equal(table[PREFIX + "flag_apertureTruncated"], [False, True, True])
    np.testing.assert_array_equal(table[PREFIX + "flag"], [False, True, True])
    np.testing.assert_array_equal(np.isnan(table[PREFIX + "instFlux"]), [False, True, True])


def test_goldensD27_missingPixelsCountAsNothingAndAreFlagged():
    image = np.ones((50, 50))
    image[25, 25] = np.nan
    table = circularApertureFlux(scene(image), [25.0], [25.0], [5.0])
    assert table["base_CircularApertureFlux_5_0_flag_masked"][0]
    assert not table["base_CircularApertureFlux_5_0_flag"][0]
    assert table["base_CircularApertureFlux_5_0_instFlux"][0] == pytest.approx(25 * np.pi - 1)


def test_radiiMustBePositive():
    with pytest.raises(errors.DomainError, match="radii"):
        circularApertureFlux(scene(np.ones((9, 9))), [4], [4], [0.0])


def test_peakLikelihoodFluxOfAFilteredImageIsTheFlux(addStars):
    """26 G5: parent coordinates once. The filtered image of a star of flux F has F sum P^2 at its centre."""
    for xy0 in ((0, 0), (1000, 2000)):
        x, y = 30.3, 29.6
        filtered = addStars(np.zeros((60, 60)), x, y, 500.0, SIGMA * np.sqrt(2))
        exposure = scene(filtered, variance=0.5, xy0=xy0)
        table = peakLikelihoodFlux(exposure, [x + xy0[0], xy0[0] + 1.0], [y + xy0[1], xy0[1] + 30.0])
        assert table["base_PeakLikelihoodFlux_instFlux"][0] == pytest.approx(500, rel=0.003)
        np.testing.assert_array_equal(table["base_PeakLikelihoodFlux_flag"], [False, True])


def test_naiveCentroidIsTheFirstMoment():
    image = np.zeros((20, 20))
    image[9:12, 4:7] = [[0, 1, 0], [1, 4, 2], [0, 1, 1]]
    table = naiveCentroid(scene(image, xy0=(10, 0)), [15.0, 10.0, 12.0], [10.0, 5.0, 3.0])
    assert table["base_NaiveCentroid_x"][0] == pytest.approx(15 + 2 / 10)
    assert table["base_NaiveCentroid_y"][0] == pytest.approx(10 + 1 / 10)
    np.testing.assert_array_equal(table["base_NaiveCentroid_flag_edge"], [False, True, False])
    np.testing.assert_array_equal(table["base_NaiveCentroid_flag_noCounts"], [False, False, True])


def test_localBackgroundIsTheLevelInTheRing(rng, addStars):
    image = addStars(rng.normal(20, 2, (120, 120)), [60, 80], [60, 60], [5000, 30000], SIGMA)
    table = localBackground(scene(image, variance=4.0), [60.0, np.nan], [60.0, 3.0])
    value, error = (table[f"base_LocalBackground_{c}"][0] for c in ("instFlux", "instFluxErr"))
    assert abs(value - 20) < 5 * error < 0.5
    np.testing.assert_array_equal(table["base_LocalBackground_flag"], [False, True])


def test_furtherPluginsJoinTheTable(addStars):
    exposure = scene(addStars(np.zeros((100, 100)), [50.2], [49.7], [1e4], SIGMA))
    plugins = ["SdssCentroid", "CircularApertureFlux", "PeakLikelihoodFlux", "NaiveCentroid", "PeakCentroid",
               "LocalBackground", "LocalPhotoCalib", "LocalWcs", "ext_trailedSources_Naive"]  # fmt: skip
    table = measureSources(exposure, [(50.0, 50.0)], plugins, apertureRadii=(6.0, 12.0))
    assert table["base_CircularApertureFlux_12_0_instFlux"][0] == pytest.approx(1e4, rel=1e-5)
    # Pixels are taken as flat, which widens the star by 1/12 pixel^2.
    inside = 1 - np.exp(-(6.0**2) / (2 * (SIGMA**2 + 1 / 12)))
    assert table["base_CircularApertureFlux_6_0_instFlux"][0] == pytest.approx(1e4 * inside, rel=1e-4)
    assert table["base_LocalWcs_flag"][0]
    assert table["base_LocalPhotoCalib_flag"][0]
    assert table["base_PeakCentroid_x"][0] == 50
    # A point source has no trail.
    assert table["ext_trailedSources_Naive_flag"][0]
    assert table["ext_trailedSources_Naive_length"][0] == 0
