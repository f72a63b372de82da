"""What detectors do to images: saturation with bleeding, bad columns and pixels, cosmic rays."""

import numpy as np

__all__ = ["badPixelMask", "cosmicRays", "saturate"]


def saturate(array, level):
    """Clip ``array`` at ``level`` in place and let the surplus charge fill the column up and down.

    Returns
    -------
    mask : `numpy.ndarray` (height, width) of `bool`
        The saturated and bleeding pixels.
    """
    mask = array >= level
    for x in np.flatnonzero(mask.any(axis=0)):
        column = array[:, x]
        full = np.concatenate(([0], mask[:, x].astype(np.int8), [0]))
        starts, ends = np.flatnonzero(np.diff(full) == 1), np.flatnonzero(np.diff(full) == -1)
        for y0, y1 in zip(starts, ends):
            surplus = np.sum(column[y0:y1] - level)
            reach = int(np.ceil(0.5 * surplus / level))  # half the surplus each way
            mask[max(y0 - reach, 0) : y1 + reach, x] = True
    array[mask] = level
    return mask


def badPixelMask(rng, shape, nColumns, nPixels):
    """Mask (`bool`) of ``nColumns`` bad columns, partly only from a row on, and ``nPixels`` single bad pixels."""
    height, width = shape
    mask = np.zeros(shape, dtype=bool)
    for x in rng.integers(0, width, nColumns):
        mask[int(rng.choice([0, height // 3, height // 2])) :, x] = True
    mask[rng.integers(0, height, nPixels), rng.integers(0, width, nPixels)] = True
    return mask


def cosmicRays(rng, shape, n, charge=(300.0, 4000.0), length=(1.0, 25.0)):
    """Draw ``n`` straight particle tracks.

    Parameters
    ----------
    rng : `numpy.random.Generator`
        Source of randomness.
    shape : `tuple` [`int`, `int`]
        Height and width.
    n : `int`
        Number of tracks.
    charge : `tuple` [`float`, `float`]
        Range of the charge per pixel of track (log-uniform), in the units wanted.
    length : `tuple` [`float`, `float`]
        Range of the lengths (log-uniform), pixels.

    Returns
    -------
    image : `numpy.ndarray` (height, width) of `float32`
        The charge to add.
    """
    height, width = shape
    image = np.zeros(shape, dtype=np.float32)
    for _ in range(n):
        x, y, angle = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(0, np.pi)
        extent = np.exp(rng.uniform(*np.log(length)))
        level = np.exp(rng.uniform(*np.log(charge)))
        steps = np.arange(0.0, extent, 0.25)
        px = np.round(x + steps * np.cos(angle)).astype(int)
        py = np.round(y + steps * np.sin(angle)).astype(int)
        inside = (px >= 0) & (px < width) & (py >= 0) & (py < height)
        np.add.at(image, (py[inside], px[inside]), np.float32(0.25 * level))
    return image
