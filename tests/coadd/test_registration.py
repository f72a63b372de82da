"""Images without a WCS, of a mount that drifts."""

import re

import numpy as np
import pytest

from stillsky.coadd import CoaddJobConfig, PlainCoadd


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
