"""Measuring one straight trail: axis, width, brightness, and where it begins and ends."""

from dataclasses import dataclass

import numpy as np

__all__ = ["StreakProfile", "measureStreak"]

_SEGMENT = 32  # pixels along the line
_FEWEST = 3  # segments with light
_BOX = 5  # pixels across that are summed when the axis is sought
_SEEN = 5.0  # standard deviations: light of a segment that is seen
_BRIGHTEST = 30.0  # standard deviations: brighter rows of a segment do not pull the axis more


@dataclass(frozen=True)
class StreakProfile:
    """A measured streak in array coordinates; see `stillsky.detection.Streak`."""

    theta: float
    ends: tuple
    sigma: float
    halfWidth: float
    amplitude: float
    significance: float
    filledFraction: float


class _Strip:
    """Pixels along a line: medians of segments, for each distance from the line."""

    def __init__(self, noisy, x, y, theta, halfWidth):
        self.normal = np.array([np.cos(theta), np.sin(theta)])
        self.along = np.array([-np.sin(theta), np.cos(theta)])
        self.theta, self.origin = theta, np.array([x, y])
        low, high = _chord(noisy.shape, self.origin, self.along)
        self.low, self.high = low, high
        self.n = max(1, int((high - low) / _SEGMENT))
        self.length = (high - low) / self.n
        each = max(1, int(np.ceil(self.length)))
        self.t = np.arange(-halfWidth, halfWidth + 1)
        self.u = low + (np.arange(self.n * each) + 0.5) * (self.length / each)
        self.middle = self.u.reshape(self.n, each).mean(axis=1)
        self._sample(noisy, each)

    def _sample(self, noisy, each):
        """Nearest pixels: their noise stays independent. Medians along the segments pass over stars."""
        px = np.rint(self.origin[0] + self.u[:, None] * self.along[0] + self.t * self.normal[0]).astype(int)
        py = np.rint(self.origin[1] + self.u[:, None] * self.along[1] + self.t * self.normal[1]).astype(int)
        inside = (px >= 0) & (px < noisy.shape[1]) & (py >= 0) & (py < noisy.shape[0])
        values = np.where(inside, noisy[np.where(inside, py, 0), np.where(inside, px, 0)], np.nan)
        values = np.sort(values.reshape(self.n, each, len(self.t)), axis=1)  # NaN last
        count = np.isfinite(values).sum(axis=1)
        middle = np.stack([np.maximum(count - 1, 0) // 2, np.minimum(count, each - 1) // 2], axis=1)
        rows = np.take_along_axis(values, middle, axis=1).mean(axis=1).astype(float)
        enough = count >= max(3, 0.2 * each)
        rows[~enough] = np.nan
        known = enough.any(axis=1)
        rows[known] -= np.nanmedian(rows[known], axis=1)[:, None]
        self.rows = rows
        self.errors = np.where(enough, 1.2533 / np.sqrt(np.maximum(count, 1)), np.inf)


def _chord(shape, origin, along):
    """Parameters at which a line enters and leaves the pixels of an array."""
    low, high = -np.inf, np.inf
    for size, start, slope in ((shape[1], origin[0], along[0]), (shape[0], origin[1], along[1])):
        if abs(slope) < 1e-9:
            continue
        a, b = sorted(((-0.5 - start) / slope, (size - 0.5 - start) / slope))
        low, high = max(low, a), min(high, b)
    return low, max(low, high)


def measureStreak(noisy, x, y, theta, tolerance, config):
    """Measure the trail near a line, if there is one.

    Parameters
    ----------
    noisy : `numpy.ndarray`, (h, w), float32
        Image over noise; NaN is left out.
    x, y : float
        A point of the line, array coordinates.
    theta : float
        Angle of its normal, radians.
    tolerance : float
        How far the axis may be from the line at its ends, pixels.
    config : `MaskStreaksConfig`

    Returns
    -------
    profile : `StreakProfile` or None
        None: too short, too faint or seen along too little of its length.
    """
    strip = _Strip(noisy, x, y, theta, int(config.maxHalfWidth + tolerance))
    if strip.high - strip.low < config.minLength:
        return None
    offset, slope, light = _axis(strip, tolerance)
    if (light > _SEEN).sum() < _FEWEST:
        return None
    for _ in range(3):  # onto the axis, then with what is left
        x, y, theta = _moved(strip, offset, slope)
        strip = _Strip(noisy, x, y, theta, config.maxHalfWidth)
        offset, slope = _centroids(strip)
    x, y, theta = _moved(strip, offset, slope)
    strip = _Strip(noisy, x, y, theta, config.maxHalfWidth)
    first, last, filled = _extent(strip)
    if (last - first) * strip.length < min(config.minLength, strip.high - strip.low) or filled * (
        last - first
    ) < _FEWEST:
        return None
    if filled < config.minFilledFraction:
        return None
    return _profile(strip, first, last, filled, config)


def _moved(strip, offset, slope):
    """The line whose distance from the strip's is offset + slope*u."""
    point = strip.origin + offset * strip.normal
    return point[0], point[1], (strip.theta - np.arctan(slope))


def _boxes(rows, errors, width=_BOX):
    """Sums over neighbouring distances and their errors; missing values count as no light and no error."""
    kernel = np.ones(width)
    values = np.where(np.isfinite(rows) & np.isfinite(errors), rows, 0.0)
    noise = np.where(np.isfinite(rows) & np.isfinite(errors), errors, 0.0) ** 2
    total = np.array([np.convolve(v, kernel, "same") for v in values])
    return total, np.sqrt(np.array([np.convolve(v, kernel, "same") for v in noise]))


def _significances(strip, width=_BOX):
    total, error = _boxes(strip.rows, strip.errors, width)
    return np.divide(total, error, out=np.zeros_like(total), where=error > 0)


def _axis(strip, tolerance):
    """Distance and slope at which the segments' light adds up to most, and that of each segment."""
    light = np.minimum(_significances(strip), _BRIGHTEST)
    lever = (strip.middle - strip.middle.mean()) / max(1e-9, np.ptp(strip.middle))
    best = (-np.inf, 0.0, 0.0, None)
    reach = int(np.ceil(2 * tolerance))
    half = len(strip.t) // 2
    inner = slice(half - int(tolerance), half + int(tolerance) + 1)
    column = np.arange(len(strip.t))
    for tilt in range(-reach, reach + 1):
        shift = np.rint(tilt * lever).astype(int)
        index = np.clip(column + shift[:, None], 0, len(column) - 1)
        tilted = np.take_along_axis(light, index, axis=1)[:, inner]
        total = tilted.sum(axis=0)
        k = int(np.argmax(total))
        if total[k] > best[0]:
            best = (total[k], float(strip.t[inner][k]), tilt / max(1e-9, np.ptp(strip.middle)), tilted[:, k])
    _, center, slope, column = best
    return center - slope * strip.middle.mean(), slope, column


def _centroids(strip):
    """Straight line through the centroids of the segments' light near the axis."""
    near = np.abs(strip.t) <= 6
    light = np.clip(np.nan_to_num(strip.rows[:, near]), 0, _BRIGHTEST)
    seen = _significances(strip)[:, len(strip.t) // 2] > _SEEN
    total = light.sum(axis=1)
    use = seen & (total > 0)
    if not use.any():
        return 0.0, 0.0
    center = (light[use] * strip.t[near]).sum(axis=1) / total[use]
    u = strip.middle[use]
    if use.sum() < 3:
        return float(np.median(center)), 0.0
    weight, middle = np.sqrt(total[use]), u.mean()
    for _ in range(2):  # a bright star beside the trail pulls its segment: out with it
        slope, offset = np.polyfit(u - middle, center, 1, w=weight)
        off = np.abs(center - offset - slope * (u - middle))
        weight = np.where(off <= max(0.5, 3 * float(np.median(off))), weight, 0)
    slope, offset = np.polyfit(u - middle, center, 1, w=weight)
    return float(offset - slope * middle), float(slope)


def _extent(strip):
    """First segment, one past the last, and the part of them in which light is seen.

    The stretch in which segments with light outnumber those without by most.
    """
    center = len(strip.t) // 2
    known = np.isfinite(strip.rows[:, center])
    seen = known & (_significances(strip)[:, center] > _SEEN)
    gain = np.where(seen, 1, np.where(known, -1, 0))
    total = np.concatenate([[0], np.cumsum(gain)])
    start = np.minimum.accumulate(total)
    last = int(np.argmax(total - start))
    first = int(np.flatnonzero(total[: last + 1] == start[last])[-1]) if last else 0
    here = known[first:last]
    return first, last, float(seen[first:last].sum() / max(1, here.sum()))


def _profile(strip, first, last, filled, config):
    """Width and brightness of the mean profile of the segments, the total significance, and the ends."""
    rows, errors = strip.rows[first:last], strip.errors[first:last]
    weight = np.where(np.isfinite(rows) & np.isfinite(errors), 1 / np.where(errors > 0, errors, np.inf) ** 2, 0)
    total = weight.sum(axis=0)
    mean = np.divide((np.nan_to_num(rows) * weight).sum(axis=0), total, out=np.zeros(len(total)), where=total > 0)
    error = np.where(total > 0, 1 / np.sqrt(np.maximum(total, 1e-30)), np.inf)
    fit = _fitProfile(strip.t, mean, error)
    if fit is None:
        return None
    amplitude, width, shape = fit
    core = np.abs(strip.t) <= max(2.0, 1.5 * width)
    finite = core & np.isfinite(error)
    significance = float(mean[finite].sum() / np.sqrt((error[finite] ** 2).sum())) if finite.any() else 0.0
    if significance < config.minProfileSignificance:
        return None
    ends = (strip.low + first * strip.length, strip.low + last * strip.length)
    points = tuple(tuple(float(v) for v in strip.origin + u * strip.along) for u in ends)
    half = min(float(config.maxHalfWidth), max(1.5, shape(config.nSigmaMask)))
    return StreakProfile(float(strip.theta), points, float(width), half, float(amplitude), significance, filled)


def _gaussian(r2, width):
    return np.exp(-0.5 * r2 / width**2)


def _moffat(r2, width):
    """Cross-section of a line of Moffat stars of exponent 3: exponent 2.5; full width at half maximum as of a Gaussian."""
    return (1 + r2 / (_MOFFAT * width**2)) ** -2.5


_MOFFAT = 2 * np.log(2) / (2**0.4 - 1)


def _fitProfile(t, mean, error):
    """(amplitude, width, distance at which the profile falls to a level) of the better of two shapes; None: no light."""
    use = np.isfinite(error)
    if use.sum() < 5 or not mean[use].max() > 0:
        return None
    best = None
    for shape in (_gaussian, _moffat):

        def residuals(p, shape=shape):
            return (mean[use] - p[0] * shape((t[use] - p[1]) ** 2, np.exp(p[2])) - p[3]) / error[use]

        start = [float(mean[use].max()), 0.0, np.log(2.0), 0.0]
        bounds = ([0.0, -5.0, np.log(0.3), -np.inf], [np.inf, 5.0, np.log(t[-1] / 2), np.inf])
        from scipy.optimize import least_squares  # slow to import, and streaks are rare

        fit = least_squares(residuals, start, bounds=bounds)
        if best is None or fit.cost < best[0]:
            best = (fit.cost, fit.x, shape)
    _, (amplitude, center, logWidth, _), shape = best
    if not amplitude > 0:
        return None
    width = np.exp(logWidth)

    def reach(level):
        if level >= amplitude:
            return 0.0
        if shape is _gaussian:
            return float(width * np.sqrt(2 * np.log(amplitude / level)) + abs(center))
        return float(width * np.sqrt(_MOFFAT * ((amplitude / level) ** 0.4 - 1)) + abs(center))

    return amplitude, width, reach
