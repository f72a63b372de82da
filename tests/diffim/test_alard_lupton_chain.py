"""The chain of current tasks on a small field: template from coadd patches, subtraction, detection, with both detections."""

import types

import numpy as np
import pytest
from alard_lupton_scenes import CALIB, makeImage, makeSources, makeStars
from scipy.signal import fftconvolve

from stillsky.diffim.alard_lupton_score_task import (
    AlardLuptonPreconvolveSubtractConfig,
    AlardLuptonPreconvolveSubtractTask,
)
from stillsky.diffim.alard_lupton_task import AlardLuptonSubtractConfig, AlardLuptonSubtractTask
from stillsky.diffim.detect_measure_task import (
    DetectAndMeasureConfig,
    DetectAndMeasureScoreConfig,
    DetectAndMeasureScoreTask,
    DetectAndMeasureTask,
)
from stillsky.diffim.resampling_noise import resamplingOf
from stillsky.diffim.template_task import GetTemplateConfig, GetTemplateTask
from stillsky.geom import AffineTransform, Box2I
from stillsky.image import makeExposure
from stillsky.kernel import FixedKernel
from stillsky.meta import FilterLabel
from stillsky.psf import CoaddPsf, CoaddPsfComponent, GaussianPsf, WarpedPsf
from stillsky.wcs import SkyMap, TractInfo, makeCdMatrix, makeTanWcs

SIZE = 320
CENTER = np.radians((30.0, -20.0))
WCS = makeTanWcs((160.0, 160.0), CENTER, makeCdMatrix(0.2 / 3600))
NEW = np.array([(90.3, 120.8, 300.0), (150.6, 210.2, 260.0), (228.4, 95.5, 320.0), (240.7, 230.1, 280.0)])
GONE = np.array([(120.2, 70.6, 300.0)])


def coadds(stars, size=560, gone=True):
    """Patches of one tract, rotated by 20 degrees, with the stars and what is gone since."""
    box = Box2I((0, 0), (size, size))
    wcs = makeTanWcs(box.center, CENTER, makeCdMatrix(0.2 / 3600, np.radians(20)))
    tract = TractInfo(0, wcs, box, (size // 2, size // 2), 20)
    everything = np.concatenate([stars, GONE]) if gone else stars
    x, y = wcs.skyToPixel(*WCS.pixelToSky(everything[:, 0], everything[:, 1]))
    rng = np.random.default_rng(11)
    exposures, dataIds = [], []
    for patch in tract:
        area = patch.outerBBox
        image = rng.normal(0, 1.0, area.shape)
        gx, gy = np.arange(area.minX, area.maxX + 1), np.arange(area.minY, area.maxY + 1)
        for cx, cy, flux in zip(x, y, everything[:, 2]):
            along, across = (np.exp(-0.5 * ((g - c) / 1.9) ** 2) for g, c in ((gx, cx), (gy, cy)))
            image += flux / (2 * np.pi * 1.9**2) * np.outer(across, along)
        exposures.append(
            makeExposure(
                image.astype(np.float32), variance=1.0, psf=GaussianPsf(31, 31, 1.9), wcs=wcs, xy0=area.min,
                photoCalib=CALIB, filter=FilterLabel(band="r", physical="r-1"),
            )
        )  # fmt: skip
        dataIds.append({"tract": 0, "patch": patch.sequentialIndex})
    return SkyMap([tract]), exposures, dataIds


@pytest.fixture(scope="module")
def chain():
    """Science image, template, difference, score."""
    stars = makeStars(36, seed=8, level=900.0, span=4.0, size=SIZE, spacing=22)
    for x, y, _ in np.concatenate([NEW, GONE]):
        stars = stars[np.hypot(stars[:, 0] - x, stars[:, 1] - y) > 20]
    science = makeImage([*stars, *NEW], 2.4, 1.0, 6, size=SIZE, wcs=WCS)
    science.variance.array[...] = 1.0  # the noise that was drawn
    _, exposures, dataIds = coadds(stars)
    getTemplate = GetTemplateTask(config=GetTemplateConfig())
    template = getTemplate.run({0: exposures}, science.bbox, WCS, {0: dataIds}, "r-1", visit=5).template
    sources = makeSources(stars)
    config = AlardLuptonSubtractConfig()
    config.restrictKernelEdgeSources = False
    subtract = AlardLuptonSubtractTask(config=config)
    scoreConfig = AlardLuptonPreconvolveSubtractConfig()
    scoreConfig.restrictKernelEdgeSources = False
    scoreConfig.makeKernel.kernel.active.spatialKernelOrder = 0
    score = AlardLuptonPreconvolveSubtractTask(config=scoreConfig)
    return types.SimpleNamespace(
        science=science, template=template, stars=stars, sources=sources, subtract=subtract,
        subtracted=subtract.run(template, science, sources), score=score.run(template, science, sources),
    )  # fmt: skip


def configured(kind):
    config = kind()
    config.doSubtractBackground = False
    config.doSkySources = True
    return config


def checkSources(results):
    table = results.diaSources[~np.asarray(results.diaSources["sky_source"])]
    x, y = (np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy")
    flux = np.asarray(table["base_PsfFlux_instFlux"], float)
    error = np.asarray(table["base_PsfFlux_instFluxErr"], float)
    for tx, ty, tf in [*NEW, *(GONE * [1, 1, -1])]:
        distance = np.hypot(x - tx, y - ty)
        row = int(np.argmin(distance))
        assert distance[row] < 0.5
        assert bool(table["is_negative"][row]) == (tf < 0)
        assert abs(flux[row] - tf) < 4 * error[row] + 0.03 * abs(tf)
    assert len(table) <= len(NEW) + len(GONE) + 1
    return table


def test_templateFitsTheSubtraction(chain):
    assert chain.template.bbox == chain.science.bbox.dilated(20)
    metadata = chain.subtract.metadata
    assert metadata["templateCoveragePercent"] == 100
    assert metadata["templatePsfSize"] < metadata["sciencePsfSize"]
    assert metadata["nPsfSources"] >= 8
    assert metadata["differenceFootprintRatioMean"] < 0.05


def test_resampledNoiseOfTheTemplateIsMadeWhiteToo():
    """The template remembers its resampling in its PSF; without that, significances would be 4 percent wrong (B3)."""
    size = 500
    wcs = makeTanWcs((250.0, 250.0), CENTER, makeCdMatrix(0.2 / 3600))
    _, exposures, dataIds = coadds(np.zeros((0, 3)), 880, gone=False)
    rng = np.random.default_rng(4)
    science = makeExposure(
        rng.normal(0, 1, (size, size)).astype(np.float32), variance=1.0, psf=GaussianPsf(31, 31, 2.4), wcs=wcs,
        photoCalib=CALIB, filter=FilterLabel(band="r", physical="r-1"),
    )  # fmt: skip
    knowing = GetTemplateTask(config=GetTemplateConfig()).run({0: exposures}, science.bbox, wcs, {0: dataIds}, "r-1")
    knowing = knowing.template
    assert isinstance(knowing.psf, CoaddPsf)
    ignorant = knowing.copy()
    ignorant.psf = GaussianPsf(31, 31, 1.9)
    axis = np.arange(-15, 16)
    kernel = np.exp(-0.5 * np.add.outer(axis**2, axis**2) / (2.4**2 - 1.9**2))
    scatter = []
    for template in (knowing, ignorant):
        task = AlardLuptonSubtractTask(config=AlardLuptonSubtractConfig())
        made = task.run(template, science, psfMatchingKernel=FixedKernel(kernel / kernel.sum())).difference
        chi = (made.image.array / np.sqrt(made.variance.array))[30:-30, 30:-30]
        stamp = made.psf.computeKernelImage((250.0, 250.0)).array
        filtered = fftconvolve(chi, stamp[::-1, ::-1], mode="valid") / np.sqrt(np.sum(stamp**2))
        scatter.append(filtered.std())
    assert scatter[0] == pytest.approx(1, abs=0.02)
    assert scatter[1] > scatter[0] + 0.03


def test_whichPsfsTellOfAResampling():
    psf, white = GaussianPsf(31, 31, 1.9), np.ones((1, 1))
    half = AffineTransform(((1, 0), (0, 1)), (0.5, 0.0))  # source to destination
    noise = resamplingOf(WarpedPsf(psf, half), (100.0, 100.0))
    reach = noise(50.0, 50.0).shape[0] // 2
    assert noise(50.0, 50.0)[reach, reach + 1] > 0.1 > noise(50.0, 50.0)[reach + 1, reach]
    assert resamplingOf(psf, (0.0, 0.0)) is None
    box = Box2I((0, 0), (100, 100))
    other = makeTanWcs((10.3, 20.4), CENTER, makeCdMatrix(0.2 / 3600))
    third = makeTanWcs((-80.0, 20.0), CENTER, makeCdMatrix(0.2 / 3600))
    assert resamplingOf(CoaddPsf([CoaddPsfComponent(psf, box, WCS)], WCS), (0.0, 0.0)) is None
    both = resamplingOf(
        CoaddPsf([CoaddPsfComponent(psf, box, other), CoaddPsfComponent(psf, box, third)], WCS), (0.0, 0.0)
    )
    # each position has the noise of the input that holds it: a whole number of pixels resamples nothing
    assert both(170.0, 160.0).shape != white.shape and np.abs(both(170.0, 160.0)).sum() > 1.3
    assert np.abs(both(300.0, 160.0)).sum() == pytest.approx(1, abs=0.05)


def test_differenceIsDetectedAndMeasured(chain):
    task = DetectAndMeasureTask(config=configured(DetectAndMeasureConfig))
    results = task.run(
        chain.science,
        chain.subtracted.matchedTemplate,
        chain.subtracted.difference.copy(),
        kernelSources=chain.subtracted.kernelSources,
    )
    checkSources(results)
    assert task.metadata["residualFootprintRatioMean"] < 0.05


def test_scoreIsDetectedAndTheDifferenceMeasured(chain):
    config = configured(DetectAndMeasureScoreConfig)
    task = DetectAndMeasureScoreTask(config=config)
    score = chain.score.scoreExposure.copy()
    results = task.run(
        chain.science,
        chain.subtracted.matchedTemplate,
        chain.subtracted.difference.copy(),
        score,
        kernelSources=chain.score.kernelSources,
    )
    table = checkSources(results)
    assert results.scoreMeasuredExposure is score
    # what the score says of a source is its flux over its error
    found = np.asarray(table["scoreSignificance"], float)
    ratio = np.abs(np.asarray(table["base_PsfFlux_instFlux"] / table["base_PsfFlux_instFluxErr"], float))
    bright = ratio > 8
    assert bright.sum() >= 4
    np.testing.assert_allclose(np.abs(found[bright]), ratio[bright], rtol=0.25)


def test_scoreOverNoiseShowsTheNewSourcesAlone(chain):
    significance = chain.score.scoreSignificance.array
    for x, y, _ in NEW:
        assert significance[int(round(y)), int(round(x))] > 10
    for x, y, _ in GONE:
        assert significance[int(round(y)), int(round(x))] < -10


# --------------------------------------------------------------------------------- end to end, without coadds


FIELD = 512
TRANSIENTS = np.array([(101.2, 300.7), (255.5, 120.1), (300.9, 410.3), (410.4, 222.6), (180.0, 200.0)])


def endToEnd(hole=False, permute=False):
    """Subtraction and detection: science sigma 2.0, template 1.6, noise 5 in both, transients of flux 1000."""
    stars = makeStars(50, seed=21, level=4000.0, span=10.0, size=FIELD, spacing=25)
    for x, y in TRANSIENTS:
        stars = stars[np.hypot(stars[:, 0] - x, stars[:, 1] - y) > 20]
    new = [(x, y, 1000.0) for x, y in TRANSIENTS]
    science = makeImage([*stars, *new], 2.0, 5.0, 31, size=FIELD)
    template = makeImage(stars, 1.6, 5.0, 32, 20, size=FIELD)
    for exposure in (science, template):
        exposure.variance.array[...] = 25.0
    if hole:
        template.image.array[:, 20 + 330 : 20 + 340] = np.nan
    sources = makeSources(stars, 5.0, 2.0)
    if permute:
        sources = sources[np.random.default_rng(1).permutation(len(sources))]
    config = AlardLuptonSubtractConfig()
    config.sourceSelector.doSignalToNoise = False  # stars of ratios up to 1000 serve well
    subtract = AlardLuptonSubtractTask(config=config)
    made = subtract.run(template, science, sources)
    found = DetectAndMeasureTask(config=configured(DetectAndMeasureConfig)).run(
        science, made.matchedTemplate, made.difference, kernelSources=made.kernelSources
    )
    return types.SimpleNamespace(
        stars=stars, metadata=subtract.metadata, difference=made.difference, table=found.diaSources
    )


def positions(table):
    return tuple(np.asarray(table[f"base_SdssCentroid_{c}"], float) for c in "xy")


@pytest.fixture(scope="module")
def field():
    return endToEnd()


def test_transientsAreFoundAndLittleElse(field):
    sky = np.asarray(field.table["sky_source"])
    table, blank = field.table[~sky], field.table[sky]
    x, y = positions(table)
    spurious = np.ones(len(table), bool)
    pulls = []
    for tx, ty in TRANSIENTS:
        distance = np.hypot(x - tx, y - ty)
        row = int(np.argmin(distance))
        assert distance[row] < 1
        spurious[row] = False
        pulls.append((table["base_PsfFlux_instFlux"][row] - 1000) / table["base_PsfFlux_instFluxErr"][row])
    assert abs(np.mean(pulls)) < 2 / np.sqrt(len(pulls))
    bright = field.stars[field.stars[:, 2] > 100 * 5 * np.sqrt(4 * np.pi * 2.0**2)]
    for sx, sy, _ in bright:
        spurious &= np.hypot(x - sx, y - sy) > 2 * 2.3548 * 2.0
    assert spurious.sum() < 5 * FIELD**2 / 1e6
    flux = np.asarray(blank["base_PsfFlux_instFlux"], float)
    flux = flux[np.isfinite(flux)]
    assert len(flux) > 50 and abs(flux.mean()) < 3 * flux.std() / np.sqrt(len(flux))


def test_runsAreIdenticalAndTheOrderOfSourcesDoesNotMatter(field):
    again, permuted = endToEnd(), endToEnd(permute=True)
    assert again.difference.image.array.tobytes() == field.difference.image.array.tobytes()
    assert again.difference.maskedImage == field.difference.maskedImage
    for name in field.table.colnames:
        assert again.table[name].tobytes() == field.table[name].tobytes()
    for name in ("base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr"):
        np.testing.assert_allclose(permuted.table[name], field.table[name], rtol=1e-6, atol=1e-6 * 50)


def test_holeOfTheTemplate(field):
    holed = endToEnd(hole=True)
    lost = field.metadata["templateCoveragePercent"] - holed.metadata["templateCoveragePercent"]
    assert lost == pytest.approx(1000 / FIELD, abs=1e-6)
    assert holed.difference.mask.isSet("NO_DATA")[:, 330:340].all()
    x, _ = positions(holed.table[~np.asarray(holed.table["sky_source"])])
    reach = 2 * 2.3548 * 2.0
    assert not ((x > 330 - reach) & (x < 339 + reach)).any()
