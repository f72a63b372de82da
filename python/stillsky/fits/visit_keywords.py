"""Keywords of site, weather and pointing in headers of other origin, with their units by camera.

A unit is never inferred from the size of a value: it is the camera's convention, or what the card's comment says, or the
value is not used. Every choice becomes a sentence.
"""

import math
import re
from dataclasses import dataclass

from ..meta.site import KNOWN_SITES, defaultWeather
from ..meta.visit_info import Observatory, Weather
from .noise import headerNumber

__all__ = ["CONVENTIONS", "Convention", "angleOf", "conventionOf", "pointingCards", "siteCards", "weatherCards"]

# Pa per unit, by the words of card comments
_PRESSURES = {
    "pa": 1.0, "pascal": 1.0, "hpa": 100.0, "mbar": 100.0, "mb": 100.0, "millibar": 100.0, "kpa": 1000.0, "bar": 1e5,
    "torr": 133.32236842105263, "mmhg": 133.32236842105263, "inhg": 3386.388640341,
}  # fmt: skip

_LONGITUDE = ("OBS-LONG", "OBSLON", "LONGITUD", "SITELONG", "LONG-OBS", "GEOLON", "OBSGEO-L", "ESO TEL GEOLON")
_LATITUDE = ("OBS-LAT", "OBSLAT", "LATITUDE", "SITELAT", "LAT-OBS", "GEOLAT", "OBSGEO-B", "ESO TEL GEOLAT")
_ELEVATION = ("OBS-ELEV", "OBSALT", "SITEELEV", "ALT-OBS", "GEOELEV", "OBSGEO-H", "ESO TEL GEOELEV")
_TEMPERATURE = ("AIRTEMP", "OUTTEMP", "TEMPTURE", "AMBTEMP", "ESO TEL AMBI TEMP")
_PRESSURE = ("AIRPRESS", "PRESSURE", "BAROMETE", "ESO TEL AMBI PRES START")
_HUMIDITY = ("HUMIDITY", "OUTHUM", "RELHUM", "ESO TEL AMBI RHUM")
# pairs, so that an altitude of the site is never one of the telescope
_AZIMUTH_ALTITUDE = (
    ("BORE-AZ", "BORE-ALT"), ("TELAZ", "TELEL"), ("TELAZ", "TELALT"), ("AZ", "ALT"), ("AZ", "EL"),
    ("AZIMUTH", "ELVATION"), ("AZIMUTH", "ELEVATIO"), ("AZIMUTH", "ALTITUDE"),
)  # fmt: skip
_AZIMUTH_ZENITH = (("AZ", "ZD"), ("AZIMUTH", "ZD"), ("TELAZ", "ZD"))
_START_END = (("AZSTART", "AZEND", "ELSTART", "ELEND"),)


@dataclass(frozen=True)
class Convention:
    """What is special in the headers of a camera.

    Attributes
    ----------
    name : `str`
    words : `tuple` [`str`]
        Capital words in INSTRUME, TELESCOP, ORIGIN, OBSERVAT or FPA (focal plane) that name it.
    site : `str`
        Key of `stillsky.meta.KNOWN_SITES`.
    westLongitude : `bool`
        OBS-LONG is positive to the West.
    pressureUnit : `str`, `tuple` [`str`] or None
        Of PRESSURE, whatever its comment says. Of several that the camera has written, the first with which the value
        is a pressure of the site; the sentence about it says so.
    azimuthFromNorth : `bool`
        False where the zero of AZ is not sure: it is not used.
    degrees : `bool`
        Numeric RA is in degrees.
    """

    name: str
    words: tuple
    site: str
    westLongitude: bool = False
    pressureUnit: str | tuple | None = None
    azimuthFromNorth: bool = True
    degrees: bool = True


CONVENTIONS = (
    # The comment of DECam's PRESSURE says Torr; 780 Torr are more than at sea level, the site has 780 hPa.
    Convention("DECam", ("DECAM",), "CTIO Blanco", westLongitude=True, pressureUnit="hPa"),
    Convention("ZTF", ("ZTF", "PTF"), "Palomar", pressureUnit="hPa"),
    Convention("Rubin", ("LSSTCAM", "LSSTCOMCAM", "LATISS", "SIMONYI"), "Rubin", pressureUnit=("Pa", "hPa")),
    # Comment of AZ in SDSS frames: "(0=N?)".
    Convention("SDSS", ("SDSS",), "Apache Point", pressureUnit="inHg", azimuthFromNorth=False),
)


def conventionOf(header):
    """`Convention` of the camera that a header names, or None."""
    keys = ("INSTRUME", "TELESCOP", "ORIGIN", "OBSERVAT", "FPA")  # the last: of single detectors of DECam
    text = " ".join(str(header.get(key) or "") for key in keys).upper()
    return next((c for c in CONVENTIONS if any(word in text for word in c.words)), None)


def angleOf(header, key, hours=False):
    """Card as degrees: a number, or sexagesimal text (of hours, with ``hours``); None if it is neither."""
    value = header.get(key)
    if isinstance(value, str) and (":" in value or " " in value.strip()):
        parts = [p for p in re.split(r"[:\s]+", value.strip()) if p]
        try:
            numbers = [abs(float(p)) for p in parts]
        except ValueError:
            return None
        if not 2 <= len(parts) <= 3:
            return None
        degrees = sum(n / 60**i for i, n in enumerate(numbers)) * (15.0 if hours else 1.0)
        return -degrees if value.strip().startswith("-") else degrees
    return headerNumber(header, key)


def _first(header, keys, read=headerNumber):
    """(value, key) of the first card that holds a number."""
    return next(((value, key) for key in keys if (value := read(header, key)) is not None), (None, None))


def _comment(header, key):
    comments = getattr(header, "comments", None)
    try:
        return "" if comments is None else str(comments[key])
    except (KeyError, TypeError):
        return ""


# ------------------------------------------------------------------------------------------------ site


def siteCards(header, convention=None):
    """Place of the telescope.

    Parameters
    ----------
    header : `astropy.io.fits.Header` or mapping
    convention : `Convention`, optional

    Returns
    -------
    site : `stillsky.meta.Observatory`
    notes : `list` [`str`]
    """
    notes = []
    longitude, key = _first(header, _LONGITUDE, angleOf)
    latitude, _ = _first(header, _LATITUDE, angleOf)
    elevation, _ = _first(header, _ELEVATION)
    if latitude is not None and abs(latitude) > 90:
        latitude = None
    if longitude is not None and abs(longitude) > 360:
        longitude = None
    if longitude is not None and key != "OBSGEO-L":
        west = (convention is not None and convention.westLongitude and key == "OBS-LONG") or (
            re.search(r"\bwest\b", _comment(header, key), re.IGNORECASE) is not None
        )
        if west:
            longitude = -abs(longitude)
            notes.append(f"site: {key} is positive to the West ({convention.name if convention else 'its comment'})")
        elif convention is None:
            notes.append(f"site: {key} {longitude:g} degrees taken as positive to the East")
    if None in (longitude, latitude):
        return _geocentric(header, convention, notes)
    site = Observatory(math.radians(longitude), math.radians(latitude), math.nan if elevation is None else elevation)
    return site, notes


def _geocentric(header, convention, notes):
    """From OBSGEO-X, -Y, -Z (FITS standard), else the camera's own site, else unknown."""
    place = [headerNumber(header, f"OBSGEO-{axis}") for axis in "XYZ"]
    if None not in place and 6.2e6 < math.hypot(*place) < 6.5e6:
        import erfa

        longitude, latitude, height = (float(v) for v in erfa.gc2gd(1, place))
        return Observatory(longitude, latitude, height), ["site: from OBSGEO-X, -Y, -Z"]
    if convention is None:
        return Observatory(), []
    return KNOWN_SITES[convention.site], [
        *notes,
        f"site: {convention.site} assumed, the header is one of {convention.name}",
    ]


# ------------------------------------------------------------------------------------------------ weather


def weatherCards(header, convention=None, site=None):
    """Weather at the telescope.

    Parameters
    ----------
    header : `astropy.io.fits.Header` or mapping
    convention : `Convention`, optional
    site : `stillsky.meta.Observatory`, optional

    Returns
    -------
    weather : `stillsky.meta.Weather`
        Celsius, Pa, percent; values that cannot be are unknown.
    notes : `list` [`str`]
    """
    notes = []
    temperature, key = _first(header, _TEMPERATURE)
    if temperature is not None and not -80 <= temperature <= 60:
        notes.append(f"weather: {key} {temperature:g} is no air temperature in Celsius, not used")
        temperature = None
    humidity, key = _first(header, _HUMIDITY)
    if humidity is not None and not 0 <= humidity <= 110:
        notes.append(f"weather: {key} {humidity:g} is no relative humidity in percent, not used")
        humidity = None
    pressure = _pressure(header, convention, site, notes)
    return Weather(*(math.nan if v is None else v for v in (temperature, pressure, humidity))), notes


def _pressure(header, convention, site, notes):
    """Pa, None if there is no card or its unit is not known."""
    value, key = _first(header, _PRESSURE)
    if value is None:
        return None
    unit, why = _pressureUnit(header, key, convention)
    if unit is None:
        notes.append(f"weather: {key} {value:g} has no unit, not used")
        return None
    low, high = 3e4, 1.1e5
    if site is not None and math.isfinite(site.elevation):
        typical = defaultWeather(site.elevation).airPressure
        low, high = 0.85 * typical, 1.15 * typical
    units = (unit,) if isinstance(unit, str) else unit
    for unit in units:
        pressure = value * _PRESSURES[unit.lower()]
        if low <= pressure <= high:
            both = f", which has written {' and '.join(units)}" if len(units) > 1 else ""
            notes.append(f"weather: {key} {value:g} is in {unit} ({why}{both})")
            return pressure
    notes.append(f"weather: {key} {value:g} {' or '.join(units)} ({why}) is not the pressure of the site, not used")
    return None


def _pressureUnit(header, key, convention):
    """(unit, where it is from)."""
    if key == "AIRPRESS" and (convention is None or convention.name == "Rubin"):
        return "Pa", "keyword of Rubin"
    if key.startswith("ESO "):
        return "hPa", "keyword of ESO"
    if convention is not None and convention.pressureUnit is not None:
        return convention.pressureUnit, f"convention of {convention.name}"
    for word in re.findall(r"[A-Za-z]+", _comment(header, key)):
        if word.lower() in _PRESSURES:
            return word, "comment of the card"
    return None, ""


# ------------------------------------------------------------------------------------------------ pointing


@dataclass(frozen=True)
class PointingCards:
    """Angles in radians, NaN where unknown; ``hourAngle`` at the time of the header."""

    raDec: tuple = (math.nan, math.nan)
    azAlt: tuple = (math.nan, math.nan)
    hourAngle: float = math.nan
    airmass: float = math.nan


def pointingCards(header, convention=None):
    """Where the telescope pointed.

    Parameters
    ----------
    header : `astropy.io.fits.Header` or mapping
    convention : `Convention`, optional

    Returns
    -------
    cards : `PointingCards`
    notes : `list` [`str`]
    """
    notes = []
    airmass, _ = _first(header, ("AIRMASS",))
    if airmass is None:
        pairs = [("AMSTART", "AMEND"), ("ESO TEL AIRM START", "ESO TEL AIRM END")]
        airmass = next((m for pair in pairs if (m := _mean(header, pair)) is not None), None)
    hour = header.get("HOURANG") if header.get("HA") is None else header.get("HA")
    hourAngle = angleOf(header, "HOURANG" if header.get("HA") is None else "HA", hours=True)
    if not isinstance(hour, str) or ":" not in hour:
        hourAngle = None  # a bare number may be hours or degrees
    cards = PointingCards(
        _raDec(header, convention, notes),
        _azAlt(header, convention, notes),
        math.nan if hourAngle is None else math.radians(hourAngle),
        math.nan if airmass is None or not airmass >= 1 - 1e-6 else airmass,
    )
    return cards, notes


def _mean(header, keys):
    values = [v for key in keys if (v := headerNumber(header, key)) is not None]
    return sum(values) / len(values) if values else None


def _raDec(header, convention, notes):
    unknown = (math.nan, math.nan)
    equinox = headerNumber(header, "EQUINOX")
    system = str(header.get("RADESYS") or header.get("RADECSYS") or "").strip().upper()
    if system == "FK4" or (equinox is not None and abs(equinox - 2000) > 0.5 and system not in ("ICRS", "FK5")):
        return unknown
    for keys in (("RA", "DEC"), ("RA_EXP", "DEC_EXP"), ("TELRA", "TELDEC"), ("RAD", "DECD")):
        ra, dec = angleOf(header, keys[0], hours=True), angleOf(header, keys[1])
        if ra is None or dec is None or not (-360 <= ra <= 360 and -90 <= dec <= 90):
            continue
        if not isinstance(header.get(keys[0]), str) and convention is None and keys == ("RA", "DEC"):
            notes.append(f"boresight: RA {ra:g} taken as degrees")
        return math.radians(ra % 360), math.radians(dec)
    return unknown


def _azAlt(header, convention, notes):
    fromNorth = convention is None or convention.azimuthFromNorth
    for keys in _START_END:
        values = [headerNumber(header, key) for key in keys]
        if None not in values:
            turn = math.remainder(values[1] - values[0], 360)
            return _horizontal(values[0] + turn / 2, (values[2] + values[3]) / 2, fromNorth)
    for azimuth, altitude in _AZIMUTH_ALTITUDE:
        pair = angleOf(header, azimuth), angleOf(header, altitude)
        if None not in pair and -1 <= pair[1] <= 90:
            if convention is None:
                notes.append(f"boresight: {azimuth} taken as from North through East")
            return _horizontal(*pair, fromNorth)
    for azimuth, zenith in _AZIMUTH_ZENITH:
        pair = angleOf(header, azimuth), angleOf(header, zenith)
        if None not in pair and 0 <= pair[1] <= 91:
            if convention is None:
                notes.append(f"boresight: {azimuth} taken as from North through East")
            return _horizontal(pair[0], 90 - pair[1], fromNorth)
    return math.nan, math.nan


def _horizontal(azimuth, altitude, fromNorth):
    return (math.radians(azimuth % 360) if fromNorth else math.nan), math.radians(altitude)
