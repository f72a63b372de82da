"""Artifacts of single epochs on plain exposures: coadd-and-dcr 4.5, 10.4, 11.4, and the truths of stacks."""

import tracemalloc

import numpy as np
import pytest

from reference.clipped_template import clippedTemplate
from stillsky import errors
from stillsky.coadd.artifact_rules import (
    filterArtifacts,
    keepTrails,
    maxEpochsOfArtifact,
    prefilterArtifacts,
    trailShapes,
)
from stillsky.coadd.compare_warp import applyAltEdgeMask, findArtifacts, reorderAndPadList
from stillsky.coadd.compare_warp_config import ARTIFACT_VALUES_2019, CompareArtifactsConfig
from stillsky.detection import SpanSet
from stillsky.geom import Box2I
from stillsky.image import Mask, makeExposure
from stillsky.psf import GaussianPsf

PSF = GaussianPsf(25, 25, 2.0)
ORIGIN = (-30, 70)


def config(**values):
    """Configuration without the scaling of variances, unless a test asks for it: scenes have unit noise."""
    out = CompareArtifactsConfig()
    out.doScaleWarpVariance = False
    for name, value in values.items():
        out.update(**{name.replace("__", "."): value}) if "__" not in name else _set(out, name, value)
    return out


def _set(target, name, value):
    *path, last = name.split("__")
    for part in path:
        target = getattr(target, part)
    setattr(target, last, value)


def warpsOf(images, mask=None):
    return [makeExposure(a, variance=np.ones_like(a), psf=PSF, xy0=ORIGIN) for a in images]


def templateOf(images):
    mean, variance, kept = clippedTemplate(images, np.ones_like(images), np.ones(len(images)))
    return makeExposure(mean, variance=variance, psf=PSF, xy0=ORIGIN), kept


def noise(rng, n, shape=(64, 72)):
    return rng.normal(0, 1, (n, *shape)).astype(np.float32)


def clippedPixels(search, i, like):
    out = np.zeros(like.shape[-2:], bool)
    for spans in search[i]["CLIPPED"]:
        out |= spans.toBool(Box2I(ORIGIN, like.shape[:-3:-1]))
    return out


def search(images, cfg, **kwargs):
    template, kept = templateOf(images)
    return findArtifacts(template, warpsOf(images), cfg, weights=np.ones(len(images)), kept=kept, **kwargs)


# -- A8, under today's defaults and those of 2019


@pytest.mark.parametrize("preset", ["default", "2019"])
@pytest.mark.parametrize(
    "n, m, masked",
    [(3, 1, True), (5, 1, True), (10, 1, True), (10, 2, True), (40, 3, True), (100, 5, True),
     (2, 1, False), (10, 3, False), (40, 4, False), (100, 6, False), (5, 2, False)],
)  # fmt: skip
def test_A8_artifactsAreSeenInFewEpochs(rng, n, m, masked, preset):
    images = noise(rng, n, (40, 44))
    images[:m, 15:22, 17:24] += 100
    cfg = config()
    if preset == "2019":
        for name, value in ARTIFACT_VALUES_2019.items():
            _set(cfg, name.replace(".", "__"), value)
    # The patch is a source of a template that holds 40 of it: rescue has its own test.
    cfg.doPreserveContainedBySource = False
    found = search(images, cfg)
    for i in range(m):
        inside = clippedPixels(found, i, images)[15:22, 17:24]
        assert inside.all() if masked else not inside.any()
    assert not any(found[i]["CLIPPED"] for i in range(m, n))


def test_A8_insideOneSourceOfTheTemplateNothingIsMasked(rng, addStars):
    images = noise(rng, 6)
    for image in images:
        addStars(image, 30.0, 25.0, 4e5, 2.0)
    images[2, 24:28, 29:33] += 5e3  # on the star
    images[3, 45:50, 50:55] += 500  # elsewhere
    found = search(images, config())
    assert len(found.templateSources) == 1
    assert [len(alt["CLIPPED"]) for alt in found] == [0, 0, 0, 1, 0, 0]
    without = search(images, config(doPreserveContainedBySource=False))
    assert clippedPixels(without, 2, images)[24:28, 29:33].all()
    assert without.templateSources is None


def test_skyThatWasNeverSubtractedIsNoSource(rng, addStars):
    """At 300 sigma of the smoothed static sky a bright sky would be one source, inside which nothing is an artifact."""
    images = noise(rng, 8, (128, 140))
    x = np.linspace(-1, 1, 140)
    images += (5000 + 300 * x + 200 * x**2).astype(np.float32)
    for image in images:
        addStars(image, 60.0, 40.0, 4e5, 2.0)
    images[2, 70:76, 90:96] += 60
    images[5, 39:42, 59:62] += 5e3  # on the star
    found = search(images, config())
    assert clippedPixels(found, 2, images)[70:76, 90:96].all() and not found[5]["CLIPPED"]
    assert [len(alt["CLIPPED"]) for alt in found] == [0, 0, 1, 0, 0, 0, 0, 0]
    # Without the fit of a background the threshold grows until sources cover less.
    plain = config(detectTemplate__reEstimateBackground=False, maxDetectTemplateIter=40)
    again = search(images, plain)
    assert 0 < again.templateSources.areas.sum() < 0.7 * 128 * 140 and not again[5]["CLIPPED"]


def test_sourcesOverAllAreSaid(rng, caplog):
    images = noise(rng, 4) + 1e7
    found = search(images, config(detectTemplate__reEstimateBackground=False))
    assert "cover" in caplog.text and found.templateSources.areas.sum() > 0.7 * 64 * 72


def test_maximumOfEpochsOfTheSpecification():
    n = [1, 2, 3, 4, *range(5, 34), *range(34, 67), *range(67, 100), 100, 200, 300]
    wanted = [0, 0, 1, 1] + [2] * 29 + [3] * 33 + [4] * 33 + [5, 8, 11]
    np.testing.assert_array_equal(maxEpochsOfArtifact(n, config()), wanted)


def test_defaultsAreThoseOfTheSpecification():
    cfg = CompareArtifactsConfig()
    cfg.validate()
    assert (cfg.detect.thresholdValue, cfg.detect.nSigmaToGrow, cfg.detect.minPixels) == (7.5, 0.4, 4)
    assert (cfg.detect.thresholdPolarity, cfg.detect.thresholdType) == ("both", "pixel_stdev")
    assert (cfg.detectTemplate.thresholdValue, cfg.detectTemplate.nSigmaToGrow) == (300, 2.4)
    assert cfg.detectTemplate.doTempLocalBackground and not cfg.detect.doTempLocalBackground
    assert (cfg.maxNumEpochs, cfg.maxFractionEpochsLow, cfg.maxFractionEpochsHigh) == (2, 0.4, 0.03)
    assert (cfg.spatialThreshold, cfg.prefilterArtifactsRatio, cfg.growStreakFp) == (0.5, 0.05, 5)
    assert list(cfg.prefilterArtifactsMaskPlanes) == ["NO_DATA", "BAD", "SUSPECT"]
    assert (cfg.detectTemplateIterMultiplier, cfg.maxDetectTemplateIter) == (1.25, 10)
    with pytest.raises(ValueError):
        cfg.spatialThreshold = 1.5


# -- the rules by themselves


def test_filterArtifactsCountsTransientPixels():
    epochs, number = np.zeros((20, 30), np.uint16), np.full((20, 30), 10, np.uint16)
    candidate = SpanSet.fromBox(Box2I((5, 5), (10, 4)))
    epochs[5:9, 5:15] = 1
    cfg = config()
    assert filterArtifacts([candidate], epochs, number, cfg) == [candidate]
    epochs[5:9, 5:10] = 3  # half of it in more than two epochs: not more than spatialThreshold are transient
    assert filterArtifacts([candidate], epochs, number, cfg) == []
    epochs[5, 9] = 2
    assert filterArtifacts([candidate], epochs, number, cfg) == [candidate]
    assert filterArtifacts([], epochs, number, cfg) == []
    assert filterArtifacts([SpanSet([(50, 0, 3)])], epochs, number, cfg) == []  # outside


def test_filterArtifactsExcludesOnlyWhatOneFootprintHolds():
    epochs, number = np.ones((20, 30), np.uint16), np.full((20, 30), 10, np.uint16)
    candidate = SpanSet.fromBox(Box2I((5, 5), (10, 4)))
    ids = np.zeros((20, 30), np.int32)
    ids[5:9, 5:15] = 4
    assert filterArtifacts([candidate], epochs, number, config(), ids) == []
    ids[8, 14] = 5  # the last pixel belongs to a second footprint
    assert filterArtifacts([candidate], epochs, number, config(), ids) == [candidate]
    ids[8, 14] = 0
    assert filterArtifacts([candidate], epochs, number, config(), ids) == [candidate]


def test_prefilterDropsWhatIsMostlyBad():
    mask = Mask(np.zeros((20, 30), np.int32), xy0=(100, 50))
    mask.array[5:15, 5:15] |= mask.bitmask("BAD")
    bad, partly = SpanSet.fromBox(Box2I((105, 55), (10, 10))), SpanSet.fromBox(Box2I((105, 55), (10, 11)))
    assert prefilterArtifacts([bad, partly], mask, config()) == [partly]  # 10 of 110 are good
    saturated = Mask(np.zeros((20, 30), np.int32), xy0=(100, 50))
    saturated.array[5:15, 5:15] |= mask.bitmask("SAT")
    assert prefilterArtifacts([bad], saturated, config()) == [bad]
    assert prefilterArtifacts([bad], saturated, config(prefilterArtifactsMaskPlanes=["SAT"])) == []


def test_prefilterClipsCandidatesToTheImageFirst():
    """10.4 item 6: the part outside is no evidence against a candidate."""
    mask = Mask(np.zeros((20, 30), np.int32))
    outside = SpanSet.fromBox(Box2I((-99, 3), (100, 2)))  # 1 % inside, and good
    assert prefilterArtifacts([outside], mask, config()) == [outside]
    assert prefilterArtifacts([outside], mask, config(compat=True)) == []


# -- findArtifacts


def test_templateAndWarpsAreNotChanged(rng):
    """10.4 item 2: the reference clears the mask of the template."""
    images = noise(rng, 4)
    images[1, 20:30, 20:30] += 50
    template, _ = templateOf(images)
    template.mask.array[3, 4] = template.mask.bitmask("DETECTED")
    warps = warpsOf(images)
    warps[1].mask.array[0, :] = warps[1].mask.bitmask("EDGE")
    before = [e.copy() for e in (template, *warps)]
    cfg = config(doScaleWarpVariance=True, doFilterMorphological=True)
    found = findArtifacts(template, warps, cfg)
    assert found[1]["CLIPPED"]
    for old, new in zip(before, (template, *warps), strict=True):
        assert old.maskedImage.mask == new.maskedImage.mask
        np.testing.assert_array_equal(old.image.array, new.image.array)
        np.testing.assert_array_equal(old.variance.array, new.variance.array)


def test_A9_aMissingWarpHasNoDataAnywhereAndLeavesTheOthers(rng):
    images = noise(rng, 6)
    images[4, 20:27, 30:37] += 60
    template, _ = templateOf(images)
    warps = warpsOf(images)
    whole = findArtifacts(template, warps, config())
    warps[2] = None
    found = findArtifacts(template, warps, config())
    assert found[2] == {"CLIPPED": [], "NO_DATA": [SpanSet.fromBox(template.bbox)]}
    assert found.notes == {2: "no PSF-matched warp"}
    assert [found[i] for i in (0, 1, 3, 4, 5)] == [whole[i] for i in (0, 1, 3, 4, 5)]
    assert found.nImage.array.max() == 5 and found.nImage.bbox == template.bbox


def test_pixelsWithoutValueAndEdges(rng):
    images = noise(rng, 4)
    images[0, :5] = np.nan
    template, _ = templateOf(images)
    warps = warpsOf(images)
    warps[3].mask.array[:, -3:] = warps[3].mask.bitmask("EDGE")
    warps[1].mask.array[10, 10] = warps[1].mask.bitmask("SAT")
    found = findArtifacts(template, warps, config())
    assert found[0]["NO_DATA"] == [SpanSet.fromBox(Box2I(ORIGIN, (72, 5)))]
    assert found[3]["EDGE"] == [SpanSet.fromBox(Box2I((ORIGIN[0] + 69, ORIGIN[1]), (3, 64)))]
    assert found[1]["NO_DATA"] == found[1]["EDGE"] == []
    expected = np.full((64, 72), 4)
    expected[:5] = 3
    expected[10, 10] = 3
    np.testing.assert_array_equal(found.nImage.array, expected)


def test_warpsOfOtherShapesCoverWhatTheyCover(rng):
    images = noise(rng, 5)
    images[1, 5:12, 5:12] += 60
    template, _ = templateOf(images)
    warps = warpsOf(images)
    part = Box2I((ORIGIN[0] - 10, ORIGIN[1] + 8), (40, 100))
    larger = makeExposure(np.full((100, 40), 0.5, np.float32), variance=1.0, psf=PSF, xy0=part.min)
    warps[2] = larger
    warps[3] = makeExposure(np.zeros((20, 20), np.float32), variance=1.0, psf=PSF, xy0=(5000, 5000))
    found = findArtifacts(template, warps, config())
    whole, _ = templateOf(images)
    whole.variance.array[:5] = np.inf
    again = findArtifacts(whole, warps, config(), weights=[1, 1, 5, 1, 1])  # infinite variances, shares above a half
    assert [alt["NO_DATA"] for alt in again] == [alt["NO_DATA"] for alt in found]
    seen = SpanSet.fromBox(part.clipped(template.bbox))
    assert found[2]["NO_DATA"] == [SpanSet.fromBox(template.bbox).difference(seen)]
    assert found[3]["NO_DATA"] == [SpanSet.fromBox(template.bbox)]
    assert found.notes == {3: "no pixel has a value"}
    assert clippedPixels(found, 1, images)[5:12, 5:12].all()


class Handle:
    def __init__(self, exposure, error=None):
        self.exposure, self.error, self.asked = exposure, error, []

    def get(self, component=None, parameters=None):
        if component == "bbox":
            return self.exposure.bbox
        self.asked.append(parameters["bbox"])
        if self.error:
            raise self.error
        return self.exposure[parameters["bbox"]]


def test_badWarpsAreReportedAndTheRestGoesOn(rng, caplog):
    images = noise(rng, 6)
    images[5, 20:27, 30:37] += 60
    template, _ = templateOf(images)
    warps = [Handle(w) for w in warpsOf(images)]
    warps[0].error = OSError("truncated")
    warps[1].exposure.image.array[:] = np.nan
    warps[2].exposure.variance.array[:] = 1e-8  # off by more than the limit: used as it is
    warps[3].exposure.variance.array[:] = 0
    found = findArtifacts(template, warps, config(doScaleWarpVariance=True))
    assert found.notes[0].startswith("unreadable: truncated") and found.notes[1] == "no pixel has a value"
    assert found.notes[2].startswith("variance not scaled")
    assert set(found.notes) <= {0, 1, 2, 3}
    everything = SpanSet.fromBox(template.bbox)
    assert found[0]["NO_DATA"] == found[1]["NO_DATA"] == [everything]
    assert clippedPixels(found, 5, images)[20:27, 30:37].all()
    assert warps[5].asked == [template.bbox]
    assert "cannot be read" in caplog.text
    with pytest.raises(OSError, match="truncated"):
        findArtifacts(template, warps, config(), strict=True)


def test_memoryIsThatOfOneWarpHoweverManyThereAre(rng):
    images = noise(rng, 4, (512, 512))
    images[1, 100:110, 100:110] += 60
    template, kept = templateOf(images)
    warps = warpsOf(images)

    def peak(n):
        tracemalloc.start()
        findArtifacts(template, (warps * 4)[:n], config(doScaleWarpVariance=True), weights=[1.0] * n, kept=kept)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak / (512 * 512 * 4)

    peak(1)  # modules
    few, many = peak(4), peak(16)
    assert many < few + 0.2  # planes of float32
    assert many < 15  # a third of them float64 values of the scatter, of which large images give a sample only


def test_badArguments(rng):
    images = noise(rng, 3)
    template, _ = templateOf(images)
    with pytest.raises(errors.ShapeError, match="weights"):
        findArtifacts(template, warpsOf(images), config(), weights=[1, 2])
    bare = [makeExposure(a, variance=1.0, xy0=ORIGIN) for a in images]
    template.psf = None
    with pytest.raises(errors.InvalidPsfError):
        findArtifacts(template, bare, config())
    assert len(findArtifacts(template, bare, config(), sigma=2.0)) == 3
    template.image.array[:] = np.nan
    with pytest.raises(errors.NoDataError):
        findArtifacts(template, bare, config(), sigma=2.0)


def test_oneWarpAloneHasNoArtifacts(rng):
    images = noise(rng, 1)
    images[0, 20:27, 20:27] += 100
    template = makeExposure(images[0], variance=1.0, psf=PSF, xy0=ORIGIN)
    found = findArtifacts(template, warpsOf(images), config(), weights=[1.0])
    assert found[0]["CLIPPED"] == [] and found.visits[0].found == 0


@pytest.mark.parametrize("n", [2, 3, 6])
def test_varianceOfTheDifferenceKnowsTheCovariance(rng, n):
    """10.4 item 7: for a plain mean, the differences have the variance that is claimed, weights unequal."""
    sigma = np.linspace(1, 2, n)
    images = rng.normal(0, sigma[:, None, None], (n, 256, 256)).astype(np.float32)
    weights = 1 / sigma**2
    mean = np.average(images, axis=0, weights=weights).astype(np.float32)
    template = makeExposure(mean, variance=float(1 / weights.sum()), psf=PSF)
    from stillsky.coadd.compare_warp import _differenceVariance

    for i in range(n):
        claimed = np.full((2, 2), sigma[i] ** 2, np.float32)
        _differenceVariance(claimed, template.variance.array[:2, :2], weights[i] / weights.sum())
        assert (images[i] - mean).var() == pytest.approx(claimed[0, 0], rel=0.02)
    # A step of 7 sigma of the honest difference is missed when the two are taken for independent.
    step = 8.5 * np.sqrt(1 - weights[0] / weights.sum())
    flat = [makeExposure(np.zeros((60, 60)), variance=float(s**2), psf=PSF) for s in sigma]
    flat[0].image.array[20:28, 20:28] = step
    zero = makeExposure(np.zeros((60, 60)), variance=float(1 / weights.sum()), psf=PSF)
    known = findArtifacts(zero, flat, config(), weights=weights).visits[0].found
    unknown = findArtifacts(zero, flat, config()).visits[0].found
    assert (known, unknown) == (1, 0 if n < 6 else unknown)


def test_artifactsReachDownToFiveSigma(rng):
    images = noise(rng, 8)
    images[:, 5:40, 30] = 0  # one quiet column to read the profile from
    ramp = np.zeros((64, 72), np.float32)
    ramp[20, 10:60] = np.linspace(40, 0, 50)
    images[0] += np.vstack([ramp[1:], ramp[:1]]) + ramp + np.vstack([ramp[-1:], ramp[:-1]])
    base = clippedPixels(search(images, config(compat=True)), 0, images)
    wide = clippedPixels(search(images, config()), 0, images)
    assert (base & ~wide).sum() == 0 and wide.sum() > base.sum()
    assert wide[20][ramp[20] > 6].all()
    assert not base[20][(ramp[20] > 0) & (ramp[20] < 5)].any()


def test_faintTrailsCountAlthoughNoPixelReachesTheThreshold(rng):
    images = noise(rng, 8, (200, 220))
    images[:, :] = np.clip(images, -1, 1)
    light = trail((200, 220), 110, 100, 0.5, 5.8)  # 7.3 sigma of the difference at most
    images[2] += light
    images[5, 100:104, 50:54] = 6.5  # as faint, and no trail
    found = search(images, config())
    assert clippedPixels(found, 2, images)[light > 5].mean() > 0.99
    assert not found[5]["CLIPPED"]
    assert not search(images, config(doKeepTrails=False))[2]["CLIPPED"]
    images[2] -= 2 * light  # nothing takes light away along a line
    assert not search(images, config())[2]["CLIPPED"]


# -- truths of stacks


def trail(shape, x, y, angle, amplitude, sigma=2.0):
    yy, xx = np.mgrid[: shape[0], : shape[1]].astype(np.float32)
    d = (xx - x) * -np.sin(angle) + (yy - y) * np.cos(angle)
    return (amplitude * np.exp(-0.5 * (d / sigma) ** 2)).astype(np.float32)


@pytest.mark.parametrize("doFilterMorphological", [False, True])
def test_injectedTrailsAreRemoved(rng, addStars, doFilterMorphological):
    """99 % of the pixels that a trail lifts by more than 5 sigma are masked; little else is."""
    shape, n = (300, 320), 10
    images = noise(rng, n, shape)
    sky = addStars(np.zeros(shape, np.float32), *rng.uniform(10, 290, (2, 60)), rng.pareto(1.2, 60) * 500)
    images += sky
    trails = {}
    for i, amplitude in enumerate((6, 8, 20, 60, 400)):
        trails[2 * i] = trail(shape, *rng.uniform(100, 200, 2), rng.uniform(0, np.pi), amplitude)
        images[2 * i] += trails[2 * i]
    found = search(images, config(doFilterMorphological=doFilterMorphological))
    assert [("STREAK" in alt) for alt in found] == [doFilterMorphological and i in trails for i in range(n)]
    lifted = removed = 0
    for i in range(n):
        masked = clippedPixels(found, i, images)
        if i not in trails:
            assert masked.mean() < 0.001
            continue
        above = trails[i] > 5
        lifted, removed = lifted + above.sum(), removed + (above & masked).sum()
        assert (above & masked).sum() >= 0.99 * above.sum()
        assert (masked & (trails[i] < 0.01)).mean() < (0.15 if doFilterMorphological else 0.02)
    assert removed >= 0.99 * lifted


def test_sourcesThatVaryInMoreThanMaxNumEpochsStay(rng, addStars):
    n, shape = 12, (80, 200)
    images = noise(rng, n, shape)
    x = np.array([30.0, 80.0, 130.0, 180.0])
    active = [1, 2, 3, 6]  # epochs in which each flares
    for i in range(n):
        for xs, epochs in zip(x, active, strict=True):
            addStars(images[i], xs, 40.0, 6000.0 if i < epochs else 200.0, 2.0)
    found = search(images, config(doPreserveContainedBySource=False))
    hit = np.array([[clippedPixels(found, i, images)[40, int(xs)] for xs in x] for i in range(n)])
    np.testing.assert_array_equal(hit.sum(axis=0), [1, 2, 0, 0])


# -- trails judged as a whole (10.4 item 4)


def test_trailShapes():
    band = SpanSet.fromBox(Box2I((10, 20), (120, 6)))
    shape = trailShapes(band)
    assert (shape.length, shape.width) == (pytest.approx(120, rel=0.01), pytest.approx(6, rel=0.05))
    yy, xx = np.mgrid[:200, :200]
    arc = SpanSet.fromBool(np.abs(np.hypot(xx - 100, yy - 100) - 80) < 3)
    assert trailShapes(arc).width > 30


def test_closeTrailsOfManyEpochsAreMasked(rng):
    """Three near-parallel trails cross over most of their length: at each pixel more epochs than maxN show a candidate."""
    n, shape = 4, (200, 220)
    images = noise(rng, n, shape)
    trails = [trail(shape, 110, 100, angle, 50) for angle in (0.48, 0.52)]
    images[:2] += trails
    cfg = config(doPreserveContainedBySource=False)
    cfg.spatialThreshold = 0.8
    without = search(images, config(doKeepTrails=False, doPreserveContainedBySource=False, spatialThreshold=0.8))
    with_ = search(images, cfg)
    assert not without[0]["CLIPPED"] and not without[1]["CLIPPED"]
    for i in (0, 1):
        # Where two of four epochs agree the template holds half of their light: twice five sigma, and the noise.
        assert clippedPixels(with_, i, images)[trails[i] > 13].all()
        assert with_.visits[i].trails == 1
    assert not any(clippedPixels(with_, i, images).any() for i in (2, 3))


def test_ofTwoEpochsATrailIsTakenOutWhereItIsPositive(rng):
    shape = (120, 160)
    images = noise(rng, 2, shape)
    bright = trail(shape, 80, 60, 0.4, 80)
    images[1] += bright
    found = search(images, config())
    assert clippedPixels(found, 1, images)[bright > 15].all()
    assert not found[0]["CLIPPED"]


def test_aLineThatEveryEpochShowsIsNoTrail():
    line = SpanSet.fromBox(Box2I((10, 20), (120, 5)))
    crossing = SpanSet.fromBox(Box2I((60, 0), (5, 100)))
    number = np.full((120, 200), 6, np.uint16)
    assert keepTrails([line], [line, crossing, crossing, SpanSet()], number, config()) == [line]
    assert keepTrails([line], [line, line, line, SpanSet()], number, config()) == []
    assert keepTrails([], [], number, config()) == []


# -- small functions


def test_applyAltEdgeMask():
    mask = Mask(np.zeros((10, 12), np.int32), xy0=(5, 6))
    inside, across = SpanSet.fromBox(Box2I((6, 7), (3, 2))), SpanSet.fromBox(Box2I((0, 0), (6, 7)))
    applyAltEdgeMask(mask, [{"EDGE": [inside], "CLIPPED": [SpanSet.fromBox(mask.bbox)]}, {"EDGE": [across]}, {}, None])
    expected = np.zeros((10, 12), bool)
    expected[1:3, 1:4] = expected[0, 0] = True
    for plane in ("SENSOR_EDGE", "INEXACT_PSF"):
        np.testing.assert_array_equal(mask.isSet(plane), expected)


def test_reorderAndPadList():
    assert reorderAndPadList(["a", "b", "c"], [1, 2, 3], [3, 4, 1]) == ["c", None, "a"]
    assert reorderAndPadList([10], ["x"], ["y", "x"], padWith=0) == [0, 10]
    with pytest.raises(errors.ShapeError):
        reorderAndPadList([1, 2], [1], [1])


def test_crowdedFieldsDoNotHideArtifacts(rng):
    """The scatter of the sky is what variances are scaled to, although half of the pixels are stars."""
    images = noise(rng, 5, (160, 160))
    y, x = np.mgrid[0:160, 0:160]
    for cx, cy, flux in zip(*rng.uniform(0, 160, (2, 50)), 10 ** rng.uniform(2.5, 4, 50)):
        images += flux / (8 * np.pi) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 8.0).astype(np.float32)
    cfg = config(doScaleWarpVariance=True)
    factors = [v.varianceFactor for v in search(images, cfg).visits]
    assert np.allclose(factors, 1.0, atol=0.15)  # 2 to 3 with the stars
    cfg.compat = True
    assert min(v.varianceFactor for v in search(images, cfg).visits) > 1.5
