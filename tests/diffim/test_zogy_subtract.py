"""subtract with the method "zogy"."""

import numpy as np
import pytest

from stillsky.diffim import SubtractConfig, subtract
from stillsky.diffim.polynomial_field import chebyshevBackground
from stillsky.fits import readExposure
from stillsky.geom import Box2I
from stillsky.kernel import Chebyshev1Function2, PolynomialFunction2
from stillsky.sim import simulatePair

BAD = ["NO_DATA", "SAT", "BAD", "CR", "EDGE"]


@pytest.fixture(scope="module")
def pair():
    return simulatePair(size=512, seed=5, starDensity=900.0, fluxScale=0.8)


def run(pair, **values):
    config = SubtractConfig()
    config.update(**{k: v for k, v in values.items() if k == "convolve"})
    config.zogy.update(**{k: v for k, v in values.items() if k != "convolve"})
    exposures = (pair.science.toExposure(psf=False), pair.template.toExposure(psf=False))
    return subtract(*exposures, method="zogy", config=config)


@pytest.fixture(scope="module")
def sharpPair():
    """The science image is the sharper one."""
    return simulatePair(size=512, seed=6, starDensity=900.0, scienceFwhm=3.2, templateFwhm=4.2, fluxScale=0.8)


@pytest.fixture(scope="module", params=["template", "science"])
def scene(pair, sharpPair, request):
    """A pair, and its difference with the sharper image as the one that the kernel convolves."""
    chosen = pair if request.param == "template" else sharpPair
    return chosen, run(chosen, convolve=request.param)


@pytest.fixture
def result(scene):
    return scene[1]


def chiOf(difference):
    chi = difference.image.array / np.sqrt(difference.variance.array)
    return np.where(difference.mask.isSet(BAD), np.nan, chi)


def test_noiseIsWhiteWithTheRightVariance(result):
    chi = chiOf(result.difference)
    sky = np.where(abs(chi) < 4, chi, np.nan)
    assert result.metadata["skyChi"] == pytest.approx(1.0, abs=0.02)
    assert abs(np.nanmedian(chi)) < 0.02
    for a, b in ((sky[:, 1:], sky[:, :-1]), (sky[1:], sky[:-1]), (sky[:, 2:], sky[:, :-2])):
        assert abs(np.nanmean(a * b)) < 0.02


def test_transientsStandOutAndStarsDoNot(scene):
    pair, result = scene
    significance = np.where(result.difference.mask.isSet(BAD), 0, result.scoreCorr.array)
    checked = 0
    for x, y, flux, snr, masked in zip(*(pair.transients[k] for k in ("x", "y", "flux", "snr", "masked"))):
        ix, iy = int(round(x)), int(round(y))
        if masked or snr < 10 or not (20 <= ix < 492 and 20 <= iy < 492) or not significance[iy, ix]:
            continue
        assert np.sign(significance[iy, ix]) == np.sign(flux) and abs(significance[iy, ix]) > 5
        significance[iy - 12 : iy + 13, ix - 12 : ix + 13] = 0
        checked += 1
    assert checked >= 2
    chi = chiOf(result.difference)
    bright = result.science.image.array > 20 * np.sqrt(np.median(result.science.variance.array))
    values = chi[bright & np.isfinite(chi)]
    assert len(values) > 300 and 1.4826 * np.median(abs(values)) < 1.2


def test_brightStarsVanishAsWellAsByConvolution(scene):
    """Spatially varying ZOGY reaches the chi at bright stars that Alard-Lupton has, in every class of brightness."""
    pair, proper = scene
    config = SubtractConfig()
    config.update(convolve=proper.convolved, doDetection=False)
    exposures = (pair.science.toExposure(psf=False), pair.template.toExposure(psf=False))
    other = subtract(*exposures, config=config)
    planes = [chiOf(r.difference) for r in (proper, other)]
    found = {"faint": [], "bright": []}
    for x, y, brightness in zip(*(proper.candidates[name] for name in ("x", "y", "rating"))):
        cut = np.s_[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4]
        # at this limit either class has ten stars: the chi of 500 pixels is known to 5 %
        found["faint" if brightness < 60 else "bright"].append([plane[cut].ravel() for plane in planes])
    for pixels in found.values():
        zogy, matched = np.swapaxes(pixels, 0, 1).reshape(2, -1)
        some = np.isfinite(zogy) & np.isfinite(matched)
        assert some.sum() > 450
        zogy, matched = (1.4826 * np.median(abs(chi[some])) for chi in (zogy, matched))
        assert zogy < matched + 0.05 and zogy < 1.2


def test_everyDiagnosticIsThere(result):
    zogy = result.metadata["zogy"]
    assert {"zogyBeta", "zogyGamma", "zogyFluxScale", "zogyScoreFlux", "growRadius", "nPsfFallbacks"} <= set(zogy)
    assert zogy["zogyBeta"] == pytest.approx(1 / 0.8, rel=0.02)
    assert zogy["registrationStars"] >= 10 and zogy["registrationLimit"] < 0.1
    assert max(zogy["astrometricSigma"]) < 0.05  # the images are registered; what is measured is that
    header = result.difference.metadata
    assert header["METHOD"] == "ZOGY" and header["DIFFSIGN"] == "SCI-TMPL"
    assert any(sentence.startswith("proper difference") for sentence in result.decisions)
    assert {"zogy", "fit", "stars"} <= set(result.timings)
    good = ~result.difference.mask.isSet("NO_DATA")
    total = result.matchedTemplate.image.array + result.difference.image.array
    np.testing.assert_allclose(total[good], result.science.image.array[good], atol=1e-2)
    assert np.isinf(result.matchedTemplate.variance.array[~good]).all()


def test_psfRatioFromTheModels(pair):
    result = run(pair, psfRatio="models")
    assert result.metadata["skyChi"] == pytest.approx(1.0, abs=0.04)
    zogy = result.metadata["zogy"]
    assert zogy["zogyFluxStars"] >= 10 and np.hypot(*zogy["zogyOffset"]) < 0.1
    assert zogy["astrometricSigma"][0] > 0


def test_productsWithTheScore(pair, tmp_path):
    exposures = (pair.science.toExposure(psf=False), pair.template.toExposure(psf=False))
    result = subtract(*exposures, method="zogy", keepWarped=True)
    names = result.write(tmp_path / "p", picture=False, report=False)
    assert {name.rsplit("/p")[-1] for name in names} == {
        ".diff.fits", ".matched.fits", ".kernel.fits", ".warped.fits", ".score.fits", ".json", ".sources.ecsv",
        ".sources.reg", ".footprints.fits",
    }  # fmt: skip
    score = readExposure(tmp_path / "p.score.fits")[0]
    np.testing.assert_array_equal(score.image.array, result.score.image.array)


@pytest.mark.parametrize("kind", [Chebyshev1Function2, PolynomialFunction2])
def test_backgroundOfTheFitIsTakenOverExactly(rng, kind):
    box = Box2I((10, -20), (60, 40))
    parameters = rng.normal(size=6).tolist()
    if kind is Chebyshev1Function2:
        function = kind(parameters, (9.5, -20.5, 69.5, 19.5))
    else:
        function = kind(parameters)
    made = chebyshevBackground(function, box, -0.5)
    rows, columns = np.arange(40), np.arange(60)
    xs, ys = np.meshgrid(columns + 10.0, rows - 20.0)
    wanted = -0.5 * (function.basisValues(xs.ravel(), ys.ravel()) @ np.array(parameters)).reshape(40, 60)
    np.testing.assert_allclose(made.over(rows, columns), wanted, atol=1e-9 * abs(wanted).max())


def test_pictureAndReportOfAProperDifference(scene, tmp_path):
    names = scene[1].write(tmp_path / "q")
    assert any(name.endswith(".html") for name in names) and any(name.endswith(".png") for name in names)
    assert "proper difference" in (tmp_path / "q.html").read_text()
