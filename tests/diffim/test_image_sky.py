"""The sky of an image, taken off only where something is measured."""

import numpy as np
import pytest
from test_detect_measure import exposureOf, gaussians, plainConfig

from stillsky.diffim import image_sky
from stillsky.diffim.detect_measure import detectAndMeasure
from stillsky.diffim.image_sky import lessSky, overBands, pixelsLessSky, skyOf
from stillsky.geom import Box2I
from stillsky.measure import forcedPhotometry

SHAPE = 437, 450  # blocks of 2 x 2 pixels, with a remainder
BAND = 64
XY0 = -30, 1000


def scene(seed=5):
    """Science image and template with a sky that is curved, stars and changes, some of which overlap across bands."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    sky = 300 + 40 * x / SHAPE[1] + 30 * (y / SHAPE[0]) ** 2
    stars = gaussians(*rng.uniform(20, 415, (2, 30)), rng.uniform(500, 3000, 30), SHAPE)
    edges = np.arange(BAND, SHAPE[0] - 20, BAND) - 0.5
    cx, cy = np.tile(np.arange(60.0, 400, 110), len(edges)), np.repeat(edges, 4)
    cx = np.concatenate([cx, cx + rng.uniform(-3, 3, len(cx)), [9.0, 440.0]])
    cy = np.concatenate([cy - 4, cy + rng.uniform(3, 6, len(cy)), [200.0, 3.0]])
    change = gaussians(cx, cy, rng.uniform(300, 900, len(cx)), SHAPE)
    noise = rng.normal(0, 1, (2, *SHAPE))
    images = stars + change + sky + noise[0], stars + 0.5 * sky + 0.3 * noise[1], change + noise[0] - 0.3 * noise[1]
    return [exposureOf(v, s, XY0) for v, s in zip(images, (1.0, 0.3, 1.044), strict=True)]


@pytest.fixture(scope="module")
def images():
    return scene()


@pytest.mark.parametrize("shape", [SHAPE, (190, 190)])  # blocks of 2 x 2 pixels, and of one
def test_partOfAnImageLessItsSkyIsThatOfTheWhole(images, shape):
    science = images[0][Box2I(XY0, shape[::-1])].copy()
    sky, _ = skyOf(science)
    whole = lessSky(science, sky)
    for box in (Box2I((-25, 1017), (90, 33)), Box2I((-30, 1000), science.dimensions), Box2I((100, 1189), (1, 1))):
        part = lessSky(science, sky, box)
        assert part.bbox == box and part.psf is science.psf
        np.testing.assert_array_equal(part.image.array, whole[box].image.array)
    rows, columns = np.random.default_rng(1).integers(0, 190, (2, 3, 50))
    found = pixelsLessSky(science.image.array, sky, rows, columns)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, whole.image.array[rows, columns])
    assert lessSky(science, None) is science and lessSky(science, None, box).bbox == box
    np.testing.assert_array_equal(
        pixelsLessSky(science.image.array, None, rows, columns), science.image.array[rows, columns]
    )


def test_bandsMeasureWhatTheWholeImageWould(images, monkeypatch):
    """Forced fluxes, alone and of blends across the edges of bands, fluxes of stars and of the template: all columns."""
    stars = np.random.default_rng(5).uniform(20, 415, (2, 30)).T + XY0
    tables = []
    for rows in (10**6, BAND):
        monkeypatch.setattr(image_sky, "_BAND", rows)
        given = [image.copy() for image in images]
        keywords = {"config": plainConfig(doDeblend=True), "kernelSources": stars, "skyIsIn": True}
        tables.append(detectAndMeasure(*given, **keywords))
        for image, same in zip(images[:2], given, strict=False):
            np.testing.assert_array_equal(image.image.array, same.image.array)
    whole, bands = (result.sources for result in tables)
    assert tables[0].metadata["kernelUncertainty"] == pytest.approx(tables[1].metadata["kernelUncertainty"], rel=1e-10)
    assert len(whole) == len(bands) > 40 and np.count_nonzero(whole["detect_fromBlend"]) > 30
    y = np.asarray(whole["base_SdssCentroid_y"]) - XY0[1]
    assert len(np.unique(y // BAND)) == 7
    parts = [set((y[whole["detect_fromBlend"]] // BAND).astype(int))]
    assert parts[0] == set(range(7))
    for name in whole.colnames:
        if whole[name].dtype.kind == "f":
            np.testing.assert_allclose(whole[name], bands[name], rtol=1e-6 if whole[name].dtype.itemsize == 4 else 1e-9)
        else:
            np.testing.assert_array_equal(whole[name], bands[name])
    fluxes = whole["ip_diffim_forced_template_PsfFlux_instFlux"][~whole["sky_source"]]
    assert np.abs(np.median(fluxes)) < 20  # half a sky of 150 under a PSF of 50 pixels is 7500


def test_bandsOfPositionsThatAreNowhere(images, monkeypatch):
    """Positions off the image, on its edges, and unknown: as on the whole; and none at all."""
    monkeypatch.setattr(image_sky, "_BAND", BAND)
    science = images[0]
    sky, _ = skyOf(science)
    x = np.array([50.0, np.nan, 60.0, 70.0, -30.4, 100.0, 1e9, 110.0, np.inf])
    y = np.array([1000.2, 1100.0, np.nan, 1436.4, 1063.5, -1e12, 1200.0, 1e12, 1250.0])

    def measure(part, rows):
        return forcedPhotometry(part, x[rows], y[rows])

    whole = forcedPhotometry(lessSky(science, sky), x, y)
    bands = overBands(measure, science, sky, x, y, psf=science.psf)
    for name in whole.colnames:
        np.testing.assert_array_equal(whole[name], bands[name])
    assert np.count_nonzero(np.isfinite(whole["ip_diffim_forced_PsfFlux_instFlux"])) >= 3
    assert len(overBands(lambda part, rows: measure(part, rows[:0]), science, sky, x[:0], y[:0], psf=None)) == 0
