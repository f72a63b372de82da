"""Statistics of images, masked images, masks and sequences.

`makeStatistics` computes any set of properties (`Property`) as a `StatisticsControl` says; `clippedStats` and
`robustSigma` are the fast forms of the two questions asked most often.
"""

from .clipped import clippedStats, robustSigma
from .scale_variance import VarianceScaleFactors, varianceScaleFactors
from .statistics import Property, Statistics, StatisticsControl, makeStatistics, stringToStatisticsProperty

__all__ = [
    "Property",
    "Statistics",
    "StatisticsControl",
    "VarianceScaleFactors",
    "clippedStats",
    "makeStatistics",
    "robustSigma",
    "stringToStatisticsProperty",
    "varianceScaleFactors",
]
# MEAN, MEDIAN, ... as plain module names, the spelling of existing programs.
globals().update(Property.__members__)
__all__ += list(Property.__members__)
