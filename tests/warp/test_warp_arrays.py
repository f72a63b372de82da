"""Acceptance checks of warping on plain arrays, through the compiled core."""

import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import stillsky
from stillsky import _core
from stillsky.warp import AffineMapping, GridMapping, WarpingControl, WarpingKernel

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))
from warp_reference import kernelWeights, warpDirectly  # noqa: E402

NO_DATA, INTRP, EDGE = 256, 4, 16


def warp(planes, mapping, control=None, shape=None, xy0=(0, 0), srcXY0=(0, 0)):
    """Image, mask, variance and good count of a warp of three arrays."""
    control = WarpingControl() if control is None else control
    shape = planes[0].shape if shape is None else shape
    out = [np.empty(shape, plane.dtype) for plane in planes]
    count = _core.warpMaskedArrays(*out, xy0, *planes, srcXY0, mapping, control, np.nan, NO_DATA, np.inf)
    return *out, count


def planesOf(image, mask=None, variance=None):
    mask = np.zeros(image.shape, np.int32) if mask is None else mask
    variance = np.ones(image.shape, np.float32) if variance is None else variance
    return image, mask, variance


def shift(dx, dy=None):
    """Every source position lies (dx, dy) beyond the destination position."""
    return AffineMapping(1, 0, 0, 1, dx, dx if dy is None else dy)


@pytest.fixture
def scene(rng):
    image = rng.normal(100, 5, (90, 110)).astype(np.float32)
    mask = np.where(rng.random(image.shape) < 0.02, 8, 0).astype(np.int32)
    mask[20:23, 30] |= EDGE
    return image, mask, rng.uniform(1, 2, image.shape).astype(np.float32)


@pytest.mark.parametrize("name, taps", [("lanczos2", 4), ("lanczos3", 6), ("lanczos5", 10), ("lanczos9", 18)])
def testNullWarpReturnsTheInput(scene, name, taps):
    for maskKernel in ("", "bilinear", "nearest"):
        image, mask, variance, count = warp(scene, shift(0.0), WarpingControl(name, maskKernel))
        good = np.isfinite(image)
        height, width = image.shape
        assert count == good.sum() == (width - taps + 1) * (height - taps + 1)
        assert np.array_equal(image[good], scene[0][good])  # bit for bit
        assert np.array_equal(mask[good], scene[1][good])
        assert np.array_equal(variance[good], scene[2][good])
        assert np.all(mask[~good] == NO_DATA) and np.all(np.isposinf(variance[~good]))


def testNullWarpThroughRoundingErrorsIsStillExact(scene):
    clean = warp(scene, shift(0.0), WarpingControl("lanczos3", ""))
    for error in (1e-9, -1e-9, 5e-8):
        dirty = warp(scene, shift(error, -error), WarpingControl("lanczos3", ""))
        assert dirty[3] == clean[3]
        for a, b in zip(clean[:3], dirty[:3]):
            assert np.array_equal(a, b, equal_nan=a.dtype.kind == "f")


@pytest.mark.parametrize("name", ["bilinear", "nearest", *(f"lanczos{n}" for n in range(2, 10))])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def testConstantImageStaysConstant(name, dtype):
    angle = np.deg2rad(20)
    turn = AffineMapping(np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle), 20.3, -8.2)
    image, _, _, count = warp(planesOf(np.full((80, 80), 37.5, dtype)), turn, WarpingControl(name))
    good = np.isfinite(image)
    assert count == good.sum() > 1000
    assert np.abs(image[good] / 37.5 - 1).max() < 1e-6


def testNoiseOfHalfPixelShift():
    noise = np.random.default_rng(1).normal(size=(518, 518)).astype(np.float32)
    image, _, variance, _ = warp(planesOf(noise), shift(0.5))
    inner = image[np.isfinite(image)].reshape(513, 513)[:512, :512].astype(float)
    assert abs(inner.var() - 0.6174) < 0.005
    assert np.abs(variance[np.isfinite(variance)] - 0.6174).max() < 5e-5  # the spec's 4 digits
    k, _ = kernelWeights("lanczos3", 0.5)
    assert np.abs(variance[np.isfinite(variance)] - ((k**2).sum() / k.sum() ** 2) ** 2).max() < 1e-5
    # Lag (0, 1). The sample value of white noise has a standard error of about 1/512.
    expected = (k[:-1] * k[1:]).sum() * (k**2).sum() / k.sum() ** 4
    measured = (inner[:, :-1] * inner[:, 1:]).mean() - inner.mean() ** 2
    assert abs(measured - expected) < max(0.01 * abs(expected), 5 / 512)
    # The propagation itself, without the noise of a sample: the response to a unit pulse, to 1 %.
    pulse = np.zeros((40, 40), np.float64)
    pulse[20, 20] = 1
    response = warp(planesOf(pulse), shift(0.5))[0]
    response[~np.isfinite(response)] = 0
    assert (response[:, :-1] * response[:, 1:]).sum() == pytest.approx(expected, rel=0.01)


VARIANCE_FACTORS = {
    0: (1, 1, 1, 1, 1),
    0.1: (0.6724, 0.9292, 0.9603, 0.9672, 0.9751),
    0.25: (0.3906, 0.6660, 0.7989, 0.8353, 0.8729),
    0.5: (0.2500, 0.4104, 0.6174, 0.6866, 0.7539),
}
KERNELS = ("bilinear", "lanczos2", "lanczos3", "lanczos4", "lanczos5")


@pytest.mark.parametrize("column, name", list(enumerate(KERNELS)))
def testVarianceFactorOfShifts(column, name):
    planes = planesOf(np.zeros((30, 30), np.float32))
    for f, factors in VARIANCE_FACTORS.items():
        variance = warp(planes, shift(f), WarpingControl(name))[2]
        assert variance[15, 15] == pytest.approx(factors[column], abs=5.1e-5)
    mean = np.mean([warp(planes, shift(f), WarpingControl(name))[2][15, 15] ** 0.5 for f in np.arange(400) / 400]) ** 2
    assert mean == pytest.approx((0.4444, 0.6694, 0.7981, 0.8356, 0.8728)[column], abs=1e-4)


@pytest.mark.parametrize("shape", [(5, 40), (40, 5), (1, 1), (0, 0)])
def testSourceSmallerThanKernelIsAllPadding(shape):
    image, mask, variance, count = warp(planesOf(np.ones(shape, np.float32)), shift(0.0), shape=(8, 9))
    assert count == 0
    assert np.all(np.isnan(image)) and np.all(mask == NO_DATA) and np.all(np.isposinf(variance))


@pytest.mark.parametrize("f, wide, narrow", [(0.3, 36, 4), (0.0, 1, 1)])
def testMaskFootprintOfOnePixel(f, wide, narrow):
    mask = np.zeros((40, 40), np.int32)
    mask[20, 20] = 1 | EDGE
    planes = planesOf(np.ones((40, 40), np.float32), mask)
    alone = warp(planes, shift(f), WarpingControl("lanczos3"))[1]
    assert ((alone & 1) != 0).sum() == wide
    both = warp(planes, shift(f), WarpingControl("lanczos3", "bilinear", growFullMask=EDGE))[1]
    assert ((both & 1) != 0).sum() == narrow
    assert ((both & EDGE) != 0).sum() == wide


@pytest.mark.parametrize(
    "name, maskName", [("lanczos3", "bilinear"), ("lanczos4", "lanczos3"), ("lanczos2", "nearest")]
)
def testMaskIsBroadWhereGrownAndNarrowElsewhere(rng, name, maskName):
    mask = (rng.integers(0, 2**11, (60, 60)) * (rng.random((60, 60)) < 0.03)).astype(np.int32)
    mask &= ~NO_DATA
    planes = planesOf(np.ones((60, 60), np.float32), mask)
    turn = AffineMapping(0.98, -0.2, 0.2, 0.98, 6.4, -4.3)
    grow = EDGE | 64
    broad = warp(planes, turn, WarpingControl(name))[1]
    both, image = (warp(planes, turn, WarpingControl(name, maskName, growFullMask=grow))[i] for i in (1, 0))
    narrow = warp(planes, turn, WarpingControl(maskName))[1]
    good = np.isfinite(image)
    assert good.sum() > 1000
    assert np.array_equal(both[good], ((broad & grow) | (narrow & ~grow))[good])


def testMaskKernelMustFitInsideImageKernel():
    for name, maskName in (("bilinear", "lanczos3"), ("lanczos3", "lanczos4"), ("nearest", "lanczos2")):
        with pytest.raises(stillsky.DomainError, match="must fit inside"):
            WarpingControl(name, maskName)
    control = WarpingControl("lanczos4", "lanczos3")
    with pytest.raises(stillsky.DomainError):
        control.warpingKernelName = "lanczos2"
    with pytest.raises(stillsky.DomainError):
        control.maskWarpingKernelName = "lanczos5"
    assert (control.warpingKernelName, control.maskWarpingKernelName) == ("lanczos4", "lanczos3")


@pytest.mark.parametrize("name", ["", "cubic", "lanczos", "lanczos0", "lanczos-3", "lanczos3x", "Bilinear"])
def testUnknownKernelIsRefused(name):
    with pytest.raises(stillsky.DomainError, match="lanczosN"):
        WarpingKernel(name)


@pytest.mark.parametrize("name", ["bilinear", "nearest", *(f"lanczos{n}" for n in range(2, 10))])
@pytest.mark.parametrize("dtype, cache", [(np.float32, 0), (np.float64, 0), (np.float64, 4096)])
def testAgreesWithDirectSumOverTaps(rng, name, dtype, cache):
    image = rng.normal(50, 10, (40, 44)).astype(dtype)
    mask = (1 << rng.integers(0, 8, image.shape) * (rng.random(image.shape) < 0.1)).astype(np.int32) & ~1
    variance = rng.uniform(1, 3, image.shape).astype(np.float32)
    maskName = "bilinear" if name != "nearest" else ""
    # A curved map, so that the area factor varies.
    function = lambda x, y: (1.02 * x - 0.1 * y + 3.31371 + 1e-4 * x * y, 0.09 * x + 0.97 * y - 1.20719 - 2e-4 * x * x)  # noqa: E731
    gx, gy = np.meshgrid(np.arange(-1.0, 46), np.arange(-1.0, 42))
    grid = GridMapping(-1, -1, 1, *(np.ascontiguousarray(q) for q in function(gx, gy)))
    control = WarpingControl(name, maskName, cache, growFullMask=32)
    out = warp((image, mask, variance), grid, control)
    truth = warpDirectly(image, mask, variance, image.shape, function, name, maskKernel=maskName, grow=32)
    good = np.isfinite(truth[0])
    assert out[3] == truth[3] == good.sum() > 300
    assert np.array_equal(np.isfinite(out[0]), good)
    assert np.abs(out[0] - truth[0])[good].max() < 1e-5 * np.abs(image).max()
    assert np.abs(out[2][good] / truth[2][good] - 1).max() < 1e-5
    assert np.array_equal(out[1], truth[1])


def testPlainImageAgreesWithMaskedImage(scene):
    turn = AffineMapping(0.98, -0.2, 0.2, 0.98, 6.4, -4.3)
    for dtype in (np.float32, np.float64):
        source = scene[0].astype(dtype)
        masked = warp((source, *scene[1:]), turn)
        alone = np.empty(source.shape, dtype)
        count = _core.warpArray(alone, (0, 0), source, (0, 0), turn, WarpingControl(), np.nan)
        assert count == masked[3]
        assert np.array_equal(alone, masked[0], equal_nan=True)


def testOriginsShiftBothFrames(scene):
    turn = AffineMapping(0.98, -0.2, 0.2, 0.98, 6.4, -4.3)
    whole = warp(scene, turn)
    part = warp(scene, turn, shape=(30, 40), xy0=(20, 10))
    assert np.array_equal(part[0], whole[0][10:40, 20:60], equal_nan=True)
    assert np.array_equal(part[1], whole[1][10:40, 20:60])
    moved = AffineMapping(0.98, -0.2, 0.2, 0.98, 6.4 + 1000, -4.3 - 500)
    assert np.array_equal(warp(scene, moved, srcXY0=(1000, -500))[0], whole[0], equal_nan=True)


def testAreaFactorConservesSurfaceBrightness():
    planes = planesOf(np.full((60, 60), 10.0, np.float32), variance=np.full((60, 60), 4.0, np.float32))
    stretch = AffineMapping(0.5, 0, 0, 0.8, 3, 3)  # a destination pixel holds 0.4 source pixels
    image, _, variance, _ = warp(planes, stretch)
    assert image[20, 20] == pytest.approx(4.0, rel=1e-6)
    plain = warp(planes, stretch, WarpingControl(scaleByArea=False))
    assert plain[0][20, 20] == pytest.approx(10.0, rel=1e-6)
    assert variance[20, 20] == pytest.approx(0.16 * plain[2][20, 20], rel=1e-5)


def testAreaFactorIsCentred():
    """A quadratic map: centred differences are exact, left differences half a pixel off."""
    planes = planesOf(np.ones((60, 400), np.float32))
    x = np.arange(-1.0, 402)
    gx, gy = np.meshgrid(0.5 * x + 5e-4 * x**2, np.arange(-1.0, 62))
    grid = GridMapping(-1, -1, 1, gx.copy(), gy.copy())
    centred = warp(planes, grid)[0][30]
    left = warp(planes, grid, WarpingControl(model="reference"))[0][30]
    truth = 0.5 + 1e-3 * np.arange(400)
    good = np.isfinite(centred)
    assert good.sum() > 300
    assert np.abs(centred - truth)[good].max() < 1e-6
    assert np.abs(left - (truth - 5e-4))[good].max() < 1e-6


def testNonFinitePixelIsLeftOutAndFlagged():
    image = np.full((40, 40), 5.0, np.float32)
    image[20, 20] = np.nan
    out, mask, variance, count = warp(planesOf(image), shift(0.3, 0.1))
    # 36 pixels touch it. Those with less than half of their weight left have no data, the others are filled.
    touched = (mask & INTRP) != 0
    lost = (mask & NO_DATA != 0) & (np.arange(40) > 10)[:, None] & (np.arange(40) < 30)[:, None]
    lost &= (np.arange(40) > 10) & (np.arange(40) < 30)
    assert touched.sum() + lost.sum() == 36 and lost.sum() == 1
    assert np.all(np.abs(out[touched] - 5) < 1e-5)
    assert np.all(np.isnan(out[lost])) and np.all(np.isposinf(variance[lost]))
    assert count == 35 * 35 - 1
    poisoned = warp(planesOf(image), shift(0.3, 0.1), WarpingControl(model="reference"))
    assert np.isnan(poisoned[0]).sum() == 40 * 40 - 35 * 35 + 36
    # Exactly on the grid a NaN stays one pixel.
    exact = warp(planesOf(image), shift(0.0))[0]
    assert np.isnan(exact[5:35, 5:35]).sum() == 1


def testInfiniteVarianceStaysInfinite():
    planes = planesOf(np.ones((40, 40), np.float32))
    planes[2][20, 20] = np.inf
    _, _, variance, count = warp(planes, shift(0.3))
    assert np.isposinf(variance).sum() == 40 * 40 - 35 * 35 + 36 and count == 35 * 35
    assert not np.isnan(variance).any()


def testSharedMemoryIsRefused(scene):
    image, mask, variance = scene
    with pytest.raises(stillsky.DomainError, match="share memory"):
        _core.warpMaskedArrays(
            image, np.empty_like(mask), np.empty_like(variance), (0, 0), *scene, (0, 0), shift(0), WarpingControl(),
            np.nan, NO_DATA, np.inf,
        )  # fmt: skip
    with pytest.raises(stillsky.DomainError, match="share memory"):
        _core.warpArray(image[:50], (0, 0), image[40:], (0, 0), shift(0), WarpingControl(), np.nan)


def testResultDoesNotDependOnThreads(scene, rng):
    image = rng.normal(size=(300, 500)).astype(np.float32)
    image[100:110, 200] = np.nan
    turn = AffineMapping(0.9, -0.3, 0.3, 0.9, 60, -40)
    results = []
    for n in (1, 2, 5):
        with stillsky.numThreads(n):
            results.append(warp(planesOf(image), turn, WarpingControl("lanczos3", "bilinear")))
    for other in results[1:]:
        assert all(np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f") for a, b in zip(results[0], other))


def testStrongReductionReadsTheSourceInPlace(rng):
    image = rng.normal(size=(900, 1000)).astype(np.float32)
    zoom = AffineMapping(7.3, 0, 0, 7.1, 5.2, 4.4)
    out = warp(planesOf(image), zoom, WarpingControl("lanczos3", scaleByArea=False), shape=(120, 130))
    k = [kernelWeights("lanczos3", (7.3 * 50 + 5.2) % 1)[0], kernelWeights("lanczos3", (7.1 * 60 + 4.4) % 1)[0]]
    w = np.outer(k[1], k[0])
    x0, y0 = int(7.3 * 50 + 5.2) - 2, int(7.1 * 60 + 4.4) - 2
    expected = (w * image[y0 : y0 + 6, x0 : x0 + 6]).sum() / w.sum()
    assert out[0][60, 50] == pytest.approx(expected, abs=1e-5)


def testPositionsThatDoNotExistArePadded():
    q = np.full((42, 42), np.nan)
    q[:, :20] = np.arange(-1.0, 19)
    gy = np.ascontiguousarray(np.broadcast_to(np.arange(-1.0, 41)[:, None], (42, 42)))
    image, mask, _, count = warp(planesOf(np.ones((40, 40), np.float32)), GridMapping(-1, -1, 1, q, gy))
    good = np.isfinite(image)
    assert count == good.sum() == 35 * 17  # x 2 to 18 (the last with one-sided area), y 2 to 36
    assert np.abs(image[good] - 1).max() < 1e-6
    assert np.all(mask[~good] == NO_DATA)


def testKernelTableIsExactAtBinEdges(scene):
    for cache in (1, 100, 4096, 1000000):
        image, mask, _, _ = warp(scene, shift(2, -3), WarpingControl("lanczos3", "bilinear", cache))
        good = np.isfinite(image)
        assert np.array_equal(image[good], np.roll(scene[0], (3, -2), (0, 1))[good])
        assert np.array_equal(mask[good], np.roll(scene[1], (3, -2), (0, 1))[good])


def testCacheErrorFallsWithTheSquareOfItsSize(rng):
    image = rng.normal(size=(40, 40))
    exact = warp(planesOf(image), shift(0.31234, 0.777))[0]
    errors = [np.nanmax(np.abs(warp(planesOf(image), shift(0.31234, 0.777), WarpingControl(cacheSize=n))[0] - exact))
              for n in (32, 1024)]  # fmt: skip
    assert errors[0] < 1e-2 and errors[1] < errors[0] / 200


def testKernelWeights():
    for name, total in (("lanczos2", 1.01895), ("lanczos3", 0.994299), ("lanczos4", 1.002433), ("lanczos5", 0.998746)):
        assert WarpingKernel(name).weights(0.5).sum() == pytest.approx(total, abs=1e-5)
    k = WarpingKernel("lanczos3")
    assert (k.taps, k.center) == (6, 2)
    assert np.outer(k.weights(0.5), k.weights(0.5)).sum() == pytest.approx(0.98862960, abs=1e-8)
    assert np.outer(k.weights(0.6), k.weights(0.25)).sum() == pytest.approx(0.99178049, abs=1e-8)
    assert np.array_equal(k.weights(0.0), [0, 0, 1, 0, 0, 0])
    assert np.array_equal(WarpingKernel("nearest").weights(0.5), [0, 1])


def testControlIsAValue():
    control = WarpingControl("lanczos4", "bilinear", 1000, 20, 16, "reference", False)
    assert pickle.loads(pickle.dumps(control)) == control == control.copy()
    assert control != WarpingControl("lanczos4", "bilinear", 1000, 20, 16)
    for bad in ({"cacheSize": -1}, {"interpLength": -1}, {"model": "other"}):
        with pytest.raises(stillsky.DomainError, match=next(iter(bad))):
            WarpingControl(**bad)
