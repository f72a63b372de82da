import numpy as np
import pytest
from scipy import ndimage

from stillsky import errors
from stillsky.detection import SpanSet, detectSources
from stillsky.geom import Box2I
from stillsky.image import Image, Mask, MaskedImage

SIGMA = 2.0


@pytest.fixture
def stars(rng, addStars):
    """20 stars of flux 500 on noise 1, well apart, on a 256 x 300 exposure with an offset origin."""
    xs, ys = (v.ravel() for v in np.meshgrid(np.arange(5) * 50 + 45.0, np.arange(4) * 60 + 38.0))
    xs, ys = xs + rng.uniform(-0.5, 0.5, 20), ys + rng.uniform(-0.5, 0.5, 20)
    image = rng.normal(0, 1, (256, 300)).astype(np.float32)
    addStars(image, xs, ys, np.full(20, 500.0), SIGMA)
    masked = MaskedImage(Image(image), Mask(np.zeros(image.shape, np.int32)), Image(np.ones_like(image)))
    masked.xy0 = (1000, -50)
    return masked, xs + 1000, ys - 50


def matched(peaks, xs, ys):
    return np.hypot(peaks["f_x"][:, None] - xs, peaks["f_y"][:, None] - ys).argmin(axis=1)


def test_imageDifference27_6_1_allSourcesFoundNoneAdded(stars):
    # Flux 500 in unit noise is 70 sigma after smoothing with the PSF. Ids and fluxes are the tables' own tests.
    masked, xs, ys = stars
    result = detectSources(masked, 5, sigma=SIGMA)
    assert result.numPos == len(result) == 20
    assert sorted(matched(result.positive.peaks, xs, ys)) == list(range(20))
    expected = 500 / np.sqrt(4 * np.pi) / SIGMA
    np.testing.assert_allclose(result.positive.peaks["significance"], expected, rtol=0.1)
    assert all(f.contains((x, y)) for f, (x, y) in zip(result, result.positive.peaks[["f_x", "f_y"]], strict=True))


def test_imageDifference27_6_2_negatedImage(stars):
    masked, xs, ys = stars
    positive = detectSources(masked, 5, sigma=SIGMA)
    masked.image.array[:] *= -1
    negative = detectSources(masked, 5, sigma=SIGMA, polarity="both")
    assert (negative.numPos, negative.numNeg) == (0, 20)
    for a, b in zip(positive.positive, negative.negative, strict=True):
        assert a.spans == b.spans
    np.testing.assert_array_equal(positive.positive.peaks["f_x"], negative.negative.peaks["f_x"])
    np.testing.assert_allclose(positive.positive.peaks["peakValue"], -negative.negative.peaks["peakValue"])
    assert (negative.negative.peaks["significance"] > 5).all()
    assert negative.sources()["is_negative"].all()


def test_masksArePainted(stars):
    masked, _, _ = stars
    masked.mask.array[100, 100] = masked.mask.bitmask("DETECTED")
    masked.mask.array[101, 100] = masked.mask.bitmask("DETECTED_NEGATIVE") | 1
    result = detectSources(masked, 5, sigma=SIGMA, polarity="both")
    nGrow, half = result.metadata["nGrow"], result.metadata["smoothingKernelWidth"] // 2
    assert (nGrow, half) == (int(2.4 * SIGMA + 0.5), 7)
    assert SpanSet.fromMask(masked.mask, "DETECTED") == result.positive.spans
    assert SpanSet.fromMask(masked.mask, "DETECTED_NEGATIVE").area == 0
    assert masked.mask.array[101, 100] & 1
    edge = masked.mask.array & masked.mask.bitmask("EDGE") != 0
    assert edge.sum() == 256 * 300 - (256 - 14) * (300 - 14)
    assert not edge[7:-7, 7:-7].any()


def test_growthAndOriginalFootprints(stars):
    masked, _, _ = stars
    small = detectSources(masked, 5, sigma=SIGMA, returnOriginalFootprints=True)
    grown = detectSources(masked, 5, sigma=SIGMA)
    apart = detectSources(masked, 5, sigma=SIGMA, combinedGrow=False, isotropicGrow=False)
    for a, b, c in zip(small, grown, apart, strict=True):
        assert a.spans.dilated(5) == b.spans
        assert a.spans.dilated(5, "manhattan") == c.spans
    np.testing.assert_array_equal(small.positive.areas < grown.positive.areas, True)


def test_smoothedImageIsThatOfTheDefinition(stars):
    masked, _, _ = stars
    value = masked.image.array.astype(float)
    g = np.exp(-0.5 * (np.arange(-7, 8) / SIGMA) ** 2)
    g /= g.sum()
    for axis in (0, 1):
        value = ndimage.correlate1d(value, g, axis=axis, mode="constant")
    peaks = detectSources(masked, 5, sigma=SIGMA).positive.peaks
    np.testing.assert_allclose(peaks["peakValue"], value[peaks["i_y"] + 50, peaks["i_x"] - 1000], rtol=1e-5)


def test_missingPixelsDoNotSpread(stars):
    masked, _, _ = stars
    before = detectSources(masked, 5, sigma=SIGMA)
    masked.image.array[60, ::2] = np.nan
    masked.variance.array[150, 10] = np.inf
    after = detectSources(masked, 5, sigma=SIGMA)
    assert after.numPos == 20
    close = np.abs(after.positive.peaks["f_y"] - before.positive.peaks["f_y"]) < 1.5
    assert close.all()


def test_excludedPlanesCountAsZero(stars):
    masked, xs, ys = stars
    x, y = int(xs[0]) - 1000, int(ys[0]) + 50
    masked.mask.array[y - 20 : y + 20, x - 20 : x + 20] |= masked.mask.bitmask("BAD")
    assert detectSources(masked, 5, sigma=SIGMA, excludeMaskPlanes=["BAD", "NOT_A_PLANE"]).numPos == 19
    assert detectSources(masked, 5, sigma=SIGMA).numPos == 20


@pytest.mark.parametrize("kind", ["stdev", "variance", "value"])
def test_otherThresholds(stars, kind):
    masked, _, _ = stars
    # Smoothed noise: 1/(2 sigma sqrt(pi)).
    noise = 1 / (2 * SIGMA * np.sqrt(np.pi))
    result = detectSources(masked, 5 * noise if kind == "value" else 5, kind, sigma=SIGMA)
    assert result.numPos == 20
    assert result.thresholds["positive"] == pytest.approx(5 * noise, rel=0.15)
    significance = result.positive.peaks["significance"]
    assert (significance > 5).all() if kind == "stdev" else (significance == 0).all()


def test_factorsScaleTheThresholds(stars):
    masked, _, _ = stars
    masked.image.array[:128] *= -1
    result = detectSources(masked, 5, sigma=SIGMA, polarity="both", factor=20, factorNeg=1)
    assert (result.numPos, result.numNeg) == (0, 10)


def test_tempLocalBackgroundSplitsPeaksOnASlope(rng, addStars):
    # A bright smooth pedestal makes one big footprint full of noise peaks; the local background removes them.
    yy, xx = np.mgrid[:400, :400]
    image = rng.normal(0, 1, (400, 400)) + 10 * np.exp(-((xx - 200) ** 2 + (yy - 200) ** 2) / (2 * 120.0**2))
    image = addStars(image.astype(np.float32), [150, 250], [210, 200], [2000, 1500], SIGMA)
    variance = Image(np.ones_like(image))
    found = [
        detectSources(MaskedImage(Image(image), None, variance), 5, sigma=SIGMA, doTempLocalBackground=flag)
        for flag in (False, True)
    ]
    assert len(found[0].positive) == len(found[1].positive)
    assert len(found[1].positive.peaks) < len(found[0].positive.peaks) / 3
    positions = {(int(p["i_x"]), int(p["i_y"])) for p in found[1].positive.peaks}
    assert {(150, 210), (250, 200)} <= positions


def test_sourcesTable(stars):
    masked, _, _ = stars
    masked.image.array[:128] *= -1
    result = detectSources(masked, 5, sigma=SIGMA, polarity="both")
    table = result.sources()
    assert table["is_negative"].tolist() == [True] * result.numNeg + [False] * result.numPos
    assert table["footprintArea"].tolist() == [f.area for f in (*result.negative, *result.positive)]
    assert (table["detectSignificance"] > 5).all()
    assert all(table[name].description for name in table.colnames)
    empty = detectSources(masked, 5000, sigma=SIGMA).sources()
    assert len(empty) == 0
    assert empty.dtype == table.dtype


def test_missingOrBadPsfIsRefused(stars):
    masked, _, _ = stars
    for sigma in (None, 0, -1, np.nan, np.inf):
        with pytest.raises(errors.InvalidPsfError):
            detectSources(masked, sigma=sigma, doSmooth=False)
    with pytest.raises(errors.DomainError):
        detectSources(masked, sigma=2, polarity="up")
    with pytest.raises(errors.DomainError):
        detectSources(masked, sigma=2, thresholdType="sigma")


def test_imageSmallerThanTheKernel():
    masked = MaskedImage(Image(np.ones((5, 9), np.float32)), None, Image(np.ones((5, 9), np.float32)))
    result = detectSources(masked, 1, sigma=SIGMA)
    assert len(result) == 0
    assert (masked.mask.array == masked.mask.bitmask("EDGE")).all()
    assert detectSources(masked, 1, sigma=0.5, doSmooth=False).positive[0].bbox == Box2I((0, 0), (9, 5))
