"""The report of a photon transfer calibration."""

import numpy as np

from ..ptc.summary import FLAGS, rowStates, verdict
from .page import Page, formatNumber
from .ptc_figures import ptcOverviewFigure
from .run_section import runSection

__all__ = ["ptcReport", "selectFigures", "writePtcPlots"]

# Column of the table -> heading, unit, factor, format; errors follow their figures.
_COLUMNS = {
    "ampName": ("amplifier", "", None, None),
    "gain": ("gain", "e/adu", 1, ".4f"),
    "gainErr": ("±", "", 1, ".4f"),
    "gainNative": ("gain, native", "e/unit", 1, ".4f"),
    "noise": ("noise", "e", 1, ".2f"),
    "noiseErr": ("± ", "", 1, ".2f"),
    "a00": ("a00", "10⁻⁶/e", 1e6, ".3f"),
    "a00Err": ("±  ", "", 1e6, ".3f"),
    "ptcTurnoff": ("turn-off", "adu", 1, ".0f"),
    "fullWell": ("full well", "e", 1, ".0f"),
    "chi2Dof": ("χ²/dof", "", 1, ".2f"),
    "nPairs": ("pairs", "", 1, None),
    "flags": ("flags", "", None, None),
}


# Plots of the PDF that the report shows too: name -> heading.
_SHOWN = {
    "ptcVarMean": "Each amplifier",
    "ptcAandBMatrices": "Coefficients of area change",
    "ptcAandBDistance": "Coefficients against distance",
}
_MAX_SHOWN = 6


def writePtcPlots(result, path):
    """Write the overview and all plots of the dataset as the pages of a PDF file.

    Parameters
    ----------
    result : `stillsky.ptc.job.PtcResult`
    path : `str`

    Returns
    -------
    shown : `list` [(`str`, figure)]
        Headings and figures for the report, the overview first. Others are closed when they are written.
    """
    from matplotlib.backends.backend_pdf import PdfPages

    from ..ptc.figures import figurePages

    shown = [("overview", ptcOverviewFigure(result.dataset, result.table))]
    with PdfPages(path, metadata={"Creator": "stillsky", "CreationDate": None}) as pages:
        pages.savefig(shown[0][1])
        for name, figure in figurePages(result.dataset):
            pages.savefig(figure)
            shown += selectFigures([(name, figure)], _MAX_SHOWN - len(shown))
    return shown


def selectFigures(pages, largest=_MAX_SHOWN - 1):
    """Headings and figures of those plots, of (name, figure), that the report shows."""
    return [(_SHOWN[name], figure) for name, figure in pages if name in _SHOWN][: max(largest, 0)]


def ptcReport(result, document, figures):
    """The report as a `Page`.

    Parameters
    ----------
    result : `stillsky.ptc.job.PtcResult`
        What was measured.
    document : (`str`, `dict`)
        Summary of the run: the text of P.json, which becomes the JSON block, and the plain dictionary.
    figures : `list`
        Of `writePtcPlots`.

    Returns
    -------
    page : `Page`
    """
    text, summary = document
    n = len(result.pairing.pairs)
    page = Page(
        f"Photon transfer: {result.title}",
        f"{len(result.table)} amplifier{'s' * (len(result.table) != 1)}, {n} pairs of flats; {result.dataset.ptcFitType}",
        text,
    )
    _verdict(page.section("Verdict"), result)
    _amplifiers(page.section("Amplifiers"), result)
    _curves(page.section("Curves"), result, figures)
    if result.maps is not None:
        _maps(page.section("Pixels"), result)
    _inputs(page.section("Inputs"), result, summary)
    runSection(page.section("Run"), summary)
    return page


def _median(values):
    values = np.asarray(values, float)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")


def _isLowerLimit(table):
    """Whether no amplifier's variance turns off, so that full wells are lower limits."""
    flags = [str(row["flags"]).split() for row in table if np.isfinite(row["fullWell"])]
    return bool(flags) and all("NO_TURNOFF" in f for f in flags)


def _rounded(value):
    """Three figures of a large number, written out."""
    return formatNumber(int(float(f"{value:.3g}"))) if np.isfinite(value) else "nan"


def _verdict(section, result):
    table = result.table
    section.verdict(*verdict(table))
    cards = {
        "median gain, electron/adu": format(_median(table["gain"]), ".4g"),
        "median read noise, electron": format(_median(table["noise"]), ".3g"),
        "median a00, 10⁻⁶/electron": format(1e6 * _median(table["a00"]), ".3g"),
        f"median full well, electron{', at least' * _isLowerLimit(table)}": _rounded(_median(table["fullWell"])),
        "pairs measured": len(result.pairing.pairs),
    }
    cards = {k: "–" if v == "nan" else v for k, v in cards.items()}
    if result.padding.padded:
        cards[f"electron/native unit ({result.padding.divisor} adu)"] = format(_median(table["gainNative"]), ".4g")
    section.cards(cards)
    if result.cannot:
        section.heading("Could not be measured").items(result.cannot)
    if result.warnings:
        section.heading("Warnings").items(f"{code}: {sentence}" for code, sentence in result.warnings)


def _amplifiers(section, result):
    table = result.table
    columns, units, forms = {}, {}, {}
    for name, (heading, unit, factor, form) in _COLUMNS.items():
        if name in table.colnames:
            scale = factor not in (None, 1)
            columns[heading] = (np.asarray(table[name]) * factor if scale else table[name]).tolist()
            units[heading], forms[heading] = unit, form
    section.table(columns, units=units, forms=forms, states=rowStates(table), csvName=None)
    section.download("amplifiers", {name: table[name].tolist() for name in table.colnames})
    present = {flag for flags in table["flags"] for flag in flags.split()}
    if present:
        section.heading("Flags").facts({flag: FLAGS[flag] for flag in FLAGS if flag in present})
    limits = {k: v for k, v in result.limits.items() if v is not None}
    if limits:
        words = {
            "gainScatter": "distance of a gain from the median of the amplifiers",
            "noise": "read noise, electron",
            "chi2Dof": "reduced chi square",
        }
        section.heading("Limits").facts({words.get(k, k): v for k, v in limits.items()})


def _curves(section, result, figures):
    (_, overview), *others = figures
    section.figure(
        overview,
        "Variance against mean with the fit and its residuals, covariances of neighbouring pixels, gain and noise",
        "Circles are pairs in the fit, crosses were left out; dotted: Poisson noise alone.",
        data=pointColumns(result.dataset),
        name="pairs",
        dpi=92,
        wide=True,
    )
    for heading, figure in others:
        section.heading(heading).figure(figure, heading, dpi=85, wide=True)


def pointColumns(dataset):
    """All measured pairs as columns: amplifier, exposure ids, mean, variance, use, gain, near covariances."""
    columns = {k: [] for k in ("ampName", "exposure1", "exposure2", "mean", "variance", "used", "gainPair")}
    lags = [(1, 0), (0, 1), (1, 1)] if dataset.covMatrixSide > 1 else []
    columns |= {f"covariance{i}{j}": [] for i, j in lags}
    for amp in dataset.ampNames:
        for k, (first, second) in enumerate(dataset.inputExpIdPairs[amp]):
            columns["ampName"].append(amp)
            columns["exposure1"].append(int(first))
            columns["exposure2"].append(int(second))
            columns["mean"].append(float(dataset.rawMeans[amp][k]))
            columns["variance"].append(float(dataset.rawVars[amp][k]))
            columns["used"].append(bool(dataset.expIdMask[amp][k]))
            columns["gainPair"].append(float(dataset.gainList[amp][k]))
            for i, j in lags:
                columns[f"covariance{i}{j}"].append(float(dataset.covariances[amp][k, i, j]))
    return columns


def _maps(section, result):
    from .pixel_map_figures import pixelMapsFigure

    section.figure(
        pixelMapsFigure(result.maps), "Maps and histograms of gain and read noise of every pixel",
        "Each pixel has its own line of variance against mean.", dpi=92,
    )  # fmt: skip
    section.facts({k: float(v) for k, v in result.maps.summary().items()})


def _inputs(section, result, summary):
    section.items(result.decisions)
    pairs = result.pairing.pairs
    section.heading("Pairs")
    section.table(
        {
            "pair": list(range(1, len(pairs) + 1)),
            "first": [a.name for a, _ in pairs],
            "second": [b.name for _, b in pairs],
            "time": [a.exposureTime for a, _ in pairs],
            "level": _levels(result.dataset, len(pairs)),
        },
        units={"time": "s", "level": "adu"},
        forms={"level": ".0f"},
        csvName="pairs_of_files",
    )
    if result.pairing.alone:
        section.heading("Without a partner").items(f"{flat.name}: {why}" for flat, why in result.pairing.alone)
    known = ("folder", "instrument", "width", "height", "images", "saturation", "nativeBits")
    inputs = summary.get("inputs", {})
    section.heading("Frames").facts({k: inputs[k] for k in known if inputs.get(k) not in (None, "")})


def _levels(dataset, n):
    """Median over amplifiers of the mean of each pair of files; the exposure ids of pair k are 2k + 1 and 2k + 2."""
    levels = [[] for _ in range(n)]
    for amp in dataset.ampNames:
        for (first, _), mean in zip(dataset.inputExpIdPairs[amp], dataset.rawMeans[amp]):
            levels[(int(first) - 1) // 2].append(mean)
    return [_median(values) for values in levels]
