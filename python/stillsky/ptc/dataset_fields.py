"""The attributes of a photon transfer dataset that are kept per amplifier: shape, type, unit, column, since when."""

from typing import NamedTuple

import numpy as np

__all__ = ["FIELDS", "PAIR_FIELDS", "VERSION", "FieldSpec", "emptyValue", "itemShape"]

VERSION = 2.6

# Shapes: a letter per axis. n = pairs, r = covMatrixSide, f = covMatrixSideFullCovFit, p = free length, "" = scalar.


class FieldSpec(NamedTuple):
    """One per-amplifier attribute.

    shape : `str`
        A letter per axis; the attributes that start with "n" have one entry per pair.
    fill : `float`, `int` or `bool`
        What an entry without a measurement holds.
    column : `str`
        Column of the table form.
    since : `float`
        Dataset version that introduced it.
    """

    name: str
    shape: str
    dtype: type
    fill: object
    unit: str
    column: str
    since: float
    doc: str


_NAN = np.nan
_F = np.float64


def _pair(name, unit, column, since, doc, dtype=_F, fill=_NAN):
    return FieldSpec(name, "n", dtype, fill, unit, column, since, doc)


def _scalar(name, unit, column, since, doc):
    return FieldSpec(name, "", _F, _NAN, unit, column, since, doc)


def _matrix(name, shape, unit, column, since, doc):
    return FieldSpec(name, shape, _F, _NAN, unit, column, since, doc)


# In the order of the table columns.
FIELDS = {
    field.name: field
    for field in (
        _pair("inputExpPairMjdStartList", "d", "INPUT_EXP_PAIR_MJD_START", 2.2, "start of the earlier exposure, MJD"),
        _pair("expIdMask", "", "EXP_ID_MASK", 1.0, "pair used in the fit", np.bool_, False),
        _pair("expIdRolloffMask", "", "EXP_ID_ROLLOFF_MASK", 2.6, "pair below the roll-off", np.bool_, False),
        _pair("rawExpTimes", "s", "RAW_EXP_TIMES", 1.0, "exposure time"),
        _pair("rawMeans", "adu", "RAW_MEANS", 1.0, "mean level of the pair"),
        _pair("rawVars", "adu2", "RAW_VARS", 1.0, "half the variance of the difference"),
        _pair("rawDeltas", "adu", "RAW_DELTAS", 2.5, "mean of the second exposure minus the first"),
        _pair("rowMeanVariance", "adu2", "ROW_MEAN_VARIANCE", 1.6, "variance of the row means of the difference"),
        _scalar("gain", "electron/adu", "GAIN", 1.0, "gain"),
        _scalar("gainErr", "electron/adu", "GAIN_ERR", 1.0, "its standard error"),
        _scalar("gainUnadjusted", "electron/adu", "GAIN_UNADJUSTED", 2.0, "gain before amp-offset corrections"),
        _pair("gainList", "electron/adu", "GAIN_LIST", 2.0, "gain of each single pair"),
        _pair("overscanMedianLevelList", "adu", "OVERSCAN_MEDIAN_LIST", 2.2, "median overscan level"),
        _scalar("overscanMedian", "adu", "OVERSCAN_MEDIAN", 2.3, "median of these levels"),
        _scalar("overscanMedianSigma", "adu", "OVERSCAN_MEDIAN_SIGMA", 2.3, "scatter of these levels"),
        _pair("noiseList", "adu", "NOISE_LIST", 1.7, "read noise from the overscan"),
        _scalar("noise", "electron", "NOISE", 1.0, "fitted read noise; adu in a partial dataset"),
        _scalar("noiseErr", "electron", "NOISE_ERR", 1.0, "its standard error"),
        _pair("histVars", "adu2", "HIST_VARS", 1.2, "variance of the Gaussian fitted to the difference"),
        _pair("histChi2Dofs", "", "HIST_CHI2_DOFS", 1.2, "reduced chi square of that fit"),
        _pair("kspValues", "", "KS_PVALUES", 1.2, "Kolmogorov-Smirnov p-value of that fit", fill=0.0),
        _matrix("ptcFitPars", "p", "", "PTC_FIT_PARS", 1.0, "a00 [1/electron], gain, noise^2 [electron^2]"),
        _matrix("ptcFitParsError", "p", "", "PTC_FIT_PARS_ERROR", 1.0, "standard errors of ptcFitPars"),
        _scalar("ptcFitChiSq", "", "PTC_FIT_CHI_SQ", 1.0, "reduced chi square of the fit"),
        _scalar("ptcTurnoff", "adu", "PTC_TURNOFF", 1.1, "highest mean before the variance turns off"),
        _scalar("ptcTurnoffSamplingError", "adu", "PTC_TURNOFF_SAMPLING_ERROR", 1.8, "half the gap around it"),
        _scalar("ptcRolloff", "adu", "PTC_ROLLOFF", 2.6, "mean at which the curve leaves its model"),
        _scalar("ptcRolloffError", "adu", "PTC_ROLLOFF_ERROR", 2.6, "its standard error"),
        _scalar("ptcRolloffTau", "adu", "PTC_ROLLOFF_TAU", 2.6, "e-folding length of the departure"),
        _scalar("ptcRolloffTauError", "adu", "PTC_ROLLOFF_TAU_ERROR", 2.6, "its standard error"),
        _matrix("aMatrix", "ff", "1/electron", "A_MATRIX", 1.0, "a_ij, [dx, dy]"),
        _matrix("bMatrix", "ff", "1/electron", "B_MATRIX", 1.0, "b_ij, [dx, dy]"),
        _matrix("noiseMatrix", "ff", "electron2", "NOISE_MATRIX", 1.3, "n_ij, [dx, dy]"),
        _pair("photoCharges", "", "PHOTO_CHARGE", 1.0, "photodiode charge"),
        _pair("photoChargeDeltas", "", "PHOTO_CHARGE_DELTAS", 2.5, "charge of the second exposure minus the first"),
        _pair("ampOffsets", "adu", "AMP_OFFSETS", 2.0, "offset to the neighbouring amplifiers"),
        FieldSpec(
            "nPixelCovariances", "", np.int64, -1, "", "NPIXEL_COVARIANCES", 2.4,
            "pixels used for the covariances, the largest of all pairs",
        ),
        _pair("nPixelCovarianceList", "", "NPIXEL_COVARIANCE_LIST", 2.6, "pixels used, per pair", np.int64, -1),
        _matrix("covariances", "nrr", "adu2", "COVARIANCES", 1.0, "half covariances, [pair, dx, dy]"),
        _matrix("covariancesModel", "nff", "adu2", "COVARIANCES_MODEL", 1.0, "fitted covariances"),
        _matrix("covariancesSqrtWeights", "nrr", "1/adu2", "COVARIANCES_SQRT_WEIGHTS", 1.0, "1/standard error"),
        _pair("finalVars", "adu2", "FINAL_VARS", 1.0, "variances used, NaN elsewhere"),
        _pair("finalModelVars", "adu2", "FINAL_MODEL_VARS", 1.0, "fitted variances, NaN elsewhere"),
        _pair("finalMeans", "adu", "FINAL_MEANS", 1.0, "means used, NaN elsewhere"),
    )
}  # fmt: skip

PAIR_FIELDS = {name: field for name, field in FIELDS.items() if field.shape.startswith("n")}


def itemShape(field, n, r, rf):
    """Array shape of an attribute for ``n`` pairs, or None where the length is free; () for a scalar."""
    if field.shape == "p":
        return None
    return tuple({"n": n, "r": r, "f": rf}[axis] for axis in field.shape)


def emptyValue(field, r, rf):
    """First value of an attribute: the scalar's fill, or an array without entries."""
    if field.shape == "":
        return int(field.fill) if field.dtype is np.int64 else float(field.fill)
    if field.shape.startswith("n"):
        return np.zeros(itemShape(field, 0, r, rf), dtype=field.dtype)
    return np.zeros((0, 0) if field.shape == "ff" else 0, dtype=field.dtype)
