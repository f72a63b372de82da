"""Warping of images, masked images and exposures, with independent truth from reproject."""

import numpy as np
import pytest
import reproject

import stillsky
from stillsky.geom import AffineTransform, Box2I
from stillsky.image import Exposure, Image, Mask, MaskedImage, MaskSchema
from stillsky.meta import FilterLabel
from stillsky.psf import GaussianPsf
from stillsky.warp import (
    Warper,
    WarpingControl,
    alignedWithin,
    computeDestBBox,
    positionGrid,
    warpExposure,
    warpImage,
    warpMaskedImage,
)
from stillsky.warp.config import WarperConfig
from stillsky.wcs import SkyWcs, makeCdMatrix, makeTanWcs, pairTransform

SCALE = 0.2 / 3600


def tanWcs(crpix=(150, 140), degrees=0.0, scale=SCALE, crval=(1.0, -0.5)):
    return makeTanWcs(crpix, crval, makeCdMatrix(scale, np.deg2rad(degrees)))


def smoothScene(height, width, dtype=np.float32):
    """Well sampled: interpolation is accurate to 1e-3 of its amplitude."""
    y, x = np.mgrid[:height, :width].astype(float)
    scene = 100 + 10 * np.sin(x / 9) * np.cos(y / 7)
    for cx, cy, flux in ((80, 90, 500), (150.3, 130.7, 900), (210, 70.5, 300)):
        scene += flux * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / 3**2)
    return scene.astype(dtype)


def sourceExposure(xy0=(0, 0), wcs=None, schema=None):
    image = smoothScene(260, 300)
    mask = Mask(np.zeros(image.shape, np.int32), xy0=xy0, schema=schema)
    mask.array[100, 120] = mask.bitmask("SAT")
    mask.array[0] = mask.bitmask("EDGE")
    masked = MaskedImage(Image(image, xy0), mask, Image(np.full(image.shape, 4.0, np.float32), xy0))
    return Exposure(masked, wcs=wcs or tanWcs(), id=17, filter=FilterLabel(band="r"), psf=GaussianPsf(21, 21, 2.0))


def emptyExposure(box, wcs=None):
    return Exposure(MaskedImage.zeros(box), wcs=wcs or tanWcs())


# ------------------------------------------------------------------------------------------ mappings


def testEveryKindOfMappingAgrees():
    src, wcs, destWcs = smoothScene(260, 300), tanWcs(), tanWcs((140, 150), 20.0)
    through = pairTransform(destWcs, wcs)
    affine = through.linearized((140, 150))
    results = []
    for mapping in (affine, lambda x, y: affine(x, y)):
        for interpLength in (0, 10):
            out = np.empty_like(src)
            count = warpImage(out, src, mapping, WarpingControl(interpLength=interpLength))
            assert count == np.isfinite(out).sum() > 30000
            results.append(out)
    for out in results[1:]:
        assert np.nanmax(np.abs(out - results[0])) < 1e-3
    sky = [np.empty_like(src) for _ in range(2)]
    warpImage(sky[0], src, (destWcs, wcs))
    warpImage(sky[1], src, through)
    assert np.array_equal(sky[0], sky[1], equal_nan=True)
    both = np.isfinite(sky[0]) & np.isfinite(results[0])
    assert np.abs(sky[0] - results[0])[both].max() < 0.1  # the map is not quite affine


def testInterpolatedPositionsOfARotatedTangentPlane():
    wcs, destWcs = tanWcs((2000, 2000)), tanWcs((2100, 1900), 20.0)
    function = pairTransform(destWcs, wcs)
    for step, limit in ((100, 1e-3), (10, 2e-4)):
        grid = positionGrid(function, 0, 0, 4096, 4096, step)
        for y in (0, 777, 4095):
            qx, qy = grid.row(y, 0.0, 4096)
            x = np.arange(4096.0)
            tx, ty = function(x, np.full(4096, float(y)))
            assert np.hypot(qx - tx, qy - ty).max() < limit


def testStronglyDistortedMapIsEvaluatedExactly():
    def function(x, y):
        return x + 3 * np.sin(x / 15), y + 2 * np.cos(y / 11)

    grid = positionGrid(function, 0, 0, 800, 600, 4)
    qx, qy = grid.row(0.0, 0.0, 800)
    tx, ty = function(np.arange(800.0), np.zeros(800))
    assert np.abs(qx - tx).max() < 3 / 15**2 * 16 / 8 * 1.01  # linear interpolation over 4 pixels: c L^2 / 8


def testUnknownMappingIsRefused():
    with pytest.raises(stillsky.DomainError, match="affine transform"):
        warpImage(np.zeros((20, 20)), np.zeros((20, 20)), "rotate")


def testAlignedWithin():
    box = Box2I((0, 0), (2000, 1500))
    wcs = tanWcs((1000, 750))
    assert alignedWithin(wcs, tanWcs((1000, 750)), box)
    assert alignedWithin(wcs, wcs.shifted((0.015, 0.0)), box)
    assert not alignedWithin(wcs, wcs.shifted((0.025, 0.0)), box)
    assert alignedWithin(wcs, wcs.shifted((0.025, 0.0)), box, tolerance=0.05)
    assert not alignedWithin(wcs, tanWcs((1000, 750), 0.002), box)  # the corners turn by 0.04
    assert not alignedWithin(wcs, tanWcs((1000, 750), crval=(4.1, 0.5)), box)  # the other side of the sky


# ------------------------------------------------------------------------------------------ independent truth


@pytest.mark.parametrize("degrees, scale", [(0.0, SCALE), (20.0, SCALE), (-70.0, 0.9 * SCALE)])
def testAgreesWithReproject(degrees, scale):
    """Bilinear exactly; lanczos against a cubic convolution of a well sampled scene of peak 1000, to 0.2 % of it, which
    is the error of either (Lanczos-5 on a Gaussian of sigma 2: 0.0022 of the peak)."""
    src = sourceExposure()
    destWcs = tanWcs((150, 130), degrees, scale)
    dest = emptyExposure(Box2I((0, 0), (280, 270)), destWcs)
    headers = [w.toHeader() for w in (src.wcs, destWcs)]
    area = (scale / SCALE) ** 2
    for kernel, order, tolerance in (("bilinear", "bilinear", 2e-3), ("lanczos5", "bicubic", 2.0)):
        count = warpExposure(dest, src, WarpingControl(kernel))
        truth, _ = reproject.reproject_interp(
            (src.image.array.astype(float), headers[0]), headers[1], shape_out=(270, 280), order=order
        )
        both = np.isfinite(dest.image.array) & np.isfinite(truth)
        assert count > 20000 and both.sum() > 0.95 * count
        assert np.abs(dest.image.array[both] / area - truth[both]).max() < tolerance * area


# ------------------------------------------------------------------------------------------ images and exposures


def testMaskPlanesFollowTheirNames():
    schema = MaskSchema({"SAT": 5, "EDGE": 2, "MINE": 0})
    src = sourceExposure(schema=schema)
    src.mask.array[100, 120] |= 1
    dest = emptyExposure(src.bbox)
    warpMaskedImage(dest.maskedImage, src.maskedImage, AffineTransform())
    assert dest.mask.schema["SAT"] == MaskSchema.standard()["SAT"]
    assert dest.mask.array[100, 120] == dest.mask.bitmask(["SAT", "MINE"])
    assert dest.mask.array[0, 0] == dest.mask.bitmask("NO_DATA")


def testNoDataBitIsThatOfTheMask():
    planes = {"NO_DATA": 12, "BAD": 1, "INTRP": 7}
    src = MaskedImage(
        Image(np.ones((40, 40), np.float32)),
        Mask(np.zeros((40, 40), np.int32), schema=MaskSchema(planes)),
        Image(np.ones((40, 40), np.float32)),
    )
    src.image.array[20, 20] = np.nan
    dest = src.copy()
    warpMaskedImage(dest, src, AffineTransform(translation=(0.3, 0.2)))
    assert dest.mask.array[0, 0] == 1 << 12
    assert set(np.unique(dest.mask.array)) == {0, 1 << 7, 1 << 12}


def testPadValuesCanBeChosen():
    src = sourceExposure()
    dest = emptyExposure(src.bbox)
    warpMaskedImage(dest.maskedImage, src.maskedImage, AffineTransform(), padValue=(-1.0, 2, 9.0))
    assert (dest.image.array[0, 0], dest.mask.array[0, 0], dest.variance.array[0, 0]) == (-1.0, 2, 9.0)
    out = np.empty((30, 30))
    warpImage(out, np.ones((30, 30)), AffineTransform(), padValue=0.0)
    assert out.sum() == 25 * 25


def testWarpExposureCopiesComponents():
    src, dest = sourceExposure(), emptyExposure(Box2I((10, 20), (200, 180)))
    count = warpExposure(dest, src)
    assert count == np.isfinite(dest.image.array).sum() == 200 * 180
    assert (dest.info.id, dest.info.filter, dest.psf) == (17, FilterLabel(band="r"), None)
    good = dest.mask.array == 0
    part = src.image.array[20:200, 10:210]
    assert np.abs(dest.image.array - part)[good].max() < 1e-3


def testMissingWcsIsRefused():
    src, dest = sourceExposure(), emptyExposure(Box2I((0, 0), (50, 50)))
    src.wcs = None
    with pytest.raises(stillsky.DomainError, match="source exposure has no WCS"):
        warpExposure(dest, src)
    with pytest.raises(stillsky.DomainError, match="source exposure has no WCS"):
        Warper().warpExposure(tanWcs(), src)
    with pytest.raises(stillsky.DomainError, match="destination exposure has no WCS"):
        dest.wcs = None
        warpExposure(dest, sourceExposure())


def testSharedMemoryIsRefused():
    src = sourceExposure()
    with pytest.raises(stillsky.DomainError, match="share memory"):
        warpMaskedImage(src.maskedImage, src.maskedImage, AffineTransform())
    with pytest.raises(stillsky.DomainError, match="share memory"):
        warpImage(src.image, src.image, AffineTransform())


def testWarperCoversTheSource():
    src = sourceExposure(xy0=(500, -300), wcs=tanWcs((650, -160)))
    destWcs = tanWcs((0, 0), 30.0)
    warped = Warper().warpExposure(destWcs, src, warpPsf=True)
    corners = src.wcs.pixelToSky(np.array([499.5, 799.5, 499.5, 799.5]), np.array([-300.5, -300.5, -40.5, -40.5]))
    x, y = destWcs.skyToPixel(*corners)
    box = warped.bbox
    assert (box.minX, box.maxX) == (np.floor(x.min() + 0.5), np.ceil(x.max() - 0.5))
    assert (box.minY, box.maxY) == (np.floor(y.min() + 0.5), np.ceil(y.max() - 0.5))
    assert np.isfinite(warped.image.array).sum() == pytest.approx((300 - 5) * (260 - 5), rel=0.01)
    assert warped.wcs == destWcs and warped.info.id == 17
    assert warped.psf.determinantRadius() == pytest.approx(2.0, rel=0.005)
    # A sharp star keeps its sky position.
    k = np.unravel_index(np.nanargmax(warped.image.array), warped.image.array.shape)
    ra, dec = destWcs.pixelToSky(k[1] + box.minX, k[0] + box.minY)
    assert np.hypot(*np.subtract(src.wcs.skyToPixel(ra, dec), (650.3, -169.3))) < 0.8
    given = Box2I((-20, 10), (60, 50))
    assert Warper().warpExposure(destWcs, src, destBBox=given).bbox == given
    assert Warper().warpExposure(destWcs, src, border=3).bbox == box.dilated(3)
    assert Warper().warpExposure(destWcs, src, maxBBox=given).bbox == given


def testWarperWarpsImagesLikeExposures():
    src, destWcs = sourceExposure(), tanWcs((150, 150), 5.0)
    exposure = Warper().warpExposure(destWcs, src)
    masked = Warper().warpImage(destWcs, src.maskedImage, src.wcs)
    image = Warper().warpImage(destWcs, src.image, src.wcs)
    assert type(masked) is MaskedImage and type(image) is Image
    assert exposure.bbox == masked.bbox == image.bbox
    for array in (masked.image.array, image.array):
        assert np.array_equal(array, exposure.image.array, equal_nan=True)
    assert np.array_equal(masked.mask.array, exposure.mask.array)


def testOutputBoxHoldsBulgingEdges():
    """A barrel distortion: the middle of each edge lies farther out than the corners."""

    def function(x, y):
        r2 = ((x - 500) ** 2 + (y - 500) ** 2) / 500**2
        return 500 + (x - 500) * (1 - 0.02 * r2), 500 + (y - 500) * (1 - 0.02 * r2)

    box = computeDestBBox(Box2I((0, 0), (1001, 1001)), function)
    assert box.minX <= np.floor(500 - 500.5 * 0.98 + 0.5)
    corner = function(-0.5, -0.5)[0]
    assert box.minX < corner - 5


def testSourceOffTheDestinationSkyIsRefused():
    with pytest.raises(stillsky.DomainError, match="no position"):
        Warper().warpExposure(tanWcs(crval=(1.0 + np.pi, 0.5)), sourceExposure())


def testWarperFromConfig():
    config = WarperConfig()
    assert Warper.fromConfig(config) == Warper()
    control = Warper().control
    assert (control.warpingKernelName, control.maskWarpingKernelName) == ("lanczos3", "bilinear")
    assert (control.interpLength, control.cacheSize, control.growFullMask) == (10, 1000000, 16)
    config.maskWarpingKernelName = ""
    config.warpingKernelName = "bilinear"
    config.validate()
    assert Warper.fromConfig(config).control.maskWarpingKernelName == ""
    config.maskWarpingKernelName = "lanczos3"
    with pytest.raises(ValueError, match="must fit inside"):
        config.validate()


def testSipDistortionIsFollowed():
    header = tanWcs((150, 140)).toHeader()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    header["A_ORDER"], header["B_ORDER"] = 2, 2
    header["A_2_0"], header["B_0_2"] = 2e-5, -3e-5
    src = sourceExposure(wcs=SkyWcs.fromHeader(header))
    warped = Warper().warpExposure(tanWcs((150, 140)), src)
    k = np.unravel_index(np.nanargmax(warped.image.array), warped.image.array.shape)
    x, y = src.wcs.skyToPixel(*warped.wcs.pixelToSky(k[1] + warped.bbox.minX, k[0] + warped.bbox.minY))
    assert np.hypot(x - 150.3, y - 130.7) < 0.8
