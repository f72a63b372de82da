"""Memory that was freed and that the C library keeps."""

import ctypes

__all__ = ["returnFreedMemory"]


def returnFreedMemory():
    """Give scratch of many small pieces back before planes are made: glibc keeps it otherwise, a plane of 4096 pixels."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another C library
        pass
