"""Refraction as a function of wavelength (coadds and DCR, checks 11.5)."""

import json
import math

import numpy as np
import pytest

import stillsky
from stillsky.dcr import differentialRefraction, refraction
from stillsky.dcr.refraction import densityFactors, refractivity, waterVapourPressure
from stillsky.meta import Observatory, Weather, completeWeather, defaultWeather

ARCSEC = math.degrees(1) * 3600
SITE = Observatory(math.radians(-70.749417), math.radians(-30.244639), 2663.0)
DRY, MOIST = Weather(20.0, 73892.0, 10.0), Weather(20.0, 73892.0, 40.0)
SIX = np.array([370.0, 480.0, 620.0, 860.0, 960.0, 1025.0])
FOUR = np.array([350.0, 476.31, 700.0, 1000.0])


def testReferenceModelAtThirtyDegrees():  # F1
    expected = [73.04868430514726, 71.74884360909664, 71.02058121935002, 70.51172189207065, 70.40446894800584,
                70.35113687114644]  # fmt: skip
    angles = refraction(SIX, math.radians(30), SITE, DRY, model="reference") * ARCSEC
    np.testing.assert_allclose(angles, expected, rtol=1e-12)


def testDefaultModelAtThirtyDegrees():  # F2
    expected = [72.50596, 71.21499, 70.49171, 69.98634, 69.87982, 69.82685]
    angles = refraction(SIX, math.radians(30), SITE, DRY) * ARCSEC
    np.testing.assert_allclose(angles, expected, atol=1e-5, rtol=0)


def testDefaultModelAgreesWithErfa():
    """ERFA refco, with its own series, at the same weather: the sign of the tan^3 term decides."""
    erfa = [72.49545, 71.21525, 70.49118, 69.98320, 69.87597, 69.82263]
    default = refraction(SIX, math.radians(30), SITE, DRY) * ARCSEC
    reference = refraction(SIX, math.radians(30), SITE, DRY, "reference") * ARCSEC
    np.testing.assert_allclose(default, erfa, atol=0.012)
    assert np.all(np.abs(reference - erfa) > 0.5)


@pytest.mark.parametrize(
    "model, elevation, expected",
    [
        ("reference", 30, [73.315836, 71.650477, 70.661947, 70.240663]),
        ("reference", 45, [42.223897, 41.264596, 40.695175, 40.452505]),
        ("reference", 70, [15.351662, 15.002851, 14.795805, 14.707568]),
        ("default", 30, [72.792617, 71.137934, 70.155763, 69.737187]),
        ("default", 45, [42.131887, 41.174360, 40.605996, 40.363773]),
        ("default", 70, [15.351338, 15.002480, 14.795406, 14.707156]),
    ],
)
def testThreeElevations(model, elevation, expected):  # F3
    angles = refraction(FOUR, math.radians(elevation), SITE, MOIST, model) * ARCSEC
    np.testing.assert_allclose(angles, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    "temperature, humidity, expected",
    [(20, 40, 928.374946), (20, 10, 210.594485), (0, 50, 285.472315), (10, 100, 1227.167655)],
)
def testWaterVapourPressure(temperature, humidity, expected):  # F4
    assert waterVapourPressure(Weather(temperature, 1e5, humidity)) == pytest.approx(expected, abs=1e-6)


def testRefractivity():  # F5
    reference = [2.0462547777e-4, 1.9997604740e-4, 1.9721625227e-4, 1.9604011092e-4]
    owens = [2.0468867389e-4, 2.0003720099e-4, 1.9727619505e-4, 1.9609951960e-4]
    np.testing.assert_allclose(refractivity(FOUR, MOIST, "reference"), reference, rtol=1e-10)
    np.testing.assert_allclose(refractivity(FOUR, MOIST), owens, rtol=1e-10)


def testZenithAndEqualWavelengthsGiveZero():  # F6
    assert refraction(500.0, math.pi / 2, SITE, DRY) == pytest.approx(0, abs=1e-18)
    assert differentialRefraction(500.0, 500.0, math.radians(40), SITE, DRY) == 0


@pytest.mark.parametrize("wavelength", [230.0, 2059.0, math.nan, [500.0, 3000.0]])
def testWavelengthsOutsideTheFormula(wavelength):  # F6
    with pytest.raises(ValueError, match=r"wavelength: wanted 230.2 to 2058.6 nm"):
        refraction(wavelength, math.radians(40), SITE, DRY)
    assert refraction(230.2, 1.0, SITE, DRY) > refraction(2058.6, 1.0, SITE, DRY) > 0


def testTypicalWeatherOfTheSite():  # F6
    weather = defaultWeather(2663.0)
    assert weather.airTemperature == pytest.approx(1.6905, abs=1e-12) and weather.humidity == 40
    assert weather.airPressure == pytest.approx(72771.413, abs=1e-3)
    for given in (None, Weather()):
        angle = refraction(370.0, math.radians(30), SITE, given, model="reference") * ARCSEC
        assert angle == pytest.approx(76.72198, abs=1e-5)
        assert angle == pytest.approx(76.73393, rel=1e-3)


def testDryAirAndUnknownHumidityAreFinite():  # F7
    at = lambda humidity: refraction(480.0, math.radians(35), SITE, Weather(20.0, 73892.0, humidity))  # noqa: E731
    for humidity in (0.0, math.nan):
        assert math.isfinite(at(humidity)) and at(humidity) == pytest.approx(at(1.0), rel=0.01)


def testUnknownFieldsAreReplacedOneByOne():
    for name in ("airTemperature", "airPressure", "humidity"):
        fields = {"airTemperature": 12.0, "airPressure": 74000.0, "humidity": 11.0}
        fields[name] = math.nan
        complete, notes = completeWeather(Weather(**fields), SITE)
        assert getattr(complete, name) == getattr(defaultWeather(2663.0), name)
        assert all(getattr(complete, other) == value for other, value in fields.items() if other != name)
        assert len(notes) == 1 and name in notes[0]
        assert refraction(500.0, 1.0, SITE, Weather(**fields)) == refraction(500.0, 1.0, SITE, complete)
    assert completeWeather(DRY, SITE) == (DRY, [])


def testUnknownSites():
    here = Observatory(latitude=math.radians(45))
    with pytest.raises(stillsky.DomainError, match="elevation of the site is not known"):
        refraction(500.0, 1.0, here)
    known = refraction(500.0, 1.0, Observatory(0, math.radians(45), 0.0), DRY)
    assert refraction(500.0, 1.0, here, DRY) == known == refraction(500.0, 1.0, Observatory(), DRY)
    pole = refraction(500.0, 1.0, Observatory(0, math.pi / 2, 0.0), DRY)
    assert abs(pole / known - 1) < 0.003


@pytest.mark.parametrize("elevation", [9.9, 0.0, -5.0, 90.1, math.nan])
def testElevationsOutsideTheSeries(elevation):
    with pytest.raises(stillsky.DomainError, match="elevation: wanted 10 to 90 degrees"):
        refraction(500.0, math.radians(elevation), SITE, DRY)
    assert refraction(500.0, math.radians(10), SITE, DRY) > 0


def testUnknownModelIsRefused():
    for call in (lambda: refraction(500.0, 1.0, SITE, DRY, "rubin"), lambda: densityFactors(DRY, "Reference")):
        with pytest.raises(stillsky.DomainError, match="model: wanted 'default' or 'reference'"):
            call()


def testQuantitiesAreConverted():
    from astropy import units as u

    plain = refraction(500.0, math.radians(40), SITE, DRY)
    assert refraction(0.5 * u.um, 40 * u.deg, SITE, DRY) == pytest.approx(plain, rel=1e-14)


def testPressureIsNeverTakenForAnotherUnit():
    """739 Pa is near vacuum, not 739 hPa."""
    assert refraction(500.0, 1.0, SITE, Weather(20.0, 738.92, 0.0)) < 0.011 * refraction(500.0, 1.0, SITE, DRY)


def testGoldenRows(sharedDir):
    rows = np.load(sharedDir / "golden" / "refraction.npz")["rows_T_P_H_elevDeg_wlNm_refr_diff500_arcsec"]
    recipe = json.loads((sharedDir / "golden" / "refraction.json").read_text())
    site = Observatory(0.0, math.radians(recipe["observatory"]["latitude_deg"]), recipe["observatory"]["elevation_m"])
    for t, p, h, elevation, wavelength, angle, difference in rows:
        arguments = math.radians(elevation), site, Weather(t, p, h), "reference"
        assert refraction(wavelength, *arguments) * ARCSEC == pytest.approx(angle, rel=1e-10, abs=1e-12)
        value = differentialRefraction(wavelength, 500.0, *arguments) * ARCSEC
        assert value == pytest.approx(difference, rel=1e-10, abs=1e-10)


def testGoldenScalars(sharedDir):
    scalars = json.loads((sharedDir / "golden" / "refraction.json").read_text())["scalars"]
    for name, expected in scalars.items():
        weather = Weather(*(float(part[1:]) for part in name.split("_")))
        dry, vapour = densityFactors(weather, "reference")
        assert dry == pytest.approx(expected["densityDry"], rel=1e-10)
        assert vapour == pytest.approx(expected["densityWater"], rel=1e-10)
        assert waterVapourPressure(weather) == pytest.approx(expected["waterVapourPressure_Pa"], rel=1e-10)
        for wavelength in (350.0, 500.0):
            value = refractivity(wavelength, weather, "reference") * 1e8
            assert value == pytest.approx(expected[f"deltaN_{wavelength:.0f}nm"], rel=1e-10)
