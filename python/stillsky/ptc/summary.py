"""The table of a photon transfer curve: one row per amplifier, with flags that say what not to believe."""

import math

import numpy as np

from .solve import FLAGS as _SOLVE_FLAGS

__all__ = ["FLAGS", "rowStates", "summarize", "verdict"]

_OWN_FLAGS = {
    "NO_PAIRS": "no pair could be measured: masked, saturated, or without light",
    "FEW_PAIRS": "fewer measured pairs than the fit has parameters",
    "REJECTED": "the fit left out a third of the measured pairs below the turn-off or more",
    "PEDESTAL": "neither overscan nor bias was subtracted: noise and a00 depend on a pedestal that is not known well",
    "UNEQUAL": "the levels of the exposures of a pair differ by more than 2 percent",
    "CHI2": "the reduced chi square is above its limit",
    "GAIN_OUTLIER": "the gain is far from the median of the amplifiers",
    "NOISE_HIGH": "the noise is above its limit",
}

FLAGS = {**_SOLVE_FLAGS, **_OWN_FLAGS}

_UNITS = {
    "gain": "electron/adu", "gainErr": "electron/adu", "noise": "electron", "noiseErr": "electron",
    "a00": "1/electron", "a00Err": "1/electron", "ptcTurnoff": "adu", "fullWell": "electron",
    "gainPair": "electron/adu", "overscanNoise": "adu",
}  # fmt: skip
_DESCRIPTIONS = {
    "ampName": "amplifier",
    "gain": "gain fitted to the curve",
    "gainErr": "its standard error",
    "noise": "read noise fitted to the curve",
    "noiseErr": "its standard error",
    "a00": "relative change of a pixel's area per electron in it",
    "a00Err": "its standard error",
    "ptcTurnoff": "highest mean before the variance turns off",
    "fullWell": "turn-off in electrons",
    "chi2Dof": "reduced chi square of the fit",
    "nPairs": "pairs in the fit",
    "gainPair": "median of the gains of single pairs",
    "gainNative": "electrons per native unit of the converter: gain times the divisor of padded values",
    "overscanNoise": "read noise from the overscan",
    "flags": "what not to believe, separated by spaces",
}


def summarize(solved, *, pedestal=True, divisor=1, limits=None):
    """The table that ``stillsky ptc`` prints and writes.

    Parameters
    ----------
    solved : `SolveResult`
        Fitted dataset, and the details of each amplifier.
    pedestal : `bool`
        Whether the pedestal was subtracted, from overscan or a bias.
    divisor : `int`
        File units per native unit of padded values.
    limits : `dict`, optional
        ``gainScatter`` (relative distance from the median gain), ``noise`` (electrons), ``chi2Dof``; missing or None: no
        limit.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``ampName gain gainErr noise noiseErr a00 a00Err ptcTurnoff fullWell chi2Dof nPairs gainPair`` (with
        padding ``gainNative``), ``overscanNoise`` and ``flags`` (names of `FLAGS`). NaN where nothing was measured.
    """
    from astropy.table import Table

    limits = limits or {}
    dataset = solved.dataset
    rows = [_row(dataset, solved.amplifiers[amp]) for amp in dataset.ampNames]
    gains = np.array([row["gain"] for row in rows], float)
    middle = float(np.median(gains[np.isfinite(gains)])) if np.isfinite(gains).any() else math.nan
    for row in rows:
        solution = solved.amplifiers[row["ampName"]]
        row["flags"] = " ".join(_flags(dataset, solution, row, pedestal, limits, middle))
        if divisor > 1:
            row["gainNative"] = row["gain"] * divisor
    names = [n for n in _DESCRIPTIONS if rows and n in rows[0]]
    table = Table({name: _column(name, [row[name] for row in rows]) for name in names})
    for name in table.colnames:
        table[name].unit = _UNITS.get(name)
        table[name].description = _DESCRIPTIONS[name]
    return table


def _column(name, values):
    if name in ("ampName", "flags"):
        return np.array(values, dtype=str)
    return np.array(values, dtype=np.int64 if name == "nPairs" else np.float64)


def _first(values):
    values = np.ravel(values)
    return float(values[0]) if values.size else math.nan


def _row(dataset, solution):
    amp = solution.ampName
    gain, turnoff = float(dataset.gain[amp]), float(dataset.ptcTurnoff[amp])
    if solution.full is not None:
        a00, error = _first(dataset.aMatrix[amp]), _first(solution.fullErrors["a"])
    else:
        a00, error = _first(dataset.ptcFitPars[amp]), _first(dataset.ptcFitParsError[amp])
    row = {
        "ampName": amp,
        "gain": gain,
        "gainErr": float(dataset.gainErr[amp]),
        "noise": float(dataset.noise[amp]),
        "noiseErr": float(dataset.noiseErr[amp]),
        "a00": a00,
        "a00Err": error,
        "ptcTurnoff": turnoff,
        "fullWell": turnoff * gain,
        "chi2Dof": float(dataset.ptcFitChiSq[amp]),
        "nPairs": int(np.sum(dataset.expIdMask[amp])),
        "gainPair": _median(dataset.gainList[amp]),
        "overscanNoise": _median(dataset.noiseList[amp]),
    }
    if amp in dataset.badAmps:  # figures of a failed fit are no figures
        fitted = ("gain", "gainErr", "noise", "noiseErr", "a00", "a00Err", "ptcTurnoff", "fullWell", "chi2Dof")
        row |= {name: math.nan for name in fitted} | {"nPairs": 0}
    if "NOISE_AT_ZERO" in solution.flags:  # a noise that was held at its bound is not measured
        row |= {"noise": math.nan, "noiseErr": math.nan}
    return row


def _median(values):
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else math.nan


def _flags(dataset, solution, row, pedestal, limits, middle):
    amp = row["ampName"]
    means = np.asarray(dataset.rawMeans[amp], float)
    measured = np.isfinite(means) & np.isfinite(dataset.rawVars[amp])
    n = int(measured.sum())
    if n == 0:
        return ["NO_PAIRS"]
    flags = [flag for flag in solution.flags if pedestal or flag != "NOISE_DIFFERS"]
    if "BAD" in flags and n < 4:
        flags[flags.index("BAD")] = "FEW_PAIRS"
    with np.errstate(invalid="ignore"):
        below = int(np.sum(measured & (means <= row["ptcTurnoff"])))
        if "BAD" not in flags and 0 < row["nPairs"] <= 2 * below / 3:
            flags.append("REJECTED")
        if np.any(np.abs(dataset.rawDeltas[amp][measured]) > 0.02 * means[measured]):
            flags.append("UNEQUAL")
    if not pedestal:
        flags.append("PEDESTAL")
    scatter, noise, chi2 = (limits.get(k) for k in ("gainScatter", "noise", "chi2Dof"))
    if chi2 is not None and row["chi2Dof"] > chi2:
        flags.append("CHI2")
    if scatter is not None and abs(row["gain"] / middle - 1.0) > scatter:
        flags.append("GAIN_OUTLIER")
    if noise is not None and row["noise"] > noise:
        flags.append("NOISE_HIGH")
    return flags


# Flags that fail an amplifier, and those that only inform; all others ask for a look.
_FAILING = {"NO_PAIRS", "FEW_PAIRS", "BAD", "CHI2", "GAIN_OUTLIER", "NOISE_HIGH"}
_INFORMING = {"NO_TURNOFF"}


def rowStates(table):
    """green, amber or red for each row of a summary table."""
    states = []
    for row in table:
        flags = set(str(row["flags"]).split())
        states.append("red" if flags & _FAILING else "amber" if flags - _INFORMING else "green")
    return states


def verdict(table):
    """State and sentence for the whole sensor: the worst of its amplifiers decides."""
    states = rowStates(table)
    count = {state: states.count(state) for state in ("green", "amber", "red")}
    n = len(states)
    state = "red" if count["red"] else "amber" if count["amber"] else "green"
    parts = [f"{count['green']} of {n} amplifiers without a remark"]
    for colour, words in (("amber", "with remarks"), ("red", "failed")):
        names = [str(row["ampName"]) for row, s in zip(table, states) if s == colour]
        if names:
            shown = ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
            parts.append(f"{len(names)} {words} ({shown})")
    return state, ", ".join(parts)
