"""The candidates of a difference image in its report."""

import numpy as np

from . import source_panels as panels
from .drawing import Drawing
from .panels import panelDpi
from .subtract_numbers import candidateRows, flagColumn

__all__ = ["significanceOf", "sourcePositions", "sourceSection"]

_SHOWN = 60
_HALF = 31  # cut-outs of 63 pixels
_GAP = 2  # pixels between the pictures of a triplet
_TABLE = 1000
_SIGNIFICANCES = ("detectSignificance", "significance", "snr", "signalToNoise")
_POSITIONS = ("base_SdssCentroid", "ip_diffim_DipoleFit", "base_NaiveCentroid")
_NJY_ZERO = 31.4  # AB magnitude of 1 nJy


def sourcePositions(sources):
    """Parent pixel coordinates of a table of sources: the centroid slot, its usual names, or x and y; None without."""
    slots = dict(sources.meta.get("slots") or {})
    stems = [slots.get("slot_Centroid"), slots.get("Centroid"), *_POSITIONS]
    pairs = [(f"{s}_x", f"{s}_y") for s in stems if s] + [("x", "y"), ("xcentroid", "ycentroid")]
    for a, b in pairs:
        if a in sources.colnames and b in sources.colnames:
            return _plain(sources[a]), _plain(sources[b])
    return None


def significanceOf(sources):
    """Signal-to-noise ratio of sources, without sign; from the PSF flux when no column has it; NaN else."""
    for name in _SIGNIFICANCES:
        if name in sources.colnames:
            return np.abs(_plain(sources[name]))
    if {"base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr"} <= set(sources.colnames):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.abs(_plain(sources["base_PsfFlux_instFlux"]) / _plain(sources["base_PsfFlux_instFluxErr"]))
    return np.full(len(sources), np.nan)


def _plain(column):
    values = np.ma.filled(np.ma.asarray(column, dtype=float), np.nan)
    return np.asarray(getattr(values, "value", values), float)


def magnitudesOf(sources):
    """(magnitudes of the absolute PSF flux, label): AB where the table is calibrated, else instrumental; None without."""
    if "base_PsfFlux_instFlux" not in sources.colnames:
        return None
    flux = np.abs(_plain(sources["base_PsfFlux_instFlux"]))
    zero, label = 0.0, "instrumental magnitude, -2.5 log10(counts)"
    if "base_LocalPhotoCalib" in sources.colnames:
        calibration = _plain(sources["base_LocalPhotoCalib"])
        if np.isfinite(calibration).any():
            flux, zero, label = flux * calibration, _NJY_ZERO, "AB magnitude of the change"
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = zero - 2.5 * np.log10(flux)
    return np.where(np.isfinite(magnitude), magnitude, np.nan), label


def sourceFlags(sources):
    """Names of the pixel flags and reasons set for each source, shortened, as a list of `str`."""
    stems = [
        n for n in sources.colnames if n.startswith("base_PixelFlags_flag_") and "enter" not in n.rsplit("_", 1)[-1]
    ]
    columns = [(n.removeprefix("base_PixelFlags_flag_"), np.asarray(sources[n], bool)) for n in stems]
    reasons = [n for n in sources.colnames if n.startswith("candidate_flag_")]
    columns += [(n.removeprefix("candidate_flag_"), np.asarray(sources[n], bool)) for n in reasons]
    words = [dict.fromkeys(name for name, values in columns if values[i]) for i in range(len(sources))]
    return [" ".join(w) for w in words]


class _Table:
    """Columns of a table of sources that the section needs, whatever the table has of them."""

    def __init__(self, sources):
        self.sources = sources
        self.n = len(sources)
        self.sky = flagColumn(sources, "sky_source")
        self.good = candidateRows(sources)
        self.negative = flagColumn(sources, "is_negative")
        self.dipole = flagColumn(sources, "ip_diffim_DipoleFit_classification")
        self.significance = significanceOf(sources)
        self.flags = sourceFlags(sources)
        self.positions = sourcePositions(sources)
        self.magnitudes = magnitudesOf(sources)
        # good ones first, then artefacts, then sky; each by falling significance
        rank = np.where(self.sky, 2, np.where(self.good, 0, 1))
        self.order = np.lexsort((-np.nan_to_num(self.significance, nan=-1.0), rank))

    def column(self, name):
        return _plain(self.sources[name]) if name in self.sources.colnames else None

    def kind(self, i):
        if self.sky[i]:
            return "sky position"
        return "dipole" if self.dipole[i] else "negative" if self.negative[i] else "positive"


def sourceSection(section, result, numbers, scales, tables=None):
    """Append histograms, the table, and cut-outs of the most significant candidates.

    Parameters
    ----------
    section : `Section`
    result : `stillsky.diffim.SubtractResult`
        With ``sources``.
    numbers : `DifferenceNumbers`
    scales : object
        With ``triplet``, which makes pictures of cut-outs.
    tables : `dict`, optional
        Files that hold the table: words to relative addresses.
    """
    table = _Table(result.sources)
    real = ~table.sky
    section.cards({
        "candidates": str(int(np.count_nonzero(table.good))),
        "of these positive": str(int(np.count_nonzero(table.good & ~table.negative))),
        "negative": str(int(np.count_nonzero(table.good & table.negative))),
        "dipoles": str(int(np.count_nonzero(real & table.dipole))),
        "flagged as artefacts": str(int(np.count_nonzero(real & ~table.good))),
        "empty sky positions": str(int(np.count_nonzero(table.sky))),
    })  # fmt: skip
    if tables:
        section.links(tables)
    if not real.any():
        section.paragraph("No source stands out.")
    entries = _figures(table, numbers, real)
    if entries:
        section.figures(entries)
    counts = _flagCounts(table, real)
    if counts:
        section.heading(f"Flags of {int(np.count_nonzero(real))} sources").bars(counts, form="d", share=False)
    if not len(result.sources):
        return
    shown = table.order[real[table.order]][:_SHOWN]
    cut = shown[np.isfinite(table.positions[0] + table.positions[1])[shown]] if table.positions is not None else []
    _table(section, table, set(int(i) for i in cut))
    if len(cut):
        _cutouts(section, result, numbers, scales, table, cut)


def _flagCounts(table, real):
    """Numbers of sources by flag, the most frequent first."""
    counts = {}
    for i in np.flatnonzero(real):
        for word in table.flags[i].split():
            counts[word] = counts.get(word, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: -item[1])[:14])


def _figures(table, numbers, real):
    entries = []

    def add(figure, alt, caption=None, data=None, name="figure"):
        entries.append({"picture": figure, "alt": alt, "caption": caption, "data": data, "name": name, "dpi": panelDpi})

    kinds = {
        "positive": table.good & ~table.negative, "negative": table.good & table.negative, "flagged": real & ~table.good,
    }  # fmt: skip
    if np.isfinite(table.significance[real]).any():
        threshold = table.sources.meta.get("threshold")
        add(panels.significancePanel(table.significance, kinds, threshold), "Significances of positive, negative and flagged sources",
            "Equal numbers of either sign near the threshold are a sign of bad noise.",
            {"significance": table.significance, "negative": table.negative, "flagged": ~table.good}, "significance")  # fmt: skip
    if table.magnitudes is not None and np.isfinite(table.magnitudes[0][real]).any():
        add(panels.magnitudePanel(table.magnitudes, kinds), "Magnitudes of positive, negative and flagged sources",
            None, {"magnitude": table.magnitudes[0]}, "magnitudes")  # fmt: skip
    if len(numbers.skyPulls) >= 5:
        add(panels.pullPanel(numbers.skyPulls), "PSF fluxes at empty positions over their errors, and the unit Gaussian",
            "The flux errors are right when the scatter is 1.", {"pull": numbers.skyPulls}, "sky_pulls")  # fmt: skip
    return entries


def _cutouts(section, result, numbers, scales, table, chosen):
    words = f"The {len(chosen)} most significant" if len(chosen) > 1 else "The most significant"
    section.heading("Each of them" if len(chosen) == table.n else words)
    scale = _arcsecPerPixel(result.difference)
    section.paragraph(
        f"Science, template as subtracted, difference over its noise from -5 (blue) to 5 (red); {2 * _HALF + 1} pixels"
        + (f", {(2 * _HALF + 1) * scale:.1f} arcsec" if scale else "")
        + ". Grey in the difference: masked. A line joins the lobes of a dipole, + and - mark them. Arrow keys: next and last."
    )
    north = _compass(result.difference)
    x, y = table.positions
    entries = []
    for i in chosen:
        picture = scales.triplet(result, numbers, x[i], y[i], _HALF)
        state = "green" if table.good[i] and not table.dipole[i] else "amber"
        entries.append({
            "picture": picture, "alt": f"cut-outs of source {table.sources['id'][i]}" if "id" in table.sources.colnames
            else f"cut-outs of source {i}", "caption": "\n".join(_caption(result, table, i)), "state": state,
            "drawing": _marks(table, i, north), "anchor": f"source{i}",
        })  # fmt: skip
    section.cuts(entries, wide=True)


def _caption(result, table, i):
    """Lines below a cut-out."""
    x, y = (float(v[i]) for v in table.positions)
    lines = [f"{table.significance[i]:.1f} sigma, {table.kind(i)}" + ("" if table.good[i] else ", flagged")]
    ra, dec = table.column("coord_ra"), table.column("coord_dec")
    place = f"id {table.sources['id'][i]}; " if "id" in table.sources.colnames else ""
    place += f"x {x:.1f}, y {y:.1f}"
    if ra is not None and dec is not None and np.isfinite(ra[i] + dec[i]):
        place += f"; RA {np.degrees(ra[i]) % 360:.5f}, Dec {np.degrees(dec[i]):+.5f}"
    lines.append(place)
    flux, error = table.column("base_PsfFlux_instFlux"), table.column("base_PsfFlux_instFluxErr")
    facts = []
    if flux is not None and error is not None and np.isfinite(flux[i]):
        facts.append(f"flux {_withError(flux[i], error[i])}")
    if table.magnitudes is not None and np.isfinite(table.magnitudes[0][i]) and "AB" in table.magnitudes[1]:
        facts.append(f"AB {table.magnitudes[0][i]:.2f}")
    separation = table.column("ip_diffim_DipoleFit_separation")
    if table.dipole[i] and separation is not None:
        facts.append(f"lobes {separation[i]:.2f} px apart")
    if table.flags[i]:
        facts.append(f"flags: {table.flags[i]}")
    return lines + ["; ".join(facts)] * bool(facts)


def _withError(value, error):
    """A number and its error, which has two figures or more."""
    decimals = max(0, 1 - int(np.floor(np.log10(error)))) if np.isfinite(error) and error > 0 else 2
    return f"{value:.{decimals}f} ± {error:.{decimals}f}"


def _marks(table, i, north):
    """An open cross on each picture of a triplet; lobes of a dipole on the last; north and east on the first."""
    side = 2 * _HALF + 1
    drawing = Drawing(3 * side + 2 * _GAP, side)
    x, y = (float(v[i]) for v in table.positions)
    left, low = round(x) - _HALF, round(y) - _HALF
    colours = ("#ffd23f", "#ffd23f", "#111111")
    for k, colour in enumerate(colours):
        offset = k * (side + _GAP)
        lobes = _lobes(table, i) if k == 2 else None
        if lobes is None:
            drawing.cross(x - left + offset, y - low, 7, 12, colour)
            continue
        ax, ay, bx, by = (v - o for v, o in zip(lobes, (left, low, left, low)))
        drawing.line(ax + offset, ay, bx + offset, by, "#111111")
        length = max(np.hypot(bx - ax, by - ay), 0.1)
        for sign, px, py, away in (("+", ax, ay, -1), ("-", bx, by, 1)):
            dx, dy = away * (bx - ax) / length, away * (by - ay) / length
            drawing.text(px + 7 * dx + offset, py + 7 * dy, sign, "#111111", 9)
    if north is not None:
        for (dx, dy), name in zip(north, "NE"):
            drawing.line(15, 14, 15 + 8 * dx, 14 + 8 * dy, "#9fd6ff").text(
                15 + 11 * dx, 14 + 11 * dy, name, "#9fd6ff", 5
            )
    return drawing


def _lobes(table, i):
    """Positions of the positive and the negative lobe of a classified dipole, parent pixels; None else."""
    columns = [table.column(f"ip_diffim_DipoleFit_{s}_{a}") for s in ("pos", "neg") for a in "xy"]
    if not table.dipole[i] or any(c is None for c in columns):
        return None
    values = [float(c[i]) for c in columns]
    return values if np.isfinite(values).all() else None


def _compass(exposure):
    """Unit vectors to north and east in pixels at the middle; None without a WCS."""
    if exposure.wcs is None:
        return None
    x, y = exposure.bbox.center
    ra, dec = exposure.wcs.pixelToSky(x, y)
    step, vectors = 1e-5, []
    for a, d in ((0.0, step), (step / max(np.cos(dec), 1e-3), 0.0)):
        offset = np.array(exposure.wcs.skyToPixel(ra + a, dec + d), float) - (x, y)
        length = np.hypot(*offset)
        if not np.isfinite(length) or length == 0:
            return None
        vectors.append(offset / length)
    return vectors


def _arcsecPerPixel(exposure):
    if exposure.wcs is None:
        return None
    scale = np.degrees(exposure.wcs.pixelScale(*exposure.bbox.center)) * 3600
    return float(scale) if np.isfinite(scale) else None


def _table(section, table, anchors):
    section.heading("Table")
    order = table.order[:_TABLE]
    if table.n > len(order):
        section.paragraph(f"The {len(order)} most significant of {table.n}; all are in the table on disk.")
    columns = {"S/N": table.significance[order], "kind": [table.kind(i) for i in order]}
    units, forms = {}, {"S/N": ".1f"}

    def add(label, values, form, unit=""):
        if values is not None:
            columns[label], forms[label] = values[order], form
            if unit:
                units[label] = unit

    if table.positions is not None:
        add("x", table.positions[0], ".2f", "px")
        add("y", table.positions[1], ".2f", "px")
    ra, dec = table.column("coord_ra"), table.column("coord_dec")
    add("RA", None if ra is None else np.degrees(ra) % 360, ".6f", "deg")
    add("Dec", None if dec is None else np.degrees(dec), "+.6f", "deg")
    add("flux", table.column("base_PsfFlux_instFlux"), ".4g", "counts")
    add("±", table.column("base_PsfFlux_instFluxErr"), ".3g", "counts")
    if table.magnitudes is not None and "AB" in table.magnitudes[1]:
        add("AB mag", table.magnitudes[0], ".2f")
    add("χ² per px", _perPixel(table.column("base_PsfFlux_chi2"), table.column("base_PsfFlux_npixels")), ".2f")
    for name, label, form in _FEATURES:
        add(label, table.column(name), form)
    columns["flags"] = [table.flags[i] for i in order]
    if "id" in table.sources.colnames:
        columns["id"] = [str(table.sources["id"][i]) for i in order]
    columns = {name: list(values.tolist() if hasattr(values, "tolist") else values) for name, values in columns.items()}
    links = {"S/N": [f"#source{i}" if int(i) in anchors else None for i in order]}
    states = [None if table.sky[i] else "green" if table.good[i] else "amber" for i in order]
    section.table(columns, units=units, forms=forms, states=states, csvName="sources", links=links)


def _perPixel(chi2, n):
    """Of the fit of the PSF: 1 is a point source and nothing else."""
    return (
        None if chi2 is None or n is None else np.divide(chi2, n, out=np.full(len(n), np.nan), where=np.asarray(n) > 0)
    )


# Column -> heading and format: what tells real sources from artefacts.
_FEATURES = (
    ("candidate_widthRatio", "width / PSF", ".2f"),
    ("candidate_asymmetry", "asymmetry", ".2f"),
    ("candidate_residualRatio", "share of star", ".3f"),
    ("ip_diffim_DipoleFit_separation", "lobes, px", ".2f"),
    ("footprintArea", "area, px", ".0f"),
)
