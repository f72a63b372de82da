"""A subtraction done the slow obvious way, for pictures of it."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import fft

from stillsky.geom import Box2D
from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.kernel import Chebyshev1Function2, FixedKernel, LinearCombinationKernel
from stillsky.sim import simulatePair


def _basis(half=10):
    """Gaussians times powers of x and y (Alard & Lupton 1998), each normalised to unit absolute sum."""
    y, x = np.mgrid[-half : half + 1, -half : half + 1].astype(float)
    images = []
    for sigma, degree in ((0.7, 4), (1.5, 2), (3.0, 2)):
        gauss = np.exp(-0.5 * (x * x + y * y) / sigma**2)
        images += [gauss * x**i * y**j for i in range(degree + 1) for j in range(degree + 1 - i)]
    return np.array([image / np.abs(image).sum() for image in images])


def makeResult(size=400, seed=3, convolved="template"):
    """Fit one kernel and one constant to all good pixels, subtract; the attributes of a SubtractResult."""
    widths = {"scienceFwhm": 3.0, "templateFwhm": 4.2} if convolved == "science" else {}
    pair = simulatePair(size=size, seed=seed, psfVariation=0.0, **widths)
    science, template = (f.toExposure(psf=False) for f in (pair.science, pair.template))
    source, target = (science, template) if convolved == "science" else (template, science)
    stack = _basis()
    bases = [FixedKernel(b) for b in stack]

    pixels = source.image.array.astype(float)
    shape = [fft.next_fast_len(n + 20, real=True) for n in pixels.shape]
    transform = fft.rfft2(pixels, shape)
    convolve = [fft.irfft2(transform * fft.rfft2(b[::-1, ::-1], shape), shape) for b in stack]
    columns = [c[10 : 10 + size, 10 : 10 + size] for c in convolve] + [np.ones_like(pixels)]
    bad = (source.mask.array | target.mask.array) != 0
    good = ~bad
    good[:12], good[-12:], good[:, :12], good[:, -12:] = False, False, False, False
    x, y = pair.transients["x"], pair.transients["y"]
    for cx, cy in zip(np.round(x).astype(int), np.round(y).astype(int)):
        good[max(cy - 12, 0) : cy + 13, max(cx - 12, 0) : cx + 13] = False
    weight = 1.0 / np.sqrt(target.variance.array[good])
    matrix = np.stack([c[good] * weight for c in columns], axis=1)
    solution = np.linalg.lstsq(matrix, target.image.array[good] * weight, rcond=None)[0]
    matched = np.tensordot(solution, np.array(columns), axes=1)
    image = np.tensordot(solution[:-1], stack, axes=1)
    total = image.sum()
    sign, scale = (-1.0, total) if convolved == "science" else (1.0, 1.0)

    power = fft.rfft2(image[::-1, ::-1] ** 2, shape)
    spread = fft.irfft2(fft.rfft2(source.variance.array.astype(float), shape) * power, shape)[
        10 : 10 + size, 10 : 10 + size
    ]
    mask = np.where(bad, 1, 0).astype(np.int32)
    mask[:10], mask[-10:], mask[:, :10], mask[:, -10:] = 1, 1, 1, 1
    pixels = (sign * (target.image.array - matched) / scale).astype(np.float32)
    variance = np.maximum((target.variance.array + spread) / scale**2, 1e-3).astype(np.float32)
    difference = Exposure(MaskedImage(Image(pixels), Mask(mask), Image(variance)), wcs=science.wcs)
    used = (
        template
        if convolved == "science"
        else Exposure(MaskedImage(Image(matched.astype(np.float32))), wcs=science.wcs)
    )
    box = difference.bbox
    functions = []
    for i, c in enumerate(solution[:-1]):  # a small tilt, so that the kernel varies
        functions.append(Chebyshev1Function2([c, 0.05 * c * (i % 3), -0.03 * c], Box2D(box)))
    return SimpleNamespace(
        science=science, matchedTemplate=used, difference=difference,
        kernel=LinearCombinationKernel(bases, functions), convolved=convolved, metadata={"spatialKernelSum": total},
    )  # fmt: skip


@pytest.fixture(scope="session")
def result():
    return makeResult()
