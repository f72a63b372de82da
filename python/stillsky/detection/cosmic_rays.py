"""Cosmic rays: pixels that are sharper than the PSF allows."""

import numpy as np

from .. import _core, errors
from .planes import asMaskArray, asVarianceArray
from .span_set import SpanSet

__all__ = ["CosmicRayLimitError", "findCosmicRays"]

_BAD = ("BAD", "INTRP", "SAT", "NO_DATA")
_COUNTERPART = 0.5  # depth beside a group, over its height, that makes it the edge of a dipole
_FAINTEST = 10.0  # standard deviations of a pixel: what 150 counts are on a sky of 225


class CosmicRayLimitError(errors.DomainError):
    """More pixels look like cosmic rays than may."""


def findCosmicRays(
    exposure,
    *,
    psf=None,
    minSigma=6.0,
    minDN=None,
    noiseFactor=2.0,
    contrastFactor=0.35,
    iterations=6,
    maxPixels=1000000,
    keep=True,
):
    """Find cosmic rays on a background-subtracted exposure and set CR on them.

    Parameters
    ----------
    exposure : Exposure or MaskedImage
        Its mask changes; with ``keep=False`` its pixels, too.
    psf : Psf, optional
        Default: the exposure's. Of a decorrelated difference it must be that of the difference: with a wider one
        real point sources are taken for cosmic rays.
    minSigma : float
        Excess over the mean of two opposite neighbours, standard deviations.
    minDN : float, optional
        Sum that a group of pixels must reach, image units. Default: 10 times the median noise of a pixel, whatever the
        units of the image.
    noiseFactor, contrastFactor : float
        A pixel minus `noiseFactor` standard deviations, times `contrastFactor` times what the PSF has one pixel away
        from its centre, must exceed the mean of the neighbours plus `noiseFactor` of its standard deviations.
    iterations : int
        Rounds that extend each group at half of `minSigma`.
    maxPixels : int
        More pixels than this: DomainError; nothing is changed.
    keep : bool
        False: replace the pixels by the mean of the good pixels around the group, and set INTRP.

    Returns
    -------
    rays : list of `SpanSet`
        8-connected groups in scan order.

    Notes
    -----
    The conditions are those of Robert Lupton's finder in SDSS Photo (Lupton et al. 2001, ASP Conf. 238, 269). The
    outermost pixels, and pixels with BAD, INTRP, SAT or NO_DATA, or beside INTRP, are never cosmic rays. Nor is what has a
    negative counterpart within two widths of the PSF, at least half as deep as it is high: a star that moved leaves an edge
    between its lobes that is sharper than the PSF.
    """
    masked = getattr(exposure, "maskedImage", exposure)
    psf = getattr(exposure, "psf", None) if psf is None else psf
    if psf is None:
        raise errors.InvalidPsfError("findCosmicRays: wanted a PSF, got none")
    if minSigma <= 0 or contrastFactor <= 0:
        raise errors.DomainError(f"findCosmicRays: wanted factors above 0, got {minSigma} and {contrastFactor}")
    mask = masked.mask
    for plane in ("CR", "INTRP"):
        if plane not in mask.schema:
            mask.addPlane(plane)
    image = masked.image.array
    variance = asVarianceArray(masked.variance, image.shape)
    contrast = _contrast(psf, contrastFactor)
    try:
        found = _core.findCosmicRays(
            image,
            variance,
            asMaskArray(mask, image.shape),
            tuple(int(v) for v in masked.xy0),
            minSigma=float(minSigma),
            minTotal=_faintest(variance) if minDN is None else float(minDN),
            noiseFactor=float(noiseFactor),
            contrast=contrast,
            iterations=int(iterations),
            maxPixels=int(maxPixels),
            badBits=mask.bitmask(_BAD, ignoreMissing=True),
            interpolatedBits=mask.bitmask(["INTRP"]),
        )
    except errors.DomainError as error:  # the search has no other
        raise CosmicRayLimitError(*error.args) from error
    rays = [SpanSet._wrap(spans) for spans in found]
    rays = _withoutDipoles(rays, masked, psf)
    for spans in rays:
        spans.setMask(mask, 1 << mask.bit("CR"))
    if not keep:
        for spans in rays:
            _replace(masked, spans)
    return rays


def _faintest(variance, largest=250_000):
    """Sum that a group must reach: so many times the median noise, of at most about so many pixels."""
    step = max(1, int(np.sqrt(variance.size / largest)))
    some = variance[::step, ::step]
    some = some[np.isfinite(some) & (some > 0)]
    return _FAINTEST * float(np.sqrt(np.median(some))) if some.size else 0.0


def _withoutDipoles(rays, masked, psf):
    """Those without a negative counterpart."""
    if not rays:
        return rays
    image, xy0 = masked.image.array, tuple(int(v) for v in masked.xy0)
    reach = max(2, int(np.ceil(2 * psf.determinantRadius())))
    kept = []
    for ray in rays:
        around = ray.dilated(reach).clipped(masked.bbox).flatten(image, xy0)
        if not np.nanmin(around) < -_COUNTERPART * np.nanmax(ray.flatten(image, xy0)):
            kept.append(ray)
    return kept


def _contrast(psf, factor):
    """Factor times the PSF one pixel away over its centre: north-south, west-east, both diagonals."""
    stamp = psf.computeKernelImage(psf.averagePosition).array
    cy, cx = (n // 2 for n in stamp.shape)
    around = np.zeros((3, 3))
    part = stamp[max(cy - 1, 0) : cy + 2, max(cx - 1, 0) : cx + 2]
    around[: part.shape[0], : part.shape[1]] = part
    centre = around[1, 1]
    if part.shape != (3, 3) or not centre > 0:
        raise errors.InvalidPsfError("findCosmicRays: the PSF has no 3x3 core with a positive centre")
    diagonal = 0.25 * (around[0, 0] + around[0, 2] + around[2, 0] + around[2, 2])
    vertical, horizontal = 0.5 * (around[0, 1] + around[2, 1]), 0.5 * (around[1, 0] + around[1, 2])
    return tuple(float(factor * v / centre) for v in (vertical, horizontal, diagonal, diagonal))


def _replace(masked, spans):
    """Mean of the usable pixels within two of the group, instead of its own; INTRP marks them."""
    mask = masked.mask
    ring = spans.dilated(2).difference(spans).clipped(masked.bbox)
    bad = mask.bitmask([*_BAD, "CR"], ignoreMissing=True)
    xy0 = tuple(int(v) for v in masked.xy0)
    values = ring.flatten(masked.image.array, xy0)
    good = ((ring.flatten(mask.array, xy0) & bad) == 0) & np.isfinite(values)
    spans.setImage(masked.image.array, float(np.mean(values[good])) if good.any() else 0.0, xy0)
    spans.setMask(mask, 1 << mask.bit("INTRP"))
