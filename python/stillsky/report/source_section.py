"""The sources of a difference image in its report."""

import numpy as np

__all__ = ["significanceOf", "sourcePositions", "sourceSection"]

_SHOWN = 60
_HALF = 31  # cut-outs of 63 pixels
_TABLE = 1000
_SIGNIFICANCES = ("detectSignificance", "significance", "snr", "signalToNoise")
_POSITIONS = ("base_SdssCentroid", "ip_diffim_DipoleFit", "base_NaiveCentroid")
_FIRST = (
    "id", "detectSignificance", "is_negative", "base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr", "coord_ra",
    "coord_dec", "ip_diffim_DipoleFit_classification", "ip_diffim_DipoleFit_separation", "nPeaks", "footprintArea",
)  # fmt: skip


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


def sourceFlags(sources):
    """Names of the pixel flags set for each source, shortened, as a list of `str`."""
    stems = [n for n in sources.colnames if n.startswith("base_PixelFlags_flag_") and "enter" not in n.rsplit("_", 1)[-1]]
    columns = [(n.removeprefix("base_PixelFlags_flag_"), np.asarray(sources[n], bool)) for n in stems]
    return [" ".join(name for name, values in columns if values[i]) for i in range(len(sources))]


def sourceSection(section, result, numbers, scales):
    """Append histogram, cut-outs of the most significant sources, and the table."""
    sources = result.sources
    negative = np.asarray(sources["is_negative"], bool) if "is_negative" in sources.colnames else np.zeros(len(sources), bool)
    dipole = _flag(sources, "ip_diffim_DipoleFit_classification")
    real = ~_flag(sources, "sky_source")
    section.cards({
        "positive": int(np.count_nonzero(real & ~negative)), "negative": int(np.count_nonzero(real & negative)),
        "dipoles": int(np.count_nonzero(real & dipole)), "sky positions": int(np.count_nonzero(~real)),
    })  # fmt: skip
    if not len(sources):
        section.paragraph("No source stands out.")
        return
    significance = significanceOf(sources)
    flags = sourceFlags(sources)
    if np.isfinite(significance[real]).any():
        section.figure(
            _significanceFigure(significance, negative, real, flags), "Significances of positive and negative sources; counts of flags",
            "Equal numbers of either sign near the threshold are a sign of bad noise.",
            data={"significance": significance, "negative": negative}, name="significance", dpi=80,
        )  # fmt: skip
    positions = sourcePositions(sources)
    order = np.argsort(-np.where(real, np.nan_to_num(significance, nan=-1.0), -2.0), kind="stable")
    if positions is not None:
        _cutouts(section, result, numbers, scales, positions, order[real[order]][:_SHOWN], significance, negative, dipole, flags)
    _table(section, sources, positions, order[:_TABLE], significance, flags)


def _flag(sources, name):
    if name not in sources.colnames:
        return np.zeros(len(sources), bool)
    return np.asarray(np.ma.filled(sources[name], False), bool)


def _significanceFigure(significance, negative, real, flags):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 3.8))
    figure.subplots_adjust(left=0.05, right=0.98, bottom=0.14, top=0.91, wspace=0.25)
    left, right = figure.subplots(1, 2)
    values = significance[real & np.isfinite(significance)]
    edges = np.geomspace(max(values.min(), 1.0) * 0.99, max(values.max(), 10.0) * 1.01, 30)
    for chosen, name, colour in ((~negative, "positive", "#d55e00"), (negative, "negative", "#0072b2")):
        counts = np.histogram(significance[real & chosen & np.isfinite(significance)], edges)[0]
        left.stairs(counts, edges, label=f"{name}: {counts.sum()}", color=colour, linewidth=1.5)
    left.set_xscale("log")
    left.set_xlabel("significance [sigma]")
    left.set_ylabel("sources")
    left.legend(frameon=False)
    counts = {}
    for words, keep in zip(flags, real):
        for word in words.split() if keep else ():
            counts[word] = counts.get(word, 0) + 1
    names = sorted(counts, key=counts.get)[-12:]
    right.barh(names, [counts[n] for n in names], color="#6c8ebf")
    right.set_title("pixel flags of sources" if names else "no source has a pixel flag")
    return figure


def _cutouts(section, result, numbers, scales, positions, chosen, significance, negative, dipole, flags):
    section.heading(f"The {len(chosen)} most significant")
    section.paragraph("Science, template as subtracted, difference over its noise from -5 (blue) to 5 (red); 63 pixels.")
    x, y = positions
    ids = np.asarray(result.sources["id"]) if "id" in result.sources.colnames else np.arange(len(x))
    entries = []
    for i in chosen:
        if not np.isfinite(x[i] + y[i]):
            continue
        kind = "dipole" if dipole[i] else "negative" if negative[i] else "positive"
        words = f"; {flags[i]}" if flags[i] else ""
        caption = f"{ids[i]}: {significance[i]:.1f} sigma, {kind}, at {x[i]:.1f}, {y[i]:.1f}{words}"
        picture = scales.triplet(result, numbers, x[i], y[i], _HALF)
        entries.append((picture, f"cut-outs of source {ids[i]}", caption, "amber" if flags[i] or dipole[i] else "green"))
    section.cuts(entries)


def _table(section, sources, positions, order, significance, flags):
    section.heading("Table")
    if len(sources) > len(order):
        section.paragraph(f"The {len(order)} most significant of {len(sources)}; all are in the table on disk.")
    columns, units = {}, {}
    if positions is not None:
        columns |= {"x": positions[0][order], "y": positions[1][order]}
    if "detectSignificance" not in sources.colnames:
        columns["significance"] = significance[order]
    scalar = [n for n in sources.colnames if np.ndim(sources[n][:1]) == 1]
    first = [n for n in _FIRST if n in scalar]
    others = [n for n in scalar if n not in first and "_flag" not in n][: max(0, 8 - len(first))]
    for name in first + others:
        if name not in columns:
            columns[name] = np.ma.filled(np.ma.asarray(sources[name]), np.nan if sources[name].dtype.kind == "f" else 0)[order]
            units[name] = str(sources[name].unit or "")
    columns["flags"] = [flags[i] for i in order]
    columns = {name: list(values.tolist() if hasattr(values, "tolist") else values) for name, values in columns.items()}
    section.table(columns, units=units, forms={"x": ".2f", "y": ".2f", "coord_ra": ".7f", "coord_dec": ".7f"}, csvName="sources")
