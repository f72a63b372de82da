"""Grid cells, interpolation, approximation and the boxes of a background."""

import numpy as np
import pytest
from scipy.interpolate import Akima1DInterpolator, CubicSpline, make_interp_spline

from stillsky import _core
from stillsky.background import (
    ApproximateControl,
    BackgroundControl,
    BackgroundList,
    InterpolateStyle,
    interpolate,
    makeBackground,
    maxInterpStyle,
    minInterpPoints,
)
from stillsky.errors import DomainError, NoDataError, ShapeError
from stillsky.geom import Box2I
from stillsky.image import Image, Mask, MaskedImage
from stillsky.stats import StatisticsControl, clippedStats

ORIGIN = (9876, 54321)


def rampImage(shape=(512, 512), xy0=ORIGIN):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return Image((1e4 + 0.1 * x + 0.2 * y).astype(np.float32), xy0)


# --- cells --------------------------------------------------------------------------------------------------------


def testCellBoundariesAndCentres():
    begin, end, centre = _core.gridCells(512, 6)
    assert end == [85, 171, 256, 341, 427, 512] and begin == [0, *end[:-1]]
    assert centre == [42, 127.5, 213, 298, 383.5, 469]
    _, end, centre = _core.gridCells(64, 3)
    assert end == [21, 43, 64] and centre == [10, 31.5, 53]
    for wrong in (0, -1, 65):
        with pytest.raises(DomainError):
            _core.gridCells(64, wrong)


def testCellValuesAreTheStatisticsOfTheirPixels(rng):
    image = rng.normal(10, 2, (130, 201)).astype(np.float32)
    mask = (rng.random(image.shape) < 0.2).astype(np.int32)
    mask[:60, 150:] = 1
    image[mask > 0] = 1e6
    planes = MaskedImage(Image(image), Mask(mask), Image(np.ones_like(image)))
    background = makeBackground(planes, nx=4, ny=2, statControl=StatisticsControl(andMask=1))
    for j in range(2):
        for i in range(4):
            rows = slice(background.yBegin[j], background.yEnd[j])
            cell = (rows, slice(background.xBegin[i], background.xEnd[i]))
            _, mean, stdev, n = clippedStats(image[cell], mask[cell], 1)
            assert background.values[j, i] == pytest.approx(mean, rel=1e-13)
            assert background.variances[j, i] == pytest.approx(stdev**2 / n, rel=1e-12)
    stats = background.statsImage
    assert stats.image.array.shape == (2, 4) and background.nEmpty == 0


def testEveryNthRowOfACell(rng):
    image = rng.normal(10, 2, (130, 201)).astype(np.float32)
    mask = (rng.random(image.shape) < 0.2).astype(np.int32)
    planes = MaskedImage(Image(image), Mask(mask), Image(np.ones_like(image)))
    background = makeBackground(planes, nx=3, ny=2, statControl=StatisticsControl(andMask=1), rowStep=4)
    for j in range(2):
        for i in range(3):
            rows = slice(background.yBegin[j], background.yEnd[j], 4)
            cell = (rows, slice(background.xBegin[i], background.xEnd[i]))
            _, mean, _, _ = clippedStats(image[cell].copy(), mask[cell].copy(), 1)
            assert background.values[j, i] == pytest.approx(mean, rel=1e-13)
    with pytest.raises(DomainError, match="rowStep"):
        makeBackground(planes, nx=3, ny=2, rowStep=0)


def testMoreCellsThanPixels():
    with pytest.raises(DomainError):
        makeBackground(np.ones((20, 30), np.float32), nx=31, ny=2)
    with pytest.raises(DomainError):
        BackgroundControl(nx=0)


# --- one-dimensional interpolation --------------------------------------------------------------------------------


def extrapolated(x, y0, first, second, x0):
    return y0 + first * (x - x0) + 0.5 * second * (x - x0) ** 2


def testAkimaAgreesWithScipyOnRandomNodes(rng):
    for _ in range(50):
        n = int(rng.integers(5, 20))
        x, y = np.cumsum(rng.uniform(0.3, 3, n)), rng.normal(0, 1, n)
        ours = Akima1DInterpolator(x, y)
        at = np.linspace(x[0], x[-1], 301)
        np.testing.assert_allclose(interpolate(x, y, "AKIMA_SPLINE", at), ours(at), rtol=0, atol=1e-12)
        for end, inside in ((x[0], x[0]), (x[-1], np.nextafter(x[-1], 0))):
            beyond = end + (1 if end == x[-1] else -1) * np.linspace(0, 2, 9)
            wanted = extrapolated(beyond, ours(end), ours(inside, 1), ours(inside, 2), end)
            np.testing.assert_allclose(interpolate(x, y, "AKIMA_SPLINE", beyond), wanted, rtol=1e-9, atol=1e-9)


def testNaturalSplineAgreesWithScipy(rng):
    for n in (3, 4, 10):
        x, y = np.cumsum(rng.uniform(0.3, 3, n)), rng.normal(0, 1, n)
        scipys = CubicSpline(x, y, bc_type="natural")
        at = np.linspace(x[0], x[-1], 301)
        for style in ("CUBIC_SPLINE", "NATURAL_SPLINE"):
            np.testing.assert_allclose(interpolate(x, y, style, at), scipys(at), rtol=0, atol=1e-12)
            beyond = x[-1] + np.linspace(0, 4, 9)
            wanted = extrapolated(beyond, y[-1], scipys(x[-1], 1), 0, x[-1])
            np.testing.assert_allclose(interpolate(x, y, style, beyond), wanted, rtol=0, atol=1e-11)


def testLinearAndConstantStyles():
    x, y = [0.0, 1.0, 3.0], [2.0, 4.0, 0.0]
    at = [-1, 0, 0.5, 1, 2, 3, 5]
    np.testing.assert_allclose(interpolate(x, y, "LINEAR", at), [0, 2, 3, 4, 2, 0, -4], atol=1e-15)
    spline = make_interp_spline(x, y, k=1)
    np.testing.assert_allclose(
        interpolate(x, y, "LINEAR", np.linspace(0, 3, 31)), spline(np.linspace(0, 3, 31)), atol=1e-14
    )
    at = [-9, 0, 0.49, 0.5, 1.99, 2.0, 2.5, 99]
    assert interpolate(x, y, "CONSTANT", at).tolist() == [2, 2, 2, 4, 4, 0, 0, 0]


def testNumbersOfNodes():
    wanted = {1: "CONSTANT", 2: "LINEAR", 3: "CUBIC_SPLINE", 4: "CUBIC_SPLINE", 5: "AKIMA_SPLINE", 50: "AKIMA_SPLINE"}
    assert {n: maxInterpStyle(n).value for n in wanted} == wanted
    fewest = {"CONSTANT": 1, "LINEAR": 2, "NATURAL_SPLINE": 3, "CUBIC_SPLINE": 3, "AKIMA_SPLINE": 5}
    assert {s.value: minInterpPoints(s) for s in InterpolateStyle} == fewest
    for style, n in fewest.items():
        assert interpolate(np.arange(n), np.ones(n), style, [0.3])[0] == pytest.approx(1, rel=1e-14)
        with pytest.raises(DomainError, match=style):
            interpolate(np.arange(n - 1), np.ones(n - 1), style, [0.3])
    with pytest.raises(DomainError):
        maxInterpStyle(0)
    with pytest.raises(DomainError):
        interpolate([0, 1, 1], [1, 2, 3], "LINEAR", [0])
    with pytest.raises(DomainError):
        interpolate([0, 1, 2], [1, np.nan, 3], "LINEAR", [0])
    with pytest.raises(DomainError, match="AKIMA_SPLINE"):
        interpolate([0, 1, 2], [1, 2, 3], "SPLINE", [0])


# --- images -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["NATURAL_SPLINE", "CUBIC_SPLINE", "AKIMA_SPLINE"])
def testRampIsReproducedEverywhere(style):
    image = rampImage()
    found = makeBackground(image, nx=6, ny=6, style=style).image()
    assert found.xy0 == image.xy0
    ratio = found.array / image.array
    for y in (0, 255, 511):
        for x in (0, 255, 511):
            assert ratio[y, x] == pytest.approx(1, abs=5e-7)


def testParabolaIsReproduced():
    y, x = np.mgrid[:512, :512]
    parabola = 1e4 + 0.1 * x + 0.2 * y + 1e-3 * (x - 250.0) ** 2 - 5e-4 * (y - 300.0) ** 2
    found = makeBackground(parabola.astype(np.float32), nx=24, ny=24).imageArray()
    assert np.abs(found - parabola).max() < 0.5


@pytest.mark.parametrize("style", [s.value for s in InterpolateStyle])
def testSubBoxEqualsTheCropBitForBit(rng, style):
    image = Image(rng.normal(100, 5, (300, 411)).astype(np.float32), ORIGIN)
    background = makeBackground(image, nx=7, ny=6, style=style)
    whole = background.image()
    for x, y, w, h in ((0, 0, 411, 300), (13, 27, 100, 50), (410, 299, 1, 1), (37, 0, 5, 300)):
        box = Box2I((ORIGIN[0] + x, ORIGIN[1] + y), (w, h))
        part = background.image(box)
        assert part.bbox == box
        np.testing.assert_array_equal(part.array, whole.array[y : y + h, x : x + w])
    for x, y, w, h in ((-1, 0, 5, 5), (400, 0, 12, 5), (0, 298, 5, 3)):
        with pytest.raises(ShapeError):
            background.image(Box2I((ORIGIN[0] + x, ORIGIN[1] + y), (w, h)))


def testOneCell(rng):
    image = rng.normal(7, 2, (40, 50)).astype(np.float32)
    found = makeBackground(image, nx=1, ny=1, style="CONSTANT").imageArray(dtype=np.float64)
    assert (found == clippedStats(image)[1]).all()


def testTooFewCells(rng):
    image = rng.normal(7, 2, (40, 50)).astype(np.float32)
    background = makeBackground(image, nx=4, ny=4)
    with pytest.raises(DomainError, match="AKIMA_SPLINE"):
        background.imageArray()
    assert background.styleUsed(undersample="REDUCE_INTERP_ORDER") == "CUBIC_SPLINE"
    np.testing.assert_array_equal(
        background.imageArray(undersample="REDUCE_INTERP_ORDER"), background.imageArray(style="CUBIC_SPLINE")
    )
    with pytest.raises(DomainError, match="INCREASE_NXNYSAMPLE"):
        background.imageArray(undersample="INCREASE_NXNYSAMPLE")
    for n, style in ((1, "CONSTANT"), (2, "LINEAR"), (3, "CUBIC_SPLINE"), (5, "AKIMA_SPLINE")):
        background = makeBackground(image, nx=n, ny=6, undersample="REDUCE_INTERP_ORDER")
        assert background.styleUsed() == style


def testEmptyCells(rng):
    image = rampImage()
    pixels = image.array.copy()
    pixels[:171, :171] = np.nan
    background = makeBackground(Image(pixels, ORIGIN), nx=6, ny=6, undersample="REDUCE_INTERP_ORDER")
    assert background.nEmpty == 4
    found = background.image().array
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, image.array, rtol=5e-6)  # lower orders still reproduce a plane
    pixels[:, 256:341] = np.nan  # a whole column of cells
    pixels[427:, :] = np.nan  # a whole row
    background = makeBackground(Image(pixels, ORIGIN), nx=6, ny=6, undersample="REDUCE_INTERP_ORDER")
    np.testing.assert_allclose(background.image().array, image.array, rtol=5e-6)


def testAllCellsEmptyGiveNaN():
    nothing = np.full((60, 60), np.nan, np.float32)
    background = makeBackground(nothing, nx=6, ny=6, undersample="REDUCE_INTERP_ORDER")
    assert background.nEmpty == 36 and np.isnan(background.imageArray()).all()
    with pytest.raises(DomainError):
        background.imageArray(undersample="THROW_EXCEPTION")
    with pytest.raises(NoDataError):
        background.approximation(ApproximateControl(2))


def testFillDoesNotDependOnThreads(rng):
    import stillsky

    background = makeBackground(rng.normal(0, 1, (500, 600)).astype(np.float32), nx=9, ny=8)
    found = []
    for n in (1, 2, 7):
        with stillsky.numThreads(n):
            found.append(background.imageArray().tobytes())
    assert len(set(found)) == 1


# --- approximation ------------------------------------------------------------------------------------------------


def quadratic(x, y):
    return 1e3 + 0.3 * x - 0.2 * y + 1e-3 * x * x - 5e-4 * x * y + 2e-3 * y * y


def testChebyshevOfOrderTwoFitsAQuadratic():
    """The cell mean of a quadratic differs from its centre value by a constant per curvature: (w^2 - 1)/12 each."""
    size = 480
    y, x = np.mgrid[:size, :size]
    image = Image(quadratic(x, y), ORIGIN)
    control = BackgroundControl(
        8, 8, property="MEAN", approximate=ApproximateControl(2), statControl=StatisticsControl()
    )
    background = makeBackground(image, control)
    shift = (1e-3 + 2e-3) * (60**2 - 1) / 12
    whole = background.imageArray(dtype=np.float64)
    assert np.abs(whole - shift - image.array).max() < 1e-4
    box = Box2I((ORIGIN[0] + 100, ORIGIN[1] + 250), (70, 30))
    part = background.image(box, dtype=np.float64)
    assert part.bbox == box
    np.testing.assert_allclose(part.array, whole[250:280, 100:170], rtol=1e-13)


def testChebyshevOrders(rng):
    assert len(ApproximateControl(6).terms) == 28
    assert ApproximateControl(2, 1).terms == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1)]
    background = makeBackground(rng.normal(0, 1, (80, 90)).astype(np.float32), nx=4, ny=6)
    for orders in ((4, 2), (2, 6), (6, -1)):
        with pytest.raises(DomainError):
            background.approximation(ApproximateControl(*orders))
    background.values[1:, :] = np.nan
    with pytest.raises(DomainError, match="terms"):
        background.approximation(ApproximateControl(3, 3))


def testChebyshevWeightsByInverseVariance(rng):
    """Weighted least squares against the normal equations, and a noisy cell that must count less."""
    background = makeBackground(rng.normal(5, 1, (96, 96)).astype(np.float32), nx=6, ny=6)
    background.variances = rng.uniform(0.5, 4, (6, 6))
    fit = background.approximation(ApproximateControl(1))
    u = (np.array(background.xCentres) - 47.5) / 48
    design = np.stack([np.ones((6, 6)), np.broadcast_to(u, (6, 6)), np.broadcast_to(u[:, None], (6, 6))]).reshape(3, -1)
    weight = 1 / background.variances.ravel()
    solution = np.linalg.solve((design * weight) @ design.T, (design * weight) @ background.values.ravel())
    np.testing.assert_allclose(
        [fit.coefficients[0, 0], fit.coefficients[0, 1], fit.coefficients[1, 0]], solution, rtol=1e-10
    )
    unweighted = background.approximation(ApproximateControl(1, weighting=False))
    background.variances[:] = 1
    same = background.approximation(ApproximateControl(1))
    np.testing.assert_allclose(unweighted.coefficients, same.coefficients, atol=1e-12)


def testConstantImageHasZeroVariancesAndStillFits():
    background = makeBackground(np.full((64, 64), 3, np.float32), nx=4, ny=4, approximate=ApproximateControl(2))
    np.testing.assert_allclose(background.imageArray(), 3, rtol=1e-6)


def testBackgroundListAddsInOrder(rng):
    one = makeBackground(rng.normal(5, 1, (96, 96)).astype(np.float32), nx=6, ny=6)
    two = makeBackground(rng.normal(7, 1, (96, 96)).astype(np.float32), nx=1, ny=1, style="CONSTANT")
    total = BackgroundList([one, two])
    np.testing.assert_array_equal(total.imageArray(), one.imageArray() + two.imageArray())
    box = Box2I((10, 20), (30, 40))
    np.testing.assert_array_equal(total.image(box).array, total.imageArray()[20:60, 10:40])
    with pytest.raises(DomainError):
        BackgroundList().imageArray()
