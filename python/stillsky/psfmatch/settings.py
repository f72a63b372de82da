"""From configuration classes to the plain settings of the C++ core."""

from . import PsfMatchSettings

__all__ = ["makeSettings"]

# Fields that the reference does not have; "compat" leaves them at the reference's behaviour whatever they say.
_IMPROVEMENTS = (
    "perPixelSpatialTerms",
    "correctTemplateNoise",
    "maskWeights",
    "minGoodFraction",
    "adaptiveKernelSumClipping",
    "lowerSpatialOrders",
    "scaledPolynomials",
    "buildReplacements",
    "spatialPhotometricOrder",
)


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
    if config.compat:
        fields = {name: value for name, value in config.toDict().items() if name not in _IMPROVEMENTS}
        return PsfMatchSettings(fields, mask.schema)
    settings = PsfMatchSettings(config, mask.schema)
    settings.badFitMask = settings.badFitMask | settings.badMask
    return settings
