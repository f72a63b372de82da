"""What each switch of ImageDifferenceTask does to a run."""

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from astropy.table import Table
from image_difference_scenes import (
    CALIB,
    CHANGES,
    NOISE,
    SIZE,
    configOf,
    found,
    imagePair,
    pair,
    plainRun,
    stars,
    taskOf,
)

from stillsky import (
    ApCorrMap,
    ChebyshevBoundedField,
    GaussianPsf,
    ImageDifferenceTask,
    Psf,
    ReferenceLoader,
    makeCdMatrix,
    makeTanWcs,
)
from stillsky.background import computeScaleFactors
from stillsky.diffim.image_difference_run import KernelStarChoice, psfSigma
from stillsky.diffim.image_difference_task import NoKernelStarsError
from stillsky.diffim.reference_config import ReferenceLoaderConfig
from stillsky.diffim.source_schema import sourceSchema
from stillsky.errors import InvalidPsfError, NoDataError
from stillsky.geom import Box2I
from stillsky.image import Exposure, Image
from stillsky.psfmatch import CandidateStatus


@pytest.fixture(scope="module")
def images():
    return imagePair()


def sourcesOf(positions, wcs, **columns):
    """A catalogue of positions x, y, flux, as the task takes it."""
    x, y, flux = np.asarray(positions, float).T
    ra, dec = wcs.pixelToSky(x, y)
    n = len(x)
    moment = np.full(n, 4.0)
    base = {
        "id": np.arange(1, n + 1), "coord_ra": ra, "coord_dec": dec, "base_SdssCentroid_x": x,
        "base_SdssCentroid_y": y, "base_PsfFlux_instFlux": flux, "base_PsfFlux_instFluxErr": np.full(n, 30.0),
        "base_SdssShape_xx": moment, "base_SdssShape_yy": moment, "base_SdssShape_xy": 0 * moment,
    }  # fmt: skip
    return Table({**base, **columns})


def references(positions, wcs, ids=None, margin=0.0):
    table = sourcesOf(positions, wcs)["id", "coord_ra", "coord_dec"]
    table["coord_dec"] += margin
    table["id"] = np.arange(1000, 1000 + len(table)) if ids is None else ids
    table["g_flux"], table["r_flux"] = 10 ** (-0.4 * 0.99 * (np.arange(len(table)) % 5)), np.ones(len(table))
    table["resolved"], table["photometric"] = False, np.arange(len(table)) % 7 != 3
    return table


# ------------------------------------------------------------------------------------------------ parts left out


def test_aDifferenceThatExistsIsSearched(images):
    made = plainRun()[1]
    given = made.subtractedExposure.copy()
    before = given.maskedImage.copy()
    result = taskOf(doSubtract=False).run(images[0], subtractedExposure=given)
    assert given.maskedImage == before
    assert (result.subtractRes, result.warpedExposure, result.matchedExposure) == (None, None, None)
    assert {0, 1, 2} <= set(found(result.diaSources))
    flux = "ip_diffim_forced_PsfFlux_instFlux"
    real = made.diaSources[~made.diaSources["sky_source"]]
    np.testing.assert_allclose(result.diaSources[flux], real[flux], rtol=1e-3)
    alone = taskOf(doSubtract=False).run(subtractedExposure=given)  # without the science image
    assert len(alone.diaSources) == len(result.diaSources) and np.isnan(alone.diaSources[flux]).all()
    with pytest.raises(ValueError, match="subtractedExposure"):
        taskOf(doSubtract=False).run(images[0])
    inPlace = taskOf(doSubtract=False).run(images[0], subtractedExposure=given, overwrite=True)
    assert inPlace.subtractedExposure is given and given.mask.isSet("DETECTED").any()


def test_onlyADifference(images):
    config = dict(doDetection=False, doMerge=False, doMeasurement=False, doForcedMeasurement=False, doApCorr=False)
    result = taskOf(**config).run(images[0], templateExposure=images[1])
    assert result.diaSources is None
    chi = result.subtractedExposure.image.array / np.sqrt(result.subtractedExposure.variance.array)
    assert np.nanstd(chi[70:90, 70:90]) == pytest.approx(1, abs=0.1)


def test_detectionWithoutMeasurement(images):
    config = dict(doMeasurement=False, doForcedMeasurement=False, doApCorr=False, doSkySources=True)
    table = taskOf(**config).run(images[0], templateExposure=images[1]).diaSources
    assert table.colnames == sourceSchema().colnames
    assert (np.diff(table["id"]) == 1).all() and table["sky_source"].sum() > 15
    real = table[~table["sky_source"]]
    assert len(real) >= 3 and real["base_PsfFlux_flag"].all() and np.isnan(real["base_PsfFlux_instFlux"]).all()
    distance = np.hypot(real["peakX"][:, None] - CHANGES[:, 0], real["peakY"][:, None] - CHANGES[:, 1])
    assert (distance.min(axis=0) < 2).all()
    x, y = images[0].wcs.skyToPixel(real["coord_ra"], real["coord_dec"])
    np.testing.assert_allclose(x, real["peakX"], atol=1e-6)


def test_withoutMergingDipolesAreTwoSources():
    science, template = pair(changes=np.array([(150.0, 115.0, 4000.0), (155.0, 115.0, -4000.0)]))
    joined = taskOf().run(science, templateExposure=template).diaSources
    apart = taskOf(doMerge=False).run(science, templateExposure=template).diaSources

    def near(table):
        return table[np.hypot(table["peakX"] - 152, table["peakY"] - 115) < 8]

    assert len(near(joined)) == 1 and len(near(apart)) == 2
    one = near(joined)[0]
    assert one["merge_footprint_positive"] and one["merge_footprint_negative"] and not one["is_negative"]
    assert sorted(near(apart)["is_negative"]) == [False, True]


def test_growFootprintJoinsWhatIsNear(images):
    areas = [taskOf(growFootprint=g).run(images[0], templateExposure=images[1]).diaSources["footprintArea"][:2].min()
             for g in (0, 4)]  # fmt: skip
    assert areas[1] > areas[0] * 1.5


def test_dipoleFitOfTheDifferenceAlone():
    science, template = pair(changes=np.array([(150.0, 115.0, 8000.0), (152.5, 115.0, -8000.0)]))
    names = ["pos_instFlux", "separation"]
    rows = []
    for direct in (True, False):
        table = taskOf(doDipoleFitting=direct).run(science, templateExposure=template).diaSources
        rows.append(table[np.argmin(np.hypot(table["peakX"] - 151, table["peakY"] - 115))])
    both, alone = ([row[f"ip_diffim_DipoleFit_{n}"] for n in names] for row in rows)
    assert both == pytest.approx([8000, 2.5], rel=0.1)
    assert np.isfinite(alone).all() and both != alone
    assert rows[1]["ip_diffim_forced_PsfFlux_instFlux"] == pytest.approx(
        rows[0]["ip_diffim_forced_PsfFlux_instFlux"], rel=0.05
    )


def test_measurementConfigurationReachesTheDipoleFit():
    science, template = pair(changes=np.array([(150.0, 115.0, 8000.0), (154.0, 115.0, -8000.0)]))
    config = configOf()
    config.measurement.minSn = 1e6
    table = ImageDifferenceTask(config=config).run(science, templateExposure=template).diaSources
    assert table["ip_diffim_DipoleFit_classificationAttempted"].any()
    assert not table["ip_diffim_DipoleFit_classification"].any()


def test_whichImageIsConvolved(images):
    swapped = pair(sigmas=(1.6, 2.0))
    task = taskOf(convolveTemplate=False)
    result = task.run(swapped[0], templateExposure=swapped[1])
    assert task.metadata["convolvedExposure"] == "Science"
    table = result.diaSources
    which = found(table)
    assert sorted(which[which >= 0]) == [0, 1, 2]
    for row, k in zip(table, which):
        if k >= 0:
            assert row["base_PsfFlux_instFlux"] == pytest.approx(CHANGES[k, 2], abs=4 * row["base_PsfFlux_instFluxErr"])
            own = "ip_diffim_forced_PsfFlux_" if CHANGES[k, 2] > 0 else "ip_diffim_forced_template_PsfFlux_"
            assert row[own + "instFlux"] == pytest.approx(abs(CHANGES[k, 2]), abs=4 * row[own + "instFluxErr"])


def test_withoutDecorrelationManyMorePeaksAreNoise():
    rng = np.random.default_rng(4)
    images = pair(changes=np.zeros((0, 3)), size=600, step=60, sigmas=(3.3, 2.2), seed=int(rng.integers(100)))
    counts = []
    for values in ({}, dict(doDecorrelation=False, allowCorrelatedNoise=True)):
        config = configOf(doScaleDiffimVariance=False, doMeasurement=False, doForcedMeasurement=False, doApCorr=False,
                          **values)  # fmt: skip
        config.detection.thresholdValue = 4.0  # five needs megapixels: see test_decorrelation.py
        result = ImageDifferenceTask(config=config).run(images[0], templateExposure=images[1])
        counts.append(len(result.diaSources))
    assert counts[1] > 10 * max(counts[0], 1)


def test_decorrelationOnAGrid(images):
    config = configOf(doSpatiallyVarying=True)
    cells = config.decorrelate.decorrelateMapReduceConfig
    cells.cellSizeX = cells.cellSizeY = cells.gridStepX = cells.gridStepY = 40
    result = ImageDifferenceTask(config=config).run(images[0], templateExposure=images[1])
    plain = plainRun()[1]
    inside = np.s_[50:200, 50:200]
    offset = result.subtractedExposure.image.array[inside] - plain.subtractedExposure.image.array[inside]
    assert 0 < np.nanstd(offset) < 0.1 * NOISE
    assert {0, 1, 2} <= set(found(result.diaSources))


# ------------------------------------------------------------------------------------------------ inputs


def test_theBackgroundIsAddedToACopy(images):
    science, template = images
    background = Image(np.full((SIZE, SIZE), 40.0, np.float32))
    before = science.image.array.copy()
    with pytest.raises(ValueError, match="calexpBackgroundExposure"):
        taskOf(doAddCalexpBackground=True).run(science, templateExposure=template)
    with pytest.raises(ValueError, match="shape"):
        taskOf(doAddCalexpBackground=True).run(
            science, templateExposure=template, calexpBackgroundExposure=np.zeros((3, 3))
        )
    result = taskOf(doAddCalexpBackground=True).run(
        science, templateExposure=template, calexpBackgroundExposure=background
    )
    assert (science.image.array == before).all()
    fitted = result.subtractRes.backgroundModel(128.0, 128.0)
    assert fitted == pytest.approx(40, abs=1)
    assert result.subtractedExposure.image.array[145:157, 70:88].mean() == pytest.approx(0, abs=1.5)


def test_oneOfBothVariancesIsScaled(images):
    science, template = images
    wrong = template.copy()
    wrong.variance.array[...] /= 4
    values = dict(doScaleTemplateVariance=True, doScaleDiffimVariance=False)
    task = taskOf(**values)
    before = wrong.variance.array.copy()
    result = task.run(science, templateExposure=wrong)
    itself = computeScaleFactors(template).pixelFactor  # the stars are not masked
    assert task.metadata["scaleTemplateVarianceFactor"] == pytest.approx(4 * itself, rel=1e-3)
    assert (wrong.variance.array == before).all()
    assert np.median(result.warpedExposure.variance.array) == pytest.approx(itself * NOISE**2, rel=1e-3)
    assert "scaleDiffimVarianceFactor" not in task.metadata
    task.run(science, templateExposure=wrong, overwrite=True)
    assert np.median(wrong.variance.array) == pytest.approx(itself * NOISE**2, rel=1e-3)


def test_aTemplateOnAnotherGridIsWarped(images):
    science, template = images
    wcs = makeTanWcs((SIZE / 2, SIZE / 2), (1e-7, 0.3), makeCdMatrix(0.2 / 3600))  # across right ascension 0
    science = Exposure(science.maskedImage, science.info, wcs=wcs)
    template = Exposure(template.maskedImage, template.info, wcs=wcs)[Box2I((30, 0), (SIZE - 30, SIZE - 20))]
    task = taskOf()
    result = task.run(science, templateExposure=template)
    assert result.warpedExposure.bbox == science.bbox and result.warpedExposure.psf is not None
    assert result.subtractedExposure.mask.isSet("NO_DATA")[:, :30].all()
    assert task.metadata["templateCoveragePercent"] == pytest.approx(100 * (1 - 30 / SIZE) * (1 - 20 / SIZE), abs=4)
    assert {0, 1, 2} <= set(found(result.diaSources))
    template.wcs = makeTanWcs((SIZE / 2, SIZE / 2), (1.0, 0.3), makeCdMatrix(0.2 / 3600))
    with pytest.raises(RuntimeError, match="do not overlap"):
        taskOf().run(science, templateExposure=template)


def test_photometricCalibrationIsAskedForFirst(images):
    science = images[0].copy()
    science.photoCalib = None
    with pytest.raises(ValueError, match="photometric calibration"):
        taskOf().run(science, templateExposure=images[1])
    result = taskOf(assumeCalibrated=True).run(science, templateExposure=images[1])
    assert {0, 1, 2} <= set(found(result.diaSources))
    assert result.diaSources["base_LocalPhotoCalib_flag"].all()


def test_missingInputsAreNamed(images):
    with pytest.raises(ValueError, match="templateExposure"):
        taskOf().run(images[0])
    with pytest.raises(ValueError, match="exposure"):
        taskOf().run(templateExposure=images[1])
    bare = images[1].copy()
    bare.psf = None
    with pytest.raises(ValueError, match="PSF"):
        taskOf().run(images[0], templateExposure=bare)


def test_imagesWithoutASinglePixel(images):
    for k in (0, 1):
        broken = [e.copy() for e in images]
        broken[k].image.array[...] = np.nan
        with pytest.raises(NoDataError, match="finite"):
            taskOf().run(broken[0], templateExposure=broken[1])


def test_aTemplateOfAFewRowsHasNoKernelStars(images):
    template = images[1].copy()
    template.image.array[3:] = np.nan
    for values in ({}, dict(useScoreImageDetection=True, doWriteSubtractedExp=False)):
        with pytest.raises(NoKernelStarsError, match="kernel candidate"):
            taskOf(requiredTemplateFraction=0.0, **values).run(images[0], templateExposure=template)


def test_aColumnOfNanGivesNoSources(images):
    science = images[0].copy()
    science.image.array[:, 146:156] = np.nan
    task = taskOf()
    result = task.run(science, templateExposure=images[1])
    hole = result.subtractedExposure.mask.isSet("NO_DATA")[:, 146:156]
    assert task.metadata["templateCoveragePercent"] == pytest.approx(100 - 1000 / SIZE)  # of either image
    assert hole.all() and np.isnan(result.subtractedExposure.image.array[:, 146:156]).all()
    assert (np.abs(result.diaSources["peakX"] - 150.5) > 5 + 2 * 2.3548 * 2).all()
    assert {0, 1, 2} <= set(found(result.diaSources))
    template = images[1].copy()
    template.image.array[:, 146:156] = np.nan
    result = task.run(images[0], templateExposure=template)
    assert task.metadata["templateCoveragePercent"] == pytest.approx(100 - 1000 / SIZE)
    assert result.subtractedExposure.mask.isSet("NO_DATA")[:, 146:156].all()
    assert (np.abs(result.diaSources["peakX"] - 150.5) > 5 + 2 * 2.3548 * 2).all()


def test_nothingToFindIsAnEmptyTable():
    science, template = pair(changes=np.zeros((0, 3)), seed=3)
    config = configOf()
    config.detection.thresholdValue = 50.0
    result = ImageDifferenceTask(config=config).run(science, templateExposure=template)
    assert len(result.diaSources) == 0 and result.diaSources.colnames == sourceSchema().colnames


class Holed(Psf):
    """A Gaussian that is undefined near one place."""

    def __init__(self, hole, averagePosition=(0.0, 0.0)):
        super().__init__(averagePosition)
        self._hole, self._plain = hole, GaussianPsf(25, 25, 2.0)

    def _kernelArray(self, x, y):
        if abs(x - self._hole[0]) < 6 and abs(y - self._hole[1]) < 6:
            raise InvalidPsfError("undefined here")
        return self._plain.computeKernelImage((x, y)).array

    def _dimensionsAt(self, x, y):
        return 25, 25

    def persist(self):
        return "Holed", {}, {}

    @classmethod
    def _restore(cls, header, arrays):
        return cls((0.0, 0.0))


def test_aSourceWhereThePsfIsUndefinedIsFlagged(images):
    science = images[0].copy()
    science.psf = Holed(CHANGES[0, :2])
    table = taskOf().run(science, templateExposure=images[1]).diaSources
    which = found(table)
    assert {0, 1, 2} <= set(which)
    flagged = dict(zip(which, table["ip_diffim_forced_PsfFlux_flag"]))
    assert flagged[0] and not flagged[1] and not flagged[2]
    science.psf = Holed((0.0, 0.0))  # even at its average position: the width comes from elsewhere
    assert psfSigma(science) == pytest.approx(2, abs=0.01)


def test_theFinalPsfReplacesTheExposuresOwn(images, caplog):
    task = taskOf(doApplyFinalizedPsf=True)
    psf, corrections = images[1].psf, ApCorrMap()
    rows = Table({"id": [7, 9, 11], "psf": np.array([psf, None, psf], object),
                  "apCorrMap": np.array([corrections, corrections, None], object)})  # fmt: skip
    exposure = images[0].copy()
    own = exposure.psf
    assert task.prepareCalibratedExposure(exposure) is exposure and exposure.psf is own
    with pytest.raises(ValueError, match="detector"):
        task.prepareCalibratedExposure(exposure, rows)
    for number in (5, 9, 11):  # no row, no PSF, no corrections: both are kept
        exposure.info.detector = type("Detector", (), {"id": number})()
        task.prepareCalibratedExposure(exposure, rows)
        assert exposure.psf is own and exposure.info.apCorrMap is None
    assert len([r for r in caplog.records if "are kept" in r.getMessage()]) == 3
    exposure.info.detector = type("Detector", (), {"id": 7})()
    assert task.prepareCalibratedExposure(exposure, rows) is exposure
    assert exposure.psf is psf and exposure.info.apCorrMap is corrections


def test_apertureCorrectionsOfTheScienceImageDoNotTouchWhitenedFluxes(images):
    science = images[0].copy()
    field = ChebyshevBoundedField(science.bbox, [[1.5]])
    science.info.apCorrMap = ApCorrMap({"base_PsfFlux_instFlux": field, "base_PsfFlux_instFluxErr": field})
    plain = plainRun()[1].diaSources
    white = taskOf(doSkySources=True).run(science, templateExposure=images[1]).diaSources
    np.testing.assert_array_equal(white["base_PsfFlux_instFlux"], plain["base_PsfFlux_instFlux"])
    assert white["base_PsfFlux_flag_apCorr"].all()
    values = dict(doDecorrelation=False, allowCorrelatedNoise=True)
    raw = taskOf(**values).run(science, templateExposure=images[1]).diaSources
    assert (raw["base_PsfFlux_apCorr"] == 1.5).all() and not raw["base_PsfFlux_flag_apCorr"].any()
    assert raw["base_GaussianFlux_flag_apCorr"].all()  # the map has no model for it
    off = taskOf(doApCorr=False, **values).run(science, templateExposure=images[1]).diaSources
    np.testing.assert_allclose(raw["base_PsfFlux_instFlux"], 1.5 * off["base_PsfFlux_instFlux"])
    assert np.isnan(off["base_PsfFlux_apCorr"]).all()


# ------------------------------------------------------------------------------------------------ matching


def test_sourcesAreMatchedToBothCatalogues(images):
    science, template = images
    wcs = science.wcs
    task = ImageDifferenceTask(
        config=_matching(), refObjLoader=ReferenceLoader(references(CHANGES[:2], wcs, ids=[55, 66]))
    )
    mine = sourcesOf(np.vstack([CHANGES[1:], CHANGES[1:2] + (0.5, 0.5, 0)]), wcs, id=np.array([71, 72, 73]))
    table = task.run(science, templateExposure=template, selectSources=mine).diaSources
    which = found(table)
    assert dict(zip(which, table["refMatchId"])) | {-1: 0} == {0: 55, 1: 66, 2: 0, -1: 0}
    assert dict(zip(which, table["srcMatchId"])) | {-1: 0} == {0: 0, 1: 71, 2: 72, -1: 0}
    without = task.run(science, templateExposure=template).diaSources
    assert (without["srcMatchId"] == 0).all() and (without["refMatchId"] > 0).sum() == 2


def _matching(**values):
    config = configOf(doMatchSources=True, **values)
    config.refObjLoader.fromButler = True
    return config


def test_everyReferenceObjectServesOnce():
    from stillsky.diffim.match_sources import matchClosest, matchIds, pairsWithin

    rows, partners = matchClosest([[0.0, 0], [0.3, 0], [5, 5], [np.nan, 0]], [[0.1, 0.0], [np.inf, 0], [9, 9]], 0.5)
    assert rows.tolist() == [0] and partners.tolist() == [0]
    assert matchIds(3, rows, partners, [42, 43, 44]).tolist() == [42, 0, 0]
    assert [len(p) for p in matchClosest(np.zeros((0, 2)), [[0, 0]], 1.0)] == [0, 0]
    exact = matchClosest([[0.0, 0]], [[0.5, 0]], 0.5)
    assert exact[0].tolist() == [0]
    arcsec = np.radians(1 / 3600)
    first = Table({"coord_ra": [0.0, 0.5 * arcsec, 1.0], "coord_dec": [0.0, 0, 0]})
    second = Table({"coord_ra": [0.2 * arcsec, 2 * np.pi - 0.9 * arcsec], "coord_dec": [0.0, 0]})
    pairs = pairsWithin(first, second, 1.0)
    assert sorted(zip(pairs.first, pairs.second)) == [(0, 0), (0, 1), (1, 0)]
    assert pairs.distance.tolist() == pytest.approx([0.2, 0.3, 0.9])


def test_referenceObjectsAreThoseAroundTheImage(images, tmp_path):
    wcs, box = images[0].wcs, images[0].bbox
    around = references([(10.0, 10, 1), (-100.0, 20, 1), (-300.0, 20, 1)], wcs)
    path = tmp_path / "objects.ecsv"
    around.write(path)
    config = ReferenceLoaderConfig()
    for source in (around, str(path), [around[:1], pipeBase.InMemoryDatasetHandle(around[1:])]):
        assert ReferenceLoader(source, config).loadPixelBox(box, wcs)["id"].tolist() == [1000, 1001]
    config.pixelMargin = 0
    assert ReferenceLoader(around, config).loadPixelBox(box, wcs)["id"].tolist() == [1000]
    with pytest.raises(ValueError, match="coord_ra"):
        ReferenceLoader(Table({"id": [1]})).loadPixelBox(box, wcs)
    with pytest.raises(FileNotFoundError):
        ReferenceLoader(str(tmp_path / "nothing.ecsv")).loadPixelBox(box, wcs)
    (tmp_path / "bad.ecsv").write_text("no table")
    with pytest.raises(ValueError, match="not a table"):
        ReferenceLoader(str(tmp_path / "bad.ecsv")).loadPixelBox(box, wcs)
    other = configOf(doMatchSources=True)
    other.refObjLoader.path = str(path)
    assert len(ImageDifferenceTask(config=other).astrometer.refObjLoader.table) == 3


# ------------------------------------------------------------------------------------------------ kernel stars


def test_kernelStarsAreChosenAndSomeKeptAside(images):
    science, template = images
    catalogue = sourcesOf(stars(), science.wcs)
    task = taskOf(doSelectSources=True)
    result = task.run(science, selectSources=catalogue, templateExposure=template, templateSources=catalogue[10:])
    kernel, control = task.metadata["nKernelSources"], task.metadata["nControlSources"]
    assert kernel + control == len(catalogue) - 10 and control == -(-(kernel + control) // 5)
    assert result.selectSources is catalogue and {0, 1, 2} <= set(found(result.diaSources))
    candidates = [c["x"] for c in task.subtract.fit.candidates]
    assert len(candidates) <= kernel
    assert result.diaSources["id"].min() == 1
    with pytest.raises(RuntimeError, match="templateSources"):
        taskOf(doSelectSources=True).run(science, selectSources=catalogue, templateExposure=template)
    far = sourcesOf(stars() + (10.0, 10.0, 0.0), science.wcs)
    with pytest.raises(NoKernelStarsError, match="no kernel star") as failure:
        taskOf(doSelectSources=True).run(
            science, selectSources=catalogue, templateExposure=template, templateSources=far
        )
    assert failure.value.metadata == {"nSources": len(catalogue), "nSelected": len(catalogue), "nMatched": 0}


def test_theOrderOfTheKernelStarsDoesNotMatter(images):
    science, template = images
    catalogue = sourcesOf(stars(), science.wcs)
    shuffled = catalogue[np.random.default_rng(1).permutation(len(catalogue))]
    task, fluxes = taskOf(doSelectSources=True), []
    for sources in (catalogue, shuffled):
        result = task.run(science, selectSources=sources, templateExposure=template, templateSources=sources)
        fluxes.append(np.asarray(result.diaSources["base_PsfFlux_instFlux"]))
    np.testing.assert_allclose(fluxes[0], fluxes[1], rtol=1e-6)


def test_missingSourcesAreDetected(images, caplog):
    science, template = images
    catalogue = sourcesOf(stars(), science.wcs)
    task = taskOf(doSelectSources=True)
    factory = task.makeIdFactory(1, 30)
    result = task.run(science, templateExposure=template, templateSources=catalogue, idFactory=factory)
    assert any("are detected" in r.getMessage() for r in caplog.records)
    assert len(result.selectSources) > 30
    assert result.diaSources["id"][0] == (1 << 33) + 1  # the kernel stars have a counter of their own


def test_cataloguesWithoutColumnsAreRefused(images):
    science, template = images
    catalogue = sourcesOf(stars(), science.wcs)
    for name in ("coord_ra", "base_PsfFlux_instFlux", "base_SdssShape_xx", "id"):
        poor = catalogue.copy()
        poor.remove_column(name)
        with pytest.raises(ValueError, match=f"wanted.*column.*{name[-6:]}"):
            taskOf(doSelectSources=True).run(
                science, selectSources=poor, templateExposure=template, templateSources=catalogue
            )


def test_controlSampleBySeedAndByColour(images):
    from stillsky.diffim.image_difference_run import KernelStarChoice

    science = images[0]
    catalogue = sourcesOf(stars(), science.wcs)
    loader = ReferenceLoader(references(stars(), science.wcs))

    def choice(**values):
        config = configOf(doSelectSources=True, kernelSourcesFromRef=True, **values)
        config.refObjLoader.fromButler = True
        task = ImageDifferenceTask(config=config, refObjLoader=loader)
        return KernelStarChoice(task, science, catalogue, None)

    first, again, other = choice(), choice(), choice(controlRandomSeed=11)
    assert first.stars.control.tolist() == again.stars.control.tolist() != other.stars.control.tolist()
    assert not set(first.stars.control) & set(first.stars.kernel)
    assert len(first.matches) == len(catalogue) and first.kernelSources[0].table is catalogue
    # g - r = 0, 0.99 .. 3.96: beyond controlGrMax are the last; every seventh is variable
    red = choice(doSelectDcrCatalog=True, controlStepSize=1000)
    assert not {r for r in red.stars.control[1:]} - set(np.flatnonzero(np.arange(len(catalogue)) % 5 == 4))
    # every row is a kernel star but those that are too faint for one
    catalogue["base_PsfFlux_instFlux"][:10] = 40.0
    both = choice(doSelectVariableCatalog=True, doSelectDcrCatalog=True, controlStepSize=1000).stars.control
    assert set(both[1:]) == {0, 1, 2, 3, 4, 5, 6, 7, 8, 9} and len(set(both)) == len(both)
    plain = choice(doSelectVariableCatalog=True, controlStepSize=1000).stars.control
    assert set(plain[1:]) == {0, 1, 2, 3, 5, 6, 7, 8}  # 4 and 9 are redder than controlGrMax


def test_splitKeepsEveryNth():
    from stillsky.diffim.kernel_stars import addControl, splitControl

    stars_ = splitControl(np.ones(23, bool), 5, 10)
    assert len(stars_.control) == 5 and sorted([*stars_.control, *stars_.kernel]) == list(range(23))
    assert len(splitControl(np.array([4]), 5, 0).kernel) == 1
    more = addControl(stars_, [stars_.kernel[0], 40, 40], stars_.control[:2])
    assert more.control.tolist() == [*stars_.control, 40]
    with pytest.raises(ValueError, match="step"):
        splitControl(np.ones(3, bool), 1, 0)


# ------------------------------------------------------------------------------------------------ registration


def test_aTemplateWithAWrongWcsIsRegistered(images):
    science, template = images
    shifted = template.copy()
    shifted.wcs = template.wcs.shifted((1.4, -0.9))
    catalogue = sourcesOf(stars(), science.wcs)
    theirs = sourcesOf(stars(), shifted.wcs)
    config = configOf(doSelectSources=True, doUseRegister=True, doDebugRegister=True, doAddMetrics=True)
    config.sourceSelector.signalToNoiseMin = 10.0
    config.register.sipOrder = 2
    task = ImageDifferenceTask(config=config)
    result = task.run(science, selectSources=catalogue, templateExposure=shifted, templateSources=theirs)
    assert task.register.metadata["MATCH_NUM"] >= len(catalogue) - 2 and task.register.metadata["SIP_RMS"] < 0.01
    assert (
        task.register.metadata["SIP_GOOD"] + task.register.metadata["SIP_REJECTED"]
        == task.register.metadata["MATCH_NUM"]
    )
    assert "RegisterBlueLongOffsetMedian" in task.register.metadata
    assert result.warpedExposure.psf is not None and {0, 1, 2} <= set(found(result.diaSources))
    quality = result.selectSources
    assert quality is not catalogue and "RegisterResidualDistance" not in catalogue.colnames
    assert np.nanmax(quality["RegisterResidualDistance"]) < np.radians(0.01 / 3600)
    hook = task.fitAstrometry(theirs, shifted, catalogue)
    x, y = hook.wcs.skyToPixel(*(np.asarray(catalogue[n]) for n in ("coord_ra", "coord_dec")))
    assert np.hypot(x - stars()[:, 0], y - stars()[:, 1]).max() < 0.02


# ------------------------------------------------------------------------------------------------ quality of kernel stars


def _judged(images, **values):
    """(task, result, rows of the kernel stars, rows of the control stars) with their quality."""
    science, template = images
    catalogue = sourcesOf(stars(), science.wcs)
    config = _matching(doSelectSources=True, doAddMetrics=True, **values)
    task = ImageDifferenceTask(config=config, refObjLoader=ReferenceLoader(references(CHANGES[:1], science.wcs)))
    result = task.run(science, selectSources=catalogue, templateExposure=template, templateSources=catalogue)
    chosen = KernelStarChoice(task, science, result.selectSources, catalogue).stars  # the seed says which
    assert len(chosen.control) == task.metadata["nControlSources"] >= 4
    return task, result, result.selectSources[chosen.kernel], result.selectSources[chosen.control]


def _assertControlStarsAreJudgedAsKernelStars(kernel, control):
    good = control[control["KCKernelStatus_LOCAL"] == int(CandidateStatus.GOOD)]
    assert len(good) >= len(control) - 1  # one at the edge may be lost
    for kind in ("LOCAL", "SPATIAL"):
        assert np.isfinite(good[f"KCDiffimStDev_{kind}"]).all()
    # their own kernel leaves noise, as does the fit that they had no part in
    assert 0.8 < np.median(good["KCDiffimStDev_LOCAL"]) < 1.2
    # (a filtered stamp has few independent pixels, and there are eight stars; unfiltered stamps leave tens of sigmas)
    for rows in (good, kernel):
        assert 0.75 < np.nanmedian(rows["KCDiffimStDev_SPATIAL"]) < 1.25
    assert np.nanmedian(good["KCDiffimMseKernel_SPATIAL"]) < 1e-4


def test_qualityOfKernelAndControlStars(images):
    task, result, kernel, control = _judged(images)
    judged = np.isfinite(kernel["KCDiffimStDev_SPATIAL"])
    assert judged.sum() > len(kernel) - 3 and np.nanmedian(kernel["KCDiffimStDev_SPATIAL"]) < 1.5
    _assertControlStarsAreJudgedAsKernelStars(kernel, control)
    assert "KCDiffimStDev_SPATIAL_MEAN" in task.metadata
    assert task.metadata["NFalsePositivesTotal"] == len(result.diaSources)
    assert task.metadata["NFalsePositivesRefAssociated"] == 1
    assert task.metadata["NFalsePositivesUnassociated"] == len(result.diaSources) - 1


def test_controlStarsOfAScoreAreCutFromTheFilteredImage(images):
    score = dict(useScoreImageDetection=True, doWriteSubtractedExp=False, doWriteScoreExp=True)
    _, _, kernel, control = _judged(images, **score)
    _assertControlStarsAreJudgedAsKernelStars(kernel, control)


# ------------------------------------------------------------------------------------------------ figures


def test_debugSwitchesDraw(images, tmp_path):
    science, template = images
    task, result = taskOf(), plainRun()[1]
    catalogue = sourcesOf(stars(), science.wcs)
    assert task.runDebug(science, result.subtractRes, catalogue, None, result.diaSources) == {} == task.figures
    given = (science, result.subtractRes, catalogue, catalogue[:5], result.diaSources)
    task.debug = {"display": True, "showSubtracted": True, "showPixelResiduals": True, "showDiaSources": True,
                  "showDipoles": True, "maskTransparency": 50}  # fmt: skip
    figures = task.runDebug(*given)
    assert set(figures) == {"showSubtracted", "showPixelResiduals", "showDiaSources", "showDipoles"}
    assert len(figures["showPixelResiduals"].axes) == 2
    marks = [line.get_marker() for line in figures["showSubtracted"].axes[0].lines]
    assert len(marks) == len(result.diaSources)
    task.debug = {"display": True, "showSubtracted": True, "path": tmp_path}
    task.runDebug(*given)
    assert [p.name for p in tmp_path.glob("*.png")] == ["imageDifference-showSubtracted.png"]


def test_marksOfSources():
    from stillsky.diffim.image_difference_figures import sourceMark

    row = {f"base_PixelFlags_flag_{p}{w}": False for p in ("interpolated", "saturated", "cr") for w in ("", "Center")}
    row["is_negative"] = True
    assert sourceMark(row) == ("o", "red")
    assert sourceMark({**row, "base_PixelFlags_flag_cr": True, "is_negative": False}) == ("+", "yellow")
    assert sourceMark({**row, "base_PixelFlags_flag_crCenter": True}) == ("x", "red")
    assert CALIB.mean == 2.0
