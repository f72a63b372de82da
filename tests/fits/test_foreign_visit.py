"""Site, weather, time and pointing from headers of DECam, ZTF, Rubin, SDSS and others, and what is said about them."""

import math

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.fits.foreign_visit import foreignVisit, foreignVisitInfo
from stillsky.meta import KNOWN_SITES, completeVisitInfo, pointingOf


def _header(cards):
    header = fits.Header()
    for key, value in cards.items():
        header[key] = value
    return header


DECAM = {
    "INSTRUME": "DECam", "TELESCOP": "CTIO 4.0-m telescope", "DATE-OBS": "2018-08-04T09:23:31.598174", "EXPTIME": 330.0,
    "TIMESYS": "UTC", "RA": "21:07:20.79", "DEC": "-65:57:58.2", "HA": "04:26:21.4", "ZD": 52.6, "AZ": 208.5,
    "AIRMASS": 1.65, "OBS-LAT": (-30.16606, "[deg] Observatory latitude"), "OBS-LONG": (70.81489, "[deg] Longitude"),
    "OBS-ELEV": 2215.0, "OUTTEMP": (9.1, "[deg C]"), "PRESSURE": (780.0, "[Torr] Barometric pressure (outside)"),
    "HUMIDITY": (23.0, "[%]"),
}  # fmt: skip
ZTF = {
    "INSTRUME": "ZTF/MOSAIC", "OBSLAT": 33.3483717, "OBSLON": -116.85972959, "OBSALT": 1706.0, "EXPTIME": 30.0,
    "SHUTOPEN": "2020-01-01T04:00:00.0", "SHUTCLSD": "2020-01-01T04:00:30.0", "RA": "02:10:11.1", "DEC": "+31:10:00",
    "AZIMUTH": 120.0, "ELVATION": 71.5, "AIRMASS": 1.055, "TEMPTURE": 8.5, "PRESSURE": 832.1, "HUMIDITY": 33.0,
}  # fmt: skip
RUBIN = {
    "INSTRUME": "LSSTCam", "TELESCOP": "Simonyi Survey Telescope", "TIMESYS": "TAI",
    "DATE-BEG": "2025-06-01T05:00:00.0", "DATE-END": "2025-06-01T05:00:30.5", "EXPTIME": 30.0, "RA": 217.3, "DEC": -31.2,
    "OBS-LONG": -70.749417, "OBS-LAT": -30.244639, "OBS-ELEV": 2663.0, "AZSTART": 359.0, "AZEND": 1.0, "ELSTART": 60.0,
    "ELEND": 60.5, "AMSTART": 1.15, "AMEND": 1.16, "AIRTEMP": 11.0, "PRESSURE": 74300.0, "HUMIDITY": 21.0,
}  # fmt: skip
SDSS = {
    "TELESCOP": "2.5m", "ORIGIN": "SDSS", "TAI": 4506486453.03, "EXPTIME": 53.907456, "AZ": 88.588768, "ALT": 59.35,
    "RA": 351.2, "DEC": 0.4, "PRESSURE": 21.3, "AIRTEMP": 6.0,
}  # fmt: skip


def _about(notes, word):
    return [note for note in notes if word in note]


def testDecam():
    info, notes = foreignVisit(_header(DECAM))
    site = info.observatory
    assert math.degrees(site.longitude) == pytest.approx(-70.81489) and site.elevation == 2215.0
    assert math.degrees(site.latitude) == pytest.approx(-30.16606)
    weather = info.weather
    assert (weather.airTemperature, weather.airPressure, weather.humidity) == (9.1, 78000.0, 23.0)
    assert [math.degrees(v) for v in info.boresightRaDec] == pytest.approx([316.836625, -65.966167], abs=1e-5)
    assert [math.degrees(v) for v in info.boresightAzAlt] == pytest.approx([208.5, 37.4])
    assert info.boresightAirmass == 1.65 and info.date.utc.iso.startswith("2018-08-04 09:26:16.598")
    assert _about(notes, "OBS-LONG is positive to the West (DECam)")
    assert _about(notes, "PRESSURE 780 is in hPa (convention of DECam)")
    assert pointingOf(info).source == "apparent"
    assert pointingOf(info).airmass == pytest.approx(1.65, abs=0.02)


def testZtf():
    info, notes = foreignVisit(_header(ZTF))
    assert math.degrees(info.observatory.longitude) == pytest.approx(-116.85972959)
    assert info.weather.airPressure == pytest.approx(83210) and info.weather.airTemperature == 8.5
    assert [math.degrees(v) for v in info.boresightAzAlt] == pytest.approx([120.0, 71.5])
    assert math.degrees(info.boresightRaDec[0]) == pytest.approx(15 * (2 + 10 / 60 + 11.1 / 3600))
    assert info.date.utc.iso.startswith("2020-01-01 04:00:15") and not _about(notes, "West")


def testRubin():
    info, notes = foreignVisit(_header(RUBIN))
    assert info.weather.airPressure == 74300.0 and _about(notes, "74300 is in Pa (convention of Rubin")
    # both units have been written
    info, more = foreignVisit(_header({**RUBIN, "PRESSURE": 743.0}))
    assert info.weather.airPressure == 74300.0 and _about(
        more, "743 is in hPa (convention of Rubin, which has written Pa"
    )
    info, more = foreignVisit(_header({**RUBIN, "PRESSURE": 560.0}))
    assert math.isnan(info.weather.airPressure) and _about(more, "560 Pa or hPa")
    info, notes = foreignVisit(_header(RUBIN))
    # the middle of the exposure, through north
    azimuth, altitude = (math.degrees(v) for v in info.boresightAzAlt)
    assert math.remainder(azimuth, 360) == pytest.approx(0, abs=1e-9) and altitude == pytest.approx(60.25)
    assert info.boresightAirmass == pytest.approx(1.155)
    assert info.date.value == "2025-06-01T05:00:15.250000000"  # TAI as it stands
    assert math.degrees(info.boresightRaDec[0]) == pytest.approx(217.3)


def testSdss():
    info, notes = foreignVisit(_header(SDSS))
    assert info.observatory == KNOWN_SITES["Apache Point"] and _about(notes, "Apache Point assumed")
    assert math.isnan(info.boresightAzAlt[0]) and math.degrees(info.boresightAzAlt[1]) == pytest.approx(59.35)
    assert info.weather.airPressure == pytest.approx(21.3 * 3386.388640341) and _about(notes, "inHg")
    assert info.date.tai.mjd == pytest.approx((4506486453.03 + 53.907456 / 2) / 86400, abs=1e-9)
    assert pointingOf(info).source == "apparent"  # time, site and position, as the azimuth is not known


def testOneDetectorOfDecamIsKnownByItsFocalPlane():
    cards = {k: DECAM[k] for k in ("DATE-OBS", "EXPTIME", "RA", "DEC", "AIRMASS")}
    info, notes = foreignVisit(_header({**cards, "FPA": "DECAM_BKP4"}))
    assert info.observatory == KNOWN_SITES["CTIO Blanco"] and _about(notes, "site")
    assert not math.isfinite(foreignVisit(_header(cards))[0].observatory.longitude)


def testHourAngleServesWithoutTime():
    cards = {k: v for k, v in DECAM.items() if k not in ("DATE-OBS", "AZ", "ZD")}
    info, notes = foreignVisit(_header(cards))
    assert math.degrees(info.boresightHourAngle) / 15 == pytest.approx(4 + 26 / 60 + 21.4 / 3600)
    assert _about(notes, "era: from the hour angle") and pointingOf(info).source == "era"
    assert pointingOf(info).airmass == pytest.approx(1.65, abs=0.03)
    bare = {**cards, "HA": 4.44}  # hours or degrees? not used
    assert math.isnan(foreignVisitInfo(_header(bare)).era)


@pytest.mark.parametrize(
    "card, pascal, said",
    [
        ({"PRESSURE": (585.0, "[Torr] outside")}, 77993.6, "585 is in Torr (comment of the card)"),
        ({"PRESSURE": (780.0, "pressure (mbar)")}, 78000.0, "780 is in mbar (comment of the card)"),
        ({"PRESSURE": (78.0, "[kPa]")}, 78000.0, "78 is in kPa"),
        ({"AIRPRESS": 78000.0}, 78000.0, "AIRPRESS 78000 is in Pa (keyword of Rubin)"),
        ({"HIERARCH ESO TEL AMBI PRES START": 780.1}, 78010.0, "780.1 is in hPa (keyword of ESO)"),
        ({"PRESSURE": 780.0}, None, "PRESSURE 780 has no unit, not used"),
        ({"PRESSURE": (780.0, "[Torr]")}, None, "is not the pressure of the site, not used"),
        ({"AIRPRESS": 780.0}, None, "is not the pressure of the site, not used"),
    ],
)
def testUnitsOfThePressureAreNeverGuessed(card, pascal, said):
    header = _header({"OBS-LAT": -30.0, "OBS-LONG": -70.0, "OBS-ELEV": 2200.0, "EXPTIME": 1.0, **card})
    info, notes = foreignVisit(header)
    value = info.weather.airPressure
    assert math.isnan(value) if pascal is None else value == pytest.approx(pascal, rel=1e-6)
    assert len(_about(notes, said)) == 1


def testImpossibleWeatherIsUnknown():
    info, notes = foreignVisit(_header({"EXPTIME": 1.0, "OUTTEMP": -999.0, "HUMIDITY": -1.0, "AIRPRESS": 0.0}))
    assert all(math.isnan(v) for v in (info.weather.airTemperature, info.weather.airPressure, info.weather.humidity))
    assert len(notes) == 3 and all("not used" in note for note in notes)


def testSitesOfOtherForms():
    sexagesimal = {"LATITUDE": "-30 31 34.7", "LONGITUD": "-70:51:11.9", "OBSALT": 1705, "EXPTIME": 2.0}
    info, notes = foreignVisit(_header(sexagesimal))
    assert math.degrees(info.observatory.latitude) == pytest.approx(-(30 + 31 / 60 + 34.7 / 3600))
    assert math.degrees(info.observatory.longitude) == pytest.approx(-(70 + 51 / 60 + 11.9 / 3600))
    assert _about(notes, "taken as positive to the East")
    west = _header({"OBS-LONG": (111.6, "[deg] observatory West longitude"), "OBS-LAT": 31.96, "EXPTIME": 2.0})
    info, notes = foreignVisit(west)
    assert math.degrees(info.observatory.longitude) == pytest.approx(-111.6) and _about(notes, "its comment")
    assert math.isnan(info.observatory.elevation)
    from astropy import units as u
    from astropy.coordinates import EarthLocation

    place = EarthLocation.from_geodetic(-70.8 * u.deg, -30.17 * u.deg, 2207 * u.m)
    cards = {f"OBSGEO-{a}": getattr(place, a.lower()).to_value("m") for a in "XYZ"}
    info, notes = foreignVisit(_header({"EXPTIME": 2.0, **cards}))
    assert math.degrees(info.observatory.longitude) == pytest.approx(-70.8) and _about(notes, "OBSGEO")
    assert info.observatory.elevation == pytest.approx(2207, abs=1e-3)


def testAnAltitudeOfTheSiteIsNotOneOfTheTelescope():
    info = foreignVisitInfo(_header({"EXPTIME": 2.0, "ALTITUDE": 37.0}))
    assert math.isnan(info.boresightAzAlt[1])
    info, notes = foreignVisit(_header({"EXPTIME": 2.0, "ALTITUDE": 37.0, "AZIMUTH": 153.0}))
    assert math.degrees(info.boresightAzAlt[1]) == pytest.approx(37) and _about(notes, "from North through East")


def testPositionsOfAnotherEquinoxAreLeft():
    cards = {"EXPTIME": 2.0, "RA": "10:00:00", "DEC": "+20:00:00"}
    assert math.isfinite(foreignVisitInfo(_header(cards)).boresightRaDec[0])
    for more in ({"EQUINOX": 1950.0}, {"RADESYS": "FK4"}):
        assert math.isnan(foreignVisitInfo(_header({**cards, **more})).boresightRaDec[0])
    info, notes = foreignVisit(_header({"EXPTIME": 2.0, "RA": 6.99, "DEC": -67.0}))
    assert math.degrees(info.boresightRaDec[0]) == pytest.approx(6.99) and _about(notes, "RA 6.99 taken as degrees")


def testPlainImagesSayNothing():
    assert foreignVisit(_header({"BITPIX": -32})) == (None, [])
    info, notes = foreignVisit(_header({"EXPTIME": 3.0, "AIRMASS": 0.0}))
    assert notes == [] and math.isnan(info.boresightAirmass)


def testNotesReachTheProvenanceAndTheFileRoundTrips(tmp_path, rng):
    header = _header({**DECAM, "HUMIDITY": -1.0})
    fits.PrimaryHDU(rng.normal(100, 3, (20, 30)).astype(np.float32), header).writeto(tmp_path / "raw.fits")
    exposure = stillsky.read(tmp_path / "raw.fits")
    assert _about(exposure.info.provenance, "PRESSURE 780 is in hPa")
    assert _about(exposure.info.provenance, "HUMIDITY -1 is no relative humidity")
    stillsky.writeExposure(exposure, tmp_path / "own.fits")
    back = stillsky.read(tmp_path / "own.fits")
    assert back.visitInfo == exposure.visitInfo and math.isnan(back.visitInfo.weather.humidity)
    assert back.metadata["ORIG-HUMIDITY"] == -1.0 and back.metadata["PRESSURE"] == 780.0
    assert "OBS-LONG" not in back.metadata


def testRealDecamAirmasses(sharedDir):
    """All ten files were given the date of OBS04a when they were resampled, and kept their own airmass: said of the others."""
    stale = []
    for path in sorted((sharedDir / "data" / "decam_minis").glob("*.fits")):
        exposure = stillsky.read(path)
        box = exposure.bbox
        ra, dec = exposure.wcs.pixelToSky(box.minX + box.width / 2, box.minY + box.height / 2)
        info, notes = completeVisitInfo(exposure.visitInfo, ra, dec, site=KNOWN_SITES["CTIO Blanco"])
        assert info.boresightAirmass == exposure.visitInfo.boresightAirmass and 1.2 < info.boresightAirmass < 1.7
        assert _about(notes, "computed from time, site and position")
        airmass = pointingOf(info, ra, dec).airmass
        assert airmass == pytest.approx(1.65, abs=0.02)
        told = _about(
            pointingOf(info.copyWith(boresightAzAlt=None), ra, dec).notes, "time may be that of another exposure"
        )
        assert bool(told) == (abs(info.boresightAirmass / airmass - 1) > 0.1)
        stale += [path.name] * len(told)
    assert len(stale) == 9 and not any("OBS04a" in name for name in stale)
