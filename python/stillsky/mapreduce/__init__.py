"""Map-reduce: cut an exposure into cells, do something to each, put the results together."""

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
