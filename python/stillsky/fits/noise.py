"""What a file does not say: noise, saturation and sky, from header keys and from the pixels.

User experience, section 2.3: the modelled variance is compared with the variance of the sky, and every guess is
put into a sentence.
"""

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["SkyLevel", "findPlateau", "gainCandidates", "headerNumber", "measureSky", "modelVariance", "readNoiseOf"]

_GAIN_KEYS = ("GAIN", "EGAIN", ("GAINA", "GAINB"), "CCDGAIN")
_READ_NOISE_KEYS = ("RDNOISE", "READNOI", "READNOIS", "RON", ("RDNOISEA", "RDNOISEB"))
_SATURATION_KEYS = ("ESATUR", "SATURATE", "SATLEVEL", "SATURVAL", "SATURAT", ("SATURATA", "SATURATB"), "MAXLIN")
# Sigma of a Gaussian cut at 3 sigma is this much below the true one: sqrt(1 - 6 phi(3)/(2 Phi(3) - 1)).
_CLIPPED_SIGMA = 0.98656


@dataclass(frozen=True)
class SkyLevel:
    """Median and robust standard deviation of the sky, in image units; NaN if there are no finite pixels."""

    median: float
    sigma: float


def headerNumber(header, key):
    """Finite number of a card (numeric text counts), else None."""
    try:
        value = header.get(key)
        value = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return None
    return value if value is not None and math.isfinite(value) else None


def _numbers(header, keys, combine):
    """(value, name of the keys) for each key or pair of per-amplifier keys that holds a positive number."""
    found = []
    for key in keys:
        names = key if isinstance(key, tuple) else (key,)
        values = {n: headerNumber(header, n) for n in names}
        values = {n: v for n, v in values.items() if v is not None and v > 0}
        if values:
            found.append((combine(values.values()), "/".join(values)))
    return found


def _mean(values):
    values = list(values)
    return sum(values) / len(values)


def gainCandidates(header):
    """Gains (electrons per count) that the header offers: list of (value, key), best key first."""
    return _numbers(header, _GAIN_KEYS, _mean)


def readNoiseOf(header):
    """Read noise (electrons) of the header as (value, key), or None; two amplifiers are averaged."""
    return next(iter(_numbers(header, _READ_NOISE_KEYS, _mean)), None)


def saturationOf(header):
    """Saturation level (counts) of the header as (value, key), or None; the lower of two amplifiers."""
    return next(iter(_numbers(header, _SATURATION_KEYS, min)), None)


def measureSky(image, good=None, *, cell=64, maxCells=256):
    """Median and noise of the sky, unharmed by gradients and stars.

    In each of up to ``maxCells`` square cells spread over the image, pixels beyond 3 sigma of the median are cut until
    nothing changes (at most 10 rounds); the scatter is measured below the median, where there are no stars. The
    result is the median over the cells.

    Parameters
    ----------
    image : `numpy.ndarray`, shape (height, width)
        NaN and infinite pixels are ignored.
    good : `numpy.ndarray` of `bool`, optional
        Pixels to use.

    Returns
    -------
    sky : `SkyLevel`
    """
    height, width = image.shape
    boxes = [(y, x) for y in range(0, height, cell) for x in range(0, width, cell)]
    if len(boxes) > maxCells:
        boxes = [boxes[i] for i in np.linspace(0, len(boxes) - 1, maxCells).astype(int)]
    medians, sigmas, counts = [], [], []
    for y, x in boxes:
        part = (slice(y, y + cell), slice(x, x + cell))
        pixels = np.asarray(image[part], float)
        keep = np.isfinite(pixels)
        if good is not None:
            keep &= good[part]
        median, sigma, n = _clipLow(_withoutSlope(pixels, keep)[keep])
        if n:
            medians.append(median)
            sigmas.append(sigma)
            counts.append(n)
    if not medians:
        return SkyLevel(math.nan, math.nan)
    counts = np.array(counts)
    use = counts >= 0.25 * counts.max()  # nearly empty cells say little
    return SkyLevel(float(np.median(np.array(medians)[use])), float(np.median(np.array(sigmas)[use])))


def _withoutSlope(pixels, keep):
    """Subtract the plane through the medians of the halves, so that a gradient does not pass for noise."""
    for axis in (0, 1):
        length = pixels.shape[axis]
        half = length // 2
        halves = [np.swapaxes(a, 0, axis) for a in (pixels, keep)]
        low, high = (halves[0][part][halves[1][part]] for part in (slice(0, half), slice(half, None)))
        if low.size < 50 or high.size < 50:
            continue
        slope = (np.median(high) - np.median(low)) / (length / 2)
        ramp = slope * (np.arange(length) - (length - 1) / 2)
        pixels = pixels - (ramp[:, None] if axis == 0 else ramp)
    return pixels


def _clipLow(values):
    values = np.sort(values)
    if values.size < 2:
        return (float(values[0]), 0.0, 1) if values.size else (math.nan, math.nan, 0)
    low, high = 0, values.size
    sigma = 0.0
    for _ in range(10):
        part = values[low:high]
        median = float(np.median(part))
        below = part[: np.searchsorted(part, median, side="right")] - median
        sigma = float(np.sqrt(np.mean(below * below)))
        if sigma == 0:
            break
        new = np.searchsorted(values, [median - 3 * sigma / _CLIPPED_SIGMA, median + 3 * sigma / _CLIPPED_SIGMA])
        if (new[0], new[1]) == (low, high) or new[1] - new[0] < 2:
            break
        low, high = int(new[0]), int(new[1])
    return median, sigma / _CLIPPED_SIGMA if (low, high) != (0, values.size) else sigma, high - low


def findPlateau(image, sky):
    """Saturation level seen as a plateau of touching brightest pixels.

    Parameters
    ----------
    image : `numpy.ndarray`
    sky : `SkyLevel`

    Returns
    -------
    level : `float` or None
        Lower edge of the plateau. A plateau is at least 8 pixels within 1 % of the range below the maximum, more than
        twice as many as in the 2 % below that, most of them touching another one, and 50 sigma above the sky.
    """
    if not math.isfinite(sky.sigma):
        return None
    top = float(np.max(image, where=np.isfinite(image), initial=-np.inf))
    span = top - sky.median
    if not span > 0 or span < 50 * sky.sigma or sky.sigma == 0:
        return None
    level, below = top - 0.01 * span, top - 0.03 * span
    with np.errstate(invalid="ignore"):
        top = (image >= level) & (image < np.inf)
        nTop = int(np.count_nonzero(top))
        nBelow = int(np.count_nonzero((image >= below) & (image < np.inf))) - nTop
    if nTop < 8 or nTop <= 2 * nBelow:
        return None
    high = np.pad(top, 1)
    touching = high[:-2, 1:-1] | high[2:, 1:-1] | high[1:-1, :-2] | high[1:-1, 2:]
    if np.count_nonzero(high[1:-1, 1:-1] & touching) < 0.5 * nTop:
        return None
    return level


@dataclass(frozen=True)
class VarianceModel:
    """A modelled variance plane and how it came about."""

    variance: np.ndarray
    sentence: str
    warning: str
    empirical: bool


@np.errstate(over="ignore")  # infinite where float32 ends: such a pixel is of no use, and whoever uses it says so
def modelVariance(image, sky, gains, readNoise=None, pedestal=0.0, skyLevel=0.0):
    """Variance of an image that comes without one.

    var = max(I + skyLevel - pedestal, 0)/g + (readNoise/g)^2, in counts squared. Its value at the sky must agree with
    the measured sky variance within a factor of two. If it does not:

    * the sky was subtracted (its level is within 3 sigma of zero): the measured variance is the floor, and the counts
      above the sky add their photon noise;
    * else the gain is wrong: the gain that predicts the measured variance, with the read noise given, is used.

    Without a gain the measured variance holds everywhere.

    Parameters
    ----------
    image : `numpy.ndarray`
        float32; NaN gives NaN.
    sky : `SkyLevel`
        Of this image.
    gains : list of (`float`, `str`)
        Electrons per count and where that stands; the first that agrees with the sky is taken, else the first.
    readNoise : (`float`, `str`), optional
        Electrons.
    pedestal, skyLevel : `float`
        Counts that are no light, and counts of sky that were subtracted.

    Returns
    -------
    model : `VarianceModel`
    """
    measured = sky.sigma**2
    if not gains:
        return _constantModel(image, measured, "no gain known")
    noise, noiseKey = readNoise or (0.0, "unknown, taken as 0")
    level = sky.median + skyLevel - pedestal

    def predicted(gain):
        return max(level, 0.0) / gain + (noise / gain) ** 2

    def agrees(gain):
        return not measured > 0 or 0.5 * predicted(gain) <= measured <= 2 * predicted(gain)

    gain, key = next((g for g in gains if agrees(g[0])), gains[0])
    inputs = f"gain {gain:.6g} e-/count ({key}), read noise {noise:.6g} e- ({noiseKey})"
    if agrees(gain):
        variance = _photonNoise(image, pedestal - skyLevel, gain, (noise / gain) ** 2)
        if measured > 0:
            variance[variance <= 0] = measured  # no photons and no read noise given: the sky's own scatter
        return VarianceModel(variance, f"variance: modelled from {inputs}", "", False)
    numbers = f"{inputs} predicts a sky variance of {predicted(gain):.6g}, measured {measured:.6g}"
    if measured > predicted(gain) and abs(level) <= 3 * sky.sigma:
        if sky.sigma * gain < 0.5:
            return _constantModel(image, measured, f"{numbers}, less than half an electron", "W-GAIN")
        variance = _photonNoise(image, sky.median, gain, measured)
        remedy = "sky subtracted: measured variance plus photon noise of the sources used"
    else:
        # measured g^2 - level g - noise^2 = 0
        signal = max(level, 0.0)
        effective = (signal + math.sqrt(signal**2 + 4 * measured * noise**2)) / (2 * measured)
        if not effective > 0:
            return _constantModel(image, measured, numbers, "W-GAIN")
        base = max(level, 0.0) - level  # a sky below zero has no photon noise of its own
        variance = _photonNoise(image, pedestal - skyLevel - base, effective, (noise / effective) ** 2)
        np.maximum(variance, 0.25 * measured, out=variance)
        remedy = f"effective gain {effective:.6g} used"
    return VarianceModel(variance, f"variance: {remedy}", f"W-GAIN: {numbers}; {remedy}", True)


def _photonNoise(image, zero, gain, constant):
    """max(image - zero, 0)/gain + constant, float32, one pass over one new array."""
    variance = np.subtract(image, np.float32(zero), dtype=np.float32)
    np.maximum(variance, 0, out=variance)  # NaN stays NaN
    variance *= np.float32(1 / gain)
    variance += np.float32(constant)
    return variance


def _constantModel(image, measured, reason, code=None):
    if measured > 0:
        value, what = measured, f"measured sky variance {measured:.6g}"
    else:
        value = _quantisationVariance(image)
        what = f"{value:.6g}, the rounding of its values, for its sky has no scatter"
    variance = np.full(image.shape, value, np.float32)
    sentence = f"variance: constant, {what} ({reason})"
    return VarianceModel(variance, sentence, f"{code}: {reason}; {sentence}" if code else "", True)


def _quantisationVariance(image):
    """step^2/12 with the smallest step between pixel values; 0 for a constant image."""
    values = np.unique(image[np.isfinite(image)].ravel()[:1_000_000])
    return float(np.diff(values.astype(float)).min() ** 2 / 12) if values.size > 1 else 0.0
