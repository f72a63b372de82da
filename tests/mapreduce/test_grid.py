"""Grids: acceptance checks 11-16 of the specification. ``compat`` is the reference's placing."""

import math

import numpy as np
import pytest
from map_scenes import SMALL_PSF

from stillsky.errors import DomainError, ShapeError
from stillsky.geom import Box2I
from stillsky.mapreduce import coverage, makeGrid
from stillsky.mapreduce.grid import evenSized, scaledSizes

BOX = Box2I((0, 0), (128, 128))


def gridOf(bbox=BOX, cell=10, step=10, border=5, option="spacing", compat=True, **more):
    return makeGrid(
        bbox, *((v, v) if np.isscalar(v) else v for v in (cell, step, border)), option, compat=compat, **more
    )


def tuplesOf(grid, what="core"):
    return [(b.minX, b.minY, b.width, b.height) for b in (getattr(c, what) for c in grid.cells)]


def covered(grid, bbox=BOX):
    return coverage([c.core for c in grid.cells], bbox)


@pytest.mark.parametrize(
    ("settings", "n", "stats", "first", "last"),
    [
        ({}, 169, (1, 1.0315, 4), (0, 0, 10, 10), (118, 118, 10, 10)),
        ({"option": "size"}, 169, (1, 1.1963, 4), (0, 0, 11, 11), (120, 120, 8, 8)),
        ({"option": "none"}, 169, (1, 1, 1), (0, 0, 10, 10), (120, 120, 8, 8)),
        ({"step": 8}, 169, (1, 1.0315, 4), (0, 0, 10, 10), (118, 118, 10, 10)),
        ({"step": 8, "option": "none"}, 256, (1, 1.5237, 4), (0, 0, 10, 10), (120, 120, 8, 8)),
        ({"step": 8, "option": "size"}, 256, (1, 1.2481, 4), (0, 0, 9, 9), (120, 120, 8, 8)),
        ({"step": 12, "option": "none"}, 121, (0, 0.7119, 1), (0, 0, 10, 10), None),
        ({"cell": 7}, 361, (1, 1.0635, 4), (0, 0, 7, 7), (122, 122, 6, 6)),
        ({"cell": 40}, 16, (1, 1.5625, 4), (0, 0, 40, 40), (88, 88, 40, 40)),
        ({"cell": 64}, 9, (1, 2.25, 4), None, None),
        ({"cell": 128}, 4, (4, 4, 4), (0, 0, 128, 128), (0, 0, 128, 128)),
        ({"cell": 200}, 1, (1, 1, 1), (0, 0, 128, 128), (0, 0, 128, 128)),
    ],
)
def testClosedFormsOf128(settings, n, stats, first, last):
    grid = gridOf(**settings)
    boxes, count = tuplesOf(grid), covered(grid)
    assert len(boxes) == n
    assert (count.min(), pytest.approx(count.mean(), abs=5e-5), count.max()) == stats
    assert first is None or boxes[0] == first
    assert last is None or boxes[-1] == last


def testExpandedBoxesAndOrder():
    assert [tuplesOf(gridOf(), "expanded")[i] for i in (0, -1)] == [(0, 0, 15, 15), (113, 113, 15, 15)]
    assert [tuplesOf(gridOf(option="size"), "expanded")[i] for i in (0, -1)] == [(0, 0, 16, 16), (115, 115, 13, 13)]
    assert [tuplesOf(gridOf(option="none"), "expanded")[i] for i in (0, -1)] == [(0, 0, 15, 15), (115, 115, 13, 13)]
    assert [b[:2] for b in tuplesOf(gridOf(cell=40))[:5]] == [(0, 0), (0, 29), (0, 58), (0, 88), (29, 0)]
    assert np.count_nonzero(covered(gridOf(step=12, option="none")) == 0) == 4720


def testSizesInUnitsOfTheFwhm():
    fwhm = 2.3548200450309493 * SMALL_PSF.determinantRadius()
    assert fwhm == pytest.approx(4.703809, abs=1e-5)
    grid = gridOf(fwhm=fwhm)
    assert (grid.cell, grid.step, grid.border) == ((47, 47), (47, 47), (24, 24))
    assert len(grid.cells) == 9 and covered(grid).mean() == pytest.approx(1.1963, abs=5e-5)
    assert tuplesOf(grid)[-1] == (82, 82, 46, 46) and tuplesOf(grid, "expanded")[-1] == (58, 58, 70, 70)
    grid = gridOf(fwhm=fwhm, step=8, option="none")
    assert len(grid.cells) == 16 and covered(grid).mean() == pytest.approx(1.4664, abs=5e-5)


def testBetterSpacingHasNoRowTooMany(rng):
    assert len(gridOf(compat=False).cells) == 169
    big = Box2I((0, 0), (4096, 4096))
    grid = gridOf(big, cell=512, step=512, compat=False)
    assert len(grid.cells) == 64
    count = covered(grid, big)
    assert count.min() == count.max() == 1
    assert len(gridOf(cell=128, compat=False).cells) == 1
    assert len(gridOf(step=8, compat=False).cells) == 256
    for _ in range(4000):
        w, h = (int(v) for v in rng.integers(8, 200, 2))
        cell = int(rng.integers(1, 40))
        from stillsky.mapreduce.grid import _intervals

        for n in (w, h):
            edge = 0
            for start, size in sorted(_intervals(n, cell, cell, "spacing")):
                assert start <= edge
                edge = max(edge, start + size)
            assert edge >= n


@pytest.mark.parametrize("option", ["spacing", "size", "none"])
def testNoGapsWithTheBetterPlacing(rng, option):
    for _ in range(150):
        box = Box2I(tuple(rng.integers(-50, 50, 2)), tuple(int(v) for v in rng.integers(1, 90, 2)))
        cell = tuple(int(v) for v in rng.integers(1, 30, 2))
        count = covered(gridOf(box, cell=cell, step=cell, option=option, compat=False), box)
        assert count.min() >= 1
        if option == "size":
            assert count.max() == 1


def testOnePixelCellsAreKept():
    box, cell = Box2I((0, 0), (45, 85)), (11, 12)
    count = covered(gridOf(box, cell=cell, step=cell, option="none"), box)
    assert np.argwhere(count == 0).tolist() == [[84, 44]]  # the reference loses one pixel
    assert covered(gridOf(box, cell=cell, step=cell, option="none", compat=False), box).min() == 1
    assert len(gridOf(cell=1, step=1, compat=True).cells) == 0
    assert len(gridOf(cell=1, step=1, compat=False).cells) == 128 * 128


def testEvenSizes():
    grid = gridOf(cell=9, step=9, forceEven=True)
    boxes, expanded = tuplesOf(grid), tuplesOf(grid, "expanded")
    assert len(boxes) == 225
    assert boxes[:2] == [(0, 0, 10, 10), (0, 8, 10, 10)] and boxes[-1] == (120, 120, 8, 8)
    assert expanded[:2] == [(0, 0, 14, 14), (0, 3, 14, 20)]
    assert all(w % 2 == h % 2 == 0 for _, _, w, h in boxes + expanded)
    assert covered(grid).mean() == pytest.approx(1.3369, abs=5e-5)
    with pytest.raises(RuntimeError, match="odd"):
        gridOf(Box2I((0, 0), (127, 127)), cell=127, step=127, forceEven=True)
    assert evenSized(Box2I(), BOX).isEmpty


CENTRES = ([10, 0, 63.9, -40], [20, 0, 47.2, 10])
OFFSET = Box2I((100, -50), (64, 48))


def testGivenCentresAreLocalInTheReference():
    grid = gridOf(OFFSET, centroids=CENTRES)
    assert tuplesOf(grid) == [(105, -35, 10, 10), (100, -50, 5, 5), (158, -8, 6, 6)]
    assert tuplesOf(grid, "expanded") == [(100, -40, 20, 20), (100, -50, 10, 10), (153, -13, 11, 11)]
    assert grid.skipped == [3]
    assert tuplesOf(gridOf(OFFSET, cell=(10.7, 10.2), border=5.9, centroids=CENTRES))[0] == (105, -35, 10, 10)


def testGivenCentresAreParentPositionsScaledLikeTheRest():
    parent = ([x + 100 for x in CENTRES[0]], [y - 50 for y in CENTRES[1]])
    grid = gridOf(OFFSET, centroids=parent, compat=False)
    assert tuplesOf(grid) == tuplesOf(gridOf(OFFSET, centroids=CENTRES))
    assert tuplesOf(gridOf(OFFSET, centroids=CENTRES, centroidOrigin="local", compat=False)) == tuplesOf(grid)
    assert gridOf(OFFSET, cell=10.7, centroids=parent, compat=False).cell == (11, 11)
    assert gridOf(OFFSET, centroids=parent, fwhm=2.0, compat=False).cell == (20, 20)


def testSizesRoundHalvesToEven():
    assert scaledSizes((2.5, 3.5), (4.5, 5.5), (0.5, 1.5))[0] == (2, 4)
    assert scaledSizes((2.5, 3.5), (4.5, 5.5), (0.5, 1.5))[1:] == ((4, 6), (0, 2))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cell": 0.2}, "cellSizeX = 0.2 is 0.2 pixels"),
        ({"step": (10, 0.1), "fwhm": 3.0}, "gridStepY = 0.1 is 0.3 pixels"),
        ({"fwhm": math.nan}, "fwhm"),
        ({"option": "best"}, "spacing, size or none"),
        ({"centroids": ([1, 2], [3])}, "as many"),
        ({"centroids": ([math.nan], [3])}, "finite"),
        ({"centroids": ([1], [3]), "centroidOrigin": "sky"}, "centroidOrigin"),
    ],
)
def testBadSettingsAreNamed(settings, message):
    with pytest.raises(DomainError, match=message):
        gridOf(compat=False, **settings)


def testImageWithoutPixels():
    with pytest.raises(ShapeError, match="no pixels"):
        gridOf(Box2I())


def testCoverageCountsAndOverflows():
    boxes = [Box2I((-3, -3), (5, 5)), Box2I((1, 1), (2, 1)), Box2I((500, 0), (3, 3))]
    count = coverage(boxes, Box2I((0, 0), (4, 3)))
    assert count.dtype == np.uint16
    assert count.tolist() == [[1, 1, 0, 0], [1, 2, 1, 0], [0, 0, 0, 0]]
    with pytest.raises(OverflowError, match="65536"):
        coverage([Box2I((0, 0), (1, 1))] * 65536, Box2I((0, 0), (1, 1)))
