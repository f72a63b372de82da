"""Covariances and clipped statistics of flats beside NumPy and SciPy in the same run."""

import time

import numpy as np
import pytest
import scipy.fft

import stillsky
from stillsky.ptc import clippedMoments, clipWeights, covariances, differenceOfFlats

MAX_LAG = 8


@pytest.fixture(scope="module")
def amplifier():
    rng = np.random.default_rng(2)
    return rng.normal(0, 100, (2000, 509)).astype(np.float32), rng.random((2000, 509)) >= 0.01


def best(function, *args, rounds=5, **kwargs):
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        function(*args, **kwargs)
        times.append(time.perf_counter() - start)
    return min(times)


def obviousFft(image, weight, maxLag):
    """What one would write with SciPy: five transforms in double at fast sizes."""
    shape = [scipy.fft.next_fast_len(n + maxLag + 1, real=True) for n in image.shape]
    t = scipy.fft.rfft2(np.where(weight, image.astype(float), 0.0), shape)
    m = scipy.fft.rfft2(weight.astype(float), shape)
    products, means, counts = (scipy.fft.irfft2(a * b.conj(), shape) for a, b in ((t, t), (t, m), (m, m)))
    dy, dx = np.mgrid[-maxLag : maxLag + 1, : maxLag + 1]
    n = np.rint(counts[dy, dx])
    signed = products[dy, dx] / n - means[dy, dx] * means[-dy, -dx] / n**2
    return 0.5 * (signed[maxLag:] + signed[maxLag::-1]).T


def test_onePairOfAmplifiers(benchmark, amplifier, machine):
    """Bars: 20 ms on one core, 8 times the SciPy way."""
    with stillsky.numThreads(1):
        found = benchmark.pedantic(covariances, (*amplifier, MAX_LAG), rounds=20, warmup_rounds=2)
        rival = best(obviousFft, *amplifier, MAX_LAG)
    assert np.allclose(found.cov, obviousFft(*amplifier, MAX_LAG), rtol=0, atol=1e-11 * found.cov[0, 0])
    ours = benchmark.stats.stats.min
    print(
        f"\none pair, range {MAX_LAG}, one thread: {1e3 * ours:.1f} ms (bar 20 ms, scaled {20 * machine:.0f} ms), "
        f"{1e9 * ours / amplifier[0].size:.1f} ns/pixel; SciPy transforms {1e3 * rival:.0f} ms, ratio {rival / ours:.1f}"
    )


@pytest.mark.parametrize("maxLag", [4, 16, 32])
def test_otherRanges(benchmark, amplifier, maxLag):
    with stillsky.numThreads(1):
        benchmark.pedantic(covariances, (*amplifier, maxLag), {"estimator": "direct"}, rounds=5, warmup_rounds=1)
        fft = best(covariances, *amplifier, maxLag, estimator="fft", rounds=2)
    print(f"\nrange {maxLag}: direct {1e3 * benchmark.stats.stats.min:.1f} ms, our transforms {1e3 * fft:.0f} ms")


def test_clippedMoments(benchmark, amplifier):
    image, weight = amplifier

    def obvious():
        good = image[weight].astype(float)
        q1, centre, q3 = np.percentile(good, [25, 50, 75])
        half = 5.5 * 0.7413 * (q3 - q1)
        for _ in range(3):
            kept = good[np.abs(good - centre) <= half]
            centre, half = kept.mean(), 5.5 * kept.std()

    with stillsky.numThreads(1):
        benchmark.pedantic(clippedMoments, (image, weight), rounds=20, warmup_rounds=2)
    ours, rival = benchmark.stats.stats.min, best(obvious)
    print(f"\nclipped moments, one thread: {1e9 * ours / image.size:.1f} ns/pixel, NumPy ratio {rival / ours:.1f}")


def test_detectorOfSixteenAmplifiers(benchmark, machine):
    """Bar: 0.5 s on two cores with clipped statistics of both flats and of their difference."""
    rng = np.random.default_rng(3)
    flats = [rng.normal(20000, 120, (4000, 4072)).astype(np.float32) for _ in range(2)]
    good = rng.random((4000, 4072)) >= 0.01

    def measure():
        for k in range(16):
            part = np.s_[2000 * (k // 8) : 2000 * (k // 8 + 1), 509 * (k % 8) : 509 * (k % 8 + 1)]
            a, b, usable = flats[0][part], flats[1][part], good[part]
            difference = differenceOfFlats(a, b, clippedMoments(a, usable).mean, clippedMoments(b, usable).mean)
            weight = clipWeights(difference, usable, clippedMoments(difference, usable))
            covariances(difference, weight, MAX_LAG)

    benchmark.pedantic(measure, rounds=3, warmup_rounds=1)
    print(f"\n16 amplifiers: {benchmark.stats.stats.min:.2f} s (bar 0.5 s, scaled {0.5 * machine:.2f} s)")
