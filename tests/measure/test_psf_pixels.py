"""Star stamps and PSF pixels of the compiled core against plain NumPy."""

import numpy as np
import pytest

import stillsky
from reference.psf_pixels_reference import centredStamps, fitPixels
from stillsky import _core
from stillsky.diffim.psf_model import _centredStamps, _fitPixels
from stillsky.errors import DomainError, ShapeError
from stillsky.image import Image, Mask, MaskedImage

HALF = 9


def crowdedField(rng, dtype=np.float32):
    """Noise, Gaussian stars anywhere (some at the edge, some close together), masked, broken and noise-free pixels."""
    height, width = 260, 300
    x, y = rng.uniform(-2, width + 1, 60), rng.uniform(-2, height + 1, 60)
    v, u = np.mgrid[:height, :width]
    image = rng.standard_normal((height, width))
    for px, py, flux in zip(x, y, 10 ** rng.uniform(2, 4, 60)):
        image += flux / (2 * np.pi * 4) * np.exp(-0.125 * ((u - px) ** 2 + (v - py) ** 2))
    variance = rng.uniform(0.5, 2, image.shape)
    mask = np.where(rng.random(image.shape) < 0.002, 4, 1)
    image.ravel()[rng.integers(0, image.size, 60)] = np.nan
    variance.ravel()[rng.integers(0, image.size, 60)] = 0
    planes = Image(image.astype(dtype)), Mask(mask.astype(np.int32)), Image(variance.astype(np.float32))
    return MaskedImage(*planes), x, y


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("crowded", [False, True])
def test_stampsEqualThePlainOnes(rng, dtype, crowded):
    masked, x, y = crowdedField(rng, dtype)
    neighbours = (x, y) if crowded else None
    stamps, weights, which = _centredStamps(masked, 4, x, y, HALF, neighbours)
    wantedStamps, wantedWeights, inside = centredStamps(masked, 4, x, y, HALF, neighbours)
    np.testing.assert_array_equal(which, np.flatnonzero(inside))
    assert 5 < len(which) < 55 and (weights == 0).any()
    np.testing.assert_allclose(stamps, wantedStamps, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(weights, wantedWeights, rtol=1e-12)


def test_stampsOfNoStar(rng):
    masked, _, _ = crowdedField(rng)
    for x in ([], [3.0], [np.nan]):
        stamps, weights, which = _centredStamps(masked, 4, np.array(x), np.array(x), HALF, None)
        assert stamps.shape == weights.shape == (0, 2 * HALF + 1, 2 * HALF + 1) and not len(which)


def manyStamps(rng, n=90, terms=6):
    v, u = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1]
    design = np.column_stack([np.ones(n), rng.uniform(-1, 1, (n, terms - 1))])
    flux = 10 ** rng.uniform(2, 5, n)
    width = 4 + 0.2 * design[:, 1] if terms > 1 else np.full(n, 4.0)
    stamps = (
        flux[:, None, None] * np.exp(-(u**2 + v**2) / (2 * width[:, None, None])) / (2 * np.pi * width[:, None, None])
    )
    weights = 1 / (1 + stamps)
    stamps += rng.standard_normal(stamps.shape) / np.sqrt(weights) + rng.uniform(-1, 1, n)[:, None, None]
    stamps[::9, 3:6, 3:6] += 500  # neighbours
    stamps[5] = 1e4 * (np.abs(u) < 3)  # no star
    weights[rng.random(weights.shape) < 0.01] = 0
    weights[:, 0, 0] = 0  # seen by no star
    return stamps, weights, design


@pytest.mark.parametrize("terms", [1, 3, 6])
def test_pixelsEqualThePlainOnes(rng, terms):
    stamps, weights, design = manyStamps(rng, terms=terms)
    given = weights.copy()
    coefficients, keep = _fitPixels(stamps, weights, design, 4.7, 3)
    wanted, wantedKeep = fitPixels(stamps, weights, design, 4.7, 3)
    np.testing.assert_array_equal(keep, wantedKeep)
    np.testing.assert_array_equal(weights, given)
    assert not keep[5] and keep.sum() >= 60
    assert coefficients[0].sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(coefficients, wanted, rtol=1e-8, atol=1e-11)


def test_pixelsAreTheSameForAnyNumberOfThreads(rng):
    stamps, weights, design = manyStamps(rng)
    results = []
    for n in (1, 2, 5):
        stillsky.setNumThreads(n)
        results.append(_fitPixels(stamps, weights, design, 4.7, 3)[0])
    stillsky.setNumThreads(0)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_wrongShapesAreErrors(rng):
    stamps, weights, design = manyStamps(rng)
    core = np.ones(stamps.shape[1:], bool)
    with pytest.raises(ShapeError, match="wanted stamps"):
        _core.fitPsfPixels(stamps, weights[1:], design, core, 3)
    with pytest.raises(DomainError, match="rounds"):
        _core.fitPsfPixels(stamps, weights, design, core, -1)
    masked, x, y = crowdedField(rng)
    image, mask, variance = (plane.array for plane in masked.planes)
    with pytest.raises(ShapeError, match="positions"):
        _core.centredStamps(image, mask, variance, 4, x, y[1:], [], [], [], HALF)
    with pytest.raises(ShapeError):
        _core.centredStamps(image, mask[1:], variance, 4, x, y, [], [], [], HALF)
    with pytest.raises(DomainError, match="half"):
        _core.centredStamps(image, mask, variance, 4, x, y, [], [], [], 0)
