"""Mask planes of coadds (coadds and DCR, check M1)."""

import numpy as np
import pytest

import stillsky
from stillsky.coadd import coaddSchema
from stillsky.image import Mask, MaskSchema

NAMES = (
    "BAD",
    "SAT",
    "INTRP",
    "CR",
    "EDGE",
    "DETECTED",
    "DETECTED_NEGATIVE",
    "SUSPECT",
    "NO_DATA",
    "VIGNETTED",
    "STREAK",
)


def testDefaultPlanesAndBits():
    assert {name: MaskSchema.standard().bit(name) for name in MaskSchema.standard()} == {
        n: b for b, n in enumerate(NAMES)
    }
    added = {"REJECTED": 11, "CLIPPED": 12, "SENSOR_EDGE": 13, "INEXACT_PSF": 14}
    assert {name: coaddSchema().bit(name) for name in added} == added
    # whatever other masks have added: no plane is process-wide
    Mask.zeros((2, 2)).addPlane("CLIPPED")
    assert coaddSchema().bit("CLIPPED") == 12


def testPlanesOfAFileAreMovedByName(tmp_path, rng):
    schema = coaddSchema()
    order = dict(zip(schema, rng.permutation(31)[: len(schema)].tolist(), strict=True))
    bits = rng.integers(0, 2, (12, 15, len(schema)))
    permuted = sum(bits[..., i] << bit for i, bit in enumerate(order.values())).astype(np.int32)
    image = stillsky.exposure(np.ones((12, 15), np.float32)).maskedImage
    image = stillsky.MaskedImage(image.image, Mask(permuted, schema=MaskSchema(order)), image.variance)
    stillsky.writeExposure(stillsky.Exposure(image), tmp_path / "permuted.fits")
    back = stillsky.read(tmp_path / "permuted.fits", conformTo=schema).mask
    expected = sum(bits[..., i] << schema.bit(name) for i, name in enumerate(order))
    np.testing.assert_array_equal(back.array, expected)


def testThePlaneAfterTheLastIsRefused():
    """31 planes of a signed pixel: the 32nd is an error (the check has the 33rd, of unsigned pixels)."""
    schema = coaddSchema()
    for number in range(31 - len(schema)):
        schema = schema.add(f"PLANE_{number}")
    assert len(schema) == 31
    for kind in (RuntimeError, ValueError, stillsky.MaskSchemaError):
        with pytest.raises(kind, match=r"max number of planes \(31\)"):
            schema.add("ONE_MORE")
