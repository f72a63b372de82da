"""Panels of the candidates of a difference image."""

import numpy as np

from .panels import BLUE, ORANGE, legend, logAxis, panel, title
from .pixels import robustScale

__all__ = ["magnitudePanel", "pullPanel", "significancePanel"]

_COLOURS = {"positive": ORANGE, "negative": BLUE, "flagged": "#9aa3ad"}


def _stacked(axes, values, kinds, edges):
    """Histograms of the kinds, one on the other, so that each is seen."""
    base = np.zeros(len(edges) - 1)
    for name, chosen in kinds.items():
        counts = np.histogram(values[chosen & np.isfinite(values)], edges)[0]
        if counts.any():
            hatch = "////" if name == "negative" else None
            axes.stairs(base + counts, edges, baseline=base, fill=True, color=_COLOURS[name], label=f"{name}: {counts.sum()}",
                        hatch=hatch, edgecolor="white" if hatch else None, linewidth=0.4)  # fmt: skip
            base = base + counts
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_ylim(0, max(1.0, 1.35 * base.max()))
    axes.set_ylabel("sources", fontsize=9)
    legend(axes)


def significancePanel(significance, kinds, threshold=None):
    """Histogram of the significance by kind: a `dict` of name to rows."""
    figure, axes = panel()
    either = np.logical_or.reduce(list(kinds.values()))
    values = significance[either & np.isfinite(significance)]
    low = min(values.min(), threshold or np.inf)
    edges = np.geomspace(max(low, 0.5) * 0.97, max(values.max(), 2.0 * low) * 1.03, 25)
    _stacked(axes, significance, kinds, edges)
    logAxis(axes, "x", edges[0], edges[-1])
    if threshold:
        axes.axvline(threshold, color="0.3", linestyle="--", linewidth=0.9)
    axes.set_xlabel("significance [sigma]" + (f"; dashed: threshold {threshold:g}" if threshold else ""), fontsize=9)
    title(axes, "significance of sources")
    return figure


def magnitudePanel(magnitudes, kinds):
    """Histogram of magnitudes by kind."""
    values, label = magnitudes
    figure, axes = panel()
    shown = values[np.logical_or.reduce(list(kinds.values())) & np.isfinite(values)]
    low, high = np.floor(2 * shown.min()) / 2, np.ceil(2 * shown.max()) / 2 + 0.5
    step = 0.25 if high - low <= 8 else 0.5
    _stacked(axes, values, kinds, np.arange(low, high + 0.5 * step, step))
    axes.set_xlim(high, low)  # bright to the right
    axes.set_xlabel(label, fontsize=9)
    title(axes, "magnitudes of sources")
    return figure


def pullPanel(pulls):
    """Fluxes at empty positions over their errors."""
    figure, axes = panel()
    edges = np.linspace(-5.0, 5.0, 21 if len(pulls) < 200 else 41)
    counts = np.histogram(np.clip(pulls, -5.0, 5.0), edges)[0]
    axes.stairs(counts, edges, fill=True, color=BLUE, alpha=0.75, label=f"{len(pulls)} positions")
    x = np.linspace(-5.0, 5.0, 201)
    density = np.exp(-0.5 * x**2) / np.sqrt(2 * np.pi) * len(pulls) * (edges[1] - edges[0])
    axes.plot(x, density, color="black", linestyle="--", linewidth=1, label="unit Gaussian")
    middle, sigma = robustScale(pulls)
    n = len(pulls)
    axes.set_xlabel("PSF flux / its error", fontsize=9)
    axes.set_ylabel("positions", fontsize=9)
    title(axes, f"empty sky: median {middle:+.2f}, scatter {sigma:.2f} ± {1.17 * sigma / np.sqrt(2 * n):.2f}")
    legend(axes, loc="upper left")
    return figure
