"""Coadds in subfilters from exposures: from pixels, masks and visits to a template for another visit."""

import numpy as np
import pytest
from dcr_scene import (
    AIRMASSES,
    ANGLES,
    BAND,
    NOISE,
    SIZE,
    assertColours,
    config,
    makeExposures,
    makeScene,
    scene,
    shiftsOf,
    sourceFluxes,
    visitInfoOf,
)

from stillsky.dcr import assembleDcr, calculateDcr
from stillsky.dcr.algorithm import _PlainScheme
from stillsky.dcr.model import DcrModel, ModelHandle
from stillsky.errors import DomainError, NoDataError
from stillsky.geom import Box2I


@pytest.fixture(scope="module")
def made():
    return makeScene()


@pytest.fixture(scope="module")
def exposures(made):
    return makeExposures(made)


@pytest.fixture(scope="module")
def result(exposures):
    return assembleDcr(*exposures, config())


class Handle(ModelHandle):
    """A handle that reads boxes, and counts its pixels."""

    def __init__(self, exposure, dataId):
        super().__init__(exposure, dataId)
        self.pixels = 0

    def get(self, component=None, parameters=None):
        got = super().get(component, parameters)
        if component is None:
            self.pixels += got.bbox.area
        return got


def testShiftsOfTheSceneAreThoseOfItsVisits(exposures):
    for warp, airmass, angle in zip(exposures[0], AIRMASSES, ANGLES, strict=True):
        got = calculateDcr(warp.visitInfo, warp.wcs, *BAND, 3, bbox=warp.bbox)
        np.testing.assert_allclose(got, shiftsOf(airmass, angle), atol=1e-7)


def testVisitsBecomeSubfiltersThatAddUp(result, exposures):
    """G11 with exposures, and G10."""
    template = exposures[1]
    assertColours(result.models)
    fluxes = sourceFluxes(assembleDcr(*exposures, config(prior="none")).models)  # see assertColours
    np.testing.assert_allclose(fluxes[0], [0.2, 1 / 3, 0.467], atol=0.02)
    np.testing.assert_allclose(fluxes[1], [0.467, 1 / 3, 0.2], atol=0.035)
    np.testing.assert_allclose(fluxes[2], 1 / 3, atol=0.02)
    assert result.initialConvergence == pytest.approx(0.1075, rel=0.2)
    assert result.finalConvergence < 0.006 and result.convergence[0] == result.initialConvergence
    assert np.all(result.residualRms < 0.2 * result.initialResidualRms)
    assert [v.name for v in result.visits] == [str(100 + i) for i in range(8)] and not result.skipped
    np.testing.assert_allclose([v.airmass for v in result.visits], AIRMASSES)
    np.testing.assert_allclose([v.parallacticAngle for v in result.visits], ANGLES, atol=1e-6)
    for coadd, model in zip(result.dcrCoadds, result.models, strict=True):
        np.testing.assert_array_equal(coadd.image.array, model)
        np.testing.assert_allclose(coadd.variance.array, template.variance.array / 3)
        assert coadd.metadata["BUNIT"] == "nJy" and coadd.psf == template.psf and coadd.wcs == template.wcs
    assert [c.metadata["SUBFILT"] for c in result.dcrCoadds] == [0, 1, 2]
    np.testing.assert_allclose(result.coadd.variance.array, template.variance.array, rtol=1e-6)
    np.testing.assert_allclose(
        result.coadd.image.array, np.sum(result.models.modelImages, axis=0), rtol=1e-5, atol=1e-3
    )
    assert result.metricMap.shape == (2, 1) and result.metadata["nIterations"] == result.nIterations


def testCountsOfVisits(result):
    """G8: M in each subfilter inside, N M in all."""
    inner = slice(4, -4), slice(4, -4)
    for n in result.nImages:
        assert n.array.dtype == np.uint16 and np.all(n.array[inner] == 8)
    assert np.all(result.nImage.array[inner] == 24)


def testTemplateForAnotherVisit(result, made):
    """G12 through the public calls."""
    template = result.models.buildMatchedExposure(visitInfo=visitInfoOf(1.7, 60), order=1)
    held = scene(1.7, 60)
    rms = np.sqrt(np.mean((template.image.array - held)[made.detected] ** 2))
    plain = np.sqrt(np.mean((made.template - held)[made.detected] ** 2))
    assert rms < plain / 5


def testBadPixelsCostLittle(made, result):
    rng = np.random.default_rng(5)
    good = rng.random((8, SIZE, SIZE)) > 0.1
    masked = assembleDcr(*makeExposures(made, good), config())
    assert np.isfinite(masked.coadd.image.array).all()
    np.testing.assert_allclose(sourceFluxes(masked.models), sourceFluxes(result.models), atol=0.02)
    assert masked.nImage.array.min() < result.nImage.array.min() or masked.nImage.array.mean() < 24


def testPixelsThatNoVisitSawStayTheTemplate(made, exposures):
    good = np.ones((8, SIZE, SIZE), bool)
    good[:, 60:72, 40:60] = False  # across the flat source
    seen = assembleDcr(*makeExposures(made, good), config())
    middle = slice(64, 68), slice(46, 54)
    for model, n in zip(seen.models, seen.nImages, strict=True):
        np.testing.assert_allclose(model[middle], made.template[middle] / 3, rtol=1e-5)
        assert np.all(n.array[middle] == 0)


@pytest.mark.parametrize("solver", ["conjugateGradients", "published"])
def testHandlesAndMemoryDoNotShow(exposures, solver):
    """G13: rows read again in each pass, and another division into subregions, give the same bits."""
    warps, template = exposures
    wanted = assembleDcr(warps, template, config(solver=solver))
    handles = [Handle(w, {"visit": 100 + i}) for i, w in enumerate(warps)]
    got = assembleDcr(handles, template, config(solver=solver, memory=1, subregionSize=[37, 41]))
    for a, b in zip(got.models, wanted.models, strict=True):
        np.testing.assert_array_equal(a, b)
    assert got.convergence == wanted.convergence
    assert all(h.pixels > 10 * SIZE**2 for h in handles)
    kept = [Handle(w, {"visit": 100 + i}) for i, w in enumerate(warps)]
    assembleDcr(kept, template, config(solver=solver))
    assert all(h.pixels <= SIZE**2 + 1 for h in kept)


def testWeightsCount(made, exposures):
    """10.5.5: a bad visit with little weight does little harm."""
    warps, template = exposures
    spoilt = [warps[0].copy(), *warps[1:]]
    spoilt[0].image.array[...] += 300 * np.random.default_rng(2).normal(size=(SIZE, SIZE)).astype(np.float32)
    weights = np.ones(8)
    truth = sourceFluxes(assembleDcr(warps[1:], template, config()).models)
    heavy = sourceFluxes(assembleDcr(spoilt, template, config(), weights=weights).models)
    weights[0] = 1e-4
    light = sourceFluxes(assembleDcr(spoilt, template, config(), weights=weights).models)
    assert np.abs(light - truth).max() < 0.1 * np.abs(heavy - truth).max()


def testCompatAgreesWithTheStepsOfTheTask(made):
    """compat: one subregion after the other by the published steps; the metric is that of G11."""
    warps, template = makeExposures(made, era=True)
    whole = assembleDcr(warps, template, config(compat=True))
    assert whole.solver == "published" and whole.nIterations == 11
    assert whole.finalConvergence == pytest.approx(0.0114, rel=0.2)
    np.testing.assert_allclose(sourceFluxes(whole.models)[0], [0.184, 0.376, 0.470], atol=0.01)
    cut = assembleDcr(warps, template, config(compat=True, subregionSize=[48, 48]))
    assert cut.finalConvergence < 0.03  # it does depend on the subregions, which is why the default does not do this


def testVisitsThatCannotBeUsedAreNamed(exposures):
    warps, template = exposures
    blind, empty, low = warps[0].copy(), warps[1].copy(), warps[2].copy()
    blind.visitInfo = None
    empty.image.array[...] = np.nan
    low.visitInfo = visitInfoOf(1.2, 80).copyWith(boresightAzAlt=(0.3, 0.05))
    usable = assembleDcr([blind, empty, low, *warps[3:]], template, config())
    assert len(usable.visits) == 5 and [u.index for u in usable.visits] == [3, 4, 5, 6, 7]
    reasons = [reason for _, reason in usable.skipped]
    assert "visitInfo" in reasons[0] and "good" in reasons[1] and "10 to 90 degrees" in reasons[2]
    with pytest.raises(DomainError, match="10 to 90"):
        assembleDcr([low, *warps[3:]], template, config(), strict=True)
    with pytest.raises(NoDataError, match="no warp"):
        assembleDcr([blind], template, config())
    with pytest.raises(NoDataError, match="no warp"):
        assembleDcr([], template, config())


def testBandMustBeKnown(exposures):
    from stillsky.dcr.config import DcrConfig

    with pytest.raises(DomainError, match="band is not known"):
        assembleDcr(*exposures, DcrConfig())
    with pytest.raises(DomainError, match="230"):
        assembleDcr(*exposures, config(effectiveWavelength=200.0, bandwidth=10.0), strict=True)


def testWithoutSourcesTheSubfiltersAreShares(made):
    warps, template = makeExposures(made)
    for exposure in (*warps, template):
        exposure.mask.array[...] = 0
    plain = assembleDcr(warps, template, config())
    for model in plain.models:
        np.testing.assert_allclose(model, made.template / 3, rtol=1e-6)
    assert np.isnan(plain.finalConvergence) and any("DETECTED" in note or "convergence" in note for note in plain.notes)


def testOneVisitAndWarpsThatCoverAPart(made, exposures, result):
    warps, template = exposures
    one = assembleDcr(warps[:1], template, config())
    assert np.isfinite(one.coadd.image.array).all() and one.nImages[0].array.max() == 1  # 10.5.4
    half = [warps[0][Box2I((0, 0), (96, 60))], *warps[1:]]
    part = assembleDcr(half, template, config())
    assert part.nImages[1].array[80, 48] == 7 and part.nImages[1].array[30, 48] == 8
    np.testing.assert_allclose(sourceFluxes(part.models), sourceFluxes(result.models), atol=0.03)


# ------------------------------------------------------------------ the steps by name


class Control:
    andMask = 1 | 2 | 256  # BAD, SAT, NO_DATA


@pytest.fixture
def scheme(exposures):
    made = _PlainScheme(config(solver="published"), 3, None)
    template = exposures[1]
    model = DcrModel.fromImage(template.maskedImage, 3, *BAND, template.wcs, template.filter, template.psf,
                               template.photoCalib)  # fmt: skip
    return made, model


def testMetricOfSimpleCases(scheme, exposures):
    """G6."""
    steps, model = scheme
    warp = exposures[0][3].copy()
    template = steps._template(model, warp, model.bbox)
    for scale, wanted in ((1.0, 0.0), (2.0, 2 / 3)):
        warp.image.array[...] = scale * template
        for significance in (np.abs(template) + 1, 7 * (np.abs(template) + 1)):
            got = steps.calculateSingleConvergence(model, warp, significance.astype(np.float32), Control)
            assert got == pytest.approx(wanted, abs=1e-6)
    zero = DcrModel([np.zeros_like(m) for m in model], *BAND, bbox=model.bbox, wcs=model.wcs, mask=model.mask)
    assert steps.calculateSingleConvergence(zero, warp, np.ones_like(template), Control) == pytest.approx(2)
    warp.mask.array[...] = 0
    assert np.isnan(steps.calculateSingleConvergence(model, warp, np.ones_like(template), Control))
    steps.config = config(solver="published", compat=True)
    assert steps.calculateSingleConvergence(model, warp, np.ones_like(template), Control) == 0


def testCoverageWithoutShifts(scheme, exposures, monkeypatch):
    """G8: M visits without masks and shifts; one visit counts, but not in compat."""
    steps, model = scheme
    import stillsky.dcr.shifts as shifts

    real = shifts.calculateDcr
    monkeypatch.setattr(
        shifts, "calculateDcr", lambda *a, **k: [(0.0, 0.0)] * len(real(*a, **{**k, "model": "default"}))
    )
    for compat, count, wanted in ((False, 5, 5), (False, 1, 1), (True, 5, 5), (True, 1, 0)):
        steps.config = config(solver="published", compat=compat)
        numbers, weights = steps.calculateNImage(model, model.bbox, exposures[0][:count], None, Control)
        assert len(numbers) == 3
        for n, w in zip(numbers, weights, strict=True):
            assert n.array.dtype == np.uint16 and np.all(n.array == wanted)
            np.testing.assert_allclose(w.array, 1 / wanted if wanted else 0, rtol=1e-6)


def testModelWeightsFallOffAroundAPixel(scheme):
    """G9."""
    steps, model = scheme
    model.mask.array[...] = 0
    assert not steps.calculateModelWeights(model, model.bbox).any()
    model.mask.array[50, 40] = model.mask.bitmask("DETECTED")
    weights = steps.calculateModelWeights(model, model.bbox)
    y, x = np.mgrid[:SIZE, :SIZE]
    r2 = (y - 50) ** 2 + (x - 40) ** 2
    assert weights[50, 40] == 1
    within = np.maximum(abs(y - 50), abs(x - 40)) <= 12
    np.testing.assert_allclose(weights[within], np.exp(-r2[within] / 18), atol=1e-6)
    assert not weights[~within].any()
    part = steps.calculateModelWeights(model, Box2I((30, 40), (30, 30)))
    np.testing.assert_allclose(part[10, 10], 1)
    steps.config.useModelWeights = False
    assert steps.calculateModelWeights(model, model.bbox) == 1.0


def testModelsGoOverToTheTemplate(scheme):
    steps, model = scheme
    images = [np.full((4, 4), k + 1.0, np.float32) for k in range(3)]
    weights = np.zeros((4, 4), np.float32)
    weights[1, 2], weights[2, 2] = 1, 0.5
    steps.applyModelWeights(images, np.full((4, 4), 30, np.float32), weights)
    assert [image[1, 2] for image in images] == [1, 2, 3]
    assert [image[0, 0] for image in images] == [10, 10, 10]
    assert [image[2, 2] for image in images] == [5.5, 6, 6.5]


def testSubExposuresHoldWeightsAndZeros(scheme, exposures):
    steps, model = scheme
    warp = exposures[0][0].copy()
    warp.mask.array[10, 10] |= warp.mask.bitmask("SAT")
    warp.image.array[20, 20] = np.nan
    box = Box2I((5, 5), (40, 30))
    loaded = steps.loadSubExposures(box, Control, [warp])
    (exposure,) = loaded.values()
    assert list(loaded) == ["100"] and exposure.bbox == box
    assert exposure.variance.array[5, 5] == 0 and exposure.image.array[5, 5] == 0
    assert exposure.variance.array[15, 15] == 0 and exposure.image.array[15, 15] == 0
    assert exposure.variance.array.sum() == box.area - 2
    assert warp.variance.array[10, 10] == NOISE**2  # the warp itself is not touched


def testConvergenceOfAllVisitsIsWeighted(scheme, exposures):
    """10.5.6: weights count, and visits without valid pixels do not."""
    steps, model = scheme
    warps = [w.copy() for w in exposures[0][:3]]
    warps[2].mask.array[...] = 0
    loaded = steps.loadSubExposures(model.bbox, Control, warps)
    inner = model.bbox.eroded(3)
    each = [steps.calculateConvergence(model, {0: e}, inner, None, [1.0], Control) for e in loaded.values()]
    assert np.isnan(each[2])
    got = steps.calculateConvergence(model, loaded, inner, warps, [1.0, 3.0, 5.0], Control)
    assert got == pytest.approx((each[0] + 3 * each[1]) / 4)
    again = steps.calculateConvergence(model, None, inner, warps, [1.0, 3.0, 5.0], Control)
    assert again == pytest.approx(got, rel=0.05)  # read without their border
    steps.config.compat = True
    assert steps.calculateConvergence(model, {}, inner, [], [], Control) == 1.0
