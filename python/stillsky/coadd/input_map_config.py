"""Configuration of maps of the inputs of coadds."""

from lsst.pex.config import Config, Field, FieldValidationError, RangeField

__all__ = ["InputMapConfig"]


class InputMapConfig(Config):
    """How fine a map is, and when a bad part of an input counts."""

    nside = Field(
        dtype=int, doc="HEALPix nside of the map, a power of 2: 32768 are pixels of 6.4 arcsec.", default=32768
    )
    nsideCoverage = Field(dtype=int, doc="nside of the blocks that the map is stored in, a power of 2.", default=128)
    badMaskMinCoverage = RangeField(
        dtype=float, doc="A pixel of the map loses an input that is bad on more than this part of it.", default=0.5,
        min=0.0, max=1.0, inclusiveMax=True,
    )  # fmt: skip

    def validate(self):
        super().validate()
        for name in ("nside", "nsideCoverage"):
            value = getattr(self, name)
            if value < 1 or value & (value - 1):
                raise FieldValidationError(type(self)._fields[name], self, f"wanted a power of 2, given {value}")
        if self.nsideCoverage > self.nside:
            raise FieldValidationError(type(self)._fields["nsideCoverage"], self, "wanted at most nside")
