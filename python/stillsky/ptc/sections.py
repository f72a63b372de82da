"""Image sections of FITS headers, and the amplifier regions that a user writes down."""

import os
import re
from dataclasses import dataclass

from ..errors import FitsLayoutError
from ..geom import Box2I

__all__ = ["AmpRegion", "Section", "parseSection", "readAmpRegions"]

_SECTION = re.compile(r"\s*\[\s*(\d+)\s*:\s*(\d+)\s*,\s*(\d+)\s*:\s*(\d+)\s*\]\s*")
_REMEDY = "amplifiers are given as  NAME: {data: [x0, x1, y0, y1], bias: [x0, x1, y0, y1]}, 0-based, end not included"
_NUMBERS = ("gain", "readNoise", "saturation")


@dataclass(frozen=True)
class Section:
    """Part of an image and the directions it runs in.

    Attributes
    ----------
    box : `Box2I`
        0-based.
    flipX, flipY : `bool`
        The section was written from high to low.
    """

    box: Box2I
    flipX: bool = False
    flipY: bool = False


def parseSection(text):
    """Read a section card: "[x1:x2,y1:y2]", 1-based, both ends included, either direction.

    Parameters
    ----------
    text : `str`

    Returns
    -------
    section : `Section`

    Raises
    ------
    FitsLayoutError
        If it is written otherwise. Sections of zeros, as some cameras write for "none", are refused as well.
    """
    match = _SECTION.fullmatch(text) if isinstance(text, str) else None
    values = [int(v) for v in match.groups()] if match else [0]
    if min(values) < 1:
        raise FitsLayoutError(f"image section: wanted [x1:x2,y1:y2] with pixels counted from 1, given {text!r}")
    x1, x2, y1, y2 = (v - 1 for v in values)
    return Section(Box2I.fromMinMax((x1, y1), (x2, y2)), x1 > x2, y1 > y2)


@dataclass(frozen=True)
class AmpRegion:
    """An amplifier as a user describes it.

    Attributes
    ----------
    name : `str`
    data, bias : `Box2I`
        Science pixels and overscan (or None) in the raw frame, 0-based.
    ext : `int`, `str` or None
        Extension that holds it; None is the first image.
    gain, readNoise, saturation : `float` or None
        electron/adu, electrons, raw adu.
    """

    name: str
    data: Box2I
    bias: Box2I | None = None
    ext: object = None
    gain: float | None = None
    readNoise: float | None = None
    saturation: float | None = None


def readAmpRegions(source):
    """Amplifier regions of a YAML file or a mapping.

    Parameters
    ----------
    source : `str`, `os.PathLike` or mapping
        ``NAME: {data: [x0, x1, y0, y1], bias: [x0, x1, y0, y1]}``, 0-based and half open. Optional: bias, ext, gain,
        readNoise, saturation.

    Returns
    -------
    regions : `list` [`AmpRegion`]
        In the order of the file.

    Raises
    ------
    OSError
        If the file is missing or may not be read.
    FitsLayoutError
        If an entry is not as it should be; it is named.
    """
    if hasattr(source, "items"):
        return _regions(source, "amplifiers")
    import yaml

    name = os.path.basename(os.fspath(source))
    with open(source, encoding="utf-8") as stream:
        try:
            content = yaml.load(stream, Loader=_uniqueKeyLoader(yaml))
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            first = str(error).strip().splitlines()[0]
            raise FitsLayoutError(f"{name}: not a readable YAML file ({first})", remedy=_REMEDY) from error
    return _regions(content, name)


def _uniqueKeyLoader(yaml):
    """A safe loader that refuses an amplifier written twice, of which YAML would silently keep the last."""

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node, deep=False):
            keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
            twice = sorted({str(k) for k in keys if keys.count(k) > 1})
            if twice:
                raise yaml.YAMLError(f"given twice: {', '.join(twice)}")
            return super().construct_mapping(node, deep)

    return Loader


def _regions(content, what):
    if not hasattr(content, "items") or not content:
        raise FitsLayoutError(f"{what}: wanted amplifiers by name, found {type(content).__name__}", remedy=_REMEDY)
    return [_region(str(name), entry, what) for name, entry in content.items()]


def _region(name, entry, what):
    if not hasattr(entry, "items") or "data" not in entry:
        raise FitsLayoutError(f"{what}: amplifier {name} wants an entry data", found=str(entry), remedy=_REMEDY)
    unknown = sorted(set(entry) - {"data", "bias", "ext", *_NUMBERS})
    if unknown:
        raise FitsLayoutError(f"{what}: amplifier {name} has unknown entries {', '.join(unknown)}", remedy=_REMEDY)
    numbers = {}
    for key in _NUMBERS:
        value = entry.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0):
            raise FitsLayoutError(f"{what}: amplifier {name} {key}: wanted a number above 0, found {value!r}")
        numbers[key] = value
    bias = entry.get("bias")
    return AmpRegion(
        name,
        _box(name, "data", entry["data"], what),
        None if bias is None else _box(name, "bias", bias, what),
        entry.get("ext"),
        **numbers,
    )


def _box(name, part, value, what):
    whole = isinstance(value, (list, tuple)) and len(value) == 4
    if not whole or any(isinstance(v, bool) or not isinstance(v, int) for v in value):
        raise FitsLayoutError(
            f"{what}: amplifier {name} {part}: wanted four integers", found=str(value), remedy=_REMEDY
        )  # fmt: skip
    x0, x1, y0, y1 = value
    if not (x0 < x1 and y0 < y1):
        raise FitsLayoutError(
            f"{what}: amplifier {name} {part}: wanted x0 < x1 and y0 < y1", found=str(value), remedy=_REMEDY
        )
    return Box2I((x0, y0), (x1 - x0, y1 - y0))
