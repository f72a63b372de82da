"""Sites of known telescopes, and weather where the header is silent."""

import math

from ..errors import DomainError
from .visit_info import Observatory, Weather

__all__ = ["KNOWN_SITES", "completeObservatory", "completeWeather", "defaultWeather", "siteOf"]


def _site(longitude, latitude, elevation):
    return Observatory(math.radians(longitude), math.radians(latitude), elevation)


#: Telescope sites by name: longitude East and latitude in degrees, metres above sea level.
KNOWN_SITES = {
    "CTIO Blanco": _site(-70.80653, -30.16967, 2206.8),
    "Palomar": _site(-116.86300, 33.35633, 1712.0),
    "Rubin": _site(-70.749417, -30.244639, 2663.0),
    "Apache Point": _site(-105.820417, 32.780361, 2788.0),
    "Mauna Kea": _site(-155.476667, 19.825, 4139.0),
    "Haleakala": _site(-156.2559, 20.7082, 3055.0),
    "Paranal": _site(-70.404830, -24.627380, 2635.4),
    "La Palma": _site(-17.88906, 28.76222, 2326.0),
}

# A word of INSTRUME or TELESCOP (capitals) -> site.
_TELESCOPES = {
    "DECAM": "CTIO Blanco",
    "ZTF": "Palomar",
    "PTF": "Palomar",
    "LSSTCAM": "Rubin",
    "LSSTCOMCAM": "Rubin",
    "LATISS": "Rubin",
    "SIMONYI": "Rubin",
    "SDSS": "Apache Point",
    "MEGAPRIME": "Mauna Kea",
    "HYPER": "Mauna Kea",
    "GPC1": "Haleakala",
    "OMEGACAM": "Paranal",
}


def siteOf(*labels):
    """Known site named by instrument or telescope labels.

    Parameters
    ----------
    *labels : `str`
        Values of INSTRUME, TELESCOP and the like.

    Returns
    -------
    name : `str` or None
    site : `Observatory` or None
    """
    text = " ".join(str(label).upper() for label in labels if label)
    for word, name in _TELESCOPES.items():
        if word in text:
            return name, KNOWN_SITES[name]
    return None, None


def defaultWeather(elevation):
    """Typical weather at a height above sea level.

    Temperature falls by 6.5 K per km from 19 C, the pressure follows an isothermal column, relative humidity 40 %.

    Parameters
    ----------
    elevation : `float`
        Metres.

    Returns
    -------
    weather : `Weather`

    Raises
    ------
    DomainError
        The elevation is not a finite number.
    """
    if not math.isfinite(elevation):
        raise DomainError(
            "typical weather: the elevation of the site is not known; give the observatory, or temperature and pressure"
        )
    temperature = 19.0 - 6.5e-3 * elevation
    # g (m/s2), molar mass of air (kg/mol), gas constant (J/(mol K))
    pressure = 101325.0 * math.exp(-9.80665 * 0.0289644 * elevation / (8.31447 * (temperature + 273.15)))
    return Weather(temperature, pressure, 40.0)


def completeWeather(weather, observatory):
    """Weather with each unknown field replaced by the typical value for the site's elevation.

    Parameters
    ----------
    weather : `Weather` or None
    observatory : `Observatory`

    Returns
    -------
    weather : `Weather`
        All fields finite.
    notes : `list` [`str`]
        One sentence per field that was assumed.

    Raises
    ------
    DomainError
        Temperature or pressure is unknown and the elevation too.
    """
    weather = weather or Weather()
    fields, notes = {}, []
    for name, unit in (("airTemperature", "C"), ("airPressure", "Pa"), ("humidity", "%")):
        value = getattr(weather, name)
        if not math.isfinite(value):
            # the humidity does not depend on the height
            typical = 40.0 if name == "humidity" else getattr(defaultWeather(observatory.elevation), name)
            where = "" if name == "humidity" else f" at {observatory.elevation:g} m"
            notes.append(f"weather: {name} {typical:.6g} {unit} assumed, typical{where}")
            value = typical
        fields[name] = value
    return (Weather(**fields) if notes else weather), notes


def completeObservatory(observatory, *labels):
    """Observatory with unknown fields taken from the site that instrument or telescope labels name.

    Parameters
    ----------
    observatory : `Observatory` or None
    *labels : `str`

    Returns
    -------
    observatory : `Observatory`
    notes : `list` [`str`]
    """
    observatory = observatory or Observatory()
    missing = [n for n in ("longitude", "latitude", "elevation") if not math.isfinite(getattr(observatory, n))]
    name, site = siteOf(*labels)
    if not missing or site is None:
        return observatory, []
    fields = {n: getattr(site if n in missing else observatory, n) for n in ("longitude", "latitude", "elevation")}
    label = next(str(text) for text in labels if text and siteOf(text)[0])
    return Observatory(**fields), [f"site: {', '.join(missing)} of {name} assumed, from the label {label!r}"]
