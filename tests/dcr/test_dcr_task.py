"""DcrAssembleCoaddTask and GetDcrTemplateTask: quanta with a fake context, every method by name."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from dcr_scene import (
    AIRMASSES,
    ANGLES,
    BAND,
    NOISE,
    SIZE,
    assertColours,
    makeExposures,
    makeScene,
    scene,
    sceneWcs,
    visitInfoOf,
)
from lsst.pex.config import FieldValidationError

from stillsky import AssembleCoaddTask
from stillsky.dcr.task import DcrAssembleCoaddConfig, DcrAssembleCoaddTask
from stillsky.dcr.template_task import GetDcrTemplateConfig, GetDcrTemplateTask
from stillsky.errors import MismatchError
from stillsky.geom import Box2I
from stillsky.image import makeExposure
from stillsky.psf import GaussianPsf
from stillsky.wcs import SkyMap, TractInfo

BOX = Box2I((0, 0), (SIZE, SIZE))


def skyMap():
    return SkyMap([TractInfo(4, sceneWcs(), BOX, (SIZE, SIZE), 0)])


class Handle:
    """A deferred dataset that reads boxes and components."""

    def __init__(self, exposure, **dataId):
        self.exposure, self.dataId = exposure, dataId

    def get(self, component=None, parameters=None):
        if component is not None:
            return getattr(self.exposure, component)
        box = (parameters or {}).get("bbox")
        return self.exposure if box is None else self.exposure[box]


class FakeQuantumContext:
    """Gets what it was given, keeps what is put."""

    def __init__(self, datasets, **dataId):
        self.datasets, self.put_ = datasets, {}
        self.quantum = SimpleNamespace(dataId=dataId)

    def get(self, refs):
        return dict(self.datasets)

    def put(self, outputs, refs):
        self.put_.update({k: v for k, v in vars(outputs).items() if hasattr(refs, k)})


def configOf(**values):
    config = DcrAssembleCoaddConfig()
    config.effectiveWavelength, config.bandwidth = BAND
    config.doInterp = False
    for name, value in values.items():
        setattr(config, name, value)
    return config


@pytest.fixture(scope="module")
def made():
    return makeScene()


@pytest.fixture(scope="module")
def datasets(made):
    warps, template = makeExposures(made)
    handles = [Handle(w, visit=100 + i, tract=4, patch=0, skymap="s") for i, w in enumerate(warps)]
    return {"inputWarps": handles, "templateExposure": template, "skyMap": skyMap()}


@pytest.fixture(scope="module")
def quantum(datasets):
    task = DcrAssembleCoaddTask(config=configOf())
    context = FakeQuantumContext(datasets, tract=4, patch=0, band="g", skymap="s")
    refs = [SimpleNamespace(dataId={"subfilter": k}) for k in (2, 0, 1)]
    results = task.runQuantum(context, None, SimpleNamespace(dcrCoadds=refs, dcrNImages=refs))
    return task, context, results


def testQuantumWritesSubfiltersInTheOrderOfItsReferences(quantum, datasets):
    task, context, results = quantum
    coadds = context.put_["dcrCoadds"]
    assert [c.metadata["SUBFILT"] for c in coadds] == [2, 0, 1]
    assert set(context.put_) == {"dcrCoadds", "dcrNImages"}
    images = [coadds[k].image.array for k in (1, 2, 0)]
    assertColours(images)  # which says why not the shares of the true spectra
    np.testing.assert_allclose(sum(images), results.coaddExposure.image.array, rtol=1e-4, atol=1e-2)
    template = datasets["templateExposure"]
    for coadd in coadds:
        np.testing.assert_allclose(coadd.variance.array, template.variance.array / 3, rtol=1e-6)
        assert coadd.metadata["BUNIT"] == "nJy" and coadd.filter.band == "g" and coadd.wcs == template.wcs
        assert coadd.psf == results.coaddExposure.psf
    metadata = task.metadata
    assert list(metadata.getArray("visits")) == [str(100 + i) for i in range(8)]
    assert metadata["finalConvergence"] < 0.1 * metadata["initialConvergence"]
    np.testing.assert_allclose(metadata.getArray("selectedPsfSizes"), 4.71, rtol=0.02)
    assert task.bufferSize == 3 and len(metadata.getArray("airmasses")) == 8


def testTaskCanRunTwice(quantum, datasets):
    """10.5.24: no state of the first run shows in the second."""
    task, _, first = quantum
    again = task.adaptArgsAndRun(datasets, None, {"coaddExposure": {"tract": 4, "patch": 0}})
    np.testing.assert_array_equal(again.coaddExposure.image.array, first.coaddExposure.image.array)


def testQuantumWithoutWarpsWritesNothing(datasets):
    task = DcrAssembleCoaddTask(config=configOf())
    context = FakeQuantumContext({**datasets, "inputWarps": []}, tract=4, patch=0)
    assert task.runQuantum(context, None, SimpleNamespace()) is None and not context.put_


def testRunDataRefSolvesAPatchFromItsWarps(quantum, datasets):
    class Patch:
        skyMap, dataId, written = skyMap(), {"tract": 4, "patch": 0, "band": "g", "skymap": "s"}, {}

        def get(self, name):
            return {"deepCoadd": datasets["templateExposure"]}[name]

        def put(self, thing, name, **more):
            self.written[name, more["subfilter"]] = thing

    task = DcrAssembleCoaddTask(config=configOf())
    patch = Patch()
    made = task.runDataRef(patch, warpRefList=datasets["inputWarps"])
    assert patch.written.keys() == {(name, k) for name in ("dcrCoadd", "dcrCoadd_nImage") for k in range(3)}
    for k, coadd in enumerate(made.dcrCoadds):
        assert patch.written["dcrCoadd", k] is coadd and coadd.metadata["SUBFILT"] == k
        np.testing.assert_array_equal(coadd.image.array, quantum[2].dcrCoadds[[1, 2, 0][k]].image.array)
    for lists in ({}, {"selectDataList": [], "warpRefList": []}):  # without a repository nothing says what none means
        with pytest.raises(RuntimeError, match="exactly one"):
            task.runDataRef(patch, **lists)


def testPsfOfTheCoaddIsMeasuredOnTheSourcesOfItsSubtask(rng, caplog):
    config = configOf(doCalculatePsf=True)
    task = DcrAssembleCoaddTask(config=config)
    pixels = rng.normal(0, NOISE, (240, 240))
    yy, xx = np.mgrid[:240, :240]
    for x, y in rng.uniform(-3, 3, (25, 2)) + np.array([(24 + 48 * (k % 5), 24 + 48 * (k // 5)) for k in range(25)]):
        pixels += 4e4 / (2 * np.pi * 4) * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / 8)
    coadd = makeExposure(pixels.astype(np.float32), variance=NOISE**2, psf=GaussianPsf(25, 25, 3.0))
    task.measureCoaddPsf(coadd)
    assert coadd.psf.fwhm((120, 120)) == pytest.approx(2.3548 * 2.0, rel=0.01)
    assert coadd.mask.isSet("DETECTED").any()
    faint = makeExposure((pixels / 100).astype(np.float32), variance=NOISE**2, psf=GaussianPsf(25, 25, 3.0))
    task.measureCoaddPsf(faint)  # below the threshold of the subtask
    assert faint.psf == GaussianPsf(25, 25, 3.0) and "PSF of the coadd is not measured" in caplog.text
    assert 9 <= task.measurePsf.metadata["numAvailStars"] < 25  # those whose footprints touch the edge are flagged

    def measured(change):
        config = configOf(doCalculatePsf=True)
        change(config)
        task = DcrAssembleCoaddTask(config=config)
        caplog.clear()
        given = makeExposure(pixels.astype(np.float32), variance=NOISE**2, psf=GaussianPsf(25, 25, 3.0))
        task.measureCoaddPsf(given)
        return given.psf != GaussianPsf(25, 25, 3.0), caplog.text

    def wide(config):
        config.measurePsf.starSelector["objectSize"].widthMin = 2.5

    def blind(config):
        config.measurePsfSources.plugins = ["base_SdssCentroid", "base_PsfFlux"]

    def small(config):
        config.measurePsf.psf.minSignalToNoise = 1e9

    assert measured(lambda config: None)[0]
    found, said = measured(wide)
    assert not found and "no good source to choose stars from" in said
    found, said = measured(blind)  # without shapes no star can be told
    assert not found and "slot_Shape" in said
    fitted = makeExposure(pixels.astype(np.float32), variance=NOISE**2, psf=GaussianPsf(25, 25, 3.0))
    config = configOf(doCalculatePsf=True)
    small(config)
    DcrAssembleCoaddTask(config=config).measureCoaddPsf(fitted)
    assert isinstance(fitted.psf, GaussianPsf) and not isinstance(coadd.psf, GaussianPsf)  # too faint for more


def testA3_tenMockWarpsBecomeSubfilters():
    """Coadd check A3 for this task: box, background, noise, sources and PSFs of the specification; g in three subfilters."""
    rng = np.random.default_rng(3)
    box = Box2I((-123, -45), (201, 301))
    y, x = np.mgrid[0:301, 0:201]
    stars = [(rng.uniform(0, 201), rng.uniform(0, 301), 1e3 * (1 + rng.pareto(1.3))) for _ in range(37)]
    handles = []
    for k in range(10):
        sigma = rng.uniform(1.5, 3)
        light = sum(
            f / (2 * np.pi * sigma**2) * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma**2)) for a, b, f in stars
        )
        warp = makeExposure((314.592 + light + rng.normal(0, 5, light.shape)).astype(np.float32), variance=25.0,
                            psf=GaussianPsf(25, 25, sigma), wcs=sceneWcs(), xy0=tuple(box.min))  # fmt: skip
        warp.visitInfo = visitInfoOf(AIRMASSES[k % 8], ANGLES[k % 8] + 5 * (k > 7), k)
        warp.metadata["BUNIT"] = "nJy"
        handles.append(Handle(warp, visit=k, tract=4, patch=0, skymap="s"))
    task = DcrAssembleCoaddTask(config=configOf())
    prepared = task.prepareInputs(handles, box)
    assert len(prepared.warpRefList) == 10
    plain = AssembleCoaddTask()
    info = SimpleNamespace(bbox=box, wcs=sceneWcs())
    template = plain.run(info, warpRefList=prepared.warpRefList, weightList=prepared.weightList).coaddExposure
    made = task.run(info, warpRefList=prepared.warpRefList, imageScalerList=prepared.imageScalerList,
                    weightList=prepared.weightList, supplementaryData=SimpleNamespace(templateCoadd=template))  # fmt: skip
    assert len(made.dcrCoadds) == 3 and made.coaddExposure.bbox == box
    assert all(coadd.metadata["BUNIT"] == "nJy" for coadd in (*made.dcrCoadds, made.coaddExposure))
    total = sum(coadd.image.array for coadd in made.dcrCoadds)
    assert np.isfinite(total).all() and np.median(total) == pytest.approx(314.592, abs=1.0)
    assert (made.dcrNImages[0].array[5:-5, 5:-5] == 10).all()


def testConfigRefusesWhatCannotBe():
    for change in ({"effectiveWavelength": None}, {"bandwidth": None}):
        with pytest.raises(FieldValidationError, match="nm"):
            configOf(**change).validate()
    with pytest.raises(FieldValidationError):
        configOf(dcrNumSubfilters=1)
    configOf(effectiveWavelength=None, bandwidth=None, bandLimits=[402.8, 549.8]).validate()


def testConfigHasRubinsDefaults():
    config = configOf()
    wanted = dict(
        dcrNumSubfilters=3, maxNumIter=None, minNumIter=None, convergenceThreshold=0.001, useConvergence=True, baseGain=None,
        useProgressiveGain=True, doAirmassWeight=False, modelWeightsWidth=3, useModelWeights=True, splitSubfilters=True,
        splitThreshold=0.1, regularizeModelIterations=2, regularizeModelFrequency=4, regularizationWidth=2,
        imageInterpOrder=1, accelerateModel=3, doCalculatePsf=False, doNImage=True, warpType="direct", statistic="MEAN",
    )  # fmt: skip
    assert {name: getattr(config, name) for name in wanted} == wanted
    assert list(config.convergenceMaskPlanes) == ["DETECTED"] and list(config.badMaskPlanes) == [
        "NO_DATA",
        "BAD",
        "SAT",
    ]
    assert config.detectPsfSources.thresholdValue == 50 and config.detectPsfSources.minPixels == 25


def testConnectionsAreThoseOfSubfilters():
    connections = DcrAssembleCoaddConfig.ConnectionsClass(config=configOf())
    assert connections.outputs == {"dcrCoadds", "dcrNImages"}
    assert {
        "inputWarps",
        "templateExposure",
        "skyMap",
    } <= connections.inputs and "psfMatchedWarps" not in connections.inputs
    assert connections.dcrCoadds.name == "dcrCoadd" and "subfilter" in connections.dcrCoadds.dimensions
    assert connections.templateExposure.name == "deepCoadd" and connections.dcrNImages.name == "dcrCoadd_nImage"
    assert connections.inputWarps.name == "deepCoadd_directWarp"
    assert DcrAssembleCoaddConfig.ConnectionsClass(config=configOf(doNImage=False)).outputs == {"dcrCoadds"}


@pytest.mark.shared
def testEveryNameOfThePageIsThere(sharedDir):
    page = (sharedDir / "seeds" / "002_c15b0d0e72bb3f0f.txt").read_text()
    names = set(re.findall(r"^(\w+)\s*\(", page, re.M)) | {"bufferSize", "canMultiprocess", "ConfigClass"}
    names = {n for n in names if n[0].islower() and not n.startswith("lsst")} - {"class"}
    missing = sorted(n for n in names if not hasattr(DcrAssembleCoaddTask, n))
    assert not missing


def testAirmassWeightsAreRecorded(datasets):
    task = DcrAssembleCoaddTask(config=configOf(doAirmassWeight=True))
    weights = [1.0] * 8
    task.prepareDcrInputs(datasets["templateExposure"], datasets["inputWarps"], weights)
    np.testing.assert_allclose(weights, [1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.8])


# ------------------------------------------------------------------ the template of a science image


def templateConfig(**values):
    config = GetDcrTemplateConfig()
    config.effectiveWavelength, config.bandwidth = BAND
    config.templateBorderSize = 0
    for name, value in values.items():
        setattr(config, name, value)
    return config


def testTemplateTaskMatchesTheVisit(quantum, made):
    handles = [Handle(c, tract=4, patch=0, subfilter=c.metadata["SUBFILT"]) for c in quantum[2].dcrCoadds]
    inputs = {
        "dcrCoadds": handles,
        "bbox": BOX,
        "wcs": sceneWcs(),
        "skyMap": skyMap(),
        "visitInfo": visitInfoOf(1.7, 60),
    }
    context = FakeQuantumContext(inputs, visit=9, detector=1, physical_filter="g-sim")
    GetDcrTemplateTask(config=templateConfig()).runQuantum(context, None, SimpleNamespace(template=None))
    template = context.put_["template"]
    inner = made.detected.copy()
    inner[:6], inner[-6:], inner[:, :6], inner[:, -6:] = 0, 0, 0, 0
    held = scene(1.7, 60)
    rms = np.sqrt(np.mean((template.image[BOX].array - held)[inner] ** 2))
    assert rms < np.sqrt(np.mean((made.template - held)[inner] ** 2)) / 5
    assert template.photoCalib is not None and template.filter.band == "g"


def testTheCurveOfTheTemplateReachesTheTemplateTask(datasets):
    """useTransmissionCurve: band and shifts follow from the curve attached to the coadd in the whole band, and the coadds take
    it on to the template of a visit."""
    from stillsky.dcr.template_task import MatchedPatch
    from stillsky.meta import TransmissionCurve

    template = datasets["templateExposure"].copy()
    template.info.transmissionCurve = TransmissionCurve([402.8, 549.8], [0.2, 1.0])
    config = configOf(
        effectiveWavelength=None, bandwidth=None, useTransmissionCurve=True, cgIterations=1, priorStrength=0.1
    )
    config.validate()
    context = FakeQuantumContext({**datasets, "templateExposure": template}, tract=4, patch=0, band="g", skymap="s")
    refs = [SimpleNamespace(dataId={"subfilter": k}) for k in range(3)]
    task = DcrAssembleCoaddTask(config=config)
    made = task.runQuantum(context, None, SimpleNamespace(dcrCoadds=refs, dcrNImages=refs)).dcr.models
    coadds = context.put_["dcrCoadds"]
    assert all(c.info.transmissionCurve == made.throughput and c.metadata["DCRCURVE"] for c in coadds)
    # of a straight line from 1 to 5 the mean lies two ninths of the half width above the middle
    assert made.effectiveWavelength == pytest.approx(476.3 + 73.5 * 2 / 9) and made.bandLimits == (402.8, 549.8)
    handles = [Handle(c, tract=4, patch=0, subfilter=k) for k, c in enumerate(coadds)]
    info = visitInfoOf(1.7, 60)
    matched = MatchedPatch(handles, info, templateConfig()).get()
    np.testing.assert_array_equal(matched.image.array, made.buildMatchedTemplate(visitInfo=info, order=1))


def testTemplateTaskWantsEverySubfilter(quantum):
    task = GetDcrTemplateTask(config=templateConfig())
    handles = [Handle(c, tract=4, patch=0, subfilter=c.metadata["SUBFILT"]) for c in quantum[2].dcrCoadds]
    for given in (handles[:2], [*handles, handles[0]]):
        with pytest.raises(RuntimeError, match="3 subfilters") as caught:
            task.matchPatches({4: given}, visitInfoOf(1.7, 60))
        assert isinstance(caught.value, MismatchError)
    with pytest.raises(RuntimeError, match="visitInfo"):
        task.matchPatches({4: handles}, None)


def testTemplateConfigWantsTheBand():
    with pytest.raises(ValueError, match="nm"):
        GetDcrTemplateConfig().validate()
    templateConfig().validate()
    connections = GetDcrTemplateConfig.ConnectionsClass(config=templateConfig())
    assert "coaddExposures" not in connections.inputs and connections.dcrCoadds.name == "dcrCoadd"
