"""Panels of a coadd: inputs of each pixel, noise against depth, and what each input brings."""

import numpy as np

from .kernel_panels import extentOf
from .panels import BLUE, GREEN, GREY, ORANGE, drawMap, legend, panel, title
from .pixels import blockMean

__all__ = ["countPanel", "depthPanel", "inputPanel", "sharePanel", "widthPanel"]

_MAP = 400  # pixels of a map


def countPanel(nImage, box, words, label="inputs"):
    """A map of numbers of inputs."""
    figure, axes = panel(bar=True, square=True)
    values, _ = blockMean(np.asarray(nImage, np.float32), maxSide=_MAP)
    low, high = float(np.min(values)), float(np.max(values))
    drawMap(axes, values, extentOf(box), label, vmin=low, vmax=high if high > low else low + 1.0)
    title(axes, words)
    return figure


def depthPanel(depth):
    """Noise times the root of the number of inputs against that number: level for independent inputs."""
    figure, axes = panel()
    n, found, expected = (np.asarray(depth[k], float) for k in ("n", "noiseRootN", "expectedRootN"))
    single = n == 1
    axes.plot(n, expected, color=GREY, linestyle="--", linewidth=1.2, label="expected from the variances")
    axes.plot(n[~single], found[~single], "o", color=BLUE, markersize=6, label="coadd, where so many inputs are")
    if np.any(depth["inputs"]):
        values = np.asarray(depth["inputs"], float)
        x = np.full(len(values), 1.0)
        axes.plot(x, values, "_", color=ORANGE, markersize=14, alpha=0.7, label="each input")
    axes.set_xscale("log")
    top = max(2.0, float(n.max()) * 1.25)
    axes.set_xlim(0.8, top)
    ticks = [t for t in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 300, 500, 1000) if t <= top]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    high = np.nanmax(np.concatenate([found, expected, np.asarray(depth["inputs"], float)]))
    axes.set_ylim(0.0, 1.35 * high if np.isfinite(high) and high > 0 else 1.0)
    axes.set_xlabel("inputs of a pixel, N", fontsize=9)
    axes.set_ylabel("noise of the sky x √N", fontsize=9)
    title(axes, "noise against depth: level if nothing is lost")
    legend(axes, loc="lower left")
    return figure


def inputPanel(columns, name, label, words, *, ideal=None, logarithmic=False):
    """One figure of each used input, in order."""
    figure, axes = panel()
    values = np.asarray(columns[name], float)
    x = np.arange(1, len(values) + 1)
    small = len(values) > 60
    axes.plot(x, values, "o", color=BLUE, markersize=2.5 if small else 5)
    if ideal is not None:
        axes.axhline(ideal, color=GREY, linestyle="--", linewidth=1)
    finite = values[np.isfinite(values)]
    if logarithmic and finite.size and finite.min() > 0 and finite.max() > 3 * finite.min():
        axes.set_yscale("log")
    elif finite.size:
        middle, spread = float(np.median(finite)), float(np.ptp(finite))
        least = 0.04 * abs(middle) if middle else 0.1
        low, high = float(finite.min()), float(finite.max())
        if ideal is not None:
            low, high = min(low, ideal), max(high, ideal)
        margin = max(0.15 * spread, least)
        axes.set_ylim(low - margin, high + margin)
    axes.set_xlim(0.2, len(values) + 0.8)
    axes.set_xlabel("input, in the order of the table", fontsize=9)
    axes.set_ylabel(label, fontsize=9)
    title(axes, words)
    return figure


def widthPanel(columns):
    """Share of the weight of each input against its seeing: bars."""
    figure, axes = panel()
    x = np.arange(1, len(columns["weight"]) + 1)
    axes.bar(x, 100.0 * np.asarray(columns["weight"], float), color=BLUE, width=0.8)
    axes.axhline(100.0 / max(len(x), 1), color=GREY, linestyle="--", linewidth=1, label="equal weights")
    axes.set_xlim(0.2, len(x) + 0.8)
    axes.set_xlabel("input, in the order of the table", fontsize=9)
    axes.set_ylabel("share of the weight [%]", fontsize=9)
    title(axes, "weights")
    axes.set_ylim(0, 1.25 * max(100.0 * np.nanmax(np.asarray(columns["weight"], float)), 1e-6))
    legend(axes, loc="upper right")
    return figure


def sharePanel(columns, compare):
    """Per input: pixels of artifacts, or without a search for them the share of outlying pixels."""
    figure, axes = panel()
    x = np.arange(1, len(columns["outliers"]) + 1)
    if compare:
        axes.bar(x, np.asarray(columns["artifactPixels"], float), color=ORANGE, width=0.8)
        axes.set_ylabel("pixels", fontsize=9)
        title(axes, "left out as artifacts")
    else:
        axes.bar(x, 1e4 * np.asarray(columns["outliers"], float), color=GREEN, width=0.8)
        axes.set_ylabel("pixels of 10 000", fontsize=9)
        title(axes, "beyond 5 sigma of the coadd")
    axes.set_xlim(0.2, len(x) + 0.8)
    axes.set_ylim(0, None)
    axes.set_xlabel("input, in the order of the table", fontsize=9)
    return figure
