"""Flat fields on disk: finding the files, reading what their headers say, and pairing them."""

import logging
import math
import os
import re
from dataclasses import dataclass, field

import numpy as np

from ..errors import FitsLayoutError, StillskyError
from ..fits.files import openFits, readingErrors, splitExtension
from ..fits.layout import pixelShape, readPixels
from ..fits.noise import headerNumber

__all__ = ["FlatFile", "FlatPairing", "medianLevel", "pairFlats", "scanFlat"]

_log = logging.getLogger(__name__)
_TIME_KEYS = ("EXPTIME", "EXPOSURE", "EXP_TIME", "ITIME", "EXPOSED")
_TYPE_KEYS = ("IMAGETYP", "OBSTYPE", "IMGTYPE", "FRAME", "DATATYPE")
_NAME_PAIR = re.compile(r"^(?P<stem>.*flat)[_-]?(?P<number>[12])(?=[_.\-]|$)", re.IGNORECASE)
_LEVEL_ROWS = 64


@dataclass(frozen=True)
class FlatFile:
    """What the headers of a file say.

    Attributes
    ----------
    path : `str`
        File.
    ext : `int`, `str` or None
        Extension that was asked for.
    exposureTime : `float`
        Seconds; NaN when no header key tells.
    value : `str`, `float` or None
        Value of the pairing key.
    kind : `str`
        "flat", "bias", "dark", "other" by the header, or "" when it does not say.
    start : `float`
        Modified Julian date of the exposure; NaN when unknown.
    shape : (`int`, `int`)
        Height and width of the first image.
    images : `int`
        Number of images in the file.
    instrument : `str`
        Camera.
    """

    path: str
    ext: object = None
    exposureTime: float = math.nan
    value: object = None
    kind: str = ""
    start: float = math.nan
    shape: tuple = (0, 0)
    images: int = 1
    instrument: str = ""

    @property
    def name(self):
        """File name without folder."""
        return os.path.basename(self.path)


@dataclass(frozen=True)
class FlatPairing:
    """Which files belong together.

    Attributes
    ----------
    by : `str`
        What the files of a pair have in common: "time", "key", "name", "order" or "level".
    pairs : `list` [(`FlatFile`, `FlatFile`)]
        In the order of the files.
    alone : `list` [(`FlatFile`, `str`)]
        Files without a partner, and why.
    levels : `dict` [`str`, `float`]
        Median of each file by its path, where pixels were looked at.
    """

    by: str
    pairs: list
    alone: list
    levels: dict = field(default_factory=dict)


def scanFlat(path, *, ext=None, key=None):
    """Read the headers of a file; no pixel is read.

    Parameters
    ----------
    path : `str`
        FILE or FILE[EXT].
    ext : `int` or `str`, optional
        Extension of a file that names none.
    key : `str`, optional
        Header key whose value pairs the files.

    Returns
    -------
    flat : `FlatFile`

    Raises
    ------
    OSError, FitsLayoutError
        The file cannot be read, or holds no image.
    """
    file, own = splitExtension(path)
    ext = own if own is not None else ext
    with openFits(file) as hdus, readingErrors(file):
        images = [hdu for hdu in hdus if getattr(hdu, "is_image", False) and len(hdu.shape) >= 2]
        if ext is not None:
            try:
                images = [hdus[ext]]
            except (KeyError, IndexError):
                raise FitsLayoutError(f"{file}: no extension {ext!r}") from None
        if not images:
            raise FitsLayoutError(f"{file}: wanted an image, found none in {len(hdus)} extensions")
        headers = [images[0].header, hdus[0].header]
        return FlatFile(
            path=os.fspath(file),
            ext=ext,
            exposureTime=_exposureTime(headers),
            value=_first(headers, key) if key else None,
            kind=_kind(headers),
            start=_start(headers),
            shape=tuple(pixelShape(images[0])),
            images=len(images),
            instrument=str(_first(headers, "INSTRUME") or ""),
        )


def _first(headers, key):
    for header in headers:
        value = header.get(key)
        if value is not None and not type(value).__name__ == "Undefined" and value != "":
            return value.strip() if isinstance(value, str) else value
    return None


def _exposureTime(headers):
    """Seconds; a card whose comment says milliseconds is converted."""
    for key in _TIME_KEYS:
        for header in headers:
            value = headerNumber(header, key)
            if value is not None and value >= 0:
                comment = header.comments[key].lower()
                milli = re.search(r"\[ms\]|\bmsec|millisec|\bms\b|\(ms\)", comment)
                return value * 1e-3 if milli else value
    return math.nan


def _kind(headers):
    for key in _TYPE_KEYS:
        text = str(_first(headers, key) or "").lower()
        if "flat" in text:
            return "flat"
        if "bias" in text or "zero" in text:
            return "bias"
        if "dark" in text:
            return "dark"
        if text:
            return "other"
    return ""


def _start(headers):
    for header in headers:
        mjd = headerNumber(header, "MJD-OBS")
        if mjd is not None and 1 < mjd < 1e6:
            return mjd
    date = _first(headers, "DATE-OBS")
    if not isinstance(date, str):
        return math.nan
    clock = _first(headers, "TIME-OBS")
    text = date if "T" in date or not isinstance(clock, str) else f"{date}T{clock}"
    try:
        # only for the order of files and the time between them: leap seconds do not matter
        return float(np.datetime64(text.rstrip("Z"), "ms").astype(np.int64)) / 86400e3 + 40587.0
    except ValueError:
        return math.nan


def medianLevel(flat):
    """Median of the raw values on up to 64 rows spread over the (first) image of a file, in the unit of the file."""
    with openFits(flat.path) as hdus, readingErrors(flat.path):
        if flat.ext is not None:
            hdu = hdus[flat.ext]
        else:
            hdu = next(h for h in hdus if getattr(h, "is_image", False) and len(h.shape) >= 2)
        height, width = pixelShape(hdu)
        n = min(height, _LEVEL_ROWS)
        rows = [int((k + 0.5) * height / n) for k in range(n)]
        values = [readPixels(hdu, np.float64, (slice(r, r + 1), slice(0, width))) for r in rows]
    values = np.concatenate(values)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else math.nan


def pairFlats(flats, by="auto", *, timeTolerance=5e-3, levelTolerance=0.1):
    """Pairs of flats.

    Parameters
    ----------
    flats : sequence of `FlatFile`
        In the order given.
    by : `str`
        "time": equal exposure times; "key": equal values of the header key they were scanned for; "name": ``*flat1*`` and
        ``*flat2*``; "order": first and second, third and fourth, ...; "level": most similar medians; "auto": key if
        there is one, else time, or name where no time is known, else level.
    timeTolerance : `float`
        Seconds, added to 1e-5 of the time itself.
    levelTolerance : `float`
        Largest relative difference of the medians of a pair by level.

    Returns
    -------
    pairing : `FlatPairing`
        Of a group of more than two, neighbours in time make pairs; an odd one stays alone. Files of different shape or
        number of images are never paired.
    """
    flats = list(flats)
    if by == "auto":
        # times that differ are no reason to look at names: flat1 and flat2 may be any two exposures
        timed = any(math.isfinite(f.exposureTime) for f in flats)
        tried = (
            ["key"] if any(f.value is not None for f in flats) else ["time", "level"] if timed else ["name", "level"]
        )
        for way in tried:
            pairing = pairFlats(flats, way, timeTolerance=timeTolerance, levelTolerance=levelTolerance)
            if pairing.pairs:
                return pairing
        return pairing
    if by == "order":
        return _neighbours("order", {"": flats}, lambda key: "no partner: an odd number of files", inTime=False)
    if by == "level":
        return _byLevel(flats, levelTolerance)
    if by == "time":
        return _byTime(flats, timeTolerance)
    if by == "key":
        groups = _grouped(flats, lambda f: _numeric(f.value))
        return _neighbours("key", groups, lambda k: f"the only one left with {k}" if k is not None else "key missing")
    if by == "name":
        groups = _grouped(flats, _nameStem)
        return _neighbours("name", groups, lambda k: "no partner by name" if k else "no flat1 or flat2 in the name")
    raise ValueError(f"by: auto, time, key, name, order or level wanted, {by!r} given")


def _numeric(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return value


def _nameStem(flat):
    match = _NAME_PAIR.match(flat.name)
    return match["stem"] if match else None


def _grouped(flats, keyOf):
    groups = {}
    for flat in flats:
        groups.setdefault(keyOf(flat), []).append(flat)
    return groups


def _byTime(flats, tolerance):
    from .pairing import timesMatch

    groups = {}
    for flat in flats:
        time = flat.exposureTime
        key = (
            None
            if math.isnan(time)
            else next((k for k in groups if k is not None and timesMatch(time, k, tolerance)), time)
        )
        groups.setdefault(key, []).append(flat)

    def reason(key):
        return "no exposure time in the header" if key is None else f"the only one left with {key:g} s"

    return _neighbours("time", groups, reason)


def _neighbours(by, groups, reason, inTime=True):
    """Neighbours within each group; the group None has no pairs."""
    pairs, alone = [], []
    for key, members in groups.items():
        if key is None:
            alone += [(flat, reason(key)) for flat in members]
            continue
        if inTime and all(math.isfinite(f.start) for f in members):
            members = sorted(members, key=lambda f: f.start)
        waiting = []
        for flat in members:
            partner = next((w for w in waiting if (w.shape, w.images) == (flat.shape, flat.images)), None)
            if partner is None:
                waiting.append(flat)
            else:
                waiting.remove(partner)
                pairs.append((partner, flat))
        alone += [(flat, reason(key)) for flat in waiting]
    return FlatPairing(by, pairs, alone)


def _byLevel(flats, tolerance):
    """The most similar medians first, each file once."""
    levels = {}
    for flat in flats:
        try:
            levels[flat.path] = medianLevel(flat)
        except (OSError, StillskyError) as error:
            _log.warning("%s", error)
            levels[flat.path] = math.nan
    ordered = sorted((f for f in flats if levels[f.path] > 0), key=lambda f: levels[f.path])
    steps = []
    for first, second in zip(ordered, ordered[1:]):
        a, b = levels[first.path], levels[second.path]
        if (first.shape, first.images) == (second.shape, second.images) and b - a <= tolerance * 0.5 * (a + b):
            steps.append(((b - a) / (a + b), first, second))
    taken, pairs = set(), []
    for _, first, second in sorted(steps, key=lambda s: s[0]):
        if not taken & {first.path, second.path}:
            taken |= {first.path, second.path}
            pairs.append((first, second))
    pairs.sort(key=lambda p: levels[p[0].path])
    alone = [(f, f"level {levels[f.path]:.6g}, no other within {tolerance:.0%}") for f in flats if f.path not in taken]
    return FlatPairing("level", pairs, alone, levels)
