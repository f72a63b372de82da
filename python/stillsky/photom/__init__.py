"""Photometric calibration."""

from .photo_calib import AB_ZERO_FLUX_NJY, PhotoCalib

__all__ = ["AB_ZERO_FLUX_NJY", "PhotoCalib"]
