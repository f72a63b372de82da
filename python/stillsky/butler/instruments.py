"""Instruments from a short YAML file or from FITS headers alone: any camera, without a class of its own.

A repository names the class of each instrument. For the instrument ``MyCam`` it is ``stillsky.butler.instruments.MyCam``: this
module makes a class for whatever name is asked of it, so every worker finds it wherever stillsky is installed.
"""

import hashlib
import keyword
import math
import re
from dataclasses import dataclass, field

from lsst.pipe.base import Instrument

from ..errors import DomainError, FitsLayoutError, StillskyError

__all__ = ["FitsInstrument", "InstrumentDefinition", "Observation", "nameOfInstrument", "observationOf"]

# Ids of sources have 63 bits: 6 for the release, 41 for visit and detector, and 16 for the sources of one detector.
_MAX_EXPOSURE = 2**31 - 1
_MAX_DETECTORS = 1024
_EXAMPLE = "{name: MyCam, detectors: {0: left}, filters: {r.01: r}}"
_KEYS = {"name", "detectors", "filters", "headers"}
_HEADER_KEYS = {"exposure", "detector", "filter", "group", "target", "type"}
# Where cameras write what the records need; the first that is present counts.
_CARDS = {
    "exposure": ("EXPID", "EXPNUM", "IDNUM", "OBSNUM", "RUN-ID"),
    "detector": ("CCDNUM", "CHIPID", "CCDID", "CCD", "DET-ID", "DETECTOR"),
    "filter": ("FILTER", "FILTER1", "FILTNAM", "FILTNAME", "INSFLNAM"),
    "group": ("GROUPID",),
    "target": ("OBJECT",),
    "type": ("OBSTYPE", "IMAGETYP"),
}


class FitsInstrument(Instrument):
    """An instrument whose exposures are FITS files that `stillsky.read` understands; subclasses have a name only."""

    name = None

    @classmethod
    def getName(cls):
        if cls.name is None:
            raise DomainError(
                "FitsInstrument: wanted a subclass with a name, such as stillsky.butler.instruments.MyCam"
            )
        return cls.name

    def register(self, registry, *, update=False):
        """Insert the record of the instrument; detectors and filters come with `InstrumentDefinition.register`."""
        InstrumentDefinition(self.getName()).register(registry, update=update)

    def getRawFormatter(self, dataId):
        from .formatters import ExposureFormatter

        return ExposureFormatter


def __getattr__(name):
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = type(name, (FitsInstrument,), {"name": name, "__module__": __name__, "__doc__": f"The instrument {name}."})
    globals()[name] = made
    return made


@dataclass
class InstrumentDefinition:
    """What a repository must know of an instrument.

    Parameters
    ----------
    name : `str`
        Letters, digits and underscores.
    detectors : `dict` [`int`, `str`]
        Id to name. Detectors that a file names and this lacks are added when the file is ingested.
    filters : `dict` [`str`, `str`]
        Physical filter (what the header says) to band. Others are added with the band that their first word says.
    headers : `dict` [`str`, `str`]
        Card of "exposure", "detector", "filter", "group", "target", "type", where it is none of the common ones.

    Notes
    -----
    As YAML::

        name: MyCam
        detectors: {0: left, 1: right}
        filters: {"g DECam SDSS c0001": g}
        headers: {exposure: FRAMENO, detector: CHIP}

    Raises
    ------
    DomainError
        A name that no repository can hold, or an unknown key.
    """

    name: str
    detectors: dict = field(default_factory=dict)
    filters: dict = field(default_factory=dict)
    headers: dict = field(default_factory=dict)

    def __post_init__(self):
        if not isinstance(self.name, str) or not self.name.isidentifier() or keyword.iskeyword(self.name):
            raise DomainError(f"instrument: wanted a name of letters, digits and underscores, given {self.name!r}")
        for what in ("detectors", "filters", "headers"):
            if not isinstance(getattr(self, what), dict):
                raise DomainError(f"instrument {self.name}: {what}: wanted a mapping, given {getattr(self, what)!r}")
        unknown = set(self.headers) - _HEADER_KEYS
        if unknown:
            raise DomainError(
                f"instrument {self.name}: headers: unknown key {sorted(unknown)[0]!r}; known are {sorted(_HEADER_KEYS)}"
            )
        bad = [key for key in self.detectors if not isinstance(key, int) or not 0 <= key < _MAX_DETECTORS]
        if bad:
            raise DomainError(
                f"instrument {self.name}: detectors: wanted ids of 0 to {_MAX_DETECTORS - 1}, given {bad[0]!r}"
            )

    @classmethod
    def fromYaml(cls, path):
        """Read the YAML form; DomainError with the file's name when it is none."""
        import yaml

        with open(path, encoding="utf-8") as file:
            try:
                given = yaml.safe_load(file)
            except yaml.YAMLError as error:
                raise DomainError(
                    f"{path}: not YAML", found=" ".join(str(error).split()), remedy=f"a file such as {_EXAMPLE}"
                ) from None
        if not isinstance(given, dict) or "name" not in given or set(given) - _KEYS:
            raise DomainError(
                f"{path}: wanted name and perhaps detectors, filters, headers; given {given!r:.200}",
                found=f"{given!r:.200}",
                remedy=f"a file such as {_EXAMPLE}",
            )
        try:
            return cls(**given)
        except DomainError as error:
            raise DomainError(f"{path}: {error}") from None

    def register(self, registry, *, update=False):
        """Insert the records of instrument, visit system, detectors and filters; those that are there stay."""
        with registry.transaction():
            record = {
                "name": self.name,
                "class_name": f"{__name__}.{self.name}",
                "detector_max": _MAX_DETECTORS,
                "visit_max": _MAX_EXPOSURE + 1,
                "exposure_max": _MAX_EXPOSURE + 1,
                "visit_system": 0,
            }
            if update or not registered(registry, "instrument", self.name, self.name):
                registry.syncDimensionData("instrument", record, update=update)
            registry.syncDimensionData(
                "visit_system", {"instrument": self.name, "id": 0, "name": "one-to-one"}, update=update
            )
            for number, name in self.detectors.items():
                self.registerDetector(registry, number, str(name), update=update)
            for name, band in self.filters.items():
                self.registerFilter(registry, str(name), str(band), update=update)

    def registerDetector(self, registry, number, name=None, *, update=False):
        """Insert one detector, under ``name`` or its number; one that is there keeps its name unless ``name`` is new."""
        if name is None and registered(registry, "detector", self.name, number):
            return
        record = {"instrument": self.name, "id": number, "full_name": name or str(number), "purpose": "SCIENCE"}
        registry.syncDimensionData("detector", record, update=update)

    def registerFilter(self, registry, name, band=None, *, update=False):
        """Insert one physical filter, with its band or the one that its name begins with; one that is there stays."""
        band = band or self.filters.get(name)
        if band is None and registered(registry, "physical_filter", self.name, name):
            return
        record = {"instrument": self.name, "name": name, "band": band or bandOf(name)}
        registry.syncDimensionData("physical_filter", record, update=update)


def nameOfInstrument(paths):
    """Name of the instrument that the first readable header says (INSTRUME), with what no name may hold left out.

    Raises
    ------
    DomainError
        No file names one.
    FitsLayoutError, OSError
        None of the files can be read.
    """
    failures = []
    for path in paths:
        try:
            header, info, _, _ = _headers(path)
        except (StillskyError, OSError) as error:
            failures.append(error)
            continue
        said = str((info.instrumentLabel if info is not None else "") or header.get("INSTRUME") or "")
        if not said.strip() and "DECam" in str(header.get("FILTER") or "").split():
            said = "DECam"  # products of its Community Pipeline may lose INSTRUME; their filters are "i DECam SDSS c0003 ..."
        name = re.sub(r"\W+", "_", said.strip()).strip("_")
        if name:
            return name if name.isidentifier() else f"Cam_{name}"
    if failures and len(failures) == len(paths):
        raise failures[0]
    raise DomainError(
        "instrument: no readable file names it (INSTRUME); give its name or a YAML definition",
        found=f"{len(paths) - len(failures)} files without INSTRUME",
        remedy=f"--instrument NAME of a registered one, or --instrument FILE such as {_EXAMPLE}",
    )


def registered(registry, element, instrument, value):
    """Whether the registry has the record of a detector, filter, exposure or visit."""
    return bool(list(registry.queryDimensionRecords(element, dataId={"instrument": instrument, element: value})))


def bandOf(filterName):
    """Band of a physical filter: the first word of its name, without a prime (``"g DECam SDSS"``: ``"g"``)."""
    words = re.split(r"[\s,;]+", filterName.strip())
    return words[0].strip("'").removeprefix("SDSS-").removeprefix("ZTF_") or "white"


@dataclass(frozen=True)
class Observation:
    """What the header of one file says about its exposure; see `observationOf`."""

    path: str
    exposure: int
    obsId: str
    detector: int
    detectorName: str
    filter: str
    group: str
    target: str
    type: str
    begin: object  # astropy Time, TAI
    end: object
    exposureTime: float
    corners: object  # (4, 3) unit vectors, or None without sky coordinates
    pointing: tuple  # (ra, dec) of the image's middle in degrees, or (None, None)


def observationOf(path, definition):
    """Read what a repository must know of one file, from headers alone.

    Parameters
    ----------
    path : `str`
    definition : `InstrumentDefinition`

    Raises
    ------
    FitsLayoutError, OSError
        No readable image.
    DomainError
        The header names no exposure time and date, of which an exposure record cannot do without; or numbers that do not
        fit into a record.
    """
    import os

    import numpy as np

    header, info, wcs, box = _headers(path)
    if info is None or info.date is None:
        raise DomainError(f"{path}: no date of the exposure (DATE-OBS, MJD-OBS or DATE-AVG)")
    card = {key: _card(header, definition.headers.get(key), _CARDS[key]) for key in _HEADER_KEYS}
    seconds = info.exposureTime if math.isfinite(info.exposureTime) else 0.0
    begin, end = _span(info.date.tai, seconds)
    detectorName = str(card["detector"] if card["detector"] is not None else 0)
    byName = {name: number for number, name in definition.detectors.items()}
    filterName = str(card["filter"] or "unknown").strip()
    obsId = str(card["exposure"]) if card["exposure"] is not None else f"{definition.name}-{begin.isot}"
    corners, pointing = None, (None, None)
    if wcs is not None:
        x = np.array([box.minX - 0.5, box.maxX + 0.5, box.maxX + 0.5, box.minX - 0.5])
        y = np.array([box.minY - 0.5, box.minY - 0.5, box.maxY + 0.5, box.maxY + 0.5])
        ra, dec = wcs.pixelToSky(x, y)
        corners = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)
        middle = wcs.pixelToSky(0.5 * (box.minX + box.maxX), 0.5 * (box.minY + box.maxY))
        pointing = tuple(float(np.degrees(v)) for v in middle)
    return Observation(
        path=os.path.abspath(path),
        exposure=_number(None if "exposure" in definition.headers else info.id, card["exposure"], obsId),
        obsId=obsId,
        detector=byName[detectorName] if detectorName in byName else _detectorNumber(detectorName, path),
        detectorName=detectorName,
        filter=filterName,
        group=str(card["group"] or obsId),
        target=str(card["target"] or "").strip(),
        type=str(card["type"] or "science").strip().lower(),
        begin=begin,
        end=end,
        exposureTime=seconds,
        corners=corners,
        pointing=pointing,
    )


def _headers(path):
    """(header, VisitInfo or None, SkyWcs or None, box) without reading pixels."""
    from ..fits.foreign_visit import foreignVisitInfo
    from ..fits.parts import readSummary

    found = readSummary(path)
    header = found.header
    info = found.visitInfo or foreignVisitInfo(header)
    if found.isNative:
        if found.filter is not None and (found.filter.physical or found.filter.band):
            header["FILTER"] = found.filter.physical or found.filter.band
        if found.detector is not None:
            header["CCDNUM"] = found.detector.id if found.detector.id is not None else found.detector.name
    return header, info, found.wcs, found.bbox


def _card(header, own, common):
    for key in [own] if own else common:
        value = header.get(key)
        if value is not None and str(value).strip():
            return value.strip() if isinstance(value, str) else value
    if own:
        raise FitsLayoutError(f"card {own} is missing, which the definition of the instrument names")
    return None


def _span(middle, seconds):
    from astropy.time import TimeDelta

    half = TimeDelta(max(seconds, 1e-3) / 2, format="sec")
    return middle - half, middle + half


def _number(known, card, obsId):
    """Id of the exposure: the file's number, else 31 bits of the SHA-1 of its name, the same on every machine."""
    for value in (known, card):
        try:
            number = int(value)
        except (TypeError, ValueError):
            continue
        if 0 < number <= _MAX_EXPOSURE:
            return number
    return int.from_bytes(hashlib.sha1(obsId.encode(), usedforsecurity=False).digest()[:4], "big") >> 1


def _detectorNumber(name, path):
    digits = re.findall(r"\d+", name)
    if not digits:
        raise DomainError(f"{path}: detector {name!r} has no number; give the instrument's detectors as {{0: {name}}}")
    number = int(digits[-1])
    if number >= _MAX_DETECTORS:
        raise DomainError(
            f"{path}: detector {name!r}: wanted a number below {_MAX_DETECTORS}; name the detectors instead"
        )
    return number
