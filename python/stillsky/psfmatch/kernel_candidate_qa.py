"""KernelCandidateQa: columns that tell how good each kernel candidate is, and their summary for the metadata."""

import numpy as np
from astropy import units as u
from astropy.table import Row, Table

from ..errors import StillskyError
from ..kernel import FixedKernel
from ..task_base import assignMetadata
from . import CandidateStatus, KernelCandidate
from .qa import kernelMoments, kernelMse, rejectedLevel, residualQuality

__all__ = ["KernelCandidateQa"]

_KINDS = ("LOCAL", "SPATIAL")

# Columns with the suffixes _LOCAL and _SPATIAL: name, dtype, shape, unit, description.
_BOTH = (
    ("KCDiffimMean", float, (), None, "mean of the residuals in sigma"),
    ("KCDiffimMedian", float, (), None, "median of the residuals in sigma"),
    ("KCDiffimIQR", float, (), None, "interquartile range of the residuals in sigma"),
    ("KCDiffimStDev", float, (), None, "standard deviation of the residuals in sigma"),
    ("KCDiffimKSD", float, (), None, "Kolmogorov-Smirnov distance from a unit Gaussian"),
    ("KCDiffimKSProb", float, (), None, "probability of a larger distance"),
    ("KCDiffimADA2", float, (), None, "Anderson-Darling statistic A^2"),
    ("KCDiffimADCrit", float, (5,), None, "critical values of A^2"),
    ("KCDiffimADSig", float, (5,), u.percent, "significance levels of the critical values"),
    ("KCDiffimChiSq", float, (), None, "reduced chi-square of the residuals"),
    ("KCDiffimMseResids", float, (), None, "mean squared residual in sigma^2"),
    ("KCKernelCentX", float, (), u.pix, "centroid of the squared kernel, x, array pixels"),
    ("KCKernelCentY", float, (), u.pix, "centroid of the squared kernel, y, array pixels"),
    ("KCKernelStdX", float, (), u.pix, "width of the squared kernel along x"),
    ("KCKernelStdY", float, (), u.pix, "width of the squared kernel along y"),
    ("KernelCandidateId", np.int64, (), None, "id of the candidate"),
)
_METRICS = (
    "KCDiffimMean",
    "KCDiffimMedian",
    "KCDiffimIQR",
    "KCDiffimStDev",
    "KCDiffimKSProb",
    "KCDiffimADSig",
    "KCDiffimChiSq",
    "KCDiffimMseResids",
)


class KernelCandidateQa:
    """Quality of kernel candidates as columns of a table of sources.

    Parameters
    ----------
    nKernelSpatial : `int`
        Length of the column KernelCoeffValues_LOCAL: coefficients of a candidate's kernel.
    """

    def __init__(self, nKernelSpatial):
        self.nKernelSpatial = int(nKernelSpatial)
        single = (
            ("KCKernelStatus_LOCAL", np.int64, (), None, "status: 0 BAD, 1 GOOD, 2 UNKNOWN"),
            ("KernelCoeffValues_LOCAL", float, (self.nKernelSpatial,), None, "coefficients of the candidate's kernel"),
            ("BackgroundValue_LOCAL", float, (), None, "background of the candidate's fit, image units"),
            ("KCDiffimMseKernel_SPATIAL", float, (), None, "mean squared difference of spatial and own kernel"),
            ("RegisterRefPosition", float, (2,), u.rad, "reference position, ra and dec"),
            ("RegisterResidualBearing", float, (), u.rad, "direction of the registration residual"),
            ("RegisterResidualDistance", float, (), u.rad, "size of the registration residual"),
        )
        both = [(f"{name}_{kind}", *rest) for kind in _KINDS for name, *rest in _BOTH]
        self.fields = (*both, *single)

    def addToSchema(self, sources):
        """A copy of a table of sources with the columns of this class, NaN (integers: -1) where not measured.

        Parameters
        ----------
        sources : `astropy.table.Table`

        Returns
        -------
        table : `astropy.table.Table`
        """
        table = sources.copy()
        for name, dtype, shape, unit, description in self.fields:
            empty = np.full((len(table), *shape), -1 if dtype is np.int64 else np.nan, dtype)
            table[name] = Table.Column(empty, unit=unit, description=description)
        return table

    def apply(self, candidateList, spatialKernel, spatialBackground, dof=0):
        """Measure candidates with their own kernel and with the spatial one.

        Parameters
        ----------
        candidateList : sequence of `KernelCandidate`
            Not modified. A candidate whose ``source`` is a row of a table with these columns has that row filled.
        spatialKernel : `stillsky.kernel.LinearCombinationKernel`
        spatialBackground : `stillsky.kernel.Function2`
        dof : `int`
            Degrees of freedom of a candidate's kernel, for the reduced chi-square.

        Returns
        -------
        table : `astropy.table.Table`
            One row per candidate. The columns _LOCAL of candidates that were never judged stay empty.
        """
        table = self.addToSchema(Table({"id": np.array([c.id for c in candidateList], np.int64)}))
        for row, candidate in zip(table, candidateList, strict=True):
            values = self._measure(candidate, spatialKernel, spatialBackground, dof)
            targets = [row]
            source = candidate.source
            if isinstance(source, Row) and all(name in source.colnames for name in values):
                targets.append(source)
            for target in targets:
                for name, value in values.items():
                    target[name] = value
        return table

    def _measure(self, candidate, spatialKernel, spatialBackground, dof):
        """Values of the columns that can be filled."""
        x, y = float(candidate.xCenter), float(candidate.yCenter)
        spatialImage = np.ascontiguousarray(spatialKernel.imageAt(x, y))
        values, localImage = {}, None
        if candidate.status != CandidateStatus.UNKNOWN and candidate.isInitialized():
            try:
                localImage = np.asarray(candidate.getKernelImage(KernelCandidate.ORIG))
                local = candidate.getDifferenceImage(KernelCandidate.ORIG)
                values.update(_columns("LOCAL", candidate, local, localImage, dof), **self._ownSolution(candidate))
            except (StillskyError, ValueError, ArithmeticError):
                localImage = None  # the fit of this candidate failed: it has nothing to show
        if candidate.status != CandidateStatus.UNKNOWN:
            values["KCKernelStatus_LOCAL"] = int(candidate.status)
        try:
            difference = candidate.getDifferenceImage(FixedKernel(spatialImage), float(spatialBackground(x, y)))
            values.update(_columns("SPATIAL", candidate, difference, spatialImage, dof))
        except (StillskyError, ValueError, ArithmeticError):
            return values
        values["KCDiffimMseKernel_SPATIAL"] = kernelMse(spatialImage, localImage)
        return values

    def _ownSolution(self, candidate):
        own = np.asarray(candidate.getKernel(KernelCandidate.ORIG).kernelParameters)
        coefficients = np.full(self.nKernelSpatial, np.nan)
        n = min(len(own), self.nKernelSpatial)
        coefficients[:n] = own[:n]
        return {
            "KernelCoeffValues_LOCAL": coefficients,
            "BackgroundValue_LOCAL": candidate.getBackground(KernelCandidate.ORIG),
        }

    def aggregate(self, sourceCatalog, metadata, wcsresids=None, diaSources=None):
        """Summarise the columns in task metadata and count false positives.

        Parameters
        ----------
        sourceCatalog : `astropy.table.Table`
            With the columns of `addToSchema`; the registration columns are filled from ``wcsresids``.
        metadata : `lsst.pipe.base.TaskMetadata` or mapping
            Gets ``{metric}_{LOCAL|SPATIAL}_{MEAN|MEDIAN|STDEV}`` over finite values. For KCDiffimADSig that is the
            smallest tabulated level in percent at which normality is rejected, 100 for none.
        wcsresids : mapping, optional
            Source id -> ((ra, dec), (bearing, distance)), radians.
        diaSources : `astropy.table.Table`, optional
            With ``refMatchId`` and ``srcMatchId``, 0 where not associated.
        """
        self._fillRegistration(sourceCatalog, wcsresids or {})
        values = {}
        for kind in _KINDS:
            metrics = {name: _metric(sourceCatalog, name, kind) for name in _METRICS}
            if kind == "SPATIAL":
                metrics["KCDiffimMseKernel"] = np.asarray(sourceCatalog["KCDiffimMseKernel_SPATIAL"], float)
            for name, column in metrics.items():
                good = column[np.isfinite(column)]
                for label, function in (("MEAN", np.mean), ("MEDIAN", np.median), ("STDEV", np.std)):
                    values[f"{name}_{kind}_{label}"] = float(function(good)) if good.size else float("nan")
        if diaSources is not None:
            ref, src = (np.asarray(diaSources[name]) > 0 for name in ("refMatchId", "srcMatchId"))
            values.update(
                NFalsePositivesTotal=len(diaSources),
                NFalsePositivesRefAssociated=int(ref.sum()),
                NFalsePositivesSrcAssociated=int(src.sum()),
                NFalsePositivesUnassociated=int((~ref & ~src).sum()),
            )
        if hasattr(metadata, "paramNames"):
            assignMetadata(metadata, values)
        else:
            metadata.update(values)

    @staticmethod
    def _fillRegistration(sourceCatalog, wcsresids):
        for row in sourceCatalog:
            residual = wcsresids.get(int(row["id"]))
            if residual is not None:
                position, (bearing, distance) = residual
                row["RegisterRefPosition"] = np.asarray(position, float)
                row["RegisterResidualBearing"], row["RegisterResidualDistance"] = bearing, distance


def _columns(kind, candidate, difference, kernelImage, dof):
    """Columns of one kind: residual statistics and kernel moments."""
    quality = residualQuality(difference, dof)
    values = {} if quality is None else {f"KCDiffim{name}": value for name, value in vars(quality).items()}
    names = ("KCKernelCentX", "KCKernelCentY", "KCKernelStdX", "KCKernelStdY")
    values.update(zip(names, kernelMoments(kernelImage), strict=True), KernelCandidateId=candidate.id)
    return {f"{name}_{kind}": value for name, value in values.items()}


def _metric(table, name, kind):
    """The values that are summarised, NaN where not measured."""
    column = np.asarray(table[f"{name}_{kind}"], float)
    if name != "KCDiffimADSig":
        return column
    a2, critical = (np.asarray(table[f"{other}_{kind}"], float) for other in ("KCDiffimADA2", "KCDiffimADCrit"))
    levels = [rejectedLevel(a, c, s) for a, c, s in zip(a2, critical, column, strict=True)]
    return np.where(np.isfinite(a2), levels, np.nan)
