"""Planted sources and the covariance stencil within a whole subtraction."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from lsst.pex.config import FieldValidationError

import stillsky as sky
from stillsky.cli import main
from stillsky.diffim.config import SubtractConfig
from stillsky.diffim.noise_covariance import NoiseCovariance
from stillsky.sim import simulatePair


def _config(**values):
    config = SubtractConfig()
    for key, value in values.items():
        owner, _, name = key.rpartition("__")
        setattr(getattr(config, owner) if owner else config, name, value)
    return config


@pytest.fixture(scope="module")
def pair():
    made = simulatePair(384, 6, starDensity=900.0)
    return made.science.toExposure(psf=True), made.template.toExposure(psf=True)


@pytest.fixture(scope="module")
def plain(pair):
    return sky.subtract(*pair)


@pytest.fixture(scope="module")
def planted(pair):
    before = [e.image.array.copy() for e in pair]
    out = sky.subtract(*pair, config=_config(inject__n=45, inject__seed=2))
    for exposure, pixels in zip(pair, before, strict=True):
        np.testing.assert_array_equal(exposure.image.array, pixels)
    return out


def _sameProducts(a, b):
    for name in ("image", "mask", "variance"):
        for exposure in ("difference", "matchedTemplate", "science"):
            planes = (getattr(getattr(r, exposure), name).array for r in (a, b))
            np.testing.assert_array_equal(*planes, err_msg=f"{exposure} {name}")
    assert a.sources.colnames == b.sources.colnames and len(a.sources) == len(b.sources)
    for name in a.sources.colnames:
        np.testing.assert_array_equal(a.sources[name], b.sources[name], err_msg=name)
    center = a.difference.bbox.center
    np.testing.assert_array_equal(a.kernel.imageAt(*center), b.kernel.imageAt(*center))
    assert a.background(*center) == b.background(*center)
    figures = {k: v for k, v in b.metadata.items() if k != "injection"}
    assert json.dumps(a.metadata, default=str) == json.dumps(figures, default=str)


def test_deliveredProductsKnowNothingOfPlantedSources(plain, planted):
    _sameProducts(plain, planted)
    assert plain.injected is None and plain.efficiency is None and len(planted.injected) == 45


def test_efficiencyOfASubtraction(planted):
    figures, rows = planted.metadata["injection"], planted.injected
    assert figures["n"] == 45 and figures["n7"] >= 20
    # of the stars' halos and defects some are lost: binomial error beside the quality bar of 0.99
    assert figures["completeness7"] >= 0.99 - 3 * np.sqrt(0.01 * 0.99 / figures["n7"])
    assert abs(figures["fluxBias"]) < 3 * figures["fluxBiasErr"] and figures["purity"] > 0.9
    faint = rows["signalToNoise"] < 4
    assert np.mean(rows["found"][faint]) < 0.5 < np.mean(rows["found"][rows["signalToNoise"] > 6])
    assert planted.efficiency["n"].sum() == 45
    assert any(sentence.startswith("planted 45: ") for sentence in planted.decisions)


@pytest.mark.parametrize("method", ["convolvedScience", "zogy"])
def test_otherMethodsAreMeasuredTheSameWay(pair, method):
    config = _config(inject__n=12, inject__minSignalToNoise=10.0)
    if method == "convolvedScience":  # the sharper image is the science image
        out = sky.subtract(*pair[::-1], config=config)
        assert out.convolved == "science"
    else:
        out = sky.subtract(*pair, config=config, method="zogy")
    figures = out.metadata["injection"]
    assert figures["nDetected"] == 12 and figures["nFound"] >= 11
    assert abs(figures["fluxBias"]) < 4 * figures["fluxBiasErr"]


def test_plantingNeedsADetection():
    with pytest.raises(FieldValidationError, match="planted sources need a detection"):
        _config(inject__n=5, doDetection=False).validate()
    with pytest.raises(FieldValidationError, match="larger than minSignalToNoise"):
        _config(inject__minSignalToNoise=40.0).validate()


def test_filesOfPlantedSources(planted, tmp_path):
    names = planted.write(tmp_path / "r", picture=False, report=False)
    assert str(tmp_path / "r.injected.ecsv") in names
    table = Table.read(tmp_path / "r.injected.ecsv")
    np.testing.assert_array_equal(table["found"], planted.injected["found"])
    document = json.loads((tmp_path / "r.json").read_text())
    assert document["efficiency"]["n"] == planted.efficiency["n"].tolist()
    assert document["metadata"]["injection"]["n"] == 45


# ------------------------------------------------------------------------- covariance


@pytest.fixture(scope="module")
def correlated(pair):
    """Without decorrelation, with the covariance."""
    return sky.subtract(*pair, config=_config(doCovariance=True, doDecorrelation=False))


@pytest.mark.parametrize("doDecorrelation", [True, False])
def test_covarianceIsSavedWithTheDifference(pair, correlated, doDecorrelation, tmp_path):
    out = sky.subtract(*pair, config=_config(doCovariance=True)) if doDecorrelation else correlated
    names = out.write(tmp_path / "r", picture=False, report=False, summary=False)
    assert NoiseCovariance.read(names[0]) == out.covariance
    assert fits.info(names[0], output=False)[-1][1] == "COVARIANCE"
    read = sky.read(names[0])
    np.testing.assert_array_equal(read.image.array, out.difference.image.array)
    np.testing.assert_array_equal(read.mask.array, out.difference.mask.array)
    # sums over apertures on blank pixels, by the stencil and by their scatter; few apertures: within their own error
    pulls = _aperturePulls(out, 5.0)
    scatter = 1.4826 * np.median(np.abs(pulls - np.median(pulls)))
    assert abs(scatter - 1) < 0.03 + 4 * 1.17 / np.sqrt(2 * len(pulls))
    if doDecorrelation:
        assert out.covariance.reach == 2 and abs(out.metadata["covarianceSum"] - 1) < 0.05
        assert not any(code == "W-CORRNOISE" for code, _ in out.warnings)
    else:
        assert out.metadata["covarianceSum"] > 1.1
        # 26 B6: never without a word
        assert any(code == "W-CORRNOISE" and "doDecorrelation" in sentence for code, sentence in out.warnings)


def _aperturePulls(out, radius):
    """Sums over circles that do not touch, over the error that plane and stencil give."""
    from stillsky.detection import skySources
    from stillsky.measure import aperturePrefix, circularApertureFlux

    peaks = skySources(out.difference, 1, 400, radius=int(radius) + 1).peaks
    x, y = peaks["f_x"], peaks["f_y"]
    table = circularApertureFlux(out.difference, x, y, [radius])
    table["base_SdssCentroid_x"], table["base_SdssCentroid_y"] = x, y
    out.covariance.scaleErrors(table)
    prefix = aperturePrefix(radius)
    good = ~table[prefix + "flag"]
    return np.asarray(table[prefix + "instFlux"] / table[prefix + "instFluxErr"])[good]


def test_errorsOfSourcesFollowTheCovariance(pair, correlated, tmp_path):
    """In the table of sources, and in forced photometry from the files."""
    plain, out = sky.subtract(*pair, config=_config(doDecorrelation=False)).sources, correlated
    assert len(plain) == len(out.sources) > 0
    for name in ("base_PsfFlux_instFluxErr", "base_CircularApertureFlux_12_0_instFluxErr"):
        ratio = np.asarray(out.sources[name]) / np.asarray(plain[name])
        assert np.all(ratio[np.isfinite(ratio)] > 1.02), name
    np.testing.assert_array_equal(plain["base_PsfFlux_instFlux"], out.sources["base_PsfFlux_instFlux"])
    # significances are divided by the inflation of the noise, with or without the covariance as a product (26 B12)
    assert out.metadata["noiseInflation"] > 1.02
    np.testing.assert_array_equal(plain["detectSignificance"], out.sources["detectSignificance"])
    out.write(tmp_path / "r", picture=False, report=False)
    argv = ["forced", f"{tmp_path}/r.diff.fits", f"{tmp_path}/r.sources.ecsv", "-qq", "-o", f"{tmp_path}/f.ecsv"]
    assert main(argv) == 0
    forced = Table.read(tmp_path / "f.ecsv")
    good = ~forced["noCoverage"]
    error = "base_PsfFlux_instFluxErr"
    np.testing.assert_allclose(forced[error][good], out.sources[error][good], rtol=1e-3)
