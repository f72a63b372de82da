"""The picture of a subtraction: what went in, what came out, and whether to believe it."""

import numpy as np

from .kernel_figures import drawKernelMosaic, drawRadialProfile, kernelImages
from .pixels import asinhStretch, blockMean, chiValues, goodPixels, robustScale

__all__ = ["subtractFigure"]


def subtractFigure(result, maxSide=1024):
    """Science, matched template, difference; kernel mosaic with radial profile; histogram of the difference.

    Science and template share one asinh stretch about their own sky, in science units; the difference is drawn from
    -5 to 5 standard deviations of what is shown. Pixels that cannot be judged (masked, NaN) are grey in the difference.

    Parameters
    ----------
    result : `stillsky.diffim.SubtractResult`
        With `science`, `matchedTemplate`, `difference`, `kernel`, `convolved` and `metadata`.
    maxSide : `int`
        Larger images are averaged in blocks.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        15 x 10.4 inches.
    """
    from matplotlib.figure import Figure

    difference = result.difference
    good = goodPixels(difference)
    images = kernelImages(result.kernel, difference.bbox)
    kernelSum = float(images[2, 2].sum())
    figure = Figure(figsize=(15.0, 10.4))
    panels = figure.subplots(2, 3, gridspec_kw={"height_ratios": [1.15, 1.0]})
    templateScale = 1.0 / kernelSum if result.convolved == "science" and kernelSum else 1.0
    _drawInputs(panels[0, :2], result, templateScale, maxSide)
    _drawDifference(panels[0, 2], difference, good, maxSide)
    if difference.wcs is not None:
        _drawCompass(panels[0, 0], difference)
    drawKernelMosaic(panels[1, 0], images, _kernelTitle(result, images))
    drawRadialProfile(panels[1, 1], images)
    panels[1, 1].set_title("kernel profile")
    _drawHistogram(panels[1, 2], result, good)
    figure.subplots_adjust(left=0.04, right=0.95, bottom=0.06, top=0.96, wspace=0.26, hspace=0.12)
    return figure


def _kernelTitle(result, images):
    sums = images.sum(axis=(2, 3))
    spread = np.ptp(sums)
    constant = spread <= 1e-9 * np.abs(sums).max()
    return f"kernel on the {result.convolved}, sum {sums.mean():.4g}" + ("" if constant else f" (range {spread:.2g})")


def _limits(exposure, factor, shape):
    box = exposure.bbox
    return (
        box.minX - 0.5,
        box.minX - 0.5 + factor * shape[1],
        box.minY - 0.5,
        box.minY - 0.5 + factor * shape[0],
    )


def _drawInputs(axes, result, templateScale, maxSide):
    """Both images, with the noise of the science preview as the unit of their stretch."""
    previews = []
    for exposure, scale in ((result.science, 1.0), (result.matchedTemplate, templateScale)):
        preview, factor = blockMean(exposure.image.array, maxSide=maxSide)
        previews.append((exposure, preview * np.float32(scale), factor))
    _, sigma = robustScale(previews[0][1])
    for panel, (exposure, preview, factor), name in zip(axes, previews, ("science", "matched template")):
        own, _ = robustScale(preview)
        colours = _greyMap("gray", "#3b2f4f")
        panel.imshow(
            asinhStretch(preview, own, sigma), origin="lower", cmap=colours, vmin=0.0, vmax=1.0,
            extent=_limits(exposure, factor, preview.shape), interpolation="antialiased",
        )  # fmt: skip
        title = f"{name}, {exposure.width} x {exposure.height} px"
        if name != "science" and result.convolved == "science":
            title = "template (science was convolved)"
        panel.set_title(title)
        panel.tick_params(labelsize=7)


def _greyMap(name, bad):
    from matplotlib import colormaps

    return colormaps[name].with_extremes(bad=bad)


def _drawDifference(axes, difference, good, maxSide):
    preview, factor = blockMean(difference.image.array, good, maxSide)
    _, sigma = robustScale(preview)
    limit = 5.0 * sigma if np.isfinite(sigma) and sigma > 0 else 1.0
    axes.set_facecolor("#9a9a9a")
    shown = axes.imshow(
        preview, origin="lower", cmap=_greyMap("RdBu_r", "#9a9a9a"), vmin=-limit, vmax=limit,
        extent=_limits(difference, factor, preview.shape), interpolation="antialiased",
    )  # fmt: skip
    binned = f", {factor} x {factor} px means" if factor > 1 else ""
    axes.set_title(rf"science $-$ template, $\pm 5\,\sigma${binned}; grey: masked")
    axes.tick_params(labelsize=7)
    axes.figure.colorbar(shown, cax=axes.inset_axes([1.02, 0.0, 0.03, 1.0])).ax.tick_params(labelsize=7)


def _drawCompass(axes, exposure):
    """Arrows to north and east in the upper left corner, from the WCS at the centre."""
    x, y = exposure.bbox.center
    step = 1e-5
    ra, dec = exposure.wcs.pixelToSky(x, y)
    north = np.array(exposure.wcs.skyToPixel(ra, dec + step), float) - (x, y)
    east = np.array(exposure.wcs.skyToPixel(ra + step / np.cos(dec), dec), float) - (x, y)
    for direction, name in ((north, "N"), (east, "E")):
        length = np.hypot(*direction)
        if not np.isfinite(length) or length == 0:
            continue
        dx, dy = 0.09 * direction / length
        axes.annotate(
            name, xy=(0.13, 0.87), xytext=(0.13 + dx, 0.87 + dy), xycoords="axes fraction", textcoords="axes fraction",
            color="#ffd24a", ha="center", va="center", fontsize=9,
            arrowprops={"arrowstyle": "<-", "color": "#ffd24a", "shrinkA": 2},
        )  # fmt: skip


def _drawHistogram(axes, result, good):
    """Difference over its predicted noise, for sky pixels and for pixels on sources, against the unit Gaussian."""
    chi = chiValues(result.difference, good)
    template = result.matchedTemplate.image.array
    sky, sigma = robustScale(template)
    with np.errstate(invalid="ignore"):
        onSource = template > sky + 5.0 * sigma
    edges = np.linspace(-8.0, 8.0, 97)
    middle = 0.5 * (edges[1:] + edges[:-1])
    lowest = np.inf
    for pixels, name, color in ((good & ~onSource, "sky", "#0072b2"), (good & onSource, "on sources", "#d55e00")):
        values = chi[pixels]
        if not values.size:
            continue
        _, width = robustScale(values)
        fraction = np.histogram(np.clip(values, -8.0, 8.0), edges)[0] / values.size
        lowest = min(lowest, 1.0 / values.size)
        label = rf"{name}: robust $\sigma$ {width:.3f} ({values.size:,} px)"
        axes.stairs(fraction, edges, color=color, label=label, linewidth=1.2)
    gauss = np.exp(-0.5 * middle**2) / np.sqrt(2 * np.pi) * (edges[1] - edges[0])
    axes.plot(middle, gauss, color="black", linestyle="--", linewidth=0.9, label="N(0, 1)")
    axes.set_yscale("log")
    axes.set_ylim(max(0.5 * lowest, 1e-8) if np.isfinite(lowest) else 1e-6, 3.0)
    axes.set_xlim(-8.0, 8.0)
    axes.set_xlabel(r"difference / $\sqrt{\mathrm{variance}}$")
    axes.set_ylabel("fraction of pixels")
    axes.set_title("noise of the difference")
    axes.legend(frameon=False, fontsize=8, loc="upper right")
