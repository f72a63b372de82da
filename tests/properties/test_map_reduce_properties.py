"""Map-reduce for random grids and patches."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stillsky.geom import Box2I
from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.mapreduce import Reduction, coverage, makeGrid
from stillsky.mapreduce.config import ImageReducerConfig
from stillsky.mapreduce.reduction import asCells
from stillsky.mapreduce.stitch import _areDisjoint

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "reference"))
from map_reduce_reference import reducePatches  # noqa: E402

sizes = st.integers(1, 12)
values = st.sampled_from([0.0, 1.0, 2.5, -3.0, np.nan, 7.0])


def exposureOf(image, mask, variance, xy0):
    planes = (Image(np.asarray(image, np.float32), xy0), Mask(np.asarray(mask, np.int32), xy0))
    return Exposure(MaskedImage(*planes, Image(np.asarray(variance, np.float32), xy0)))


@st.composite
def scenes(draw):
    width, height = draw(sizes), draw(sizes)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = rng.integers(0, 2048, (height, width))
    patches = []
    for _ in range(draw(st.integers(0, 6))):
        x0, y0 = int(rng.integers(0, width)), int(rng.integers(0, height))
        shape = int(rng.integers(1, height - y0 + 1)), int(rng.integers(1, width - x0 + 1))
        image, variance = (rng.choice([0.0, 1.0, 2.5, -3.0, 7.0, np.nan], shape) for _ in range(2))
        patches.append((x0, y0, image, rng.integers(0, 2048, shape), variance))
    order = draw(st.permutations(range(len(patches))))
    return (height, width), mask, patches, order


@settings(max_examples=150, deadline=None)
@given(scene=scenes(), operation=st.sampled_from(["copy", "sum", "average"]), compat=st.booleans())
def testReductionsEqualTheSlowOnes(scene, operation, compat):
    """In whatever order the patches come: the order of the list decides."""
    shape, mask, patches, order = scene
    config = ImageReducerConfig()
    config.reduceOperation, config.badMaskPlanes = operation, ["BAD", "NO_DATA"]
    origin = np.array([5, -7])
    exposure = exposureOf(np.zeros(shape), mask, np.zeros(shape), tuple(origin))
    given_ = [exposureOf(i, m, v, tuple(int(c) for c in origin + (x, y))) for x, y, i, m, v in patches]
    state = Reduction(exposure, asCells([p.bbox for p in given_]), config, compat=compat)
    for index in order:
        state.add(index, SimpleNamespace(subExposure=given_[index]))
    out = state.finish()["exposure"]
    image, variance, bits = reducePatches(shape, mask, patches, operation, 0x101, compat)
    np.testing.assert_allclose(out.image.array, np.array(image, np.float32), rtol=1e-6)
    np.testing.assert_allclose(out.variance.array, np.array(variance, np.float32), rtol=1e-6)
    np.testing.assert_array_equal(out.mask.array, bits)
    np.testing.assert_array_equal(exposure.mask.array, mask)


@settings(max_examples=200, deadline=None)
@given(
    corner=st.tuples(st.integers(-99, 99), st.integers(-99, 99)),
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    cell=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    step=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    border=st.tuples(st.integers(0, 9), st.integers(0, 9)),
    option=st.sampled_from(["spacing", "size", "none"]),
)
def testGridsStayInsideAndCover(corner, size, cell, step, border, option):
    bbox = Box2I(corner, size)
    grid = makeGrid(bbox, cell, step, border, option)
    assert [c.index for c in grid.cells] == list(range(len(grid.cells)))
    for c in grid.cells:
        assert bbox.contains(c.expanded) and c.expanded.contains(c.core) and c.core.area > 0
        assert c.expanded == c.core.dilated(border).clipped(bbox) or not bbox.contains(c.core.dilated(1))
    count = coverage([c.core for c in grid.cells], bbox)
    assert count.sum() == sum(c.core.area for c in grid.cells)
    if option == "size" or all(s <= c for s, c in zip(step, cell)):
        assert count.min() >= 1


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 6))
def testDisjointBoxesAreToldFromOverlappingOnes(seed, n):
    rng = np.random.default_rng(seed)
    boxes = [Box2I(tuple(rng.integers(0, 12, 2)), tuple(int(v) for v in rng.integers(1, 6, 2))) for _ in range(n)]
    count = coverage(boxes, Box2I((0, 0), (20, 20)))
    assert _areDisjoint(boxes) == (count.max() <= 1)
