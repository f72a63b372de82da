"""Resampling of images onto another pixel grid, with mask and variance."""

from .._core import AffineMapping, GridMapping, InverseMapping, WarpingControl, WarpingKernel
from .algorithm import warpExposure, warpImage, warpMaskedImage
from .mapping import alignedWithin, positionGrid
from .warper import Warper, computeDestBBox

__all__ = [
    "AffineMapping",
    "GridMapping",
    "InverseMapping",
    "WarpingControl",
    "WarpingKernel",
    "Warper",
    "alignedWithin",
    "computeDestBBox",
    "positionGrid",
    "warpExposure",
    "warpImage",
    "warpMaskedImage",
]
