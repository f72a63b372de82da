"""Configuration of relative astrometry."""

from lsst.pex.config import Config, ConfigField, RangeField

from ..warp.config import WarperConfig

__all__ = ["RegisterConfig"]


class RegisterConfig(Config):
    """How the WCS of one image is refitted to the sources of another."""

    matchRadius = RangeField(
        dtype=float, doc="Largest separation of matched sources, arcsec.", default=1.0, min=0.0, inclusiveMin=False
    )
    sipOrder = RangeField(
        dtype=int,
        doc="Largest order of the polynomial; lowered until there are three matches for each of its terms.",
        default=4,
        min=1,
        inclusiveMin=False,
        max=9,
        inclusiveMax=True,
    )
    sipIter = RangeField(dtype=int, doc="Largest number of rejection rounds.", default=3, min=0, inclusiveMin=False)
    sipRej = RangeField(
        dtype=float,
        doc="Matches whose residual exceeds this many times the rms are rejected.",
        default=3.0,
        min=0.0,
        inclusiveMin=False,
    )
    warper = ConfigField("Resampling with the new WCS.", WarperConfig)
