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
