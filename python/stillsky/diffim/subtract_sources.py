"""Sources of a finished subtraction: what `subtract` asks of `detectAndMeasure`, and the counts that it reports."""

import numpy as np

from .detect_measure import detectAndMeasure

__all__ = ["findSources", "sourceCounts", "sourceSentence"]


def findSources(
    science,
    matchedTemplate,
    difference,
    *,
    config,
    candidates,
    stars,
    score=None,
    psfMode,
    sciencePsf,
    covariance=None,
    noiseInflation=None,
    templateNoise=1.0,
    kernelTerms=6,
):
    """Find and measure the sources of the difference.

    Parameters
    ----------
    science, matchedTemplate, difference : Exposure
        Of the difference the mask changes, and pixels without data become NaN.
    config : `DetectAndMeasureAlgorithmConfig`
    candidates : sequence of dict
        Records of the kernel fit: those that carry the fit are the stars whose residuals are measured.
    stars : `stillsky.diffim.stars.Objects`
        Objects of the science image.
    score : Exposure, optional
        Detect on this matched-filter image.
    psfMode : {"science", "decorrelated", "zogy"}
    sciencePsf : Psf
        For the forced fluxes.
    covariance, noiseInflation, templateNoise, kernelTerms : optional
        As for `detectAndMeasure`.

    Returns
    -------
    found : `DetectAndMeasureResult`
    """
    used = np.array([(c["x"], c["y"]) for c in candidates if c["usedInFit"]], float).reshape(-1, 2)
    everyStar = np.stack([stars.x[stars.isStar], stars.y[stars.isStar]], axis=1)
    return detectAndMeasure(
        science,
        matchedTemplate,
        difference,
        config=config,
        score=score,
        kernelSources=used,
        stars=everyStar,
        sciencePsf=sciencePsf,
        psfMode=psfMode,
        covariance=covariance,
        noiseInflation=noiseInflation,
        templateNoise=templateNoise,
        kernelTerms=kernelTerms,
        skyIsIn=True,  # of files that nobody prepared
    )


def sourceCounts(table):
    """How many sources there are, of which kind; sky sources do not count.

    Returns
    -------
    counts : dict
        ``nDiaSources, nPositive, nNegative, nDipoles, nGoodDiaSources`` (without a candidate flag).
    """
    real = ~np.asarray(table["sky_source"], bool)
    negative, dipole, flagged = (
        np.asarray(table[name], bool)[real]
        for name in ("is_negative", "ip_diffim_DipoleFit_classification", "candidate_flag")
    )
    return {
        "nDiaSources": int(real.sum()),
        "nPositive": int(np.count_nonzero(~negative)),
        "nNegative": int(np.count_nonzero(negative)),
        "nDipoles": int(np.count_nonzero(dipole)),
        "nGoodDiaSources": int(np.count_nonzero(~flagged)),
    }


def sourceSentence(counts):
    """The counts in words, e.g. ``23 candidates (14+, 9-; 6 dipoles), 12 without a flag``."""
    return (
        f"{counts['nDiaSources']} candidates ({counts['nPositive']}+, {counts['nNegative']}-; "
        f"{counts['nDipoles']} dipoles), {counts['nGoodDiaSources']} without a flag"
    )
