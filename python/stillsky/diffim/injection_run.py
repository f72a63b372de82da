"""A subtraction once more with planted sources: what follows the fit, with the kernel that was fitted."""

import copy

import numpy as np

from .injection import measureEfficiency
from .subtract_sources import findSources

__all__ = ["efficiencySentence", "plantAndFind"]


def efficiencySentence(figures):
    """The figures in words."""
    parts = [f"planted {figures['n']}: {figures['nFound']} found"]
    if np.isfinite(figures["signalToNoise50"]):
        parts.append(f"half of them at S/N {figures['signalToNoise50']:.1f}")
    if figures["n7"]:
        parts.append(f"{100 * figures['completeness7']:.0f} % at S/N 7 and more")
    if np.isfinite(figures["fluxBiasErr"]):
        parts.append(f"flux bias {100 * figures['fluxBias']:+.1f} +- {100 * figures['fluxBiasErr']:.1f} %")
    return ", ".join(parts)


def plantAndFind(job, pair, fit, scienceConvolved, delivered, matched=None):
    """Efficiency of a subtraction.

    Parameters
    ----------
    job : object
        The subtraction, with its configuration; nothing of it changes.
    pair : (science, template, psfs, objects)
        As they were matched.
    fit : object
        Of the kernel.
    scienceConvolved : `bool`
    delivered : (Exposure, `astropy.table.Table`)
        The difference and its sources.
    matched : `stillsky.image.MaskedImage`, optional
        What was convolved, of the method "al"; None for a proper difference.

    Returns
    -------
    result : `stillsky.diffim.injection.InjectionResult`
    """
    rerun = _Rerun(job, pair, fit, scienceConvolved, matched)
    return measureEfficiency(pair[0], pair[2][0], *delivered, rerun, job.config.inject)


class _Rerun:
    """Callable that subtracts another science image."""

    def __init__(self, job, pair, fit, scienceConvolved, matched):
        self.job, self.fit, self.scienceConvolved, self.matched = job, fit, scienceConvolved, matched
        self.science, self.template, self.psfs, self.objects = pair

    def __call__(self, planted):
        job, fit = _silent(self.job), copy.copy(self.fit)
        make = self._proper if self.matched is None else self._matchedDifference
        difference, template, score, mode = make(job, fit, planted)
        return findSources(
            planted, template, difference, config=job.config.detect, candidates=fit.candidates,
            stars=self.objects[0], score=score, psfMode=mode, sciencePsf=self.psfs[0], covariance=job._covariance,
        )  # fmt: skip

    def _matchedDifference(self, job, fit, planted):
        matched = job._convolve(planted, fit.kernel) if self.scienceConvolved else self.matched
        difference = job._subtract(planted, self.template, matched, fit, self.scienceConvolved)
        difference.psf = self.psfs[1] if self.scienceConvolved else self.psfs[0]
        if job.config.doDecorrelation:
            difference = job._decorrelate(difference, planted, self.template, fit, self.scienceConvolved)
        template = job._matchedTemplate(planted, self.template, matched, self.psfs, self.scienceConvolved)
        return difference, template, None, "decorrelated" if "decorrelation" in job.metadata else "science"

    def _proper(self, job, fit, planted):
        from .zogy_subtract import properDifference, subtractedTemplate

        found = properDifference(
            planted, self.template, self.psfs, fit, self.scienceConvolved, self.objects[0], job.config, job._resampled
        )
        beta = found.metadata["zogyBeta"]
        template = subtractedTemplate(planted, self.template, found.difference, self.psfs[0], beta)
        return found.difference, template, found.score, "zogy"


def _silent(job):
    """The same subtraction with figures of its own, that says nothing."""
    other = copy.copy(job)
    other.metadata, other.decisions, other.warnings, other.timings = {}, [], [], {}
    other.decide = other.warn = lambda *words: None
    return other
