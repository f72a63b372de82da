"""Panels of a DCR coadd: convergence, gain, where the visits looked, and what the model leaves of sources."""

import numpy as np

from .panels import BLUE, GREY, ORANGE, legend, logAxis, panel, title

__all__ = ["colourPng", "convergencePanel", "coveragePanel", "gainPanel", "residualPanel"]


def convergencePanel(columns):
    """Metric against iteration: the mean relative misfit of the sources."""
    figure, axes = panel()
    metric = np.asarray(columns["convergence"], float)
    x = np.arange(len(metric))
    positive = metric[np.isfinite(metric) & (metric > 0)]
    axes.plot(x, metric, "-o", color=BLUE, markersize=4, linewidth=1.2)
    if positive.size and positive.max() > 1.5 * positive.min():
        logAxis(axes, "y", 0.7 * positive.min(), 1.4 * positive.max())
    axes.set_xlim(-0.3, max(len(metric) - 0.7, 1.0))
    axes.set_xlabel("iteration", fontsize=9)
    axes.set_ylabel("misfit on sources", fontsize=9)
    title(axes, "convergence")
    return figure


def gainPanel(columns, solver="published"):
    """Weight of the new solution against that of the old one, per iteration; of conjugate gradients the step lengths."""
    figure, axes = panel()
    gains = np.asarray(columns["gain"], float)
    axes.plot(np.arange(1, len(gains) + 1), gains, "-s", color=ORANGE, markersize=4, linewidth=1.2)
    axes.set_xlim(0.5, len(gains) + 0.5)
    high = np.nanmax(gains) if np.isfinite(gains).any() else 1.0
    axes.set_ylim(0.0, 1.15 * high)
    axes.set_xlabel("iteration", fontsize=9)
    published = solver == "published"
    axes.set_ylabel("gain" if published else "step length", fontsize=9)
    title(axes, "gain: weight of the new model over that of the old" if published else "steps of conjugate gradients")
    return figure


def coveragePanel(columns, science=None):
    """Zenith distance and direction of the zenith of every visit, on a polar plot; north up, east left."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.6, 4.6))
    axes = figure.add_axes([0.08, 0.08, 0.84, 0.78], projection="polar")
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(1)  # east is left of north, as on the sky
    airmass = np.asarray(columns["airmass"], float)
    angle = np.radians(np.asarray(columns["parallacticAngle"], float))
    weight = np.asarray(columns["weight"], float)
    distance = np.degrees(np.arccos(1.0 / np.maximum(airmass, 1.0)))
    area = 60.0 * np.clip(weight / max(np.nanmean(weight), 1e-30), 0.2, 4.0)
    axes.scatter(angle, distance, s=area, color=BLUE, alpha=0.75, edgecolors="white", linewidths=0.6, zorder=3)
    for k, (a, d) in enumerate(zip(angle, distance)):
        if len(angle) <= 40 and np.isfinite(a + d):
            axes.annotate(str(k + 1), (a, d), fontsize=7.5, xytext=(5, 5), textcoords="offset points", color="0.3")
    rings = [r for r in (1.1, 1.25, 1.5, 2.0, 3.0) if r <= 1.3 * np.nanmax(airmass)] or [1.1]
    axes.set_rticks(np.degrees(np.arccos(1.0 / np.array(rings))), [f"{r:g}" for r in rings])
    axes.set_rlabel_position(22.5)
    axes.tick_params(labelsize=8.5, colors="0.35")
    axes.set_thetagrids(
        (0, 45, 90, 135, 180, 225, 270, 315), ("N 0°", "45°", "E 90°", "135°", "S 180°", "225°", "W 270°", "315°")
    )
    axes.set_ylim(0.0, max(1.12 * np.nanmax(distance), 20.0))
    axes.grid(color="0.85", linewidth=0.8)
    axes.spines["polar"].set_color("0.7")
    figure.suptitle("direction of the zenith, and airmass (rings)", x=0.02, ha="left", fontsize=10.5)
    return figure


def residualPanel(columns):
    """What is left of the sources in every visit, before and after, against airmass."""
    figure, axes = panel()
    airmass = np.asarray(columns["airmass"], float)
    before, after = (100.0 * np.asarray(columns[k], float) for k in ("residualBefore", "residualAfter"))
    for x, low, high in zip(airmass, after, before):
        axes.plot([x, x], [low, high], color="0.85", linewidth=1.0, zorder=1)
    axes.plot(airmass, before, "o", color=ORANGE, markersize=5, label="minus the plain coadd")
    axes.plot(airmass, after, "o", color=BLUE, markersize=5, label="minus the DCR template")
    axes.axhline(0.0, color=GREY, linewidth=0.8)
    axes.set_ylim(0.0, 1.3 * max(np.nanmax(before), np.nanmax(after), 1e-3))
    axes.set_xlabel("airmass", fontsize=9)
    axes.set_ylabel("residual on sources, noise taken off [%]", fontsize=9)
    title(axes, "what is left of sources")
    legend(axes, loc="upper left")
    return figure


def colourPng(images, sky, sigma, top=300.0):
    """A colour picture of the subfilters, red to blue: PNG; one stretch of the sum, colours kept (Lupton et al. 2004)."""
    import io

    from matplotlib import image as pictures

    planes = np.stack([np.nan_to_num(np.asarray(i, float) - s) for i, s in zip(images, sky)])
    edges = np.linspace(0, len(planes), 4)
    share = [np.clip(np.minimum(np.arange(len(planes)) + 1, edges[k + 1]) - np.maximum(np.arange(len(planes)), edges[k]), 0, 1)
             for k in (2, 1, 0)]  # fmt: skip
    rgb = np.stack([np.tensordot(s, planes, 1) / s.sum() for s in share], axis=-1)
    total = rgb.mean(axis=-1, keepdims=True)
    soft = 3.0 * sigma
    stretch = np.arcsinh(np.maximum(total, 0.0) / soft) / np.arcsinh(top * sigma / soft)
    with np.errstate(divide="ignore", invalid="ignore"):
        colour = np.where(total > 0, rgb / total, 1.0)
    # noise has no colour
    trust = np.clip(total / (6.0 * sigma) - 0.5, 0.0, 1.0)
    out = (0.08 + 0.92 * stretch) * (1.0 + 2.0 * trust * (np.clip(colour, 0.0, 2.0) - 1.0))
    stream = io.BytesIO()
    pictures.imsave(stream, np.clip(out, 0.0, 1.0)[::-1], format="png", metadata={"Software": "stillsky"})
    return stream.getvalue()
