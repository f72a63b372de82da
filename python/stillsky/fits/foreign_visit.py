"""VisitInfo from the common cards of files of other origin: what is plain is taken, what is assumed is said."""

import math

from ..meta import VisitInfo
from .noise import headerNumber
from .visit_keywords import conventionOf, pointingCards, siteCards, weatherCards

__all__ = ["foreignVisit", "foreignVisitInfo"]

_SECONDS_PER_DAY = 86400.0
_SCALES = ("utc", "tai", "tt", "tdb", "ut1")


def foreignVisitInfo(header):
    """Facts about the exposure.

    Parameters
    ----------
    header : `astropy.io.fits.Header`

    Returns
    -------
    info : `VisitInfo` or None
        As of `foreignVisit`.
    """
    return foreignVisit(header)[0]


def foreignVisit(header):
    """Facts about the exposure, and what was assumed about them.

    Parameters
    ----------
    header : `astropy.io.fits.Header`

    Returns
    -------
    info : `VisitInfo` or None
        Exposure time, mid-exposure date (middle of shutter opening and closing or of the times of begin and end where
        the header has both, else start plus half of the exposure time), boresight, azimuth and altitude, airmass, site,
        weather, object, instrument; None if nothing is known. Of an hour angle, where neither time nor azimuth and
        altitude are known, the Earth rotation angle.
    notes : `list` [`str`]
        Sentences about units, signs and sites that the header leaves open; empty where it has no such cards.
    """
    convention = conventionOf(header)
    exposure = next((v for k in ("EXPTIME", "EXPOSURE") if (v := headerNumber(header, k)) is not None and v >= 0), None)
    text = {
        "instrumentLabel": header.get("INSTRUME"),
        "object": header.get("OBJECT"),
        "observationType": header.get("OBSTYPE") or header.get("IMAGETYP"),
    }
    site, notes = siteCards(header, convention)
    weather, said = weatherCards(header, convention, site)
    pointing, more = pointingCards(header, convention)
    date = _middle(header, exposure, convention)
    era = math.nan
    if date is None and math.isfinite(pointing.hourAngle + pointing.raDec[0] + site.longitude):
        era = (pointing.hourAngle + pointing.raDec[0] - site.longitude) % (2 * math.pi)
        more.append("era: from the hour angle of the telescope")
    info = VisitInfo(
        exposureTime=math.nan if exposure is None else exposure,
        boresightAirmass=pointing.airmass,
        boresightRaDec=pointing.raDec,
        boresightAzAlt=pointing.azAlt,
        era=era,
        observatory=site,
        weather=weather,
        date=date,
        **{k: v.strip() for k, v in text.items() if isinstance(v, str)},
    )
    return (None, []) if info == VisitInfo() else (info, [*notes, *said, *more])


def _middle(header, exposure, convention=None):
    scale = str(header.get("TIMESYS") or "UTC").strip().lower()
    scale = scale if scale in _SCALES else "utc"
    for begin, end in (("SHUTOPEN", "SHUTCLSD"), ("DATE-BEG", "DATE-END")):
        opened, closed = (_time(header.get(k), scale=scale) for k in (begin, end))
        if opened is not None and closed is not None:
            return opened + 0.5 * (closed - opened)
    average = _time(header.get("DATE-AVG"), scale=scale)
    if average is not None:
        return average
    start = _start(header, scale, convention)
    if start is None or exposure is None:
        return None
    from astropy.time import TimeDelta

    return start.tai + TimeDelta(0.5 * exposure / _SECONDS_PER_DAY, format="jd")


def _start(header, scale, convention):
    if convention is not None and convention.name == "SDSS":
        seconds = headerNumber(header, "TAI")  # modified Julian date in seconds
        if seconds is not None and 1e9 < seconds < 1e10:
            return _mjd(seconds / _SECONDS_PER_DAY, "tai")
    start = _time(header.get("DATE-BEG"), scale=scale)
    if start is None:
        start = _time(header.get("DATE-OBS"), header.get("TIME-OBS"), scale)
    if start is not None:
        return start
    mjd = next((v for k in ("MJD-OBS", "MJD-BEG", "OBSMJD") if (v := headerNumber(header, k)) is not None), None)
    return _mjd(mjd, scale) if mjd is not None and 1 < mjd < 1e6 else None


def _mjd(value, scale="utc"):
    from astropy.time import Time

    return Time(value, format="mjd", scale=scale)


def _time(date, clock=None, scale="utc"):
    """TAI of a card, or None if it is no full date and time."""
    from astropy.time import Time

    if not isinstance(date, str):
        return None
    date = date.strip().rstrip("Z")
    if "T" not in date and isinstance(clock, str) and clock.strip():
        date = f"{date}T{clock.strip()}"
    if "T" not in date and " " not in date:
        return None
    try:
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dates beyond the leap-second table
            # a named format: what astropy tries in vain it keeps, and with it the images of all callers
            return Time(date, format="isot" if "T" in date else None, scale=scale).tai
    except ValueError:
        return None
