"""How well a matching kernel registers two images: what is left of its stars looks like their gradients.

A star of flux f displaced by d leaves the residual -f d . grad P (Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, section 3.3).
A kernel that varies smoothly over the image cannot follow every displacement: turbulence, a distorted sensor, proper
motions. What it leaves is the astrometric error that the corrected score needs.
"""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from ..errors import StillskyError

__all__ = ["RegistrationScatter", "registrationScatter"]

_ROUNDS = 3  # of centring a star
_REACH = 1.3  # FWHM: radius of the pixels that are used
_SIGNIFICANT = 2.5  # standard deviations by which the displacements must exceed their errors
_BRIGHTEST = 200  # stars


@dataclass(frozen=True)
class RegistrationScatter:
    """Displacements of stars that the matching kernel leaves.

    Attributes
    ----------
    sigma : `float`
        Standard deviation per axis beyond the measuring errors, pixels; 0 where these explain everything.
    limit : `float`
        The value that would have been significant.
    median : (`float`, `float`)
        Of the displacements, x and y.
    nStars : `int`
    """

    sigma: float
    limit: float
    median: tuple
    nStars: int


def registrationScatter(reference, convolved, kernel, background, psf, x, y, badBits=(0, 0)):
    """Scatter of the stars' displacements in ``reference - kernel (x) convolved - background``.

    Parameters
    ----------
    reference, convolved : `stillsky.image.MaskedImage`
        Of one box.
    kernel : `stillsky.kernel.Kernel`
    background : `stillsky.kernel.Function2` or None
    psf : `stillsky.psf.Psf`
        Of ``reference``.
    x, y : array_like
        Stars, parent pixels, brightest first; 200 of them are used at most.
    badBits : (`int`, `int`)
        Mask bits that make a star unusable.

    Returns
    -------
    scatter : `RegistrationScatter`

    Notes
    -----
    Every star has a flux error, a displacement and a constant, fitted to the pixels within 1.3 FWHM. The scatter is the
    one with which the sum of squares of displacements over errors is what it should be; outliers beyond 4 robust
    standard deviations (variable and moving stars) are left out. About 1 ms a star.
    """
    found = []
    try:
        reach = int(np.ceil(_REACH * psf.fwhm()))
    except StillskyError:  # no PSF, no displacements
        x = y = ()
    for position in zip(np.asarray(x, float)[:_BRIGHTEST], np.asarray(y, float)[:_BRIGHTEST]):
        try:
            star = _displacement(reference, convolved, kernel, background, psf, position, badBits, reach)
        except (StillskyError, np.linalg.LinAlgError):  # no PSF there, or no star
            continue
        if star is not None:
            found.append(star)
    if len(found) < 5:
        return RegistrationScatter(0.0, float("nan"), (float("nan"),) * 2, len(found))
    shifts, errors = np.array([f[0] for f in found]), np.array([f[1] for f in found])
    robust = _robustScatter(shifts, errors)
    used = (np.abs(shifts) < 4 * np.hypot(robust, errors)).all(axis=1)
    sigma, limit = _excess(shifts[used].ravel() ** 2, errors[used].ravel() ** 2, robust)
    shifts = shifts[used]
    return RegistrationScatter(sigma, limit, tuple(np.median(shifts, axis=0).tolist()), int(used.sum()))


def _robustScatter(shifts, errors):
    """Scatter with which half of the displacements are smaller than 0.6745 standard deviations; 0 if all are."""
    low, high = 0.0, float(np.abs(shifts).max())
    for _ in range(30):
        middle = 0.5 * (low + high)
        tooSmall = np.median(np.abs(shifts) / np.hypot(middle, errors)) > 0.6745
        low, high = (middle, high) if tooSmall else (low, middle)
    return low


def _excess(squares, variances, scatter):
    """Scatter beyond the errors, 0 unless it is significant, and the smallest significant one."""
    if not len(squares):
        return 0.0, float("nan")
    # the best weights for this scatter, or for one like the errors of the brightest stars
    weights = 1 / (variances + max(scatter**2, np.percentile(variances, 20))) ** 2
    error = np.sqrt(np.sum(2 * variances**2 * weights**2)) / np.sum(weights)
    found = float(np.sum(weights * (squares - variances)) / np.sum(weights))
    return (float(np.sqrt(found)) if found > _SIGNIFICANT * error else 0.0), float(np.sqrt(_SIGNIFICANT * error))


def _displacement(reference, convolved, kernel, background, psf, position, badBits, reach):
    """((dx, dy), their errors) of one star, or None."""
    x0, y0 = reference.xy0
    halfKernel = max(kernel.width, kernel.height) // 2
    height, width = reference.image.array.shape
    ix, iy = (int(np.floor(v + 0.5)) for v in position)
    j, i, margin = iy - y0, ix - x0, reach + halfKernel
    if not (margin <= i < width - margin and margin <= j < height - margin):
        return None
    inner = np.s_[j - reach : j + reach + 1, i - reach : i + reach + 1]
    outer = np.s_[j - margin : j + margin + 1, i - margin : i + margin + 1]
    bad = ((reference.mask.array[inner] & badBits[0]) != 0).any() or (
        (convolved.mask.array[outer] & badBits[1]) != 0
    ).any()
    source = convolved.image.array[outer].astype(float)
    target, noise = (plane.array[inner].astype(float) for plane in (reference.image, reference.variance))
    otherNoise = convolved.variance.array[inner].astype(float)
    if bad or not (np.isfinite(source).all() and np.isfinite(target).all() and (noise > 0).all()):
        return None
    taps = np.array(kernel.imageAt(*position))
    noise = noise + np.sum(taps**2) * np.where(np.isfinite(otherNoise), otherNoise, 0)
    matched = _correlated(source, taps, 2 * reach + 1)
    residual = target - matched
    if background is not None:
        residual -= float(background(*position))
    v, u = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    used = (u * u + v * v <= reach * reach) & np.isfinite(noise)
    return _fit(target, residual, noise, used, psf, position, (ix, iy), reach)


def _correlated(image, kernel, size):
    """The central square of an image correlated with a kernel."""
    shape = tuple(scipy.fft.next_fast_len(n, real=True) for n in image.shape)
    product = scipy.fft.rfft2(image, shape) * np.conj(scipy.fft.rfft2(kernel, shape))
    return scipy.fft.irfft2(product, s=shape)[:size, :size]


def _fit(target, residual, noise, used, psf, position, pixel, reach):
    """Centre the star, then fit its residual by flux, displacement and constant."""
    stamp = psf.computeKernelImage(position).array
    half = stamp.shape[0] // 2, stamp.shape[1] // 2
    if min(half) < reach:
        return None
    shape = tuple(scipy.fft.next_fast_len(n + 4, real=True) for n in stamp.shape)
    hat = scipy.fft.rfft2(stamp, shape)
    ky, kx = scipy.fft.fftfreq(shape[0])[:, None], scipy.fft.rfftfreq(shape[1])[None, :]
    cut = np.s_[half[0] - reach : half[0] + reach + 1, half[1] - reach : half[1] + reach + 1]
    place = [position[0] - pixel[0], position[1] - pixel[1]]
    weight = 1 / np.sqrt(noise[used])
    for _ in range(_ROUNDS):
        moved = hat * np.exp(-2j * np.pi * (kx * place[0] + ky * place[1]))
        model = scipy.fft.irfft2([moved, -2j * np.pi * kx * moved, -2j * np.pi * ky * moved], s=shape)
        design = np.column_stack([m[cut][used] for m in model] + [np.ones(np.count_nonzero(used))]) * weight[:, None]
        flux, mx, my, _ = np.linalg.lstsq(design, target[used] * weight, rcond=None)[0]
        if not flux > 0:
            return None
        place = [p + np.clip(m / flux, -0.3, 0.3) for p, m in zip(place, (mx, my))]
    covariance = np.linalg.inv(design.T @ design)
    solution = covariance @ (design.T @ (residual[used] * weight))
    return solution[1:3] / flux, np.sqrt(np.diag(covariance)[1:3]) / flux
