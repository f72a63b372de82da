"""Measuring sources: moments, centroids, fluxes, shapes, pixel flags."""

from .moments import MomentsFlag, adaptiveMoments

__all__ = ["MomentsFlag", "adaptiveMoments"]
