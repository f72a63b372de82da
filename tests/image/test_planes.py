"""Image and Mask: indexing, views, arithmetic, planes of bits."""

import logging

import numpy as np
import pytest

from stillsky.errors import DomainError, MaskSchemaError, OutOfBoundsError, ShapeError
from stillsky.geom import Box2I, Point2I
from stillsky.image import Image, Mask, MaskSchema


def ramp(xy0=(0, 0), dtype=np.float32):
    return Image(np.arange(50, dtype=dtype).reshape(5, 10), xy0)


def test_array_is_y_x_and_image_is_x_y():
    image = ramp((100, -20))
    assert image[103, -18] == image.array[2, 3] == image.pixel(x=103, y=-18) == image.local[3, 2]
    assert image[Point2I(103, -18)] == 23
    image[103, -18] = -1
    assert image.array[2, 3] == -1
    assert (image.width, image.height, image.dimensions) == (10, 5, (10, 5)) and image.bbox == Box2I(
        (100, -20), (10, 5)
    )


def test_pixels_outside_are_refused_and_negative_indices_are_coordinates():
    image = ramp((-3, -2))
    assert image[-3, -2] == 0 and image[-1, -1] == image.array[1, 2]
    for outside in [(-4, 0), (7, 0), (0, 3), (0, -3)]:
        with pytest.raises(OutOfBoundsError):
            image[outside]
        with pytest.raises(IndexError):
            image[outside] = 1
    with pytest.raises(OutOfBoundsError):
        image.local[10, 0]
    assert image.local[-1, -1] == 49
    with pytest.raises(TypeError):
        image[0.5, 0]


def test_sub_images_share_pixels_and_know_their_place():
    image = ramp((100, 200))
    box = Box2I((102, 201), (3, 2))
    for part in (image[box], image[102:105, 201:203], image.subset(box), image.local[2:5, 1:3]):
        assert part.bbox == box and part.overlapsMemory(image)
        part[102, 201] = 1000 + part[102, 201]
    assert image.array[1, 2] == 12 + 4000
    assert image[:, :].bbox == image[...].bbox == image.bbox
    assert image[np.int64(102) : np.int32(105), 201:].bbox == Box2I((102, 201), (3, 4))
    assert image[Box2I()].array.size == 0 and image[104:104, 201:203].array.size == 0


@pytest.mark.parametrize(
    "key, error",
    [
        (Box2I((108, 200), (3, 2)), ShapeError),
        ((slice(90, 105), slice(200, 202)), ShapeError),
        ((slice(100, 110, 2), slice(None)), ValueError),
        ((3, slice(None)), TypeError),
        (3, TypeError),
    ],
)
def test_bad_sub_images_are_refused(key, error):
    with pytest.raises(error):
        ramp((100, 200))[key]


def test_disjoint_parts_of_one_image_do_not_overlap():
    image = ramp()
    assert not image[0:3, 0:5].overlapsMemory(image[3:6, 0:5])
    assert Image(image).overlapsMemory(image) and not image.copy().overlapsMemory(image)


def test_assignment_in_place():
    image, part = ramp((5, 5)), Image(np.full((2, 3), 7, np.float32), (90, 90))
    image[Box2I((6, 7), (3, 2))] = part  # the place of the right-hand side is ignored
    assert image[6, 7] == image[8, 8] == 7 and image[9, 8] == 34
    image.assign(part, Box2I((5, 5), (3, 2)))
    assert image[5, 5] == 7
    with pytest.raises(ShapeError):
        image.assign(part)
    with pytest.raises(ShapeError):
        image[Box2I((6, 7), (2, 2))] = part
    image[...] = 3
    assert np.all(image.array == 3)
    image.array = np.zeros((5, 10))
    assert not image.array.any()
    with pytest.raises(ValueError):
        image.array = np.zeros((5, 9))
    with pytest.raises(TypeError):
        image.array = None


def test_moving_the_origin_moves_no_pixel():
    image = ramp()
    image.xy0 = (10, 20)
    assert image[10, 20] == 0 and image.bbox.min == (10, 20)


def test_image_types():
    for dtype in (np.float32, np.float64, np.int32, np.uint16, np.uint64):
        array = np.ones((2, 3), dtype)
        assert Image(array).array is array
    assert Image(np.ones((2, 3), ">f4")).dtype == np.float32 and Image(np.ones((2, 3), ">f4")).dtype.isnative
    assert Image(np.ones((2, 3), bool)).dtype == np.float32 and Image(np.ones((2, 3), np.int64)).dtype == np.float64
    assert ramp().convert(np.float64).dtype == np.float64
    assert Image.zeros(Box2I((3, 4), (5, 6)), fill=2).array.sum() == 60
    with pytest.raises(DomainError):
        Image(np.ones((2, 2), complex))
    for shape in [(3,), (2, 2, 2)]:
        with pytest.raises(ShapeError):
            Image(np.zeros(shape))
    assert Image(np.zeros((0, 0))).bbox.isEmpty and Image(np.zeros((0, 4), np.float32)).width == 4


def test_image_arithmetic_is_in_place():
    image, other = ramp((3, 4)), Image(np.full((5, 10), 2, np.float32), (3, 4))
    start, array = image.array.copy(), image.array
    image += other
    image *= 3
    image -= 1
    image /= other
    assert image.array is array
    np.testing.assert_array_equal(array, ((start + 2) * 3 - 1) / 2)
    with pytest.raises(TypeError):
        image + other
    with pytest.raises(TypeError):
        image += "3"


def test_scaled_arithmetic():
    for name, expected in [("Plus", 11.0), ("Minus", 9.0), ("Multiplies", 10.0), ("Divides", 10.0)]:
        image = Image(np.full((2, 2), 10, np.float32))
        getattr(image, f"scaled{name}")(0.5, Image(np.full((2, 2), 2, np.float32)))
        assert np.all(image.array == expected)


def test_division_by_a_number_is_a_true_division():
    image = Image(np.array([[5.0, 7.0]]))
    image /= 49.0
    np.testing.assert_array_equal(image.array, np.array([[5.0 / 49.0, 7.0 / 49.0]]))


def test_functions_see_parent_positions():
    image = Image.zeros(Box2I((100, -5), (4, 3)), np.float64)
    image += lambda x, y: x + 1000 * y
    assert image[102, -4] == 102 - 4000
    image -= lambda x, y: 1
    assert image[100, -5] == 99 - 5000


def test_images_of_different_places_are_not_combined():
    image, moved = ramp(), ramp((1, 0))
    with pytest.raises(ShapeError):
        image += moved
    with pytest.raises(ShapeError):
        image += Image.zeros(Box2I((0, 0), (10, 4)))
    image.scaledPlus(1, moved, ignoreXY0=True)
    assert image[3, 0] == 6


# ---- masks


def test_mask_assignment_with_slices():
    mask = Mask.zeros((10, 20))
    mask.local[-3:, -2:] = 4
    mask[4, 10] = 2
    mask[1:4, 6:10] = 8
    mask[0:4, 0:4] = mask[2:6, 8:12]
    expected = {
        (0, 6): 0,
        (6, 17): 0,
        (7, 18): 4,
        (9, 19): 4,
        (1, 6): 8,
        (3, 9): 8,
        (4, 10): 2,
        (4, 9): 0,
        (2, 2): 2,
        (0, 0): 8,
    }
    assert {at: int(mask[at]) for at in expected} == expected


def test_standard_planes():
    schema = MaskSchema.standard()
    names = "BAD SAT INTRP CR EDGE DETECTED DETECTED_NEGATIVE SUSPECT NO_DATA VIGNETTED STREAK".split()
    assert dict(schema) == {name: bit for bit, name in enumerate(names)} and all(schema.doc(n) for n in names)
    assert schema.interpret(schema.bitmask(names)) == ",".join(sorted(names)) and schema.interpret(0) == ""
    assert schema.add("SAT") is schema
    more = schema.remove("INTRP").add("NEW", "what it means")
    assert more.bit("NEW") == 2 and more.doc("NEW") == "what it means" and "INTRP" in schema
    assert more.add("INTRP").bit("INTRP") == 11


def test_there_are_31_planes():
    schema = MaskSchema.standard()
    for i in range(20):
        schema = schema.add(f"P{i}")
    assert len(schema) == 31 and max(schema.values()) == 30
    with pytest.raises(MaskSchemaError, match="(?i)max number of planes"):
        schema.add("ONE_TOO_MANY")


def test_unknown_planes_are_named_with_the_known_ones():
    schema = MaskSchema({"FOO": 2})
    for call in (lambda: schema.bit("BAR"), lambda: schema.bitmask(["FOO", "BAR"]), lambda: schema.remove("BAR")):
        with pytest.raises(MaskSchemaError, match="BAR.*FOO"):
            call()
    assert (
        schema.bitmask([]) == 0
        and schema.bitmask("FOO") == 4
        and schema.bitmask(["BAR", "FOO"], ignoreMissing=True) == 4
    )
    with pytest.raises(ValueError):
        MaskSchema({"A": 31})
    with pytest.raises(ValueError):
        MaskSchema({"A": 1, "B": 1})


def test_a_private_plane_table_is_reported_exactly():
    mask = Mask(np.full((2, 2), 4, np.int32), schema={"FOO": 2})
    assert mask.getMaskPlaneDict() == {"FOO": 2} and mask.describe(x=0, y=0) == "FOO"


def test_schemas_are_equal_by_names_and_bits():
    assert MaskSchema({"A": (1, "doc")}) == MaskSchema({"A": 1}) != MaskSchema({"A": 2})
    with pytest.raises(AttributeError):
        MaskSchema.standard().bits = {}


def test_conforming_swaps_planes_at_once():
    mask = Mask(np.array([[0, 1, 2, 3]], np.int32), schema={"A": 0, "B": 1})
    mask.conformTo(MaskSchema({"B": 0, "A": 1}))
    np.testing.assert_array_equal(mask.array, [[0, 2, 1, 3]])
    assert dict(mask.schema) == {"B": 0, "A": 1}


def test_conforming_drops_bits_without_a_name(caplog):
    for target in ({"A": 0}, {"A": 3}):
        mask = Mask(np.array([[1 + 64, 64]], np.int32), schema={"A": 0})
        with caplog.at_level(logging.WARNING, "stillsky"):
            mask.conformTo(MaskSchema(target))
        np.testing.assert_array_equal(mask.array, [[1 << target["A"], 0]])
    assert len(caplog.records) == 2


def test_conforming_adds_what_the_target_lacks():
    mask = Mask(np.array([[1, 2]], np.int32), schema={"A": 0, "B": 1})
    mask.conformMaskPlanes({"X": 0, "Y": 1})  # the bits were written as X and Y
    assert dict(mask.schema) == {"A": 0, "B": 1, "X": 2, "Y": 3}
    np.testing.assert_array_equal(mask.array, [[4, 8]])


def test_masks_combine_only_with_equal_sizes_and_schemas():
    mask = Mask.zeros((4, 3))
    with pytest.raises(ShapeError):
        mask |= Mask.zeros((3, 3))
    with pytest.raises(MaskSchemaError):
        mask |= Mask.zeros((4, 3), {"FOO": 2})
    with pytest.raises(TypeError):
        mask |= Image.zeros((4, 3))
    with pytest.raises(TypeError):
        mask += 1
    mask |= 6
    mask &= Mask(np.full((3, 4), 3, np.int32))
    mask ^= 1
    assert np.all(mask.array == 3)


def test_masks_of_two_schemas_combine_explicitly():
    a, b = Mask.zeros((2, 2), {"A": 0, "B": 1}), Mask.zeros((2, 2), {"B": 0, "C": 5})
    b.array[...] = 1 + 32
    both = a.schema.merged(b.schema)
    a.conformTo(both)
    a |= b.conformTo(both)
    assert dict(both) == {"A": 0, "B": 1, "C": 5} and a.describe(x=1, y=1) == "B,C"


def test_assigning_a_mask_with_another_schema_keeps_names():
    mask, other = Mask.zeros((3, 3)), Mask.zeros((2, 2), {"SPIKE": 0, "BAD": 4})
    other.array[...] = 1 + 16
    mask[0:2, 0:2] = other
    assert mask.describe(x=1, y=1) == "BAD,SPIKE" and mask[2, 2] == 0 and mask.bit("SPIKE") == 11
    assert other[0, 0] == 17


def test_planes_belong_to_one_mask():
    mask, other = Mask.zeros((2, 2)), Mask.zeros((2, 2))
    assert mask.addPlane("SPIKE", "diffraction") == mask.addMaskPlane("SPIKE") == 11 and mask.addPlane("SAT") == 1
    assert "SPIKE" not in other.schema and "SPIKE" not in MaskSchema.standard()
    mask.set(mask.getPlaneBitMask(["SPIKE", "CR"]))
    assert mask.getAsString(0, 1) == mask.interpret(mask[0, 1]) == "CR,SPIKE" and mask.fractions()["CR"] == 1
    mask.clearMaskPlane(mask.getMaskPlane("CR"))
    assert np.all(mask.array == 1 << 11) and "CR" in mask.schema
    mask.removeMaskPlane("SPIKE")
    assert np.all(mask.array == 1 << 11) and "SPIKE" not in mask.schema
    mask.addPlane("SPIKE")
    mask.removeAndClearMaskPlane("SPIKE")
    assert not mask.array.any()
    mask.set(5)
    mask.clearAllMaskPlanes()
    assert not mask.array.any()


def test_mask_values_of_other_types():
    np.testing.assert_array_equal(Mask(np.array([[True, False]])).array, [[1, 0]])
    assert Mask(np.ones((1, 2), ">i4")).dtype == np.int32 and Mask(np.full((1, 1), 2**30, np.uint64))[0, 0] == 2**30
    with pytest.raises(MaskSchemaError):
        Mask(np.full((1, 1), 2**31, np.int64))
    with pytest.raises(MaskSchemaError):
        Mask(np.ones((1, 1)))


def test_pixels_with_any_of_several_planes():
    mask = Mask(np.array([[1, 2, 4, 0]], np.int32))
    np.testing.assert_array_equal(mask.isSet(["BAD", "INTRP", "NOT_HERE"]), [[True, False, True, False]])
    with pytest.raises(MaskSchemaError):
        mask.isSet("NOT_HERE", ignoreMissing=False)
