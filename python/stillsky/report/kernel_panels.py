"""Panels of a matching kernel: what it looks like, what it does to frequencies, how it changes over the field."""

import numpy as np

from .kernel_figures import drawKernelMosaic, drawRadialProfile
from .panels import BLUE, ORANGE, drawMap, legend, logAxis, panel, title
from .previews import chiPng

__all__ = [
    "coefficientsPng",
    "kernelShapes",
    "mosaicPanel",
    "profilePanel",
    "shiftPanel",
    "transformPanel",
]


def _cropped(images):
    """The middle of kernels that holds all above 0.2 % of the peak, at least 11 pixels wide."""
    size = images.shape[-1]
    largest = np.abs(images).max(axis=(0, 1))
    y, x = np.nonzero(largest > 2e-3 * largest.max())
    reach = int(max(np.abs(x - size // 2).max(), np.abs(y - size // 2).max(), 5)) if len(x) else size // 2
    cut = slice(max(size // 2 - reach, 0), min(size // 2 + reach + 1, size))
    return images[..., cut, cut]


def mosaicPanel(images):
    """Kernels (n, n, h, w) over the field, their empty borders left out."""
    figure, axes = panel(bar=True, square=True)
    shown = _cropped(images)
    n, size = len(images), shown.shape[-1]
    drawKernelMosaic(axes, shown)
    title(axes, f"kernel at {n} x {n} positions, {size} of {images.shape[-1]} px each")
    return figure


def profilePanel(images):
    """Values against distance from the centre."""
    figure, axes = panel(square=True)
    drawRadialProfile(axes, _cropped(images))
    title(axes, "radial profile")
    axes.set_ylabel("kernel", fontsize=9)
    return figure


def transformPanel(frequency, alongX, alongY):
    """Modulus of the transform of the middle kernel along the axes."""
    figure, axes = panel(square=True)
    axes.plot(frequency, alongX, color=BLUE, label="along x")
    axes.plot(frequency, alongY, color=ORANGE, linestyle="--", label="along y")
    axes.axhline(1.0, color="0.5", linewidth=0.8)
    lowest, highest = min(alongX.min(), alongY.min()), max(alongX.max(), alongY.max())
    logAxis(axes, "y", min(0.1, max(1e-3, 0.5 * lowest)), 1.6 * max(1.0, highest))
    axes.set_xlim(0.0, 0.5)
    axes.set_xlabel("frequency [cycles/px]", fontsize=9)
    axes.set_ylabel("|K| / sum", fontsize=9)
    title(axes, "transform of the middle kernel: above 1 it sharpens")
    legend(axes, loc="lower left")
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


def extentOf(box):
    """Limits of an image for imshow, parent pixels."""
    return (box.minX - 0.5, box.maxX + 0.5, box.minY - 0.5, box.maxY + 0.5)


def shiftPanel(shapes, box):
    """Shift by the kernel as arrows over a map of its width."""
    _, dx, dy, width = shapes
    n = len(width)
    figure, axes = panel(bar=True, square=True)
    drawMap(axes, width, extentOf(box), "rms width [px]")
    xs, ys = (m + (np.arange(n) + 0.5) * side / n for m, side in ((box.minX, box.width), (box.minY, box.height)))
    longest = float(np.nanmax(np.hypot(dx, dy))) if np.isfinite(dx).any() else 0.0
    words = ""
    if longest > 1e-6:  # px: else there is nothing to draw, and no scale for it
        arrows = axes.quiver(xs, ys, dx, dy, color="white", angles="xy", width=0.009, pivot="mid", scale=longest * 7)
        arrows.set_edgecolor("black")
        arrows.set_linewidth(0.5)
        words = f"; arrows: its shift, at most {longest:.2g} px"
    title(axes, "width of the kernel" + words)
    return figure


def sumPanel(total, box):
    """Kernel sum over the field, the flux ratio of the images."""
    figure, axes = panel(bar=True, square=True)
    drawMap(axes, total, extentOf(box), "kernel sum")
    title(axes, "kernel sum: flux ratio of the images")
    return figure


def backgroundPanel(background, box, n=24):
    """Differential background over the field."""
    gx, gy = np.linspace(box.minX, box.maxX, n), np.linspace(box.minY, box.maxY, n)
    values = np.array([[float(background(float(a), float(b))) for a in gx] for b in gy])
    figure, axes = panel(bar=True, square=True)
    drawMap(axes, values, extentOf(box), "counts", interpolation="bilinear")
    title(axes, "differential background")
    return figure


def kernelCoefficients(kernel, box, n=8):
    """Coefficient of each basis function at n x n positions: array (functions, n, n); None when there is one only."""
    if not hasattr(kernel, "kernelParametersAt"):
        return None
    xs, ys = (m + (np.arange(n) + 0.5) * side / n for m, side in ((box.minX, box.width), (box.minY, box.height)))
    values = np.array([[np.asarray(kernel.kernelParametersAt(float(x), float(y)), float) for x in xs] for y in ys])
    return np.moveaxis(values, -1, 0) if values.shape[-1] > 1 else None


def coefficientsPng(maps, most=60):
    """Maps of the coefficients (functions, n, n), each from minus to plus its largest absolute value, as a PNG file.

    The first is at the upper left, the others follow in rows.
    """
    shown = maps[:most]
    columns = int(np.ceil(np.sqrt(1.25 * len(shown))))
    rows, side = -(-len(shown) // columns), maps.shape[-1]
    mosaic = np.full((rows * (side + 1) - 1, columns * (side + 1) - 1), np.nan)
    for k, values in enumerate(shown):
        row, column = divmod(k, columns)
        top, left = (rows - 1 - row) * (side + 1), column * (side + 1)
        mosaic[top : top + side, left : left + side] = values / (float(np.abs(values).max()) or 1.0)
    zoom = max(1, 660 // mosaic.shape[1])
    return chiPng(np.repeat(np.repeat(mosaic, zoom, axis=0), zoom, axis=1), 1.0, "white")
