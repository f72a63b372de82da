"""Where the zenith is, seen from a position on the sky: elevation and parallactic angle of a visit, and how they are known."""

import functools
import math
from dataclasses import dataclass

from ..errors import DomainError
from .site import completeObservatory, completeWeather
from .visit_info import Observatory, VisitInfo

__all__ = ["CONTRADICTED", "Pointing", "completeVisitInfo", "pointingOf"]

_STEP = math.radians(1.0 / 60.0)  # towards the zenith, for the direction of the apparent vertical
_NEAR = math.radians(5.0)  # a stored direction farther from the computed one belongs to another time or place

#: End of the note on a time that the header itself contradicts.
CONTRADICTED = "the time may be that of another exposure"
_STALE = 0.1  # relative difference of airmasses that no field of view explains


@dataclass(frozen=True)
class Pointing:
    """Direction of the zenith at a position.

    Attributes
    ----------
    elevation : `float`
        Apparent elevation, radians.
    parallacticAngle : `float`
        Position angle of the zenith, radians from (ICRS) north through east.
    azimuth : `float`
        Radians from north through east; NaN where it was not needed.
    source : {"apparent", "azalt", "era", "stored"}
        How it is known: a full transform of the ICRS position for time and site; the telescope's azimuth and altitude;
        the Earth rotation angle with spherical trigonometry, which leaves out precession since 2000; or the boresight's
        stored values as they are.
    notes : `tuple` [`str`]
        What was assumed, in sentences.
    """

    elevation: float
    parallacticAngle: float
    azimuth: float = math.nan
    source: str = "stored"
    notes: tuple = ()

    @property
    def airmass(self):
        """Secant of the apparent zenith distance."""
        return 1.0 / math.sin(self.elevation)


def pointingOf(visitInfo, ra=None, dec=None, *, model="default"):
    """Elevation and direction of the zenith at a position of a visit.

    Parameters
    ----------
    visitInfo : `VisitInfo`
    ra, dec : `float`, optional
        ICRS, radians; default the boresight. Within 10 degrees of the zenith the direction changes quickly, so that
        the centre of the region of interest should be given.
    model : {"default", "reference"}
        "reference" takes the boresight's stored altitude and the parallactic angle of the Earth rotation angle for
        every position, as Rubin does.

    Returns
    -------
    pointing : `Pointing`

    Raises
    ------
    DomainError
        (a ValueError) Nothing tells where the zenith is; the message lists what would.
    """
    if model not in ("default", "reference"):
        raise DomainError(f"model: wanted 'default' or 'reference', given {model!r}")
    if (ra is None) != (dec is None):
        raise DomainError("pointingOf: wanted both ra and dec, or neither")
    place = None if ra is None else (float(ra), float(dec))
    return _pointing(visitInfo, place, model)


@functools.lru_cache(maxsize=4096)
def _pointing(info, place, model):
    """`pointingOf`, remembered: every tile of an image asks for the same few positions."""
    if model == "reference":
        angles = info.boresightAzAlt[1], info.boresightParAngle
        if not all(map(math.isfinite, angles)):
            raise _nothingKnown(info, "model='reference' needs the boresight's altitude, position and ERA")
        return Pointing(*angles, azimuth=info.boresightAzAlt[0])
    notes = []
    if place is None:
        place = info.boresightRaDec
        if not all(map(math.isfinite, place)):
            place = None
    observatory, assumed = completeObservatory(info.observatory, info.instrumentLabel)
    notes += assumed
    info = info.copyWith(observatory=observatory) if assumed else info
    stored = _fromAzAlt(info, place)
    if place is not None and info.date is not None and _isKnown(observatory.longitude, observatory.latitude):
        apparent = _apparent(info, place)
        apart = 0.0 if stored is None else _separation(stored, apparent)
        if apart < _NEAR:
            known = info.boresightAirmass > 0 and apparent.elevation > 0
            if known and abs(math.log(apparent.airmass / info.boresightAirmass)) > _STALE:
                notes.append(
                    f"zenith: airmass {apparent.airmass:.3g} by time and site, {info.boresightAirmass:.3g} in the header: "
                    + CONTRADICTED
                )
            return _noted(apparent, notes)
        notes.append(
            "zenith: the telescope's azimuth and altitude are used; those by time and site lie "
            f"{math.degrees(apart):.1f} degrees away"
        )
    if stored is not None:
        return _noted(stored, notes)
    if place is not None and _isKnown(info.localEra, observatory.latitude):
        return _noted(_fromEra(info, place), notes)
    raise _nothingKnown(
        info, "wanted time and site, or azimuth, altitude and latitude, or Earth rotation angle and site"
    )


def _separation(first, second):
    """Angle between two horizontal directions."""
    product = math.sin(first.elevation) * math.sin(second.elevation)
    product += math.cos(first.elevation) * math.cos(second.elevation) * math.cos(first.azimuth - second.azimuth)
    return math.acos(max(-1.0, min(1.0, product)))


def _isKnown(*values):
    return all(map(math.isfinite, values))


def _noted(pointing, notes):
    if not notes:
        return pointing
    fields = (pointing.elevation, pointing.parallacticAngle, pointing.azimuth, pointing.source)
    return Pointing(*fields, (*notes, *pointing.notes))


def _nothingKnown(info, wanted):
    known = [
        name
        for name, values in (
            ("date", (0.0 if info.date is not None else math.nan,)),
            ("boresightRaDec", info.boresightRaDec),
            ("boresightAzAlt", info.boresightAzAlt),
            ("era", (info.era,)),
            ("longitude", (info.observatory.longitude,)),
            ("latitude", (info.observatory.latitude,)),
            ("boresightAirmass", (info.boresightAirmass,)),
        )
        if _isKnown(*values)
    ]
    name = "visit" if info.id is None else f"visit {info.id}"
    return DomainError(
        f"{name}: the direction of the zenith is not known: {wanted}; known: {', '.join(known) or 'nothing'}"
    )


def _spherical(hour, dec, latitude):
    """(elevation, parallactic angle, azimuth) of an hour angle and declination, radians."""
    sinAlt = math.sin(latitude) * math.sin(dec) + math.cos(latitude) * math.cos(dec) * math.cos(hour)
    north = math.cos(dec) * math.tan(latitude) - math.sin(dec) * math.cos(hour)
    azimuth = math.atan2(
        -math.cos(dec) * math.sin(hour),
        math.sin(dec) * math.cos(latitude) - math.cos(dec) * math.sin(latitude) * math.cos(hour),
    )
    angle = math.atan2(math.sin(hour), north)
    return math.asin(max(-1.0, min(1.0, sinAlt))), angle, azimuth % (2 * math.pi)


def _fromAzAlt(info, place):
    """From the telescope's azimuth and altitude, carried over to the place; None if they or the latitude are unknown."""
    azimuth, altitude = info.boresightAzAlt
    latitude = info.observatory.latitude
    if not _isKnown(azimuth, altitude, latitude):
        return None
    sinDec = math.sin(altitude) * math.sin(latitude) + math.cos(altitude) * math.cos(latitude) * math.cos(azimuth)
    dec = math.asin(max(-1.0, min(1.0, sinDec)))
    hour = math.atan2(
        -math.sin(azimuth) * math.cos(altitude),
        math.sin(altitude) * math.cos(latitude) - math.cos(altitude) * math.sin(latitude) * math.cos(azimuth),
    )
    if place is not None and _isKnown(*info.boresightRaDec):
        hour -= place[0] - info.boresightRaDec[0]
        dec += place[1] - info.boresightRaDec[1]
    elevation, angle, azimuth = _spherical(hour, dec, latitude)
    return Pointing(elevation, angle, azimuth, "azalt")


def _fromEra(info, place):
    elevation, angle, azimuth = _spherical(info.localEra - place[0], place[1], info.observatory.latitude)
    note = "zenith: from the Earth rotation angle, without precession and refraction"
    return Pointing(elevation, angle, azimuth, "era", (note,))


def _apparent(info, place):
    """Full transform ICRS to refracted horizontal coordinates (IAU SOFA by way of astropy) and back."""
    from astropy import units as u
    from astropy.coordinates import ICRS, AltAz

    site = info.observatory
    notes = []
    if not math.isfinite(site.elevation):
        site = Observatory(site.longitude, site.latitude, 0.0)
        notes.append("site: elevation 0 m assumed for the direction of the zenith")
    weather, assumed = completeWeather(info.weather, site)
    notes += assumed
    with _quietEarthOrientation():
        frame = AltAz(
            obstime=_timeOf(info),
            location=_location(site),
            pressure=weather.airPressure * u.Pa,
            temperature=weather.airTemperature * u.deg_C,
            relative_humidity=weather.humidity / 100.0,
            obswl=550 * u.nm,
        )
        here = ICRS(place[0] * u.rad, place[1] * u.rad).transform_to(frame)
        altitude, azimuth = here.alt.rad, here.az.rad
        # beyond the zenith "up" would be on the other side
        step = _STEP if altitude + _STEP < math.pi / 2 else -_STEP
        up = frame.realize_frame(
            here.represent_as("unitspherical").__class__(azimuth * u.rad, (altitude + step) * u.rad)
        ).transform_to(ICRS())
    angle = _positionAngle(place, (up.ra.rad, up.dec.rad))
    if step < 0:
        angle = math.remainder(angle + math.pi, 2 * math.pi)
    return Pointing(float(altitude), float(angle), float(azimuth), "apparent", tuple(notes))


def _positionAngle(start, end):
    """Position angle at ``start`` of the great circle to ``end``, radians from north through east."""
    (ra0, dec0), (ra1, dec1) = start, end
    east = math.cos(dec1) * math.sin(ra1 - ra0)
    north = math.cos(dec0) * math.sin(dec1) - math.sin(dec0) * math.cos(dec1) * math.cos(ra1 - ra0)
    return math.atan2(east, north)


def _location(site):
    from astropy import units as u
    from astropy.coordinates import EarthLocation

    return EarthLocation.from_geodetic(site.longitude * u.rad, site.latitude * u.rad, site.elevation * u.m)


class _quietEarthOrientation:  # noqa: N801 (a context manager)
    """No download of Earth orientation tables and no warning where they end: at most a second of time, 15 arcsec."""

    def __enter__(self):
        import contextlib
        import warnings

        from astropy.utils import iers

        self._stack = contextlib.ExitStack()
        self._stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        self._stack.enter_context(iers.conf.set_temp("auto_download", False))
        self._stack.enter_context(iers.conf.set_temp("iers_degraded_accuracy", "ignore"))

    def __exit__(self, *error):
        return self._stack.__exit__(*error)


def _timeOf(info):
    """Time with UT1 from the visit where that is stored."""
    time = info.date.utc
    if math.isfinite(info.ut1):
        difference = (info.ut1 - time.mjd) * 86400.0
    elif math.isfinite(info.era):
        turn = math.remainder(info.era - _era(time.jd1, time.jd2), 2 * math.pi)
        difference = turn / (2 * math.pi * 1.00273781191135448) * 86400.0
    else:
        return time
    if abs(difference) < 1.0:
        time.delta_ut1_utc = difference
    return time


def _era(jd1, jd2):
    import erfa

    return float(erfa.era00(jd1, jd2))


def completeVisitInfo(visitInfo, ra=None, dec=None, *, site=None):
    """Visit with what follows from the rest filled in: site, Earth rotation angle, azimuth and altitude, airmass.

    Parameters
    ----------
    visitInfo : `VisitInfo` or None
    ra, dec : `float`, optional
        ICRS position of the image, radians, where the visit has no boresight.
    site : `Observatory`, optional
        For visits that do not know theirs; wins over the site that the instrument's name stands for.

    Returns
    -------
    completed : `VisitInfo`
        The weather is left as it is: who needs it fills it in (`completeWeather`).
    notes : `list` [`str`]
        What was computed and what was assumed.
    """
    info = visitInfo or VisitInfo()
    notes, fields = [], {}
    observatory = info.observatory
    if site is not None and not _isKnown(observatory.longitude, observatory.latitude, observatory.elevation):
        names = ("longitude", "latitude", "elevation")
        known = {n: v if math.isfinite(v := getattr(observatory, n)) else getattr(site, n) for n in names}
        observatory = Observatory(**known)
        notes.append("site: as given")
    observatory, assumed = completeObservatory(observatory, info.instrumentLabel)
    notes += assumed
    if observatory != info.observatory:
        fields["observatory"] = observatory
    if not _isKnown(*info.boresightRaDec) and ra is not None:
        fields["boresightRaDec"] = (float(ra), float(dec))
        notes.append("boresight: the position of the image")
    if info.date is not None and not math.isfinite(info.era):
        with _quietEarthOrientation():
            utc = info.date.utc
            fields["era"] = _era(utc.jd1, utc.jd2)
    info = info.copyWith(**fields) if fields else info
    return _withZenith(info, notes)


def _withZenith(info, notes):
    """The visit with altitude and airmass where they can be computed."""
    fields = {}
    if not _isKnown(*info.boresightAzAlt):
        try:
            pointing = pointingOf(info)
        except DomainError:
            pointing = None
        if pointing is not None and pointing.elevation > 0:
            fields["boresightAzAlt"] = (pointing.azimuth, pointing.elevation)
            how = {"apparent": "time, site and position", "era": "the Earth rotation angle"}.get(pointing.source)
            notes += [*pointing.notes, f"azimuth and altitude: computed from {how}"]
    altitude = fields.get("boresightAzAlt", info.boresightAzAlt)[1]
    if not math.isfinite(info.boresightAirmass) and altitude > 0:
        fields["boresightAirmass"] = 1.0 / math.sin(altitude)
        notes.append("airmass: secant of the zenith distance")
    return (info.copyWith(**fields) if fields else info), notes
