"""Conforming a mask moves names, never meanings (core data model, section 6.3, checks 16, 17 and 19)."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from stillsky.image import Mask, MaskSchema

NAMES = ["BAD", "SAT", "CR", "EDGE", "A", "B", "C", "D"]


@st.composite
def schemas(draw):
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=len(NAMES)))
    bits = draw(st.lists(st.integers(0, 30), unique=True, min_size=len(names), max_size=len(names)))
    return MaskSchema(dict(zip(names, bits)))


pixels = arrays(np.int32, (3, 4), elements=st.integers(0, 2**31 - 1))


def meaning(mask):
    """Plane name to boolean array, planes set somewhere only."""
    planes = {name: mask.isSet(name) for name in mask.schema}
    return {name: plane.tolist() for name, plane in planes.items() if plane.any()}


@given(pixels, schemas(), schemas())
def testMeaningIsKept(values, source, target):
    mask = Mask(values.copy(), schema=source)
    before = meaning(mask)
    mask.conformTo(target)
    assert meaning(mask) == before
    for name, bit in target.items():
        assert mask.schema[name] == bit
    assert set(mask.schema) == {*source, *target}
    assert not (mask.array & ~np.int32(mask.schema.bitmask(list(mask.schema)))).any()


@given(pixels, schemas(), schemas())
def testConformingThereAndBack(values, source, target):
    named = Mask(values & np.int32(source.bitmask(list(source))), schema=source)
    before = named.array.copy()
    named.conformTo(target).conformTo(source)
    np.testing.assert_array_equal(named.array, before)


@given(pixels, schemas(), schemas())
def testOrderOfReadingDoesNotMatter(values, first, second):
    """Two masks read in either order come out alike, and the standard schema stays as it is."""
    standard = dict(MaskSchema.standard())
    a, b = (Mask(values.copy(), schema=first).conformTo(MaskSchema.standard()) for _ in range(2))
    Mask(values.copy(), schema=second).conformTo(MaskSchema.standard())
    assert a == b and dict(MaskSchema.standard()) == standard


@given(schemas(), st.sampled_from(NAMES))
def testAddUsesTheLowestFreeBit(schema, name):
    more = schema.add(name)
    if name in schema:
        assert more == schema
    else:
        assert more[name] == min(set(range(31)) - set(schema.values()))
        assert more.remove(name) == schema


@given(schemas(), schemas())
def testMergedKeepsTheFirstSchema(a, b):
    merged = a.merged(b)
    assert {name: merged[name] for name in a} == dict(a) and set(merged) == {*a, *b}


@given(schemas(), st.integers(0, 2**31 - 1))
def testInterpretNamesExactlyTheSetPlanes(schema, value):
    names = schema.interpret(value).split(",") if schema.interpret(value) else []
    assert names == sorted(n for n, bit in schema.items() if value >> bit & 1)
    assert schema.bitmask(names) == value & schema.bitmask(list(schema))
