"""Simulated flats: the planted covariance is met (photon transfer 5.3, Eq. 20), levels, defects, determinism."""

import numpy as np
import pytest

from stillsky.errors import DomainError, OutOfBoundsError, ShapeError
from stillsky.sim import (
    AmplifierTruth,
    GaussianField,
    brighterFatterMatrix,
    flatLevels,
    simulateFlatPair,
    simulateFlatRamp,
)


def slowEq20(mu, a, b, noise, gain):
    """Eq. 20 of Astier et al. 2019 by convolution of the full symmetric arrays, written out."""
    r = len(a)

    def full(x, reach):
        out = np.zeros((2 * reach + 1, 2 * reach + 1))
        for i in range(-r + 1, r):
            for j in range(-r + 1, r):
                out[reach + i, reach + j] = x[abs(i), abs(j)]
        return out

    def convolved(x, y):
        out = np.zeros_like(x)
        n = len(x)
        c = n // 2
        for i in range(n):
            for j in range(n):
                for k in range(n):
                    for m in range(n):
                        p, q = i - k + c, j - m + c
                        if 0 <= p < n and 0 <= q < n:
                            out[i, j] += x[k, m] * y[p, q]
        return out

    reach = 2 * (r - 1)
    A, C = full(a, reach), full(a * b, reach)
    AA = convolved(A, A)
    m = mu * gain
    total = A * m + (2 / 3) * (AA + C) * m**2 + (convolved(AA, A) / 3 + (5 / 6) * convolved(A, C)) * m**3
    total[reach, reach] += 1
    return (m * total[reach : reach + r, reach : reach + r] + noise) / gain**2


def lagCovariance(image, dx, dy):
    """Mean over both quadrants of the plain lag covariance."""
    image = image.astype(float) - image.mean(dtype=float)
    h, w = image.shape
    first = np.mean(image[: h - dy, : w - dx] * image[dy:, dx:])
    second = np.mean(image[dy:, : w - dx] * image[: h - dy, dx:])
    return 0.5 * (first + second)


def test_gaussianFieldHasTheGivenCovariances(rng):
    """Every lag within 4.5 standard errors, zero beyond the given lags, both fields alike and independent."""
    wanted = np.array([[10.0, 1.5, 0.4], [0.8, 0.5, -0.2], [-0.3, 0.1, 0.05]])
    field = GaussianField((1021, 1000), wanted)
    first, second = field.pair(rng)
    assert first.dtype == np.float32 and first.shape == second.shape == (1021, 1000)
    error = 10.0 / 1000 * 1.4
    for image in (first, second):
        for dx in range(5):
            for dy in range(5):
                truth = wanted[dx, dy] if dx < 3 and dy < 3 else 0.0
                assert abs(lagCovariance(image, dx, dy) - truth) < 4.5 * error, (dx, dy)
    assert abs(np.mean(first.astype(float) * second)) < 4.5 * error
    for image in (first, second):  # both quadrants alike: a lag and its mirror
        h, w = image.shape
        assert abs(np.mean(image[:-1, :-1] * image[1:, 1:]) - np.mean(image[1:, :-1] * image[:-1, 1:])) < 6 * error


def test_impossibleCovariancesAreRefused():
    with pytest.raises(DomainError, match="no field has these covariances"):
        GaussianField((64, 64), [[1.0, 0.9], [0.9, 0.9]])
    with pytest.raises(ShapeError, match="square"):
        GaussianField((64, 64), np.ones((2, 3)))
    with pytest.raises(ShapeError, match="at least 9"):
        GaussianField((8, 64), np.eye(5))
    with pytest.raises(DomainError, match="finite"):
        GaussianField((8, 64), [[np.nan]])


def test_truthIsEquation20():
    a = brighterFatterMatrix(-2e-6, 4)
    b = np.full((4, 4), 1e-6)
    noise = 25.0 * np.eye(4)
    truth = AmplifierTruth("A", 1.7, 5.0, a, b, noise)
    for level in (50.0, 3e4, 1e5):
        np.testing.assert_allclose(truth.covariance(level), slowEq20(level / 1.7, a, b, noise, 1.7), rtol=1e-10)


def test_flatPairMeetsThePlantedCovariance():
    """Half the covariances of the difference of two flats are those of Eq. 20, at every lag, by the room's estimator."""
    from stillsky.ptc import covariances

    a = brighterFatterMatrix(-2e-6, 5)
    truth = AmplifierTruth("A", 1.5, 6.0, a, np.full((5, 5), 2e-6))
    n, total = 6, np.zeros((8, 8))
    shape = (700, 503)
    for seed in range(n):
        pair = simulateFlatPair(shape, 80000.0, truth=truth, seed=seed)
        assert pair.first.mean(dtype=float) == pytest.approx(80000 / 1.5, rel=1e-3)
        difference = pair.first.astype(float) - pair.second
        total += 0.5 * covariances(difference, np.ones(shape), 7, estimator="fft").cov / n
    planted = np.zeros((8, 8))
    planted[:5, :5] = pair.covariance
    np.testing.assert_allclose(pair.covariance, truth.covariance(80000.0))
    error = planted[0, 0] / np.sqrt(n * shape[0] * shape[1])
    assert abs(total[0, 0] - planted[0, 0]) < 4 * np.sqrt(2) * error
    assert np.abs(total - planted)[1:].max() < 4 * error and np.abs(total - planted)[0, 1:].max() < 4 * error
    assert total[0, 1] > 20 * error and total[1, 0] > 10 * error  # the test can tell them from zero
    assert planted[0, 0] < 0.9 * 80000 / 1.5**2


def test_poissonFlatsHavePoissonMoments():
    pair = simulateFlatPair((600, 500), 40.0, gain=2.0, readNoise=3.0, light="poisson", seed=4)
    electrons = pair.first.astype(float) * 2.0
    assert electrons.mean() == pytest.approx(40, abs=5 * 7 / 550)
    assert electrons.var() == pytest.approx(49, rel=5 * np.sqrt(2 / 3e5))
    third = np.mean((electrons - electrons.mean()) ** 3)
    assert third == pytest.approx(40, abs=5 * np.sqrt(15 * 49**3 / 3e5))  # zero for Gaussian light
    assert pair.covariance[0, 0] == pytest.approx(49 / 4)
    with pytest.raises(DomainError, match="neither a_ij"):
        simulateFlatPair(aMatrix=brighterFatterMatrix(), light="poisson")


def test_unequalIlluminationIsPlanted():
    pair = simulateFlatPair((400, 400), 10000.0, gain=2.0, fluxRatio=1.05, offset=100.0, seed=3)
    assert pair.levels == (5000.0, 5250.0)
    assert pair.first.mean(dtype=float) == pytest.approx(5100, abs=0.7) == pair.second.mean(dtype=float) - 250
    variances = [image.var(dtype=float) for image in (pair.first, pair.second)]
    assert variances[0] == pytest.approx(2506.25, rel=0.02) and variances[1] == pytest.approx(2631.25, rel=0.02)
    assert abs(np.corrcoef(pair.first.ravel(), pair.second.ravel())[0, 1]) < 0.013


def test_brighterFatterMatrixConservesCharge():
    a = brighterFatterMatrix(-2e-6, 8, anisotropy=3.0)
    signs = np.where(np.arange(8) > 0, 2, 1)
    assert a[0, 0] == -2e-6 and a.sum() < 0 and np.all(a.ravel()[1:] > 0)
    assert abs(np.sum(a * np.outer(signs, signs))) < 1e-18
    assert a[0, 1] / a[1, 0] == pytest.approx(3.0) and a[1, 0] > a[2, 0] > a[3, 0]


def test_levelsSpanTheRampInEqualRatios():
    levels = flatLevels()
    assert len(levels) == 20 and levels[0] == pytest.approx(50) and levels[-1] == pytest.approx(1e5)
    np.testing.assert_allclose(levels[1:] / levels[:-1], levels[1] / levels[0])
    with pytest.raises(DomainError):
        flatLevels(5, 10.0, 1.0)


@pytest.mark.parametrize(
    "bad",
    [{"gain": 0.0}, {"readNoise": -1.0}, {"aMatrix": np.ones((2, 3))}, {"aMatrix": np.eye(2), "bMatrix": np.eye(3)}],
)
def test_impossibleAmplifiersAreRefused(bad):
    with pytest.raises(DomainError):
        AmplifierTruth(**bad)


def test_rampGivesExposuresWithDetectorAndTimes():
    ramp = simulateFlatRamp([1000.0, 20000.0], 2, shape=(60, 50), amplifiers=6, seed=5)
    assert len(ramp) == 8 and len(list(ramp)) == 8 and len(set(ramp.ids)) == 8
    assert [ramp.level(i) for i in range(8)] == [1000.0] * 4 + [20000.0] * 4
    shot = ramp[5]
    assert shot.visitInfo.exposureTime == 20.0 and shot.metadata["CCOBFLUX"] == 20000.0 and shot.id == ramp.ids[5]
    assert shot.bbox == shot.detector.bbox and tuple(shot.dimensions) == (150, 120) and len(shot.detector) == 6
    assert shot.visitInfo.date > ramp[4].visitInfo.date
    for amp, truth in zip(shot.detector, ramp.amplifiers):
        assert amp.name == truth.name and amp.gain == truth.gain
        mean = shot.image[amp.bbox].array.mean(dtype=float)
        assert mean == pytest.approx(20000 / truth.gain, abs=5 * np.sqrt(20000 / 3000) / truth.gain)
    with pytest.raises(OutOfBoundsError, match="8 exposures"):
        ramp[8]


def test_pixelsDoNotDependOnTheOrderOfAsking():
    make = lambda: simulateFlatRamp([500.0, 900.0], shape=(40, 40), seed=8, fluxMismatch=0.01, cosmicRayRate=500)  # noqa: E731
    forwards, backwards = make(), make()
    images = [forwards[i].image.array.copy() for i in range(4)]
    for i in (3, 0, 2, 1):
        np.testing.assert_array_equal(backwards[i].image.array, images[i])
    assert all(not np.array_equal(images[i], images[j]) for i in range(4) for j in range(i))
    assert not np.array_equal(simulateFlatRamp([500.0, 900.0], shape=(40, 40), seed=9)[0].image.array, images[0])


def test_defectsAreThereAndFlagged():
    amps = [AmplifierTruth("A", 1.5, 5.0, fullWell=9000.0), AmplifierTruth("B", 1.5, 5.0)]
    clean = simulateFlatRamp([13500.0], shape=(300, 100), amplifiers=amps, seed=2)[0]
    ramp = simulateFlatRamp([13500.0], shape=(300, 100), amplifiers=amps, seed=2, badColumns=2, cosmicRayRate=200.0)
    shot = ramp[0]
    bad = shot.mask.array & shot.mask.bitmask(["BAD"]) != 0
    sat = shot.mask.array & shot.mask.bitmask(["SAT"]) != 0
    columns = [x + 100 * a for a in range(2) for x in ramp.badColumnsOf(a)]
    assert np.flatnonzero(bad.any(axis=0)).tolist() == sorted(columns) and bad[:, columns].all() and len(columns) == 4
    assert shot.image.array[:, columns].mean() < 0.5 * 9000
    left = shot.image.array[:, :100]
    assert left.max() == 9000.0 and np.array_equal(sat[:, :100], left >= 9000.0) and 0.3 < sat[:, :100].mean() < 0.6
    assert not sat[:, 100:].any()
    hits = (shot.image.array - clean.image.array)[:, 100:] > 100
    assert 5 < hits.sum() < 2000


def test_truthTableTellsWhatIsPlanted():
    ramp = simulateFlatRamp([100.0], amplifiers=3)
    table = ramp.truthTable()
    assert table["ampName"].tolist() == ["C00", "C01", "C02"] and table["gain"].unit == "electron/adu"
    assert table["a00"].tolist() == [-1.6e-6] * 3 and table["aMatrix"].shape == (3, 64)
    assert len(set(table["gain"])) == 3 and table.meta["levels"] == [100.0]


def test_impossibleRampsAreRefused():
    for bad in ({"levels": []}, {"levels": [-1.0]}, {"nPairs": 0}, {"amplifiers": 0}):
        with pytest.raises(DomainError):
            simulateFlatRamp(**bad)
    with pytest.raises(DomainError, match="different names"):
        simulateFlatRamp(amplifiers=[AmplifierTruth("A"), AmplifierTruth("A")])
