"""ImageDifferenceTask.run on small simulated pairs: what it returns, leaves alone, refuses."""

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from image_difference_scenes import (
    CALIB,
    CHANGES,
    NOISE,
    SCIENCE_SIGMA,
    SIZE,
    TEMPLATE_SIGMA,
    found,
    imagePair,
    pair,
    plainRun,
    taskOf,
)
from lsst.pipe.base import NoWorkFound

from stillsky import ImageDifferenceTask
from stillsky.diffim.source_schema import sourceSchema


@pytest.fixture(scope="module")
def images():
    return imagePair()


@pytest.fixture(scope="module")
def plain(images):
    """The default run."""
    return plainRun()


def test_theResultHasAllItsMembers(plain, images):
    task, result = plain
    assert set(result.getDict()) == {
        "subtractedExposure", "scoreExposure", "warpedExposure", "matchedExposure", "subtractRes", "diaSources",
        "selectSources",
    }  # fmt: skip
    science = images[0]
    assert result.scoreExposure is None and result.selectSources is None
    for exposure in (result.subtractedExposure, result.matchedExposure, result.warpedExposure):
        assert exposure.bbox == science.bbox and exposure.wcs == science.wcs
    assert result.subtractedExposure.photoCalib == CALIB
    assert result.subtractRes.psfMatchingKernel.sumAt(128, 128) == pytest.approx(1, abs=0.01)
    assert result.diaSources.colnames == sourceSchema().colnames


def test_changesAreFoundWithTheirFluxes(plain):
    result = plain[1]
    table = result.diaSources
    real = table[~table["sky_source"]]
    which = found(real)
    assert sorted(which[which >= 0]) == [0, 1, 2] and len(real) <= 5
    for row, k in zip(real, which):
        if k >= 0:
            flux = CHANGES[k, 2]
            assert row["base_PsfFlux_instFlux"] == pytest.approx(flux, abs=4 * row["base_PsfFlux_instFluxErr"])
            assert row["is_negative"] == (flux < 0)
            # F + 0 on the science image, 0 + F on the template
            own = "ip_diffim_forced_PsfFlux_" if flux > 0 else "ip_diffim_forced_template_PsfFlux_"
            assert row[own + "instFlux"] == pytest.approx(abs(flux), abs=4 * row[own + "instFluxErr"])
            assert not row["ip_diffim_forced_PsfFlux_flag"] and not row["ip_diffim_DipoleFit_classification"]


def test_metadataSayWhatWasDone(plain):
    metadata = plain[0].metadata
    assert metadata["psfMatchingAlgorithm"] == "al" and metadata["convolvedExposure"] == "Template"
    assert metadata["sciencePsfSize"] == pytest.approx(2.3548 * SCIENCE_SIGMA, rel=0.01)
    assert metadata["templatePsfSize"] == pytest.approx(2.3548 * TEMPLATE_SIGMA, rel=0.01)
    assert metadata["scaleDiffimVarianceFactor"] == pytest.approx(1, abs=0.05)
    assert metadata["templateCoveragePercent"] == 100 and metadata["nPsfSources"] > 15
    assert metadata["decorrelationVarianceRatio"] == pytest.approx(1)
    assert metadata["decorrelationKernelSum"] == pytest.approx(1, abs=0.01)
    assert metadata["decorrelationTiles"] > 1 and metadata["noiseWhiteness"] < 0.02
    assert metadata["nMergedDiaSources"] >= 3 and metadata["doSmooth"] and metadata["nGrow"] > 0
    assert metadata["n_skySources"] == metadata["sky_footprint_count"] > 15
    limits = [metadata[f"{name}LimitingMagnitude"] for name in ("science", "template", "diffim")]
    assert 10 ** (-0.8 * limits[2]) == pytest.approx(sum(10 ** (-0.8 * m) for m in limits[:2]))
    # 5 sqrt(var / sum P^2) of the decorrelated PSF, in nJy: between that of the science PSF alone and twice its flux
    floor = 31.4 - 2.5 * np.log10(5 * CALIB.mean * NOISE * np.sqrt(2 * 4 * np.pi * SCIENCE_SIGMA**2))
    assert floor < metadata["fiveSigmaDifferenceMagnitude"] < floor + 0.8


def test_runLeavesItsInputsAsTheyWere(plain, images):
    for exposure, before in zip(images, pair()):
        assert exposure.maskedImage == before.maskedImage


def test_theSameInputsGiveTheSameBytes(plain, images):
    first = plain[1]
    again = taskOf(doSkySources=True).run(images[0], templateExposure=images[1])
    for name in ("image", "mask", "variance"):
        a, b = (getattr(r.subtractedExposure, name).array for r in (first, again))
        assert a.tobytes() == b.tobytes()
    for name in first.diaSources.colnames:
        assert first.diaSources[name].tobytes() == again.diaSources[name].tobytes(), name


def test_skySourcesHaveAllColumns(plain):
    table = plain[1].diaSources
    sky = table[table["sky_source"]]
    assert len(sky) > 15 and not sky["is_negative"].any()
    assert not (sky["merge_footprint_positive"] | sky["merge_footprint_negative"]).any()
    assert (sky["detectSignificance"] == 0).all()
    flux, error = (np.asarray(sky[f"base_PsfFlux_{n}"]) for n in ("instFlux", "instFluxErr"))
    assert abs(flux.mean()) < 3 * error.mean() / np.sqrt(len(sky))


def test_idsAreThoseOfTheFactory(images):
    factory = ImageDifferenceTask.makeIdFactory(0x1234, 24)
    task = taskOf(doSubtract=False, doMeasurement=False, doForcedMeasurement=False, doApCorr=False)
    given = dict(subtractedExposure=plainRun()[1].subtractedExposure)
    result = task.run(images[0], idFactory=factory, **given)
    assert result.diaSources["id"][0] == 2561862092718081
    with pytest.raises(OverflowError):  # more sources than ids: nothing is written
        task.run(images[0], idFactory=ImageDifferenceTask.makeIdFactory(1, 62), **given)


def test_withoutAPsfNothingIsSubtracted(images):
    science = images[0].copy()
    science.psf = None
    with pytest.raises(pipeBase.TaskError, match="Exposure has no psf"):
        taskOf().run(science, templateExposure=images[1])


def test_tooLittleTemplateIsNoWork(images):
    task = taskOf()
    template = images[1].copy()
    template.mask.array[: int(0.99 * SIZE)] |= template.mask.bitmask("NO_DATA")
    with pytest.raises(NoWorkFound, match=r"1\.2 % < 10\.0 %.*requiredTemplateFraction=0"):
        task.checkTemplateIsSufficient(template)
    template = images[1].copy()
    template.image.array[: int(0.99 * SIZE)] = np.nan  # NaN without a mask bit is no data either
    with pytest.raises(NoWorkFound):
        task.checkTemplateIsSufficient(template)
    science = images[0].copy()
    science.mask.array[:, : SIZE // 2] |= science.mask.bitmask("NO_DATA")
    assert task.checkTemplateIsSufficient(images[1], science) == 0.5  # pixels that either image lacks
    with pytest.raises(NoWorkFound, match=r"0\.6 % < 10\.0 %"):
        task.checkTemplateIsSufficient(template, science)
    with pytest.raises(NoWorkFound, match="no template"):
        task.checkTemplateIsSufficient(None)
    assert taskOf(requiredTemplateFraction=0.0).checkTemplateIsSufficient(template) == pytest.approx(3 / 256)
