"""Exact convolution of a 4096 x 4096 masked image beside SciPy's transforms and direct sums in the same run."""

import resource
import time

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from stillsky.kernel import (
    AnalyticKernel,
    Chebyshev1Function2,
    ConvolutionControl,
    DeltaFunctionKernel,
    GaussianFunction2,
    LinearCombinationKernel,
    convolveArrays,
)
from stillsky.psfmatch import makeAlardLuptonBasisList

SIZE = 4096
PLAIN = ConvolutionControl(doNormalize=False)
BAR = 1.2  # seconds on two idle cores whose one-worker rfft2 of 2048^2 float32 takes 41 ms


@pytest.fixture(scope="module")
def planes():
    rng = np.random.default_rng(8)
    image = rng.normal(1000, 10, (SIZE, SIZE)).astype(np.float32)
    mask = (rng.random(image.shape) < 0.001).astype(np.int32)
    variance = np.full(image.shape, 100, np.float32)
    return image, mask, variance


def alKernel(size, order):
    rng = np.random.default_rng(2)
    bases = makeAlardLuptonBasisList(size // 2, 3, [0.7, 1.5, 3.0], [4, 2, 2])
    kernel = LinearCombinationKernel(bases, Chebyshev1Function2(order, (-0.5, -0.5, SIZE - 0.5, SIZE - 0.5)))
    parameters = rng.normal(0, 0.02, (27, kernel.nSpatialParameters))
    parameters[0] = [1.0] + [0.0] * (kernel.nSpatialParameters - 1)
    kernel.spatialParameters = parameters.tolist()
    return kernel


def timed(function, *args, **kwargs):
    start = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - start


def report(benchmark, name, rival=None, rivalName="", machine=None):
    ours = benchmark.stats.stats.min
    line = f"\n{name}: {ours:.3f} s, {ours / SIZE**2 * 1e9:.1f} ns/pixel"
    if rival is not None:
        line += f"; {rivalName} {rival:.2f} s, ratio {rival / ours:.1f}"
    if machine is not None:
        line += f"; bar {BAR} s, scaled to this machine {BAR * machine:.2f} s"
    line += f"; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB"
    print(line)


def obviousVaryingFft(image, variance, mask, kernel):
    """What one would write with SciPy: one transform per refactored term, variance with the squared terms, ndimage
    for the mask. Whole images."""
    short = kernel.refactor()
    terms = short.basisArray()
    y, x = np.mgrid[:SIZE, :SIZE].astype(np.float32)
    design = [np.asarray(f(x[:1], y[:, :1] * 0 + y[:, :1]), np.float32) for f in short.spatialFunctions]
    out = sum(
        p * scipy.signal.oaconvolve(image, t[::-1, ::-1].astype(np.float32), "same")
        for p, t in zip(design, terms, strict=True)
    )
    total = 0
    for i in range(len(terms)):
        for j in range(i, len(terms)):
            product = (terms[i] * terms[j])[::-1, ::-1].astype(np.float32) * (1 if i == j else 2)
            total = total + design[i] * design[j] * scipy.signal.oaconvolve(variance, product, "same")
    spread = scipy.ndimage.maximum_filter(mask, terms.shape[1])
    return out, total, spread


@pytest.mark.parametrize("order", [0, 1, 2])
def test_varyingKernel(benchmark, planes, machine, order):
    kernel = alKernel(21, order)
    out = tuple(np.empty_like(p) for p in planes)
    benchmark.pedantic(convolveArrays, (*planes, kernel, PLAIN), {"out": out}, rounds=5, warmup_rounds=1)
    rival = timed(obviousVaryingFft, planes[0], planes[2], planes[1], kernel) if order == 1 else None
    report(
        benchmark, f"masked image, K = 21, order {order}", rival, "SciPy overlap-add", machine if order == 1 else None
    )


@pytest.mark.parametrize("size", [27, 35, 47])
def test_largeVaryingKernel(benchmark, planes, size):
    """Tiles of transforms beside direct sums, on both sides of the crossing."""
    kernel = alKernel(size, 1)
    out = tuple(np.empty_like(p) for p in planes)
    benchmark.pedantic(convolveArrays, (*planes, kernel, PLAIN), {"out": out, "method": "fft"}, rounds=2)
    direct = timed(convolveArrays, *planes, kernel, PLAIN, out=out, method="direct")
    report(benchmark, f"masked image, K = {size}, order 1, transforms", direct, "direct")


def test_imageAlone(benchmark, planes):
    kernel = AnalyticKernel(21, 21, GaussianFunction2(2.0, 3.0, 0.5))
    out = (np.empty_like(planes[0]), None, None)
    benchmark.pedantic(convolveArrays, (planes[0], None, None, kernel, PLAIN), {"out": out}, rounds=5)
    part = planes[0][:1024]
    rival = 4 * timed(scipy.ndimage.correlate, part, kernel.imageAt().astype(np.float32), mode="constant")
    report(benchmark, "image alone, constant K = 21", rival, "scipy.ndimage.correlate")


def test_shift(benchmark, planes):
    out = tuple(np.empty_like(p) for p in planes)
    benchmark.pedantic(convolveArrays, (*planes, DeltaFunctionKernel(5, 5, (4, 1)), PLAIN), {"out": out}, rounds=5)
    report(benchmark, "delta kernel")


def test_narrowKernel(benchmark, planes):
    """Taps of a narrow Gaussian are subnormal far out: it should cost at most 1.5 times a wide one of equal size."""
    narrow, wide = (AnalyticKernel(21, 21, GaussianFunction2(sigma, sigma)) for sigma in (0.7, 4.0))
    benchmark.pedantic(convolveArrays, (*planes, narrow, PLAIN), rounds=5, warmup_rounds=1)
    report(benchmark, "Gaussian of sigma 0.7, K = 21", timed(convolveArrays, *planes, wide, PLAIN), "sigma 4")
