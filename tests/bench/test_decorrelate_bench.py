"""Decorrelation of a 4096 x 4096 difference by tiles: image, variance plane and PSF.

Bar (idle two-core machine whose one-worker rfft2 of 2048^2 float32 takes 41 ms): 1 s. Beside it the obvious way: two
transforms of the padded image in double precision, with the kernel of the centre.
"""

import time

import numpy as np
import pytest

from stillsky.diffim.decorrelation import decorrelate
from stillsky.image import Image, MaskedImage
from stillsky.kernel import Chebyshev1Function2, LinearCombinationKernel
from stillsky.psf import GaussianPsf
from stillsky.psfmatch import makeAlardLuptonBasisList

SIZE = 4096
BAR = 1.0


def _obvious(image, kernel, svar, tvar):
    shape = tuple(n + 41 - 1 for n in image.shape)
    padded = np.zeros(shape)
    padded[: kernel.shape[0], : kernel.shape[1]] = kernel
    power = np.abs(np.fft.fft2(padded)) ** 2
    phi = np.sqrt((svar + tvar * kernel.sum() ** 2) / (svar + tvar * power))
    padded[...] = 0
    padded[: image.shape[0], : image.shape[1]] = image
    return np.fft.ifft2(np.fft.fft2(padded) * phi).real[: image.shape[0], : image.shape[1]]


@pytest.mark.benchmark(group="decorrelate")
def test_decorrelationOfA4kDifferenceByTiles(benchmark, machine):
    rng = np.random.default_rng(1)
    image = rng.standard_normal((SIZE, SIZE), np.float32)
    difference, science = (MaskedImage(image, None, Image(np.full(image.shape, v, np.float32))) for v in (2, 1))
    bases = makeAlardLuptonBasisList(12, 4, [0.7, 1.4, 2.8, 5.6], [4, 2, 2, 0])
    functions = [
        Chebyshev1Function2([1.0 if i == 0 else 0.01] + [0.001] * 5, (0, 0, SIZE, SIZE)) for i in range(len(bases))
    ]
    kernel, psf = LinearCombinationKernel(bases, functions), GaussianPsf(31, 31, 2.0)
    start = time.perf_counter()
    _obvious(image, np.asarray(kernel.imageAt(SIZE / 2, SIZE / 2)), 1, 1)
    obvious = time.perf_counter() - start
    cpu = time.process_time()
    rounds = 5
    benchmark.pedantic(lambda: decorrelate(difference, science, science, kernel, psf=psf), rounds=rounds, iterations=1)
    cpu = (time.process_time() - cpu) / rounds
    seconds = benchmark.stats.stats.min
    benchmark.extra_info.update(cpuSeconds=cpu, barSeconds=BAR, scaledBarSeconds=BAR * machine, numpySeconds=obvious)
    print(
        f"\ndecorrelation of {SIZE}^2 by tiles: {seconds:.2f} s wall ({1e9 * seconds / SIZE**2:.0f} ns per pixel), {cpu:.2f} s CPU "
        f"(bar {BAR} s, scaled {BAR * machine:.2f} s); numpy.fft with one kernel, image alone: {obvious:.1f} s, {obvious / seconds:.0f} x"
    )
