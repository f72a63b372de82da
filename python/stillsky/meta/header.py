"""Header: the metadata of an exposure, an ordered mapping with the meaning of FITS cards."""

import math
import re
from collections.abc import MutableMapping

import numpy as np

from ..errors import DomainError, NotFoundError

__all__ = ["Header", "isStructuralKey"]

_LIST_KEYS = ("COMMENT", "HISTORY")

_STRUCTURAL = re.compile(
    r"(SIMPLE|BITPIX|EXTEND|NAXIS\d*|XTENSION|PCOUNT|GCOUNT|GROUPS|TFIELDS|THEAP|BSCALE|BZERO|BLANK|END"
    r"|T(TYPE|FORM|UNIT|NULL|SCAL|ZERO|DISP|DIM|BCOL|LMIN|LMAX|DMIN|DMAX)\d+"
    r"|Z(IMAGE|TABLE|SIMPLE|TENSION|EXTEND|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|MASKCMP|QUANTIZ|DITHER0"
    r"|BLANK|SCALE|ZERO|PCOUNT|GCOUNT|HECKSUM|DATASUM|BLOCKED|TILELEN|FORM\d+|CTYP\d+|THEAP)"
    r"|CHECKSUM|DATASUM|EXTNAME|EXTVER|EXTLEVEL|EXTTYPE|INHERIT|LTV[12]"
    r"|(CTYPE|CRPIX|CRVAL|CUNIT|CDELT)[12]A)"
)
_STANDARD_KEY = re.compile(r"[A-Z0-9_-]{1,8}")


def isStructuralKey(key):
    """Tell whether a card describes the file and not the observation.

    Parameters
    ----------
    key : `str`
        Keyword as it stands in the file.

    Returns
    -------
    structural : `bool`
        True for sizes, table and compression structure, scaling, checksums, extension names, LTV cards and the
        pixel-origin WCS "A" (core data model, section 9): these never become metadata.
    """
    return _STRUCTURAL.fullmatch(key) is not None


def _checkScalar(key, value):
    """Return ``value`` as one of the card types (None, bool, int, float, str)."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"metadata {key!r}: wanted None, bool, int, float or str, given {type(value).__name__}")


class Header(MutableMapping):
    """Ordered, case-sensitive metadata with the meaning of FITS cards.

    Parameters
    ----------
    items : mapping or iterable of (key, value), optional
        First contents.

    Notes
    -----
    A value is None (undefined), bool, int, float, str, or a list of these: COMMENT, HISTORY and repeated keywords.
    Each key may have a comment. Keywords that FITS cannot hold in eight characters become HIERARCH cards, with
    case, spaces and dots kept. NaN and infinite floats have no card: they are written as undefined and read as None.
    """

    def __init__(self, items=()):
        self._values = {}
        self._comments = {}
        for key, value in items.items() if hasattr(items, "items") else items:
            self.set(key, value)
        if isinstance(items, Header):
            self._comments.update(items._comments)

    # mapping protocol
    def __getitem__(self, key):
        try:
            return self._values[key]
        except KeyError:
            raise NotFoundError(f"no metadata {key!r}") from None

    def __setitem__(self, key, value):
        self.set(key, value)

    def __delitem__(self, key):
        if key not in self._values:
            raise NotFoundError(f"no metadata {key!r} to remove")
        del self._values[key]
        self._comments.pop(key, None)

    def __iter__(self):
        return iter(self._values)

    def __len__(self):
        return len(self._values)

    def __contains__(self, key):
        return key in self._values

    def __eq__(self, other):
        if not isinstance(other, Header):
            return NotImplemented
        if self._values.keys() != other._values.keys():  # as for any mapping, the order does not count
            return False
        return all(_sameValue(v, other._values[k]) for k, v in self._values.items())

    __hash__ = None

    def __repr__(self):
        shown = ", ".join(f"{k}={v!r}" for k, v in list(self._values.items())[:6])
        return f"Header({len(self)} keys: {shown}{', ...' if len(self) > 6 else ''})"

    def _repr_html_(self):
        from html import escape

        rows = "".join(
            f"<tr><td>{escape(str(k))}</td><td>{escape(str(v))}</td><td>{escape(self.comment(k))}</td></tr>"
            for k, v in self._values.items()
        )
        return f"<table><tr><th>key</th><th>value</th><th>comment</th></tr>{rows}</table>"

    # verbs of the specification
    def set(self, key, value, comment=None):
        """Replace the value (and, when given, the comment) of ``key``, which keeps its place in the order.

        Raises
        ------
        DomainError
            If the key is not a non-empty string without "=", control characters or surrounding blanks.
        TypeError
            If the value is no card type.
        """
        if not isinstance(key, str) or not key.strip() or key != key.strip() or "=" in key or not key.isprintable():
            raise DomainError(f"metadata key: wanted printable text without '=' or outer blanks, given {key!r}")
        if isinstance(value, (list, tuple, np.ndarray)):
            value = [_checkScalar(key, v) for v in value]
        else:
            value = _checkScalar(key, value)
            if key in _LIST_KEYS:
                value = [value]
        self._values[key] = value
        if comment is not None:
            self._comments[key] = str(comment)

    def add(self, key, value, comment=None):
        """Append ``value``: an existing key becomes (or stays) a list, a new one is simply set."""
        if key not in self._values:
            self.set(key, value, comment)
            return
        old = self._values[key]
        old = list(old) if isinstance(old, list) else [old]
        new = list(value) if isinstance(value, (list, tuple)) else [value]
        self.set(key, old + new, comment)

    def remove(self, key):
        """Remove ``key`` if it is there."""
        self._values.pop(key, None)
        self._comments.pop(key, None)

    def combine(self, other):
        """Take over every item (and comment) of ``other``; its values replace ours."""
        for key, value in other.items():
            self.set(key, value, other._comments.get(key) if isinstance(other, Header) else None)

    def comment(self, key):
        """Comment of ``key`` ("" when it has none)."""
        return self._comments.get(key, "")

    def copy(self):
        """Independent copy."""
        new = Header()
        new._values = {k: list(v) if isinstance(v, list) else v for k, v in self._values.items()}
        new._comments = dict(self._comments)
        return new

    __copy__ = copy

    def __deepcopy__(self, memo):
        return self.copy()

    # FITS
    @classmethod
    def fromFits(cls, fitsHeader, drop=()):
        """Read metadata from an `astropy.io.fits.Header`.

        Parameters
        ----------
        fitsHeader : `astropy.io.fits.Header`
            Header of one extension. Structural cards and blank cards are left out.
        drop : container of `str`, optional
            More keywords to leave out (cards that were understood as something else).

        Returns
        -------
        header : `Header`
        """
        from astropy.io.fits import Undefined

        new = cls()
        for card in fitsHeader.cards:
            key = card.keyword
            if not key or key in drop or isStructuralKey(key):
                continue
            value = None if isinstance(card.value, Undefined) else card.value
            if not isinstance(value, (bool, int, float, str, np.generic)) and value is not None:
                value = str(value)  # complex numbers, record-valued cards
            new.add(key, value, card.comment or None)
        return new

    def toFits(self):
        """Convert to an `astropy.io.fits.Header`.

        Returns
        -------
        header : `astropy.io.fits.Header`
            One card per value, in order. NaN and infinities are undefined cards; text beyond ASCII is escaped,
            long text is continued, and floats keep all their digits.
        """
        from astropy.io import fits

        cards = []
        for key, value in self._values.items():
            for one in value if isinstance(value, list) else [value]:
                cards.append(_makeCard(key, one, self._comments.get(key, "")))
        return fits.Header(cards)


def _sameValue(a, b):
    if isinstance(a, list) or isinstance(b, list):
        return isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(map(_sameValue, a, b))
    if isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b):
        return True
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _ascii(text):
    """FITS cards hold printable ASCII only: replace the rest by Python escapes, so that it can be read back by eye."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if " " <= c <= "~" else c.encode("unicode_escape").decode("ascii") for c in text)


def _makeCard(key, value, comment):
    from astropy.io import fits

    if key in _LIST_KEYS:
        return fits.Card(key, _ascii("" if value is None else str(value)))
    if isinstance(value, float) and not math.isfinite(value):
        value = None
    if isinstance(value, str):
        value = _ascii(value)
    comment = _ascii(comment)
    keyword = key if _STANDARD_KEY.fullmatch(key) else f"HIERARCH {_ascii(key)}"
    if isinstance(value, float):
        digits = repr(value).upper()
        if len(digits) > 20:  # beyond the fixed-format field: the card is written in free format, digits complete
            start = f"{keyword:<8}= {digits}" if keyword == key else f"{keyword} = {digits}"
            if len(start) <= 80:
                return fits.Card.fromstring(f"{start} / {comment}"[:80] if comment else start)
    if not isinstance(value, str):  # a comment that does not fit is shortened, not complained about
        room = 80 - (len(keyword) + 3 if keyword != key else 10) - max(20, len(str(value))) - 3
        comment = comment[: max(room, 0)]
    return fits.Card(keyword, fits.card.Undefined() if value is None else value, comment)
