"""Repositories and exposures of the tests."""

import shutil

import astropy.units as u
import numpy as np
import pytest
from astropy.time import Time

from repository_fixtures import butler, calexpFiles, emptyRepository, makeCalexp

__all__ = ["butler", "calexpFiles", "emptyRepository", "filledButler", "filledRepository", "makeCalexp"]


@pytest.fixture(scope="session")
def filledRepository(tmp_path_factory, emptyRepository):
    """Folder of a repository with visits 1 and 2 of detectors 0 and 1 of MyCam, to be copied: filling one takes long."""
    from stillsky.butler.instruments import InstrumentDefinition
    from stillsky.butler.repository import ingestExposures, openRepository
    from stillsky.fits import writeExposure
    from stillsky.image import makeExposure
    from stillsky.meta import FilterLabel, VisitInfo
    from stillsky.wcs import makeTanWcs

    folder, rng, paths, scale = tmp_path_factory.mktemp("filled"), np.random.default_rng(3), [], 0.2 / 3600
    shutil.copytree(emptyRepository, folder / "repo")
    for visit in (1, 2):
        for detector in (0, 1):
            pixels = rng.normal(100, 5, (50, 40)).astype(np.float32)
            image = makeExposure(pixels, variance=25.0, xy0=(60, 20))
            image.wcs = makeTanWcs((80.0 - 40 * detector, 45.0), (0.17, 0.03), np.diag([-scale, scale]))
            date = Time("2026-01-02T03:04:05", scale="tai") + visit * u.min
            image.info.visitInfo = VisitInfo(id=visit, exposureTime=30.0, date=date)
            image.filter = FilterLabel("r", "r.01")
            image.metadata["DETECTOR"] = detector
            paths.append(str(folder / f"v{visit}d{detector}.fits"))
            writeExposure(image, paths[-1])
    with openRepository(folder / "repo", writeable=True) as butler:
        assert not ingestExposures(butler, paths, InstrumentDefinition("MyCam", {0: "a", 1: "b"})).failed
    return folder / "repo"


@pytest.fixture
def filledButler(tmp_path, filledRepository):
    """A writeable copy of that repository, in the folder ``repo``."""
    from stillsky.butler.repository import openRepository

    shutil.copytree(filledRepository, tmp_path / "repo")
    with openRepository(tmp_path / "repo", writeable=True) as butler:
        yield butler
