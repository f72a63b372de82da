"""The section of a report about the matching kernel, the PSFs, and the stars of the fit."""

import re

import numpy as np

from . import kernel_panels as kp
from . import star_panels as sp
from .panels import panelDpi
from .subtract_numbers import kernelPower

__all__ = ["kernelSection", "psfProfiles", "psfSection", "starSection"]

_STAMPS = 12
_STAMP_HALF = 20


def _entry(figure, alt, caption=None, data=None, name="figure"):
    return {"picture": figure, "alt": alt, "caption": caption, "data": data, "name": name, "dpi": panelDpi}


def kernelSection(section, result, numbers):
    """Append what the kernel looks like and how it changes over the field."""
    images, box = numbers.kernelImages, result.difference.bbox
    frequency, alongX, alongY = kernelPower(images[len(images) // 2, len(images) // 2])
    total, dx, dy, width = shapes = kp.kernelShapes(images)
    constant = np.ptp(total) <= 1e-6 * np.abs(total).max()
    words = f"sum {total.mean():.5g} everywhere" if constant else f"sum {total.min():.4g} to {total.max():.4g}"
    section.paragraph(f"Applied to the {result.convolved}; {words}.")
    entries = [
        _entry(kp.mosaicPanel(images), "Matching kernel at 5 x 5 positions of the field",
               "Empty borders are left out. Linear below 3 % of the peak, logarithmic above."),
        _entry(kp.profilePanel(images), "Radial profiles of the kernels"),
    ]  # fmt: skip
    fields = {"sum": total.ravel(), "dx": dx.ravel(), "dy": dy.ravel(), "rmsWidth": width.ravel()}
    entries.append(
        _entry(
            kp.shiftPanel(shapes, box),
            "Map of the kernel's width, arrows of its shift",
            data=fields,
            name="kernel_field",
        )
    )
    if not constant:
        entries.append(_entry(kp.sumPanel(total, box), "Map of the kernel sum"))
    if callable(result.background):
        entries.append(_entry(kp.backgroundPanel(result.background, box), "Map of the differential background"))
    maps = kp.kernelCoefficients(result.kernel, box)
    if maps is not None:
        data = {f"function{k}": values.ravel() for k, values in enumerate(maps)}
        entries.append(_entry(kp.coefficientsPng(maps), "Maps of the coefficients of the basis functions",
                              f"Coefficients of the {len(maps)} basis functions over the field, in rows from the upper left; "
                              "blue to red: minus to plus the largest value of each.", data, "kernel_coefficients"))  # fmt: skip
    entries.append(_entry(kp.transformPanel(frequency, alongX, alongY), "Transform of the kernel in the middle of the field",
                          data={"cyclesPerPixel": frequency, "alongX": alongX, "alongY": alongY}, name="kernel_transform"))  # fmt: skip
    section.figures(entries)


def psfProfiles(result):
    """Profiles of PSF models and of stars: `dict` of name to {"r", "value", "kind"}, plain lists, for P.json."""
    box = result.difference.bbox
    profiles, radius = {}, 10
    for name, exposure in (("PSF of the science image", result.science), ("PSF of the difference", result.difference)):
        psf = getattr(exposure, "psf", None)
        if psf is None:
            continue
        try:
            profiles[name] = (*_ringMeans(psf.computeKernelImage(box.center).array), "line")
            radius = max(radius, int(np.ceil(2.5 * psf.fwhm(box.center))))
        except ValueError:
            continue  # a PSF that is not defined at the centre
    candidates = getattr(result, "candidates", None)
    if candidates is not None and len(candidates):
        used = np.asarray(candidates["usedInFit"], bool)
        best = np.flatnonzero(used)[np.argsort(-np.asarray(candidates["rating"], float)[used])][:30]
        x, y = np.asarray(candidates["x"])[best] - box.minX, np.asarray(candidates["y"])[best] - box.minY
        before = "stars, before the convolution: " if result.convolved == "science" else "stars, "
        for name, image in (
            (before + "science", result.science),
            ("stars, template as subtracted", result.matchedTemplate),
        ):
            r, values = sp.stackedProfile(image.image.array, x, y, min(radius, 30))
            if r.size:
                profiles[name] = (r, _onto(r, values, profiles.get("PSF of the science image")), "points")
    found = {
        n: {"r": np.round(r, 4).tolist(), "value": np.round(v, 7).tolist(), "kind": k}
        for n, (r, v, k) in profiles.items()
    }
    return {"radius": min(radius, 30), "profiles": found}


def _onto(r, values, model):
    """Profile of stars scaled to the core of a model: the innermost ring of pixels misses the peak."""
    core = r < 0.35 * r.max()
    if model is None or not core.any():
        return values
    expected = np.interp(r[core], model[0], model[1])
    return values * np.sum(expected * values[core]) / np.sum(values[core] ** 2)


def _ringMeans(image):
    """Mean of a PSF image in rings of half a pixel, over its central value."""
    h, w = image.shape
    y, x = np.mgrid[0:h, 0:w].astype(float)
    r = np.hypot(x - (w - 1) / 2, y - (h - 1) / 2).ravel()
    index = np.rint(2.0 * r).astype(int)
    count = np.bincount(index)
    filled = np.flatnonzero(count)
    radius, profile = (np.bincount(index, weights=v)[filled] / count[filled] for v in (r, image.ravel()))
    return radius, profile / profile[0]


def psfSection(section, found):
    """Append profiles of PSFs and stars, of `psfProfiles`."""
    profiles = {name: (np.array(p["r"]), np.array(p["value"]), p["kind"]) for name, p in found["profiles"].items()}
    if not profiles:
        return
    data = {}
    for name, (r, values, _) in profiles.items():
        data |= {f"radius ({name})": r, name: values}
    section.heading("PSFs")
    section.figures([
        _entry(sp.psfPanel(profiles, found["radius"], False), "Radial profiles of PSF models and of stacked stars",
               "Points: medians over the brightest stars of the fit. After matching both images have one profile.",
               data, "psf_profiles"),
        _entry(sp.psfPanel(profiles, found["radius"], True), "The same profiles on a logarithmic scale"),
    ])  # fmt: skip


def starSection(section, result, numbers, scales, cell=None):
    """Append residuals of the stars of the fit, the worst of them, those rejected and why, and the table."""
    candidates, box = result.candidates, result.difference.bbox
    section.heading("Stars of the fit")
    names = [n for n in ("x", "y", "rating", "kernelSum", "spatialRms", "looRms") if n in candidates.colnames]
    entries = [
        _entry(sp.starChiPanel(candidates), "Residuals of stars against their signal-to-noise ratio",
               "A star that is predicted by the others: the honest figure, of the brightest an extrapolation.",
               {n: candidates[n].tolist() for n in names}, "stars"),
    ]  # fmt: skip
    table, figures = numbers.starResiduals, numbers.starFigures
    if table is not None and len(table["flux"]):
        data = {k: v for k, v in table.items() if k != "row"}
        entries.append(_entry(sp.fluxResidualPanel(table), "Share of the flux of stars left on the difference",
                              f"Mean {100 * figures['flux']:+.3f} +- {100 * figures['fluxError']:.3f} %.", data, "star_residuals"))  # fmt: skip
        entries.append(_entry(sp.offsetPanel(table, box), "Arrows of the displacement of stars over the field",
                              f"Thousandths of a pixel. Mean {1000 * figures['dx']:+.1f}, {1000 * figures['dy']:+.1f} +- "
                              f"{1000 * figures['error']:.1f} mpx; single stars scatter by {1000 * figures['scatter']:.1f} mpx per "
                              "axis beyond their noise."))  # fmt: skip
    entries.append(_entry(sp.starMapPanel(candidates, box, cell), "Stars of the fit over the field with their cells"))
    section.figures(entries)
    _stamps(section, result, numbers, scales, candidates)
    _starTable(section, candidates)


def _stamps(section, result, numbers, scales, candidates):
    section.heading("The worst of them, and those that were rejected")
    section.paragraph(
        "Science, template as subtracted, difference over its noise from -5 (blue) to 5 (red); grey: masked."
    )
    entries = []
    for i in _mostTelling(candidates):
        row = candidates[int(i)]
        used = bool(row["usedInFit"])
        fitted, loo = float(row["spatialRms"]), float(row["looRms"])
        lines = [f"star {row['id']}, S/N {row['rating']:.0f}", f"at {row['x']:.0f}, {row['y']:.0f}"]
        lines[1] += f"; chi {fitted:.2f}" if np.isfinite(fitted) else ""
        lines[1] += f", by the others {loo:.2f}" if used and np.isfinite(loo) else ""
        if not used:
            lines.append(shortNumbers(str(row["rejectionText"] or row["status"])))
        state = ("green" if loo < 1.3 else "amber") if used else "red"
        picture = scales.triplet(result, numbers, row["x"], row["y"], _STAMP_HALF)
        alt = f"cut-outs of star {row['id']}"
        entries.append({"picture": picture, "alt": alt, "caption": "\n".join(lines), "state": state})
    section.cuts(entries)


def shortNumbers(text):
    """A sentence without the name of a class before it and with four figures of each number: 0.259259 becomes 0.2593."""
    text = re.sub(r"^[A-Z][A-Za-z]+: ", "", text)
    return re.sub(r"\d+\.\d{4,}(?![\d.])", lambda match: f"{float(match.group()):.4g}", text)


def _mostTelling(candidates):
    """Rows to show: those of the largest residuals when left out, then rejected stars."""
    used = np.asarray(candidates["usedInFit"], bool)
    rejected = np.flatnonzero(~used & (np.asarray(candidates["status"]) == "BAD"))[: _STAMPS // 2]
    loo = np.nan_to_num(np.asarray(candidates["looRms"], float), nan=-1.0)
    order = np.argsort(-np.where(used, loo, -2.0), kind="stable")
    return [*order[: min(_STAMPS - len(rejected), int(used.sum()))], *rejected]


def _starTable(section, candidates):
    shown = {
        "id": "star", "x": "x", "y": "y", "rating": "S/N", "status": "status", "kernelSum": "kernel sum",
        "kernelSumError": "±", "spatialRms": "chi", "looRms": "chi by the others", "rejectionText": "reason",
    }  # fmt: skip
    order = np.argsort(-np.asarray(candidates["rating"], float), kind="stable")
    columns = {label: candidates[name][order].tolist() for name, label in shown.items() if name in candidates.colnames}
    if "reason" in columns:
        columns["reason"] = [shortNumbers(str(t)) for t in columns["reason"]]
    forms = {
        "x": ".1f",
        "y": ".1f",
        "S/N": ".0f",
        "kernel sum": ".4f",
        "±": ".4f",
        "chi": ".3f",
        "chi by the others": ".3f",
    }
    section.table(columns, units={"x": "px", "y": "px"}, forms=forms, csvName="kernel_stars")
