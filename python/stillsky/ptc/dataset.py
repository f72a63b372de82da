"""PhotonTransferCurveDataset: everything measured on, and fitted to, the flat pairs of one detector."""

import copy
import logging

import numpy as np

from ..errors import DomainError, MismatchError, NotFoundError, ShapeError, StillskyError
from .calibration_record import CalibrationRecord
from .dataset_fields import FIELDS, PAIR_FIELDS, VERSION, emptyValue, itemShape

__all__ = ["PairCountError", "PhotonTransferCurveDataset"]

_log = logging.getLogger(__name__)

_FIT_TYPES = (
    None, "PARTIAL", "DUMMY", "POLYNOMIAL", "EXPAPPROXIMATION", "FULLCOVARIANCE", "FULLCOVARIANCE_NO_B",
)  # fmt: skip
_NAN = float("nan")


class PairCountError(ShapeError, AssertionError):
    """An array has another number of pairs than it should."""


class PhotonTransferCurveDataset(CalibrationRecord):
    """Measurements of flat pairs and the photon transfer curve fitted to them, per amplifier.

    Parameters
    ----------
    ampNames : iterable of `str`, optional
        Amplifiers, in detector order.
    ptcFitType : `str`, optional
        "PARTIAL" (the measurements of one pair), "DUMMY" (a place without a measurement), or the model that was
        fitted: "EXPAPPROXIMATION", "FULLCOVARIANCE", "FULLCOVARIANCE_NO_B" or the old "POLYNOMIAL".
    covMatrixSide : `int`
        r: covariances have lags 0..r-1 in each direction.
    covMatrixSideFullCovFit : `int`, optional
        rf, lags that the full covariance model fits; r by default, and reduced to r when larger.
    **kwargs
        Arguments of `updateMetadata`.

    Attributes
    ----------
    ampNames : `list` [`str`]
    badAmps : `list` [`str`]
        Amplifiers whose fit failed.
    inputExpIdPairs : `dict` [`str`, `list` [`tuple` [`int`, `int`]]]
        Exposure ids of each pair.
    auxValues : `dict` [`str`, `numpy.ndarray`]
        Header values of the first exposure of each pair, float64, int64 or text.
    metadata : `stillsky.meta.Header`
    <field> : `dict` [`str`, `float` or `numpy.ndarray`]
        The per-amplifier attributes of `stillsky.ptc.dataset_fields.FIELDS`, with their shapes and units: one entry
        per pair in ``rawExpTimes``, ``rawMeans``, ``rawVars``, ``covariances`` (n, r, r) and the like; one value in
        ``gain``, ``noise``, ``ptcTurnoff``; (rf, rf) in ``aMatrix``, ``bMatrix``, ``noiseMatrix``.

    Raises
    ------
    DomainError
        If the fit type is unknown, a side is below 1, or two amplifiers have the same name.

    Notes
    -----
    Covariance matrices are indexed [pair, dx, dy]. Variances and covariances are half of those of the difference, that
    is of one exposure. Every amplifier has the same number of pairs; entries without a measurement hold NaN.
    """

    _OBSTYPE = "PTC"
    _SCHEMA = "Gen3 Photon Transfer Curve"
    _VERSION = VERSION

    def __init__(
        self, ampNames=(), ptcFitType=None, covMatrixSide=1, covMatrixSideFullCovFit=None, **kwargs
    ):  # fmt: skip
        if ptcFitType not in _FIT_TYPES:
            raise DomainError(f"ptcFitType: wanted one of {', '.join(map(str, _FIT_TYPES[1:]))}, given {ptcFitType!r}")
        self.ptcFitType = ptcFitType
        self.ampNames = [str(name) for name in ampNames]
        if len(set(self.ampNames)) != len(self.ampNames):
            raise DomainError(f"ampNames: wanted different names, given {self.ampNames}")
        self.covMatrixSide = _checkSide("covMatrixSide", covMatrixSide)
        rf = self.covMatrixSide if covMatrixSideFullCovFit is None else covMatrixSideFullCovFit
        self.covMatrixSideFullCovFit = _checkSide("covMatrixSideFullCovFit", rf)
        if self.covMatrixSideFullCovFit > self.covMatrixSide:
            _log.warning(
                "covMatrixSideFullCovFit %d is larger than covMatrixSide %d, reduced to it",
                self.covMatrixSideFullCovFit, self.covMatrixSide,
            )  # fmt: skip
            self.covMatrixSideFullCovFit = self.covMatrixSide
        self.badAmps = []
        self.auxValues = {}
        self.inputExpIdPairs = {amp: [] for amp in self.ampNames}
        for name, field in FIELDS.items():
            setattr(self, name, {amp: emptyValue(field, *self._sides) for amp in self.ampNames})
        super().__init__(**kwargs)
        self.updateMetadata(PTC_FIT_TYPE=ptcFitType)

    _sides = property(lambda self: (self.covMatrixSide, self.covMatrixSideFullCovFit))

    @property
    def nPairs(self):
        """Number of pairs of the first amplifier (`int`)."""
        return len(self.inputExpIdPairs[self.ampNames[0]]) if self.ampNames else 0

    def copy(self):
        """Independent copy: no array is shared."""
        return copy.deepcopy(self)

    def __repr__(self):
        return (
            f"PhotonTransferCurveDataset({self.ptcFitType}, {len(self.ampNames)} amplifiers, {self.nPairs} pairs, "
            f"covMatrixSide={self.covMatrixSide})"
        )

    # ---- filling
    def setAmpValuesPartialDataset(
        self,
        ampName,
        inputExpIdPair=(-1, -1),
        inputExpPairMjdStart=_NAN,
        rawExpTime=_NAN,
        rawMean=_NAN,
        rawVar=_NAN,
        rawDelta=_NAN,
        rowMeanVariance=_NAN,
        photoCharge=_NAN,
        photoChargeDelta=_NAN,
        ampOffset=_NAN,
        expIdMask=False,
        expIdRolloffMask=False,
        nPixelCovariance=-1,
        covariance=None,
        covSqrtWeights=None,
        gain=_NAN,
        noise=_NAN,
        overscanMedianLevel=_NAN,
        histVar=_NAN,
        histChi2Dof=_NAN,
        kspValue=0.0,
    ):
        """Set the measurements of one amplifier in one pair.

        Parameters
        ----------
        ampName : `str`
        inputExpIdPair : `tuple` [`int`, `int`]
        inputExpPairMjdStart, rawExpTime, rawMean, rawVar, rawDelta, rowMeanVariance, photoCharge, photoChargeDelta, \
        ampOffset, gain, noise, overscanMedianLevel, histVar, histChi2Dof, kspValue : `float`
            In the units of the attributes of the same stem; ``noise`` in adu.
        expIdMask, expIdRolloffMask : `bool`
            Whether the pair is good.
        nPixelCovariance : `int`
        covariance, covSqrtWeights : `numpy.ndarray` (r, r) or (1, r, r), optional
            NaN when absent.

        Raises
        ------
        NotFoundError
            If the amplifier is unknown.
        ShapeError
            If a matrix has another shape.
        """
        self._checkAmp(ampName)
        self.inputExpIdPairs[ampName] = [tuple(inputExpIdPair)]
        pairs = {
            "inputExpPairMjdStartList": inputExpPairMjdStart,
            "rawExpTimes": rawExpTime,
            "rawMeans": rawMean,
            "rawVars": rawVar,
            "rawDeltas": rawDelta,
            "rowMeanVariance": rowMeanVariance,
            "photoCharges": photoCharge,
            "photoChargeDeltas": photoChargeDelta,
            "ampOffsets": ampOffset,
            "expIdMask": expIdMask,
            "expIdRolloffMask": expIdRolloffMask,
            "nPixelCovarianceList": nPixelCovariance,
            "covariances": covariance,
            "covariancesSqrtWeights": covSqrtWeights,
            "gainList": gain,
            "noiseList": noise,
            "overscanMedianLevelList": overscanMedianLevel,
            "histVars": histVar,
            "histChi2Dofs": histChi2Dof,
            "kspValues": kspValue,
        }
        scalars = {
            "gain": gain,
            "gainUnadjusted": gain,
            "noise": noise,
            "overscanMedian": overscanMedianLevel,
            "overscanMedianSigma": 0.0,
            "nPixelCovariances": nPixelCovariance,
        }
        self._fill(ampName, 1, {**{k: None if v is None else [v] for k, v in pairs.items()}, **scalars})

    def setAmpValues(
        self,
        ampName,
        inputExpIdPair=((-1, -1),),
        expIdMask=(False,),
        rawExpTime=(_NAN,),
        rawMean=(_NAN,),
        rawVar=(_NAN,),
        photoCharge=(_NAN,),
        gain=_NAN,
        gainErr=_NAN,
        noise=_NAN,
        noiseErr=_NAN,
        ptcFitPars=(_NAN,),
        ptcFitParsError=(_NAN,),
        ptcFitChiSq=_NAN,
        ptcTurnoff=_NAN,
        covArray=(),
        covArrayModel=(),
        covSqrtWeights=(),
        aMatrix=(),
        bMatrix=(),
        finalVar=(_NAN,),
        finalModelVar=(_NAN,),
        finalMean=(_NAN,),
        **more,
    ):
        """Set the values of one amplifier from lists with one entry per pair (the verb of the first version).

        Parameters
        ----------
        ampName : `str`
        inputExpIdPair : sequence of `tuple` [`int`, `int`]
        expIdMask, rawExpTime, rawMean, rawVar, photoCharge, finalVar, finalModelVar, finalMean : sequence
            One value per pair. NaN in ``expIdMask`` counts as False.
        gain, gainErr, noise, noiseErr, ptcFitChiSq, ptcTurnoff : `float`
        ptcFitPars, ptcFitParsError : sequence of `float`
        covArray, covArrayModel, covSqrtWeights, aMatrix, bMatrix : array
            NaN when empty.
        **more
            Other attributes of `stillsky.ptc.dataset_fields.FIELDS`, by attribute name.

        Raises
        ------
        NotFoundError
            If the amplifier is unknown.
        DomainError
            If an argument is none of these attributes.
        ShapeError
            If lengths or shapes do not fit together.
        """
        self._checkAmp(ampName)
        unknown = sorted(set(more) - set(FIELDS))
        if unknown:
            raise DomainError(f"setAmpValues: wanted names of dataset attributes, given {', '.join(unknown)}")
        pairs = [(tuple(p) if np.all(np.isfinite(p)) else (-1, -1)) for p in inputExpIdPair]
        n = len(pairs)
        values = {
            "expIdMask": np.nan_to_num(np.asarray(expIdMask, float)) != 0,
            "rawExpTimes": rawExpTime,
            "rawMeans": rawMean,
            "rawVars": rawVar,
            "photoCharges": photoCharge,
            "gain": gain,
            "gainErr": gainErr,
            "gainUnadjusted": gain,
            "noise": noise,
            "noiseErr": noiseErr,
            "ptcFitPars": ptcFitPars,
            "ptcFitParsError": ptcFitParsError,
            "ptcFitChiSq": ptcFitChiSq,
            "ptcTurnoff": ptcTurnoff,
            "covariances": covArray,
            "covariancesModel": covArrayModel,
            "covariancesSqrtWeights": covSqrtWeights,
            "aMatrix": aMatrix,
            "bMatrix": bMatrix,
            "finalVars": finalVar,
            "finalModelVars": finalModelVar,
            "finalMeans": finalMean,
            **more,
        }
        self._fill(ampName, n, {k: v for k, v in values.items() if not (np.ndim(v) and np.size(v) == 0)})
        self.inputExpIdPairs[ampName] = pairs

    def _checkAmp(self, ampName):
        if ampName not in self.inputExpIdPairs:
            known = ", ".join(self.ampNames) or "none"
            raise NotFoundError(f"the dataset has no amplifier {ampName!r}, only: {known}")

    def _fill(self, ampName, n, values):
        """Set every attribute of an amplifier for ``n`` pairs: those of ``values``, the fill value elsewhere."""
        for name, field in FIELDS.items():
            value = values.get(name)
            shape = itemShape(field, n, *self._sides)
            if field.shape == "":
                value = field.fill if value is None else value
                stored = int(value) if field.dtype is np.int64 else float(value)
            elif value is None:
                stored = np.full((1,) if shape is None else shape, field.fill, dtype=field.dtype)
            else:
                stored = np.array(value, dtype=field.dtype)
                if shape is not None and stored.size != np.prod(shape):
                    raise ShapeError(f"{name} of amplifier {ampName}: wanted shape {shape}, given {stored.shape}")
                stored = stored.reshape(-1 if shape is None else shape)
            getattr(self, name)[ampName] = stored

    def setAuxValuesPartialDataset(self, auxDict):
        """Set the auxiliary values of a pair.

        Parameters
        ----------
        auxDict : mapping
            Header values by key: integers become int64, text stays text, anything else float64 (None is NaN).
        """
        self.auxValues = {}
        for key, value in auxDict.items():
            if isinstance(value, str):
                self.auxValues[key] = np.array([str(value)])
            elif isinstance(value, (int, np.integer)):
                self.auxValues[key] = np.array([value], dtype=np.int64)
            else:
                self.auxValues[key] = np.array([_NAN if value is None else value], dtype=np.float64)

    def appendPartialPtc(self, partialPtc):
        """Append the measurements of one pair.

        Parameters
        ----------
        partialPtc : `PhotonTransferCurveDataset`
            Of type "PARTIAL", with one pair. Not modified, nothing is shared.

        Raises
        ------
        MismatchError
            If it is of another type, has other amplifiers, sides or auxiliary keys, or not exactly one pair.

        Notes
        -----
        Pairs may differ in their numbers of pixels: ``nPixelCovarianceList`` has one per pair and
        ``nPixelCovariances`` is the largest.
        """
        self.appendPartialPtcs([partialPtc])

    def appendPartialPtcs(self, partialPtcs):
        """Append the measurements of many pairs at once, as `appendPartialPtc` one by one, but in linear time.

        Parameters
        ----------
        partialPtcs : iterable of `PhotonTransferCurveDataset`

        Raises
        ------
        MismatchError
            As `appendPartialPtc`; nothing is appended then.
        """
        partials = list(partialPtcs)
        keys = set(self.auxValues) if self.nPairs else None
        for partial in partials:
            self._checkPartial(partial, keys)
            keys = set(partial.auxValues)
        if not partials:
            return
        for amp in self.ampNames:
            self.inputExpIdPairs[amp] = self.inputExpIdPairs[amp] + [p.inputExpIdPairs[amp][0] for p in partials]
            for name, field in PAIR_FIELDS.items():
                parts = [getattr(partial, name)[amp] for partial in partials]
                if field.shape == "nff":
                    parts = [_resized(part, self.covMatrixSideFullCovFit) for part in parts]
                store = getattr(self, name)
                store[amp] = np.concatenate([store[amp], *parts])
            self.nPixelCovariances[amp] = int(max(self.nPixelCovarianceList[amp]))
        for key in partials[0].auxValues:
            parts = [partial.auxValues[key] for partial in partials]
            self.auxValues[key] = np.concatenate([self.auxValues[key], *parts] if key in self.auxValues else parts)

    def _checkPartial(self, partial, auxKeys):
        if partial.ptcFitType != "PARTIAL":
            raise MismatchError(f"only PARTIAL datasets can be appended, given {partial.ptcFitType}")
        if partial.ampNames != self.ampNames:
            raise MismatchError(f"partial dataset: wanted amplifiers {self.ampNames}, given {partial.ampNames}")
        counts = {amp: len(partial.inputExpIdPairs[amp]) for amp in self.ampNames}
        if any(count != 1 for count in counts.values()):
            raise MismatchError(f"partial dataset: wanted exactly one pair for every amplifier, given {counts}")
        if partial.covMatrixSide != self.covMatrixSide:
            raise MismatchError(
                f"partial dataset: wanted covMatrixSide {self.covMatrixSide}, given {partial.covMatrixSide}"
            )
        if auxKeys is not None and auxKeys != set(partial.auxValues):
            raise MismatchError(
                f"partial dataset: wanted auxiliary keys {sorted(auxKeys)}, given {sorted(partial.auxValues)}"
            )

    def sort(self, sortIndex):
        """Reorder the pairs of all amplifiers, in place.

        Parameters
        ----------
        sortIndex : sequence of `int`
            Old positions in their new order, a permutation.

        Raises
        ------
        PairCountError
            If its length is not the number of pairs, or it is no permutation.
        """
        index = np.asarray(sortIndex)
        lengths = {len(self.inputExpIdPairs[amp]) for amp in self.ampNames}
        for n in lengths:
            if index.ndim != 1 or len(index) != n or not np.array_equal(np.sort(index), np.arange(n)):
                raise PairCountError(f"sort: wanted a permutation of {n} pairs, given {index.tolist()}")
        for amp in self.ampNames:
            self.inputExpIdPairs[amp] = [self.inputExpIdPairs[amp][i] for i in index]
            for name in PAIR_FIELDS:
                values = getattr(self, name)
                if values[amp].size:
                    if len(values[amp]) != len(index):
                        raise PairCountError(
                            f"sort: {name} of amplifier {amp} has {len(values[amp])} entries for {len(index)} pairs"
                        )
                    values[amp] = values[amp][index]
        self.auxValues = {key: values[index] for key, values in self.auxValues.items()}

    # ---- asking
    def getExpIdsUsed(self, ampName):
        """Exposure ids of the pairs that the mask admits.

        Parameters
        ----------
        ampName : `str`

        Returns
        -------
        pairs : `list` [`tuple` [`int`, `int`]]
            All pairs when the mask is empty.

        Raises
        ------
        PairCountError
            If the mask has another length than the list of pairs; an AssertionError, too.
        """
        self._checkAmp(ampName)
        pairs = self.inputExpIdPairs[ampName]
        if len(pairs) == 1 and len(pairs[0]) and np.ndim(pairs[0][0]) == 1:
            _log.warning("PTC file was written incorrectly: its pairs of exposure ids are nested; run the fit again")
            pairs = pairs[0]
        mask = self.expIdMask[ampName]
        if len(mask) == 0:
            return [tuple(pair) for pair in pairs]
        if len(mask) != len(pairs):
            raise PairCountError(f"amplifier {ampName}: a mask of {len(mask)} entries for {len(pairs)} exposure pairs")
        return [tuple(pair) for pair, use in zip(pairs, mask) if use]

    def getGoodAmps(self):
        """Names of the amplifiers that are not in ``badAmps``, in order."""
        return [amp for amp in self.ampNames if amp not in self.badAmps]

    def getGoodPoints(self, ampName):
        """Mask (`bool`, one per pair) of the pairs used in the fit of an amplifier."""
        self._checkAmp(ampName)
        return self.expIdMask[ampName]

    def validateGainNoiseTurnoffValues(self, ampName, doWarn=False):
        """Replace an unusable gain, noise or turn-off by 1, 1 or 2e19, in place.

        Parameters
        ----------
        ampName : `str`
        doWarn : `bool`
            Log a warning for each replacement.

        Notes
        -----
        Unusable is NaN or not positive.
        """
        self._checkAmp(ampName)
        for name, substitute in (("gain", 1.0), ("noise", 1.0), ("ptcTurnoff", 2e19)):
            values = getattr(self, name)
            if not values[ampName] > 0:
                if doWarn:
                    _log.warning("amplifier %s: %s %s set to %s", ampName, name, values[ampName], substitute)
                values[ampName] = substitute

    def evalPtcModel(self, mu):
        """Evaluate the fitted model.

        Parameters
        ----------
        mu : array-like (N,)
            Mean levels, adu.

        Returns
        -------
        model : `dict` [`str`, `numpy.ndarray`]
            Per amplifier: variances (N,) for "EXPAPPROXIMATION" (Astier et al. 2019, Eq. 16) and "POLYNOMIAL",
            covariances (N, rf, rf) for the full covariance models (Eq. 20), adu^2.

        Raises
        ------
        StillskyError
            If the dataset holds no fit.
        """
        if self.ptcFitType in (None, "PARTIAL", "DUMMY"):
            raise StillskyError(f"a dataset of type {self.ptcFitType} has no model to evaluate; fit it first")
        mu = np.atleast_1d(np.asarray(mu, dtype=np.float64))
        return {amp: self._evalAmp(amp, mu) for amp in self.ampNames}

    def _evalAmp(self, amp, mu):
        from .models import evalExpApproximation, evalFullCovariance, evalPolynomial

        if self.ptcFitType == "POLYNOMIAL":
            return evalPolynomial(mu, *self.ptcFitPars[amp])
        if self.ptcFitType == "EXPAPPROXIMATION":
            return evalExpApproximation(mu, *self.ptcFitPars[amp])
        a = self.aMatrix[amp]
        c = np.zeros_like(a) if self.ptcFitType == "FULLCOVARIANCE_NO_B" else a * self.bMatrix[amp]
        return evalFullCovariance(mu, a, c, self.noiseMatrix[amp], self.gain[amp])

    def checkSizes(self):
        """Verify that all arrays fit together, for every fit type.

        Raises
        ------
        PairCountError
            If an array has not one entry per pair, or amplifiers have different numbers of pairs.
        ShapeError
            If a matrix does not have the sides of the dataset.
        """
        n = self.nPairs
        for amp in self.ampNames:
            if len(self.inputExpIdPairs[amp]) != n:
                raise PairCountError(
                    f"amplifier {amp} has {len(self.inputExpIdPairs[amp])} pairs, {self.ampNames[0]} has {n}"
                )
            for name, field in FIELDS.items():
                shape, given = itemShape(field, n, *self._sides), np.shape(getattr(self, name)[amp])
                if shape is None or given == shape or 0 in given:
                    continue
                error = PairCountError if field.shape.startswith("n") and given[:1] != (n,) else ShapeError
                raise error(f"{name} of amplifier {amp}: wanted shape {shape}, given {given}")
        for key, values in self.auxValues.items():
            if len(values) != n:
                raise PairCountError(f"auxiliary value {key}: wanted {n} entries, given {len(values)}")

    def fromDetector(self, detector):
        """Do nothing: a photon transfer curve cannot be derived from a detector's description."""

    # ---- other forms and files: see stillsky.ptc.dataset_io
    def toDict(self):
        """All values as plain Python objects, arrays as flat lists (`dict`)."""
        from . import dataset_io

        return dataset_io.toDict(self)

    @classmethod
    def fromDict(cls, dictionary):
        """Dataset of the values of `toDict`; RuntimeError if they are of another kind."""
        from . import dataset_io

        return dataset_io.fromDict(cls, dictionary)

    def toTable(self):
        """All values as a list of one `astropy.table.Table` with a row per amplifier."""
        from . import dataset_io

        return dataset_io.toTable(self)

    @classmethod
    def fromTable(cls, tables):
        """Dataset of a table of `toTable`, of any version since 1.0."""
        from . import dataset_io

        return dataset_io.fromTable(cls, tables)

    def writeFits(self, path, overwrite=False):
        """Write a FITS file with one table; returns its name."""
        from . import dataset_io

        return dataset_io.writeFits(self, path, overwrite)

    @classmethod
    def readFits(cls, path):
        """Read a FITS file of `writeFits`, or of the LSST stack, of any version since 1.0."""
        from . import dataset_io

        return dataset_io.readFits(cls, path)

    def writeText(self, path, format="auto", overwrite=False):
        """Write a YAML or ECSV file, by its ending; returns its name."""
        from . import dataset_io

        return dataset_io.writeText(self, path, format, overwrite)

    @classmethod
    def readText(cls, path, format="auto"):
        """Read a YAML or ECSV file of `writeText`."""
        from . import dataset_io

        return dataset_io.readText(cls, path, format)

    def __eq__(self, other):
        if type(other) is not type(self):
            return NotImplemented
        plain = ("ptcFitType", "ampNames", "covMatrixSide", "covMatrixSideFullCovFit", "badAmps")
        if any(getattr(self, name) != getattr(other, name) for name in plain) or not self._sameMetadata(other):
            return False
        if self.auxValues.keys() != other.auxValues.keys():
            return False
        if not all(_sameArray(values, other.auxValues[key]) for key, values in self.auxValues.items()):
            return False
        return all(
            _sameArray(getattr(self, name)[amp], getattr(other, name)[amp])
            for name in ("inputExpIdPairs", *FIELDS)
            for amp in self.ampNames
        )

    __hash__ = None


def _checkSide(name, value):
    if int(value) != value or value < 1:
        raise DomainError(f"{name}: wanted an integer of at least 1, given {value!r}")
    return int(value)


def _resized(stack, side):
    """Model matrices cut to, or filled up with NaN to, another side."""
    if stack.shape[1:] == (side, side):
        return stack
    new = np.full((len(stack), side, side), np.nan)
    common = min(side, stack.shape[1])
    new[:, :common, :common] = stack[:, :common, :common]
    return new


def _sameArray(a, b):
    a, b = np.asarray(a), np.asarray(b)
    if a.size == 0 and b.size == 0:
        return True
    if a.shape != b.shape or (a.dtype.kind in "US") != (b.dtype.kind in "US"):
        return False
    return np.array_equal(a, b) if a.dtype.kind in "USb" else np.allclose(a, b, equal_nan=True)
