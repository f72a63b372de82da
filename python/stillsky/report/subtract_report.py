"""The report of a subtraction: one HTML file with everything that tells whether to believe the difference."""

import numpy as np

from .page import Page
from .pixels import blockMean
from .previews import chiPng, cutout, greyPng, localScale, overlayPng, tripletPng
from .run_section import runSection
from .source_section import sourceSection
from .subtract_figures import (
    chiHistogram,
    chiMapFigure,
    chiMaps,
    kernelFieldFigure,
    kernelFigure,
    kernelShapes,
    noiseFigure,
    psfFigure,
    stackedProfile,
    starFigure,
)
from .subtract_numbers import kernelPower, measureDifference, overallState, templateScale, verdictRules

__all__ = ["finishReport", "qualityOf", "subtractReport"]

_PREVIEW = 1024  # pixels
_STAMPS = 24
_STAMP_HALF = 20
_DPI = 80
# Columns of the kernel stars that P.json keeps, so that the report can be made again.
_STAR_COLUMNS = (
    "id", "x", "y", "rating", "status", "rejection", "rejectionText", "usedInFit", "kernelSum", "kernelSumError",
    "chi2", "spatialRms", "looRms", "looChi2",
)  # fmt: skip
_OVERLAYS = {
    "SAT": (230, 75, 53), "BAD": (240, 180, 40), "CR": (0, 190, 120), "NO_DATA": (70, 120, 255), "EDGE": (120, 200, 230),
    "INTRP": (220, 110, 220), "SUSPECT": (255, 140, 0), "DETECTED": (150, 220, 60), "DETECTED_NEGATIVE": (40, 200, 200),
    "SAT_TEMPLATE": (190, 60, 130), "STREAK": (255, 255, 120), "DIFFDET": (200, 200, 200),
}  # fmt: skip


def qualityOf(result):
    """What the report finds in the pixels, and what of it the summary keeps.

    Parameters
    ----------
    result : `stillsky.diffim.SubtractResult`

    Returns
    -------
    numbers : `DifferenceNumbers`
    entries : `dict`
        ``verdict`` (state, sentence, rules) and ``kernelStars`` (columns of the stars of the fit), for P.json.
    """
    numbers = measureDifference(result)
    rules = verdictRules(result, numbers)
    state, sentence = overallState(rules)
    entries = {"verdict": {"state": state, "sentence": sentence, "rules": rules}}
    candidates = getattr(result, "candidates", None)
    if candidates is not None:
        entries["kernelStars"] = {n: candidates[n].tolist() for n in _STAR_COLUMNS if n in candidates.colnames}
    return numbers, entries


def subtractReport(result, summary, quality=None):
    """The report as a `Page`, below 5 MB whatever the size of the image; `finishReport` ends it.

    Parameters
    ----------
    result : `stillsky.diffim.SubtractResult`
        Or what `stillsky.report.saved.readSubtraction` makes of the files. A ``sources`` table is shown when it is there.
    summary : `dict`
        What P.json holds; timings may still be missing.
    quality : (`DifferenceNumbers`, `dict`), optional
        Of `qualityOf`, when it is known already.

    Returns
    -------
    page : `Page`
    """
    numbers, entries = qualityOf(result) if quality is None else quality
    difference = result.difference
    inputs = summary.get("inputs", {})
    names = [inputs.get(role, {}).get("path", "") for role in ("science", "template")]
    title = " minus ".join(n.replace("\\", "/").rsplit("/", 1)[-1] for n in names if n) or "Science minus template"
    page = Page(f"Subtraction: {title}", f"{difference.width} x {difference.height} px; {_summaryLine(result)}")
    scales = _Scales(result, numbers)
    _verdict(page.section("Verdict"), result, entries["verdict"])
    _inputs(page.section("Inputs"), result, summary)
    _look(page.section("Look"), result, numbers, scales)
    _kernel(page.section("Kernel"), result, numbers, scales)
    _noise(page.section("Noise"), result, numbers)
    if getattr(result, "sources", None) is not None:
        sourceSection(page.section("Sources"), result, numbers, scales)
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
    parts = [f"{result.convolved} convolved"]
    metadata = result.metadata
    if metadata.get("decorrelation"):
        parts.append("noise decorrelated")
    parts += [f"sky chi {metadata['skyChi']:.3f}"] if metadata.get("skyChi") is not None else []
    sources = getattr(result, "sources", None)
    parts += [f"{len(sources)} sources"] if sources is not None else []
    return "; ".join(parts)


def _verdict(section, result, verdict):
    section.verdict(verdict["state"], verdict["sentence"])
    metadata = result.metadata
    cards = {"convolved": result.convolved}
    for key, label in (
        ("skyChi", "sky noise / predicted"), ("spatialKernelSum", "kernel sum"), ("nGoodCandidates", "stars in the fit"),
        ("looRmsMedian", "chi of stars, left out"), ("sciencePsfSize", "science FWHM, px"),
        ("templatePsfSize", "template FWHM, px"), ("templateCoveragePercent", "template coverage, %"),
    ):  # fmt: skip
        if metadata.get(key) is not None:
            cards[label] = metadata[key]
    sources = getattr(result, "sources", None)
    if sources is not None:
        cards["sources"] = len(sources)
    section.cards(cards)
    rules = verdict["rules"]
    section.table(
        {
            "rule": [r["name"] for r in rules],
            "found": [r["value"] for r in rules],
            "good": [r["good"] for r in rules],
            "judged": [r["state"] or "not judged" for r in rules],
        },
        states=[r["state"] for r in rules],
        sortable=False,
    )
    if result.warnings:
        section.heading("Warnings").items(f"{code}: {sentence}" for code, sentence in result.warnings)
    section.heading("Decisions").items(result.decisions)


def _inputs(section, result, summary):
    for role, facts in summary.get("inputs", {}).items():
        section.heading(role.capitalize())
        shown = {k: facts[k] for k in ("path", "ext", "sha256") if facts.get(k)}
        shown["size"] = f"{facts.get('width')} x {facts.get('height')} px from {facts.get('xy0')}"
        section.facts(shown).items(facts.get("provenance", []))
    section.heading("Masks")
    images = {"science": result.science, "template as subtracted": result.matchedTemplate, "difference": result.difference}
    shares = {name: exposure.mask.fractions() for name, exposure in images.items()}
    planes = [p for p in dict.fromkeys(p for s in shares.values() for p in s) if any(s.get(p, 0) > 0 for s in shares.values())]
    columns = {"plane": planes}
    for name, share in shares.items():
        columns[f"{name}, %"] = [100.0 * share.get(p, 0.0) for p in planes]
    section.table(columns, forms={k: ".3f" for k in columns}, csvName="masks")


def _look(section, result, numbers, scales):
    difference = result.difference
    science, factor = blockMean(result.science.image.array, maxSide=_PREVIEW)
    template, _ = blockMean(result.matchedTemplate.image.array, maxSide=_PREVIEW)
    chi, _ = blockMean(numbers.chi, maxSide=_PREVIEW)
    chi = chi * np.float32(factor)
    _, sigma = localScale(science)
    sky, _ = localScale(template * scales.factor)
    words = "template" if result.convolved == "science" else "matched template"
    means = f", means of {factor} x {factor} px" if factor > 1 else ""
    pictures = [
        (greyPng(science, scales.science, sigma), f"science{means}"),
        (greyPng(template * scales.factor, sky, sigma), f"{words}, on the same stretch{means}"),
        (chiPng(chi), f"difference over its noise, -5 (blue) to 5 (red); grey: masked{means}"),
    ]
    section.look(pictures, _overlays(difference, factor))
    hints = ["Click or space: next picture. Enlarge with the buttons or ctrl and wheel, move by dragging."]
    if difference.wcs is not None:
        hints.append(_orientation(difference))
    section.paragraph(" ".join(hints))


def _overlays(exposure, factor):
    """A transparent picture for each mask plane that is set anywhere and of interest."""
    array = exposure.mask.array
    height, width = (n // factor for n in array.shape)
    blocks = array[: height * factor, : width * factor].reshape(height, factor, width, factor)
    either = np.bitwise_or.reduce(np.bitwise_or.reduce(blocks, axis=3), axis=1)
    found = []
    for name, colour in _OVERLAYS.items():
        bits = exposure.mask.bitmask([name], ignoreMissing=True)
        share = (either & bits) != 0
        if bits and share.any():
            found.append((overlayPng(share, colour), name, "rgb({}, {}, {})".format(*colour)))
    return found


def _orientation(exposure):
    """Where north and east are, and the scale, in words."""
    x, y = exposure.bbox.center
    step = 1e-5
    ra, dec = exposure.wcs.pixelToSky(x, y)
    names = []
    for offset in ((0.0, step), (step / np.cos(dec), 0.0)):
        dx, dy = np.array(exposure.wcs.skyToPixel(ra + offset[0], dec + offset[1]), float) - (x, y)
        if not np.isfinite(dx + dy):
            return ""
        names.append(("right", "upper right", "up", "upper left", "left", "lower left", "down", "lower right")[
            int(np.rint(np.arctan2(dy, dx) / (np.pi / 4))) % 8])  # fmt: skip
    scale = np.degrees(exposure.wcs.pixelScale(x, y)) * 3600
    centre = f"centre RA {np.degrees(ra) % 360:.5f}, Dec {np.degrees(dec):+.5f} deg"
    return f"North is {names[0]}, east {names[1]}; {scale:.3g} arcsec per pixel; {centre}."


def _kernel(section, result, numbers, scales):
    images, box = numbers.kernelImages, result.difference.bbox
    frequency, alongX, alongY = kernelPower(images[len(images) // 2, len(images) // 2])
    section.figure(
        kernelFigure(images), f"Matching kernel on a grid of 5 x 5 positions, its profile and its transform; "
        f"it was applied to the {result.convolved}",
        "The mosaic is linear below 3 % of the peak, logarithmic above.",
        data={"cyclesPerPixel": frequency, "alongX": alongX, "alongY": alongY}, name="kernel_transform", dpi=_DPI,
    )  # fmt: skip
    total, dx, dy, width = kernelShapes(images)
    section.figure(
        kernelFieldFigure(images, box, result.background),
        "Maps over the field of the kernel sum, its shift, its width, and the differential background",
        data={"sum": total.ravel(), "dx": dx.ravel(), "dy": dy.ravel(), "rmsWidth": width.ravel()},
        name="kernel_field", dpi=_DPI,
    )  # fmt: skip
    _psfs(section, result, scales)
    candidates = getattr(result, "candidates", None)
    if candidates is not None and len(candidates):
        _stars(section, result, numbers, scales, candidates)


def _psfs(section, result, scales):
    """Profiles of models and of the stars themselves."""
    box = result.difference.bbox
    profiles = {}
    radius = 10
    for name, exposure in (("PSF of the science image", result.science), ("PSF of the difference", result.difference)):
        if exposure.psf is not None:
            try:
                profiles[name] = (*_ringMeans(exposure.psf.computeKernelImage(box.center).array), "line")
                radius = max(radius, int(2.5 * exposure.psf.fwhm(box.center)))
            except ValueError:
                continue  # a PSF that is not defined at the centre
    candidates = getattr(result, "candidates", None)
    if candidates is not None and len(candidates):
        used = np.asarray(candidates["usedInFit"], bool)
        best = np.flatnonzero(used)[np.argsort(-np.asarray(candidates["rating"], float)[used])][:30]
        x, y = np.asarray(candidates["x"])[best] - box.minX, np.asarray(candidates["y"])[best] - box.minY
        before = "stars, before the convolution: " if result.convolved == "science" else "stars, "
        for name, image in ((before + "science", result.science), ("stars, template as subtracted", result.matchedTemplate)):
            r, values = stackedProfile(image.image.array, x, y, min(radius, 30))
            if r.size:
                profiles[name] = (r, values, "points")
    if not profiles:
        return
    data = {}
    for name, (r, values, _) in profiles.items():
        data |= {f"radius ({name})": r, name: values}
    section.heading("PSFs")
    section.figure(
        psfFigure(profiles, radius), "Radial profiles of PSF models and of stacked stars, linear and logarithmic",
        "Points: medians over the brightest stars of the fit. After matching the image that was not convolved and the "
        "convolved one have the same profile.", data=data, name="psf_profiles", dpi=_DPI,
    )  # fmt: skip


def _ringMeans(image):
    h, w = image.shape
    y, x = np.mgrid[0:h, 0:w].astype(float)
    r = np.hypot(x - (w - 1) / 2, y - (h - 1) / 2).ravel()
    index = np.rint(2.0 * r).astype(int)
    count = np.bincount(index)
    filled = np.flatnonzero(count)
    radius, profile = (np.bincount(index, weights=v)[filled] / count[filled] for v in (r, image.ravel()))
    return radius, profile / profile[0]


def _stars(section, result, numbers, scales, candidates):
    section.heading("Stars of the fit")
    names = [n for n in ("x", "y", "rating", "kernelSum", "spatialRms", "looRms") if n in candidates.colnames]
    section.figure(
        starFigure(candidates, result.difference.bbox),
        "Residuals of stars against their signal-to-noise ratio and over the field",
        "A star left out of the fit is predicted by the others: the honest figure.",
        data={n: candidates[n].tolist() for n in names}, name="stars", dpi=_DPI,
    )  # fmt: skip
    worst = _mostTelling(candidates)
    section.heading("The worst of them, and those that were rejected")
    section.paragraph("Science, template as subtracted, difference over its noise from -5 (blue) to 5 (red).")
    entries = []
    for i in worst:
        row = candidates[int(i)]
        used = bool(row["usedInFit"])
        why = "" if used else f", {row['rejectionText'] or row['status']}"
        loo = float(row["looRms"]) if used else float(row["spatialRms"])
        chi = f"; chi {loo:.2f}" if np.isfinite(loo) else ""
        caption = f"star {row['id']} at {row['x']:.0f}, {row['y']:.0f}; S/N {row['rating']:.0f}{chi}{why}"
        state = ("green" if loo < 1.3 else "amber") if used else None
        picture = scales.triplet(result, numbers, row["x"], row["y"], _STAMP_HALF)
        entries.append((picture, f"cut-outs of star {row['id']}", caption, state))
    section.cuts(entries)
    _starTable(section, candidates)


def _mostTelling(candidates):
    """Rows to show: rejected stars, then those of the largest residuals when left out."""
    used = np.asarray(candidates["usedInFit"], bool)
    rejected = np.flatnonzero(~used & (np.asarray(candidates["status"]) == "BAD"))[: _STAMPS // 2]
    loo = np.nan_to_num(np.asarray(candidates["looRms"], float), nan=-1.0)
    order = np.argsort(-np.where(used, loo, -2.0), kind="stable")
    return [*order[: min(_STAMPS - len(rejected), int(used.sum()))], *rejected]


def _starTable(section, candidates):
    shown = {
        "id": "star", "x": "x", "y": "y", "rating": "S/N", "status": "status", "kernelSum": "kernel sum",
        "kernelSumError": "±", "spatialRms": "chi", "looRms": "chi, left out", "rejectionText": "reason",
    }  # fmt: skip
    columns = {label: candidates[name].tolist() for name, label in shown.items() if name in candidates.colnames}
    forms = {"x": ".1f", "y": ".1f", "S/N": ".0f", "kernel sum": ".4f", "±": ".4f", "chi": ".3f", "chi, left out": ".3f"}
    section.table(columns, units={"x": "px", "y": "px"}, forms=forms, csvName="kernel_stars")


def _noise(section, result, numbers):
    histogram = chiHistogram(numbers)
    section.figure(
        noiseFigure(numbers, histogram),
        "Histogram of difference over noise, observed against predicted noise, correlation of neighbouring pixels, "
        "noise of squares against their size",
        "Without decorrelation the convolved noise of neighbouring pixels is correlated, and sums over apertures are "
        "noisier than the variance plane says.", data=histogram, name="residuals", dpi=_DPI,
    )  # fmt: skip
    section.heading("Noise by prediction, and of squares of sky")
    bins, squares = numbers.noiseBins, numbers.apertures
    section.table(bins, forms={"predicted": ".4g", "observed": ".4g"}, sortable=False, csvName="noise_by_prediction")
    section.table(squares, forms={"observed": ".3f"}, sortable=False, csvName="noise_of_squares")
    maps = chiMaps(numbers.chi)
    section.figure(
        chiMapFigure(maps, result.difference.bbox), "Maps of the mean and the scatter of difference over noise",
        data={"mean": maps[0].ravel(), "sigma": maps[1].ravel()}, name="chi_map", dpi=_DPI,
    )  # fmt: skip

