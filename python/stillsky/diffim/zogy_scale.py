"""Flux ratio, registration and background of two images from their stars, in the frame where their PSFs are equal.

Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27), section 3.4, eqs. 37-40: the science image filtered with the template's PSF
and the template filtered with the science image's PSF show a star with one and the same profile, so that their ratio is
beta and their distance the registration, free of biases of either PSF.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from ..errors import NoDataError
from ..stats import clippedStats
from .zogy_nodes import shiftPhase
from .zogy_transfer import psfTransform

__all__ = ["FluxRatio", "fitFluxRatio"]

_MAX_ITERATIONS = 5
_TOLERANCE = 1e-5
_SYSTEMATIC = 0.003  # relative error of a star's flux that the PSF models leave
_MAX_SHIFT = 2.0  # pixels; beyond, the stars are not the same


@dataclass(frozen=True)
class FluxRatio:
    """How the template compares with the science image.

    Attributes
    ----------
    beta, betaError : `float`
        Science counts over template counts of constant stars.
    gamma : `float`
        Median sky of the science image minus beta times that of the template, science counts.
    offset : (`float`, `float`)
        Median of where the template shows the stars, minus where the science image does; pixels (x, y).
    scatter : (`float`, `float`)
        Robust standard deviation of single stars' offsets, x and y: registration and measuring errors.
    nStars, iterations : `int`
        Stars that agree, and rounds of the fit.
    """

    beta: float
    betaError: float
    gamma: float
    offset: tuple
    scatter: tuple
    nStars: int
    iterations: int


def fitFluxRatio(science, template, sciencePsf, templatePsf, x, y, badBits=(0, 0), maxStars=300):
    """Flux ratio beta, background gamma and registration offset of two exposures.

    Parameters
    ----------
    science, template : `stillsky.image.MaskedImage`
        Of one box.
    sciencePsf, templatePsf : `stillsky.psf.Psf`
    x, y : array_like
        Positions of stars in the science image, parent pixels, best ones first. Variable ones are rejected by their ratio.
    badBits : (`int`, `int`)
        Mask bits that make a pixel, and the star that it belongs to, unusable.
    maxStars : `int`

    Returns
    -------
    ratio : `FluxRatio`

    Raises
    ------
    NoDataError
        Fewer than 3 usable stars.

    Notes
    -----
    Robust weighted ratio of sums: at most 5 rounds, until beta changes by less than 1e-5. Cost: eight small transforms a
    star and round of centring.
    """
    stars = []
    for position in zip(np.asarray(x, float)[:maxStars], np.asarray(y, float)[:maxStars]):
        found = _measureStar(science, template, sciencePsf, templatePsf, position, badBits)
        if found is not None:
            stars.append(found)
    if len(stars) < 3:
        raise NoDataError(
            "too few stars to find the flux ratio of the images",
            found=f"{len(stars)} of {len(np.asarray(x))} are usable in both images; need 3",
            remedy="give the flux ratio, or calibrate both images",
        )
    fluxN, errN, fluxR, errR, dx, dy = np.array(stars).T
    beta, used = float(np.median(fluxN / fluxR)), np.ones(len(stars), bool)
    rounds = 0
    for _ in range(_MAX_ITERATIONS):
        rounds += 1
        variance = errN**2 + (beta * errR) ** 2 + 2 * (_SYSTEMATIC * fluxN) ** 2
        pull = (fluxN - beta * fluxR) / np.sqrt(variance)
        width = max(1.0, 1.4826 * np.median(np.abs(pull - np.median(pull))))
        used = np.abs(pull - np.median(pull)) < 3.5 * width
        # the weight is common to both sums and follows both images: neither one's noise biases the ratio
        weight = (fluxN + beta * fluxR) / variance
        before, beta = beta, float(np.sum((weight * fluxN)[used]) / np.sum((weight * fluxR)[used]))
        if abs(beta / before - 1) < _TOLERANCE:
            break
    error = np.sqrt(np.sum((weight**2 * variance)[used])) * width / np.sum((weight * fluxR)[used])
    offsets = np.column_stack([dx, dy])[used]
    centre = np.median(offsets, axis=0)
    scatter = 1.4826 * np.median(np.abs(offsets - centre), axis=0)
    return FluxRatio(
        beta, float(error), _skyDifference(science, template, beta, badBits), tuple(map(float, centre)),
        tuple(map(float, scatter)), int(used.sum()), rounds,
    )  # fmt: skip


def _measureStar(science, template, sciencePsf, templatePsf, position, badBits):
    """(flux, error) in both filtered images and the offset between them, or None for a star that is of no use."""
    stamps = [psf.computeKernelImage(position).array for psf in (sciencePsf, templatePsf)]
    side = max(max(stamp.shape) for stamp in stamps)
    ix, iy = (int(np.floor(v + 0.5)) for v in position)
    x0, y0 = science.xy0
    low = (iy - y0 - side // 2, ix - x0 - side // 2)
    height, width = science.image.array.shape
    if min(low) < 0 or low[0] + side > height or low[1] + side > width:
        return None
    cut = (slice(low[0], low[0] + side), slice(low[1], low[1] + side))
    core = np.s_[side // 4 : side - side // 4, side // 4 : side - side // 4]
    pixels = []
    for image, bits in zip((science, template), badBits):
        values, mask = image.image.array[cut].astype(float), image.mask.array[cut]
        bad = ((mask & bits) != 0) | ~np.isfinite(values)
        if bad[core].any() or bad.mean() > 0.5:
            return None
        values[bad] = np.median(values[~bad])
        pixels.append(np.roll(values, (-(side // 2), -(side // 2)), (0, 1)))
    shape = (scipy.fft.next_fast_len(side, real=True),) * 2 if side % 2 == 0 else (side, side)
    hatN, hatR = (psfTransform(stamp, shape) for stamp in stamps)
    images = [scipy.fft.irfft2(scipy.fft.rfft2(p) * hat, s=shape) for p, hat in zip(pixels, (hatR, hatN))]
    sigma = np.sqrt(1 / np.sum(stamps[0] ** 2) / (4 * np.pi) + 1 / np.sum(stamps[1] ** 2) / (4 * np.pi))
    first = (position[0] - ix, position[1] - iy)
    found = [_fitProfile(image, hatN * hatR, shape, 2.0 * sigma, first) for image in images]
    if None in found:
        return None
    (fN, eN, xN, yN), (fR, eR, xR, yR) = found
    if fN < 5 * eN or fR < 5 * eR or np.hypot(xR - xN, yR - yN) > _MAX_SHIFT:
        return None
    return fN, eN, fR, eR, xR - xN, yR - yN


def _fitProfile(image, profile, shape, radius, start):
    """Flux, its error and the position of a star of known profile, by linearised least squares with a constant."""
    ky, kx = scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None, :]
    y, x = (scipy.fft.fftfreq(n) * n for n in shape)
    used = np.hypot(y[:, None], x[None, :]) <= radius
    place, data = np.array(start), image[used]
    for _ in range(6):
        hat = profile * shiftPhase(tuple(place), shape)
        model = scipy.fft.irfft2(np.array([hat, -2j * np.pi * kx * hat, -2j * np.pi * ky * hat]), s=shape)
        design = np.column_stack([model[k][used] for k in range(3)] + [np.ones(len(data))])
        solution = np.linalg.lstsq(design, data, rcond=None)[0]
        if solution[0] <= 0:
            return None
        step = solution[1:3] / solution[0]
        place = place + np.clip(step, -0.5, 0.5)
        if np.hypot(*(place - start)) > _MAX_SHIFT:
            return None
        if np.hypot(*step) < 1e-3:
            break
    residual = data - design @ solution
    centred = design[:, 0] - design[:, 0].mean()
    error = residual.std() * np.sqrt(len(data) / max(len(data) - 4, 1) / np.sum(centred**2))
    # neighbouring residuals are correlated over the profile: about its area of pixels carries one measurement
    error *= np.sqrt(max(1.0, 0.5 * np.sum(design[:, 0]) ** 2 / np.sum(design[:, 0] ** 2)))
    return float(solution[0]), float(error), float(place[0]), float(place[1])


def _skyDifference(science, template, beta, badBits):
    """Median of science minus beta times template over a sample of clean pixels."""
    step = max(1, int(np.sqrt(science.image.array.size / 2.5e5)))
    thin = (slice(None, None, step), slice(None, None, step))
    mask = ((science.mask.array[thin] & badBits[0]) | (template.mask.array[thin] & badBits[1])).astype(np.int32)
    with np.errstate(invalid="ignore"):
        difference = (science.image.array[thin] - beta * template.image.array[thin]).astype(np.float32)
    return float(clippedStats(difference, mask, -1)[0])
