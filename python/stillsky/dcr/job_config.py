"""Configuration of a DCR coadd of plain files."""

from lsst.pex.config import ChoiceField, Config, ConfigField, FieldValidationError, RangeField

from ..coadd.job_config import CoaddJobConfig
from .config import DcrConfig

__all__ = ["DcrJobConfig"]


class DcrJobConfig(Config):
    """From files to the subfilters of a band."""

    psfMatch = ChoiceField(
        dtype=str,
        optional=False,
        doc="Whether the visits are matched to one PSF: the model has one, and takes another seeing for a colour.",
        default="auto",
        allowed={
            "auto": "when the widest FWHM is more than maxSeeingRatio times the narrowest",
            "yes": "always",
            "no": "never",
        },
    )
    maxSeeingRatio = RangeField(dtype=float, doc="Of psfMatch auto.", default=1.15, min=1.0)
    detectionThreshold = RangeField(
        dtype=float, doc="Significance of the sources in which the subfilters may differ.", default=5.0, min=0.0,
        inclusiveMin=False,
    )  # fmt: skip
    inputs = ConfigField("What is done to the visits, and the plain coadd that the model starts from.", CoaddJobConfig)
    dcr = ConfigField("The model.", DcrConfig)

    def validate(self):
        super().validate()
        effective, width, limits = self.dcr.band
        if limits is not None and not 0 < limits[0] < limits[1]:
            raise FieldValidationError(
                type(self.dcr)._fields["bandLimits"], self.dcr, f"wanted rising wavelengths in nm, given {list(limits)}"
            )
