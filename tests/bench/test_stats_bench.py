"""Statistics and backgrounds of 4096 x 4096 pixels beside NumPy and SciPy in the same run, and the GIL meanwhile."""

import threading
import time

import numpy as np
import pytest

import stillsky
from stillsky.background import makeBackground
from stillsky.stats import MEANCLIP, StatisticsControl, clippedStats, makeStatistics, robustSigma

SIZE = 4096


@pytest.fixture(scope="module")
def image():
    rng = np.random.default_rng(4)
    image = rng.normal(1000, 10, (SIZE, SIZE)).astype(np.float32)
    image[rng.random(image.shape) < 0.01] += 500
    return image


@pytest.fixture(scope="module")
def mask(image):
    return (np.random.default_rng(5).random(image.shape) < 0.01).astype(np.int32)


def timed(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def report(benchmark, name, rival):
    ours = benchmark.stats.stats.median
    perPixel = ours / SIZE**2 * 1e9
    print(f"\n{name}: {ours:.3f} s ({perPixel:.1f} ns/pixel), obvious way {rival:.2f} s, ratio {rival / ours:.1f}")


def obviousClippedStats(image, mask):
    good = image[mask == 0].astype(np.float64)
    q1, median, q3 = np.quantile(good, [0.25, 0.5, 0.75])
    centre, half = median, 3 * 0.741301109252802 * (q3 - q1)
    for _ in range(3):
        kept = good[np.abs(good - centre) <= half]
        centre, half = kept.mean(), 3 * kept.std(ddof=1)
    return median, centre, half / 3, len(kept)


def test_clippedStats(benchmark, image, mask):
    found = benchmark(clippedStats, image, mask, 1)
    wanted = obviousClippedStats(image, mask)
    assert found == pytest.approx(wanted, rel=1e-9)
    report(benchmark, "clippedStats", timed(obviousClippedStats, image, mask))


def test_robustSigma(benchmark, image):
    from scipy.stats import median_abs_deviation

    benchmark(robustSigma, image)
    report(benchmark, "robustSigma", timed(lambda: median_abs_deviation(image, axis=None, scale="normal")))


def test_makeStatisticsOfAMaskedImage(benchmark, image, mask):
    control = StatisticsControl(andMask=1)
    benchmark(lambda: makeStatistics(image, MEANCLIP, control, mask=mask))
    report(benchmark, "makeStatistics MEANCLIP", timed(obviousClippedStats, image, mask))


def test_backgroundOf128PixelCells(benchmark, image):
    """Bar: below 0.3 s."""

    def run():
        return makeBackground(image, nx=32, ny=32).imageArray()

    def obvious():
        from astropy.stats import sigma_clipped_stats
        from scipy.interpolate import RectBivariateSpline

        cells = image.reshape(32, 128, 32, 128).swapaxes(1, 2).reshape(32, 32, -1)
        values = sigma_clipped_stats(cells, axis=2)[0]
        centres = np.arange(32) * 128 + 63.5
        return RectBivariateSpline(centres, centres, values)(np.arange(SIZE), np.arange(SIZE))

    benchmark.pedantic(run, rounds=5, warmup_rounds=1)
    report(benchmark, "background", timed(obvious))


def test_twoPythonThreads(benchmark, image):
    """Bar: two threads with a kernel each take less than 1.4 x the time of one, on two free cores."""

    def two():
        threads = [threading.Thread(target=clippedStats, args=(image,)) for _ in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    with stillsky.numThreads(1):
        clippedStats(image)
        one = min(timed(clippedStats, image) for _ in range(3))
        benchmark.pedantic(two, rounds=5)
    print(f"\ntwo Python threads / one: {benchmark.stats.stats.median / one:.2f}")
