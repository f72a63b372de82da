"""Sky sources: empty positions, measured like sources."""

import numpy as np
from scipy import ndimage

from ..errors import DomainError
from .footprint import Footprint, makePeaks
from .footprint_set import FootprintSet
from .span_set import SpanSet

__all__ = ["SKY_AVOID", "skyPositions", "skySources"]

#: Planes that sky sources stay away from.
SKY_AVOID = ("DETECTED", "DETECTED_NEGATIVE", "BAD", "NO_DATA", "EDGE")


def skyPositions(avoid, seed, n=100, *, radius=8, nTrials=None, xy0=(0, 0)):
    """Empty positions of an image.

    Parameters
    ----------
    avoid : array of bool, shape (height, width)
        Where nothing may lie.
    seed : int
        Of the scrambled Halton sequence (Halton 1960, Numer. Math. 2, 84): the same seed gives the same positions.
    n : int
        Positions wanted; 0 or less: none.
    radius : float
        Of the discs that must be empty and must not touch each other, pixels.
    nTrials : int, optional
        Positions tried; default 5 n. When they are used up there are fewer positions, which is no error.
    xy0 : (int, int)
        Parent coordinates of the first pixel.

    Returns
    -------
    positions : array of int, shape (number, 2)
        x, y of the centres, PARENT, in the order in which they were found.
    """
    avoid = np.asarray(avoid, bool)
    if radius < 0:
        raise DomainError(f"radius: wanted 0 or more, got {radius}")
    reach = int(radius)
    height, width = (side - 2 * (reach + 1) for side in avoid.shape)
    nTrials = 5 * n if nTrials is None else nTrials
    if n <= 0 or nTrials <= 0 or width <= 0 or height <= 0:
        return np.zeros((0, 2), int)
    from scipy.stats import qmc  # half a second, which whoever wants no sky sources need not wait for

    trials = qmc.Halton(2, scramble=True, seed=np.random.default_rng(abs(int(seed)))).random(nTrials)
    x = np.minimum((trials[:, 0] * width).astype(int), width - 1) + reach + 1
    y = np.minimum((trials[:, 1] * height).astype(int), height - 1) + reach + 1
    disc = _disc(reach)
    taken = avoid.copy()
    keepOut = ndimage.binary_dilation(np.pad(disc, reach), disc)
    found = []
    for cx, cy in zip(x, y, strict=True):
        box = np.s_[cy - reach : cy + reach + 1, cx - reach : cx + reach + 1]
        if (taken[box] & disc).any():
            continue
        found.append((cx + xy0[0], cy + xy0[1]))
        if len(found) == n:
            break
        _paint(taken, keepOut, cx, cy)
    return np.array(found, int).reshape(-1, 2)


def skySources(exposure, seed, n=100, *, radius=8, avoidPlanes=SKY_AVOID, growMask=0, nTrials=None):
    """Footprints of empty discs: sources with one peak of value 0 at the centre.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
    seed, n, radius, nTrials
        As for `skyPositions`.
    avoidPlanes : sequence of str
        Mask planes to stay away from; those that the mask lacks are ignored.
    growMask : int
        These are grown by this many pixels first.

    Returns
    -------
    footprints : `FootprintSet`
        In order of y, then x.
    """
    masked = getattr(exposure, "maskedImage", exposure)
    bits = masked.mask.bitmask(list(avoidPlanes), ignoreMissing=True)
    avoid = (masked.mask.array & bits) != 0
    if growMask > 0:
        avoid = ndimage.binary_dilation(avoid, _disc(int(growMask)))
    xy0 = tuple(int(v) for v in masked.xy0)
    positions = skyPositions(avoid, seed, n, radius=radius, nTrials=nTrials, xy0=xy0)
    region = masked.bbox
    footprints = [
        Footprint(SpanSet.fromShape(int(radius), offset=(int(x), int(y))), makePeaks([(x, y, 0.0)]), region)
        for x, y in positions[np.lexsort((positions[:, 0], positions[:, 1]))]
    ]
    return FootprintSet(footprints, region)


def _disc(radius):
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return x * x + y * y <= radius * radius


def _paint(plane, stamp, cx, cy):
    """Set a centred stamp on a plane, clipped to it."""
    half = stamp.shape[0] // 2
    y0, x0 = max(cy - half, 0), max(cx - half, 0)
    y1, x1 = min(cy + half + 1, plane.shape[0]), min(cx + half + 1, plane.shape[1])
    plane[y0:y1, x0:x1] |= stamp[y0 - cy + half : y1 - cy + half, x0 - cx + half : x1 - cx + half]
