"""PhotonTransferCurveSolveTask: from the datasets of flat pairs to the photon transfer curves of a detector."""

import contextlib
import os

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT
from lsst.utils.timer import timeMethod

from ..task_base import CommandLineVerbs, assignMetadata
from ..threads import numThreads
from .fit import makeZeroSafe
from .solve import solveWithDetails
from .solve_config import PhotonTransferCurveSolveAlgorithmConfig
from .turnoff import goodPointsByVarianceDecrease

__all__ = ["PhotonTransferCurveSolveConfig", "PhotonTransferCurveSolveConnections", "PhotonTransferCurveSolveTask"]


class PhotonTransferCurveSolveConnections(pipeBase.PipelineTaskConnections, dimensions=("instrument", "detector")):
    """The datasets of all flats of a detector in, one dataset out."""

    inputCovariances = cT.Input(
        name="ptcCovariances",
        doc="Measurements of pairs, one dataset per flat, dummies included.",
        storageClass="StillskyPtc",
        dimensions=("instrument", "exposure", "detector"),
        isCalibration=True,
        multiple=True,
    )
    camera = cT.PrerequisiteInput(
        name="camera",
        doc="Camera, whose name and detector are recorded; may be absent.",
        storageClass="Camera",
        dimensions=("instrument",),
        isCalibration=True,
        minimum=0,
    )
    outputPtcDataset = cT.Output(
        name="ptcDatsetProposal",  # the spelling of the existing repositories
        doc="Photon transfer curves of the detector.",
        storageClass="StillskyPtc",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )


class PhotonTransferCurveSolveConfig(
    PhotonTransferCurveSolveAlgorithmConfig,
    pipeBase.PipelineTaskConfig,
    pipelineConnections=PhotonTransferCurveSolveConnections,
):
    """Configuration of `PhotonTransferCurveSolveTask`."""


class PhotonTransferCurveSolveTask(CommandLineVerbs, pipeBase.PipelineTask):
    """Fit gain, noise, covariance coefficients and turn-off to the measurements of flat pairs.

    Attributes
    ----------
    solution : `SolveResult` or None
        Everything about the last run: parameter covariances, flags, masks.

    Notes
    -----
    The models are those of Astier et al. 2019 (A&A 629, A36). Metadata: counts of amplifiers (nAmplifiers, nBad), of pairs
    (nPairs), and the flags of each amplifier (flags.AMP).
    """

    ConfigClass = PhotonTransferCurveSolveConfig
    _DefaultName = "cpPhotonTransferCurveSolve"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.solution = None

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Read, `run` and write; one thread, unless STILLSKY_NUM_THREADS says otherwise."""
        inputs = butlerQC.get(inputRefs)
        detId = inputRefs.inputCovariances[0].dataId["detector"]
        with contextlib.nullcontext() if os.environ.get("STILLSKY_NUM_THREADS") else numThreads(1):
            outputs = self.run(inputs["inputCovariances"], camera=inputs.get("camera"), detId=detId)
        butlerQC.put(outputs, outputRefs)

    @timeMethod
    def run(self, inputCovariances, camera=None, detId=None):
        """Fit the curves of a detector.

        Parameters
        ----------
        inputCovariances : iterable of `PhotonTransferCurveDataset`
            Of the extraction; DUMMY datasets are passed over. Not modified.
        camera : object, optional
            With ``name`` or ``getName()``, and indexed by detector id or name.
        detId : `int`, optional
            The detector.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            ``outputPtcDataset``: the fitted `PhotonTransferCurveDataset`.

        Raises
        ------
        NoDataError, MismatchError
            As `stillsky.ptc.solve`.
        """
        self.solution = solveWithDetails(inputCovariances, self.config, log=self.log)
        dataset = self.solution.dataset
        if camera is not None:
            detector = None
            with contextlib.suppress(KeyError, IndexError, TypeError):
                detector = camera[detId]
            dataset.updateMetadata(camera=camera, detector=detector)
        dataset.updateMetadata(setCalibId=True)
        flags = {amp: ", ".join(solution.flags) for amp, solution in self.solution.amplifiers.items()}
        counts = {"nAmplifiers": len(dataset.ampNames), "nBad": len(dataset.badAmps), "nPairs": dataset.nPairs}
        assignMetadata(self.metadata, {**counts, "flags": flags})
        return pipeBase.Struct(outputPtcDataset=dataset)

    @staticmethod
    def _makeZeroSafe(array, substituteValue=1e-9):
        """A copy of an array without zeros; see `makeZeroSafe`."""
        return makeZeroSafe(array, substituteValue)[0]

    @staticmethod
    def _getInitialGoodPoints(means, variances, minVarPivotSearch, consecutivePointsVarDecreases):
        """The old turn-off rule; see `goodPointsByVarianceDecrease`."""
        return goodPointsByVarianceDecrease(means, variances, minVarPivotSearch, consecutivePointsVarDecreases)
