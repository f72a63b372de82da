"""Positions whose light overlaps, and their fluxes, which are fitted together."""

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ..measure import fitBlends

__all__ = ["MOST_TOGETHER", "REACH", "Overlaps", "fitFluxesTogether", "overlapping"]

REACH = 6.0  # widths of the PSF: the light of a neighbour farther away is a fraction 1e-4 of its own
MOST_TOGETHER = 20  # sources of a group that are fitted together
_SAME = 1.0  # widths of the PSF: positions nearer to each other are of one object, measured more than once
_SHRINK, _LEAST = 0.75, 1.5  # of the reach where too many overlap, and widths below which they stay alone


@dataclass
class Overlaps:
    """Which positions overlap.

    Attributes
    ----------
    group : int array, shape (n,)
        Of each position; -1: overlaps with none.
    object : int array, shape (n,)
        Positions nearer to each other than a width of the PSF are of one object: they are never fitted together, for
        nothing would tell their fluxes apart.
    turn : int array, shape (n,)
        0 for the first position of an object, 1 for its second, ...; a dipole comes after all of these.
    dipoles, lobes : int array, shape (m,), and float array, shape (m, 2, 2)
        Positions that are dipoles, and their two lobes, x and y: what neighbours see of them instead of one source.
    """

    group: np.ndarray
    object: np.ndarray
    turn: np.ndarray
    dipoles: np.ndarray = field(default_factory=lambda: np.zeros(0, int))
    lobes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 2)))

    def subset(self, rows):
        """Of some positions: whole groups."""
        place = np.full(len(self.group), -1)
        place[rows] = np.arange(len(place[rows]))
        kept = place[self.dipoles] >= 0
        dipoles = place[self.dipoles[kept]]
        return Overlaps(self.group[rows], self.object[rows], self.turn[rows], dipoles, self.lobes[kept])

    def lobesBeside(self, rows):
        """(dipole of each lobe, its x and y) of those in the groups of some positions, but for dipoles among these."""
        beside = (self.group[self.dipoles] >= 0) & np.isin(self.group[self.dipoles], self.group[rows])
        beside &= ~np.isin(self.object[self.dipoles], self.object[rows])
        return np.repeat(self.dipoles[beside], 2), self.lobes[beside].reshape(-1, 2)

    @property
    def isSingle(self):
        """Positions that are the only one of their object (bool array)."""
        return np.bincount(self.object, minlength=1)[self.object] == 1

    def fits(self):
        """(positions that are fitted together with the others of their group, those of them whose turn it is)."""
        some = self.group >= 0
        for turn in range(self.turn[some].max(initial=-1) + 1):
            own = some & (self.turn == turn)
            others = some & (self.turn == 0) & np.isin(self.group, self.group[own])
            others &= ~np.isin(self.object, self.object[own])
            rows = np.flatnonzero(own | others)
            yield rows, own[rows]


def overlapping(x, y, sigma, lobes=None):
    """Find the positions whose light overlaps.

    Parameters
    ----------
    x, y : float arrays, shape (n,)
        Pixels; unknown ones overlap with none.
    sigma : float
        Width of the PSF, pixels.
    lobes : float array, shape (n, 4), optional
        x and y of the positive and of the negative lobe of each position that is a dipole, NaN for others. Where one
        is as good as at the place of another object, the dipole counts as one source at its position.

    Returns
    -------
    overlaps : `Overlaps`

    Notes
    -----
    Neighbours within 6 widths are linked. Where more than 20 objects hang together, only nearer ones are.
    """
    n = len(x)
    known = np.isfinite(x) & np.isfinite(y)
    places = np.stack([x, y], axis=1)
    object_ = np.arange(n)
    object_[known] = np.flatnonzero(known)[_linked(places[known], _SAME * sigma)[0]]
    object_ = np.unique(object_, return_inverse=True)[1].reshape(n)
    turn = _turns(object_)
    dipoles, ends = _apart(places, known, lobes, sigma)
    single = (turn == 0) & known
    single[np.isin(object_, object_[dipoles])] = False
    first = np.flatnonzero(single)
    found = _groups(np.concatenate([places[first], ends.reshape(-1, 2)]), REACH * sigma, _LEAST * sigma)
    groupOfObject = np.full(n, -1)
    groupOfObject[object_[first]] = found[: len(first)]
    of = found[len(first) :].reshape(-1, 2)
    whole = of[:, 0] == of[:, 1]  # else a crowd fell apart between the lobes
    dipoles, ends, of = dipoles[whole], ends[whole], of[whole, 0]
    groupOfObject[object_[dipoles]] = of
    group = groupOfObject[object_]
    counts = {g: len(np.unique(object_[group == g])) for g in of[of >= 0]}
    group[np.isin(group, [g for g, n in counts.items() if n < 2])] = -1  # a dipole without neighbours
    for d in dipoles:
        turn[d] = 1 + turn[group == group[d]].max() if group[d] >= 0 else turn[d]
    return Overlaps(group, object_, turn, dipoles, ends)


def _apart(places, known, lobes, sigma):
    """Dipoles whose lobes are known and apart from every other position: their rows, and lobes (m, 2, 2)."""
    if lobes is None:
        return np.zeros(0, int), np.zeros((0, 2, 2))
    ends = np.asarray(lobes, float).reshape(-1, 2, 2)
    rows = np.flatnonzero(known & np.isfinite(ends).all(axis=(1, 2)))
    near = np.hypot(*np.moveaxis(ends[rows] - places[rows, None], 2, 0)).max(axis=1, initial=0) < 0.5 * REACH * sigma
    rows = rows[near]
    others = cKDTree(places[known])
    index = np.flatnonzero(known)
    beside = [others.query_ball_point(ends[k], _SAME * sigma) for k in rows]
    alone = [all(index[j] == k for end in found for j in end) for k, found in zip(rows, beside, strict=True)]
    rows = rows[np.array(alone, bool)]
    return rows, ends[rows]


def fitFluxesTogether(table, prefix, exposure, x, y, overlaps, psf=None):
    """Put the fluxes of positions that overlap into a table of fluxes that were measured one by one, in place.

    Parameters
    ----------
    table : `astropy.table.Table`
        With ``instFlux`` and ``instFluxErr``, each with the prefix. Where there is no flux there is no good pixel, and no
        fit.
    prefix : str
    exposure : Exposure
        That it was measured on.
    x, y : float arrays
        Parent pixels, which stay: the errors are those of fluxes at known positions.
    overlaps : `Overlaps`
    psf : Psf, optional
        Default: the exposure's.

    Returns
    -------
    fitted : bool array
        Rows that have new fluxes.
    """
    fitted = np.zeros(len(x), bool)
    able = np.isfinite(np.asarray(table[prefix + "instFlux"], float))
    for rows, own in overlaps.fits():
        rows, own = rows[able[rows]], own[able[rows]]
        dipoles, lobes = overlaps.lobesBeside(rows[own])
        group = overlaps.group[np.concatenate([rows, dipoles])]
        several = np.bincount(group, minlength=1)[group] > 1
        several[len(rows) :] &= np.isin(group[len(rows) :], group[: len(rows)])
        alone = several[: len(rows)]
        xs, ys = np.concatenate([x[rows], lobes[:, 0]])[several], np.concatenate([y[rows], lobes[:, 1]])[several]
        rows, own = rows[alone], own[alone]
        if not own.any():
            continue
        found = fitBlends(exposure, xs, ys, group[several], psf=psf, maxShift=0.0)[: len(rows)]
        good = own & (found["flagBits"] == 0)
        for name, source in (("instFlux", "flux"), ("instFluxErr", "fluxErr")):
            table[prefix + name][rows[good]] = found[source][good]
        fitted[rows[good]] = True
    return fitted


def _linked(places, reach):
    """(first of those that hang together with each place, number of them)."""
    n = len(places)
    pairs = cKDTree(places).query_pairs(reach, output_type="ndarray") if n else np.zeros((0, 2), int)
    links = coo_array((np.ones(len(pairs), np.int8), tuple(pairs.T)), shape=(n, n))
    label = connected_components(links, directed=False)[1]
    _, first, inverse, count = np.unique(label, return_index=True, return_inverse=True, return_counts=True)
    return first[inverse], count[inverse]


def _turns(labels):
    """Rank of each element among those with its label, in their order."""
    order = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels[order], minlength=1)
    out = np.empty(len(labels), int)
    out[order] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return out


def _groups(places, reach, least):
    """A number for each group of places, -1 for those that are alone; too large ones fall apart with a shorter reach."""
    first, count = _linked(places, reach)
    out = np.where(count > 1, first, -1)
    for k in np.unique(first[count > MOST_TOGETHER]):
        own = np.flatnonzero(first == k)
        parts = np.full(len(own), -1) if reach <= least else _groups(places[own], _SHRINK * reach, least)
        out[own] = np.where(parts < 0, -1, own[parts])
    return out
