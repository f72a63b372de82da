"""CoaddPsf: the PSF of an image that was put together from others."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DomainError, InvalidPsfError, OutOfBoundsError, StillskyError
from ..geom import Box2I
from .base import Psf, averageCards, averageOf
from .warped import WarpedPsf

__all__ = ["CoaddPsf", "CoaddPsfComponent"]

_TILE = 128  # pixels: size of the tiles of the index of components


@dataclass(frozen=True)
class CoaddPsfComponent:
    """One input of a `CoaddPsf`.

    Attributes
    ----------
    psf : `Psf`
        In the input's pixels.
    bbox : `stillsky.geom.Box2I`
        Where the input has pixels, in its own coordinates.
    wcs : `stillsky.wcs.SkyWcs` or None
        None only where all inputs and the result share one pixel grid.
    weight : `float`
    id : `int`
    goodPixels : `float` or None
        Multiplies the weight in the average position.
    validPolygon : `stillsky.geom.Polygon` or None
        Part of the box that counts.
    taper : (`int`, `int`, `int`, `int`) or None
        Widths in pixels (left, right, below, above) of cosine ramps of the weight towards the edges of the box.
    """

    psf: Psf
    bbox: Box2I
    wcs: Any = None
    weight: float = 1.0
    id: int = 0
    goodPixels: float | None = None
    validPolygon: Any = None
    taper: tuple | None = None


class CoaddPsf(Psf):
    """Weighted mean of the PSFs of the inputs that hold a position, each warped to the common grid with unit sum.

    K(p) = sum_i w_i K_i(p) / sum_i w_i (Bosch et al. 2018, PASJ 70, S5, section 3.3). Second moments add likewise.

    Parameters
    ----------
    components : iterable of `CoaddPsfComponent`
    coaddWcs : `stillsky.wcs.SkyWcs`, optional
        None when all inputs share the pixel grid of the result. Then, and when all WCS are equal, nothing is resampled.
    warpingKernelName : `str`
        Interpolation kernel of the warps.
    averagePosition : (`float`, `float`), optional
        Default: the mean of the inputs' average positions with the weight ``weight goodPixels``; while no input holds
        it, the input of least weight is left out.
    model : `str`
        "stillsky" or "reference", see `WarpedPsf`.
    combine : `str`
        "mean", or "last": only the input latest in the list, as where images were pasted over each other.
    onBadComponent : `str`
        "raise", or "drop" inputs whose WCS or PSF fails at a position.

    Raises
    ------
    InvalidPsfError
        No input at all, none with positive weight, or (on evaluation) none at a position.
    DomainError
        (on evaluation) A transform stretches by more than 200; the message has ``id=`` of the input.

    Notes
    -----
    Positions are looked up in an index of tiles on one grid, and once per distinct WCS otherwise. A PSF on one grid is
    evaluated at the pixel that holds the position.
    """

    def __init__(
        self,
        components,
        coaddWcs=None,
        warpingKernelName="lanczos3",
        *,
        averagePosition=None,
        model="stillsky",
        combine="mean",
        onBadComponent="raise",
    ):
        for name, value, allowed in (
            ("model", model, ("stillsky", "reference")),
            ("combine", combine, ("mean", "last")),
            ("onBadComponent", onBadComponent, ("raise", "drop")),
        ):
            if value not in allowed:
                raise DomainError(f"CoaddPsf: {name} must be one of {', '.join(allowed)}, got {value!r}")
        self._components = tuple(components)
        _check(self._components)
        self._wcs, self._kernelName, self._model = coaddWcs, warpingKernelName, model
        self._combine, self._drop = combine, onBadComponent == "drop"
        self._sameGrid = all(c.wcs is None or c.wcs is coaddWcs or c.wcs == coaddWcs for c in self._components)
        if coaddWcs is not None and any(c.wcs is None for c in self._components):
            self._sameGrid = self._sameGrid and all(c.wcs is None for c in self._components)
        if not self._sameGrid:
            missing = [c.id for c in self._components if c.wcs is None]
            if missing or coaddWcs is None:
                raise DomainError(
                    f"CoaddPsf: inputs on different grids need a WCS each and a coadd WCS; none: {missing}"
                )
        self._warped, self._tiles = {}, None
        self._average = (0.0, 0.0)
        super().__init__(self._findAverage() if averagePosition is None else averagePosition)

    # ------------------------------------------------------------------ the inputs

    @property
    def components(self):
        """The inputs, a `tuple` of `CoaddPsfComponent`."""
        return self._components

    @property
    def componentCount(self):
        """Number of inputs."""
        return len(self._components)

    @property
    def coaddWcs(self):
        """The WCS of the result, None if all is on one grid without one."""
        return self._wcs

    @property
    def warpingKernelName(self):
        """Interpolation kernel of the warps."""
        return self._kernelName

    def component(self, index):
        """One input; OutOfBoundsError beyond the list."""
        if not 0 <= index < len(self._components):
            raise OutOfBoundsError(f"CoaddPsf: wanted an input of 0..{len(self._components) - 1}, got {index}")
        return self._components[index]

    # Rubin's spellings
    def getComponentCount(self):
        """Number of inputs."""
        return self.componentCount

    def getPsf(self, index):
        """PSF of an input, on its own grid."""
        return self.component(index).psf

    def getWcs(self, index):
        """WCS of an input."""
        return self.component(index).wcs

    def getBBox(self, index):
        """Pixels of an input."""
        return self.component(index).bbox

    def getValidPolygon(self, index):
        """Where an input is valid; None: everywhere."""
        return self.component(index).validPolygon

    def getWeight(self, index):
        """Weight of an input."""
        return self.component(index).weight

    def getId(self, index):
        """Id of an input."""
        return self.component(index).id

    # ------------------------------------------------------------------ who holds a position

    def _candidates(self, x, y):
        """Indices of inputs whose tiles hold the position, on one grid."""
        if self._tiles is None:
            tiles = defaultdict(list)
            for i, c in enumerate(self._components):
                b = c.bbox
                if b.isEmpty:
                    continue
                for ty in range(b.minY // _TILE, b.maxY // _TILE + 1):
                    for tx in range(b.minX // _TILE, b.maxX // _TILE + 1):
                        tiles[tx, ty].append(i)
            self._tiles = dict(tiles)
        return self._tiles.get((math.floor(x + 0.5) // _TILE, math.floor(y + 0.5) // _TILE), ())

    def _inputPositions(self, x, y):
        """(index, position in the input's pixels) of inputs that may hold a position."""
        if self._sameGrid:
            return [(i, (x, y)) for i in self._candidates(x, y)]
        ra, dec = self._wcs.pixelToSky(x, y)
        if not (np.all(np.isfinite(ra)) and np.all(np.isfinite(dec))):
            return []
        found, places = [], {}
        for i, c in enumerate(self._components):
            if id(c.wcs) not in places:
                places[id(c.wcs)] = tuple(float(v) for v in c.wcs.skyToPixel(ra, dec))
            found.append((i, places[id(c.wcs)]))
        return found

    def _holding(self, x, y):
        """Indices and weights of the inputs that hold a position."""
        found = []
        for i, (u, v) in self._inputPositions(x, y):
            c = self._components[i]
            b = c.bbox
            # False for NaN: beyond the domain of a WCS is outside
            inside = b.minX - 0.5 <= u < b.maxX + 0.5 and b.minY - 0.5 <= v < b.maxY + 0.5
            if not inside or (c.validPolygon is not None and not c.validPolygon.contains((u, v))):
                continue
            weight = c.weight * (_taper(c, u, v) if c.taper else 1.0)
            if weight > 0:
                found.append((i, weight))
        return found[-1:] if self._combine == "last" else found

    def _required(self, x, y):
        found = self._holding(x, y)
        if not found:
            raise InvalidPsfError(f"CoaddPsf: no input holds the position ({x:g}, {y:g})")
        return found

    def _findAverage(self):
        """Weighted mean of the average positions, without the lightest inputs while nobody holds it."""
        entries = []
        for c in self._components:
            x, y = c.psf.averagePosition
            if not self._sameGrid:
                x, y = (float(v) for v in self._wcs.skyToPixel(*c.wcs.pixelToSky(x, y)))
            weight = c.weight * (1.0 if c.goodPixels is None else c.goodPixels)
            if math.isfinite(x) and math.isfinite(y):
                entries.append((weight, x, y))
        entries = np.array(sorted(entries, key=lambda e: e[0], reverse=True), float).reshape(-1, 3)
        sums = np.cumsum(entries[:, :1] * np.column_stack([np.ones(len(entries)), entries[:, 1:]]), axis=0)
        for total, sx, sy in sums[::-1]:
            if total > 0 and self._holding(sx / total, sy / total):
                return sx / total, sy / total
        raise InvalidPsfError("CoaddPsf: no input holds the average position of the inputs, or of any part of them")

    # ------------------------------------------------------------------ pixels

    def _warpedPsf(self, index):
        if index not in self._warped:
            c = self._components[index]
            self._warped[index] = WarpedPsf(c.psf, (c.wcs, self._wcs), self._kernelName, model=self._model)
        return self._warped[index]

    def _evaluate(self, index, x, y, what, *arguments):
        """``what`` (a method name of `Psf`) of one input on the common grid."""
        c = self._components[index]
        try:
            if self._sameGrid:
                return getattr(c.psf, what)(*c.psf._position((_round(x), _round(y))), *arguments)
            psf = self._warpedPsf(index)
            return getattr(psf, what)(*psf._position((x, y)), *arguments)
        except DomainError as error:
            raise type(error)(f"CoaddPsf: input id={c.id}: {error}") from error

    def _parts(self, x, y, what, *arguments):
        """(weight, value, index) of the inputs that hold a position; bad ones are left out if that is wanted."""
        parts, last = [], None
        for index, weight in self._required(x, y):
            try:
                parts.append((weight, self._evaluate(index, x, y, what, *arguments), index))
            except DomainError as error:
                if not self._drop:
                    raise
                last = error
        if not parts:
            raise InvalidPsfError(f"CoaddPsf: no usable input at ({x:g}, {y:g})") from last
        return parts

    def _kernelArray(self, x, y):
        return _mixed([(w, a, a.sum()) for w, a, _ in self._parts(x, y, "_kernel")], (x, y))

    def _shiftedArray(self, x, y, dx, dy):
        if self._model == "reference" or not (dx or dy):
            return super()._shiftedArray(x, y, dx, dy)
        # Each input is shifted by its own model, which may have a formula; divided by the sum of the unshifted one.
        parts = self._parts(x, y, "_shiftedArray", dx, dy)
        return _mixed([(w, a, self._evaluate(i, x, y, "_kernel").sum()) for w, a, i in parts], (x, y))

    def _dimensionsAt(self, x, y):
        return _oddHull([size for _, size, _ in self._parts(x, y, "_dimensionsAt")])

    # ------------------------------------------------------------------ values

    def persist(self):
        from .coadd_record import toArrays

        header = {
            **averageCards(self),
            "KERNEL": self._kernelName,
            "MODEL": self._model,
            "COMBINE": self._combine,
            "DROPBAD": self._drop,
        }
        return "CoaddPsf", header, toArrays(self._components, self._wcs)

    @classmethod
    def _restore(cls, header, arrays):
        from .coadd_record import fromArrays

        components, wcs = fromArrays(arrays)
        return cls(
            components,
            wcs,
            header["KERNEL"],
            averagePosition=averageOf(header),
            model=header["MODEL"],
            combine=header["COMBINE"],
            onBadComponent="drop" if header["DROPBAD"] else "raise",
        )

    def resized(self, width, height):
        raise StillskyError("CoaddPsf.resized is not possible: the size follows from the inputs")

    def __repr__(self):
        return f"CoaddPsf({len(self._components)} inputs)"


def _check(components):
    if not components:
        raise InvalidPsfError("CoaddPsf: wanted at least one input, got none")
    for c in components:
        if not (c.weight >= 0 and math.isfinite(c.weight)):
            raise DomainError(f"CoaddPsf: weight of input id={c.id} must be finite and not negative, got {c.weight}")
        if not hasattr(c.psf, "computeKernelImage"):
            raise TypeError(f"CoaddPsf: input id={c.id} has no PSF, got {type(c.psf).__name__}")
    if all(c.weight == 0 for c in components):
        raise InvalidPsfError("CoaddPsf: all weights are zero")


def _round(value):
    """Nearest integer, halves away from zero."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def _oddHull(sizes):
    """Width and height of the union of stamps, made odd: an even side 2m becomes 2m + 1."""
    return tuple(2 * (max(axis) // 2) + 1 for axis in zip(*sizes))


def _mixed(parts, position):
    """Weighted mean of (weight, stamp, sum of the stamp), each with unit sum, on the union of their boxes."""
    width, height = _oddHull([(a.shape[1], a.shape[0]) for _, a, _ in parts])
    out = np.zeros((height, width))
    for weight, array, total in parts:
        if not (np.isfinite(total) and total != 0):
            raise DomainError(f"CoaddPsf: the image of an input at {position} has the sum {total}")
        top, left = height // 2 - array.shape[0] // 2, width // 2 - array.shape[1] // 2
        out[top : top + array.shape[0], left : left + array.shape[1]] += (weight / total) * array
    return out / sum(weight for weight, _, _ in parts)


def _taper(component, u, v):
    b, (left, right, below, above) = component.bbox, component.taper
    weight = 1.0
    for low, high, before, after, position in ((b.minX, b.maxX, left, right, u), (b.minY, b.maxY, below, above, v)):
        for overlap, distance in ((before, position - low), (after, high - position)):
            if overlap > 0:
                weight *= math.sin(0.5 * math.pi * min(max((distance + 0.5) / overlap, 0.0), 1.0)) ** 2
    return weight
