"""The two roads to the optimal difference meet: Alard-Lupton with decorrelation, and ZOGY."""

import numpy as np
import pytest
import scipy.fft

from stillsky.diffim.transfer import decorrelationTransfer, scoreTransfer
from stillsky.diffim.zogy_arrays import zogy
from stillsky.diffim.zogy_layout import padCenterOriginArray

SHAPE = (256, 256)


def gaussian(sigma, size):
    g = np.arange(size) - size // 2
    image = np.exp(-0.5 * (g[:, None] ** 2 + g**2) / sigma**2)
    return image / image.sum()


def hat(image):
    return scipy.fft.rfft2(padCenterOriginArray(image, SHAPE))


def back(transform):
    return scipy.fft.irfft2(transform, s=SHAPE)


@pytest.fixture(scope="module")
def scene():
    """PSFs of sigma 1.5 and 1.0, the kernel between them, noise of variances 0.04 and 0.07, and stars."""
    generator = np.random.default_rng(2)
    pn, pr = gaussian(1.5, 31), gaussian(1.0, 31)
    kernel = padCenterOriginArray(back(hat(pn) / hat(pr)), (255, 255), useInverse=True)
    stars = np.zeros(SHAPE)
    stars[generator.integers(0, 256, 30), generator.integers(0, 256, 30)] = generator.uniform(1, 100, 30)
    new = np.zeros(SHAPE)
    new[100, 90] = 40.0
    images = [
        back(scipy.fft.rfft2(source) * hat(psf)) + generator.normal(0, np.sqrt(v), SHAPE)
        for source, psf, v in ((stars + new, pn, 0.04), (stars, pr, 0.07))
    ]
    return images, pn, pr, kernel


def test_alardLuptonWithDecorrelationEqualsZogy(scene):
    (n, r), pn, pr, kernel = scene
    difference = scipy.fft.rfft2(n) - hat(kernel) * scipy.fft.rfft2(r)
    white = back(decorrelationTransfer(kernel, 0.04, 0.07, SHAPE) * difference)
    proper = zogy(n, r, pn, pr, 0.04, 0.07)
    sigma = np.sqrt(0.04 + 0.07)
    assert 1 / proper.fluxScale == pytest.approx(sigma, rel=1e-12)
    assert abs(white - proper.calibrated).max() < 1e-6 * sigma
    psf = padCenterOriginArray(
        back(decorrelationTransfer(kernel, 0.04, 0.07, SHAPE) * hat(pn)), pn.shape, useInverse=True
    )
    np.testing.assert_allclose(psf / psf.sum(), proper.psf, atol=1e-9)


def test_alardLuptonScoreEqualsTheSumOfVariancesTimesTheScoreOfZogy(scene):
    (n, r), pn, pr, _ = scene
    # pre-filter with the science PSF: the template is matched to the filtered science image
    kernel = padCenterOriginArray(back(hat(pn) * np.conj(hat(pn)) / hat(pr)), (255, 255), useInverse=True)
    filtered = np.conj(hat(pn)) * scipy.fft.rfft2(n) - hat(kernel) * scipy.fft.rfft2(r)
    score = back(scoreTransfer(kernel, 0.04, 0.07, pn, SHAPE) * filtered)
    proper = zogy(n, r, pn, pr, 0.04, 0.07).score * (0.04 + 0.07)
    assert abs(score - proper).max() < 1e-5 * abs(proper).max()
    assert np.unravel_index(score.argmax(), SHAPE) == (100, 90)


@pytest.mark.parametrize("rho, share", [(1.0, 1.183), (10.0, 1.593)])
def test_psfOfTheDifferenceIsSharperThanThatOfTheScienceImage(rho, share):
    proper = zogy(np.zeros(SHAPE), np.zeros(SHAPE), gaussian(3.3, 61), gaussian(2.2, 61), 0.04, 0.04 * rho, score=False)
    assert proper.psf.max() / gaussian(3.3, 61).max() == pytest.approx(share, abs=2e-3)
