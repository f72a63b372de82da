"""Block means of a difference image and of flats."""

import numpy as np

__all__ = ["binDifference", "binExposures"]


def _blocks(array, binSize):
    """View of the complete blocks, (height // b, b, width // b, b); incomplete ones at the top and right are left out."""
    h, w = (n // binSize for n in array.shape)
    return array[: h * binSize, : w * binSize].reshape(h, binSize, w, binSize)


def binDifference(image, good, binSize, goodPixelsOnly=True):
    """Means over blocks of binSize x binSize pixels.

    Parameters
    ----------
    image : `numpy.ndarray`, (height, width)
    good : `numpy.ndarray` of bool, (height, width)
    binSize : `int`
    goodPixelsOnly : `bool`
        Average the good pixels; a block is good when at least half of its pixels are. Otherwise as the reference: the
        mean of all, and one bad pixel spoils the block.

    Returns
    -------
    binned : `numpy.ndarray` of float64, (height // binSize, width // binSize)
        0 in blocks that are not good.
    good : `numpy.ndarray` of bool
    """
    total = np.sum(_blocks(np.where(good, image, 0.0), binSize), axis=(1, 3), dtype=np.float64)
    count = np.sum(_blocks(good, binSize), axis=(1, 3), dtype=np.int64)
    area = binSize * binSize
    usable = 2 * count >= area if goodPixelsOnly else count == area
    binned = np.zeros_like(total)
    np.divide(total, count, out=binned, where=usable)
    return binned, usable


def binExposures(exposure1, exposure2, amplifiers, binFactor=8, numEdge=0):
    """Table of block means of two flats, amplifier by amplifier.

    Parameters
    ----------
    exposure1, exposure2 : `stillsky.image.Exposure`
    amplifiers : `dict` [`str`, `stillsky.geom.Box2I`]
        Parent pixel coordinates, in detector order.
    binFactor : `int`
        Side of the blocks in pixels.
    numEdge : `int`
        Pixels left out at each border of an amplifier.

    Returns
    -------
    table : `astropy.table.Table`
        xd, yd: centre of the block in detector pixels; value1, value2: mean of its finite pixels in each flat, adu, NaN
        without any; amp_index: number of the amplifier in the detector. Amplifiers without a complete block add no row.
    """
    from astropy.table import Table

    parts = {"xd": [], "yd": [], "value1": [], "value2": [], "amp_index": []}
    for index, box in enumerate(amplifiers.values()):
        inner = box.eroded(numEdge).clipped(exposure1.bbox)
        if inner.isEmpty or min(inner.width, inner.height) < binFactor:
            continue
        for key, exposure in (("value1", exposure1), ("value2", exposure2)):
            pixels = exposure.image[inner].array
            finite = np.isfinite(pixels)
            values, _ = binDifference(pixels, finite, binFactor)
            empty = np.add.reduce(_blocks(finite, binFactor), axis=(1, 3)) == 0
            values[empty] = np.nan
            parts[key].append(values.ravel())
        ny, nx = values.shape
        y, x = np.mgrid[:ny, :nx] * binFactor + 0.5 * (binFactor - 1)
        parts["xd"].append((x + inner.minX).ravel())
        parts["yd"].append((y + inner.minY).ravel())
        parts["amp_index"].append(np.full(nx * ny, index))
    table = Table({key: np.concatenate(p) if p else np.empty(0) for key, p in parts.items()})
    table["amp_index"] = table["amp_index"].astype(np.int64)
    for name, unit, text in (
        ("xd", "pix", "centre of the block, detector x"),
        ("yd", "pix", "centre of the block, detector y"),
        ("value1", "adu", "mean of the block in the first flat"),
        ("value2", "adu", "mean of the block in the second flat"),
        ("amp_index", None, "number of the amplifier in the detector"),
    ):
        table[name].unit, table[name].description = unit, text
    return table
