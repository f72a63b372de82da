"""Configuration of background subtraction."""

from lsst.pex.config import ChoiceField, Config, Field, ListField, RangeField

__all__ = ["SubtractBackgroundConfig"]


class SubtractBackgroundConfig(Config):
    """How a background is fitted and subtracted; the algorithm is `stillsky.background.subtractBackground`."""

    statisticsProperty = ChoiceField(
        dtype=str,
        optional=False,
        doc="Statistic of the pixels of a cell",
        default="MEANCLIP",
        allowed={"MEANCLIP": "clipped mean", "MEAN": "unclipped mean", "MEDIAN": "median"},
    )
    undersampleStyle = ChoiceField(
        dtype=str,
        optional=False,
        doc="What to do if there are too few cells for the interpolation style",
        default="REDUCE_INTERP_ORDER",
        allowed={
            "THROW_EXCEPTION": "raise an error",
            "REDUCE_INTERP_ORDER": "use a lower order",
            "INCREASE_NXNYSAMPLE": "not supported",
        },
    )
    binSize = RangeField(dtype=int, doc="Size of a cell in pixels", default=128, min=1)
    binSizeX = RangeField(dtype=int, doc="Size of a cell along x in pixels; 0: binSize", default=0, min=0)
    binSizeY = RangeField(dtype=int, doc="Size of a cell along y in pixels; 0: binSize", default=0, min=0)
    algorithm = ChoiceField(
        dtype=str,
        doc="Interpolation between cell centres",
        default="AKIMA_SPLINE",
        allowed={
            "CONSTANT": "nearest cell",
            "LINEAR": "straight lines",
            "NATURAL_SPLINE": "natural cubic spline",
            "CUBIC_SPLINE": "natural cubic spline",
            "AKIMA_SPLINE": "cubic polynomials that resist outlying cells",
            "NONE": "no background is fitted",
        },
        optional=False,
    )
    ignoredPixelMask = ListField(
        dtype=str,
        doc="Mask planes whose pixels are left out",
        default=["BAD", "EDGE", "DETECTED", "DETECTED_NEGATIVE", "NO_DATA"],
    )
    isNanSafe = Field(dtype=bool, doc="Leave out pixels that are not finite", default=False)
    useApprox = Field(dtype=bool, doc="Fit a Chebyshev polynomial instead of interpolating", default=True)
    approxOrderX = Field(dtype=int, doc="Order in x of the polynomial", default=6)
    approxOrderY = Field(dtype=int, doc="Order in y of the polynomial; -1: as in x", default=-1)
    weighting = Field(dtype=bool, doc="Weight cells by their inverse variance in the fit", default=True)
    doApplyFlatBackgroundRatio = Field(
        dtype=bool, doc="Multiply the image by a background-to-photometric ratio while fitting", default=False
    )
    doFilterSuperPixels = Field(
        dtype=bool, doc="Replace outlying cells by the median of their neighbours", default=False
    )
    superPixelFilterSize = Field(dtype=int, doc="Size of that neighbourhood in cells", default=3)
