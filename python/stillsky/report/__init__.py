"""Pictures and reports of results. matplotlib is loaded when a figure is made, never before."""

from .candidate_figures import candidateStampsFigure
from .kernel_figures import kernelBasisFigure, kernelCoefficientsFigure, kernelMosaicFigure, kernelSpatialModelFigure
from .page import Page, Section, formatNumber
from .save import savePng
from .subtract_figure import subtractFigure

__all__ = [
    "Page",
    "Section",
    "candidateStampsFigure",
    "formatNumber",
    "kernelBasisFigure",
    "kernelCoefficientsFigure",
    "kernelMosaicFigure",
    "kernelSpatialModelFigure",
    "savePng",
    "subtractFigure",
]
