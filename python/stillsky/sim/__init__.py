"""Simulators whose truth is known, for demonstrations and tests."""

from .dcr_visits import DcrField, DcrVisit, simulateDcrVisits, writeDcrVisits
from .defects import badPixelMask, cosmicRays, saturate
from .flat_files import ampsOfFrame, flatFileNames, rawHdus, writeFlatFiles
from .flat_ramp import FlatRamp, defaultAmplifiers, simulateFlatRamp
from .flats import AmplifierTruth, SimulatedFlatPair, brighterFatterMatrix, flatLevels, simulateFlatPair
from .frame import SimulatedFrame
from .gaussian_field import GaussianField
from .moffat_field import MoffatField
from .night import Night, simulateNight
from .pair import SimulatedPair, simulatePair
from .render import addGalaxies, addStars

__all__ = [
    "AmplifierTruth",
    "DcrField",
    "DcrVisit",
    "FlatRamp",
    "GaussianField",
    "MoffatField",
    "Night",
    "SimulatedFlatPair",
    "SimulatedFrame",
    "SimulatedPair",
    "addGalaxies",
    "addStars",
    "ampsOfFrame",
    "badPixelMask",
    "brighterFatterMatrix",
    "cosmicRays",
    "defaultAmplifiers",
    "flatFileNames",
    "flatLevels",
    "rawHdus",
    "saturate",
    "simulateDcrVisits",
    "simulateFlatPair",
    "simulateFlatRamp",
    "simulateNight",
    "simulatePair",
    "writeDcrVisits",
    "writeFlatFiles",
]
