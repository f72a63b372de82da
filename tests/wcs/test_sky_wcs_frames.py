"""SkyWcs (core data model, section 15, checks 42 to 47)."""

import math
import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable

from stillsky.errors import DomainError, StillskyError
from stillsky.geom import Point2D
from stillsky.wcs import SkyWcs, makeCdMatrix, makeTanWcs

ARCSEC = math.radians(1 / 3600)
SCALE = 0.2 / 3600  # degrees


def cards(projection="TAN", **more):
    header = fits.Header()
    header.update(CTYPE1=f"RA---{projection}", CTYPE2=f"DEC--{projection}", CRPIX1=512.3, CRPIX2=600.7, RADESYS="ICRS")
    header.update(CRVAL1=150.1, CRVAL2=-32.2, CD1_1=-SCALE, CD1_2=3e-6, CD2_1=2.5e-6, CD2_2=SCALE)
    header.update(CUNIT1="deg", CUNIT2="deg", **more)
    return header


SIP = dict(A_ORDER=2, B_ORDER=2, A_2_0=2e-6, A_1_1=-1e-6, B_0_2=3e-6, B_2_0=1e-6)
TPV = {"PV1_0": 0.0, "PV1_1": 1.0, "PV1_2": 1e-3, "PV1_4": 2e-2, "PV2_0": 0.0, "PV2_1": 1.0, "PV2_5": 1e-2}
KINDS = {"TAN": cards(), "TAN-SIP": cards("TAN-SIP", **SIP), "TPV": cards("TPV", **TPV)}


@pytest.fixture(params=KINDS)
def header(request):
    return KINDS[request.param].copy()


def astropyWcs(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return WCS(header)


def separation(a, b):
    """Angles between positions in radians; good for tiny ones."""
    u, v = (np.array([np.cos(d) * np.cos(r), np.cos(d) * np.sin(r), np.sin(d)]) for r, d in (a, b))
    return np.linalg.norm(u - v, axis=0)


def grid(n=10, size=1024):
    x, y = np.meshgrid(np.linspace(0, size, n), np.linspace(0, size, n))
    return x.ravel(), y.ravel()


def frameHeader(kind):
    header = cards()
    if kind == "galactic":
        header.update(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN")
        del header["RADESYS"]
    elif kind == "ecliptic-like pole":
        header.update(CRVAL2=89.9)
    elif kind == "car":
        header.update(CTYPE1="GLON-CAR", CTYPE2="GLAT-CAR", CRVAL2=10.0)
        del header["RADESYS"]
    else:
        header.update(RADESYS="FK5", EQUINOX=float(kind))
    return header


@pytest.mark.parametrize("kind", ["2000", "1975", "galactic", "car", "ecliptic-like pole"])
def testOtherFramesBecomeIcrs(kind):
    """The frame turns, no pixel moves: checked position by position against astropy."""
    header = frameHeader(kind)
    x, y = grid()
    truth = astropyWcs(header).pixel_to_world(x, y).icrs
    wcs = SkyWcs.fromHeader(header)
    ours = wcs.pixelToSky(x, y)
    assert separation(ours, (truth.ra.rad, truth.dec.rad)).max() < 1e-8 * ARCSEC
    np.testing.assert_allclose(wcs.skyToPixel(*ours), [x, y], atol=1e-6)
    again = SkyWcs.fromHeader(wcs.toHeader())
    assert wcs.toHeader()["RADESYS"] == "ICRS" and wcs.toHeader()["CTYPE1"].startswith("RA---")
    assert separation(ours, again.pixelToSky(x, y)).max() < 1e-8 * ARCSEC


def testLinearisation(rng):
    wcs = makeTanWcs((500, 700), (1.0, 0.5), makeCdMatrix(SCALE, 0.4))
    point = (620.3, 411.2)
    forward = wcs.linearizePixelToSky(point)
    backward = wcs.linearizeSkyToPixel(wcs.pixelToSky(*point))
    x, y = np.array(point)[:, None] + rng.uniform(-7, 7, (2, 200))
    assert np.hypot(*np.subtract(backward(*wcs.pixelToSky(x, y)), (x, y))).max() < 1e-3
    assert separation(forward(x, y), wcs.pixelToSky(x, y)).max() < 1e-3 * math.radians(SCALE)
    degrees = wcs.linearizePixelToSky(point, "deg")
    np.testing.assert_allclose(degrees.matrix, np.degrees(forward.matrix), rtol=1e-12)
    with pytest.raises(DomainError):
        wcs.linearizePixelToSky(point, "parsec")


def testTanAtHasTheSameValueAndJacobian(header):
    wcs = SkyWcs.fromHeader(header)
    point = (100.0, 900.0)
    tan = wcs.tanAt(point)
    assert tan.pixelOrigin == Point2D(*point)
    x, y = np.array([point[0] + d for d in (0, 3, 0, -3)]), np.array([point[1] + d for d in (0, 0, 3, -3)])
    assert separation(tan.pixelToSky(x, y), wcs.pixelToSky(x, y)).max() < 1e-3 * math.radians(SCALE)
    assert tan.localWcs().sip is None and tan.localWcs().wcs.ctype[0] == "RA---TAN"


def testPositionsThatDoNotProjectAreNaN(header):
    wcs = SkyWcs.fromHeader(header)
    ra, dec = wcs.skyOrigin
    x, y = wcs.skyToPixel(np.array([ra, ra + math.pi, np.nan, ra]), np.array([dec, -dec, dec, np.inf]))
    assert np.isfinite([x[0], y[0]]).all() and np.isnan(x[1:]).all() and np.isnan(y[1:]).all()
    assert np.isnan(wcs.skyToPixel(ra + math.pi, -dec)).all()
    assert np.isnan(wcs.pixelToSky(np.nan, 3.0)).all()


def testTheGivenWcsIsNeverChanged():
    inner = astropyWcs(cards())
    before = inner.to_header_string()
    wcs = SkyWcs(inner, xy0=(5, 6))
    wcs.localWcs().wcs.crval = [0, 0]
    assert inner.to_header_string() == before and np.degrees(wcs.skyOrigin)[0] == pytest.approx(150.1)
    with pytest.raises(AttributeError):
        wcs.pixelOrigin = (0, 0)


def testTableDistortionsMoveAlong():
    inner = astropyWcs(cards())
    table = np.add.outer(np.arange(8), np.arange(8)).astype(np.float32) / 10
    inner.cpdis1 = DistortionLookupTable(table, (1.0, 1.0), (100.0, 100.0), (100.0, 100.0))
    wcs = SkyWcs(inner)
    moved = wcs.shifted((10, 11))
    assert separation(wcs.pixelToSky(333.0, 444.0), moved.pixelToSky(343.0, 455.0)) < 1e-9 * ARCSEC
    assert wcs != SkyWcs(astropyWcs(cards())) and moved.shifted((-10, -11)) == wcs
    with pytest.raises(StillskyError):
        wcs.toHeader()


@pytest.mark.parametrize("kind", ["2000", "galactic"])
def testTpvTermsTurnWithTheFrame(kind):
    """DECam's headers are TPV in FK5."""
    header = frameHeader(kind)
    header.update(TPV, CTYPE1=header["CTYPE1"].replace("TAN", "TPV"), CTYPE2=header["CTYPE2"].replace("TAN", "TPV"))
    x, y = grid()
    truth = astropyWcs(header).pixel_to_world(x, y).icrs
    wcs = SkyWcs.fromHeader(header)
    for one in (wcs, wcs.shifted((5, 6)).shifted((-5, -6)), SkyWcs.fromHeader(wcs.toHeader())):
        assert separation(one.pixelToSky(x, y), (truth.ra.rad, truth.dec.rad)).max() < 1e-8 * ARCSEC
    assert wcs.toHeader()["CTYPE1"] == "RA---TPV" and wcs.toHeader()["PV1_4"] == 0.02
