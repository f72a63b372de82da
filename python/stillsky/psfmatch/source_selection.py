"""Sources of an exposure from which kernel candidates are chosen: background, detection, measurement."""

import logging

import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy import ndimage

from ..background import fitBackground
from ..detection import FootprintSet, Threshold
from ..errors import InvalidPsfError, StillskyError
from ..image import Exposure, Image, MaskedImage
from ..measure import MomentsFlag, adaptiveMoments

__all__ = ["backgroundModel", "selectSources"]

_log = logging.getLogger(__name__)
_FAILED_PLANES = ("BAD", "SAT", "NO_DATA")


def backgroundModel(exposure, config, log=_log):
    """Background of an exposure; where it cannot be fitted, the median of the unmasked pixels.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure` or `stillsky.image.MaskedImage`
    config : `SubtractBackgroundConfig`

    Returns
    -------
    model : `numpy.ndarray` or `float`
        To be subtracted; 0 when not a single pixel is usable.
    """
    try:
        fitted = fitBackground(exposure, config)
        return 0.0 if fitted is None else fitted.imageArray()
    except (StillskyError, ValueError, ArithmeticError) as error:
        log.warning("The background cannot be fitted (%s): the median of the unmasked pixels is used", error)
    pixels = exposure.image.array
    usable = pixels[np.isfinite(pixels) & (exposure.mask.array == 0)]
    return float(np.median(usable)) if usable.size else 0.0


def selectSources(exposure, detection, backgroundConfig, sigma=None, doSmooth=True, idFactory=None, log=_log):
    """Detect and measure the sources of an exposure.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        With a PSF, unless ``sigma`` is given. It is not modified.
    detection : `MatchDetectionConfig`
    backgroundConfig : `SubtractBackgroundConfig`
    sigma : `float`, optional
        Width of the PSF in pixels.
    doSmooth : `bool`
        Smooth before detecting; False for an image that has been filtered with its PSF.
    idFactory : callable, optional
        Number of sources -> ids; default 1, 2, ...

    Returns
    -------
    sources : `astropy.table.Table`
        id, x, y (parent pixels), coord_ra, coord_dec (radians, with a WCS), psfFlux, psfFluxErr, xx, yy, xy (adaptive
        moments, pixels^2), pixelFlag (a bad or saturated pixel, or none, near the centre). Sources whose centroid
        fails are left out.

    Raises
    ------
    InvalidPsfError
        Neither a PSF nor a width.
    """
    if exposure.psf is None and sigma is None:
        raise InvalidPsfError("selectSources: wanted an exposure with a PSF, or sigma")
    work = _copyForDetection(exposure)
    work.image.array[...] -= backgroundModel(work, backgroundConfig, log)
    found = _detect(work, detection, sigma, doSmooth)
    if detection.reEstimateBackground:
        work.image.array[...] -= backgroundModel(work, backgroundConfig, log)
        found = _detect(work, detection, sigma, doSmooth)
    return _measure(work, *found, idFactory)


def _copyForDetection(exposure):
    masked = exposure.maskedImage
    copy = MaskedImage(Image(masked.image.array.copy(), masked.xy0), masked.mask.copy(), masked.variance)
    return Exposure(copy, psf=exposure.psf, wcs=exposure.wcs)


def _detect(exposure, detection, sigma, doSmooth):
    """Footprints above the threshold, their planes set on the exposure's mask; and the width used, in pixels."""
    sigma = exposure.psf.determinantRadius() if sigma is None else float(sigma)
    image, variance = (
        _matchedFilter(exposure, sigma, detection.excludeMaskPlanes)
        if doSmooth
        else (exposure.image, exposure.variance)
    )
    found = []
    for polarity, plane in ((True, "DETECTED"), (False, "DETECTED_NEGATIVE")):
        if detection.thresholdPolarity in ("both", "positive" if polarity else "negative"):
            threshold = Threshold(detection.thresholdValue, detection.thresholdType, polarity)
            footprints = FootprintSet.detect(image, threshold, "", detection.minPixels, variance=variance)
            footprints.setMask(exposure.mask, plane)
            found.append(footprints)
    return found, sigma


def _matchedFilter(exposure, sigma, excludedPlanes):
    """Image smoothed with a unit-sum Gaussian, and its variance; pixels left out are filled from their neighbours."""
    planes = [*_FAILED_PLANES, *excludedPlanes]
    masked = exposure.maskedImage
    data, noise = masked.image.array.astype(float), masked.variance.array.astype(float)
    use = np.isfinite(data) & np.isfinite(noise) & (noise > 0)
    use &= (masked.mask.array & masked.mask.bitmask(planes, ignoreMissing=True)) == 0
    half = max(1, int(np.ceil(3.5 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    taps /= taps.sum()

    def smooth(values, weights):
        rows = ndimage.correlate1d(values, weights, axis=0, mode="constant")
        return ndimage.correlate1d(rows, weights, axis=1, mode="constant")

    weight = smooth(use.astype(float), taps)
    enough = weight > 0.5  # half of the filter's weight must lie on usable pixels
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(enough, smooth(np.where(use, data, 0.0), taps) / weight, np.nan)
        variance = np.where(enough, smooth(np.where(use, noise, 0.0), taps**2) / weight**2, np.nan)
    return Image(value.astype(np.float32), masked.xy0), Image(variance.astype(np.float32), masked.xy0)


def _measure(exposure, footprintSets, sigma, idFactory):
    """Table of the first peaks of footprints; columns as in `selectSources`."""
    peaks = [f.peaks[0] for footprints in footprintSets for f in footprints if len(f.peaks)]
    px, py = (np.array([peak[name] for peak in peaks], float) for name in ("f_x", "f_y"))
    x0, y0 = exposure.xy0
    planes = exposure.image.array, exposure.variance.array, exposure.mask.array
    bad = exposure.mask.bitmask(list(_FAILED_PLANES), ignoreMissing=True)
    moments = adaptiveMoments(*planes, px - x0, py - y0, guessSigma=sigma, badBits=bad)
    good = ((moments.flagBits & MomentsFlag.FAILED) == 0) & np.isfinite(moments.x) & np.isfinite(moments.y)
    moments = moments[good]
    n = len(moments)
    table = Table()
    table["id"] = np.arange(1, n + 1) if idFactory is None else np.asarray(idFactory(n), np.int64)
    table["x"] = Table.Column(moments.x + x0, unit=u.pix, description="centroid, x, parent coordinates")
    table["y"] = Table.Column(moments.y + y0, unit=u.pix, description="centroid, y, parent coordinates")
    if exposure.wcs is not None:
        ra, dec = exposure.wcs.pixelToSky(np.asarray(table["x"]), np.asarray(table["y"]))
        table["coord_ra"] = Table.Column(np.atleast_1d(ra), unit=u.rad, description="right ascension, ICRS")
        table["coord_dec"] = Table.Column(np.atleast_1d(dec), unit=u.rad, description="declination, ICRS")
    fluxes = [_psfFlux(exposure, x, y, m, bad) for x, y, m in zip(table["x"], table["y"], moments, strict=True)]
    for i, (name, text) in enumerate((("psfFlux", "flux of a point source"), ("psfFluxErr", "its standard deviation"))):
        table[name] = Table.Column(np.array([f[i] for f in fluxes], float), description=f"{text}, image units")
    table["pixelFlag"] = Table.Column(
        np.array([f[2] for f in fluxes], bool), description="a bad, saturated or missing pixel near the centre"
    )
    for name in ("xx", "yy", "xy"):
        table[name] = Table.Column(moments[name], unit=u.pix**2, description="adaptive second moment")
    return table


def _psfFlux(exposure, x, y, moments, bad):
    """Flux of a point source at a position, its error, and whether a pixel within one sigma-square is bad.

    Least squares of the PSF image with equal weights, F = sum(P d) / sum(P^2), over the usable pixels.
    """
    if exposure.psf is None:
        return moments.flux, moments.fluxErr, False
    try:
        image = exposure.psf.computeImage((float(x), float(y)))
    except (StillskyError, ValueError, ArithmeticError):
        return moments.flux, moments.fluxErr, True
    box = image.bbox.clipped(exposure.bbox)
    if box.isEmpty:
        return np.nan, np.nan, True
    part, psf = exposure.maskedImage[box], image[box].array
    data, variance = part.image.array.astype(float), part.variance.array.astype(float)
    use = np.isfinite(data) & np.isfinite(variance) & ((part.mask.array & bad) == 0)
    norm = np.sum(psf[use] ** 2)
    if not norm > 0:
        return np.nan, np.nan, True
    core = psf > 0.5 * psf.max()
    flux = np.sum(psf[use] * data[use]) / norm
    return flux, np.sqrt(np.sum(psf[use] ** 2 * variance[use])) / norm, bool(np.any(core & ~use))
