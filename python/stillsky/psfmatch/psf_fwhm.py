"""Widths of the PSFs of exposures, robust against positions where a PSF is not defined."""

import math

import numpy as np

from ..errors import DomainError, InvalidPsfError, NumericalError, StillskyError

__all__ = ["FWHM_PER_SIGMA", "evaluateMeanPsfFwhm", "getPsfFwhm", "psfWidths"]

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


def getPsfFwhm(psf, average=True, position=None):
    """Full width at half maximum of a Gaussian with the PSF's adaptive second moments.

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
    average : `bool`
        One width, from the trace radius sqrt((Ixx + Iyy) / 2); else a pair, along x and along y.
    position : (`float`, `float`), optional
        Parent coordinates; default: the PSF's average position.

    Returns
    -------
    fwhm : `float` or (`float`, `float`)
        Pixels.

    Raises
    ------
    InvalidPsfError
        There is no PSF, or its moments are not positive.
    DomainError
        The moments do not converge, or the PSF is not defined there.
    """
    if psf is None:
        raise InvalidPsfError("getPsfFwhm: wanted a PSF, the exposure has none")
    xx, yy, _ = psf.computeShape(psf.averagePosition if position is None else position)
    if not (xx > 0 and yy > 0 and math.isfinite(xx + yy)):
        raise InvalidPsfError(f"getPsfFwhm: wanted positive second moments, got Ixx={xx}, Iyy={yy}")
    if average:
        return FWHM_PER_SIGMA * math.sqrt(0.5 * (xx + yy))
    return FWHM_PER_SIGMA * math.sqrt(xx), FWHM_PER_SIGMA * math.sqrt(yy)


def evaluateMeanPsfFwhm(exposure, fwhmExposureBuffer, fwhmExposureGrid):
    """Mean PSF width over a grid of positions; those where the PSF cannot be evaluated are skipped.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
    fwhmExposureBuffer : `float`
        Fraction of the extent left out on every side, 0 to 0.5.
    fwhmExposureGrid : `int`
        Positions along each axis.

    Returns
    -------
    fwhm : `float`
        Pixels.

    Raises
    ------
    DomainError
        No position of the grid has a PSF.
    """
    box = exposure.bbox
    xs, ys = (
        np.linspace(low + fwhmExposureBuffer * (high - low), high - fwhmExposureBuffer * (high - low), fwhmExposureGrid)
        for low, high in ((box.minX, box.maxX), (box.minY, box.maxY))
    )
    widths = []
    for x in xs:
        for y in ys:
            try:
                widths.append(getPsfFwhm(exposure.psf, position=(float(x), float(y))))
            except (StillskyError, ValueError, ArithmeticError):
                continue
    if not np.isfinite(widths).any():
        raise DomainError(
            f"evaluateMeanPsfFwhm: the PSF is defined at none of {len(xs) * len(ys)} positions of the grid over {box}"
        )
    return float(np.nanmean(widths))


def psfWidths(convolved, reference, buffer, grid):
    """Widths of two exposures' PSFs, both by `getPsfFwhm` or, where either fails, both by the mean over a grid."""
    try:
        return getPsfFwhm(convolved.psf), getPsfFwhm(reference.psf)
    except (StillskyError, ValueError, NumericalError):
        return evaluateMeanPsfFwhm(convolved, buffer, grid), evaluateMeanPsfFwhm(reference, buffer, grid)
