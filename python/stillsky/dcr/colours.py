"""Colours of the stars of a DCR coadd, with their errors.

The subfilters are linear in the visits y: ``m = t/N + C A^T w (y - A t/N) / nu^2``, with C the posterior covariance of
`stillsky.dcr.prior` (Rybicki & Press 1992, ApJ 398, 169). Of a flux ``f = c.m``, c = P / sum P^2 with the PSF P of the star in
one subfilter, two things follow from ``u = C c``::

    noise      var f = u.K u / nu^2,         K = A^T w A
    response   df/dm = K u / nu^2

A colour is pulled towards grey by 1 - r, where r is its response to a straight spectrum. Its error is that of the noise, and
what is lost of a colour that is unknown but for the rms of all stars of the field, which they tell themselves (empirical
Bayes: Efron & Morris 1973, J. Am. Stat. Assoc. 68, 117): ``err^2 = var + (1 - r)^2 kappa^2``. The conjugate gradients that
found the subfilters solve for all stars at once that are far from each other.
"""

import math

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from .. import _core
from ..meta import Observatory
from ..stats import robustSigma
from .engine import unpackBits
from .prior import sourceWidth, visitNoise
from .shifts import dcrAmplitudes, wavelengthGenerator

__all__ = ["measureColours", "zeroPoint"]

_RADIUS = 4.0  # of a stamp, sigmas of the PSF
_APART = 8.0  # sigmas between stars that are solved for together
_GROUPS = 4
_MIN_SNR = 10.0
_FULL = 0.9  # of the squares of a PSF that lie on the patch


def measureColours(problem, models, posterior=None, zero=0.0, minSnr=_MIN_SNR):
    """Fluxes of stars in the subfilters.

    Parameters
    ----------
    problem : `stillsky.dcr.solve.DcrProblem`
    models : `list` of `numpy.ndarray`
        The solution.
    posterior : `stillsky.dcr.solve.Posterior`, optional
        Without it there are no errors: they are NaN.
    zero : `float`
        Colour of a grey star: see `zeroPoint`.
    minSnr : `float`
        Of the flux in the whole band.

    Returns
    -------
    table : `astropy.table.Table`
        ``x``, ``y`` (pixels of the patch, from 0), ``flux`` and ``fluxErr`` in the whole band, ``shares`` (N) of it in the
        subfilters, ``colour``, the share of the last less that of the first, with ``colourErr`` and ``response``, ``chi2`` of
        the visits on the star per pixel, and ``separation`` (pixels) from the next star. ``meta["colourRms"]`` is kappa.

    Notes
    -----
    The part of the noise is multiplied by the square root of ``chi2`` where that is above 1: the photons of the star, or that
    the model does not describe it. A straight spectrum of slope s has the colour 4 s/9 for N = 3; the model, which takes the
    light of a subfilter to be evenly spread, wants s/2. Light of neighbours is not taken away. Cost: N solutions of the normal
    equations for each of at most four groups of stars, about as much as the coadd itself.
    """
    sigma = problem.sigma or sourceWidth(problem.template, problem.detected, problem.excluded)
    sigma = min(max(float(sigma), 0.6), 20.0)
    stars = _findStars(problem, sigma, minSnr)
    n = len(models)
    fluxes = np.array([[stamp.flux(model) for model in models] for stamp in stars]).reshape(len(stars), n)
    chi2 = _chiSquares(problem, models, stars, math.nan if posterior is None else posterior.noise)
    noise, response = np.full(len(stars), np.nan), np.full(len(stars), np.nan)
    if posterior is not None and stars:
        noise, response = _linear(posterior, stars, problem.template.shape, n, sigma)
    return _table(stars, fluxes, noise, response, chi2, posterior, zero)


def zeroPoint(model, elevation):
    """Colour that a model gives to light that is evenly spread over the band.

    Without a throughput a subfilter stands for the mean of the refraction at its edges, which is more than that of the
    wavelengths between: a grey star is where a slightly red model is.

    Parameters
    ----------
    model : `stillsky.dcr.DcrModel`
    elevation : `float`
        Degrees; it hardly matters, nor does the site.

    Returns
    -------
    colour : `float`
    """
    site, n = Observatory(0.0, math.radians(45.0), 0.0), len(model)
    band = (math.radians(elevation), site, None, model.effectiveWavelength, model.bandwidth, n)
    edges = next(iter(wavelengthGenerator(*band[3:5], 1, bandLimits=model.bandLimits)))
    taken, even = (
        dcrAmplitudes(*band, bandLimits=edges, throughput=curve, model=model.model)
        for curve in (None, (edges, (1.0, 1.0)))
    )
    return float((even.mean() - taken.mean()) / np.dot(_line(n), taken))


def _line(n):
    """Shares of a straight spectrum with colour 1, less equal ones."""
    return np.linspace(-0.5, 0.5, n)


def _ends(n):
    """The colour as a functional of shares."""
    ends = np.zeros(n)
    ends[0], ends[-1] = -1.0, 1.0
    return ends


class _Stamp:
    """The PSF at a star: a Gaussian over its square, as the functional of its flux."""

    def __init__(self, x, y, sigma, shape):
        r = int(math.ceil(_RADIUS * sigma))
        y0, x0 = round(y) - r, round(x) - r
        rows, columns = np.arange(y0, y0 + 2 * r + 1), np.arange(x0, x0 + 2 * r + 1)
        psf = np.exp(-((rows[:, None] - y) ** 2 + (columns - x) ** 2) / (2 * sigma**2)) / (2 * math.pi * sigma**2)
        inY, inX = (rows >= 0) & (rows < shape[0]), (columns >= 0) & (columns < shape[1])
        whole, psf = float(np.sum(psf**2)), psf[np.ix_(inY, inX)]
        self.x, self.y, self.inside = x, y, float(np.sum(psf**2)) / whole
        self.place = slice(max(y0, 0), max(y0, 0) + psf.shape[0]), slice(max(x0, 0), max(x0, 0) + psf.shape[1])
        self.psf = psf.astype(np.float32)
        self.weights = (psf / np.sum(psf**2)).astype(np.float32)
        self.near = psf > 0.05 * psf.max()
        self.noise = math.sqrt(float(np.sum(self.weights.astype(float) ** 2)))  # of the flux in white noise 1

    def flux(self, image):
        """Flux of the star in an image."""
        return float(np.sum(self.weights * image[self.place], dtype=np.float64))


def _findStars(problem, sigma, minSnr):
    """Stamps of the local maxima of the smoothed template in detected pixels."""
    image = np.empty(problem.template.shape, np.float32)
    _core.smoothWeighted(problem.template, sigma, None, None, image)
    size = 2 * int(math.ceil(sigma)) + 1
    top = (image == ndimage.maximum_filter(image, size)) & problem.detected
    top &= ndimage.uniform_filter(image, 3) < image * np.float32(1 - 1e-6)  # flat light has no star
    top[:1] = top[-1:] = top[:, :1] = top[:, -1:] = False
    if np.count_nonzero(~problem.excluded) > 100:
        noise = robustSigma(problem.template, problem.excluded.astype(np.int32), 1)
    else:  # of the mean of the visits
        noise = visitNoise(problem) / math.sqrt(float(np.sum(problem.data.weights)))
    stars = []
    for y, x in zip(*np.nonzero(top), strict=True):
        stamp = _Stamp(x + _vertex(image[y, x - 1 : x + 2]), y + _vertex(image[y - 1 : y + 2, x]), sigma, image.shape)
        stamp.total, stamp.totalErr = stamp.flux(problem.template), noise * stamp.noise
        if stamp.inside > _FULL and stamp.total > minSnr * stamp.totalErr and stamp.total > 0:
            stars.append(stamp)
    return stars


def _vertex(three):
    """Offset of the maximum of a parabola from the middle one of three values."""
    left, middle, right = (float(v) for v in three)
    curvature = 2 * middle - left - right
    return float(np.clip(0.5 * (right - left) / curvature, -0.5, 0.5)) if curvature > 0 else 0.0


def _chiSquares(problem, models, stars, noise):
    """Mean square residual of the visits on each star, weighted, over the noise of a visit of weight 1."""
    if not noise > 0:
        return np.full(len(stars), np.nan)
    sums, counts = np.zeros(len(stars)), np.zeros(len(stars))
    height, width = problem.template.shape
    for i, visit in enumerate(problem.data.visits if stars else ()):
        left = visit.rows(0, height) - problem.data.template(models, i)
        good = unpackBits(visit.good, width)
        for j, stamp in enumerate(stars):
            use = good[stamp.place] & stamp.near
            sums[j] += visit.weight * float(np.sum(np.square(left[stamp.place][use], dtype=np.float64)))
            counts[j] += np.count_nonzero(use)
    with np.errstate(invalid="ignore"):
        return sums / counts / noise**2


def _groups(stars, distance):
    """Numbers such that stars of one are far from each other; the last is for what is left of a crowd."""
    numbers = np.zeros(len(stars), int)
    x, y = np.array([s.x for s in stars]), np.array([s.y for s in stars])
    for i in range(1, len(stars)):
        close = np.hypot(x[:i] - x[i], y[:i] - y[i]) < distance
        free = set(range(_GROUPS)) - set(numbers[:i][close].tolist())
        numbers[i] = min(free, default=_GROUPS - 1)
    return numbers


def _linear(posterior, stars, shape, n, sigma):
    """Variance of the difference of the fluxes of the last and the first subfilter, and its response to that of a star."""
    ends, line = _ends(n), _line(n)
    variance, response = np.empty(len(stars)), np.empty(len(stars))
    numbers = _groups(stars, _APART * sigma)
    signs = np.random.default_rng(20261121).choice((-1.0, 1.0), len(stars))  # what neighbours add has no sign
    for number in np.unique(numbers):
        chosen = np.flatnonzero(numbers == number)
        planes = [np.zeros(shape, np.float32) for _ in range(n)]
        for j in chosen:
            for plane, end in zip(planes, ends, strict=True):
                if end != 0:
                    plane[stars[j].place] += np.float32(signs[j] * end) * stars[j].weights
        answer = posterior.apply(planes)
        seen = posterior.information(answer)
        for j in chosen:
            place, psf = stars[j].place, stars[j].psf
            variance[j] = sum(
                float(np.sum(a[place] * b[place], dtype=np.float64)) for a, b in zip(answer, seen, strict=True)
            )
            response[j] = signs[j] * sum(
                share * float(np.sum(b[place] * psf, dtype=np.float64)) for share, b in zip(line, seen, strict=True)
            )
    return np.maximum(variance, 0.0), response


def _fieldRms(colour, variance, response, fallback):
    """kappa: rms of the colours of the stars, by maximum likelihood; ``fallback`` for fewer than five."""
    use = np.isfinite(colour + variance + response) & (variance > 0)
    if np.count_nonzero(use) < 5:
        return fallback
    kappas = np.concatenate([[0.0], np.geomspace(1e-3, 2.0, 200)])
    total = variance[use] + (response[use] * kappas[:, None]) ** 2
    return float(kappas[np.argmin(np.sum(np.log(total) + colour[use] ** 2 / total, axis=1))])


def _table(stars, fluxes, noise, response, chi2, posterior, zero):
    """The table of `measureColours`."""
    from astropy.table import Table

    n = fluxes.shape[1]
    total = fluxes.sum(axis=1)
    totalErr = np.array([s.totalErr for s in stars])
    colour = fluxes @ _ends(n) / total - zero * np.nan_to_num(response, nan=1.0)
    variance = noise * np.fmax(chi2, 1.0) / total**2
    rms = math.nan
    if posterior is not None:
        rms = _fieldRms(colour, variance, response, posterior.deviation(_ends(n)) / n)
    error = np.sqrt(variance + ((1 - response) * rms) ** 2 + (colour * totalErr / total) ** 2)
    x, y = np.array([s.x for s in stars], float), np.array([s.y for s in stars], float)
    columns = {
        "x": (x, "column, from 0", "pixel"), "y": (y, "row, from 0", "pixel"),
        "flux": (total, "PSF flux in the whole band", None),
        "fluxErr": (totalErr, "its error in the coadd, of the background", None),
        "shares": (fluxes / total[:, None], "of the flux in the subfilters, bluest first", None),
        "colour": (colour, "share of the reddest subfilter less that of the bluest", None),
        "colourErr": (error, "standard error: noise of the visits, and what the prior takes of colours", None),
        "response": (response, "of the colour to that of the star; 1: nothing is taken", None),
        "chi2": (chi2, "of the visits on the star, per pixel", None),
        "separation": (_separations(x, y), "from the next star", "pixel"),
    }  # fmt: skip
    table = Table()
    for name, (values, words, unit) in columns.items():
        table[name] = values
        table[name].description, table[name].unit = words, unit
    table.meta["colourRms"] = rms
    return table


def _separations(x, y):
    """Distance of each point from the next; infinite for one alone."""
    points = np.column_stack([x, y])
    return cKDTree(points).query(points, k=2)[0][:, 1]
