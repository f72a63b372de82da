"""What counts as detected."""

import numpy as np

from .. import errors

THRESHOLD_TYPES = ("value", "stdev", "variance", "pixel_stdev", "bitmask")


class Threshold:
    """A detection level.

    Parameters
    ----------
    value : float
        Level; number of standard deviations for "stdev", "variance" and "pixel_stdev"; bits for "bitmask".
    type : {"value", "stdev", "variance", "pixel_stdev", "bitmask"}
        "value": the level itself. "stdev": times the clipped standard deviation of the image (3 sigma, 3 rounds).
        "variance": times the square root of a given variance (default: the clipped one of the image). "pixel_stdev":
        times the square root of the variance plane, pixel by pixel. "bitmask": any of the bits of a mask; images,
        which have no bits, are compared with the value. Upper case is accepted.
    polarity : bool
        True: pixel >= level; False: -pixel >= level.
    includeMultiplier : float
        A footprint is kept only if one pixel reaches this many times the level.

    Raises
    ------
    DomainError
        Unknown type; value not finite; includeMultiplier not positive.
    """

    __slots__ = ("includeMultiplier", "polarity", "type", "value")

    def __init__(self, value, type="value", polarity=True, includeMultiplier=1.0):
        name = str(type).lower()
        if name not in THRESHOLD_TYPES:
            raise errors.DomainError(f"threshold type: wanted one of {', '.join(THRESHOLD_TYPES)}, got {type!r}")
        if not np.isfinite(value):
            raise errors.DomainError(f"threshold: wanted a finite value, got {value}")
        if not includeMultiplier > 0:
            raise errors.DomainError(f"includeMultiplier: wanted a positive number, got {includeMultiplier}")
        self.value, self.type, self.polarity = value, name, bool(polarity)
        self.includeMultiplier = float(includeMultiplier)

    def __repr__(self):
        return f"Threshold({self.value:g}, {self.type!r}, polarity={self.polarity}, {self.includeMultiplier:g})"

    def level(self, scale=None):
        """The level in image units.

        Parameters
        ----------
        scale : float
            Standard deviation for "stdev", variance for "variance"; not needed for "value" and "bitmask".
        """
        if self.type in ("value", "bitmask"):
            return float(self.value)
        if scale is None or not np.isfinite(scale) or scale <= 0:
            raise errors.DomainError(f"threshold of type {self.type!r}: wanted a positive scale, got {scale}")
        return float(self.value) * (float(scale) if self.type == "stdev" else float(np.sqrt(scale)))
