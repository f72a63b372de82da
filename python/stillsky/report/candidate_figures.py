"""Stamps of the stars that a kernel was fitted to."""

import numpy as np

from .pixels import asinhStretch, robustScale

__all__ = ["candidateStampsFigure"]


def candidateStampsFigure(candidates, maxShown=20):
    """Stamps of kernel candidates: template, science, difference over noise, with status and residuals.

    Parameters
    ----------
    candidates : sequence of `dict`
        Each has the arrays ``template``, ``science`` and ``difference`` (same shape) and ``variance`` of the
        difference (array or number); optional ``x``, ``y``, ``status`` ("good", "bad", "unused") and ``reason``.
    maxShown : `int`
        Show the first so many.

    Returns
    -------
    figure : `matplotlib.figure.Figure`
        Two candidates in a row; the two images share one stretch, the difference is drawn from -5 to 5 sigma.
    """
    from matplotlib.figure import Figure

    shown = list(candidates)[:maxShown]
    rows = max(1, -(-len(shown) // 2))
    figure = Figure(figsize=(9.6, 1.75 * rows + 0.3))
    panels = figure.subplots(rows, 6, squeeze=False)
    for axes in panels.ravel():
        axes.set_axis_off()
    for k, candidate in enumerate(shown):
        _drawCandidate(panels[k // 2, 3 * (k % 2) : 3 * (k % 2) + 3], candidate)
    figure.subplots_adjust(
        left=0.01, right=0.99, bottom=0.01, top=1.0 - 0.35 / (1.75 * rows + 0.3), wspace=0.04, hspace=0.25
    )
    return figure


def _drawCandidate(axes, candidate):
    images = [np.asarray(candidate[name], dtype=float) for name in ("template", "science")]
    with np.errstate(invalid="ignore", divide="ignore"):
        chi = np.asarray(candidate["difference"], dtype=float) / np.sqrt(candidate["variance"])
    border = [np.concatenate([im[:2].ravel(), im[-2:].ravel(), im[:, :2].ravel(), im[:, -2:].ravel()]) for im in images]
    scales = [robustScale(b) for b in border]
    sigma = max(s for _, s in scales)
    for panel, image, (sky, _) in zip(axes, images, scales):
        stretched = asinhStretch(image, sky, sigma)
        panel.imshow(stretched, origin="lower", cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    axes[2].imshow(chi, origin="lower", cmap="RdBu_r", vmin=-5.0, vmax=5.0, interpolation="nearest")
    where = f"({candidate['x']:.0f}, {candidate['y']:.0f})" if "x" in candidate else ""
    status = str(candidate.get("status", ""))
    reason = f": {candidate['reason']}" if candidate.get("reason") else ""
    color = {"good": "#009e73", "bad": "#d55e00"}.get(status, "0.4")
    rms = float(np.sqrt(np.nanmean(np.where(np.isfinite(chi), chi, np.nan) ** 2))) if np.isfinite(chi).any() else np.nan
    axes[0].set_title("template", fontsize=7, pad=2)
    axes[1].set_title(f"science {where}", fontsize=7, pad=2)
    axes[2].set_title(f"{status}{reason} rms {rms:.2f}", fontsize=7, pad=2, color=color)
