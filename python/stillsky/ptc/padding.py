"""Padding of pixel values: 12- or 14-bit converters whose readings are stored in 16 bits."""

from dataclasses import dataclass

import numpy as np

__all__ = ["PaddingDetector", "PixelPadding", "detectPadding"]

_MIN_DISTINCT = 32  # 32 values that are all even by chance: 2^-32
_TABLE = 1 << 20  # largest range of values that is counted in a table
_CHUNK = 1 << 12


@dataclass(frozen=True)
class PixelPadding:
    """How the values of a sensor sit in a file.

    Attributes
    ----------
    divisor : `int`
        File units in a native unit: all values are ``offset`` plus a multiple of it; 1 without padding.
    offset : `int`
        Remainder that all values share, 0 <= offset < divisor.
    distinct : `int`
        Number of different values that were seen (at least; counting stops where it decides nothing any more).
    maximum : `int`
        Largest value seen, without those that are all ones in binary (saturation).
    """

    divisor: int = 1
    offset: int = 0
    distinct: int = 0
    maximum: int = 0

    @property
    def padded(self):
        """True if the native unit is not the unit of the file."""
        return self.divisor > 1

    @property
    def bits(self):
        """Number of constant low bits when the divisor is a power of two, else None."""
        return self.divisor.bit_length() - 1 if self.divisor & (self.divisor - 1) == 0 else None

    @property
    def nativeBits(self):
        """Bits that the largest value needs in native units."""
        return (self.maximum // self.divisor).bit_length()

    def __str__(self):
        if not self.padded:
            return "no padding: the unit of the file is that of the converter"
        low = f", the low {self.bits} bits are constant" if self.bits else ""
        return f"values are multiples of {self.divisor}" + (f" plus {self.offset}" if self.offset else "") + low


class PaddingDetector:
    """Greatest common divisor of the pixel values of any number of frames.

    Values that are all ones in binary (4095, 16383, 65535, ...) are left out: cameras set saturated pixels so. A divisor
    is believed only when at least 32 different values share it. Real-valued frames take part where their values are whole
    numbers; one fractional value ends the search with divisor 1.
    """

    def __init__(self):
        self._step = 0  # gcd of differences from the first value
        self._first = None
        self._maximum = 0
        self._distinct = set()
        self._fractional = False

    def add(self, frame):
        """Take a frame (array of any numeric type; NaN is ignored) into account; returns self."""
        if self.decided:
            return self
        values = _wholeNumbers(np.asarray(frame).ravel())
        if values is None:
            self._fractional = True
            return self
        values = values[~_allOnes(values)]
        if not values.size:
            return self
        distinct = _distinctValues(values)
        if self._first is None:
            self._first = int(distinct[0])
        self._maximum = max(self._maximum, int(distinct.max()))
        if len(self._distinct) < _MIN_DISTINCT:
            self._distinct.update(distinct[: 2 * _MIN_DISTINCT].tolist())
        for start in range(0, distinct.size, _CHUNK):
            chunk = np.abs(distinct[start : start + _CHUNK] - self._first)
            self._step = int(np.gcd(self._step, np.gcd.reduce(chunk)))
            if self._step == 1:
                break
        return self

    @property
    def decided(self):
        """True once no further frame can change the answer."""
        return self._fractional or self._step == 1

    @property
    def padding(self):
        """The `PixelPadding` of all frames so far."""
        n = len(self._distinct)
        if self._fractional or self._step <= 1 or n < _MIN_DISTINCT:
            return PixelPadding(1, 0, n, self._maximum)
        return PixelPadding(self._step, self._first % self._step, n, self._maximum)


def _wholeNumbers(values):
    """Values as int64 without NaN and infinities; None when one is no whole number."""
    if values.dtype.kind in "iu":
        return values.astype(np.int64, copy=False)
    values = values[np.isfinite(values)]
    if np.any(values != np.rint(values)) or np.any(np.abs(values) > 2.0**53):
        return None
    return values.astype(np.int64)


def _allOnes(values):
    """Values 2^k - 1 from 255 on."""
    return (values >= 255) & ((values & (values + 1)) == 0)


def _distinctValues(values):
    """Different values; all values where their range is too large for a table."""
    low, high = int(values.min()), int(values.max())
    if high - low >= _TABLE:
        return values
    return np.flatnonzero(np.bincount(values - low)) + low


def detectPadding(*frames):
    """Padding of the values of some frames.

    Parameters
    ----------
    *frames : array
        Raw pixel values, before any bias or gain is applied.

    Returns
    -------
    padding : `PixelPadding`
        Divisor 1 when there is none, or too few different values to tell.

    Notes
    -----
    O(pixels) for values within 20 bits; otherwise a greatest common divisor per pixel until it is 1.
    """
    detector = PaddingDetector()
    for frame in frames:
        detector.add(frame)
    return detector.padding
