"""Exposure: places on the sky, cut-outs, components; makeExposure from any array; CCDData."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData, InverseVariance, NDData, StdDevUncertainty, VarianceUncertainty

from stillsky.errors import DomainError, FitsLayoutError, MaskSchemaError, ShapeError, StillskyError
from stillsky.geom import Box2D, Box2I, Point2D
from stillsky.image import Exposure, Image, Mask, MaskedImage, MaskSchema, fromCCDData, makeExposure, toCCDData
from stillsky.psf import GaussianPsf, KernelPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs


def wcs():
    return makeTanWcs((120, 130), np.radians((53.1, -27.8)), makeCdMatrix(0.2 / 3600, 0.4))


def exposure(width=256, height=256, xy0=(0, 0), **components):
    m = MaskedImage.zeros(Box2I(xy0, (width, height)))
    m.image += lambda x, y: x + 1000 * y
    m.variance += 4
    return Exposure(m, **{"wcs": wcs(), "id": 7, **components})


def test_sub_exposures_keep_the_sky_and_share_pixels():
    whole = exposure(psf=GaussianPsf(11, 11, 2))
    part = whole[Box2I((50, 60), (30, 20))]
    assert part.wcs is whole.wcs and part.psf is whole.psf and part.id == 7 and part.metadata is whole.metadata
    assert part.wcs.pixelToSky(0, 0) == whole.wcs.pixelToSky(0, 0)
    assert part.maskedImage.overlapsMemory(whole.maskedImage) and part[50, 60] == (60050, 0, 4)
    assert whole[50:80, 60:80].bbox == part.bbox
    with pytest.raises(ShapeError):
        whole[Box2I((250, 250), (10, 10))]
    part[...] = (1, 2, 3)
    whole[0:2, 0:2] = part[50:52, 60:62]
    assert whole[79, 79] == whole[1, 1] == (1, 2, 3)


@pytest.mark.parametrize("size", [(100, 50), (15, 15), (25, 30), (512, 512)])
@pytest.mark.parametrize("center", [(0, 0), (0.2, 0.7), (-0.4999, -0.4999), (255.4999, 100)])
def test_cutouts(center, size):
    whole = exposure(psf=GaussianPsf(11, 11, 2))
    part = whole.cutout(center, size)
    assert part.dimensions == size and part.wcs is whole.wcs and part.psf is whole.psf
    assert np.hypot(*(part.bbox.center - Point2D(center))) <= np.sqrt(0.5)
    assert not part.maskedImage.overlapsMemory(whole.maskedImage)
    common = part.bbox.clipped(whole.bbox)
    np.testing.assert_array_equal(part[common].image.array, whole[common].image.array)
    outside = np.ones((part.height, part.width), bool)
    outside[common.slices(part.xy0)] = False
    assert np.isnan(part.image.array[outside]).all() and np.isposinf(part.variance.array[outside]).all()
    assert np.all(part.mask.array[outside] == part.mask.bitmask("NO_DATA")) and not part.mask.array[~outside].any()


def test_cutouts_that_make_no_sense():
    whole = exposure()
    for center in [(-0.5001, 0), (0, -0.5001), (-1000, 5), (255.5, 3), (np.nan, 3)]:
        with pytest.raises(DomainError):
            whole.cutout(center, (10, 10))
    for size in [(0, 10), (15, -5)]:
        with pytest.raises(DomainError):
            whole.cutout((10, 10), size)
    with pytest.raises(StillskyError):
        exposure(wcs=None).cutout(SkyCoord(53.1, -27.8, unit="deg"), (10, 10))


def test_cutouts_by_sky_position_and_box():
    whole = exposure()
    sky = SkyCoord(*whole.wcs.pixelToSky(40.2, 50.1), unit="rad")
    assert whole.cutout(sky, (11, 11)).bbox == Box2I((35, 45), (11, 11))
    box = Box2I((-5, 250), (10, 10))
    part = whole.cutout(box)
    assert part.bbox == box and part[2, 252][0] == 252002 and np.isnan(part[-1, 250][0])
    named = exposure()
    named.mask.schema = MaskSchema({"BAD": 0})
    assert named.cutout(box).mask.describe(x=-1, y=250) == "NO_DATA"


def test_cutouts_of_whole_numbers_are_filled_with_zero():
    part = Exposure(MaskedImage(Image(np.ones((5, 5), np.int32)))).cutout((0, 0), (3, 3))
    assert part[-1, -1] == (0, 1 << 8, np.inf)


def test_moving_the_origin_keeps_the_sky_of_the_pixels():
    e = exposure(xy0=(3, 4))
    before = SkyCoord(*e.wcs.pixelToSky(3, 4), unit="rad")
    e.xy0 = (13, -3)
    assert e.bbox.min == (13, -3) and e.mask.xy0 == e.variance.xy0 == (13, -3)
    assert before.separation(SkyCoord(*e.wcs.pixelToSky(13, -3), unit="rad")).arcsec < 1e-9
    without = exposure(wcs=None)
    without.xy0 = (5, 5)
    assert without.xy0 == (5, 5)


def test_sky_positions_on_the_image():
    e = exposure(100, 80, (10, 20))
    x, y = np.array([9.4, 9.6, 109.4, 109.6, 50]), np.array([50, 50, 50, 50, 99.6])
    np.testing.assert_array_equal(e.containsSky(*e.wcs.pixelToSky(x, y)), [False, True, True, False, False])
    assert e.containsSky(*e.wcs.pixelToSky(x, y), padding=1).all()
    ra, dec = e.wcs.skyOrigin
    assert e.containsSky(ra + np.pi, -dec) is False
    back = e.wcs.skyToPixel(*e.convexPolygon)
    np.testing.assert_allclose(np.transpose(back), [tuple(c) for c in Box2D(e.bbox).corners], atol=1e-6)
    with pytest.raises(StillskyError):
        exposure(wcs=None).containsSky(0, 0)


def test_copies_are_deep_where_things_change():
    e = exposure(20, 20)
    e.metadata["KEY"] = 1
    for other in (e.copy(), e.convert(np.float64)):
        other.metadata["KEY"] = 2
        other.image += 1
        other.info.provenance.append("changed")
        assert e.metadata["KEY"] == 1 and e[3, 0][0] == 3 and other.wcs is e.wcs and not e.info.provenance
    assert e.convert(np.float64).image.dtype == np.float64 and e.convert(np.float64).variance.dtype == np.float32


def test_components_are_set_and_removed():
    e = exposure(5, 5)
    assert e.info.components == ["id", "wcs"]
    e.wcs, e.psf = None, GaussianPsf(5, 5, 1)
    assert e.info.components == ["id", "psf"] and e.convexPolygon is None
    e.metadata = None
    assert len(e.metadata) == 0


def test_planes_change_in_place_through_an_exposure():
    e = exposure(5, 5)
    arrays = e.image.array, e.mask.array, e.variance.array
    e.image *= 0
    e.mask |= 3
    e.variance -= 1
    e.maskedImage += 2
    assert e[4, 4] == (2, 3, 3) and all(a is b.array for a, b in zip(arrays, e.maskedImage.planes))


# ---- makeExposure

PIXELS = np.arange(12, dtype=np.float32).reshape(3, 4)


def readOnly(array):
    array = array.copy()
    array.flags.writeable = False
    return array


@pytest.mark.parametrize(
    "array",
    [PIXELS.astype(t) for t in (">f4", "<f4", ">f8", "f8", "f2", ">i2", "i4", "u2", ">u2", "i8", "u8", "u1")]
    + [np.asfortranarray(PIXELS), np.repeat(np.repeat(PIXELS, 2, 0), 2, 1)[::2, ::2], readOnly(PIXELS)]
    + [PIXELS[::-1, ::-1].copy()[::-1, ::-1], PIXELS.tolist(), readOnly(PIXELS.astype(">f8")).T.copy(order="F").T],
)
def test_odd_arrays_become_native_float32(array):
    e = makeExposure(array, variance=array, mask=np.zeros((3, 4), ">i2"), xy0=(5, 6))
    for plane, dtype in zip(e.maskedImage.planes, (np.float32, np.int32, np.float32)):
        a = plane.array
        assert (
            a.dtype == dtype and a.dtype.isnative and a.flags.c_contiguous and a.flags.writeable and plane.xy0 == (5, 6)
        )
    np.testing.assert_array_equal(e.image.array, PIXELS)
    np.testing.assert_array_equal(e.variance.array, PIXELS)


def test_what_fits_is_shared():
    pixels = PIXELS.copy()
    assert makeExposure(pixels, variance=1).image.array is pixels


def test_odd_masks():
    truth = np.array([[1, 0, 0, 1]] * 3)
    for mask in (truth.astype(bool), truth, truth.astype(">i4"), truth.astype("u1"), readOnly(truth.astype(np.int32))):
        np.testing.assert_array_equal(makeExposure(PIXELS, variance=1, mask=mask).mask.array, truth)
    own = Mask(truth.astype(np.int32), schema={"FOO": 0})
    assert makeExposure(PIXELS, variance=1, mask=own).mask.describe(x=0, y=0) == "FOO"
    for bad in (truth.astype(float), np.full((3, 4), 2**31)):
        with pytest.raises(MaskSchemaError):
            makeExposure(PIXELS, variance=1, mask=bad)


def test_pixels_that_are_not_finite_have_no_data_and_inputs_stay():
    pixels, mask = PIXELS.astype(float), np.ones((3, 4), np.int32)
    pixels[0, 0], pixels[1, 1], pixels[2, 2] = np.nan, np.inf, 1e300
    e = makeExposure(pixels, variance=1, mask=mask)
    np.testing.assert_array_equal(e.mask.isSet("NO_DATA"), np.eye(3, 4, dtype=bool))
    assert np.all(mask == 1) and pixels[2, 2] == 1e300


def test_what_does_not_fit_is_refused():
    with pytest.raises(ShapeError):
        makeExposure(np.zeros(3), variance=1)
    with pytest.raises(ShapeError):
        makeExposure(PIXELS, variance=np.ones((4, 3)))
    with pytest.raises(ShapeError):
        makeExposure(PIXELS, variance=1, mask=np.zeros((4, 3), int))
    with pytest.raises(DomainError):
        makeExposure(PIXELS.astype(complex))
    with pytest.raises(DomainError):
        makeExposure([["a"]])


def test_missing_noise_is_measured_and_said(rng):
    pixels = rng.normal(100, 3, (200, 200))
    pixels[::20, ::20] += 1000
    e = makeExposure(pixels)
    assert e.variance.array[0, 0] == pytest.approx(9, rel=0.05) and "scatter" in e.info.provenance[0]
    assert makeExposure(np.full((4, 4), np.nan)).variance.array[0, 0] == 0


def test_psf_and_wcs_of_other_kinds():
    from astropy.wcs import WCS

    stamp = GaussianPsf(7, 7, 1.5).computeKernelImage().array
    e = makeExposure(PIXELS, variance=1, psf=stamp, wcs=WCS(wcs().toHeader((5, 6))), xy0=(5, 6), id=3)
    assert isinstance(e.psf, KernelPsf) and e.id == 3
    np.testing.assert_allclose(e.wcs.pixelToSky(5, 6), wcs().pixelToSky(5, 6), rtol=0, atol=1e-13)


# ---- CCDData


def test_to_ccddata_and_back(rng):
    e = exposure(30, 20, (100, -50))
    e.image.array[...] = rng.normal(size=(20, 30))
    e.variance.array[...] = rng.uniform(1, 2, (20, 30))
    e.mask.array[...] = rng.integers(0, 2**10, (20, 30))
    e.mask.array[3, 4] |= 1 << e.mask.addPlane("SPIKE")
    e.metadata["OBJECT"], e.metadata["BUNIT"] = "field", "nJy"
    ccd = toCCDData(e, badPlanes=["BAD", "SPIKE", "NOT_HERE"])
    assert np.shares_memory(ccd.data, e.image.array) and np.shares_memory(ccd.uncertainty.array, e.variance.array)
    assert ccd.unit == u.nJy and (ccd.meta["LTV1"], ccd.meta["LTV2"]) == (-100, 50) and ccd.meta["MP_SPIKE"] == 11
    np.testing.assert_array_equal(ccd.mask, e.mask.isSet(["BAD", "SPIKE"]))
    np.testing.assert_array_equal(ccd.flags, e.mask.array)
    x, y = np.arange(5.0), np.arange(5.0)
    np.testing.assert_allclose(
        np.radians(ccd.wcs.all_pix2world(x, y, 0)), e.wcs.pixelToSky(x + 100, y - 50), atol=1e-13
    )
    back = fromCCDData(ccd)
    for mine, its in zip(e.maskedImage.planes, back.maskedImage.planes):
        np.testing.assert_array_equal(mine.array, its.array)
        assert mine.xy0 == its.xy0
    assert back.mask.schema == e.mask.schema and back.metadata == e.metadata
    assert (
        SkyCoord(*back.wcs.pixelToSky(110, -40), unit="rad")
        .separation(SkyCoord(*e.wcs.pixelToSky(110, -40), unit="rad"))
        .deg
        < 1e-9
    )


def test_ccddata_without_anything():
    assert toCCDData(exposure(4, 3, wcs=None)).unit == u.adu
    e = fromCCDData(CCDData(PIXELS, unit="adu"))
    assert not e.variance.array.any() and not e.mask.array.any() and e.wcs is None and e.metadata["BUNIT"] == "adu"
    assert "BUNIT" not in fromCCDData(NDData(PIXELS)).metadata


@pytest.mark.parametrize(
    "uncertainty",
    [StdDevUncertainty, VarianceUncertainty, InverseVariance],
)
def test_uncertainties_of_every_kind_become_variances(uncertainty):
    value = {"std": 2.0, "var": 4.0, "ivar": 0.25}[uncertainty.uncertainty_type.fget(uncertainty(1))]
    e = fromCCDData(CCDData(PIXELS, unit="adu", uncertainty=uncertainty(np.full((3, 4), value))))
    np.testing.assert_array_equal(e.variance.array, np.full((3, 4), 4, np.float32))


def test_boolean_masks_of_ccddata():
    ccd = CCDData(PIXELS, unit="adu", mask=PIXELS > 9)
    assert fromCCDData(ccd).mask.describe(x=3, y=2) == "BAD"
    assert fromCCDData(ccd, plane="GLOW").mask.describe(x=3, y=2) == "GLOW"
    with pytest.raises(FitsLayoutError):
        fromCCDData(CCDData(PIXELS, unit="adu", meta={"LTV1": 0.5}))


@pytest.mark.parametrize("name", ["wcs", "psf", "photoCalib", "filter", "visitInfo", "validPolygon"])
def test_components_of_the_wrong_kind_are_refused(name):
    """Where they are set, by name, not later where they are used."""
    e = exposure()
    before = getattr(e, name)
    for wrong in ("text", np.ones((5, 5)), 3):
        with pytest.raises(TypeError, match=f"{name}: wanted a stillsky"):
            setattr(e, name, wrong)
        with pytest.raises(TypeError, match=name):
            Exposure(e.maskedImage, **{name: wrong})
    assert getattr(e, name) is before
    setattr(e, name, None)
    assert getattr(e, name) is None


def test_sky_positions_as_coordinates():
    e = exposure(100, 80, (10, 20))
    ra, dec = e.wcs.pixelToSky(np.array([12.0, 500.0]), np.array([22.0, 22.0]))
    np.testing.assert_array_equal(e.containsSky(SkyCoord(ra, dec, unit="rad")), [True, False])
