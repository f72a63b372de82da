"""Passes over all visits of a DCR coadd, from memory or in bands of rows."""

from dataclasses import dataclass, field

import numpy as np

from .. import _core
from ..errors import DomainError, NoDataError, ShapeError
from .apply import prefilter

__all__ = ["DcrData", "DcrVisit", "MetricMap", "packBits", "unpackBits"]

TILE_WIDTH, TILE_HEIGHT = _core.DCR_TILE_WIDTH, _core.DCR_TILE_HEIGHT


def packBits(flags):
    """Booleans (height, width) as one bit each, pixel x in bit x % 8 of byte x // 8 of its row."""
    return np.packbits(np.asarray(flags, bool), axis=1, bitorder="little")


def unpackBits(bits, width):
    """Booleans (height, width) of `packBits`."""
    return np.unpackbits(bits, axis=1, count=width, bitorder="little").astype(bool)


@dataclass
class DcrVisit:
    """One visit, as the solvers see it.

    Parameters
    ----------
    image : `numpy.ndarray` or callable
        float32 (height, width), in the byte order of the machine with contiguous rows; or a function of (first row, end
        row) that returns such rows. Bad pixels may hold anything.
    good : `numpy.ndarray`
        Of `packBits`: pixels that count.
    forward, backward : `list` of `list` of (dy, dx)
        For each subfilter the shifts that the model of the visit, and what brings its residuals back, are means over.
    score : `numpy.ndarray`, optional
        Of `packBits`: pixels of the metric.
    weight : `float`
    name : `str`
    """

    image: object
    good: np.ndarray
    forward: list
    backward: list
    score: np.ndarray | None = None
    weight: float = 1.0
    name: str = ""

    def rows(self, begin, end):
        """Rows of the image."""
        return self.image(begin, end) if callable(self.image) else self.image[begin:end]


@dataclass
class MetricMap:
    """Sums of the convergence metric by visit and tile.

    Attributes
    ----------
    sums : `numpy.ndarray`, (visit, tile row, tile column, 4)
        ``sum |s - t| S``, ``sum |s + t| S / 2``, ``sum (s - t)^2``, number of pixels.
    weights : `numpy.ndarray`
        Of the visits.
    """

    sums: np.ndarray
    weights: np.ndarray = field(repr=False)

    @property
    def byVisit(self):
        """Metric of each visit; NaN without pixels."""
        return self._ratio(self.sums.sum(axis=(1, 2)))

    @property
    def value(self):
        """Weighted mean over the visits that have pixels; NaN if none has."""
        return float(_weightedMean(self.byVisit, self.weights))

    @property
    def byTile(self):
        """The same for each tile of the patch, (rows, columns)."""
        ratios = self._ratio(self.sums)
        return np.array([[_weightedMean(ratios[:, j, i], self.weights) for i in range(ratios.shape[2])]
                         for j in range(ratios.shape[1])])  # fmt: skip

    @property
    def rms(self):
        """Root mean square residual of each visit over its pixels."""
        total = self.sums.sum(axis=(1, 2))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.sqrt(total[:, 2] / total[:, 3])

    @staticmethod
    def _ratio(sums):
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(sums[..., 3] > 0, sums[..., 0] / sums[..., 1], np.nan)


def _weightedMean(values, weights):
    known = np.isfinite(values)
    return np.average(values[known], weights=weights[known]) if weights[known].sum() > 0 else np.nan


class DcrData:
    """All visits over one patch.

    Parameters
    ----------
    visits : sequence of `DcrVisit`
    shape : (`int`, `int`)
        (height, width) of the patch.
    order : {1, 3}
        Of the splines.
    memory : `int`, optional
        Bytes for the rows of visits that are read by functions; default 2 GiB.

    Raises
    ------
    NoDataError
        No visit.
    ShapeError
        Pixels that do not fit the patch.

    Notes
    -----
    Images given as arrays are used where they lie. The results do not depend on ``memory`` nor on the number of threads.
    """

    def __init__(self, visits, shape, order=1, memory=2 * 1024**3):
        self.visits, self.shape, self.order = list(visits), tuple(int(n) for n in shape), int(order)
        if not self.visits:
            raise NoDataError("DCR: no visit is given")
        for visit in self.visits:
            bits = (self.shape[0], (self.shape[1] + 7) // 8)
            for name in ("good", "score"):
                plane = getattr(visit, name)
                if plane is not None and plane.shape != bits:
                    raise ShapeError(f"{name} of visit {visit.name}: wanted packed bits {bits}, given {plane.shape}")
            if not callable(visit.image) and visit.image.shape != self.shape:
                raise ShapeError(f"visit {visit.name}: wanted {self.shape} pixels, given {visit.image.shape}")
        self.halo = max(_core.dcrHalo([v.backward], self.order) for v in self.visits)
        self.weights = np.array([v.weight for v in self.visits], float)
        self._bands = self._planBands(int(memory))

    def _planBands(self, memory):
        height, width = self.shape
        read = sum(callable(v.image) for v in self.visits)
        rows = height
        if read:
            rows = memory // (4 * width * read) - 2 * self.halo
            rows = max(TILE_HEIGHT, rows // TILE_HEIGHT * TILE_HEIGHT)
        return [(y, min(height, y + rows)) for y in range(0, height, rows)]

    @property
    def numSubfilters(self):
        """Into how many parts the band is divided."""
        return len(self.visits[0].forward)

    def run(self, models, value="residual", *, significance=None, accumulate=True, normal=False, weights=None,
            out=None):  # fmt: skip
        """One pass: see `stillsky::dcrPass`.

        Parameters
        ----------
        models : sequence of `numpy.ndarray`
            float32 (height, width), one per subfilter.
        value : {"residual", "model", "image", "coverage"}
            What is brought back to the subfilters, where pixels are good: image - template, template, image, or 1.
        significance : `numpy.ndarray`, optional
            S of the metric; without it there is no metric.
        accumulate : `bool`
            Bring something back; otherwise the metric alone.
        normal : `bool`
            With "model", and ``backward`` equal to ``forward``: use the kernels of the normal equations in tiles without
            bad pixels.
        weights : sequence of `float`, optional
            In place of the visits' own.
        out : `list` of `numpy.ndarray`, optional
            Planes for the sums, float32, whatever they hold.

        Returns
        -------
        sums : `list` of `numpy.ndarray` or None
            For each subfilter the weighted sum over the visits.
        metric : `MetricMap` or None
        """
        if len(models) != self.numSubfilters:
            raise ShapeError(f"models: wanted {self.numSubfilters} subfilters, given {len(models)}")
        if not accumulate and significance is None:
            raise DomainError("run: wanted significance or accumulate")
        images = [prefilter(m, self.order) if self.order > 1 else np.ascontiguousarray(m, np.float32) for m in models]
        if accumulate:
            sums = [np.empty(self.shape, np.float32) for _ in models] if out is None else out
        else:
            sums = []
        weights = self.weights if weights is None else np.asarray(weights, float)
        needsImage = value in ("residual", "image") or significance is not None
        rows = []
        for begin, end in self._bands:
            first, last = max(0, begin - self.halo), min(self.shape[0], end + self.halo)
            visits = [
                (
                    visit.rows(first, last) if needsImage else None,
                    visit.good[first:last],
                    visit.score[first:last] if significance is not None and visit.score is not None else None,
                    first, float(weight), visit.forward, visit.backward,
                )
                for visit, weight in zip(self.visits, weights, strict=True)
            ]  # fmt: skip
            rows.append(_core.dcrPass(images, self.order, visits, value, significance, sums, begin, end, bool(normal)))
        if self.order > 1:
            for plane in sums:
                _core.prefilterSpline(plane, self.order, True)
        metric = None if significance is None else MetricMap(np.concatenate(rows, axis=1), self.weights)
        return (sums if accumulate else None), metric

    def template(self, models, index):
        """Template of one visit, float32 (height, width)."""
        images = [prefilter(m, self.order) if self.order > 1 else np.ascontiguousarray(m, np.float32) for m in models]
        out = np.empty(self.shape, np.float32)
        _core.dcrTemplate(images, self.order, self.visits[index].forward, out)
        return out
