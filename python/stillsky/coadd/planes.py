"""Mask planes of coadds: fixed bits, whatever the order in which they are used."""

from ..image import MaskSchema

__all__ = ["coaddSchema", "mergedSchema", "rejectedMaskMapping", "setInexactPsf"]

_PLANES = {
    "REJECTED": (11, "an input was left out here for its mask"),
    "CLIPPED": (12, "an input was left out here as an outlier"),
    "SENSOR_EDGE": (13, "an input ends here"),
    "INEXACT_PSF": (14, "the PSF model does not hold: not all inputs contribute"),
}


def coaddSchema():
    """The standard planes with REJECTED (bit 11), CLIPPED (12), SENSOR_EDGE (13) and INEXACT_PSF (14)."""
    return MaskSchema({**MaskSchema.standard().planes(), **_PLANES})


def mergedSchema(schemas, extra=()):
    """The planes of a coadd and of its inputs.

    Parameters
    ----------
    schemas : iterable of `MaskSchema`
        Of the inputs, in their order. Planes of other names at bits that are taken move to free ones.
    extra : iterable of `str`
        Further planes of the coadd, at the bits from 15 on.

    Raises
    ------
    MaskSchemaError
        More than 31 planes.
    """
    result, seen = coaddSchema(), set()
    for name in extra:
        result = result.add(name)
    for schema in schemas:
        if schema not in seen:
            seen.add(schema)
            result = result.merged(schema)
    return result


def rejectedMaskMapping(andMask, schema):
    """Which planes of the inputs, where an input was not used, set which planes of the coadd.

    Parameters
    ----------
    andMask : `int`
        Bits of the planes whose pixels are not used.
    schema : `MaskSchema`
        With the planes of `coaddSchema`.

    Returns
    -------
    mapping : `list` [(`int`, `int`)]
        Bits of the inputs, bits of the coadd: anything bad but no data, edge or clipped is REJECTED; EDGE is
        SENSOR_EDGE; CLIPPED stays.
    """
    noData, edge, clipped = (schema.bitmask(name) for name in ("NO_DATA", "EDGE", "CLIPPED"))
    rejected = int(andMask) & ~noData & ~edge & ~clipped
    return [
        (rejected, schema.bitmask("REJECTED")),
        (edge, schema.bitmask("SENSOR_EDGE")),
        (clipped, clipped),
    ]


def setInexactPsf(mask):
    """Set INEXACT_PSF, adding the plane when needed, where SENSOR_EDGE, CLIPPED or REJECTED is set.

    Parameters
    ----------
    mask : `stillsky.image.Mask`
        Changed in place.
    """
    for name in ("SENSOR_EDGE", "CLIPPED", "REJECTED", "INEXACT_PSF"):
        mask.addPlane(name)
    inexact = mask.bitmask("INEXACT_PSF")
    sources = mask.bitmask(["SENSOR_EDGE", "CLIPPED", "REJECTED"])
    for start in range(0, mask.height, 256):  # rows: no temporary of the size of the mask
        rows = mask.array[start : start + 256]
        rows[(rows & sources) != 0] |= inexact
