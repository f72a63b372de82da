"""From flats to measured pairs: two exposures in memory at a time, amplifiers in parallel."""

import logging
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from ..errors import DomainError, ShapeError
from ..image import Exposure, MaskedImage
from ..threads import getNumThreads
from .dataset import PhotonTransferCurveDataset
from .edges import focalPlaneRadius, maskEdges, maskVignetted, vignetteRegions
from .handles import asHandle
from .headers import ampHeaderFigures, auxiliaryValues, pairStartMjd
from .measure import FlatPairMeasurement, measureFlatPair
from .pairing import exposureTime, groupExposures
from .photodiode import photodiodeReadings
from .settings import makeSettings

__all__ = [
    "ExtractResult",
    "FlatPairExtractor",
    "PairResult",
    "amplifierBoxes",
    "extractFlatPairs",
    "integrateCharges",
    "makeDummyDataset",
    "signalRange",
]

_log = logging.getLogger(__name__)


@dataclass(repr=False)
class PairResult:
    """One measured pair.

    Attributes
    ----------
    dataset : `PhotonTransferCurveDataset`
        Of type PARTIAL.
    expIds : (`int`, `int`)
    measurements : `dict` [`str`, `FlatPairMeasurement`]
        By amplifier.
    """

    dataset: PhotonTransferCurveDataset
    expIds: tuple
    measurements: dict

    def __repr__(self):
        good = sum(m.isGood for m in self.measurements.values())
        return f"<PairResult of {self.expIds}: {good} of {len(self.measurements)} amplifiers measured>"


@dataclass(repr=False)
class ExtractResult:
    """Outcome of an extraction.

    Attributes
    ----------
    datasets : `list` [`PhotonTransferCurveDataset`]
        One per exposure, in the order of the ids: PARTIAL at the first exposure of each pair, DUMMY elsewhere.
    pairs : `list` [`PairResult`]
    unpaired : `list` [`int`]
        Exposures without a partner, or beyond the second of a group.
    """

    datasets: list
    pairs: list = field(default_factory=list)
    unpaired: list = field(default_factory=list)

    def __repr__(self):
        return f"<ExtractResult: {len(self.datasets)} flats, {len(self.pairs)} pairs, {len(self.unpaired)} unpaired>"


def extractFlatPairs(
    flats,
    ids=None,
    config=None,
    *,
    amplifiers=None,
    charges=None,
    telemetry=None,
    radius=None,
    log=_log,
    progress=None,
):
    """Pair flats and measure every pair.

    Parameters
    ----------
    flats : sequence of `stillsky.image.Exposure`, handles with ``get(component=...)``, or callables
        A callable returns an exposure. Handles and callables are read one pair at a time: memory does not grow with
        their number.
    ids : sequence of `int`, optional
        One per flat; default: 0, 1, 2, ...
    config : `PhotonTransferCurveExtractConfigBase`, optional
    amplifiers, charges, telemetry, radius, log
        See `FlatPairExtractor`.
    progress : callable, optional
        ``progress(done, total)`` after every group of flats.

    Returns
    -------
    result : `ExtractResult`

    Raises
    ------
    ShapeError
        Not one id per flat.
    DomainError
        No amplifiers are known.
    """
    if config is None:
        from .config import PhotonTransferCurveExtractAlgorithmConfig

        config = PhotonTransferCurveExtractAlgorithmConfig()
    flats = [asHandle(f) for f in flats]
    ids = list(range(len(flats))) if ids is None else list(ids)
    extractor = FlatPairExtractor(
        config, amplifiers=amplifiers, charges=charges, telemetry=telemetry, radius=radius, log=log
    )
    return extractor.extract(groupExposures(flats, ids, config, log), ids, progress)


def amplifierBoxes(detector):
    """Boxes of a detector's amplifiers by name, in detector order; assembled, trimmed pixels.

    Raises
    ------
    DomainError
        There is no detector, or it has no amplifiers.
    """
    boxes = {a.getName(): a.getBBox() for a in detector} if detector is not None else {}
    if not boxes:
        raise DomainError("flats: wanted a detector with amplifiers, or amplifiers={name: box}; found none")
    return boxes


def makeDummyDataset(ampNames, covMatrixSide):
    """A dataset that holds the place of an exposure without a measurement of its own; every call makes another one."""
    dummy = PhotonTransferCurveDataset(ampNames, "DUMMY", covMatrixSide)
    for name in ampNames:
        dummy.setAmpValuesPartialDataset(name)
    return dummy


def signalRange(config, ampName):
    """Lowest and highest mean level of an amplifier in adu, both exclusive; ALL_AMPS wins over names."""
    limits = []
    for chosen, default in ((config.minMeanSignal, 0.0), (config.maxMeanSignal, 1.0e6)):
        limits.append(chosen["ALL_AMPS"] if "ALL_AMPS" in chosen else chosen.get(ampName, default))
    return tuple(limits)


def integrateCharges(records, config, exposureTimes=None):
    """Charges of photodiode records, each integrated once.

    Parameters
    ----------
    records : mapping of exposure id to anything that `photodiodeReadings` takes
    config : `PhotonTransferCurveExtractConfigBase`
    exposureTimes : mapping of exposure id to `float`, optional
        Seconds, for the method MEAN.

    Returns
    -------
    charges : `dict` [`int`, `float`]
    """
    times = exposureTimes or {}
    return {
        expId: photodiodeReadings(record).charge(
            config.photodiodeIntegrationMethod, config.photodiodeCurrentScale, times.get(expId)
        )
        for expId, record in records.items()
    }


class FlatPairExtractor:
    """Measures groups of flats.

    Parameters
    ----------
    config : `PhotonTransferCurveExtractConfigBase`
    amplifiers : `dict` [`str`, `stillsky.geom.Box2I`], optional
        Regions by name, in parent coordinates; default: those of the first flat's detector.
    charges : `dict` [`int`, `float`], optional
        Photodiode charge by exposure id.
    telemetry : callable, optional
        ``telemetry(expId, visitInfo, series, salIndex)`` returns the photodiode readings of an exposure; needed with
        useEfdPhotodiodeData.
    radius : callable, optional
        See `vignetteRegions`; default: ``detector.pixelToFocalPlane``.
    log : `logging.Logger`

    Raises
    ------
    DomainError
        useEfdPhotodiodeData without telemetry.
    """

    def __init__(self, config, *, amplifiers=None, charges=None, telemetry=None, radius=None, log=_log):
        self.config = config
        self.settings = makeSettings(config)
        self.amplifiers = amplifiers
        self.charges = dict(charges or {})
        self.telemetry = telemetry
        self.radius = radius
        self.log = log
        self._regions = None
        if config.useEfdPhotodiodeData and telemetry is None:
            raise DomainError("useEfdPhotodiodeData: wanted a telemetry callable, given none")

    def extract(self, groups, inputDims, progress=None):
        """Measure the first two flats of every group.

        Parameters
        ----------
        groups : `dict` [key, `list` [(handle, id)]]
            As of `groupExposures`.
        inputDims : sequence of `int`
            Ids of all exposures.
        progress : callable, optional

        Returns
        -------
        result : `ExtractResult`
        """
        inputDims = list(inputDims)
        groups = {key: [(asHandle(h), i) for h, i in members] for key, members in groups.items()}
        detector = self._detector(groups)
        side = self.config.maximumRangeCovariancesAstier
        names = list(self._boxes(detector)) if groups else ["no amp"]
        result = ExtractResult([makeDummyDataset(names, side) for _ in inputDims])
        if self.config.numEdgeSuspect > 0:
            self.log.info("Masking %d pixels at the edges as SUSPECT.", self.config.numEdgeSuspect)
        for n, (key, members) in enumerate(groups.items()):
            pair = self._pairOf(key, members, result.unpaired)
            if pair is not None:
                (handle1, id1), (handle2, id2) = pair
                measured = self.measurePair(handle1, handle2, (id1, id2), detector, key)
                result.datasets[inputDims.index(id1)] = measured.dataset
                result.pairs.append(measured)
            if progress is not None:
                progress(n + 1, len(groups))
        return result

    def _detector(self, groups):
        first = next(iter(groups.values()), None)
        return first[0][0].get(component="detector") if first else None

    def _boxes(self, detector):
        return self.amplifiers if self.amplifiers is not None else amplifierBoxes(detector)

    def _pairOf(self, key, members, unpaired):
        """The two members to measure, or None; says what is left out."""
        if isinstance(key, float) and not math.isfinite(key):
            self.log.warning("Exposures %s have no valid key to pair them by.", ", ".join(str(i) for _, i in members))
            unpaired += [i for _, i in members]
            return None
        if len(members) == 1:
            self.log.warning("Only one exposure, %s, with the key %s: it has no partner.", members[0][1], key)
            unpaired.append(members[0][1])
            return None
        if len(members) > 2:
            rest = [i for _, i in members[2:]]
            self.log.warning(
                "%d exposures with the key %s: only the first two are used, not %s.",
                len(members),
                key,
                ", ".join(map(str, rest)),
            )
            unpaired += rest
        return members[:2]

    def measurePair(self, handle1, handle2, expIds, detector=None, key=math.nan):
        """Measure all amplifiers of one pair.

        Parameters
        ----------
        handle1, handle2 : handles or exposures
            Not modified.
        expIds : (`int`, `int`)
        detector : `stillsky.meta.Detector`, optional
            Default: that of the first exposure.
        key : `float`
            Stands for the exposure time with ``compat``.

        Returns
        -------
        pair : `PairResult`
        """
        exposure1, exposure2 = (asHandle(h).get() for h in (handle1, handle2))
        detector = exposure1.detector if detector is None else detector
        boxes = self._boxes(detector)
        exposure1, exposure2 = (self._masked(e, boxes, detector) for e in (exposure1, exposure2))
        figures = ampHeaderFigures(exposure1.metadata, exposure2.metadata, boxes, detector, self.log)
        measurements = self._measureAmps(exposure1, exposure2, boxes, figures)
        self._report(measurements, expIds, detector)
        common = self._pairValues(exposure1, exposure2, expIds, key)
        dataset = PhotonTransferCurveDataset(boxes, "PARTIAL", self.config.maximumRangeCovariancesAstier)
        for amp, record in measurements.items():
            self._store(dataset, amp, record, common, figures[amp])
        dataset.setAuxValuesPartialDataset(auxiliaryValues(exposure1, self.config.auxiliaryHeaderKeys, self.log))
        dataset.updateMetadataFromExposures([exposure1, exposure2])
        dataset.updateMetadata(setDate=True, detector=detector)
        return PairResult(dataset, tuple(expIds), measurements)

    def _masked(self, exposure, boxes, detector):
        """The exposure with edges and vignetted parts masked; a mask of its own if anything is."""
        config = self.config
        if config.numEdgeSuspect <= 0 and not config.doVignetteFunctionRegionSelection:
            return exposure
        planes = exposure.maskedImage
        own = Exposure(MaskedImage(planes.image, planes.mask.copy(), planes.variance), replace(exposure.info))
        maskEdges(own, config.numEdgeSuspect, boxes.values() if config.edgeMaskLevel == "AMP" else None)
        if config.doVignetteFunctionRegionSelection:
            if self._regions is None:
                self._regions = vignetteRegions(
                    boxes,
                    self.radius or focalPlaneRadius(detector),
                    config.vignetteFunctionPolynomialCoeffs,
                    config.vignetteFunctionRegionSelectionMinimumPixels,
                    config.vignetteFunctionRegionSelectionPercent,
                    self.log,
                )
            maskVignetted(own, self._regions)
        return own

    def _measureAmps(self, exposure1, exposure2, boxes, figures):
        if self.config.detectorMeasurementRegion == "FULL":
            record = self._measureRegion(exposure1, exposure2, None, math.nan, gain=False)
            return {amp: self._ofAmp(record, *self._noiseOf(figures[amp])) for amp in boxes}

        def measure(amp):
            noise, rowVariance = self._noiseOf(figures[amp])
            record = self._measureRegion(exposure1, exposure2, boxes[amp], noise)
            record.removeRowVariance(rowVariance)
            return record

        nThreads = min(getNumThreads(), len(boxes))
        if nThreads > 1:
            with ThreadPoolExecutor(nThreads) as pool:
                return dict(zip(boxes, pool.map(measure, boxes)))
        return {amp: measure(amp) for amp in boxes}

    def _noiseOf(self, figures):
        """Read noise of a pixel with that of its subtracted overscan level (adu), and the part of the latter (adu^2)."""
        noise, rowVariance = figures["noise"], 0.0 if self.config.compat else figures["rowVariance"]
        # a bin has as many rows as its side, and variances of bins are times the square of that
        scale = self.settings.binSize if self.settings.binGoodPixels else 1.0 / self.settings.binSize
        return math.hypot(noise, math.sqrt(rowVariance)), rowVariance * scale

    def _ofAmp(self, record, readNoise, rowVariance):
        """What all amplifiers share with the figures that depend on the noise of one."""
        own = replace(record, warnings=list(record.warnings))
        own.removeRowVariance(rowVariance)
        if self.settings.doGain and math.isfinite(record.gainRatio):
            own.setGain(readNoise, self.settings.gainCorrectionType)
        return own

    def _measureRegion(self, exposure1, exposure2, box, readNoise, gain=True):
        for exposure in (exposure1, exposure2) if box is not None else ():
            if not exposure.bbox.contains(box):
                return FlatPairMeasurement().giveUp(f"Region {box} reaches out of the image {exposure.bbox}.")
        settings = self.settings if gain else replace(self.settings, gainCorrectionType="NONE")
        try:
            return measureFlatPair(exposure1, exposure2, settings, region=box, readNoise=readNoise)
        except ShapeError as error:
            return FlatPairMeasurement().giveUp(f"{error}.")

    def _report(self, measurements, expIds, detector):
        """Log the warnings of all amplifiers, each sentence once."""
        sentences = {}
        for amp, record in measurements.items():
            for text in record.warnings:
                sentences.setdefault(text, []).append(amp)
        for text, amps in sentences.items():
            self.log.warning("Exposures %s and %s, amplifiers %s: %s", *expIds, ", ".join(amps), text)
        if not any(record.isGood for record in measurements.values()):
            number = detector.getId() if detector is not None else "unknown"
            self.log.warning("Exposures %s and %s, detector %s: all amplifiers are bad.", *expIds, number)

    def _pairValues(self, exposure1, exposure2, expIds, key):
        """What all amplifiers of a pair have in common."""
        time = exposureTime(asHandle(exposure1))
        charges = [self._charge(i, e) for i, e in zip(expIds, (exposure1, exposure2))]
        known = [c for c in charges if math.isfinite(c)]
        return {
            "inputExpIdPair": tuple(expIds),
            "inputExpPairMjdStart": pairStartMjd(exposure1.visitInfo, exposure2.visitInfo, self.log),
            "rawExpTime": float(key) if self.config.compat else time,
            "photoCharge": math.fsum(known) / len(known) if known else math.nan,
            "photoChargeDelta": charges[1] - charges[0],
        }

    def _charge(self, expId, exposure):
        if self.config.useEfdPhotodiodeData and expId not in self.charges:
            series, index = self.config.efdPhotodiodeSeries, self.config.efdSalIndex
            readings = self.telemetry(expId, exposure.visitInfo, series, index)
            times = {expId: exposureTime(asHandle(exposure))}
            self.charges.update(integrateCharges({expId: readings}, self.config, times))
        return self.charges.get(expId, math.nan)

    def _store(self, dataset, amp, record, common, figures):
        """One amplifier's figures into the dataset of the pair; a failed one has neither mean nor variance."""
        low, high = signalRange(self.config, amp)
        dataset.setAmpValuesPartialDataset(
            amp,
            **common,
            **{name: value for name, value in figures.items() if name != "rowVariance"},
            rawMean=record.mean if record.isGood else math.nan,
            rawVar=record.rawVar,
            rawDelta=record.delta,
            rowMeanVariance=record.rowMeanVariance,
            expIdMask=bool(record.isGood and low < record.mean < high),
            nPixelCovariance=record.nPixels,
            covariance=record.covArray,
            covSqrtWeights=record.covSqrtWeights,
            gain=record.gain,
            histVar=record.histVar,
            histChi2Dof=record.histChi2Dof,
            kspValue=record.kspValue,
        )
