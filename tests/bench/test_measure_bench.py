"""Apertures, features and dipole fits of many sources, beside the obvious NumPy and SciPy way in the same run."""

import time

import numpy as np
import pytest
from scipy import optimize

from stillsky.detection import Footprint, FootprintSet, SpanSet, makePeaks
from stillsky.image import makeExposure
from stillsky.measure import circularApertureFlux, fitDipoles
from stillsky.psf import GaussianPsf

SIGMA, N = 2.0, 10


@pytest.fixture(scope="module")
def dipoles():
    rng = np.random.default_rng(5)
    size = N * 60 + 40
    x, y = (g.ravel() for g in np.meshgrid(*[np.arange(N) * 60.0 + 50] * 2))
    science, template = rng.normal(0, 2, (2, size, size))
    py, px = np.mgrid[:size, :size]
    for image, shift in ((science, 0.5), (template, -0.5)):
        for a, b in zip(x, y, strict=True):
            rows, cols = (slice(int(v) - 15, int(v) + 16) for v in (b, a))
            r2 = (px[rows, cols] - a - shift) ** 2 + (py[rows, cols] - b) ** 2
            image[rows, cols] += 3000 * np.exp(-r2 / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)

    def exposure(image, variance):
        return makeExposure(image, variance=np.full(image.shape, variance, np.float32), psf=GaussianPsf(25, 25, SIGMA))

    images = exposure(science - template, 8.0), exposure(science, 4.0), exposure(template, 4.0)
    footprints = FootprintSet(
        [
            Footprint(SpanSet.fromShape(10, offset=(int(a), int(b))), makePeaks([(a + 2, b, 50.0), (a - 2, b, -50.0)]))
            for a, b in zip(x, y, strict=True)
        ],
        images[0].bbox,
    )
    return images, footprints, x, y


def scipyDipole(images, x, y):
    """One dipole by least squares on 21x21 pixels of three images, analytic Gaussians, numerical derivatives."""
    ix, iy = int(x), int(y)
    boxes = [e.image.array[iy - 10 : iy + 11, ix - 10 : ix + 11].astype(float) for e in images]
    py, px = np.mgrid[-10:11, -10:11]

    def residual(p):
        lobes = [
            f * np.exp(-((px - a) ** 2 + (py - b) ** 2) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
            for a, b, f in (p[:3], p[3:])
        ]
        parts = (boxes[0] - lobes[0] + lobes[1], 0.5 * (boxes[1] - lobes[0]), 0.5 * (boxes[2] - lobes[1]))
        return np.concatenate([part.ravel() / s for part, s in zip(parts, (8**0.5, 2, 2), strict=True)])

    return optimize.least_squares(residual, [2, 0, 2000, -2, 0, 2000], x_scale=[1, 1, 1000] * 2).x


def test_dipoleFitsAgainstScipy(benchmark, dipoles):
    """Bar: 100 dipoles in 0.1 s."""
    images, footprints, x, y = dipoles
    table = benchmark(fitDipoles, images[0], footprints, *images[1:])
    ours = benchmark.stats.stats.min
    begin = time.perf_counter()
    theirs = [scipyDipole(images, a, b) for a, b in zip(x[:20], y[:20], strict=True)]
    perDipole = (time.perf_counter() - begin) / 20
    np.testing.assert_allclose(table["ip_diffim_DipoleFit_pos_x"][:20] - x[:20], np.array(theirs)[:, 0], atol=0.1)
    ratio = perDipole * len(table) / ours
    benchmark.extra_info.update(millisecondsPerDipole=ours / len(table) * 1e3, ratio=ratio)
    print(f"\nstillsky {ours / len(table) * 1e3:.2f} ms a dipole, SciPy {perDipole * 1e3:.1f} ms: {ratio:.0f} x")


def test_aperturesAgainstNumpy(benchmark, dipoles):
    images, _, x, y = dipoles
    table = benchmark(circularApertureFlux, images[1], x, y, [12.0])
    ours = benchmark.stats.stats.min
    image = images[1].image.array
    py, px = np.mgrid[:31, :31] - 15
    begin = time.perf_counter()
    for a, b in zip(x, y, strict=True):
        ix, iy = int(a), int(b)
        inside = (px - (a - ix)) ** 2 + (py - (b - iy)) ** 2 <= 144
        (image[iy - 15 : iy + 16, ix - 15 : ix + 16] * inside).sum()
    ratio = (time.perf_counter() - begin) / ours
    benchmark.extra_info.update(microsecondsPerSource=ours / len(table) * 1e6, ratio=ratio)
    print(f"\nstillsky {ours / len(table) * 1e6:.1f} us an aperture, {ratio:.1f} x as fast as pixel centres in NumPy")
