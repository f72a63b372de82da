"""The verb info: what it prints of a file."""

import json

import pytest
from astropy.time import Time

from stillsky.cli.verbs.info import describeText
from stillsky.fits import writeExposure
from stillsky.meta import FilterLabel, VisitInfo
from stillsky.photom import PhotoCalib
from stillsky.sim import simulatePair


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    exposure = simulatePair(size=96, seed=3).science.toExposure()
    exposure.filter = FilterLabel("g", "g DECam")
    exposure.photoCalib = PhotoCalib(57.5)
    exposure.visitInfo = VisitInfo(
        exposureTime=12.5, date=Time("2026-03-01T02:03:04.5", scale="tai"), boresightAirmass=1.2, object="NGC 1", id=77
    )
    name = tmp_path_factory.mktemp("info") / "e.fits"
    writeExposure(exposure, name)
    return name


def testTheTextIsForPeople(path, run):
    code, out, err = run("info", path)
    assert code == 0 and err == ""
    lines = dict(line.strip().split(None, 1) for line in out.splitlines()[1:] if not line.startswith("  - "))
    assert lines["filter"] == "g DECam, band g"
    assert lines["visit"] == "12.5 s, 2026-03-01T02:03:04.500 TAI, airmass 1.200, 'NGC 1', id 77"
    assert lines["calibration"] == "57.5 nJy per count" and lines["size"] == "96 x 96 px, corner at (0, 0)"
    # No constructor calls, no bare containers.
    assert not any(word in out for word in ("FilterLabel(", "VisitInfo(", "None", "{", "nan"))


def testTheJsonHasPlainTypes(path, run):
    (facts,) = json.loads(run("info", path, "--json")[1])["inputs"]["files"]
    assert facts["filter"] == {"band": "g", "physical": "g DECam"}
    assert facts["visit"] == {
        "exposureTime": 12.5, "date": "2026-03-01T02:03:04.500", "airmass": 1.2, "object": "NGC 1", "id": 77
    }  # fmt: skip


def testOneNameOfAFilterIsEnough(path):
    from stillsky.fits import describeFile

    facts = {**describeFile(path), "visit": None, "unit": None, "calibration": None}
    for label, text in (
        ({"band": "r", "physical": "r"}, "r"), ({"band": "r", "physical": None}, "r"), ({"band": None, "physical": "V"}, "V")
    ):  # fmt: skip
        assert f"  filter      {text}\n" in describeText({**facts, "filter": label})
    text = describeText({**facts, "filter": None})
    assert "filter" not in text and "visit" not in text and "unit" not in text


def testAKernelFileIsKnown(tmp_path, run):
    import numpy as np

    from stillsky.fits import writeKernel
    from stillsky.kernel import FixedKernel

    writeKernel(FixedKernel(np.full((5, 7), 0.04)), tmp_path / "k.fits", convolved="template")
    code, out, err = run("info", tmp_path / "k.fits")
    assert code == 0 and err == "" and "7 x 5 px, the same everywhere" in out
    assert "matching kernel of stillsky" in out and "sum         1.4" in out and "applies to  template" in out


def testAFileThatFailsDoesNotHideTheOthers(path, tmp_path, run):
    (tmp_path / "bad.fits").write_text("nothing")
    code, out, err = run("info", tmp_path / "bad.fits", tmp_path / "missing.fits", path)
    assert code == 3 and "96 x 96 px" in out and err.count("error[3]") == 2 and "missing.fits" in err
