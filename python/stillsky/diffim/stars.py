"""Stars for the PSF and for the kernel fit, found in the images themselves.

`findObjects` finds and measures everything bright; `classifyStars` marks the isolated unsaturated stars by their size
locus; `selectKernelStars` keeps what both images agree on.
"""

from dataclasses import dataclass, field, fields

import numpy as np
from scipy.spatial import cKDTree

from ..background import BackgroundControl, makeBackground
from ..detection.peaks import findPeaks
from ..errors import NoDataError
from ..measure import MomentsFlag, adaptiveMoments
from ..stats import StatisticsControl, clippedStats

__all__ = [
    "KernelStars",
    "Objects",
    "classifyStars",
    "findObjects",
    "flatImage",
    "fluxRatio",
    "fractionMatched",
    "selectKernelStars",
]

SIGMA_TO_FWHM = 2.354820045
_SEARCH_SIGMAS = (1.7, 3.4, 6.8)  # pixels; widths of the search filter, wider ones only when the first finds little
_SMALLEST = 0.8  # pixels; anything narrower is a cosmic ray or a noise peak
_BLENDED = 1 << 20  # beyond the bits of MomentsFlag: a comparable peak is near
_FEW = 5  # bright objects below which moments are given up for mere peaks
_ENOUGH = 20  # bright objects at which no wider filter is tried
_STACKED = 200  # most peaks in the median that tells the width of faint stars
_SEEN = 10.0  # signal-to-noise ratio that this median must have
_ROWS_OF_A_CELL = 32  # rows used for the sky of a cell
_SEARCH_THRESHOLD = 6.0  # significance of objects that count as neighbours


@dataclass
class Objects:
    """Objects of one image, one array element each, brightest first.

    Attributes
    ----------
    x, y : positions in the parent frame, pixels
    flux, fluxErr : Gaussian-weighted flux and its error, image units
    ixx, iyy, ixy : adaptive second moments, pixels^2
    damaged : touches a masked pixel within its core, or lies too near the edge
    blended : a comparable peak near it
    isolated : not blended and no comparable neighbour
    isStar : `damaged` and `isolated` considered, on the size locus
    threshold : signal-to-noise ratio from which objects were considered
    skySigma : scatter of the sky
    flat : the image they were found in, without its sky background
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    fluxErr: np.ndarray
    ixx: np.ndarray
    iyy: np.ndarray
    ixy: np.ndarray
    damaged: np.ndarray
    blended: np.ndarray
    isolated: np.ndarray = None
    isStar: np.ndarray = None
    fwhm: float = float("nan")
    threshold: float = float("nan")
    skySigma: float = float("nan")
    flat: np.ndarray = field(default=None, repr=False)

    def __len__(self):
        return len(self.x)

    @property
    def signalToNoise(self):
        """Flux over its error."""
        return self.flux / self.fluxErr

    @property
    def size(self):
        """FWHM of the matched Gaussian, pixels."""
        return SIGMA_TO_FWHM * np.sqrt(np.maximum(0.5 * (self.ixx + self.iyy), 0))

    def subset(self, index):
        """The same objects, fewer of them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Objects(**{k: v[index] if isinstance(v, np.ndarray) and k != "flat" else v for k, v in values.items()})


def findObjects(maskedImage, config, binSize=128):
    """Find and measure the bright objects of an image.

    Parameters
    ----------
    maskedImage : `stillsky.image.MaskedImage`
    config : `StarConfig`
    binSize : `int`
        Cell size of the sky background, pixels.

    Returns
    -------
    objects : `Objects`
        Empty when nothing stands out; never raises for that.
    """
    bad = maskedImage.mask.bitmask(list(config.saturatedPlanes), ignoreMissing=True)
    noData = maskedImage.mask.bitmask(["NO_DATA", "BAD"], ignoreMissing=True)
    image, mask, variance = maskedImage.image.array, maskedImage.mask.array, maskedImage.variance.array
    flat = flatImage(maskedImage, noData, min(binSize, max(8, min(image.shape) // 2)))
    _, _, sigma, _ = clippedStats(flat, mask, noData, subsample=max(1, int(np.sqrt(image.size / 1e6))))
    moments = _measureAtBestScale(flat, workingVariance(variance, sigma, flat), mask, noData, config)
    x0, y0 = maskedImage.xy0
    objects = Objects(
        x=moments.x + x0,
        y=moments.y + y0,
        flux=moments.flux,
        fluxErr=moments.fluxErr,
        ixx=moments.xx,
        iyy=moments.yy,
        ixy=moments.xy,
        damaged=np.zeros(len(moments), bool),
        blended=(moments.flagBits & _BLENDED) != 0,
        skySigma=float(sigma),
        flat=flat,
    )
    objects = objects.subset(np.argsort(-objects.flux, kind="stable"))
    objects.damaged = _touchesMask(objects, mask, bad, (x0, y0))
    return objects


def flatImage(maskedImage, badBits, binSize):
    """The image minus medians of cells, interpolated as smoothly as their number allows: one new plane."""
    image = maskedImage.image.array
    nx, ny = (-(-size // binSize) for size in (maskedImage.width, maskedImage.height))
    style = {1: "CONSTANT", 2: "LINEAR", 3: "NATURAL_SPLINE", 4: "NATURAL_SPLINE"}.get(min(nx, ny), "AKIMA_SPLINE")
    bits = badBits | maskedImage.mask.bitmask(["EDGE"], ignoreMissing=True)
    control = BackgroundControl(
        nx, ny, style, "REDUCE_INTERP_ORDER", "MEDIAN", StatisticsControl(nanSafe=True, andMask=bits)
    )
    # a few thousand pixels know the median of a large cell to 2 % of the noise
    background = makeBackground(maskedImage, control, rowStep=max(1, binSize // _ROWS_OF_A_CELL))
    if background.nEmpty == nx * ny:
        raise NoDataError(f"background: none of {nx}x{ny} cells has a usable pixel (too many masked pixels)")
    flat = background.imageArray(dtype=image.dtype)
    return np.subtract(image, flat, out=flat)


def workingVariance(variance, skySigma, flat):
    """The variance plane; for an image said to be noise-free everywhere, the scatter of its own sky.

    Finding and measuring weigh by the variance, so that zeros would leave no pixel. The difference keeps the zeros.
    """
    if (variance[::16, ::16] > 0).any() or (variance > 0).any():  # nearly always the first, cheap look tells
        return variance
    rounding = 1e-6 * float(np.nanmax(np.abs(flat)))
    return np.full(variance.shape, max(skySigma, rounding, 1e-18) ** 2, variance.dtype)


def _measureAtBestScale(flat, variance, mask, badBits, config):
    """Adaptive moments of the peaks found with the filter that gives the most bright objects; failures are left out."""
    best = faint = None
    width = 0.0, float("nan")  # signal-to-noise ratio of what tells the width of faint objects, and that width
    for sigma in _SEARCH_SIGMAS:
        if 10 * sigma > min(flat.shape):
            break
        peaks = findPeaks(
            flat,
            variance,
            mask,
            badBits=badBits,
            sigmaPsf=sigma,
            threshold=_SEARCH_THRESHOLD,
            maxPeaks=config.maxNumber,
        )
        moments = adaptiveMoments(
            flat,
            variance,
            mask,
            peaks.x,
            peaks.y,
            badBits=badBits,
            guessSigma=sigma,
            maxShift=max(5.0, 2 * sigma),
            maxSigma=6 * sigma,  # what is wider is no star, and costs most
            tolerance=1e-3,
            maxIter=40,
        )
        good = ((moments.flagBits & MomentsFlag.FAILED) == 0) & (moments.flux > 0) & (moments.fluxErr > 0)
        _markBlends(moments, peaks, config, SIGMA_TO_FWHM * sigma)
        width = max(width, _widthOfAll(flat, variance, peaks, moments, sigma))
        strength = np.sum(peaks.significance[:_FEW])
        if faint is None or strength > faint[0]:
            faint = strength, _unmeasured(moments, peaks, sigma)
        moments = _withoutTwins(moments[good], sigma)
        nBright = np.count_nonzero(
            (moments.flux > config.minSignalToNoise * moments.fluxErr) & (moments.xx > _SMALLEST**2 / 5)
        )
        if best is None or nBright > best[0]:
            best = nBright, moments
        if nBright >= _ENOUGH:
            break
    if best is None:
        raise NoDataError("the image is too small to look for stars", found=f"{flat.shape[1]}x{flat.shape[0]} pixels")
    if best[0] >= _FEW:
        return best[1]
    found = best[1] if len(faint[1]) <= len(best[1]) else faint[1]
    if width[0] > 0:  # the moments of objects as faint as these are those of their noise
        dim = found.flux < config.minSignalToNoise * found.fluxErr if found is best[1] else np.ones(len(found), bool)
        found.xx[dim] = found.yy[dim] = width[1] ** 2
        found.xy[dim] = 0.0
    return found


def _markBlends(moments, peaks, config, fwhm):
    """Mark objects with a comparable peak nearby, whether or not that one could be measured."""
    pairs = cKDTree(np.column_stack([peaks.x, peaks.y])).query_pairs(
        config.isolationRadius * fwhm, output_type="ndarray"
    )
    for own, other in (pairs.T, pairs.T[::-1]) if len(pairs) else ():
        comparable = peaks.significance[other] > config.isolationFraction * peaks.significance[own]
        moments.flagBits[own[comparable]] |= _BLENDED


def _widthOfAll(flat, variance, peaks, moments, sigma):
    """Signal-to-noise ratio and width of the median of the peaks that stand alone: stars too faint to be measured one by
    one. 0 and the filter's width where that median is no star, or not one of about the filter's width.

    That they were centred on noise widens it by about the square of the width over that of their significance: 2 % at 6
    sigma. A cosmic ray among them does not matter.
    """
    half = int(np.ceil(6 * sigma))
    x, y = (np.floor(v + 0.5).astype(int) for v in (peaks.x, peaks.y))
    alone = ((moments.flagBits & _BLENDED) == 0) & (np.minimum(x, y) >= half)
    alone &= (x < flat.shape[1] - half) & (y < flat.shape[0] - half)
    parts = [np.s_[y[k] - half : y[k] + half + 1, x[k] - half : x[k] + half + 1] for k in np.flatnonzero(alone)]
    parts = [part for part in parts if np.isfinite(flat[part]).all()][:_STACKED]
    if len(parts) < _FEW:
        return 0.0, sigma
    stack = np.median([flat[part] for part in parts], axis=0).astype(np.float32)
    # of a median of Gaussian values: pi/2 times that of the mean
    noise = 0.5 * np.pi * np.mean([np.median(variance[part]) for part in parts]) / len(parts)
    found = adaptiveMoments(
        stack, np.full(stack.shape, noise, np.float32), np.zeros(stack.shape, np.int32), [float(half)], [float(half)],
        badBits=0, guessSigma=sigma, maxShift=2 * sigma, maxSigma=4 * sigma, tolerance=1e-3, maxIter=40,
    )[0]  # fmt: skip
    width, ratio = np.sqrt(np.maximum(0.5 * (found.xx + found.yy), 0)), found.flux / found.fluxErr
    if found.flagBits & MomentsFlag.FAILED or not ratio > _SEEN or not 1 / 1.5 < width / sigma < 1.5:
        return 0.0, sigma
    return float(ratio), float(width)


def _unmeasured(moments, peaks, sigma):
    """The peaks themselves, as round Gaussians of one width: for images too faint or crowded for moments."""
    moments = moments.copy()
    moments.x, moments.y = peaks.x, peaks.y
    moments.xx = moments.yy = sigma**2
    moments.xy = 0.0
    moments.flux = peaks.value
    moments.fluxErr = peaks.value / peaks.significance
    return _withoutTwins(moments, 2 * sigma)


def _withoutTwins(moments, sigma):
    """One of every group of peaks whose moments converged to the same place."""
    keep = np.ones(len(moments), bool)
    pairs = cKDTree(np.column_stack([moments.x, moments.y])).query_pairs(sigma, output_type="ndarray")
    if len(pairs):
        order = np.argsort(moments.flux[pairs], axis=1)
        keep[np.take_along_axis(pairs, order, axis=1)[:, 0]] = False
    return moments[keep]


def _touchesMask(objects, mask, bits, xy0):
    """Whether a bad pixel lies within 1.5 FWHM (at least 3 pixels) of each object, or the object near the border."""
    if not len(objects):
        return np.zeros(0, bool)
    radius = int(np.clip(1.5 * np.median(objects.size), 3, 25))
    ix = np.floor(objects.x - xy0[0] + 0.5).astype(int)
    iy = np.floor(objects.y - xy0[1] + 0.5).astype(int)
    height, width = mask.shape
    damaged = (ix < radius) | (iy < radius) | (ix >= width - radius) | (iy >= height - radius)
    inside = np.flatnonzero(~damaged)
    if min(mask.shape) > 2 * radius:
        windows = np.lib.stride_tricks.sliding_window_view(mask, (2 * radius + 1, 2 * radius + 1))
        for start in range(0, len(inside), 1000):  # a thousand windows at a time: bounded memory
            some = inside[start : start + 1000]
            damaged[some] = ((windows[iy[some] - radius, ix[some] - radius] & bits) != 0).any(axis=(1, 2))
    return damaged


def classifyStars(objects, config, shape):
    """Mark isolated objects and stars; sets ``isolated``, ``isStar`` and ``fwhm`` in place.

    The size locus is the mode of the sizes of bright clean objects, followed over the image by a polynomial; stars are
    the objects whose size agrees with it within the tolerance and three measuring errors.

    Parameters
    ----------
    objects : `Objects`
    config : `StarConfig`
    shape : (height, width)

    Raises
    ------
    NoDataError
        No clean object is bright enough.
    """
    sn = objects.signalToNoise
    objects.threshold = _lowestThreshold(objects, config)
    bright = ~objects.damaged & (sn > objects.threshold) & (objects.size > _SMALLEST)
    if not bright.any():
        raise NoDataError(
            "too few stars to measure the PSF",
            found=f"{len(objects)} objects, none both clean and above S/N {objects.threshold:g}",
            remedy="check the variance, the mask and the saturation level with stillsky info FILE",
        )
    typical = np.median(objects.size[bright])
    objects.isolated = _isolated(objects, config.isolationRadius * typical, config.isolationFraction)
    pool = bright & objects.isolated
    if np.count_nonzero(pool) < 3:
        pool = bright
    locus = _sizeLocus(objects, pool, shape)
    deviation = objects.size / locus - 1
    allowed = config.sizeTolerance + 3 / np.maximum(sn, 1)
    round_ = _agreesInShape(objects, pool & (np.abs(deviation) < allowed), config)
    objects.isStar = bright & objects.isolated & (np.abs(deviation) < allowed) & round_
    chosen = objects.isStar if objects.isStar.any() else pool
    objects.fwhm = float(np.median(objects.size[chosen]))


def _lowestThreshold(objects, config):
    """The configured signal-to-noise ratio, halved (not below the lowest allowed) while too few objects pass."""
    clean = ~objects.damaged & (objects.size > _SMALLEST)
    threshold = config.minSignalToNoise
    while (
        threshold > config.lowestSignalToNoise
        and np.count_nonzero(clean & (objects.signalToNoise > threshold)) < config.wantedNumber
    ):
        threshold = max(threshold / 2, config.lowestSignalToNoise)
    return threshold


def _isolated(objects, radius, fraction):
    """No neighbour within the radius that is brighter than a fraction of the object."""
    positions = np.column_stack([objects.x, objects.y])
    result = ~objects.blended
    pairs = cKDTree(positions).query_pairs(radius, output_type="ndarray")
    if len(pairs):
        a, b = pairs.T
        result[a[objects.flux[b] > fraction * objects.flux[a]]] = False
        result[b[objects.flux[a] > fraction * objects.flux[b]]] = False
    return result


def _halfSampleMode(values):
    """Mode by repeatedly keeping the densest half (Robertson & Cryer 1974)."""
    values = np.sort(values)
    while len(values) > 3:
        n = (len(values) + 1) // 2
        spread = values[n - 1 :] - values[: len(values) - n + 1]
        start = int(np.argmin(spread))
        values = values[start : start + n]
    return float(np.mean(values)) if len(values) < 3 else float(np.median(values))


def _sizeLocus(objects, pool, shape):
    """Size of a star at the position of every object."""
    size, sn = objects.size, objects.signalToNoise
    best = pool & (sn > min(50.0, np.quantile(sn[pool], 0.5)))
    mode = _halfSampleMode(size[best])
    u = 2 * (objects.x - objects.x.mean()) / shape[1]
    v = 2 * (objects.y - objects.y.mean()) / shape[0]
    locus = np.full(len(objects), mode)
    near = pool & (np.abs(size / mode - 1) < 0.25)
    for order in (0, 1, 2):
        columns = [u**a * v**b for a in range(order + 1) for b in range(order + 1 - a)]
        if np.count_nonzero(near) < 5 * len(columns):
            break
        terms = np.array(columns).T
        weight = 1 / (0.03 + 1 / sn[near])
        solution, *_ = np.linalg.lstsq(terms[near] * weight[:, None], size[near] * weight, rcond=None)
        locus = terms @ solution
        scatter = 1.4826 * np.median(np.abs(size[near] / locus[near] - 1))
        near = pool & (np.abs(size / locus - 1) < max(0.05, 3 * scatter))
    return np.maximum(locus, 0.5)


def _agreesInShape(objects, members, config):
    total = np.maximum(objects.ixx + objects.iyy, 1e-9)
    e1, e2 = (objects.ixx - objects.iyy) / total, 2 * objects.ixy / total
    if not members.any():
        return np.ones(len(objects), bool)
    distance = np.hypot(e1 - np.median(e1[members]), e2 - np.median(e2[members]))
    return distance < config.maxEllipticityDeviation + 3 / np.maximum(objects.signalToNoise, 1)


@dataclass
class KernelStars:
    """Objects that carry the kernel fit, and why the others do not.

    Attributes
    ----------
    x, y : positions in the science image, parent frame
    rating : signal-to-noise ratio, the order of preference
    rejected : `dict`
        Counts by reason.
    offset : (dx, dy)
        Median science minus template position, pixels.
    fluxRatio : `float`
        Median science over template flux.
    """

    x: np.ndarray
    y: np.ndarray
    rating: np.ndarray
    rejected: dict
    offset: tuple
    fluxRatio: float

    def __len__(self):
        return len(self.x)


def selectKernelStars(science, template, config, bbox, margin, maxNumber, minNumber, crowded=False):
    """Objects seen in both images, clean in both, not variable, not at the edge.

    Parameters
    ----------
    science, template : `Objects`
        Classified objects on one pixel grid.
    config : `StarConfig`
    bbox : `stillsky.geom.Box2I`
    margin : `int`
        Half side of a stamp; objects nearer to the border are left out.
    maxNumber, minNumber : `int`
        Most objects kept (0 or less: all), and how few make extended objects welcome when ``useGalaxies`` is auto.
    crowded : `bool`
        Take blended objects too (both images show the blend alike), and match positions within half a FWHM.

    Returns
    -------
    stars : `KernelStars`
        Possibly empty: the caller decides whether that is an error.
    """
    rejected = {"all": len(science)}
    if not len(science) or not len(template):
        return KernelStars(*(np.zeros(0),) * 3, rejected, (float("nan"),) * 2, float("nan"))
    distance, partner = cKDTree(np.column_stack([template.x, template.y])).query(
        np.column_stack([science.x, science.y])
    )
    sn = science.signalToNoise
    use = np.ones(len(science), bool)

    def reject(reason, these):
        rejected[reason] = int(np.count_nonzero(use & these))
        use[these] = False

    reject("faint", (sn < science.threshold) | (science.size <= _SMALLEST))
    reject("saturated or masked", science.damaged)
    if not crowded:
        reject("blended", ~science.isolated)
    radius = max(config.matchRadius, 0.5 * science.fwhm) if crowded else config.matchRadius
    reject("not in the template", distance > radius)
    partner = np.minimum(partner, len(template) - 1)
    reject("masked in the template", template.damaged[partner])
    reject(
        "near the edge",
        (science.x - margin < bbox.minX)
        | (science.x + margin > bbox.maxX)
        | (science.y - margin < bbox.minY)
        | (science.y + margin > bbox.maxY),
    )
    extended = ~science.isStar
    enough = np.count_nonzero(use & ~extended) >= max(minNumber, 20)
    if config.useGalaxies == "no" or (config.useGalaxies == "auto" and enough):
        reject("extended", extended)
    ratio = science.flux / template.flux[partner]
    error = ratio * np.hypot(1 / sn, 1 / template.signalToNoise[partner])
    middle = np.median(ratio[use]) if use.any() else float("nan")
    scatter = 1.4826 * np.median(np.abs(ratio[use] - middle)) if use.any() else 0.0
    reject(
        "variable", np.abs(ratio - middle) > config.maxFluxRatioDeviation * np.hypot(error, max(scatter, 0.02 * middle))
    )
    chosen = np.flatnonzero(use)
    chosen = chosen[np.argsort(-sn[chosen], kind="stable")]
    if maxNumber > 0:
        rejected["beyond maxKernelSources"] = max(len(chosen) - maxNumber, 0)
        chosen = chosen[:maxNumber]
    offset = (float("nan"),) * 2
    if len(chosen):
        offset = tuple(
            float(np.median(getattr(science, axis)[chosen] - getattr(template, axis)[partner[chosen]])) for axis in "xy"
        )
    rejected["used"] = len(chosen)
    return KernelStars(science.x[chosen], science.y[chosen], sn[chosen], rejected, offset, float(middle))


def fractionMatched(objects, radius):
    """Fraction of the undamaged science objects above the threshold that have a template object within the radius."""
    science, template = objects
    use = ~science.damaged & (science.signalToNoise > science.threshold)
    if not use.any() or not len(template):
        return 0.0
    distance, _ = cKDTree(np.column_stack([template.x, template.y])).query(
        np.column_stack([science.x[use], science.y[use]])
    )
    return float(np.mean(distance < radius))


def fluxRatio(objects):
    """Median flux of the stars in the science image over that in the template, matched by position; None if none."""
    science, template = objects
    if not len(template) or not len(science):
        return None
    distance, partner = cKDTree(np.column_stack([template.x, template.y])).query(
        np.column_stack([science.x, science.y])
    )
    good = (distance < 2) & science.isStar
    if not good.any():
        return None
    return float(np.median(science.flux[good] / template.flux[partner[good]]))
