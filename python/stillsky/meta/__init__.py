"""Facts about an exposure: header metadata, visit, observatory, weather, filter, detector."""

from .detector import Amplifier, Detector
from .filter_label import FilterLabel
from .header import Header, isStructuralKey
from .pointing import Pointing, completeVisitInfo, pointingOf
from .site import KNOWN_SITES, completeWeather, defaultWeather
from .transmission import TransmissionCurve
from .visit_info import Observatory, VisitInfo, Weather

__all__ = [
    "KNOWN_SITES",
    "Amplifier",
    "Detector",
    "FilterLabel",
    "Header",
    "Observatory",
    "Pointing",
    "TransmissionCurve",
    "VisitInfo",
    "Weather",
    "completeVisitInfo",
    "completeWeather",
    "defaultWeather",
    "isStructuralKey",
    "pointingOf",
]
