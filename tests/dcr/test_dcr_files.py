"""Checks G11, G12 and G15 from files, through ``stillsky dcr`` and the template of ``stillsky subtract --dcr``."""

import json

import numpy as np
import pytest
from astropy.table import Table
from dcr_scene import AIRMASSES, ANGLES, assertColours, makeExposures, makeScene, scene, visitInfoOf

from stillsky.cli import main
from stillsky.dcr.files import matchedTemplateOf
from stillsky.fits import readExposure, writeExposure


@pytest.fixture(scope="module")
def made():
    return makeScene()


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    """v0.fits ... v7.fits and the run cube.*."""
    folder = tmp_path_factory.mktemp("files")
    names = [str(folder / f"v{i}.fits") for i in range(len(AIRMASSES))]
    for warp, name in zip(makeExposures(made)[0], names, strict=True):
        writeExposure(warp, name)
    options = ["--band-limits", "402.81,549.81nm", "--no-report", "-q"]
    assert main(["dcr", *names, "-o", str(folder / "cube"), *options]) == 0
    return folder


def test_theSceneFromFilesConvergesWithItsColours(folder):
    """G11: the metric of conjugate gradients (0.0075 after 5 iterations, 0.0054 after 20), colours and fluxes."""
    with open(folder / "cube.json", encoding="utf-8") as stream:
        figures = json.load(stream)["metadata"]
    assert figures["initialConvergence"] == pytest.approx(0.1075, rel=0.2)
    assert figures["finalConvergence"] == pytest.approx(0.0057, rel=0.2)
    table = Table.read(folder / "cube.inputs.ecsv")
    np.testing.assert_allclose(table["airmass"], AIRMASSES, rtol=1e-3)
    np.testing.assert_allclose(table["parallacticAngle"], ANGLES, atol=0.1)
    # G15: a reversed refraction fits nearly as well and has the colours the wrong way round
    assertColours([readExposure(folder / f"cube.dcr{k}.fits")[0].image.array for k in range(3)])


def test_aVisitThatTheModelHasNotSeenIsPredicted(folder, made):
    """G12: at least five times better than the plain coadd (137); the published iteration leaves 16."""
    science = readExposure(folder / "v0.fits")[0]
    science.visitInfo = visitInfoOf(1.7, 60, 200)
    template, sentence = matchedTemplateOf(str(folder / "cube"), science)
    assert "airmass 1.700, zenith at 60.0 deg" in sentence
    held = scene(1.7, 60)

    def rms(image):
        return float(np.sqrt(np.mean((image - held)[made.detected] ** 2)))

    assert rms(made.template) == pytest.approx(137, rel=0.02)
    assert rms(template.image.array) < 137 / 5
    assert rms(template.image.array) < 8  # measured 5.9
