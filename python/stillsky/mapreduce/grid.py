"""Cutting an image into cells: pure arithmetic on boxes, without exposures or tasks.

A cell is a core box and the same place plus a border. The order of the cells is part of the contract: x is the outer
loop, y the inner one; it decides which patch wins in ``copy`` and the numbers of PSF components.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from ..errors import DomainError, ShapeError, StillskyError
from ..geom import Box2I, Extent2I

__all__ = ["Grid", "GridCell", "coverage", "evenSized", "makeGrid", "scaledSizes"]


@dataclass(frozen=True)
class GridCell:
    """One cell.

    Attributes
    ----------
    index : `int`
        Place in the list of results.
    core, expanded : `stillsky.geom.Box2I`
        Parent coordinates; ``expanded`` has the border, and both are clipped to the image.
    """

    index: int
    core: Box2I
    expanded: Box2I


@dataclass
class Grid:
    """The cells of an image.

    Attributes
    ----------
    cells : `list` [`GridCell`]
    skipped : `list` [`int`]
        Numbers of the given centres whose cell has no pixel on the image.
    cell, step, border : (`int`, `int`)
        Sizes in pixels, scaled and rounded.
    """

    cells: list
    skipped: list = field(default_factory=list)
    cell: tuple = (0, 0)
    step: tuple = (0, 0)
    border: tuple = (0, 0)


def scaledSizes(cell, step, border, fwhm=None):
    """Sizes in whole pixels: each times the FWHM, rounded to the nearest integer, halves to even.

    Parameters
    ----------
    cell, step, border : (`float`, `float`)
    fwhm : `float`, optional
        Pixels; None scales nothing.

    Returns
    -------
    cell, step, border : (`int`, `int`)

    Raises
    ------
    DomainError
        A cell size or a step is below one pixel.
    """
    factor = 1.0 if fwhm is None else float(fwhm)
    if not (math.isfinite(factor) and factor > 0):
        raise DomainError(f"makeGrid: fwhm must be positive and finite, got {fwhm}")
    out = []
    for stem, sizes in (("cellSize", cell), ("gridStep", step), ("borderSize", border)):
        scaled = tuple(round(float(size) * factor) for size in sizes)
        for axis, size, value in zip("XY", scaled, sizes, strict=True):
            if size < (0 if stem == "borderSize" else 1):
                raise DomainError(
                    f"{stem}{axis} = {value:g} is {value * factor:.3g} pixels after scaling, less than one pixel"
                )
        out.append(scaled)
    return tuple(out)


def _referenceIntervals(width, cell, step, option):
    """(first pixel, size) of the unclipped cells along one axis, as the reference places them."""
    if option == "spacing":  # the step is not used
        return [(math.floor(x) - cell // 2, cell) for x in np.linspace(cell // 2, width - cell // 2, width // cell + 1)]
    if option == "size":
        cell, used = step, step + 1
    else:
        used = cell
    return [(x - used // 2, used) for x in range(cell // 2, width + cell // 2, step)]


def _intervals(width, cell, step, option):
    """(first pixel, size) of the unclipped cells along one axis."""
    if option == "spacing":
        # The least number of cells no further apart than the step, from the first pixel to the last.
        n = max(1, -(-(width - cell) // step) + 1)
        return [(i * (width - cell) // (n - 1) if n > 1 else 0, cell) for i in range(n)]
    if option == "size":
        # An exact tiling: sizes differ by at most one pixel.
        n = max(1, -(-width // step))
        edges = [i * width // n for i in range(n + 1)]
        return [(a, b - a) for a, b in zip(edges[:-1], edges[1:]) if b > a]
    return [(x - cell // 2, cell) for x in range(cell // 2, width + cell // 2, step)]


def evenSized(box, bounds):
    """The box with even width and height: an odd side grows by a pixel to the right or up, else to the left or down.

    Raises
    ------
    StillskyError
        The box spans the whole of an odd-sized image.
    """
    if box.isEmpty:
        return box
    x0, y0, x1, y1 = box.minX, box.minY, box.maxX, box.maxY
    if (x1 - x0) % 2 == 0:
        x0, x1 = (x0, x1 + 1) if x1 < bounds.maxX else (max(x0 - 1, bounds.minX), x1)
    if (y1 - y0) % 2 == 0:
        y0, y1 = (y0, y1 + 1) if y1 < bounds.maxY else (max(y0 - 1, bounds.minY), y1)
    even = Box2I.fromMinMax((x0, y0), (x1, y1))
    if even.width % 2 or even.height % 2:
        raise StillskyError(f"makeGrid: {box} spans the odd-sized image {bounds}, no even-sized box holds it")
    return even


def makeGrid(
    bbox,
    cell,
    step,
    border,
    option="spacing",
    *,
    centroids=None,
    centroidOrigin="parent",
    fwhm=None,
    forceEven=False,
    compat=False,
):
    """Boxes of the cells of an image.

    Parameters
    ----------
    bbox : `stillsky.geom.Box2I`
        The image.
    cell, step, border : (`float`, `float`)
        Size of a cell, distance of neighbouring centres, pixels added on each side; (x, y).
    option : `str`
        "spacing": evenly spread cells of the given size, at most a step apart, from edge to edge; "size": an exact
        tiling by cells of about a step; "none": cells at every step, the last ones clipped.
    centroids : (sequence, sequence), optional
        x and y of the centres, paired by index, instead of a regular grid.
    centroidOrigin : `str`
        "parent": parent coordinates; "local": offsets from the first pixel.
    fwhm : `float`, optional
        Sizes are multiplied by this.
    forceEven : `bool`
        All boxes get even sides.
    compat : `bool`
        As the reference: "spacing" ignores the step and makes a row too many, "size" overlaps by a pixel, cells of one
        pixel vanish, identical cells stay, centres are local with sizes truncated and not scaled.

    Returns
    -------
    grid : `Grid`

    Raises
    ------
    DomainError
        A size below one pixel, an unknown option, lists of different length.
    StillskyError
        ``forceEven`` cannot be met.

    Notes
    -----
    A cell at the edge loses the part outside; it is not moved. The border is added before clipping.
    """
    if bbox.isEmpty:
        raise ShapeError("makeGrid: the image has no pixels")
    if option not in ("spacing", "size", "none"):
        raise DomainError(f"makeGrid: option must be spacing, size or none, got {option!r}")
    if centroids is not None:
        if compat:
            (cx, cy), (bx, by) = (tuple(int(v) for v in sizes) for sizes in (cell, border))
            sizes = ((cx, cy), tuple(int(v) for v in step), (bx, by))
        else:
            sizes = scaledSizes(cell, step, border, fwhm)
        cores = _centred(bbox, centroids, sizes[0], "local" if compat else centroidOrigin)
    else:
        sizes = scaledSizes(cell, step, border, fwhm)
        place = _referenceIntervals if compat else _intervals
        columns, rows = (
            place(n, c, s, option) for n, c, s in zip((bbox.width, bbox.height), sizes[0], sizes[1], strict=True)
        )
        x0, y0 = bbox.min
        cores = [Box2I((x0 + x, y0 + y), (w, h)) for x, w in columns for y, h in rows]
    grid = Grid([], [], *sizes)
    seen, margin = set(), tuple(Extent2I(*sizes[2]))
    for number, core in enumerate(cores):
        inner, outer = core.clipped(bbox), core.dilated(margin).clipped(bbox)
        if forceEven:
            inner, outer = evenSized(inner, bbox), evenSized(outer, bbox)
        if min(inner.area, outer.area) <= (1 if compat else 0):
            if centroids is not None:
                grid.skipped.append(number)
            continue
        if centroids is None and not compat:
            if inner in seen:
                continue
            seen.add(inner)
        grid.cells.append(GridCell(len(grid.cells), inner, outer))
    return grid


def _centred(bbox, centroids, size, origin):
    """Unclipped boxes around given centres."""
    xs, ys = (list(v) for v in centroids)
    if len(xs) != len(ys):
        raise DomainError(f"makeGrid: as many centres in x as in y are wanted, got {len(xs)} and {len(ys)}")
    if origin not in ("parent", "local"):
        raise DomainError(f"makeGrid: centroidOrigin must be parent or local, got {origin!r}")
    x0, y0 = bbox.min if origin == "local" else (0, 0)
    (w, h), boxes = size, []
    for x, y in zip(xs, ys):
        if not (math.isfinite(x) and math.isfinite(y)):
            raise DomainError(f"makeGrid: a centre must be finite, got ({x}, {y})")
        boxes.append(Box2I((x0 + math.floor(x) - w // 2, y0 + math.floor(y) - h // 2), (w, h), invert=False))
    return boxes


def coverage(boxes, bbox):
    """How many boxes hold each pixel.

    Parameters
    ----------
    boxes : iterable of `stillsky.geom.Box2I`
    bbox : `stillsky.geom.Box2I`

    Returns
    -------
    count : `numpy.ndarray`, (height, width) uint16

    Raises
    ------
    OverflowError
        A pixel lies in more than 65535 boxes.
    """
    # Differences in both directions, summed up: O(pixels + boxes).
    steps = np.zeros((bbox.height + 1, bbox.width + 1), np.int32)
    for box in boxes:
        box = box.clipped(bbox)
        if not box.isEmpty:
            ys, xs = box.slices(bbox.min)
            steps[ys.start, xs.start] += 1
            steps[ys.start, xs.stop] -= 1
            steps[ys.stop, xs.start] -= 1
            steps[ys.stop, xs.stop] += 1
    np.cumsum(steps, axis=0, out=steps)
    np.cumsum(steps, axis=1, out=steps)
    count = steps[:-1, :-1]
    if count.size and count.max() > np.iinfo(np.uint16).max:
        raise OverflowError(f"coverage: {count.max()} boxes hold one pixel, at most 65535 can be counted")
    return count.astype(np.uint16)
