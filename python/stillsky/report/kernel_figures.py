"""Figures of matching kernels. Each function returns a matplotlib Figure and touches no global state."""

import numpy as np

__all__ = [
    "drawKernelMosaic",
    "drawRadialProfile",
    "kernelBasisFigure",
    "kernelCoefficientsFigure",
    "kernelMosaicFigure",
    "kernelSpatialModelFigure",
]

_DIVERGING = "RdBu_r"


def _gridPositions(box, n):
    """Centres of n x n equal cells of a box."""
    xs = box.minX + (np.arange(n) + 0.5) * box.width / n - 0.5
    ys = box.minY + (np.arange(n) + 0.5) * box.height / n - 0.5
    return xs, ys


def kernelImages(kernel, box, n=5):
    """Kernel images at n x n positions over ``box``: array (n, n, h, w), first index along y."""
    xs, ys = _gridPositions(box, n)
    return np.array([[np.asarray(kernel.imageAt(float(x), float(y))) for x in xs] for y in ys])


def drawKernelMosaic(axes, images, title=None):
    """Draw kernel images (n, n, h, w) side by side on one asinh scale, symmetric about zero, with its colour bar."""
    from matplotlib.colors import AsinhNorm

    n, _, h, w = images.shape
    gap = 1
    mosaic = np.full((n * (h + gap) - gap, n * (w + gap) - gap), np.nan)
    for j in range(n):
        for i in range(n):
            mosaic[j * (h + gap) : j * (h + gap) + h, i * (w + gap) : i * (w + gap) + w] = images[j, i]
    top = np.nanmax(np.abs(mosaic)) or 1.0
    # linear below 3 % of the peak: the wings and negative lobes of a sharp kernel would be invisible otherwise
    norm = AsinhNorm(linear_width=0.03 * top, vmin=-top, vmax=top)
    shown = axes.imshow(mosaic, origin="lower", cmap=_DIVERGING, norm=norm, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    if title:
        axes.set_title(title)
    bar = axes.figure.colorbar(shown, cax=axes.inset_axes([1.02, 0.0, 0.03, 1.0]), ticks=_barTicks(top))
    bar.ax.minorticks_off()
    bar.ax.yaxis.set_major_formatter("{x:.2g}")
    bar.ax.tick_params(labelsize=7)


def _barTicks(top):
    """Ticks of the colour bar: a few round values each way."""
    unit = 10.0 ** np.floor(np.log10(top))
    up = [v for v in (0.1 * unit, unit, 3.0 * unit) if v <= top]
    return [-v for v in reversed(up)] + [0.0] + up


def _radii(image):
    """Distance of each pixel from the centre of mass of a kernel image, which must have a sum other than 0."""
    h, w = image.shape
    y, x = np.mgrid[0:h, 0:w].astype(float)
    total = image.sum()
    cx, cy = (w - 1) / 2.0, (h - 1) / 2.0
    if abs(total) > 1e-3 * np.abs(image).sum():
        cx, cy = np.sum(x * image) / total, np.sum(y * image) / total
    # a kernel whose positive and negative parts nearly cancel has its centre of mass anywhere
    if not (0 <= cx <= w - 1 and 0 <= cy <= h - 1):
        cx, cy = (w - 1) / 2.0, (h - 1) / 2.0
    return np.hypot(x - cx, y - cy)


def drawRadialProfile(axes, images):
    """Kernel values against distance from the centre of mass: means in rings everywhere, pixels at the middle."""
    from matplotlib.collections import LineCollection

    n = images.shape[0]
    edges, profiles = np.arange(-0.5, images.shape[-1] / 2.0 + 0.5), []
    for image in images.reshape(-1, *images.shape[2:]):
        index = np.digitize(_radii(image).ravel(), edges) - 1
        count = np.bincount(index, minlength=edges.size)
        with np.errstate(invalid="ignore"):
            profile = np.bincount(index, weights=image.ravel(), minlength=edges.size) / count
        profiles.append(np.column_stack([edges + 0.5, profile]))
    axes.add_collection(LineCollection(profiles, colors="#0072b2", alpha=0.35, linewidths=0.8))
    middle = images[n // 2, n // 2]
    axes.plot(
        _radii(middle).ravel(), middle.ravel(), ".", color="black", markersize=2.5, label="pixels, centre of field"
    )
    axes.plot([], [], color="#0072b2", label=f"ring means, {n} x {n} positions")
    axes.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    axes.set_xlim(0.0, images.shape[-1] / 2.0)
    axes.set_xlabel("distance from centre of mass [px]")
    axes.legend(frameon=False, fontsize=8)


def kernelMosaicFigure(kernel, box, n=5):
    """Kernel on an n x n grid over a box, one colour scale, with its radial profile.

    Parameters
    ----------
    kernel : `stillsky.kernel.Kernel`
        Kernel.
    box : `stillsky.geom.Box2I`
        Region of the image.
    n : `int`
        Positions each way.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        The figure.
    """
    from matplotlib.figure import Figure

    images = kernelImages(kernel, box, n)
    figure = Figure(figsize=(11, 5))
    left, right = figure.subplots(1, 2)
    sums = images.sum(axis=(2, 3))
    drawKernelMosaic(left, images, f"kernel over the field, sum {sums.min():.4g} ... {sums.max():.4g}")
    drawRadialProfile(right, images)
    right.set_title("radial profile")
    figure.tight_layout()
    return figure


def kernelBasisFigure(kernel, maxShown=64):
    """The basis images of a linear-combination kernel, each on its own symmetric scale.

    Parameters
    ----------
    kernel : `stillsky.kernel.LinearCombinationKernel`
        Kernel.
    maxShown : `int`
        Show the first so many.
    """
    from matplotlib.figure import Figure

    basis = np.asarray(kernel.basisArray())
    shown = basis[:maxShown]
    columns = int(np.ceil(np.sqrt(len(shown))))
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(1.3 * columns, 1.45 * rows + 0.4))
    for i, axes in enumerate(np.atleast_1d(figure.subplots(rows, columns)).ravel()):
        axes.set_axis_off()
        if i < len(shown):
            top = np.abs(shown[i]).max() or 1.0
            axes.imshow(shown[i], origin="lower", cmap=_DIVERGING, vmin=-top, vmax=top, interpolation="nearest")
            axes.set_title(f"{i}: sum {shown[i].sum():.3g}", fontsize=7, pad=2)
    figure.suptitle(f"kernel basis, {len(basis)} functions of {basis.shape[2]}x{basis.shape[1]} px", fontsize=9)
    figure.tight_layout()
    return figure


def _coefficientMaps(kernel, box, n):
    xs, ys = _gridPositions(box, n)
    maps = np.array([[kernel.kernelParametersAt(float(x), float(y)) for x in xs] for y in ys])
    return np.moveaxis(maps, -1, 0)


def kernelCoefficientsFigure(kernel, box, n=24, maxShown=35):
    """Each basis coefficient as a map over the field, and the map of the kernel sum.

    Parameters
    ----------
    kernel : `stillsky.kernel.LinearCombinationKernel`
        Kernel.
    box : `stillsky.geom.Box2I`
        Region of the image.
    n : `int`
        Points of a map each way.
    maxShown : `int`
        Show the first so many coefficients.
    """
    from matplotlib.figure import Figure

    maps = _coefficientMaps(kernel, box, n)
    sums = np.tensordot(np.asarray(kernel.kernelSumList), maps, axes=(0, 0))
    panels = [("kernel sum", sums)] + [(f"coefficient {i}", m) for i, m in enumerate(maps[:maxShown])]
    columns = min(6, int(np.ceil(np.sqrt(len(panels)))))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(2.3 * columns, 2.1 * rows))
    extent = (box.minX - 0.5, box.maxX + 0.5, box.minY - 0.5, box.maxY + 0.5)
    for i, axes in enumerate(np.atleast_1d(figure.subplots(rows, columns)).ravel()):
        if i >= len(panels):
            axes.set_axis_off()
            continue
        name, values = panels[i]
        shown = axes.imshow(values, origin="lower", extent=extent, cmap="cividis", aspect="auto")
        axes.set_title(f"{name}\n{values.min():.3g} ... {values.max():.3g}", fontsize=7, pad=2)
        axes.set_xticks([])
        axes.set_yticks([])
        figure.colorbar(shown, ax=axes, fraction=0.046, pad=0.02).ax.tick_params(labelsize=6)
    figure.tight_layout()
    return figure


def kernelSpatialModelFigure(kernel, x, y, coefficients, used=None, maxShown=6):
    """Coefficients fitted to single candidates against the spatial model, and the residuals across the field.

    Parameters
    ----------
    kernel : `stillsky.kernel.LinearCombinationKernel`
        Spatially varying kernel.
    x, y : `numpy.ndarray` (n,)
        Positions of the candidates, parent pixels.
    coefficients : `numpy.ndarray` (n, number of basis functions)
        Coefficients of each candidate's own kernel.
    used : `numpy.ndarray` (n,) of `bool`, optional
        Candidates that carried the spatial fit; the others are drawn open.
    maxShown : `int`
        Show the first so many coefficients, one row each.
    """
    from matplotlib.figure import Figure

    x, y, coefficients = np.asarray(x, float), np.asarray(y, float), np.asarray(coefficients, float)
    used = np.ones(len(x), bool) if used is None else np.asarray(used, bool)
    model = np.array([kernel.kernelParametersAt(float(a), float(b)) for a, b in zip(x, y)])
    model = model.reshape(coefficients.shape)
    rows = min(maxShown, coefficients.shape[1])
    figure = Figure(figsize=(10, 2.2 * rows + 0.3))
    panels = figure.subplots(rows, 3, squeeze=False)
    for i in range(rows):
        residual = coefficients[:, i] - model[:, i]
        for axes, horizontal, vertical, label in (
            (panels[i, 0], model[:, i], coefficients[:, i], "spatial model"),
            (panels[i, 1], x, residual, "x [px]"),
            (panels[i, 2], y, residual, "y [px]"),
        ):
            axes.plot(horizontal[used], vertical[used], "o", color="#0072b2", markersize=3, label="used")
            if not used.all():
                axes.plot(
                    horizontal[~used], vertical[~used], "o", mfc="none", color="#d55e00", markersize=4, label="rejected"
                )
            axes.tick_params(labelsize=7)
            if i == rows - 1:
                axes.set_xlabel(label)
        if len(x):
            panels[i, 0].axline((float(np.mean(model[:, i])),) * 2, slope=1.0, color="0.6", linewidth=0.8, zorder=0)
        panels[i, 0].set_ylabel(f"coefficient {i}", fontsize=8)
        panels[i, 1].set_ylabel("candidate - model", fontsize=8)
        for axes in panels[i, 1:]:
            axes.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
    panels[0, 0].legend(frameon=False, fontsize=7)
    figure.tight_layout()
    return figure
