"""Configuration of the interpolation over missing pixels."""

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, FieldValidationError, RangeField

__all__ = ["InterpImageConfig", "ModelPsfConfig"]


class ModelPsfConfig(Config):
    """A Gaussian PSF. The weights of the interpolation do not depend on it; Rubin's configurations name it."""

    defaultFwhm = RangeField(dtype=float, default=3.0, min=0.0, inclusiveMin=False, doc="Width, pixels.")
    sizeFactor = RangeField(dtype=float, default=10.0, min=0.0, inclusiveMin=False, doc="Side of the image in widths.")
    addWing = Field(dtype=bool, default=True, doc="Add a wider Gaussian for the wings.")
    wingFwhmFactor = RangeField(
        dtype=float, default=2.5, min=0.0, inclusiveMin=False, doc="Width of the wings in widths of the core."
    )
    wingAmplitude = RangeField(dtype=float, default=0.1, min=0.0, doc="Peak of the wings over that of the core.")


class InterpImageConfig(Config):
    """How missing pixels are filled; the algorithm is `stillsky.coadd.interpImage`."""

    modelPsf = ConfigField("Model PSF. Not used: the weights are those of a star of sigma 1 pixel.", ModelPsfConfig)
    useFallbackValueAtEdge = Field(
        dtype=bool,
        default=True,
        doc="Fill runs of more than 6 pixels at an end of a row with the fallback value, tapered towards the data.",
    )
    fallbackValueType = ChoiceField(
        dtype=str,
        default="MEDIAN",
        optional=False,
        allowed={
            "MEAN": "mean of the image",
            "MEDIAN": "median of the image",
            "MEANCLIP": "clipped mean of the image",
            "USER": "fallbackUserValue",
        },
        doc="Where the fallback value comes from.",
    )
    fallbackUserValue = Field(dtype=float, default=0.0, doc="Fallback value, with the type USER.")
    negativeFallbackAllowed = Field(
        dtype=bool, default=False, doc="Allow a negative fallback value; otherwise it becomes 0, with a warning."
    )
    transpose = Field(dtype=bool, default=False, doc="Interpolate along columns instead of rows.")
    variance = ChoiceField(
        dtype=str,
        default="infinite",
        optional=False,
        allowed={
            "infinite": "+inf: an interpolated pixel carries no information",
            "propagate": "sum of the squared weights times the variances",
            "reference": "interpolated like the image, with its fallback value, as Rubin does; may be negative",
        },
        doc="Variance of an interpolated pixel.",
    )

    def validate(self):
        super().validate()
        if self.fallbackValueType == "USER" and not self.negativeFallbackAllowed and self.fallbackUserValue < 0:
            raise FieldValidationError(
                type(self).fallbackUserValue, self, "is negative while negativeFallbackAllowed is False"
            )
