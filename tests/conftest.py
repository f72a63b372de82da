"""Fixtures shared by all tests."""

import os
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def rng():
    """A generator with a fixed seed, fresh for every test."""
    return np.random.default_rng(20261121)


def _sharedFolder():
    named = os.environ.get("STILLSKY_SHARED")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def sharedDir():
    """Folder with reference figures and real images; tests that ask for it are skipped where it is absent."""
    folder = _sharedFolder()
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder} (set STILLSKY_SHARED)")
    return folder


@pytest.fixture
def addStars():
    """Function that adds Gaussian stars, sampled at pixel centres, to an image."""

    def add(image, xs, ys, fluxes, sigma=2.0, radius=None):
        radius = int(7 * sigma) + 2 if radius is None else radius
        height, width = image.shape
        for x, y, flux in zip(np.atleast_1d(xs), np.atleast_1d(ys), np.atleast_1d(fluxes), strict=True):
            ix, iy = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            x0, x1 = max(0, ix - radius), min(width, ix + radius + 1)
            y0, y1 = max(0, iy - radius), min(height, iy + radius + 1)
            yy, xx = np.mgrid[y0:y1, x0:x1]
            star = np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2)) * flux / (2 * np.pi * sigma**2)
            image[y0:y1, x0:x1] += star.astype(image.dtype)
        return image

    return add
