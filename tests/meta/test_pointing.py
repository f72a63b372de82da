"""Where the zenith is: from time and site, from azimuth and altitude, from the Earth rotation angle."""

import math

import pytest

import stillsky
from stillsky.meta import KNOWN_SITES, Observatory, VisitInfo, Weather, completeVisitInfo, pointingOf

BLANCO = KNOWN_SITES["CTIO Blanco"]


def _decam(**fields):
    """Middle of a 330 s DECam exposure whose header has AIRMASS 1.65 at its start."""
    from astropy.time import Time

    date = Time("2018-08-04T09:26:16.6", scale="utc")
    return VisitInfo(date=date, observatory=BLANCO, **fields)


FIELD = math.radians(316.836625), math.radians(-65.966167)


def testTimeAndSiteGiveTheAirmassOfTheHeader():
    pointing = pointingOf(_decam(), *FIELD)
    assert pointing.source == "apparent" and pointing.airmass == pytest.approx(1.65, abs=0.02)
    assert len(pointing.notes) == 3 and all("assumed" in note for note in pointing.notes)
    full = pointingOf(_decam(weather=Weather(10.0, 78000.0, 20.0)), *FIELD)
    assert full.notes == () and full.parallacticAngle == pytest.approx(pointing.parallacticAngle, abs=1e-5)


def testErfaGivesTheSameDirection():
    """The hour angle of date by ERFA, no code in common: precession moves the pole by six arcminutes since 2000."""
    import erfa

    info = _decam(weather=Weather(10.0, 78000.0, 20.0))
    utc = info.date.utc
    site = BLANCO
    zenith = erfa.atco13(
        *FIELD,
        0,
        0,
        0,
        0,
        utc.jd1,
        utc.jd2,
        0.07,
        site.longitude,
        site.latitude,
        site.elevation,
        0,
        0,
        780,
        10,
        0.2,
        0.55,
    )
    az, zd = zenith[0], zenith[1]
    pointing = pointingOf(info, *FIELD)
    assert pointing.azimuth == pytest.approx(az, abs=5e-6)
    # 1 arcsec: polar motion is left out here
    assert pointing.elevation == pytest.approx(math.pi / 2 - zd, abs=5e-6)
    era = erfa.era00(utc.jd1, utc.jd2)
    old = pointingOf(VisitInfo(era=era, observatory=site), *FIELD)
    assert old.source == "era" and "precession" in old.notes[0]
    difference = math.degrees(abs(old.parallacticAngle - pointing.parallacticAngle)) * 60
    assert 1 < difference < 30


def testUt1OfTheVisitCounts():
    half = 0.5 / 86400
    plain = _decam()
    moved = plain.copyWith(ut1=plain.date.utc.mjd + half)
    base = plain.copyWith(ut1=plain.date.utc.mjd)
    first, second = pointingOf(base, *FIELD), pointingOf(moved, *FIELD)
    along = (second.azimuth - first.azimuth) * math.cos(first.elevation)
    turned = math.hypot(along, second.elevation - first.elevation)
    # half a second of rotation, at this declination
    assert turned == pytest.approx(half * 2 * math.pi * 1.00274 * math.cos(FIELD[1]), rel=0.01)


def testAzimuthAndAltitudeAreCarriedOver():
    boresight = pointingOf(_decam(), *FIELD)
    stored = VisitInfo(
        boresightAzAlt=(boresight.azimuth, boresight.elevation), boresightRaDec=FIELD, observatory=BLANCO
    )
    here = pointingOf(stored)
    assert here.source == "azalt" and here.elevation == pytest.approx(boresight.elevation, abs=1e-9)
    assert here.parallacticAngle == pytest.approx(boresight.parallacticAngle, abs=math.radians(0.3))
    place = FIELD[0] + 0.01, FIELD[1] + 0.008
    there, truth = pointingOf(stored, *place), pointingOf(_decam(), *place)
    # the offset in RA, Dec of date differs from that in ICRS by the precession of 18 years
    assert there.elevation == pytest.approx(truth.elevation, abs=math.radians(0.01))
    assert there.elevation != here.elevation


def testContradictingTimesLoseAgainstTheTelescope():
    visit = _decam(boresightAzAlt=(1.0, math.radians(80)), boresightRaDec=FIELD)
    pointing = pointingOf(visit)
    assert pointing.source == "azalt" and pointing.elevation == pytest.approx(math.radians(80))
    assert "telescope's azimuth and altitude are used" in pointing.notes[0]


def testNearTheZenithTheDirectionIsThatOfThePlace():
    site = Observatory(0.0, math.radians(-30.0), 1000.0)
    visit = VisitInfo(era=1.0, observatory=site)
    east, west = (pointingOf(visit, 1.0 + sign * 0.01, math.radians(-30)).parallacticAngle for sign in (1, -1))
    assert math.degrees(east) == pytest.approx(-90, abs=1) and math.degrees(west) == pytest.approx(90, abs=1)


def testBeyondTheZenithUpIsStillUp():
    """Within an arcminute of the zenith, where a step upwards would pass over it."""
    from stillsky.meta.pointing import _apparent

    visit = _decam(weather=Weather(10.0, 78000.0, 20.0))
    start = pointingOf(visit, *FIELD)
    # walk to the zenith along the great circle, then stop 20 arcsec short of it
    import numpy as np

    ra, dec, q = *FIELD, start.parallacticAngle
    for _ in range(6):
        left = math.pi / 2 - pointingOf(visit, ra, dec).elevation - math.radians(20 / 3600)
        sinDec = math.sin(dec) * math.cos(left) + math.cos(dec) * math.sin(left) * math.cos(q)
        dra = math.atan2(math.sin(q) * math.sin(left) * math.cos(dec), math.cos(left) - math.sin(dec) * sinDec)
        ra, dec = ra + dra, math.asin(sinDec)
        q = pointingOf(visit, ra, dec).parallacticAngle
    near = _apparent(visit, (ra, dec))
    assert math.degrees(math.pi / 2 - near.elevation) * 3600 == pytest.approx(20, abs=1)
    step = math.radians(5 / 3600)
    closer = _apparent(visit, (ra + step * math.sin(near.parallacticAngle) / math.cos(dec),
                               dec + step * math.cos(near.parallacticAngle)))  # fmt: skip
    assert np.degrees(closer.elevation - near.elevation) * 3600 == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize(
    "visit",
    [
        VisitInfo(),
        VisitInfo(boresightAirmass=1.3, boresightRaDec=(1.0, -0.5)),
        VisitInfo(date="2020-01-01T00:00:00", boresightRaDec=(1.0, -0.5)),
        VisitInfo(boresightAzAlt=(1.0, 1.0)),
    ],
)
def testNothingKnownIsSaid(visit):
    with pytest.raises(
        stillsky.DomainError, match="direction of the zenith is not known: wanted time and site.*known:"
    ):
        pointingOf(visit)


def testReferenceTakesTheBoresight():
    visit = VisitInfo(
        era=1.2, boresightRaDec=(0.5, -0.4), boresightAzAlt=(0.3, 1.1), observatory=Observatory(0.1, -0.5, 100.0)
    )
    for place in ((), (0.6, -0.3)):
        pointing = pointingOf(visit, *place, model="reference")
        assert (pointing.elevation, pointing.parallacticAngle) == (1.1, visit.boresightParAngle)
    with pytest.raises(stillsky.DomainError, match="model='reference' needs"):
        pointingOf(VisitInfo(boresightAzAlt=(0.3, 1.1)), model="reference")


def testKnownInstrumentsHaveASite():
    visit = _decam().copyWith(observatory=Observatory(), instrumentLabel="DECam")
    pointing = pointingOf(visit, *FIELD)
    assert pointing == pointingOf(visit, *FIELD)
    assert "longitude, latitude, elevation of CTIO Blanco assumed" in pointing.notes[0]
    assert pointing.elevation == pointingOf(_decam(), *FIELD).elevation


def testCompletedVisits():
    info, notes = completeVisitInfo(_decam(exposureTime=330.0), *FIELD)
    assert info.boresightAirmass == pytest.approx(1.65, abs=0.02) and info.boresightRaDec == FIELD
    assert math.isfinite(info.era) and info.exposureTime == 330.0
    q = pointingOf(_decam(), *FIELD).parallacticAngle
    assert info.boresightParAngle == pytest.approx(q, abs=math.radians(0.5))
    assert any("computed from time, site and position" in note for note in notes)
    again, more = completeVisitInfo(info)
    assert again == info and more == []
    given, notes = completeVisitInfo(VisitInfo(date="2020-01-01T00:00:00"), *FIELD, site=BLANCO)
    assert given.observatory == BLANCO and "site: as given" in notes
    bare, notes = completeVisitInfo(None)
    assert bare == VisitInfo() and notes == []
