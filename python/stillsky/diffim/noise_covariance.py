"""Covariance of the noise of neighbouring pixels of a difference, in closed form, as a stencil that varies over the image.

A variance plane says how much a pixel scatters. The sum over an aperture scatters by sum_ij a_i a_j C_ij, and the matching
kernel, the resampling of the template and the decorrelation decide what C is. Per pixel of the science image with variance
s and of the template with variance t and autocorrelation r (1 for white noise), with the matching kernel K and, where the
difference was decorrelated, the filter phi, the noise power spectrum is

    template convolved:  N = |phi|^2 (s + t r |K|^2)
    science convolved:   N = |phi|^2 (s |K|^2 + t r) / (sum K)^2

and C(d) its inverse transform (Alard & Lupton 1998 for the difference; DMTN-021 for phi). The stencil is C(d) over the
value of the variance plane, so that the plane, which follows every pixel, and the stencil, which follows the field, give
the covariance together.
"""

import numpy as np
import scipy.fft
from astropy.io import fits

from ..errors import DomainError, FitsLayoutError, ShapeError
from .decorrelation import Whitener
from .transfer import halfPlaneMean, kernelPower, noiseSpectrum

__all__ = ["NoiseCovariance", "convolvedNoiseFactor", "noiseCovariance", "smoothedNoiseInflation"]

_SPACING = 256.0  # pixels between nodes, at least
_MOST_NODES = 8  # per axis
_SMALLEST_REACH = 2  # pixels: a stencil of 5 x 5
_TAIL = 2e-3  # of the sum of all covariances that a stencil may leave out
_OVERSAMPLING = 11  # of the pixels that a circle cuts
HDU_NAME = "COVARIANCE"


class NoiseCovariance:
    """Covariance over variance of pixels a few pixels apart, on nodes.

    Parameters
    ----------
    x, y : sequence of `float`
        Parent coordinates of the nodes, increasing, evenly spaced.
    stencils : `numpy.ndarray`, (len(y), len(x), 2 L + 1, 2 L + 1)
        [node y, node x, dy, dx]; lag zero at the centre.

    Notes
    -----
    The value at lag zero is 1 where the variance plane is right, as it is unless the template was resampled and the
    difference was not decorrelated.
    """

    def __init__(self, x, y, stencils):
        self.x, self.y = (np.atleast_1d(np.asarray(v, float)) for v in (x, y))
        self.stencils = np.asarray(stencils, np.float32)
        side = self.stencils.shape[-1]
        if self.stencils.shape != (len(self.y), len(self.x), side, side) or side % 2 == 0:
            raise ShapeError(
                f"NoiseCovariance: wanted ({len(self.y)}, {len(self.x)}, odd, odd), got {self.stencils.shape}"
            )

    @property
    def reach(self):
        """Largest lag, pixels."""
        return self.stencils.shape[-1] // 2

    def __repr__(self):
        side = self.stencils.shape[-1]
        return f"<NoiseCovariance: {side} x {side} pixels on {len(self.x)} x {len(self.y)} nodes>"

    def __eq__(self, other):
        if not isinstance(other, NoiseCovariance):
            return NotImplemented
        return all(np.array_equal(getattr(self, n), getattr(other, n)) for n in ("x", "y", "stencils"))

    __hash__ = None

    def at(self, x, y):
        """The stencil at a parent position, (2 L + 1, 2 L + 1): linear between nodes, constant beyond them."""
        i, u = _between(self.x, x)
        j, v = _between(self.y, y)
        s = self.stencils
        low = (1 - u) * s[j, i] + u * s[j, min(i + 1, len(self.x) - 1)]
        j = min(j + 1, len(self.y) - 1)
        return (1 - v) * low + v * ((1 - u) * s[j, i] + u * s[j, min(i + 1, len(self.x) - 1)])

    def factor(self, weights, x, y):
        """By how much the standard deviation of a weighted sum exceeds that of independent pixels.

        Parameters
        ----------
        weights : `numpy.ndarray`, (h, w)
            Weights of the pixels, centred on the position.
        x, y : `float`
            Parent position.

        Returns
        -------
        factor : `float`
            sqrt(sum_d A(d) c(d) / A(0)), A the autocorrelation of the weights.
        """
        return float(self._factors(np.asarray(weights, float), np.array([x]), np.array([y]))[0])

    def apertureFactor(self, radius, x, y):
        """`factor` of circles of a radius at positions (arrays)."""
        return self._factors(circleWeights(radius), *np.broadcast_arrays(*np.atleast_1d(x, y)))

    def psfFactor(self, psf, x, y):
        """`factor` of the fit of a PSF, whose weights are the PSF itself, at positions (arrays).

        The PSF is taken at the nearest node: its shape matters little here.
        """
        x, y = np.broadcast_arrays(*np.atleast_1d(np.asarray(x, float), np.asarray(y, float)))
        out = np.full(x.shape, np.nan)
        known = np.isfinite(x) & np.isfinite(y)
        nearest = np.zeros((2, x.size), int)
        for k, (nodes, values) in enumerate(((self.x, x), (self.y, y))):
            nearest[k, known] = np.abs(values[known, None] - nodes).argmin(axis=1)
        for i, j in np.unique(nearest[:, known], axis=1).T:
            rows = known & (nearest[0] == i) & (nearest[1] == j)
            stamp = psf.computeKernelImage((float(self.x[i]), float(self.y[j]))).array
            out[rows] = self._factors(stamp, x[rows], y[rows])
        return out

    def _factors(self, weights, x, y):
        lags = _autocorrelation(weights, self.reach)
        lags = lags / lags[self.reach, self.reach]
        nodes = np.einsum("jidc,dc->ji", self.stencils.astype(float), lags)
        out = np.full(x.shape, np.nan)
        for k in np.flatnonzero(np.isfinite(x) & np.isfinite(y)):
            i, u = _between(self.x, x[k])
            j, v = _between(self.y, y[k])
            i1, j1 = min(i + 1, len(self.x) - 1), min(j + 1, len(self.y) - 1)
            low, high = ((1 - u) * nodes[m, i] + u * nodes[m, i1] for m in (j, j1))
            out[k] = np.sqrt(max((1 - v) * low + v * high, 0.0))
        return out

    def scaleErrors(self, table, psf=None):
        """Make the errors of apertures, and with a PSF those of PSF fluxes, right for correlated noise, in place.

        Parameters
        ----------
        table : `astropy.table.Table`
            With ``base_CircularApertureFlux_R_instFluxErr`` or ``base_PsfFlux_instFluxErr``, whose errors are those of
            independent pixels, and centroids.
        psf : Psf, optional
        """
        x, y = (np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy")
        for name in table.colnames:
            if name.startswith("base_CircularApertureFlux_") and name.endswith("_instFluxErr"):
                radius = float(
                    name.removesuffix("_instFluxErr").removeprefix("base_CircularApertureFlux_").replace("_", ".")
                )
                table[name] *= self.apertureFactor(radius, x, y)
            elif name == "base_PsfFlux_instFluxErr" and psf is not None:
                table[name] *= self.psfFactor(psf, x, y)

    # ------------------------------------------------------------------ files

    def toHdu(self):
        """Image HDU COVARIANCE [node y, node x, dy, dx], float32, with the nodes in its cards."""
        hdu = fits.ImageHDU(self.stencils, name=HDU_NAME)
        for axis, nodes in (("X", self.x), ("Y", self.y)):
            hdu.header[f"NODE{axis}0"] = (float(nodes[0]), "parent pixel of the first node")
            step = float(nodes[1] - nodes[0]) if len(nodes) > 1 else 0.0
            hdu.header[f"NODED{axis}"] = (step, "pixels between nodes")
        hdu.header["COMMENT"] = (
            "Covariance of pixels (dx, dy) apart over the value of VARIANCE; zero lag at the centre."
        )
        return hdu

    def append(self, path):
        """Add the HDU to a FITS file."""
        with fits.open(path, mode="append") as hdus:
            hdus.append(self.toHdu())

    @classmethod
    def fromHdu(cls, hdu):
        """What `toHdu` made."""
        data = np.asarray(hdu.data, np.float32)
        if data.ndim != 4:
            raise FitsLayoutError(f"{HDU_NAME}: wanted 4 axes, got {data.ndim}")
        axes = []
        for axis, n in (("X", data.shape[1]), ("Y", data.shape[0])):
            axes.append(hdu.header[f"NODE{axis}0"] + hdu.header[f"NODED{axis}"] * np.arange(n))
        return cls(*axes, data)

    @classmethod
    def read(cls, path):
        """From a P.diff.fits; None when it has none."""
        with fits.open(path) as hdus:
            return cls.fromHdu(hdus[HDU_NAME]) if HDU_NAME in hdus else None


def noiseCovariance(
    difference,
    science,
    template,
    kernel,
    *,
    templateMatched=True,
    kernelSum=None,
    decorrelated=False,
    templateCorrelation=None,
    planes=("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE"),
):
    """Covariance of the noise of a difference.

    Parameters
    ----------
    difference : `stillsky.image.Exposure` or `stillsky.image.MaskedImage`
        Only its box is used.
    science, template : the same
        Before the matching, on one grid; their variance planes are read.
    kernel : `stillsky.kernel.Kernel` or `numpy.ndarray`
        Matching kernel, not normalised.
    templateMatched, kernelSum, templateCorrelation
        As for `decorrelate`.
    decorrelated : `bool`
        Whether the difference went through `decorrelate`.
    planes : sequence of `str`
        Pixels of the variance planes to leave out.

    Returns
    -------
    covariance : `NoiseCovariance`
        Stencils on at most 8 x 8 nodes, wide enough to leave out less than 0.2 % of the sum of the covariances: of
        5 x 5 pixels where the noise is white, up to twice the kernel where it is not.

    Raises
    ------
    DomainError
        No node has noise.

    Notes
    -----
    About 2 ms a node.
    """
    bbox = difference.bbox
    whitener = Whitener(kernel, None, templateMatched, None, templateCorrelation)
    center = tuple(float(v) for v in bbox.center)
    sums = whitener.images(*center)[0]
    divisor = 1.0 if templateMatched else float(sums.sum() if kernelSum is None else kernelSum) ** 2
    xs, ys = (_nodes(*limits) for limits in ((bbox.minX, bbox.maxX), (bbox.minY, bbox.maxY)))
    planesOf = [getattr(e, "maskedImage", e) for e in (science, template)]
    bits = [p.mask.bitmask(list(planes), ignoreMissing=True) for p in planesOf]
    size = max(128, 4 * max(sums.shape))
    shape = (size, size)
    found = {}
    for j, y in enumerate(ys):
        for i, x in enumerate(xs):
            levels = _levels(planesOf, bits, bbox, x, y)
            if levels is not None:
                found[j, i] = _covariance(whitener, x, y, levels, shape, templateMatched, divisor, decorrelated)
    if not found:
        raise DomainError("noiseCovariance: no part of the images has a usable variance")
    reach = max(_reach(c) for c in found.values())
    index = np.arange(-reach, reach + 1)
    stencils = np.full((len(ys), len(xs), len(index), len(index)), np.nan)
    for node, pixels in found.items():
        stencils[node] = pixels[np.ix_(index, index)]
    _fillNodes(stencils, found)
    return NoiseCovariance(xs, ys, stencils)


def convolvedNoiseFactor(kernel, psf):
    """By how much the PSF flux of a convolved image scatters more than its variance plane says of independent pixels.

    White noise of variance v becomes noise of variance v sum K^2 with the power spectrum v |K|^2; the flux is a sum with
    the PSF as weights.

    Parameters
    ----------
    kernel, psf : `numpy.ndarray`
        Images of the kernel and of the PSF that is fitted.
    """
    shape = tuple(scipy.fft.next_fast_len(a + b, real=True) for a, b in zip(kernel.shape, psf.shape, strict=True))
    spectra = [np.abs(scipy.fft.fft2(np.asarray(image, float), s=shape)) ** 2 for image in (kernel, psf)]
    return float(np.sqrt(np.mean(spectra[0] * spectra[1]) / (spectra[0].mean() * spectra[1].mean())))


def smoothedNoiseInflation(covariance, bbox, sigma):
    """By how much the noise of an image smoothed with a Gaussian exceeds what its variance plane says of white noise.

    What a detection that smooths takes for 5 sigma is 5 over this (section 10.1 of DMTN-021's argument: 1.27 for widths of
    3.3 and 2.2 pixels and equal noise).

    Parameters
    ----------
    covariance : `NoiseCovariance`
    bbox : `stillsky.geom.Box2I`
        Of the image: the value is that of its centre.
    sigma : `float`
        Of the Gaussian, pixels.
    """
    half = int(3.5 * sigma + 0.5)
    profile = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    return covariance.factor(np.outer(profile, profile), *(float(v) for v in bbox.center))


def _covariance(whitener, x, y, levels, shape, templateMatched, divisor, decorrelated):
    """Covariance over the value of the variance plane, lag zero in the corner."""
    kernel, _ = whitener.images(x, y)
    power = kernelPower(kernel, shape)
    coloured = 1.0
    if whitener.templateCorrelation is not None:
        correlation = whitener.templateCorrelation
        coloured = noiseSpectrum(correlation(x, y) if callable(correlation) else correlation, shape)
    s, t = levels
    if templateMatched:
        spectrum, plane = s + t * coloured * power, s + t * float(np.sum(kernel**2))
    else:
        spectrum, plane = s * power + t * coloured, s * float(np.sum(kernel**2)) + t
    spectrum, plane = spectrum / divisor, plane / divisor
    if decorrelated:
        phi, *_ = whitener.at(x, y, s, t, shape)
        spectrum = spectrum * phi * phi
        plane = halfPlaneMean(spectrum, shape[1])
    return scipy.fft.irfft2(spectrum + 0j, s=shape) / plane


def _levels(pixels, bits, bbox, x, y):
    """Noise of both images around a position: medians, or those of the whole images; None without any."""
    i, j = int(round(x - bbox.minX)), int(round(y - bbox.minY))
    levels = []
    for plane, bad in zip(pixels, bits):
        for cut in (np.s_[max(j - 128, 0) : j + 129 : 4, max(i - 128, 0) : i + 129 : 4], np.s_[::16, ::16]):
            values, mask = plane.variance.array[cut], plane.mask.array[cut]
            good = values[((mask & bad) == 0) & np.isfinite(values) & (values >= 0)]
            if good.size > 0.05 * values.size:
                break
        if not good.size:
            return None
        levels.append(float(np.median(good)))
    return levels if sum(levels) > 0 else None


def _fillNodes(stencils, found):
    """Nodes without noise take the nearest one's."""
    known = np.array(sorted(found))
    for j in range(stencils.shape[0]):
        for i in range(stencils.shape[1]):
            if (j, i) not in found:
                nearest = known[np.argmin(np.sum((known - (j, i)) ** 2, axis=1))]
                stencils[j, i] = stencils[tuple(nearest)]


def _reach(pixels):
    """Least reach that leaves out a small part of the covariances."""
    distance = np.maximum.outer(*(np.minimum(np.arange(n), n - np.arange(n)) for n in pixels.shape))
    rings = np.bincount(distance.ravel(), pixels.ravel())
    beyond = np.abs(rings.sum() - np.cumsum(rings))
    last = np.flatnonzero(beyond > _TAIL * abs(rings.sum()))
    reach = int(last[-1] + 1) if last.size else 0
    return int(np.clip(reach, _SMALLEST_REACH, min(pixels.shape) // 2 - 1))


def _nodes(low, high):
    n = min(_MOST_NODES, 2 + int((high - low) // _SPACING))
    return np.linspace(low, high, n) if high > low else np.array([float(low)])


def _between(nodes, value):
    """Index of the node below and the fraction of the way to the next, within the nodes."""
    if len(nodes) == 1:
        return 0, 0.0
    place = np.clip((value - nodes[0]) / (nodes[1] - nodes[0]), 0, len(nodes) - 1)
    index = min(int(place), len(nodes) - 2)
    return index, float(place - index)


def circleWeights(radius):
    """Share of each pixel that a circle about a pixel's centre covers, to a hundredth."""
    half = int(np.ceil(radius + 0.5))
    n = _OVERSAMPLING
    fine = (np.arange((2 * half + 1) * n) + 0.5) / n - half - 0.5
    inside = (fine[:, None] ** 2 + fine**2 <= radius**2).astype(float)
    return inside.reshape(2 * half + 1, n, 2 * half + 1, n).mean(axis=(1, 3))


def _autocorrelation(weights, reach):
    """sum_u a(u) a(u + d) for lags up to the reach, (2 reach + 1, 2 reach + 1)."""
    shape = tuple(scipy.fft.next_fast_len(max(2 * n, n + 2 * reach), real=True) for n in weights.shape)
    transform = scipy.fft.rfft2(weights, s=shape)
    full = scipy.fft.irfft2(np.abs(transform) ** 2, s=shape)
    index = np.arange(-reach, reach + 1)
    return full[np.ix_(index, index)]
