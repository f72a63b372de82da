"""VisitInfo from the common cards of files of other origin: what is plain is taken, nothing is guessed."""

import math

from ..meta import VisitInfo
from .noise import headerNumber

__all__ = ["foreignVisitInfo"]

_SECONDS_PER_DAY = 86400.0


def foreignVisitInfo(header):
    """Facts about the exposure.

    Parameters
    ----------
    header : `astropy.io.fits.Header`

    Returns
    -------
    info : `VisitInfo` or None
        Exposure time, mid-exposure date (middle of shutter opening and closing where the header has both, else start
        plus half of the exposure time), airmass, object, instrument; None if nothing is known.
    """
    exposure = next((v for k in ("EXPTIME", "EXPOSURE") if (v := headerNumber(header, k)) is not None and v >= 0), None)
    airmass = headerNumber(header, "AIRMASS")
    text = {
        "instrumentLabel": header.get("INSTRUME"),
        "object": header.get("OBJECT"),
        "observationType": header.get("OBSTYPE") or header.get("IMAGETYP"),
    }
    info = VisitInfo(
        exposureTime=math.nan if exposure is None else exposure,
        boresightAirmass=math.nan if airmass is None else airmass,
        date=_middle(header, exposure),
        **{k: v.strip() for k, v in text.items() if isinstance(v, str)},
    )
    return None if info == VisitInfo() else info


def _middle(header, exposure):
    opened, closed = (_time(header.get(k)) for k in ("SHUTOPEN", "SHUTCLSD"))
    if opened is not None and closed is not None:
        return opened + 0.5 * (closed - opened)
    start = _time(header.get("DATE-OBS"), header.get("TIME-OBS"))
    if start is None:
        mjd = headerNumber(header, "MJD-OBS")
        start = _mjd(mjd) if mjd is not None and 1 < mjd < 1e6 else None
    if start is None or exposure is None:
        return None
    from astropy.time import TimeDelta

    return start.tai + TimeDelta(0.5 * exposure / _SECONDS_PER_DAY, format="jd")


def _mjd(value):
    from astropy.time import Time

    return Time(value, format="mjd", scale="utc")


def _time(date, clock=None):
    """UTC time of a card, or None if it is no full date and time."""
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
            return Time(date, scale="utc").tai
    except ValueError:
        return None
