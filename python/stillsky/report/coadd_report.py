"""The report of a coadd: what went into it, how deep it is, and what was left out."""

import math

import numpy as np

from . import coadd_panels as panels
from .look_section import maskOverlays, orientationWords
from .page import Page
from .panels import panelDpi
from .pixels import blockMean
from .previews import chiPng, greyPng, localScale
from .remedies import warningText

__all__ = ["coaddReport", "coaddVerdict", "inputsSection", "judgedSection"]

_PREVIEW = 1024
_THUMB = 160
_COLUMNS = {
    "name": ("input", None), "used": ("used", None), "fwhm": ("FWHM", ".2f"), "sky": ("sky", ".5g"),
    "skySigma": ("sky σ", ".4g"), "scale": ("scale", ".4f"), "scaleErr": ("±", ".4f"), "scaleStars": ("stars", None),
    "weight": ("weight", ".4f"), "usable": ("covers", ".3f"), "chi": ("chi", ".3f"), "airmass": ("airmass", ".3f"),
    "parallacticAngle": ("zenith at", ".1f"), "artifacts": ("artifacts", None), "artifactPixels": ("their pixels", None),
    "grid": ("grid", None), "reason": ("why not", None),
}  # fmt: skip
_UNITS = {"FWHM": "px", "zenith at": "deg"}


def coaddReport(result, summary):
    """The report as a `Page`; its ``verdict`` is what P.json keeps of the judgement.

    Parameters
    ----------
    result : `stillsky.coadd.plain.PlainCoaddResult`
        Or what `stillsky.report.saved_coadd` makes of the files.
    summary : `dict`
        What P.json holds so far.
    """
    coadd, figures = result.coadd, result.metadata
    name = next((n for n in result.table["name"][result.table["used"]]), "")
    page = Page(
        f"Coadd: {name}" + (f" and {figures['inputsUsed'] - 1} more" if figures["inputsUsed"] > 1 else ""),
        f"{coadd.width} x {coadd.height} px; {figures['inputsUsed']} of {figures['inputs']} inputs; {figures['method']}",
    )
    page.verdict = coaddVerdict(result)
    section = page.section("Verdict")
    _verdict(section, result, page.verdict)
    _look(page.section("Look"), result)
    _depth(page.section("Depth"), result)
    inputsSection(page.section("Inputs"), result)
    return page


# ---------------------------------------------------------------------- verdict


def _state(value, good, fair):
    """Colour of a figure inside the intervals of green and amber; None of one that is not known."""
    if value is None or not np.isfinite(value):
        return None
    for state, (low, high) in (("green", good), ("amber", fair)):
        if low <= value <= high:
            return state
    return "red"


def coaddRules(result):
    """Rules of the verdict: name, value, what is good, state, what helps."""
    figures, table = result.metadata, result.table[result.table["used"]]
    skipped = figures["inputs"] - figures["inputsUsed"]
    chis = np.asarray(table["chi"], float)
    chis = chis[np.isfinite(chis)]
    worst = float(chis[np.argmax(np.abs(np.log(np.maximum(chis, 1e-3))))]) if chis.size else None
    unscaled = int(np.count_nonzero(np.isin(table["scaleSource"], ["assumed", "exposure times"])))
    scaling = len(table) > 1 and not np.all(table["scaleSource"] == "none")
    gain = figures.get("noiseGain")
    allowed = figures.get("noiseGainMethod", figures["noiseGainExpected"])  # a median is noisier than a mean by itself
    ratio = allowed / gain if gain and figures["inputsUsed"] > 1 else None
    seeing = np.asarray(table["fwhm"], float)
    seeing = seeing[np.isfinite(seeing)]
    return [
        ("inputs left out", skipped, "0", _state(skipped, (0, 0), (0, 0.5 * figures["inputs"])),
         "the table of inputs says why; --strict makes it an error"),
        ("inputs without a flux scale from stars", unscaled if scaling else None, "0",
         _state(unscaled, (0, 0), (0, 1e9)) if scaling else None,
         "fields without common stars: calibrate beforehand, and use --scale none"),
        ("noise over what the inputs' noise allows", ratio, "0.90 to 1.10", _state(ratio, (0.9, 1.1), (0.75, 1.4))
         if ratio is not None else None, _remedyOfNoise(ratio, chis)),
        ("worst chi of an input against the coadd", worst, "0.80 to 1.25", _state(worst, (0.8, 1.25), (0.6, 1.7)),
         "that input has another seeing, sky gradient, scale or noise than its header says: look at it below"),
        ("rejected samples, %", 100 * figures["rejectedFraction"], "below 3",
         _state(100 * figures["rejectedFraction"], (0, 3), (0, 10)),
         "samples that scatter more than others of their pixel: stars clipped for their seeing (--method compare, or mean), "
         "inputs that are not registered, or bad pixels without a mask"),
        ("widest over narrowest seeing", float(seeing.max() / seeing.min()) if seeing.size > 1 else None, "below 1.5",
         _state(float(seeing.max() / seeing.min()), (1, 1.5), (1, 2.5)) if seeing.size > 1 else None,
         "leave out what is much worse: it widens the PSF of all"),
        ("pixels without data, %", 100 * figures["emptyFraction"], "below 5",
         _state(100 * figures["emptyFraction"], (0, 5), (0, 60)), "gaps that no input fills"),
    ]  # fmt: skip


def _remedyOfNoise(ratio, chis):
    """What helps a coadd that is noisier than it should be.

    Inputs that agree with the coadd better than their noise allows share a part of it. Of the correlation r between two of N
    inputs the variance of the mean is 1 + (N - 1) r times that of independent ones, and chi^2 is 1 - r.
    """
    n = len(chis)
    if ratio is not None and ratio > 1.1 and n > 1 and np.median(chis) < 0.95:
        shared = min((ratio**2 - 1) / (n - 1), 1.0)
        return (
            f"a pattern that all inputs have, about {100 * shared:.0f} % of their variance (they agree with the coadd better than "
            "noise can): subtract darks, divide by flats, or move the telescope between exposures"
        )
    return "variances of the inputs are wrong, or their sky differs from place to place"


def coaddVerdict(result):
    """State, sentence and rules, for P.json."""
    return verdictOf(coaddRules(result), "this coadd is as good as its inputs")


def verdictOf(rules, praise):
    """State, sentence and rules as a `dict` that JSON can hold."""
    rows = [dict(zip(("name", "value", "good", "state", "remedy"), rule)) for rule in rules]
    for state, words in (("red", "not met: "), ("amber", "")):
        names = [r["name"] for r in rows if r["state"] == state]
        if names:
            return {"state": state, "sentence": words + ", ".join(names), "rules": rows}
    return {"state": "green", "sentence": praise, "rules": rows}


def judgedSection(section, result, verdict, cards):
    """Verdict bar, figures, rules, warnings and decisions."""
    section.verdict(verdict["state"], verdict["sentence"])
    section.cards(cards)
    rules = verdict["rules"]
    signs = {"green": "\u2713 green", "amber": "! amber", "red": "\u2717 red", None: "not judged"}
    columns = {
        "rule": [r["name"] for r in rules], "found": [r["value"] for r in rules], "good": [r["good"] for r in rules],
        "judged": [signs[r["state"]] for r in rules],
    }  # fmt: skip
    if any(r["state"] in ("amber", "red") for r in rules):
        columns["what helps"] = [r["remedy"] if r["state"] in ("amber", "red") else "" for r in rules]
    section.table(columns, forms={"found": ".4g"}, states=[r["state"] for r in rules], sortable=False)
    if result.warnings:
        section.heading("Warnings").items(warningText(code, sentence, stack=True) for code, sentence in result.warnings)
    section.heading("Decisions").items(result.decisions)


def _verdict(section, result, verdict):
    figures = result.metadata
    cards = {"inputs used": f"{figures['inputsUsed']} of {figures['inputs']}"}
    if np.isfinite(figures.get("exposureTime", np.nan)):
        cards["total exposure, s"] = f"{figures['exposureTime']:.6g}"
    if figures.get("psfFwhm") is not None and np.isfinite(figures["psfFwhm"]):
        cards["FWHM of the coadd, px"] = f"{figures['psfFwhm']:.2f}"
    cards["noise of the sky"] = f"{figures['skySigma']:.4g}"
    if figures["inputsUsed"] > 1 and math.isfinite(figures.get("noiseGain", math.nan)):
        cards["deeper than one input by"] = f"{figures['noiseGain']:.2f}"
        smoothed = any(how in ("resampled", "registered") for how in result.table["grid"])
        cards["best possible" + smoothed * ", in large apertures"] = f"{figures['noiseGainExpected']:.2f}"
    cards["samples rejected"] = f"{100 * figures['rejectedFraction']:.2g} %"
    judgedSection(section, result, verdict, cards)


# ---------------------------------------------------------------------- pictures


def previewPicture(exposure, sky=None, sigma=None, top=400.0, maxSide=_PREVIEW):
    """PNG of an image on an asinh stretch, and the side of the blocks that its pixels are means of."""
    values, factor = blockMean(exposure.image.array, maxSide=maxSide)
    level, noise = localScale(values)
    return greyPng(values, level if sky is None else sky, noise if sigma is None else sigma, top), factor


def _look(section, result):
    coadd = result.coadd
    picture, factor = previewPicture(coadd)
    means = f", means of {factor} x {factor} px" if factor > 1 else ""
    section.look([(picture, f"coadd{means}")], maskOverlays(coadd, factor))
    hint = "Enlarge with the buttons or ctrl and wheel, move by dragging."
    section.paragraph(hint + (f" {orientationWords(coadd)}" if coadd.wcs is not None else ""))
    entries = [_entry(panels.countPanel(result.nImage.array, coadd.bbox, "inputs of each pixel"),
                      "Map of the number of inputs of each pixel")]  # fmt: skip
    if result.kept is not None:
        lost = result.nImage.array.astype(np.float32) - result.kept.array
        entries.append(_entry(
            panels.countPanel(np.maximum(lost, 0), coadd.bbox, "good samples that were rejected", "rejected"),
            "Map of the number of good samples that were rejected",
        ))  # fmt: skip
    if result.epochCount is not None:
        entries.append(_entry(
            panels.countPanel(result.epochCount.array, coadd.bbox, "inputs that differ from the static sky", "inputs"),
            "Map of the number of inputs in which a pixel differs from the static sky",
            "Many: a variable source, which stays. Few: an artifact.",
        ))  # fmt: skip
    section.figures(entries)


def _entry(picture, alt, caption=None, data=None, name="figure"):
    return {"picture": picture, "alt": alt, "caption": caption, "data": data, "name": name, "dpi": panelDpi}


def _depth(section, result):
    depth = result.depth
    if not len(depth["n"]):
        section.paragraph("No part of the sky is large and empty enough to measure its noise.")
        return
    data = {k: depth[k] for k in ("n", "pixels", "noise", "noiseRootN", "expectedRootN")}
    section.figures([
        _entry(panels.depthPanel(depth), "Noise of the sky times root N against the number N of inputs",
               "Robust scatter of the sky where N inputs contribute. Resampled inputs have less noise per pixel than "
               "their variance says: neighbours are correlated.", data, "depth"),
    ])  # fmt: skip
    section.table(
        {"inputs N": depth["n"], "pixels": depth["pixels"], "noise": depth["noise"], "noise x √N": depth["noiseRootN"],
         "expected x √N": depth["expectedRootN"]},
        forms={"noise": ".4g", "noise x √N": ".4g", "expected x √N": ".4g"},
    )  # fmt: skip


def inputsSection(section, result):
    """Weights, seeing, scales, artifacts and the pictures of input minus coadd; then the table."""
    table = result.table
    used = table[table["used"]]
    columns = {name: used[name] for name in used.colnames}
    compare = result.metadata.get("method") == "compare"
    if len(used) > 1:
        section.figures([
            _entry(panels.widthPanel(columns), "Share of the weight of each input"),
            _entry(panels.inputPanel(columns, "fwhm", "FWHM [px]", "seeing"), "Seeing of each input"),
            _entry(panels.inputPanel(columns, "scale", "factor", "flux scale", ideal=1.0, logarithmic=True),
                   "Factor to the flux scale of the first input, for each input"),
            _entry(panels.inputPanel(columns, "chi", "scatter / expectation", "input minus coadd", ideal=1.0),
                   "Scatter of input minus coadd over what is expected, for each input"),
            _entry(panels.sharePanel(columns, compare), "Pixels of each input that disagree with the others"),
        ])  # fmt: skip
    if result.thumbnails:
        section.heading("Input minus coadd, over the noise")
        section.paragraph("-5 (blue) to 5 (red); grey: no data. Rings around stars are another seeing, trails and spots "
                          "what only this input has.")  # fmt: skip
        section.cuts([
            {"picture": chiPng(chi), "alt": f"{name} minus coadd over noise", "caption": name} for name, chi in result.thumbnails
        ])  # fmt: skip
    shown, forms = {}, {}
    for name, (heading, form) in _COLUMNS.items():
        values = table[name]
        empty = values.dtype.kind == "f" and not np.isfinite(values).any()
        idle = name.startswith("artifact") and not compare
        if not (empty or idle or (values.dtype.kind == "U" and not np.any(values != ""))):
            shown[heading], forms[heading] = values.tolist(), form
    states = [None if u else "red" for u in table["used"]]
    section.heading("Table")
    section.table(shown, units=_UNITS, forms={k: v for k, v in forms.items() if v}, states=states)
    section.download("inputs", {n: table[n].tolist() for n in table.colnames})
