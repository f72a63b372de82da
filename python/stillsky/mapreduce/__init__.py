"""Map-reduce: cut an exposure into cells, do something to each, put the results together."""

import importlib

from .algorithm import MapReduceResult, mapReduce
from .grid import Grid, GridCell, coverage, makeGrid
from .mappers import CallableCell, ConvolveCell, StatisticsCell, passThrough
from .reduction import Reduction

__all__ = [
    "CallableCell",
    "ConvolveCell",
    "Grid",
    "GridCell",
    "MapReduceResult",
    "Reduction",
    "StatisticsCell",
    "coverage",
    "makeGrid",
    "mapReduce",
    "passThrough",
]

# Tasks import lsst.pipe.base, and what reads files astropy: only those who use them pay for it.
_LAZY = {
    "CallableMapper": ".mapper_tasks:CallableMapper",
    "CallableMapperConfig": ".mapper_tasks:CallableMapperConfig",
    "ConvolveMapper": ".mapper_tasks:ConvolveMapper",
    "DecorrelateMapper": "..diffim.decorrelate_task:DecorrelateALKernelMapper",
    "DeferredExposure": ".deferred:DeferredExposure",
    "PassThroughMapper": ".mapper_tasks:PassThroughMapper",
    "StatisticsMapper": ".mapper_tasks:StatisticsMapper",
}


def __getattr__(name):
    if name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        return getattr(importlib.import_module(module, __name__), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
