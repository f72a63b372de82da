"""Reductions: acceptance checks 10, 17-19 and 26-29 of the specification, and what patches may be."""

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from map_scenes import SMALL_PSF, exposureOf, makeTask, pairs

from stillsky import makeTanWcs
from stillsky.errors import MismatchError, ShapeError
from stillsky.geom import Box2I
from stillsky.image import Exposure, Image, Mask, MaskedImage, MaskSchema
from stillsky.mapreduce.config import ImageReducerConfig
from stillsky.mapreduce.task import ImageReducer
from stillsky.psf import CoaddPsf, GaussianPsf

NAN = np.nan


def patchOf(image, mask, variance, xy0=(0, 0), schema=None, dtype=np.float32, **info):
    planes = Image(np.array(image, dtype), xy0), Mask(np.array(mask, np.int32), xy0, schema)
    return Exposure(MaskedImage(*planes, Image(np.array(variance, np.float32), xy0)), **info)


def reduce(patches, exposure, operation="average", **fields):
    config = ImageReducerConfig()
    config.reduceOperation = operation
    for name, value in fields.items():
        setattr(config, name, value)
    return ImageReducer(config=config).run([pipeBase.Struct(subExposure=p) for p in patches], exposure).exposure


@pytest.fixture
def example():
    """The worked example 5.8: an input and two overlapping patches with invalid pixels."""
    mask = np.zeros((2, 7), np.int32)
    mask[1, 6] = 16
    exposure = exposureOf(size=(7, 2), mask=mask)
    a = patchOf([[1, 2, 3, 4], [5, NAN, 7, 8]], [[0, 0, 2, 0], [0, 4, 0, 0]], [[1, 1, 1, 1], [1, 1, 1, NAN]])
    c = patchOf([[10, 20, 30, 40], [NAN, 60, 70, 80]], [[0, 8, 0, 0], [0, 0, 0, 0]], [[4] * 4] * 2, xy0=(2, 0))
    return exposure, [a, c]


EXAMPLE = {  # operation, compat: image, variance, mask
    ("copy", True): (
        [[1, 2, 10, 20, 30, 40, NAN], [5, NAN, 7, 60, 70, 80, NAN]],
        [[1, 1, 4, 4, 4, 4, NAN], [1, NAN, 1, 4, 4, 4, NAN]],
        [[0, 0, 2, 8, 0, 0, 1], [0, 5, 0, 0, 0, 0, 17]],
    ),
    ("sum", True): (
        [[1, 2, 13, 24, 30, 40, 0], [5, 0, 7, 60, 70, 80, 0]],
        [[1, 1, 5, 5, 4, 4, 0], [1, 0, 1, 4, 4, 4, 0]],
        [[0, 0, 2, 8, 0, 0, 0], [0, 4, 0, 0, 0, 0, 16]],
    ),
    ("average", True): (
        [[1, 2, 6.5, 12, 30, 40, NAN], [5, NAN, 7, 60, 70, 80, NAN]],
        [[1, 1, 2.5, 2.5, 4, 4, NAN], [1, NAN, 1, 4, 4, 4, NAN]],
        [[0, 0, 2, 8, 0, 0, 1], [0, 5, 0, 0, 0, 0, 17]],
    ),
    ("copy", False): (
        [[1, 2, 10, 20, 30, 40, NAN], [5, NAN, 7, 60, 70, 80, NAN]],
        [[1, 1, 4, 4, 4, 4, NAN], [1, NAN, 1, 4, 4, 4, NAN]],
        [[0, 0, 0, 8, 0, 0, 1], [0, 5, 0, 0, 0, 0, 17]],
    ),
    ("sum", False): (
        [[1, 2, 13, 24, 30, 40, NAN], [5, NAN, 7, 60, 70, 80, NAN]],
        [[1, 1, 5, 5, 4, 4, NAN], [1, NAN, 1, 4, 4, 4, NAN]],
        [[0, 0, 2, 8, 0, 0, 1], [0, 5, 0, 0, 0, 0, 17]],
    ),
}
EXAMPLE["average", False] = EXAMPLE["average", True]


@pytest.mark.parametrize(("operation", "compat"), EXAMPLE)
def testWorkedExample(example, operation, compat):
    exposure, patches = example
    out = reduce(patches, exposure, operation, badMaskPlanes=["BAD"], compat=compat)
    image, variance, mask = EXAMPLE[operation, compat]
    np.testing.assert_array_equal(out.image.array, image)
    np.testing.assert_array_equal(out.variance.array, variance)
    np.testing.assert_array_equal(out.mask.array, mask)
    assert exposure.mask.array[1, 6] == 16 and np.all(exposure.image.array == 0)


def testGridsCoverTheImageWithoutNans():
    """216 configurations, 432 runs: never a NaN, always the input plus a constant."""
    exposure = exposureOf(np.arange(128 * 128).reshape(128, 128) % 7)
    for option in ("spacing", "size", "none"):
        for stepX in (11, 7):
            for stepY in (11, 7):
                for dx in range(3):
                    for dy in range(3):
                        counts = []
                        for scale in (True, False):
                            factor = 1 if scale else 3
                            sizes = {"cellSizeX": (stepX + dx) * factor, "cellSizeY": (stepY + dy) * factor}
                            sizes.update(gridStepX=stepX * factor, gridStepY=stepY * factor)
                            for operation in ("copy", "average"):
                                task = makeTask(
                                    operation=operation, adjustGridOption=option, scaleByFwhm=scale, **sizes
                                )
                                out = task.run(exposure).exposure.image.array
                                np.testing.assert_array_equal(out, exposure.image.array + 5)
                            counts.append(len(task.boxes0))
                        assert counts[0] < counts[1]


@pytest.mark.parametrize("compat", [True, False])
@pytest.mark.parametrize(
    ("fields", "total"),
    [
        ({}, 84500),
        ({"adjustGridOption": "none"}, 81920),
        ({"adjustGridOption": "size"}, 98000),
        ({"scaleByFwhm": True}, 98000),
        ({"adjustGridOption": "none", **pairs(step=8)}, 124820),
    ],
)
def testSumsOfTheOutput(fields, total, compat):
    for operation in ("copy", "average", "sum"):
        task = makeTask(operation=operation, compat=compat, **fields)
        out = float(task.run(exposureOf()).exposure.image.array.astype(float).sum())
        assert out == (5 * sum(b.area for b in task.boxes0) if operation == "sum" else 81920)
    if compat:
        assert out == total


@pytest.mark.parametrize(
    ("fields", "n"),
    [
        ({}, 121),
        ({"adjustGridOption": "none"}, 169),
        ({"adjustGridOption": "size"}, 1),
        ({"adjustGridOption": "none", **pairs(step=8)}, 1),
        ({"scaleByFwhm": True}, 1),
    ],
)
def testInvalidPixelsOfOnePatchAreFilledByAnother(fields, n):
    for operation in ("copy", "average", "sum"):
        task = makeTask(operation=operation, **fields)
        task.config.mapper.addNans = True
        out = task.run(exposureOf()).exposure.image.array
        assert np.isnan(out).sum() == (0 if operation == "sum" else n)
    assert out.min() == 0


def testPlanesFollowTheirNames():
    exposure = exposureOf(size=(4, 3))
    exposure.mask.schema = MaskSchema({"BAD": 0, "NO_DATA": 8})
    patch = patchOf(np.ones((3, 4)), np.full((3, 4), 256), np.ones((3, 4)), schema=MaskSchema({"BAD": 0, "FOO": 8}))
    for operation in ("copy", "average", "sum"):
        mask = reduce([patch], exposure, operation).mask
        assert mask.bit("FOO") != 8 and mask.isSet("FOO").all()
        assert not mask.isSet("NO_DATA").any() and "INVALID_MAPREDUCE" in mask.schema


def testInfiniteValueWithVarianceZeroIsKept():
    exposure = exposureOf(size=(2, 1))
    patch = patchOf([[np.inf, 1]], [[0, 0]], [[0, 1]])
    for operation in ("copy", "sum", "average"):
        assert reduce([patch], exposure, operation).image.array.tolist() == [[np.inf, 1]]
    assert np.isnan(reduce([patch], exposure, "average", compat=True).image.array[0, 0])


@pytest.mark.parametrize("o", [1, 2, 5, 10])
def testTaperBlendsNeighbours(o):
    exposure = exposureOf(size=(40 - o, 6))
    left = patchOf(np.full((6, 20), 1.0), np.zeros((6, 20)), np.ones((6, 20)), psf=SMALL_PSF)
    right = patchOf(np.full((6, 20), 3.0), np.zeros((6, 20)), np.ones((6, 20)), xy0=(20 - o, 0), psf=SMALL_PSF)
    out = reduce([left, right], exposure, "average", overlapWeight="taper")
    row, d = out.image.array[3], np.arange(o)
    blend = 1 + 2 * np.sin(np.pi / 2 * (d + 0.5) / o) ** 2
    np.testing.assert_allclose(row[20 - o : 20], blend, rtol=3e-7)
    assert np.all(np.diff(row) >= 0) and np.all(row[: 20 - o] == 1) and np.all(row[20:] == 3)
    from stillsky.mapreduce.stitch import ramp

    xs = np.arange(20 - o, 20)
    total = ramp(0, 19, 0, o, xs) + ramp(20 - o, 39 - o, o, 0, xs)
    assert np.abs(total - 1).max() < 1e-12
    np.testing.assert_allclose(out.variance.array, 1, rtol=1e-6)


def testTaperWeighsThePsfLikeThePixels():
    exposure = exposureOf(size=(30, 6))
    narrow, wide = GaussianPsf(41, 41, 2.0), GaussianPsf(41, 41, 4.0)
    patches = [
        patchOf(np.ones((6, 20)), np.zeros((6, 20)), np.ones((6, 20)), xy0=(x, 0), psf=psf)
        for x, psf in ((0, narrow), (10, wide))
    ]
    psf = reduce(patches, exposure, overlapWeight="taper").psf
    w = np.sin(np.pi / 2 * 2.5 / 10) ** 2  # of the right cell at x = 12
    expected = (1 - w) * narrow.computeKernelImage().array + w * wide.computeKernelImage().array
    np.testing.assert_allclose(psf.computeKernelImage((12, 3)).array, expected, atol=1e-15)


def testWeightsAndErrorsOfOverlaps():
    exposure = exposureOf(size=(2, 1))
    patches = [patchOf([[1, 4]], [[0, 0]], [[1, 1]]), patchOf([[3, 8]], [[0, 0]], [[3, 1]])]
    mean = reduce(patches, exposure)
    assert mean.image.array.tolist() == [[2, 6]] and mean.variance.array.tolist() == [[2, 1]]
    independent = reduce(patches, exposure, overlapVariance="independent")
    assert independent.image.array.tolist() == [[2, 6]] and independent.variance.array.tolist() == [[1, 0.5]]
    weighted = reduce(patches, exposure, overlapWeight="inverseVariance", overlapVariance="independent")
    np.testing.assert_allclose(weighted.image.array, [[1.5, 6]], rtol=1e-6)
    np.testing.assert_allclose(weighted.variance.array, [[0.75, 0.5]], rtol=1e-6)  # 1 / (1 + 1/3)
    zero = [patchOf([[1, 4]], [[0, 0]], [[0, 0]]), patchOf([[3, 8]], [[0, 0]], [[0, 0]])]
    assert reduce(zero, exposure, overlapWeight="inverseVariance").image.array.tolist() == [[2, 6]]


@pytest.mark.parametrize(("given", "made"), [(np.uint16, np.float32), (np.int32, np.float64), (np.float64, np.float64)])
def testPixelTypes(given, made):
    exposure = patchOf(np.full((3, 3), 7), np.zeros((3, 3)), np.ones((3, 3)), dtype=given)
    patch = exposure[Box2I((0, 0), (3, 2))].copy()
    out = reduce([patch], exposure, "copy")
    assert out.image.dtype == made and np.all(out.image.array[:2] == 7) and np.isnan(out.image.array[2]).all()


def testResultWithoutExposureIsATypeError():
    for result in (pipeBase.Struct(mean=1.0), pipeBase.Struct(subExposure=None)):
        with pytest.raises(TypeError, match="cell 0"):
            ImageReducer(config=ImageReducerConfig()).run([result], exposureOf())
    wrong = patchOf(np.ones((2, 2)), np.zeros((2, 2)), np.ones((2, 2)), dtype=np.uint64)
    with pytest.raises(TypeError, match="uint64"):
        reduce([wrong], exposureOf())


def testPatchBeyondTheImageIsNamed():
    patch = patchOf(np.ones((2, 4)), np.zeros((2, 4)), np.ones((2, 4)), xy0=(5, 0))
    with pytest.raises(ShapeError, match=r"cell 0.*corner=\(5, 0\).*dimensions=\(7, 2\)") as caught:
        reduce([patch], exposureOf(size=(7, 2)))
    assert isinstance(caught.value, ValueError)


def testWcsOfAPatchMustBeTheInputs():
    one, two = (makeTanWcs((3, 3), (scale, 0.1), [[1e-4, 0], [0, 1e-4]]) for scale in (0.5, 0.6))
    exposure = exposureOf(size=(3, 3), wcs=one)
    patch = exposure.copy()
    patch.wcs = two
    with pytest.raises(MismatchError, match="WCS"):
        reduce([patch], exposure)


def testCopyComposesThePsfOfTheWinners():
    exposure = exposureOf(size=(10, 4))
    patches = [
        patchOf(np.ones((4, 6)), np.zeros((4, 6)), np.ones((4, 6)), xy0=(x, 0), psf=GaussianPsf(21, 21, sigma))
        for x, sigma in ((0, 1.5), (4, 3.0))
    ]
    psf = reduce(patches, exposure, "copy").psf
    for x, sigma in ((2, 1.5), (4, 3.0), (5, 3.0), (9, 3.0)):
        expected = GaussianPsf(21, 21, sigma).computeKernelImage().array
        np.testing.assert_allclose(psf.computeKernelImage((x, 2)).array, expected, atol=1e-16)
    assert reduce(patches, exposure, "copy", compat=True).psf is SMALL_PSF
    assert reduce(patches, exposure, "average", psfMode="input").psf is SMALL_PSF
    patches[1].image.array[...] = NAN  # cells without a valid pixel leave the PSF
    assert reduce(patches, exposure, "average").psf.componentCount == 1


def testPsfAndBoxWithoutPixels():
    results = [pipeBase.Struct(psf=GaussianPsf(15, 15, s), bbox=Box2I((0, 0), (5, 5))) for s in (1.5, 2.5)]
    config = ImageReducerConfig()
    config.reduceOperation = "coaddPsf"
    psf = ImageReducer(config=config).run(results, exposureOf(size=(9, 9))).result
    assert isinstance(psf, CoaddPsf) and [c.id for c in psf.components] == [0, 1]
    with pytest.raises(ValueError, match="psf and its bbox"):
        ImageReducer(config=config).run([pipeBase.Struct(mean=1)], exposureOf(size=(9, 9)))


def testFurtherOutputs():
    exposure = exposureOf(size=(4, 2))
    one, two = (patchOf(np.full((2, 4), v), np.zeros((2, 4)), np.ones((2, 4))) for v in (1, 2))
    config = ImageReducerConfig()
    config.outputs = ["subExposure", "matched"]
    out = ImageReducer(config=config).run([pipeBase.Struct(subExposure=one, matched=two)], exposure)
    assert np.all(out.exposure.image.array == 1) and np.all(out.matched.image.array == 2)
    assert out.subExposure is out.exposure


def testNoneReturnsTheListItself():
    config = ImageReducerConfig()
    config.reduceOperation = "none"
    results = [pipeBase.Struct(a=1)]
    assert ImageReducer(config=config).run(results, exposureOf()).result is results


def testOrderOfTheListDecidesNotTheOrderOfWork():
    exposure = exposureOf(size=(4, 6))
    upper = patchOf(np.full((4, 4), 1.0), np.zeros((4, 4)), np.ones((4, 4)), xy0=(0, 2))
    lower = patchOf(np.full((4, 4), 2.0), np.zeros((4, 4)), np.ones((4, 4)))
    assert reduce([lower, upper], exposure, "copy").image.array[:, 0].tolist() == [2, 2, 1, 1, 1, 1]
    assert reduce([upper, lower], exposure, "copy").image.array[:, 0].tolist() == [2, 2, 2, 2, 1, 1]
