import numpy as np
import pytest

from stillsky import errors
from stillsky.image import makeExposure
from stillsky.measure import addForcedPhotometry, forcedPhotometry, psfFlux
from stillsky.measure.forced import FORCED, FORCED_TEMPLATE
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs

SIGMA = 2.0


def exposureOf(image, **components):
    plane = np.full(np.shape(image), 4.0, np.float32)
    return makeExposure(image, variance=plane, psf=GaussianPsf(41, 41, SIGMA), **components)


@pytest.fixture
def field(rng, addStars):
    x, y = rng.uniform(40, 260, (2, 12))
    fluxes = rng.uniform(100, 1000, 12)
    return x, y, fluxes


def test_check27_7_6_forcedFluxesAtExactPositions(rng):
    grid = [g.ravel() + rng.uniform(-0.5, 0.5, 16) for g in np.meshgrid(*[[40.0, 110.0, 180.0, 250.0]] * 2)]
    fluxes = rng.uniform(100, 1000, 16)
    exposure = exposureOf(np.zeros((300, 300)))
    image = exposure.image.array.astype(float)
    for x, y, flux in zip(*grid, fluxes, strict=True):
        star = exposure.psf.computeImage((x, y))
        image[star.bbox.slices((0, 0))] += flux * star.array
    exposure.image.array[:] = image
    table = forcedPhotometry(exposure, *grid)
    np.testing.assert_allclose(table[FORCED + "instFlux"], fluxes, rtol=1e-6)
    assert not table[FORCED + "flag"].any()
    assert table[FORCED + "instFlux"].unit == "count"


def test_check27_7_6_identityOfScienceTemplateAndDifference(field, rng, addStars):
    """Section 15: forced(science) - forced(matched template) is the PSF flux of the plain difference, to rounding."""
    x, y, fluxes = field
    science = exposureOf(addStars(rng.normal(100, 2, (300, 300)), x, y, fluxes, SIGMA))
    template = exposureOf(addStars(rng.normal(100, 2, (300, 300)), x, y, 0.5 * fluxes, SIGMA))
    difference = exposureOf(science.image.array - template.image.array)
    table = psfFlux(difference, x, y)
    addForcedPhotometry(table, science, template, x=x, y=y)
    both = table[FORCED + "instFlux"] - table[FORCED_TEMPLATE + "instFlux"]
    scale = np.abs(table[FORCED + "instFlux"]).max()
    np.testing.assert_allclose(both, table["base_PsfFlux_instFlux"], atol=1e-5 * scale, rtol=0)
    for prefix in (FORCED, FORCED_TEMPLATE):
        names = [n.removeprefix(prefix) for n in table.colnames if n.startswith(prefix)]
        assert names == ["instFlux", "instFluxErr", "area", "flag", "flag_noGoodPixels", "flag_edge"]


def test_templateIsMeasuredWithTheSciencePsf(field, addStars):
    x, y, fluxes = field
    image = addStars(np.zeros((300, 300)), x[:1], y[:1], fluxes[:1], SIGMA)
    template = makeExposure(image, variance=np.ones((300, 300), np.float32), psf=GaussianPsf(41, 41, 3.0))
    table = addForcedPhotometry(psfFlux(exposureOf(image), x[:1], y[:1]), exposureOf(image), template, x=x[:1], y=y[:1])
    assert table[FORCED_TEMPLATE + "instFlux"][0] == pytest.approx(fluxes[0], rel=1e-4)


def test_positionsOfAnotherWcsGoThroughTheSky(addStars):
    wcs = makeTanWcs((100.0, 100.0), (1.0, 0.2), makeCdMatrix(0.2 / 3600))
    other = makeTanWcs((90.0, 115.0), (1.0, 0.2), makeCdMatrix(0.25 / 3600, 0.5))
    exposure = exposureOf(addStars(np.zeros((200, 200)), [120.3], [80.7], [500.0], SIGMA), wcs=wcs)
    x, y = other.skyToPixel(*wcs.pixelToSky(np.array([120.3]), np.array([80.7])))
    table = forcedPhotometry(exposure, x, y, wcs=other)
    np.testing.assert_allclose(table.meta["positions"].ravel(), [120.3, 80.7], atol=1e-6)
    assert table[FORCED + "instFlux"][0] == pytest.approx(500, rel=1e-4)
    np.testing.assert_array_equal(forcedPhotometry(exposure, x, y, wcs=wcs).meta["positions"], [x, y])
    with pytest.raises(errors.StillskyError, match="WCS"):
        forcedPhotometry(exposureOf(np.zeros((9, 9))), x, y, wcs=other)


def test_flagsOfPositionsAreCarriedAlong():
    exposure = exposureOf(np.zeros((100, 100)))
    table = forcedPhotometry(exposure, [50.0, 50.0, np.nan, 5.0], [50.0] * 4, flag=[False, True, False, False])
    np.testing.assert_array_equal(table[FORCED + "flag"], [False, True, True, True])
    np.testing.assert_array_equal(table[FORCED + "flag_edge"], [False, False, False, True])
    with pytest.raises(errors.ShapeError, match="rows"):
        addForcedPhotometry(table, exposure, x=[1.0], y=[1.0])
