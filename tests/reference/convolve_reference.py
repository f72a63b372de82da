"""Convolution pixel by pixel, straight from its definition. Slow on purpose."""

import numpy as np

__all__ = ["convolveSlowly", "spreadMaskSlowly"]


def convolveSlowly(image, mask, variance, kernelAt, kernelShape, xy0=(0, 0), normalize=False):
    """Good pixels only; ``kernelAt(x, y)`` returns the kernel at a parent position as an array [row, column].

    image = sum k in, variance = sum k^2 in, mask = OR over taps that are not exactly zero. Zero taps take no part.
    Edge pixels: NaN, 0 (mask) and NaN. Sums in double precision.
    """
    kh, kw = kernelShape
    cy, cx = (kh - 1) // 2, (kw - 1) // 2
    height, width = image.shape
    outImage = np.full(image.shape, np.nan)
    outVariance = np.full(image.shape, np.nan)
    outMask = np.zeros(image.shape, np.int32)
    for y in range(cy, height - (kh - 1 - cy)):
        for x in range(cx, width - (kw - 1 - cx)):
            k = kernelAt(x + xy0[0], y + xy0[1])
            if normalize:
                k = k / k.sum()
            box = np.s_[y - cy : y - cy + kh, x - cx : x - cx + kw]
            used = k != 0
            outImage[y, x] = (k[used] * image[box][used].astype(float)).sum()
            outVariance[y, x] = (k[used] ** 2 * variance[box][used].astype(float)).sum()
            outMask[y, x] = np.bitwise_or.reduce(mask[box][used]) if used.any() else 0
    return outImage, outMask, outVariance


def spreadMaskSlowly(mask, support):
    """OR of the mask over a footprint; edge pixels 0."""
    one = np.zeros(mask.shape, np.float32)
    return convolveSlowly(one, mask, one, lambda x, y: support.astype(float), support.shape)[1]
