"""Facts about an exposure: header metadata, visit, observatory, weather, filter, detector."""

from .detector import Amplifier, Detector
from .filter_label import FilterLabel
from .header import Header, isStructuralKey
from .visit_info import Observatory, VisitInfo, Weather

__all__ = ["Amplifier", "Detector", "FilterLabel", "Header", "Observatory", "VisitInfo", "Weather", "isStructuralKey"]
