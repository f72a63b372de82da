"""Photon transfer: what flat fields tell about a sensor."""

from .padding import PixelPadding, detectPadding
from .pixel_maps import PixelMaps, pixelMaps

__all__ = ["PixelMaps", "PixelPadding", "detectPadding", "pixelMaps"]
