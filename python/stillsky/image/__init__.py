"""Images, masks with named planes, masked images and exposures."""

from .coadd_inputs import CoaddInputs
from .convert import fromCCDData, toCCDData
from .exposure import Exposure, ExposureInfo, makeExposure
from .handles import READ_ERRORS, HandleReader
from .image import Image
from .mask import Mask
from .mask_schema import MaskSchema
from .masked_image import MaskedImage

__all__ = [
    "READ_ERRORS",
    "CoaddInputs",
    "Exposure",
    "ExposureInfo",
    "HandleReader",
    "Image",
    "Mask",
    "MaskSchema",
    "MaskedImage",
    "fromCCDData",
    "makeExposure",
    "toCCDData",
]
