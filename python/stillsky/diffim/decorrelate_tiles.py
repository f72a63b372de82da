"""Tiles of one axis: what is read, what is written, and windows that add up to one."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

__all__ = ["Axis", "Tile", "axisOfTiles", "reachOf"]

_TAIL = 1e-6  # fraction of a filter's norm that may lie beyond its reach


@dataclass(frozen=True)
class Tile:
    """Pixels [start, stop) are read, [first, last) are written with the weights ``window``."""

    start: int
    stop: int
    first: int
    last: int
    window: np.ndarray


@dataclass(frozen=True)
class Axis:
    """The tiles of one axis and the length of their transforms."""

    tiles: list
    length: int
    size: int

    @property
    def windows(self):
        """All windows side by side, (n, size): columns add up to one."""
        out = np.zeros((len(self.tiles), self.size))
        for row, tile in zip(out, self.tiles):
            row[tile.first : tile.last] = tile.window
        return out


def axisOfTiles(size, usable, overlap, blend, least):
    """Lay tiles over an axis.

    Parameters
    ----------
    size : `int`
        Pixels of the axis.
    usable : `int`
        Largest number of pixels that a tile writes; a shorter axis has one tile.
    overlap : `int`
        Pixels read beyond these on both sides, or zeros beyond the image. A periodic transform then mixes no far ends.
    blend : `int`
        Pixels that neighbours share; at most a quarter of ``usable``.
    least : `int`
        Smallest length of the transform: that of the kernel.

    Returns
    -------
    axis : `Axis`
    """
    blend = min(blend, max(usable // 4, 1))
    n = 1 if size <= usable else int(np.ceil((size - blend) / (usable - blend)))
    stride = int(np.ceil((size - blend) / n)) if n > 1 else size
    tiles = []
    for k in range(n):
        first, last = k * stride, min((k + 1) * stride + blend, size) if n > 1 else size
        window = np.ones(last - first)
        if k > 0:
            window[:blend] = _ramp(blend)
        if k + 1 < n:
            window[-blend:] = _ramp(blend)[::-1]
        tiles.append(Tile(max(first - overlap, 0), min(last + overlap, size), first, last, window))
    longest = max(max(t.stop - t.start for t in tiles) + (overlap if n == 1 else 0), least)
    # the first and last tile wrap around into their zeros: these must be as many as the overlap
    longest = max([longest] + [t.last - t.start + overlap for t in tiles])
    length = scipy.fft.next_fast_len(longest + longest % 2, real=True)
    while length % 2:
        length = scipy.fft.next_fast_len(length + 1, real=True)
    return Axis(tiles, length, size)


def _ramp(n):
    """Rising half of a cosine window; with its mirror image it adds up to one."""
    return 0.5 - 0.5 * np.cos(np.pi * (np.arange(n) + 0.5) / n)


def reachOf(phi, width):
    """Distance in pixels beyond which a filter holds less than a millionth of its norm.

    Parameters
    ----------
    phi : `numpy.ndarray`, (h, width // 2 + 1)
        Real and even transfer function.
    width : `int`

    Returns
    -------
    reach : `int`
        A multiple of 8.
    """
    power = scipy.fft.irfft2(phi, s=(phi.shape[0], width)) ** 2
    total = power.sum()
    distance = np.maximum.outer(*(np.minimum(np.arange(n), n - np.arange(n)) for n in power.shape))
    rings = np.bincount(distance.ravel(), power.ravel())
    beyond = total - np.cumsum(rings)
    inside = np.flatnonzero(beyond <= _TAIL**2 * total)
    return 8 * int(np.ceil((inside[0] if inside.size else len(rings)) / 8))
