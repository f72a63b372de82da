"""Displacements of stars that a matching kernel leaves."""

import numpy as np
import pytest

from stillsky.diffim.zogy_registration import registrationScatter
from stillsky.errors import InvalidPsfError
from stillsky.geom import Box2I
from stillsky.image import makeExposure
from stillsky.kernel import Chebyshev1Function2, FixedKernel
from stillsky.psf import KernelPsf

SIZE = 600
XY0 = (30, -50)


def gaussian(sigma, size=31, x=0.0, y=0.0):
    g = np.arange(size) - size // 2
    image = np.exp(-0.5 * ((g[:, None] - y) ** 2 + (g - x) ** 2) / sigma**2)
    return image / (2 * np.pi * sigma**2)


def scene(generator, scatter, offset=(0.0, 0.0)):
    """Science image, template, its kernel, and the positions of 80 stars in the science image."""
    kernel = FixedKernel(0.5 * gaussian(np.sqrt(2.0**2 - 1.5**2), 21))
    grid = np.arange(50.0, SIZE - 40, 56)
    x, y = (v.ravel() + generator.uniform(-8, 8, v.size) for v in np.meshgrid(grid, grid))
    planes = [np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))]
    for px, py, flux in zip(x, y, np.geomspace(2e5, 4e3, x.size)):
        moved = generator.normal(0, scatter, 2) + offset
        for plane, sigma, (sx, sy), f in ((planes[0], 2.0, moved, 0.5 * flux), (planes[1], 1.5, (0.0, 0.0), flux)):
            ix, iy = round(px), round(py)
            plane[iy - 15 : iy + 16, ix - 15 : ix + 16] += f * gaussian(sigma, 31, px + sx - ix, py + sy - iy)
    planes[0] += 12.0
    exposures = [
        makeExposure((p + generator.normal(0, s, p.shape)).astype(np.float32), xy0=XY0, psf=KernelPsf(gaussian(w)),
                     variance=np.full(p.shape, s**2, np.float32))
        for p, s, w in zip(planes, (5.0, 3.0), (2.0, 1.5))
    ]  # fmt: skip
    return *exposures, kernel, x + XY0[0], y + XY0[1]


def measure(parts, **replaced):
    science, template, kernel, x, y = parts
    background = Chebyshev1Function2([12.0], (-0.5, -0.5, 1000, 1000))
    arguments = {"background": background, "psf": science.psf, "badBits": (science.mask.bitmask(["SAT"]),) * 2}
    arguments.update(replaced)
    return registrationScatter(science.maskedImage, template.maskedImage, kernel, x=x, y=y, **arguments)


@pytest.mark.parametrize("scatter", [0.03, 0.1])
def test_scatterOfTheStarsIsFound(rng, scatter):
    parts = scene(rng, scatter)
    found = measure(parts)
    assert found.nStars >= 70
    assert found.sigma == pytest.approx(scatter, rel=5 / np.sqrt(4 * found.nStars))  # five standard errors
    assert np.abs(found.median).max() < 5 * scatter / np.sqrt(found.nStars)


def test_perfectRegistrationGivesNone(rng):
    found = measure(scene(rng, 0.0))
    assert found.sigma == 0 and found.limit < 0.02


def test_directionOfTheDisplacement(rng):
    # positive: reference, that is science, shows the stars farther along the axis than the matched template
    found = measure(scene(rng, 0.0, (0.2, -0.1)))
    np.testing.assert_allclose(found.median, (0.2, -0.1), atol=0.01)


def test_unusableStarsAreLeftOut(rng):
    science, template, kernel, x, y = parts = scene(rng, 0.03)
    complete = measure(parts).nStars
    for k in range(10):  # SAT in one, NaN in the other
        box = Box2I((round(x[k]) + 1, round(y[k]) - 1), (2, 2))
        science.mask[box].array[...] |= science.mask.bitmask(["SAT"])
        box = Box2I((round(x[k + 10]) + 1, round(y[k + 10]) - 1), (2, 2))
        template.image[box].array[...] = np.nan
    assert measure(parts).nStars <= complete - 15
    few = measure((science, template, kernel, x[20:23], y[20:23]))
    assert few.sigma == 0 and np.isnan(few.limit) and few.nStars <= 3
    outside = measure((science, template, kernel, x - 5000, y))
    assert outside.nStars == 0

    class Undefined(KernelPsf):
        def computeKernelImage(self, position=None):
            raise InvalidPsfError("no PSF")

    assert measure(parts, psf=Undefined(gaussian(2.0))).nStars == 0
