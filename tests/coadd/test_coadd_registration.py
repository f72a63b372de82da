"""Images without a WCS, of a mount that drifts."""

import re

import numpy as np
import pytest

from stillsky.coadd import CoaddJobConfig, PlainCoadd
from stillsky.image import makeExposure


@pytest.mark.shared
def test_M13DriftsOverTheChip(sharedDir):
    """No frame has ten clean stars: cross-correlation finds the drift beside the pattern of the detector, which stays put."""
    config = CoaddJobConfig()
    config.method, config.scale, config.doEstimatePsf = "mean", "none", False
    frames = [str(sharedDir / "data" / "m13" / f"M13_blue_{n:04d}.fits") for n in (1, 5)]
    with PlainCoadd(config) as job:
        job.scan(frames)
        result = job.run()
    words = [text for code, text in result.warnings if code == "W-SHIFT"]
    dx, dy = map(float, re.search(r"M13_blue_0005.fits is shifted by (\S+), (\S+) px", words[0]).groups())
    assert abs(dx - 46.3) < 0.5 and abs(dy + 3.3) < 0.5
    assert list(result.table["grid"]) == ["as it is", "registered"]
    assert (result.kept.array[:, 48:] == 2).mean() > 0.98 and (result.kept.array[:, :42] == 1).mean() > 0.98
    assert np.isfinite(result.coadd.image.array).all()


@pytest.mark.parametrize("hot", [0, 60])
def test_framesWithoutStarsStayWhereTheyAre(hot):
    """Noise, and hot pixels of the detector: nothing says that such frames are shifted."""
    places = np.random.default_rng(7).integers(0, 200, (2, hot))
    for seed in range(2):
        frames = np.random.default_rng(seed).normal(1000.0, 5.0, (4, 200, 200)).astype(np.float32)
        frames[:, places[0], places[1]] += np.random.default_rng(8).exponential(2000.0, hot).astype(np.float32)
        config = CoaddJobConfig()
        config.method, config.scale, config.doEstimatePsf = "mean", "none", False
        with PlainCoadd(config) as job:
            job.scan([makeExposure(f, variance=25.0) for f in frames])
            result = job.run()
        assert not [text for code, text in result.warnings if code == "W-SHIFT"]
        assert list(result.table["grid"]) == ["as it is"] * 4
