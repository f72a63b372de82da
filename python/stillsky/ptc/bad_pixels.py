"""Pixels that do not respond to light: dead columns and the like, which no mask names."""

import numpy as np

__all__ = ["findBadPixels"]

_BLOCK = 32  # pixels; the illumination changes little over it
_SIGMAS = 6.0
_MOST = 0.2


def findBadPixels(pixels, good, boxes, *, low=0.5, high=1.5):
    """Pixels whose response to light is far from that of their neighbours.

    A dead pixel is the same in both flats of a pair: it takes away from the variance of the difference what no clipping gives
    back, so that one bad column of a hundred makes the gain one percent too large.

    Parameters
    ----------
    pixels : `numpy.ndarray` (height, width)
        A well-lit flat without pedestal, adu. NaN is allowed.
    good : `numpy.ndarray` (height, width) of `bool`
        Pixels to look at.
    boxes : iterable of `stillsky.geom.Box2I`
        Amplifiers, in the frame of the array.
    low, high : `float`
        Responses relative to the median of the block of 32 x 32 pixels around, at or below and at or above which a pixel is bad.

    Returns
    -------
    bad : `numpy.ndarray` (height, width) of `bool`
        Nothing in blocks where the noise reaches the limits within 6 standard deviations (too little light to tell), nor in
        amplifiers of which more than a fifth would be bad: that is a pattern of light.
    """
    bad = np.zeros(np.shape(pixels), bool)
    for box in boxes:
        where = box.slices()
        values, usable, found = pixels[where], good[where], bad[where]
        for y in range(0, box.height, _BLOCK):
            for x in range(0, box.width, _BLOCK):
                block = np.s_[y : y + _BLOCK, x : x + _BLOCK]
                found[block] = _badInBlock(values[block], usable[block], low, high)
        found &= usable
        if found.sum() > _MOST * usable.sum():
            found[:] = False
    return bad


def _badInBlock(values, usable, low, high):
    # every second row is enough for the medians
    some = np.where(usable[::2], values[::2], np.nan)
    steps = np.abs(some[:, 1:] - some[:, :-1])  # of neighbours: illumination that changes over the block is no noise
    sample, steps = some[np.isfinite(some)], steps[np.isfinite(steps)]
    if sample.size < 2 or steps.size < 2:
        return False
    level, sigma = np.median(sample), 1.4826 / np.sqrt(2.0) * np.median(steps)
    if not level * min(1.0 - low, high - 1.0) > _SIGMAS * sigma:
        return False
    with np.errstate(invalid="ignore"):
        return (values <= low * level) | (values >= high * level)
