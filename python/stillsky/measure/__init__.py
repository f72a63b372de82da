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
from .apertures import circularApertureFlux, localBackground, naiveCentroid, peakLikelihoodFlux
from .blends import fitBlends, motionScore, withoutNeighbours
from .dipoles import DipoleOptions, fitDipoles
from .forced import addForcedPhotometry, forcedPhotometry, transformedPositions
from .legacy_dipoles import (
    DipoleAnalysis,
    SourceFlagChecker,
    classificationDipole,
    naiveDipoleCentroid,
    naiveDipoleFlux,
    psfDipoleFlux,
)
from .local_calibration import applyApCorr, localPhotoCalib, localWcs
from .moments import MomentsFlag, adaptiveMoments
from .schema import aperturePrefix
from .sources import FURTHER_PLUGINS, PLUGINS, measurementSchema, measureSources
from .trails import trailedSources, trailGeometry

__all__ = [
    "BAD_PLANES",
    "FURTHER_PLUGINS",
    "PLUGINS",
    "DipoleAnalysis",
    "DipoleOptions",
    "MomentsFlag",
    "SourceFlagChecker",
    "adaptiveMoments",
    "addForcedPhotometry",
    "aperturePrefix",
    "applyApCorr",
    "circularApertureFlux",
    "classificationDipole",
    "fitBlends",
    "fitDipoles",
    "forcedPhotometry",
    "gaussianFlux",
    "localBackground",
    "localPhotoCalib",
    "localWcs",
    "measureSources",
    "measurementSchema",
    "motionScore",
    "naiveCentroid",
    "naiveDipoleCentroid",
    "naiveDipoleFlux",
    "peakLikelihoodFlux",
    "pixelFlags",
    "psfDipoleFlux",
    "psfFlux",
    "sdssCentroid",
    "sdssShape",
    "sizeExtendedness",
    "skyCoord",
    "trailGeometry",
    "trailedSources",
    "transformedPositions",
    "withoutNeighbours",
]
