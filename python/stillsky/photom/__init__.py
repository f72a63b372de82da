"""Photometric calibration."""

from .ap_corr import ApCorrMap
from .bounded_field import ChebyshevBoundedField
from .photo_calib import AB_ZERO_FLUX_NJY, PhotoCalib

__all__ = ["AB_ZERO_FLUX_NJY", "ApCorrMap", "ChebyshevBoundedField", "PhotoCalib"]
