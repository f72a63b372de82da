"""Detection and measurement on difference images whose content is known."""

import numpy as np
import pytest

from stillsky.diffim.detect_errors import BadSubtractionError, NoDiaSourcesError
from stillsky.diffim.detect_measure import checkResult, detectAndMeasure
from stillsky.diffim.detect_measure_config import DetectAndMeasureTaskFields
from stillsky.diffim.ids import IdFactory, IdGenerator, sourceIdLayout
from stillsky.diffim.source_schema import sourceSchema
from stillsky.errors import DomainError, IdOverflowError, InvalidPsfError, ShapeError
from stillsky.image import makeExposure
from stillsky.measure import measureSources
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs

SIZE, SIGMA = 300, 2.0
PSF = GaussianPsf(25, 25, SIGMA)
WCS = makeTanWcs((150, 150), np.radians((45.0, 10.0)), makeCdMatrix(np.radians(0.2 / 3600)))


def gaussians(x, y, flux, shape=(SIZE, SIZE), sigma=SIGMA):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    image = np.zeros(shape)
    for px, py, f in zip(x, y, flux, strict=True):
        image += f * np.exp(-((columns - px) ** 2 + (rows - py) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    return image


def exposureOf(image, noise=1.0, xy0=(0, 0)):
    return makeExposure(image.astype(np.float32), variance=noise**2, psf=PSF, wcs=WCS, xy0=xy0)


def positionsOn(grid, rng, jitter=3.0):
    at = np.stack(np.meshgrid(grid, grid), -1).reshape(-1, 2)
    return (at + rng.uniform(-jitter, jitter, at.shape)).T


def pairOf(x, y, flux, seed=1, noise=1.0, xy0=(0, 0), level=0.0):
    """Science, matched template and difference: a star field that both have, and changes."""
    rng = np.random.default_rng(seed)
    stars = gaussians(*rng.uniform(20, SIZE - 20, (2, 15)), rng.uniform(500, 3000, 15))
    change = gaussians(np.asarray(x) - xy0[0], np.asarray(y) - xy0[1], flux)
    noises = rng.normal(0, noise, (2, SIZE, SIZE)) * np.array([np.sqrt(0.9), np.sqrt(0.1)])[:, None, None]
    science, template = stars + change + noises[0] + level, stars - noises[1]
    made = (exposureOf(science, np.sqrt(0.9), xy0), exposureOf(template, np.sqrt(0.1), xy0))
    return (*made, exposureOf(science - template, noise, xy0))


def plainConfig(**values):
    config = DetectAndMeasureTaskFields()
    config.doSubtractBackground = False
    for name, value in values.items():
        setattr(config, name, value)
    return config


@pytest.fixture(scope="module")
def twenty():
    rng = np.random.default_rng(3)
    x, y = positionsOn(np.arange(40, 280, 50), rng)[:, :20]
    return x, y, np.full(20, 500.0)


def matched(table, x, y, radius=1.5):
    d2 = (np.asarray(table["base_SdssCentroid_x"])[:, None] - x) ** 2
    d2 += (np.asarray(table["base_SdssCentroid_y"])[:, None] - y) ** 2
    nearest = np.argmin(d2, 0)
    assert (d2[nearest, np.arange(len(x))] < radius**2).all()
    return nearest


# ----------------------------------------------------------------- 27.6 of the specification


def test_twentySourcesAreFoundWithTheirFluxesAndBigIds(twenty):
    """Check 1: none missed, none added, fluxes within 2.5 % of the flux or 3 errors, every id above 1e9."""
    x, y, flux = twenty
    ids = sourceIdLayout(42, 12, nDetectors=99, nObservations=10000)
    table = detectAndMeasure(*pairOf(x, y, flux, noise=0.6), config=plainConfig(), ids=ids).sources
    assert len(table) == 20
    rows = matched(table, x, y)
    assert len(set(rows)) == 20
    measured, error = (np.asarray(table[f"base_PsfFlux_{c}"])[rows] for c in ("instFlux", "instFluxErr"))
    assert (np.abs(measured - flux) < np.maximum(0.025 * flux, 3 * error)).all()
    assert np.mean(measured / flux) == pytest.approx(1, abs=0.025)
    assert (table["id"] > 1e9).all() and (np.diff(table["id"]) > 0).all()
    assert not table["candidate_flag"].any()
    assert ids.unpack(table["id"][0])["visit"] == table.meta["packed"] // table.meta["n_detectors"] == 42


def test_negatedImageGivesTheSamePositionsAndNegatedFluxes(twenty):
    """Check 2."""
    science, template, difference = pairOf(*twenty)
    negated = difference.copy()
    negated.image.array[:] *= -1
    a = detectAndMeasure(science, template, difference, config=plainConfig()).sources
    b = detectAndMeasure(template, science, negated, config=plainConfig()).sources
    assert len(a) == len(b) == 20
    assert b["is_negative"].all() and not a["is_negative"].any()
    for name, sign in (("base_SdssCentroid_x", 1), ("base_SdssCentroid_y", 1), ("base_PsfFlux_instFlux", -1)):
        np.testing.assert_allclose(b[name], sign * np.asarray(a[name]), rtol=1e-5)


def test_shiftedScienceLeavesOneRecordOfBothSignsForEachStar():
    """Check 4, the detection's part: each star misplaced by a pixel is one source of both polarities, flagged dipole."""
    rng = np.random.default_rng(8)
    x, y = positionsOn(np.arange(40, 280, 60), rng)
    template = gaussians(x, y, np.full(len(x), 2500.0))
    science = gaussians(x, y - 1, np.full(len(x), 2500.0)) + rng.normal(0, 1, (SIZE, SIZE))
    made = [exposureOf(image) for image in (science, template, science - template)]
    table = detectAndMeasure(*made, config=plainConfig()).sources
    assert len(table) == len(x)
    assert table["merge_footprint_positive"].all() and table["merge_footprint_negative"].all()
    assert not table["is_negative"].any()
    assert table["candidate_flag_dipole"].all()
    assert (table["candidate_dipoleDeltaChi2"] > 100).all()
    # extrema of the gradient of a Gaussian smoothed once more: 2 sqrt(2) sigma apart
    np.testing.assert_allclose(table["candidate_dipoleSeparation"], 2 * np.sqrt(2) * SIGMA, atol=1.0)


def test_shiftedScienceGivesTheTrueDipoles():
    """Check 4, the values: every star is classified, points the way of the shift and is as far apart as it."""
    rng = np.random.default_rng(8)
    x, y = positionsOn(np.arange(40, 280, 60), rng)
    template = gaussians(x, y, np.full(len(x), 2500.0))
    science = gaussians(x, y - 1, np.full(len(x), 2500.0)) + rng.normal(0, 1, (SIZE, SIZE))
    made = [exposureOf(image) for image in (science, template, science - template)]
    table = detectAndMeasure(*made, config=plainConfig()).sources
    assert len(table) == len(x) == 16
    assert table["ip_diffim_DipoleFit_classification"].all()
    np.testing.assert_allclose(table["ip_diffim_DipoleFit_orientation"], -np.pi / 2, atol=0.3)
    np.testing.assert_allclose(table["ip_diffim_DipoleFit_separation"], 1, rtol=0.1)


def test_onlyTheFirstPeakOnABadPixelRejectsAFootprint():
    """26 G3: two merged peaks, the fainter on EDGE; the reference lets any peak reject."""
    for compat, n in (("stillsky", 1), ("reference", 0)):
        images = pairOf(np.array([100.0, 108.0]), np.array([150.0, 150.0]), [800.0, 500.0])
        images[2].mask.array[148:153, 106:111] |= 1 << images[2].mask.bit("EDGE")
        config = plainConfig(compat=compat)
        config.badSourceFlags = []
        found = detectAndMeasure(*images, config=config)
        assert len(found.sources) == n and found.metadata["nRejectedBadMaskPlanes"] == 1 - n
        if n:
            assert found.sources["nPeaks"][0] == 1 and abs(found.sources["base_SdssCentroid_x"][0] - 100) < 3


def test_transientsOnMaskedPixelsAreRemovedAndNoneLeftIsAnError():
    """Check 7: EDGE, BAD and SAT on the centres; then nothing is left, and a task would raise."""
    x, y = np.array([60.0, 150.0, 240.0]), np.array([60.0, 150.0, 240.0])
    images = pairOf(x, y, [800.0] * 3)
    assert len(detectAndMeasure(*[i.copy() for i in images], config=plainConfig()).sources) == 3
    for plane, px, py in zip(("EDGE", "BAD", "SAT"), x, y, strict=True):
        bit = 1 << images[2].mask.bit(plane)
        images[2].mask.array[int(py) - 2 : int(py) + 3, int(px) - 2 : int(px) + 3] |= bit
    config = plainConfig()
    result = detectAndMeasure(*images, config=config)
    assert len(result.sources) == 0 and result.sources.colnames == sourceSchema().colnames
    assert result.metadata["nRejectedBadMaskPlanes"] + result.metadata["nRemovedBadFlaggedSources"] == 3
    assert result.metadata["nMergedDiaSources"] == 3
    with pytest.raises(NoDiaSourcesError) as info:
        checkResult(result, config)
    assert info.value.metadata["nMergedDiaSources"] == 3
    config.raiseOnNoDiaSources = False
    checkResult(result, config)


def test_flaggedSourcesAreRemovedExactly(twenty):
    """Check 7, the second half: a flag on five records removes these five."""
    science, template, difference = pairOf(*twenty)
    x, y = (np.floor(v[:5] + 0.5).astype(int) for v in twenty[:2])
    for px, py in zip(x, y, strict=True):
        difference.mask.array[py + 2, px + 2] |= 1 << difference.mask.bit("SUSPECT")
    config = plainConfig(badSourceFlags=["base_PixelFlags_flag_suspect"])
    result = detectAndMeasure(science, template, difference, config=config)
    assert len(result.sources) == 15
    assert result.metadata["nRemovedBadFlaggedSources"] == 5
    assert not (np.hypot(result.sources["base_SdssCentroid_x"][:, None] - x, result.sources["base_SdssCentroid_y"][:, None] - y) < 3).any()  # fmt: skip


def test_backgroundIsSubtractedInTwoPasses(twenty):
    """Check 8: on a sloping background of amplitude 6 fluxes are right with the subtraction, and wrong without."""
    x, y, flux = twenty
    rows, columns = np.mgrid[:SIZE, :SIZE] / (SIZE / 2) - 1
    level = 6 * (0.5 + 0.3 * rows + 0.2 * columns)
    errors = []
    for subtracted in (True, False):
        config = plainConfig(doSubtractBackground=subtracted)
        config.detection.doTempLocalBackground = False
        result = detectAndMeasure(*pairOf(x, y, flux * 2, level=level), config=config)
        # at the planted positions: without the subtraction the detection may not tell the sources apart
        forced = measureSources(result.difference, np.stack([x, y], axis=1), ["base_PsfFlux"])
        errors.append(np.abs(np.asarray(forced["base_PsfFlux_instFlux"]) / (2 * flux) - 1).mean())
        if subtracted:
            detected = np.asarray(result.sources["base_PsfFlux_instFlux"])[matched(result.sources, x, y)]
            assert len(detected) == len(x) and np.abs(detected / (2 * flux) - 1).mean() < 0.05
            assert result.background is not None
            assert abs(np.median(result.difference.image.array)) < 0.2
    assert errors[0] < 0.05
    assert errors[1] > 0.1


def test_unknownBadSourceFlagIsRefused(twenty):
    """Check 9."""
    with pytest.raises(DomainError, match="base_NoSuch_flag"):
        detectAndMeasure(*pairOf(*twenty), config=plainConfig(badSourceFlags=["base_NoSuch_flag"]))


def test_moreSourcesThanIdsAreRefused(twenty):
    """Check 10: a 2-bit counter has three ids."""
    with pytest.raises(IdOverflowError, match="20 wanted, 3 left"):
        detectAndMeasure(*pairOf(*twenty), config=plainConfig(), ids=IdFactory(1, 2))


# -------------------------------------------------------------------- the rest of the chain


def test_sameInputsGiveTheSameTable(twenty):
    config = plainConfig(doSkySources=True)
    a, b = (detectAndMeasure(*pairOf(*twenty), config=config, seed=5).sources for _ in range(2))
    assert a.colnames == b.colnames
    for name in a.colnames:
        assert np.array_equal(np.asarray(a[name]), np.asarray(b[name]), equal_nan=a[name].dtype.kind == "f"), name


def test_originOfTheImageMovesPositionsOnly(twenty):
    x, y, flux = twenty
    a = detectAndMeasure(*pairOf(x, y, flux), config=plainConfig()).sources
    b = detectAndMeasure(*pairOf(x + 1000, y - 200, flux, xy0=(1000, -200)), config=plainConfig()).sources
    np.testing.assert_allclose(b["base_SdssCentroid_x"], np.asarray(a["base_SdssCentroid_x"]) + 1000, atol=1e-4)
    np.testing.assert_allclose(b["base_PsfFlux_instFlux"], a["base_PsfFlux_instFlux"], rtol=1e-4)
    for name in ("candidate_sharpness", "candidate_psfChi2", "ip_diffim_forced_PsfFlux_instFlux"):
        np.testing.assert_allclose(b[name], a[name], rtol=2e-3, atol=1e-3, err_msg=name)


def test_skySourcesAreMeasuredAndMarked(twenty):
    config = plainConfig(doSkySources=True)
    config.skySources.nSources = 15
    result = detectAndMeasure(*pairOf(*twenty), config=config, seed=2)
    sky = result.sources[result.sources["sky_source"]]
    assert len(sky) == 15 == result.metadata["n_skySources"]
    assert result.sources.meta["sky_seed"] == 2 and result.sources.meta["flux_unit"] == "count"
    pull = sky["base_PsfFlux_instFlux"] / sky["base_PsfFlux_instFluxErr"]
    assert abs(np.mean(pull)) < 3 / np.sqrt(15) and 0.4 < np.std(pull) < 1.8
    assert not sky["candidate_flag"].any()
    assert result.nSources == 20


def test_forcedFluxesDifferByTheFluxOfTheDifference(twenty):
    table = detectAndMeasure(*pairOf(*twenty), config=plainConfig()).sources
    difference = table["ip_diffim_forced_PsfFlux_instFlux"] - table["ip_diffim_forced_template_PsfFlux_instFlux"]
    np.testing.assert_allclose(difference, table["base_PsfFlux_instFlux"], atol=0.05)


def test_cosmicRaysAndNoDataAreMarkedAndNothingIsLost(twenty):
    science, template, difference = pairOf(*twenty)
    difference.image.array[100, 65:70] += 300
    difference.image.array[:, 280:284] = np.nan
    difference.mask.array[:, 280:284] |= 1 << difference.mask.bit("NO_DATA")
    result = detectAndMeasure(science, template, difference, config=plainConfig())
    assert result.metadata["cosmic_ray_count"] == 1
    flagged = result.sources[result.sources["candidate_flag"]]
    assert len(flagged) == 1 and flagged["candidate_flag_cosmicRay"].all()
    assert np.isnan(difference.image.array[:, 280:284]).all()
    assert len(result.sources) == 21


def test_rowOfDetectionCutReproducesTheThreshold(twenty):
    table = detectAndMeasure(*pairOf(*twenty), config=plainConfig()).sources
    assert (table["detectSignificance"] >= table.meta["threshold"]).all()
    finite = np.isfinite(table["significance_positive"])
    np.testing.assert_allclose(table["significance_positive"][finite], table["detectSignificance"][finite], rtol=1e-6)


def test_scoreImageIsSearchedWithoutSmoothing(twenty):
    from scipy.signal import fftconvolve

    science, template, difference = pairOf(*twenty)
    kernel = PSF.computeKernelImage().array
    score = difference.copy()
    score.image.array[:] = fftconvolve(difference.image.array, kernel, mode="same")
    score.variance.array[:] = np.sum(kernel**2)
    result = detectAndMeasure(science, template, difference, config=plainConfig(), score=score)
    rows = matched(result.sources, *twenty[:2])
    assert len(set(rows)) == 20
    plain = detectAndMeasure(*pairOf(*twenty), config=plainConfig()).sources
    np.testing.assert_allclose(
        np.asarray(result.sources["base_PsfFlux_instFlux"])[rows],
        np.asarray(plain["base_PsfFlux_instFlux"])[matched(plain, *twenty[:2])],
        rtol=1e-3,
    )
    np.testing.assert_allclose(result.sources["scoreSignificance"], result.sources["detectSignificance"], rtol=0.1)
    assert (difference.mask.array & (1 << difference.mask.bit("DETECTED"))).any()


def test_starsThatAreNotSubtractedRaiseForATask(twenty):
    science, template, difference = pairOf(*twenty)
    config = plainConfig()
    stars = np.stack(twenty[:2], axis=1)
    result = detectAndMeasure(science, template, difference, config=config, kernelSources=stars)
    assert result.metadata["residualFootprintRatioMean"] > 0.5
    with pytest.raises(BadSubtractionError) as info:
        checkResult(result, config)
    assert info.value.metadata["ratioThreshold"] == 0.2


def test_emptyDifferenceGivesAnEmptyTableWithAllColumns():
    result = detectAndMeasure(*pairOf([], [], []), config=plainConfig())
    assert len(result.sources) == 0
    assert result.sources.colnames == sourceSchema().colnames
    for name in result.sources.colnames:
        assert result.sources[name].dtype == sourceSchema()[name].dtype, name
    assert result.nSources == 0 and len(result.candidates) == 0


def test_differenceWithoutPsfOrOfAnotherSizeIsRefused(twenty):
    science, template, difference = pairOf(*twenty)
    with pytest.raises(ShapeError, match="science"):
        detectAndMeasure(science[10:50, 10:50], template, difference, config=plainConfig())
    difference.psf = None
    with pytest.raises(InvalidPsfError, match="no PSF"):
        detectAndMeasure(science, template, difference, config=plainConfig())


def test_deblendingSplitsAClosePair():
    x, y = np.array([100.0, 108.0]), np.array([150.0, 150.0])
    images = pairOf(x, y, [600.0, 500.0])
    whole = detectAndMeasure(*[i.copy() for i in images], config=plainConfig()).sources
    parts = detectAndMeasure(*images, config=plainConfig(doDeblend=True)).sources
    assert len(whole) == 1 and whole["nPeaks"][0] == 2
    assert len(parts) == 2
    matched(parts, x, y)


def test_plainNumbersAreTheDefaultIds(twenty):
    table = detectAndMeasure(*pairOf(*twenty), config=plainConfig()).sources
    assert table["id"].tolist() == list(range(1, 21))
    assert IdGenerator.fromMeta(table.meta) == IdGenerator()
