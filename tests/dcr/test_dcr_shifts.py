"""Shifts of subfilters in pixels (coadds and DCR, checks 11.6 D1 to D7)."""

import json
import math

import numpy as np
import pytest

import stillsky
from stillsky.dcr import calculateDcr, calculateImageParallacticAngle, differentialRefraction, wavelengthGenerator
from stillsky.dcr.shifts import dcrAmplitudes, zenithVector
from stillsky.geom import Box2I
from stillsky.meta import Observatory, VisitInfo, Weather, pointingOf
from stillsky.wcs import makeTanWcs

ARCSEC = math.degrees(1) * 3600
SITE = Observatory(math.radians(-70.749417), math.radians(-30.244639), 2663.0)
MOIST = Weather(20.0, 73892.0, 40.0)
BOX = Box2I((100, 200), (201, 201))
CENTRE = (200.0, 300.0)


def _wcs(orientation=0.0, flipped=False, scale=0.2, crval=(1.0, -0.5), crpix=CENTRE):
    """Position angle of +Y is ``orientation`` (degrees); +X is east where flipped."""
    c, s = math.cos(math.radians(orientation)), math.sin(math.radians(orientation))
    # columns: east and north of one pixel along x and y; +X lies 90 degrees from +Y
    x = (c, -s) if flipped else (-c, s)
    return makeTanWcs(crpix, crval, np.array([[x[0], s], [x[1], c]]) * scale / 3600)


def _visit(azimuth, elevation, **fields):
    return VisitInfo(
        boresightAzAlt=(math.radians(azimuth), math.radians(elevation)), observatory=SITE, weather=MOIST, **fields
    )


def _shifts(elevation, splitSubfilters=False, model="default", **band):
    band = band or {"effectiveWavelength": 476.31, "bandwidth": 147.0}
    return dcrAmplitudes(
        math.radians(elevation), SITE, MOIST, band.pop("effectiveWavelength"), band.pop("bandwidth"), 3,
        splitSubfilters, model=model, **band,
    ) * ARCSEC  # fmt: skip


def testMeridian():  # D1; the two other figures are in tests/meta
    for dec, expected in ((-20.244639, math.pi), (-40.244639, 0.0)):
        info = VisitInfo(era=0.3, observatory=Observatory(0.0, math.radians(-30.244639), 0.0))
        pointing = pointingOf(info, 0.3, math.radians(dec))
        south = dec < -30.244639  # towards the nearer pole from a southern site
        # q = 0 south of the zenith, pi north of it, whichever the hemisphere
        assert abs(pointing.parallacticAngle) == pytest.approx(0.0 if south else math.pi, abs=1e-12), expected
        assert math.degrees(pointing.elevation) == pytest.approx(80, abs=1e-9)


@pytest.mark.parametrize(
    "model, pixels, arcsec40",
    [
        ("reference", [0.6530045003509777, 0.02129314510861846, -0.43184401643821424], [0.334240, 0.010899, -0.221040]),
        ("default", [0.652962, 0.021292, -0.431816], [0.333298, 0.010868, -0.220416]),
    ],
)
def testAmplitudesOfTheGBand(model, pixels, arcsec40):  # D2
    tolerance = 1e-11 if model == "reference" else 5e-7
    np.testing.assert_allclose(_shifts(65, model=model) / 0.2, pixels, atol=tolerance)
    np.testing.assert_allclose(_shifts(40, model=model), arcsec40, atol=1e-6)


def testBandLimitsOfTheSeed():  # D2
    values = _shifts(65, effectiveWavelength=476.31, bandwidth=None, bandLimits=(405, 552), model="reference")
    np.testing.assert_allclose(values, [0.123934, -0.000436, -0.089807], atol=1e-6)


def testStoredShifts():  # D3
    import erfa
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord
    from astropy.time import Time

    time = Time(2000.0, format="jyear", scale="tt")
    place = EarthLocation.from_geodetic(-70.749417 * u.deg, -30.244639 * u.deg, 2663 * u.m)
    sky = SkyCoord(AltAz(az=30 * u.deg, alt=65 * u.deg, obstime=time, location=place)).icrs
    visit = _visit(30, 65, boresightRaDec=(sky.ra.rad, sky.dec.rad), era=erfa.era00(time.ut1.jd1, time.ut1.jd2))
    wcs = _wcs(flipped=True, crval=(sky.ra.rad, sky.dec.rad))
    expected = [
        (-0.587550080368824, -0.28495575189083666),
        (-0.019158809951774006, -0.009291825969480522),
        (0.38855779160585996, 0.18844653649028056),
    ]
    # 1e-9: the direction comes from a numerical derivative of the WCS
    shifts = calculateDcr(visit, wcs, 476.31, 147.0, 3, bbox=BOX, model="reference")
    np.testing.assert_allclose(shifts, expected, atol=2e-9)
    angle = calculateImageParallacticAngle(visit, wcs, BOX, model="reference")
    assert math.degrees(angle) == pytest.approx(-154.1271, abs=1e-4)
    # without precession, from azimuth and altitude alone
    assert math.degrees(pointingOf(_visit(30, 65)).parallacticAngle) == pytest.approx(-154.1347, abs=1e-4)


def testSplitAmplitudes():  # D4
    expected = [(0.167621, 0.093563), (0.030396, -0.021880), (-0.067191, -0.105536)]
    np.testing.assert_allclose(_shifts(65, splitSubfilters=True), expected, atol=1e-6)
    np.testing.assert_allclose(_shifts(65, splitSubfilters=True).mean(axis=1), _shifts(65), atol=1e-12)


@pytest.mark.parametrize("q", [20.0, -140.0])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("orientation", [0, 30, 100, 180, 250])
def testDirectionAgreesWithAPointOnTheSky(orientation, flipped, q):  # D5
    wcs = _wcs(orientation, flipped)
    dy, dx = zenithVector(wcs, math.radians(q), CENTRE) / ARCSEC  # one arcsec is five pixels
    ra, dec = wcs.pixelToSky(*CENTRE)
    step = 1 / ARCSEC
    x, y = wcs.skyToPixel(ra + step * math.sin(math.radians(q)) / math.cos(dec), dec + step * math.cos(math.radians(q)))
    assert math.hypot(dx, dy) == pytest.approx(5, abs=1e-3)
    assert dx == pytest.approx(x - CENTRE[0], abs=1e-3) and dy == pytest.approx(y - CENTRE[1], abs=1e-3)
    if orientation == 0 and q == 20:
        assert (dx, dy) == pytest.approx((1.7101 if flipped else -1.7101, 4.6985), abs=1e-4)


def testBluestMovesTowardsTheZenith(rng):  # D6
    for azimuth, elevation in zip(rng.uniform(0, 360, 20), rng.uniform(45, 85, 20), strict=True):
        visit = _visit(azimuth, elevation)
        wcs = _wcs(orientation=rng.uniform(0, 360), flipped=bool(rng.integers(2)))
        shifts = np.array(calculateDcr(visit, wcs, 476.31, 147.0, 3, bbox=BOX))
        zenith = zenithVector(wcs, pointingOf(visit).parallacticAngle, CENTRE)
        along = shifts @ (zenith / np.hypot(*zenith))
        assert along[0] > 0 > along[2] and abs(along[0]) > abs(along[2])
        np.testing.assert_allclose(np.hypot(*shifts.T), np.abs(along), rtol=1e-9)


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("azimuth, elevation", [(30, 65), (200, 45), (310, 82)])
def testShiftsAgreeWithOffsetsOfTheAltitude(flipped, azimuth, elevation):  # D7
    from astropy import units as u
    from astropy.coordinates import AltAz, EarthLocation, SkyCoord

    visit = VisitInfo(date="2026-11-21T04:00:00", observatory=SITE, weather=MOIST)
    place = EarthLocation.from_geodetic(-70.749417 * u.deg, -30.244639 * u.deg, 2663 * u.m)
    # the visit's own apparent frame, so that only the direction is tested
    from astropy.utils import iers

    with iers.conf.set_temp("auto_download", False), iers.conf.set_temp("iers_degraded_accuracy", "ignore"):
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = AltAz(obstime=visit.date, location=place, pressure=73892 * u.Pa, temperature=20 * u.deg_C,
                          relative_humidity=0.4, obswl=0.55 * u.um)  # fmt: skip
            here = SkyCoord(AltAz(az=azimuth * u.deg, alt=elevation * u.deg).data, frame=frame).icrs
            wcs = _wcs(33.0, flipped, crval=(here.ra.rad, here.dec.rad))
            shifts = calculateDcr(visit, wcs, 476.31, 147.0, 3, bbox=BOX)
            amplitudes = _shifts(elevation)
            moved = SkyCoord(
                AltAz(az=np.full(3, azimuth) * u.deg, alt=elevation * u.deg + amplitudes * u.arcsec).data, frame=frame
            ).icrs
    x, y = wcs.skyToPixel(moved.ra.rad, moved.dec.rad)
    assert shifts.pointing.source == "apparent"
    for (dy, dx), px, py in zip(shifts, x - CENTRE[0], y - CENTRE[1], strict=True):
        assert dx == pytest.approx(px, rel=0.01, abs=0.01) and dy == pytest.approx(py, rel=0.01, abs=0.01)


def testGoldenShifts(sharedDir):
    """The reference takes the rotator for the grid: true of a grid with that position angle of +Y and +X to the east."""
    arrays = np.load(sharedDir / "golden" / "dcr_shift.npz")
    for case in json.loads((sharedDir / "golden" / "dcr_shift.json").read_text())["calculateDcr_cases"]:
        weather = Weather(*(case["weather"][k] for k in "TPH"))
        site = Observatory(0, math.radians(case["observatory"]["latitude_deg"]), case["observatory"]["elevation_m"])
        amplitudes = dcrAmplitudes(
            math.radians(case["elevation_deg"]), site, weather, case["effective_wavelength_nm"],
            case["bandwidth_nm"], case["nsub"], case["splitSubfilters"], model="reference",
        )  # fmt: skip
        wcs = _wcs(case["rotator_deg"], flipped=True, scale=case["pixel_scale_arcsec"])
        vector = zenithVector(wcs, math.radians(case["parallactic_deg"]), CENTRE)
        np.testing.assert_allclose(amplitudes[..., None] * vector, arrays[f"dcr_{case['case']}"], atol=1e-8)
        edges = wavelengthGenerator(case["effective_wavelength_nm"], case["bandwidth_nm"], case["nsub"])
        np.testing.assert_allclose(list(edges), case["subfilter_edges"], rtol=1e-14)


def testUnequalAxesStretchTheShift():
    wcs = makeTanWcs(CENTRE, (1.0, -0.5), np.array([[-0.2, 0.0], [0.0, 0.4]]) / 3600)
    dy, dx = zenithVector(wcs, math.radians(45), CENTRE) / ARCSEC
    assert dx == pytest.approx(-5 * math.sqrt(0.5), rel=1e-6) and dy == pytest.approx(2.5 * math.sqrt(0.5), rel=1e-6)


def testScaleAndDirectionAreThoseOfTheRegion():
    """Ten degrees from the reference pixel of a TAN grid the scale is smaller by cos^2 along the radius."""
    crpix = (CENTRE[0], CENTRE[1] - 10 * 3600 / 0.2)
    wcs = _wcs(crpix=crpix, crval=(1.0, -0.7))
    visit = VisitInfo(era=1.3 - SITE.longitude, observatory=SITE, weather=MOIST)
    near, far = (calculateDcr(visit, wcs, 476.31, 147.0, 3, bbox=box) for box in (BOX, None))
    assert near.position == CENTRE and far.position == crpix
    ra, dec = wcs.pixelToSky(*CENTRE)
    assert near.pointing == pointingOf(visit, ra, dec) != far.pointing


def testThroughputMovesTheSubfilters():
    flat = ([300.0, 700.0], [1.0, 1.0])
    band = {"effectiveWavelength": 476.31, "bandwidth": 147.0}
    at = lambda w: differentialRefraction(w, 476.31, math.radians(65), SITE, MOIST) * ARCSEC  # noqa: E731
    for k, (low, high) in enumerate(wavelengthGenerator(476.31, 147.0, 3)):
        # the mean over the light is not that of the two ends: the blue subfilter moves by 3 %
        mean = at(np.linspace(low, high, 2001)).mean()
        assert _shifts(65, throughput=flat, **band)[k] == pytest.approx(mean, abs=2e-5)
        quartiles = at(np.array([0.75 * low + 0.25 * high, 0.25 * low + 0.75 * high]))
        np.testing.assert_allclose(_shifts(65, True, throughput=flat, **band)[k], quartiles, atol=2e-5)
    red = _shifts(65, throughput=([402.0, 550.0], [0.0, 1.0]), **band)
    assert np.all(red < _shifts(65))
    box = ([399.99, 400.0, 500.0, 500.01], [0, 1, 1, 0])
    alone = _shifts(65, effectiveWavelength=None, bandwidth=None, throughput=box)
    told = _shifts(65, effectiveWavelength=450.0, bandwidth=None, bandLimits=(400.0, 500.0), throughput=box)
    np.testing.assert_allclose(alone, told, atol=5e-4)
    with pytest.raises(stillsky.DomainError, match="transmission between"):
        _shifts(65, throughput=([600.0, 700.0], [1.0, 1.0]), **band)


@pytest.mark.parametrize(
    "arguments, keywords, message",
    [
        ((None, 147.0, 3), {}, "wanted effectiveWavelength and bandwidth, or bandLimits"),
        ((476.31, -10.0, 3), {}, "blue edge < red edge"),
        ((476.31, 147.0, 0), {}, "dcrNumSubfilters: wanted at least 1"),
        ((250.0, 147.0, 3), {}, "wavelength: wanted 230.2"),
    ],
)
def testImpossibleBands(arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        calculateDcr(_visit(30, 65), _wcs(), *arguments, bbox=BOX, **keywords)


def testHorizonPointings():
    with pytest.raises(stillsky.DomainError, match="elevation: wanted 10 to 90 degrees"):
        calculateDcr(_visit(30, 5), _wcs(), 476.31, 147.0, 3, bbox=BOX)


def testShiftsSayWhatWasAssumed():
    visit = VisitInfo(boresightAzAlt=(0.5, 1.1), observatory=SITE, weather=Weather(airTemperature=15.0))
    shifts = calculateDcr(visit, _wcs(), 476.31, 147.0, 3, True, BOX)
    assert shifts.pointing.source == "azalt" and len(shifts) == 3 and np.shape(shifts) == (3, 2, 2)
    assert [note.split(" ")[1] for note in shifts.notes] == ["airPressure", "humidity"]
    assert shifts.maxShift == pytest.approx(np.abs(np.array(shifts)).max())


def testRememberedShiftsAreTheCallersOwn():
    first = calculateDcr(_visit(30, 65), _wcs(), 476.31, 147.0, 3, bbox=BOX)
    kept = list(first)
    first.clear()
    assert list(calculateDcr(_visit(30, 65), _wcs(), 476.31, 147.0, 3, bbox=BOX)) == kept and len(kept) == 3
    with pytest.raises(stillsky.DomainError, match="wanted a VisitInfo"):
        calculateDcr(None, _wcs(), 476.31, 147.0, 3, bbox=BOX)
