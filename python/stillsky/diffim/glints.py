"""Glints: sources in a row, left by something that tumbles across the exposure."""

from dataclasses import dataclass, field

import numpy as np
from scipy.special import pdtrc

__all__ = ["GlintTrails", "findGlintTrails"]


@dataclass
class GlintTrails:
    """Straight lines of sources.

    Attributes
    ----------
    onTrail : array of bool
        One element for each source.
    slopes, intercepts, stderrs, lengths, angles : lists
        One element for each trail: y = slope x + intercept (pixels), error of the slope, distance of the outermost
        sources (pixels), direction (radians from +x to +y).
    """

    onTrail: np.ndarray
    slopes: list = field(default_factory=list)
    intercepts: list = field(default_factory=list)
    stderrs: list = field(default_factory=list)
    lengths: list = field(default_factory=list)
    angles: list = field(default_factory=list)

    def asDict(self):
        """The trails as arrays by name."""
        names = ("slopes", "intercepts", "stderrs", "lengths", "angles")
        return {name: np.array(getattr(self, name), float) for name in names}


def findGlintTrails(x, y, area, *, tolerance=1.5, minSources=5, maxLength=1000.0, maxChance=1e-3, maxSources=400):
    """Find straight lines with more sources than chance puts there.

    Parameters
    ----------
    x, y : arrays
        Positions of sources, pixels; NaN is left out.
    area : float
        Of the image, pixels.
    tolerance : float
        Largest distance from a line, pixels.
    minSources : int
        Smallest number of sources on a line.
    maxLength : float
        Of a line, pixels.
    maxChance : float
        Largest expected number of such lines among as many random positions (Poisson), for a line to count.
    maxSources : int
        With more sources than this nothing is searched: lines between so many are chance.

    Returns
    -------
    trails : `GlintTrails`
        Longest first; a source belongs to one trail at most.

    Notes
    -----
    Every pair of sources is tried; cost n^3 numbers, at most 6e7.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    out = GlintTrails(np.zeros(len(x), bool))
    free = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not minSources <= len(free) <= maxSources:
        return out
    density = len(free) / area
    nPairs = len(free) * (len(free) - 1) / 2
    while len(free) >= minSources:
        members = _longestLine(x[free], y[free], tolerance, maxLength)
        if members is None:
            break
        chosen = free[members]
        length = np.hypot(np.ptp(x[chosen]), np.ptp(y[chosen]))
        expected = density * 2 * tolerance * length
        chance = nPairs * (pdtrc(len(chosen) - 3, expected) if len(chosen) > 2 else 1.0)
        if len(chosen) < minSources or chance > maxChance:
            break
        out.onTrail[chosen] = True
        _describe(out, x[chosen], y[chosen])
        free = np.setdiff1d(free, chosen)
    return out


def _longestLine(x, y, tolerance, maxLength):
    """Indices of the most sources near a segment between two of them; ties: the shorter segment."""
    best, bestKey = None, (2, 0.0)
    for i in range(len(x) - 1):
        dx, dy = x[i + 1 :] - x[i], y[i + 1 :] - y[i]
        length = np.hypot(dx, dy)
        use = np.flatnonzero((length > 4 * tolerance) & (length <= maxLength))
        if not len(use):
            continue
        ux, uy, length = dx[use] / length[use], dy[use] / length[use], length[use]
        along = np.outer(x - x[i], ux) + np.outer(y - y[i], uy)
        across = np.abs(np.outer(y - y[i], ux) - np.outer(x - x[i], uy))
        on = (across <= tolerance) & (along >= -tolerance) & (along <= length + tolerance)
        counts = on.sum(0)
        k = int(np.lexsort((length, -counts))[0])
        if (counts[k], -length[k]) > bestKey:
            best, bestKey = np.flatnonzero(on[:, k]), (counts[k], -length[k])
    return best


def _describe(out, x, y):
    """Orthogonal line through the sources, and its slope with an error."""
    cx, cy = x - x.mean(), y - y.mean()
    angle = 0.5 * np.arctan2(2 * np.sum(cx * cy), np.sum(cx * cx) - np.sum(cy * cy))
    along = cx * np.cos(angle) + cy * np.sin(angle)
    across = cy * np.cos(angle) - cx * np.sin(angle)
    slope = np.tan(angle)
    angleError = np.sqrt(np.sum(across**2) / max(len(x) - 2, 1) / np.sum(along**2))
    out.slopes.append(float(slope))
    out.intercepts.append(float(y.mean() - slope * x.mean()))
    out.stderrs.append(float(angleError / np.cos(angle) ** 2))
    out.lengths.append(float(np.ptp(along)))
    out.angles.append(float(angle))
