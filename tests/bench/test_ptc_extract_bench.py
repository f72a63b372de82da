"""Extraction of a 4072 x 4000 pair of flats with 16 amplifiers beside SciPy's transforms in the same run."""

import logging
import resource
import time

import numpy as np
import pytest
import scipy.fft

from stillsky.geom import Box2I
from stillsky.image import Exposure, MaskedImage
from stillsky.ptc import extractFlatPairs
from stillsky.ptc.config import PhotonTransferCurveExtractAlgorithmConfig

BOXES = {f"C{k // 8}{k % 8}": Box2I((509 * (k % 8), 2000 * (k // 8)), (509, 2000)) for k in range(16)}
BAR = 0.5  # seconds on two idle cores whose one-worker rfft2 of 2048^2 float32 takes 41 ms


@pytest.fixture(scope="module")
def flats():
    rng = np.random.default_rng(8)
    pair = []
    for _ in range(2):
        image = 30000 + 173 * rng.standard_normal((4000, 4072), dtype=np.float32)
        mask = (rng.random(image.shape, dtype=np.float32) < 0.01).astype(np.int32)
        pair.append(Exposure(MaskedImage(image, mask)))
    return pair


def obvious(flats, box):
    """What one would write with NumPy and SciPy for one amplifier: quantiles, clips, five transforms."""
    images = [f.image[box].array.astype(float) for f in flats]
    good = (flats[0].mask[box].array | flats[1].mask[box].array) == 0

    def clipped(values):
        low, center, high = np.percentile(values, (25, 50, 75))
        half = 5.5 * 0.7413 * (high - low)
        for _ in range(3):
            kept = values[np.abs(values - center) <= half]
            center, half = kept.mean(), 5.5 * kept.std()
        return center, half

    mu1, mu2 = (clipped(image[good])[0] for image in images)
    difference = (mu2 * images[0] - mu1 * images[1]) / (0.5 * (mu1 + mu2))
    center, half = clipped(difference[good])
    weight = (good & (np.abs(difference - center) <= half)).astype(float)
    shape = [scipy.fft.next_fast_len(n + 10, real=True) for n in weight.shape]
    transform, window = scipy.fft.rfft2(difference * weight, shape), scipy.fft.rfft2(weight, shape)
    return [
        scipy.fft.irfft2(a * b.conj(), shape)
        for a, b in ((transform, transform), (transform, window), (window, window))
    ]


def test_detectorPair(benchmark, flats, machine):
    logging.disable(logging.WARNING)  # flats without headers
    config = PhotonTransferCurveExtractAlgorithmConfig()
    config.maximumRangeCovariancesAstier = 9
    config.matchExposuresType = "EXPID"
    result = benchmark.pedantic(
        extractFlatPairs, (flats,), {"config": config, "amplifiers": BOXES, "ids": [0, 1]}, rounds=5, warmup_rounds=1
    )
    logging.disable(logging.NOTSET)
    assert sum(m.isGood for m in result.pairs[0].measurements.values()) == 16
    ours = benchmark.stats.stats.min
    start = time.perf_counter()
    obvious(flats, BOXES["C00"])
    rival = 16 * (time.perf_counter() - start)
    print(
        f"\nflat pair of 16 amplifiers, lags to 8: {ours:.3f} s, {ours / 16.3e-3:.1f} ns/pixel; NumPy and SciPy {rival:.1f} s,"
        f" ratio {rival / ours:.1f}; bar {BAR} s, scaled to this machine {BAR * machine:.2f} s; peak memory"
        f" {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    )
