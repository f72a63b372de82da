"""Which image to convolve: the flux error that each direction predicts, from PSFs, noise and kernel.

A point source of flux F adds F P to a difference whose PSF is P and whose noise has the power spectrum N(k). The flux
that a matched filter P measures has the variance (per unit area of Fourier space, all means over k)

    var(F) = <|P|^2 N> / <|P|^2>^2                                                       (undecorrelated difference)
    var(F) = 1 / <|P|^2 / N>                                                             (its optimum, after whitening)

With the template convolved P = P_s and N = v_s + |K|^2 v_t; with the science image convolved and the difference divided
by the kernel sum s, P = P_t and N = |K|^2 v_s / s^2 + v_t / s^2 (all in the flux units of the science image).
References: Zackay, Ofek & Gal-Yam 2016 (ApJ 830, 27), section 3; DMTN-021.
"""

from dataclasses import asdict, dataclass

import numpy as np
import scipy.fft

__all__ = ["DirectionForecast", "fitKernelToPsfs", "forecastDirection"]


@dataclass(frozen=True)
class DirectionForecast:
    """What one direction of convolution promises.

    Attributes
    ----------
    fluxError : `float`
        Standard deviation of a matched-filter PSF flux in the difference, in science units.
    optimalFluxError : `float`
        The same after whitening the noise.
    kernelTransformMax : `float`
        Largest magnitude of the kernel's transform over its sum; above 1 the kernel sharpens.
    """

    fluxError: float
    optimalFluxError: float
    kernelTransformMax: float

    def asDict(self):
        """Its fields by name."""
        return asdict(self)


def fitKernelToPsfs(basisImages, source, target):
    """Combination of basis functions that turns one PSF image into another, by least squares.

    Parameters
    ----------
    basisImages : `numpy.ndarray`, (n, K, K)
        Basis functions in the orientation of `stillsky.kernel` (correlation).
    source, target : `numpy.ndarray`, (h, w), odd
        PSF images, centred; sizes may differ.

    Returns
    -------
    kernel : `numpy.ndarray`, (K, K)
    """
    shape = _commonShape(basisImages[0], source, target)
    transform = _centredTransform(source, shape)
    columns = np.array(
        [
            scipy.fft.irfft2(np.conj(_centredTransform(image, shape)) * transform, s=shape).ravel()
            for image in basisImages
        ]
    ).T
    wanted = scipy.fft.irfft2(_centredTransform(target, shape), s=shape).ravel()
    coefficients = _leastSquares(np.column_stack([columns, wanted]))
    return np.tensordot(coefficients, basisImages, axes=1)


def _leastSquares(system):
    """Solution of ``system[:, :-1] @ x = system[:, -1]``: QR by blocks of rows, then singular values of the triangle.

    The blocks are too small for BLAS to start its threads, which would cost far more than they save here.
    """
    triangle = system[:0]
    for start in range(0, len(system), 256):
        triangle = np.linalg.qr(np.concatenate([triangle, system[start : start + 256]]), mode="r")
    return np.linalg.lstsq(triangle[:, :-1], triangle[:, -1], rcond=1e-8)[0]


def forecastDirection(kernel, psf, convolvedVariance, otherVariance, *, scienceConvolved):
    """Forecast the flux error of one direction (formulas in the module's text).

    Parameters
    ----------
    kernel : `numpy.ndarray`, (K, K)
        Kernel that matches the convolved image to the other one.
    psf : `numpy.ndarray`
        Unit-sum PSF of the image that is not convolved, which is that of the difference.
    convolvedVariance, otherVariance : `float`
        Typical sky variance of the two images, each in its own units.
    scienceConvolved : `bool`
        Whether the difference is divided by the kernel sum to reach science units.

    Returns
    -------
    forecast : `DirectionForecast`
    """
    shape = _commonShape(kernel, psf, psf)
    power = np.abs(_centredTransform(psf, shape, full=True)) ** 2
    gain = np.abs(_centredTransform(kernel, shape, full=True)) ** 2
    total = float(np.sum(kernel))
    noise = gain * convolvedVariance + otherVariance
    noise = np.maximum(noise, 1e-9 * noise.max())  # a noise-free image leaves none where the kernel does
    if scienceConvolved:
        noise = noise / total**2
    direct = np.mean(power * noise) / np.mean(power) ** 2
    optimal = 1.0 / np.mean(power / noise)
    return DirectionForecast(float(np.sqrt(direct)), float(np.sqrt(optimal)), float(np.sqrt(gain.max()) / abs(total)))


def _commonShape(*images):
    return tuple(scipy.fft.next_fast_len(sum(image.shape[axis] for image in images), real=True) for axis in (0, 1))


def _centredTransform(image, shape, full=False):
    """Transform of an image whose central pixel is the origin."""
    padded = np.zeros(shape)
    padded[: image.shape[0], : image.shape[1]] = image
    padded = np.roll(padded, (-((image.shape[0] - 1) // 2), -((image.shape[1] - 1) // 2)), (0, 1))
    return scipy.fft.fft2(padded) if full else scipy.fft.rfft2(padded)
