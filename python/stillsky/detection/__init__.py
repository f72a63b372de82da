"""Finding sources: peaks, spans, footprints."""

from .peaks import findPeaks

__all__ = ["findPeaks"]
