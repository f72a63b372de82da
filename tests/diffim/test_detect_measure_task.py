"""Detection on difference images as tasks: connections, failures, partial outputs."""

import types

import lsst.pipe.base as pipeBase
import numpy as np
import pytest

from stillsky import ApCorrMap, ChebyshevBoundedField
from stillsky.diffim.detect_measure_task import (
    BadSubtractionError,
    DetectAndMeasureConfig,
    DetectAndMeasureScoreConfig,
    DetectAndMeasureScoreTask,
    DetectAndMeasureTask,
    NoDiaSourcesError,
    TooManyCosmicRays,
)
from stillsky.diffim.source_schema import sourceSchema
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf

SIZE = 150


def images(flux=600.0):
    rng = np.random.default_rng(4)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    change = flux * np.exp(-((columns - 70.3) ** 2 + (rows - 80.6) ** 2) / 8) / (8 * np.pi)
    noise = rng.normal(0, 1, (SIZE, SIZE))
    psf = GaussianPsf(25, 25, 2.0)
    return [
        makeExposure(image.astype(np.float32), variance=1.0, psf=psf)
        for image in (change + noise, np.zeros((SIZE, SIZE)), change + noise)
    ]


def configOf(kind=DetectAndMeasureConfig, **values):
    config = kind()
    config.doSubtractBackground = False
    config.doCalculateResidualMetics = False
    for name, value in values.items():
        setattr(config, name, value)
    return config


class DataId(dict):
    """A data id with the instrument's numbers."""

    records = {"instrument": types.SimpleNamespace(detector_max=99, visit_max=10000)}

    def hasRecords(self):
        return True


class Context:
    """What `runQuantum` needs of a butler."""

    def __init__(self, inputs):
        self.inputs, self.written = inputs, None
        self.quantum = types.SimpleNamespace(dataId=DataId(visit=42, detector=12))

    def get(self, _):
        return dict(self.inputs)

    def put(self, values, _):
        self.written = values


def testTheQuantumWritesSourcesWithIdsOfTheVisit():
    task = DetectAndMeasureTask(config=configOf())
    context = Context(dict(zip(("science", "matchedTemplate", "difference"), images(), strict=True)))
    task.runQuantum(context, None, None)
    table = context.written.diaSources
    assert len(table) == 1
    assert task.detection.sources is table
    assert table.meta["packed"] == 12 + 99 * 42 and table["id"][0] > 1e9
    assert task.metadata["nMergedDiaSources"] == 1
    assert (context.written.subtractedMeasuredExposure.mask.array != 0).any()
    assert len(context.written.glintTrailInfo) == 0


def testNothingFoundIsAFailureWithPartialOutputs():
    context = Context(dict(zip(("science", "matchedTemplate", "difference"), images(0.0), strict=True)))
    with pytest.raises(pipeBase.AnnotatedPartialOutputsError):
        DetectAndMeasureTask(config=configOf()).runQuantum(context, None, None)
    assert len(context.written.diaSources) == 0
    with pytest.raises(NoDiaSourcesError) as info:
        DetectAndMeasureTask(config=configOf()).run(*images(0.0))
    assert info.value.metadata["nMergedDiaSources"] == 0
    quiet = DetectAndMeasureTask(config=configOf(raiseOnNoDiaSources=False)).run(*images(0.0))
    assert quiet.diaSources.colnames == sourceSchema().colnames


def testBadSubtractionIsAFailureOfTheTask():
    config = configOf(doCalculateResidualMetics=True)
    results = pipeBase.Struct()
    with pytest.raises(BadSubtractionError) as info:
        DetectAndMeasureTask(config=config).run(
            *images(), kernelSources=np.array([[70.3, 80.6]]), measurementResults=results
        )
    assert info.value.metadata["ratio"] > 0.2
    assert len(results.diaSources) == 1


@pytest.mark.parametrize("isScore", [False, True])
def testTooManyCosmicRaysAreAFailureWithPartialOutputs(isScore):
    made = images()
    made[2].image.array[20:130:5, 20:130:5] += 300
    inputs = dict(zip(("science", "matchedTemplate", "difference"), made, strict=True))
    kind, task = DetectAndMeasureConfig, DetectAndMeasureTask
    if isScore:
        kind, task = DetectAndMeasureScoreConfig, DetectAndMeasureScoreTask
        inputs["scoreExposure"] = made[2].copy()
    config = configOf(kind, doSubtractBackground=True)
    config.cosmicray.nCrPixelMax = 20
    context = Context(inputs)
    with pytest.raises(pipeBase.AnnotatedPartialOutputsError) as info:
        task(config=config).runQuantum(context, None, None)
    cause = info.value.__cause__
    assert isinstance(cause, TooManyCosmicRays) and isinstance(cause, pipeBase.AlgorithmError)
    assert isinstance(cause, ValueError) and cause.metadata == {"maxCosmicRays": 20}
    written = context.written
    assert written.subtractedMeasuredExposure is made[2] and not hasattr(written, "diaSources")
    assert written.differenceBackground is not None
    assert hasattr(written, "scoreMeasuredExposure") == isScore
    assert not made[2].mask.isSet("CR").any()


def testApertureCorrectionsAreThoseOfTheDifference():
    made = images()
    field = ChebyshevBoundedField(made[2].bbox, [[1.5]])
    plain = DetectAndMeasureTask(config=configOf()).run(*(e.copy() for e in made)).diaSources
    assert plain["base_PsfFlux_flag_apCorr"].all() and np.isnan(plain["base_PsfFlux_apCorr"]).all()
    made[2].info.apCorrMap = ApCorrMap({"base_PsfFlux_instFlux": field})
    table = DetectAndMeasureTask(config=configOf()).run(*made).diaSources
    for column in ("base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr"):
        np.testing.assert_allclose(table[column], 1.5 * plain[column])
    assert not table["base_PsfFlux_flag_apCorr"].any() and not table["base_PsfFlux_flag"].any()


def testUnknownBadSourceFlagIsRefusedAtConstruction():
    with pytest.raises(pipeBase.InvalidQuantumError, match="no_such_flag"):
        DetectAndMeasureTask(config=configOf(badSourceFlags=["no_such_flag"]))


def testPsfWithoutWidthIsAFailureUpstream():
    made = images()
    made[2].psf = None
    with pytest.raises(pipeBase.UpstreamFailureNoWorkFound):
        DetectAndMeasureTask(config=configOf()).run(*made)


def testScoreTaskSearchesTheScore():
    from scipy.signal import fftconvolve

    made = images()
    kernel = made[0].psf.computeKernelImage().array
    score = made[2].copy()
    score.image.array[:] = fftconvolve(score.image.array, kernel, mode="same")
    score.variance.array[:] = np.sum(kernel**2)
    results = DetectAndMeasureScoreTask(config=configOf(DetectAndMeasureScoreConfig)).run(*made, score)
    assert len(results.diaSources) == 1
    assert results.scoreMeasuredExposure is score
    assert results.diaSources["scoreSignificance"][0] > 15


def testConnectionsFollowTheConfiguration():
    def connections(**values):
        config = DetectAndMeasureConfig()
        for name, value in values.items():
            setattr(config, name, value)
        return config.connections.ConnectionsClass(config=config)

    full = connections(doWriteBackground=True)
    assert "kernelSources" in full.inputs and "differenceBackground" in full.outputs
    less = connections(doCalculateResidualMetics=False, writeGlintInfo=False)
    assert "kernelSources" not in less.inputs
    assert not {"differenceBackground", "glintTrailInfo"} & set(less.outputs)
    assert (
        "scoreExposure"
        in DetectAndMeasureScoreConfig().connections.ConnectionsClass(config=DetectAndMeasureScoreConfig()).inputs
    )


def testSchemaIsKnownAtConstruction():
    task = DetectAndMeasureTask(config=configOf())
    assert task.getSchemaCatalogs()["diaSrc"].colnames == sourceSchema().colnames
    assert task.getName() == "detectAndMeasure"
