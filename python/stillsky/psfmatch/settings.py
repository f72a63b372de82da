"""From configuration classes to the plain settings of the C++ core."""

from . import PsfMatchSettings

__all__ = ["makeSettings"]


def makeSettings(config, mask, fluxScale=1.0):
    """Settings of the fit.

    Parameters
    ----------
    config : `KernelFields`
    mask : `stillsky.image.Mask`
        Names the bits of ``badMaskPlanes``; planes that it lacks are left out.
    fluxScale : `float`
        About the kernel sum. Not with ``compat``.

    Returns
    -------
    settings : `PsfMatchSettings`
        With ``compat`` every improvement is off, whatever its field says.
    """
    settings = PsfMatchSettings(config, mask.schema)
    settings.badFitMask = settings.badFitMask | settings.badMask
    if not settings.compat:
        settings.fluxScale = fluxScale
        settings.validate()
    return settings
