"""Which sources the kernel is fitted to, and which are kept aside to judge it."""

from dataclasses import dataclass

import numpy as np

from ..errors import DomainError, NoDataError

__all__ = ["KernelStars", "NoKernelStarsError", "addControl", "splitControl"]


class NoKernelStarsError(NoDataError):
    """No source serves the kernel fit.

    Attributes
    ----------
    metadata : `dict`
        nSources, nSelected, nMatched, where stars were chosen.
    """

    def __init__(self, *args, metadata=None, **parts):
        super().__init__(*args, **parts)
        self.metadata = dict(metadata or {})


@dataclass(frozen=True)
class KernelStars:
    """Rows of a catalogue of sources.

    Attributes
    ----------
    kernel, control : `numpy.ndarray` of int
        Stars of the fit, and those kept aside; no row is in both.
    """

    kernel: np.ndarray
    control: np.ndarray


def splitControl(selected, step, seed, ids=None):
    """Keep every so many-th star aside, in a random order that the seed fixes.

    Parameters
    ----------
    selected : array of bool, or of int
        Stars: a mask, or rows.
    step : `int`
        2 or more: the 1st, the (1 + step)th, ... are kept aside.
    seed : `int`
    ids : array of int, optional
        Of all rows: the choice does not depend on the order of the rows then.

    Returns
    -------
    stars : `KernelStars`
        A star alone stays in the fit.
    """
    if step < 2:
        raise DomainError(f"step: wanted 2 or more, got {step}")
    selected = np.asarray(selected)
    rows = np.flatnonzero(selected) if selected.dtype == bool else np.unique(selected)
    if ids is not None:
        rows = rows[np.argsort(np.asarray(ids)[rows], kind="stable")]
    rows = np.random.default_rng(seed).permutation(rows)
    if len(rows) < 2:
        return KernelStars(rows, rows[:0])
    control = np.zeros(len(rows), bool)
    control[::step] = True
    return KernelStars(rows[~control], rows[control])


def addControl(stars, *more):
    """Further rows kept aside, once each, without those of the fit."""
    control = list(stars.control)
    taken = set(stars.kernel.tolist()) | set(control)
    for rows in more:
        for row in np.asarray(rows, int).tolist():
            if row not in taken:
                taken.add(row)
                control.append(row)
    return KernelStars(stars.kernel, np.array(control, int))
