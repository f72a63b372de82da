"""What a subtraction leaves of its stars: a share of their flux, and a displacement."""

import numpy as np

from .previews import cutout

__all__ = ["starResiduals", "summarizeResiduals"]

_LARGEST = 600  # stars; more tell nothing new


def starResiduals(result, scale=1.0, half=None):
    """Flux and position that each star of the fit has kept on the difference.

    For a star of profile T that the science image has by (dx, dy) beside the matched template, and by the share f
    brighter, the difference is f T - (1 + f) (dx dT/dx + dy dT/dy) + b to first order. The four numbers of each star are fitted by
    weighted least squares with the variance plane.

    Parameters
    ----------
    result : `stillsky.diffim.SubtractResult`
        With candidates.
    scale : `float`
        Factor that brings the template as subtracted to science units.
    half : `int`, optional
        Half the side of the stamps; default 1.25 FWHM of the science image, at least 4.

    Returns
    -------
    table : `dict` [`str`, `numpy.ndarray`]
        Columns row (of the candidates), x, y (parent pixels), rating, flux, fluxError (share of the star's flux), dx, dy,
        offsetError (pixels). Stars in the fit alone; those with fewer good pixels than three quarters are left out.
    """
    candidates, box = result.candidates, result.difference.bbox
    used = np.flatnonzero(np.asarray(candidates["usedInFit"], bool))
    rating = np.asarray(candidates["rating"], float)
    used = used[np.argsort(-rating[used], kind="stable")][:_LARGEST]
    size = result.metadata.get("sciencePsfSize") or 4.0
    half = max(4, int(np.ceil(1.25 * size))) if half is None else half
    bits = result.difference.mask.bitmask(["NO_DATA", "BAD", "SAT", "CR", "EDGE"], ignoreMissing=True)
    planes = (result.difference.image.array, result.difference.variance.array)
    rows = []
    for k in used:
        x, y = float(candidates["x"][k]), float(candidates["y"][k])
        at = (x - box.minX, y - box.minY)
        good = _maskAround(result.difference.mask.array, bits, *at, half)
        template = cutout(result.matchedTemplate.image.array, *at, half + 2).astype(float) * scale
        solution = _fitStar(*(cutout(p, *at, half) for p in planes), template, good)
        if solution is not None:
            rows.append((k, x, y, rating[k], *solution))
    names = ("row", "x", "y", "rating", "flux", "fluxError", "dx", "dy", "offsetError")
    columns = np.array(rows, float).reshape(-1, len(names)).T
    table = dict(zip(names, columns))
    table["row"] = table["row"].astype(int)
    return table


def _maskAround(mask, bits, x, y, half):
    """True for pixels of a stamp that carry none of the bits; pixels outside have no difference anyway."""
    out = np.zeros((2 * half + 1, 2 * half + 1), bool)
    cx, cy = int(round(x)), int(round(y))
    part = mask[max(cy - half, 0) : max(cy + half + 1, 0), max(cx - half, 0) : max(cx + half + 1, 0)]
    top, left = max(half - cy, 0), max(half - cx, 0)
    out[top : top + part.shape[0], left : left + part.shape[1]] = (part & bits) == 0
    return out


def _slope(values):
    """Derivative along the last axis, four points, two pixels at all borders cut off (error of fourth order)."""
    inner = values[2:-2]
    return (8.0 * (inner[:, 3:-1] - inner[:, 1:-3]) - (inner[:, 4:] - inner[:, :-4])) / 12.0


def _fitStar(difference, variance, template, good):
    """(flux, fluxError, dx, dy, offsetError), or None; the template has two pixels more on each side."""
    if not np.isfinite(template).all():
        return None
    slopeX, slopeY = _slope(template), _slope(template.T).T
    template = template[2:-2, 2:-2]
    template = template - np.median(np.concatenate([template[0], template[-1], template[:, 0], template[:, -1]]))
    use = good & np.isfinite(difference) & (variance > 0) & np.isfinite(variance)
    if np.count_nonzero(use) < 0.75 * use.size:
        return None
    weight = 1.0 / np.sqrt(variance[use])
    design = np.stack([template[use], -slopeX[use], -slopeY[use], np.ones(weight.size)], axis=1) * weight[:, None]
    normal = design.T @ design
    try:
        covariance = np.linalg.inv(normal)
    except np.linalg.LinAlgError:
        return None
    flux, dx, dy, _ = covariance @ (design.T @ (difference[use] * weight))
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    if not np.isfinite([flux, dx, dy, *errors]).all() or flux <= -0.9:
        return None
    # the light that moved is that of the science image
    return flux, errors[0], dx / (1.0 + flux), dy / (1.0 + flux), np.sqrt(0.5 * (errors[1] ** 2 + errors[2] ** 2))


def summarizeResiduals(table):
    """Figures of `starResiduals`: mean displacement, its scatter beyond the noise, mean flux share.

    Returns
    -------
    figures : `dict`
        n; dx, dy and error (weighted mean displacement, pixels); scatter (of single stars beyond their errors, per axis,
        pixels); flux and fluxError (weighted mean share). NaN without stars.
    """
    n = len(table["flux"])
    nothing = dict.fromkeys(("dx", "dy", "error", "scatter", "flux", "fluxError"), float("nan"))
    if not n:
        return {"n": 0, **nothing}
    weight = 1.0 / table["offsetError"] ** 2
    dx, dy = (float(np.average(table[k], weights=weight)) for k in ("dx", "dy"))
    # those with the smaller half of the errors tell about the scatter
    best = table["offsetError"] <= np.median(table["offsetError"])
    square = 0.5 * ((table["dx"] - dx) ** 2 + (table["dy"] - dy) ** 2)[best]
    # the median of a sum of two squares of unit Gaussians is 2 ln 2
    beyond = float(np.median(square / np.log(2.0)) - np.median(table["offsetError"][best] ** 2))
    fluxWeight = 1.0 / table["fluxError"] ** 2
    return {
        "n": n, "dx": dx, "dy": dy, "error": float(weight.sum() ** -0.5), "scatter": float(np.sqrt(max(beyond, 0.0))),
        "flux": float(np.average(table["flux"], weights=fluxWeight)), "fluxError": float(fluxWeight.sum() ** -0.5),
    }  # fmt: skip
