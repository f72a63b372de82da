"""Calls of the methods of DcrAssembleCoaddTask and of the coadd tasks that it derives from, with what each does."""

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table
from dcr_scene import BAND, LIMITS, SIZE
from seed_world import PATCH, SCENE_BOX, dcrConfig

from stillsky import AssembleCoaddTask, CompareWarpAssembleCoaddTask, DcrAssembleCoaddTask
from stillsky.coadd import coaddSchema
from stillsky.dcr import DcrModel
from stillsky.detection import SpanSet
from stillsky.diffim.ids import IdFactory
from stillsky.geom import Box2I, Polygon
from stillsky.image import Image, Mask

CANDIDATE = SpanSet.fromBox(Box2I((30, 30), (10, 4)))
INNER = Box2I((20, 20), (48, 40))


def blank():
    return Mask(np.zeros((SIZE, SIZE), np.int32))


# ---------------------------------------------------------------------- masks and artifacts
def applyAltEdgeMask(world):
    mask = blank()
    world.dcrTask.applyAltEdgeMask(mask, [{"EDGE": [CANDIDATE]}, {"CLIPPED": [CANDIDATE]}])
    assert mask.isSet("SENSOR_EDGE").sum() == mask.isSet("INEXACT_PSF").sum() == 40 and not mask.isSet("CLIPPED").any()


def applyAltMaskPlanes(world):
    mask = blank()
    assert world.dcrTask.applyAltMaskPlanes(mask, {"CLIPPED": [CANDIDATE]}) is mask
    assert mask.isSet("CLIPPED").sum() == 40 and mask.isSet("CLIPPED")[30:34, 30:40].all()


def filterArtifacts(world):
    once, visits = Image(np.ones((SIZE, SIZE), np.uint16)), Image(np.full((SIZE, SIZE), 8, np.uint16))
    assert world.dcrTask.filterArtifacts([CANDIDATE], once, visits) == [CANDIDATE]
    assert world.dcrTask.filterArtifacts([CANDIDATE], visits, visits) == []  # every visit shows it


def findArtifacts(world):
    struck = [warp.copy() for warp in world.warps]
    for warp in struck:  # the stars alone: their motion with the airmass is what the method finds otherwise
        warp.image.array[...] = world.coadd.image.array
    struck[3].image.array[10:14, 60:90] += 500
    found = world.dcrTask.findArtifacts(world.coadd, tempExpRefList=struck, imageScalerList=[None] * 8)
    clipped = [sum(spans.area for spans in one.get("CLIPPED", ())) for one in found]
    assert clipped[3] >= 120 and sum(clipped) == clipped[3]


def prefilterArtifacts(world):
    mask = blank()
    assert world.dcrTask.prefilterArtifacts([CANDIDATE], mask) == [CANDIDATE]
    mask.array[...] = mask.bitmask("BAD")
    assert world.dcrTask.prefilterArtifacts([CANDIDATE], mask) == []


def removeMaskPlanes(world):
    config = dcrConfig()
    config.removeMaskPlanes = ["CR"]
    exposure = world.warps[0].copy()
    exposure.mask.array[...] |= exposure.mask.bitmask(["CR", "SAT"])
    DcrAssembleCoaddTask(config=config).removeMaskPlanes(exposure.maskedImage)
    assert not exposure.mask.isSet("CR").any() and exposure.mask.isSet("SAT").all()


def getBadPixelMask(world):
    assert world.dcrTask.getBadPixelMask() == coaddSchema().bitmask(["NO_DATA", "BAD", "SAT"])


def setInexactPsf(world):
    mask = blank()
    mask.addPlane("REJECTED")
    mask.array[5, 6] = mask.bitmask("REJECTED")
    world.dcrTask.setInexactPsf(mask)
    assert mask.isSet("INEXACT_PSF").sum() == 1 and mask.isSet("INEXACT_PSF")[5, 6]


def setRejectedMaskMapping(world):
    control, bits = world.dcrTask.prepareStats().ctrl, coaddSchema().bitmask
    mapping = dict(DcrAssembleCoaddTask.setRejectedMaskMapping(control))
    assert mapping[bits("EDGE")] == bits("SENSOR_EDGE") and mapping[bits("CLIPPED")] == bits("CLIPPED")
    assert bits("REJECTED") in mapping.values()


def prepareStats(world):
    stats = world.dcrTask.prepareStats()
    assert stats.ctrl.andMask == world.dcrTask.getBadPixelMask() and stats.flags is not None
    assert world.dcrTask.prepareStats(mask=7).ctrl.andMask == 7


def setBrightObjectMasks(world):
    config = dcrConfig()
    config.doMaskBrightObjects = True
    task, exposure = DcrAssembleCoaddTask(config=config), world.coadd.copy()
    ra, dec = exposure.wcs.pixelToSky(40.0, 50.0)
    table = Table({"id": [1], "type": ["circle"], "ra": [ra], "dec": [dec], "radius": [np.radians(4.9 * 0.2 / 3600)]})
    task.setBrightObjectMasks(exposure, PATCH, table)
    marked = exposure.mask.isSet("BRIGHT_OBJECT")
    assert marked.sum() == 49 and marked[50, 40]  # the disc of radius 4


def readBrightObjectMasks(world):
    table = Table({"id": [1]})
    reference = SimpleNamespace(dataId=PATCH, get=lambda *names, **more: table)
    assert world.dcrTask.readBrightObjectMasks(reference) is table
    assert world.dcrTask.readBrightObjectMasks(world.patchRef("bright")) is None  # the repository has none


def processResults(world):
    config = dcrConfig()
    config.doInterp, config.doMaskBrightObjects = True, True
    task, exposure = DcrAssembleCoaddTask(config=config), world.coadd.copy()
    exposure.image.array[50, 40], exposure.mask.array[50, 40] = np.nan, exposure.mask.bitmask("NO_DATA")
    task.processResults(exposure, dataRef=world.patchRef("bright"))
    assert np.isfinite(exposure.image.array[50, 40]) and not exposure.mask.isSet("BRIGHT_OBJECT").any()


def shrinkValidPolygons(world):
    coadd = world.coadd.copy()
    AssembleCoaddTask().assembleMetadata(coadd, world.warps, [1.0] * 8)
    inputs = coadd.info.coaddInputs
    world.dcrTask.shrinkValidPolygons(inputs)
    assert inputs.ccds["validPolygon"][0] == Polygon(SCENE_BOX.dilated(-11))  # half of 21 pixels, rounded outwards


# ---------------------------------------------------------------------- names, geometry, references
def getCoaddDatasetName(world):
    assert world.dcrTask.getCoaddDatasetName() == "deepCoadd"
    assert world.dcrTask.getCoaddDatasetName("psfMatched") == "deepCoaddPsfMatched"


def getTempExpDatasetName(world):
    assert world.dcrTask.getTempExpDatasetName(warpType="psfMatched") == "deepCoadd_psfMatchedWarp"


def getSkyInfo(world):
    info = world.dcrTask.getSkyInfo(world.patchRef("sky"))
    assert info.bbox == SCENE_BOX and info.wcs == world.coadd.wcs
    assert world.dcrTask.getSkyInfo((world.skyMap, 4, (0, 0))).bbox == SCENE_BOX


def getTempExpRefList(world):
    found = world.dcrTask.getTempExpRefList(world.patchRef("refs"), [{"visit": 103}, {"visit": 101}, {"visit": 99}])
    assert [handle.dataId["visit"] for handle in found] == [103, 101]
    assert found[1].get().maskedImage == world.warps[1].maskedImage


def selectExposures(world):
    elsewhere = world.warps[1].copy()
    elsewhere.wcs = world.template.wcs
    given = [world.warps[0], elsewhere, world.warps[2]]
    assert world.dcrTask.selectExposures(world.patchRef("sky"), selectDataList=given) == [given[0], given[2]]


def makeIdFactory(world):
    factory = world.dcrTask.makeIdFactory(world.patchRef("ids"))
    assert isinstance(factory, IdFactory) and factory.upper >= 4 and 0 < factory() < factory()


# ---------------------------------------------------------------------- inputs and supplementary data
def prepareInputs(world):
    prepared = world.dcrTask.prepareInputs(world.warpHandles())
    np.testing.assert_allclose(prepared.weightList, 1 / 25, rtol=1e-3)  # of the noise, 5
    assert len(prepared.tempExpRefList) == len(prepared.imageScalerList) == 8


def makeSupplementaryData(world):
    reference = SimpleNamespace(dataId=PATCH, get=lambda name: world.coadd)
    made = world.dcrTask.makeSupplementaryData(reference, warpRefList=world.warpHandles())
    assert made.templateCoadd is world.coadd and len(made.weightList) == 8
    compare = CompareWarpAssembleCoaddTask().makeSupplementaryData((world.skyMap, 4, 0), warpRefList=world.warps)
    assert np.median(np.abs(compare.templateCoadd.image.array - world.coadd.image.array)) < 1


def makeSupplementaryDataGen3(world):
    data = {"inputWarps": world.warpHandles(), "templateExposure": world.coadd}
    made = world.dcrTask.makeSupplementaryDataGen3(data, {}, {"coaddExposure": PATCH}, world.butler)
    assert made.templateCoadd is world.coadd and len(made.warpRefList) == 8


def assembleMetadata(world):
    coadd = world.coadd.copy()
    coadd.info.coaddInputs = None
    AssembleCoaddTask().assembleMetadata(coadd, tempExpRefList=world.warps, weightList=[1.0] * 8)
    assert coadd.info.coaddInputs.visits["id"].tolist() == [warp.visitInfo.id for warp in world.warps]
    assert coadd.filter.band == "g"


def assembleSubregion(world):
    task, coadd = AssembleCoaddTask(), world.coadd.copy()
    before, stats = coadd.image.array.copy(), task.prepareStats()
    number = Image(np.zeros((SIZE, SIZE), np.uint16))
    lists = {"imageScalerList": [None] * 8, "weightList": [1.0] * 8, "altMaskList": [None] * 8}
    task.assembleSubregion(coadd, INNER, tempExpRefList=world.warps, **lists, statsFlags=stats.flags,
                           statsCtrl=stats.ctrl, nImage=number)  # fmt: skip
    part = INNER.slices((0, 0))
    mean = np.mean([warp.image.array[part] for warp in world.warps], axis=0)
    assert np.median(np.abs(coadd.image.array[part] - mean)) < 1 and (number.array[part] == 8).all()
    outside = np.ones((SIZE, SIZE), bool)
    outside[part] = False
    np.testing.assert_array_equal(coadd.image.array[outside], before[outside])


# ---------------------------------------------------------------------- subfilters
def model(world):
    made = world.dcrTask.prepareDcrInputs(world.coadd, world.warps, [1.0] * 8)
    made.mask = world.coadd.mask
    return made


def prepareDcrInputs(world):
    weights = [1.0] * 8
    made = world.dcrTask.prepareDcrInputs(world.coadd, world.warpHandles(), weights)
    assert isinstance(made, DcrModel) and weights == [1.0] * 8
    np.testing.assert_allclose(sum(made), world.coadd.image.array, rtol=1e-5, atol=1e-3)


def bufferSize(world):
    assert DcrAssembleCoaddTask(config=dcrConfig()).bufferSize == 1
    prepareDcrInputs(world)
    assert world.dcrTask.bufferSize == 3


def canMultiprocess(world):
    assert DcrAssembleCoaddTask.canMultiprocess is True


def control(world):
    return world.dcrTask.prepareStats(mask=world.dcrTask.getBadPixelMask()).ctrl


def loadSubExposures(world):
    struck = [warp.copy() for warp in world.warps]
    struck[0].mask.array[25, 30] |= struck[0].mask.bitmask("BAD")
    found = list(world.dcrTask.loadSubExposures(INNER, control(world), struck, [None] * 8, [{}] * 8).values())
    assert len(found) == 8 and all(one.bbox == INNER for one in found)
    assert found[0].image.array[5, 10] == found[0].variance.array[5, 10] == 0 and found[1].variance.array[5, 10] == 1


def dcrResiduals(world):
    residual = np.zeros((SIZE, SIZE), np.float32)
    residual[48, 48] = 1.0
    info = SimpleNamespace(lambdaEff=BAND[0], lambdaMin=LIMITS[0], lambdaMax=LIMITS[1])
    warp = world.warps[-1]  # airmass 1.8
    shifted = list(world.dcrTask.dcrResiduals(residual, warp.visitInfo, warp.wcs, filterInfo=info))
    y, x = np.mgrid[:SIZE, :SIZE]
    places = np.array([(float((one * y).sum()), float((one * x).sum())) for one in shifted])
    assert len(shifted) == 3 and np.hypot(*(places[0] - places[2])) > 0.5
    np.testing.assert_allclose(places.mean(axis=0), 48, atol=0.3)


def calculateModelWeights(world):
    weights = world.dcrTask.calculateModelWeights(model(world), SCENE_BOX)
    detected = world.coadd.mask.isSet("DETECTED")
    assert weights[detected].min() > 0.4 and weights[0, 0] == 0 and weights.max() <= 1 + 1e-6
    config = dcrConfig()
    config.useModelWeights = False
    assert DcrAssembleCoaddTask(config=config).calculateModelWeights(model(world), SCENE_BOX) == 1.0


def applyModelWeights(world):
    images = [np.full((4, 4), 9.0, np.float32) for _ in range(3)]
    weights = np.zeros((4, 4), np.float32)
    weights[1, 1] = 1
    world.dcrTask.applyModelWeights(images, np.full((4, 4), 6.0, np.float32), weights)
    assert all(one[1, 1] == 9 and one[0, 0] == 2 for one in images)  # away from sources a third of the reference


def calculateNImage(world):
    numbers, weights = world.dcrTask.calculateNImage(model(world), SCENE_BOX, world.warps, [None] * 8, control(world))
    inner = np.s_[5:-5, 5:-5]
    assert all((one.array[inner] == 8).all() and one.array.dtype == np.uint16 for one in numbers)
    assert all(np.allclose(one.array[inner], 1 / 8) for one in weights)


def metric(world, dcrModels):
    config = dcrConfig()
    config.accelerateModel = 1  # the models as they are
    task, ctrl = DcrAssembleCoaddTask(config=config), control(world)
    exposures = task.loadSubExposures(SCENE_BOX, ctrl, world.warps)
    return task.calculateConvergence(dcrModels, exposures, SCENE_BOX, world.warps, [1.0] * 8, ctrl)


def calculateConvergence(world):
    assert metric(world, world.dcr.dcr.models) < 0.5 * metric(world, model(world))


def calculateSingleConvergence(world):
    task, ctrl = world.dcrTask, control(world)
    significance = np.abs(world.coadd.image.array)
    values = [task.calculateSingleConvergence(model(world), warp, significance, ctrl) for warp in world.warps]
    assert values[-1] > values[0] > 0  # at airmass 1.8 the plain template is worse than near the zenith


def calculateGain(world):
    gains = []
    first = world.dcrTask.calculateGain([0.1], gains)
    assert gains == [first] and 0 < first <= 1
    with pytest.raises(ValueError):
        world.dcrTask.calculateGain([0.1, 0.05], [])


def _step(world):
    task, made, ctrl = world.dcrTask, model(world), control(world)
    return SimpleNamespace(
        task=task, models=made, ctrl=ctrl, exposures=task.loadSubExposures(SCENE_BOX, ctrl, world.warps),
        weights=task.calculateModelWeights(made, SCENE_BOX), reference=world.coadd.image.array,
        dcrWeights=task.calculateNImage(made, SCENE_BOX, world.warps, [None] * 8, ctrl)[1],
    )  # fmt: skip


def dcrAssembleSubregion(world):
    s = _step(world)
    before = metric(world, s.models)
    for _ in range(2):
        s.task.dcrAssembleSubregion(s.models, s.exposures, SCENE_BOX, SCENE_BOX, world.warps, s.ctrl, before,
                                    world.coadd.mask, 0.5, s.weights, s.reference, s.dcrWeights)  # fmt: skip
    assert metric(world, s.models) < before


def newModelFromResidual(world):
    s = _step(world)
    zero = [iter([np.zeros((SIZE, SIZE), np.float32)] * 3) for _ in world.warps]
    same = s.task.newModelFromResidual(s.models, zero, SCENE_BOX, s.ctrl, world.coadd.mask, 0.5, s.weights,
                                       s.reference, s.dcrWeights)  # fmt: skip
    for new, old in zip(same, s.models, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-2)


def fillCoadd(world):
    made = model(world)
    coadds = world.dcrTask.fillCoadd(made, world.dcrTask.getSkyInfo(world.patchRef("sky")), world.warps, [1.0] * 8,
                                     calibration=world.coadd.photoCalib, mask=world.coadd.mask)  # fmt: skip
    assert len(coadds) == 3 and all(
        one.photoCalib == world.coadd.photoCalib and one.filter.band == "g" for one in coadds
    )


def stackCoadd(world):
    total = world.dcrTask.stackCoadd(world.dcr.dcrCoadds)
    np.testing.assert_allclose(total.image.array, sum(one.image.array for one in world.dcr.dcrCoadds), rtol=1e-5)


def selectCoaddPsf(world):
    template = world.coadd.copy()
    handles = world.warpHandles()
    AssembleCoaddTask().assembleMetadata(template, handles, [1.0] * 8)
    template.psf = world.coadd.psf
    psf = world.dcrTask.selectCoaddPsf(template, handles)
    assert psf.fwhm() == pytest.approx(world.warps[0].psf.fwhm(), rel=0.05)


# ---------------------------------------------------------------------- the whole
def run(world):
    made = world.dcr
    np.testing.assert_allclose(
        made.coaddExposure.image.array, sum(one.image.array for one in made.dcrCoadds), rtol=1e-5
    )
    assert made.nImage is not None and len(made.dcrNImages) == 3
    assert made.dcr.finalConvergence < 0.1 * made.dcr.initialConvergence


def runDataRef(world):
    made = world.dcrTask.runDataRef(world.patchRef("u/list"), warpRefList=world.warpHandles())
    stored = world.get("dcrCoadd", {**PATCH, "subfilter": 1}, "u/list")
    np.testing.assert_array_equal(stored.image.array, made.dcrCoadds[1].image.array)
    with pytest.raises(RuntimeError, match="exactly one"):
        world.dcrTask.runDataRef(world.patchRef("u/list"), selectDataList=[], warpRefList=[])
    logging.getLogger("stillsky").debug("nothing to combine is no error")
    assert world.dcrTask.runDataRef(world.patchRef("u/list"), selectDataList=[]) is None


def runQuantum(world):
    world.dcrTask.runDataRef(world.patchRef("u/quantum"))  # the quantum of the patch, through a QuantumContext
    for k in range(3):
        stored = world.get("dcrCoadd", {**PATCH, "subfilter": k}, "u/quantum")
        np.testing.assert_array_equal(stored.image.array, world.dcr.dcrCoadds[k].image.array)


_HELPERS = ("blank", "model", "control", "metric")
COADD = {name: thing for name, thing in list(vars().items())
         if getattr(thing, "__module__", None) == __name__ and not name.startswith("_") and name not in _HELPERS}  # fmt: skip
