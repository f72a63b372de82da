"""Which method serves a pair best, and why: Alard-Lupton with decorrelation, or the proper difference (ZOGY).

Both reach the same depth when they know the PSFs, and both leave the same at stars when they use the same matching kernel
(DMTN-021; Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27). What differs is what they have to go by:

* Alard & Lupton take the PSF of the image that is not convolved as that of the difference, unless it is tied to the other
  (`stillsky.diffim.tied_psf`), ZOGY the PSF of the convolved image times the kernel: the PSF that comes from more
  starlight measures fluxes better.
* The kernel follows the field pixel by pixel in the one, and linearly within tiles in the other.
* Without decorrelation the noise of the convolved image remains correlated: it costs depth.
* The convolution loses a border of half a kernel; the filters of ZOGY are shorter.

All of it follows from PSFs, kernel and noise in closed form, without a second subtraction. With P the PSF, N(k) the noise
power of the matched images, the flux errors are those of `stillsky.diffim.direction`.
"""

import numpy as np
import scipy.fft

from .tied_psf import starlight, tiedWeight
from .transfer import kernelPower, noiseSpectrum
from .zogy_exposures import tileMargin
from .zogy_nodes import KernelPair, PsfPair
from .zogy_tiles import tileEdges
from .zogy_transfer import parsevalMean

__all__ = ["compareMethods"]

_EQUAL_DEPTH = 0.005  # relative differences of flux errors below this decide nothing
_EQUAL_RESIDUAL = 0.03  # of the residuals of bright stars, in units of the noise
_EQUAL_SCALE = 0.002  # of relative errors of fluxes
_PLACES = ((0.5, 0.5), (0.2, 0.2), (0.8, 0.2), (0.2, 0.8), (0.8, 0.8))  # of the sides of the image, the centre first
_BRIGHT = 100.0  # signal-to-noise ratio of stars whose residuals count
_GAUSS = 0.57735  # two-point Gauss-Legendre positions in a half interval
_NAMES = {"al": "Alard-Lupton with decorrelation", "zogy": "the proper difference (ZOGY)"}


def compareMethods(
    used, science, template, psfs, fit, scienceConvolved, stars, noise, config, templateCorrelation=None
):
    """Forecast depth, residuals at stars and flux errors of both methods for one pair.

    Parameters
    ----------
    used : {"al", "zogy"}
        The method that ran.
    science, template : `stillsky.image.Exposure`
        As they were matched. Exposures without a PSF had theirs estimated.
    psfs : pair of `stillsky.psf.Psf`
    fit : result of `stillsky.psfmatch.algorithm.fitMatchingKernel`
    scienceConvolved : `bool`
    stars : pair of `stillsky.diffim.stars.Objects`
    noise : (`float`, `float`)
        Typical variances of a pixel of both images, each in its own units.
    config : `stillsky.diffim.config.SubtractConfig`
    templateCorrelation : `numpy.ndarray` or callable, optional
        Of the noise of a resampled template; see `stillsky.diffim.decorrelation.decorrelate`.

    Returns
    -------
    comparison : `dict`
        ``best`` ("al" or "zogy"), ``used``, ``why`` (a sentence), ``decidedBy`` ("depth", "stars", "fluxes" or
        "nothing"), and for both methods, under their names, a `dict` of

        fluxError
            Standard deviation of the flux of a point source on blank sky, science units.
        starResidual
            Standard deviation of the pixels of bright stars (S/N above 100) over their noise, each star left out of its
            own kernel; NaN without such stars.
        fluxScaleError
            Relative error of bright fluxes because the PSF of the difference is known so well and no better.
        border
            Pixels at each side of the image that are lost to the filters.

    Notes
    -----
    Nothing is subtracted: five transforms each of PSF stamps and kernel. Below 0.1 s, whatever the size of the images.
    Both depths are those of the better known PSF, so that they do not differ by the errors of the PSF models.
    """
    forecast = _Forecast(psfs, fit, scienceConvolved, noise, templateCorrelation, science.bbox)
    mismatch = forecast.mismatch()
    light = [starlight(*pair) for pair in zip((science, template), stars)]
    sharp, broad = (0, 1) if scienceConvolved else (1, 0)
    models = config.zogy.psfRatio == "models"
    residual, brightness = _starResiduals(fit.candidates)
    known = broad if light[broad] > light[sharp] else None
    found = {
        "al": {
            "fluxError": forecast.fluxError(known, config.doDecorrelation),
            "starResidual": residual,
            "fluxScaleError": mismatch * _tiedShare(light[broad], light[sharp], config),
            "border": forecast.halfKernel,
        },
        "zogy": {
            "fluxError": forecast.fluxError(known, True),
            "starResidual": float(
                np.hypot(residual, forecast.tileError(config, brightness, mismatch if models else 0))
            ),
            "fluxScaleError": mismatch * _share(light[sharp], light[broad]),
            "border": forecast.zogyBorder(),
        },
    }
    best, decidedBy, why = _verdict(found, config, used)
    if best != used:
        why += f"; this difference is that of --method {used}"
    return {"best": best, "used": used, "decidedBy": decidedBy, "why": why, **found}


def _verdict(found, config, used):
    """The better method, what decided, and a sentence. A figure that is not known decides nothing."""
    al, zogy = found["al"], found["zogy"]
    if not np.isfinite(al["fluxError"] + zogy["fluxError"]):
        return (
            used,
            "nothing",
            "which method serves this pair better cannot be told: the noise of its images is unknown",
        )
    depth = al["fluxError"] / zogy["fluxError"] - 1
    decorrelated = config.doDecorrelation
    depths = f"flux error {al['fluxError']:.4g} against {zogy['fluxError']:.4g}"
    if not decorrelated and depth > _EQUAL_DEPTH:
        return "zogy", "depth", f"ZOGY is deeper: {depths} without decorrelation"
    known = np.isfinite(al["starResidual"] + zogy["starResidual"])
    residuals = f"{al['starResidual']:.3f} against {zogy['starResidual']:.3f} of the noise at bright stars"
    if not known:
        residuals = "no bright stars to compare"
    if abs(al["starResidual"] - zogy["starResidual"]) > _EQUAL_RESIDUAL:
        best = "al" if al["starResidual"] < zogy["starResidual"] else "zogy"
        return best, "stars", f"{_NAMES[best]} leaves less of the stars: {residuals}, at equal depth ({depths})"
    if not np.isfinite(al["fluxScaleError"] + zogy["fluxScaleError"]):
        return used, "nothing", f"which method serves this pair better cannot be told: {depths}, {residuals}"
    scales = f"{100 * al['fluxScaleError']:.2g} % against {100 * zogy['fluxScaleError']:.2g} %"
    if abs(al["fluxScaleError"] - zogy["fluxScaleError"]) > _EQUAL_SCALE:
        best = "al" if al["fluxScaleError"] < zogy["fluxScaleError"] else "zogy"
        equal = f"at equal depth ({depths})" + (" and equal residuals of stars" if known else "")
        return best, "fluxes", f"{_NAMES[best]} knows the PSF of its difference better: fluxes to {scales}, {equal}"
    return (
        "al",
        "nothing",
        f"both methods serve this pair equally well ({depths}, {residuals}); {_NAMES['al']} is simpler",
    )


def _tiedShare(own, other, config):
    """The same for what `tiedPsf` makes of both models."""
    first, second, weight = _share(own, other), _share(other, own), tiedWeight(own, other)
    return float(np.hypot((1 - weight) * first, weight * second)) if config.psf.tieToKernel else first


def _share(own, other):
    """Part of the disagreement of two PSF models that is the error of the one; both add in quadrature."""
    if np.isinf(own):
        return 0.0
    if np.isinf(other):
        return 1.0
    return float(np.sqrt(other / (own + other))) if own + other > 0 else float(np.sqrt(0.5))


def _starResiduals(candidates):
    """Median residual of bright stars left out of their own fit, over the noise, and their median S/N."""
    some = [c for c in candidates if c["usedInFit"] and c["rating"] >= _BRIGHT and np.isfinite(c["looRms"])]
    if not some:
        return float("nan"), _BRIGHT
    return float(np.median([c["looRms"] for c in some])), float(np.median([c["rating"] for c in some]))


class _Forecast:
    """Transforms of PSFs, kernel and noise at five places of the image, all in science units."""

    def __init__(self, psfs, fit, scienceConvolved, noise, templateCorrelation, bbox):
        self.fit, self.kernel, self.bbox = fit, fit.kernel, bbox
        self.psfs = psfs
        self.scienceConvolved = scienceConvolved
        self.halfKernel = max(fit.kernel.width, fit.kernel.height) // 2
        sides = [n for psf in psfs for n in psf.computeKernelImage().array.shape]
        self.shape = (scipy.fft.next_fast_len(max(sides) + 2 * self.halfKernel + 24, real=True),) * 2
        self.noise = noise
        self.places = [(bbox.minX + u * (bbox.width - 1), bbox.minY + v * (bbox.height - 1)) for u, v in _PLACES]
        self.spectra = [self._spectrum(templateCorrelation, *place) for place in self.places]
        self.powers = [self._powersAt(place, spectrum) for place, spectrum in zip(self.places, self.spectra)]

    def _spectrum(self, correlation, x, y):
        if correlation is None:
            return 1.0
        return noiseSpectrum(correlation(x, y) if callable(correlation) else correlation, self.shape)

    def _powersAt(self, place, spectrum):
        """|P|^2 of science and template, |P_sharp K / K0|^2, and the noise power."""
        pair = PsfPair(*self.psfs).at(*place, self.shape)
        own = [_power(hat) for hat in (pair.science, pair.template)]
        tied = KernelPair(self.psfs[0 if self.scienceConvolved else 1], self.kernel, self.scienceConvolved)
        optics = tied.at(*place, self.shape)
        modelled = _power(optics.template if self.scienceConvolved else optics.science)
        gain = kernelPower(np.array(self.kernel.imageAt(*place)), self.shape)
        science, template = self.noise[0], self.noise[1] * spectrum
        if self.scienceConvolved:
            noise = (template + science * gain) / gain[0, 0]
        else:
            noise = science + template * gain
        return *own, modelled, np.maximum(noise, 1e-9 * np.max(noise))

    def fluxError(self, which, optimal):
        """Mean error of a point source: the PSF of the science image (0), the template (1), or tied by the kernel."""
        errors = []
        for *powers, noise in self.powers:
            power = powers[2 if which is None else which]
            if optimal:
                errors.append(1 / self._mean(power / noise))
            else:
                errors.append(self._mean(power * noise) / self._mean(power) ** 2)
        return float(np.sqrt(np.mean(errors)))

    def mismatch(self):
        """Root mean square, over the places, of the relative flux by which the two PSFs of the difference disagree."""
        found = []
        for *powers, noise in self.powers:
            own, modelled = powers[1 if self.scienceConvolved else 0], powers[2]
            found.append(self._mean(np.sqrt(own * modelled) / noise) / self._mean(own / noise) - 1)
        return float(np.sqrt(np.mean(np.square(found))))

    def tileError(self, config, brightness, modelMismatch):
        """Residual of a star because the filters vary linearly within a tile, over the noise of a pixel.

        With two PSF models in place of the kernel, what they disagree by counts as well.
        """
        models = config.zogy.psfRatio == "models"
        sharp = self.psfs[0 if self.scienceConvolved else 1]
        pair = PsfPair(*self.psfs) if models else KernelPair(sharp, self.kernel, self.scienceConvolved)
        margin = tileMargin(pair, self.bbox.center)
        tile = int(round((config.zogy.gridInnerSize + 2) * margin))
        half = [0.5 * np.diff(tileEdges(n, margin, tile))[0] for n in (self.bbox.width, self.bbox.height)]
        x, y = self.bbox.center
        kernel = self.kernel.imageAt
        centre = np.array(kernel(x, y))
        dx = (np.array(kernel(x + 2 * half[0], y)) - kernel(x - 2 * half[0], y)) / 4
        dy = (np.array(kernel(x, y + 2 * half[1])) - kernel(x, y - 2 * half[1])) / 4
        squares = []
        for u in (-_GAUSS, _GAUSS):
            for v in (-_GAUSS, _GAUSS):
                error = np.array(kernel(x + u * half[0], y + v * half[1])) - (centre + u * dx + v * dy)
                squares.append(self._residual(error))
        return brightness * float(np.hypot(np.sqrt(np.mean(squares)), modelMismatch * self._ownPeak()))

    def _residual(self, error):
        """Mean square of a unit star's residual over the area of a PSF, for an error of the kernel; per flux error."""
        total = self.fit.kernelSum
        own, other, modelled, _ = self.powers[0]
        sharp = own if self.scienceConvolved else other
        power = self._mean(sharp * kernelPower(error / total, self.shape))
        return power * self._flux2() / self._area(modelled)

    def _ownPeak(self):
        """Root mean square of a unit star over the area of its PSF, over the noise; per flux error."""
        modelled = self.powers[0][2]
        return float(np.sqrt(self._mean(modelled) * self._flux2() / self._area(modelled)))

    def _flux2(self):
        """Squared flux error over the noise variance of a white pixel: what turns fluxes into signal-to-noise ratios."""
        *powers, noise = self.powers[0]
        return 1 / self._mean(powers[2] / noise) / float(noise[0, 0])

    def _area(self, power):
        """Pixels that a star's light covers: 1 / sum P^2."""
        return 1 / self._mean(power)

    def zogyBorder(self):
        """Radius that holds 99 % of the energy of the filter of the convolved image."""
        *_, noise = self.powers[0]
        kernel = np.array(self.kernel.imageAt(*self.bbox.center))
        power = kernelPower(kernel, self.shape) / noise
        energy = scipy.fft.irfft2(np.sqrt(power), s=self.shape) ** 2
        index = np.minimum(np.arange(self.shape[0]), self.shape[0] - np.arange(self.shape[0]))
        radius = np.hypot(index[:, None], index[None, :]).ravel()
        order = np.argsort(radius, kind="stable")
        total = np.cumsum(energy.ravel()[order])
        return int(np.ceil(radius[order][np.searchsorted(total, 0.99 * total[-1])]))

    def _mean(self, power):
        return parsevalMean(np.broadcast_to(power, (self.shape[0], self.shape[1] // 2 + 1)), self.shape)


def _power(hat):
    return hat.real**2 + hat.imag**2
