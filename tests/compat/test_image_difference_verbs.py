"""ImageDifferenceTask by its second-generation verbs on a repository."""

import sys
from pathlib import Path

import pytest

pytest.importorskip("lsst.daf.butler")
sys.path.insert(0, str(Path(__file__).parents[1] / "diffim"))

import astropy.units as u
from astropy.time import Time
from image_difference_scenes import found, pair

from repository_fixtures import putTemplate
from stillsky import ImageDifferenceTask
from stillsky.butler.instruments import InstrumentDefinition
from stillsky.butler.repository import ingestExposures
from stillsky.fits import writeExposure
from stillsky.meta import FilterLabel, VisitInfo

IDS = ["--id", "visit=1", "detector=0"]


@pytest.fixture
def repo(butler, tmp_path):
    """A repository with the science image as visit 1 and the template as visit 2 and as the only patch of a coadd."""
    images = pair()
    paths = []
    for visit, image in enumerate(images, 1):
        image.info.visitInfo = VisitInfo(id=visit, exposureTime=30.0, date=Time("2026-01-02T03:04:05") + visit * u.min)
        image.filter = FilterLabel("r", "r.01")
        paths.append(str(tmp_path / f"v{visit}.fits"))
        writeExposure(image, paths[-1])
    report = ingestExposures(butler, paths, InstrumentDefinition("MyCam", {0: "a"}, {"r.01": "r"}))
    assert not report.failed
    template = images[1]
    for name in ("REJECTED", "CLIPPED", "SENSOR_EDGE", "INEXACT_PSF"):  # as a coadd has them
        template.mask.addPlane(name)
    template.mask.array[100:103, 40:45] |= template.mask.bitmask(["CLIPPED"])
    putTemplate(butler, template)
    return str(tmp_path / "repo")


def outputsOf(butler, collection):
    butler.registry.refresh()
    where = {"instrument": "MyCam", "visit": 1, "detector": 0}
    return {name: butler.get(f"deepDiff_{name}", where, collections=collection) for name in ("differenceExp", "diaSrc")}


def test_coadds_and_another_visit_serve_as_templates(butler, repo):
    inputs = ["--input", "MyCam/defaults,coadds"]
    byCoadd = ImageDifferenceTask.parseAndRun([repo, *IDS, *inputs, "--output", "u/coadd", "--doraise"])
    assert [one.exitStatus for one in byCoadd.resultList] == [0]
    made = outputsOf(butler, "u/coadd")
    assert sorted(found(made["diaSrc"])) == [0, 1, 2] and made["differenceExp"].image.array.shape == (256, 256)
    assert made["differenceExp"].mask.isSet("CLIPPED")[100:103, 40:45].all()  # planes of a coadd arrive
    byVisit = ImageDifferenceTask.parseAndRun(
        [repo, *IDS, "--templateId", "visit=2", *inputs, "--output", "u/visit", "--doraise"], doReturnResults=True
    )
    again = outputsOf(butler, "u/visit")
    assert len(again["diaSrc"]) == len(made["diaSrc"])
    assert byVisit.resultList[0].result.subtractedExposure is not None
    assert butler.get("deepDiff_config", collections="u/visit").coaddName == "deep"
    assert butler.get("deepDiff_diaSrc_schema", collections="u/visit").colnames == made["diaSrc"].colnames
    assert "imageDifference" in butler.get(
        "deepDiff_metadata", instrument="MyCam", visit=1, detector=0, skymap="plane", collections="u/coadd"
    )
