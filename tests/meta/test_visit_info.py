"""VisitInfo, Observatory, Weather, FilterLabel (core data model 24.4)."""

import math
import pickle

import pytest

import stillsky
from stillsky.meta import FilterLabel, Header, Observatory, VisitInfo, Weather


def _full():
    return VisitInfo(
        exposureTime=30.125,
        darkTime=31.0,
        date="2026-11-21T04:05:06.123456789",
        ut1=61365.12345678901,
        era=math.radians(45.1),
        boresightRaDec=(1.2345678901234567, -0.1),
        boresightAzAlt=(3.3, 1.1),
        boresightAirmass=1.23,
        boresightRotAngle=-0.7,
        rotType="SKY",
        observatory=Observatory(-1.23, -0.53, 2663.0),
        weather=Weather(20.0, 73892.0, 10.0),
        instrumentLabel="cam",
        id=2**40 + 1,
        focusZ=0.25,
        observationType="science",
        scienceProgram="P1",
        observationReason="because",
        object="M13",
        hasSimulatedContent=False,
    )


@pytest.mark.parametrize(
    "era, longitude, latitude, ra, dec, expected",
    [
        (45.1, 11.1, 22.2, 23.1, 73.2, 141.39684140703142),
        (25.1, 22.2, 33.3, 2.1, 33.2, 76.99982166973487),
    ],
)
def testParallacticAngle(era, longitude, latitude, ra, dec, expected):
    info = VisitInfo(
        era=math.radians(era),
        observatory=Observatory(math.radians(longitude), math.radians(latitude), 0),
        boresightRaDec=(math.radians(ra), math.radians(dec)),
    )
    assert math.degrees(info.boresightParAngle) == pytest.approx(expected, abs=1e-10)
    assert math.degrees(info.localEra) == pytest.approx(era + longitude, abs=1e-12)


def testParallacticAngleOnTheMeridian():
    site = Observatory(0.0, math.radians(30), 0)
    for dec, expected in ((40, 180.0), (20, 0.0)):
        info = VisitInfo(era=0.5, observatory=site, boresightRaDec=(0.5, math.radians(dec)))
        assert math.degrees(info.boresightParAngle) == pytest.approx(expected, abs=1e-10)


def testHourAngleWrapsAndPropagatesNan():
    site = Observatory(0.0, 0.5, 0)
    info = VisitInfo(era=0.1, observatory=site, boresightRaDec=(6.2, 0.0))
    assert info.boresightHourAngle == pytest.approx(0.1 - 6.2 + 2 * math.pi, abs=1e-14)
    assert VisitInfo(era=math.pi, observatory=site, boresightRaDec=(0.0, 0.0)).boresightHourAngle == math.pi
    assert math.isnan(VisitInfo().boresightHourAngle) and math.isnan(VisitInfo().boresightParAngle)


def testCardRoundTrip():
    from astropy.io import fits

    info = _full()
    onDisk = fits.Header.fromstring(info.toHeader().toFits().tostring())
    for back in (VisitInfo.fromHeader(info.toHeader()), VisitInfo.fromHeader(onDisk)):
        assert back == info and hash(back) == hash(info)
    assert set(info.toHeader()) <= VisitInfo.cardNames()
    assert info.toHeader()["BORE-DEC"] == pytest.approx(math.degrees(-0.1), abs=1e-12)


def testUnknownFieldsWriteNoCard():
    assert len(VisitInfo().toHeader()) == 0
    assert VisitInfo.fromHeader(Header()) == VisitInfo()


def testDateNeedsTai():
    with pytest.raises(stillsky.FitsLayoutError, match="TIMESYS.*'UTC'"):
        VisitInfo.fromHeader({"DATE-AVG": "2026-01-01T00:00:00", "TIMESYS": "UTC"})
    old = VisitInfo.fromHeader({"TIME-MID": "2026-01-01T00:00:00.5Z"})
    assert old.date.value == "2026-01-01T00:00:37.500000000"
    with pytest.raises(stillsky.FitsLayoutError, match="DATE-AVG"):
        VisitInfo.fromHeader({"DATE-AVG": "yesterday", "TIMESYS": "TAI"})


def testNumericTextIsAccepted():
    assert VisitInfo.fromHeader({"EXPTIME": "30.0"}).exposureTime == 30.0
    with pytest.raises(stillsky.FitsLayoutError, match="EXPTIME.*'long'"):
        VisitInfo.fromHeader({"EXPTIME": "long"})


def testImpossibleValuesAreRefused():
    with pytest.raises(stillsky.DomainError, match="humidity"):
        Weather(humidity=-1.0)
    with pytest.raises(stillsky.DomainError, match="humidity"):
        VisitInfo.fromHeader({"HUMIDITY": -3.0})
    with pytest.raises(stillsky.DomainError, match="exposureTime"):
        VisitInfo(exposureTime=-1)
    with pytest.raises(stillsky.DomainError, match="latitude"):
        Observatory(0, 2.0, 0)
    with pytest.raises(stillsky.DomainError, match="altitude"):
        VisitInfo(boresightAzAlt=(0.0, 1.6))
    with pytest.raises(stillsky.DomainError, match="rotType"):
        VisitInfo(rotType="SIDEWAYS")


def testValueSemantics():
    info = _full()
    assert info == _full() and hash(info) == hash(_full())
    assert info != info.copyWith(exposureTime=31.0)
    assert info.copyWith(id=5).id == 5 and info.copyWith(id=5).date == info.date
    assert VisitInfo() == VisitInfo()  # NaN equals NaN
    assert pickle.loads(pickle.dumps(info)) == info
    assert "exposureTime=30.125" in repr(info) and "2026-11-21" in repr(info)
    assert repr(VisitInfo()) == "VisitInfo()"
    assert pickle.loads(pickle.dumps(info.observatory)) == info.observatory
    with pytest.raises(AttributeError):
        info.exposureTime = 3


def testFilterLabelEqualityTable():
    labels = [FilterLabel("r"), FilterLabel(physical="HSC-R"), FilterLabel("r", "HSC-R")]
    for i, a in enumerate(labels):
        for j, b in enumerate(labels):
            assert (a == b) == (i == j)
            assert i != j or hash(a) == hash(b)
    assert labels[0].physical is None and labels[1].band is None
    assert repr(labels[0]) == "FilterLabel(band='r')"
    assert pickle.loads(pickle.dumps(labels[2])) == labels[2]
    with pytest.raises(stillsky.DomainError, match="neither"):
        FilterLabel()


def testFilterLabelLegacyNames():
    legacy = FilterLabel.fromLegacyName
    assert legacy("r2") == FilterLabel("r", "HSC-R2") and legacy("i2") == FilterLabel("i", "HSC-I2")
    assert legacy("_unknown_") is None and legacy("") is None and legacy(None) is None
    assert legacy("white") == FilterLabel("white") and legacy("N816") == FilterLabel("N816")
    assert legacy("I945") == FilterLabel("I945") and legacy("I1") == FilterLabel(physical="I1")
    assert legacy("Halpha") == FilterLabel(physical="Halpha")
