"""Choice of the polynomial degrees of an Alard-Lupton basis by the Bayesian information criterion."""

import itertools
import logging
from collections import Counter

import numpy as np

from ..errors import StillskyError
from . import KernelCandidate, NoKernelCandidatesError
from .basis import makeKernelBasisList

__all__ = ["NbasisEvaluator", "bayesianInformation", "selectBasisDegrees"]

_log = logging.getLogger(__name__)


def bayesianInformation(difference, nParameters, badBits=0):
    """BIC = sum D^2 / var + k ln n of a difference image (Schwarz 1978, Ann. Statist. 6, 461).

    Parameters
    ----------
    difference : `stillsky.image.MaskedImage`
        Image, mask and variance of a candidate's residual.
    nParameters : `int`
        Coefficients fitted, the background among them.
    badBits : `int`
        Mask bits of pixels to leave out; pixels without a finite value and a positive variance are left out as well.

    Returns
    -------
    bic : `float`
        NaN without a usable pixel.
    """
    image, variance = difference.image.array.astype(float), difference.variance.array.astype(float)
    use = np.isfinite(image) & np.isfinite(variance) & (variance > 0) & ((difference.mask.array & badBits) == 0)
    n = int(use.sum())
    return float(np.sum(image[use] ** 2 / variance[use]) + nParameters * np.log(n)) if n else float("nan")


def selectBasisDegrees(kernelCellSet, config, settings, targetFwhmPix=None, referenceFwhmPix=None, log=_log):
    """Polynomial degrees, at most those of the configuration, for which most candidates have their least BIC.

    Every combination of degrees 1 to ``alardDegGauss[i]`` is fitted to every candidate; each candidate votes for its
    best. Of combinations with equally many votes the one with the smaller summed BIC wins.

    Parameters
    ----------
    kernelCellSet : `SpatialCellSet`
        Its candidates keep their state: copies are fitted.
    config : `PsfMatchConfigAL`
    settings : `PsfMatchSettings`
    targetFwhmPix, referenceFwhmPix : `float`, optional
        As for `makeKernelBasisList`.

    Returns
    -------
    degrees : `list` [`int`]

    Raises
    ------
    NoKernelCandidatesError
        Not one candidate could be fitted.

    Notes
    -----
    Cost: the product of the degrees times one fit per candidate.
    """
    limits = [max(1, int(d)) for d in config.alardDegGauss]
    trials = list(itertools.product(*(range(1, limit + 1) for limit in limits)))
    stars = [c for c in kernelCellSet.allCandidates() if not c.isBad()]
    scores = np.full((len(trials), len(stars)), np.nan)
    for i, degrees in enumerate(trials):
        basis = makeKernelBasisList(config, targetFwhmPix, referenceFwhmPix, basisDegGauss=list(degrees))
        for j, star in enumerate(stars):
            scores[i, j] = _score(star, basis, settings)
    judged = scores[:, np.isfinite(scores).any(axis=0)]
    if judged.shape[1] == 0:
        raise NoKernelCandidatesError("No kernel candidate could be fitted with any choice of basis degrees")
    judged = np.where(np.isfinite(judged), judged, np.inf)
    votes = Counter(np.argmin(judged, axis=0).tolist())
    ranking = sorted(votes, key=lambda i: (-votes[i], judged[i].sum()))
    for place, i in enumerate(ranking[:3], 1):
        log.info("Basis degrees, place %d: %s with %d of %d votes", place, list(trials[i]), votes[i], judged.shape[1])
    return list(trials[ranking[0]])


def _score(star, basis, settings):
    """BIC of one candidate with one basis; NaN where it cannot be fitted."""
    template, science = star.getTemplateMaskedImage(), star.getScienceMaskedImage()
    copy = KernelCandidate(star.xCenter, star.yCenter, template, science, settings, 0.0)
    try:
        copy.build(basis)
        if not copy.isInitialized() or copy.isBad():
            return float("nan")
        difference = copy.getDifferenceImage(KernelCandidate.ORIG)
    except (StillskyError, ValueError, ArithmeticError):
        return float("nan")
    return bayesianInformation(difference, len(basis) + bool(settings.fitForBackground), settings.badFitMask)


class NbasisEvaluator:
    """The choice of `selectBasisDegrees` for given PSF widths, as a callable.

    Parameters
    ----------
    psfMatchConfig : `PsfMatchConfigAL`
    psfFwhmPixTc, psfFwhmPixTnc : `float`, optional
        FWHM in pixels of the image that is convolved and of the one that is not.
    """

    def __init__(self, psfMatchConfig, psfFwhmPixTc=None, psfFwhmPixTnc=None):
        self.psfMatchConfig = psfMatchConfig
        self.psfFwhmPixTc = psfFwhmPixTc
        self.psfFwhmPixTnc = psfFwhmPixTnc

    def __call__(self, kernelCellSet, settings, log=_log):
        """Best degrees for the candidates of a cell set."""
        return selectBasisDegrees(
            kernelCellSet, self.psfMatchConfig, settings, self.psfFwhmPixTc, self.psfFwhmPixTnc, log
        )
