"""The whole subtraction on simulated pairs with known truth."""

import inspect

import numpy as np
import pytest

from stillsky.diffim import SubtractConfig, matchPsfs, subtract
from stillsky.errors import DomainError, MismatchError, NoDataError
from stillsky.fits import readExposure
from stillsky.image import Exposure, Image, Mask, MaskedImage, makeExposure
from stillsky.psf import GaussianPsf
from stillsky.sim import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(size=512, seed=5, starDensity=900.0, fluxScale=0.8)


@pytest.fixture(scope="module")
def result(pair):
    return subtract(pair.science.toExposure(psf=False), pair.template.toExposure(psf=False))


def test_skyNoiseIsWhatTheVarianceSays(result):
    assert result.metadata["skyChi"] == pytest.approx(1.0, abs=0.02)
    assert abs(result.metadata["skyChiMedian"]) < 0.02
    assert result.metadata["noiseOverPsf"] == pytest.approx(1.0, abs=0.1)  # of squares of 8 pixels


def test_transientsStandOutWithTheirSign(pair, result):
    """Positive in the difference means brighter in the science image."""
    psf = result.difference.psf.computeKernelImage(result.difference.bbox.center).array
    half = psf.shape[0] // 2
    checked = 0
    for x, y, flux, snr, masked in zip(*(pair.transients[k] for k in ("x", "y", "flux", "snr", "masked"))):
        ix, iy = int(round(x)), int(round(y))
        if masked or snr < 10 or not (half <= ix < 512 - half and half <= iy < 512 - half):
            continue
        stamp = result.difference.image.array[iy - half : iy + half + 1, ix - half : ix + half + 1]
        noise = result.difference.variance.array[iy - half : iy + half + 1, ix - half : ix + half + 1]
        if not np.isfinite(stamp).all():
            continue
        significance = np.sum(stamp * psf) / np.sqrt(np.sum(noise * psf**2))
        assert np.sign(significance) == np.sign(flux) and abs(significance) > 5
        checked += 1
    assert checked >= 2


def test_scienceThatIsTheTemplatePlusNoiseGivesTheIdentity():
    """Rivals check 8: kernel sum 1 within 3 errors and D = S - T within 2 sqrt(terms / pixels) sigma (design.md 7).

    The noise of the template is in the science image too, so that plain least squares are unbiased here; the
    correction for the template's own noise supposes independent noise and is off.
    """
    template = simulatePair(size=768, seed=8, starDensity=900.0).science.toExposure(psf=False)
    template.mask.array[:] = 0
    science = template.copy()
    variance = template.variance.array
    noise = np.random.default_rng(8).normal(size=variance.shape) * np.sqrt(variance)
    science.image.array[:] += noise
    science.variance.array[:] = 2 * variance
    config = SubtractConfig()
    config.convolve = "template"
    config.psfmatch.correctTemplateNoise = False
    result = subtract(science, template, config=config)

    metadata, kernel = result.metadata, result.kernel
    assert abs(metadata["spatialKernelSum"] - 1) < 3 * metadata["spatialKernelSumError"]
    deviation = (result.difference.image.array - noise) / np.sqrt(variance)
    terms = kernel.nBasisKernels * kernel.nSpatialParameters
    pixels = metadata["nGoodCandidates"] * kernel.width * kernel.height
    assert np.nanstd(deviation) < 2 * np.sqrt(terms / pixels)


def test_bothDirectionsAgreeOnFluxes(pair):
    """Science-convolved differences are divided by the kernel sum: both directions are in science units."""
    fluxes = {}
    for direction in ("template", "science"):
        config = SubtractConfig()
        config.convolve = direction
        out = subtract(pair.science.toExposure(), pair.template.toExposure(), config=config)
        assert out.convolved == direction
        k = int(np.argmax(np.where(pair.transients["masked"], 0, pair.transients["snr"])))
        ix, iy = int(round(pair.transients["x"][k])), int(round(pair.transients["y"][k]))
        fluxes[direction] = float(np.nansum(out.difference.image.array[iy - 9 : iy + 10, ix - 9 : ix + 10]))
        fluxes["error"] = 19 * float(np.sqrt(np.median(out.difference.variance.array)))
        assert set(out.metadata["expectedDepth"]) == {"template", "science"}
    assert fluxes["template"] == pytest.approx(fluxes["science"], abs=4 * fluxes["error"])
    assert fluxes["template"] == pytest.approx(pair.transients["flux"][k], abs=5 * fluxes["error"])


def test_inputsAreNotModified(pair):
    science, template = pair.science.toExposure(), pair.template.toExposure()
    before = [
        (e.image.array.copy(), e.mask.array.copy(), e.variance.array.copy(), e.mask.schema) for e in (science, template)
    ]
    subtract(science, template)
    for exposure, (image, mask, variance, schema) in zip((science, template), before):
        np.testing.assert_array_equal(exposure.image.array, image)
        np.testing.assert_array_equal(exposure.mask.array, mask)
        np.testing.assert_array_equal(exposure.variance.array, variance)
        assert exposure.mask.schema == schema


def test_maskPlanesAreMatchedByName(pair):
    """A template whose planes have other bit numbers gives the same mask, by name."""
    science, template = pair.science.toExposure(), pair.template.toExposure()
    renamed = {"SAT": 0, "BAD": 3, "CR": 1, "NO_DATA": 2, "EDGE": 7}
    bits = np.zeros_like(template.mask.array)
    for name, bit in renamed.items():
        bits[template.mask.isSet(name)] |= 1 << bit
    other = Exposure(MaskedImage(template.image, Mask(bits, schema=renamed), template.variance), template.info)
    a, b = subtract(science, template).difference.mask, subtract(science, other).difference.mask
    for name in renamed:
        np.testing.assert_array_equal(a.isSet(name), b.isSet(name))


def test_everyCandidateIsReportedWithItsLeaveOneOutResidual(result):
    used = [c for c in result.candidates if c["usedInFit"]]
    assert len(used) == result.metadata["nGoodCandidates"]
    residuals = np.array([c["looRms"] for c in used])
    assert np.median(residuals) == pytest.approx(1.0, abs=0.05)
    assert result.metadata["looRmsMedian"] == pytest.approx(np.nanmedian(residuals))
    assert result.metadata["looRms90"] == pytest.approx(np.nanquantile(residuals, 0.9))
    table = result.candidates[result.candidates["usedInFit"]]
    assert set(table["status"]) == {"GOOD"} and table["x"].unit == "pix"
    assert all(table[name].description for name in table.colnames)
    np.testing.assert_array_equal(table["looRms"], residuals)


def test_givenStarsCarryTheFit(pair):
    science, template = pair.science.toExposure(), pair.template.toExposure()
    automatic = subtract(science, template)
    positions = [(c["x"], c["y"]) for c in automatic.candidates if c["usedInFit"]]
    out = subtract(science, template, stars=tuple(np.array(positions).T))
    assert out.metadata["spatialKernelSum"] == pytest.approx(automatic.metadata["spatialKernelSum"], rel=0.01)
    assert any("given" in sentence for sentence in out.decisions)


def test_theDeltaFunctionBasisServesToo(pair):
    config = SubtractConfig()
    config.psfmatch.kernelBasisSet = "delta-function"
    config.psfmatch.usePcaForSpatialKernel = True
    config.psfmatch.kernelSize = 15
    config.psfmatch.spatialKernelOrder = 1
    config.psfmatch.lambdaType = "relative"
    out = subtract(pair.science.toExposure(), pair.template.toExposure(), config=config)
    assert out.metadata["skyChi"] == pytest.approx(1.0, abs=0.03)


def test_stampsOfAnySizeThatHoldsTheKernel(pair):
    """Larger stamps keep stars further from the border; too small for the kernel: refused by name."""
    fields = [pair.science.toExposure(), pair.template.toExposure()]
    config = SubtractConfig()
    edges = []
    for half in (0, 60):
        config.psfmatch.stampHalfSize = half
        out = subtract(*fields, config=config)
        size = out.metadata["ALKernelSize"]
        edges.append(min(np.min(out.candidates["x"]), np.min(out.candidates["y"])))
        assert edges[-1] >= (half or size) - 1
        assert out.metadata["skyChi"] == pytest.approx(1.0, abs=0.05)
    assert edges[1] > edges[0] + 20
    config.psfmatch.stampHalfSize = 10
    with pytest.raises(DomainError, match="stampHalfSize"):
        subtract(*fields, config=config)


def test_everyFieldOfTheConfigurationIsRead():
    """What nothing reads is not offered: tasks' own fields are no keys of a subtraction."""
    import pathlib

    import stillsky

    root = pathlib.Path(stillsky.__file__).parent
    rooms = ("background", "detection", "diffim", "measure", "psfmatch", "warp")
    text = "".join(p.read_text() for room in rooms for p in (root / room).glob("*.py") if p.name != "config.py")
    from stillsky.detection.config import detectionKeywords

    text += inspect.getsource(detectionKeywords).replace('"', ".")  # names of attributes
    from stillsky.psfmatch import PsfMatchSettings

    compiled = set(dir(PsfMatchSettings))

    def leaves(config):
        for name in config._fields:
            value = getattr(config, name)
            yield from leaves(value) if hasattr(value, "_fields") else [name]

    unread = [name for name in leaves(SubtractConfig()) if name not in compiled and f".{name}" not in text]
    assert unread == ["maxChi2DoF"]  # of the dipole fit: Rubin's name, which nothing reads there either


def test_progressIsCalledLikeTqdm(pair):
    calls = []

    def progress(iterable, desc=None, total=None):
        calls.append((desc, total))
        yield from iterable

    subtract(pair.science.toExposure(), pair.template.toExposure(), progress=progress)
    assert calls == [("subtract", 9)]


@pytest.mark.parametrize("shift", [(7.4, -3.2)])
def test_imagesWithoutWcsAreMovedOntoEachOther(pair, shift):
    from scipy.ndimage import shift as move

    science, template = pair.science.toExposure(), pair.template.toExposure()
    moved = Exposure(
        MaskedImage(
            Image(move(template.image.array, (-shift[1], -shift[0]), order=3).astype(np.float32)),
            Mask(np.zeros((512, 512), np.int32)),
            Image(template.variance.array.copy()),
        )
    )
    science.wcs = None
    out = subtract(science, moved)
    assert [code for code, _ in out.warnings] == ["W-SHIFT"]
    assert out.metadata["skyChi"] < 1.1


def test_differentUnitsAreRefused(pair):
    science, template = pair.science.toExposure(), pair.template.toExposure()
    science.metadata["BUNIT"], template.metadata["BUNIT"] = "nJy", "adu"
    with pytest.raises(MismatchError, match="units"):
        subtract(science, template)


@pytest.mark.parametrize("what", ["nan", "masked", "novariance"])
def test_nothingUsableIsAnError(pair, what):
    science, template = (side.toExposure().copy() for side in (pair.science, pair.template))
    if what == "nan":
        template.image.array[...] = np.nan
    elif what == "masked":
        science.mask.array[...] |= science.mask.bitmask("NO_DATA")
    else:
        science.variance.array[...] = template.variance.array[...] = 0
    with pytest.raises(NoDataError) as caught:
        subtract(science, template)
    assert caught.value.found and caught.value.remedy


def test_aKernelLargerThanTheImageIsRefused():
    small = simulatePair(size=64, seed=2, starDensity=9000.0)
    config = SubtractConfig()
    config.psfmatch.kernelSizeMin = config.psfmatch.kernelSizeMax = 71
    with pytest.raises((MismatchError, NoDataError)):
        subtract(small.science.toExposure(), small.template.toExposure(), config=config)


def test_writtenProductsReadBack(result, tmp_path):
    from stillsky.fits import readExposure, readKernel

    names = result.write(str(tmp_path / "run"))
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"run.{s}"
        for s in ("diff.fits", "matched.fits", "kernel.fits", "json", "png", "html", "sources.ecsv", "sources.reg")
    )
    assert len(names) == 8
    back, _ = readExposure(tmp_path / "run.diff.fits")
    np.testing.assert_array_equal(back.image.array, result.difference.image.array)
    np.testing.assert_array_equal(back.mask.array, result.difference.mask.array)
    assert back.metadata["DIFFSIGN"] == "SCI-TMPL" and back.metadata["CONVOLVD"] == result.convolved
    kernel = readKernel(tmp_path / "run.kernel.fits").kernel
    np.testing.assert_allclose(kernel.imageAt(100, 300), result.kernel.imageAt(100, 300), atol=1e-12)
    with pytest.raises(FileExistsError):
        result.write(str(tmp_path / "run"))


def test_outputIsWrittenCompletelyOrNotAtAll(result, tmp_path, monkeypatch):
    """A failure at the last file, a missing folder, a file in the way: nothing is left behind."""
    import stillsky.report

    def fullDisk(figure, path):
        raise OSError(28, "No space left on device", path)

    with monkeypatch.context() as patch:
        patch.setattr(stillsky.report, "savePng", fullDisk)
        with pytest.raises(OSError, match="No space"):
            result.write(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(FileNotFoundError, match="folder"):
        result.write(tmp_path / "absent" / "run")
    (tmp_path / "run.json").write_text("mine")
    with pytest.raises(FileExistsError, match="run.json"):
        result.write(tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]
    result.write(tmp_path / "run", overwrite=True)
    assert len(list(tmp_path.iterdir())) == 8


def test_resultShowsItself(result):
    assert len(repr(result)) < 200 and "sky chi" in repr(result)
    assert str(result).count("\n") == len(result.decisions) + len(result.warnings)
    html = result._repr_html_()
    assert html.count("<img") == 3 and "difference" in html and "<script" not in html


def test_everyHolderOfAnImageServes(tmp_path):
    """Files, arrays, masked images and CCDData give the difference of the exposures themselves."""
    from stillsky.fits import writeExposure
    from stillsky.image import toCCDData

    small = simulatePair(size=256, seed=4, starDensity=2500.0)
    science, template = small.science.toExposure(psf=False), small.template.toExposure(psf=False)
    wanted = subtract(science, template).difference.image.array
    for name, exposure in (("science", science), ("template", template)):
        writeExposure(exposure, tmp_path / f"{name}.fits")
    from_files = subtract(tmp_path / "science.fits", str(tmp_path / "template.fits"))
    np.testing.assert_array_equal(from_files.difference.image.array, wanted)
    assert from_files.difference.wcs is not None
    ccds = [toCCDData(e) for e in (science, template)]
    np.testing.assert_allclose(subtract(*ccds).difference.image.array, wanted, atol=1e-3)
    subtract(science.maskedImage, template)
    ccds[1].uncertainty = None  # the sky tells its noise
    for other in (template.image.array, ccds[1]):
        out = subtract(science.image.array, other)
        assert out.metadata["skyChi"] == pytest.approx(1.0, abs=0.1)


def test_whatHoldsNoImageIsRefused(pair):
    science = pair.science.toExposure()
    for bad in (None, 3, [science], np.zeros(5), np.zeros((2, 3, 4))):
        with pytest.raises(TypeError, match="template: wanted an Exposure"):
            subtract(science, bad)
    with pytest.raises(FileNotFoundError, match="no such file"):
        subtract(science, "missing.fits")
    with pytest.raises(TypeError, match="config: wanted a SubtractConfig"):
        subtract(science, science, config={"convolve": "science"})
    with pytest.raises(DomainError, match="method"):
        subtract(science, science, method="magic")


@pytest.mark.parametrize("direction", ["template", "science"])
def test_theKernelAloneIsThatOfTheSubtraction(pair, monkeypatch, direction):
    """matchPsfs convolves nothing, and finds exactly what subtract finds."""
    config = SubtractConfig()
    config.convolve = direction
    exposures = [side.toExposure(psf=False) for side in (pair.science, pair.template)]
    whole = subtract(*exposures, config=config)
    with monkeypatch.context() as patch:
        patch.setattr("stillsky.diffim.algorithm.convolve", lambda *args: pytest.fail("an image is convolved"))
        alone = matchPsfs(*exposures, config=config)
    assert alone.convolved == whole.convolved == direction
    np.testing.assert_array_equal(alone.kernel.imageAt(200.0, 300.0), whole.kernel.imageAt(200.0, 300.0))
    assert alone.candidates["usedInFit"].any() and len(alone.candidates) == len(whole.candidates)
    for key in ("spatialKernelSum", "spatialConditionNum", "nGoodCandidates", "sciencePsfSize"):
        assert alone.metadata[key] == whole.metadata[key]
    assert "skyChi" not in alone.metadata and set(alone.timings) == {"align", "stars", "direction", "fit"}
    assert alone.sciencePsf.fwhm((256.0, 256.0)) == pytest.approx(alone.metadata["sciencePsfSize"], rel=0.02)
    assert alone.summary() in str(alone) and alone.decisions[0] in str(alone) and "MatchResult" in repr(alone)


def test_theWarpedTemplateIsKeptWhenAskedFor(pair, result, tmp_path):
    """Before the matching: science grid, the template's own PSF and pixels."""
    science, template = (side.toExposure(psf=False) for side in (pair.science, pair.template))
    kept = subtract(science, template, keepWarped=True)
    assert result.warpedTemplate is None and kept.convolved == "template"
    warped = kept.warpedTemplate
    assert warped.bbox == science.bbox and warped.psf is not None
    np.testing.assert_array_equal(warped.image.array, template.image.array)  # one grid: nothing is resampled
    assert warped.psf.fwhm((256.0, 256.0)) == pytest.approx(kept.metadata["templatePsfSize"], rel=0.02)
    names = kept.write(str(tmp_path / "k"), picture=False)
    back = readExposure(tmp_path / "k.warped.fits")[0]
    assert str(tmp_path / "k.warped.fits") in names
    np.testing.assert_array_equal(back.image.array, warped.image.array)


def test_noCandidateLeftSaysWhy(pair):
    config = SubtractConfig()
    config.psfmatch.candidateResidualStdMax = 0.0
    with pytest.raises(NoDataError, match="rejected because of residualStd") as caught:
        subtract(pair.science.toExposure(), pair.template.toExposure(), config=config)
    assert "were rejected" in caught.value.found and "--stars" in caught.value.remedy


def test_faintStarsDoNotBiasTheKernelSum():
    """25 stars of S/N 60 to 120 in both images, equal PSFs: the widest Gaussian, which they cannot tell from the
    background, would make the sum 5 % too low; the fit leaves it out. Mean of eight draws against its formal error."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:256, :256]
    stars = np.zeros((256, 256))
    for cx, cy in rng.uniform(30, 226, (25, 2)):
        profile = np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * 2.4**2))
        stars += rng.uniform(500, 1000) / (2 * np.pi * 2.4**2) * profile
    config = SubtractConfig()
    config.doDetection, config.convolve = False, "template"
    sums, errors = [], []
    for _ in range(8):
        pair = (stars + rng.normal(0, 1, stars.shape) for _ in range(2))
        images = (makeExposure(p.astype(np.float32), variance=1.0, psf=GaussianPsf(31, 31, 2.4)) for p in pair)
        result = subtract(*images, config=config)
        assert any("widest Gaussian" in sentence for sentence in result.decisions)
        sums.append(result.metadata["spatialKernelSum"])
        errors.append(result.metadata["spatialKernelSumError"])
    assert abs(np.mean(sums) - 1) < 3 * np.mean(errors) / np.sqrt(8)
