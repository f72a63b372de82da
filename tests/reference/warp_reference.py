"""The definition of a warp, tap by tap in double precision. Slow and obvious."""

import numpy as np


def kernelWeights(name, f):
    """Weights for fraction f and the index of the tap on the anchor pixel."""
    if name == "nearest":
        return np.array([1.0, 0.0] if f < 0.5 else [0.0, 1.0]), 0
    if name == "bilinear":
        return np.array([1.0 - f, f]), 0
    order = int(name[len("lanczos") :])
    x = np.arange(2 * order) - (order - 1) - f
    weights = np.sinc(x) * np.sinc(x / order)
    weights[np.abs(weights) < 1e-12 * np.abs(weights).max()] = 0.0
    return weights, order - 1


def warpDirectly(image, mask, variance, shape, inverse, kernel, *, maskKernel="", grow=0, noData=256):
    """Image, mask, variance and count for source positions ``inverse(x, y) -> (qx, qy)`` (scalars).

    Area factor from centred differences; pixels whose kernel leaves the source are NaN, noData, inf.
    """
    out = np.full(shape, np.nan)
    outMask = np.full(shape, noData, dtype=np.int32)
    outVariance = np.full(shape, np.inf)
    count = 0
    for y in range(shape[0]):
        for x in range(shape[1]):
            qx, qy = inverse(x, y)
            nx, ny = int(np.floor(qx)), int(np.floor(qy))
            wx, center = kernelWeights(kernel, qx - nx)
            wy, _ = kernelWeights(kernel, qy - ny)
            x0, y0, taps = nx - center, ny - center, len(wx)
            if x0 < 0 or y0 < 0 or x0 + taps > image.shape[1] or y0 + taps > image.shape[0]:
                continue
            (rx, ry), (lx, ly) = inverse(x + 1, y), inverse(x - 1, y)
            (ux, uy), (dx, dy) = inverse(x, y + 1), inverse(x, y - 1)
            area = abs((rx - lx) * (uy - dy) - (ry - ly) * (ux - dx)) / 4
            k = np.outer(wy, wx)
            window = np.s_[y0 : y0 + taps, x0 : x0 + taps]
            scale = area / k.sum()
            out[y, x] = scale * (k * image[window]).sum()
            outVariance[y, x] = scale**2 * (k**2 * variance[window]).sum()
            bits = np.bitwise_or.reduce(mask[window][k != 0])
            if maskKernel:
                mx, mc = kernelWeights(maskKernel, qx - nx)
                my, _ = kernelWeights(maskKernel, qy - ny)
                part = mask[ny - mc : ny - mc + len(my), nx - mc : nx - mc + len(mx)]
                bits = (bits & grow) | np.bitwise_or.reduce(part[np.outer(my, mx) != 0])
            outMask[y, x] = bits
            count += 1
    return out, outMask, outVariance, count
