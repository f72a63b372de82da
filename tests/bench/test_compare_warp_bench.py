"""The search for artifacts on warps of 4096 x 4096 pixels, beside a difference and a labelling with SciPy in the same run."""

import resource
import time

import numpy as np
import pytest
from scipy import ndimage

from stillsky.coadd import CompareArtifactsConfig, findArtifacts
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf

SIZE, STARS = 4096, 20000


@pytest.fixture(scope="module")
def scene():
    """Static sky and three warps, one of them with a trail, one with a thousand cosmic rays."""
    rng = np.random.default_rng(2)
    sky = np.zeros((SIZE, SIZE), np.float32)
    yy, xx = np.mgrid[-9:10, -9:10]
    star = np.exp(-(xx**2 + yy**2) / 8).astype(np.float32)
    for x, y in rng.integers(10, SIZE - 10, (STARS, 2)):
        sky[y - 9 : y + 10, x - 9 : x + 10] += star * np.float32(5 * (1 + rng.pareto(1.0)))
    warps = [sky + rng.standard_normal((SIZE, SIZE), np.float32) for _ in range(3)]
    y, x = np.ogrid[:SIZE, :SIZE]
    warps[1] += (30 * np.exp(-((0.6 * x - 0.8 * y + 700) ** 2) / 8)).astype(np.float32)
    for x, y in rng.integers(5, SIZE - 5, (1000, 2)):
        warps[2][y : y + 3, x : x + 3] += 100
    psf = GaussianPsf(25, 25, 2.0)
    return makeExposure(sky, variance=0.1, psf=psf), [makeExposure(w, variance=1.0, psf=psf) for w in warps]


def labelled(template, warp):
    """What one would write first: difference, threshold, labels, sizes."""
    difference = warp.image.array - template.image.array
    outliers = np.abs(difference) > 5 * np.sqrt(warp.variance.array + template.variance.array)
    labels, n = ndimage.label(outliers, np.ones((3, 3)))
    return ndimage.sum_labels(outliers, labels, np.arange(1, n + 1))


@pytest.mark.parametrize("streaks", [False, True])
def test_findArtifacts(benchmark, scene, machine, streaks):
    """Bar: two seconds a warp."""
    template, warps = scene
    config = CompareArtifactsConfig()
    config.doFilterMorphological = streaks
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = benchmark.pedantic(findArtifacts, (template, warps, config), {"weights": [1.0] * 3}, rounds=3)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    ours = benchmark.stats.stats.min / len(warps)
    start = time.perf_counter()
    labelled(template, warps[1])
    theirs = time.perf_counter() - start
    counts = [(v.found, v.masked, v.streaks) for v in found.visits]
    benchmark.extra_info.update(secondsPerWarp=ours, scaled=ours / machine, scipySeconds=theirs, megabytes=grown)
    print(
        f"\nfindArtifacts {ours:.2f} s a warp ({ours / machine:.2f} s scaled), {grown:.0f} MB more at most; "
        f"difference and labels with SciPy alone {theirs:.2f} s; found, masked, streaks {counts}"
    )
