"""ZogyTask, its mapper, and ZogyImagePsfMatchTask."""

import numpy as np
import pytest
from lsst.pex.config import FieldValidationError

from stillsky.diffim.zogy_config import ZogyConfig
from stillsky.diffim.zogy_scale import fitFluxRatio
from stillsky.diffim.zogy_task import ZogyImagePsfMatchTask, ZogyMapper, ZogyTask
from stillsky.errors import NoDataError
from stillsky.image import makeExposure
from stillsky.mapreduce.task import ImageMapReduceConfig, ImageMapReduceTask
from stillsky.photom import PhotoCalib
from stillsky.psf import KernelPsf
from stillsky.psfmatch.image_psf_match import subtractAlgorithmRegistry
from stillsky.wcs import makeCdMatrix, makeTanWcs


def gaussian(sigma, size=31):
    g = np.arange(size) - size // 2
    image = np.exp(-0.5 * (g[:, None] ** 2 + g**2) / sigma**2)
    return image / image.sum()


def wcsAt(x, y):
    return makeTanWcs((x, y), (0.5, 0.2), makeCdMatrix(0.2 / 206265))


def makePair(rng, shape=(200, 220), stars=(), ratio=1.0, offset=(0.0, 0.0), sky=(0.0, 0.0), calib=(1.0, 1.0)):
    pair = []
    for k, (noise, width) in enumerate(((5.0, 2.0), (3.0, 1.5))):
        scale = (ratio, 1.0)[k]
        exposure = makeExposure(
            rng.normal(sky[k], noise * scale, shape).astype(np.float32),
            variance=np.full(shape, (noise * scale) ** 2, np.float32),
            psf=KernelPsf(gaussian(width)),
            wcs=wcsAt(100, 100),
        )
        exposure.photoCalib = PhotoCalib(calib[k])
        for flux, x, y in stars:
            stamp = exposure.psf.computeImage((x + k * offset[0], y + k * offset[1]))
            box = stamp.bbox.clipped(exposure.bbox)
            exposure.image[box].array[...] += (scale * flux * stamp[box].array).astype(np.float32)
        pair.append(exposure)
    return pair


def grid(rng, shape=(200, 220), n=5, flux=2.0e4):
    return [
        (flux * rng.uniform(0.5, 2), 30 + i * (shape[1] - 60) / (n - 1) + rng.uniform(-0.5, 0.5),
         30 + j * (shape[0] - 60) / (n - 1) + rng.uniform(-0.5, 0.5))
        for i in range(n) for j in range(n)
    ]  # fmt: skip


def task(**values):
    config = ZogyConfig()
    config.update(**values)
    return ZogyTask(config=config)


def test_differenceOfCalibratedExposuresIsInNanojansky(rng):
    science, template = makePair(rng, calib=(2.0, 2.0))
    zogy = task()
    result = zogy.run(science, template)
    assert result.diffExp.photoCalib == PhotoCalib(1.0)
    assert result.diffExp.variance.array.mean() == pytest.approx(4 * 34, rel=1e-3)
    assert result.diffExp.image.array.std() == pytest.approx(2 * np.sqrt(34), rel=0.02)
    assert result.scoreExp.image.array.std() == pytest.approx(np.sqrt(result.scoreExp.variance.array.mean()), rel=0.05)
    assert result.diffExp.wcs == science.wcs and result.diffExp.bbox == science.bbox
    assert result.ftDiff.difference is result.diffExp
    assert zogy.metadata["zogyBeta"] == 1.0 and zogy.metadata["growRadius"] >= 1
    zogy.run(science, template, calculateScore=False)  # metadata are replaced
    assert zogy.metadata.getScalar("zogyBeta") == 1.0


def test_withoutScore(rng):
    result = task().run(*makePair(rng), calculateScore=False)
    assert result.scoreExp is None and result.scoreCorr is None


def test_fluxScalingsBelongToTheirOwnImages(rng):
    # the reference applies the template's scaling to the science exposure
    stars = grid(rng, n=3)
    science, template = makePair(rng, stars=stars, ratio=2.0)
    result = task(scaleByCalibration=False, scienceFluxScaling=2.0, templateFluxScaling=1.0).run(science, template)
    chi = result.diffExp.image.array / np.sqrt(result.diffExp.variance.array)
    assert chi.std() == pytest.approx(1, abs=0.03)
    assert result.diffExp.variance.array[20, 20] == pytest.approx(34, rel=1e-3)  # science noise 10 / 2, template 3
    swapped = task(scaleByCalibration=False, scienceFluxScaling=1.0, templateFluxScaling=2.0).run(science, template)
    assert np.std(swapped.diffExp.image.array / np.sqrt(swapped.diffExp.variance.array)) > 3
    plain = ZogyTask().run(*makePair(np.random.default_rng(1)))
    scaled = task(scaleByCalibration=False, scienceFluxScaling=4.0, templateFluxScaling=4.0)
    scaled = scaled.run(*makePair(np.random.default_rng(1)))
    np.testing.assert_allclose(scaled.scoreCorr.array, plain.scoreCorr.array, rtol=1e-4, atol=1e-5)
    ratio = scaled.scoreExp.image.array / scaled.ftDiff.scoreFluxes[0, 0]
    np.testing.assert_allclose(
        4 * ratio, plain.scoreExp.image.array / plain.ftDiff.scoreFluxes[0, 0], rtol=1e-3, atol=0.01
    )


def test_fitFluxRatioFindsScaleOffsetAndSky(rng):
    stars = grid(rng, (320, 340))
    science, template = makePair(rng, (320, 340), stars=stars, ratio=0.8, offset=(0.25, -0.15), sky=(100.0, 40.0))
    x, y = np.array([s[1:] for s in stars]).T
    flux = stars[7][0]
    box = science.psf.computeImage((x[7], y[7])).bbox  # one star is variable
    science.image[box].array[...] += (flux * science.psf.computeImage((x[7], y[7])).array).astype(np.float32)
    found = fitFluxRatio(science.maskedImage, template.maskedImage, science.psf, template.psf, x, y)
    assert found.beta == pytest.approx(0.8, abs=0.004) and abs(found.beta - 0.8) < 5 * found.betaError
    assert found.gamma == pytest.approx(100 - 0.8 * 40, abs=0.3)
    assert found.offset == pytest.approx((0.25, -0.15), abs=0.02) and max(found.scatter) < 0.06
    assert found.nStars in (23, 24) and found.iterations <= 5
    back = fitFluxRatio(template.maskedImage, science.maskedImage, template.psf, science.psf, x, y)
    assert back.beta == pytest.approx(1 / found.beta, rel=2e-3)
    assert back.offset == pytest.approx((-0.25, 0.15), abs=0.02)
    with pytest.raises(NoDataError, match="too few stars"):
        fitFluxRatio(science.maskedImage, template.maskedImage, science.psf, template.psf, x[:2], y[:2])


def test_taskWithAFittedFluxRatio(rng):
    science, template = makePair(rng, (300, 300), grid(rng, (300, 300), 6), ratio=0.7, sky=(50.0, 20.0))
    zogy = task(scaleByCalibration=False, fitFluxRatio=True)
    result = zogy.run(science, template)
    assert zogy.metadata["zogyBeta"] == pytest.approx(0.7, abs=0.004)
    assert zogy.metadata["zogyGamma"] == pytest.approx(50 - 14, abs=0.5)
    assert 0 < zogy.metadata.getArray("astrometricSigma")[0] < 0.05
    chi = result.diffExp.image.array / np.sqrt(result.diffExp.variance.array)
    assert chi.std() == pytest.approx(1, abs=0.05) and abs(np.median(chi)) < 0.05


def test_whatZogyTaskRefuses(rng):
    science, template = makePair(rng, (64, 64))
    with pytest.raises(ValueError, match="dimensions"):
        task().run(science, template[0:60, 0:64])
    bare = makeExposure(template.image.array, psf=template.psf)
    with pytest.raises(ValueError, match="PhotoCalib"):
        task().run(science, bare)
    blind = makePair(rng, (64, 64))[0]
    blind.image.array[...] = np.nan
    with pytest.raises(ValueError, match="clipped mean"):
        task(correctBackground=True).run(blind, template)
    y, x = np.mgrid[-15:16, -15:16]
    template.psf = KernelPsf(np.exp(-0.5 * ((x - 0.5) ** 2 + y**2) / 1.5**2))
    with pytest.raises(ValueError, match="centroids"):
        task().run(science, template)
    task(maxPsfCentroidDist=0.6).run(science, template)
    for name, value in (("scienceFluxScaling", 0.0), ("gridInnerSize", 0.5), ("maxPsfCentroidDist", -1.0)):
        with pytest.raises(FieldValidationError):
            task(**{name: value})


def test_nanInOneImage(rng):
    science, template = makePair(rng)
    template.image.array[70:73, 80] = np.nan
    result = task().run(science, template)
    hole = np.s_[70:73, 80]
    assert (result.scoreExp.image.array[hole] == 0).all() and (result.scoreExp.variance.array[hole] == 1).all()
    assert result.diffExp.mask.isSet("NO_DATA")[hole].all() and result.scoreExp.mask.isSet("NO_DATA")[hole].all()
    assert not np.isfinite(result.diffExp.image.array[hole]).any()


def test_correctBackground(rng):
    science, template = makePair(rng, sky=(300.0, 100.0))
    result = task(correctBackground=True, doSpatialGrid=False).run(science, template)
    assert abs(result.diffExp.image.array.mean()) < 0.3
    assert np.median(science.image.array) == pytest.approx(300, abs=1)


def test_mapperGivesTheDifferenceOfTheWhole(rng):
    science, template = makePair(rng, (240, 260), grid(rng, (240, 260), 4))
    config = ImageMapReduceConfig()
    config.mapper.retarget(ZogyMapper)
    config.scaleByFwhm = False
    config.gridStepX = config.gridStepY = config.cellSizeX = config.cellSizeY = 90
    config.borderSizeX = config.borderSizeY = 40
    config.reducer.reduceOperation = "average"
    found = ImageMapReduceTask(config=config).run(science, template=template).exposure
    whole = task().run(science, template).diffExp
    inside = ~whole.mask.isSet("EDGE") & ~found.mask.isSet("EDGE")
    assert inside.mean() > 0.7
    assert abs(found.image.array - whole.image.array)[inside].max() < 0.02 * np.sqrt(34)


def test_imagePsfMatchTaskWarpsOrRefuses(rng):
    stars = grid(rng, n=4)
    science, template = makePair(rng, stars=stars)
    matcher = ZogyImagePsfMatchTask()
    result = matcher.run(science, template)
    assert result.warpedExposure is template and result.subtractedExposure is result.diffExp
    assert result.scoreExp.bbox == science.bbox
    shifted = template[5:215, 10:200]
    shifted.wcs = template.wcs
    warped = matcher.run(science, shifted)
    assert warped.warpedExposure.bbox == science.bbox
    good = ~warped.diffExp.mask.isSet(["NO_DATA", "EDGE"])
    assert 0.5 < good.mean() < 0.95
    chi = (warped.diffExp.image.array / np.sqrt(warped.diffExp.variance.array))[good]
    assert 1.4826 * np.median(abs(chi)) == pytest.approx(1, abs=0.1)
    with pytest.raises(RuntimeError, match="registered"):
        matcher.run(science, shifted, doWarping=False)
    for name in ("subtractExposures", "subtractMaskedImages"):
        with pytest.raises(NotImplementedError, match="run"):
            getattr(matcher, name)(template, science)
    assert subtractAlgorithmRegistry["zogy"] is ZogyImagePsfMatchTask
