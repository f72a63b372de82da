"""Atmospheric refraction as a function of wavelength (Stone 1996, PASP 108, 1051; Owens 1967, Applied Optics 6, 51)."""

import math

import numpy as np

from ..errors import DomainError
from ..meta.site import completeWeather

__all__ = [
    "MAX_WAVELENGTH",
    "MIN_ELEVATION",
    "MIN_WAVELENGTH",
    "densityFactors",
    "differentialRefraction",
    "refraction",
    "refractivity",
    "waterVapourPressure",
]

#: Range of the refractivity formula, nm.
MIN_WAVELENGTH, MAX_WAVELENGTH = 230.2, 2058.6

#: Lowest elevation, radians: below, the series in tan(zenith distance) turns over.
MIN_ELEVATION = math.radians(10.0)

# Constant of the third-order term of the water vapour density: Owens and DMTN-037 have 7.75141e+4.
_VAPOUR_CUBIC = {"default": 7.75141e4, "reference": 7.75141e-4}
# Sign of the tan^3 term: every theory of refraction has a negative one.
_CUBIC_SIGN = {"default": -1.0, "reference": 1.0}


def _checkModel(model):
    if model not in _CUBIC_SIGN:
        raise DomainError(f"model: wanted 'default' or 'reference', given {model!r}")


def _radians(angle):
    """Angles in radians: numbers are, astropy quantities and angles are converted."""
    return np.asarray(angle.to_value("rad") if hasattr(angle, "to_value") else angle, float)


def _wavelengths(wavelength):
    values = np.asarray(wavelength.to_value("nm") if hasattr(wavelength, "to_value") else wavelength, float)
    inside = (values >= MIN_WAVELENGTH) & (values <= MAX_WAVELENGTH)
    if not inside.all():
        wrong = values[~inside].ravel()[0] if values.ndim else float(values)
        raise DomainError(f"wavelength: wanted {MIN_WAVELENGTH} to {MAX_WAVELENGTH} nm, given {wrong:g}")
    return values


def _elevations(elevation):
    values = _radians(elevation)
    inside = (values >= MIN_ELEVATION * (1 - 1e-12)) & (values <= math.pi / 2 * (1 + 1e-12))
    if not inside.all():
        wrong = values[~inside].ravel()[0] if values.ndim else float(values)
        raise DomainError(
            f"elevation: wanted {math.degrees(MIN_ELEVATION):.0f} to 90 degrees (in radians), "
            f"given {math.degrees(wrong):.6g} degrees",
            remedy="leave the image out: so near the horizon the refraction of the air is not known well enough",
        )
    return values


def waterVapourPressure(weather):
    """Partial pressure of water vapour, from the dew point (Stone 1996, eqs. 18 and 20).

    Parameters
    ----------
    weather : `stillsky.meta.Weather`
        Temperature and humidity must be known.

    Returns
    -------
    pressure : `float`
        Pa; 0 at zero humidity.
    """
    if weather.humidity <= 0:
        return 0.0
    x = math.log(weather.humidity / 100.0)
    t = weather.airTemperature
    dew = 238.3 * ((t + 238.3) * x + 17.2694 * t) / ((t + 238.3) * (17.2694 - x) - 17.2694 * t)
    terms = (4.50874, 0.341724, 0.0106778, 0.184889e-3, 0.238294e-5, 0.203447e-7)
    return 133.32239 * sum(c * dew**i for i, c in enumerate(terms))


def densityFactors(weather, model="default"):
    """Density factors of dry air and of water vapour (Stone 1996, eqs. 15 and 16).

    Parameters
    ----------
    weather : `stillsky.meta.Weather`
        Complete.
    model : {"default", "reference"}

    Returns
    -------
    dry, vapour : `float`
    """
    _checkModel(model)
    vapourPa = waterVapourPressure(weather)
    kelvin = weather.airTemperature + 273.15
    dry, wet = (weather.airPressure - vapourPa) / 100.0, vapourPa / 100.0  # mbar
    densityDry = (1 + dry * (57.90e-8 - 9.3250e-4 / kelvin + 0.25844 / kelvin**2)) * dry / kelvin
    cubic = -2.37321e-3 + 2.23366 / kelvin - 710.792 / kelvin**2 + _VAPOUR_CUBIC[model] / kelvin**3
    return densityDry, (1 + wet * (1 + 3.7e-4 * wet) * cubic) * wet / kelvin


def refractivity(wavelength, weather, model="default"):
    """Refractive index of air minus one (Stone 1996, eq. 14).

    Parameters
    ----------
    wavelength : `float`, array_like or `astropy.units.Quantity`
        nm, 230.2 to 2058.6.
    weather : `stillsky.meta.Weather`
        Complete.
    model : {"default", "reference"}

    Returns
    -------
    n1 : `float` or `numpy.ndarray`

    Raises
    ------
    DomainError
        A wavelength outside the formula, or an unknown model.
    """
    densityDry, densityVapour = densityFactors(weather, model)
    s2 = (1000.0 / _wavelengths(wavelength)) ** 2
    dry = 2371.34 + 683939.7 / (130.0 - s2) + 4547.3 / (38.9 - s2)
    wet = 6487.31 + s2 * (58.058 + s2 * (-0.71150 + s2 * 0.08851))
    value = 1e-8 * (dry * densityDry + wet * densityVapour)
    return value if value.ndim else float(value)


def refraction(wavelength, elevation, observatory, weather=None, model="default"):
    """Angle by which the atmosphere lifts a source towards the zenith (Stone 1996, eq. 10).

    R = k g (1 - b) t - k g (b - g/2) t^3 with t = tan(zenith distance), g = n - 1, b the scale height of the air over
    the Earth's radius and k the gravity at the site over its standard value.

    Parameters
    ----------
    wavelength : `float`, array_like or `astropy.units.Quantity`
        nm, 230.2 to 2058.6.
    elevation : `float`, array_like or `astropy.units.Quantity`
        Apparent elevation, radians, 10 degrees to the zenith. Broadcasts with ``wavelength``.
    observatory : `stillsky.meta.Observatory`
        An unknown latitude counts as 45 degrees (an error of at most 0.3 % of the refraction), an unknown elevation as
        sea level where the weather is known.
    weather : `stillsky.meta.Weather`, optional
        Every unknown field is replaced by the typical value at the site (`stillsky.meta.site.completeWeather`).
        Zero humidity is dry air. The pressure is Pa and never taken for another unit.
    model : {"default", "reference"}
        "reference" reproduces Rubin's figures: a positive tan^3 term (0.5 arcsec too much at 30 degrees) and a water
        vapour constant that is eight orders of magnitude too small (3e-4 of the refraction at 40 % humidity).

    Returns
    -------
    angle : `float` or `numpy.ndarray`
        Radians, positive towards the zenith.

    Raises
    ------
    DomainError
        (a ValueError) Wavelength or elevation out of range, unknown model, weather and elevation of the site unknown.
    """
    _checkModel(model)
    elevation = _elevations(elevation)
    weather, _ = completeWeather(weather, observatory)
    gamma = refractivity(wavelength, weather, model)
    latitude = observatory.latitude if math.isfinite(observatory.latitude) else math.pi / 4
    height = observatory.elevation if math.isfinite(observatory.elevation) else 0.0
    gravity = 1 + 0.005302 * math.sin(latitude) ** 2 - 0.00000583 * math.sin(2 * latitude) ** 2 - 0.000000315 * height
    beta = 4.5908e-6 * (weather.airTemperature + 273.15)
    t = np.tan(np.pi / 2 - elevation)
    first = gravity * gamma * (1 - beta) * t
    value = first + _CUBIC_SIGN[model] * gravity * gamma * (beta - gamma / 2) * t**3
    return value if np.ndim(value) else float(value)


def differentialRefraction(wavelength, wavelengthRef, elevation, observatory, weather=None, model="default"):
    """Refraction at one wavelength minus that at another, radians: positive for bluer light.

    Parameters
    ----------
    wavelength, wavelengthRef : `float`, array_like or `astropy.units.Quantity`
        nm.
    elevation, observatory, weather, model
        As for `refraction`.

    Returns
    -------
    angle : `float` or `numpy.ndarray`
        Radians.
    """
    return refraction(wavelength, elevation, observatory, weather, model) - refraction(
        wavelengthRef, elevation, observatory, weather, model
    )
