"""Aperture corrections of a coadd: the weighted mean of those of its inputs (coadds and DCR, section 2.13)."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DomainError, NotFoundError
from ..geom import Box2I
from ..image import CoaddInputs
from ..photom import ApCorrMap

__all__ = ["CoaddBoundedField", "CoaddFieldComponent", "makeCoaddApCorrMap"]


@dataclass(frozen=True)
class CoaddFieldComponent:
    """One input of a `CoaddBoundedField`.

    Attributes
    ----------
    field : object with ``evaluate(x, y)``
        In the input's pixels; holds only in its own ``bbox``, where it has one.
    wcs : `stillsky.wcs.SkyWcs` or None
        None: the coadd's pixels.
    validPolygon : `stillsky.geom.Polygon` or None
        Part of the input that counts, in its pixels.
    weight : `float`
    """

    field: Any
    wcs: Any = None
    validPolygon: Any = None
    weight: float = 1.0


class CoaddBoundedField:
    """f(p) = sum_i w_i f_i(p_i)/sum_i w_i over the inputs that hold the position p on the sky.

    Parameters
    ----------
    bbox : `stillsky.geom.Box2I`
        Of the coadd.
    coaddWcs : `stillsky.wcs.SkyWcs` or None
        None where all inputs have the coadd's pixels.
    components : iterable of `CoaddFieldComponent`
    default : `float` or None
        Value where no input holds the position; None: DomainError.

    Notes
    -----
    Written to FITS as a polynomial fitted over the coadd, like any field of another class.
    """

    def __init__(self, bbox, coaddWcs, components, default=None):
        self._bbox, self._wcs, self._default = bbox, coaddWcs, None if default is None else float(default)
        self._components = tuple(components)
        for part in self._components:
            if not (math.isfinite(part.weight) and part.weight >= 0):
                raise DomainError(f"CoaddBoundedField: wanted weights that are finite and not negative, {part.weight}")
            if part.wcs is not None and coaddWcs is None:
                raise DomainError("CoaddBoundedField: inputs with a WCS need that of the coadd")

    @property
    def bbox(self):
        """Where the field is defined, pixels of the coadd."""
        return self._bbox

    @property
    def components(self):
        """The inputs' fields, with their weights."""
        return self._components

    def evaluate(self, x, y):
        """Values at positions of the coadd.

        Parameters
        ----------
        x, y : `float` or array_like
            Pixels.

        Returns
        -------
        values : `float` or `numpy.ndarray`

        Raises
        ------
        DomainError
            No input holds one of the positions, and there is no default.
        """
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        px, py = x.ravel(), y.ravel()
        sky = None if self._wcs is None else self._wcs.pixelToSky(px, py)
        total, weights = np.zeros(px.size), np.zeros(px.size)
        for part in self._components:
            u, v = (px, py) if part.wcs is None else part.wcs.skyToPixel(*sky)
            inside = _inside(part, u, v)
            if part.weight > 0 and inside.any():
                total[inside] += part.weight * np.asarray(part.field.evaluate(u[inside], v[inside]), float)
                weights[inside] += part.weight
        empty = weights == 0
        if empty.any() and self._default is None:
            at = f"({px[empty][0]:g}, {py[empty][0]:g})"
            raise DomainError(f"CoaddBoundedField: no input holds {empty.sum()} of {px.size} positions, such as {at}")
        values = np.full(px.size, np.nan if self._default is None else self._default)
        np.divide(total, weights, out=values, where=~empty)
        return values.reshape(x.shape) if x.ndim else float(values[0])

    __call__ = evaluate

    def withDefault(self, default):
        """The same field with another value where no input holds the position (None: DomainError)."""
        return CoaddBoundedField(self._bbox, self._wcs, self._components, default)

    def mean(self):
        """Mean over a grid of 20 x 20 positions of the box that inputs hold."""
        x, y = np.meshgrid(
            np.linspace(self._bbox.minX, self._bbox.maxX, 20), np.linspace(self._bbox.minY, self._bbox.maxY, 20)
        )
        values = self.withDefault(np.nan if self._default is None else self._default).evaluate(x, y)
        if np.all(np.isnan(values)):
            raise DomainError("CoaddBoundedField: no input holds any position of the box")
        return float(np.nanmean(values))

    def __mul__(self, scale):
        if not np.isscalar(scale):
            return NotImplemented
        parts = [CoaddFieldComponent(p.field * float(scale), p.wcs, p.validPolygon, p.weight) for p in self._components]
        default = None if self._default is None else self._default * scale
        return CoaddBoundedField(self._bbox, self._wcs, parts, default)

    __rmul__ = __mul__

    def __eq__(self, other):
        if not isinstance(other, CoaddBoundedField):
            return NotImplemented
        mine = (self._bbox, self._wcs, self._components, self._default)
        return mine == (other._bbox, other._wcs, other._components, other._default)

    __hash__ = None

    def __repr__(self):
        return f"CoaddBoundedField({self._bbox!r}, {len(self._components)} inputs)"


def _inside(part, u, v):
    """Which positions an input holds: False for NaN, beyond the domain of a WCS."""
    box = getattr(part.field, "bbox", None)
    inside = np.isfinite(u) & np.isfinite(v)
    if isinstance(box, Box2I):
        inside &= (u >= box.minX - 0.5) & (u < box.maxX + 0.5) & (v >= box.minY - 0.5) & (v < box.maxY + 0.5)
    if part.validPolygon is not None:
        inside &= part.validPolygon.contains(np.where(inside, u, 0.0), np.where(inside, v, 0.0))
    return inside


def makeCoaddApCorrMap(ccds, bbox, coaddWcs, weightField="weight", default=None):
    """Aperture corrections of a coadd.

    Parameters
    ----------
    ccds : `stillsky.image.CoaddInputs` or `astropy.table.Table`
        Its detector exposures; rows without apCorrMap or with weight 0 do not count.
    bbox : `stillsky.geom.Box2I`
        Of the coadd.
    coaddWcs : `stillsky.wcs.SkyWcs`
    weightField : `str`
        Column of the weights.
    default : `float`, optional
        Value where no row holds a position; None: evaluating there is a DomainError.

    Returns
    -------
    apCorrMap : `stillsky.photom.ApCorrMap`
        A `CoaddBoundedField` for every name that any row has; empty if no row has any.
    """
    rows = ccds.ccds if isinstance(ccds, CoaddInputs) else ccds
    if len(rows) and weightField not in rows.colnames:
        raise NotFoundError(f"makeCoaddApCorrMap: no column {weightField!r}; the table has {rows.colnames}")
    parts = {}
    for row in rows:
        if row["apCorrMap"] is None or not row[weightField] > 0:
            continue
        for name, field in row["apCorrMap"].items():
            part = CoaddFieldComponent(field, row["wcs"], row["validPolygon"], float(row[weightField]))
            parts.setdefault(name, []).append(part)
    return ApCorrMap({name: CoaddBoundedField(bbox, coaddWcs, found, default) for name, found in parts.items()})
