"""How resampling correlates noise: the autocorrelation of a warped image, in closed form.

A pixel of a warped image is sum_u w_q(u) I(u) with the weights w of the warping kernel around its source position q. When
the noise of I is white, two pixels at x and x + d have the covariance sum_u w_q(x)(u) w_q(x+d)(u) times its variance.
Near an interpolated pixel the correlation of neighbours is positive: the variance plane of the warped image, which is
right for each pixel, is too small for anything as wide as a star.
"""

import math

import numpy as np

from ..errors import StillskyError
from ..psf import CoaddPsf, WarpedPsf
from ..warp import WarpingKernel
from ..warp.mapping import asFunction

__all__ = ["ResamplingNoise", "resamplingOf"]

_SAMPLES = 1000  # positions over which the sub-pixel phases are averaged
_SPREAD = 400  # pixels: side of the square that they lie in
_STEP = 512.0  # pixels between the places where it is computed
_FRACTIONS = 128
_LARGEST_LAG = 12


class ResamplingNoise:
    """Autocorrelation of the noise of a resampled image at any position.

    Parameters
    ----------
    mapping : affine transform, pair (destination WCS, source WCS), or function
        From destination to source positions, parent pixels; see `stillsky.warp.warpImage`.
    warpingKernelName : `str`
        Kernel that the image was resampled with.
    """

    def __init__(self, mapping, warpingKernelName):
        self._function = asFunction(mapping)
        kernel = WarpingKernel(warpingKernelName)
        fractions = np.arange(_FRACTIONS) / _FRACTIONS
        weights = np.array([kernel.weights(f) for f in fractions])
        self._table = weights / weights.sum(axis=1, keepdims=True)
        self._cache = {}

    def __call__(self, x, y):
        """Autocorrelation around a position.

        Parameters
        ----------
        x, y : `float`
            Parent coordinates; those of the nearest of a grid of nodes 512 pixels apart are used.

        Returns
        -------
        correlation : `numpy.ndarray`, (2 L + 1, 2 L + 1)
            [dy, dx], 1 at its centre, averaged over the sub-pixel phases of 1000 pixels nearby. 1 x 1 where there is
            no source position.
        """
        node = round(x / _STEP), round(y / _STEP)
        if node not in self._cache:
            self._cache[node] = self._compute(*(n * _STEP for n in node))
        return self._cache[node]

    def _compute(self, x, y):
        # whole pixels of an additive recurrence, which keeps to no rhythm: all sub-pixel phases that occur are met
        steps = np.arange(_SAMPLES)[:, None] * (0.7548776662466927, 0.5698402909980532) % 1
        px, py = np.round((x, y) + _SPREAD * (steps - 0.5)).T
        origin = self._positions(px, py)
        right, up = self._positions(px + 1, py) - origin, self._positions(px, py + 1) - origin
        good = np.isfinite(origin + right + up).all(axis=0)
        if not good.any():
            return np.ones((1, 1))
        origin, right, up = origin[:, good], right[:, good], up[:, good]
        # a smaller step between the source positions of neighbours spreads the correlation over more pixels
        smallest = np.sqrt(np.abs(right[0] * up[1] - right[1] * up[0])).mean()
        reach = min(int(np.ceil(self._table.shape[1] / max(smallest, 0.1))), _LARGEST_LAG)
        dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        product = 1.0
        for axis in (0, 1):
            shift = right[axis][:, None, None] * dx + up[axis][:, None, None] * dy
            product = product * self._overlap(origin[axis][:, None, None], origin[axis][:, None, None] + shift)
        found = product.mean(axis=0)
        found = 0.5 * (found + found[::-1, ::-1])
        return found / found[reach, reach]

    def _positions(self, x, y):
        return np.array(self._function(x, y), float)

    def _overlap(self, first, second):
        """sum_u w_first(u) w_second(u) along one axis."""
        base1, weights1 = self._weights(first)
        base2, weights2 = self._weights(second)
        offset = base2 - base1
        total = np.zeros(np.broadcast(first, second).shape)
        taps = self._table.shape[1]
        for shift in range(1 - taps, taps):
            low, high = max(0, shift), min(taps, taps + shift)
            value = np.einsum("...t,...t->...", *np.broadcast_arrays(
                weights1[..., low:high], weights2[..., low - shift : high - shift]))  # fmt: skip
            total += np.where(offset == shift, value, 0)
        return total

    def _weights(self, position):
        index = np.round(position * _FRACTIONS).astype(np.int64)
        return index // _FRACTIONS, self._table[index % _FRACTIONS]


def resamplingOf(psf, position):
    """How the noise of an image is correlated, from a PSF that remembers the last resampling of the image.

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
        A `CoaddPsf` of inputs on other grids (templates made of patches have it), or a `WarpedPsf`.
    position : (`float`, `float`)
        Parent pixels; a WarpedPsf's transform is linearised there.

    Returns
    -------
    noise : callable (x, y) -> autocorrelation, or None
        See `ResamplingNoise`. None for any other PSF, or one on the grid of its inputs: white noise as far as is known.
        The inputs' own noise is taken as white, and at every position one input counts.
    """
    if isinstance(psf, WarpedPsf):
        try:
            return ResamplingNoise(psf.linearized(position), psf.warpingKernelName)
        except StillskyError:
            return None
    if not isinstance(psf, CoaddPsf) or psf.coaddWcs is None:
        return None
    grids = {}
    for component in psf.components:
        if component.wcs is not None and component.wcs != psf.coaddWcs:
            grids.setdefault(component.wcs, []).append(component.bbox)
    return _NoiseOfInputs(psf.coaddWcs, grids, psf.warpingKernelName) if grids else None


class _NoiseOfInputs:
    """`ResamplingNoise` of the first input whose box holds a position; of the first one where none does."""

    def __init__(self, wcs, grids, kernelName):
        self._wcs = wcs
        self._grids = [(other, boxes, ResamplingNoise((wcs, other), kernelName)) for other, boxes in grids.items()]

    def __call__(self, x, y):
        if len(self._grids) == 1:
            return self._grids[0][2](x, y)
        sky = self._wcs.pixelToSky(x, y)
        for other, boxes, noise in self._grids:
            px, py = (float(v) for v in other.skyToPixel(*sky))
            if math.isfinite(px) and math.isfinite(py):
                at = (math.floor(px + 0.5), math.floor(py + 0.5))
                if any(box.contains(at) for box in boxes):
                    return noise(x, y)
        return self._grids[0][2](x, y)
