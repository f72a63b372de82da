"""Bringing an astropy WCS to one form: two axes, longitude first, ICRS."""

import numpy as np
from astropy.coordinates import ICRS, SkyCoord
from astropy.wcs import WCS, DistortionLookupTable, Sip
from astropy.wcs.utils import wcs_to_celestial_frame

from ..errors import DomainError

__all__ = ["TABLES", "celestialWcs", "shiftedWcs"]

TABLES = ("cpdis1", "cpdis2", "det2im1", "det2im2")  # lookup tables of distortions in an astropy WCS
_FRAMES = ("icrs", "fk5", "galactic")  # related to ICRS by a rotation


def celestialWcs(wcs):
    """A copy with two celestial axes, longitude first, in ICRS; every pixel keeps its sky position."""
    if not isinstance(wcs, WCS):
        raise TypeError(f"SkyWcs: wanted an astropy.wcs.WCS, got {type(wcs).__name__}")
    axes = list(wcs.wcs.ctype)
    if wcs.naxis < 2 or not wcs.has_celestial:
        raise DomainError(f"SkyWcs: wanted a celestial WCS of two axes, got axis types {axes}")
    wcs = wcs.deepcopy() if wcs.naxis == 2 else wcs.sub([1, 2])
    if not wcs.has_celestial:
        raise DomainError(f"SkyWcs: wanted the first two axes on the sky, got axis types {axes}")
    wcs.wcs.set()
    if wcs.wcs.lng == 1:
        _swapWorldAxes(wcs.wcs)
    _toIcrs(wcs)
    wcs.wcs.set()
    return wcs


def _swapWorldAxes(w):
    """Exchange the world axes of a Wcsprm; the pixel axes stay."""
    if "TPV" in w.to_header(True):
        raise DomainError("SkyWcs: TPV terms with declination as the first axis are not understood")
    terms = [(3 - axis, term, value) for axis, term, value in w.get_pv()]
    names, units, values = list(w.ctype)[::-1], [str(u) for u in w.cunit][::-1], w.crval[::-1].copy()
    if w.has_cd():
        w.cd = w.cd[::-1].copy()
    else:
        w.pc, w.cdelt = w.get_pc()[::-1].copy(), w.get_cdelt()[::-1].copy()
    w.ctype, w.cunit, w.crval = names, units, values
    w.set_pv(terms)
    w.set()


def _toIcrs(wcs):
    """Express the celestial frame in ICRS.

    FK5 and galactic coordinates differ from ICRS by a rotation, so it is enough to turn CRVAL and the pole: LONPOLE
    and LATPOLE are the native coordinates of the celestial pole (Calabretta & Greisen 2002, A&A 395, 1077, sec. 2.4).
    """
    w = wcs.wcs
    system = (w.radesys or "").strip().upper()
    try:
        frame = ICRS() if w.lngtyp == "RA" and system in ("", "GAPPT") and not _oldEquinox(w) else None
        frame = frame or wcs_to_celestial_frame(wcs)
    except ValueError:
        frame = None
    if frame is None or frame.name not in _FRAMES:
        raise DomainError(f"SkyWcs: wanted ICRS, FK5 or galactic, got RADESYS {system!r} with axes {list(w.ctype)}")
    if frame.name != "icrs":
        origin = SkyCoord(*w.crval, unit="deg", frame=frame).icrs
        pole = SkyCoord(0.0, 90.0, unit="deg", frame="icrs").transform_to(frame).spherical
        native = _native(w.cel.euler, pole.lon.deg, pole.lat.deg)
        projection = w.ctype[0][5:]
        w.ctype = [f"RA---{projection}", f"DEC--{projection}"]
        w.crval = [origin.ra.deg, origin.dec.deg]
        w.lonpole, w.latpole = native
    w.radesys, w.equinox = "ICRS", np.nan


def _oldEquinox(w):
    """A header without RADESYS but with an equinox other than 2000 means FK4 or FK5 of that equinox."""
    return np.isfinite(w.equinox) and w.equinox != 2000.0


def _native(euler, lon, lat):
    """Native (longitude, latitude) in degrees of a celestial position; Calabretta & Greisen 2002, eq. 5."""
    pole, colatitude, phiPole = np.radians(euler[:3])
    dec0 = 0.5 * np.pi - colatitude
    dra, dec = np.radians(lon) - pole, np.radians(lat)
    y = -np.cos(dec) * np.sin(dra)
    x = np.sin(dec) * np.cos(dec0) - np.cos(dec) * np.sin(dec0) * np.cos(dra)
    theta = np.arcsin(np.clip(np.sin(dec) * np.sin(dec0) + np.cos(dec) * np.cos(dec0) * np.cos(dra), -1.0, 1.0))
    phi = np.degrees(phiPole + np.arctan2(y, x))
    return float((phi + 180.0) % 360.0 - 180.0), float(np.degrees(theta))


def shiftedWcs(wcs, offset):
    """A copy whose pixel p + offset has the sky of pixel p, distortions included."""
    dx, dy = (float(v) for v in offset)
    new = wcs.deepcopy()
    new.wcs.crpix = [wcs.wcs.crpix[0] + dx, wcs.wcs.crpix[1] + dy]
    if wcs.sip is not None:
        s = wcs.sip
        new.sip = Sip(s.a, s.b, s.ap, s.bp, [s.crpix[0] + dx, s.crpix[1] + dy])
    for name in TABLES:
        table = getattr(wcs, name)
        if table is not None:
            crval = (table.crval[0] + dx, table.crval[1] + dy)
            setattr(new, name, DistortionLookupTable(table.data, tuple(table.crpix), crval, tuple(table.cdelt)))
    new.wcs.set()
    return new
