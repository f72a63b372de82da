"""Figures of the report of a subtraction. Each function returns a matplotlib Figure and touches no global state."""

import numpy as np

from .kernel_figures import drawKernelMosaic, drawRadialProfile
from .pixels import robustScale
from .subtract_numbers import kernelPower

__all__ = ["chiMapFigure", "kernelFigure", "kernelFieldFigure", "noiseFigure", "psfFigure", "starFigure"]

_BLUE, _ORANGE, _GREEN = "#0072b2", "#d55e00", "#009e73"


def _figure(width, height):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    # fixed margins in inches: a layout that is computed would take longer than all drawing
    figure.subplots_adjust(
        left=0.75 / width, right=1 - 0.3 / width, bottom=0.5 / height, top=1 - 0.35 / height,
        wspace=0.32, hspace=0.36,
    )  # fmt: skip
    return figure


def kernelFigure(images):
    """Kernels (n, n, h, w) over the field, their radial profiles, and the transform of the middle one."""
    figure = _figure(13.5, 4.3)
    mosaic, profile, power = figure.subplots(1, 3)
    sums = images.sum(axis=(2, 3))
    drawKernelMosaic(mosaic, images, f"kernel over the field, sum {sums.min():.4g} to {sums.max():.4g}")
    drawRadialProfile(profile, images)
    profile.set_title("radial profile")
    middle = images[len(images) // 2, len(images) // 2]
    frequency, alongX, alongY = kernelPower(middle)
    power.plot(frequency, alongX, color=_BLUE, label="along x")
    power.plot(frequency, alongY, color=_ORANGE, linestyle="--", label="along y")
    power.axhline(1.0, color="0.5", linewidth=0.8)
    power.set_yscale("log")
    lowest = min(alongX.min(), alongY.min())
    power.set_ylim(min(0.1, max(1e-3, 0.5 * lowest)), 1.5 * max(1.0, alongX.max(), alongY.max()))
    power.set_xlim(0.0, 0.5)
    power.set_xlabel("cycles per pixel")
    power.set_title("transform of the middle kernel; above 1 it sharpens")
    power.legend(frameon=False)
    return figure


def kernelShapes(images):
    """Sum, centre of mass and rms width of kernels (n, n, h, w): arrays (n, n). Width is NaN where moments are negative."""
    h, w = images.shape[2:]
    y, x = np.mgrid[0:h, 0:w].astype(float)
    total = images.sum(axis=(2, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        cx, cy = ((images * c).sum(axis=(2, 3)) / total for c in (x, y))
        spread = (images * ((x - cx[..., None, None]) ** 2 + (y - cy[..., None, None]) ** 2)).sum(axis=(2, 3)) / total
        width = np.sqrt(0.5 * spread)
    return total, cx - (w - 1) / 2, cy - (h - 1) / 2, width


def kernelFieldFigure(images, box, background=None):
    """Kernel sum, shift and width over the field, and the differential background."""
    total, dx, dy, width = kernelShapes(images)
    extent = (box.minX - 0.5, box.maxX + 0.5, box.minY - 0.5, box.maxY + 0.5)
    n = len(images)
    figure = _figure(13.5, 3.4)
    panels = figure.subplots(1, 4)
    middle, reach = float(np.median(total)), max(0.01 * abs(float(np.median(total))), float(np.ptp(total)) / 2)
    limits = {"vmin": middle - reach, "vmax": middle + reach}  # a constant sum has one colour
    _drawMap(panels[0], total, extent, "kernel sum", **limits)
    _drawMap(panels[2], width, extent, "rms width of the kernel [px]")
    xs = box.minX + (np.arange(n) + 0.5) * box.width / n
    ys = box.minY + (np.arange(n) + 0.5) * box.height / n
    longest = float(np.nanmax(np.hypot(dx, dy))) if np.isfinite(dx).any() else 0.0
    if longest > 1e-6:  # px: else there is nothing to draw, and no scale for it
        arrows = panels[1].quiver(xs, ys, dx, dy, color=_BLUE, angles="xy", width=0.008, pivot="mid")
        panels[1].quiverkey(arrows, 0.8, 1.04, longest, f"{longest:.2g} px", labelpos="E")
    panels[1].set_xlim(extent[:2])
    panels[1].set_ylim(extent[2:])
    panels[1].set_title("shift by the kernel", loc="left")
    if hasattr(background, "atPoint") or callable(background):
        gx, gy = np.linspace(box.minX, box.maxX, 24), np.linspace(box.minY, box.maxY, 24)
        values = np.array([[float(background(float(a), float(b))) for a in gx] for b in gy])
        _drawMap(panels[3], values, extent, "differential background")
    else:
        panels[3].set_axis_off()
    return figure


def _drawMap(axes, values, extent, title, **options):
    options = {"cmap": "cividis", **options}
    shown = axes.imshow(values, origin="lower", extent=extent, aspect="auto", interpolation="nearest", **options)
    axes.set_title(title)
    axes.tick_params(labelsize=7)
    axes.figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.02).ax.tick_params(labelsize=7)
    return shown


def chiHistogram(numbers):
    """Columns middle, sky, source, gauss: shares of pixels in classes of difference over noise."""
    edges = np.linspace(-8.0, 8.0, 97)
    middle = 0.5 * (edges[1:] + edges[:-1])
    finite = np.isfinite(numbers.chi)
    columns = {"middle": middle}
    for name, chosen in (("sky", finite & ~numbers.onSource), ("source", finite & numbers.onSource)):
        values = numbers.chi[chosen]
        columns[name] = np.histogram(np.clip(values, -8.0, 8.0), edges)[0] / max(values.size, 1)
    columns["gauss"] = np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi) * (edges[1] - edges[0])
    return columns


def noiseFigure(numbers, histogram):
    """Histogram, noise against variance plane, correlation of neighbours, noise of squares."""
    figure = _figure(13.5, 7.6)
    (left, right), (lower, last) = figure.subplots(2, 2)
    _drawHistogram(left, numbers, histogram)
    _drawNoiseBins(right, numbers.noiseBins)
    _drawCorrelation(lower, numbers.correlation)
    squares = numbers.apertures
    last.plot(squares["side"], squares["observed"], "o-", color=_BLUE)
    last.axhline(1.0, color="0.5", linewidth=0.9)
    last.set_ylim(0.0, max([2.0, *(1.1 * v for v in squares["observed"] if np.isfinite(v))]))
    last.set_xlabel("side of squares of sky [px]")
    last.set_ylabel("noise of their sum, observed / predicted")
    last.set_title("noise of apertures: 1 when pixels are independent")
    return figure


def _drawHistogram(axes, numbers, histogram):
    edges = np.linspace(-8.0, 8.0, len(histogram["middle"]) + 1)
    for name, words, colour, sigma, n in (
        ("sky", "sky", _BLUE, numbers.skyChi, numbers.nSky),
        ("source", "on sources", _ORANGE, numbers.sourceChi, numbers.nSource),
    ):
        if n:
            label = rf"{words}: robust $\sigma$ {sigma:.3f} ({n:,} px)"
            axes.stairs(histogram[name], edges, color=colour, label=label, linewidth=1.3)
    axes.plot(histogram["middle"], histogram["gauss"], color="black", linestyle="--", linewidth=1, label="N(0, 1)")
    lowest = 0.5 / max(numbers.nSky, numbers.nSource, 1)
    axes.set_yscale("log")
    axes.set_ylim(max(lowest, 1e-8), 1.0)
    axes.set_xlim(-8.0, 8.0)
    axes.set_xlabel(r"difference / $\sqrt{\mathrm{variance}}$")
    axes.set_ylabel("share of pixels")
    axes.set_title("residuals against the unit Gaussian")
    axes.legend(frameon=False, fontsize=8, loc="upper left")


def _drawNoiseBins(axes, bins):
    predicted, observed = np.asarray(bins["predicted"]), np.asarray(bins["observed"])
    if predicted.size:
        shown = axes.scatter(predicted, observed, c=np.log10(bins["n"]), cmap="cividis_r", s=34, zorder=3, edgecolor="0.3")
        axes.figure.colorbar(shown, ax=axes, label="log10 of pixels", pad=0.02)
        ends = np.array([predicted.min(), predicted.max()]) * (0.9, 1.1)
        axes.plot(ends, ends, color="0.4", linewidth=1)
        axes.fill_between(ends, 0.95 * ends, 1.05 * ends, color="0.5", alpha=0.2, linewidth=0)
        axes.set_xscale("log")
        axes.set_yscale("log")
    axes.set_xlabel(r"predicted noise, $\sqrt{\mathrm{variance}}$")
    axes.set_ylabel("observed noise, robust")
    axes.set_title("noise against the variance plane; band: 5 %")


def _drawCorrelation(axes, correlation):
    top = correlation.shape[0] - 1
    shown = correlation.T.copy()
    shown[top, 0] = np.nan  # 1 by definition
    limit = max(0.02, float(np.nanmax(np.abs(shown)))) if np.isfinite(shown).any() else 1.0
    axes.set_facecolor("0.8")
    image = axes.imshow(
        shown, origin="lower", cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto",
        extent=(-0.5, top + 0.5, -top - 0.5, top + 0.5),
    )  # fmt: skip
    for dx in range(top + 1):
        for dy in range(-top, top + 1):
            value = shown[dy + top, dx]
            if np.isfinite(value):
                colour = "white" if abs(value) > 0.6 * limit else "black"
                axes.text(dx, dy, f"{value:.3f}", ha="center", va="center", fontsize=7, color=colour)
    axes.figure.colorbar(image, ax=axes, pad=0.02)
    axes.set_xlabel("dx [px]")
    axes.set_ylabel("dy [px]")
    axes.set_title("correlation of sky pixels at small lags")


def chiMaps(chi, cells=64, smallest=16):
    """Mean and robust sigma of blocks of pixels, as maps; NaN where fewer than half of a block can be judged."""
    side = max(smallest, -(-max(chi.shape) // cells))
    height, width = (max(n // side, 1) for n in chi.shape)
    side = min(side, *chi.shape)
    blocks = chi[: height * side, : width * side].reshape(height, side, width, side)
    blocks = np.moveaxis(blocks, 2, 1).reshape(height, width, side * side)
    if side > 32:  # a few hundred pixels of a block say enough
        blocks = blocks[..., :: side * side // 1000 + 1]
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


def chiMapFigure(maps, box):
    """Mean and robust sigma of difference over noise across the field."""
    mean, sigma, side = maps
    extent = (
        box.minX - 0.5, box.minX - 0.5 + side * mean.shape[1], box.minY - 0.5, box.minY - 0.5 + side * mean.shape[0],
    )  # fmt: skip
    figure = _figure(13.5, 5.4)
    left, right = figure.subplots(1, 2)
    limit = max(4.0 / side, float(np.nanquantile(np.abs(mean), 0.98))) if np.isfinite(mean).any() else 1.0
    bad = {"aspect": "equal"}
    for axes, values, title, options in (
        (left, mean, f"mean of difference / noise in {side} x {side} px", {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}),
        (right, sigma, "robust sigma of the same pixels: 1 is right", {"cmap": "PuOr_r", "vmin": 0.5, "vmax": 1.5}),
    ):
        axes.set_facecolor("#9a9a9a")
        _drawMap(axes, values, extent, title, **options)
        axes.set_aspect(bad["aspect"])
    return figure


def starFigure(candidates, box):
    """Stars of the fit: residuals against signal-to-noise ratio, and over the field."""
    figure = _figure(13.5, 5.2)
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": [1.15, 1.0]})
    used = np.asarray(candidates["usedInFit"], bool)
    rating, loo, fitted = (np.asarray(candidates[name], float) for name in ("rating", "looRms", "spatialRms"))
    left.plot(rating[used], fitted[used], "o", color=_BLUE, markersize=4, alpha=0.6, label="in the fit")
    left.plot(rating[used], loo[used], "^", color=_ORANGE, markersize=5, mfc="none", label="left out of the fit")
    left.plot(rating[~used], fitted[~used], "x", color="0.4", markersize=5, label="rejected or not needed")
    left.axhline(1.0, color="0.4", linewidth=0.9)
    left.axhline(1.3, color="0.4", linewidth=0.7, linestyle=":")
    shown = np.concatenate([fitted[used], loo[used]])
    shown = shown[np.isfinite(shown)]
    left.set_ylim(0.5, max(2.0, 1.1 * float(np.quantile(shown, 0.99))) if shown.size else 2.0)
    if (rating > 0).any():
        left.set_xscale("log")
    left.set_xlabel("signal-to-noise ratio in the science image")
    left.set_ylabel("rms of the residual over the noise")
    left.set_title("chi of stars")
    left.legend(frameon=False, fontsize=8)
    _drawStarMap(right, candidates, used, loo, box)
    return figure


def _drawStarMap(axes, candidates, used, loo, box):
    x, y = (np.asarray(candidates[name], float) for name in ("x", "y"))
    shown = axes.scatter(x[used], y[used], c=loo[used], cmap="viridis", vmin=0.8, vmax=1.6, s=42, edgecolor="0.3")
    axes.plot(x[~used], y[~used], "x", color="0.4", markersize=6)
    axes.figure.colorbar(shown, ax=axes, label="residual, left out of the fit", extend="both", pad=0.02)
    axes.set_xlim(box.minX - 0.5, box.maxX + 0.5)
    axes.set_ylim(box.minY - 0.5, box.maxY + 0.5)
    axes.set_aspect("equal")
    axes.set_title("over the field; crosses: not used")
    axes.set_xlabel("x [px]")
    axes.set_ylabel("y [px]")


def psfFigure(profiles, radius):
    """Radial profiles, peak 1: a `dict` of name to (radii, values, kind), kind "line" or "points"."""
    figure = _figure(13.5, 4.2)
    left, right = figure.subplots(1, 2)
    colours = (_BLUE, _ORANGE, _GREEN, "#cc79a7")
    for axes in (left, right):
        for (name, (r, values, kind)), colour in zip(profiles.items(), colours):
            style = {"linestyle": "-"} if kind == "line" else {"linestyle": "none", "marker": "o", "markersize": 4}
            axes.plot(r, values, color=colour, label=name, **style)
        axes.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
        axes.set_xlim(0.0, radius)
        axes.set_xlabel("distance from the centre [px]")
    left.set_title("profiles, peak 1")
    left.legend(frameon=False, fontsize=8)
    right.set_yscale("log")
    right.set_ylim(1e-4, 1.5)
    right.set_title("the same, logarithmic")
    return figure


def stackedProfile(image, x, y, radius):
    """Median profile of stars in rings of one pixel, each star scaled by its flux within the radius, sky removed.

    Parameters
    ----------
    image : `numpy.ndarray` (height, width)
    x, y : `numpy.ndarray` (n,)
        Array positions of stars.
    radius : `int`
        Outermost ring.

    Returns
    -------
    r, profile : `numpy.ndarray`
        Mean radius and median of the pixels in rings; peak 1.
    """
    from .previews import cutout

    grid = np.arange(-radius, radius + 1)
    radii, values = [], []
    for a, b in zip(x, y):
        stamp = cutout(image, a, b, radius).astype(float)
        r = np.hypot(grid[None, :] - (a - round(a)), grid[:, None] - (b - round(b)))
        ring = stamp[(r > 0.8 * radius) & (r <= radius)]
        sky, _ = robustScale(ring)
        core = stamp[r <= 0.5 * radius]
        flux = float(np.sum(core - sky))
        if np.isfinite(flux) and flux > 0:
            radii.append(r.ravel())
            values.append(((stamp - sky) / flux).ravel())
    if not radii:
        return np.array([]), np.array([])
    radii, values = np.concatenate(radii), np.concatenate(values)
    edges = np.concatenate([np.arange(0.0, 3.0, 0.5), np.arange(3.0, radius + 1.0)])
    index = np.digitize(radii, edges) - 1
    r, profile = [], []
    for k in range(len(edges) - 1):
        chosen = (index == k) & np.isfinite(values)
        if np.count_nonzero(chosen) >= 3:
            r.append(float(np.mean(radii[chosen])))
            profile.append(float(np.median(values[chosen])))
    profile = np.array(profile)
    return np.array(r), profile / profile.max() if profile.size and profile.max() > 0 else profile
