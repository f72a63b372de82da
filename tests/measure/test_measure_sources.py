import numpy as np
import pytest
from astropy import units as u

from stillsky import errors
from stillsky.detection import detectSources
from stillsky.image import makeExposure
from stillsky.measure import (
    PLUGINS,
    gaussianFlux,
    measurementSchema,
    measureSources,
    pixelFlags,
    psfFlux,
    sdssCentroid,
    sdssShape,
    skyCoord,
)
from stillsky.psf import GaussianPsf, KernelPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs

SIGMA = 2.0


def scene(image, variance=1.0, sigma=SIGMA, xy0=(0, 0), size=25, **components):
    plane = np.full(image.shape, variance, np.float32)
    return makeExposure(
        image.astype(np.float32), variance=plane, psf=GaussianPsf(size, size, sigma), xy0=xy0, **components
    )


@pytest.fixture
def wcs():
    return makeTanWcs((150.0, 150.0), (5e-6, 0.3), makeCdMatrix(0.2 / 3600))


# -- image-difference 27.7


def test_check27_7_1_sdssCentroidOfAGaussian(rng, addStars):
    sigma = 2.5
    clean = addStars(np.zeros((101, 103)), 52.38, 51.81, 1000.0, sigma)
    table = sdssCentroid(scene(clean, sigma=sigma), [52], [52])
    assert abs(table["base_SdssCentroid_x"][0] - 52.38) < 0.005
    assert abs(table["base_SdssCentroid_y"][0] - 51.81) < 0.005
    # S/N 50 of the PSF flux in white noise of variance 1.
    star = clean * (50 * np.sqrt(4 * np.pi) * sigma / 1000.0)
    found = []
    for _ in range(200):
        noisy = scene(star + rng.normal(0, 1, star.shape), sigma=sigma)
        row = sdssCentroid(noisy, [52], [52])[0]
        found.append([row[f"base_SdssCentroid_{c}"] for c in ("x", "y", "xErr", "yErr")])
    x, y, xErr, yErr = np.array(found).T
    assert np.median(xErr) == pytest.approx(x.std(), rel=0.2)
    assert np.median(yErr) == pytest.approx(y.std(), rel=0.2)


@pytest.mark.parametrize("sign", [1, -1])
def test_check27_7_2_psfFluxOfThePsf(sign):
    exposure = scene(np.zeros((81, 83)), variance=0.25)
    positions = [(40.0, 40.0), (20.3, 55.7), (60.5, 30.5)]
    for position in positions:
        star = exposure.psf.computeImage(position)
        exposure.image.array[star.bbox.slices((0, 0))] += (sign * star.array).astype(np.float32)
    table = psfFlux(exposure, *np.transpose(positions))
    np.testing.assert_allclose(table["base_PsfFlux_instFlux"], sign, atol=1e-6)
    np.testing.assert_allclose(table["base_PsfFlux_area"], 4 * np.pi * SIGMA**2, rtol=0.01)
    np.testing.assert_allclose(table["base_PsfFlux_chi2"], 0, atol=1e-9)
    np.testing.assert_allclose(table["base_PsfFlux_instFluxErr"], 0.5 * np.sqrt(4 * np.pi) * SIGMA, rtol=0.005)
    assert not table["base_PsfFlux_flag"].any()


@pytest.mark.parametrize("sign", [1, -1])
def test_check27_7_4_sdssShapeOfAnEllipticalGaussian(sign):
    # Ellipticity 0.3 = (xx - yy)/(xx + yy) at sigma 2, turned by 30 degrees.
    e1, e2 = 0.3 * np.cos(np.pi / 3), 0.3 * np.sin(np.pi / 3)
    xx, yy, xy = SIGMA**2 * (1 + e1), SIGMA**2 * (1 - e1), SIGMA**2 * e2
    inverse = np.linalg.inv([[xx, xy], [xy, yy]])
    py, px = np.mgrid[:80, :80]
    dx, dy = px - 39.7, py - 40.2
    q = inverse[0, 0] * dx**2 + 2 * inverse[0, 1] * dx * dy + inverse[1, 1] * dy**2
    exposure = scene(sign * 100 * np.exp(-q / 2))
    row = sdssShape(exposure, [39.7], [40.2], isNegative=sign < 0)[0]
    found = [row[f"base_SdssShape_{c}"] for c in ("xx", "yy", "xy")]
    np.testing.assert_allclose(found, [xx, yy, xy], atol=1e-4)
    assert not row["base_SdssShape_flag"]
    assert row["base_SdssShape_instFlux"] == pytest.approx(sign * 200 * np.pi * np.sqrt(xx * yy - xy**2), rel=1e-4)
    np.testing.assert_allclose([row["base_SdssShape_psf_xx"], row["base_SdssShape_psf_yy"]], 4, atol=1e-3)
    flux = gaussianFlux(exposure, [39.7], [40.2], *([v] for v in found))
    assert flux["base_GaussianFlux_instFlux"][0] == pytest.approx(row["base_SdssShape_instFlux"], rel=1e-3)


# -- goldens D24 and D27: the better behaviour


def test_goldensD24_psfFluxIsUnbiasedAtHalfPixelOffsets(addStars):
    image = addStars(np.zeros((60, 60)), 30.5, 29.5, 1000.0, SIGMA)
    table = psfFlux(scene(image), [30.5], [29.5])
    assert table["base_PsfFlux_instFlux"][0] == pytest.approx(1000, rel=1e-5)


@pytest.fixture
def damaged(addStars):
    """A star with a bad pixel at its core, a saturated one beside it and a NaN."""
    clean = addStars(np.zeros((80, 80)), 40.3, 39.6, 7000.0, SIGMA)
    exposure = scene(clean, variance=100.0)
    exposure.image.array[40, 40], exposure.mask.array[40, 40] = -500, exposure.mask.bitmask("BAD")
    exposure.image.array[41, 38], exposure.mask.array[41, 38] = 3000, exposure.mask.bitmask("SAT")
    exposure.image.array[38, 42] = np.nan
    return exposure


def test_goldensD27_missingPixelsAreLeftOutAndFlagged(damaged):
    # D27 asks for weight zero and a flag; the reference is off by a pixel and by 20 % here, or gives NaN.
    row = measureSources(damaged, [(40.0, 40.0)])[0]
    assert abs(row["base_SdssCentroid_x"] - 40.3) < 0.05
    assert abs(row["base_SdssCentroid_y"] - 39.6) < 0.05
    assert row["base_PsfFlux_instFlux"] == pytest.approx(7000, rel=0.002)
    assert row["base_GaussianFlux_instFlux"] == pytest.approx(7000, rel=0.02)
    np.testing.assert_allclose([row["base_SdssShape_xx"], row["base_SdssShape_yy"]], 4, rtol=0.02)
    for name in ("SdssCentroid", "PsfFlux", "SdssShape", "GaussianFlux"):
        assert row[f"base_{name}_flag_masked"], name
        assert not row[f"base_{name}_flag"], name
    reference = measureSources(damaged, [(40.0, 40.0)], model="reference")[0]
    assert reference["base_PsfFlux_flag"]
    assert np.isnan(reference["base_PsfFlux_instFlux"])
    assert reference["base_SdssCentroid_flag"]


def test_nearAnEdgeTheRestOfTheStarIsUsed(rng, addStars):
    clean = addStars(np.zeros((60, 60)), 3.4, 30.2, 7000.0, SIGMA)
    row = measureSources(scene(clean + rng.normal(0, 1, clean.shape)), [(3.0, 30.0)])[0]
    assert row["base_SdssCentroid_flag_near_edge"]
    assert not row["base_SdssCentroid_flag"]
    np.testing.assert_allclose([row["base_SdssCentroid_x"], row["base_SdssCentroid_y"]], [3.4, 30.2], atol=0.03)
    assert row["base_PsfFlux_flag_edge"]
    assert row["base_PsfFlux_instFlux"] == pytest.approx(7000, rel=0.01)


def test_centroidErrorsCountTheSkyOnce(rng, addStars):
    star = addStars(np.zeros((61, 61)), 30.2, 30.4, 300.0, SIGMA)
    exposure = scene(star + rng.normal(0, 1, star.shape))
    better, reference = (sdssCentroid(exposure, [30], [30], model=m)["base_SdssCentroid_xErr"][0] for m in
                         ("default", "reference"))  # fmt: skip
    assert better < reference


def test_almostNoSecondDerivativeIsSet():
    # A steep slope with slight curvature: the quadratic's maximum lies more than a pixel away.
    y, x = np.mgrid[:60, :60]
    image = 1000 - 0.05 * (x - 36.0) ** 2 - 0.5 * (y - 30.0) ** 2
    row = sdssCentroid(scene(image), [30], [30], binmax=1)[0]
    assert row["base_SdssCentroid_flag_almostNoSecondDerivative"]
    assert not row["base_SdssCentroid_flag_noSecondDerivative"]


# -- the other flags


def test_centroidChecks(addStars):
    image = addStars(np.zeros((80, 80)), [40, 46], [40, 40], [1000.0, 5000.0], SIGMA)
    exposure = scene(image)
    row = sdssCentroid(exposure, [45.0], [40.0], maxDistToPeak=0.5)[0]
    assert row["base_SdssCentroid_flag_resetToPeak"]
    assert (row["base_SdssCentroid_x"], row["base_SdssCentroid_y"]) == (45, 40)
    off = sdssCentroid(exposure, [-20.0, np.nan, 1e300], [40.0, 40.0, 40.0])
    assert off["base_SdssCentroid_flag_edge"].all()
    assert off["base_SdssCentroid_flag"].all()
    wrongSign = sdssCentroid(exposure, [46.0], [40.0], isNegative=True)
    assert wrongSign["base_SdssCentroid_flag_notAtMaximum"][0]
    negated = scene(-image)
    np.testing.assert_allclose(
        sdssCentroid(negated, [46.0], [40.0], isNegative=True)["base_SdssCentroid_x"],
        sdssCentroid(exposure, [46.0], [40.0])["base_SdssCentroid_x"],
    )


def test_pixelFlags(addStars):
    exposure = scene(addStars(np.zeros((80, 80)), [20, 60], [40, 40], [1000.0, 1000.0], SIGMA), xy0=(500, -30))
    found = detectSources(exposure, 5)
    exposure.mask.addPlane("STREAK2")
    exposure.mask.array[40, 24] |= exposure.mask.bitmask("CR")
    exposure.mask.array[39:42, 59:62] |= exposure.mask.bitmask("SAT")
    exposure.mask.array[39, 59] |= exposure.mask.bitmask("STREAK2")
    x, y = found.positive.peaks["f_x"], found.positive.peaks["f_y"]
    table = pixelFlags(exposure, x, y, footprints=found.positive, extraPlanes=["STREAK2", "NOT_A_PLANE"])
    prefix = "base_PixelFlags_flag_"
    assert table[prefix + "cr"].tolist() == [True, False]
    assert table[prefix + "crCenter"].tolist() == [False, False]
    assert table[prefix + "saturatedCenterAll"].tolist() == [False, True]
    assert table[prefix + "streak2Center"].tolist() == [False, True]
    assert table[prefix + "streak2CenterAll"].tolist() == [False, False]
    assert not table[prefix + "not_a_plane"].any()
    off = pixelFlags(exposure, [0.0, np.nan], [0.0, 0.0])
    assert off[prefix + "offimage"].tolist() == [True, False]
    assert off[prefix + "edgeCenterAll"].tolist() == [True, False]
    assert off["base_PixelFlags_flag"].tolist() == [False, True]


def test_skyCoord(wcs):
    exposure = scene(np.zeros((50, 50)), wcs=wcs)
    x, y = np.array([10.0, 150.0, 250.0]), np.array([20.0, 160.0, 30.0])
    table = skyCoord(exposure, x, y, np.full(3, 0.1), np.full(3, 0.2))
    ra, dec = wcs.pixelToSky(x, y)
    np.testing.assert_array_equal(table["coord_ra"], ra)
    np.testing.assert_array_equal(table["coord_dec"], dec)
    # 0.2 arcsec pixels near right ascension 0: errors do not jump where it passes through 0.
    scale = np.radians(0.2 / 3600)
    np.testing.assert_allclose(table["coord_decErr"], 0.2 * scale, rtol=1e-3)
    np.testing.assert_allclose(table["coord_raErr"] * np.cos(dec), 0.1 * scale, rtol=1e-3)
    assert table["coord_ra"].unit == u.rad
    with pytest.raises(errors.StillskyError):
        skyCoord(scene(np.zeros((5, 5))), x, y)


def test_shapesFailWithFlags(rng):
    noise = scene(rng.normal(0, 1, (60, 60)))
    table = sdssShape(noise, [30.0, -50.0, np.nan], [30.0, 30.0, 30.0])
    assert table["base_SdssShape_flag"][1:].all()
    assert np.isnan(table["base_SdssShape_xx"][1:]).all()
    negative = sdssShape(scene(np.full((60, 60), -1.0)), [30.0], [30.0])
    assert negative["base_SdssShape_flag_unweightedBad"][0]
    masked = measureSources(noise, [(30.0, 30.0)], badPlanes=["BAD"])
    noise.mask.array[:] = 1
    hidden = measureSources(noise, [(30.0, 30.0)], badPlanes=["BAD"])
    assert hidden["base_PsfFlux_flag_noGoodPixels"][0]
    assert not masked["base_PsfFlux_flag_noGoodPixels"][0]


# -- measureSources


def test_measureSourcesEndToEnd(rng, addStars, wcs):
    n = 30
    xs, ys = (v.ravel() for v in np.meshgrid(np.arange(6) * 45 + 30.0, np.arange(5) * 50 + 30.0))
    xs, ys = xs + rng.uniform(-0.5, 0.5, n), ys + rng.uniform(-0.5, 0.5, n)
    fluxes = np.where(np.arange(n) % 3 == 0, -1, 1) * rng.uniform(1500, 4000, n)
    image = addStars(rng.normal(0, 2, (262, 290)), xs, ys, fluxes, SIGMA)
    exposure = scene(image, variance=4.0, xy0=(1000, 2000), wcs=wcs)
    found = detectSources(exposure, 5, polarity="both")
    table = measureSources(exposure, found)
    assert (len(table), table["is_negative"].sum()) == (n, 10)
    order = np.hypot(table["base_SdssCentroid_x"][:, None] - 1000 - xs,
                     table["base_SdssCentroid_y"][:, None] - 2000 - ys).argmin(axis=1)  # fmt: skip
    assert sorted(order) == list(range(n))
    for name, truth in (("x", xs + 1000), ("y", ys + 2000)):
        pull = (table[f"base_SdssCentroid_{name}"] - truth[order]) / table[f"base_SdssCentroid_{name}Err"]
        assert 0.6 < pull.std() < 1.5
    pull = (table["base_PsfFlux_instFlux"] - fluxes[order]) / table["base_PsfFlux_instFluxErr"]
    assert 0.6 < pull.std() < 1.5
    np.testing.assert_allclose(table["base_GaussianFlux_instFlux"], fluxes[order], rtol=0.1)
    np.testing.assert_array_equal(
        table["coord_ra"], wcs.pixelToSky(table["base_SdssCentroid_x"], table["base_SdssCentroid_y"])[0]
    )
    for name in ("SdssCentroid", "PsfFlux", "SdssShape", "GaussianFlux", "PixelFlags"):
        assert not table[f"base_{name}_flag"].any(), name


def test_emptyTablesHaveTheFullSchema():
    exposure = scene(np.zeros((60, 60)))
    empty = measureSources(exposure, detectSources(exposure, 5, polarity="both"), extraPlanes=["STREAK"])
    one = measureSources(exposure, [(30.0, 30.0)], extraPlanes=["STREAK"])
    schema = measurementSchema(extraPlanes=["STREAK"])
    assert len(empty) == 0
    assert len(one) == 1
    for table in (empty, one):
        assert table.dtype == schema.dtype
        assert table.meta == schema.meta
        for name in schema.colnames:
            assert table[name].unit == schema[name].unit, name
            assert table[name].description == schema[name].description, name
            assert table[name].description, name
    assert schema["base_PsfFlux_instFlux"].unit == u.ct
    assert schema["base_SdssShape_instFlux_xx_Cov"].unit == u.ct * u.pix**2
    assert schema.meta["slots"]["slot_Centroid"] == "base_SdssCentroid"


def test_pluginsMayBeChosen(wcs):
    exposure = scene(np.ones((60, 60)))
    table = measureSources(exposure, [(30.0, 30.0)], ["PsfFlux", "base_PixelFlags"], ids=[77])
    assert table.meta["plugins"] == ["base_PixelFlags", "base_PsfFlux"]
    assert table["id"][0] == 77
    assert not any("Centroid_x" in name for name in table.colnames)
    with pytest.raises(errors.DomainError):
        measureSources(exposure, [(1.0, 1.0)], ["Magic"])
    with pytest.raises(errors.StillskyError):
        measureSources(exposure, [(1.0, 1.0)], ["SkyCoord"])
    assert np.isnan(measureSources(exposure, [(30.0, 30.0)])["coord_ra"][0])
    assert set(PLUGINS) == set(measureSources(exposure, [(30.0, 30.0)]).meta["plugins"])


def test_flaggedCentroidFlagsTheFollowers():
    exposure = scene(np.zeros((60, 60)))
    row = measureSources(exposure, [(30.0, 30.0)])[0]
    assert row["base_SdssCentroid_flag"]
    for name in ("PsfFlux", "SdssShape", "GaussianFlux", "PixelFlags"):
        assert row[f"base_{name}_flag"], name


def test_missingPsfIsRefused():
    exposure = makeExposure(np.zeros((40, 40), np.float32), variance=np.ones((40, 40), np.float32))
    for call in (
        lambda: sdssCentroid(exposure, [20], [20]),
        lambda: psfFlux(exposure, [20], [20]),
        lambda: measureSources(exposure, [(20, 20)]),
    ):
        with pytest.raises(errors.InvalidPsfError):
            call()
    shape = sdssShape(exposure, [20], [20])
    assert shape["base_SdssShape_flag_psf"][0]


def test_nonGaussianPsfAndEvenStamps(rng):
    y, x = np.mgrid[-12:13, -12:13]
    moffat = (1 + (x**2 + 1.2 * y**2) / 9.0) ** -2.5
    exposure = scene(np.zeros((80, 80)))
    exposure.psf = KernelPsf(moffat / moffat.sum())
    star = exposure.psf.computeImage((40.0, 38.0))
    exposure.image.array[star.bbox.slices((0, 0))] += (5000 * star.array).astype(np.float32)
    row = measureSources(exposure, [(40.0, 38.0)])[0]
    np.testing.assert_allclose([row["base_SdssCentroid_x"], row["base_SdssCentroid_y"]], [40, 38], atol=1e-3)
    assert row["base_PsfFlux_instFlux"] == pytest.approx(5000, rel=1e-4)
    np.testing.assert_allclose(
        [row[f"base_SdssShape_{c}"] for c in ("xx", "yy")],
        [row[f"base_SdssShape_psf_{c}"] for c in ("xx", "yy")],
        rtol=5e-3,
    )


def testSizeExtendednessTellsStarsFromGalaxies(rng, addStars):
    """1 - exp(-(T - T_P)^2/(2 T_P)) with the true moments; NaN and flagged where the shape is."""
    widths = np.array([2.0, 2.1, 2.5, 4.0])
    x, y = np.arange(4) * 50.0 + 30, np.full(4, 40.3)
    array = np.zeros((80, 240), np.float32)
    for px, py, sigma in zip(x, y, widths, strict=True):
        addStars(array, px, py, 1e5, sigma)
    exposure = makeExposure(array, variance=np.ones_like(array), psf=GaussianPsf(21, 21, 2.0))
    table = measureSources(exposure, np.column_stack([x, y]), ["ClassificationSizeExtendedness"])
    assert table.meta["plugins"] == ["base_ClassificationSizeExtendedness"]
    assert not any(name.startswith("base_SdssShape") for name in table.colnames)
    value, flag = (table[f"base_ClassificationSizeExtendedness_{c}"] for c in ("value", "flag"))
    expected = 1 - np.exp(-((2 * widths**2 - 8.0) ** 2) / 16.0)
    np.testing.assert_allclose(value, expected, atol=1e-3)
    assert not flag.any()
    both = measureSources(exposure, np.column_stack([x, y]), ["SdssShape", "ClassificationSizeExtendedness"])
    np.testing.assert_array_equal(both["base_ClassificationSizeExtendedness_value"], value)
    blank = makeExposure(np.zeros((80, 240), np.float32), variance=np.ones_like(array), psf=GaussianPsf(21, 21, 2.0))
    empty = measureSources(blank, np.column_stack([x, y]), ["ClassificationSizeExtendedness"])
    assert empty["base_ClassificationSizeExtendedness_flag"].all()
    assert np.isnan(empty["base_ClassificationSizeExtendedness_value"]).all()
    assert "base_ClassificationSizeExtendedness_value" not in measureSources(exposure, [(30.0, 40.0)]).colnames
