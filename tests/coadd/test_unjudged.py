"""Artifacts on samples that PSF-matched images cannot judge."""

import numpy as np
import pytest

import stillsky
from stillsky.coadd import InMemoryWarp
from stillsky.coadd.match_inputs import InputScaler
from stillsky.coadd.unjudged import judgeDirectly
from stillsky.detection import SpanSet
from stillsky.geom import Box2I
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeTanWcs

ORIGIN, N = (-7, 20), 300
NAN = float("nan")


def gaussian(x, y, sigma, shape=(N, N)):
    yy, xx = np.mgrid[0.0 : shape[0], 0.0 : shape[1]]
    return np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2) / (2 * np.pi * sigma**2)


@pytest.fixture(scope="module")
def static():
    """Sky of 50 and a star, without noise."""
    return makeExposure(50 + 3e4 * gaussian(150, 150, 2.0), variance=0.25, xy0=ORIGIN)


def judged(static, image, fwhm=NAN, asked=None, scaler=None, mask=None):
    warp = InMemoryWarp(makeExposure(image, variance=1.0, mask=mask, xy0=ORIGIN))
    other = InMemoryWarp(static)
    asked = SpanSet.fromBox(Box2I(ORIGIN, (N, N))) if asked is None else asked
    found = judgeDirectly([warp, other], [scaler, None], [asked, SpanSet()], static, ["BAD"], [fwhm, 4.7])
    assert not found[1]
    return found[0].toBool(Box2I(ORIGIN, (N, N)))


def testOutliersOfBothSignsAndWhatAdjoinsThem(static, rng):
    image = static.image.array + rng.normal(0, 1, (N, N))
    clean = image.copy()
    image[254:259, 40] += [3.5, 3.5, 20, 3.5, 0]  # over the border of the rows that are looked at together
    image[20, 20] -= 15
    image[30, 30] += 4.0
    image[60, 60] += 90.0
    mask = np.zeros((N, N), bool)
    mask[60, 60] = True
    found = judged(static, image, mask=mask)
    assert found[256, 40] and found[20, 20] and not found[30, 30] and not found[60, 60]
    assert found[257, 40] == ((image - static.image.array)[257, 40] > 2.5 * np.sqrt(1.25))
    assert not judged(static, clean).any()
    some = SpanSet.fromBox(Box2I((ORIGIN[0], ORIGIN[1]), (N, 40)))
    assert np.argwhere(judged(static, image, asked=some)).tolist() == [[20, 20]]
    np.testing.assert_array_equal(
        judged(static, (image - 10) / 2, scaler=InputScaler(2.0, 10.0), mask=mask)[20], found[20]
    )


def testStarsOfAnotherSeeingStay(static):
    sharp = 50 + 3e4 * gaussian(150, 150, 1.3)  # a peak 2.4 times as high
    both = makeExposure((static.image.array + sharp) / 2, variance=0.25, xy0=ORIGIN)
    assert judged(both, sharp).any() and not judged(both, sharp, fwhm=1.3 * 2.355).any()
    sharp[148, 151] += 4000
    assert judged(both, sharp, fwhm=1.3 * 2.355)[148, 151]


def testStarsBesideMissingColumnsAreNotClipped():
    rng, cd = np.random.default_rng(2), 0.3 / 3600 * np.array([[-1.0, 0.0], [0.0, 1.0]])
    places, size = [(x + 0.3, y - 0.2) for x in (20, 50, 80) for y in (20, 50, 80)], (104, 104)
    frames = []
    for k, sigma in enumerate((1.5, 1.7, 1.8, 2.0, 2.2, 1.6)):
        image = 100 + rng.normal(0, 3, size)
        for (x, y), flux in zip(places, 10 ** np.linspace(3.7, 4.7, 9)):
            image += flux * gaussian(x, y, sigma, size)
        image[:, 12 + 15 * k] = np.nan
        wcs = makeTanWcs((50.0, 50.0), (1.0, 0.3), cd)
        frames.append(makeExposure(image.astype(np.float32), variance=9.0, psf=GaussianPsf(25, 25, sigma), wcs=wcs))
    coadd = stillsky.coadd(frames, method="compare", scale="none").coadd
    near = sum(gaussian(x, y, 1.0, size) for x, y in places) > 1e-3
    assert np.mean(coadd.mask.isSet("CLIPPED")[near]) < 0.01
