"""TransmissionCurve: interpolation, means, and its table in exposure files."""

import numpy as np
import pytest

import stillsky
from stillsky import TransmissionCurve
from stillsky.fits import readExposure, readPart, writeExposure
from stillsky.geom import Box2I
from stillsky.image import CoaddInputs


@pytest.fixture
def curves():
    return TransmissionCurve([400, 450, 550], [0.1, 0.8, 0.6]), TransmissionCurve([420, 500.5, 560], [0.5, 0.7, 0.0])


def test_isLinearBetweenItsPointsAndZeroOutside(curves):
    curve = curves[0]
    np.testing.assert_allclose(curve([399.9, 400, 425, 550, 550.1]), [0, 0.1, 0.45, 0.6, 0])
    assert "3 points, 400-550 nm" in repr(curve)
    assert curve == TransmissionCurve([400, 450, 550], [0.1, 0.8, 0.6]) and curve != curves[1] and curve != 3
    assert len({curve, TransmissionCurve([400, 450, 550], [0.1, 0.8, 0.6])}) == 1
    with pytest.raises(ValueError, match="read-only"):
        curve.throughput[0] = 1


def test_meanIsExactEverywhere(curves):
    mean = TransmissionCurve.mean(curves, [1.0, 3.0])
    nm = np.linspace(390, 570, 1801)
    np.testing.assert_allclose(mean(nm), (curves[0](nm) + 3 * curves[1](nm)) / 4, atol=1e-12)


@pytest.mark.parametrize(
    ("nm", "values"),
    [([400], [1]), ([400, 500], [1]), ([500, 400], [1, 1]), ([400, np.nan], [1, 1]), ([400, 500], [1, -0.1]),
     ([400, 500], [1, np.inf]), ([0, 500], [1, 1])],
)  # fmt: skip
def test_refusesWhatIsNoCurve(nm, values):
    with pytest.raises(stillsky.DomainError, match="TransmissionCurve"):
        TransmissionCurve(nm, values)


def test_survivesFilesWithTheExposureAndItsInputs(curves, tmp_path, caplog):
    exposure = stillsky.exposure(np.ones((20, 30)), variance=1.0)
    exposure.info.transmissionCurve = curves[0]
    inputs = CoaddInputs()
    box = Box2I((0, 0), (30, 20))
    for k, curve in enumerate((*curves, None)):
        inputs.addCcd(k, box, transmissionCurve=curve)
    exposure.info.coaddInputs = inputs
    path = str(tmp_path / "e.fits")
    writeExposure(exposure, path)
    assert "no file form" not in caplog.text
    back = readExposure(path)[0]
    assert back.info.transmissionCurve == curves[0] == readPart(path, "transmissionCurve")
    assert list(back.info.coaddInputs.ccds["transmissionCurve"]) == [*curves, None]
    exposure.info.transmissionCurve = lambda nm: 1.0
    writeExposure(exposure, path, overwrite=True)
    assert "transmissionCurve has no file form" in caplog.text
    assert readExposure(path)[0].info.transmissionCurve is None
