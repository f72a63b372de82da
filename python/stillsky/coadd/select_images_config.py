"""Configuration of the choice of images for a coadd."""

from lsst.pex.config import Config, RangeField

__all__ = ["PsfWcsSelectImagesConfig", "WcsSelectImagesConfig"]


class WcsSelectImagesConfig(Config):
    """Images whose outline on the sky meets that of the coadd; nothing to choose."""


class PsfWcsSelectImagesConfig(WcsSelectImagesConfig):
    """The same, with limits on the PSF."""

    maxPsfFwhm = RangeField(
        dtype=float, doc="Largest FWHM of the PSF, pixels of the image.", default=None, min=0.0, inclusiveMin=False,
        optional=True,
    )  # fmt: skip
    maxPsfEllipticity = RangeField(
        dtype=float, doc="Largest ellipticity of the PSF.", default=None, min=0.0, max=1.0, inclusiveMax=True,
        optional=True,
    )  # fmt: skip
