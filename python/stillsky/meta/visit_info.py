"""VisitInfo, Observatory, Weather: when, where and how an exposure was taken."""

import dataclasses
import math
from dataclasses import dataclass

from ..errors import DomainError, FitsLayoutError

__all__ = ["Observatory", "VisitInfo", "Weather"]

_NAN = math.nan
_NAN2 = (math.nan, math.nan)


def _key(value):
    """What equality and hash compare: 14 significant digits, the precision of the cards; NaN equals NaN."""
    if isinstance(value, float):
        return f"{value:.13e}" if math.isfinite(value) else str(value)
    if isinstance(value, tuple):
        return tuple(map(_key, value))
    return value


def _degKey(value):
    """As `_key` for angles in radians, compared in degrees as the cards hold them."""
    return tuple(map(_degKey, value)) if isinstance(value, tuple) else _key(math.degrees(value))


def _toFloat(name, value):
    if value is None:
        return _NAN
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DomainError(f"{name}: wanted a number, given {value!r}") from None


@dataclass(frozen=True, eq=False)
class Observatory:
    """Place of a telescope.

    Parameters
    ----------
    longitude, latitude : `float`
        Radians, longitude positive to the East; NaN when unknown.
    elevation : `float`
        Metres above sea level; NaN when unknown.

    Raises
    ------
    DomainError
        If the latitude lies outside +-90 degrees.
    """

    longitude: float = _NAN
    latitude: float = _NAN
    elevation: float = _NAN

    def __post_init__(self):
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _toFloat(f"Observatory {f.name}", getattr(self, f.name)))
        if abs(self.latitude) > math.pi / 2 * (1 + 1e-12):
            raise DomainError(f"Observatory latitude: wanted radians within +-pi/2, given {self.latitude}")

    def _identity(self):
        return _degKey(self.longitude), _degKey(self.latitude), _key(self.elevation)

    def __eq__(self, other):
        return self._identity() == other._identity() if isinstance(other, Observatory) else NotImplemented

    def __hash__(self):
        return hash(self._identity())

    def __repr__(self):
        return (
            f"Observatory(longitude={math.degrees(self.longitude):.6f} deg, "
            f"latitude={math.degrees(self.latitude):.6f} deg, elevation={self.elevation} m)"
        )


@dataclass(frozen=True, eq=False)
class Weather:
    """Weather at the telescope.

    Parameters
    ----------
    airTemperature : `float`
        Degrees Celsius; NaN when unknown, as all three.
    airPressure : `float`
        Pascal.
    humidity : `float`
        Relative humidity in percent.

    Raises
    ------
    DomainError
        If the humidity is negative.
    """

    airTemperature: float = _NAN
    airPressure: float = _NAN
    humidity: float = _NAN

    def __post_init__(self):
        for f in dataclasses.fields(self):
            object.__setattr__(self, f.name, _toFloat(f"Weather {f.name}", getattr(self, f.name)))
        if self.humidity < 0:
            raise DomainError(f"Weather humidity: wanted percent >= 0, given {self.humidity}")

    def _identity(self):
        return tuple(_key(v) for v in dataclasses.astuple(self))

    def __eq__(self, other):
        return self._identity() == other._identity() if isinstance(other, Weather) else NotImplemented

    def __hash__(self):
        return hash(self._identity())


_ROT_TYPES = ("UNKNOWN", "SKY", "HORIZON", "MOUNT")

# field -> (card, unit); "deg" fields are radians in memory
_SCALARS = {
    "exposureTime": ("EXPTIME", "s"),
    "darkTime": ("DARKTIME", "s"),
    "ut1": ("MJD-AVG-UT1", "d"),
    "era": ("AVG-ERA", "deg"),
    "boresightAirmass": ("BORE-AIRMASS", ""),
    "boresightRotAngle": ("BORE-ROTANG", "deg"),
    "focusZ": ("FOCUSZ", "mm"),
}
_PAIRS = {"boresightRaDec": ("BORE-RA", "BORE-DEC"), "boresightAzAlt": ("BORE-AZ", "BORE-ALT")}
_OBSERVATORY = {
    "longitude": ("OBS-LONG", "deg"),
    "latitude": ("OBS-LAT", "deg"),
    "elevation": ("OBS-ELEV", "m"),
}
_WEATHER = {
    "airTemperature": ("AIRTEMP", "C"),
    "airPressure": ("AIRPRESS", "Pa"),
    "humidity": ("HUMIDITY", "%"),
}
_TEXTS = {
    "instrumentLabel": "INSTRUMENT",
    "observationType": "OBSTYPE",
    "scienceProgram": "PROGRAM",
    "observationReason": "REASON",
    "object": "OBJECT",
}
_OTHER_CARDS = ("DATE-AVG", "TIMESYS", "TIME-MID", "ROTTYPE", "IDNUM", "HAS-SIMULATED-CONTENT")


def _toDate(value):
    """TAI `astropy.time.Time`, rounded to the nanosecond that DATE-AVG holds; text is taken as TAI."""
    if value is None:
        return None
    from astropy.time import Time

    time = value.tai if isinstance(value, Time) else _timeOf(str(value), "tai")
    if not time.isscalar:
        raise DomainError("VisitInfo date: wanted a single time, given an array")
    return Time(Time(time, format="isot", precision=9).value, format="isot", scale="tai", precision=9)


@dataclass(frozen=True, eq=False)
class VisitInfo:
    """When, where and how an exposure was taken. Immutable; every field may be unknown.

    Parameters
    ----------
    exposureTime, darkTime : `float`
        Seconds.
    date : `astropy.time.Time` or `str`, optional
        Middle of the exposure; text is TAI. Kept to the nanosecond.
    ut1 : `float`
        UT1 at the middle of the exposure, as modified Julian date.
    era : `float`
        Earth rotation angle, radians.
    boresightRaDec, boresightAzAlt : pair of `float`
        ICRS position at mid exposure; refracted apparent azimuth (North through East) and altitude. Radians.
    boresightAirmass : `float`
    boresightRotAngle : `float`
        Radians, in the meaning of ``rotType``: for SKY the position angle of the focal plane's +Y, from North through
        East; for HORIZON its angle from increasing altitude towards increasing azimuth; for MOUNT the raw rotator.
    rotType : {"UNKNOWN", "SKY", "HORIZON", "MOUNT"}
    observatory : `Observatory`
    weather : `Weather`
    instrumentLabel, observationType, scienceProgram, observationReason, object : `str`
    id : `int`, optional
    focusZ : `float`
        Millimetres.
    hasSimulatedContent : `bool`, optional

    Raises
    ------
    DomainError
        If a number, the altitude, the exposure time or the rotation type is impossible.

    Notes
    -----
    Two objects are equal when all fields agree to 14 significant digits, the precision of the cards (NaN equals NaN).
    """

    exposureTime: float = _NAN
    darkTime: float = _NAN
    date: object = None
    ut1: float = _NAN
    era: float = _NAN
    boresightRaDec: tuple = _NAN2
    boresightAzAlt: tuple = _NAN2
    boresightAirmass: float = _NAN
    boresightRotAngle: float = _NAN
    rotType: str = "UNKNOWN"
    observatory: Observatory = Observatory()
    weather: Weather = Weather()
    instrumentLabel: str = ""
    id: int | None = None
    focusZ: float = _NAN
    observationType: str = ""
    scienceProgram: str = ""
    observationReason: str = ""
    object: str = ""
    hasSimulatedContent: bool | None = None

    def __post_init__(self):
        put = lambda name, value: object.__setattr__(self, name, value)  # noqa: E731 (frozen dataclass)
        for name in _SCALARS:
            put(name, _toFloat(f"VisitInfo {name}", getattr(self, name)))
        for name in _PAIRS:
            pair = getattr(self, name)
            pair = _NAN2 if pair is None else tuple(_toFloat(f"VisitInfo {name}", v) for v in pair)
            if len(pair) != 2:
                raise DomainError(f"VisitInfo {name}: wanted two angles, given {len(pair)}")
            put(name, pair)
        for name in _TEXTS:
            put(name, str(getattr(self, name) or ""))
        put("date", _toDate(self.date))
        put("id", None if self.id is None else int(self.id))
        put("observatory", self.observatory or Observatory())
        put("weather", self.weather or Weather())
        if self.exposureTime < 0:
            raise DomainError(f"VisitInfo exposureTime: wanted seconds >= 0, given {self.exposureTime}")
        if abs(self.boresightAzAlt[1]) > math.pi / 2 * (1 + 1e-12):
            raise DomainError(f"VisitInfo altitude: wanted radians within +-pi/2, given {self.boresightAzAlt[1]}")
        if self.rotType not in _ROT_TYPES:
            raise DomainError(f"VisitInfo rotType: wanted one of {', '.join(_ROT_TYPES)}, given {self.rotType!r}")

    def _identity(self):
        angles = (self.era, self.boresightRaDec, self.boresightAzAlt, self.boresightRotAngle)
        plain = (self.exposureTime, self.darkTime, self.ut1, self.boresightAirmass, self.focusZ)
        texts = tuple(getattr(self, n) for n in _TEXTS)
        date = None if self.date is None else self.date.value
        rest = (self.rotType, self.observatory, self.weather, self.id, self.hasSimulatedContent)
        return _degKey(angles), _key(plain), texts, date, rest

    def __eq__(self, other):
        return self._identity() == other._identity() if isinstance(other, VisitInfo) else NotImplemented

    def __hash__(self):
        return hash(self._identity())

    def __repr__(self):
        shown = []
        default = VisitInfo()
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.name == "date":
                if value is not None:
                    shown.append(f"date={value.value} TAI")
            elif _key(value) != _key(getattr(default, f.name)):
                shown.append(f"{f.name}={value!r}")
        return f"VisitInfo({', '.join(shown)})"

    def copyWith(self, **fields):
        """Copy with some fields replaced.

        Parameters
        ----------
        **fields
            Names and values of the constructor.
        """
        return dataclasses.replace(self, **fields)

    # derived angles, radians; NaN when something they need is unknown
    @property
    def localEra(self):
        """Earth rotation angle at the observatory's longitude, radians."""
        return self.era + self.observatory.longitude

    @property
    def boresightHourAngle(self):
        """Hour angle of the boresight, radians in (-pi, pi]."""
        angle = self.localEra - self.boresightRaDec[0]
        return math.pi - (math.pi - angle) % (2 * math.pi) if math.isfinite(angle) else _NAN

    @property
    def boresightParAngle(self):
        """Parallactic angle of the boresight, radians.

        The angle at the source between the directions of the zenith and of the celestial pole: 0 on the meridian
        south of the zenith, pi north of it (seen from a northern site).
        """
        hour, dec, lat = self.boresightHourAngle, self.boresightRaDec[1], self.observatory.latitude
        north = math.cos(dec) * math.tan(lat) - math.sin(dec) * math.cos(hour)
        return math.atan2(math.sin(hour), north)

    # FITS cards
    @classmethod
    def cardNames(cls):
        """All keywords that `toHeader` may write and `fromHeader` reads (`frozenset`)."""
        pairs = [c for both in _PAIRS.values() for c in both]
        groups = [c for d in (_SCALARS, _OBSERVATORY, _WEATHER) for c, _ in d.values()]
        return frozenset([*groups, *pairs, *_TEXTS.values(), *_OTHER_CARDS])

    def toHeader(self):
        """Cards of the known fields.

        Returns
        -------
        header : `Header`
            Finite numbers and non-empty text only; angles in degrees, 14 significant digits.
        """
        from .header import Header

        new = Header()

        def number(card, value, unit):
            if math.isfinite(value):
                value = math.degrees(value) if unit == "deg" else value
                new.set(card, float(f"{value:.13e}"), f"[{unit}]" if unit else None)

        for name, (card, unit) in _SCALARS.items():
            number(card, getattr(self, name), unit)
        for name, cards in _PAIRS.items():
            for card, value in zip(cards, getattr(self, name), strict=True):
                number(card, value, "deg")
        for part, table in ((self.observatory, _OBSERVATORY), (self.weather, _WEATHER)):
            for name, (card, unit) in table.items():
                number(card, getattr(part, name), unit)
        if self.date is not None:
            new.set("DATE-AVG", self.date.value, "middle of the exposure")
            new.set("TIMESYS", "TAI", "time system of DATE-AVG")
        if self.rotType != "UNKNOWN":
            new.set("ROTTYPE", self.rotType, "meaning of BORE-ROTANG")
        if self.id is not None:
            new.set("IDNUM", self.id)
        for name, card in _TEXTS.items():
            if getattr(self, name):
                new.set(card, getattr(self, name))
        if self.hasSimulatedContent is not None:
            new.set("HAS-SIMULATED-CONTENT", self.hasSimulatedContent)
        return new

    @classmethod
    def fromHeader(cls, header):
        """Read the cards of `toHeader`.

        Parameters
        ----------
        header : mapping
            `Header` or FITS header. Numbers may be numeric text; absent or undefined cards are unknown fields.

        Returns
        -------
        info : `VisitInfo`

        Raises
        ------
        FitsLayoutError
            If DATE-AVG comes with a TIMESYS other than TAI, or a card holds something that is no number.
        DomainError
            If a value is impossible, e.g. a negative humidity.
        """

        def text(card):
            value = header.get(card)
            return value.strip() if isinstance(value, str) else "" if value is None else str(value)

        def number(card, unit=""):
            raw = header.get(card)
            if raw is None or not str(raw).strip() or type(raw).__name__ == "Undefined":
                return _NAN
            try:
                value = float(raw)
            except (TypeError, ValueError):
                raise FitsLayoutError(f"card {card}: wanted a number, given {raw!r}") from None
            return math.radians(value) if unit == "deg" else value

        fields = {name: number(*spec) for name, spec in _SCALARS.items()}
        fields.update({name: tuple(number(c, "deg") for c in cards) for name, cards in _PAIRS.items()})
        fields.update({name: text(card) for name, card in _TEXTS.items()})
        fields["observatory"] = Observatory(**{n: number(*spec) for n, spec in _OBSERVATORY.items()})
        fields["weather"] = Weather(**{n: number(*spec) for n, spec in _WEATHER.items()})
        fields["date"] = _dateFromHeader(header)
        rotType = text("ROTTYPE").upper() or "UNKNOWN"
        simulated = header.get("HAS-SIMULATED-CONTENT")
        idNumber = number("IDNUM")
        return cls(
            rotType=rotType,
            id=int(header["IDNUM"]) if math.isfinite(idNumber) else None,
            hasSimulatedContent=simulated if isinstance(simulated, bool) else None,
            **fields,
        )


def _timeOf(text, scale):
    """A time from a text. The usual format is named: trying others, astropy keeps what failed in a cycle that holds the
    frames of all callers, and with them their images, until it is collected."""
    from astropy.time import Time

    usual = len(text) >= 19 and text[10] == "T" and "(" not in text
    return Time(text, format="isot" if usual else None, scale=scale)


def _dateFromHeader(header):
    """DATE-AVG (must be TAI) or the old TIME-MID (UTC), as a date for `VisitInfo`."""
    try:
        if header.get("DATE-AVG"):
            system = str(header.get("TIMESYS") or "").strip().upper()
            if system != "TAI":
                raise FitsLayoutError(f"card TIMESYS: wanted 'TAI' beside DATE-AVG, given {system!r}")
            return _timeOf(str(header["DATE-AVG"]).strip(), "tai")
        if header.get("TIME-MID"):
            return _timeOf(str(header["TIME-MID"]).strip().rstrip("Z"), "utc")
    except FitsLayoutError:
        raise
    except ValueError as error:
        raise FitsLayoutError(f"card DATE-AVG or TIME-MID: {error}") from None
    return None
