"""Straight trails of satellites and aircraft: found as lines of detected pixels, measured on the image, masked.

Lines are found by votes of the detected pixels over angle and distance (Duda & Hart 1972, Comm. ACM 15, 11), with the
number that chance would give taken off; each is then measured on the pixels themselves, see `streak_profile`.
"""

from dataclasses import dataclass

import numpy as np

from .span_set import SpanSet
from .streak_profile import measureStreak

__all__ = ["Streak", "findStreaks", "maskStreaks"]

_MOST_CELLS = 100_000
_FAILURES = 10  # lines without light, one after the other: no further one is likely
_MOST_BIN = 32  # pixels: cells of this size could hold a streak's votes


@dataclass(frozen=True)
class Streak:
    """A straight trail.

    Attributes
    ----------
    rho, theta : float
        Distance from the first pixel of the parent frame, (0, 0), and angle (radians, from +x to +y) of the normal:
        ``x cos(theta) + y sin(theta) = rho``. Pixels.
    ends : ((x, y), (x, y))
        Where it begins and ends on the image.
    length, sigma, halfWidth : float
        Pixels; sigma of a Gaussian of the same core, halfWidth of the mask.
    amplitude : float
        Light on the axis in standard deviations of a pixel.
    significance : float
        All its light over the noise.
    filledFraction : float
        Part of its length along which the light is seen.
    spans : `stillsky.detection.SpanSet`
        Its mask, parent coordinates.
    """

    rho: float
    theta: float
    ends: tuple
    length: float
    sigma: float
    halfWidth: float
    amplitude: float
    significance: float
    filledFraction: float
    spans: SpanSet


def maskStreaks(exposure, config=None):
    """Find streaks and set their mask plane.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure` or `MaskedImage`
        With a plane of detected pixels; the plane of streaks is added to its mask when missing.
    config : `MaskStreaksConfig`, optional

    Returns
    -------
    streaks : `list` of `Streak`
    """
    config = _configOr(config)
    streaks = findStreaks(exposure, config)
    exposure.mask.addPlane(config.streaksMaskPlane, "satellite or aircraft trail")
    for streak in streaks:
        streak.spans.setMask(exposure.mask, config.streaksMaskPlane)
    return streaks


def findStreaks(exposure, config=None):
    """Find streaks; nothing is changed.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure` or `MaskedImage`
        Background subtracted, with variance and a plane of detected pixels. Pixels that are not finite, have no
        positive variance or carry ``badMaskPlanes`` are left out.
    config : `MaskStreaksConfig`, optional

    Returns
    -------
    streaks : `list` of `Streak`
        The most conspicuous one first.

    Notes
    -----
    Cost: 360 histograms of at most 100 000 cells, and the pixels within ``maxHalfWidth`` of each line. Peak memory:
    three planes of one byte and one of float32 (image over noise).
    """
    config = _configOr(config)
    masked = getattr(exposure, "maskedImage", exposure)
    detected, thick = _thinPixels(masked, config)
    x, y = _voters(detected, config)
    if len(x) < config.minLength / _MOST_BIN:
        return []
    votes = _Votes(x, y, detected.shape, config)
    noisy = _significanceImage(masked, config)
    thick.setImage(noisy, np.nan)
    streaks, failures = [], 0
    while len(streaks) < config.maxStreaks and failures < _FAILURES and (line := votes.best()) is not None:
        found = measureStreak(noisy, *line, votes.tolerance, config)
        failures = failures + 1 if found is None else 0
        if found is None:
            votes.strikeOut()
            continue
        streaks.append(_streak(found, masked, config))
        spans = _band(found, found.halfWidth + 2)
        votes.remove(spans)
        spans.setImage(noisy, np.nan, clip=True)
    return streaks


def _configOr(config):
    if config is not None:
        return config
    from .streaks_config import MaskStreaksConfig

    return MaskStreaksConfig()


def _thinPixels(masked, config):
    """Detected good pixels without the regions that hold a disc, and these: bright stars would outvote faint trails."""
    bits = masked.mask.array
    plane = masked.mask.bitmask(config.detectedMaskPlane, ignoreMissing=True)
    detected = (bits & plane) != 0
    if not detected.any():
        return detected, SpanSet()
    spans, radius = SpanSet.fromBool(detected), int(config.thickness)
    box = _arrayBox(detected.shape)
    thick = spans.eroded(radius).dilated(radius + 2).clipped(box)
    detected &= ~thick.toBool(box)
    detected &= (bits & masked.mask.bitmask(list(config.badMaskPlanes), ignoreMissing=True)) == 0
    return detected, thick


def _voters(detected, config):
    """Columns and rows of the pixels that vote: of round regions one, at the centre, for a star is no line."""
    regions = SpanSet.fromBool(detected).split()
    isRound = [_isRound(r, 0.5 * config.minLength) for r in regions]
    x = [np.rint(r.centroid[:1]).astype(int) if alone else r.x for r, alone in zip(regions, isRound, strict=True)]
    y = [np.rint(r.centroid[1:]).astype(int) if alone else r.y for r, alone in zip(regions, isRound, strict=True)]
    empty = [np.zeros(0, int)]
    return np.concatenate(x + empty), np.concatenate(y + empty)


def _isRound(region, size):
    """Whether a region is small, fills the ellipse of its moments, and that is not long."""
    if max(region.bbox.dimensions) > size:
        return False
    xx, yy, xy = region.shape
    mean, split = 0.5 * (xx + yy) + 1 / 12, np.hypot(0.5 * (xx - yy), xy)
    major, minor = mean + split, max(mean - split, 1 / 12)
    return major < 6 * minor and region.area > 0.5 * 4 * np.pi * np.sqrt(major * minor)


def _significanceImage(masked, config):
    """Image over noise, float32, NaN where there is no good value."""
    bad = (masked.mask.array & masked.mask.bitmask(list(config.badMaskPlanes), ignoreMissing=True)) != 0
    with np.errstate(divide="ignore", invalid="ignore"):
        out = masked.image.array / np.sqrt(masked.variance.array, dtype=np.float32)
    out = out.astype(np.float32, copy=False)
    out[bad | ~np.isfinite(out) | ~np.isfinite(masked.variance.array)] = np.nan
    return out


class _Votes:
    """Numbers of cells with detected pixels along every line, kept up to date while cells are taken out."""

    def __init__(self, x, y, shape, config):
        bin_ = config.binFactor
        cells = _cells(x, y, bin_, shape)
        while len(cells) > _MOST_CELLS:
            bin_ *= 2
            cells = _cells(x, y, bin_, shape)
        self.shape, self.bin, self.minSignificance, self.minLength = (
            shape,
            bin_,
            config.minSignificance,
            config.minLength,
        )
        self.center = np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])
        columns = -(-shape[1] // bin_)
        self.x = (cells % columns) * bin_ + (bin_ - 1) / 2 - self.center[0]
        self.y = (cells // columns) * bin_ + (bin_ - 1) / 2 - self.center[1]
        self.theta = np.deg2rad(np.arange(0, 180, config.thetaBinSize))
        self.reach = 0.5 * np.hypot(*shape)
        self.step = 2.0 * bin_
        self.nRho = int(np.ceil(2 * self.reach / self.step)) + 1
        self.tolerance = self.step + 0.5 * self.reach * np.deg2rad(config.thetaBinSize)
        self.counts = self._count(self.x, self.y)
        self.chord = self._chords()
        self.closed = self.chord < config.minLength
        self.best_ = None

    def _count(self, x, y):
        counts = np.empty((len(self.theta), self.nRho), np.float32)
        for i, angle in enumerate(self.theta):
            rho = x * np.cos(angle) + y * np.sin(angle)
            counts[i] = np.bincount(((rho + self.reach) / self.step).astype(np.int64), minlength=self.nRho)[: self.nRho]
        return counts

    def _chords(self):
        """Length of every line inside the image, pixels, at the middle of its bin."""
        rho = (np.arange(self.nRho) + 0.5) * self.step - self.reach
        low, high = np.full((len(self.theta), self.nRho), -np.inf), np.full((len(self.theta), self.nRho), np.inf)
        cos, sin = np.cos(self.theta), np.sin(self.theta)
        for size, along, across in ((self.shape[1], -sin, cos), (self.shape[0], cos, sin)):
            slope, start = along[:, None], np.outer(across, rho)
            slope = np.where(np.abs(slope) < 1e-9, 1e-9, slope)
            ends = np.stack([(-size / 2 - start) / slope, (size / 2 - start) / slope])
            low, high = np.maximum(low, ends.min(axis=0)), np.minimum(high, ends.max(axis=0))
        return np.maximum(high - low, 0)

    def best(self):
        """(x, y, angle of the normal) of the most significant line, array coordinates; None if none is left."""
        # A line may fall on the border of two bins: pairs of neighbours count together.
        pairs = self.counts[:, :-1] + self.counts[:, 1:]
        length = 0.5 * (self.chord[:, :-1] + self.chord[:, 1:])
        density = len(self.x) * self.bin**2 / (self.shape[0] * self.shape[1])
        chance = density * length * 2 * self.step / self.bin**2
        score = (pairs - chance) / np.sqrt(chance + 1)
        usual = score[(length > self.minLength) & (chance > 1)]
        spread = max(1.0, 1.4826 * float(np.median(np.abs(usual)))) if usual.size else 1.0
        score /= spread  # sources are several cells wide: counts scatter more than those of single cells
        score[self.closed[:, :-1] | self.closed[:, 1:]] = -np.inf
        i, j = np.unravel_index(np.argmax(score), score.shape)
        if not score[i, j] >= self.minSignificance or pairs[i, j] * self.bin < 0.5 * self.minLength:
            return None
        self.best_ = i, j
        rho = (j + 1) * self.step - self.reach
        x, y = self.center + rho * np.array([np.cos(self.theta[i]), np.sin(self.theta[i])])
        return float(x), float(y), float(self.theta[i])

    def strikeOut(self):
        """Do not offer the last line again, nor its neighbours."""
        i, j = self.best_
        n = len(self.theta)
        for step in range(-2, 3):
            row = i + step
            middle = j if 0 <= row < n else self.nRho - 2 - j  # the angle beyond 180 degrees: the other side
            self.closed[row % n, max(0, middle - 1) : middle + 3] = True

    def remove(self, spans):
        """Take the cells of a streak out of the vote."""
        inside = spans.dilated(self.bin).toBool(_arrayBox(self.shape))
        column = np.clip(np.rint(self.x + self.center[0]).astype(int), 0, self.shape[1] - 1)
        row = np.clip(np.rint(self.y + self.center[1]).astype(int), 0, self.shape[0] - 1)
        gone = inside[row, column]
        self.counts -= self._count(self.x[gone], self.y[gone])
        self.x, self.y = self.x[~gone], self.y[~gone]
        self.strikeOut()


def _arrayBox(shape):
    from ..geom import Box2I

    return Box2I((0, 0), (shape[1], shape[0]))


def _cells(x, y, size, shape):
    return np.unique((y // size) * (-(-shape[1] // size)) + x // size)


def _band(found, halfWidth):
    """Pixels within a distance of a measured streak, array coordinates; not clipped."""
    dx, dy = halfWidth * np.cos(found.theta), halfWidth * np.sin(found.theta)
    (xa, ya), (xb, yb) = found.ends
    return SpanSet.fromPolygon([(xa - dx, ya - dy), (xa + dx, ya + dy), (xb + dx, yb + dy), (xb - dx, yb - dy)])


def _streak(found, masked, config):
    """From array to parent coordinates, and the pixels of the mask."""
    x0, y0 = masked.bbox.minX, masked.bbox.minY
    (xa, ya), (xb, yb) = found.ends
    normal = np.array([np.cos(found.theta), np.sin(found.theta)])
    spans = _band(found, found.halfWidth).shifted(x0, y0).clipped(masked.bbox)
    if config.onlyMaskDetected:
        spans = spans.intersect(masked.mask, config.detectedMaskPlane)
    ends = ((xa + x0, ya + y0), (xb + x0, yb + y0))
    return Streak(
        float(normal @ ends[0]), found.theta, ends, float(np.hypot(xb - xa, yb - ya)), found.sigma, found.halfWidth,
        found.amplitude, found.significance, found.filledFraction, spans,
    )  # fmt: skip
