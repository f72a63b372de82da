"""Simulated visits through the atmosphere."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import AltAz, EarthLocation, SkyCoord
from astropy.utils.iers import conf

from stillsky.errors import DomainError
from stillsky.sim import simulateDcrVisits


@pytest.fixture(scope="module")
def field():
    return simulateDcrVisits(
        128,
        2,
        3,
        hourAngles=(-4.0, 4.0),
        scienceHourAngle=2.0,
        numStars=4,
        numTransients=1,
        seeingScatter=0.0,
        sky=50.0,
    )


def test_pointingTimeAndAirmassBelongTogether(field):
    """astropy, from time and place alone, finds the altitude that the visit claims."""
    info = field.visits[0].visitInfo
    with conf.set_temp("auto_download", False), conf.set_temp("iers_degraded_accuracy", "ignore"):
        site = EarthLocation.from_geodetic(
            info.observatory.longitude * u.rad, info.observatory.latitude * u.rad, info.observatory.elevation * u.m
        )
        place = SkyCoord(*info.boresightRaDec, unit="rad")
        found = place.transform_to(AltAz(obstime=info.date, location=site))
    # precession since 2000 is left out: a third of a degree
    assert found.alt.rad == pytest.approx(info.boresightAzAlt[1], abs=0.008)
    assert np.cos(found.az.rad - info.boresightAzAlt[0]) > 0.9999
    assert info.boresightAirmass == pytest.approx(1 / np.sin(info.boresightAzAlt[1]))


def test_redAndBlueStarsMoveApartTowardsTheZenith(field):
    """Centroids shift against the flat spectrum's by the slope times the dispersion, along the parallactic angle."""
    from stillsky.dcr.refraction import differentialRefraction

    low, high = field.bandLimits
    nm = np.linspace(low, high, 401)
    weight = (nm - 0.5 * (low + high)) / (0.5 * (high - low))
    for visit in field.visits:
        info, q = visit.visitInfo, visit.visitInfo.boresightParAngle
        angle = differentialRefraction(nm, 0.5 * (low + high), info.boresightAzAlt[1], info.observatory, info.weather)
        for k in np.argsort(-field.stars["flux"])[:2]:
            slope = field.stars["slope"][k]
            expected = np.degrees(np.mean(angle * (1 + slope * weight))) * 3600 / 0.2
            x, y = field.stars["x"][k], field.stars["y"][k]
            j, i = round(y), round(x)
            if not (12 <= i < 116 and 12 <= j < 116):
                continue
            stamp = visit.frame.image[j - 9 : j + 10, i - 9 : i + 10] - visit.frame.sky
            g = np.exp(-0.5 * ((np.arange(-9, 10)[:, None] + j - y) ** 2 + (np.arange(-9, 10) + i - x) ** 2) / 9.0)
            dx = np.sum(g * stamp * (np.arange(-9, 10) + i - x)) / np.sum(g * stamp)
            dy = np.sum(g * stamp * (np.arange(-9, 10)[:, None] + j - y)) / np.sum(g * stamp)
            # a fixed Gaussian window halves the shift of a star about as wide as itself: compare directions and signs
            along = -dx * np.sin(q) + dy * np.cos(q)
            assert along * expected >= 0 or abs(expected) < 0.05
            assert abs(along) <= abs(expected) + 0.1


def test_truthTableHasSharesOfTheBand(field):
    table = field.truthTable(3)
    stars = table[table["kind"] == "star"]
    total = stars["fraction0"] + stars["fraction1"] + stars["fraction2"]
    np.testing.assert_allclose(total, 1.0)
    np.testing.assert_allclose(stars["fraction1"], 1 / 3)
    assert np.all((stars["fraction2"] > stars["fraction0"]) == (stars["slope"] > 0))
    assert len(table) == 5 and field.science is not None


def test_badArgumentsAreRefused():
    for bad in ({"size": 10}, {"numVisits": 0}, {"bandLimits": (500.0, 400.0)}, {"hourAngles": (1.0,)}):
        with pytest.raises(DomainError):
            simulateDcrVisits(**{"size": 64, "numVisits": 2, **bad})
    with pytest.raises(DomainError, match="above 20 degrees"):
        simulateDcrVisits(64, 1, hourAngles=(7.0,))
