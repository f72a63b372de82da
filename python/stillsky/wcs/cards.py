"""WCS cards: reading with old spellings, writing a normalised WCS."""

import warnings

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from ..errors import DomainError, StillskyError
from .normal import TABLES

__all__ = ["cardsOf", "wcsFromCards"]


def wcsFromCards(header):
    """An astropy WCS of FITS cards; None when they describe no sky, DomainError when they are broken."""
    cards = header.copy() if isinstance(header, fits.Header) else _cards(header)
    if "RADECSYS" in cards and "RADESYS" not in cards:
        cards["RADESYS"] = cards["RADECSYS"]
    cards.remove("RADECSYS", ignore_missing=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # dates, units and NAXIS that astropy repairs: not our subject
            matrix = [cards[key] for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2") if key in cards]
            if matrix and not any(matrix):
                raise DomainError("the CD matrix is zero")  # wcslib would take one degree per pixel
            wcs = WCS(cards)
            if not wcs.has_celestial:
                return None
            wcs.wcs.set()
    except Exception as problem:  # wcslib and astropy raise many kinds
        reason = str(problem).strip().splitlines() or [type(problem).__name__]
        raise DomainError(f"WCS cards are broken: {reason[-1]}") from None
    return wcs


def _cards(header):
    """astropy Header of any mapping; repeated keywords count with their last value."""
    cards = fits.Header()
    for key in header:
        value = header[key]
        value = value[-1] if isinstance(value, (list, tuple)) and value else value
        if value is not None and value != [] and len(key) <= 8 and key not in ("COMMENT", "HISTORY", ""):
            cards[key] = value
    return cards


def cardsOf(wcs, relax=True):
    """FITS cards of a normalised WCS, always with a CD matrix; SIP and TPV terms only with ``relax``."""
    if any(getattr(wcs, name) is not None for name in TABLES):
        raise StillskyError("a WCS with lookup-table distortions cannot be written as header cards")
    w, header = wcs.wcs, fits.Header()
    written = fits.Header.fromstring(w.to_header(True))  # wcslib hides TPV terms and the name of that projection
    sip = "-SIP" if wcs.sip is not None and relax else ""
    matrix = wcs.pixel_scale_matrix
    header["WCSAXES"] = 2
    for i in (0, 1):
        name = written[f"CTYPE{i + 1}"] if relax else w.ctype[i]
        header[f"CTYPE{i + 1}"] = name.removesuffix("-SIP") + sip
        header[f"CUNIT{i + 1}"] = "deg"
        header[f"CRPIX{i + 1}"] = _fitting(w.crpix[i])
        header[f"CRVAL{i + 1}"] = _fitting(w.crval[i])
    for i in (0, 1):
        for j in (0, 1):
            header[f"CD{i + 1}_{j + 1}"] = _fitting(matrix[i, j])
    header["LONPOLE"], header["LATPOLE"] = _fitting(w.lonpole), _fitting(w.latpole)
    if relax:
        header.update({key: _fitting(written[key]) for key in written if key.startswith("PV")})
    header["RADESYS"] = "ICRS"
    if sip:
        _addSip(header, wcs.sip)
    return header


def _fitting(value):
    """The nearest number that a card holds in its 20 characters; astropy would cut the digits off."""
    for digits in range(17, 0, -1):
        rounded = float(f"{value:.{digits}g}")
        if len(repr(rounded)) <= 20:
            break
    return rounded


def _addSip(header, sip):
    for name, terms in (("A", sip.a), ("B", sip.b), ("AP", sip.ap), ("BP", sip.bp)):
        if terms is None:
            continue
        header[f"{name}_ORDER"] = terms.shape[0] - 1
        for i, j in np.argwhere(terms != 0.0):
            header[f"{name}_{i}_{j}"] = _fitting(terms[i, j])
