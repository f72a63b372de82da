"""Files: reading images of any origin, writing exposures and kernels."""

from .describe import describeFile
from .kernel_io import KernelFile, readKernel, writeKernel
from .parts import readBBox, readImage, readMask, readMaskedImage, readMetadata, readPart, readWcs
from .reader import read, readExposure
from .writer import writeExposure, writeImage, writeMask, writeMaskedImage, writePsf

__all__ = [
    "KernelFile",
    "describeFile",
    "read",
    "readBBox",
    "readExposure",
    "readImage",
    "readKernel",
    "readMask",
    "readMaskedImage",
    "readMetadata",
    "readPart",
    "readWcs",
    "writeExposure",
    "writeImage",
    "writeKernel",
    "writeMask",
    "writeMaskedImage",
    "writePsf",
]
