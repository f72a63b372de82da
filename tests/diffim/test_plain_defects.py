"""Bad columns of bare images, which nobody masked, make no candidates."""

import numpy as np
import pytest
from astropy.io import fits

import stillsky
from stillsky.fits import readExposure
from stillsky.sim import simulatePair

SIZE, COLUMN, BEGIN = 400, 130, 150


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Bare science image and template; part of a column of the template is dead and noisy."""
    folder = tmp_path_factory.mktemp("plain")
    pair = simulatePair(size=SIZE, seed=6, starDensity=1500.0, defects=False)
    rng = np.random.default_rng(1)
    sky = float(np.median(pair.template.image))
    pair.template.image[BEGIN:, COLUMN] = rng.uniform(0, 4 * sky, SIZE - BEGIN)
    for name, frame in (("sci", pair.science), ("tmpl", pair.template)):
        fits.PrimaryHDU(frame.image, frame.toHeader()).writeto(folder / f"{name}.fits")
    return folder / "sci.fits", folder / "tmpl.fits"


def _alongTheColumn(files, defects):
    science, template = (readExposure(name, defects=defects)[0] for name in files)
    sources = stillsky.subtract(science, template).sources
    flags = [name for name in sources.colnames if name.startswith("candidate_flag")]
    flagged = np.any([sources[name] for name in flags], axis=0)
    near = (np.abs(sources["base_SdssCentroid_x"] - COLUMN) < 5) & (sources["base_SdssCentroid_y"] > BEGIN - 10)
    return int(np.count_nonzero(near)), int(np.count_nonzero(near & ~flagged)), template


def testBadColumnOfABareTemplateMakesNoCandidates(files):
    before, open_, _ = _alongTheColumn(files, False)
    assert before > 10 and open_ > 3
    after, stillOpen, template = _alongTheColumn(files, True)
    bad = template.mask.array & template.mask.bitmask(["BAD"]) != 0
    assert bad[BEGIN:, COLUMN].all() and np.count_nonzero(bad) < SIZE
    assert after <= 2 and stillOpen == 0
