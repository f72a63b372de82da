"""Header: the mapping and its cards."""

import copy
import math

import pytest

import stillsky
from stillsky.meta import Header, isStructuralKey


def _roundTrip(header):
    from astropy.io import fits

    return Header.fromFits(fits.Header.fromstring(header.toFits().tostring()))


def testOrderedMapping():
    h = Header({"B": 1, "A": 2.5})
    h["C"] = "x"
    h.set("B", 7, "seven")
    assert list(h.items()) == [("B", 7), ("A", 2.5), ("C", "x")]
    assert h.comment("B") == "seven" and h.comment("A") == ""
    assert h.get("nope") is None and h.get("nope", 3) == 3
    h.remove("A")
    h.remove("A")
    assert "A" not in h and len(h) == 2
    with pytest.raises(KeyError, match="nope"):
        h["nope"]
    with pytest.raises(KeyError, match="nope"):
        del h["nope"]


def testKeysAreCaseSensitive():
    h = Header({"abc": 1, "ABC": 2})
    assert _roundTrip(h) == h
    assert h["abc"] == 1 and h["ABC"] == 2


def testAddMakesLists():
    h = Header()
    h.add("K", 1)
    assert h["K"] == 1
    h.add("K", 2)
    h.add("K", [3, 4])
    h.add("HISTORY", "first")
    h.add("HISTORY", "second")
    assert h["K"] == [1, 2, 3, 4] and h["HISTORY"] == ["first", "second"]
    assert _roundTrip(h) == h


def testCombineAndCopy():
    a = Header({"X": 1, "L": [1, 2]})
    b = Header({"X": 5, "Y": 6})
    b.set("Y", 6, "why")
    a.combine(b)
    assert dict(a) == {"X": 5, "L": [1, 2], "Y": 6} and a.comment("Y") == "why"
    for c in (a.copy(), copy.copy(a), copy.deepcopy(a)):
        c["L"].append(3)
        c["X"] = 0
        assert a["X"] == 5 and a["L"] == [1, 2]


def testCardRoundTripOfEveryType():
    h = Header()
    h.set("INT", -3)
    h.set("BIG", 2**53 + 1)
    h.set("FLAG", True, "a flag")
    h.set("NONE", None)
    h.set("PI", math.pi)
    h.set("TINY", -1.2345678901234567e-105, "more digits than the fixed field holds")
    h.set("TEXT", "it's text", "with 'quotes'")
    h.set("EMPTY", "")
    h.set("LONGTEXT", "0123456789" * 15)
    h.set("TASK.sub.dottedKey", 2.0)
    h.set("Key with blanks", "v")
    h.set("A_LONG_KEYWORD", -1.2345678901234567e-5)
    back = _roundTrip(h)
    assert back == h
    assert back["FLAG"] is True and back.comment("FLAG") == "a flag"
    assert isinstance(back["PI"], float) and isinstance(back["INT"], int)


def testNonFiniteFloatsAreUndefinedCards():
    h = Header({"N": math.nan, "I": math.inf})
    back = _roundTrip(h)
    assert back["N"] is None and back["I"] is None


def testHostileTextIsEscaped():
    h = Header({"OBJECT": "é\nEND", "LONGCOMM": 1})
    h.set("LONGCOMM", 1, "c" * 200)
    back = _roundTrip(h)
    assert back["OBJECT"] == "\\xe9\\nEND" and back.comment("LONGCOMM").startswith("ccc")
    h = Header({"X": "<script>"})
    assert "<script>" not in h._repr_html_() and "&lt;script&gt;" in h._repr_html_()


def testStructuralCardsAreNotMetadata():
    from astropy.io import fits

    keys = "BITPIX NAXIS NAXIS2 EXTNAME INHERIT LTV1 CRVAL1A TTYPE12 ZCMPTYPE ZTILE1 BZERO CHECKSUM".split()
    assert all(isStructuralKey(k) for k in keys)
    assert not any(isStructuralKey(k) for k in ["EXPTIME", "ZEROPT", "CRVAL1", "TEMP", "ZNAME", "TELESCOP"])
    f = fits.Header([("BITPIX", 8), ("GAIN", 2.0), ("LTV1", -3.0), ("DROPME", 1)])
    assert dict(Header.fromFits(f, drop={"DROPME"})) == {"GAIN": 2.0}


def testBadKeysAndValues():
    h = Header()
    for key in ["", " A", "A=B", "A\n", 3]:
        with pytest.raises(stillsky.DomainError, match="metadata key"):
            h.set(key, 1)
    with pytest.raises(TypeError, match="'K'.*dict"):
        h.set("K", {})
