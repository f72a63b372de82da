"""What the extraction tasks read and write, and how the pair task joins the quanta of two exposures."""

import logging
import math

import lsst.pipe.base as pipeBase
import lsst.pipe.base.connectionTypes as cT

from .pairing import timesMatch

__all__ = ["PhotonTransferCurveExtractConnections", "PhotonTransferCurveExtractPairConnections", "joinPairs"]

_log = logging.getLogger(__name__)


def _inputExp(doc):
    return cT.Input(
        name="ptcInputExposurePairs",
        doc=doc,
        storageClass="StillskyExposure",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
        deferLoad=True,
    )


def _photodiode():
    return cT.Input(
        name="photodiode",
        doc="Photodiode readings of the flats.",
        storageClass="StillskyTable",
        dimensions=("instrument", "exposure"),
        multiple=True,
        deferLoad=True,
    )


class PhotonTransferCurveExtractConnections(pipeBase.PipelineTaskConnections, dimensions=("instrument", "detector")):
    """All flats of a detector in, one dataset per flat out."""

    inputExp = _inputExp("Flats, with the instrument signature removed, whose pairs are measured.")
    inputPhotodiodeData = _photodiode()
    outputCovariances = cT.Output(
        name="ptcCovariances",
        doc="Measurements of pairs, one dataset per flat; dummies keep the places of second members.",
        storageClass="StillskyPtc",
        dimensions=("instrument", "exposure", "detector"),
        multiple=True,
        isCalibration=True,
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        if config is None or not config.doExtractPhotodiodeData:
            self.inputs.discard("inputPhotodiodeData")
            del self.inputPhotodiodeData


class PhotonTransferCurveExtractPairConnections(
    pipeBase.PipelineTaskConnections, dimensions=("instrument", "detector", "exposure")
):
    """One pair of flats in, one dataset out, in the place of the first flat."""

    inputExp = _inputExp("The two flats of a pair; with FLUX a flat and its neighbours.")
    inputPhotodiodeData = _photodiode()
    outputCovariance = cT.Output(
        name="ptcCovariance",
        doc="Measurements of the pair.",
        storageClass="StillskyPtc",
        dimensions=("instrument", "exposure", "detector"),
        isCalibration=True,
    )
    outputBinnedImages = cT.Output(
        name="cpPtcPairBinned",
        doc="Block means of both flats.",
        storageClass="StillskyTable",
        dimensions=("instrument", "exposure", "detector"),
    )

    def __init__(self, *, config=None):
        super().__init__(config=config)
        self._config = config
        if config is None or not config.doExtractPhotodiodeData:
            self.inputs.discard("inputPhotodiodeData")
            del self.inputPhotodiodeData
        if config is None or not config.doOutputBinnedImages:
            self.outputs.discard("outputBinnedImages")
            del self.outputBinnedImages

    def adjust_all_quanta(self, adjuster):
        """Join the quanta of the two exposures of every pair, while a quantum graph is built.

        Parameters
        ----------
        adjuster : `lsst.pipe.base.connections.QuantaAdjuster`
        """
        joinPairs(adjuster, self._config, _log)


def joinPairs(adjuster, config, log=_log):
    """Give each pair one quantum.

    Parameters
    ----------
    adjuster : `lsst.pipe.base.connections.QuantaAdjuster`
        Anything with iter_data_ids, get_inputs, add_input, remove_quantum and expand_quantum_data_id.
    config : `PhotonTransferCurveExtractPairAlgorithmConfig`
    log : `logging.Logger`

    Notes
    -----
    Exposures that are no flats lose their quanta, with a warning. TIME: consecutive ids of equal exposure time; a third
    is dropped with a warning. EXPID: odd positions join the even ones before them. FLUX: header values are not known
    yet, so every quantum gets its neighbours' inputs and the task decides.
    """
    for dataIds in _flatsByDetector(adjuster, log).values():
        kind = "EXPID" if config.matchByExposureId else config.matchExposuresType
        if kind == "TIME":
            _joinByTime(adjuster, dataIds, 0.0 if config.compat else config.timeTolerance, log)
        elif kind == "EXPID":
            for k in range(1, len(dataIds), 2):
                _moveInputs(adjuster, dataIds[k - 1], dataIds[k])
                adjuster.remove_quantum(dataIds[k])
        else:
            _addNeighbours(adjuster, dataIds)


def _flatsByDetector(adjuster, log):
    """Data ids of flats in the order of exposures, by detector; the quanta of other exposures are removed."""
    byDetector = {}
    for dataId in sorted(adjuster.iter_data_ids(), key=lambda d: d["exposure"]):
        record = adjuster.expand_quantum_data_id(dataId).records["exposure"]
        if record.observation_type != "flat":
            log.warning("Exposure %s is a %s, not a flat: it is left out.", dataId["exposure"], record.observation_type)
            adjuster.remove_quantum(dataId)
            continue
        byDetector.setdefault(dataId["detector"], []).append(dataId)
    _warnOfDifferences(byDetector, log)
    return byDetector


def _warnOfDifferences(byDetector, log):
    """Detectors should have the same exposures; those that only some have may be left without a partner."""
    every = {detector: {d["exposure"] for d in dataIds} for detector, dataIds in byDetector.items()}
    union = set().union(*every.values()) if every else set()
    for detector, exposures in every.items():
        if exposures != union:
            log.warning("Detector %s lacks the exposures %s, which others have.", detector, sorted(union - exposures))


def _joinByTime(adjuster, dataIds, tolerance, log):
    primary, primaryTime, count = None, math.nan, 0
    for dataId in dataIds:
        time = adjuster.expand_quantum_data_id(dataId).records["exposure"].exposure_time
        time = math.nan if time is None else float(time)
        if primary is None or not timesMatch(time, primaryTime, tolerance):
            primary, primaryTime, count = dataId, time, 1
            continue
        if count == 1:
            _moveInputs(adjuster, primary, dataId)
        else:
            log.warning(
                "Exposure %s is another one of %s s after a pair that begins with %s: it is left out.",
                dataId["exposure"],
                time,
                primary["exposure"],
            )
        count += 1
        adjuster.remove_quantum(dataId)


def _moveInputs(adjuster, target, source, inputs=None):
    for name, dataIds in (adjuster.get_inputs(source) if inputs is None else inputs).items():
        for dataId in dataIds:
            adjuster.add_input(target, name, dataId)


def _addNeighbours(adjuster, dataIds):
    inputs = [adjuster.get_inputs(d) for d in dataIds]  # as they are before any is given away
    for k, dataId in enumerate(dataIds):
        for neighbour in (k - 1, k + 1):
            if 0 <= neighbour < len(dataIds):
                _moveInputs(adjuster, dataId, dataIds[neighbour], inputs[neighbour])
