"""Light curves at given positions, from exposures."""

import numpy as np
import pytest
from scipy import ndimage

from stillsky.diffim.forced_series import (
    ForcedImage,
    Positions,
    errorScale,
    forcedEpoch,
    forcedSeries,
    subtractBaseline,
    withoutSky,
)
from stillsky.diffim.noise_covariance import convolvedNoiseFactor
from stillsky.errors import DomainError, InvalidPsfError, NoDataError, ShapeError
from stillsky.image import makeExposure
from stillsky.meta import FilterLabel, VisitInfo
from stillsky.photom import PhotoCalib
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs

SIZE, PSF = 160, GaussianPsf(25, 25, 1.8)
WCS = makeTanWcs((80.0, 80.0), (2.6, 0.04), makeCdMatrix(1e-6))
X, Y = np.array([40.3, 100.7, 61.2]), np.array([50.6, 30.1, 120.4])
FLUX = np.array([3000.0, -1500.0, 900.0])


def _exposure(rng, fluxes, noise=2.0, level=0.0, **components):
    pixels = rng.normal(level, noise, (SIZE, SIZE)).astype(np.float32)
    for x, y, flux in zip(X, Y, fluxes, strict=True):
        star = PSF.computeImage((x, y))
        pixels[star.bbox.slices((0, 0))] += (flux * star.array).astype(np.float32)
    variance = np.full(pixels.shape, noise**2, np.float32)
    return makeExposure(pixels, variance=variance, psf=PSF, wcs=WCS, **components)


def _positions(**more):
    return Positions(np.array([7, 3, 5]), x=X, y=Y, **more)


def test_lightCurveHasARowForEachPositionAndImage(rng):
    factors = (0.5, 1.0, 2.0)
    images = [
        ForcedImage(f"night{k}", _exposure(rng, f * FLUX, visitInfo=VisitInfo(date=f"2026-01-0{k + 1}T00:00:00")))
        for k, f in enumerate(factors)
    ]
    table = forcedSeries(iter(images), _positions())
    assert table["id"].tolist() == [7] * 3 + [3] * 3 + [5] * 3
    assert table["image"].tolist() == ["night0", "night1", "night2"] * 3
    np.testing.assert_allclose(np.diff(table["midpointMjdTai"][:3]), 1.0)
    pulls = (table["base_PsfFlux_instFlux"] - np.outer(FLUX, factors).ravel()) / table["base_PsfFlux_instFluxErr"]
    assert np.all(np.abs(pulls) < 4) and np.all(table["base_PsfFlux_instFluxErr"] < 30)
    assert [note["label"] for note in table.meta["images"]] == ["night0", "night1", "night2"]
    assert all(note["nMeasured"] == 3 for note in table.meta["images"])


def test_baselineIsTheWeightedMeanOfQuietEpochs(rng):
    nights = [(1, 1.0, 2.0), (2, 1.0, 4.0), (3, 1.0, 2.0), (4, 3.0, 2.0)]  # day, share of the flux, noise

    def series(positions=None):
        images = [
            ForcedImage(f"n{d}", _exposure(rng, f * FLUX, s, visitInfo=VisitInfo(date=f"2026-01-0{d}T00:00:00")))
            for d, f, s in nights
        ]
        images[2].difference.image.array[int(Y[1]) - 1 : int(Y[1]) + 2, int(X[1]) - 1 : int(X[1]) + 2] = np.nan
        return forcedSeries(images, positions or _positions())

    table = series()
    mjd = np.array(table["midpointMjdTai"][:4])
    before = table.copy()
    assert subtractBaseline(table, [(-np.inf, mjd[0] + 0.1), (mjd[1] - 0.1, mjd[2] + 0.1)]) == 0
    flux, error = "base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr"
    for k in range(3):
        rows = slice(4 * k, 4 * k + 4)
        f, e = (np.array(before[c][rows], float) for c in (flux, error))
        good = np.array([True, True, k != 1 or np.isfinite(f[2]) and not before["noCoverage"][rows][2], False])
        wanted = np.average(f[good], weights=e[good] ** -2.0)
        np.testing.assert_allclose(table["baseline_instFlux"][rows], wanted, rtol=1e-12)
        np.testing.assert_allclose(table["baseline_instFluxErr"][rows], np.sum(e[good] ** -2.0) ** -0.5, rtol=1e-12)
        assert table["baseline_n"][rows].tolist() == [good.sum()] * 4
        np.testing.assert_allclose(table[flux][rows] + wanted, f, rtol=1e-9)
        assert np.array_equal(table[error][rows], before[error][rows])
        assert abs(table[flux][rows][3] - 2 * FLUX[k]) < 5 * e[3]
        ratio = table[flux][rows] / table[error][rows]
        np.testing.assert_allclose(table["detectSignificance"][rows], ratio, rtol=1e-9)
    assert table["baselineFlux"].unit == "nJy" and np.isnan(table["baselineFlux"]).all()  # no calibration
    assert table.meta["baseline"][0][0] is None
    # epochs that are not there; positions with one number
    same = series(Positions(np.array([7, 7, 7]), x=X, y=Y))
    kept = same.copy()
    assert subtractBaseline(same, [(mjd[3] + 5, np.inf)]) == 3
    np.testing.assert_array_equal(same[flux], kept[flux])
    assert np.isnan(same["baseline_instFlux"]).all() and not same["baseline_n"].any()
    assert subtractBaseline(same, [(-np.inf, np.inf)]) == 0
    means = np.array(same["baseline_instFlux"]).reshape(3, 4)
    assert np.all(np.ptp(means, axis=1) == 0) and len(np.unique(means)) == 3


def test_scienceAndTemplateAreMeasuredAndAddUp(rng):
    science, template = _exposure(rng, FLUX + 4000), _exposure(rng, np.full(3, 4000.0))
    difference = science.copy()
    difference.image.array[:] -= template.image.array
    table = forcedEpoch(ForcedImage("d", difference, science, template), _positions())
    direct = table["ip_diffim_forced_PsfFlux_instFlux"] - table["ip_diffim_forced_template_PsfFlux_instFlux"]
    np.testing.assert_allclose(direct, table["base_PsfFlux_instFlux"], atol=0.1)
    np.testing.assert_allclose(
        forcedEpoch(ForcedImage("d", difference, science, template, templateScale=0.5), _positions())[
            "ip_diffim_forced_template_PsfFlux_instFlux"
        ],
        0.5 * table["ip_diffim_forced_template_PsfFlux_instFlux"],
    )


def test_absentImagesLeaveNanAndFlags(rng):
    table = forcedEpoch(ForcedImage("d", _exposure(rng, FLUX)), _positions())
    for prefix in ("ip_diffim_forced_PsfFlux_", "ip_diffim_forced_template_PsfFlux_"):
        assert np.isnan(table[prefix + "instFlux"]).all() and table[prefix + "flag"].all()
    assert not table["base_PsfFlux_flag"].any() and not table["noCoverage"].any()


def test_noCoverageIsNanAndFlaggedAndKeepsItsRow(rng):
    difference = _exposure(rng, FLUX)
    difference.mask.addPlane("NO_DATA")
    difference.mask.array[115:125, 55:65] |= 1 << difference.mask.bit("NO_DATA")
    positions = Positions(np.arange(6), x=[*X, -300.0, np.nan, 40.0], y=[*Y, 20.0, 30.0, np.inf])
    table = forcedEpoch(ForcedImage("d", difference, difference), positions)
    assert len(table) == 6 and table["noCoverage"].tolist() == [False, False, True, True, True, True]
    for name in ("base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr", "ip_diffim_forced_PsfFlux_instFlux"):
        np.testing.assert_array_equal(np.isnan(table[name]), table["noCoverage"])
    np.testing.assert_array_equal(table["base_PsfFlux_flag"], table["noCoverage"])
    assert table["base_PixelFlags_flag_nodataCenter"][2] and table["base_PixelFlags_flag_offimage"][3]


def test_skyPositionsFollowEachWcs(rng):
    ra, dec = WCS.pixelToSky(X, Y)
    shifted = _exposure(rng, FLUX)
    shifted.wcs = makeTanWcs((83.0, 76.0), (2.6, 0.04), makeCdMatrix(1e-6))
    table = forcedEpoch(ForcedImage("d", shifted), Positions(np.arange(3), ra=ra, dec=dec))
    np.testing.assert_allclose(table["x"], X + 3.0, atol=1e-6)
    np.testing.assert_allclose(table["y"], Y - 4.0, atol=1e-6)
    np.testing.assert_allclose(table["ra"], np.degrees(ra), rtol=1e-12)
    behind = forcedEpoch(ForcedImage("d", shifted), Positions([1], ra=[2.6 + np.pi], dec=[-0.04]))
    assert behind["noCoverage"][0] and np.isnan(behind["x"][0])


def test_calibratedFluxes(rng):
    difference = _exposure(rng, FLUX, photoCalib=PhotoCalib(12.5), filter=FilterLabel(band="r"))
    table = forcedEpoch(ForcedImage("d", difference, difference, difference), _positions())
    names = {
        "psfDiffFlux": "base_PsfFlux_instFlux",
        "psfFlux": "ip_diffim_forced_PsfFlux_instFlux",
        "templateFlux": "ip_diffim_forced_template_PsfFlux_instFlux",
    }
    for calibrated, counts in names.items():
        for suffix in ("", "Err"):
            np.testing.assert_allclose(table[calibrated + suffix], 12.5 * table[counts + suffix])
            assert table[calibrated + suffix].unit == "nJy"
    assert set(table["band"]) == {"r"}
    assert np.isnan(forcedEpoch(ForcedImage("d", _exposure(rng, FLUX)), _positions())["psfDiffFlux"]).all()


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_errorsAreCalibratedByBlankPositions(rng, factor):
    """Variances too small by the square of a factor: the scale is the factor, within its own error of 1/sqrt(2 n)."""
    pixels = rng.normal(0, 2.0, (600, 600)).astype(np.float32)
    exposure = makeExposure(pixels, variance=np.full(pixels.shape, 4.0 / factor**2, np.float32), psf=PSF)
    scale = errorScale(exposure)
    assert abs(scale / factor - 1) < 4 * 1.17 / np.sqrt(2 * 400)  # a median deviation has 1.17 times the least error
    kept, scaled = (
        forcedEpoch(ForcedImage("d", exposure), _positions(), calibrateErrors=k)["base_PsfFlux_instFluxErr"]
        for k in (False, True)
    )
    np.testing.assert_allclose(scaled, scale * kept)


def test_tooLittleSkyGivesNoScale(rng):
    small = makeExposure(rng.normal(0, 1, (40, 40)).astype(np.float32), psf=PSF)
    assert np.isnan(errorScale(small))


def test_skyIsSubtractedWhereThereIsSome(rng):
    flat, raised = _exposure(rng, FLUX), _exposure(rng, FLUX, level=500.0)
    assert withoutSky(flat) == (flat, 0.0)
    before = raised.image.array.copy()
    subtracted, level = withoutSky(raised)
    assert abs(level - 500) < 1 and abs(np.median(subtracted.image.array)) < 0.2
    np.testing.assert_array_equal(raised.image.array, before)


def test_objectsThatNoMaskKnowsDoNotRaiseTheSky(rng):
    crowded = _exposure(rng, FLUX, level=500.0)
    for x, y in rng.uniform(15, SIZE - 15, (60, 2)):
        star = PSF.computeImage((x, y))
        crowded.image.array[star.bbox.slices((0, 0))] += (600 * star.array).astype(np.float32)
    subtracted, level = withoutSky(crowded)
    assert level > 500
    empty = np.abs(crowded.image.array - 500) < 4  # two sigma around the sky
    bias = np.median(subtracted.image.array[empty] - crowded.image.array[empty] + 500)
    assert abs(bias) < 0.1  # of a noise of 2; 0.4 when only outliers are clipped


def test_skyOfALargeImageIsTakenInBlocks(rng):
    """Blocks of 4 x 4 pixels with a remainder, a sky that is curved, objects and missing pixels."""
    y, x = np.mgrid[:843, :811].astype(np.float32)
    sky = 300 + 20 * x / 811 + 15 * (y / 843) ** 2
    exposure = makeExposure((sky + rng.normal(0, 5, sky.shape)).astype(np.float32), psf=PSF)
    pixels = exposure.image.array
    for px, py, flux in zip(*rng.uniform(20, 790, (2, 1000)), np.exp(rng.uniform(4, 9, 1000)), strict=True):
        star = PSF.computeImage((px, py))
        pixels[star.bbox.slices((0, 0))] += (flux * star.array).astype(np.float32)
    pixels[100:140, 300:420] = np.nan
    exposure.mask.array[100:140, 300:420] |= exposure.mask.bitmask(["NO_DATA"])
    subtracted, level = withoutSky(exposure)
    error = pixels - subtracted.image.array - sky
    assert abs(np.nanmedian(error)) < 0.2 and np.nanstd(error) < 0.4 and abs(level - 315) < 3
    assert subtracted.image.array.dtype == np.float32 and subtracted.mask is exposure.mask
    assert np.array_equal(np.isnan(subtracted.image.array), np.isnan(pixels))


@pytest.mark.parametrize("variance", [0.0, np.nan, 4.0])
@pytest.mark.parametrize("psf", [None, PSF])
@pytest.mark.parametrize("noise", [0.0, 2.0])
def test_skyOfPlainImagesWithoutPsfOrNoise(rng, variance, psf, noise):
    pixels = rng.normal(500, noise, (128, 96)).astype(np.float32)
    plane = np.full(pixels.shape, variance, np.float32)
    subtracted, level = withoutSky(makeExposure(pixels, variance=plane, psf=psf))
    assert abs(level - 500) < 0.2 and abs(np.median(subtracted.image.array)) < 0.2


@pytest.mark.parametrize("psfless", [False, True])
def test_errorsKnowTheCorrelatedNoiseOfAConvolvedTemplate(rng, psfless):
    noise = makeExposure(rng.normal(0, 2, (SIZE, SIZE)).astype(np.float32), psf=PSF)
    kernel = GaussianPsf(15, 15, 2.0).computeKernelImage().array
    noise.image.array[:] = ndimage.convolve(noise.image.array, kernel, mode="wrap")
    noise.variance.array[:] = 4 * np.sum(kernel**2)
    # Farther apart than overlapping positions, whose fluxes are fitted together: each is measured alone.
    x, y = (v.ravel() for v in np.meshgrid(*2 * [8.1 + 11.07 * np.arange(14)]))
    factor = convolvedNoiseFactor(kernel, PSF.computeKernelImage((80.0, 80.0)).array)
    image = ForcedImage("d", noise, template=noise, templateNoise=factor)
    if psfless:
        image.template = None
    table = forcedEpoch(image, Positions(np.arange(len(x)), x=x, y=y))
    pulls = table["ip_diffim_forced_template_PsfFlux_instFlux"] / table["ip_diffim_forced_template_PsfFlux_instFluxErr"]
    assert factor > 2
    assert np.isnan(pulls).all() if psfless else 0.8 < np.std(pulls) < 1.2  # 196 independent places
    np.testing.assert_allclose(np.std(table["detectSignificance"]), factor, rtol=0.2)  # without the factor


def test_badArgumentsAreNamed(rng):
    with pytest.raises(DomainError, match="x and y go together"):
        Positions([1], x=[1.0])
    with pytest.raises(DomainError, match="x and y, or ra and dec"):
        Positions([1])
    with pytest.raises(ShapeError, match="one length"):
        Positions([1, 2], x=[1.0], y=[2.0])
    with pytest.raises(NoDataError, match="no image"):
        forcedSeries([], _positions())
    plain = makeExposure(np.ones((30, 30), np.float32))
    with pytest.raises(DomainError, match="WCS"):
        forcedEpoch(ForcedImage("d", plain), Positions([1], ra=[1.0], dec=[1.0]))
    with pytest.raises(InvalidPsfError, match="PSF"):
        forcedEpoch(ForcedImage("d", plain), _positions())
