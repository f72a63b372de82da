"""``stillsky subtract --register`` on files without a WCS."""

import json

import numpy as np
import pytest
from astropy.io import fits


def test_aTurnedTemplateWithoutWcsIsRegisteredAndItsResidualReported(run, work):
    """Rotated by a quarter turn and cut to another shape, without any resampling: only the objects can tell."""
    for name, target in (("sci.fits", "a.fits"), ("tmpl.fits", "b.fits")):
        with fits.open(name) as hdus:
            pixels = next(h.data for h in hdus if h.data is not None)
        turned = np.rot90(pixels)[10:310] if target == "b.fits" else pixels
        fits.PrimaryHDU(np.ascontiguousarray(turned)).writeto(target)
    assert run("subtract", "a.fits", "b.fits", "--register", "-o", "r")[0] == 0
    with open("r.json") as stream:
        found = json.load(stream)["metadata"]["registration"]
    assert abs(found["rotationDegrees"]) == pytest.approx(90, abs=0.05)
    assert found["scale"] == pytest.approx(1, abs=1e-3)
    assert found["nPairs"] >= 10 and 0 < found["rmsPixels"] < 0.5
