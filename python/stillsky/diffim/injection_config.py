"""Configuration of planted sources."""

from lsst.pex.config import Config, FieldValidationError, RangeField

__all__ = ["InjectionConfig"]


class InjectionConfig(Config):
    """Sources planted to measure the efficiency of a subtraction."""

    n = RangeField(dtype=int, doc="Number of sources; 0: none.", default=0, min=0)
    minSignalToNoise = RangeField(dtype=float, doc="Smallest signal-to-noise ratio.", default=3.0, min=0.1)
    maxSignalToNoise = RangeField(dtype=float, doc="Largest signal-to-noise ratio.", default=30.0, min=0.1)
    matchRadius = RangeField(
        dtype=float, doc="Largest distance of a source from the planted one, in FWHM of the PSF.", default=0.75, min=0.1
    )
    seed = RangeField(dtype=int, doc="Of places, ratios and photon noise.", default=0, min=0)

    def validate(self):
        super().validate()
        if self.maxSignalToNoise <= self.minSignalToNoise:
            raise FieldValidationError(InjectionConfig.maxSignalToNoise, self, "must be larger than minSignalToNoise")
