"""Configuration of a Warper, with Rubin's field names and defaults."""

from lsst.pex.config import ChoiceField, Config, Field

from .._core import WarpingControl

__all__ = ["WarperConfig"]

_KERNELS = {
    "bilinear": "bilinear interpolation",
    "lanczos3": "Lanczos kernel of order 3",
    "lanczos4": "Lanczos kernel of order 4",
    "lanczos5": "Lanczos kernel of order 5",
}


class WarperConfig(Config):
    """How to resample an image onto another pixel grid."""

    warpingKernelName = ChoiceField(
        dtype=str, optional=False, doc="Warping kernel", default="lanczos3", allowed=dict(_KERNELS)
    )
    maskWarpingKernelName = ChoiceField(
        dtype=str,
        optional=False,
        doc="Warping kernel for the mask; it must fit inside warpingKernelName. Empty: use warpingKernelName",
        default="bilinear",
        allowed={"": "use the regular warping kernel for the mask plane as well as the image plane", **_KERNELS},
    )
    interpLength = Field(
        dtype=int,
        doc="Spacing in pixels of the grid on which source positions are computed exactly; 0 for every pixel",
        default=10,
    )
    cacheSize = Field(dtype=int, doc="Number of tabulated kernel offsets; 0 computes the weights", default=1000000)
    growFullMask = Field(
        dtype=int,
        doc="Mask bits that spread by the full image kernel although maskWarpingKernelName is narrower",
        default=1 << 4,
    )

    def validate(self):
        super().validate()
        # Raises DomainError (a ValueError) when the mask kernel does not fit or a number is negative.
        WarpingControl(
            self.warpingKernelName, self.maskWarpingKernelName, self.cacheSize, self.interpLength, self.growFullMask
        )
