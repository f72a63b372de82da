"""PlotPhotonTransferCurveTask: the figures of a photon transfer dataset, in a pipeline."""

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT
from lsst.utils.timer import timeMethod

from ..task_base import CommandLineVerbs
from .figures import FIGURES, makeFigures
from .solve_config import PlotPhotonTransferCurveAlgorithmConfig

__all__ = ["PlotPhotonTransferCurveConfig", "PlotPhotonTransferCurveConnections", "PlotPhotonTransferCurveTask"]


def _plot(name):
    doc = (FIGURES[name][0].__doc__ or name).strip().splitlines()[0]
    return cT.Output(name=name, doc=doc, storageClass="Plot", dimensions=("instrument", "detector"))


class PlotPhotonTransferCurveConnections(pipeBase.PipelineTaskConnections, dimensions=("instrument", "detector")):
    """A fitted dataset in, twelve figures out."""

    calib = cT.Input(
        name="calib",
        doc="Photon transfer curves of a detector.",
        storageClass="StillskyPtc",
        dimensions=("instrument", "detector"),
        isCalibration=True,
    )
    camera = cT.PrerequisiteInput(
        name="camera",
        doc="Camera, named in the titles; may be absent.",
        storageClass="Camera",
        dimensions=("instrument",),
        isCalibration=True,
        minimum=0,
    )
    ptcVarMean = _plot("ptcVarMean")
    ptcVarMeanLog = _plot("ptcVarMeanLog")
    ptcNormalizedVar = _plot("ptcNormalizedVar")
    ptcCov01Mean = _plot("ptcCov01Mean")
    ptcCov10Mean = _plot("ptcCov10Mean")
    ptcVarResiduals = _plot("ptcVarResiduals")
    ptcNormalizedCov01 = _plot("ptcNormalizedCov01")
    ptcNormalizedCov10 = _plot("ptcNormalizedCov10")
    ptcAandBMatrices = _plot("ptcAandBMatrices")
    ptcAandBDistance = _plot("ptcAandBDistance")
    ptcACumulativeSum = _plot("ptcACumulativeSum")
    ptcARelativeBias = _plot("ptcARelativeBias")


class PlotPhotonTransferCurveConfig(
    PlotPhotonTransferCurveAlgorithmConfig,
    pipeBase.PipelineTaskConfig,
    pipelineConnections=PlotPhotonTransferCurveConnections,
):
    """Configuration of `PlotPhotonTransferCurveTask`."""


class PlotPhotonTransferCurveTask(CommandLineVerbs, pipeBase.PipelineTask):
    """Draw a photon transfer dataset of any fit type.

    Notes
    -----
    Without a full covariance fit, the figures of covariances are empty but for a line that says so.
    """

    ConfigClass = PlotPhotonTransferCurveConfig
    _DefaultName = "cpPlotPtc"

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Read, `run` and write."""
        inputs = butlerQC.get(inputRefs)
        outputs = self.run(inputs["calib"], camera=inputs.get("camera"))
        butlerQC.put(outputs, outputRefs)

    @timeMethod
    def run(self, calib, camera=None):
        """Draw the figures.

        Parameters
        ----------
        calib : `PhotonTransferCurveDataset`
            Fitted; not modified.
        camera : object, optional
            Its name goes to the titles of datasets that do not tell it.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            A `matplotlib.figure.Figure` by the name of each output connection.
        """
        if camera is not None and not calib.metadata.get("INSTRUME"):
            calib = calib.copy()
            calib.updateMetadata(camera=camera)
        return pipeBase.Struct(**makeFigures(calib, self.config, [name for name in FIGURES if name != "ptcSummary"]))
