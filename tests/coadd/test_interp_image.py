"""Interpolation over missing pixels (coadds and DCR, section 2.10 and checks I1 to I4)."""

import json
import logging

import lsst.pex.config as pexConfig
import numpy as np
import pytest

import stillsky
from reference.interp_reference import interpolateRow, krigingWeights
from stillsky.coadd import InterpImageConfig, InterpImageTask, interpImage
from stillsky.coadd.interp_image import interpolationWeights
from stillsky.geom import Box2I
from stillsky.image import Image, Mask, MaskedImage


def _image(values, bad, variance=1.0, xy0=(0, 0)):
    values = np.atleast_2d(np.asarray(values))
    values = values if values.dtype == np.float64 else values.astype(np.float32)
    values, bad = np.ascontiguousarray(values), np.ascontiguousarray(np.atleast_2d(np.asarray(bad, bool)))
    mask = Mask(np.where(bad, 1 << 8, 0).astype(np.int32), xy0=xy0)
    return MaskedImage(Image(values.copy(), xy0=xy0), mask, Image(np.full(bad.shape, variance, np.float32), xy0=xy0))


def _config(**fields):
    return InterpImageConfig(**fields)


def _user(value=0.0, **fields):
    return _config(fallbackValueType="USER", fallbackUserValue=value, negativeFallbackAllowed=True, **fields)


def testKrigingWeights():  # I1
    one = (-0.27368562, 0.77368562, 0.77368562, -0.27368562)
    assert interpolationWeights(1, 0, 3, 3) == pytest.approx(one, abs=1e-6)
    # The check has (1.42880, -0.42880) here, the four decimals of the reference's table: by the formula the weight is
    # 1/2 + (C(1) - C(2))/(2 (1 - C(1))) = 1.42885.
    c1, c2 = np.exp(-0.25), np.exp(-1)
    exact = 0.5 + (c1 - c2) / (2 * (1 - c1))
    assert interpolationWeights(1, 0, 0, 3) == pytest.approx((0, 0, exact, 1 - exact), abs=1e-6)
    assert exact == pytest.approx(1.4288, abs=5e-5)
    deep = (0.24974988, 0.25028616, 0.24998198, 0.24998198)
    assert interpolationWeights(30, 5, 3, 3) == pytest.approx(deep, abs=1e-6)
    two = [interpolationWeights(3, t, 1, 1)[1:3] for t in range(3)]
    np.testing.assert_allclose(two, [(0.8430, 0.1570), (0.5, 0.5), (0.1570, 0.8430)], atol=5e-5)


def testWeightsOfEveryPattern():
    bits = {-2: 1 << 1, -1: 1 << 0}
    for length in (1, 2, 5, 10, 31, 32, 33, 40, 100):
        for before in range(4):
            for behind in range(4):
                if before + behind == 0:
                    continue
                anchors = [p for p in (-2, -1) if before & bits[p]]
                anchors += [length + k for k in (0, 1) if behind & (1 << k)]
                for t in range(length):
                    weights = np.array(interpolationWeights(length, t, before, behind))
                    np.testing.assert_allclose(weights[weights != 0], krigingWeights(anchors, t), atol=1e-12)
    for arguments in ((0, 0, 1, 1), (3, 3, 1, 1), (3, -1, 1, 1), (3, 0, 0, 0), (3, 0, 4, 0)):
        with pytest.raises(stillsky.DomainError):
            interpolationWeights(*arguments)


@pytest.mark.parametrize("transpose", [False, True])
def testAConstantRowStaysConstant(transpose):  # I2
    """Every length at every place of a row of 40."""
    runs = [(first, last) for first in range(40) for last in range(first, 40) if (first, last) != (0, 39)]
    bad = np.zeros((len(runs), 40), bool)
    for row, (first, last) in zip(bad, runs, strict=True):
        row[first : last + 1] = True
    values = np.full(bad.shape, 7.25)
    image = _image(values.T if transpose else values, bad.T if transpose else bad)
    image.image.array[image.mask.array != 0] = np.nan
    interpImage(image, "NO_DATA", config=_user(7.25, transpose=transpose))
    np.testing.assert_allclose(image.image.array, 7.25, rtol=1e-6)


def testALongRunAtTheBorderTapers():  # I3
    bad = np.arange(60) < 20
    expected = [0] * 14 + [17.772, 36.754, 47.092, 52.908, 63.246, 82.228] + [100] * 40
    for flip in (1, -1):
        image = _image(np.full(60, 100.0)[::flip], bad[::flip])
        assert interpImage(image, "NO_DATA", config=_user(0.0)).fallback == 0.0
        np.testing.assert_allclose(image.image.array[0][::flip], expected, atol=1e-3)


def testAFullyBadRowBecomesTheFallback():  # I4
    for atEdge in (True, False):
        bad = np.zeros((3, 50), bool)
        bad[1] = True
        image = _image(np.full((3, 50), 5.0), bad)
        interpImage(image, "NO_DATA", config=_user(-3.5, useFallbackValueAtEdge=atEdge))
        assert np.all(image.image.array[1] == -3.5) and np.all(image.image.array[[0, 2]] == 5)
        assert np.all(np.isinf(image.variance.array[1]))


@pytest.mark.parametrize("length", [6, 7, 8])
def testBorderRunsOfSixSevenAndEight(length):
    """6: extrapolated. 7: one fallback pixel as anchor (the reference takes -1 for its value). 8: two."""
    values = np.linspace(50, 80, 30)
    bad = np.arange(30) < length
    image = _image(values, bad)
    interpImage(image, "NO_DATA", config=_user(10.0))
    expected, _ = interpolateRow(values.astype(np.float32), np.ones(30), bad, 10.0, True)
    np.testing.assert_allclose(image.image.array[0], expected, rtol=1e-6)
    assert (image.image.array[0, 0] == 10) == (length > 6)


def testIsolatedPairsKeepTheirNegativeValues():
    """Two anchors about two bad pixels: the reference clips such values at 0."""
    values = np.array([np.nan, -4.0, np.nan, np.nan, -8.0, np.nan])
    image = _image(values, np.isnan(values))
    interpImage(image, "NO_DATA")
    between = image.image.array[0, 2:4]
    assert -8 < between[1] < between[0] < -4


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transpose", [False, True])
@pytest.mark.parametrize("atEdge", [False, True])
def testRandomDefectsAgreeWithTheSlowWay(rng, dtype, transpose, atEdge):
    shape = (150, 90)
    bad = rng.random(shape) < rng.choice([0.02, 0.3, 0.8], shape[0])[:, None]
    for row in rng.integers(0, shape[0], 40):  # long runs
        start = rng.integers(-30, shape[1])
        bad[row, max(start, 0) : max(start, 0) + rng.integers(1, 60)] = True
    values = rng.normal(100, 10, shape).astype(dtype)
    values[rng.random(shape) < 0.03] = np.nan  # good pixels without a value are no anchors
    variance = rng.uniform(1, 2, shape).astype(np.float32)
    image = _image(values.T if transpose else values, bad.T if transpose else bad)
    image.variance.array[...] = variance.T if transpose else variance
    before = image.mask.array.copy()
    result = interpImage(image, "NO_DATA", config=_user(55.0, transpose=transpose, useFallbackValueAtEdge=atEdge,
                                                        variance="propagate"))  # fmt: skip
    got, gotVariance, mask = image.image.array, image.variance.array, image.mask.array
    np.testing.assert_array_equal(mask, np.where(before != 0, before | image.mask.bitmask("INTRP"), before))
    if transpose:
        got, gotVariance = got.T, gotVariance.T
    expected = [interpolateRow(v, s, b, 55.0, atEdge) for v, s, b in zip(values, variance, bad, strict=True)]
    np.testing.assert_allclose(got, [e[0] for e in expected], rtol=1e-12 if dtype == np.float64 else 2e-6, atol=1e-4)
    np.testing.assert_allclose(gotVariance, [e[1] for e in expected], rtol=1e-5)
    np.testing.assert_array_equal(got[~bad], values[~bad])
    assert result.pixelCount == np.count_nonzero(bad)


def testThreadsDoNotChangeABit(rng):
    values, bad = rng.normal(0, 1, (300, 200)), rng.random((300, 200)) < 0.4
    outcomes = []
    for threads in (1, 3):
        with stillsky.numThreads(threads):
            image = _image(values, bad)
            result = interpImage(image, "NO_DATA")
        outcomes.append((image.image.array, image.variance.array, result))
    np.testing.assert_array_equal(outcomes[0][0], outcomes[1][0])
    np.testing.assert_array_equal(outcomes[0][1], outcomes[1][1])
    assert outcomes[0][2] == outcomes[1][2]


def testVarianceOfAnInterpolatedPixel():
    """Unit variance with one value of 100 two pixels from a bad column."""
    bad = np.arange(9) == 4
    w = np.array(interpolationWeights(1, 0, 3, 3))
    expected = {"infinite": np.inf, "propagate": w**2 @ [100, 1, 1, 1], "reference": w @ [100, 1, 1, 1]}
    assert expected["reference"] == pytest.approx(-26.1, abs=0.05)
    for mode, value in expected.items():
        image = _image(np.ones(9), bad)
        image.variance.array[0, 2] = 100
        interpImage(image, "NO_DATA", config=_config(variance=mode))
        assert image.variance.array[0, 4] == pytest.approx(value, rel=1e-6)
        assert np.all(image.variance.array[0, [0, 1, 3, 5, 6, 7, 8]] == 1)
    assert _config().variance == "infinite"


def testReferenceVarianceGetsTheFallback():
    image = _image(np.ones(30), np.arange(30) < 10)
    interpImage(image, "NO_DATA", config=_user(77.0, variance="reference"))
    assert np.all(image.variance.array[0, :4] == 77) and 1 < image.variance.array[0, 6] < 77


@pytest.mark.parametrize("kind", ["MEAN", "MEDIAN", "MEANCLIP"])
def testFallbackOfTheImage(rng, kind):
    """Over all finite pixels of the image plane, the bad ones too."""
    values = rng.normal(20, 2, (50, 60))
    values[3, 4], values[3, 5] = np.nan, 1e5
    bad = np.zeros(values.shape, bool)
    bad[:, :20] = True
    image = _image(values, bad)
    before = image.image.array.copy()
    assert _config().fallbackValueType == "MEDIAN"
    result = interpImage(image, "NO_DATA", config=_config(fallbackValueType=kind))
    finite = before[np.isfinite(before)]
    exact = {"MEAN": finite.mean(dtype=float), "MEDIAN": np.median(finite),
             "MEANCLIP": finite[np.abs(finite - 20) < 6].mean()}[kind]  # fmt: skip
    assert result.fallback == pytest.approx(exact, rel=1e-3)
    assert np.all(image.image.array[:, :14] == result.fallback)


def testNegativeFallbackBecomesZeroUnlessAllowed(caplog):
    for allowed, expected in ((False, 0.0), (True, -5.0)):
        caplog.clear()
        image = _image(np.full(30, -5.0), np.arange(30) < 10)
        with caplog.at_level(logging.WARNING):
            result = interpImage(image, "NO_DATA", config=_config(negativeFallbackAllowed=allowed))
        assert result.fallback == expected and ("Negative fallback value -5" in caplog.text) == (not allowed)


def testImagesWithoutAnyValue(caplog):
    image = _image(np.full((4, 5), np.nan), np.ones((4, 5), bool))
    with caplog.at_level(logging.WARNING):
        assert interpImage(image, "NO_DATA").fallback == 0.0
    assert np.all(image.image.array == 0) and "No finite pixel" in caplog.text


def testConfigRules():
    with pytest.raises(pexConfig.FieldValidationError, match="negativeFallbackAllowed"):
        _config(fallbackValueType="USER", fallbackUserValue=-1.0).validate()
    with pytest.raises(ValueError, match="fallbackUserValue"):
        _config(fallbackValueType="USER", fallbackUserValue=-1.0).validate()
    _config(fallbackValueType="MEDIAN", fallbackUserValue=-1.0).validate()
    _user(-1.0).validate()
    with pytest.raises(pexConfig.FieldValidationError):
        _config(fallbackValueType=None).validate()
    config = _config()
    assert config.useFallbackValueAtEdge and config.fallbackUserValue == 0.0 and not config.negativeFallbackAllowed
    assert not config.transpose and config.modelPsf.defaultFwhm == 3.0


def testExactlyOneOfPlaneAndDefects():
    image = _image(np.ones((3, 3)), np.zeros((3, 3), bool))
    task = InterpImageTask()
    for keywords in ({}, {"planeName": "BAD", "defects": []}):
        with pytest.raises(ValueError, match="either planeName or defects"):
            task.run(image, **keywords)
    with pytest.raises(ValueError, match="NOT_A_PLANE"):
        task.run(image, planeName="NOT_A_PLANE")


def testTaskCountsBoxes():
    bad = np.zeros((200, 100), bool)
    bad[:, 10:12] = True  # one box, over blocks of lines
    bad[5, 50] = bad[6, 50] = bad[70, 50] = True  # two
    bad[63:66, 80:90] = True  # one
    bad[66, 80:91] = True  # another width: one more
    for transpose in (False, True):
        task = InterpImageTask(config=_config(transpose=transpose))
        image = _image(np.ones(bad.shape), bad) if not transpose else _image(np.ones(bad.T.shape), bad.T)
        task.run(stillsky.Exposure(image), planeName="NO_DATA", fwhmPixels=3.0)
        assert task.metadata["interpolated_pixel_count"] == 5
        assert task.metadata["interpolatedPixels"] == bad.sum()


def testDefectsAreBoxesInParentCoordinates(rng):
    values = rng.normal(100, 1, (20, 30))
    boxes = [Box2I((105, 50), (2, 20)), Box2I((106, 55), (3, 2)), Box2I((125, 60), (50, 1)), Box2I((0, 0), (3, 3))]
    bad = np.zeros(values.shape, bool)
    bad[:, 5:7] = bad[5:7, 6:9] = bad[10, 25:] = True
    image, twin = (_image(values, np.zeros(values.shape, bool), xy0=(100, 50)) for _ in range(2))
    task = InterpImageTask()
    task.run(image, defects=boxes)
    twin.mask.array[bad] |= 1
    interpImage(twin, "BAD")
    np.testing.assert_array_equal(image.image.array, twin.image.array)
    np.testing.assert_array_equal(image.mask.array != 0, bad)  # INTRP alone
    assert image.mask.interpret(image.mask.array[0, 5]) == "INTRP" and task.metadata["interpolated_pixel_count"] == 4


def testNothingToDoChangesNothing():
    image = _image(np.ones((3, 4)), np.zeros((3, 4), bool))
    twin = image.copy()
    result = interpImage(image, "NO_DATA")
    assert (result.boxCount, result.pixelCount, result.fallback) == (0, 0, None)
    np.testing.assert_array_equal(image.image.array, twin.image.array)
    np.testing.assert_array_equal(image.mask.array, twin.mask.array)


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (5, 3)])
def testTinyImages(shape):
    bad = np.zeros(shape, bool)
    bad.flat[0] = True
    for transpose in (False, True):
        image = _image(np.full(shape, 3.0), bad)
        interpImage(image, "NO_DATA", config=_user(3.0, transpose=transpose))
        np.testing.assert_allclose(image.image.array, 3.0, rtol=1e-6)


def _goldenCases():
    return ["_".join(key) for key in ((s, n) for s in ("s1", "s2") for n in ("clean", "noisy"))]


@pytest.mark.parametrize("name", _goldenCases())
def testGoldenDefects(sharedDir, name):
    """27 patterns of defects. The reference's printed weights have four decimals, hence the tolerance of the recipe."""
    arrays = np.load(sharedDir / "golden" / "interp_defects.npz")
    recipe = json.loads((sharedDir / "golden" / "interp_defects.json").read_text())
    cases = {key: case for key, case in recipe["cases"].items() if key.startswith(name + "_")}
    assert len(cases) == 27
    for key, case in cases.items():
        bad = np.zeros((24, 40), bool)
        for x0, y0, x1, y1 in case["boxes"]:
            bad[y0 : y1 + 1, x0 : x1 + 1] = True
        image = _image(arrays[f"{name}_image"], np.zeros(bad.shape, bool))
        image.variance.array[...] = arrays[f"{name}_variance"]
        image.image.array[bad] = 9999.0 if key.endswith("_ten") else np.nan
        config = _user(
            case["fallbackValue"], useFallbackValueAtEdge=case["useFallbackValueAtEdge"], variance="reference"
        )
        interpImage(image, defects=[Box2I((x0, y0), (x1 - x0 + 1, y1 - y0 + 1)) for x0, y0, x1, y1 in case["boxes"]],
                    config=config)  # fmt: skip
        compared = np.ones(bad.shape, bool)
        if key.endswith("_eleven"):
            # The middle of eleven: the reference's table has 0.25, 0.25, 0.2503, 0.2497 instead of four times 0.25.
            compared[:, 20] = False
        for plane, suffix in ((image.image, "values"), (image.variance, "var")):
            original = arrays[f"{name}_image" if suffix == "values" else f"{name}_variance"]
            got, wanted = plane.array[bad], arrays[f"{key}_{suffix}"]
            tolerance = 4 * 5e-5 * max(np.abs(original).max(), case["fallbackValue"])
            np.testing.assert_allclose(got[compared[bad]], wanted[compared[bad]], atol=tolerance, rtol=0, err_msg=key)
        assert np.array_equal(image.mask.array != 0, bad)
