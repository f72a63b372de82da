"""The report of a subtraction: one HTML file with everything that tells whether to believe the difference."""

import json
import os

import numpy as np

from .efficiency_section import efficiencyOf, efficiencySection
from .kernel_section import kernelSection, psfProfiles, psfSection, starSection
from .look_section import Previews, lookSection
from .noise_section import noiseSection
from .page import Page
from .previews import cutout, localScale, tripletPng
from .remedies import remedyOf, warningText
from .run_section import runSection
from .source_section import sourceSection
from .subtract_numbers import (
    candidateRows,
    isProper,
    measureDifference,
    overallState,
    templateScale,
    verdictRules,
)

__all__ = ["finishReport", "qualityOf", "subtractReport"]

_THUMB = 372
_LARGEST = 4_950_000  # characters of a page: 5 MB is the bar, and style and scripts take some
# Columns of the kernel stars that P.json keeps, so that the report can be made again.
_STAR_COLUMNS = (
    "id", "x", "y", "rating", "status", "rejection", "rejectionText", "usedInFit", "kernelSum", "kernelSumError",
    "chi2", "spatialRms", "looRms", "looChi2",
)  # fmt: skip


def qualityOf(result):
    """What the report finds in the pixels, and what of it the summary keeps.

    Parameters
    ----------
    result : `stillsky.diffim.SubtractResult`

    Returns
    -------
    numbers : `DifferenceNumbers`
    entries : `dict`
        For P.json, so that the report can be made again: ``verdict`` (state, sentence, rules), ``kernelStars`` (columns
        of the stars of the fit), ``starFigures``, ``psfs`` (profiles) and ``masks`` (shares of planes).
    """
    numbers = measureDifference(result)
    rules = verdictRules(result, numbers)
    state, sentence = overallState(rules)
    entries = {"verdict": {"state": state, "sentence": sentence, "rules": rules}}
    entries |= {"starFigures": numbers.starFigures, "psfs": psfProfiles(result), "masks": _maskShares(result)}
    candidates = getattr(result, "candidates", None)
    if candidates is not None:
        entries["kernelStars"] = {n: candidates[n].tolist() for n in _STAR_COLUMNS if n in candidates.colnames}
    return numbers, entries


def subtractReport(result, summary, quality=None, folder="."):
    """The report as a `Page`, below 5 MB whatever the size of the image; `finishReport` ends it.

    Parameters
    ----------
    result : `stillsky.diffim.SubtractResult`
        Or what `stillsky.report.saved.readSubtraction` makes of the files. A ``sources`` table is shown when it is there.
    summary : `dict`
        What P.json holds; timings may still be missing.
    quality : (`DifferenceNumbers`, `dict`), optional
        Of `qualityOf`, when it is known already.
    folder : `str`
        Of the products, as seen from the page.

    Returns
    -------
    page : `Page`
    """
    numbers, entries = qualityOf(result) if quality is None else quality
    # what the run itself found comes first: the files hold the science image less exactly
    entries = entries | {k: summary[k] for k in ("verdict", "psfs", "masks") if summary.get(k)}
    difference = result.difference
    inputs = summary.get("inputs", {})
    names = [inputs.get(role, {}).get("path", "") for role in ("science", "template")]
    title = " minus ".join(n.replace("\\", "/").rsplit("/", 1)[-1] for n in names if n) or "Science minus template"
    page = Page(f"Subtraction: {title}", f"{difference.width} x {difference.height} px; {_summaryLine(result)}")
    scales = _Scales(result, numbers)
    shown = Previews(result, numbers, scales)
    _verdict(page.section("Verdict"), result, numbers, entries["verdict"], shown)
    _inputs(page.section("Inputs"), summary, entries["masks"])
    look = page.section("Look")
    _kernel(page.section("Kernel"), result, numbers, scales, entries["psfs"], _cellOf(summary))
    noiseSection(page.section("Noise"), result, numbers)
    if getattr(result, "sources", None) is not None:
        sourceSection(page.section("Candidates"), result, numbers, scales, _tables(summary, folder))
    efficiency = efficiencyOf(result, summary)
    if efficiency is not None:
        threshold = result.sources.meta.get("threshold") if getattr(result, "sources", None) is not None else None
        efficiencySection(page.section("Efficiency"), efficiency, result.metadata.get("injection") or {}, threshold)
    # last, for it takes the room that the others leave; the summary will come as the JSON block, its configuration twice
    run = len(json.dumps(summary, indent=1, default=str)) + len(json.dumps(summary.get("config", {}), default=str))
    room = _LARGEST - page.size - run
    lookSection(look, result, shown, _cellOf(summary), room)
    return page


def finishReport(page, text, summary):
    """Append how the result was made, and the text of P.json, which becomes the JSON block of the page."""
    runSection(page.section("Run"), summary)
    page.document = text
    return page


class _Scales:
    """Sky of either image and the noise that is the unit of both stretches, science units."""

    def __init__(self, result, numbers):
        middle = numbers.kernelImages[len(numbers.kernelImages) // 2, len(numbers.kernelImages) // 2]
        self.factor = np.float32(templateScale(result, middle.sum()))
        self.science, self.sigma = localScale(result.science.image.array)
        level, _ = localScale(result.matchedTemplate.image.array)
        self.template = level * float(self.factor)

    def triplet(self, result, numbers, x, y, half):
        """PNG of science, template and difference over noise around a position, parent pixels."""
        x, y = x - result.difference.bbox.minX, y - result.difference.bbox.minY
        science = cutout(result.science.image.array, x, y, half)
        template = cutout(result.matchedTemplate.image.array, x, y, half) * self.factor
        chi = cutout(numbers.chi, x, y, half)
        return tripletPng(science, template, chi, (self.science, self.template), self.sigma)


def _summaryLine(result):
    metadata = result.metadata
    parts = ["proper difference (ZOGY)" if isProper(metadata) else f"{result.convolved} convolved"]
    if metadata.get("decorrelation"):
        parts.append("noise decorrelated")
    parts += [f"sky chi {metadata['skyChi']:.3f}"] if metadata.get("skyChi") is not None else []
    sources = getattr(result, "sources", None)
    parts += [_counted(np.count_nonzero(candidateRows(sources)), "candidate")] if sources is not None else []
    return "; ".join(parts)


def _counted(n, word):
    return f"{n} {word}" + ("" if n == 1 else "s")


def _tables(summary, folder):
    """Files of sources beside the page: words to relative addresses."""
    words = {".reg": "regions for ds9", ".ecsv": "table (ECSV)", ".parquet": "table (Parquet)", ".fits": "table (FITS)"}
    found = {}
    for name in summary.get("products", []):
        base = str(name).replace("\\", "/").rsplit("/", 1)[-1]
        stem, suffix = os.path.splitext(base)
        if stem.endswith(".sources") and suffix in words:
            found[words[suffix]] = base if folder in ("", ".") else f"{folder}/{base}"
    return found


def _verdict(section, result, numbers, verdict, shown):
    sources = getattr(result, "sources", None)
    count = "" if sources is None else f"; {_counted(int(np.count_nonzero(candidateRows(sources))), 'candidate')}"
    section.verdict(verdict["state"], verdict["sentence"] + count)
    marks = shown.marks(0.016)
    words = shown.words[2] + ", -5 (blue) to 5 (red)" + ("; circles: candidates" if marks is not None else "")
    pictures = shown.pictures(_THUMB)
    captions = [*(w[0].upper() + w[1:] for w in shown.words[:2]), words[0].upper() + words[1:]]
    # the third section is the one to look closer
    section.row([(p, c, c, marks if i == 2 else None) for i, (p, c) in enumerate(zip(pictures, captions))], link="s3")
    section.cards(_cards(result, numbers))
    rules = verdict["rules"]
    signs = {"green": "\u2713 green", "amber": "! amber", "red": "\u2717 red", None: "not judged"}
    columns = {
        "rule": [r["name"] for r in rules],
        "found": [r["value"] for r in rules],
        "good": [r["good"] for r in rules],
        "judged": [signs[r["state"]] for r in rules],
    }
    if any(r["state"] in ("amber", "red") for r in rules):
        columns["what helps"] = [remedyOf(r["name"]) if r["state"] in ("amber", "red") else "" for r in rules]
    section.table(columns, forms={"found": ".3f"}, states=[r["state"] for r in rules], sortable=False)
    if result.warnings:
        section.heading("Warnings").items(warningText(code, sentence) for code, sentence in result.warnings)
    _method(section, result.metadata)
    section.heading("Decisions").items(result.decisions)


def _cards(result, numbers):
    metadata, cards = result.metadata, {"was convolved": result.convolved}
    if isProper(metadata):
        cards = {"method: proper difference": "ZOGY"}
    for key, label, form in (
        ("skyChi", "sky noise / predicted", ".3f"), ("looRmsMedian", "chi of stars, left out", ".3f"),
        ("nGoodCandidates", "stars in the fit", "d"), ("spatialKernelSum", "kernel sum: flux ratio", ".4f"),
        ("sciencePsfSize", "science FWHM, px", ".2f"), ("templatePsfSize", "template FWHM, px", ".2f"),
        ("templateCoveragePercent", "template coverage, %", ".1f"),
    ):  # fmt: skip
        if metadata.get(key) is not None:
            cards[label] = format(metadata[key], form)
    if numbers.starFigures is not None and numbers.starFigures["n"]:
        figures = numbers.starFigures
        offset = f"{1000 * np.hypot(figures['dx'], figures['dy']):.1f} ± {1000 * figures['error']:.1f}"
        cards["offset of stars, 0.001 px"] = offset
    depth = (metadata.get("expectedDepth") or {}).get(result.convolved) or {}
    if depth.get("fluxError"):
        cards["5 sigma point source, counts"] = f"{5 * depth['fluxError']:.0f}"
    if getattr(result, "sources", None) is not None:
        cards["candidates"] = str(int(np.count_nonzero(candidateRows(result.sources))))
    return cards


def _method(section, metadata):
    """Which method served the pair best, and why, where both were compared (`stillsky.diffim.compareMethods`)."""
    found = metadata.get("methodComparison")
    if not isinstance(found, dict):
        return
    section.heading("Which method serves this pair best")
    why = str(found.get("why", ""))
    section.paragraph(why[:1].upper() + why[1:] + ".")
    names = {"al": "Alard-Lupton, decorrelated", "zogy": "proper difference (ZOGY)"}
    words = {
        "fluxError": "error of a point source, counts", "starResidual": "residual at bright stars / noise",
        "fluxScaleError": "error of the flux scale", "border": "border lost, px",
    }  # fmt: skip
    methods = [m for m in names if isinstance(found.get(m), dict)]
    columns = {"method": [names[m] + (" (used)" if m == found.get("used") else "") for m in methods]}
    for key, label in words.items():
        values = [found[m].get(key) for m in methods]
        if any(isinstance(v, (int, float)) and np.isfinite(v) for v in values):
            columns[label] = values
    section.table(columns, states=["green" if m == found.get("best") else None for m in methods], sortable=False)


def _maskShares(result):
    """Shares of the planes that are set anywhere, by image: image -> plane -> fraction."""
    images = {
        "science": result.science,
        "template as subtracted": result.matchedTemplate,
        "difference": result.difference,
    }
    shares = {name: exposure.mask.fractions() for name, exposure in images.items()}
    planes = [
        p for p in dict.fromkeys(p for s in shares.values() for p in s) if any(s.get(p, 0) > 0 for s in shares.values())
    ]
    return {name: {p: float(share.get(p, 0.0)) for p in planes} for name, share in shares.items()}


def _inputs(section, summary, masks):
    for role, facts in summary.get("inputs", {}).items():
        section.heading(role.capitalize())
        shown = {k: facts[k] for k in ("path", "ext", "sha256") if facts.get(k)}
        shown["size"] = f"{facts.get('width')} x {facts.get('height')} px from {facts.get('xy0')}"
        section.facts(shown).items(facts.get("provenance", []))
    section.heading("Masks")
    planes = list(dict.fromkeys(p for share in masks.values() for p in share))
    columns = {"plane": planes}
    for name, share in masks.items():
        columns[f"{name}, %"] = [100.0 * share.get(p, 0.0) for p in planes]
    section.table(columns, forms={k: ".3f" for k in columns}, csvName="masks")


def _kernel(section, result, numbers, scales, psfs, cell):
    kernelSection(section, result, numbers)
    psfSection(section, psfs)
    candidates = getattr(result, "candidates", None)
    if candidates is not None and len(candidates):
        starSection(section, result, numbers, scales, cell)


def _cellOf(summary):
    """Sides of the cells from which the stars of the fit are chosen, or None."""
    values = summary.get("config", {}).get("values", {})
    sides = [values.get(f"psfmatch.sizeCell{axis}") for axis in "XY"]
    return sides if all(isinstance(v, int) and v > 0 for v in sides) else None
