"""From configuration classes to the plain settings of the C++ core."""

from . import PsfMatchSettings

__all__ = ["makeSettings"]


def makeSettings(config, mask):
    """Settings of the fit.

    Parameters
    ----------
    config : `PsfMatchConfig`
    mask : `stillsky.image.Mask`
        Names the bits of ``badMaskPlanes``; planes that it lacks are left out.

    Returns
    -------
    settings : `PsfMatchSettings`
    """
    settings = PsfMatchSettings(config, mask.schema)
    if not config.compat:
        settings.badFitMask = settings.badFitMask | settings.badMask
    return settings
