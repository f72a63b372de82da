"""Dipoles: two lobes of opposite sign, fitted on the difference and the images it came from."""

import time
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from .. import _core, errors
from .algorithms import BAD_PLANES, _packedFootprints, _pixels, _psfOf, _unitOf
from .psf_stamps import PsfKernels
from .schema import emptyTable

PREFIX = "ip_diffim_DipoleFit_"
#: Zeros around a PSF before it becomes a spline: they hold the spline's own tails.
_PADDING = 6
#: Sources fitted between looks at the clock.
_CHUNK = 256
#: A lobe nearer to the border than this many widths of the PSF is too near.
_EDGE_WIDTHS = 2.0


@dataclass(frozen=True)
class DipoleOptions:
    """The fields of `DipoleFitConfig` with their defaults, for use without lsst-pex-config."""

    fitAllDiaSources: bool = False
    maxSeparation: float = 5.0
    relWeight: float = 0.5
    tolerance: float = 1e-7
    fitBackground: int = 1
    fitSeparateNegParams: bool = True
    minSn: float = 50**0.5
    maxFluxRatio: float = 0.65
    minDeltaChi2: float = 25.0
    maxFootprintArea: int = 1200
    badMaskPlanes: tuple = (*BAD_PLANES, "EDGE")
    maxDipoleSeconds: float = 60.0
    compat: str = "stillsky"

    @classmethod
    def reference(cls, **values):
        """Rubin's defaults: one flux for both lobes, and its way to fit and classify."""
        return cls(**{"compat": "reference", "fitSeparateNegParams": False} | values)


def fitDipoles(
    difference,
    footprints,
    science=None,
    template=None,
    *,
    centroids=None,
    config=None,
    psf=None,
    isNegative=False,
    model=None,
    templateNoise=1.0,
    modelError=0.0,
):
    """Fit and classify dipoles.

    Positive lobe f+ P(r - r+) in the science image, negative lobe f- P(r - r-) in the matched template, their difference
    in the difference image, each with the PSF of its own image, fitted to all three at once. Where the lobes are closer
    than the PSF's width the difference alone gives only the product of flux and separation; the direct images tell them
    apart (Reiss 2016, DMTN-007).

    Parameters
    ----------
    difference : Exposure
        Gives the pixels and the PSF of the difference.
    footprints : `FootprintSet`
        Sources. A dipole has peaks of both signs.
    science, template : Exposure, optional
        Images that the difference was made from, the template matched to the science image, on the same pixels. One that
        is missing is made of the other and the difference; without both only the difference is fitted. Their PSF
        defaults to each other's, then to the difference's.
    centroids : `astropy.table.Table`, optional
        ``base_SdssCentroid_*``, row by row: position, error and flag of the sources that are no dipoles. Default: peaks.
    config : `DipoleFitConfig` or `DipoleOptions`, optional
    psf : Psf, optional
        Of the difference, instead of the exposure's.
    isNegative : bool or array_like, optional
        Not used by the fit; sets the lobe that a lone peak starts with under ``fitAllDiaSources``.
    model : {"default", "reference"}, optional
        Instead of ``config.compat``. "reference" is Rubin's fit: the difference's PSF in all three images, every pixel of
        the box alike whatever its variance and mask, errors scaled by the reduced chi-square, the direct images' medians
        subtracted; every fit moves the centroid to the middle of the lobes, a share of the flux is the only test beside
        the signal-to-noise ratio, a ``maxFootprintArea`` of 0 rejects all, and failed fits are not attempted.
    templateNoise : float
        By how much a PSF flux of the template scatters more than its variance plane says of independent pixels: where
        the template was convolved its noise is correlated (`stillsky.diffim.noise_covariance.convolvedNoiseFactor`).
    modelError : float
        Fraction by which the flux of a fitted PSF is wrong because PSFs and kernel were measured on stars. Added to the
        errors, as this fraction of each flux, and as the shift sqrt(2) sigma times it, which is the centroid's error that
        goes with that of the flux.

    Returns
    -------
    table : `astropy.table.Table`
        Columns ``ip_diffim_DipoleFit_*``; see `further_columns.DIPOLE`. ``meta["dipoleFitsSkipped"]`` counts sources
        that the time limit left out, ``meta["dipoleFitsTried"]`` those fitted.

    Notes
    -----
    Weights are inverse variances, errors those of the noise, with that of the difference taken as that of the science
    image minus that of the template; chi-square does not rescale them.
    """
    config = DipoleOptions() if config is None else config
    reference = config.compat == "reference" if model is None else model == "reference"
    n = len(footprints)
    table = emptyTable("ip_diffim_DipoleFit", n, _unitOf(difference))
    table.meta.update(dipoleFitsTried=0, dipoleFitsSkipped=0)
    if n == 0:
        return table
    starts, both = _starts(footprints, np.broadcast_to(isNegative, n), _reach(_psfOf(difference, psf), config))
    _copyCentroids(table, centroids, footprints)
    chosen = both | config.fitAllDiaSources
    tooLarge = chosen & (footprints.areas > config.maxFootprintArea) & (reference or config.maxFootprintArea > 0)
    table[PREFIX + "flag"][tooLarge] = True
    rows = np.flatnonzero(chosen & ~tooLarge)
    if len(rows) == 0:
        return table
    fit = _Fit(difference, science, template, psf, footprints, config, reference, (templateNoise, modelError))
    begin = time.monotonic()
    for first in range(0, len(rows), _CHUNK):
        part = rows[first : first + _CHUNK]
        if first and 0 < config.maxDipoleSeconds < time.monotonic() - begin:
            table[PREFIX + "flag"][rows[first:]] = True
            table.meta["dipoleFitsSkipped"] = len(rows) - first
            break
        fit.run(table, part, starts[part])
        table.meta["dipoleFitsTried"] += len(part)
    return table


def _reach(psf, config):
    """Farthest that the peaks of one dipole are apart, pixels: those of a small shift are at 2 sqrt(2) sigma (14.4)."""
    try:
        return (config.maxSeparation + 8**0.5) * psf.determinantRadius()
    except errors.DomainError:
        return np.inf


def _starts(footprints, isNegative, reach):
    """((n, 4) positions x+, y+, x-, y-, whether there are peaks of both signs)."""
    starts, has = lobePeaks(footprints, reach)
    for i in np.flatnonzero(~has.all(axis=1)):
        # A lone peak is one lobe; the footprint's middle stands for the other.
        middle = footprints[int(i)].centroid
        peaks = footprints[int(i)].peaks
        lobe = (peaks[0]["f_x"], peaks[0]["f_y"]) if len(peaks) else middle
        starts[i] = (*middle, *lobe) if isNegative[i] else (*lobe, *middle)
    return starts, has.all(axis=1)


def lobePeaks(footprints, reach=np.inf):
    """Peaks of the two lobes of each footprint.

    Returns
    -------
    positions : (n, 4) float array
        x+, y+, x-, y-: the strongest peak, and of the other sign the strongest within `reach` of it, or the nearest; NaN
        where there is none.
    has : (n, 2) bool array
        Whether there is a peak of that sign.
    """
    n = len(footprints)
    positions, has = np.full((n, 4), np.nan), np.zeros((n, 2), bool)
    peaks, nPeaks, first = footprints.peaks, footprints.nPeaks, footprints.firstPeaks
    for i in np.flatnonzero(nPeaks):
        own = peaks[first[i] : first[i] + nPeaks[i]]
        best = own[np.argmax(np.abs(own["peakValue"]))]
        others = own[own["peakValue"] * np.sign(best["peakValue"]) < 0]
        pair = [best, _partner(best, others, reach)] if len(others) else [best]
        for peak in pair:
            k = int(peak["peakValue"] < 0)
            has[i, k], positions[i, 2 * k : 2 * k + 2] = True, (peak["f_x"], peak["f_y"])
    return positions, has


def _partner(best, others, reach):
    """The strongest of the peaks within reach, or the nearest: footprints that touch may hold more than one dipole."""
    distance = np.hypot(others["f_x"] - best["f_x"], others["f_y"] - best["f_y"])
    near = distance <= reach
    return others[np.argmax(np.where(near, np.abs(others["peakValue"]), -1.0) if near.any() else -distance)]


def _copyCentroids(table, centroids, footprints):
    if centroids is not None:
        for name in ("x", "y", "xErr", "yErr", "flag"):
            table[PREFIX + name][:] = centroids["base_SdssCentroid_" + name]
        return
    has = footprints.nPeaks > 0
    for name in "xy":
        table[PREFIX + name][has] = footprints.peaks[footprints.firstPeaks[has]]["f_" + name]


class _Fit:
    """Pixels and PSFs of one call, and the transfer of results."""

    def __init__(self, difference, science, template, psf, footprints, config, reference, errorModel):
        self.config, self.footprints, self.reference = config, footprints, reference
        self.templateNoise, self.modelError = errorModel
        self.badPlanes = () if reference else tuple(config.badMaskPlanes)
        self.pixels = _pixels(difference, self.badPlanes, "default")
        self.planes = [
            self.pixels.planes,
            *(self._direct(e, name) for e, name in ((science, "science"), (template, "template"))),
        ]
        own = _psfOf(difference, psf)
        direct = [None if reference else getattr(e, "psf", None) for e in (science, template)]
        self.psfs = [own, direct[0] or direct[1] or own, direct[1] or direct[0] or own]
        # The stack of a PSF that serves two images is made once, and the compiled code evaluates it once.
        self.psfs = [next(p for p in self.psfs[: k + 1] if p == psf) for k, psf in enumerate(self.psfs)]
        spans, offsets = _packedFootprints(footprints, len(footprints), self.pixels)
        self.spans, self.offsets = spans, offsets

    def _direct(self, exposure, name):
        if exposure is None:
            return None
        found = _pixels(exposure, self.badPlanes, "default")
        if found.image.shape != self.pixels.image.shape or (found.x0, found.y0) != (self.pixels.x0, self.pixels.y0):
            raise errors.MismatchError(f"fitDipoles: the {name} image does not cover the pixels of the difference")
        image = found.image.astype(self.pixels.image.dtype, copy=False)
        return image, found.variance, found.mask, found.bits

    def run(self, table, rows, starts):
        middle = 0.5 * (starts[:, :2] + starts[:, 2:])
        stacks, width = self._stacks(middle)
        local = starts - np.tile([self.pixels.x0, self.pixels.y0], 2)
        known = np.nan_to_num(width)[:, None]
        limits = np.column_stack([local, self.config.maxSeparation * known, _EDGE_WIDTHS * known])
        spans = np.concatenate([self.spans[self.offsets[i] : self.offsets[i + 1]] for i in rows])
        offsets = np.concatenate([[0], np.cumsum(self.offsets[rows + 1] - self.offsets[rows])])
        c = self.config
        found = _core.dipoleFit(
            *self.planes, *stacks, limits, (spans, offsets), float(c.relWeight), float(c.tolerance), 250,
            int(c.fitBackground), 1, bool(c.fitSeparateNegParams), self.reference, float(self.templateNoise) ** 2,
        )  # fmt: skip
        if self.modelError and not self.reference:
            _addModelError(found, self.modelError, np.nan_to_num(width))
        _store(table, rows, found, self.pixels, c, limits[:, 4], self.reference)

    def _stacks(self, positions):
        """Spline coefficients of the three PSFs at positions, and the width of the difference's."""
        stacks, width = {}, None
        for psf in self.psfs:
            if id(psf) in stacks:
                continue
            shapes = PsfKernels(psf, *positions.T)
            width = shapes.sigma if width is None else width
            stacks[id(psf)] = splineStack(shapes)
        return [stacks[id(psf)] for psf in self.psfs], width


def splineStack(shapes):
    """Spline coefficients of `PsfKernels`: one for all positions, or one each, NaN where the PSF is not defined."""
    if len(shapes.kernels) == 0:
        return np.full((1, 1, 1), np.nan)
    coefficients = splineCoefficients(shapes.kernels)
    if len(coefficients) > 1 or (shapes.index < 0).any():
        coefficients = np.where((shapes.index < 0)[:, None, None], np.nan, coefficients[shapes.index])
    return np.ascontiguousarray(coefficients)


def splineCoefficients(kernels):
    """Coefficients of B-splines of order 5 through PSF images (n, height, width) of odd sizes, padded with zeros, sum 1."""
    padded = np.pad(kernels, ((0, 0), (_PADDING, _PADDING), (_PADDING, _PADDING)))
    out = np.array([ndimage.spline_filter(k, order=5, output=np.float64, mode="mirror") for k in padded])
    return out / out.sum(axis=(1, 2), keepdims=True)


def _addModelError(found, fraction, sigma):
    """Errors of the PSFs, the same for both lobes: the models of both images come from the same stars."""
    for lobe in ("pos", "neg"):
        found[lobe + "FluxErr"] = np.hypot(found[lobe + "FluxErr"], fraction * found[lobe + "Flux"])
        for name in ("XErr", "YErr"):
            found[lobe + name] = np.hypot(found[lobe + name], np.sqrt(2) * sigma * fraction)
    found["fluxCov"] += fraction**2 * found["posFlux"] * found["negFlux"]
    for name in ("xCov", "yCov"):
        found[name] += 2 * (sigma * fraction) ** 2


def _store(table, rows, found, pixels, config, maxSeparation, reference):
    failed = (found["flagBits"] & 1 != 0) | (found["flagBits"] & 16 != 0) | ~(found["posFlux"] > 1.0)
    edge = found["flagBits"] & 2 != 0
    table[PREFIX + "classificationAttempted"][rows] = ~failed if reference else True
    table[PREFIX + "flag"][rows] = failed | edge
    table[PREFIX + "flag_edge"][rows] = edge
    table[PREFIX + "nData"][rows] = found["nData"]
    fitted = found["flagBits"] & 1 == 0
    rows, found, failed, maxSeparation = (v[fitted] for v in (rows, found, failed, maxSeparation))
    values = _lobes(found, pixels) | _figures(found, reference)
    for name, column in values.items():
        table[PREFIX + name][rows] = column
    good = (values["signalToNoise"] > config.minSn) & (found["posFlux"] >= 1) & (found["negFlux"] >= 1) & ~failed
    with np.errstate(all="ignore"):
        total = 2 * values["instFlux"]
        share = np.maximum(found["posFlux"], found["negFlux"]) / total
    good &= share < config.maxFluxRatio
    if not reference:
        # Farther apart they are two sources.
        good &= (values["deltaChi2"] > config.minDeltaChi2) & (values["separation"] <= maxSeparation)
    table[PREFIX + "classification"][rows] = good
    # What is no dipole stays at its centroid: a transient must not be measured between itself and a chance peak.
    moved = ~failed if reference else good
    for name in "xy":
        middle = 0.5 * (values[f"pos_{name}"] + values[f"neg_{name}"])
        variance = found[f"pos{name.upper()}Err"] ** 2 + found[f"neg{name.upper()}Err"] ** 2 + 2 * found[f"{name}Cov"]
        table[PREFIX + name][rows[moved]] = middle[moved]
        table[PREFIX + name + "Err"][rows[moved]] = (0.5 * np.sqrt(np.maximum(variance, 0)))[moved]


def _figures(found, reference):
    """Overall flux, quality of the fit, signal-to-noise ratio."""
    positive, negative = found["posFlux"], found["negFlux"]
    with np.errstate(all="ignore"):
        variance = found["posFluxErr"] ** 2 + found["negFluxErr"] ** 2 + 2 * found["fluxCov"]
        signal = np.hypot(positive / found["posNoise"], negative / found["negNoise"])
        return {
            "instFlux": positive if reference else 0.5 * (positive + negative),
            "instFluxErr": found["posFluxErr"] if reference else 0.5 * np.sqrt(np.maximum(variance, 0)),
            "chi2dof": found["chi2"] / np.maximum(found["nData"] - found["nParameters"], 1),
            "deltaChi2": np.full(len(found), np.nan) if reference else found["chi2Single"] - found["chi2Difference"],
            "signalToNoise": np.where(signal > 0, signal, np.nan),
        }


def _lobes(found, pixels):
    """Positions, fluxes, separation and orientation by column."""
    out = {}
    for lobe in ("pos", "neg"):
        for name, origin in (("x", pixels.x0), ("y", pixels.y0)):
            out[f"{lobe}_{name}"] = found[f"{lobe}{name.upper()}"] + origin
            out[f"{lobe}_{name}Err"] = found[f"{lobe}{name.upper()}Err"]
        out[f"{lobe}_instFlux"], out[f"{lobe}_instFluxErr"] = found[f"{lobe}Flux"], found[f"{lobe}FluxErr"]
    dx, dy = (out[f"pos_{c}"] - out[f"neg_{c}"] for c in "xy")
    return out | {"separation": np.hypot(dx, dy), "orientation": np.arctan2(dy, dx)}
