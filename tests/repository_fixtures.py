"""Small exposures as files, and an empty repository for each test."""

import astropy.units as u
import numpy as np
import pytest
from astropy.time import Time

from stillsky.fits import writeExposure
from stillsky.image import makeExposure
from stillsky.meta import FilterLabel, VisitInfo
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeTanWcs

SCALE = 0.2 / 3600


@pytest.fixture
def makeCalexp(rng):
    """Function (visit, detector) -> an exposure of 40 x 50 pixels with all components."""

    def make(visit, detector=0, *, value=100.0, shape=(50, 40), crpix=None):
        exposure = makeExposure(
            rng.normal(value, 5.0, shape).astype(np.float32),
            variance=np.full(shape, 25.0, np.float32),
            xy0=(60, 20),
        )
        exposure.psf = GaussianPsf(11, 11, 1.7)
        exposure.wcs = makeTanWcs(
            crpix=crpix or (80.0 - 40 * detector, 45.0), crval=(0.17, 0.03), cdMatrix=np.diag([-SCALE, SCALE])
        )
        exposure.info.visitInfo = VisitInfo(
            id=visit, exposureTime=30.0, object="field 7", date=Time("2026-01-02T03:04:05", scale="tai") + visit * u.min
        )
        exposure.filter = FilterLabel("r", "r.01")
        exposure.metadata["DETECTOR"] = detector
        return exposure

    return make


@pytest.fixture
def calexpFiles(makeCalexp, tmp_path):
    """Function (visits, detectors) -> paths of written exposures."""

    def write(visits=(1, 2), detectors=(0, 1)):
        paths = []
        for visit in visits:
            for detector in detectors:
                paths.append(str(tmp_path / f"v{visit}d{detector}.fits"))
                writeExposure(makeCalexp(visit, detector), paths[-1])
        return paths

    return write


@pytest.fixture(scope="session")
def emptyRepository(tmp_path_factory):
    """Folder of an empty repository, to be copied: making one takes a second."""
    from stillsky.butler.repository import createRepository

    path = tmp_path_factory.mktemp("empty") / "repo"
    createRepository(path)
    return path


@pytest.fixture
def butler(tmp_path, emptyRepository):
    """An empty writeable repository."""
    import shutil

    from stillsky.butler.repository import openRepository

    shutil.copytree(emptyRepository, tmp_path / "repo")
    with openRepository(tmp_path / "repo", writeable=True) as butler:
        yield butler


@pytest.fixture
def runRepo(capsys):
    """Function (arguments) -> (exit code, summary, stderr) of `stillsky repo`."""
    import json

    from stillsky.cli.app import main

    def call(*arguments):
        code = main(["repo", *map(str, arguments), "--json"])
        said = capsys.readouterr()
        return code or 0, json.loads(said.out), said.err

    return call


def putTemplate(butler, template):
    """Put an exposure as the only patch of the deepCoadd in r of the sky map "plane", into the run "coadds"."""
    from lsst.daf.butler import DatasetType

    from stillsky import SkyMap, TractInfo
    from stillsky.butler.repository import registerSkyMap

    size = (template.bbox.width, template.bbox.height)
    registerSkyMap(butler, "plane", SkyMap([TractInfo(0, template.wcs, template.bbox, size, 0)]))
    dimensions = ("skymap", "tract", "patch", "band")
    kind = DatasetType("deepCoadd", dimensions, "StillskyExposure", universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.collections.register("coadds")
    butler.put(template, kind, skymap="plane", tract=0, patch=0, band="r", run="coadds")
