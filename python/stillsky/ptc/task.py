"""The extraction tasks: pairs of flats to photon-transfer datasets."""

import math

import lsst.pipe.base as pipeBase
from lsst.utils.timer import timeMethod

from ..task_base import CommandLineVerbs, assignMetadata, quantumThreads
from .binning import binExposures
from .config import PhotonTransferCurveExtractAlgorithmConfig, PhotonTransferCurveExtractPairAlgorithmConfig
from .connections import PhotonTransferCurveExtractConnections, PhotonTransferCurveExtractPairConnections
from .covariance import makeCovArray
from .extract import ExtractResult, FlatPairExtractor, amplifierBoxes, integrateCharges, makeDummyDataset
from .gain import gainFromRatio
from .handles import asHandle
from .measure import PairPixels, measureFlatPair
from .pairing import exposureTime, groupExposures, headerValue, selectFluxPair
from .settings import makeSettings

__all__ = [
    "PhotonTransferCurveExtractConfig",
    "PhotonTransferCurveExtractPairConfig",
    "PhotonTransferCurveExtractPairTask",
    "PhotonTransferCurveExtractTask",
]


class PhotonTransferCurveExtractConfig(
    PhotonTransferCurveExtractAlgorithmConfig,
    pipeBase.PipelineTaskConfig,
    pipelineConnections=PhotonTransferCurveExtractConnections,
):
    """Configuration of `PhotonTransferCurveExtractTask`."""


class PhotonTransferCurveExtractPairConfig(
    PhotonTransferCurveExtractPairAlgorithmConfig,
    pipeBase.PipelineTaskConfig,
    pipelineConnections=PhotonTransferCurveExtractPairConnections,
):
    """Configuration of `PhotonTransferCurveExtractPairTask`."""


class _ExtractBase(CommandLineVerbs, pipeBase.PipelineTask):
    """The verbs that both tasks share.

    Attributes
    ----------
    telemetry : callable or None
        Asked for photodiode readings with ``useEfdPhotodiodeData``; see `FlatPairExtractor`.
    focalPlaneRadius : callable or None
        Radius in metres of parent pixel coordinates, for the vignetting; see `vignetteRegions`.
    extraction : `ExtractResult` or None
        Everything about the last run.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.telemetry = None
        self.focalPlaneRadius = None
        self.extraction = None

    def _extractor(self, charges, amplifiers=None):
        return FlatPairExtractor(
            self.config,
            amplifiers=amplifiers,
            charges=charges,
            telemetry=self.telemetry,
            radius=self.focalPlaneRadius,
            log=self.log,
        )

    def _charges(self, inputPhotodiodeData, handles):
        """Photodiode charges by exposure id, every record integrated once.

        Parameters
        ----------
        inputPhotodiodeData : mapping of id to record or handle, sequence of handles with data ids, or None
        handles : `dict` [`int`, handle]
            The flats.
        """
        if inputPhotodiodeData is None or not self.config.doExtractPhotodiodeData:
            return {}
        if not hasattr(inputPhotodiodeData, "items"):
            inputPhotodiodeData = {handle.dataId["exposure"]: handle for handle in inputPhotodiodeData}
        records = {i: r.get() if hasattr(r, "dataId") else r for i, r in inputPhotodiodeData.items()}
        times = {i: exposureTime(handles[i]) for i in records if i in handles}
        return integrateCharges(records, self.config, times)

    def _noteMetadata(self):
        """Copy counts of the extraction into the task's metadata."""
        pairs = self.extraction.pairs
        measured = [m for pair in pairs for m in pair.measurements.values()]
        assignMetadata(
            self.metadata,
            {
                "nPairs": len(pairs),
                "nUnpaired": len(self.extraction.unpaired),
                "nMeasured": sum(m.isGood for m in measured),
                "nFailed": sum(not m.isGood for m in measured),
            },
        )

    def _coverWholeFrame(self, extractor, handle):
        """Flats that no detector describes, as plain files in a repository are, have one amplifier: all of the frame."""
        handle = asHandle(handle)
        if extractor.amplifiers is None and handle.get(component="detector") is None:
            extractor.amplifiers = {"all": handle.get(component="bbox")}
            self.log.warning("The flats have no detector: the whole frame is taken as one amplifier.")

    def measureMeanVarCov(self, exposure1, exposure2, region=None, covAstierRealSpace=False):
        """Mean level of two flats, and variance and covariances of their difference.

        Parameters
        ----------
        exposure1, exposure2 : `stillsky.image.Exposure`
            A pair of flats, adu. Not modified.
        region : `stillsky.geom.Box2I`, optional
            Part of both, in parent coordinates; default: all.
        covAstierRealSpace : `bool`
            Sum covariances in real space instead of by Fourier transforms; the results agree to rounding.

        Returns
        -------
        mu : `float`
            Average of the clipped means of both, adu; NaN when nothing could be measured.
        varDiff : `float`
            Half the clipped variance of the flux-matched difference, adu^2, or NaN.
        covDiffAstier : `list` [`tuple`] or None
            (dx, dy, var, cov, npix) for dx and dy from 0 to maximumRangeCovariancesAstier, dy outside, dx inside. var
            is the covariance at (0, 0); var and cov are those of the difference, neither halved nor corrected.

        Notes
        -----
        Astier et al. 2019, A&A 629, A36, appendix A.
        """
        settings = makeSettings(
            self.config, covarianceEstimator="direct" if covAstierRealSpace else "fft", doGain=False
        )
        record = measureFlatPair(
            exposure1,
            exposure2,
            settings,
            region=region,
            nLags=self.config.maximumRangeCovariancesAstier + 1,
            log=self.log,
        )
        if not record.isGood:
            return math.nan, math.nan, None
        return record.mean, record.varDiff, record.covTuples()

    def getImageAreasMasksStats(self, exposure1, exposure2, region=None):
        """Regions of two flats with their clipped means.

        Parameters
        ----------
        exposure1, exposure2, region
            See `measureMeanVarCov`.

        Returns
        -------
        im1Area, im2Area : `stillsky.image.MaskedImage`
            Pixels are shared.
        statsCtrl : `FlatPairSettings`
            Clipping and mask planes.
        mu1, mu2 : `float`
            adu.
        """
        settings = makeSettings(self.config)
        areas = [e.maskedImage if region is None else e.maskedImage[region] for e in (exposure1, exposure2)]
        return *areas, settings, *PairPixels.of(*areas, settings).levels(settings)

    def getGainFromFlatPair(self, im1Area, im2Area, statsCtrl, mu1, mu2, correctionType="NONE", readNoise=None):
        """Gain of one pair of flats.

        Parameters
        ----------
        im1Area, im2Area, statsCtrl, mu1, mu2
            As of `getImageAreasMasksStats`.
        correctionType : {"NONE", "READNOISE", "SIMPLE", "FULL"}
            See `gainFromRatio`.
        readNoise : `float`, optional
            adu.

        Returns
        -------
        gain : `float`
            Electrons per adu; NaN when it cannot be measured.

        Raises
        ------
        DomainError
            Unknown correction type; also a `RuntimeError`.
        """
        pixels = PairPixels.of(im1Area, im2Area, statsCtrl)
        ratio = pixels.gainRatio(mu1, mu2, statsCtrl)
        noise = math.nan if readNoise is None else readNoise
        return gainFromRatio(ratio, 0.5 * (mu1 + mu2), noise, correctionType, self.log)

    def computeGaussianHistogramParameters(self, im1Area, im2Area, statsCtrl, mu1, mu2):
        """Gaussian fitted to the histogram of a difference, and a Kolmogorov-Smirnov test.

        Parameters
        ----------
        im1Area, im2Area, statsCtrl, mu1, mu2
            As of `getImageAreasMasksStats`.

        Returns
        -------
        varFit, chi2Dof, kspValue : `float`
            See `gaussianHistogram`; NaN, NaN, 0 without valid means.
        """
        return PairPixels.of(im1Area, im2Area, statsCtrl).histogram(mu1, mu2, statsCtrl)

    def makeCovArray(self, inputTuple, maxRangeFromTuple):
        """Half covariances as arrays, from tuples (mu, dx, dy, var, cov, npix); see `stillsky.ptc.makeCovArray`.

        Returns
        -------
        cov, vcov : `numpy.ndarray`, (n, maxRangeFromTuple, maxRangeFromTuple)
            [k, dx, dy]: half covariances, and their variances.
        muVals : `numpy.ndarray`, (n,)
        """
        return makeCovArray(inputTuple, maxRangeFromTuple)


class PhotonTransferCurveExtractTask(_ExtractBase):
    """Measure means, variances and covariances of all pairs among the flats of a detector.

    Flats are paired by exposure time, a header value or exposure id. Of every pair, mean, half variance of the
    difference and half covariances (Astier et al. 2019, A&A 629, A36, appendix A) are measured amplifier by amplifier
    and become a PhotonTransferCurveDataset of type PARTIAL in the place of its first exposure. One dataset is wanted for
    every exposure, so the other places hold datasets of type DUMMY. Two exposures are in memory at a time.

    Notes
    -----
    Metadata: nPairs, nUnpaired (exposures without a partner), nMeasured and nFailed (amplifiers of pairs).
    """

    ConfigClass = PhotonTransferCurveExtractConfig
    _DefaultName = "cpPtcExtract"

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Group the inputs, measure, and put one dataset at every output.

        Parameters
        ----------
        butlerQC : `lsst.pipe.base.QuantumContext`
        inputRefs, outputRefs : `lsst.pipe.base.InputQuantizedConnection`, `lsst.pipe.base.OutputQuantizedConnection`
        """
        inputs = butlerQC.get(inputRefs)
        inputs["inputDims"] = [ref.dataId["exposure"] for ref in inputRefs.inputExp]
        inputs["inputExp"] = groupExposures(inputs["inputExp"], inputs["inputDims"], self.config, self.log)
        with quantumThreads():
            outputs = self.run(**inputs)
        outputs.outputCovariances = self._guaranteeOutputs(inputs["inputDims"], outputs, outputRefs)
        butlerQC.put(outputs, outputRefs)

    def _guaranteeOutputs(self, inputDims, outputs, outputRefs):
        """Datasets in the order of the output references, with dummies for exposures that were no input."""
        byId = dict(zip(inputDims, outputs.outputCovariances))
        ids = [ref.dataId["exposure"] for ref in outputRefs.outputCovariances]
        return [byId[i] if i in byId else makeDummyDataset(["no amp"], 1) for i in ids]

    @timeMethod
    def run(self, inputExp, inputDims, inputPhotodiodeData=None):
        """Measure the pairs.

        Parameters
        ----------
        inputExp : `dict` [key, `list` [(handle, `int`)]] or sequence of handles or exposures
            Groups of flats with their ids, as `stillsky.ptc.groupExposures` makes them; a sequence, in the order of
            ``inputDims``, is grouped here. Handles have ``get(component=...)``.
        inputDims : sequence of `int`
            Ids of all exposures.
        inputPhotodiodeData : mapping of id to readings or handle, or sequence of handles, optional

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            ``outputCovariances``: `list` [`PhotonTransferCurveDataset`], in the order of ``inputDims``.

        Raises
        ------
        DomainError
            The first exposure has a detector without amplifiers.
        """
        if not hasattr(inputExp, "items"):
            inputExp = groupExposures(inputExp, inputDims, self.config, self.log)
        handles = {i: asHandle(h) for members in inputExp.values() for h, i in members}
        extractor = self._extractor(self._charges(inputPhotodiodeData, handles))
        if handles:
            self._coverWholeFrame(extractor, next(iter(inputExp.values()))[0][0])
        self.extraction = extractor.extract(inputExp, inputDims)
        self._noteMetadata()
        return pipeBase.Struct(outputCovariances=self.extraction.datasets)


class PhotonTransferCurveExtractPairTask(_ExtractBase):
    """Measure one pair of flats; one quantum per pair, so that pairs run in parallel.

    Notes
    -----
    The quantum graph gives the quantum of the first exposure of a pair the inputs of both (`joinPairs`).
    """

    ConfigClass = PhotonTransferCurveExtractPairConfig
    _DefaultName = "cpPtcExtractPair"

    def runQuantum(self, butlerQC, inputRefs, outputRefs):
        """Measure the pair and put its dataset.

        Parameters
        ----------
        butlerQC : `lsst.pipe.base.QuantumContext`
        inputRefs, outputRefs : `lsst.pipe.base.InputQuantizedConnection`, `lsst.pipe.base.OutputQuantizedConnection`
        """
        inputs = butlerQC.get(inputRefs)
        inputs["inputDims"] = [ref.dataId["exposure"] for ref in inputRefs.inputExp]
        with quantumThreads():
            outputs = self.run(**inputs, outputDim=outputRefs.outputCovariance.dataId["exposure"])
        butlerQC.put(outputs, outputRefs)

    @timeMethod
    def run(self, inputExp, inputDims, inputPhotodiodeData=None, outputDim=None):
        """Measure the pair.

        Parameters
        ----------
        inputExp : sequence of handles or exposures
            The two flats; with FLUX a flat and its neighbours.
        inputDims : sequence of `int`
            Their ids.
        inputPhotodiodeData
            See `PhotonTransferCurveExtractTask.run`.
        outputDim : `int`, optional
            Id of the exposure in whose place the result goes; default: the smallest.

        Returns
        -------
        results : `lsst.pipe.base.Struct`
            ``outputCovariance``: `PhotonTransferCurveDataset` of type PARTIAL; ``outputBinnedImages``:
            `astropy.table.Table`, only with doOutputBinnedImages.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
            There is no pair, or the exposure is the second of one.
        """
        members = sorted(zip(inputDims, map(asHandle, inputExp)), key=lambda member: member[0])
        (id1, handle1), (id2, handle2) = self._selectPair(members, members[0][0] if outputDim is None else outputDim)
        extractor = self._extractor(self._charges(inputPhotodiodeData, {id1: handle1, id2: handle2}))
        self._coverWholeFrame(extractor, handle1)
        detector = handle1.get(component="detector")
        pair = extractor.measurePair(handle1, handle2, (id1, id2), detector, exposureTime(handle1))
        self.extraction = ExtractResult([pair.dataset], [pair])
        self._noteMetadata()
        result = pipeBase.Struct(outputCovariance=pair.dataset)
        if self.config.doOutputBinnedImages:
            result.outputBinnedImages = binExposures(
                handle1.get(),
                handle2.get(),
                extractor.amplifiers or amplifierBoxes(detector),
                self.config.outputBinnedImagesBinFactor,
                self.config.numEdgeSuspect,
            )
        return result

    def _selectPair(self, members, ownId):
        """The two (id, handle) to measure.

        Raises
        ------
        lsst.pipe.base.NoWorkFound
        """
        if len(members) < 2:
            self._noWork(f"exposure {ownId} has no partner")
        if self.config.matchExposuresType != "FLUX" or self.config.matchByExposureId:
            return members[:2]
        ids = [i for i, _ in members]
        keyword = self.config.matchExposuresByFluxKeyword
        chosen, problem = selectFluxPair(ids, [headerValue(h, keyword, self.log) for _, h in members], ownId)
        if problem:
            self._noWork(problem)
        if chosen is None:
            raise pipeBase.NoWorkFound(f"Exposure {ownId} is the second of a pair.")
        return [members[k] for k in chosen]

    def _noWork(self, problem):
        self.log.warning("No work: %s.", problem)
        raise pipeBase.NoWorkFound(f"No work: {problem}.")
