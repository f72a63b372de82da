"""Objects of lsst.images in pipelines of stillsky, and the reverse."""

import astropy.units as u
import numpy as np
import pytest
from astropy.time import Time

pytest.importorskip("lsst.daf.butler")
pytest.importorskip("lsst.images", reason="lsst-images is not installed (it needs Python 3.12)")

from lsst import images
from lsst.daf.butler import DatasetType

from stillsky.butler import lsst_images as convert
from stillsky.errors import MaskSchemaError
from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.image import Exposure, MaskSchema, makeExposure
from stillsky.wcs import makeTanWcs

SCALE = 0.2 / 3600


@pytest.fixture
def masked(rng):
    """An object of lsst.images with 12 mask planes in two bytes, a projection and a unit."""
    shape, yx0 = (30, 40), (20, 60)
    frame = images.GeneralFrame(unit=u.pix)
    wcs = makeTanWcs((75.0, 33.0), (0.17, 0.03), np.diag([-SCALE, SCALE]))
    projection = images.SkyProjection.from_fits_wcs(wcs.localWcs((60, 20)), frame, x0=60, y0=20)
    image = images.Image(rng.normal(size=shape).astype(np.float32), yx0=yx0, unit=u.nJy, sky_projection=projection)
    names = ["BAD", "SATURATED", "COSMIC_RAY", "NO_DATA", *(f"P{i}" for i in range(8))]
    schema = images.MaskSchema([images.MaskPlane(name, f"about {name}") for name in names])
    mask = images.Mask(0, schema=schema, bbox=image.bbox)
    for name in names:
        mask.set(name, rng.random(shape) < 0.1)
    variance = images.Image(rng.uniform(1, 2, shape).astype(np.float32), yx0=yx0)
    return images.MaskedImage(image, mask=mask, variance=variance)


@pytest.fixture
def kind(butler):
    """Function (name, storage class) -> a registered dataset type by instrument."""
    butler.registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "stillsky.butler.instruments.Cam"})
    butler.collections.register("u/test")

    def register(name, storageClass):
        made = DatasetType(name, ("instrument",), storageClass, universe=butler.dimensions)
        butler.registry.registerDatasetType(made)
        return made

    return register


def same(mine, theirs):
    np.testing.assert_array_equal(mine.image.array, theirs.image.array)
    np.testing.assert_array_equal(mine.variance.array, theirs.variance.array)
    assert (mine.bbox.minX, mine.bbox.minY) == (theirs.bbox.x.start, theirs.bbox.y.start)
    planes = [plane.name for plane in theirs.mask.schema]
    assert len(mine.mask.schema) == len(planes)
    for name in planes:
        own = {"SATURATED": "SAT", "COSMIC_RAY": "CR"}.get(name, name)
        bits = (mine.mask.array & mine.mask.bitmask([own])) != 0
        np.testing.assert_array_equal(bits, theirs.mask.get(name), err_msg=name)


def test_masked_images_go_there_and_back(masked):
    mine = convert.maskedImageFrom(masked)
    same(mine, masked)
    assert mine.mask.schema.doc("SAT") == "about SATURATED"
    back = convert.maskedImageTo(mine)
    assert back.image.array is not None and np.shares_memory(back.image.array, masked.image.array)  # no copy of pixels
    assert back.mask == masked.mask and np.array_equal(back.variance.array, masked.variance.array)


def test_exposures_keep_sky_and_unit(masked):
    mine = convert.exposureFrom(masked)
    assert isinstance(mine, Exposure) and mine.metadata["BUNIT"] == "nJy" and mine.photoCalib is not None
    x, y = np.array([60.0, 99.0, 71.5]), np.array([20.0, 49.0, 33.25])
    sky = masked.sky_projection.pixel_to_sky(x=x, y=y)
    ra, dec = mine.wcs.pixelToSky(x, y)
    assert np.max(np.hypot((ra - sky.ra.rad) * np.cos(dec), dec - sky.dec.rad)) < np.radians(1e-6 / 3600)
    there = convert.maskedImageTo(mine).sky_projection.pixel_to_sky(x=x, y=y)
    assert np.max(there.separation(sky).to_value(u.arcsec)) < 1e-6
    assert convert.maskedImageTo(mine).unit == u.nJy
    plain = convert.maskedImageTo(makeExposure(np.ones((4, 5), np.float32)))
    assert plain.sky_projection is None and plain.unit is None


def test_a_projection_that_no_header_holds_is_fitted(masked):
    class Curved:
        """A distortion of a tenth of a pixel on top."""

        def as_fits_wcs(self, bbox, allow_approximation=False):
            return None

        def pixel_to_sky(self, *, x, y):
            bent = x + 1e-4 * (x - 80) ** 2 + 3e-6 * (y - 35) ** 3
            return masked.sky_projection.pixel_to_sky(x=bent, y=y)

    made = convert.wcsFrom(Curved(), masked.bbox)
    x, y = np.array([63.0, 95.0]), np.array([24.0, 47.0])
    sky = Curved().pixel_to_sky(x=x, y=y)
    np.testing.assert_allclose(made.skyToPixel(sky.ra.rad, sky.dec.rad), [x, y], atol=0.01)


def test_psfs_are_sampled_where_they_are_valid():
    from lsst.images.psfs import GaussianPointSpreadFunction

    bbox = images.Box.from_shape((30, 40), start=(20, 60))
    psf = convert.psfFrom(GaussianPointSpreadFunction(1.7, bbox, 21), bbox)
    assert psf.fwhm() == pytest.approx(2.3548 * 1.7, rel=0.01)
    stamp = psf.computeKernelImage((71.3, 30.2)).array
    assert stamp.shape == (21, 21) and stamp.sum() == pytest.approx(1.0)


def test_the_record_of_the_observation_becomes_visit_info():
    from astro_metadata_translator import makeObservationInfo

    info = makeObservationInfo(
        visit_id=12, exposure_time=30 * u.s, instrument="LSSTCam", boresight_airmass=1.2, object="field",
        datetime_begin=Time("2026-01-02T03:04:05", scale="tai"), datetime_end=Time("2026-01-02T03:04:35", scale="tai"),
    )  # fmt: skip
    made = convert._visitInfo(info)
    assert (made.id, made.exposureTime, made.boresightAirmass, made.object) == (12, 30.0, 1.2, "field")
    assert abs((made.date - Time("2026-01-02T03:04:20", scale="tai")).sec) < 1e-6


def test_too_many_planes_are_refused():
    schema = images.MaskSchema([images.MaskPlane(f"P{i}", "") for i in range(32)])
    with pytest.raises(MaskSchemaError, match="31 planes, given 32"):
        convert.maskFrom(images.Mask(0, schema=schema, shape=(3, 4)))


def test_a_butler_converts_what_is_put_and_what_is_read(butler, kind, masked):
    """Stored as one side knows it, read as the other wants it."""
    own = butler.put(masked, kind("own", "StillskyExposure"), instrument="Cam", run="u/test")
    exposure = butler.get(own)
    same(exposure, masked)
    assert exposure.wcs is not None
    theirs = butler.get(own, storageClass="StillskyLsstMaskedImage")
    assert isinstance(theirs, images.MaskedImage) and theirs.mask == masked.mask
    assert np.array_equal(theirs.image.array, masked.image.array)
    for name, storageClass, part in (("i", "StillskyImage", masked.image), ("m", "StillskyMask", masked.mask)):
        ref = butler.put(part, kind(name, storageClass), instrument="Cam", run="u/test")
        assert butler.get(ref).bbox == Box2I(Point2I(60, 20), Extent2I(40, 30))


def test_what_rubin_stored_is_read_by_tasks_of_stillsky(butler, kind, masked):
    pytest.importorskip("requests", reason="lsst.images reads no file without it")
    foreign = butler.put(masked, kind("foreign", "MaskedImageV2"), instrument="Cam", run="u/test")
    same(butler.get(foreign, storageClass="StillskyExposure"), masked)
    same(butler.get(foreign, storageClass="StillskyMaskedImage"), masked)
    assert isinstance(butler.get(foreign, storageClass="StillskyExposure").mask.schema, MaskSchema)
