"""Finding sources: peaks, span sets, footprints, thresholds."""

from .footprint import PEAK_DTYPE, Footprint, Peak, makePeaks
from .footprint_set import FootprintSet
from .peaks import findPeaks
from .span_set import SpanSet, growMask
from .threshold import Threshold

__all__ = [
    "PEAK_DTYPE",
    "Footprint",
    "FootprintSet",
    "Peak",
    "SpanSet",
    "Threshold",
    "findPeaks",
    "growMask",
    "makePeaks",
]
