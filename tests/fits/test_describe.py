"""describeFile, what ``stillsky info`` shows."""

import json

import numpy as np
import pytest
from astropy.io import fits

from stillsky.fits import describeFile, writeExposure
from stillsky.image import Exposure, Image, MaskedImage
from stillsky.meta import FilterLabel, Header, VisitInfo
from stillsky.photom import PhotoCalib
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs


def testEverythingThatIsKnown(tmp_path, rng):
    masked = MaskedImage(Image(rng.normal(100, 5, (100, 120)).astype(np.float32), (10, 20)))
    masked.variance.array[...] = 25
    masked.mask.array[:25, :] = 1 << 1
    wcs = makeTanWcs((69.5, 69.5), (np.radians(150.0), np.radians(2.0)), makeCdMatrix(0.25 / 3600))
    exposure = Exposure(
        masked,
        wcs=wcs,
        psf=GaussianPsf(21, 21, 2.0),
        photoCalib=PhotoCalib(2.0),
        filter=FilterLabel("r"),
        visitInfo=VisitInfo(exposureTime=30.0),
        metadata=Header({"BUNIT": "adu", "GAIN": 1.5, "RDNOISE": 4.0, "SATURATE": 60000}),
    )
    writeExposure(exposure, tmp_path / "e.fits")
    info = describeFile(tmp_path / "e.fits")
    assert json.loads(json.dumps(info, allow_nan=False)) == info
    assert (info["width"], info["height"], info["xy0"]) == (120, 100, [10, 20])
    assert info["mask"] == {"SAT": 0.25} and len(info["maskPlanes"]) == 11
    assert info["wcs"]["pixelScale"] == pytest.approx(0.25, rel=1e-6)
    assert info["wcs"]["center"] == pytest.approx([150.0, 2.0], abs=1e-9)
    assert info["psf"] == {"class": "GaussianPsf", "fwhm": pytest.approx(2.0 * 2.354820045, rel=1e-6)}
    assert info["sky"]["median"] == pytest.approx(100, abs=0.5) and info["sky"]["sigma"] == pytest.approx(5, rel=0.05)
    assert info["gain"] == {"value": 1.5, "card": "GAIN"} and info["saturation"] == {
        "value": 60000.0,
        "card": "SATURATE",
    }
    assert info["readNoise"]["value"] == 4.0 and info["unit"] == "adu" and info["calibration"] == {"njyPerCount": 2.0}
    assert info["filter"] == {"band": "r", "physical": None} and info["visit"] == {"exposureTime": 30.0}
    assert info["warnings"] == []
    assert info["planes"]["variance"]["median"] == 25 and info["planes"]["image"]["notFinite"] == 0


def testAllBlankImage(tmp_path):
    fits.PrimaryHDU(np.full((8, 9), np.nan, np.float32)).writeto(tmp_path / "n.fits")
    info = describeFile(tmp_path / "n.fits")
    json.dumps(info, allow_nan=False)
    assert info["mask"] == {"NO_DATA": 1.0} and info["sky"]["median"] is None and info["planes"]["image"]["min"] is None
