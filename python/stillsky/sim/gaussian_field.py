"""Stationary Gaussian random fields with given covariances."""

import numpy as np

from ..errors import DomainError, ShapeError

__all__ = ["GaussianField"]


class GaussianField:
    """Draws fields with zero mean whose covariances at small lags are given and vanish beyond.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Height and width of the fields.
    covariance : `numpy.ndarray` (r, r)
        C_ij at dx = i, dy = j, the same for all signs of the lags.

    Raises
    ------
    ShapeError
        If the matrix is not square or the fields are smaller than 2r - 1.
    DomainError
        If no field can have these covariances (the power spectrum is negative somewhere).

    Notes
    -----
    White noise is filtered in Fourier space by the root of the power spectrum, which is a short cosine sum over the
    lags. Real and imaginary part of a filtered complex field are independent, so one transform gives two fields. Fields
    are periodic on a grid of a size that transforms fast, at least as large as they are, hence exactly stationary.
    Cost of a pair: 2 N normal deviates and one complex64 FFT; memory 16 N bytes beyond the result.
    """

    def __init__(self, shape, covariance):
        from scipy.fft import next_fast_len

        covariance = np.asarray(covariance, dtype=np.float64)
        if covariance.ndim != 2 or covariance.shape[0] != covariance.shape[1]:
            raise ShapeError(f"covariance: wanted a square matrix, given shape {covariance.shape}")
        r = len(covariance)
        self.shape = int(shape[0]), int(shape[1])
        if min(self.shape) < 2 * r - 1:
            raise ShapeError(f"shape: wanted at least {2 * r - 1} pixels each way for {r} lags, given {self.shape}")
        if not np.isfinite(covariance).all():
            raise DomainError("covariance: wanted finite values")
        self._grid = tuple(next_fast_len(n) for n in self.shape)
        alongY, alongX = (_cosines(n, r) for n in self._grid)
        # einsum: the factors are too thin for BLAS, whose threads would spin
        power = np.einsum("yj,jx->yx", alongY, np.einsum("ij,xi->jx", covariance, alongX))
        if power.min() < -1e-9 * max(power.max(), 0.0):
            raise DomainError(
                f"no field has these covariances: their power spectrum reaches {power.min():.4g}, its mean is "
                f"{covariance[0, 0]:.4g}"
            )
        self._root = np.sqrt(np.maximum(power, 0.0)).astype(np.float32)

    def pair(self, rng):
        """Draw two independent fields.

        Parameters
        ----------
        rng : `numpy.random.Generator`

        Returns
        -------
        first, second : `numpy.ndarray` (height, width) of `float32`
        """
        from scipy.fft import ifft2

        noise = rng.standard_normal((*self._grid, 2), dtype=np.float32).view(np.complex64)[..., 0]
        noise *= self._root
        field = ifft2(noise, norm="ortho", overwrite_x=True)[: self.shape[0], : self.shape[1]]
        return np.ascontiguousarray(field.real), np.ascontiguousarray(field.imag)


def _cosines(n, r):
    """cos(2 pi k j / n) for frequencies k and lags j, doubled for j > 0, which stands for both signs; (n, r)."""
    cosines = np.cos(2.0 * np.pi * np.outer(np.arange(n), np.arange(r)) / n)
    cosines[:, 1:] *= 2.0
    return cosines
