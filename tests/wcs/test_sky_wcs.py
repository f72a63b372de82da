"""Pixels to sky and back, in one normal form."""

import pickle

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, Sip
from astropy.wcs.utils import pixel_to_skycoord

from stillsky.errors import DomainError
from stillsky.geom import Extent2I
from stillsky.meta import Header
from stillsky.wcs import SkyWcs, makeCdMatrix, makeTanWcs, pairTransform

ARCSEC = np.pi / 180 / 3600
SCALE = 0.2 / 3600  # degrees


def tan(crpix=(1000, 1200), crval=(53.1, -27.8), orientation=0.3, flipX=False):
    return makeTanWcs(crpix, np.radians(crval), makeCdMatrix(SCALE, orientation, flipX))


def cards(**more):
    header = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 100.0, "CRPIX2": 200.0, "CRVAL1": 150.0}
    header |= {"CRVAL2": 2.0, "CD1_1": -SCALE, "CD1_2": 1e-6, "CD2_1": 2e-6, "CD2_2": SCALE, "RADESYS": "ICRS"}
    return fits.Header({**header, **more})


def sipCards():
    more = {"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 2e-6, "A_0_2": -1e-6, "A_1_1": 5e-7, "B_2_0": -1e-6, "B_0_2": 3e-6}
    return cards(**{**more, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"})


def tpvCards():
    more = {"PV1_1": 1.0, "PV1_2": 1e-4, "PV1_4": 0.02, "PV2_1": 1.0, "PV2_2": -1e-4, "PV2_4": 0.03}
    return cards(**{**more, "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"})


KINDS = pytest.mark.parametrize("header", [cards(), sipCards(), tpvCards()], ids=["TAN", "SIP", "TPV"])


def separation(a, b):
    """Degrees between two (ra, dec) in radians."""
    return SkyCoord(*a, unit="rad").separation(SkyCoord(*b, unit="rad")).deg


def grid(x0=0, y0=0, x1=1999, y1=1999, n=10):
    x, y = np.meshgrid(np.linspace(x0, x1, n), np.linspace(y0, y1, n))
    return x.ravel(), y.ravel()


def test_reference_pixel_lies_in_parent_coordinates():
    wcs = SkyWcs.fromHeader(cards(), xy0=(1000, 2000))
    assert wcs.pixelOrigin == (1099, 2199)
    np.testing.assert_allclose(np.degrees(wcs.pixelToSky(1099, 2199)), (150, 2), rtol=0, atol=1e-12)
    assert np.degrees(wcs.skyOrigin) == pytest.approx((150, 2), abs=1e-12)


def test_cd_matrix_from_scale_and_orientation():
    s = SCALE
    np.testing.assert_allclose(makeCdMatrix(s), np.diag([-s, s]), rtol=0, atol=1e-15)
    np.testing.assert_allclose(makeCdMatrix(s, flipX=True), np.diag([s, s]), rtol=0, atol=1e-15)
    np.testing.assert_allclose(makeCdMatrix(s, np.pi / 2), [[0, s], [s, 0]], rtol=0, atol=1e-15)
    assert not tan(orientation=0).isFlipped and tan(orientation=0, flipX=True).isFlipped
    np.testing.assert_allclose(tan().cdMatrix, makeCdMatrix(s, 0.3), rtol=0, atol=1e-15)


@pytest.mark.parametrize("flipX", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.3, np.pi / 2, 1.9, -2.5])
def test_plus_y_points_to_the_position_angle_of_the_orientation(angle, flipX):
    """The SKY rotation angle: from North through East to +Y, for both hands of the camera; +X follows the hand."""
    wcs = makeTanWcs((50, 60), (1.0, 0.3), makeCdMatrix(SCALE, angle, flipX))

    def positionAngle(dx, dy):
        a, b = (SkyCoord(*wcs.pixelToSky(50 + k * dx, 60 + k * dy), unit="rad") for k in (0, 1))
        return a.position_angle(b).rad

    def difference(a, b):
        return np.angle(np.exp(1j * (a - b)))

    assert difference(positionAngle(0, 1), angle) == pytest.approx(0.0, abs=1e-6)
    side = np.pi / 2 if flipX else -np.pi / 2
    assert difference(positionAngle(1, 0), angle + side) == pytest.approx(0.0, abs=1e-6)


def test_pixel_scale_of_a_tangent_plane():
    assert abs(tan().pixelScale() / ARCSEC - 0.2) < 1e-9
    assert tan().pixelScale(1e4, 1e4) < tan().pixelScale()


@KINDS
def test_sky_to_pixel_to_sky(header, rng):
    wcs = SkyWcs.fromHeader(header)
    ra, dec = np.radians(150 + rng.uniform(-0.05, 0.05, 10000)), np.radians(2 + rng.uniform(-0.05, 0.05, 10000))
    assert np.max(separation(wcs.pixelToSky(*wcs.skyToPixel(ra, dec)), (ra, dec))) < 1e-9


@KINDS
def test_agreement_with_astropy(header):
    wcs, truth = SkyWcs.fromHeader(header), WCS(header)
    x, y = grid()
    sky = np.radians(truth.all_pix2world(x, y, 0))
    assert np.max(separation(wcs.pixelToSky(x, y), sky)) < 1e-9
    np.testing.assert_allclose(wcs.skyToPixel(*sky), (x, y), rtol=0, atol=1e-7)


@KINDS
def test_shifting_moves_pixels_and_distortions(header):
    wcs = SkyWcs.fromHeader(header)
    moved = wcs.shifted(Extent2I(10, 11))
    x, y = grid()
    assert np.max(separation(moved.pixelToSky(x + 10, y + 11), wcs.pixelToSky(x, y))) < 1e-11
    assert moved.shifted((-10, -11)) == wcs != moved and wcs.pixelOrigin == (99, 199)


@KINDS
def test_a_shifted_array_has_its_own_cards(header):
    wcs, xy0 = SkyWcs.fromHeader(header, xy0=(300, -40)), (500, 60)
    x, y = grid(500, 60)
    for local in (WCS(wcs.toHeader(xy0)), wcs.localWcs(xy0)):
        sky = np.radians(local.all_pix2world(x - 500, y - 60, 0))
        assert np.max(separation(sky, wcs.pixelToSky(x, y))) < 1e-9
    back = SkyWcs.fromHeader(wcs.toHeader(xy0), xy0)
    np.testing.assert_allclose(back.skyToPixel(*wcs.pixelToSky(x, y)), (x, y), rtol=0, atol=1e-6)
    assert SkyWcs.fromHeader(wcs.toHeader()) == wcs and wcs.toHeader()["RADESYS"] == "ICRS"


def test_cards_without_distortion_on_request():
    plain = SkyWcs.fromHeader(sipCards()).toHeader(relax=False)
    assert plain["CTYPE1"] == "RA---TAN" and not any(key.startswith(("A_", "B_", "PV")) for key in plain)


def test_linearised_maps_near_a_point():
    wcs, point = tan(), (400.0, 700.0)
    x, y = grid(393, 693, 407, 707)
    toSky, toPixel = wcs.linearizePixelToSky(point), wcs.linearizeSkyToPixel(wcs.pixelToSky(*point))
    for u, v in (wcs.skyToPixel(*toSky(x, y)), toPixel(*wcs.pixelToSky(x, y))):
        assert np.max(np.hypot(u - x, v - y)) < 1e-3


def test_right_ascension_is_wrapped_and_linearised_across_zero():
    wcs = tan(crval=(0.0, 10.0), orientation=0)
    ra, _ = wcs.pixelToSky(np.array([990.0, 1000.0, 1010.0]), np.full(3, 1200.0))
    assert np.all((ra >= 0) & (ra < 2 * np.pi)) and ra[0] < 1e-3 and ra[2] > 6
    slope = wcs.linearizePixelToSky((1000, 1200)).matrix[0, 0]
    assert slope == pytest.approx(-0.2 * ARCSEC / np.cos(np.radians(10)), rel=1e-6)


@pytest.mark.parametrize("dec", [2.0, -27.8, 89.99])
def test_local_tangent_plane(dec):
    header = sipCards()
    header["CRVAL2"] = dec
    wcs = SkyWcs.fromHeader(header)
    local = wcs.tanAt((400, 500))
    assert local.pixelOrigin == (400, 500) and local.skyOrigin == pytest.approx(wcs.pixelToSky(400, 500), abs=1e-14)
    x, y = grid(398, 498, 402, 502)
    u, v = local.skyToPixel(*wcs.pixelToSky(x, y))
    assert np.max(np.hypot(u - x, v - y)) < 1e-3


def test_what_cannot_be_projected_is_nan():
    wcs = tan()
    ra, dec = wcs.skyOrigin
    x, y = wcs.skyToPixel(np.array([ra, ra + np.pi, np.nan]), np.array([dec, -dec, dec]))
    assert np.isfinite([x[0], y[0]]).all() and np.isnan([*x[1:], *y[1:]]).all()
    assert np.isnan(wcs.skyToPixel(ra + np.pi, -dec)).all()
    assert wcs.skyToPixel(np.full((3, 4), ra), dec)[0].shape == (3, 4) and isinstance(wcs.skyToPixel(ra, dec)[0], float)


def test_an_inverse_that_does_not_converge_is_nan_there_only():
    header = sipCards()
    header["A_2_0"] = 2e-3  # folds over 250 pixels from the origin
    wcs = SkyWcs.fromHeader(header)
    x0, y0 = np.array([[99.0, 120.0], [-2500.0, 80.0]]), np.array([[199.0, 210.0], [199.0, 199.0]])
    ra, dec = SkyWcs.fromHeader(cards()).pixelToSky(x0, y0)
    x, y = wcs.skyToPixel(ra, dec)
    good = np.array([[True, True], [False, True]])
    np.testing.assert_array_equal(np.isfinite(x) & np.isfinite(y), good)
    assert np.max(separation(wcs.pixelToSky(x[good], y[good]), (ra[good], dec[good]))) < 1e-9
    assert np.isnan(wcs.skyToPixel(ra[1, 0], dec[1, 0])).all()


# ---- what headers say in other ways


def difference(header):
    """Largest difference in degrees from what astropy makes of the header, in ICRS."""
    x, y = grid()
    truth = pixel_to_skycoord(x, y, WCS(header), 0).icrs
    return np.max(separation(SkyWcs.fromHeader(header).pixelToSky(x, y), (truth.ra.rad, truth.dec.rad)))


@pytest.mark.parametrize("equinox", [2000.0, 1975.0])
@KINDS
def test_fk5_becomes_icrs(header, equinox):
    header = header.copy()
    header["RADESYS"], header["EQUINOX"] = "FK5", equinox
    assert difference(header) < 1e-9
    wcs = SkyWcs.fromHeader(header)
    x, y = grid()
    np.testing.assert_allclose(wcs.skyToPixel(*wcs.pixelToSky(x, y)), (x, y), rtol=0, atol=1e-5)
    assert SkyWcs.fromHeader(wcs.toHeader()) == wcs


def test_galactic_becomes_icrs():
    assert difference(cards(CTYPE1="GLON-TAN", CTYPE2="GLAT-TAN", CRVAL1=30.0, CRVAL2=-60.0)) < 1e-9


def swapped(header):
    """The same sky with declination as the first axis."""
    out = header.copy()
    for a, b in (("CTYPE1", "CTYPE2"), ("CRVAL1", "CRVAL2"), ("CD1_1", "CD2_1"), ("CD1_2", "CD2_2")):
        out[a], out[b] = header[b], header[a]
    return out


@pytest.mark.parametrize("header", [cards(), sipCards()], ids=["TAN", "SIP"])
def test_declination_first_is_put_right(header):
    wcs, truth = SkyWcs.fromHeader(swapped(header)), SkyWcs.fromHeader(header)
    x, y = grid()
    assert np.max(separation(wcs.pixelToSky(x, y), truth.pixelToSky(x, y))) < 1e-11
    assert wcs == truth and hash(wcs) == hash(truth) and wcs.isFlipped == truth.isFlipped
    np.testing.assert_array_equal(wcs.cdMatrix, truth.cdMatrix)
    with pytest.raises(DomainError, match="TPV"):
        SkyWcs.fromHeader(swapped(tpvCards()))


def test_pc_and_cdelt_mean_the_same_as_cd():
    header = cards()
    for i in (1, 2):
        header[f"CDELT{i}"] = 2.0
        for j in (1, 2):
            header[f"PC{i}_{j}"] = header[f"CD{i}_{j}"] / 2
            del header[f"CD{i}_{j}"]
    x, y = grid()
    sky, same = SkyWcs.fromHeader(cards()).pixelToSky(x, y), SkyWcs.fromHeader(header).pixelToSky(x, y)
    assert np.max(separation(sky, same)) < 1e-11


def test_radecsys_is_read_as_radesys():
    old, modern = cards(RADECSYS="FK5", EQUINOX=1975.0), cards(RADESYS="FK5", EQUINOX=1975.0)
    del old["RADESYS"]
    assert SkyWcs.fromHeader(old) == SkyWcs.fromHeader(modern) != SkyWcs.fromHeader(cards())
    assert SkyWcs.fromHeader(Header(dict(old))) == SkyWcs.fromHeader(dict(old)) == SkyWcs.fromHeader(old)


def test_other_frames_are_refused_and_no_sky_is_none():
    for system in ("FK4", "FK4-NO-E"):
        with pytest.raises(DomainError, match="FK4"):
            SkyWcs.fromHeader(cards(RADESYS=system, EQUINOX=1950.0))
    assert SkyWcs.fromHeader(fits.Header()) is None
    with pytest.raises(DomainError):
        SkyWcs.fromHeader(cards(CD1_1=0.0, CD1_2=0.0, CD2_1=0.0, CD2_2=0.0))
    with pytest.raises(DomainError):
        SkyWcs(WCS(naxis=2))
    with pytest.raises(TypeError):
        SkyWcs("TAN")


def test_a_cube_counts_with_its_first_two_axes():
    cube = cards(NAXIS=3, NAXIS1=10, NAXIS2=10, NAXIS3=5, CTYPE3="FREQ", CRVAL3=1e9, CRPIX3=1.0, CD3_3=1e6)
    assert SkyWcs.fromHeader(cube) == SkyWcs.fromHeader(cards())


def test_the_inner_object_is_a_copy():
    inner = WCS(cards())
    wcs = SkyWcs(inner, (5, 6))
    before = wcs.pixelToSky(10, 20)
    inner.wcs.crval = [10, 20]
    wcs.localWcs((0, 0)).wcs.crval = [10, 20]
    assert wcs.pixelToSky(10, 20) == before
    with pytest.raises(AttributeError):
        wcs.anything = 1


def test_inverse_coefficients_and_pickles():
    inner = WCS(sipCards())
    inner.sip = Sip(inner.sip.a, inner.sip.b, -inner.sip.a, -inner.sip.b, inner.wcs.crpix)
    wcs = SkyWcs(inner, (5, 6))
    back = pickle.loads(pickle.dumps(wcs))
    assert back == wcs and hash(back) == hash(wcs) and "AP_2_0" in wcs.toHeader()
    x, y = grid()
    assert np.max(separation(back.pixelToSky(x, y), wcs.pixelToSky(x, y))) < 1e-11


def test_pixels_of_one_image_to_another():
    a, b = tan(), tan((500, 400), (53.12, -27.79), 1.0)
    pair = pairTransform(a, b)
    x, y = grid(900, 1100, 1100, 1300)
    u, v = pair(x, y)
    assert np.max(separation(b.pixelToSky(u, v), a.pixelToSky(x, y))) < 1e-11
    np.testing.assert_allclose(pair.inverse()(u, v), (x, y), rtol=0, atol=1e-6)
    x, y = grid(995, 1195, 1005, 1205)
    near, exact = pair.linearized((1000, 1200))(x, y), pair(x, y)
    assert np.max(np.hypot(near[0] - exact[0], near[1] - exact[1])) < 1e-3
