"""Sources that overlap, fitted together; the score of sources that moved."""

import numpy as np
import pytest

from stillsky.errors import ShapeError
from stillsky.image import makeExposure
from stillsky.measure import fitBlends, motionScore, psfFlux, withoutNeighbours
from stillsky.psf import GaussianPsf

SIGMA = 2.0
FWHM = 2.354820045 * SIGMA
PSF = GaussianPsf(29, 29, SIGMA)
UNIT = np.sqrt(4 * np.pi) * SIGMA  # flux error of an isolated source where the noise is 1


def pairs(separation, rng, n=10, sign=1.0, dtype=np.float32, variance=1.0):
    """n^2 pairs at a distance in FWHM, at random angles: (exposure, x, y, flux, group)."""
    gx, gy = (g.ravel() + rng.uniform(-0.5, 0.5, n * n) for g in np.meshgrid(*[np.arange(n) * 60.0 + 40] * 2))
    turn, half = rng.uniform(0, 2 * np.pi, n * n), 0.5 * separation * FWHM
    x = np.concatenate([gx + half * np.cos(turn), gx - half * np.cos(turn)])
    y = np.concatenate([gy + half * np.sin(turn), gy - half * np.sin(turn)])
    flux = np.concatenate([np.full(n * n, 40.0), sign * rng.uniform(25, 60, n * n)]) * UNIT
    size = 60 * n + 20
    image = rng.normal(0, 1, (size, size))
    py, px = np.mgrid[-20:21, -20:21]
    for a, b, f in zip(x, y, flux, strict=True):
        i, j = int(a), int(b)
        r2 = (px + i - a) ** 2 + (py + j - b) ** 2
        image[j - 20 : j + 21, i - 20 : i + 21] += f * np.exp(-r2 / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
    exposure = makeExposure(image.astype(dtype), variance=variance, psf=PSF, xy0=(7, -3))
    return exposure, x + 7, y - 3, flux, np.tile(np.arange(n * n), 2)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("separation", [1.0, 1.5, 2.0, 3.0])
def test_fluxesOfPairsAreUnbiasedAndTheirErrorsThoseOfTheNoise(separation, sign):
    rng = np.random.default_rng(500 + int(10 * separation) + sign)
    exposure, x, y, flux, group = pairs(separation, rng, sign=sign)
    found = fitBlends(exposure, *(v + rng.normal(0, 0.3, len(v)) for v in (x, y)), group)
    assert not found["flagBits"].any()
    pulls = (found["flux"] - flux) / found["fluxErr"]
    # 200 values: the standard deviation is known to 5 %, the mean to 7 %
    assert pulls.std() == pytest.approx(1, abs=0.1)
    assert abs(pulls.mean()) < 0.2
    places = np.concatenate([(found[c] - v) / found[c + "Err"] for c, v in (("x", x), ("y", y))])
    assert places.std() == pytest.approx(1, abs=0.1)
    alone = np.asarray(psfFlux(exposure, x, y)["base_PsfFlux_instFlux"])
    expected = np.exp(-((separation * FWHM) ** 2) / (4 * SIGMA**2))  # share of the neighbour's flux
    other = np.roll(flux, len(flux) // 2)
    assert np.mean((alone - flux) / other) == pytest.approx(expected, abs=0.02)


def test_aGroupOfOneIsThePsfFlux():
    rng = np.random.default_rng(5)
    exposure, x, y, flux, _ = pairs(6.0, rng, n=5)
    found = fitBlends(exposure, x, y, np.arange(len(x)), maxShift=0.0, radius=7.0)
    plain = psfFlux(exposure, x, y)
    np.testing.assert_allclose(found["flux"], plain["base_PsfFlux_instFlux"], rtol=2e-4)
    np.testing.assert_allclose(found["fluxErr"], plain["base_PsfFlux_instFluxErr"], rtol=2e-4)
    assert np.array_equal(found["x"], x) and np.isnan(found["xErr"]).all()


def test_fixedPositionsSolveTheLinearProblem():
    rng = np.random.default_rng(6)
    exposure, x, y, flux, group = pairs(1.0, rng, n=3)
    found = fitBlends(exposure, x, y, group, maxShift=0.0, radius=6.0)
    height, width = exposure.image.array.shape
    for g in range(3):
        own = np.flatnonzero(group == g)
        columns, inside = [], np.zeros((height, width), bool)
        py, px = np.mgrid[:height, :width]
        for k in own:
            r2 = (px + 7 - x[k]) ** 2 + (py - 3 - y[k]) ** 2
            inside |= r2 <= (6.0 * SIGMA) ** 2
            columns.append(np.exp(-r2 / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2))
        design = np.stack([c[inside] for c in columns], axis=1)
        wanted, *_ = np.linalg.lstsq(design, exposure.image.array[inside].astype(float), rcond=None)
        np.testing.assert_allclose(found["flux"][own], wanted, rtol=1e-3)
        inverse = np.linalg.inv(design.T @ design)
        assert found["fluxErr"][own] == pytest.approx(np.sqrt(np.diag(inverse)), rel=1e-3)
        assert found["fluxCov"][own[0]] == pytest.approx(inverse[0, 1], rel=1e-2) and found["fluxCov"][own[1]] == 0


def test_badPixelsAreLeftOutAndImpossibleFitsFail():
    rng = np.random.default_rng(7)
    exposure, x, y, flux, group = pairs(1.5, rng, n=3)
    exposure.image.array[int(y[0]) + 3, int(x[0]) - 7] = np.nan
    exposure.mask.array[int(y[0]) + 4, int(x[0]) - 7] |= 1 << exposure.mask.bit("SAT")
    exposure.image.array[int(y[0]) + 4, int(x[0]) - 7] = 1e6
    found = fitBlends(exposure, x, y, group)
    assert found["flux"][0] == pytest.approx(flux[0], abs=5 * found["fluxErr"][0])
    same = fitBlends(exposure, [50.0, 50.0], [20.0, 20.0], [0, 0])  # at one place: nothing tells them apart
    assert (same["flagBits"] & 1 != 0).all() and np.isnan(same["flux"]).all() and (same["x"] == 50).all()
    off = fitBlends(exposure, [-500.0, np.nan], [20.0, 20.0], [0, 1])
    assert (off["flagBits"] & 1 != 0).all()
    assert len(fitBlends(exposure, [], [], [])) == 0
    with pytest.raises(ShapeError, match="group"):
        fitBlends(exposure, x, y, group[:-1])


def test_theImageIsAsItWasAfterTheNeighboursWereOff():
    rng = np.random.default_rng(8)
    exposure, x, y, flux, group = pairs(1.2, rng, n=4)
    before = exposure.image.array.copy()
    found = fitBlends(exposure, x, y, group)
    first = np.arange(len(x)) < 16
    with pytest.raises(RuntimeError), withoutNeighbours(exposure, found, ~first):
        alone = psfFlux(exposure, found["x"][first], found["y"][first])["base_PsfFlux_instFlux"]
        np.testing.assert_allclose(alone, found["flux"][first], rtol=2e-3)
        raise RuntimeError
    assert np.array_equal(exposure.image.array, before)


def test_motionScoreOfNoiseHasTwoDegreesOfFreedom():
    rng = np.random.default_rng(9)
    noise = makeExposure(rng.normal(0, 2, (600, 600)).astype(np.float32), variance=4.0, psf=PSF)
    score = motionScore(noise, *(g.ravel() for g in np.meshgrid(*[np.arange(20, 590, 19.3)] * 2)))
    # 900 values of a chi squared with mean 2 and standard deviation 2
    assert score.mean() == pytest.approx(2, abs=3 * 2 / np.sqrt(len(score)))
    assert np.mean(score > 5.99) == pytest.approx(0.05, abs=0.022)


def test_motionScoreTellsMovedFromChanged():
    """Section 25: chi squared of the gradient of a star of flux F moved by d is F^2 d^2/(2 sigma^2) over the flux's variance."""
    py, px = np.mgrid[:81, :81] - 40.0
    flux, d = 200 * UNIT, 0.1

    def star(x, f):
        return f * np.exp(-((px - x) ** 2 + py**2) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)

    moved = makeExposure((star(d / 2, flux) - star(-d / 2, flux)).astype(np.float32), variance=1.0, psf=PSF)
    changed = makeExposure(star(0.0, 10 * UNIT).astype(np.float32), variance=1.0, psf=PSF)
    # sum (dP/dx)^2 = 1/(8 pi sigma^4); differences over two pixels take (sin k)/k off the gradient, 2 % here
    wanted = (flux * d) ** 2 / (8 * np.pi * SIGMA**4)
    assert motionScore(moved, [40.0], [40.0])[0] == pytest.approx(wanted, rel=0.02)
    assert motionScore(changed, [40.0], [40.0])[0] < 1e-6
    assert np.isnan(motionScore(moved, [-500.0, np.nan], [40.0, 40.0])).all()
