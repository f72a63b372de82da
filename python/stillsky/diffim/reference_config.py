"""Configuration of what is read from a reference catalogue and how sources are paired with it."""

from lsst.pex.config import Config, Field, RangeField

__all__ = ["DirectMatchConfig", "ReferenceLoaderConfig"]


class ReferenceLoaderConfig(Config):
    """Where reference objects come from."""

    path = Field(
        dtype=str,
        doc="Table of reference objects (id, coord_ra, coord_dec; g_flux, r_flux, resolved and photometric if known), in "
        "any format that astropy reads; null: none.",
        default=None,
        optional=True,
    )
    fromButler = Field(dtype=bool, doc="Pipelines read the connection referenceCatalog.", default=False)
    pixelMargin = RangeField(
        dtype=int, doc="Objects up to this far off the image are loaded, pixels.", default=250, min=0
    )


class DirectMatchConfig(Config):
    """Pairing of sources and reference objects by position."""

    matchRadius = RangeField(dtype=float, doc="Largest separation, arcsec.", default=0.25, min=0.0, inclusiveMin=False)
