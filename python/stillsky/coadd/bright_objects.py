"""Masking the surroundings of bright objects listed as regions on the sky (coadds and DCR, section 3.4)."""

import logging
import math
import re

import numpy as np

from ..detection import SpanSet
from ..errors import DomainError, FitsLayoutError, NotFoundError
from ..geom import Box2D, Box2I, Point2I, Polygon

__all__ = ["readBrightObjects", "setBrightObjectMasks"]

_LOG = logging.getLogger(__name__)


def setBrightObjectMasks(exposure, brightObjects, planeName="BRIGHT_OBJECT", log=None):
    """Set a mask plane inside regions, in place.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
        With a WCS. The plane is added where it is missing.
    brightObjects : `astropy.table.Table` or None
        Columns ``type`` ("circle" or "box"); ``coord`` (`astropy.coordinates.SkyCoord`), or ``ra`` and ``dec``;
        ``radius``; ``width``, ``height``, ``angle``; and, for messages, ``id``. Angles are radians, or have units.
        None: a warning.
    planeName : `str`
    log : `logging.Logger`, optional

    Returns
    -------
    count : `int`
        Objects with pixels on the image.

    Raises
    ------
    DomainError
        The exposure has no WCS.
    NotFoundError
        (a KeyError) A column is missing.

    Notes
    -----
    Angles become pixels by the scale at the centre of the image, positions the nearest pixel. Circles have the radius
    rounded down. The width of a box lies along east and west and its height along north and south for angle 0; a
    positive angle turns it from north through east. A box whose sides leave rows and columns by less than half a pixel
    reaches from trunc(centre - side/2) to trunc(centre + side/2), inclusive; any other has the pixels whose centres lie in
    the turned rectangle. Other types, and positions that the WCS cannot project, are skipped with a warning.
    """
    log = log or _LOG
    if brightObjects is None:
        log.warning("No table of bright objects: nothing is masked")
        return 0
    if exposure.wcs is None:
        raise DomainError("setBrightObjectMasks: the exposure has no WCS")
    bit = 1 << exposure.mask.addPlane(planeName)
    if not len(brightObjects):
        return 0
    scale = exposure.wcs.pixelScale(*Box2D(exposure.bbox).center)
    names = set(brightObjects.colnames)
    ra, dec = _positions(brightObjects, names)
    x, y = exposure.wcs.skyToPixel(ra, dec)
    count = 0
    for k, row in enumerate(brightObjects):
        label = row["id"] if "id" in names else k
        if not (math.isfinite(x[k]) and math.isfinite(y[k])):
            log.warning("Bright object %s cannot be projected: skipped", label)
            continue
        center = Point2I(math.floor(x[k] + 0.5), math.floor(y[k] + 0.5))
        kind = str(row["type"]).strip().lower()
        if kind == "circle":
            region = _circle(center, _angle(brightObjects, row, "radius") / scale, exposure.bbox)
        elif kind == "box":
            sides = [_angle(brightObjects, row, name) / scale for name in ("width", "height")]
            turn = _angle(brightObjects, row, "angle") if "angle" in names else 0.0
            region = _box(center, sides, turn if math.isfinite(turn) else 0.0, exposure)
        else:
            log.warning("Bright object %s: unknown region %r, wanted 'circle' or 'box': skipped", label, kind)
            continue
        region = region.clipped(exposure.bbox)
        if region:
            region.setMask(exposure.mask, bit)
            count += 1
    return count


def _positions(table, names):
    if "coord" in names:
        sky = table["coord"].icrs
        return np.atleast_1d(sky.ra.rad), np.atleast_1d(sky.dec.rad)
    return tuple(np.array([_angle(table, row, name) for row in table]) for name in ("ra", "dec"))


def _angle(table, row, name):
    """Value of a column in radians."""
    if name not in table.colnames:
        raise NotFoundError(f"bright objects: no column {name!r}; the table has {table.colnames}")
    value = row[name]
    if hasattr(value, "to_value"):
        return float(value.to_value("rad"))
    unit = table[name].unit
    if value is np.ma.masked:
        return math.nan
    return float(value) * (1.0 if unit is None else unit.to("rad"))


def _circle(center, radius, bbox):
    radius = int(radius) if math.isfinite(radius) else 0
    # no spans for circles far away, however large
    gap = [max(low - c, c - high, 0) for c, low, high in zip(center, bbox.min, bbox.max, strict=True)]
    if math.hypot(*gap) > radius:
        return SpanSet()
    return SpanSet.fromShape(radius, "circle", (center.x, center.y))


def _box(center, sides, turn, exposure):
    """Pixels of a box: width and height in pixels, ``turn`` from north through east."""
    if not all(map(math.isfinite, sides)):
        return SpanSet()
    jacobian = exposure.wcs.tanAt((float(center.x), float(center.y))).cdMatrix
    north = np.linalg.solve(jacobian, [math.sin(turn), math.cos(turn)])
    east = np.linalg.solve(jacobian, [math.cos(turn), -math.sin(turn)])
    north, east = north / np.hypot(*north), east / np.hypot(*east)
    # how far corners move when the box is taken for one of rows and columns
    for across, up, width, height in ((east, north, *sides), (north, east, *reversed(sides))):
        tilt = max(abs(across[1]) * width, abs(up[0]) * height) / 2
        if tilt < 0.5:
            low = [math.trunc(c - s / 2) for c, s in zip(center, (width, height), strict=True)]
            high = [math.trunc(c + s / 2) for c, s in zip(center, (width, height), strict=True)]
            box = Box2I.fromMinMax(Point2I(*low), Point2I(*high)).clipped(exposure.bbox)
            return SpanSet() if box.isEmpty else SpanSet.fromBox(box)
    corners = [np.array(center, float) + i * sides[0] / 2 * east + j * sides[1] / 2 * north for i, j in _CORNERS]
    polygon = Polygon(corners).intersection(Polygon(exposure.bbox))
    return SpanSet() if polygon is None else SpanSet.fromPolygon(polygon)


_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))

_SHAPE = re.compile(r"^\s*[+-]?\s*(\w+)\s*\(([^)]*)\)\s*(?:#\s*(.*))?$")
_ARGUMENTS = {"circle": 3, "box": 5}
_UNITS = {"d": "deg", "'": "arcmin", '"': "arcsec", "r": "rad"}


def readBrightObjects(path):
    """Table of regions of bright objects.

    Parameters
    ----------
    path : path-like
        Either any table that astropy reads, with the columns of `setBrightObjectMasks` (.ecsv, .fits, .csv, ...), or
        a list of DS9 regions (.reg, .txt): ``circle(ra,dec,radius)`` and ``box(ra,dec,width,height,angle)`` in ICRS or
        FK5, in degrees or with units (d ' " r), positions also sexagesimal. ``# ID: 17`` behind a region names it.

    Returns
    -------
    table : `astropy.table.Table`
        Of DS9 regions: id, type, ra, dec, radius, width, height, angle (radians; NaN where a region has none).

    Raises
    ------
    FitsLayoutError
        A line that cannot be understood, or regions in pixels.
    """
    from pathlib import Path

    from astropy.table import Table

    path = Path(path)
    if path.suffix.lower() not in (".reg", ".txt"):
        return Table.read(path)
    rows, system = [], "icrs"
    for number, line in enumerate(path.read_text().splitlines(), 1):
        for part in _statements(line):
            word = part.lower()
            if word in ("icrs", "fk5", "j2000", "wcs"):
                system = word
            elif word in ("image", "physical", "galactic", "ecliptic", "fk4", "b1950", "detector", "amplifier"):
                system = None
            elif not word.startswith(("global", "composite")):
                if system is None:
                    raise FitsLayoutError(f"{path}:{number}: regions must be in ICRS or FK5")
                rows.append(_region(part, f"{path}:{number}", len(rows)))
    names = ("id", "type", "ra", "dec", "radius", "width", "height", "angle")
    table = Table(rows=rows, names=names) if rows else Table({n: [] for n in names})
    for name in names[2:]:
        table[name].unit = "rad"
    return table


def _statements(line):
    """Statements of a line, with the comment on the last; comment lines have none."""
    line = line.strip()
    if not line or line.startswith("#"):
        return []
    body, hashed, comment = line.partition("#")
    parts = [part.strip() for part in body.split(";") if part.strip()]
    if parts and hashed:
        parts[-1] += f" # {comment.strip()}"
    return parts


def _region(text, where, number):
    match = _SHAPE.match(text)
    kind = match[1].lower() if match else None
    if kind not in _ARGUMENTS:
        raise FitsLayoutError(f"{where}: wanted circle(...) or box(...), found {text!r}")
    arguments = [a.strip() for a in match[2].split(",")]
    if kind == "box" and len(arguments) == 4:
        arguments.append("0")
    if len(arguments) != _ARGUMENTS[kind]:
        raise FitsLayoutError(f"{where}: {kind} wants {_ARGUMENTS[kind]} numbers, found {text!r}")
    try:
        ra, dec = _sexagesimal(arguments[0], 15.0), _sexagesimal(arguments[1], 1.0)
        rest = [_ds9Angle(a) for a in arguments[2:]]
    except ValueError as error:
        raise FitsLayoutError(f"{where}: {error} in {text!r}") from None
    named = re.search(r"\bid\s*:\s*(\d+)", match[3] or "", re.IGNORECASE)
    sizes = (rest[0], math.nan, math.nan, math.nan) if kind == "circle" else (math.nan, *rest)
    return (int(named[1]) if named else number, kind, ra, dec, *sizes)


def _sexagesimal(text, factor):
    """Radians of a number in degrees, or of hours (``factor`` 15) or degrees, minutes and seconds."""
    parts = [p for p in re.split(r"[:hdms ]+", text) if p]
    if len(parts) == 1:
        return math.radians(float(parts[0]))
    if len(parts) != 3:
        raise ValueError(f"no position {text!r}")
    value = sum(abs(float(p)) / 60**i for i, p in enumerate(parts))
    return math.radians(factor * (-value if text.lstrip().startswith("-") else value))


def _ds9Angle(text):
    from astropy import units as u

    unit = _UNITS.get(text[-1:], "deg")
    return float(text[:-1] if text[-1:] in _UNITS else text) * u.Unit(unit).to("rad")
