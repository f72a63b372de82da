"""Stacks of 64 frames of 1024 x 1024 beside astropy's compiled sigma clipping, NumPy's nanmedian, and reading memory."""

import time

import numpy as np
import pytest

import stillsky
from stillsky.stats import StatisticsControl, stackStrips

N, SIZE = 64, 1024


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(64)
    image = rng.standard_normal((N, SIZE, SIZE), dtype=np.float32) * 5 + 100
    image[rng.random(image.shape, dtype=np.float32) < 0.01] += 200
    mask = (rng.random(image.shape, dtype=np.float32) < 0.01).astype(np.int32)
    variance = np.full_like(image, 25)
    return image, mask, variance


def stack(frames, name, errors=True, weights=None):
    image, mask, variance = frames
    out = np.empty((SIZE, SIZE), np.float32), np.empty((SIZE, SIZE), np.int32), np.empty((SIZE, SIZE), np.float32)
    control = StatisticsControl(3.0, 2, 1, calcErrorFromInputVariance=errors)
    stackStrips(
        list(image), list(mask), list(variance), weights, name, control,
        outImage=out[0], outMask=out[1], outVariance=out[2] if errors else None,
    )  # fmt: skip
    return out


def best(function, *args, rounds=3):
    times = []
    for _ in range(rounds):
        start = time.process_time()
        function(*args)
        times.append(time.process_time() - start)
    return min(times)


def cut(frames, rows):
    return [plane[:, :rows] for plane in frames]


def test_clippedMeanOfSixtyFourFrames(benchmark, frames, machine):
    """Bars on one core: 6.5 ns per pixel and frame with AVX-512, 13 with AVX2; a quarter of astropy, a twelfth of NumPy."""
    from astropy.stats import sigma_clipped_stats

    def astropyWay(rows):
        image, mask, _ = cut(frames, rows)
        return sigma_clipped_stats(image, mask=mask > 0, sigma=3, maxiters=2, axis=0)

    def numpyWay(rows):
        image, mask, _ = cut(frames, rows)
        return np.nanmedian(np.where(mask > 0, np.nan, image), axis=0)

    with stillsky.numThreads(1):
        benchmark.pedantic(stack, (frames, "MEANCLIP"), rounds=5, warmup_rounds=1)
        ours = best(stack, frames, "MEANCLIP") / (N * SIZE**2) * 1e9
        plain = best(stack, frames, "MEANCLIP", False) / (N * SIZE**2) * 1e9
        median = best(stack, frames, "MEDIAN") / (N * SIZE**2) * 1e9
    rows = 64
    astropy, numpy = (best(way, rows) / (N * SIZE * rows) * 1e9 for way in (astropyWay, numpyWay))
    print(
        f"\nMEANCLIP {ours:.2f} ns per pixel and frame with variances, {plain:.2f} without (bar {6.5 * machine:.1f}); "
        f"astropy {astropy:.0f} ({astropy / plain:.1f} x), nanmedian {numpy:.0f} ({numpy / plain:.1f} x); MEDIAN {median:.2f}"
    )


def test_meanOfSixtyFourFrames(benchmark, frames):
    """Bar: 60 % of the bandwidth with which one thread reads the same arrays from first to last, as STREAM does.

    Frames that begin at equal places of large pages compete for banks of memory and lines of the cache; in one array of 64
    they are exactly 4 MiB apart, which is the worst case. Beside it: frames with a row of 1104 pixels between them.
    """
    apart = []
    for plane in frames:
        buffer = np.empty((N, SIZE * SIZE + 1104), plane.dtype)
        buffer[:, : SIZE * SIZE] = plane.reshape(N, -1)
        apart.append(buffer[:, : SIZE * SIZE].reshape(N, SIZE, SIZE))
    weights = list(np.linspace(0.5, 2, N))
    with stillsky.numThreads(1):
        benchmark.pedantic(stack, (frames, "MEAN"), rounds=5, warmup_rounds=1)
        ours, weighted, ofApart = (
            best(stack, planes, "MEAN", True, w, rounds=7)
            for planes, w in ((frames, None), (frames, weights), (apart, None))
        )
    reading = best(lambda: [np.bitwise_or.reduce(plane.view(np.int32), axis=None) for plane in frames], rounds=7)
    bytesRead = sum(plane.nbytes for plane in frames)
    print(
        f"\nMEAN {ours / (N * SIZE**2) * 1e9:.2f} ns per pixel and frame, {bytesRead / ours * 1e-9:.1f} GB/s; reading"
        f" {bytesRead / reading * 1e-9:.1f} GB/s: {reading / ours:.0%} (bar 60 %); weighted {reading / weighted:.0%}, frames not"
        f" 4 MiB apart {reading / ofApart:.0%}"
    )
