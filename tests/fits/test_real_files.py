"""The readers on real files."""

import json

import numpy as np
import pytest

import stillsky
from stillsky.fits import describeFile, readExposure, writeExposure

pytestmark = pytest.mark.shared


def testDecamMinis(sharedDir):
    for path in sorted((sharedDir / "data" / "decam_minis").glob("*.fits"))[::3]:
        exposure, provenance = readExposure(path)
        assert exposure.width == exposure.height == 256 and tuple(exposure.xy0) == (0, 0)
        assert exposure.wcs is not None and exposure.filter.band == "i" and exposure.visitInfo.exposureTime == 330
        assert np.degrees(exposure.wcs.pixelScale(128, 128)) * 3600 == pytest.approx(0.263, abs=0.01)
        assert any("sky subtracted" in s for s in provenance) and exposure.metadata["VARIANCE_EMPIRICAL"] is True
        chi = exposure.image.array / np.sqrt(exposure.variance.array)
        assert 0.85 <= 1.4826 * np.median(np.abs(chi - np.median(chi))) <= 1.25


def testM13(sharedDir):
    path = sharedDir / "data" / "m13" / "M13_blue_0001.fits"
    exposure, provenance = readExposure(path)
    assert (exposure.width, exposure.height) == (1392, 1040) and exposure.wcs is None
    assert exposure.image.array.dtype == np.float32 and exposure.image.array.min() >= 0
    assert any(s.startswith("W-NOVAR") and "no gain known" in s for s in provenance)


def testFlat(sharedDir):
    exposure = stillsky.read(sharedDir / "data" / "ccd_flats" / "flat1.fits")
    assert np.median(exposure.image.array) == pytest.approx(17016, abs=1) and not exposure.mask.isSet("SAT").all()


def testHotpantsPair(sharedDir, tmp_path):
    science, provenance = readExposure(sharedDir / "data" / "hotpants_comparison" / "scienceMI.fits")
    template = stillsky.read(sharedDir / "data" / "hotpants_comparison" / "templateMI.fits")
    assert tuple(science.xy0) == (9, 9) and science.mask.schema["DETECTED_NEGATIVE"] == 6
    assert np.median(science.variance.array) == pytest.approx(100, rel=0.5) and np.median(template.variance.array) == 0
    assert not any(s.startswith("W-") for s in provenance)
    writeExposure(science, tmp_path / "s.fits")
    back = stillsky.read(tmp_path / "s.fits")
    np.testing.assert_array_equal(back.image.array, science.image.array)
    assert back.mask.schema == science.mask.schema and back.bbox == science.bbox


def testDescribeFile(sharedDir):
    info = describeFile(sharedDir / "data" / "decam_minis" / "DEC-OBS04a.mini.fits")
    json.dumps(info, allow_nan=False)
    assert info["width"] == 256 and info["wcs"]["pixelScale"] == pytest.approx(0.263, abs=0.01)
    assert info["gain"] == {"value": pytest.approx(3.984, abs=1e-3), "card": "GAIN"}
    assert info["saturation"]["card"] == "ESATUR" and info["psf"] is None
    assert [w.split(":")[0] for w in info["warnings"]] == ["W-GAIN", "W-NOVAR"]
    assert "BAD" in info["maskPlanes"] and info["mask"] == {}
