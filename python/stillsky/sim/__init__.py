"""Simulators whose truth is known, for demonstrations and tests."""

from .defects import badPixelMask, cosmicRays, saturate
from .frame import SimulatedFrame
from .moffat_field import MoffatField
from .pair import SimulatedPair, simulatePair
from .render import addGalaxies, addStars

__all__ = [
    "MoffatField",
    "SimulatedFrame",
    "SimulatedPair",
    "addGalaxies",
    "addStars",
    "badPixelMask",
    "cosmicRays",
    "saturate",
    "simulatePair",
]
