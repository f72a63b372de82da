"""Pictures of per-pixel gain and noise maps."""

import numpy as np

from .pixels import blockMean, robustScale

__all__ = ["pixelMapsFigure"]


def pixelMapsFigure(maps, maxSide=512):
    """Maps and histograms of gain and read noise per pixel.

    Parameters
    ----------
    maps : `stillsky.ptc.PixelMaps`
        Maps.
    maxSide : `int`
        Larger maps are averaged in blocks.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        11 x 7.6 inches, upper row gain, lower row noise.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 7.6), layout="constrained")
    panels = figure.subplots(2, 2, gridspec_kw={"width_ratios": [1.15, 1.0]})
    rows = (
        (maps.gain, "gain", "gain [electron/adu]", "viridis"),
        (maps.noise, "read noise", "read noise [electron]", "cividis"),
    )
    for (image, histogram), (values, name, label, colours) in zip(panels, rows):
        _drawMap(image, values, name, label, colours, maxSide)
        _drawHistogram(histogram, values, label)
    return figure


def _limits(values):
    middle, sigma = robustScale(values)
    if not np.isfinite(middle):
        return 0.0, 1.0
    width = 4.0 * (sigma if sigma > 0 else abs(middle) or 1.0)
    return max(middle - width, 0.0), middle + width


def _drawMap(axes, values, name, label, colours, maxSide):
    from matplotlib import colormaps

    preview, factor = blockMean(values, maxSide=maxSide)
    low, high = _limits(preview)
    height, width = preview.shape
    shown = axes.imshow(
        preview, origin="lower", cmap=colormaps[colours].with_extremes(bad="#9a9a9a"), vmin=low, vmax=high,
        extent=(-0.5, width * factor - 0.5, -0.5, height * factor - 0.5), interpolation="nearest",
    )  # fmt: skip
    means = f", {factor} x {factor} px means" if factor > 1 else ""
    axes.set_title(f"{name} per pixel{means}; grey: not measured", fontsize=10)
    axes.tick_params(labelsize=8)
    axes.figure.colorbar(shown, ax=axes, label=label, pad=0.02)


def _drawHistogram(axes, values, label):
    good = values[np.isfinite(values)]
    low, high = _limits(good)
    axes.set_xlabel(label)
    axes.set_ylabel("pixels")
    axes.spines[["top", "right"]].set_visible(False)
    if not good.size:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color="#666666")
        axes.set_yticks([])
        return
    # the ends are open: what lies beyond is counted in the outermost bins, so that odd pixels are seen
    edges = np.linspace(low, high, 101)
    counts, _ = np.histogram(np.clip(good, low, high), edges)
    axes.stairs(counts, edges, color="#0072b2", fill=True, alpha=0.35)
    axes.stairs(counts, edges, color="#0072b2", linewidth=1.2)
    axes.set_yscale("log")
    axes.set_ylim(0.7, None)
    middle = float(np.median(good))
    axes.axvline(middle, color="#d55e00", linewidth=1.2)
    axes.set_title(f"median {middle:.4g}, missing {1 - good.size / values.size:.2%}", fontsize=10)
