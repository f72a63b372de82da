"""Models of the photon transfer curve and of the flat-field covariances.

Astier et al. 2019, "The shape of the photon transfer curve of CCD sensors", A&A 629, A36: their Eq. 16 (variance alone) and
Eq. 20 (all lags). Means are in adu, covariances (of one exposure, half those of a difference image) in adu^2, the gain g in
electron/adu, a and b in 1/electron, c = a * b in 1/electron^2, noise matrices in electron^2. Matrices are indexed
``[i, j] = [dx, dy]`` and stand for all four sign combinations of a lag.
"""

from functools import lru_cache

import numpy as np

__all__ = [
    "covarianceCoefficients",
    "covarianceJacobian",
    "evalExpApproximation",
    "evalFullCovariance",
    "evalPolynomial",
    "evalRolloff",
    "expApproximationJacobian",
    "fullCovarianceJacobian",
    "polynomialJacobian",
    "rolloffJacobian",
    "symmetricConvolution",
    "symmetricConvolutionMatrix",
]

_SERIES = 1e-2  # below it a Taylor series replaces the closed form, whose derivative cancels


def evalExpApproximation(mu, a00, gain, noiseSquared):
    """Variance of a flat, Eq. 16 of Astier et al. 2019.

    Parameters
    ----------
    mu : array_like
        Mean levels, adu.
    a00, gain, noiseSquared : `float`
        1/electron, electron/adu, electron^2.

    Returns
    -------
    variance : `numpy.ndarray` [mu.shape]
        adu^2: ``mu / g * expm1(x) / x + n / g^2`` with ``x = 2 a00 mu g``, which is regular at a00 = 0. A NaN level gives NaN.
    """
    mu = np.asarray(mu, dtype=np.float64)
    return mu / gain * _expm1Ratio(2.0 * a00 * mu * gain)[0] + noiseSquared / gain**2


def expApproximationJacobian(mu, a00, gain, noiseSquared):
    """Derivatives of `evalExpApproximation` by (a00, gain, noiseSquared).

    Returns
    -------
    jacobian : `numpy.ndarray` [mu.size, 3]
    """
    mu = np.asarray(mu, dtype=np.float64).ravel()
    ratio, slope = _expm1Ratio(2.0 * a00 * mu * gain)
    byGain = -mu / gain**2 * ratio + 2.0 * a00 * mu**2 / gain * slope - 2.0 * noiseSquared / gain**3
    return np.stack([2.0 * mu**2 * slope, byGain, np.full_like(mu, 1.0 / gain**2)], axis=1)


def _expm1Ratio(x):
    """``expm1(x) / x`` and its derivative, to full precision everywhere."""
    x = np.asarray(x, dtype=np.float64)
    near = np.abs(x) < _SERIES
    far = np.where(near, _SERIES, x)
    t = np.where(near, x, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        farRatio = np.expm1(far) / far
        farSlope = (np.exp(far) - farRatio) / far
    ratio = 1 + t / 2 * (1 + t / 3 * (1 + t / 4 * (1 + t / 5 * (1 + t / 6 * (1 + t / 7 * (1 + t / 8))))))
    slope = 1 / 2 + t * (1 / 3 + t * (1 / 8 + t * (1 / 30 + t * (1 / 144 + t * (1 / 840 + t / 5760)))))
    return np.where(near, ratio, farRatio), np.where(near, slope, farSlope)


def evalPolynomial(mu, *coefficients):
    """``sum_k p_k mu^k``: the historic polynomial model of the variance, adu^2."""
    return np.polynomial.polynomial.polyval(
        np.asarray(mu, dtype=np.float64), np.asarray(coefficients, dtype=np.float64)
    )


def polynomialJacobian(mu, *coefficients):
    """Derivatives of `evalPolynomial` by its coefficients, [mu.size, n]."""
    return np.vander(np.asarray(mu, dtype=np.float64).ravel(), len(coefficients), increasing=True)


def evalRolloff(mu, a00, gain, noiseSquared, turnoff, tau):
    """Eq. 16 minus ``exp(-(mu - turnoff) / tau) - 1`` (1 adu^2 by construction) from ``turnoff`` on.

    Parameters
    ----------
    mu : array_like
        Mean levels, adu.
    a00, gain, noiseSquared : `float`
        As in `evalExpApproximation`.
    turnoff, tau : `float`
        adu; a negative ``tau`` makes the loss of variance grow with the level.
    """
    mu = np.asarray(mu, dtype=np.float64)
    return evalExpApproximation(mu, a00, gain, noiseSquared) - np.where(
        mu >= turnoff, _rolloffLoss(mu, turnoff, tau), 0.0
    )


def _rolloffLoss(mu, turnoff, tau):
    return np.expm1(np.clip(-(mu - turnoff) / tau, -700.0, 700.0))


def rolloffJacobian(mu, a00, gain, noiseSquared, turnoff, tau):
    """Derivatives of `evalRolloff` by its five parameters, [mu.size, 5]."""
    mu = np.asarray(mu, dtype=np.float64).ravel()
    loss = np.where(mu >= turnoff, _rolloffLoss(mu, turnoff, tau) + 1.0, 0.0)
    extra = np.stack([-loss / tau, -loss * (mu - turnoff) / tau**2], axis=1)
    return np.concatenate([expApproximationJacobian(mu, a00, gain, noiseSquared), extra], axis=1)


@lru_cache(maxsize=32)
def _lagIndices(nOut, nIn):
    """|i - k| and i + k for output lags i and input lags k; the second selects nothing (-1) where k = 0."""
    i, k = np.arange(nOut)[:, None], np.arange(nIn)[None, :]
    return np.abs(i - k), np.where(k > 0, i + k, -1)


def symmetricConvolutionMatrix(x, nOut, nIn):
    """Matrix of the convolution with ``x``, all arrays being extended to negative lags by symmetry and by zero outwards.

    Parameters
    ----------
    x : `numpy.ndarray` [p, p]
        Values at lags 0 to p-1 of both axes.
    nOut, nIn : `int`
        Sides of the result and of the other factor.

    Returns
    -------
    matrix : `numpy.ndarray` [nOut^2, nIn^2]
        ``matrix @ y.ravel()`` is the convolution of x and y at lags 0 to nOut-1, an exact sum over every pair of signed lags.
        Cost 4 nOut^2 nIn^2 look-ups.
    """
    minus, plus = _lagIndices(nOut, nIn)
    side = max(x.shape[0], nOut + nIn)
    padded = np.zeros((side + 1, side + 1))  # index -1, the last row and column, is always zero
    padded[: x.shape[0], : x.shape[1]] = x
    total = padded[minus[:, None, :, None], minus[None, :, None, :]]
    total = total + padded[plus[:, None, :, None], minus[None, :, None, :]]
    total += padded[minus[:, None, :, None], plus[None, :, None, :]]
    total += padded[plus[:, None, :, None], plus[None, :, None, :]]
    return total.reshape(nOut * nOut, nIn * nIn)


def symmetricConvolution(x, y, nOut):
    """Convolution of two symmetric arrays given at lags >= 0, [nOut, nOut]; see `symmetricConvolutionMatrix`."""
    return (symmetricConvolutionMatrix(x, nOut, y.shape[0]) @ np.ravel(y)).reshape(nOut, nOut)


class _Convolutions:
    """a*a, a*a*a and a*c of Eq. 20 with the matrices that their derivatives need.

    The intermediate a*a is kept to lag 2 (r - 1), beyond which a*a*a gets nothing: no lag is truncated.
    """

    def __init__(self, a, c):
        r = a.shape[0]
        wide = symmetricConvolutionMatrix(a, 2 * r - 1, r)
        aa = (wide @ a.ravel()).reshape(2 * r - 1, 2 * r - 1)
        self.byA = wide.reshape(2 * r - 1, 2 * r - 1, r * r)[:r, :r].reshape(r * r, r * r)
        self.byAA = symmetricConvolutionMatrix(aa, r, r)
        self.aa = aa[:r, :r]
        self.aaa = (self.byAA @ a.ravel()).reshape(r, r)
        self.ac = (self.byA @ c.ravel()).reshape(r, r)
        self.byC = symmetricConvolutionMatrix(c, r, r) if np.any(c) else None


def covarianceCoefficients(a, c, gain):
    """Coefficients of mu^2, mu^3 and mu^4 in Eq. 20, adu^2 per adu^k.

    Parameters
    ----------
    a, c : `numpy.ndarray` [r, r]
        1/electron and 1/electron^2.
    gain : `float`
        electron/adu.

    Returns
    -------
    coefficients : `numpy.ndarray` [3, r, r]
    """
    a, c = np.asarray(a, dtype=np.float64), np.asarray(c, dtype=np.float64)
    return _coefficients(a, c, gain, _Convolutions(a, c))


def _coefficients(a, c, gain, conv):
    return np.stack([a, (2.0 / 3.0) * (conv.aa + c) * gain, (conv.aaa / 3.0 + (5.0 / 6.0) * conv.ac) * gain**2])


def covarianceJacobian(a, c, gain):
    """`covarianceCoefficients` and their derivatives.

    Returns
    -------
    coefficients : `numpy.ndarray` [3, r, r]
    byA, byC : `numpy.ndarray` [3, r^2, r^2]
        Last axis: the element of a or c; the one before: the lag.
    byGain : `numpy.ndarray` [3, r, r]
    """
    a, c = np.asarray(a, dtype=np.float64), np.asarray(c, dtype=np.float64)
    conv = _Convolutions(a, c)
    coefficients = _coefficients(a, c, gain, conv)
    unit, zero = np.eye(a.size), np.zeros((a.size, a.size))
    third = conv.byAA if conv.byC is None else conv.byAA + (5.0 / 6.0) * conv.byC
    byA = np.stack([unit, (4.0 / 3.0) * gain * conv.byA, gain**2 * third])
    byC = np.stack([zero, (2.0 / 3.0) * gain * unit, (5.0 / 6.0) * gain**2 * conv.byA])
    byGain = np.stack([np.zeros_like(a), coefficients[1] / gain, 2.0 * coefficients[2] / gain])
    return coefficients, byA, byC, byGain


def evalFullCovariance(mu, a, c, noise, gain):
    """Covariances of a flat at all lags, Eq. 20 of Astier et al. 2019.

    Parameters
    ----------
    mu : array_like
        Mean levels, adu.
    a, c, noise : `numpy.ndarray` [r, r]
        1/electron, 1/electron^2 (a times b, zero in the form without b), electron^2.
    gain : `float`
        electron/adu.

    Returns
    -------
    covariances : `numpy.ndarray` [n, r, r]
        adu^2. Convolutions are exact direct sums about lag (0, 0).
    """
    mu = np.atleast_1d(np.asarray(mu, dtype=np.float64))
    second, third, fourth = covarianceCoefficients(a, c, gain)
    m = mu[:, None, None]
    model = m**2 * (second + m * (third + m * fourth)) + np.asarray(noise, dtype=np.float64) / gain**2
    model[:, 0, 0] += mu / gain
    return model


def fullCovarianceJacobian(mu, a, c, noise, gain):
    """Derivatives of `evalFullCovariance` by the elements of a, c and noise and by the gain.

    Returns
    -------
    jacobian : `numpy.ndarray` [n, r^2, 3 r^2 + 1]
        Columns: a, c, noise (each in C order), gain.
    """
    mu = np.atleast_1d(np.asarray(mu, dtype=np.float64))
    noise = np.asarray(noise, dtype=np.float64)
    _, byA, byC, byGain = covarianceJacobian(a, c, gain)
    powers = np.stack([mu**2, mu**3, mu**4], axis=1)
    size = byA.shape[1]
    jacobian = np.zeros((mu.size, size, 3 * size + 1))
    jacobian[:, :, :size] = np.tensordot(powers, byA, axes=1)
    jacobian[:, :, size : 2 * size] = np.tensordot(powers, byC, axes=1)
    jacobian[:, :, 2 * size : 3 * size] = np.eye(size) / gain**2
    jacobian[:, :, -1] = powers @ byGain.reshape(3, size) - 2.0 * noise.ravel() / gain**3
    jacobian[:, 0, -1] -= mu / gain**2
    return jacobian
