"""Point spread functions: analytic, empirical, interpolated over the image, warped."""

from .base import Psf
from .coadd import CoaddPsf, CoaddPsfComponent
from .gaussian import DoubleGaussianPsf, GaussianPsf, SingleGaussianPsf
from .grid import ImageGridPsf
from .kernel_psf import KernelPsf
from .moments import adaptiveImageMoments, circularFlux
from .pca import PcaPsf
from .warped import WarpedPsf

__all__ = [
    "CoaddPsf",
    "CoaddPsfComponent",
    "DoubleGaussianPsf",
    "GaussianPsf",
    "ImageGridPsf",
    "KernelPsf",
    "PcaPsf",
    "Psf",
    "SingleGaussianPsf",
    "WarpedPsf",
    "adaptiveImageMoments",
    "circularFlux",
]
