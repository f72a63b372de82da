"""Finding sources: peaks, span sets, footprints, thresholds."""

from .cosmic_rays import findCosmicRays
from .deblend import deblendFootprints
from .detect import DetectionResult, detectSources
from .footprint import PEAK_DTYPE, Footprint, Peak, makePeaks
from .footprint_set import FootprintSet
from .heavy import HeavyFootprint, makeHeavyFootprint
from .merge import MergedDetections, mergeDetections
from .peaks import findPeaks
from .sky import SKY_AVOID, skyPositions, skySources
from .sources import SOURCE_COLUMNS, emptySourceTable, sourceTable
from .span_set import SpanSet, growMask
from .streaks import Streak, findStreaks, maskStreaks
from .threshold import Threshold

__all__ = [
    "PEAK_DTYPE",
    "SKY_AVOID",
    "SOURCE_COLUMNS",
    "DetectionResult",
    "Footprint",
    "FootprintSet",
    "HeavyFootprint",
    "MergedDetections",
    "Peak",
    "SpanSet",
    "Streak",
    "Threshold",
    "deblendFootprints",
    "detectSources",
    "emptySourceTable",
    "findCosmicRays",
    "findPeaks",
    "findStreaks",
    "growMask",
    "makeHeavyFootprint",
    "makePeaks",
    "maskStreaks",
    "mergeDetections",
    "skyPositions",
    "skySources",
    "sourceTable",
]
