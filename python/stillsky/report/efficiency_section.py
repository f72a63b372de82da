"""The section of a report about planted sources: how many were found again, and with what fluxes."""

import numpy as np

from .panels import BLUE, ORANGE, legend, logAxis, panel, panelDpi, title

__all__ = ["efficiencyOf", "efficiencySection"]

_CARDS = (
    ("completeness7", "completeness, S/N above 7", ".3f"),
    ("purity", "purity", ".3f"),
    ("signalToNoise50", "S/N at which half are found", ".2f"),
    ("signalToNoise90", "S/N at which 90 % are found", ".2f"),
    ("fluxPullSigma", "scatter of flux pulls", ".3f"),
)


def efficiencyOf(result, summary):
    """Columns of the efficiency curve, of a result or of a summary read back; None without planted sources."""
    table = getattr(result, "efficiency", None)
    if table is not None and len(table):
        return {name: np.asarray(table[name], float) for name in table.colnames}
    columns = summary.get("efficiency")
    if not isinstance(columns, dict) or not columns.get("signalToNoise"):
        return None
    return {name: np.array([np.nan if v is None else v for v in values], float) for name, values in columns.items()}


def efficiencySection(section, columns, injection, threshold=None):
    """Append figures, completeness and flux recovery.

    Parameters
    ----------
    section : `Section`
    columns : `dict`
        Of `efficiencyOf`.
    injection : `dict`
        The metadata "injection".
    threshold : `float`, optional
        Of the detection, sigma.
    """
    cards = {"planted sources": f"{injection.get('n', int(columns['n'].sum()))}"}
    for key, label, form in _CARDS:
        if isinstance(injection.get(key), (int, float)):
            cards[label] = format(injection[key], form)
    if isinstance(injection.get("fluxBias"), (int, float)):
        error = injection.get("fluxBiasErr")
        cards["flux bias, S/N above 10"] = f"{100 * injection['fluxBias']:+.1f}" + (
            f" ± {100 * error:.1f} %" if isinstance(error, (int, float)) else " %"
        )
    section.cards(cards)
    section.paragraph(
        "Point sources with the PSF of the science image, added to a copy of it and searched with the same kernel. Found: "
        "a source within the match radius that is not flagged. The delivered difference has none of them."
    )
    merged = _merged(columns)
    section.figures([
        {"picture": completenessPanel(merged, injection, threshold), "alt": "Completeness against signal-to-noise ratio",
         "caption": "Bars: one-sigma interval (Wilson). Bins with fewer than 20 planted sources are put together.",
         "data": columns, "name": "efficiency", "dpi": panelDpi},
        {"picture": fluxRatioPanel(merged), "alt": "Recovered over planted flux against signal-to-noise ratio",
         "caption": "Forced PSF flux at the true place, whether found or not.", "dpi": panelDpi},
    ])  # fmt: skip


def _merged(columns, fewest=20):
    """Neighbouring bins put together until each has so many sources: centre, n, counts, and the flux ratio."""
    rows, current = [], []
    n = columns["n"]
    for k in range(len(n)):
        current.append(k)
        if n[current].sum() >= fewest:
            rows.append(current)
            current = []
    if current and n[current].sum():
        rows = [*rows[:-1], rows[-1] + current] if rows else [current]
    made = {"signalToNoise": [], "n": [], "nFound": [], "nDetected": [], "fluxRatio": [], "fluxRatioErr": []}
    for row in rows:
        weight = n[row]
        made["signalToNoise"].append(float(np.average(columns["signalToNoise"][row], weights=weight)))
        for name in ("n", "nFound", "nDetected"):
            made[name].append(float(columns[name][row].sum()))
        ratio = columns["fluxRatio"][row]
        good = np.isfinite(ratio) & (weight > 0)
        ratio, weight = ratio[good], weight[good]
        made["fluxRatio"].append(float(np.average(ratio, weights=weight)) if weight.size else np.nan)
        error = np.nan_to_num(columns["fluxRatioErr"][row][good], nan=0.0)
        made["fluxRatioErr"].append(
            float(np.sqrt(np.sum((weight * error) ** 2)) / weight.sum()) if weight.size else np.nan
        )
    return {name: np.array(values) for name, values in made.items()}


def completenessPanel(merged, injection, threshold=None):
    """Shares detected and found, with the fitted curve where there is one."""
    from scipy.special import ndtr

    figure, axes = panel()
    ratio, n, found = merged["signalToNoise"], merged["n"], merged["nFound"]
    share = found / n
    middle, half = (share + 0.5 / n) / (1 + 1 / n), np.sqrt(share * (1 - share) / n + 0.25 / n**2) / (1 + 1 / n)
    error = np.maximum([share - middle + half, middle + half - share], 0.0)
    axes.errorbar(ratio, share, error, fmt="o", color=BLUE, markersize=4.5, capsize=2, label="found, unflagged")
    axes.plot(
        ratio, merged["nDetected"] / n, "^", color=ORANGE, mfc="none", markersize=5, label="detected, flagged or not"
    )
    plateau, width, half50 = (injection.get(k) for k in ("plateau", "width", "signalToNoise50"))
    if (
        all(isinstance(v, (int, float)) and np.isfinite(v) for v in (plateau, width, half50))
        and plateau > 0.5
        and width > 0
    ):
        from scipy.special import ndtri

        x = np.geomspace(ratio.min(), ratio.max(), 200)
        axes.plot(
            x,
            plateau * ndtr((x - half50) / width + ndtri(0.5 / plateau)),
            color=BLUE,
            linewidth=1,
            alpha=0.7,
            label="fit",
        )
    for level in (0.5, 0.99):
        axes.axhline(level, color="0.6", linewidth=0.7, linestyle=":")
    if threshold:
        axes.axvline(threshold, color="0.3", linestyle="--", linewidth=0.9)
    logAxis(axes, "x", 0.95 * ratio.min(), 1.05 * ratio.max())
    axes.set_ylim(-0.03, 1.05)
    axes.set_xlabel("signal-to-noise ratio" + ("; dashed: threshold" if threshold else ""), fontsize=9)
    axes.set_ylabel("share of planted sources", fontsize=9)
    title(axes, "completeness; dotted: 50 and 99 %")
    legend(axes, loc="lower right")
    return figure


def fluxRatioPanel(merged):
    """Median of recovered over planted flux."""
    figure, axes = panel()
    ratio, value, error = (merged[k] for k in ("signalToNoise", "fluxRatio", "fluxRatioErr"))
    axes.errorbar(ratio, value, error, fmt="o", color=BLUE, markersize=4.5, capsize=2)
    axes.axhline(1.0, color="0.4", linewidth=1)
    far = np.abs(value - 1) + error
    far = far[np.isfinite(far)]
    reach = 1.1 * float(np.quantile(far, 0.9)) if far.size else 0.1
    axes.set_ylim(1 - max(reach, 0.02), 1 + max(reach, 0.02))
    logAxis(axes, "x", 0.95 * ratio.min(), 1.05 * ratio.max())
    axes.set_xlabel("signal-to-noise ratio", fontsize=9)
    axes.set_ylabel("recovered / planted", fontsize=9)
    title(axes, "flux of planted sources")
    return figure
