"""Figures behind the debug variables of the PSF matching tasks."""

from pathlib import Path

import numpy as np

from . import CandidateStatus, KernelCandidate

__all__ = ["DebugFigures"]

_VARIABLES = (
    "display",
    "displayCandidates",
    "displayKernelBasis",
    "displayKernelMosaic",
    "plotKernelSpatialModel",
    "plotKernelCoefficients",
    "showBadCandidates",
    "path",
)


class DebugFigures:
    """The debug variables of a module, and the figures that they ask for.

    Parameters
    ----------
    name : `str`
        Module name given to ``lsstDebug.Info``, where that module is installed.
    variables : mapping
        Values that win over it. ``path`` is a folder in which figures are saved as PNG; without it nothing is written.
    """

    def __init__(self, name, variables=()):
        self._values = dict.fromkeys(_VARIABLES, False)
        self._values["path"] = None
        self._values.update(_lsstDebug(name))
        self._values.update(dict(variables))

    def __getattr__(self, name):
        if name in _VARIABLES:
            return self._values[name]
        raise AttributeError(name)

    def make(self, kernelCellSet, kernel, background):
        """Figures of a fit.

        Parameters
        ----------
        kernelCellSet : `SpatialCellSet`
        kernel, background
            Spatial model of the fit.

        Returns
        -------
        figures : `dict` [`str`, `matplotlib.figure.Figure`]
            By debug variable.
        """
        from .. import report

        box = kernelCellSet.bbox
        figures = {}
        if self.displayCandidates:
            stamps = [_stamps(c, kernel, background) for c in self._candidates(kernelCellSet)]
            if stamps:
                figures["displayCandidates"] = report.candidateStampsFigure(stamps)
        if self.displayKernelBasis:
            figures["displayKernelBasis"] = report.kernelBasisFigure(kernel)
        if self.displayKernelMosaic:
            figures["displayKernelMosaic"] = report.kernelMosaicFigure(kernel, box)
        if self.plotKernelCoefficients:
            figures["plotKernelCoefficients"] = report.kernelCoefficientsFigure(kernel, box)
        if self.plotKernelSpatialModel and kernel.isSpatiallyVarying:
            figure = self._spatialModel(report, kernelCellSet, kernel)
            if figure is not None:
                figures["plotKernelSpatialModel"] = figure
        if self.path is not None:
            for name, figure in figures.items():
                report.savePng(figure, Path(self.path) / f"{name}.png")
        return figures

    def _candidates(self, kernelCellSet):
        return [
            c
            for c in kernelCellSet.allCandidates()
            if isinstance(c, KernelCandidate)
            and c.isInitialized()
            and (c.status == CandidateStatus.GOOD or (self.showBadCandidates and c.status == CandidateStatus.BAD))
        ]

    def _spatialModel(self, report, kernelCellSet, kernel):
        rows = []
        for candidate in self._candidates(kernelCellSet):
            own = np.asarray(candidate.getKernel(KernelCandidate.RECENT).kernelParameters)
            if len(own) == kernel.nBasisKernels:
                rows.append((candidate.xCenter, candidate.yCenter, own, candidate.status == CandidateStatus.GOOD))
        if not rows:
            return None
        x, y, coefficients, used = (np.array(column) for column in zip(*rows, strict=True))
        return report.kernelSpatialModelFigure(kernel, x, y, coefficients, used)


def _lsstDebug(name):
    """Debug variables that the user has set for a module; none where the package is not installed."""
    try:
        import lsstDebug
    except ImportError:
        return {}
    info = lsstDebug.Info(name)
    values = {variable: getattr(info, variable, False) for variable in _VARIABLES}
    values["path"] = values["path"] or None
    return values


def _stamps(candidate, kernel, background):
    """What `stillsky.report.candidateStampsFigure` wants to know of a candidate."""
    x, y = float(candidate.xCenter), float(candidate.yCenter)
    difference = candidate.getDifferenceImage(_frozen(kernel, x, y), float(background(x, y)))
    good = candidate.status == CandidateStatus.GOOD
    return {
        "template": candidate.getTemplateMaskedImage().image.array,
        "science": candidate.getScienceMaskedImage().image.array,
        "difference": difference.image.array,
        "variance": difference.variance.array,
        "x": x,
        "y": y,
        "status": "good" if good else "bad",
        "reason": candidate.rejectionText,
    }


def _frozen(kernel, x, y):
    """The kernel at a position, as one that does not vary."""
    from ..kernel import FixedKernel

    return FixedKernel(np.ascontiguousarray(kernel.imageAt(x, y)))
