"""Coadds without artifacts as one function, and the truths of stacks on real images."""

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

import stillsky
from stillsky import errors
from stillsky.coadd import assembleCoadd
from stillsky.coadd.compare_warp_coadd import compareWarpCoadd, pairWarps
from stillsky.coadd.compare_warp_config import COMPARE_WARP_VALUES_2019, CompareWarpAlgorithmConfig
from stillsky.coadd.config import AssembleCoaddAlgorithmConfig
from stillsky.coadd.warps import InMemoryWarp
from stillsky.fits import writeExposure
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf

SHAPE, ORIGIN = (120, 150), (-40, -60)
SIGMAS = np.array([1.0, 1.2, 1.5, 0.9, 1.1, 1.3, 1.0])


def config(cls=CompareWarpAlgorithmConfig, **values):
    out = cls()
    out.requireUnit = False
    if cls is CompareWarpAlgorithmConfig:
        out.assembleStaticSkyModel.requireUnit = False
    for name, value in values.items():
        setattr(out, name, value)
    return out


@pytest.fixture(scope="module")
def visits():
    """(direct, PSF-matched) warps of seven visits of one sky; visits 1 and 4 have artifacts, 2 a dead column."""
    rng = np.random.default_rng(5)
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float32)
    stars = [(rng.uniform(0, SHAPE[1]), rng.uniform(0, SHAPE[0]), 300 * (1 + rng.pareto(1.5))) for _ in range(15)]

    def sky(sigma):
        r2 = [((xx - x) ** 2 + (yy - y) ** 2, f) for x, y, f in stars]
        return sum(f / (2 * np.pi * sigma**2) * np.exp(-r / (2 * sigma**2)) for r, f in r2)

    direct, matched = [], []
    for i, noise in enumerate(SIGMAS):
        dirt = np.zeros(SHAPE, np.float32)
        if i == 1:
            dirt += 80 * np.exp(-((0.6 * (xx - 75) - 0.8 * (yy - 60)) ** 2) / 8)
        if i == 4:
            dirt[100:106, 20:27] = 200
        for out, sigma, scale in ((direct, 1.5, 1.0), (matched, 2.2, 0.7)):
            image = sky(sigma) + dirt + rng.normal(0, noise * scale, SHAPE)
            e = makeExposure(image, variance=float((noise * scale) ** 2), psf=GaussianPsf(21, 21, sigma), xy0=ORIGIN)
            if i == 2:
                e.mask.array[:, 33] |= e.mask.bitmask("BAD")
            if sigma > 2:
                e.mask.array[:4] |= e.mask.bitmask("EDGE")
            out.append(InMemoryWarp(e, {"visit": 100 + i}))
    return direct, matched


@pytest.fixture(scope="module")
def made(visits):
    return compareWarpCoadd(*visits, config=config(), process=False)


def truth(visits):
    """Inverse-variance mean over the visits without their artifacts."""
    keep = np.ones((7, *SHAPE), bool)
    yy, xx = np.mgrid[: SHAPE[0], : SHAPE[1]]
    keep[1] = np.abs(0.6 * (xx - 75) - 0.8 * (yy - 60)) > 9
    keep[4, 95:111, 15:32] = False
    keep[2, :, 33] = False
    images = np.array([w.shell.image.array for w in visits[0]], float)
    w = keep / SIGMAS[:, None, None] ** 2
    return (w * images).sum(axis=0) / w.sum(axis=0), keep


def test_artifactsAreLeftOutOfTheMean(visits, made):
    expected, keep = truth(visits)
    whole = keep.all(axis=0) & ~ndimage.binary_dilation(~keep.all(axis=0), iterations=3)
    np.testing.assert_allclose(made.coadd.image.array[whole], expected[whole], atol=2e-5)
    np.testing.assert_allclose(made.coadd.variance.array[whole], 1 / (1 / SIGMAS**2).sum(), rtol=1e-5)
    # Where artifacts were, six visits make the mean: nothing of them is left above the noise.
    inside = np.zeros(SHAPE, bool)
    inside[100:106, 20:27] = True
    others = np.array([w.shell.image.array for w in visits[0]], float)[[0, 1, 2, 3, 5, 6]]
    mean = np.average(others, axis=0, weights=1 / SIGMAS[[0, 1, 2, 3, 5, 6]] ** 2)
    np.testing.assert_allclose(made.coadd.image.array[inside], mean[inside], atol=2e-5)
    assert (made.coadd.mask.isSet("CLIPPED") & made.coadd.mask.isSet("INEXACT_PSF"))[inside].all()
    assert made.nImage.array[inside].max() == made.nKept.array[inside].max() == 6
    assert [v.masked > 0 for v in made.artifacts.visits] == [False, True, False, False, True, False, False]


def test_masksSayWhatWasLeftOut(made):
    mask = made.coadd.mask
    assert mask.isSet("SENSOR_EDGE")[:4].all() and not mask.isSet("SENSOR_EDGE")[4:].any()
    assert mask.isSet("REJECTED")[:, 33].all() and not mask.isSet("REJECTED")[:, 34:].any()
    assert not mask.isSet("NO_DATA").any()
    assert len(made.inputs) == 7 and made.skipped == []


def test_A5_theSpansOnTheMasksOfTheWarpsGiveTheSamePlainMean(visits, made):
    direct, _ = visits
    warps = []
    for warp, spans in zip(direct, made.altMaskList, strict=True):
        exposure = warp.get()
        for plane, several in spans.items():
            exposure.mask.addPlane(plane)
            for s in several:
                s.setMask(exposure.mask, plane)
        warps.append(InMemoryWarp(exposure, warp.dataId))
    for online in (False, True):
        cfg = config(AssembleCoaddAlgorithmConfig, statistic="MEAN", doOnlineForMean=online)
        cfg.badMaskPlanes = ["NO_DATA", "BAD", "SAT", "CLIPPED", "REJECTED"]
        plain = assembleCoadd(warps, config=cfg, weights=made.weights, process=False).coadd
        np.testing.assert_allclose(plain.image.array, made.coadd.image.array, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(plain.variance.array, made.coadd.variance.array, rtol=1e-6)


def test_A9_aVisitWithoutPsfMatchedWarpTakesNoPart(visits):
    direct, matched = visits
    made = compareWarpCoadd(direct, matched[:3] + matched[4:], config=config(), process=False)
    assert made.artifacts.notes == {3: "no PSF-matched warp"}
    assert made.nImage.array.max() == 6
    without = [k for k in range(7) if k != 3]
    alone = compareWarpCoadd(
        [direct[k] for k in without], [matched[k] for k in without], config=config(), process=False
    )
    np.testing.assert_allclose(made.coadd.image.array, alone.coadd.image.array, rtol=1e-6)
    assert not made.coadd.mask.isSet("NO_DATA").any()
    with pytest.raises(errors.NoDataError, match="PSF-matched"):
        compareWarpCoadd(direct, [None] * 7, config=config())


def test_resultDoesNotDependOnMemoryNorBlocks(visits, made):
    small = config(memory=1 << 18)
    small.subregionSize = [37, 41]
    small.assembleStaticSkyModel.memory = 1 << 18
    again = compareWarpCoadd(*visits, config=small, process=False)
    assert again.metadata["nBands"] > 1
    assert again.coadd.maskedImage.mask == made.coadd.maskedImage.mask
    np.testing.assert_array_equal(again.coadd.image.array, made.coadd.image.array)
    np.testing.assert_array_equal(again.coadd.variance.array, made.coadd.variance.array)


def test_valuesOf2019(visits, made):
    cfg = config()
    for name, value in COMPARE_WARP_VALUES_2019.items():
        *path, last = name.split(".")
        target = cfg
        for part in path:
            target = getattr(target, part)
        setattr(target, last, value)
    cfg.validate()
    old = compareWarpCoadd(*visits, config=cfg, process=False)
    assert [v.masked > 0 for v in old.artifacts.visits] == [v.masked > 0 for v in made.artifacts.visits]
    # A sigma of growth more: more pixels go.
    assert sum(v.maskedPixels for v in old.artifacts.visits) > sum(v.maskedPixels for v in made.artifacts.visits)


def test_aTemplateMayBeGiven(visits, made):
    again = compareWarpCoadd(*visits, config=config(), process=False, template=made.template)
    assert again.template is made.template
    assert [v.masked for v in again.artifacts.visits] == [v.masked for v in made.artifacts.visits]


def test_filesServeAsWellAndABrokenOneIsLeftOut(visits, made, tmp_path):
    direct, matched = visits
    paths = []
    for kind, warps in (("direct", direct), ("matched", matched)):
        paths.append([tmp_path / f"{kind}-{k}.fits" for k in range(7)])
        for path, warp in zip(paths[-1], warps, strict=True):
            writeExposure(warp.shell, path)
    same = compareWarpCoadd(*paths, config=config(), process=False)
    np.testing.assert_array_equal(same.coadd.image.array, made.coadd.image.array)
    assert same.coadd.maskedImage.mask == made.coadd.maskedImage.mask
    paths[1][5].write_bytes(paths[1][5].read_bytes()[:20000])
    paths[0][6].write_bytes(b"no FITS")
    left = compareWarpCoadd(*paths, config=config(), process=False)
    assert len(left.skipped) == 1 and "direct-6" in left.skipped[0].name
    assert len(left.inputs) == 6 and 5 in left.artifacts.notes
    assert left.nImage.array.max() == 5
    with pytest.raises((errors.StillskyError, OSError)):
        compareWarpCoadd(*paths, config=config(strict=True), process=False)


def test_defaultsAndValidation():
    cfg = CompareWarpAlgorithmConfig()
    cfg.validate()
    assert cfg.statistic == "MEAN" and list(cfg.badMaskPlanes) == ["NO_DATA", "BAD", "SAT"]
    assert list(cfg.removeMaskPlanes) == ["NOT_DEBLENDED", "EDGE"] and cfg.doUsePsfMatchedPolygons
    static = cfg.assembleStaticSkyModel
    assert (static.statistic, static.sigmaClip, static.clipIter) == ("MEANCLIP", 2.5, 3)
    assert list(static.badMaskPlanes) == ["NO_DATA"] and static.warpType == "psfMatched"
    assert static.calcErrorFromInputVariance and not static.doWrite
    static.doNImage = True
    with pytest.raises(ValueError, match="doNImage"):
        cfg.validate()
    static.doNImage, static.doWrite = False, True
    cfg.validate()
    cfg.warpType = "psfMatched"
    with pytest.raises(ValueError, match="one dataset"):
        cfg.validate()


def test_pairs():
    exposures = [makeExposure(np.zeros((3, 3)), variance=1.0) for _ in range(6)]
    named = [InMemoryWarp(e, {"visit": k}) for k, e in enumerate(exposures[:3])]
    others = [InMemoryWarp(e, {"visit": k}) for k, e in zip((2, 0, 9), exposures[3:], strict=True)]
    assert pairWarps(named, others)[1] == [others[1], None, others[0]]
    bare = pairWarps(exposures[:3], [*exposures[3:5], None])[1]
    assert [w and w.shell for w in bare] == [exposures[3], exposures[4], None]
    with pytest.raises(errors.DomainError, match="data ids"):
        pairWarps(exposures[:3], exposures[3:5])


# -- truths of stacks on real images


@pytest.fixture(scope="module")
def decam(sharedDir):
    """Ten epochs of one field, pixels that are blank sky in their mean, and the noise of each epoch there."""
    images = [fits.getdata(p).astype(np.float32) for p in sorted((sharedDir / "data" / "decam_minis").glob("*.fits"))]
    assert len(images) == 10
    smooth = ndimage.gaussian_filter(np.mean(images, axis=0), 2)
    found = smooth > np.median(smooth) + 3 * 1.4826 * np.median(np.abs(smooth - np.median(smooth)))
    blank = ~ndimage.binary_dilation(found, iterations=8)
    assert blank.mean() > 0.5
    return images, blank, np.array([width(image[blank]) for image in images])


def width(values):
    return 1.4826 * np.median(np.abs(values - np.median(values)))


def decamWarps(images, sigmas):
    return [
        makeExposure(image, variance=float(s**2), psf=GaussianPsf(21, 21, 2.0))
        for image, s in zip(images, sigmas, strict=True)
    ]


@pytest.mark.shared
@pytest.mark.parametrize("method", [None, "mean", "compare"])
def test_depthOfDecamBlankSkyByDefault(decam, method):
    """Stacks as a user makes them: noise of blank sky within 5 % of that of the inverse-variance mean, clipping or not.

    Pixels stay what they are: resampling, which correlates noise, would make that of single pixels less.
    """
    images, blank, sigmas = decam
    cfg = stillsky.CoaddJobConfig()
    cfg.register = "never"
    assert cfg.widenClip and cfg.assemble.sigmaClip == 4
    made = stillsky.coadd(decamWarps(images, sigmas), method=method, scale="none", config=cfg)
    assert made.metadata["inputsUsed"] == 10
    ideal = 1 / np.sqrt((1 / sigmas**2).sum())
    assert width(made.coadd.image.array[blank]) == pytest.approx(ideal, rel=0.05)
    assert np.sqrt(np.median(made.coadd.variance.array[blank])) == pytest.approx(ideal, rel=0.05)


@pytest.mark.shared
@pytest.mark.parametrize("method", ["MEAN", "MEANCLIP", "compare"])
def test_depthOfDecamBlankSky(decam, method):
    """Noise of blank sky in a stack of ten epochs: within 5 % of what the epochs' own noise makes expect.

    That is the noise of the inverse-variance mean. The reference's clipping at three sigma of the quartiles of ten samples
    loses good ones even of Gaussian noise, which no code can help: MEANCLIP as the reference has it is compared with itself
    on Gaussian noise of the epochs' widths (1.04 times the mean's). What users get by default is held to the mean's above.
    """
    images, blank, sigmas = decam
    warps = decamWarps(images, sigmas)
    expected = ideal = 1 / np.sqrt((1 / sigmas**2).sum())
    if method == "compare":
        coadd = compareWarpCoadd(warps, warps, config=config(), process=False).coadd
    else:
        cfg = config(AssembleCoaddAlgorithmConfig, statistic=method)
        coadd = assembleCoadd(warps, config=cfg, process=False).coadd
        if method == "MEANCLIP":
            rng = np.random.default_rng(3)
            pure = [makeExposure(rng.normal(0, s, (256, 256)), variance=float(s**2)) for s in sigmas]
            expected = width(assembleCoadd(pure, config=cfg, process=False).coadd.image.array)
            assert expected < 1.06 * ideal
    assert width(coadd.image.array[blank]) == pytest.approx(expected, rel=0.05)
    assert np.sqrt(np.median(coadd.variance.array[blank])) == pytest.approx(ideal, rel=0.05)


@pytest.mark.shared
@pytest.mark.parametrize("statistic", ["MEAN", "MEDIAN"])
def test_fiveFramesOfM13EqualNumpy(sharedDir, statistic):
    frames = [fits.getdata(p) for p in sorted((sharedDir / "data" / "m13").glob("*.fits"))]
    assert len(frames) == 5
    if statistic == "MEDIAN":
        frames = [frame[300:700] for frame in frames]  # NumPy takes its time
    warps = [makeExposure(frame, variance=1.0) for frame in frames]
    cfg = config(AssembleCoaddAlgorithmConfig, statistic=statistic)
    coadd = assembleCoadd(warps, config=cfg, weights=[1.0] * 5, process=False).coadd
    expected = {"MEAN": np.mean, "MEDIAN": np.median}[statistic](np.array(frames, float), axis=0)
    np.testing.assert_allclose(coadd.image.array, expected, rtol=1e-6)
    if statistic == "MEAN":
        np.testing.assert_allclose(coadd.variance.array, 0.2, rtol=1e-6)
