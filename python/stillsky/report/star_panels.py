"""Panels of the stars that a matching kernel was fitted to, and of profiles of stars."""

import numpy as np

from .panels import BLUE, GREEN, GREY, ORANGE, PURPLE, colourBar, legend, logAxis, panel, title
from .pixels import robustScale
from .previews import cutout

__all__ = ["fluxResidualPanel", "offsetPanel", "psfPanel", "stackedProfile", "starChiPanel", "starMapPanel"]


def _ratingAxis(axes, rating):
    good = rating[np.isfinite(rating) & (rating > 0)]
    if good.size:
        logAxis(axes, "x", 0.9 * good.min(), 1.1 * good.max())
    axes.set_xlabel("signal-to-noise ratio in the science image", fontsize=9)


def starChiPanel(candidates):
    """Residuals over the noise against signal-to-noise ratio."""
    figure, axes = panel()
    used = np.asarray(candidates["usedInFit"], bool)
    rating, loo, fitted = (np.asarray(candidates[name], float) for name in ("rating", "looRms", "spatialRms"))
    axes.plot(rating[used], fitted[used], "o", color=BLUE, markersize=4, alpha=0.7, label="in the fit")
    axes.plot(rating[used], loo[used], "^", color=ORANGE, markersize=5, mfc="none", label="predicted by the others")
    axes.plot(rating[~used], fitted[~used], "x", color=GREY, markersize=5, label="not used")
    axes.axhline(1.0, color="0.4", linewidth=0.9)
    axes.axhline(1.3, color="0.4", linewidth=0.7, linestyle=":")
    shown = np.concatenate([fitted[used], loo[used]])
    shown = shown[np.isfinite(shown)]
    top = min(max(1.6, 1.05 * float(shown.max())), 5.0) if shown.size else 2.0
    axes.set_ylim(0.6, top)
    above = used & (loo > top)
    if above.any():  # at the edge, so that they are not lost
        axes.plot(rating[above], np.full(np.count_nonzero(above), top), "^", color=ORANGE, clip_on=False)
    _ratingAxis(axes, rating)
    axes.set_ylabel("rms of the residual / noise", fontsize=9)
    title(axes, "chi of stars: 1 is noise alone")
    legend(axes, loc="upper left")
    return figure


def starMapPanel(candidates, box, cell=None):
    """Stars over the field with the cells from which they were chosen: colour is the residual, a cross was not used."""
    figure, axes = panel(bar=True, square=True)
    used = np.asarray(candidates["usedInFit"], bool)
    x, y, loo = (np.asarray(candidates[name], float) for name in ("x", "y", "looRms"))
    bad = np.asarray(candidates["status"]) == "BAD"
    if cell is not None:
        axes.vlines(np.arange(box.minX, box.maxX, cell[0]) - 0.5, box.minY, box.maxY, color="0.85", linewidth=0.7)
        axes.hlines(np.arange(box.minY, box.maxY, cell[1]) - 0.5, box.minX, box.maxX, color="0.85", linewidth=0.7)
    shown = axes.scatter(
        x[used], y[used], c=loo[used], cmap="viridis", vmin=0.8, vmax=1.6, s=32, edgecolor="0.3", zorder=3
    )
    axes.plot(x[bad], y[bad], "x", color=ORANGE, markersize=6, label="rejected", zorder=3)
    spare = ~used & ~bad
    if spare.any():
        axes.plot(x[spare], y[spare], ".", color=GREY, markersize=4, label="not needed")
    colourBar(axes, shown, "rms / noise, predicted by the others")
    axes.set_xlim(box.minX - 0.5, box.maxX + 0.5)
    axes.set_ylim(box.minY - 0.5, box.maxY + 0.5)
    axes.set_aspect("equal")
    words = f"{np.count_nonzero(used)} used, {np.count_nonzero(bad)} rejected (crosses)"
    title(axes, words + (f", {np.count_nonzero(spare)} not needed (dots)" if spare.any() else ""))
    axes.set_xlabel("x [px]", fontsize=9)
    axes.set_ylabel("y [px]", fontsize=9)
    return figure


def fluxResidualPanel(table):
    """Share of each star's flux that is left on the difference."""
    figure, axes = panel()
    share, error = 100 * table["flux"], 100 * table["fluxError"]
    axes.errorbar(
        table["rating"], share, error, fmt="o", color=BLUE, markersize=3.5, ecolor="0.7", elinewidth=0.8, zorder=3
    )
    axes.axhline(0.0, color="0.4", linewidth=1)
    bright = table["rating"] >= np.median(table["rating"])
    reach = 4.0 * float(np.median(error[bright])) if bright.any() else 1.0
    reach = max(reach, 1.1 * float(np.quantile(np.abs(share[bright]), 0.95)) if bright.any() else 0.0)
    axes.set_ylim(-reach, reach)
    _ratingAxis(axes, table["rating"])
    axes.set_ylabel("flux left [%]", fontsize=9)
    title(axes, "flux of stars on the difference / science")
    return figure


def offsetPanel(table, box):
    """Displacement of science against matched template, star by star, as arrows over the field."""
    figure, axes = panel(square=True)
    good = table["offsetError"] <= max(0.05, float(np.median(table["offsetError"])))
    x, y, dx, dy = (table[k][good] for k in ("x", "y", "dx", "dy"))
    length = np.hypot(dx, dy)
    unit = float(np.quantile(length, 0.9)) if length.size else 0.0
    if unit > 0:
        arrows = axes.quiver(x, y, dx, dy, color=BLUE, angles="xy", width=0.004, scale=unit * 14)
        axes.quiverkey(arrows, 0.8, 0.965, unit, f"{1000 * unit:.2g} mpx", labelpos="E", coordinates="axes",
                       fontproperties={"size": 8.5})  # fmt: skip
    axes.set_xlim(box.minX - 0.5, box.maxX + 0.5)
    axes.set_ylim(box.minY - 0.5, box.maxY + 0.5)
    axes.set_aspect("equal")
    title(axes, "positions: science - matched template")
    axes.set_xlabel("x [px]", fontsize=9)
    axes.set_ylabel("y [px]", fontsize=9)
    return figure


def psfPanel(profiles, radius, logarithmic):
    """Radial profiles, 1 in the middle: a `dict` of name to (radii, values, kind), kind "line" or "points"."""
    figure, axes = panel()
    for (name, (r, values, kind)), colour in zip(profiles.items(), (BLUE, ORANGE, GREEN, PURPLE)):
        style = {"linestyle": "-"} if kind == "line" else {"linestyle": "none", "marker": "o", "markersize": 4}
        axes.plot(r, values, color=colour, label=name, **style)
    axes.set_xlim(0.0, radius)
    axes.set_xlabel("distance from the centre [px]", fontsize=9)
    if logarithmic:
        logAxis(axes, "y", 1e-4, 1.5)
        title(axes, "the same, logarithmic")
    else:
        axes.axhline(0.0, color="0.6", linewidth=0.8, zorder=0)
        title(axes, "profiles of PSFs and stars, peak 1")
        legend(axes)
    return figure


def stackedProfile(image, x, y, radius):
    """Median profile of stars in rings of one pixel, each star scaled by its flux within the radius, sky removed.

    Parameters
    ----------
    image : `numpy.ndarray` (height, width)
    x, y : `numpy.ndarray` (n,)
        Array positions of stars.
    radius : `int`
        Outermost ring; the sky is that of rings from there to 1.4 times the radius.

    Returns
    -------
    r, profile : `numpy.ndarray`
        Mean radius and median of the pixels in rings; peak 1.
    """
    reach = int(np.ceil(1.4 * radius))
    grid = np.arange(-reach, reach + 1)
    radii, values = [], []
    for a, b in zip(x, y):
        stamp = cutout(image, a, b, reach).astype(float)
        r = np.hypot(grid[None, :] - (a - round(a)), grid[:, None] - (b - round(b)))
        sky, _ = robustScale(stamp[(r > radius) & (r <= reach)])
        flux = float(np.sum(stamp[r <= 0.5 * radius] - sky))
        if np.isfinite(flux) and flux > 0:
            radii.append(r[r <= radius])
            values.append((stamp[r <= radius] - sky) / flux)
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
