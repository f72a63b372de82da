"""DcrModel and its regularisations: checks G1 to G4 and G10, templates."""

import numpy as np
import pytest
from dcr_scene import (
    BAND,
    config,
    makeExposures,
    makeScene,
    scene,
    sceneWcs,
    shiftsOf,
    visitInfoOf,
)
from scipy import ndimage

from stillsky.dcr import DcrModel, applyDcr, regularize
from stillsky.dcr.model import ModelHandle, matchedTemplate, shiftNoiseFactor
from stillsky.errors import DomainError, NoDataError, OutOfBoundsError, ShapeError, StillskyError
from stillsky.geom import Box2I
from stillsky.image import Exposure, Image


@pytest.fixture(scope="module")
def made():
    return makeScene()


@pytest.fixture
def model(made):
    template = makeExposures(made)[1]
    return DcrModel.fromImage(
        template.maskedImage, 3, *BAND, template.wcs, template.filter, template.psf, template.photoCalib
    )


# ------------------------------------------------------------------ G1, G2


@pytest.mark.parametrize("gain", [1, 3])
def testConditionMixesOldAndNew(model, gain):
    """G1."""
    same = [image.copy() for image in model]
    model.conditionDcrModel(same, model.bbox, gain=gain)
    for got, old in zip(same, model, strict=True):
        np.testing.assert_allclose(got, old, rtol=1e-6)
    triple = [3 * image for image in model]
    model.conditionDcrModel(triple, model.bbox, gain=gain)
    for got, old in zip(triple, model, strict=True):
        np.testing.assert_allclose(got, (3 * gain + 1) / (gain + 1) * old, rtol=1e-6)


def testThresholdsClampDiamondsAndLeaveNoise(model):
    """G2: width 2."""
    high, low = np.full((41, 41), 2.0), np.full((41, 41), -2.0)
    y, x = np.mgrid[:41, :41]
    diamond = np.abs(y - 10) + np.abs(x - 10) <= 2
    for sign in (1, -1):
        image = np.zeros((41, 41))
        image[8:13, 8:13] = 5 * sign
        image[20, 30] = 9 * sign
        image[30:33, 30:33] = 7 * sign
        wanted = image.copy()
        wanted[diamond] = 2 * sign
        model.applyImageThresholds(image, high, low, 2)
        np.testing.assert_array_equal(image, wanted)
    assert diamond.sum() == 13
    image = np.array([[0.0, 5.0]])
    model.applyImageThresholds(image, np.array([[1.0, 1.0]]), None, 0)
    np.testing.assert_array_equal(image, [[0, 1]])


def testIterationClampKeepsTheFactor(model):
    part = Box2I((10, 10), (60, 60))
    old = model[1][part.slices()].copy()
    new = old * 10
    model.regularizeModelIter(1, new, part, 2.0, 0)
    np.testing.assert_allclose(new[old > 0], 2 * old[old > 0], rtol=1e-6)
    close = old * 10
    regularize.clampIteration(close, old, 2.0, 0, amplification=3.0)  # amplified: 1 + 3 * 1/3
    np.testing.assert_allclose(close[old > 0], 4 / 3 * old[old > 0], rtol=1e-6)
    negative = np.full_like(old, -1e4)
    regularize.clampIteration(negative, np.abs(old), 2.0, 0, amplification=3.0)
    np.testing.assert_allclose(negative, 2 / 3 * np.abs(old), rtol=1e-6)


# ------------------------------------------------------------------ G3


def coloured(rng, n=3, size=160, sigma=2.0, background=0.0):
    """Sources whose fluxes differ between subfilters by up to a factor of ten, one frame per subfilter."""
    y, x = np.mgrid[:size, :size]
    images = [rng.normal(0, background, (size, size)) if background else np.zeros((size, size)) for _ in range(n)]
    for i in range(12):
        cx, cy = 20 + 40 * (i % 4) + rng.uniform(-3, 3), 25 + 50 * (i // 4) + rng.uniform(-3, 3)
        star = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
        for image, factor in zip(images, np.roll((1.0, 3.0, 10.0), i), strict=True):
            image += 1000 * factor * rng.uniform(0.95, 1) * star
    return [image.astype(np.float32) for image in images]


def _asModel(images, detected):
    exposure = makeLike(np.sum(images, axis=0).astype(np.float32), detected)
    model = DcrModel.fromImage(exposure.maskedImage, len(images), *BAND, sceneWcs())
    mean = np.mean(images, axis=0)
    for k in range(len(images)):
        model[k] = mean
    return model


def makeLike(array, detected):
    from stillsky.image import makeExposure

    exposure = makeExposure(array, variance=1.0, wcs=sceneWcs())
    exposure.mask.array[detected] |= exposure.mask.bitmask("DETECTED")
    return exposure


@pytest.mark.parametrize("rule", ["default", "reference"])
def testColourClampReducesTheSpread(rng, rule):
    """G3: max(model - mean) of sources that differ by up to 10 times, factor 2; side lobes."""
    images = coloured(rng, background=3.0)
    mean = np.mean(images, axis=0)
    model = _asModel(images, mean > 30)
    new = [image.copy() for image in images]
    before = [float((image - mean).max()) for image in new]
    model.regularizeModelFreq(new, model.bbox, None, 2.0, 2, model=rule)
    after = [float((image - mean).max()) for image in new]
    assert all(a < b for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize("rule", ["default", "reference"])
def testSideLobesAreReduced(rng, rule):
    """G3: lobes of signs -1, 0, +1 at 4 pixels."""
    y, x = np.mgrid[:80, :80]
    star = lambda dx: np.exp(-((x - 40 - dx) ** 2 + (y - 40) ** 2) / 8)  # noqa: E731
    base = 5000 * star(0) + rng.normal(0, 3, (80, 80))
    lobe = 1500 * (star(4) - star(-4))
    images = [(base + sign * lobe).astype(np.float32) for sign in (-1, 0, 1)]
    model = _asModel(images, ndimage.binary_dilation(base > 30, iterations=2))
    new = [image.copy() for image in images]
    model.regularizeModelFreq(new, model.bbox, None, 4.0, 2, model=rule)
    for k in (0, 2):
        assert np.abs(new[k] - base).sum() < 0.9 * np.abs(images[k] - base).sum()


@pytest.mark.parametrize(("sigma", "excess"), [(1, 3.8), (1.5, 1.3), (2, 0.55), (3, 0.16)])
def testIdenticalSubfiltersStayAsTheyAre(sigma, excess):
    """G3: unchanged by default; the reference adds flux to them."""
    y, x = np.mgrid[:81, :81]
    star = (33333 / (2 * np.pi * sigma**2) * np.exp(-((x - 40) ** 2 + (y - 40) ** 2) / (2 * sigma**2))).astype(
        np.float32
    )
    model = _asModel([star] * 3, star > 5)
    near = np.hypot(x - 40, y - 40) <= 12
    for rule in ("default", "reference"):
        new = [star.copy() for _ in range(3)]
        model.regularizeModelFreq(new, model.bbox, None, 4.0, 2, model=rule)
        if rule == "default":
            for image in new:
                np.testing.assert_array_equal(image, star)
        else:
            flux = float(new[0][near].sum(dtype=float)) / float(star[near].sum(dtype=float))
            assert 100 * (flux - 1) == pytest.approx(excess, rel=0.2)


def testColourClampKeepsTheSum(rng):
    """10.5.11: what is taken from one subfilter is given to all."""
    images = coloured(rng, background=3.0)
    total = np.sum(images, axis=0)
    model = _asModel(images, total > 90)
    model.regularizeModelFreq(images, model.bbox, None, 2.0, 2)
    np.testing.assert_allclose(np.sum(images, axis=0), total, atol=1e-5 * total.max())


def testColourClampWithoutBackgroundDoesNothing(rng):
    """10.5.11: no NaN model where every pixel is a source; boxes below eleven pixels."""
    for size in (60, 9):
        images = [image[:size, :size].copy() for image in coloured(rng, size=160)]
        model = _asModel(images, np.ones((size, size), bool))
        new = [image.copy() for image in images]
        model.regularizeModelFreq(new, model.bbox, None, 2.0, 2)
        for got, image in zip(new, images, strict=True):
            np.testing.assert_array_equal(got, image)


def testNoiseCutoffTakesTheCallersPlanes(made, model, rng):
    """Goldens 8, 14: planes of the caller, not a fixed one."""
    image = rng.normal(0, 7, model.bbox.shape)
    image[made.detected] += 1e4
    assert model.calculateNoiseCutoff(image, None, 3) == pytest.approx(7, rel=0.05)
    model.mask.array[...] = 0
    model.mask.array[made.detected] = 1 << model.mask.addPlane("MINE")
    assert model.calculateNoiseCutoff(image, None, 3, ["MINE"]) == pytest.approx(7, rel=0.05)
    assert model.calculateNoiseCutoff(image, None, 3, "DETECTED") > 100


# ------------------------------------------------------------------ G4, G10


def testIndices(model):
    """G4."""
    assert model[-1] is model.modelImages[2]
    for k in (3, -3):
        with pytest.raises(OutOfBoundsError):
            model[k]
        with pytest.raises(IndexError):
            model[k] = model[0]
    with pytest.raises(ValueError, match="box"):
        model[0] = Image(np.zeros((96, 95), np.float32))
    with pytest.raises(ValueError, match="box"):
        model[0] = Image(np.zeros((96, 96), np.float32), (5, 0))
    assert len(model) == 3 and len(list(model)) == 3


def testAssignWantsTheSameSubfilters(made, model):
    """G4."""
    template = makeExposures(made)[1]
    with pytest.raises(ValueError, match="3 subfilters"):
        model.assign(DcrModel.fromImage(template.maskedImage, 2, *BAND))
    other = DcrModel.fromImage(template.maskedImage, 3, *BAND)
    other[0] = other[0] + 5
    part = Box2I((4, 6), (10, 8))
    before = model[0].copy()
    model.assign(other, part)
    changed = model[0] != before
    assert changed[part.slices()].all() and changed.sum() == part.area
    with pytest.raises(ShapeError):
        model.assign(other, Box2I((90, 90), (10, 10)))


def testTemplatesNeedAVisitAndABand(made, model):
    """G4; effective wavelength and bandwidth."""
    with pytest.raises(ValueError, match="visitInfo"):
        model.buildMatchedTemplate()
    with pytest.raises(ValueError, match="visitInfo"):
        model.buildMatchedExposureHandle()
    template = makeExposures(made)[1]
    blind = DcrModel.fromImage(template.maskedImage, 3, None, None, template.wcs)
    with pytest.raises(DomainError, match="effectiveWavelength"):
        blind.buildMatchedTemplate(visitInfo=visitInfoOf(1.3, 20))
    with pytest.raises(RuntimeError, match="calibration"):
        DcrModel.fromImage(template.maskedImage, 3, *BAND, template.wcs).buildMatchedExposure(
            visitInfo=visitInfoOf(1.3, 20)
        )


def testVariancesAddUpToTheTemplates(made, model):
    """G10."""
    template = makeExposures(made)[1]
    np.testing.assert_allclose(model.variance.array, template.variance.array / 3)
    exposure = model.buildMatchedExposure(visitInfo=visitInfoOf(1.7, 60))
    np.testing.assert_allclose(exposure.variance.array, template.variance.array, rtol=1e-6)
    assert exposure.wcs == template.wcs and exposure.psf == template.psf and exposure.photoCalib == template.photoCalib
    assert exposure.visitInfo == visitInfoOf(1.7, 60) and exposure.filter == template.filter
    np.testing.assert_array_equal(exposure.mask.array, template.mask.array)


# ------------------------------------------------------------------ templates


@pytest.mark.parametrize("order", [1, 3])
def testMatchedTemplateIsTheSumOfShiftedModels(made, model, rng, order):
    for k in range(3):
        model[k] = (model[k] * rng.uniform(0.5, 2)).astype(np.float32)
    info, shifts = visitInfoOf(1.7, 60), shiftsOf(1.7, 60)
    wanted = sum(applyDcr(image, s, order=order) for image, s in zip(model, shifts, strict=True))
    got = model.buildMatchedTemplate(visitInfo=info, order=order, splitSubfilters=False)
    np.testing.assert_allclose(got, wanted, atol=2e-6 * wanted.max())
    amplified = model.buildMatchedTemplate(visitInfo=info, order=order, splitSubfilters=False, amplifyModel=3)
    mean = model.getReferenceImage()
    wanted = sum(applyDcr((m - mean) * 3 + mean, s, order=order) for m, s in zip(model, shifts, strict=True))
    np.testing.assert_allclose(amplified, wanted, atol=2e-6 * wanted.max())
    pair = shiftsOf(1.7, 60, split=True)
    wanted = sum(applyDcr(m, p, splitSubfilters=True, order=order) for m, p in zip(model, pair, strict=True))
    np.testing.assert_allclose(
        model.buildMatchedTemplate(visitInfo=info, order=order), wanted, atol=2e-6 * wanted.max()
    )


def testTemplateOfABoxIsClippedToTheModel(model):
    info = visitInfoOf(1.7, 60)
    whole = model.buildMatchedExposure(visitInfo=info)
    part = model.buildMatchedExposure(visitInfo=info, bbox=Box2I((20, 30), (200, 25)))
    assert part.bbox == Box2I((20, 30), (76, 25))
    inner = Box2I((30, 38), (60, 10))
    np.testing.assert_allclose(part.image[inner].array, whole.image[inner].array, rtol=1e-3, atol=0.5)
    with pytest.raises(ShapeError, match="overlaps"):
        model.buildMatchedTemplate(visitInfo=info, bbox=Box2I((500, 500), (5, 5)))


def testExposureGivesItsVisitButNotItsWcs(made, model):
    warps, _ = makeExposures(made)
    from stillsky.wcs import makeCdMatrix, makeTanWcs

    turned = Exposure(warps[3].maskedImage, wcs=makeTanWcs((0, 0), (1.0, -0.5), makeCdMatrix(0.3 / 3600, 1.0)),
                      visitInfo=warps[3].visitInfo)  # fmt: skip
    np.testing.assert_array_equal(
        model.buildMatchedTemplate(exposure=turned), model.buildMatchedTemplate(visitInfo=warps[3].visitInfo)
    )
    handle = model.buildMatchedExposureHandle(exposure=turned)
    np.testing.assert_array_equal(handle.get().image.array, model.buildMatchedExposure(turned).image.array)
    box = Box2I((3, 4), (10, 12))
    assert handle.get(parameters={"bbox": box}).bbox == box and handle.get(component="wcs") == model.wcs


def testModelOfQuantumSortsSubfilters(made, model):
    coadds = []
    for k in (2, 0, 1):
        exposure = makeLike(np.full((20, 30), k, np.float32), np.zeros((20, 30), bool))
        coadds.append(ModelHandle(exposure, {"subfilter": k}))
    read = DcrModel.fromQuantum(coadds, *BAND, 3)
    assert [float(image[0, 0]) for image in read] == [0, 1, 2]
    partial = DcrModel.fromQuantum(coadds[:2], *BAND, 3)
    assert partial[1] is None
    with pytest.raises(StillskyError, match="subfilter 1 of 3"):
        partial.getReferenceImage()
    with pytest.raises(NoDataError):
        DcrModel.fromQuantum([], *BAND)
    with pytest.raises(OutOfBoundsError):
        DcrModel.fromQuantum(coadds, *BAND, 2)


def testNanPixelsOfTheTemplateBecomeZero(made):
    template = makeExposures(made)[1]
    template.image.array[5, 6] = np.nan
    model = DcrModel.fromImage(template.maskedImage, 3, *BAND)
    assert all(image[5, 6] == 0 and np.isfinite(image).all() for image in model)
    with pytest.raises(DomainError):
        DcrModel.fromImage(template.maskedImage, 0, *BAND)


def testBandLimitsStandForABand(made):
    c = config(effectiveWavelength=None, bandwidth=None, bandLimits=[405.0, 552.0])
    assert c.band == (478.5, 147.0, (405.0, 552.0))
    assert config().band == (*BAND, None)


def testSharesAddUpWithoutShifts():
    """Without shifts the shares add up to what was shared."""
    image = scene(1.0001, 0)
    zero = [(0.0, 0.0)] * 3
    np.testing.assert_allclose(matchedTemplate([image / 3] * 3, zero), image, atol=1e-6 * image.max())


@pytest.mark.parametrize("order", [1, 3])
def testNoiseOfATemplateIsWhatItsShiftsLeave(rng, order):
    """10.5.20: white noise through the shifts of a template, against the factor; D11's figures for one shift."""
    half = [((0.5, 0.5), (0.5, 0.5))]
    assert shiftNoiseFactor(half, order) == pytest.approx({1: 0.25, 3: 0.756**2}[order], rel=0.02)
    assert shiftNoiseFactor([((2.0, -1.0), (2.0, -1.0))], order) == pytest.approx(1, abs=1e-5)
    pairs = [((0.9, 0.4), (0.6, 0.25)), ((0.1, 0.05), (-0.1, -0.05)), ((-0.4, -0.2), (-0.6, -0.3))]
    noise = rng.normal(size=(300, 300)).astype(np.float32)
    moved = matchedTemplate([noise / 3] * 3, pairs, order, True)[10:-10, 10:-10]
    assert np.var(moved) == pytest.approx(shiftNoiseFactor(pairs, order), rel=0.03)


# ------------------------------------------------------------------ compiled and not


@pytest.mark.parametrize("amplification", [1.0, 3.0])
@pytest.mark.parametrize("width", [0, 2, 3])
def testCompiledRegularisationsAreThoseOfScipy(rng, amplification, width):
    """float32 images take the compiled loops, others those of NumPy and SciPy: the same, negative pixels and noise included."""
    old = (ndimage.gaussian_filter(rng.normal(0, 1, (70, 83)), 3) * 300).astype(np.float32)
    new = [(old * f + ndimage.gaussian_filter(rng.normal(0, 20, old.shape), s)).astype(np.float32)
           for f, s in ((1.9, 0.5), (0.2, 2), (1, 1))]  # fmt: skip
    excluded = old > 5
    new[1][3, 4] = np.nan
    found, wanted = ([image.astype(kind) for image in new] for kind in (np.float32, np.float64))
    noises = [regularize.noiseCutoff(images[1], excluded, 2) for images in (found, wanted)]
    assert noises[0] == pytest.approx(noises[1], rel=1e-6)
    for images in (found, wanted):
        images[1][3, 4] = 7.0
    changed = 0
    for a, b in zip(found, wanted, strict=True):
        before = b.copy()
        regularize.clampIteration(a, old, 2.0, width, amplification)
        regularize.clampIteration(b, old.astype(float), 2.0, width, amplification)
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        changed += np.count_nonzero(b != before)
    assert changed > 20
    regularize.clampColors(found, noises[0], 4.0, width, amplification)
    before = wanted[0].copy()
    regularize.clampColors(wanted, noises[1], 4.0, width, amplification)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)
    assert np.any(wanted[0] != before)
