"""Detector and Amplifier: the layout of a sensor, where each amplifier's pixels lie and how it reads them out."""

import dataclasses
import math
import re
from dataclasses import dataclass

import numpy as np

from ..errors import DomainError, NotFoundError, OutOfBoundsError
from ..geom import Box2I

__all__ = ["Amplifier", "Detector"]

_NAN = math.nan
_CORNERS = ("LL", "LR", "UR", "UL")
_BOXES = ("bbox", "rawBBox", "rawDataBBox", "rawOverscanBBox")
_NUMBERS = ("gain", "readNoise", "saturation")


def _key(value):
    return "nan" if isinstance(value, float) and math.isnan(value) else value


@dataclass(frozen=True, eq=False)
class Amplifier:
    """One amplifier of a detector. Immutable.

    Parameters
    ----------
    name : `str`
        Unique within its detector.
    bbox : `Box2I`
        Science pixels in the assembled, trimmed detector frame.
    rawBBox, rawDataBBox, rawOverscanBBox : `Box2I`, optional
        All pixels, science pixels and serial overscan in the frame of the raw file (the pixel array that holds this
        amplifier); None when unknown or absent.
    gain : `float`
        Electrons per adu, above 0; NaN when unknown, as the next two.
    readNoise : `float`
        Electrons.
    saturation : `float`
        adu.
    readoutCorner : {"LL", "LR", "UR", "UL"}
        Corner of ``bbox`` next to the output. Lags are measured in readout order: x along the serial register away
        from this corner, y along the columns.
    flipX, flipY : `bool`
        Whether columns or rows of the raw pixels run against those of the detector frame.

    Raises
    ------
    DomainError
        If the name is empty, a box is of another type, a gain is not positive or a corner unknown.
    """

    name: str
    bbox: Box2I
    rawBBox: Box2I | None = None
    rawDataBBox: Box2I | None = None
    rawOverscanBBox: Box2I | None = None
    gain: float = _NAN
    readNoise: float = _NAN
    saturation: float = _NAN
    readoutCorner: str = "LL"
    flipX: bool = False
    flipY: bool = False

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 (frozen dataclass)
        if not isinstance(self.name, str) or not self.name:
            raise DomainError(f"Amplifier name: wanted text, given {self.name!r}")
        for field in _BOXES:
            value = getattr(self, field)
            if not (isinstance(value, Box2I) or (value is None and field != "bbox")):
                raise DomainError(f"Amplifier {self.name} {field}: wanted a Box2I, given {value!r}")
        for field in _NUMBERS:
            value = getattr(self, field)
            try:
                put(field, _NAN if value is None else float(value))
            except (TypeError, ValueError):
                raise DomainError(f"Amplifier {self.name} {field}: wanted a number, given {value!r}") from None
        if self.gain <= 0:
            raise DomainError(f"Amplifier {self.name} gain: wanted electrons per adu above 0, given {self.gain}")
        if self.readNoise < 0:
            raise DomainError(f"Amplifier {self.name} readNoise: wanted electrons >= 0, given {self.readNoise}")
        if self.readoutCorner not in _CORNERS:
            raise DomainError(
                f"Amplifier {self.name} readoutCorner: wanted one of {', '.join(_CORNERS)}, given {self.readoutCorner!r}"
            )
        put("flipX", bool(self.flipX))
        put("flipY", bool(self.flipY))

    def getName(self):
        """Same as ``name``."""
        return self.name

    def getBBox(self):
        """Same as ``bbox``."""
        return self.bbox

    def copyWith(self, **fields):
        """Copy with some fields replaced.

        Parameters
        ----------
        **fields
            Names and values of the constructor.
        """
        return dataclasses.replace(self, **fields)

    def _identity(self):
        return tuple(_key(getattr(self, f.name)) for f in dataclasses.fields(self))

    def __eq__(self, other):
        return self._identity() == other._identity() if isinstance(other, Amplifier) else NotImplemented

    def __hash__(self):
        return hash(self._identity())

    def __repr__(self):
        shown = [f"{self.name!r}", f"bbox={self.bbox!r}"]
        for f in dataclasses.fields(self)[2:]:
            if _key(getattr(self, f.name)) != _key(f.default):
                shown.append(f"{f.name}={getattr(self, f.name)!r}")
        return f"Amplifier({', '.join(shown)})"


def _naturalOrder(amplifier):
    """Sort key in which "amp2" comes before "amp10"."""
    parts = re.split(r"(\d+)", amplifier.name)
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts if part]


def _corners(box):
    return (0, 0, 0, 0) if box is None else (box.minX, box.minY, box.width, box.height)


class Detector:
    """A sensor: identity, extent and amplifiers. Immutable.

    Parameters
    ----------
    id : `int`
        Number within the camera.
    name : `str`
        E.g. "R22_S11".
    amplifiers : iterable of `Amplifier`
        Sorted here by name, numbers in names as numbers.
    bbox : `Box2I`, optional
        Trimmed science pixels; by default the smallest box around the amplifiers.
    serial : `str`
        Serial number.

    Raises
    ------
    DomainError
        If two amplifiers have the same name, or one reaches out of ``bbox``.

    Notes
    -----
    ``detector[name]`` and ``detector[index]`` give an amplifier, iteration and ``len`` run over the amplifiers, and
    ``name in detector`` asks for one.
    """

    __slots__ = ("_id", "_name", "_serial", "_bbox", "_amplifiers", "_byName")

    def __init__(self, id=0, name="", amplifiers=(), bbox=None, serial=""):
        amplifiers = tuple(sorted(amplifiers, key=_naturalOrder))
        byName = {amp.name: amp for amp in amplifiers}
        if len(byName) != len(amplifiers):
            names = [amp.name for amp in amplifiers]
            twice = sorted({n for n in names if names.count(n) > 1})
            raise DomainError(
                f"Detector {name!r}: wanted amplifiers of different names, given twice: {', '.join(twice)}"
            )
        if bbox is None:
            bbox = Box2I()
            for amp in amplifiers:
                bbox = bbox.including(amp.bbox)
        for amp in amplifiers:
            if not bbox.contains(amp.bbox):
                raise DomainError(f"Detector {name!r}: amplifier {amp.name} at {amp.bbox} reaches out of {bbox}")
        values = (int(id), str(name or ""), str(serial or ""), bbox, amplifiers, byName)
        for slot, value in zip(self.__slots__, values):
            object.__setattr__(self, slot, value)

    def __setattr__(self, name, value):
        raise AttributeError("Detector is immutable")

    id = property(lambda self: self._id, doc="Number in the camera.")
    name = property(lambda self: self._name, doc="Name in the camera.")
    serial = property(lambda self: self._serial, doc="Of the manufacturer.")
    bbox = property(lambda self: self._bbox, doc="Trimmed science pixels.")
    amplifiers = property(lambda self: self._amplifiers, doc="Tuple of `Amplifier`, ordered by name.")
    ampNames = property(lambda self: [amp.name for amp in self._amplifiers], doc="Names of the amplifiers, in order.")

    def getId(self):
        """Same as ``id``."""
        return self._id

    def getName(self):
        """Same as ``name``."""
        return self._name

    def getSerial(self):
        """Same as ``serial``."""
        return self._serial

    def getBBox(self):
        """Same as ``bbox``."""
        return self._bbox

    def getAmplifiers(self):
        """Same as ``amplifiers``."""
        return self._amplifiers

    def __getitem__(self, key):
        if isinstance(key, str):
            if key not in self._byName:
                known = ", ".join(self._byName) or "none"
                raise NotFoundError(f"detector {self._name!r} has no amplifier {key!r}, only: {known}")
            return self._byName[key]
        try:
            return self._amplifiers[key]
        except IndexError:
            raise OutOfBoundsError(
                f"detector {self._name!r} has {len(self._amplifiers)} amplifiers, asked for number {key}"
            ) from None

    def __iter__(self):
        return iter(self._amplifiers)

    def __len__(self):
        return len(self._amplifiers)

    def __bool__(self):
        return True

    def __contains__(self, name):
        return name in self._byName or name in self._amplifiers

    def persist(self):
        """Plain fields from which `restore` makes an equal detector (`dict` of int, str and arrays).

        Boxes are rows (minX, minY, width, height), of width 0 where there is none: of each amplifier bbox, rawBBox,
        rawDataBBox, rawOverscanBBox; numbers are gain, readNoise, saturation; flips are flipX, flipY.
        """
        amps = self._amplifiers
        boxes = [[_corners(getattr(amp, field)) for field in _BOXES] for amp in amps]
        return {
            "id": self._id,
            "name": self._name,
            "serial": self._serial,
            "bbox": np.array(_corners(self._bbox), dtype=np.int32),
            "ampNames": "\n".join(amp.name for amp in amps),
            "boxes": np.array(boxes, dtype=np.int32).reshape(len(amps), len(_BOXES), 4),
            "numbers": np.array([[getattr(amp, n) for n in _NUMBERS] for amp in amps]).reshape(len(amps), 3),
            "corners": " ".join(amp.readoutCorner for amp in amps),
            "flips": np.array([[amp.flipX, amp.flipY] for amp in amps], dtype=np.uint8).reshape(len(amps), 2),
        }

    @classmethod
    def restore(cls, fields):
        """Detector of the fields of `persist`."""
        amps = []
        names = fields["ampNames"].split("\n") if fields["ampNames"] else []
        rows = zip(names, fields["boxes"], fields["numbers"], fields["corners"].split(), fields["flips"], strict=True)
        for name, boxes, numbers, corner, flips in rows:
            boxes = [Box2I(b[:2], b[2:]) if b[2] else None for b in boxes.tolist()]
            boxes[0] = boxes[0] or Box2I()
            amps.append(Amplifier(name, *boxes, *numbers.tolist(), corner, *(bool(f) for f in flips)))
        box = fields["bbox"].tolist()
        return cls(fields["id"], fields["name"], amps, Box2I(box[:2], box[2:]), fields["serial"])

    def _identity(self):
        return self._id, self._name, self._serial, self._bbox, self._amplifiers

    def __eq__(self, other):
        return self._identity() == other._identity() if isinstance(other, Detector) else NotImplemented

    def __hash__(self):
        return hash(self._identity())

    def __repr__(self):
        return (
            f"Detector(id={self._id}, name={self._name!r}, serial={self._serial!r}, bbox={self._bbox!r}, "
            f"{len(self._amplifiers)} amplifiers)"
        )

    def __reduce__(self):
        return Detector, (self._id, self._name, self._amplifiers, self._bbox, self._serial)
