"""From configuration classes to the plain settings of the C++ core."""

from . import PsfMatchSettings

__all__ = ["makeSettings"]


def makeSettings(config, mask):
    """Settings of the fit.

    Parameters
    ----------
    config : `KernelFields`
    mask : `stillsky.image.Mask`
        Names the bits of ``badMaskPlanes``; planes that it lacks are left out.

    Returns
    -------
    settings : `PsfMatchSettings`
        With ``compat`` every improvement is off, whatever its field says.
    """
    settings = PsfMatchSettings(config, mask.schema)
    settings.badFitMask = settings.badFitMask | settings.badMask
    return settings
