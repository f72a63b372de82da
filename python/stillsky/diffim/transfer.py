"""Transfer functions that whiten the noise of a difference image, in closed form.

Conventions. A transfer function is the half plane of `scipy.fft.rfft2`: shape (h, w // 2 + 1), zero frequency first. All
of them are real and even, so that they act the same on correlation and convolution. Variances are those of the two images
*before* the matching: of the science image, and of the template on the science grid. With the matching kernel K,
K0 = sum(K), u the variance of the image that was left alone and c that of the image that was convolved:

    difference   phi^2 = (u + c r0 K0^2) / (u + c r |K|^2)          DMTN-021 (Reiss & Lupton 2016) eqs. 1 to 3
    score        phi   = (s + t K0^2) / (s + t |K|^2 / |P|^2)       DMTN-179 (Kovacs 2021) sections 7 and 8

Here r is the noise power spectrum of the convolved image over its mean, 1 for white noise, and r0 its value at zero
frequency; P is the kernel with which the science image was filtered before the matching. Both keep the flux: phi(0) = 1.
"""

import numpy as np
import scipy.fft

from ..errors import DomainError, ShapeError

__all__ = [
    "cornerOrigin",
    "decorrelationTransfer",
    "halfPlaneMean",
    "kernelPower",
    "noiseSpectrum",
    "scoreTransfer",
    "transformShape",
]


def transformShape(*shapes):
    """Shape of a transform that holds the linear convolution of the two largest of some images.

    Parameters
    ----------
    shapes : (`int`, `int`)
        (height, width) of images, kernels and PSFs.

    Returns
    -------
    shape : (`int`, `int`)
        Per axis the sum of the two largest extents less one, rounded up to an even length that is fast.
    """
    if not shapes:
        raise ShapeError("transformShape: wanted at least one shape, got none")
    return tuple(_fastEven(sum(sorted(s[axis] for s in shapes)[-2:]) - (len(shapes) > 1)) for axis in (0, 1))


def _fastEven(n):
    length = scipy.fft.next_fast_len(int(n), real=True)
    while length % 2:
        length = scipy.fft.next_fast_len(length + 1, real=True)
    return length


def cornerOrigin(image, shape):
    """A centred image, origin at (h // 2, w // 2), padded with zeros, its origin moved to the corner.

    Parameters
    ----------
    image : `numpy.ndarray`, (h, w)
    shape : (`int`, `int`)
        At least (h, w).

    Returns
    -------
    padded : `numpy.ndarray`, ``shape``
        Of the image's type.
    """
    height, width = image.shape
    if height > shape[0] or width > shape[1]:
        raise ShapeError(f"cornerOrigin: an image of {image.shape} does not fit into {tuple(shape)}")
    padded = np.zeros(shape, image.dtype)
    padded[:height, :width] = image
    return np.roll(padded, (-(height // 2), -(width // 2)), (0, 1))


def kernelPower(kernel, shape, dtype=np.float64):
    """|K|^2 on the half plane.

    Parameters
    ----------
    kernel : `numpy.ndarray`, (K, K)
    shape : (`int`, `int`)
        Of the full plane; a kernel that is larger is a ShapeError.
    dtype : `numpy.dtype`
        float32 or float64.

    Returns
    -------
    power : `numpy.ndarray`, (h, w // 2 + 1)

    Notes
    -----
    Only the rows that the kernel has are transformed along x: half the cost of a transform of the padded kernel.
    """
    kernel = np.asarray(kernel, dtype)
    if kernel.ndim != 2 or kernel.shape[0] > shape[0] or kernel.shape[1] > shape[1]:
        raise ShapeError(f"kernelPower: wanted a 2-D kernel within {tuple(shape)}, got {kernel.shape}")
    rows = scipy.fft.rfft(kernel, n=shape[1], axis=1)
    transform = scipy.fft.fft(rows, n=shape[0], axis=0, overwrite_x=True)
    return transform.real**2 + transform.imag**2


def decorrelationTransfer(
    kernel, scienceVariance, templateVariance, shape, *, templateMatched=True, spectrum=None, dtype=np.float64
):
    """The real, even function phi that makes the noise of a difference white.

    Parameters
    ----------
    kernel : `numpy.ndarray`, (K, K)
        Matching kernel at one position, not normalised.
    scienceVariance, templateVariance : `float`
        Of the images before the matching, each in its own units. Not negative, not both zero.
    shape : (`int`, `int`)
        (h, w) of the full plane.
    templateMatched : `bool`
        The template was convolved; otherwise the science image.
    spectrum : `numpy.ndarray`, (h, w // 2 + 1), optional
        Noise power of the convolved image over its mean, where resampling has coloured it; default: 1.
    dtype : `numpy.dtype`

    Returns
    -------
    phi : `numpy.ndarray`, (h, w // 2 + 1)
        1 at zero frequency. The noise of the filtered difference is white, of variance u + c r0 K0^2.

    Raises
    ------
    DomainError
        Variances that are not finite, negative, or leave no noise at all.
    ShapeError
        The kernel does not fit.
    """
    power = kernelPower(kernel, shape, dtype)
    variances = (scienceVariance, templateVariance) if templateMatched else (templateVariance, scienceVariance)
    return np.sqrt(whitening(power, *checkedVariances(*variances), spectrum))


def whitening(power, plain, convolved, spectrum=None, plainSpectrum=None):
    """phi^2 from |K|^2, the variances of the plain and of the convolved image, and their noise spectra over the mean."""
    if spectrum is not None:
        power = power * spectrum
    noise = power * power.dtype.type(convolved)
    noise += power.dtype.type(plain) if plainSpectrum is None else power.dtype.type(plain) * plainSpectrum
    total = float(noise[0, 0])
    if total <= 0:
        raise DomainError("decorrelation: no noise at zero frequency: the kernel sum or both variances are zero")
    # an image without noise leaves none where the kernel's transform vanishes: the filter stays finite there
    np.maximum(noise, power.dtype.type(1e-8 * total), out=noise)
    return np.divide(power.dtype.type(total), noise, out=noise)


def noiseSpectrum(correlation, shape, dtype=np.float64):
    """Noise power over its mean from an autocorrelation.

    Parameters
    ----------
    correlation : `numpy.ndarray`, (2 L + 1, 2 L + 1)
        1 at its centre, symmetric.
    shape : (`int`, `int`)
    dtype : `numpy.dtype`

    Returns
    -------
    spectrum : `numpy.ndarray`, (h, w // 2 + 1)
        Positive; below 0.001 of its mean it is raised to that.
    """
    correlation = np.asarray(correlation, np.float64)
    reachY, reachX = (n // 2 for n in correlation.shape)
    rows = scipy.fft.rfft(correlation, n=shape[1], axis=1)
    transform = scipy.fft.fft(rows, n=shape[0], axis=0, overwrite_x=True)
    # its centre moved to the corner: by two phases
    down, across = np.arange(shape[0]) * reachY / shape[0], np.arange(shape[1] // 2 + 1) * reachX / shape[1]
    transform *= np.exp(2j * np.pi * down)[:, None]
    transform *= np.exp(2j * np.pi * across)
    return np.maximum(transform.real, 1e-3).astype(dtype)


def scoreTransfer(kernel, scienceVariance, templateVariance, preConvKernel, shape, dtype=np.float64):
    """The real, even function phi_Q that turns a pre-filtered difference into the likelihood (score) image.

    Parameters
    ----------
    kernel : `numpy.ndarray`, (K, K)
        Kernel that matches the template to the pre-filtered science image.
    scienceVariance, templateVariance : `float`
        Of the images before filter and matching.
    preConvKernel : `numpy.ndarray`
        Unit-sum kernel of the pre-filter, usually the science PSF.
    shape : (`int`, `int`)
    dtype : `numpy.dtype`

    Returns
    -------
    phi : `numpy.ndarray`, (h, w // 2 + 1)
        1 at zero frequency. Applied to the difference it gives (s + t K0^2) times the score of Zackay, Ofek &
        Gal-Yam (2016, ApJ 830, 27) eq. 12 at unit flux scales.

    Raises
    ------
    DomainError
        As `decorrelationTransfer`; or a pre-filter whose sum is not 1.
    """
    science, template = checkedVariances(scienceVariance, templateVariance)
    preConvKernel = np.asarray(preConvKernel, np.float64)
    if not abs(preConvKernel.sum() - 1) < 1e-6:
        raise DomainError(f"scoreTransfer: preConvKernel must have the sum 1, got {preConvKernel.sum():.7g}")
    return scoreWhitening(
        kernelPower(kernel, shape, dtype), kernelPower(preConvKernel, shape, dtype), science, template
    )


def scoreWhitening(power, prePower, science, template):
    """phi_Q from |K|^2 and |P|^2. Where P vanishes the quotient diverges and phi_Q is zero, as it should be."""
    noise = science + template * _quotient(power, prePower)
    total = float(noise[0, 0])
    if total <= 0:
        raise DomainError("decorrelation: no noise at zero frequency: the kernel sum or both variances are zero")
    return (total / np.maximum(noise, 1e-8 * total)).astype(power.dtype)


def _quotient(power, prePower):
    """|K|^2 / |P|^2, going on as it was where both have drowned in the rounding errors of their transforms.

    The quotient of rounding errors would be noise, and phi_Q a filter that reaches over the whole image. P lets none of
    these frequencies pass, but the jump at the border of an image has them.
    """
    tiny, drowned = 1000 * np.finfo(power.dtype).tiny, (100 * np.finfo(power.dtype).eps) ** 2
    with np.errstate(over="ignore"):
        quotient = power / np.maximum(prePower, tiny)
    both = (power < drowned) & (prePower < drowned)
    if both.any():
        shore = (prePower >= drowned) & (prePower < 1e4 * drowned)
        quotient[both] = np.median(quotient[shore]) if shore.any() else 1.0
    return quotient


def checkedVariances(first, second):
    """Both as floats: finite, not negative, not both zero."""
    first, second = float(first), float(second)
    if not (np.isfinite(first) and np.isfinite(second) and first >= 0 and second >= 0 and first + second > 0):
        raise DomainError(
            f"decorrelation: the variances must be finite, not negative and not both zero, got {first}, {second}"
        )
    return first, second


def halfPlaneMean(values, width):
    """Mean over the full plane of an even function given on its half plane.

    Parameters
    ----------
    values : `numpy.ndarray`, (h, width // 2 + 1)
    width : `int`
        Of the full plane.

    Returns
    -------
    mean : `float`
        By Parseval, that of \\|c\\|^2 is the sum of the squared pixels of the filter c.
    """
    columns = values.sum(axis=0, dtype=np.float64)
    twice = 2 * columns.sum() - columns[0] - (columns[-1] if width % 2 == 0 else 0.0)
    return float(twice / (values.shape[0] * width))
