"""ZOGY of whole arrays: closed forms, noise, fluxes, goldens."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import scipy.fft
from scipy.integrate import quad

from stillsky.diffim.zogy_arrays import astrometricVariance, fluxFromScore, scoreCorr, zogy
from stillsky.diffim.zogy_layout import padCenterOriginArray
from stillsky.diffim.zogy_transfer import denoisedTransform, parsevalMean, psfTransform, zogyTransfer
from stillsky.errors import DomainError, ShapeError

_spec = importlib.util.spec_from_file_location(
    "zogy_reference", Path(__file__).parents[1] / "reference" / "zogy_reference.py"
)
reference = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(reference)


def gaussian(sigma, size=31, x=0.0, y=0.0, sigmaY=None):
    v, u = np.mgrid[-(size // 2) : size // 2 + 1, -(size // 2) : size // 2 + 1]
    image = np.exp(-0.5 * (((u - x) / sigma) ** 2 + ((v - y) / (sigmaY or sigma)) ** 2))
    return image / image.sum()


def starField(shape, psf, stars):
    image = np.zeros(shape)
    for flux, x, y in stars:
        image += flux * np.roll(padCenterOriginArray(psf, shape), (y, x), (0, 1))
    return image


def lagOne(pixels):
    pixels = pixels - pixels.mean()
    return max(abs(np.mean(pixels[:, 1:] * pixels[:, :-1])), abs(np.mean(pixels[1:] * pixels[:-1]))) / pixels.var()


# ---------------------------------------------------------------------- goldens and the slow reference


@pytest.mark.shared
def test_goldenScoreAndPsfAndVariance(sharedDir):
    golden = np.load(sharedDir / "golden" / "zogy.npz")
    recipe = json.loads((sharedDir / "golden" / "zogy.json").read_text())
    one = np.ones(golden["im1"].shape)
    planes = {"scienceVariancePlane": 25 * one, "templateVariancePlane": 9 * one}
    result = zogy(golden["im1"], golden["im2"], golden["psf1"], golden["psf2"], 25, 9, epsilon=0, **planes)
    assert result.fluxScale == pytest.approx(recipe["Fd"], rel=1e-12)
    hat = result.transfer.psf
    found = {
        "S": result.score,
        "varS": result.scoreVariance,
        "Pd": padCenterOriginArray(scipy.fft.irfft2(hat, s=one.shape), one.shape, useInverse=True),
        "Ps": padCenterOriginArray(scipy.fft.irfft2(abs(hat) ** 2, s=one.shape), one.shape, useInverse=True),
    }
    for name, values in found.items():
        assert abs(values - golden[name]).max() <= 1e-9 * abs(golden[name]).max(), name
    y, x = np.unravel_index(result.score.argmax(), one.shape)
    transient = recipe["transient"]
    assert (x, y) == (transient["x"], transient["y"])
    assert scoreCorr(result.score, result.scoreVariance)[y, x] == pytest.approx(41.655, abs=1e-3)
    assert np.median(result.differenceVariance) == pytest.approx(1, abs=1e-3)
    assert found["Pd"].sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.shared
@pytest.mark.parametrize("epsilon", [0, 1e-6])
def test_goldenDifferenceWhereThePsfsAreAboveRounding(sharedDir, epsilon):
    # The golden's D holds, in modes where both PSF transforms are rounding noise (down to 2e-17 of their peak), a mix of
    # the images that is random and decided by the rounding of one FFT library: numpy.fft reproduces it to 1e-9 (first
    # assertion), scipy.fft differs there by 1e-3 of the maximum. All that is above rounding agrees to 1e-9.
    golden = np.load(sharedDir / "golden" / "zogy.npz")
    one = np.ones(golden["im1"].shape)
    slow = reference.zogyReference(
        golden["im1"], golden["im2"], golden["psf1"], golden["psf2"], 25, 9, planes=(25 * one, 9 * one)
    )
    for name in ("D", "varD", "S", "varS"):
        assert abs(slow[name] - golden[name]).max() <= 1e-9 * abs(golden[name]).max(), name
    found = zogy(golden["im1"], golden["im2"], golden["psf1"], golden["psf2"], 25, 9, epsilon=epsilon).difference
    reliable = np.maximum(abs(slow["hatPn"]), abs(slow["hatPr"])) > 1e-6
    wanted = np.fft.fft2(golden["D"])
    assert reliable.sum() > 5000
    assert abs(np.fft.fft2(found) - wanted)[reliable].max() <= 1e-9 * abs(wanted).max()


def test_agreesWithTheSlowReference(rng):
    shape = (48, 61)
    pn, pr = gaussian(1.0, 15, 0.3, -0.2), gaussian(0.8, 13, sigmaY=1.1)
    n, r = rng.normal(size=(2, *shape))
    planes = rng.uniform(1, 2, (2, *shape))
    slow = reference.zogyReference(n, r, pn, pr, 2.0, 3.0, 1.3, 0.7, planes)
    fast = zogy(
        n, r, pn, pr, 2.0, 3.0, scienceFlux=1.3, templateFlux=0.7, scienceVariancePlane=planes[0],
        templateVariancePlane=planes[1],
    )  # fmt: skip
    for values, name in ((fast.difference, "D"), (fast.score, "S"), (fast.differenceVariance, "varD"),
                         (fast.scoreVariance, "varS")):  # fmt: skip
        np.testing.assert_allclose(values, slow[name], atol=1e-9 * abs(slow[name]).max(), err_msg=name)
    np.testing.assert_allclose(fast.scoreScience - fast.scoreTemplate, fast.score, atol=1e-12)


# ---------------------------------------------------------------------- closed forms (image-difference 27.5)


def test_equalPsfsAndVariancesGiveThePlainDifference(rng):
    n, r = rng.normal(size=(2, 64, 80))
    psf = gaussian(1.0, 21)
    result = zogy(n, r, psf, psf, 4.0, 4.0)
    assert result.fluxScale == pytest.approx(1 / np.sqrt(8), rel=1e-12)
    np.testing.assert_allclose(result.calibrated, n - r, atol=1e-12)
    np.testing.assert_allclose(result.psf, psf, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_differenceOfUnequalPsfsIsWhite(dtype):
    generator = np.random.default_rng(1)
    n, r = (s * generator.normal(size=(512, 512)).astype(dtype) for s in (5, 3))
    result = zogy(n.astype(dtype), r.astype(dtype), gaussian(3.3), gaussian(2.2), 25.0, 9.0)
    assert result.difference.dtype == dtype  # transforms stay in the precision of the images
    assert result.difference.var() == pytest.approx(1, abs=0.01)
    assert lagOne(result.difference) < 0.02


def test_scoreFluxOfTwoGaussians():
    transfer = zogyTransfer(gaussian(2.0, 41), gaussian(1.4, 41), 10.0, 20.0, (256, 256))
    assert transfer.scoreFlux == pytest.approx(9.011e-4, abs=1e-6)
    wide = zogyTransfer(gaussian(3.3, 63), gaussian(2.2, 63), 0.04, 0.04, (256, 256)).scoreFlux
    sigmaK2 = 3.3**2 - 2.2**2
    integral = quad(lambda u: u ** (3.3**2 / sigmaK2 - 1) / (1 + u), 0, 1)[0]
    assert wide == pytest.approx(integral / (4 * np.pi * sigmaK2 * 0.04), rel=1e-5)
    assert wide == pytest.approx(0.11403, abs=1e-5)


def test_fluxesFromTheScoreAreUnbiased():
    generator = np.random.default_rng(5)
    shape, pn, pr = (128, 128), gaussian(2.0, 25), gaussian(1.4, 25)
    # nine sources an image, far enough from each other: 360 draws, whose scatter is known to 4 %
    places = [(x, y) for x in (16, 48, 80) for y in (48, 80, 112)]
    source = starField(shape, pn, [(300.0, x, y) for x, y in places])
    quiet = zogy(source, 0 * source, pn, pr, 10.0, 20.0).score
    fluxes, off = [], []
    for _ in range(40):
        n = generator.normal(0, np.sqrt(10), shape) + source
        r = generator.normal(0, np.sqrt(20), shape)
        result = zogy(n, r, pn, pr, 10.0, 20.0)
        for x, y in places:
            flux, error = fluxFromScore(result.score[y, x], result.scoreFlux, result.scoreFlux)
            assert error == pytest.approx(33.31, abs=0.02)
            fluxes.append(flux)
        off.append(scoreCorr(result.score - quiet, result.scoreFlux))
    assert np.mean(fluxes) == pytest.approx(300, rel=0.05)
    assert np.std(fluxes) == pytest.approx(33.3, rel=0.1)
    assert abs(np.mean(off)) < 0.02 and np.sqrt(np.mean(np.square(off))) == pytest.approx(1, abs=0.02)


def test_fluxScalesCancel(rng):
    n, r = rng.normal(size=(2, 64, 64))
    pn, pr = gaussian(1.5, 21), gaussian(1.0, 21)
    plain = zogy(n, r, pn, pr, 2.0, 3.0)
    scaled = zogy(n, 2 * r, pn, pr, 2.0, 12.0, templateFlux=2.0)
    np.testing.assert_allclose(scaled.difference, plain.difference, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(np.float64, 1e-12), (np.float32, 1e-5)])
def test_exchangedImagesGiveTheOppositeDifference(rng, dtype, tolerance):
    n, r = rng.normal(size=(2, 64, 90)).astype(dtype)
    pn, pr = gaussian(2.2, 31, 0.2), gaussian(1.5, 31, sigmaY=1.7)
    forth = zogy(n, r, pn, pr, 2.0, 3.0, scienceFlux=1.2)
    back = zogy(r, n, pr, pn, 3.0, 2.0, templateFlux=1.2)
    np.testing.assert_allclose(back.difference, -forth.difference, atol=tolerance)
    np.testing.assert_allclose(back.score, -forth.score, atol=tolerance)


def test_psfOfTheDifferenceHasTheRightWidth():
    # closed form for Gaussians: second moment (svar sigmaS^2 + tvar sigmaT^2) / (svar + tvar)
    result = zogyTransfer(gaussian(3.3, 63), gaussian(2.2, 63), 0.04, 0.04, (256, 256))
    psf = np.fft.fftshift(scipy.fft.irfft2(result.psf, s=(256, 256)))
    x = np.arange(256) - 128
    assert psf.sum() == pytest.approx(1, abs=1e-12)
    assert psf.sum(0) @ x**2 == pytest.approx(7.865, abs=2e-3)


def test_brightSourceStandsOutAndBlankSkyDoesNot():
    generator = np.random.default_rng(3)
    shape, pn, pr = (256, 256), gaussian(3.3, 41), gaussian(2.2, 41)
    one = np.ones(shape)

    def pair(variance, stars, extra):
        images = [starField(shape, p, s) + generator.normal(0, np.sqrt(variance), shape)
                  for p, s in ((pn, extra), (pr, stars))]  # fmt: skip
        planes = {"scienceVariancePlane": variance * one, "templateVariancePlane": variance * one}
        return zogy(*images, pn, pr, variance, variance, **planes)

    blank = pair(100.0, [], [])
    assert blank.calibrated.var() == pytest.approx(200, rel=0.1)
    plane = blank.differenceVariance / blank.fluxScale**2
    np.testing.assert_allclose(plane, 200, rtol=0.05)
    assert abs(scoreCorr(blank.score, blank.scoreVariance)).max() < 5
    places = generator.integers(20, 236, (10, 2))
    k = int(np.argmin(np.hypot(*(places - 128).T)))
    fluxes = np.geomspace(50, 30000, 10)
    fluxes[[k, -1]] = fluxes[[-1, k]]  # the brightest is nearest to the centre
    still = [(flux, *place) for flux, place in zip(fluxes, places)]
    changed = [(flux * (1.1 if i == k else 1.0), x, y) for i, (flux, x, y) in enumerate(still)]
    found = pair(10.0, still, changed)
    significance = scoreCorr(found.score, found.scoreVariance)
    assert significance.max() > 5
    y, x = np.unravel_index(significance.argmax(), shape)
    assert np.hypot(*(np.array([x, y]) - places[k])) <= 1.5


def test_modesWithoutPowerKeepTheLastReliableRatio():
    # sigma 3.3 and 2.2: both transforms sink below rounding inside the Nyquist square (image-difference 11.5)
    shape = (128, 128)
    pn, pr = gaussian(3.3, 63), gaussian(2.2, 63)
    transfer = zogyTransfer(pn, pr, 4.0, 9.0, shape)
    power = 4.0 * abs(transfer.science) ** 2 + 9.0 * abs(transfer.template) ** 2
    np.testing.assert_allclose(power, 1, rtol=1e-9)  # white at every frequency
    ky, kx = np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128)[None, :]
    k2 = (2 * np.pi) ** 2 * (ky**2 + kx**2)
    ratio = np.exp(-0.5 * k2 * (3.3**2 - 2.2**2))  # |P_N| / |P_R| as it would be without rounding
    analytic = 1 / np.sqrt(4.0 + 9.0 * ratio**2)
    np.testing.assert_allclose(transfer.science.real, analytic, atol=2e-5)
    weak = np.exp(-0.5 * k2 * 2.2**2) < 1e-7
    assert weak.any() and (transfer.psf[weak] == 0).all()
    noisy = zogyTransfer(pn, pr, 4.0, 9.0, shape, epsilon=0)
    assert abs(noisy.science - analytic).max() > 0.1  # the trap itself


def test_noiseOfAMeasuredPsfIsReplacedByASmoothContinuation(rng):
    shape = (96, 96)
    true = psfTransform(gaussian(1.7, 35, sigmaY=1.9), shape)
    assert denoisedTransform(true, shape) is true  # nothing to do
    noisy = psfTransform(gaussian(1.7, 35, sigmaY=1.9) + rng.normal(0, 5e-5, (35, 35)), shape)
    clean = denoisedTransform(noisy, shape)
    far = abs(true) < 2e-3
    assert abs(clean - true)[far].max() < 0.3 * abs(noisy - true)[far].max()
    near = abs(true) > 0.1
    np.testing.assert_array_equal(clean[near], noisy[near])


def test_parsevalMeanCountsTheHalfPlaneRight(rng):
    for shape in ((8, 10), (9, 11), (8, 11)):
        image = rng.normal(size=shape)
        assert parsevalMean(abs(scipy.fft.rfft2(image)) ** 2, shape) == pytest.approx(np.sum(image**2))


def test_astrometricTermSuppressesTheLobesOfADisplacedStar():
    # closed form of the lobes: 1000 * 0.1 * exp(-1/2) / (sqrt(2) sigma) = 21.4 for a significance of 1000 in S; a star of
    # signal-to-noise 1000 in either image alone has 1 / sqrt(2) of that
    shape, sigma = (128, 128), 2.0
    psf = gaussian(sigma, 41)
    flux = 1000 / np.sqrt(zogyTransfer(psf, psf, 1.0, 1.0, shape).scoreFlux)
    images = [
        flux * np.roll(padCenterOriginArray(gaussian(sigma, 61, dx), shape), (64, 64), (0, 1)) for dx in (0.05, -0.05)
    ]
    result = zogy(*images, psf, psf, 1.0, 1.0)
    plain = scoreCorr(result.score, result.scoreFlux)
    assert abs(plain).max() == pytest.approx(21.4, rel=0.03)
    extra = astrometricVariance(result.scoreScience, result.scoreTemplate, 0.1, 0.1)
    assert abs(scoreCorr(result.score, result.scoreFlux, extra)).max() < 3


# ---------------------------------------------------------------------- bad input


def test_unsuitableInputIsRefused():
    image, psf = np.ones((32, 32)), gaussian(1.5, 11)
    with pytest.raises(ShapeError, match="template"):
        zogy(image, np.ones((32, 31)), psf, psf, 1, 1)
    with pytest.raises(ShapeError, match="odd"):
        zogy(image, image, np.ones((10, 10)), psf, 1, 1)
    with pytest.raises(ShapeError, match="no larger"):
        zogy(image, image, gaussian(2, 41), psf, 1, 1)
    for bad in (0, -1, np.nan, np.inf):
        with pytest.raises(DomainError, match="scienceVariance"):
            zogy(image, image, psf, psf, bad, 1)
    with pytest.raises(DomainError, match="templateFlux"):
        zogy(image, image, psf, psf, 1, 1, templateFlux=0)
    broken = image.copy()
    broken[3, 3] = np.nan
    with pytest.raises(DomainError, match="finite"):
        zogy(broken, image, psf, psf, 1, 1)
    with pytest.raises(DomainError, match="both variance planes"):
        zogy(image, image, psf, psf, 1, 1, scienceVariancePlane=image)
    with pytest.raises(DomainError, match="positive finite sum"):
        zogy(image, image, psf, 0 * psf, 1, 1)


def test_scoreCorrIsZeroWithoutAVariance():
    score = np.array([[1.0, 2.0, np.nan, 4.0]])
    variance = np.array([[0.0, -1.0, 1.0, 4.0]])
    np.testing.assert_array_equal(scoreCorr(score, variance), [[0, 0, 0, 2]])
