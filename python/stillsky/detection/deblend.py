"""Splitting footprints of several peaks by a simultaneous fit of PSFs."""

import numpy as np

from .footprint import Footprint
from .footprint_set import FootprintSet
from .heavy import makeHeavyFootprint
from .span_set import SpanSet

__all__ = ["deblendFootprints"]

_MAX_PEAKS = 50  # a footprint with more is left whole: the fit of so many is not to be trusted


def deblendFootprints(footprints, exposure, *, psf=None, threshold=5.0, negative=False, badPlanes=("SAT", "NO_DATA")):
    """One footprint for each significant peak of those that have several.

    The fluxes of PSFs at all peaks of a footprint are fitted together, linearly, weighted by the variance; peaks
    below the threshold are dropped, faintest first, and the rest fitted again; so are peaks that own no pixel. Every pixel goes to the peak whose
    model is largest there, and each child carries its share of the pixels, value times model over sum of models.

    Parameters
    ----------
    footprints : `FootprintSet`
        Of one polarity.
    exposure : Exposure or MaskedImage
    psf : Psf, optional
        Default: the exposure's.
    threshold : float
        Smallest flux of a child, standard deviations.
    negative : bool
        The footprints are negative.
    badPlanes : sequence of str
        Pixels left out of the fit.

    Returns
    -------
    children : `FootprintSet`
        `HeavyFootprint` with one peak each for the parts, the footprints themselves where there is one peak only or
        nothing to fit.
    parents : int array
        Index of the footprint that each was made from.
    """
    masked = getattr(exposure, "maskedImage", exposure)
    psf = exposure.psf if psf is None else psf
    bits = masked.mask.bitmask(list(badPlanes), ignoreMissing=True)
    children, parents = [], []
    for i, footprint in enumerate(footprints):
        parts = [footprint]
        if 1 < len(footprint.peaks) <= _MAX_PEAKS:
            parts = _split(footprint, masked, psf, threshold, -1.0 if negative else 1.0, bits)
        children += parts
        parents += [i] * len(parts)
    return FootprintSet(children, footprints.region), np.array(parents, int)


def _split(footprint, masked, psf, threshold, sign, bits):
    """Children of one footprint; itself when fewer than two peaks are significant."""
    heavy = makeHeavyFootprint(footprint, masked)
    y, x = heavy._pixels()
    value, variance = sign * heavy.imageValues.astype(float), heavy.varianceValues.astype(float)
    good = np.isfinite(value) & np.isfinite(variance) & (variance > 0) & ((heavy.maskValues & bits) == 0)
    if not good.any():
        return [footprint]
    models = np.stack([_model(psf, peak, x, y) for peak in heavy.peaks], axis=1)
    kept = np.arange(len(heavy.peaks))
    while len(kept) > 1:
        flux, significance = _fit(models[good][:, kept], value[good], variance[good])
        worst = int(np.argmin(significance))
        if significance[worst] < threshold:
            kept = np.delete(kept, worst)
            continue
        shares = np.maximum(models[:, kept] * flux, 0)
        total = shares.sum(1)
        owner = np.where(total > 0, np.argmax(shares, 1), _nearest(heavy.peaks[kept], x, y))
        hidden = np.flatnonzero(np.bincount(owner, minlength=len(kept)) == 0)
        if not hidden.size:
            return [
                _child(footprint, masked, heavy.peaks[k], x, y, owner == j, shares[:, j], total)
                for j, k in enumerate(kept)
            ]
        # a peak that another one outshines at every pixel is no source of its own
        kept = np.delete(kept, hidden[np.argmin(flux[hidden])])
    return [footprint]


def _fit(models, value, variance):
    """Fluxes of all PSFs together, and these over their errors."""
    weighted = models / np.sqrt(variance)[:, None]
    normal = weighted.T @ weighted
    flux, *_ = np.linalg.lstsq(normal, weighted.T @ (value / np.sqrt(variance)), rcond=1e-10)
    error = np.sqrt(np.maximum(np.diag(np.linalg.pinv(normal, rcond=1e-10)), 1e-300))
    return flux, flux / error


def _child(footprint, masked, peak, x, y, mine, share, total):
    spans = SpanSet(np.stack([y[mine], x[mine], x[mine]], axis=1).astype(np.int32))
    child = makeHeavyFootprint(Footprint(spans, np.array([peak]), footprint._region), masked)
    order = np.lexsort((x[mine], y[mine]))
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(total[mine] > 0, share[mine] / total[mine], 1.0)[order]
    child.imageValues = child.imageValues * fraction.astype(child.imageValues.dtype)
    return child


def _model(psf, peak, x, y):
    """The PSF at a peak on the pixels of the footprint."""
    image = psf.computeImage((float(peak["f_x"]), float(peak["f_y"])))
    rows, columns = y - int(image.xy0[1]), x - int(image.xy0[0])
    height, width = image.array.shape
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    out = np.zeros(len(x))
    out[inside] = image.array[rows[inside], columns[inside]]
    return out


def _nearest(peaks, x, y):
    return np.argmin((x[:, None] - peaks["i_x"]) ** 2 + (y[:, None] - peaks["i_y"]) ** 2, axis=1)
