"""Reduction of patches pixel by pixel, the slow obvious way: the truth for `stillsky.mapreduce`."""

import math


def reducePatches(shape, inputMask, patches, operation, badBits, compat):
    """Stitch patches.

    Parameters
    ----------
    shape : (height, width)
    inputMask : array, (height, width)
    patches : list of (x0, y0, image, mask, variance)
        In the order of the list; masks in the bits of the output.
    operation : {"copy", "sum", "average"}
    badBits : int
        Set on pixels without a valid value.
    compat : bool
        The reference's masks, and its test of image times variance.

    Returns
    -------
    image, variance, mask : nested lists
    """
    image, variance, mask = ([[None] * shape[1] for _ in range(shape[0])] for _ in range(3))
    for y in range(shape[0]):
        for x in range(shape[1]):
            touching = []
            for x0, y0, pixels, bits, noise in patches:
                if 0 <= y - y0 < len(pixels) and 0 <= x - x0 < len(pixels[0]):
                    touching.append((pixels[y - y0][x - x0], int(bits[y - y0][x - x0]), noise[y - y0][x - x0]))
            image[y][x], variance[y][x], mask[y][x] = _pixel(touching, int(inputMask[y][x]), operation, badBits, compat)
    return image, variance, mask


def _isValid(value, noise, compat):
    if compat:
        return not math.isnan(float(value) * float(noise))
    return not math.isnan(value) and not math.isnan(noise)


def _pixel(touching, inputMask, operation, badBits, compat):
    valid = [t for t in touching if _isValid(t[0], t[2], compat)]
    used = valid[-1:] if operation == "copy" else valid
    allBits = inputMask
    for _, bits, _ in touching:
        allBits |= bits
    if not valid:
        if compat and operation == "sum":
            return 0.0, 0.0, allBits
        return math.nan, math.nan, allBits | badBits
    n = len(used) if operation == "average" else 1
    value, noise = sum(float(t[0]) for t in used) / n, sum(float(t[2]) for t in used) / n
    if compat:
        bits = allBits
        if operation != "sum" and (math.isnan(value) or math.isnan(noise)):
            bits |= badBits
        return value, noise, bits
    bits = 0
    for _, b, _ in used:
        bits |= b
    return value, noise, bits
