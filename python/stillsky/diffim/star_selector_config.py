"""Configuration of the selectors of kernel stars."""

from lsst.pex.config import Config, Field, FieldValidationError, ListField, RangeField

__all__ = ["DiaCatalogSourceSelectorConfig", "ObjectSizeStarSelectorConfig"]

_PIXEL_FLAG = "base_PixelFlags_flag_"


class ObjectSizeStarSelectorConfig(Config):
    """Stars are what crowds at the smallest size."""

    doFluxLimit = Field(dtype=bool, doc="Apply fluxMin and fluxMax.", default=False)
    fluxMin = RangeField(dtype=float, doc="Smallest PSF flux.", default=12500.0, min=0.0)
    fluxMax = RangeField(dtype=float, doc="Largest PSF flux; 0: no limit.", default=0.0, min=0.0)
    doSignalToNoiseLimit = Field(dtype=bool, doc="Apply signalToNoiseMin and signalToNoiseMax.", default=True)
    signalToNoiseMin = RangeField(dtype=float, doc="Smallest signal-to-noise ratio.", default=50.0, min=0.0)
    signalToNoiseMax = RangeField(dtype=float, doc="Largest signal-to-noise ratio; 0: no limit.", default=0.0, min=0.0)
    widthMin = RangeField(dtype=float, doc="Smallest width, pixels.", default=0.9, min=0.0)
    widthMax = RangeField(dtype=float, doc="Largest width, pixels.", default=10.0, min=0.0)
    sourceFluxField = Field(dtype=str, doc="Column of the flux.", default="base_PsfFlux_instFlux")
    widthStdAllowed = RangeField(
        dtype=float, doc="Scatter of the stars' widths, as a fraction of their median, at which clipping ends.",
        default=0.15, min=0.0,
    )  # fmt: skip
    nSigmaClip = RangeField(dtype=float, doc="Clipping of the stars' widths.", default=2.0, min=0.0)
    badFlags = ListField(
        dtype=str,
        doc="Sources with any of these flags are left out; flags that the catalogue lacks do not count.",
        default=[
            *(
                _PIXEL_FLAG + name
                for name in (
                    "edge",
                    "nodata",
                    "interpolatedCenter",
                    "saturatedCenter",
                    "crCenter",
                    "bad",
                    "interpolated",
                )
            ),
            "slot_Centroid_flag",
        ],
    )

    def validate(self):
        super().validate()
        if self.widthMin > self.widthMax:
            raise FieldValidationError(
                type(self).widthMin, self, f"widthMin {self.widthMin} is larger than widthMax {self.widthMax}"
            )


class DiaCatalogSourceSelectorConfig(Config):
    """Stars are what a reference catalogue calls so, within limits of flux and colour."""

    fluxLim = RangeField(dtype=float, doc="Smallest PSF flux.", default=0.0, min=0.0)
    fluxMax = RangeField(dtype=float, doc="Largest PSF flux; 0: no limit.", default=0.0, min=0.0)
    selectStar = Field(dtype=bool, doc="Take unresolved objects.", default=True)
    selectGalaxy = Field(dtype=bool, doc="Take resolved objects.", default=False)
    includeVariable = Field(dtype=bool, doc="Take variable objects too.", default=False)
    grMin = Field(dtype=float, doc="Smallest g - r, included.", default=0.0)
    grMax = Field(dtype=float, doc="Largest g - r, included.", default=3.0)
    sourceFluxField = Field(dtype=str, doc="Column of the flux.", default="base_PsfFlux_instFlux")
    badFlags = ListField(
        dtype=str,
        doc="Sources with any of these flags are left out; flags that the catalogue lacks do not count.",
        default=[
            *(_PIXEL_FLAG + name for name in ("edge", "interpolatedCenter", "saturatedCenter")),
            "slot_Centroid_flag",
        ],
    )
