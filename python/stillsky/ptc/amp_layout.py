"""Which pixels of a file belong to which amplifier: from section cards, from the user, or the whole frame."""

import logging
import math
import re
from dataclasses import dataclass, replace

from ..errors import FitsLayoutError, MismatchError
from ..fits.layout import pixelShape
from ..fits.noise import headerNumber
from ..geom import Box2I
from .sections import Section, parseSection

__all__ = ["AmpPlace", "imageExtensions", "placesFromHeaders", "placesFromRegions"]

_log = logging.getLogger(__name__)

# Cards of an image that is one amplifier; in one frame of many, with a letter or number after each.
_DATA_KEYS = ("DATASEC", "DSEC", "TRIMSEC")
_BIAS_KEYS = ("BIASSEC", "BSEC")
_DETECTOR_KEYS = ("DETSEC", "CCDSEC", "CSEC")
_SUFFIXED = re.compile(r"(DATASEC|DSEC)([A-Z]|\d{1,2})")
_NUMBER_KEYS = {
    "gain": ("GAIN", "EGAIN"),
    "readNoise": ("RDNOISE", "READNOIS", "RON"),
    "saturation": ("SATURATE", "SATURAT", "SATLEVEL"),
}
_NAME_KEYS = ("AMPNAME", "AMPNAM", "AMPID", "EXTNAME")


@dataclass(frozen=True)
class AmpPlace:
    """One amplifier of a file.

    Attributes
    ----------
    name : `str`
    ext : `int`
        Number of the extension.
    data : `Section`
        Science pixels in the raw frame.
    bias : `Box2I` or None
        Overscan in the raw frame.
    target : `Section` or None
        Where the science pixels go in the detector; None where the file does not say.
    gain, readNoise, saturation : `float`
        electron/adu, electrons, raw adu; NaN when unknown.
    problem : `str`
        Why this amplifier cannot be used; "" if it can.
    """

    name: str
    ext: int
    data: Section
    bias: Box2I | None = None
    target: Section | None = None
    gain: float = math.nan
    readNoise: float = math.nan
    saturation: float = math.nan
    problem: str = ""


def imageExtensions(hdus):
    """Numbers of the extensions that hold an image with two axes (`list` [`int`])."""
    found = []
    for number, hdu in enumerate(hdus):
        if getattr(hdu, "is_image", False) and len([n for n in hdu.shape if n > 1]) >= 2:
            found.append(number)
    return found


def placesFromRegions(hdus, regions, ext=None):
    """Amplifiers as the user describes them.

    Parameters
    ----------
    hdus : `astropy.io.fits.HDUList`
    regions : sequence of `AmpRegion`
    ext : `int` or `str`, optional
        Extension for regions that name none; by default the first image.

    Returns
    -------
    places : `list` [`AmpPlace`]
        Those outside the frame carry a ``problem``.
    """
    places = []
    for region in regions:
        wanted = region.ext if region.ext is not None else ext
        number = _extension(hdus, wanted, f"amplifier {region.name}")
        headers = (hdus[number].header, hdus[0].header)
        numbers = {what: getattr(region, what) or _number(headers, keys, "") for what, keys in _NUMBER_KEYS.items()}
        target = None if region.ext is not None and len({r.ext for r in regions}) > 1 else Section(region.data)
        place = AmpPlace(region.name, number, Section(region.data), region.bias, target, **numbers)
        places.append(_checkedPlace(place, hdus[number]))
    return places


def _extension(hdus, ext, who):
    images = imageExtensions(hdus)
    if not images:
        raise FitsLayoutError(f"wanted an image, found none in {len(hdus)} extensions")
    if ext is None:
        return images[0]
    try:
        number = hdus.index_of(ext)
        hdus[number]  # noqa: B018 (index_of takes any integer)
    except (KeyError, IndexError):
        raise FitsLayoutError(f"{who}: no extension {ext!r} in {len(hdus)} extensions") from None
    if number not in images:
        raise FitsLayoutError(f"{who}: extension {ext!r} is no image")
    return number


def placesFromHeaders(hdus, ext=None):
    """Amplifiers from the section cards of the headers.

    Parameters
    ----------
    hdus : `astropy.io.fits.HDUList`
    ext : `int` or `str`, optional
        Only this extension.

    Returns
    -------
    places : `list` [`AmpPlace`]
        One per extension with DATASEC, BIASSEC or DETSEC; or one per DATASECA, DATASECB, ... of a frame; or one, the
        (first) whole frame without its overscan. Overscan outside the frame is not used, as a trimmed file may still
        have the cards of the raw one; science pixels outside the frame are a ``problem``.
    """
    numbers = imageExtensions(hdus) if ext is None else [_extension(hdus, ext, "flat")]
    if not numbers:
        raise FitsLayoutError(f"wanted an image, found none in {len(hdus)} extensions")
    withSections = [n for n in numbers if _hasSections(hdus[n].header)]
    if len(withSections) < 2:
        number = withSections[0] if withSections else numbers[0]
        suffixes = _suffixes(hdus[number].header)
        name = _names([hdus[number].header], "frame")[0]
        return [_placeInFrame(hdus, number, s) for s in suffixes] or [_placeOfExtension(hdus, number, name)]
    places = []
    for number, name in zip(withSections, _names([hdus[n].header for n in withSections])):
        inside = [_placeInFrame(hdus, number, s) for s in _suffixes(hdus[number].header)]
        places += [replace(p, name=f"{name}{p.name}") for p in inside] or [_placeOfExtension(hdus, number, name)]
    return places


def _suffixes(header):
    """Letters or numbers of the amplifiers that share a frame, in order."""
    found = {m[2] for key in header if (m := _SUFFIXED.fullmatch(key)) and _usable(header[key])}
    return sorted(found, key=lambda s: (len(s), s))


def _usable(card):
    """Whether a card holds a section; cameras write [0:0,0:0] for none."""
    try:
        parseSection(card)
    except FitsLayoutError:
        return False
    return True


def _hasSections(header):
    if any(_SUFFIXED.fullmatch(key) for key in header):
        return True
    return any(_usable(header.get(key)) for key in ("DATASEC", "DETSEC", "BIASSEC"))


def _names(headers, default=None):
    """Names of the amplifiers: the first kind of card that all have and that tells them apart."""
    for key in _NAME_KEYS:
        names = [str(h.get(key) or "").strip() for h in headers]
        if all(names) and len(set(names)) == len(names) and (default is None or key.startswith("AMP")):
            return names
    return [default] if default else [f"amp{i + 1}" for i in range(len(headers))]


def _section(header, keys, suffix=""):
    for key in keys:
        value = header.get(f"{key}{suffix}")
        if value is not None and _usable(value):
            return parseSection(value)
    return None


def _binning(header):
    """Pixels of the detector per pixel of the file, x and y."""
    match = re.fullmatch(r"\s*(\d+)[\s,xX]+(\d+)\s*", str(header.get("CCDSUM") or ""))
    return (int(match[1]), int(match[2])) if match else (1, 1)


def _placeOfExtension(hdus, number, name):
    header = hdus[number].header
    height, width = pixelShape(hdus[number])
    data = _section(header, _DATA_KEYS) or Section(Box2I((0, 0), (width, height)))
    bias = _section(header, _BIAS_KEYS)
    return _makePlace(hdus, number, name, data, bias.box if bias else _columnsBesideData(data.box, width), "")


def _placeInFrame(hdus, number, suffix):
    header = hdus[number].header
    data, bias = _section(header, _DATA_KEYS, suffix), _section(header, _BIAS_KEYS, suffix)
    name = next((str(header[f"{k}{suffix}"]).strip() for k in _NAME_KEYS if header.get(f"{k}{suffix}")), suffix)
    return _makePlace(hdus, number, name, data, bias.box if bias else None, suffix)


def _makePlace(hdus, number, name, data, bias, suffix):
    header = hdus[number].header
    target = _section(header, _DETECTOR_KEYS, suffix)
    if target is not None:
        target = _unbinned(name, target, data.box, _binning(header))
    height, width = pixelShape(hdus[number])
    if bias is not None and not Box2I((0, 0), (width, height)).contains(bias):
        _log.warning("amplifier %s: its overscan lies outside the frame (already trimmed?) and is not used", name)
        bias = None
    headers = (header, hdus[0].header)
    numbers = {what: _number(headers, keys, suffix) for what, keys in _NUMBER_KEYS.items()}
    return _checkedPlace(AmpPlace(name, number, data, bias, target, **numbers), hdus[number])


def _number(headers, keys, suffix):
    """The first positive number, of the amplifier itself before that of the whole."""
    cards = [f"{key}{suffix}" for key in keys if len(key) + len(suffix) <= 8] + list(keys)
    values = (headerNumber(header, card) for header in headers for card in cards)
    return next((v for v in values if v is not None and v > 0), math.nan)


def _columnsBesideData(data, width):
    """Overscan of an image without BIASSEC: the wider strip of columns beside the science pixels, if there is one."""
    left, right = data.minX, width - 1 - data.maxX
    if max(left, right) < 2:
        return None
    start, size = (data.maxX + 1, right) if right >= left else (0, left)
    return Box2I((start, data.minY), (size, data.height))


def _unbinned(name, target, data, binning):
    """The detector section in pixels of the file."""
    box = target.box
    if tuple(box.dimensions) == tuple(data.dimensions):
        return target
    bx, by = binning
    if (bx, by) != (1, 1) and -(-box.width // bx) == data.width and -(-box.height // by) == data.height:
        return Section(Box2I((box.minX // bx, box.minY // by), tuple(data.dimensions)), target.flipX, target.flipY)
    _log.warning(
        "amplifier %s: its detector section is %d x %d, its science pixels are %d x %d; the section is ignored",
        name, box.width, box.height, data.width, data.height,
    )  # fmt: skip
    return None


def _checkedPlace(place, hdu):
    """The place with a problem noted where a section leaves the frame."""
    height, width = pixelShape(hdu)
    frame = Box2I((0, 0), (width, height))
    outside = [
        f"{what} {box.minX}:{box.maxX + 1},{box.minY}:{box.maxY + 1}"
        for what, box in (("data", place.data.box), ("bias", place.bias))
        if box is not None and not frame.contains(box)
    ]
    if not outside:
        return place
    return replace(place, problem=f"{' and '.join(outside)} outside the frame of {width} x {height} px")


def checkPlaces(places):
    """Refuse amplifiers of one name; warn of those with a problem.

    Raises
    ------
    MismatchError
        If two share a name, or none is usable.
    """
    names = [p.name for p in places]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise MismatchError(f"amplifiers: wanted different names, given twice: {', '.join(twice)}")
    for place in places:
        if place.problem:
            _log.warning("amplifier %s is left out: %s", place.name, place.problem)
    if all(place.problem for place in places):
        raise MismatchError(
            "no amplifier lies inside the frame",
            found="; ".join(f"{p.name}: {p.problem}" for p in places[:4]),
            remedy="correct the sections: those of headers count from 1, those of --amps from 0, end not included",
        )
