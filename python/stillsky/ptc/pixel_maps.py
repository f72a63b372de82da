"""Gain and noise of every pixel, from many frames at several light levels: for CMOS sensors, whose pixels have amplifiers
of their own.

For a pixel with gain g (electrons per count) and read noise n (electrons) the temporal variance of its value at the mean
level m is v = m / g + n^2 / g^2 (Janesick 2007, "Photon Transfer", section 5; EMVA 1288, release 4.0, section 2.2): a line
through at least three levels gives both.
"""

from dataclasses import dataclass, field

import numpy as np

from ..errors import NoDataError, NumericalError, ShapeError

__all__ = ["PixelMaps", "pixelMaps"]

_SAMPLE_ROWS = 64
_ITERATIONS = 5
_MIN_ZERO = 3
_MIN_RESPONSE = 0.1  # of the typical pixel's; below it a pixel is dead and its line meaningless
_CLIP = 6.0  # half width in sigma; of 20 Gaussian values one in 10^7 is lost
_MAD = 1.482602218505602


@dataclass
class PixelMaps:
    """Maps of one sensor; every array is float32 (height, width) unless stated, NaN where nothing can be said.

    Attributes
    ----------
    gain, gainErr : `numpy.ndarray`
        Electrons per count.
    noise, noiseErr : `numpy.ndarray`
        Read noise in electrons, rms of a single reading; all NaN when the pedestal of the frames is not known.
    chi2Dof : `numpy.ndarray`
        Reduced chi-square of the line.
    levelCount : `numpy.ndarray` of `uint8`
        Levels that entered the line.
    levels : `list` [`dict`]
        Per level: ``mean`` and ``variance`` (typical, counts and counts^2), ``frames``, ``used``.
    line : (`float`, `float`)
        Slope and intercept of the typical pixel, counts and counts^2.
    noisyFraction : `float`
        Fraction of the pixels whose variance at the lowest level is above what 5 standard errors around the typical
        value allow: random telegraph noise and hot pixels.
    """

    gain: np.ndarray
    gainErr: np.ndarray
    noise: np.ndarray
    noiseErr: np.ndarray
    chi2Dof: np.ndarray
    levelCount: np.ndarray
    levels: list = field(default_factory=list)
    line: tuple = (float("nan"), float("nan"))
    noisyFraction: float = float("nan")

    def summary(self):
        """Figures of the maps: medians, robust scatter, fractions of pixels without a result.

        The distribution of measured gains is skew: ``gainTypical``, from the pooled line, is closer to the truth of few
        frames than the median of the map, which lies low by two thirds of the squared relative error of a pixel.
        """
        good, quiet = np.isfinite(self.gain), np.isfinite(self.noise)
        noise = self.noise[quiet].astype(np.float64)
        return {
            "gainTypical": 1.0 / self.line[0],
            "gainMedian": _median(self.gain[good]),
            "gainScatter": _scatter(self.gain[good]),
            "gainErrMedian": _median(self.gainErr[good]),
            "noiseMedian": _median(noise),
            "noiseRms": float(np.sqrt(np.mean(noise**2))) if noise.size else float("nan"),
            "gainMissing": float(1.0 - good.mean()),
            "noiseMissing": float(1.0 - quiet.mean()),
            "noisyFraction": self.noisyFraction,
            "levels": sum(level["used"] for level in self.levels),
        }

    def write(self, path, overwrite=False):
        """Write the maps as FITS: extensions GAIN, GAIN_ERR, NOISE, NOISE_ERR, CHI2, LEVELS, and the table LIGHT.

        Parameters
        ----------
        path : `str` or `os.PathLike`
        overwrite : `bool`
            Replace an existing file.
        """
        from astropy.io import fits
        from astropy.table import Table

        from ..fits.files import writeHdus

        primary = fits.PrimaryHDU()
        for (key, comment), value in zip(_CARDS.items(), (*self.line, *self.summary().values())):
            primary.header[key] = (value if np.isfinite(value) else None, comment)
        hdus = [primary]
        planes = (self.gain, self.gainErr, self.noise, self.noiseErr, self.chi2Dof, self.levelCount)
        for (name, unit), plane in zip(_EXTENSIONS.items(), planes):
            hdu = fits.ImageHDU(plane, name=name)
            if unit:
                hdu.header["BUNIT"] = unit
            hdus.append(hdu)
        hdus.append(fits.table_to_hdu(Table(rows=self.levels)) if self.levels else fits.BinTableHDU())
        hdus[-1].name = "LIGHT"
        writeHdus(fits.HDUList(hdus), path, overwrite)


_EXTENSIONS = {
    "GAIN": "electron/adu", "GAIN_ERR": "electron/adu", "NOISE": "electron", "NOISE_ERR": "electron", "CHI2": None,
    "LEVELS": None,
}  # fmt: skip
_CARDS = {
    "SLOPE": "of the line of the typical pixel, adu",
    "CONSTANT": "of that line, adu2",
    "GAINTYP": "1/SLOPE, electron/adu",
    "GAINMED": "median of the map, electron/adu",
    "GAINSCAT": "robust scatter of the map, electron/adu",
    "GAINERR": "median error of a pixel, electron/adu",
    "NOISEMED": "median of the map, electron",
    "NOISERMS": "rms of the map, electron",
    "NOGAIN": "fraction of pixels without a gain",
    "NONOISE": "fraction of pixels without a noise",
    "NOISY": "fraction of pixels with too much noise",
    "NLEVELS": "light levels used",
}


def _median(values):
    return float(np.median(values)) if values.size else float("nan")


def _scatter(values):
    return float(_MAD * np.median(np.abs(values - np.median(values)))) if values.size else float("nan")


def pixelMaps(levels, *, zero=None, bias=None, mask=None, saturation=None, minLevels=3, minFrames=20, pedestalKnown=None,
              memory=64 << 20, progress=None):  # fmt: skip
    """Gain and noise of every pixel.

    Frames are read by rows, in bands that fit into ``memory``, and every frame twice: some rows first, to learn its
    brightness and the noise of the typical pixel, then all. The lamp may drift: each frame is scaled to the mean of its
    level (by an offset where there is hardly any light). Values beyond 6 sigma of the pixel's own median, e.g. cosmic
    rays, are left out. The weights of the line come from the line itself, not from the measured variances, whose
    scatter would pull it down.

    Parameters
    ----------
    levels : sequence of sequences
        Frames of each light level. A frame is an array (height, width), or anything with ``shape`` that gives an array
        for a slice of rows.
    zero : sequence of frames, optional
        Three or more frames without light: one more level, which tells the noise much better than the brighter ones.
    bias : array or frame, optional
        Pedestal in counts, subtracted from every frame.
    mask : `numpy.ndarray` (height, width) of `bool`, optional
        True: pixel left out, its maps are NaN.
    saturation : `float`, optional
        A pixel with a value at or above it (before bias subtraction) does not use that level.
    minLevels, minFrames : `int`
        Levels with fewer frames are left out; so are pixels with fewer levels.
    pedestalKnown : `bool`, optional
        False: the mean contains an unknown pedestal, which leaves the gain alone but makes the intercept, hence the
        noise, meaningless. Default: whether ``bias`` was given.
    memory : `int`
        Bytes for the frames of a band.
    progress : callable, optional
        ``progress(iterable, desc=..., total=...)``.

    Returns
    -------
    maps : `PixelMaps`
        NaN gain where the variance does not rise with the mean, the pixel does not respond to light, or too few levels
        are left; NaN noise where the
        intercept is negative.

    Raises
    ------
    NoDataError
        Fewer than ``minLevels`` levels of ``minFrames`` frames.
    NumericalError
        The variance of the typical pixel does not rise with its mean.
    ShapeError
        Frames of different shapes.

    Notes
    -----
    Peak memory: ``memory`` for the band, twice that for work arrays, and the six maps. Time: one median and one clipped
    variance along the frames per pixel and level.
    """
    used, shape = _checkLevels(levels, bias, mask, minLevels, minFrames)
    if zero is not None and len(zero) >= _MIN_ZERO:
        levels, used = [zero, *levels], [list(zero), *used]
        _checkShapes(used[:1], shape)
    bands = _Bands(used, shape, bias, mask, saturation, memory)
    bands.learn()
    maps = _emptyMaps(shape)
    known = bias is not None if pedestalKnown is None else pedestalKnown
    starts = range(0, shape[0], bands.rows)
    noisy = np.zeros(2, np.int64)
    for start in progress(starts, desc="pixels", total=len(starts)) if progress else starts:
        rows = slice(start, min(start + bands.rows, shape[0]))
        mean, variance, count = bands.measure(rows)
        _fitLines(maps, rows, mean, variance, count, bands, minLevels, known)
        noisy += _countNoisy(mean, variance, count, bands)
    maps.line = bands.line
    maps.noisyFraction = float(noisy[0] / noisy[1]) if noisy[1] else float("nan")
    maps.levels = _describeLevels(levels, used, bands)
    return maps


def _checkLevels(levels, bias, mask, minLevels, minFrames):
    levels = [list(level) for level in levels]
    used = [level for level in levels if len(level) >= minFrames]
    if len(used) < minLevels or minLevels < 2:
        raise NoDataError(
            "too few light levels for a line per pixel",
            found=f"levels of {sorted(len(level) for level in levels)} frames; need {minLevels} of {minFrames}",
            remedy="take more frames per exposure time, or use pairs without per-pixel maps",
        )
    shape = tuple(used[0][0].shape)
    _checkShapes(used, shape)
    for name, plane in (("bias", bias), ("mask", mask)):
        if plane is not None and tuple(plane.shape) != shape:
            raise ShapeError(f"{name}: shape {shape} of the frames wanted, {tuple(plane.shape)} given")
    return used, shape


def _checkShapes(levels, shape):
    for i, level in enumerate(levels):
        for frame in level:
            if tuple(frame.shape) != shape:
                raise ShapeError(f"frames of one shape wanted: {shape} and {tuple(frame.shape)} given (level {i})")


def _emptyMaps(shape):
    planes = [np.full(shape, np.nan, np.float32) for _ in range(5)]
    return PixelMaps(*planes, np.zeros(shape, np.uint8))


def _rowsOf(frame, rows):
    """Rows of a frame as float32; those of a list by one call where the frame can do that."""
    if isinstance(rows, slice):
        return np.asarray(frame[rows], np.float32)
    if hasattr(frame, "readRows"):
        return frame.readRows(rows)
    return np.concatenate([np.asarray(frame[slice(row, row + 1)], np.float32) for row in rows])


class _Bands:
    """Mean and variance of every pixel at every level, a band of rows at a time."""

    def __init__(self, levels, shape, bias, mask, saturation, memory):
        self.levels, self.shape = levels, shape
        self._bias, self._mask, self._saturation = bias, mask, saturation
        frames = max(len(level) for level in levels)
        self.rows = int(np.clip(memory // (4 * frames * shape[1]), 1, shape[0]))
        self.line, self.floor = (float("nan"), float("nan")), 0.0
        self.typical = []  # mean and variance of the typical pixel per level
        self._scales = [[(1.0, 0.0)] * len(level) for level in levels]

    def _read(self, level, rows, scales=None):
        """Frames (n, rows, width) float32 minus bias; NaN where masked or saturated. ``rows``: a slice or a list."""
        cube = np.stack([_rowsOf(frame, rows) for frame in level])
        if self._saturation is not None:
            # one saturated frame spoils mean and variance of the pixel at this level
            cube[:, np.any(cube >= self._saturation, axis=0)] = np.nan
        if self._mask is not None:
            cube[:, np.asarray(self._mask[rows], bool)] = np.nan
        if self._bias is not None:
            cube -= _rowsOf(self._bias, rows)
        for frame, (factor, offset) in zip(cube, scales or ()):
            frame *= np.float32(factor)
            frame += np.float32(offset)
        return cube

    def learn(self):
        """Brightness of every frame and the line of the typical pixel, from rows spread over the sensor."""
        height, width = self.shape
        n = max(1, min(height, _SAMPLE_ROWS, 4_000_000 // (width * max(len(level) for level in self.levels))))
        sample = [int((k + 0.5) * height / n) for k in range(n)]
        for i, level in enumerate(self.levels):
            cube = self._read(level, sample)
            self._scales[i] = _frameScales(cube)
            for frame, (factor, offset) in zip(cube, self._scales[i]):
                frame *= np.float32(factor)
                frame += np.float32(offset)
            mean, variance, count = _temporal(cube, None)
            good = np.isfinite(variance)
            dof = np.median(count[good]) - 1 if good.any() else np.nan
            # the median of chi-square over its degrees of freedom (Wilson & Hilferty 1931)
            typical = np.median(variance[good]) / (1 - 2 / (9 * dof)) ** 3 if good.any() else np.nan
            self.typical.append((float(np.median(mean[good])) if good.any() else np.nan, float(typical)))
        self.line = _typicalLine(self.typical)
        # the scatter of a dark mean can put the line below zero: no pixel is expected to be quieter than this
        variances = np.array([v for _, v in self.typical])
        quietest = np.min(variances[variances > 0], initial=np.inf)
        self.floor = 0.25 * float(quietest) if np.isfinite(quietest) else 1e-12

    def measure(self, rows):
        """Mean, variance and number of values (levels, rows, width) of the pixels of a band."""
        height = rows.stop - rows.start
        shape = (len(self.levels), height, self.shape[1])
        mean, variance = (np.empty(shape, np.float32) for _ in range(2))
        count = np.empty(shape, np.int32)
        for i, level in enumerate(self.levels):
            cube = self._read(level, rows, self._scales[i])
            mean[i], variance[i], count[i] = _temporal(cube, self.line)
        return mean, variance, count


def _frameScales(cube):
    """Factor and offset that bring each frame of a level to the common brightness."""
    reference = _medianAlong(cube, np.isfinite(cube))
    good = np.isfinite(reference)
    if not good.any():
        return [(1.0, 0.0)] * len(cube)
    level = float(np.median(reference[good]))
    scales = []
    for frame in cube:
        # clipped, so that a cosmic ray does not dim the rest of its frame
        difference = frame[good] - reference[good]
        difference = difference[np.isfinite(difference)]
        deviation = np.abs(difference - np.median(difference)) if difference.size else difference
        sigma = _MAD * float(np.median(deviation)) if difference.size else 0.0
        difference = difference[deviation <= max(_CLIP * sigma, 1e-6)]
        shift = float(np.mean(difference, dtype=np.float64)) if difference.size else 0.0
        mean = float(np.mean(reference[good], dtype=np.float64))
        if level > 10.0 * sigma and mean + shift > 0:
            scales.append((mean / (mean + shift), 0.0))
        else:
            scales.append((1.0, -shift))
    return scales


def _medianAlong(cube, finite):
    """Median along the first axis of the finite values; NaN without any."""
    if finite.all():
        return np.median(cube, axis=0)
    ordered = np.sort(np.where(finite, cube, np.float32(np.nan)), axis=0)  # NaN last
    count = finite.sum(axis=0)[None]
    low, high = (np.take_along_axis(ordered, np.maximum(k, 0), axis=0)[0] for k in ((count - 1) // 2, count // 2))
    return np.float32(0.5) * (low + np.where(count[0] > 0, high, low))


def _typicalLine(typical):
    """Slope and intercept through the typical pixel's levels, weighted by the variance that the line predicts."""
    mean, variance = (np.array(v, np.float64) for v in zip(*typical))
    good = np.isfinite(mean) & np.isfinite(variance)
    mean, variance = mean[good], variance[good]
    if mean.size < 2 or np.ptp(mean) <= 0:
        raise NoDataError(
            "the light levels do not differ",
            found=f"means {', '.join(f'{m:.6g}' for m in mean) or 'none'}",
            remedy="take flats of different exposure times",
        )
    predicted = variance
    for _ in range(5):
        weight = 1.0 / np.maximum(predicted, 1e-12 + 1e-6 * variance.max())
        slope, intercept = np.polyfit(mean, variance, 1, w=weight)
        predicted = slope * mean + intercept
    if not slope > 0:
        raise NumericalError(
            "the variance of the pixels does not rise with their mean",
            found=", ".join(f"{m:.6g}: {v:.4g}" for m, v in zip(mean, variance)),
            remedy="leave out saturated levels, or check that the frames are raw",
        )
    return float(slope), float(intercept)


def _temporal(cube, line):
    """Clipped mean, variance and number of values along the frames; NaN with fewer than three values."""
    finite = np.isfinite(cube)
    median = _medianAlong(cube, finite)
    deviation = np.abs(cube - median)
    spread = _medianAlong(deviation, finite)
    limit = _CLIP * _MAD * spread
    if line is not None:
        # 20 values tell their own spread to 17 % only: never cut below what the typical pixel has
        limit = np.maximum(limit, _CLIP * np.sqrt(np.maximum(line[0] * median + line[1], 0.0)))
    with np.errstate(invalid="ignore"):
        keep = finite & (deviation <= limit)
    count = keep.sum(axis=0)
    centred = np.where(keep, cube - median, np.float32(0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        shift = centred.sum(axis=0, dtype=np.float64) / count
        square = np.einsum("kij,kij->ij", centred, centred, dtype=np.float64) / count
        variance = (square - shift**2) * count / (count - 1)
    few = count < 3
    mean = median + shift
    mean[few], variance[few] = np.nan, np.nan
    return mean, variance, count


def _solveLines(x, y, count, usable, line, floor):
    """Slope, intercept and their covariance per pixel: the gamma likelihood of variances, by iterated weights.

    The estimating equation sum w(predicted) (y - predicted) (1, x) = 0 with w = (n-1) / (2 predicted^2) is unbiased;
    weights from the measured variances would not be. It starts from the line of the typical pixel.
    """
    typical = np.where(usable, np.maximum(line[0] * x + line[1], floor), 1.0)
    predicted = typical
    for _ in range(_ITERATIONS):
        weight = np.where(usable, (count - 1) / (2.0 * predicted**2), 0.0)
        s0 = weight.sum(0)
        middle = (weight * x).sum(0) / s0
        u = np.where(usable, x - middle, 0.0)
        suu = (weight * u * u).sum(0)
        slope = (weight * u * y).sum(0) / suu
        intercept = (weight * y).sum(0) / s0 - slope * middle
        line = np.where(usable, slope * x + intercept, 1.0)
        # a line that dips below zero would give a level infinite weight
        predicted = np.where(line > 0.1 * typical, line, 0.1 * typical)
    slopeVar, both = 1.0 / suu, -middle / suu
    interceptVar = 1.0 / s0 + middle**2 / suu
    chi2 = (weight * np.where(usable, y - line, 0.0) ** 2).sum(0)
    return slope, intercept, slopeVar, interceptVar, both, chi2


def _range(values, usable):
    """Largest minus smallest of the usable values along the first axis; -inf without any."""
    return np.where(usable, values, -np.inf).max(0) - np.where(usable, values, np.inf).min(0)


def _fitLines(maps, rows, mean, variance, count, bands, minLevels, pedestalKnown):
    """Weighted line per pixel of a band; results go into ``maps``."""
    line = bands.line
    mean, variance = mean.astype(np.float64), variance.astype(np.float64)
    usable = np.isfinite(variance)
    x, y = np.where(usable, mean, 0.0), np.where(usable, variance, 0.0)
    levels = usable.sum(0)
    light = np.array([level[0] for level in bands.typical])[:, None, None]
    responds = _range(x, usable) > _MIN_RESPONSE * _range(light, usable)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope, intercept, slopeVar, interceptVar, both, chi2 = _solveLines(x, y, count, usable, line, bands.floor)
        good = (levels >= minLevels) & (slope > 0) & responds
        # the mean of 1/slope is above 1/(mean slope) by the relative variance of the slope
        relative = slopeVar / slope**2
        gain = np.where(good, (1.0 - np.minimum(relative, 0.5)) / slope, np.nan)
        gainErr = np.where(good, np.sqrt(relative) / slope, np.nan)
        noise = np.sqrt(intercept) / slope
        noiseVar = interceptVar / (4 * intercept * slope**2) + intercept * slopeVar / slope**4 - both / slope**3
    quiet = good & (intercept > 0) if pedestalKnown else np.zeros_like(good)
    maps.gain[rows], maps.gainErr[rows] = gain, gainErr
    maps.noise[rows] = np.where(quiet, noise, np.nan)
    maps.noiseErr[rows] = np.where(quiet, np.sqrt(np.maximum(noiseVar, 0.0)), np.nan)
    maps.chi2Dof[rows] = np.where(good & (levels > 2), chi2 / np.maximum(levels - 2, 1), np.nan)
    maps.levelCount[rows] = levels


def _countNoisy(mean, variance, count, bands):
    """Pixels of a band that are too noisy at the lowest level, and pixels that were judged."""
    with np.errstate(invalid="ignore"):
        lowest = int(np.argmin([np.median(m[np.isfinite(m)]) if np.isfinite(m).any() else np.inf for m in mean]))
        expected = np.maximum(bands.line[0] * mean[lowest] + bands.line[1], bands.floor)
        judged = np.isfinite(variance[lowest])
        # upper end of chi-square at 5 standard deviations (Wilson & Hilferty 1931), also for few frames
        dof = np.maximum(count[lowest] - 1, 1)
        limit = expected * (1.0 - 2.0 / (9.0 * dof) + 5.0 * np.sqrt(2.0 / (9.0 * dof))) ** 3
        return np.array([np.sum(judged & (variance[lowest] > limit)), np.sum(judged)], np.int64)


def _describeLevels(levels, used, bands):
    described = []
    position = 0
    for level in levels:
        entry = {"frames": len(level), "used": False, "mean": float("nan"), "variance": float("nan")}
        if position < len(used) and len(level) == len(used[position]) and level[0] is used[position][0]:
            entry["mean"], entry["variance"] = bands.typical[position]
            entry["used"] = True
            position += 1
        described.append(entry)
    return described
