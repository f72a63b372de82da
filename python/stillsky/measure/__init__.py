"""Measuring sources: moments, centroids, fluxes, shapes, pixel flags, sky coordinates."""

from .algorithms import (
    BAD_PLANES,
    gaussianFlux,
    pixelFlags,
    psfFlux,
    sdssCentroid,
    sdssShape,
    sizeExtendedness,
    skyCoord,
)
from .moments import MomentsFlag, adaptiveMoments
from .sources import FURTHER_PLUGINS, PLUGINS, measurementSchema, measureSources

__all__ = [
    "BAD_PLANES",
    "FURTHER_PLUGINS",
    "PLUGINS",
    "MomentsFlag",
    "adaptiveMoments",
    "gaussianFlux",
    "measureSources",
    "measurementSchema",
    "pixelFlags",
    "psfFlux",
    "sdssCentroid",
    "sdssShape",
    "sizeExtendedness",
    "skyCoord",
]
