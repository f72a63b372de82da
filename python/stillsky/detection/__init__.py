"""Finding sources: peaks, span sets, footprints, thresholds."""

from .detect import DetectionResult, detectSources
from .footprint import PEAK_DTYPE, Footprint, Peak, makePeaks
from .footprint_set import FootprintSet
from .peaks import findPeaks
from .sources import SOURCE_COLUMNS, emptySourceTable, sourceTable
from .span_set import SpanSet, growMask
from .threshold import Threshold

__all__ = [
    "PEAK_DTYPE",
    "SOURCE_COLUMNS",
    "DetectionResult",
    "Footprint",
    "FootprintSet",
    "Peak",
    "SpanSet",
    "Threshold",
    "detectSources",
    "emptySourceTable",
    "findPeaks",
    "growMask",
    "makePeaks",
    "sourceTable",
]
