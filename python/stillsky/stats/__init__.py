"""Statistics of images, masked images, masks and sequences.

`makeStatistics` computes any set of properties (`Property`) as a `StatisticsControl` says; `clippedStats` and
`robustSigma` are the fast forms of the two questions asked most often. `statisticsStack` combines many images pixel by pixel.
"""

from .clipped import clippedStats, robustSigma
from .scale_variance import VarianceScaleFactors, varianceScaleFactors
from .stack import AccumulatorMeanStack, FileRows, stackStrips, statisticsStack
from .statistics import Property, Statistics, StatisticsControl, makeStatistics, stringToStatisticsProperty

__all__ = [
    "AccumulatorMeanStack",
    "FileRows",
    "Property",
    "Statistics",
    "StatisticsControl",
    "VarianceScaleFactors",
    "clippedStats",
    "makeStatistics",
    "robustSigma",
    "stackStrips",
    "statisticsStack",
    "stringToStatisticsProperty",
    "varianceScaleFactors",
]
# MEAN, MEDIAN, ... as plain module names, the spelling of existing programs.
globals().update(Property.__members__)
__all__ += list(Property.__members__)
