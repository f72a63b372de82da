import numpy as np
import pytest

import stillsky
from stillsky.detection import FootprintSet, Threshold
from stillsky.image import makeExposure
from stillsky.measure import measureSources, psfFlux, sdssCentroid
from stillsky.psf import GaussianPsf

SIGMA = 2.0


def exposureOf(image, variance):
    return makeExposure(image, variance=np.full(image.shape, variance, np.float32), psf=GaussianPsf(25, 25, SIGMA))


def test_dipoleAndForcedTasks(rng, addStars):
    science = addStars(rng.normal(0, 1, (100, 100)), [50.8], [50.0], [3000.0], SIGMA)
    template = addStars(rng.normal(0, 1, (100, 100)), [49.2], [50.0], [3000.0], SIGMA)
    images = exposureOf(science - template, 2.0), exposureOf(science, 1.0), exposureOf(template, 1.0)
    parts = [FootprintSet.detect(images[0], Threshold(5, "pixel_stdev", sign)) for sign in (True, False)]
    footprints = parts[0].merge(parts[1], 3, 3)
    task = stillsky.DipoleFitTask()
    table = task.run(footprints, *images).dipoles
    row = np.argmax(table["ip_diffim_DipoleFit_signalToNoise"])
    assert table["ip_diffim_DipoleFit_classification"][row]
    assert task.metadata["dipoleFitsTried"] >= 1
    assert table.colnames == task.getSchemaCatalogs()["dipoleFit"].colnames
    sources = measureSources(
        images[0], footprints, ["SdssCentroid", "DipoleFit"], science=images[1], template=images[2]
    )
    out = stillsky.ForcedMeasurementTask().run(sources, images[1], images[2]).sources
    assert out is sources
    # At the middle of the lobes, 0.8 pixels from the star: exp(-0.64/(4 sigma^2)).
    wanted = 3000 * np.exp(-0.64 / 16)
    for name in ("ip_diffim_forced_PsfFlux_instFlux", "ip_diffim_forced_template_PsfFlux_instFlux"):
        assert out[name][row] == pytest.approx(wanted, rel=0.02)


def test_pullsOfFluxesAndPositionsAreOne(rng, addStars):
    """Bar: within 5 % of 1, here on 1600 stars of S/N 15 to 60."""
    n = 40
    x, y = (g.ravel() + rng.uniform(-0.5, 0.5, n * n) for g in np.meshgrid(*[np.arange(n) * 32.0 + 24] * 2))
    fluxes = rng.uniform(15, 60, n * n) * np.sqrt(4 * np.pi) * SIGMA
    exposure = exposureOf(addStars(rng.normal(0, 1, (1300, 1300)), x, y, fluxes, SIGMA), 1.0)
    flux = psfFlux(exposure, x, y)
    pulls = {"flux": (flux["base_PsfFlux_instFlux"] - fluxes) / flux["base_PsfFlux_instFluxErr"]}
    start = (np.floor(v + 0.5) for v in (x, y))
    found = sdssCentroid(exposure, *start)
    good = ~found["base_SdssCentroid_flag"]
    assert good.mean() > 0.99
    for c, truth in (("x", x), ("y", y)):
        pulls[c] = ((found[f"base_SdssCentroid_{c}"] - truth) / found[f"base_SdssCentroid_{c}Err"])[good]
    for name, values in pulls.items():
        assert np.std(values) == pytest.approx(1, abs=0.05), name
        assert abs(np.mean(values)) < 0.1, name
