"""What the kernel stars leave of the sky."""

import numpy as np
import pytest
import scipy.signal

from stillsky.diffim import SubtractConfig, subtract
from stillsky.diffim.sky_level import raisedTo, skyResidual, takeOff
from stillsky.geom import Box2I
from stillsky.image import makeExposure
from stillsky.kernel import Chebyshev1Function2, PolynomialFunction2
from stillsky.sim import simulatePair

BOX = Box2I((-20, 35), (300, 260))


FUNCTIONS = [
    PolynomialFunction2([1.5, -2e-3, 4e-3, 1e-5, -2e-5, 3e-5]),
    Chebyshev1Function2([1.5, -0.4, 0.3, 0.2, -0.1, 0.5], Box2I((-40, 0), (400, 400))),
]


def _image(function):
    x, y = np.meshgrid(np.arange(BOX.minX, BOX.maxX + 1.0), np.arange(BOX.minY, BOX.maxY + 1.0))
    values = np.asarray(function.basisValues(x.ravel(), y.ravel())) @ np.asarray(function.parameters)
    return values.reshape(x.shape)


@pytest.mark.parametrize("function", FUNCTIONS, ids=["powers", "chebyshev"])
def test_takenOffIsTheFunctionAtEveryPixel(function):
    pixels = np.ones((BOX.height, BOX.width))
    takeOff(pixels, function, BOX)
    np.testing.assert_allclose(pixels, 1.0 - _image(function), rtol=0, atol=1e-9)


@pytest.mark.parametrize("function", FUNCTIONS, ids=["powers", "chebyshev"])
def test_plantedResidualIsFoundUnderSourcesMasksAndNan(function, rng):
    """To three errors: the sky pixels of 300 x 260 know six terms to about sigma sqrt(6/N)."""
    sky = _image(function)
    pixels = sky + rng.normal(0, 2.0, sky.shape)
    for y, x in rng.integers(20, 240, (12, 2)):
        pixels[y - 2 : y + 3, x - 2 : x + 3] += 300.0  # sources, 4 % of a block each
    pixels[30:60, 200:290] = np.nan
    exposure = makeExposure(pixels.astype(np.float32), variance=4.0, xy0=(BOX.minX, BOX.minY))
    exposure.image.array[:, 100:103] = 5e4
    exposure.mask.array[:, 100:103] |= np.int32(1 << exposure.mask.bit("SAT"))
    exposure.mask.array[30:60, 200:290] |= np.int32(1 << exposure.mask.bit("NO_DATA"))
    before = exposure.image.array.copy()
    found = _image(skyResidual(exposure.maskedImage, function))
    np.testing.assert_array_equal(exposure.image.array, before)
    error = 1.2533 * 2.0 * np.sqrt(6 / np.count_nonzero(np.isfinite(pixels)))
    assert np.sqrt(np.mean((found - sky) ** 2)) < 3 * error


@pytest.mark.parametrize("function", FUNCTIONS, ids=["powers", "chebyshev"])
def test_raisedPolynomialsAreTheSame(function):
    raised = raisedTo(function, 4)
    assert raised.order == 4 and type(raised) is type(function)
    np.testing.assert_allclose(_image(raised), _image(function), rtol=0, atol=1e-12)
    assert raisedTo(function, 1) is function


@pytest.mark.parametrize("method", ["al", "zogy"])
def test_fewStarsLeaveNoGradient(method):
    """Stars too few for the terms of the background: the pixels of the sky give them; the file has what was taken off."""
    pair = simulatePair(size=256, seed=3, starDensity=300.0)
    science, template = (image.toExposure(psf=True) for image in (pair.science, pair.template))
    y, x = np.mgrid[:256, :256] / 256.0
    science.image.array[...] += (40.0 * x - 30.0 * y * y).astype(np.float32)
    result = subtract(science, template, method=method)
    assert result.metadata["spatialBgOrderUsed"] < 2
    pixels = result.difference.image.array
    corners = [
        np.nanmedian(pixels[rows, columns])
        for rows in (np.s_[20:84], np.s_[-84:-20])
        for columns in (np.s_[20:84], np.s_[-84:-20])
    ]
    assert np.ptp(corners) < 6 * 1.2533 * 16 / 64, corners
    if method == "al":
        assert result.background.order == 2 and any("from the pixels of the sky" in d for d in result.decisions)


def test_imagesWithoutSkyGiveNothingOrAConstant():
    exposure = makeExposure(np.full((64, 64), 3.0, np.float32), variance=1.0)
    exposure.image.array[...] += np.random.default_rng(1).normal(0, 1, (64, 64)).astype(np.float32)
    few = skyResidual(exposure.maskedImage, PolynomialFunction2(2))  # nine blocks, six terms
    assert few.parameters[0] == pytest.approx(3.0, abs=0.1) and not any(few.parameters[1:])
    exposure.mask.array[...] |= np.int32(1 << exposure.mask.bit("NO_DATA"))
    assert skyResidual(exposure.maskedImage, PolynomialFunction2(2)) is None


@pytest.mark.parametrize("method", ["al", "zogy"])
@pytest.mark.parametrize("size, seed", [(400, 1), (512, 2)])
def test_aDozenStarsLeaveTheSkyFlat(size, seed, method):
    """Noise summed over the PSF, on blank sky, is what the variance plane says, also where no kernel star is near, and
    nothing but transients is a good candidate of some strength."""
    pair = simulatePair(size=size, seed=seed)
    config = SubtractConfig()
    exposures = pair.science.toExposure(psf=False), pair.template.toExposure(psf=False)
    result = subtract(*exposures, config=config, method=method)
    assert result.metadata["nGoodCandidates"] <= 24
    difference = result.difference
    planes = ["NO_DATA", "SAT", "BAD", "CR", "EDGE", "DETECTED", "DETECTED_NEGATIVE"]
    good = ~difference.mask.isSet(planes) & np.isfinite(difference.variance.array)
    stamp = difference.psf.computeKernelImage(difference.bbox.center).array[::-1, ::-1]
    flux = scipy.signal.oaconvolve(np.where(good, difference.image.array, 0), stamp, mode="same")
    noise = scipy.signal.oaconvolve(np.where(good, difference.variance.array, 0), stamp**2, mode="same")
    pulls = flux[good] / np.sqrt(noise[good])
    n = good.sum() * np.sum(stamp**2)  # independent values
    spread = 1.4826 * np.median(np.abs(pulls - np.median(pulls)))
    assert spread == pytest.approx(1.0, abs=0.02 + 3 * 1.17 / np.sqrt(n))
    if method == "al":  # proper subtraction leaves more of bright stars where the kernel is known from so few
        table = result.sources[~np.asarray(result.sources["candidate_flag"])]
        table = table[np.asarray(table["detectSignificance"]) > 7]
        x, y = (np.asarray(table[f"base_SdssCentroid_{c}"]) for c in "xy")
        distance = np.hypot(x[:, None] - pair.transients["x"], y[:, None] - pair.transients["y"])
        assert len(table) >= 3 and (distance.min(axis=1) < 3).all()
