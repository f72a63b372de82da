"""Which source of one list is which of another: by position, each partner used once."""

import numpy as np
from scipy.spatial import cKDTree

from ..errors import DomainError
from .register import SourceMatches, skyPositions, sourcePositions

__all__ = ["idsOf", "matchClosest", "matchIds", "matchOnPixels", "matchSky", "pairsWithin"]

_ARCSEC = np.radians(1 / 3600)


def matchClosest(points, others, radius):
    """Closest partner of each point within a radius; a partner goes to the closest of those that want it.

    Parameters
    ----------
    points, others : array, shapes (n, d) and (m, d)
        Rows that are not finite match nothing.
    radius : `float`

    Returns
    -------
    rows, partners : `numpy.ndarray` of int
        Rows of `points`, increasing, and of `others`.
    """
    points, others = (np.atleast_2d(np.asarray(p, float)) for p in (points, others))
    mine, theirs = (np.flatnonzero(np.isfinite(p).all(axis=1)) for p in (points, others))
    if not (len(mine) and len(theirs)):
        return np.zeros(0, int), np.zeros(0, int)
    distance, nearest = cKDTree(others[theirs]).query(points[mine], distance_upper_bound=np.nextafter(radius, np.inf))
    found = np.flatnonzero(np.isfinite(distance))
    order = found[np.lexsort((mine[found], distance[found]))]
    _, first = np.unique(nearest[order], return_index=True)
    kept = np.sort(order[first])
    return mine[kept], theirs[nearest[kept]]


def matchSky(sources, references, radius):
    """`matchClosest` on the sky.

    Parameters
    ----------
    sources, references : `astropy.table.Table`
        With coord_ra and coord_dec, radians unless the columns have units.
    radius : `float`
        Arcsec.

    Raises
    ------
    DomainError
        A column is missing.
    """
    return matchClosest(_vectors(sources), _vectors(references), _chord(radius))


def matchOnPixels(sources, others, radius):
    """`matchClosest` in pixels, by the centroid columns of two tables of one pixel grid."""
    return matchClosest(*(np.column_stack(sourcePositions(table)) for table in (sources, others)), radius)


def idsOf(table):
    """The column id of a table, int64; DomainError when it has none."""
    if "id" not in table.colnames:
        raise DomainError(f"sources: wanted a column id, given {table.colnames}")
    return np.asarray(table["id"], np.int64)


def matchIds(length, rows, partners, ids):
    """Column of the partners' ids, 0 where there is none, int64."""
    column = np.zeros(length, np.int64)
    column[rows] = np.asarray(ids, np.int64)[partners]
    return column


def pairsWithin(references, sources, radius):
    """All pairs on the sky within a radius (arcsec), as `SourceMatches`: first = reference, second = source.

    Raises
    ------
    DomainError
        coord_ra or coord_dec is missing.
    """
    a, b = _vectors(references), _vectors(sources)
    known = [np.flatnonzero(np.isfinite(p).all(axis=1)) for p in (a, b)]
    if not all(len(k) for k in known):
        return SourceMatches(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    near = cKDTree(a[known[0]]).sparse_distance_matrix(cKDTree(b[known[1]]), _chord(radius), output_type="coo_matrix")
    order = np.lexsort((near.row, near.col))
    first, second = known[0][near.row[order]], known[1][near.col[order]]
    return SourceMatches(first, second, 2 * np.arcsin(0.5 * near.data[order]) / _ARCSEC)


def _chord(arcsec):
    return 2 * np.sin(0.5 * arcsec * _ARCSEC)


def _vectors(table):
    ra, dec = skyPositions(table)
    return np.column_stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
