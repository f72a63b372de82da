"""Star finding on 4096 x 4096 pixels, beside photutils in the same run."""

import time

import numpy as np
import pytest

from stillsky.detection import findPeaks
from stillsky.measure import adaptiveMoments

SIZE, STARS, SIGMA, NOISE = 4096, 10000, 2.1, 10.0


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(4)
    image = rng.normal(0, NOISE, (SIZE, SIZE)).astype(np.float32)
    xs, ys = rng.uniform(20, SIZE - 20, (2, STARS))
    yy, xx = np.mgrid[-15:16, -15:16]
    for x, y, flux in zip(xs, ys, 10 ** rng.uniform(3.5, 5, STARS), strict=True):
        ix, iy = int(x + 0.5), int(y + 0.5)
        star = np.exp(-((xx - x + ix) ** 2 + (yy - y + iy) ** 2) / (2 * SIGMA**2)) * flux / (2 * np.pi * SIGMA**2)
        image[iy - 15 : iy + 16, ix - 15 : ix + 16] += star.astype(np.float32)
    return image, np.full_like(image, NOISE**2), np.zeros(image.shape, np.int32)


def findAndMeasure(image, variance, mask):
    peaks = findPeaks(image, variance, mask, 1, SIGMA, 5.0)
    return adaptiveMoments(image, variance, mask, peaks.x, peaks.y, SIGMA, badBits=1)


def test_findPeaksAndMomentsAgainstPhotutils(benchmark, field):
    """Bar: below 0.5 s on two idle 2.5 GHz cores."""
    moments = benchmark(findAndMeasure, *field)
    ours = benchmark.stats.stats.median
    detection = pytest.importorskip("photutils.detection")
    start = time.perf_counter()
    finder = detection.DAOStarFinder(threshold=5 * NOISE, fwhm=2.3548 * SIGMA)
    rival = finder(field[0])
    theirs = time.perf_counter() - start
    benchmark.extra_info.update(
        stars=len(moments), nanosecondsPerPixel=ours / SIZE**2 * 1e9, photutilsSeconds=theirs, photutilsStars=len(rival),
        ratio=theirs / ours,
    )  # fmt: skip
    print(
        f"\nstillsky {ours:.3f} s ({len(moments)} sources), photutils {theirs:.2f} s ({len(rival)}): {theirs / ours:.0f} x"
    )
