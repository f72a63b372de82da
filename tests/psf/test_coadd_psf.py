"""CoaddPsf: checks 54-61 of the core data model, 20 and 21 of map-reduce, A1 and A2 of coadds."""

import copy
import pickle

import numpy as np
import pytest

from stillsky import makeCdMatrix, makeExposure, makeTanWcs, read
from stillsky.errors import DomainError, InvalidPsfError, OutOfBoundsError, StillskyError
from stillsky.geom import Box2I, Polygon
from stillsky.psf import CoaddPsf, CoaddPsfComponent, DoubleGaussianPsf, GaussianPsf, KernelPsf

SCALE = 0.2 / 3600  # degrees
SKY = (0.3, 0.2)


def wcsOf(crpix=(0.0, 0.0), scale=SCALE, angle=0.0):
    return makeTanWcs(crpix, SKY, makeCdMatrix(scale, np.deg2rad(angle)))


def flatMoments(image):
    """Flux-weighted second moments about the origin."""
    y, x = np.mgrid[0 : image.height, 0 : image.width]
    x, y, total = x + image.xy0.x, y + image.xy0.y, image.array.sum()
    return (image.array * x * x).sum() / total, (image.array * y * y).sum() / total


def inputsOf(sigmas, box, weights=None, wcs=None, size=101):
    weights = np.ones(len(sigmas)) if weights is None else weights
    return [
        CoaddPsfComponent(GaussianPsf(size, size, s, averagePosition=(50, 50)), box, wcs, float(w), id=i)
        for i, (s, w) in enumerate(zip(sigmas, weights))
    ]


def testIdenticalInputsGiveTheirPsf():
    wcs = wcsOf()
    psf = CoaddPsf(inputsOf([2.0, 2.0], Box2I((0, 0), (100, 100)), wcs=wcs, size=21), wcs)
    assert (
        np.abs(psf.computeKernelImage((30, 30)).array - GaussianPsf(21, 21, 2.0).computeKernelImage().array).max()
        < 1e-6
    )
    with pytest.raises(InvalidPsfError, match="500"):
        psf.computeKernelImage((500, 30))


def testWeightedSumPixelByPixel():
    psf = CoaddPsf(inputsOf([1.5, 3.0], Box2I((0, 0), (100, 100)), weights=[3, 1], size=41))
    one, two = (GaussianPsf(41, 41, s).computeKernelImage().array for s in (1.5, 3.0))
    np.testing.assert_allclose(psf.computeKernelImage((50, 50)).array, (3 * one + two) / 4, atol=1e-15)


@pytest.mark.parametrize(("weights", "moment"), [([1, 2, 3, 4], 50.0), ([1, 1, 1, 1], 43.5)])
@pytest.mark.parametrize("angle", [None, 30.0])
def testMomentsAddLinearly(weights, moment, angle):
    wcs = None if angle is None else wcsOf((50, 50), angle=angle)
    inputs = inputsOf([5, 6, 7, 8], Box2I((0, 0), (100, 100)), weights, wcs)
    psf = CoaddPsf(inputs, None if angle is None else wcsOf((50, 50)))
    for value in flatMoments(psf.computeKernelImage((50, 50))):
        assert value == pytest.approx(moment, abs=0.01)


def testNineInputsKeepTheirWeightsBoxesAndShapes():
    wcs = wcsOf()
    boxes = [Box2I((200 * i, 0), (100, 100)) for i in range(9)]
    inputs = [
        CoaddPsfComponent(
            GaussianPsf(121, 121, i + 1.0, averagePosition=tuple(boxes[i].center)), boxes[i], wcs, i + 1.0, i
        )
        for i in range(9)
    ]
    psf = CoaddPsf(inputs, wcs)
    assert psf.componentCount == psf.getComponentCount() == 9
    for i in range(9):
        assert (psf.getWeight(i), psf.getBBox(i), psf.getId(i)) == (i + 1, boxes[i], i)
        assert psf.getWcs(i) == wcs and psf.getPsf(i) == inputs[i].psf and psf.getValidPolygon(i) is None
        for value in flatMoments(psf.computeKernelImage(tuple(boxes[i].center))):
            assert value == pytest.approx((i + 1) ** 2, abs=0.01)
    with pytest.raises(OutOfBoundsError, match="0..8"):
        psf.getPsf(9)


def testRotationExchangesTheMoments():
    y, x = np.mgrid[-40:41, -40:41]
    elongated = KernelPsf(np.exp(-0.5 * x**2 - 0.5 * (y / 6.0) ** 2), (50, 50))
    box = Box2I((0, 0), (100, 100))
    straight, turned = (
        CoaddPsf([CoaddPsfComponent(elongated, box, wcsOf((50, 50), angle=a))], wcsOf((50, 50))) for a in (0.0, 90.0)
    )
    one, two = (flatMoments(p.computeKernelImage((50, 50))) for p in (straight, turned))
    assert one[0] == pytest.approx(two[1], abs=0.01) and one[1] == pytest.approx(two[0], abs=0.01)
    round_ = CoaddPsf(
        [CoaddPsfComponent(GaussianPsf(81, 81, 6, averagePosition=(50, 50)), box, wcsOf((50, 50), angle=90.0))],
        wcsOf((50, 50)),
    )
    image = round_.computeKernelImage((50, 50))
    yy, xx = np.mgrid[0 : image.height, 0 : image.width]
    assert abs((image.array * (xx + image.xy0.x)).sum()) < 0.01 and abs((image.array * (yy + image.xy0.y)).sum()) < 0.01


def testValidPolygonsSelectInputs():
    inputs = [
        CoaddPsfComponent(
            GaussianPsf(121, 121, i, averagePosition=(50, 50)),
            Box2I((0, 0), (1000, 1000)),
            validPolygon=Polygon([(0, 0), (100 * i, 0), (100 * i, 100 * i), (0, 100 * i)]),
            id=i,
        )
        for i in range(1, 10)
    ]
    psf = CoaddPsf(inputs)
    for p in (50, 500, 850):
        expected = np.mean([i**2 for i in range(1, 10) if 100 * i > p])
        assert flatMoments(psf.computeKernelImage((p + 0.25, p + 0.25)))[0] == pytest.approx(expected, abs=0.01)


def testAveragePositionIsWeightedByGoodPixels():
    coadd, box = wcsOf(), Box2I((-1000, -1000), (2000, 2000))
    inputs = [
        CoaddPsfComponent(GaussianPsf(21, 21, 2.0), box, wcsOf(origin), goodPixels=good, id=i)
        for i, (origin, good) in enumerate((((30, -20), 25), ((32, -21), 10), ((28, -19), 30)))
    ]
    assert tuple(CoaddPsf(inputs, coadd).averagePosition) == pytest.approx((-29.384615, 19.692308), abs=1e-5)


@pytest.mark.parametrize("wcs", [None, wcsOf()])
def testGapBetweenTwoInputs(wcs):
    inputs = [
        CoaddPsfComponent(GaussianPsf(21, 21, 2.0, averagePosition=at), Box2I.fromMinMax((x0, 0), (x1, 100)), wcs, id=i)
        for i, (x0, x1, at) in enumerate(((-40, 40, (0, 50)), (60, 140, (100, 50))))
    ]
    psf = CoaddPsf(inputs, wcs)
    for method in (psf.computeKernelImage, psf.computeImage, psf.computeBBox, psf.computeImageBBox, psf.computeShape):
        with pytest.raises(InvalidPsfError, match=r"\(50, 50\)"):
            method((50, 50))
    assert psf.computeKernelImage(psf.averagePosition).array.sum() == pytest.approx(1)
    assert psf.computeKernelImage().bbox == psf.computeBBox()


@pytest.mark.parametrize("wcs", [None, wcsOf()])
def testBoxIsThatOfTheKernelImage(wcs):
    inputs = [
        CoaddPsfComponent(
            DoubleGaussianPsf(n, n, 6.0), Box2I((-50, -50), (100, 100)), None if wcs is None else wcsOf(), id=n
        )
        for n in (50, 60, 70, 80)
    ]
    psf = CoaddPsf(inputs, wcs)
    assert psf.computeBBox((0, 0)) == psf.computeKernelImage((0, 0)).bbox
    assert tuple(psf.computeBBox((0, 0)).dimensions) == (81, 81)
    with pytest.raises(StillskyError, match="resized"):
        psf.resized(21, 21)


def testTooLargeATransformNamesTheInput():
    box = Box2I((-1000, -1000), (2000, 2000))
    inputs = [
        CoaddPsfComponent(GaussianPsf(21, 21, 2.0), box, wcsOf(scale=SCALE * (1000 if i == 1 else 1)), id=i)
        for i in range(3)
    ]
    with pytest.raises(DomainError, match="id=1"):
        CoaddPsf(inputs, wcsOf()).computeKernelImage((0.0, 0.0))
    good = CoaddPsf(inputs, wcsOf(), onBadComponent="drop").computeKernelImage((0.0, 0.0))
    margin = (good.width - 21) // 2  # the rounding of the sky may add a ring of zeros
    inner = good.array[margin : margin + 21, margin : margin + 21]
    assert np.abs(inner - GaussianPsf(21, 21, 2.0).computeKernelImage().array).max() < 1e-6


def testMembershipIsHalfOpen():
    psf = CoaddPsf([CoaddPsfComponent(GaussianPsf(11, 11, 2.0), Box2I((0, 0), (10, 10)))])
    for x in (-0.5, 9.499):
        psf.computeKernelImage((x, 5))
    for x in (-0.501, 9.5):
        with pytest.raises(InvalidPsfError):
            psf.computeKernelImage((x, 5))


def testImagesAreReadOnlyAndShifted():
    psf = CoaddPsf(inputsOf([2.0], Box2I((0, 0), (100, 100)), size=41))
    with pytest.raises(ValueError, match="read-only"):
        psf.computeKernelImage((50, 50)).array[0, 0] = 1
    star = psf.computeImage((50.25, 49.5))
    y, x = np.mgrid[0:41, 0:41]
    total = star.array.sum()
    assert (star.array * (x + star.xy0.x)).sum() / total == pytest.approx(50.25, abs=1e-3)
    assert (star.array * (y + star.xy0.y)).sum() / total == pytest.approx(49.5, abs=1e-3)


def composite(wcs=None, polygon=None):
    other = None if wcs is None else wcsOf((3, 4), angle=20.0)
    shared = GaussianPsf(21, 21, 2.0, averagePosition=(20, 20))
    return CoaddPsf(
        [
            CoaddPsfComponent(shared, Box2I((0, 0), (60, 50)), wcs, 2.0, 7, goodPixels=100.0),
            CoaddPsfComponent(shared, Box2I((10, 0), (60, 50)), wcs, 1.0, 8, taper=(50, 0, 0, 3)),
            CoaddPsfComponent(
                KernelPsf(shared.computeKernelImage().array.T.copy(), (30, 30)),
                Box2I((-20, -20), (100, 100)),
                other,
                0.5,
                9,
                validPolygon=polygon,
            ),
        ],
        wcs,
        "lanczos4",
    )


@pytest.mark.parametrize("wcs", [None, wcsOf((3, 4))])
def testRoundTrips(wcs, tmp_path):
    psf = composite(wcs, Polygon([(-10, -10), (60, -10), (60, 60)]))
    path = tmp_path / "coadd.fits"
    makeExposure(np.zeros((50, 60)), variance=np.ones((50, 60)), psf=psf).writeFits(path)
    for other in (pickle.loads(pickle.dumps(psf)), copy.deepcopy(psf), psf.clone(), read(path).psf):
        assert isinstance(other, CoaddPsf) and other == psf and hash(other) == hash(psf)
        assert other.componentCount == 3 and other.getValidPolygon(2) == psf.getValidPolygon(2)
        for p in ((20, 20), (12.3, 40.2)):
            mine, given = (v.computeKernelImage(p).array for v in (other, psf))
            # a WCS in a header loses its last digits
            np.testing.assert_allclose(mine, given, rtol=0, atol=0 if wcs is None else 1e-14)
    first, second = psf.components[0].psf, psf.components[1].psf
    assert first is second and other.components[0].psf is other.components[1].psf  # stored once
    assert composite(wcs) != psf


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: CoaddPsf([]), InvalidPsfError, "at least one"),
        (lambda: CoaddPsf(inputsOf([2.0], Box2I((0, 0), (9, 9)), [0.0])), InvalidPsfError, "zero"),
        (lambda: CoaddPsf(inputsOf([2.0], Box2I((0, 0), (9, 9)), [-1.0])), DomainError, "id=0"),
        (lambda: CoaddPsf([CoaddPsfComponent(None, Box2I((0, 0), (9, 9)))]), TypeError, "id=0"),
        (lambda: CoaddPsf(inputsOf([2.0], Box2I((0, 0), (9, 9)))), InvalidPsfError, "average position"),
        (
            lambda: CoaddPsf(inputsOf([2.0], Box2I((0, 0), (99, 99))), wcsOf(), combine="best"),
            DomainError,
            "mean, last",
        ),
        (lambda: CoaddPsf(inputsOf([2.0], Box2I((0, 0), (99, 99)), wcs=wcsOf())), DomainError, "coadd WCS"),
    ],
)
def testWrongInputs(make, error, message):
    with pytest.raises(error, match=message):
        make()


def testManyCellsAreFoundQuickly():
    psf = KernelPsf(GaussianPsf(11, 11, 2.0).computeKernelImage().array)
    cells = [
        CoaddPsfComponent(psf, Box2I((64 * i, 64 * j), (64, 64)), id=64 * i + j) for i in range(64) for j in range(64)
    ]
    coadd = CoaddPsf(cells)
    assert len(coadd._candidates(1000.0, 2000.0)) <= 4
    assert coadd.computeKernelImage((1000.0, 2000.0)).array.sum() == pytest.approx(1)
