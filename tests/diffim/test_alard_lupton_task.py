"""AlardLuptonSubtractTask on small scenes: the acceptance checks of the subtraction and the defects it must not have."""

import copy
import types

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from alard_lupton_scenes import BORDER, CALIB, WCS, clipped, makeImage, makeSources, makeStars
from astropy.table import Table
from lsst.pex.config import FieldValidationError

from stillsky.diffim.alard_lupton_sources import affordableSources
from stillsky.diffim.alard_lupton_task import (
    AlardLuptonSubtractConfig,
    AlardLuptonSubtractTask,
    InsufficientKernelSourcesError,
    SimplifiedSubtractConfig,
    SimplifiedSubtractTask,
)
from stillsky.errors import DomainError, InvalidPsfError, MismatchError, NoDataError
from stillsky.geom import Box2I
from stillsky.image import Mask
from stillsky.kernel import FixedKernel, LinearCombinationKernel, PolynomialFunction2
from stillsky.meta import FilterLabel
from stillsky.photom import AB_ZERO_FLUX_NJY, PhotoCalib
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs

STARS = makeStars()


def taskOf(kind=AlardLuptonSubtractTask, **values):
    config = kind.ConfigClass()
    for name, value in values.items():
        target, *path = name.split("__")
        holder = config
        for part in path:
            holder, target = getattr(holder, target), part
        setattr(holder, target, value)
    return kind(config=config)


def pair(scienceSigma=2.4, templateSigma=2.0, noises=(1.0, 1.0), stars=STARS, **kwargs):
    return (
        makeImage(stars, templateSigma, noises[1], 7, BORDER, **kwargs),
        makeImage(stars, scienceSigma, noises[0], 6, **kwargs),
    )


@pytest.fixture(scope="module")
def usual():
    """Template, science image, and what the task with its defaults makes of them."""
    template, science = pair()
    task = taskOf()
    return types.SimpleNamespace(
        template=template, science=science, task=task, results=task.run(template, science, makeSources(STARS))
    )


# ------------------------------------------------------------------------------------------- acceptance checks


def test_equalPsfsLeaveNoise():
    template, science = pair(2.4, 2.4)
    task = taskOf()
    results = task.run(template, science, makeSources(STARS))
    assert np.isfinite(results.difference.image.array).all()
    mean, sigma, _ = clipped(results.difference)
    area = results.difference.bbox.area
    # the starlight that the error of the kernel sum leaves, or the background takes for it, is spread over the image
    left = task.makeKernel.metadata["spatialKernelSumError"] * sum(flux for _, _, flux in STARS) / area
    assert abs(mean) < 5 / np.sqrt(area) + 3 * left
    assert sigma == pytest.approx(np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("noises", [(1.0, 1.0), (1.0, 0.1), (0.1, 0.1)])
@pytest.mark.parametrize("mode, sigmas", [("convolveTemplate", (2.4, 2.0)), ("convolveScience", (2.0, 2.4))])
def test_variancePlaneAndPixelsAgree(mode, sigmas, noises):
    template, science = pair(*sigmas, noises)
    task = taskOf(mode=mode)
    result = task.run(template, science, makeSources(STARS, noises[0], sigmas[0]))
    expected = noises[0] ** 2 + noises[1] ** 2
    _, sigma, variance = clipped(result.difference)
    assert variance == pytest.approx(expected, rel=0.1)
    assert sigma**2 == pytest.approx(expected, rel=0.1)
    for name in ("scaleTemplateVarianceFactor", "scaleScienceVarianceFactor"):
        assert task.metadata[name] == pytest.approx(1, abs=0.05)
    for exposure in (template, science):
        exposure.variance.array[...] /= 1.345
    again = task.run(template, science, makeSources(STARS, noises[0], sigmas[0]))
    for name in ("scaleTemplateVarianceFactor", "scaleScienceVarianceFactor"):
        assert task.metadata[name] == pytest.approx(1.345, abs=0.05)
    np.testing.assert_allclose(again.difference.image.array, result.difference.image.array, atol=1e-3 * sigma)
    np.testing.assert_allclose(again.difference.variance.array, result.difference.variance.array, rtol=1e-3)


@pytest.mark.parametrize("rule", ["forecast", "radius", "reference"])
@pytest.mark.parametrize("sigmas, mode, name", [((2.4, 2.0), "convolveTemplate", "Template"),
                                                ((2.0, 2.4), "convolveScience", "Science")])  # fmt: skip
def test_autoConvolvesTheSharperImage(rule, sigmas, mode, name):
    template, science = pair(*sigmas)
    sources = makeSources(STARS, 1.0, sigmas[0])
    task = taskOf(mode="auto", autoRule=rule)
    if rule != "forecast":
        assert task.chooseConvolutionMethod(*task._prepareInputs(template, science)) == (name == "Template")
        return
    asked = taskOf(mode=mode).run(template, science, sources)
    auto = task.run(template, science, sources)
    assert task.metadata["convolvedExposure"] == name
    assert auto.difference.maskedImage == asked.difference.maskedImage


@pytest.mark.parametrize("mode, sigmas", [("convolveTemplate", (2.4, 2.0)), ("convolveScience", (2.0, 2.4))])
def test_backgroundOfTheKernelFit(mode, sigmas):
    wanted = (2.2, 2.1, 2.0, 1.2, 1.1, 1.0)
    stars = makeStars(60, size=512)
    science = makeImage(stars, sigmas[0], 1.0, 6, size=512, background=wanted)
    template = makeImage(stars, sigmas[1], 1.0, 7, BORDER, size=512)
    results = taskOf(mode=mode, doSubtractBackground=True).run(template, science, makeSources(stars, 1.0, sigmas[0]))
    np.testing.assert_allclose(results.backgroundModel.parameters, wanted, rtol=0.3)
    mean, sigma, _ = clipped(results.difference)
    assert sigma == pytest.approx(np.sqrt(2), rel=0.1)
    assert abs(mean) < 0.1


def test_backgroundStaysByDefault(usual):
    assert usual.task.config.doSubtractBackground is False
    template, science = pair()
    science.image.array[...] += 7.0
    shifted = usual.task.run(template, science, makeSources(STARS)).difference
    assert clipped(shifted)[0] - clipped(usual.results.difference)[0] == pytest.approx(7.0, abs=0.1)


def test_kernelSourcesAreTheBestOnes(usual):
    template, science, sources = usual.template, usual.science, makeSources(STARS)
    everyone = taskOf(maxKernelSources=-1).run(template, science, sources).kernelSources
    nGood = len(everyone)
    assert 10 < nGood < len(sources)
    assert len(taskOf(maxKernelSources=nGood + 5).run(template, science, sources).kernelSources) == nGood
    task = taskOf(maxKernelSources=8)
    best = task.run(template, science, sources).kernelSources
    ratio = np.asarray(everyone["base_PsfFlux_instFlux"] / everyone["base_PsfFlux_instFluxErr"])
    wanted = set(np.asarray(everyone["id"])[np.argsort(-ratio)[:8]])
    assert len(best) == 8 and set(np.asarray(best["id"])) == wanted
    assert task.metadata["nPsfSources"] == 8


def test_nanSignalToNoiseDoesNotCountAsTheBrightest(usual):
    sources = makeSources(STARS)
    task = taskOf(maxKernelSources=5)
    best = task.run(usual.template, usual.science, sources).kernelSources
    sources["base_PsfFlux_instFluxErr"][np.asarray(best["id"])[0] - 1] = np.nan
    config = AlardLuptonSubtractConfig()
    config.maxKernelSources = 5
    config.sourceSelector.doSignalToNoise = False  # which leaves out NaN by itself
    chosen = AlardLuptonSubtractTask(config=config).run(usual.template, usual.science, sources).kernelSources
    assert len(chosen) == 5 and best["id"][0] not in chosen["id"]


def test_tooFewSourcesAreAFailureWithMetadata(usual):
    with pytest.raises(InsufficientKernelSourcesError) as info:
        taskOf(minKernelSources=1000).run(usual.template, usual.science, makeSources(STARS))
    assert info.value.metadata["nRequired"] == 1000 and info.value.metadata["nSources"] > 10
    assert isinstance(info.value, pipeBase.AlgorithmError) and isinstance(info.value, NoDataError)
    with pytest.raises(InsufficientKernelSourcesError) as info:
        taskOf(minKernelSources=10).run(usual.template, usual.science, makeSources(STARS)[:3])
    assert info.value.metadata["nSources"] <= 3


def test_detectionStandsInForMissingSources(usual):
    task = taskOf(minKernelSources=6, allowKernelSourceDetection=True)
    few = task.run(usual.template, usual.science, makeSources(STARS)[:3])
    none = task.run(usual.template, usual.science, None)
    assert len(few.kernelSources) == len(none.kernelSources) >= 6
    assert clipped(few.difference)[1] == pytest.approx(np.sqrt(2), rel=0.1)
    with pytest.raises(DomainError, match="sources"):
        taskOf().run(usual.template, usual.science, None)


@pytest.mark.parametrize("covered, allowed", [(0.09, False), (0.15, False), (0.7, True)])
def test_coverage(covered, allowed):
    template, science = pair()
    columns = BORDER + int(round(covered * science.width))
    template.mask.array[:, columns:] |= template.mask.bitmask("NO_DATA")
    task = taskOf()
    if allowed:
        results = task.run(template, science, makeSources(STARS))
        assert task.metadata["templateCoveragePercent"] == pytest.approx(100 * covered, abs=0.3)
        assert results.difference.mask.isSet("NO_DATA")[:, columns - BORDER :].all()
        return
    with pytest.raises(pipeBase.NoWorkFound, match="tolerable" if covered > 0.1 else "0 turns the test off"):
        task.run(template, science, makeSources(STARS))


def test_pixelsWithoutAValueAreNotCovered():
    template, science = pair()
    template.image.array[:, BORDER + 20 :] = np.nan  # without NO_DATA
    with pytest.raises(pipeBase.NoWorkFound):
        taskOf().run(template, science, makeSources(STARS))
    template, science = pair()
    template.variance.array[:, BORDER + 20 :] = np.inf
    with pytest.raises(pipeBase.NoWorkFound):
        taskOf().run(template, science, makeSources(STARS))


def test_holesAreNoDataAndCostCoverage():
    template, science = pair()
    template.image.array[:, BORDER + 150 : BORDER + 153] = np.nan
    task = taskOf()
    difference = task.run(template, science, makeSources(STARS)).difference
    assert task.metadata["templateCoveragePercent"] == pytest.approx(100 * (1 - 3 / 256))
    assert difference.mask.isSet("NO_DATA")[:, 150:153].all()
    finite = np.isfinite(difference.image.array)
    assert (~finite <= difference.mask.isSet("NO_DATA")).all()
    assert np.isinf(difference.variance.array[~finite]).all()


def setPlane(exposure, plane, x, y, half=0):
    bit = 1 << exposure.mask.addPlane(plane)
    x0, y0 = exposure.xy0
    exposure.mask.array[y - y0 - half : y - y0 + half + 1, x - x0 - half : x - x0 + half + 1] |= bit


def test_masksOfTheDifference():
    template, science = pair()
    for k, plane in enumerate(("NO_DATA", "BAD", "HIGH_VARIANCE", "SAT", "CR", "CLIPPED", "DETECTED", "FAKE")):
        setPlane(template, plane, 40 + 22 * k, 60, 1)
    for k, plane in enumerate(("INTRP", "SAT", "SUSPECT", "DETECTED", "DETECTED_NEGATIVE", "FAKE")):
        setPlane(science, plane, 40 + 22 * k, 190, 1)
    mask = taskOf(doScaleVariance=False).run(template, science, makeSources(STARS)).difference.mask
    top, bottom = mask.array[110:], mask.array[:110]

    def where(plane, part):
        return (part & mask.bitmask([plane], ignoreMissing=True)) != 0

    for plane in ("BAD", "HIGH_VARIANCE", "NO_DATA"):
        assert where(plane, bottom).sum() > 9  # spread by the kernel
    for plane in ("CR", "DETECTED", "SAT", "CLIPPED", "FAKE"):
        assert not where(plane, bottom).any()
    assert "CLIPPED" not in mask.schema
    assert where("SAT_TEMPLATE", bottom)[60, 106] and not where("SAT_TEMPLATE", top).any()
    for plane in ("INTRP", "SAT", "SUSPECT", "FAKE"):
        assert where(plane, top).sum() == 9
    for plane in ("DETECTED", "DETECTED_NEGATIVE"):
        assert not where(plane, mask.array).any()
    # exactly where they were
    assert where("INJECTED", top).sum() == 9 and where("INJECTED", top)[190 - 110, 150]
    assert where("INJECTED_TEMPLATE", bottom).sum() == 9 and where("INJECTED_TEMPLATE", bottom)[60, 194]


@pytest.mark.parametrize("mode", ["convolveTemplate", "convolveScience"])
def test_injectedPixelsAreNotSpread(mode):
    template, science = pair(*((2.4, 2.0) if mode == "convolveTemplate" else (2.0, 2.4)))
    for exposure in (template, science):
        setPlane(exposure, "INJECTED", 100, 100, 2)
        setPlane(exposure, "INJECTED_CORE", 100, 100)
    mask = taskOf(mode=mode).run(template, science, makeSources(STARS)).difference.mask
    for suffix in ("", "_TEMPLATE"):
        assert mask.isSet(f"INJECTED{suffix}").sum() == 25
        assert mask.isSet(f"INJECTED_CORE{suffix}").sum() == 1


def test_planeOfRenamingSurvivesWhenTheTemplateKnowsItsName():
    template, science = pair()
    setPlane(template, "SAT", 100, 60)
    setPlane(template, "SAT_TEMPLATE", 180, 60)  # of an earlier life
    task = taskOf()
    for _ in range(2):
        mask = task.run(template, science, makeSources(STARS)).difference.mask
        assert mask.isSet("SAT_TEMPLATE")[60, 100] and not mask.isSet("SAT_TEMPLATE")[60, 180]


def test_componentsOfTheDifference():
    template, science = pair()
    template.photoCalib = PhotoCalib(20.0)
    template.image.array[...] /= 2
    template.variance.array[...] /= 4
    science.info.apCorrMap = {"science": 1}
    template.info.apCorrMap = {"template": 1}
    plain = taskOf(doDecorrelation=False).run(template, science, makeSources(STARS))
    difference, matched = plain.difference, plain.matchedTemplate
    assert difference.psf == science.psf and difference.info.apCorrMap == {"science": 1}
    assert (difference.wcs, difference.filter, difference.photoCalib) == (science.wcs, science.filter, CALIB)
    assert matched.psf == science.psf and matched.photoCalib == CALIB and matched.bbox == science.bbox
    assert difference.metadata["DIFFSIGN"] == "SCI-TMPL" and difference.metadata["CONVOLVD"] == "template"
    assert "DIFFSIGN" not in science.metadata
    # the matched template is on the flux scale of the science image
    np.testing.assert_allclose(matched.image.array + difference.image.array, science.image.array, atol=1e-3)
    other = taskOf(mode="convolveScience", doDecorrelation=False).run(template, science, makeSources(STARS))
    assert other.difference.psf == template.psf and other.difference.info.apCorrMap == {"template": 1}
    assert other.difference.photoCalib == CALIB and other.matchedTemplate.photoCalib == CALIB
    assert other.difference.metadata["CONVOLVD"] == "science"


def test_decorrelatedDifferenceHasItsOwnPsfAndNoApertureCorrections(usual):
    science = usual.science
    science.info.apCorrMap = {"science": 1}
    difference = usual.task.run(usual.template, science, makeSources(STARS)).difference
    science.info.apCorrMap = None
    assert difference.info.apCorrMap is None
    assert difference.psf.determinantRadius((128, 128)) < 0.99 * science.psf.determinantRadius((128, 128))
    assert difference.metadata["DECORR"] is True
    assert usual.task.metadata["noiseWhiteness"] < 0.02
    assert usual.task.metadata["decorrelationVarianceRatio"] == pytest.approx(1, abs=0.05)
    assert usual.task.metadata["decorrelationKernelSum"] == pytest.approx(1, abs=0.03)


def test_decorrelationFollowsTheKernelByDefault(usual):
    assert usual.task.metadata["decorrelationTiles"] > 1
    whole = taskOf(decorrelate__spatiallyVarying=False)
    whole.run(usual.template, usual.science, makeSources(STARS))
    assert whole.metadata["decorrelationTiles"] == 1


class PsfElsewhere(GaussianPsf):
    """A PSF that is not defined at its average position."""

    def computeShape(self, position=None):
        if position is None or position[0] < -1000:
            raise InvalidPsfError(f"no PSF at {position}")
        return super().computeShape(position)

    @property
    def averagePosition(self):
        from stillsky.geom import Point2D

        return Point2D(-5000.0, -5000.0)


def test_metadata(usual):
    metadata = usual.task.metadata
    assert metadata["templateCoveragePercent"] == 100
    assert metadata["sciencePsfSize"] == pytest.approx(2.354820045 * 2.4, rel=1e-3)
    assert metadata["templatePsfSize"] == pytest.approx(2.354820045 * 2.0, rel=1e-3)
    limits = [metadata[f"{name}LimitingMagnitude"] for name in ("science", "template", "diffim")]
    for limit, sigma in zip(limits, (2.4, 2.0)):
        flux = 5 * np.sqrt(np.pi * sigma**2) * CALIB.mean
        assert limit == pytest.approx(-2.5 * np.log10(flux / AB_ZERO_FLUX_NJY), abs=2e-3)
    flux = [10 ** (-0.4 * limit) for limit in limits]
    assert flux[2] == pytest.approx(np.hypot(flux[0], flux[1]), rel=1e-9)
    assert metadata["convolvedExposure"] == "Template"
    # the depth that knows the noise: that of the two images, and the PSF of the difference
    stamp = usual.results.difference.psf.computeKernelImage().array
    error = np.sqrt(2.0 / np.sum(stamp**2))
    assert metadata["fiveSigmaDifferenceMagnitude"] == pytest.approx(CALIB.magnitude(5 * error), abs=0.03)


def test_depthOfATemplateWhosePsfIsElsewhere():
    template, science = pair()
    template.psf = PsfElsewhere(31, 31, 2.0)
    task = taskOf()
    results = task.run(template, science, makeSources(STARS))
    width = task.metadata["templatePsfSize"]
    assert width == pytest.approx(2.354820045 * 2.0, rel=1e-3)
    flux = 5 * np.sqrt(np.pi) * width / 2 * CALIB.mean
    assert task.metadata["templateLimitingMagnitude"] == pytest.approx(
        -2.5 * np.log10(flux / AB_ZERO_FLUX_NJY), abs=2e-3
    )
    assert clipped(results.difference)[1] == pytest.approx(np.sqrt(2), rel=0.1)
    auto = taskOf(mode="auto", doDecorrelation=False)
    auto.run(template, science, makeSources(STARS))
    assert auto.metadata["convolvedExposure"] == "Template"  # its mean width is the smaller one


def test_footprintRatioTellsGoodFromWrongTemplates():
    stars = makeStars(25)
    science, sources = makeImage(stars, 2.4, 0.25, 6), makeSources(stars, 0.25)
    ratios = {}
    for sigma in (2.4, 9.5):
        task = taskOf()
        task.run(makeImage(stars, sigma, 0.25, 7, BORDER), science, sources)
        ratios[sigma] = task.metadata["differenceFootprintRatioMean"]
    assert ratios[2.4] < 0.02 and ratios[9.5] > 0.12


def test_chi2OfTheKernelStars():
    template, science = pair()
    for exposure in (template, science):
        exposure.variance.array[...] = 1.0  # the noise that was drawn
    task = taskOf()
    task.run(template, science, makeSources(STARS))
    assert task.metadata["differenceFootprintChi2Mean"] == pytest.approx(1, abs=0.15)
    template.psf = GaussianPsf(31, 31, 2.4)  # another kernel basis; the fit takes it up
    task.run(template, science, makeSources(STARS))
    assert task.metadata["differenceFootprintChi2Median"] == pytest.approx(1, abs=0.3)


def test_exchangingTheImagesNegatesTheDifference():
    a, b = (makeImage(STARS, sigma, 1.0, seed, BORDER) for sigma, seed in ((2.4, 6), (2.0, 7)))
    inner = Box2I((0, 0), (256, 256))
    task = taskOf(mode="auto")
    forth = task.run(b, a[inner], makeSources(STARS)).difference
    back = task.run(a, b[inner], makeSources(STARS, 1.0, 2.0)).difference
    sky = np.ones((256, 256), bool)
    yy, xx = np.mgrid[:256, :256]
    for x, y, _ in STARS:
        sky &= np.hypot(xx - x, yy - y) > 12
    total = (forth.image.array + back.image.array)[40:-40, 40:-40][sky[40:-40, 40:-40]]
    apart = (forth.image.array - back.image.array)[40:-40, 40:-40][sky[40:-40, 40:-40]]
    assert total.std() < 0.1 * apart.std()
    assert apart.mean() == pytest.approx(0, abs=0.1)
    assert apart.std() == pytest.approx(2 * np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("compat, left", [(False, 0.0), (True, -0.048)])
def test_fluxScaleOfAConvolvedScienceImage(compat, left):
    """(E9.1): a template of other flux scale leaves nothing of a constant star; dividing K x S alone does (C1)."""
    stars = makeStars(25, level=20000.0)
    template, science = pair(2.0, 2.4, (0.1, 0.1), stars)
    science.image.array[...] *= 1.05
    science.variance.array[...] *= 1.05**2
    sources = makeSources(stars, 0.1, 2.0)
    task = taskOf(mode="convolveScience", sourceSelector__doSignalToNoise=False, compat=compat, doDecorrelation=False)
    results = task.run(template, science, sources)
    center = results.difference.bbox.center
    assert results.psfMatchingKernel.imageAt(*map(float, center)).sum() == pytest.approx(1 / 1.05, rel=2e-3)
    shares = []
    for x, y, _ in stars:
        cut = (slice(int(y) - 8, int(y) + 9), slice(int(x) - 8, int(x) + 9))
        shares.append(results.difference.image.array[cut].sum() / results.matchedScience.image.array[cut].sum())
    # the reference leaves (K x S)/K_sum - T: of a star of science flux F the part 1 - K_sum
    assert np.mean(shares) == pytest.approx(left if not compat else 1 - 1 / 1.05, abs=0.003)


def test_kernelSumIsThatOfEveryPixel():
    """A kernel whose sum varies (C2): the difference is divided where it is."""
    template, science = pair(2.0, 2.4, (0.01, 0.01))
    g = np.exp(-0.5 * np.add.outer(np.arange(-12, 13) ** 2, np.arange(-12, 13) ** 2) / (2.4**2 - 2.0**2))
    slope = PolynomialFunction2([1.0, 0.002, 0.0])
    kernel = LinearCombinationKernel([FixedKernel(g / g.sum())], [slope])
    ramp = 1 + 0.002 * np.arange(-BORDER, 256 + BORDER, dtype=np.float32)
    template.image.array[...] *= ramp
    template.variance.array[...] *= ramp**2
    task = taskOf(mode="convolveScience", doScaleVariance=False)
    results = task.run(template, science, None, psfMatchingKernel=kernel)
    assert results.backgroundModel is None and results.kernelSources is None
    inner = (slice(30, -30), slice(30, -30))
    assert np.abs(results.difference.image.array[inner]).max() < 0.05 * results.matchedScience.image.array.max()
    flux = science.image.array[inner].sum()
    assert abs(results.difference.image.array[inner].sum()) < 2e-3 * flux
    sky = results.difference.variance.array[results.matchedScience.image.array < 0.003]
    assert np.median(sky) == pytest.approx(2e-4, rel=0.1)


def test_kernelHasTheSizeOfThePairOfPsfs():
    """Convolving the science image: the kernel is derived from both widths, not from one of them twice (F2)."""
    template, science = pair(2.0, 3.4)
    task = taskOf(mode="convolveScience")
    results = task.run(template, science, makeSources(STARS, 1.0, 2.0))
    widths = task.sciencePsfSize, task.templatePsfSize
    assert task.matchedPsfSize == widths[1] and widths[0] < widths[1]
    wanted = task.makeKernel.makeKernelBasisList(*widths)[0].width
    assert results.psfMatchingKernel.width == wanted
    assert wanted != task.makeKernel.makeKernelBasisList(widths[1], widths[1])[0].width


def test_backgroundOfAConvolvedScienceImageIsScaledToo():
    """With another flux scale the background of the fit must be divided as well (C3)."""
    template, science = pair(2.0, 2.4)
    science.image.array[...] *= 1.25
    science.image.array[...] += 40.0
    science.variance.array[...] *= 1.25**2
    task = taskOf(mode="convolveScience", doSubtractBackground=True)
    results = task.run(template, science, makeSources(STARS, 1.0, 2.0))
    assert results.backgroundModel(128.0, 128.0) == pytest.approx(40, abs=0.3)
    assert clipped(results.difference)[0] == pytest.approx(0, abs=0.3)


def test_fitsThatWouldTakeLongLeaveOutTheFaintest(usual):
    basis = usual.task.makeKernel.makeKernelBasisList(usual.task.templatePsfSize, usual.task.sciencePsfSize)
    perStar = 1.0 / affordableSources(basis[0].width, len(basis), 1.0)
    task = taskOf(maxKernelFitSeconds=10.5 * perStar)
    chosen = task.run(usual.template, usual.science, makeSources(STARS)).kernelSources
    left = task.metadata["kernelSourcesSkipped"]
    assert 9 <= len(chosen) <= 11 and left > 0 and len(chosen) + left == len(usual.results.kernelSources)
    dropped = set(usual.results.kernelSources["id"]) - set(chosen["id"])
    fluxes = dict(zip(usual.results.kernelSources["id"], usual.results.kernelSources["base_PsfFlux_instFlux"]))
    assert max(fluxes[i] for i in dropped) < min(fluxes[i] for i in chosen["id"])
    assert usual.task.metadata["kernelSourcesSkipped"] == 0
    assert affordableSources(35, 31, 120.0) > 1000  # what maxKernelSources lets through anyway


# ----------------------------------------------------------------------------------------------------- input


def test_inputsStayAsTheyAre(usual):
    template, science = pair()
    kept = copy.deepcopy((template, science))
    taskOf().run(template, science, makeSources(STARS))
    for exposure, before in zip((template, science), kept):
        assert exposure.maskedImage == before.maskedImage
        assert exposure.mask.schema == before.mask.schema
        assert dict(exposure.metadata) == dict(before.metadata)
    taskOf().run(template, science, makeSources(STARS), overwrite=True)
    assert np.array_equal(template.image.array, kept[0].image.array)
    assert not np.array_equal(template.variance.array, kept[0].variance.array)


@pytest.mark.parametrize("what", ["wcs", "band", "box", "psf", "photoCalib"])
def test_pairsThatDoNotBelongTogetherAreRefused(what):
    template, science = pair()
    error = MismatchError
    if what == "wcs":
        template.wcs = makeTanWcs((128.2, 128.0), np.radians((30.0, -20.0)), makeCdMatrix(0.2 / 3600))
    elif what == "band":
        template.filter = FilterLabel(band="i", physical="i-1")
    elif what == "box":
        template = template[Box2I((5, 5), (200, 200))]
    else:
        setattr(template, what, None)
        error = DomainError
    with pytest.raises(error) as info:
        taskOf().run(template, science, makeSources(STARS))
    assert isinstance(info.value, ValueError)


def test_uncalibratedImagesOnRequest():
    template, science = pair()
    template.photoCalib = science.photoCalib = None
    task = taskOf(assumeCalibrated=True)
    results = task.run(template, science, makeSources(STARS))
    assert clipped(results.difference)[1] == pytest.approx(np.sqrt(2), rel=0.1)
    assert np.isnan(task.metadata["diffimLimitingMagnitude"])


def test_nothingToSubtract():
    template, science = pair()
    with pytest.raises(pipeBase.NoWorkFound, match="no template"):
        taskOf().run(None, science, makeSources(STARS))
    science.image.array[...] = np.nan
    with pytest.raises(NoDataError, match="finite"):
        taskOf().run(template, science, makeSources(STARS))


def test_visitSummaryReplacesThePsf(caplog):
    template, science = pair()
    science.detector = types.SimpleNamespace(id=7)
    better = GaussianPsf(31, 31, 2.4)
    science.psf = GaussianPsf(31, 31, 3.1)
    corrections = {"base_PsfFlux": 1}
    task = taskOf(doApplyExternalCalibrations=True, doDecorrelation=False)
    summary = Table({"id": [3, 7]})
    summary["psf"] = np.array([None, better], object)
    summary["apCorrMap"] = np.array([None, corrections], object)
    found = task.run(template, science, makeSources(STARS), visitSummary=summary).difference
    assert found.psf is better and found.info.apCorrMap == corrections
    assert science.psf is not better  # the one that was given keeps its own
    other = {7: types.SimpleNamespace(psf=None, apCorrMap=None)}
    caplog.clear()
    assert task.run(template, science, makeSources(STARS), visitSummary=other).difference.psf == science.psf
    assert sum("keeps its own" in record.message for record in caplog.records) == 2
    caplog.clear()
    task.run(template, science, makeSources(STARS), visitSummary={})
    assert any("not in the visit summary" in record.message for record in caplog.records)


# ------------------------------------------------------------------------------------------- task framework


def test_configHasRubinsFieldsAndDefaults():
    config = AlardLuptonSubtractConfig()
    assert config.mode == "convolveTemplate"
    with pytest.raises(FieldValidationError):
        config.mode = "convolveNothing"
    kernel = config.makeKernel.kernel.active
    assert (kernel.fitForBackground, kernel.spatialKernelOrder, kernel.spatialBgOrder) == (True, 1, 2)
    assert (config.doDecorrelation, config.doScaleVariance, config.doSubtractBackground) == (True, True, False)
    assert (config.requiredTemplateFraction, config.minTemplateFractionForExpectedSuccess) == (0.1, 0.2)
    assert (config.maxKernelSources, config.minKernelSources, config.restrictKernelEdgeSources) == (1000, 3, True)
    assert list(config.excludeMaskPlanes) == ["NO_DATA", "BAD", "SAT", "EDGE", "FAKE", "HIGH_VARIANCE"]
    assert list(config.badMaskPlanes) == ["NO_DATA", "BAD", "SAT", "EDGE"]
    assert list(config.preserveTemplateMask) == ["NO_DATA", "BAD", "HIGH_VARIANCE"]
    assert list(config.renameTemplateMask) == ["SAT", "INJECTED", "INJECTED_CORE"]
    assert len(config.preserveMaskPlanes) == 4 and config.allowKernelSourceDetection is False
    assert config.sourceSelector.doIsolated and not config.fallbackSourceSelector.doIsolated
    limits = config.sourceSelector.signalToNoise
    assert (limits.minimum, limits.maximum) == (10.0, 500.0)
    assert AlardLuptonSubtractTask._DefaultName == "alardLuptonSubtract"
    config.validate()


def connectionsOf(config):
    return config.connections.ConnectionsClass(config=config)


def test_connections():
    config = AlardLuptonSubtractConfig()
    made = connectionsOf(config)
    assert set(made.inputs) == {"template", "science", "sources"}
    assert set(made.outputs) == {"difference", "matchedTemplate", "psfMatchingKernel", "kernelSources"}
    assert made.difference.name == "deepDiff_differenceTempExp" and made.science.name == "calexp"
    assert made.dimensions == {"instrument", "visit", "detector"}
    config.doApplyExternalCalibrations = True
    assert "visitSummary" in connectionsOf(config).inputs
    simple = SimplifiedSubtractConfig()
    assert set(connectionsOf(simple).inputs) == {"template", "science", "inputPsfMatchingKernel"}
    assert "psfMatchingKernel" not in connectionsOf(simple).outputs
    simple.useExistingKernel = False
    assert set(connectionsOf(simple).inputs) == {"template", "science"}
    assert "psfMatchingKernel" in connectionsOf(simple).outputs


class Context:
    """What `runQuantum` needs of a butler."""

    def __init__(self, **inputs):
        self.inputs, self.written = inputs, None

    def get(self, _):
        return dict(self.inputs)

    def put(self, values, _):
        self.written = values


def test_quantum(usual):
    context = Context(template=usual.template.copy(), science=usual.science.copy(), sources=makeSources(STARS))
    taskOf().runQuantum(context, None, None)
    assert context.inputs["science"].maskedImage == usual.science.maskedImage  # others read it, too
    assert context.written.difference.maskedImage == usual.results.difference.maskedImage
    failing = Context(template=usual.template.copy(), science=usual.science.copy(), sources=makeSources(STARS)[:2])
    with pytest.raises(pipeBase.AnnotatedPartialOutputsError):
        taskOf().runQuantum(failing, None, None)
    assert failing.written is None


def test_simplifiedTaskUsesAKernelThatExists(usual):
    plain = taskOf(doSubtractBackground=True).run(usual.template, usual.science, makeSources(STARS))
    simple = taskOf(SimplifiedSubtractTask)
    again = simple.run(usual.template, usual.science, inputPsfMatchingKernel=plain.psfMatchingKernel)
    np.testing.assert_allclose(
        again.difference.image.array, usual.results.difference.image.array, atol=1e-3
    )  # no background either way
    with pytest.raises(DomainError, match="useExistingKernel"):
        simple.run(usual.template, usual.science)
    own = taskOf(SimplifiedSubtractTask, useExistingKernel=False).run(usual.template, usual.science)
    assert len(own.kernelSources) > 5
    assert clipped(own.difference)[1] == pytest.approx(np.sqrt(2), rel=0.1)


def test_topLevelNames():
    import stillsky

    assert stillsky.AlardLuptonSubtractTask is AlardLuptonSubtractTask
    assert stillsky.SimplifiedSubtractTask is SimplifiedSubtractTask
    assert stillsky.AlardLuptonPreconvolveSubtractTask._DefaultName == "alardLuptonPreconvolveSubtract"


def test_templateOfOneGridWithoutWcs():
    template, science = pair(wcs=None)
    assert template.wcs is None and WCS is not None
    assert clipped(taskOf().run(template, science, makeSources(STARS)).difference)[1] == pytest.approx(1.414, rel=0.1)


def test_masksAreReadByName():
    """Planes with other bits in the template mean the same."""
    template, science = pair()
    setPlane(template, "BAD", 100, 60)
    schema = {name: (bit + 3) % 11 for name, bit in dict(template.mask.schema).items()}
    moved = Mask(template.mask.array, template.xy0, template.mask.schema).copy()
    moved.conformTo(schema)
    other = template.copy()
    other.mask.array[...] = moved.array
    other.mask.schema = moved.schema
    results = [taskOf().run(t, science, makeSources(STARS)).difference for t in (template, other)]
    assert results[0].maskedImage == results[1].maskedImage
