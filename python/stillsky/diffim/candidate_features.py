"""Features that tell real changes from artefacts, and the flags drawn from them.

The feature vector has fixed columns (`stillsky.diffim.candidate_columns`) for a classifier to use; the flags are simple
cuts on it, with the uncertainty of the kernel in the noise model: a kernel that is known to a fraction e leaves a
residual of e times the flux of the template, so the variance of the flux of a source is v + (e F)^2.
"""

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from astropy.table import Table
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from ..measure.psf_stamps import starImages
from .candidate_columns import CANDIDATE_COLUMNS
from .image_sky import pixelsLessSky

__all__ = [
    "CandidateCuts",
    "candidateFeatures",
    "chi2Limit",
    "flagCandidates",
    "kernelUncertainty",
    "leverage",
    "modelError",
]

_RADIUS = 5  # pixels; of the mask fractions
_SIGMA_TO_FWHM = 2.354820045
_CHUNK = 256  # sources handled at once: bounds the memory of the stamps


@dataclass
class CandidateCuts:
    """Limits of `flagCandidates`; the same fields as `CandidateCutConfig`."""

    threshold: float = 5.0
    maxSharpness: float = 1.6
    sharpnessSigmas: float = 5.0
    minWidthRatio: float = 0.6
    maxWidthRatio: float = 1.7
    widthSigmas: float = 4.0
    maxChi2: float = 1.5
    chi2FluxFraction: float = 0.1
    maxMaskedFraction: float = 0.1
    haloRadii: float = 2.0
    haloSignificance: float = 7.0
    dipoleRatio: float = 0.5
    maxDipoleSeparation: float = 6.0
    minTrailLength: float = 3.0


def candidateFeatures(
    table,
    difference,
    matchedTemplate,
    psf,
    *,
    footprints=None,
    stars=None,
    epsilon=0.0,
    blends=None,
    templateSky=None,
):
    """Features of measured sources.

    Parameters
    ----------
    table : `astropy.table.Table`
        With centroids, PSF fluxes, shapes, ``peakX``, ``peakY``, ``is_negative``.
    difference, matchedTemplate : Exposure or MaskedImage
        On one grid; the template may be None (features of it are NaN).
    psf : Psf
        Of the difference.
    footprints : `FootprintSet`, optional
        Of the rows; without them the separation of the peaks is 0.
    stars : array, shape (n, 2), optional
        Positions x, y of the stars of the science image, PARENT.
    epsilon : float or array
        Fractional uncertainty of the kernel, everywhere or at each row.
    blends : `stillsky.diffim.blends.Blends`, optional
        Sources of it are looked at without the light of their neighbours.
    templateSky : `numpy.ndarray`, optional
        What `skyOf` says of the template; its fluxes are without it.

    Returns
    -------
    features : `astropy.table.Table`
        The columns of `CANDIDATE_COLUMNS`, flags all False. Sources whose stamp lies off the image have NaN.

    Notes
    -----
    Cost: about 0.1 ms for each source.
    """
    masked = getattr(difference, "maskedImage", difference)
    out = Table()
    for name, dtype, unit, doc in CANDIDATE_COLUMNS:
        blank = np.zeros(len(table), bool) if dtype is np.bool_ else np.full(len(table), np.nan, dtype)
        fluxUnit = table["base_PsfFlux_instFlux"].unit if unit == "flux" else unit
        out[name] = Table.Column(blank, unit=fluxUnit, description=doc)
    template = None if matchedTemplate is None else getattr(matchedTemplate, "maskedImage", matchedTemplate)
    middle = _peakSeparation(out, table, footprints)
    passes = [(np.arange(len(table)), nullcontext())] if blends is None else blends.passes(masked, psf)
    for some, alone in passes:
        with alone:
            for start in range(0, len(some), _CHUNK):
                rows = some[start : start + _CHUNK]
                _Stamps(table[rows], masked, template, psf, middle[rows], templateSky).fill(out, rows)
    _moments(out, table)
    _distances(out, table, masked, stars)
    flux, error = (np.asarray(table[f"base_PsfFlux_{c}"], float) for c in ("instFlux", "instFluxErr"))
    below = np.nan_to_num(np.asarray(out["candidate_templateFlux"], float))
    with np.errstate(invalid="ignore", divide="ignore"):
        out["candidate_residualRatio"][:] = np.minimum(np.abs(flux) / np.abs(below), 1e30)
        out["candidate_significance"][:] = np.minimum(np.abs(flux) / np.hypot(error, epsilon * below), 1e30)
    return out


class _Stamps:
    """Pixels around some sources as arrays (source, row, column), and sums over them."""

    def __init__(self, table, masked, template, psf, middle, templateSky=None):
        centroid = [np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy"]
        peak = [np.asarray(table[f"peak{c}"], float) for c in "XY"]
        x, y = (np.where(np.isfinite(c), c, p) for c, p in zip(centroid, peak, strict=True))
        self.n = len(table)
        x0, y0 = (int(v) for v in masked.xy0)
        self.half = half = max(_RADIUS, 3)
        step = np.arange(-half, half + 1)
        self.ix, self.iy = (np.floor(np.nan_to_num(v) + 0.5).astype(int) for v in (x, y))
        rows, columns = (self.iy - y0)[:, None, None] + step[:, None], (self.ix - x0)[:, None, None] + step
        height, width = masked.image.array.shape
        self.inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        at = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
        self.image = masked.image.array[at].astype(float)
        self.variance = masked.variance.array[at].astype(float)
        self.bits = np.where(self.inside, masked.mask.array[at], 0)
        self.mask = masked.mask
        self.template = None
        if template is not None:
            self.template = pixelsLessSky(template.image.array, templateSky, *at).astype(float)
        self.known = self.inside & np.isfinite(self.image) & np.isfinite(self.variance) & (self.variance > 0)
        lost = self.mask.bitmask(["BAD", "NO_DATA", "SAT"], ignoreMissing=True)
        self.good = self.known & ((self.bits & lost) == 0)
        dy, dx = (step[:, None] - (y - self.iy)[:, None, None]), (step - (x - self.ix)[:, None, None])
        self.radius = np.hypot(dy, dx)
        self.model = self._psfStamps(psf, x, y, slice(None))
        between = np.isfinite(middle).all(1)
        self.middle = self.model.copy()  # the PSF between the lobes, where there are two
        if between.any():
            self.middle[between] = self._psfStamps(psf, *middle[between].T, between)
        self.sign = np.where(np.asarray(table["base_PsfFlux_instFlux"]) < 0, -1.0, 1.0)
        self.flux = np.asarray(table["base_PsfFlux_instFlux"], float)
        self.fwhm = _SIGMA_TO_FWHM * np.sqrt(0.5 * (self._psfMoment(dx) + self._psfMoment(dy)))

    def _psfStamps(self, psf, x, y, which):
        """PSF images at the sub-pixel positions, on the pixels of the stamps of the sources `which`."""
        stamps, sx, sy, _ = starImages(psf, x, y)
        step = np.arange(-self.half, self.half + 1)
        rows = (self.iy[which] - sy)[:, None, None] + step[:, None]
        columns = (self.ix[which] - sx)[:, None, None] + step
        inside = (rows >= 0) & (rows < stamps.shape[1]) & (columns >= 0) & (columns < stamps.shape[2])
        rows, columns = np.clip(rows, 0, stamps.shape[1] - 1), np.clip(columns, 0, stamps.shape[2] - 1)
        return np.where(inside, stamps[np.arange(len(stamps))[:, None, None], rows, columns], 0.0)

    def _psfMoment(self, offset):
        """Second moment with a Gaussian-like weight: the PSF itself, so twice the sum gives that of a Gaussian."""
        weight = np.maximum(self.model, 0) ** 2
        with np.errstate(invalid="ignore", divide="ignore"):
            return 2 * np.sum(weight * offset**2, (1, 2)) / np.sum(weight, (1, 2))

    def fill(self, out, rows):
        disc = (self.radius <= _RADIUS) & self.inside
        near = disc & self.good
        self._maskFractions(out, rows, self.radius <= _RADIUS)
        with np.errstate(invalid="ignore", divide="ignore"):
            weight = np.where(near, 1 / self.variance, 0.0)
            image = np.where(near, self.image, 0.0)
            amplitude = self._fitPsf(out, rows, image, weight)
            self._shapeFeatures(out, rows, image, near, amplitude)
            if self.template is not None:
                pixels = np.where(near & np.isfinite(self.template), self.template, 0.0)
                model = np.where(near, self.model, 0.0)
                out["candidate_templateFlux"][rows] = np.sum(pixels * model, (1, 2)) / np.sum(model**2, (1, 2))

    def _maskFractions(self, out, rows, disc):
        total = disc.sum((1, 2))
        lost = ~self.known
        for name, planes, extra in (
            ("bad", ("BAD", "NO_DATA", "EDGE"), lost),
            ("saturated", ("SAT", "SAT_TEMPLATE"), False),
            ("cosmicRay", ("CR",), False),
            ("interpolated", ("INTRP",), False),
        ):
            hit = (self.bits & self.mask.bitmask(list(planes), ignoreMissing=True)) != 0
            out[f"candidate_{name}Fraction"][rows] = ((hit | extra) & disc).sum((1, 2)) / total

    def _fitPsf(self, out, rows, image, weight):
        """Weighted fit of the PSF, and of the PSF with its two gradients: a small shift of a source, a dipole.

        A star of flux F misplaced by d leaves F d . grad P (Lupton et al. 2001): three linear parameters tell it.
        """
        model = self.model
        gy, gx = np.gradient(self.middle, axis=(1, 2))
        design = np.stack([self.middle, gx, gy], axis=-1)
        normal = np.einsum("nyxi,nyxj,nyx->nij", design, design, weight)
        right = np.einsum("nyxi,nyx,nyx->ni", design, image, weight)
        alone = np.einsum("nyx,nyx,nyx->n", model, image, weight), np.einsum("nyx,nyx,nyx->n", model, model, weight)
        single = alone[0] ** 2 / alone[1]
        scale = np.sqrt(np.einsum("nii->ni", normal))
        scaled = normal / (scale[:, :, None] * scale[:, None, :])
        usable = np.isfinite(scaled).all((1, 2))
        scaled[~usable] = np.eye(3)
        usable &= np.linalg.cond(scaled) < 1e8
        scaled[~usable] = np.eye(3)
        vector = np.where(usable[:, None], right / scale, 0.0)
        solved = np.linalg.solve(scaled, vector[..., None])[..., 0]
        full = np.einsum("ni,ni->n", solved, vector)
        out["candidate_dipoleDeltaChi2"][rows] = np.where(usable, full - single, np.nan)
        core = self.radius <= np.maximum(self.fwhm, 2.0)[:, None, None]
        amplitude = alone[0] / alone[1]
        residual = (image - amplitude[:, None, None] * model) ** 2 * weight * core
        count = ((weight > 0) & core).sum((1, 2))
        out["candidate_psfChi2"][rows] = residual.sum((1, 2)) / np.maximum(count - 1, 1)
        return amplitude

    def _shapeFeatures(self, out, rows, image, near, amplitude):
        half = self.half
        centre, core = (slice(None), half, half), np.s_[:, half - 1 : half + 2, half - 1 : half + 2]

        def contrast(stamp):
            return stamp[centre] - (stamp[core].sum((1, 2)) - stamp[centre]) / 8

        measured, expected = contrast(self.sign[:, None, None] * image), contrast(self.model) * np.abs(amplitude)
        out["candidate_sharpness"][rows] = measured / expected
        ring = self.variance[core].sum((1, 2)) - self.variance[centre]
        out["candidate_sharpnessSigma"][rows] = (measured - expected) / np.sqrt(self.variance[centre] + ring / 64)
        turned = near & near[:, ::-1, ::-1]
        # of what the PSF leaves: the centroid need not be the centre of a pixel
        rest = image - amplitude[:, None, None] * self.model
        odd = np.where(turned, rest - rest[:, ::-1, ::-1], 0.0)
        noise = np.where(turned, self.variance + self.variance[:, ::-1, ::-1], 0.0)
        out["candidate_asymmetry"][rows] = np.sqrt(np.sum(odd**2, (1, 2)) / np.sum(noise, (1, 2)))
        other = near & (-self.sign[:, None, None] * image > np.sqrt(self.variance))
        out["candidate_negativeFraction"][rows] = other.sum((1, 2)) / np.maximum(near.sum((1, 2)), 1)


def _moments(out, table):
    """Width over that of the PSF."""
    size, psfSize = (
        np.asarray(table[f"base_SdssShape_{p}xx"], float) + np.asarray(table[f"base_SdssShape_{p}yy"], float)
        for p in ("", "psf_")
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        out["candidate_widthRatio"][:] = np.sqrt(size / psfSize).astype(np.float32)


def _peakSeparation(out, table, footprints):
    """Distance of the strongest peaks of both signs; returns the point between them, NaN where there is one sign."""
    separation, middle = np.zeros(len(table), np.float32), np.full((len(table), 2), np.nan)
    if footprints is not None and len(footprints.peaks) and "merge_peak_negative" in footprints.peaks.dtype.names:
        for i in np.flatnonzero(footprints.nPeaks > 1):
            peaks = footprints[int(i)].peaks
            negative = peaks["merge_peak_negative"].astype(bool)
            if negative.any() and not negative.all():
                a, b = (part[np.argmax(part["significance"])] for part in (peaks[~negative], peaks[negative]))
                separation[i] = np.hypot(a["f_x"] - b["f_x"], a["f_y"] - b["f_y"])
                middle[i] = 0.5 * (a["f_x"] + b["f_x"]), 0.5 * (a["f_y"] + b["f_y"])
    out["candidate_dipoleSeparation"][:] = separation
    return middle


def _distances(out, table, masked, stars):
    x, y = (np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy")
    x, y = np.where(np.isfinite(x), x, table["peakX"]), np.where(np.isfinite(y), y, table["peakY"])
    if stars is not None and len(stars):
        out["candidate_starDistance"][:] = cKDTree(stars).query(np.stack([x, y], 1))[0].astype(np.float32)
    centres = _saturatedRegions(masked)
    if centres is not None:
        cx, cy, radius = centres
        distance = np.hypot(x[:, None] - cx, y[:, None] - cy) / radius
        out["candidate_saturatedDistance"][:] = distance.min(1).astype(np.float32)


def _saturatedRegions(masked):
    """Centres and radii of the largest discs inside the connected saturated regions, or None: the cores of the stars,
    whatever bleeds from them."""
    bits = masked.mask.bitmask(["SAT", "SAT_TEMPLATE"], ignoreMissing=True)
    if not bits:
        return None
    from ..detection import SpanSet

    discs = np.array([_largestDisc(part) for part in SpanSet.fromMask(masked.mask, bits).split()], float)
    return discs.T if len(discs) else None


def _largestDisc(spans):
    """(x, y, radius) of the largest disc inside; the radius reaches the border of the outermost pixels."""
    box = spans.bbox
    inside = np.pad(spans.toBool(box), 1)
    depth = distance_transform_edt(inside)
    deepest = np.argwhere(depth > depth.max() - 0.5)  # the middle of a column's broadest part, not its first row
    row, column = deepest[np.argmin(np.sum((deepest - deepest.mean(0)) ** 2, axis=1))]
    return box.minX + column - 1, box.minY + row - 1, depth.max() - 0.5


def kernelUncertainty(flux, fluxErr, templateFlux, floor=0.001, predicted=0.0):
    """Fraction of the template's flux that a subtraction leaves at stars: robust, noise taken off.

    Parameters
    ----------
    flux, fluxErr, templateFlux : arrays
        PSF flux of the difference at stars, its error, and the flux of the matched template there.
    floor : float
        Smallest value returned.
    predicted : float
        What the noise of the stars makes of it (`modelError`).

    Returns
    -------
    epsilon : float
        The scatter of flux/templateFlux beyond the noise, from the median absolute value of the stars brighter than
        100 sigma; where there are fewer than 5 of these what is predicted, or the floor: faint stars do not show how well
        they determine a kernel, but they do not determine it better than their noise allows.
    """
    flux, fluxErr, templateFlux = (np.asarray(v, float) for v in (flux, fluxErr, templateFlux))
    with np.errstate(invalid="ignore", divide="ignore"):
        bright = np.isfinite(flux) & (templateFlux > 100 * fluxErr)
    if np.count_nonzero(bright) < 5:
        return float(max(floor, predicted))
    scatter = 1.4826 * np.median(np.abs(flux[bright] / templateFlux[bright]))
    noise = np.median(fluxErr[bright] / templateFlux[bright])
    return float(max(floor, np.sqrt(max(scatter**2 - noise**2, 0.0))))


def leverage(x, y, stars, nTerms):
    """Error of a polynomial fitted to stars at places of the image, over its mean: large in corners without stars.

    Parameters
    ----------
    x, y : arrays
        Places.
    stars : array, shape (n, 2)
        Positions of the stars.
    nTerms : int
        Terms of the polynomial: 1, 3, 6, 10, ... (the highest whole order below).

    Returns
    -------
    factor : array
        At least 1. 1 everywhere with fewer than twice as many stars as terms: nothing is known of them but their number.
    """
    order = int((np.sqrt(8 * nTerms + 1) - 3) / 2)
    x, y = np.asarray(x, float), np.asarray(y, float)
    if order < 1 or len(stars) < 2 * nTerms:
        return np.ones(len(x))
    middle, half = stars.mean(axis=0), np.maximum(np.ptp(stars, axis=0) / 2, 1.0)

    def terms(u, v):
        u, v = (u - middle[0]) / half[0], (v - middle[1]) / half[1]
        return np.stack([u**i * v**j for i in range(order + 1) for j in range(order + 1 - i)], axis=-1)

    design, here = terms(*stars.T), terms(x, y)
    inverse = np.linalg.pinv(design.T @ design)
    variance = np.einsum("ij,jk,ik->i", here, inverse, here) * len(stars) / design.shape[1]
    return np.sqrt(np.maximum(np.nan_to_num(variance, nan=1.0), 1.0))


def modelError(fluxErr, templateFlux, nTerms, leastError=0.01):
    """Fraction by which PSF fluxes are wrong because PSF and kernel were measured on stars.

    Of a model with n terms that vary over the image, fitted to stars whose fluxes are known to s_i, the value at a place is
    known to sqrt(n / sum 1/s_i^2) on average: the mean leverage of a linear fit.

    Parameters
    ----------
    fluxErr, templateFlux : arrays
        Errors of PSF fluxes of the difference at the stars, and the fluxes of the matched template there.
    nTerms : int
    leastError : float
        No star counts as known better than to this fraction, however bright.

    Returns
    -------
    error : float
        0 without stars.
    """
    fluxErr, templateFlux = (np.asarray(v, float) for v in (fluxErr, templateFlux))
    with np.errstate(invalid="ignore", divide="ignore"):
        information = 1 / ((fluxErr / templateFlux) ** 2 + leastError**2)
    total = np.sum(information[np.isfinite(information) & (templateFlux > 0)])
    return float(np.sqrt(nTerms / total)) if total > 0 else 0.0


def flagCandidates(table, cuts=None, group=None):
    """Set the candidate flags from the features, in place.

    Parameters
    ----------
    table : `astropy.table.Table`
        Measurements and features together.
    cuts : `CandidateCuts` or configuration with its fields, optional
    group : int array, optional
        Group of overlapping sources that each row belongs to, -1 for none. What is weaker than a dipole of its group is a
        part of it.
    """
    cuts = CandidateCuts() if cuts is None else cuts
    f = {name[10:]: np.asarray(table[name]) for name, dtype, *_ in CANDIDATE_COLUMNS if dtype is not np.bool_}
    with np.errstate(invalid="ignore", divide="ignore"):
        flux, error = (np.asarray(table[f"base_PsfFlux_{c}"], float) for c in ("instFlux", "instFluxErr"))
        snr = np.abs(flux) / error
        sharp = (f["sharpness"] > cuts.maxSharpness) & (f["sharpnessSigma"] > cuts.sharpnessSigmas)
        clear = _isClearPoint(f, snr, cuts)
        narrow = f["widthRatio"] < cuts.minWidthRatio - cuts.widthSigmas / snr
        flags = {
            "cosmicRay": sharp | narrow | (f["cosmicRayFraction"] > 0) & _center(table, "cr"),
            "masked": (f["badFraction"] > cuts.maxMaskedFraction)
            | (f["saturatedFraction"] > 0) & ~clear
            | (f["interpolatedFraction"] > cuts.maxMaskedFraction)
            | _center(table, "interpolated")
            | _center(table, "bad"),
            "residual": f["significance"] < np.minimum(cuts.threshold, snr * (1 - 1e-6)),
            "halo": (f["saturatedDistance"] < cuts.haloRadii) & ~clear,
            "faint": ~(snr >= cuts.threshold - 0.5),
            "dipole": _isDipole(table, cuts),
            "shape": (f["psfChi2"] > chi2Limit(snr, cuts)) & ~_isTrail(table, cuts),
        }
    if group is not None:
        flags["dipole"] |= _besideDipole(flags["dipole"], group, snr)
    flags["residual"] &= snr >= cuts.threshold
    any_ = np.zeros(len(table), bool)
    for name, values in flags.items():
        table[f"candidate_flag_{name}"][:] = values
        any_ |= values
    table["candidate_flag"][:] = any_ & ~np.asarray(table["sky_source"], bool)


def _besideDipole(dipole, group, snr):
    """Rows weaker than a dipole that they overlap with: a misplaced star leaves more than two lobes."""
    strongest = np.zeros(max(group.max(initial=-1) + 1, 1))
    of = dipole & (group >= 0) & np.isfinite(snr)
    np.maximum.at(strongest, group[of], snr[of])
    return (group >= 0) & (snr < strongest[np.maximum(group, 0)])


def chi2Limit(snr, cuts):
    """Largest chi squared of a point source whose PSF is known to a fraction of its flux."""
    return cuts.maxChi2 + (cuts.chi2FluxFraction * snr) ** 2 / 10


def _isClearPoint(f, snr, cuts):
    """A strong source of the shape of the PSF: what saturated stars leave around them is not."""
    width = (f["widthRatio"] > cuts.minWidthRatio) & (f["widthRatio"] < cuts.maxWidthRatio)
    return width & (f["psfChi2"] <= chi2Limit(np.minimum(snr, 30), cuts)) & (snr >= cuts.haloSignificance)


def _center(table, plane):
    name = f"base_PixelFlags_flag_{plane}Center"
    return np.asarray(table[name], bool) if name in table.colnames else np.zeros(len(table), bool)


def _isDipole(table, cuts):
    """Classified by the fit, or lobes of both signs of which the weaker has more than a fraction of the stronger.

    The peaks of a star misplaced by little are 2 sqrt(2) sigma apart in the PSF-filtered image; two peaks far apart are
    two changes that happen to touch.
    """
    both = [np.nan_to_num(np.asarray(table[f"significance_{sign}"], float)) for sign in ("positive", "negative")]
    lobes = np.minimum(*both) > cuts.dipoleRatio * np.maximum(*both)
    xx, yy, xy = (np.asarray(table[f"base_SdssShape_psf_{c}"], float) for c in ("xx", "yy", "xy"))
    width = np.maximum(xx * yy - xy**2, 0) ** 0.25
    apart = np.asarray(table["candidate_dipoleSeparation"]) > cuts.maxDipoleSeparation * width
    lobes &= (np.minimum(*both) > 0) & ~apart
    return np.asarray(table["ip_diffim_DipoleFit_classification"], bool) | lobes


def _isTrail(table, cuts):
    ok = ~np.asarray(table["ext_trailedSources_Naive_flag"], bool)
    return ok & (np.nan_to_num(np.asarray(table["ext_trailedSources_Naive_length"])) > cuts.minTrailLength)
