"""Figures that the debug switches of ImageDifferenceTask ask for."""

from pathlib import Path

import numpy as np

__all__ = ["debugFigures", "debugSwitches", "sourceMark"]

_SWITCHES = {
    "display": False,
    "showSubtracted": False,
    "showPixelResiduals": False,
    "showDiaSources": False,
    "showDipoles": False,
    "maskTransparency": 0,
    "path": None,
}
_PLANES = ("interpolated", "saturated", "cr")


def debugSwitches(given, name="lsst.pipe.tasks.imageDifference"):
    """Switches of the debug module lsstDebug, where it is installed, below those given."""
    try:
        import lsstDebug
    except ImportError:
        known = {}
    else:
        info = lsstDebug.Info(name)
        known = {key: getattr(info, key) for key in _SWITCHES if getattr(info, key)}
    return {**_SWITCHES, **known, **dict(given)}


def debugFigures(switches, difference, science, selectSources, kernelSources, diaSources):
    """Figures by the name of the switch; saved as PNG in the folder ``path``, if there is one."""
    figures = {}
    if difference is not None:
        if switches["showSubtracted"]:
            figures["showSubtracted"] = _sourcesFigure(difference, diaSources, "all", switches["maskTransparency"])
        if switches["showDiaSources"]:
            figures["showDiaSources"] = _sourcesFigure(difference, diaSources, "odd", switches["maskTransparency"])
        if switches["showDipoles"]:
            figures["showDipoles"] = _sourcesFigure(difference, diaSources, "dipoles", switches["maskTransparency"])
        if switches["showPixelResiduals"]:
            figures["showPixelResiduals"] = _residualsFigure(difference, science, selectSources, kernelSources)
    for name, figure in figures.items():
        if switches["path"] is not None:
            figure.savefig(Path(switches["path"]) / f"imageDifference-{name}.png")
    return figures


def sourceMark(row):
    """(symbol, colour) of a source: x a damaged centre, + damage anywhere, o none; red when negative, else yellow."""
    colour = "red" if row["is_negative"] else "yellow"
    flags = [row[f"base_PixelFlags_flag_{plane}{where}"] for where in ("Center", "") for plane in _PLANES]
    symbol = "x" if any(flags[: len(_PLANES)]) else "+" if any(flags) else "o"
    return symbol, colour


def _canvas(difference, transparency):
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 8), layout="constrained")
    axes = figure.add_subplot()
    box, pixels = difference.bbox, difference.image.array
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = np.nanpercentile(pixels, (1, 99)) if np.isfinite(pixels).any() else (0, 1)
    extent = (box.minX - 0.5, box.maxX + 0.5, box.minY - 0.5, box.maxY + 0.5)
    axes.imshow(pixels, origin="lower", cmap="gray", vmin=low, vmax=high, extent=extent)
    if transparency < 100:
        masked = np.ma.masked_equal((difference.mask.array != 0).astype(float), 0)
        axes.imshow(masked, origin="lower", cmap="winter", alpha=0.3 * (1 - transparency / 100), extent=extent)
    return figure, axes


def _sourcesFigure(difference, table, which, transparency):
    figure, axes = _canvas(difference, transparency)
    prefix = "ip_diffim_DipoleFit_"
    for row in [] if table is None else table:
        dipole = bool(row[prefix + "classification"])
        x, y = row["base_SdssCentroid_x"], row["base_SdssCentroid_y"]
        if which == "dipoles":
            if dipole:
                for lobe, colour in (("pos", "yellow"), ("neg", "red")):
                    axes.plot(row[f"{prefix}{lobe}_x"], row[f"{prefix}{lobe}_y"], "o", mfc="none", mec=colour, ms=8)
            continue
        if which == "odd" and not (dipole or row["base_PixelFlags_flag"] or sourceMark(row)[0] != "o"):
            continue
        symbol, colour = sourceMark(row)
        axes.plot(x, y, symbol, mfc="none", mec=colour, color=colour, ms=8)
    axes.set_xlabel("x / pixel")
    axes.set_ylabel("y / pixel")
    return figure


def _residualsFigure(difference, science, selectSources, kernelSources):
    """Residuals in standard deviations around kernel stars and other stars: with the variance of the science image alone
    and with that of the difference."""
    from matplotlib.figure import Figure

    from .register import sourcePositions

    figure = Figure(figsize=(8, 4), layout="constrained")
    ids = {int(row["id"]) for row in kernelSources or ()}
    x, y = sourcePositions(selectSources) if selectSources is not None else (np.zeros(0), np.zeros(0))
    isKernel = np.array([int(i) in ids for i in selectSources["id"]], bool) if len(x) else np.zeros(0, bool)
    planes = (
        ("science variance", (science or difference).variance),
        ("variance of the difference", difference.variance),
    )
    for k, (title, variance) in enumerate(planes):
        axes = figure.add_subplot(1, 2, k + 1)
        for name, chosen in (("kernel stars", isKernel), ("other stars", ~isKernel)):
            values = _around(difference, variance, x[chosen], y[chosen])
            if values.size:
                axes.hist(np.clip(values, -5, 5), bins=50, density=True, histtype="step", label=name)
        grid = np.linspace(-5, 5, 101)
        axes.plot(grid, np.exp(-0.5 * grid**2) / np.sqrt(2 * np.pi), "k:", label="unit Gaussian")
        axes.set_title(title)
        axes.set_xlabel("residual / sigma")
        axes.legend()
    return figure


def _around(difference, variance, x, y, half=10):
    """Finite residuals in squares around positions."""
    parts = [np.zeros(0)]
    x0, y0 = (int(v) for v in difference.xy0)
    height, width = difference.image.array.shape
    for px, py in zip(x, y):
        if not (np.isfinite(px) and np.isfinite(py)):
            continue
        i, j = int(round(px)) - x0, int(round(py)) - y0
        cut = (slice(max(j - half, 0), min(j + half + 1, height)), slice(max(i - half, 0), min(i + half + 1, width)))
        with np.errstate(invalid="ignore", divide="ignore"):
            chi = difference.image.array[cut] / np.sqrt(variance.array[cut])
        parts.append(chi[np.isfinite(chi)])
    return np.concatenate(parts)
