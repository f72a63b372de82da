"""Pictures of results. matplotlib is loaded when a figure is made, never before."""

from .candidate_figures import candidateStampsFigure
from .kernel_figures import kernelBasisFigure, kernelCoefficientsFigure, kernelMosaicFigure, kernelSpatialModelFigure
from .save import savePng
from .subtract_figure import subtractFigure

__all__ = [
    "candidateStampsFigure",
    "kernelBasisFigure",
    "kernelCoefficientsFigure",
    "kernelMosaicFigure",
    "kernelSpatialModelFigure",
    "savePng",
    "subtractFigure",
]
