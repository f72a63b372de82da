"""WCS cards: reading with old spellings, writing a normalised WCS."""

import warnings

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from ..errors import DomainError, StillskyError
from .normal import TABLES

__all__ = ["cardText", "cardsOf", "wcsFromCards"]


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
    return fits.Header.fromstring(cardText(wcs, relax))


def cardText(wcs, relax=True):
    """`cardsOf` as text of 80 characters a card: many objects ask for it, and astropy takes milliseconds for a header."""
    if any(getattr(wcs, name) is not None for name in TABLES):
        raise StillskyError("a WCS with lookup-table distortions cannot be written as header cards")
    w = wcs.wcs
    written = _written(w)  # wcslib hides TPV terms and the name of that projection
    sip = "-SIP" if wcs.sip is not None and relax else ""
    matrix = wcs.pixel_scale_matrix
    cards = [("WCSAXES", 2)]
    for i in (0, 1):
        name = written[f"CTYPE{i + 1}"] if relax else w.ctype[i]
        cards += [(f"CTYPE{i + 1}", name.removesuffix("-SIP") + sip), (f"CUNIT{i + 1}", "deg")]
        cards += [(f"CRPIX{i + 1}", _fitting(w.crpix[i])), (f"CRVAL{i + 1}", _fitting(w.crval[i]))]
    cards += [(f"CD{i + 1}_{j + 1}", _fitting(matrix[i, j])) for i in (0, 1) for j in (0, 1)]
    cards += [("LONPOLE", _fitting(w.lonpole)), ("LATPOLE", _fitting(w.latpole))]
    if relax:
        cards += [(key, _fitting(value)) for key, value in written.items() if key.startswith("PV")]
    cards.append(("RADESYS", "ICRS"))
    if sip:
        cards += _sipCards(wcs.sip)
    return "".join(map(_card, cards)) + f"{'END':80}"


def _written(w):
    """CTYPEi and PVi_m of the cards that wcslib writes."""
    text, found = w.to_header(True), {}
    for start in range(0, len(text), 80):
        key, value = text[start : start + 8].strip(), text[start + 10 : start + 80]
        if key.startswith("CTYPE"):
            found[key] = value.split("'")[1].rstrip()
        elif key.startswith("PV"):
            found[key] = float(value.partition("/")[0])
    return found


def _card(pair):
    key, value = pair
    if isinstance(value, str):
        return f"{key:8}= {repr(value.ljust(8)):70}"
    return f"{key:8}= {repr(value).replace('e', 'E'):>20}{'':50}"


def _fitting(value):
    """The nearest number that a card holds in its 20 characters; astropy would cut the digits off."""
    for digits in range(17, 0, -1):
        rounded = float(f"{value:.{digits}g}")
        if len(repr(rounded)) <= 20:
            break
    return rounded


def _sipCards(sip):
    cards = []
    for name, terms in (("A", sip.a), ("B", sip.b), ("AP", sip.ap), ("BP", sip.bp)):
        if terms is None:
            continue
        cards.append((f"{name}_ORDER", terms.shape[0] - 1))
        cards += [(f"{name}_{i}_{j}", _fitting(terms[i, j])) for i, j in np.argwhere(terms != 0.0)]
    return cards
