"""How good a difference image is, in numbers: noise against its variance plane, on the sky, at stars, between pixels."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.fft

from ..geom import Box2I
from .kernel_figures import kernelImages
from .pixels import chiValues, goodPixels, robustScale
from .star_residuals import starResiduals, summarizeResiduals

__all__ = ["DifferenceNumbers", "measureDifference", "noiseOverPsf", "verdictRules"]

_STATES = ("green", "amber", "red")
_GRID = 5  # kernels are looked at on so many positions each way
_MAX_LAG = 5
_PSF_SIDE = 8  # of the squares that stand for a point source, pixels
_SPREAD = 32  # largest lag of the correlation before decorrelation, pixels


@dataclass
class DifferenceNumbers:
    """What the report knows beyond the metadata.

    Attributes
    ----------
    chi : `numpy.ndarray` (height, width)
        Difference over its noise; NaN where masked.
    onSource : `numpy.ndarray` (height, width) of `bool`
        Pixels where the template's sources stand out of the noise of the difference by 5 sigma.
    skyChi, sourceChi : `float`
        Robust standard deviation of ``chi`` on the sky and on sources.
    nSky, nSource : `int`
        Pixels of either kind.
    correlation : `numpy.ndarray` (6, 11)
        Correlation coefficient of ``chi`` on the sky at the lags dx = 0..5 and dy = -5..5; NaN without pixels.
    noiseBins : `dict`
        Columns predicted, observed, n: noise of pixels by what their variance plane says.
    apertures : `dict`
        Columns side, observed, n: scatter of the sum over squares of sky, over the root of their summed variance.
    kernelImages : `numpy.ndarray` (5, 5, h, w)
        Kernels over the field.
    kernelSumScatter : `float`
        Scatter of the kernel sums of single stars beyond their formal errors, over their median.
    kernelTransformMax : `float`
        Largest value of the transforms of the kernels over the field, over their sums: above 1 the kernel sharpens.
    correlationBefore, aperturesBefore : `numpy.ndarray` (6, 11) and `dict`, or None
        What the correlation and the noise of squares (columns side, predicted) were without decorrelation, from the kernel
        and the noise of the inputs; None where nothing was decorrelated.
    starResiduals, starFigures : `dict` or None
        Of `starResiduals` and `summarizeResiduals`; None without stars of the fit.
    skyPulls : `numpy.ndarray` (n,)
        PSF fluxes at random empty positions over their errors.
    """

    chi: Any
    onSource: Any
    skyChi: float
    sourceChi: float
    nSky: int
    nSource: int
    correlation: Any
    noiseBins: dict
    apertures: dict
    kernelImages: Any
    kernelSumScatter: float
    kernelTransformMax: float
    correlationBefore: Any = None
    aperturesBefore: Any = None
    starResiduals: Any = None
    starFigures: Any = None
    skyPulls: Any = ()


def measureDifference(result):
    """The `DifferenceNumbers` of a subtraction.

    Parameters
    ----------
    result : `stillsky.diffim.SubtractResult`
        Or another object with difference, matchedTemplate, kernel, convolved and candidates.

    Returns
    -------
    numbers : `DifferenceNumbers`
    """
    difference = result.difference
    good = goodPixels(difference)
    chi = chiValues(difference, good).astype(np.float32, copy=False)
    images = kernelImages(result.kernel, difference.bbox, _GRID)
    middle = images[_GRID // 2, _GRID // 2]
    onSource = _sourcePixels(result, good, middle.sum())
    stars = _starResiduals(result, middle.sum())
    before = correlationBefore(result, middle)
    sky = _sample(chi, good & ~onSource)
    source = _sample(chi, good & onSource)
    return DifferenceNumbers(
        chi=chi,
        onSource=onSource,
        skyChi=robustScale(sky)[1],
        sourceChi=robustScale(source)[1],
        nSky=int(np.count_nonzero(good & ~onSource)),
        nSource=int(np.count_nonzero(good & onSource)),
        correlation=_correlation(chi, good & ~onSource),
        noiseBins=_noiseBins(difference, good),
        apertures=_apertureNoise(difference, good & ~onSource),
        kernelImages=images,
        kernelSumScatter=_kernelSumScatter(getattr(result, "candidates", None)),
        kernelTransformMax=_transformMax(images),
        correlationBefore=None
        if before is None
        else before[_SPREAD:, _SPREAD - _MAX_LAG :][: _MAX_LAG + 1, : 2 * _MAX_LAG + 1],
        aperturesBefore=None if before is None else _predictedSquares(before),
        starResiduals=stars,
        starFigures=None if stars is None else summarizeResiduals(stars),
        skyPulls=skyPulls(getattr(result, "sources", None)),
    )


def _starResiduals(result, kernelSum):
    candidates = getattr(result, "candidates", None)
    if candidates is None or not len(candidates):
        return None
    return starResiduals(result, templateScale(result, kernelSum))


def correlationBefore(result, kernel):
    """Correlation of the noise before decorrelation at the lags -32..32 (indices dx + 32, dy + 32), or None.

    The noise of one image is white, that of the other was convolved by K: its covariance is its variance times the
    autocorrelation of K. The variances are those of the sky, which the decorrelation used.
    """
    found = result.metadata.get("decorrelation") or {}
    white, coloured = found.get("scienceVariance"), found.get("templateVariance")
    if white is None or coloured is None:
        return None
    if result.convolved == "science":
        white, coloured = coloured, white
    n = 2 * _SPREAD + 1
    power = np.abs(scipy.fft.rfft2(kernel, (2 * n, 2 * n))) ** 2
    spread = scipy.fft.fftshift(scipy.fft.irfft2(power, (2 * n, 2 * n)))[
        n - _SPREAD : n + _SPREAD + 1, n - _SPREAD : n + _SPREAD + 1
    ]
    covariance = coloured * spread.T
    covariance[_SPREAD, _SPREAD] += white
    total = covariance[_SPREAD, _SPREAD]
    return covariance / total if total > 0 else None


def _predictedSquares(correlation):
    """Noise of sums over squares, over what independent pixels of the same variance have."""
    table = {"side": [], "predicted": []}
    for side in range(1, 13):
        overlap = np.maximum(side - np.abs(np.arange(-_SPREAD, _SPREAD + 1)), 0)
        table["side"].append(side)
        table["predicted"].append(float(np.sqrt(max(overlap @ correlation @ overlap, 0.0)) / side))
    return table


def skyPulls(sources):
    """PSF fluxes at sky positions over their errors; empty without any."""
    needed = ("sky_source", "base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr")
    if sources is None or any(name not in sources.colnames for name in needed):
        return np.array([])
    rows = sources[np.asarray(sources["sky_source"], bool)]
    flux, error = (np.asarray(rows[name], float) for name in needed[1:])
    with np.errstate(invalid="ignore", divide="ignore"):
        pulls = flux / error
    return pulls[np.isfinite(pulls)]


def templateScale(result, kernelSum):
    """Factor that brings the template as subtracted to science units."""
    return 1.0 / kernelSum if result.convolved == "science" and kernelSum else 1.0


def _sourcePixels(result, good, kernelSum):
    template = result.matchedTemplate.image.array
    level, _ = robustScale(template)
    variance = _sample(result.difference.variance.array, good)
    noise = np.sqrt(np.median(variance)) if variance.size else np.nan
    with np.errstate(invalid="ignore"):
        return template > np.float32(level + 5.0 * noise / templateScale(result, kernelSum))


def _sample(values, chosen, largest=1_000_000):
    """At most so many of the chosen values, evenly from the image."""
    step = max(1, int(np.ceil(np.sqrt(values.size / (4 * largest)))))
    picked = values[::step, ::step][chosen[::step, ::step]]
    return picked[:: picked.size // largest + 1]


def _middle(array, side):
    """The central part of at most side x side."""
    height, width = array.shape
    y, x = max((height - side) // 2, 0), max((width - side) // 2, 0)
    return array[y : y + side, x : x + side]


def _correlation(chi, sky):
    """Correlation of sky pixels at small lags, outliers beyond 4 sigma left out; from the central megapixel."""
    from scipy.ndimage import binary_dilation

    chi, sky = _middle(chi, 1024), _middle(sky, 1024)
    with np.errstate(invalid="ignore"):
        median, sigma = robustScale(chi[sky])
        # wings of sources go with their cores: one ring of pixels more
        use = ~binary_dilation(~sky) & (np.abs(chi - median) < 4.0 * sigma)
    result = np.full((_MAX_LAG + 1, 2 * _MAX_LAG + 1), np.nan)
    if np.count_nonzero(use) < 100:
        return result
    values = np.where(use, chi - chi[use].mean(), 0.0).astype(np.float32)
    weight = use.astype(np.float32)
    # sums over pairs at every lag: correlation theorem, with room so that nothing wraps around
    from scipy import fft

    shape = [fft.next_fast_len(n + _MAX_LAG, real=True) for n in values.shape]
    sums = [fft.irfft2(np.abs(fft.rfft2(p, shape)) ** 2, shape) for p in (values, weight)]
    covariance = np.where(sums[1] > 50, sums[0] / np.maximum(sums[1], 1.0), np.nan)
    dx, dy = np.arange(_MAX_LAG + 1), np.arange(-_MAX_LAG, _MAX_LAG + 1)
    picked = covariance[dy[None, :], dx[:, None]]
    return picked / picked[0, _MAX_LAG]


def _noiseBins(difference, good, n=12):
    """Observed noise in classes of predicted noise, equal steps of its logarithm."""
    predicted = np.sqrt(_sample(difference.variance.array, good))
    values = _sample(difference.image.array, good)
    table = {"predicted": [], "observed": [], "n": []}
    if predicted.size < 100:
        return table
    low, high = np.quantile(predicted, [0.001, 0.9999])
    edges = np.geomspace(low, max(high, 1.01 * low), n + 1)
    index = np.digitize(predicted, edges)
    for k in range(1, n + 1):
        chosen = index == k
        if np.count_nonzero(chosen) >= 50:
            table["predicted"].append(float(np.sqrt(np.mean(predicted[chosen] ** 2))))
            table["observed"].append(float(robustScale(values[chosen])[1]))
            table["n"].append(int(np.count_nonzero(chosen)))
    return table


def noiseOverPsf(result):
    """Scatter of sums over squares of 8 pixels of sky over its prediction: what point sources see of correlated noise.

    From the central 512 x 512 pixels; NaN with fewer than 200 squares. A background or kernel with more freedom than the stars of
    the fit can hold adds patches wider than the neighbours whose correlation is looked at.
    """
    box = result.difference.bbox
    height, width = (min(n, 512) for n in (box.height, box.width))
    corner = box.minX + (box.width - width) // 2, box.minY + (box.height - height) // 2
    part = SimpleNamespace(
        difference=result.difference.maskedImage[Box2I(corner, (width, height))],
        matchedTemplate=result.matchedTemplate.maskedImage[Box2I(corner, (width, height))],
        convolved=result.convolved,
    )
    good = goodPixels(part.difference)
    onSource = _sourcePixels(part, good, result.kernel.imageAt(*box.center).sum())
    return _sumNoise(_apertureNoise(part.difference, good & ~onSource, (_PSF_SIDE,)))


def _sumNoise(apertures):
    found = dict(zip(apertures["side"], zip(apertures["observed"], apertures["n"])))
    observed, n = found.get(_PSF_SIDE, (float("nan"), 0))
    return observed if n >= 200 else float("nan")


def _psfNoise(metadata, numbers):
    """What the run found, else what the pixels tell."""
    found = metadata.get("noiseOverPsf")
    return _sumNoise(numbers.apertures) if found is None else found


def _apertureNoise(difference, sky, sides=(1, 2, 3, 4, 6, 8, 12)):
    """Scatter of sums over squares that hold nothing but sky, in units of what the variance plane predicts."""
    table = {"side": [], "observed": [], "n": []}
    image, variance, sky = (_middle(a, 1024) for a in (difference.image.array, difference.variance.array, sky))
    values, noise = np.where(sky, image, 0.0), np.where(sky, variance, 0.0)
    for side in sides:
        height, width = (n // side for n in image.shape)
        if height * width < 100:
            break

        def sums(array, side=side, height=height, width=width):
            part = array[: height * side, : width * side]
            rows = part.reshape(height, side, width * side).sum(axis=1, dtype=np.float64)
            return rows.reshape(height, width, side).sum(axis=2)

        whole = sums(sky) == side * side
        if np.count_nonzero(whole) < 50:
            break
        ratio = sums(values)[whole] / np.sqrt(sums(noise)[whole])
        table["side"].append(side)
        table["observed"].append(float(robustScale(ratio)[1]))
        table["n"].append(int(ratio.size))
    return table


def _kernelSumScatter(candidates):
    if candidates is None or "kernelSum" not in candidates.colnames:
        return float("nan")
    used = np.asarray(candidates["usedInFit"], bool)
    sums = np.asarray(candidates["kernelSum"], float)[used]
    errors = np.asarray(candidates["kernelSumError"], float)[used]
    fine = np.isfinite(sums) & np.isfinite(errors)
    # faint stars tell nothing about the scatter: those with the smaller half of the errors do
    fine &= errors <= np.median(errors[fine]) if fine.any() else fine
    if np.count_nonzero(fine) < 3:
        return float("nan")
    median, sigma = robustScale(sums[fine])
    beyond = max(sigma**2 - float(np.median(errors[fine])) ** 2, 0.0)
    return float(np.sqrt(beyond) / abs(median)) if median else float("nan")


def kernelPower(image, n=64):
    """Modulus of the transform of a kernel over its sum, along the two axes: frequencies in cycles/pixel, x, y."""
    total = image.sum() or 1.0
    transform = np.abs(scipy.fft.fft2(image, (n, n))) / abs(total)
    return np.arange(n // 2 + 1) / n, transform[0, : n // 2 + 1], transform[: n // 2 + 1, 0]


def _transformMax(images):
    """Largest modulus of the transforms over the sums, of kernels (..., h, w): where few stars hold a polynomial it may
    run away at the corners while the middle is fine."""
    totals = np.abs(images.sum(axis=(-2, -1)))
    if not (totals > 0).all():
        return float("nan")
    return float((np.abs(scipy.fft.fft2(images, (64, 64))).max(axis=(-2, -1)) / totals).max())


def verdictRules(result, numbers):
    """The rules of the verdict: what was found, what is good, and the colour.

    Returns
    -------
    rules : `list` [`dict`]
        Each has name, value, good (text), state (green, amber, red, or None when it does not apply).
    """
    metadata = result.metadata
    rho = max(abs(float(numbers.correlation[1, _MAX_LAG])), abs(float(numbers.correlation[0, _MAX_LAG + 1])))
    decorrelated = bool(metadata.get("decorrelation")) or isProper(metadata)
    coverage = metadata.get("templateCoveragePercent")
    rules = [
        _between("noise of the sky over its prediction", numbers.skyChi, (0.95, 1.05), (0.85, 1.2)),
        _below("noise on sources over its prediction", numbers.sourceChi, 1.3, 2.0),
        _below("noise summed over the PSF", _psfNoise(metadata, numbers), 1.1, 1.25, judged=decorrelated),
        _below("chi of stars left out of the fit, median", metadata.get("looRmsMedian", float("nan")), 1.3, 2.0),
        _below("chi of stars left out of the fit, 90 %", metadata.get("looRms90", float("nan")), 2.0, 4.0),
        _below("correlation of neighbouring sky pixels", rho, 0.02, 0.1, judged=decorrelated),
        _below("scatter of the kernel sums of stars", numbers.kernelSumScatter, 0.05, 0.15),
        _above("template coverage, %", coverage, 90.0, 50.0),
        _below("sharpening by the kernel", numbers.kernelTransformMax, 1.5, 3.0),
    ]
    sources = getattr(result, "sources", None)
    if sources is not None:
        rules.append(_polarityRule(sources))
        if len(numbers.skyPulls) >= 20:
            rules.append(
                _between("pulls of empty apertures", robustScale(numbers.skyPulls)[1], (0.85, 1.15), (0.7, 1.4))
            )
    return rules


def _polarityRule(sources):
    """Negative over positive sources: both kinds are alike when the noise makes them, so that only many tell."""
    judged = candidateRows(sources)
    negative = int(np.count_nonzero(judged & flagColumn(sources, "is_negative")))
    positive = int(np.count_nonzero(judged)) - negative
    ratio = negative / positive if positive else float("nan")
    return _between("negative over positive sources", ratio, (0.2, 5.0), (0.05, 20.0), judged=negative + positive >= 20)


def flagColumn(sources, name):
    """A column of flags as an array of `bool`; all False without it."""
    if name not in sources.colnames:
        return np.zeros(len(sources), bool)
    return np.asarray(np.ma.filled(sources[name], False), bool)


def candidateRows(sources):
    """True for rows that are neither empty sky positions nor flagged as artefacts."""
    return ~flagColumn(sources, "sky_source") & ~flagColumn(sources, "candidate_flag")


def isProper(metadata):
    """Whether the difference is a proper one (ZOGY), whose noise is white by construction."""
    return "zogy" in metadata


def _rule(name, value, good, state, judged):
    value = float("nan") if value is None else float(value)
    if not np.isfinite(value) or not judged:
        state = None
    return {"name": name, "value": value, "good": good, "state": state}


def _between(name, value, green, amber, judged=True):
    inside = [value is not None and low <= value <= high for low, high in (green, amber)]
    state = "green" if inside[0] else "amber" if inside[1] else "red"
    return _rule(name, value, f"{green[0]:g} to {green[1]:g}", state, judged)


def _below(name, value, green, amber, judged=True):
    state = "green" if value < green else "amber" if value < amber else "red"
    return _rule(name, value, f"below {green:g}", state, judged)


def _above(name, value, green, amber):
    value = float("nan") if value is None else value
    state = "green" if value > green else "amber" if value > amber else "red"
    return _rule(name, value, f"above {green:g}", state, True)


def overallState(rules):
    """The worst colour of the rules, and a sentence: what is not green, or the figures that make it so."""
    worst = max((_STATES.index(r["state"]) for r in rules if r["state"]), default=1)
    wrong = [f"{r['name']} {r['value']:.3g} (good: {r['good']})" for r in rules if r["state"] in _STATES[1:]]
    if wrong:
        return _STATES[worst], "; ".join(wrong)
    if worst:
        return _STATES[worst], "nothing could be judged"
    figures = {r["name"]: r["value"] for r in rules if r["state"]}
    words = ["the noise is what the variance plane says" * ("noise of the sky over its prediction" in figures)]
    words += [
        "stars leave no more than noise"
        * any(n.startswith("chi of stars") or n == "noise on sources over its prediction" for n in figures)
    ]
    words += ["neighbouring pixels are independent" * ("correlation of neighbouring sky pixels" in figures)]
    return _STATES[worst], ", ".join(w for w in words if w) or "every figure is within its limits"
