"""ImageDifferenceTask with the likelihood image and with proper subtraction, and its acceptance on simulated fields."""

import numpy as np
import pytest
from image_difference_scenes import (
    CALIB,
    CHANGES,
    NOISE,
    SCIENCE_SIGMA,
    SIZE,
    configOf,
    draw,
    exposureOf,
    found,
    imagePair,
    pair,
    plainRun,
    stars,
    taskOf,
)

from stillsky import ImageDifferenceTask, KernelPsf, makeCdMatrix, makeTanWcs, psfFlux
from stillsky.psfmatch.image_psf_match import ImagePsfMatchTask

SCORE = dict(useScoreImageDetection=True, doWriteSubtractedExp=False)


@pytest.fixture(scope="module")
def images():
    return imagePair()


def fluxesAreRight(table, sigmas=4.0, unit=1.0):
    which = found(table)
    assert sorted(which[which >= 0]) == [0, 1, 2]
    for row, k in zip(table, which):
        if k >= 0:
            flux = unit * CHANGES[k, 2]
            assert row["base_PsfFlux_instFlux"] == pytest.approx(flux, abs=sigmas * row["base_PsfFlux_instFluxErr"])
    return which


@pytest.mark.parametrize("gaussian", (False, True))
def test_sourcesAreSearchedOnTheLikelihoodImage(images, gaussian):
    science, template = images
    before = science.maskedImage.copy()
    task = taskOf(useGaussianForPreConvolution=gaussian, doWriteScoreExp=True, **SCORE)
    result = task.run(science, templateExposure=template)
    assert result.subtractedExposure is None and science.maskedImage == before
    assert task.metadata["convolvedExposure"] == "Preconvolution" and not task.metadata["doSmooth"]
    assert task.metadata["preconvolvedSciencePsfSize"] == pytest.approx(2**0.5 * task.metadata["sciencePsfSize"])
    score = result.scoreExposure
    significance = score.image.array / np.sqrt(score.variance.array)
    quiet = significance[140:158, 60:80]
    assert quiet.std() == pytest.approx(1, abs=0.35)  # some 15 independent values
    # at a change its flux over its error; the difference says the same
    table = result.diaSources
    fluxesAreRight(table)
    row = table[list(found(table)).index(0)]
    expected = row["base_PsfFlux_instFlux"] / row["base_PsfFlux_instFluxErr"]
    assert row["scoreSignificance"] == pytest.approx(expected, rel=0.1)
    # the original science image is measured, not the filtered one
    assert row["ip_diffim_forced_PsfFlux_instFlux"] == pytest.approx(
        3000, abs=4 * row["ip_diffim_forced_PsfFlux_instFluxErr"]
    )


def test_withoutMeasurementTheLikelihoodImageIsMadeAlone(images, monkeypatch):
    calls = []
    original = ImagePsfMatchTask.subtractExposures
    monkeypatch.setattr(
        ImagePsfMatchTask, "subtractExposures", lambda self, *a, **k: calls.append(1) or original(self, *a, **k)
    )
    config = dict(doMeasurement=False, doForcedMeasurement=False, doApCorr=False)
    result = taskOf(**config, **SCORE).run(images[0], templateExposure=images[1])
    assert len(calls) == 1 and len(result.diaSources) >= 3 and result.subtractedExposure is None


def test_asymmetricPsfIsNotReflected():
    # pixels of a PSF with a tail to the right: its matched filter must have the tail on the same side
    rows, columns = np.mgrid[-12:13, -12:13]
    core = np.exp(-0.5 * (columns**2 + rows**2) / 2.0**2)
    tail = 0.3 * np.exp(-0.5 * ((columns - 3) ** 2 + rows**2) / 2.0**2)
    stamp = (core + tail) / (core + tail).sum()
    rng = np.random.default_rng(8)
    science, template = pair(changes=np.zeros((0, 3)))
    science.image.array[...] = rng.normal(0, NOISE, science.image.array.shape)
    for x, y, flux in [*stars(), (115.0, 79.0, 3000.0)]:
        i, j = int(round(x)), int(round(y))
        science.image.array[j - 12 : j + 13, i - 12 : i + 13] += (flux * stamp).astype(np.float32)
    science.psf = KernelPsf(stamp)
    template.image.array[...] = rng.normal(0, NOISE, science.image.array.shape)
    for x, y, flux in stars():
        i, j = int(round(x)), int(round(y))
        template.image.array[j - 12 : j + 13, i - 12 : i + 13] += (flux * stamp).astype(np.float32)
    template.psf = KernelPsf(stamp)
    result = taskOf(doScaleDiffimVariance=False, **SCORE).run(science, templateExposure=template)
    score = result.scoreExposure
    near = np.s_[70:89, 106:125]
    significance = score.image.array[near] / np.sqrt(score.variance.array[near])
    ideal = 3000 / np.sqrt(2 * NOISE**2 / np.sum(stamp**2))
    j, i = np.unravel_index(np.argmax(significance), significance.shape)
    assert significance.max() == pytest.approx(ideal, abs=3)
    assert (i + 106, j + 70) == (115, 79)  # a reflected filter peaks 1.4 pixels beside


def test_properSubtraction(images):
    task = taskOf(subtract="zogy")
    result = task.run(images[0], templateExposure=images[1])
    assert task.metadata["psfMatchingAlgorithm"] == "zogy" and task.metadata["zogyBeta"] == 1.0
    assert result.matchedExposure is None and result.scoreExposure is not None
    table = result.diaSources
    unit = CALIB.mean  # the proper difference is in nJy
    which = fluxesAreRight(table, unit=unit)
    assert table.meta["psf_mode"] == "zogy"
    assert table.meta["control_seed"] == 10 and table.meta["flux_unit"]
    for row, k in zip(table, which):
        if k >= 0:
            own = "ip_diffim_forced_PsfFlux_" if CHANGES[k, 2] > 0 else "ip_diffim_forced_template_PsfFlux_"
            assert np.isfinite(row["ip_diffim_forced_template_PsfFlux_instFlux"])
            if CHANGES[k, 2] > 0:
                assert row[own + "instFlux"] == pytest.approx(unit * 3000, abs=4 * row[own + "instFluxErr"])


def test_properScoreIsSearched(images):
    task = taskOf(subtract="zogy", useScoreImageDetection=True, doWriteScoreExp=True)
    result = task.run(images[0], templateExposure=images[1])
    assert result.subtractedExposure is not None and not task.metadata["doSmooth"]
    fluxesAreRight(result.diaSources, unit=CALIB.mean)
    assert (result.diaSources["scoreSignificance"][:3] != 0).all()


def test_properSubtractionWithScalingsOfItsOwn(images):
    config = configOf(subtract="zogy", assumeCalibrated=True)
    zogy = config.subtract["zogy"].zogyConfig
    zogy.scaleByCalibration, zogy.scienceFluxScaling, zogy.templateFluxScaling = False, 2.0, 2.0
    bare = [e.copy() for e in images]
    for exposure in bare:
        exposure.photoCalib = None
    result = ImageDifferenceTask(config=config).run(bare[0], templateExposure=bare[1])
    fluxesAreRight(result.diaSources, unit=0.5)


# ------------------------------------------------------------------------------------------------ acceptance


def test_transientsOfATwelfthOfASquareDegreePixelAreAllFound():
    """512 x 512 pixels, equal noise, 50 stars, five transients of flux 1000 at noise 5: all are found, their fluxes are
    unbiased within two standard errors; fewer than five false ones per square degree-pixel far from bright stars; empty
    positions have no flux."""
    at = [(90.3, 105.6), (241.7, 177.2), (392.1, 321.4), (177.4, 393.8), (321.2, 105.1)]
    changes = np.array([(x, y, 1000.0) for x, y in at])
    science, template = pair(changes, size=512, step=72, seed=5)
    result = taskOf(doSkySources=True).run(science, templateExposure=template)
    table = result.diaSources
    real = table[~table["sky_source"]]
    which = found(real, changes)
    assert sorted(which[which >= 0]) == [0, 1, 2, 3, 4]
    flux, error = (np.asarray(real[f"base_PsfFlux_{n}"])[which >= 0] for n in ("instFlux", "instFluxErr"))
    assert abs(flux.mean() - 1000) < 2 * error.mean() / np.sqrt(5)
    lattice = stars(512, 72)
    x, y = (np.asarray(real[f"base_SdssCentroid_{c}"]) for c in "xy")
    far = np.hypot(x[:, None] - lattice[:, 0], y[:, None] - lattice[:, 1]).min(axis=1) > 2 * 2.3548 * SCIENCE_SIGMA
    assert np.count_nonzero(far & (which < 0)) < 5 * 512**2 / 1e6 + 1
    sky = table[table["sky_source"]]
    skyFlux, skyError = (np.asarray(sky[f"base_PsfFlux_{n}"]) for n in ("instFlux", "instFluxErr"))
    assert len(sky) > 50 and abs(skyFlux.mean()) < 3 * skyError.mean() / np.sqrt(len(sky))


def test_exchangingTheImagesNegatesTheDifference(images):
    forward = plainRun()[1].subtractedExposure
    back = taskOf(convolveTemplate=False).run(images[1], templateExposure=images[0]).subtractedExposure
    inside = np.s_[40:-40, 40:-40]
    total = forward.image.array[inside] + back.image.array[inside]
    assert np.nanstd(total) < 0.35 * np.nanstd(forward.image.array[inside])
    assert np.nanmean(total) == pytest.approx(0, abs=0.5)
    assert SIZE == 256


def _scatterOfEmptyApertures(shift):
    """Standard deviation of PSF fluxes of blank sky over their errors, with a template that lies off by a shift."""
    lattice, rng = stars(), np.random.default_rng(33)
    science, _ = pair(changes=np.zeros((0, 3)), seed=3)
    image = rng.normal(0, NOISE, (SIZE, SIZE))
    for x, y, flux in lattice:
        draw(image, x + shift, y + shift, flux, 1.6)
    wcs = makeTanWcs((SIZE / 2 + shift, SIZE / 2 + shift), np.radians((45.0, 10.0)), makeCdMatrix(0.2 / 3600))
    task = taskOf(doScaleDiffimVariance=False, doDetection=False, doMerge=False, doMeasurement=False,
                  doForcedMeasurement=False, doApCorr=False)  # fmt: skip
    difference = task.run(science, templateExposure=exposureOf(image, 1.6, wcs=wcs)).subtractedExposure
    grid = np.arange(40, SIZE - 40, 7.0)
    x, y = (v.ravel() for v in np.meshgrid(grid, grid))
    empty = np.hypot(x[:, None] - lattice[:, 0], y[:, None] - lattice[:, 1]).min(axis=1) > 9
    found = psfFlux(difference, x[empty], y[empty])
    return np.std(found["base_PsfFlux_instFlux"] / found["base_PsfFlux_instFluxErr"])


def test_resampledTemplatesKeepSignificancesRight():
    # half a pixel off, the noise of the resampled template is correlated: 8 % too many sigmas if that is ignored
    inPlace, resampled = _scatterOfEmptyApertures(0.0), _scatterOfEmptyApertures(0.5)
    assert inPlace == pytest.approx(1, abs=0.08)  # of 549 places
    assert resampled / inPlace == pytest.approx(1, abs=0.03)


def test_constantStarsLeaveNothingWhenTheScienceImageIsConvolved():
    # the fit absorbs the scale; dividing only one of both terms by the kernel sum leaves five percent of every star
    ratio = 1.05
    science, template = pair(changes=np.zeros((0, 3)), sigmas=(1.6, 2.0))
    science.image.array[...] *= ratio
    science.variance.array[...] *= ratio**2
    task = taskOf(convolveTemplate=False, doDetection=False, doMerge=False, doMeasurement=False,
                  doForcedMeasurement=False, doApCorr=False)  # fmt: skip
    result = task.run(science, templateExposure=template)
    assert result.subtractRes.psfMatchingKernel.sumAt(128.0, 128.0) == pytest.approx(1 / ratio, abs=0.005)
    left = [
        result.subtractedExposure.image.array[round(y) - 8 : round(y) + 9, round(x) - 8 : round(x) + 9].sum() / flux
        for x, y, flux in stars()
        if 40 < x < SIZE - 40 and 40 < y < SIZE - 40
    ]
    assert abs(np.mean(left)) < 0.003
