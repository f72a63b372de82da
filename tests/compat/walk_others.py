"""Calls of the methods of PhotonTransferCurveExtractTask and ImageReducer, with what each does."""

import numpy as np
import pytest
from lsst.pipe.base import Struct
from seed_world import GAIN, extractConfig

from stillsky import ImageReducer, PhotonTransferCurveExtractTask
from stillsky.compat.store import DataRef, RunStore
from stillsky.geom import Box2I
from stillsky.image import makeExposure


# ---------------------------------------------------------------------- photon transfer
def canMultiprocess(world):
    assert PhotonTransferCurveExtractTask.canMultiprocess is True


def _flats(world):
    where = {"instrument": "Lab", "detector": 3}
    return [world.get("flat", {**where, "exposure": k}, "Lab/defaults") for k in (1, 2, 3, 4)]


def measureMeanVarCov(world):
    task, flats = PhotonTransferCurveExtractTask(config=extractConfig()), _flats(world)
    region = Box2I((10, 5), (70, 60))
    mu, varDiff, covariances = task.measureMeanVarCov(*flats[:2], region=region, covAstierRealSpace=True)
    assert mu == pytest.approx(4000 / GAIN, rel=5e-3) and varDiff == pytest.approx((4000 + 25) / GAIN**2, rel=0.1)
    assert [one[:2] for one in covariances[:4]] == [(0, 0), (1, 0), (2, 0), (0, 1)] and len(covariances) == 9
    fourier = task.measureMeanVarCov(*flats[:2], region=region)[2]
    np.testing.assert_allclose([one[3] for one in fourier], [one[3] for one in covariances], atol=1e-8 * varDiff)


def runExtract(world):
    task = PhotonTransferCurveExtractTask(config=extractConfig())
    made = task.run(_flats(world), [1, 2, 3, 4]).outputCovariances
    assert [one.ptcFitType for one in made] == ["PARTIAL", "DUMMY", "PARTIAL", "DUMMY"]
    assert task.metadata["nPairs"] == 2


def runQuantum(world):
    task = PhotonTransferCurveExtractTask(config=extractConfig())
    where = world.butler.registry.expandDataId(instrument="Lab", detector=3)
    task.runDataRef(DataRef(RunStore(world.butler, "u/flats", ["Lab/defaults"]), where))
    (amplifier,) = world.get("ptcCovariances", {**where.mapping, "exposure": 3}, "u/flats").ampNames
    stored = world.get("ptcCovariances", {**where.mapping, "exposure": 3}, "u/flats")
    assert stored.rawMeans[amplifier][0] == pytest.approx(20000 / GAIN, rel=5e-3)
    assert stored.inputExpIdPairs[amplifier] == [(3, 4)]


EXTRACT = {
    "canMultiprocess": canMultiprocess,
    "measureMeanVarCov": measureMeanVarCov,
    "run": runExtract,
    "runQuantum": runQuantum,
}


# ---------------------------------------------------------------------- map and reduce
def runReducer(world):
    exposure = makeExposure(np.ones((20, 30), np.float32))
    boxes = [Box2I((0, 0), (20, 20)), Box2I((10, 0), (20, 20))]
    patches = [Struct(subExposure=exposure[box].copy()) for box in boxes]
    for patch, value in zip(patches, (2.0, 4.0), strict=True):
        patch.subExposure.image.array[...] = value
    averages = {"copy": 4.0, "average": 3.0, "sum": 6.0}
    for operation, middle in averages.items():
        config = ImageReducer.ConfigClass()
        config.reduceOperation = operation
        made = ImageReducer(config=config).run(patches, exposure, anything=1).exposure
        assert made.bbox == exposure.bbox and made.image.array[5, 15] == middle
        assert (made.image.array[5, 5], made.image.array[5, 25]) == (2.0, 4.0)
    config = ImageReducer.ConfigClass()
    config.reduceOperation = "none"
    assert ImageReducer(config=config).run(patches, exposure).result is patches
    assert exposure.image.array.max() == 1
    with pytest.warns(DeprecationWarning, match="by name"):
        old = ImageReducer(config, "reducer", None, None)  # as the page has its constructor
    assert old.getName() == "reducer" and old.config.reduceOperation == "none"


REDUCER = {"run": runReducer}
