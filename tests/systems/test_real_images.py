"""Real exposures through the command line, with the options a user gives who knows nothing: none."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from astropy.io import fits

from stillsky.fits import readExposure, readKernel
from stillsky.kernel import ConvolutionControl, convolve

pytestmark = pytest.mark.shared


@pytest.fixture(scope="module")
def quality(sharedDir):
    """The scorer of difference images."""
    folder = str(sharedDir / "bench")
    sys.path.insert(0, folder)
    try:
        spec = importlib.util.spec_from_file_location("sharedQuality", f"{folder}/quality.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(folder)
    return module


@pytest.fixture
def subtracted(run, tools, tmp_path, monkeypatch):
    """``subtracted(science, template, *options)``: stderr and the summary; inputs are checked to stay as they are."""
    monkeypatch.chdir(tmp_path)

    def call(science, template, *options):
        before = [path.read_bytes() for path in (science, template)]
        code, out, err = run("subtract", science, template, "-o", "r", "--json", *options)
        assert code == 0, err
        assert [path.read_bytes() for path in (science, template)] == before
        return err, json.loads(out)

    return call


_RAW = ("-c", "doDecorrelation=False")


def _planes(path):
    with fits.open(path) as hdus:
        return [np.array(hdus[name].data) for name in ("IMAGE", "MASK", "VARIANCE")]


def test_decam_bar(subtracted, quality, sharedDir):
    """OBS18a minus OBS04a, science convolved, undecorrelated: sky at most 40.4, source ratio at most 1.78."""
    folder = sharedDir / "data" / "decam_minis"
    science = folder / "DEC-OBS18a.mini.fits"
    _, summary = subtracted(science, folder / "DEC-OBS04a.mini.fits", "--convolve", "science", *_RAW)
    image, _, variance = _planes("r.diff.fits")
    pixels = readExposure(str(science))[0].image.array
    bright = pixels > np.median(pixels) + 8 * quality.mad_std(pixels)
    score = quality.score_real(image, variance, bright)
    assert summary["convolved"] == "science"
    assert score["pixel_sigma"] <= 40.4
    assert score["source_sigma_over_sky_sigma"] <= 1.78
    assert 0.9 <= score["sky_chi_sigma"] <= 1.1


@pytest.mark.parametrize("science, template", [("18a", "04a"), ("04a", "18a"), ("04b", "04e")])
def test_decam_pair_without_options(subtracted, quality, sharedDir, science, template):
    """No PSF, mask or variance in the files; the sharper image is convolved, and both forecasts are told."""
    folder = sharedDir / "data" / "decam_minis"
    names = [folder / f"DEC-OBS{epoch}.mini.fits" for epoch in (science, template)]
    err, summary = subtracted(*names)
    metadata = summary["metadata"]
    errors = {name: forecast["fluxError"] for name, forecast in metadata["expectedDepth"].items()}
    assert set(errors) == {"science", "template"} and f"convolved: {summary['convolved']}" in err
    assert errors[summary["convolved"]] <= 1.005 * min(errors.values())
    image, mask, variance = _planes("r.diff.fits")
    pixels = readExposure(str(names[0]))[0].image.array
    bright = pixels > np.median(pixels) + 8 * quality.mad_std(pixels)
    score = quality.score_real(image, variance, bright, mask=~np.isfinite(variance))
    assert 0.9 <= score["sky_chi_sigma"] <= 1.1
    assert "warning[W-NOVAR]" in err


@pytest.mark.parametrize("science, template, moved", [(1, 2, 11.5), (3, 4, 10.4), (5, 4, -11.3), (1, 5, 46.3)])
def test_m13_frames(subtracted, sharedDir, science, template, moved):
    """Integer pixels and no WCS: one grid. The telescope drifted between the frames, which is told and undone."""
    folder = sharedDir / "data" / "m13"
    err, summary = subtracted(*(folder / f"M13_blue_{n:04d}.fits" for n in (science, template)))
    said = [w["message"] for w in summary["warnings"] if w["code"] == "W-SHIFT"]
    assert len(said) == 1 and "warning[W-SHIFT]" in err
    dx, dy = (float(word) for word in said[0].split("shifted by ")[1].split(" px")[0].split(", "))
    assert abs(dx - moved) < 1.0 and abs(dy) < 5.0
    # six faint objects carry the fit: which ones decides how much of the noise's tails, which the clipped sigma of the
    # variance leaves out, comes through
    pixels = fits.getdata(folder / f"M13_blue_{science:04d}.fits").astype(float)
    tails = np.std(pixels[40:300, 40:300]) / summary["metadata"]["scienceSkySigma"]
    assert 0.9 <= summary["metadata"]["skyChi"] <= tails
    image, mask, _ = _planes("r.diff.fits")
    # the column or row beyond the template is without data, the cluster itself is gone
    good = np.isfinite(image)
    assert 0.9 < good.mean() < 1.0 and (mask[~good] != 0).all()
    core = np.s_[450:580, 570:700]
    excess = np.median(pixels[core]) - np.median(pixels)
    assert excess > 10 and abs(np.nanmedian(image[core])) < 0.25 * excess


@pytest.mark.parametrize("direction", ["template", "science"])
def test_decorrelation_of_decam_pairs(subtracted, quality, sharedDir, direction):
    """The sharper the kernel, the more correlated the difference: nothing is left of it in the finished one."""
    folder = sharedDir / "data" / "decam_minis"
    names = [folder / f"DEC-OBS{epoch}.mini.fits" for epoch in ("18a", "04a")]
    pixels = readExposure(str(names[0]))[0].image.array
    bright = pixels > np.median(pixels) + 3 * quality.mad_std(pixels)
    correlations = []
    for options in (_RAW, ("--overwrite",)):
        _, summary = subtracted(*names, "--convolve", direction, *options)
        image, _, variance = _planes("r.diff.fits")
        correlations.append(quality.score_real(image, variance, bright)["autocorr"])
    before, after = (np.array([c[lag] for lag in ("1,0", "0,1", "2,0", "0,2")]) for c in correlations)
    assert np.abs(before).max() > 0.1, before
    assert np.abs(after).max() < 0.13, after
    assert np.abs(after).max() < 0.5 * np.abs(before).max()


def test_hotpants_pair(subtracted, sharedDir):
    """Masked images of the foreign layout, template variance zero; no option."""
    folder = sharedDir / "data" / "hotpants_comparison"
    _, summary = subtracted(folder / "scienceMI.fits", folder / "templateMI.fits")
    assert summary["convolved"] == "template"
    assert 0.95 <= summary["metadata"]["skyChi"] <= 1.05
    assert abs(summary["metadata"]["spatialKernelSum"] - 1.0) < 0.05


@pytest.mark.parametrize("direction", ["template", "science"])
def test_kernel_file_gives_the_same_images_again(subtracted, sharedDir, direction):
    """P.kernel.fits, read back and applied by hand, makes P.matched.fits and P.diff.fits."""
    folder = sharedDir / "data" / "decam_minis"
    names = [folder / f"DEC-OBS{epoch}.mini.fits" for epoch in ("18a", "04a")]
    subtracted(*names, "--convolve", direction, *_RAW)
    stored = readKernel("r.kernel.fits")
    science, template = (readExposure(str(name))[0].maskedImage for name in names)
    assert stored.metadata["CONVOLVD"] == direction
    source = template if direction == "template" else science
    out = source.emptyLike()
    for plane in ("NO_DATA", "EDGE"):
        source.mask.addPlane(plane)
        out.mask.addPlane(plane)
    convolve(out, source, stored.kernel, ConvolutionControl(doNormalize=False, doCopyEdge=False))
    height, width = out.image.array.shape
    y, x = np.mgrid[:height, :width].astype(float)
    background = np.array([[stored.background(a, b) for a, b in zip(*row)] for row in zip(x, y)])
    if direction == "template":
        wanted = science.image.array - out.image.array - background
    else:
        wanted = (out.image.array + background - template.image.array) / stored.metadata["KSUM"]
    image, _, _ = _planes("r.diff.fits")
    matched, _, _ = _planes("r.matched.fits")
    good = np.isfinite(image)
    assert good.mean() > 0.7
    scale = np.abs(science.image.array).max()
    np.testing.assert_allclose(image[good], wanted[good], rtol=0, atol=2e-6 * scale)
    if direction == "template":
        np.testing.assert_allclose(matched[good], (out.image.array + background)[good], rtol=0, atol=1e-6 * scale)
    else:  # the template itself, in whose float32 the background was taken off
        wanted, rounding = (template.image.array - background)[good], 2.0**-23
        np.testing.assert_allclose(matched[good], wanted, rtol=rounding, atol=rounding * np.abs(background).max())
