"""Panels of the noise of a difference image against its variance plane."""

import numpy as np

from .kernel_panels import extentOf
from .panels import BLUE, ORANGE, colourBar, drawMap, legend, logAxis, panel, title

__all__ = [
    "aperturePanel",
    "chiHistogram",
    "chiMapPanel",
    "chiMaps",
    "correlationPanel",
    "histogramPanel",
    "noiseBinPanel",
]


def chiHistogram(numbers):
    """Columns middle, sky, source, gauss: shares of pixels in classes of difference over noise."""
    edges = np.linspace(-8.0, 8.0, 97)
    middle = 0.5 * (edges[1:] + edges[:-1])
    step = max(1, int(np.sqrt(numbers.chi.size / 2e6)))  # of two million pixels the tails are seen
    chi, onSource = numbers.chi[::step, ::step], numbers.onSource[::step, ::step]
    finite = np.isfinite(chi)
    columns = {"middle": middle}
    for name, chosen in (("sky", finite & ~onSource), ("source", finite & onSource)):
        index = np.clip((chi[chosen] + np.float32(8.0)) * np.float32(6.0), 0, len(middle) - 1).astype(np.uint8)
        columns[name] = np.bincount(index, minlength=len(middle)) / max(index.size, 1)
    columns["gauss"] = np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi) * (edges[1] - edges[0])
    return columns


def histogramPanel(numbers, histogram):
    """Difference over noise of sky and source pixels beside the unit Gaussian."""
    figure, axes = panel()
    edges = np.linspace(-8.0, 8.0, len(histogram["middle"]) + 1)
    for name, words, colour, sigma, n in (
        ("sky", "sky", BLUE, numbers.skyChi, numbers.nSky),
        ("source", "on sources", ORANGE, numbers.sourceChi, numbers.nSource),
    ):
        if n:
            label = f"{words}: σ {sigma:.3f}, {n:,} px"
            axes.stairs(histogram[name], edges, color=colour, label=label, linewidth=1.3)
    axes.plot(
        histogram["middle"], histogram["gauss"], color="black", linestyle="--", linewidth=1, label="unit Gaussian"
    )
    logAxis(axes, "y", max(0.5 / max(numbers.nSky, numbers.nSource, 1), 1e-8), 3.0)
    axes.set_xlim(-8.0, 8.0)
    axes.set_xlabel("difference / noise; outer bins: all beyond", fontsize=9)
    axes.set_ylabel("share of pixels", fontsize=9)
    title(axes, "residuals")
    legend(axes, loc="upper left", ncols=1)
    return figure


def noiseBinPanel(bins):
    """Observed over predicted noise, against the prediction."""
    figure, axes = panel()
    predicted, observed, n = (np.asarray(bins[k], float) for k in ("predicted", "observed", "n"))
    if predicted.size:
        ratio = observed / predicted
        # relative error of a robust scatter of n Gaussian values: 1.17 / sqrt(2 n) (Rousseeuw & Croux 1993)
        axes.errorbar(predicted, ratio, 1.17 * ratio / np.sqrt(2 * n), fmt="o", color=BLUE, markersize=5, capsize=2)
        logAxis(axes, "x", 0.93 * predicted.min(), 1.07 * predicted.max())
        axes.set_ylim(min(0.8, ratio.min() - 0.1), max(1.2, ratio.max() + 0.1))
    axes.axhspan(0.95, 1.05, color="0.5", alpha=0.2, linewidth=0)
    axes.axhline(1.0, color="0.4", linewidth=1)
    axes.set_xlabel("predicted noise: root of the variance plane [counts]", fontsize=9)
    axes.set_ylabel("observed / predicted", fontsize=9)
    title(axes, "noise against the variance plane; band: 5 %")
    return figure


def correlationPanel(correlation, before=None, words="sky, measured"):
    """Correlation coefficients (lags dx = 0.., dy = -n..n), the zero lag left out; beside those before decorrelation."""
    figure, axes = panel(bar=True)
    place = axes.get_position()
    maps = [(before, "before, closed form"), (correlation, words)] if before is not None else [(correlation, words)]
    shown = [values.T.copy() for values, _ in maps]
    top = correlation.shape[0] - 1
    for values in shown:
        values[top, 0] = np.nan  # 1 by definition
    finite = np.concatenate([v[np.isfinite(v)] for v in shown])
    limit = max(0.02, float(np.abs(finite).max())) if finite.size else 1.0
    extent = (-0.5, top + 0.5, -top - 0.5, top + 0.5)
    width = place.width if before is None else 0.46 * place.width
    for k, (values, (_, name)) in enumerate(zip(shown, maps)):
        part = axes if k == len(maps) - 1 else figure.add_axes([place.x0, place.y0, width, place.height])
        options = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit, "aspect": "auto", "interpolation": "nearest"}
        image = part.imshow(values, origin="lower", extent=extent, **options)
        part.set_facecolor("#9a9a9a")
        part.set_xlabel("dx [px]", fontsize=9)
        part.set_xticks(range(0, top + 1))
        part.set_yticks(range(-top + 1, top, 2), labels=None if k == 0 else [])
        part.tick_params(labelsize=9, color="0.4")
        title(part, name)
        for dx in range(3):  # the nearest lags in numbers: all others are seen to be small
            for dy in range(-2, 3):
                value = values[dy + top, dx]
                if np.isfinite(value):
                    colour = "white" if abs(value) > 0.6 * limit else "black"
                    text = f"{value:.3f}".replace("0.", ".", 1)
                    part.text(dx, dy, text, ha="center", va="center", fontsize=6.5, color=colour)
        if k == 0:
            part.set_ylabel("dy [px]", fontsize=9)
    axes.set_position([place.x1 - width, place.y0, width, place.height])
    colourBar(axes, image, "correlation")
    return figure


def aperturePanel(squares, before=None):
    """Noise of sums over squares of sky, against their side; ``before``: what it was without decorrelation."""
    figure, axes = panel()
    side, observed, n = (np.asarray(squares[k], float) for k in ("side", "observed", "n"))
    if before is not None:
        axes.plot(before["side"], before["predicted"], "--", color=ORANGE, label="without decorrelation, closed form")
    if side.size:
        error = 1.17 * observed / np.sqrt(2 * n)
        axes.errorbar(side, observed, error, fmt="o", color=BLUE, capsize=2, label="observed")
        axes.set_xticks(side)
    axes.axhline(1.0, color="0.4", linewidth=1)
    values = [1.3, *observed, *(before["predicted"] if before is not None else ())]
    axes.set_ylim(min([0.7, *observed]) - 0.02, 1.08 * float(np.nanmax(values)))
    axes.set_xlabel("side of squares of sky [px]", fontsize=9)
    axes.set_ylabel("observed / predicted", fontsize=9)
    title(axes, "noise of sums over apertures")
    legend(axes, loc="upper left")
    return figure


def chiMaps(chi, cells=64, smallest=16):
    """Mean and robust sigma of blocks of pixels, as maps; NaN where fewer than half of a block can be judged."""
    side = max(smallest, -(-max(chi.shape) // cells))
    height, width = (max(n // side, 1) for n in chi.shape)
    side = min(side, *chi.shape)
    blocks = chi[: height * side, : width * side].reshape(height, side, width, side)
    step = -(-side // 16)  # a few hundred pixels of a block say enough
    blocks = np.moveaxis(blocks[:, ::step, :, ::step], 2, 1).reshape(height, width, -1)
    use = np.isfinite(blocks)
    enough = use.mean(axis=-1) >= 0.5
    ordered = np.sort(np.where(use, blocks, np.inf), axis=-1)
    count = np.maximum(use.sum(axis=-1), 1)

    def quantile(q):
        index = np.minimum((q * (count - 1)).astype(int), ordered.shape[-1] - 1)
        return np.take_along_axis(ordered, index[..., None], axis=-1)[..., 0]

    mean = np.where(use, blocks, 0.0).sum(axis=-1) / count
    with np.errstate(invalid="ignore"):
        sigma = (quantile(0.75) - quantile(0.25)) / 1.349
    return np.where(enough, mean, np.nan), np.where(enough, sigma, np.nan), side


def chiMapPanel(maps, box, which):
    """Mean ("mean") or robust sigma ("sigma") of difference over noise across the field."""
    mean, sigma, side = maps
    left, _, low, _ = extentOf(box)
    extent = (left, left + side * mean.shape[1], low, low + side * mean.shape[0])
    figure, axes = panel(bar=True, square=True)
    if which == "mean":
        # 4 standard errors of the mean of white noise: noise alone is pale
        limit = max(4.0 / min(side, 16), float(np.nanquantile(np.abs(mean), 0.98))) if np.isfinite(mean).any() else 1.0
        drawMap(axes, mean, extent, "sigma", cmap="RdBu_r", vmin=-limit, vmax=limit)
        title(axes, f"mean of difference / noise in {side} x {side} px")
    else:
        drawMap(axes, sigma, extent, "sigma", cmap="PuOr_r", vmin=0.5, vmax=1.5)
        title(axes, "scatter of the same pixels: 1 is right")
    return figure
