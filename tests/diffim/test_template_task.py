"""Template tasks: quanta with a fake context, in-memory handles, the legacy entry points."""

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from template_scenes import CALIB, CENTER, NOISE, field, inputs, patches, skyMap

from stillsky import (
    GetCalexpAsTemplateTask,
    GetCoaddAsTemplateTask,
    GetTemplateTask,
    Warper,
    makeCdMatrix,
    makeTanWcs,
)
from stillsky.diffim.coadd_template import makeTractTemplate
from stillsky.diffim.template_task import GetTemplateConfig
from stillsky.errors import DomainError, MismatchError, NoDataError, StillskyError
from stillsky.geom import Box2I, Point2I
from stillsky.image import Exposure

SMALL = Box2I.fromMinMax(Point2I(0, 0), Point2I(180, 180))


class Ref:
    def __init__(self, **dataId):
        self.dataId = dataId


class Handle(Ref):
    """A deferred dataset with components, which counts how often its pixels are read."""

    def __init__(self, exposure, **dataId):
        super().__init__(**dataId)
        self.exposure, self.nReads = exposure, 0

    def get(self, *, component=None):
        if component is not None:
            return getattr(self.exposure, component)
        self.nReads += 1
        return self.exposure


class FakeQuantumContext:
    """Gets what it was given, keeps what is put."""

    def __init__(self, datasets, dataId=None):
        self.datasets, self.put_ = datasets, {}
        self.quantum = None if dataId is None else Ref(**dataId)

    def get(self, refs):
        return dict(self.datasets) if refs == "all" else self.datasets[refs]

    def put(self, outputs, refs):
        self.put_.update(vars(outputs) if hasattr(outputs, "__dict__") else outputs)


def handles(tracts=(0, 1, 2, 3)):
    return [Handle(e, tract=t, patch=p) for (t, p), e in patches().items() if t in tracts]


def test_aQuantumReadsThePatchesThatOverlapAndWritesATemplate():
    given = handles()
    context = FakeQuantumContext(
        {"bbox": SMALL, "wcs": field().wcs, "skyMap": skyMap(), "coaddExposures": given},
        {"visit": 42, "detector": 7, "physical_filter": "g-sim"},
    )
    task = GetTemplateTask()
    task.runQuantum(context, "all", None)
    template = context.put_["template"]
    assert template.bbox == SMALL.dilated(20) and template.wcs == field().wcs
    assert (template.filter.band, template.filter.physical) == ("g", "g-sim")
    assert template.visitInfo.id == 42 and template.photoCalib == CALIB
    read = sum(handle.nReads for handle in given)
    assert 0 < read < len(given) and max(handle.nReads for handle in given) == 1
    assert task.metadata["nTemplateInputs"] == template.psf.componentCount == read
    assert task.metadata["templateGoodPixels"] == template.bbox.area


def test_exposuresAreGroupedByTract():
    found = GetTemplateTask().getExposures(handles(), SMALL, skyMap(), field().wcs)
    assert set(found.coaddExposures) == set(found.dataIds)
    for tract, dataIds in found.dataIds.items():
        assert [d["tract"] for d in dataIds] == [tract] * len(dataIds)
        assert [h.dataId for h in found.coaddExposures[tract]] == dataIds


def test_inMemoryHandlesAndPlainExposuresServeAsWell():
    chosen = {key: e for key, e in patches().items() if key[0] == 0}
    ids = {0: [{"tract": t, "patch": p} for t, p in chosen]}
    task = GetTemplateTask()
    plain = task.run({0: list(chosen.values())}, SMALL, field().wcs, ids, "g-sim").template
    inMemory = [pipeBase.InMemoryDatasetHandle(e, copy=False) for e in chosen.values()]
    other = task.run({0: inMemory}, SMALL, field().wcs, ids, "g-sim", visit=3).template
    assert other.maskedImage == plain.maskedImage
    assert plain.visitInfo is None and other.visitInfo.id == 3


def test_nothingThatOverlapsIsNoWork():
    task = GetTemplateTask()
    far = SMALL.shifted((20000, 0))
    with pytest.raises(pipeBase.NoWorkFound, match="No patches found"):
        task.getExposures(handles(), far, skyMap(), field().wcs)
    with pytest.raises(pipeBase.NoWorkFound, match="WCS"):
        task.getExposures(handles(), SMALL, skyMap(), None)
    chosen = {key: e for key, e in patches().items() if key[0] == 0}
    ids = {0: [{"tract": t, "patch": p} for t, p in chosen]}
    box = Box2I.fromMinMax(Point2I(1200, 1200), Point2I(1600, 1600))
    with pytest.raises(pipeBase.NoWorkFound, match="No patches found"):
        task.run({0: list(chosen.values())}, box, field().wcs, ids, "g-sim")


def test_severalBandsAreARuntimeError():
    first, second = list(patches().values())[:2]
    other = Exposure(second.maskedImage, second.info)
    other.photoCalib = type(CALIB)(3.0)
    box = Box2I.fromMinMax(Point2I(-150, -150), Point2I(750, 750))
    ids = {0: [{"patch": 0}, {"patch": 1}]}
    with pytest.raises(RuntimeError, match="calibration"):
        GetTemplateTask().run({0: [first, other]}, box, field().wcs, ids, "g")


def test_defaultsAreThoseOfTheRubinTask():
    config = GetTemplateConfig()
    assert config.templateBorderSize == 20
    assert (config.warp.warpingKernelName, config.warp.cacheSize, config.warp.interpLength) == ("lanczos3", 100000, 100)
    assert (config.coaddPsf.warpingKernelName, config.coaddPsf.cacheSize) == ("lanczos3", 100000)
    background = config.varianceBackground
    assert (background.algorithm, background.binSize, background.statisticsProperty) == ("LINEAR", 32, "MEDIAN")
    assert not background.useApprox and background.doFilterSuperPixels
    assert (config.highVarianceThreshold, config.highVarianceMaskFraction) == (4.0, 0.1)
    config.validate()


# ------------------------------------------------------------------------------------------------ one tract


def coaddContext(keys):
    refs = [f"patch-{t}-{p}" for t, p in keys]
    context = FakeQuantumContext({"sky": skyMap(), **{r: patches()[k] for r, k in zip(refs, keys)}})
    handlesOf = [type("R", (str,), {"dataId": {"tract": t, "patch": p}})(r) for r, (t, p) in zip(refs, keys)]
    return context, handlesOf


def science(box=SMALL):
    return field()[box]


def test_patchesOfOneTractMakeATemplateThatReachesBeyondTheScienceImage():
    context, refs = coaddContext([k for k in patches() if k[0] == 0])
    task = GetCoaddAsTemplateTask()
    result = task.runQuantum(science(), context, "sky", refs)
    template = result.exposure
    assert result.sources is None and result.area == np.count_nonzero(~template.mask.isSet("NO_DATA"))
    assert template.wcs == skyMap()[0].wcs and template.photoCalib == CALIB
    warped = Warper("lanczos3").warpExposure(field().wcs, template, destBBox=SMALL)
    assert not np.any(warped.mask.isSet("NO_DATA")), "the border keeps the rim"
    assert np.median(np.abs(warped.image.array - science().image.array)) < NOISE
    assert template.psf.componentCount == task.metadata["nTemplateInputs"] > 1


def test_patchesOfSeveralTractsAreRefused():
    context, refs = coaddContext(list(patches()))
    with pytest.raises(RuntimeError, match="several tracts"):
        GetCoaddAsTemplateTask().runQuantum(science(), context, "sky", refs)


def test_withoutWcsOrOverlapThereIsNoTemplate():
    context, refs = coaddContext([k for k in patches() if k[0] == 0])
    task = GetCoaddAsTemplateTask()
    bare = Exposure(science().maskedImage)
    moved = Exposure(science().maskedImage, wcs=makeTanWcs((0, 0), CENTER + 0.1, makeCdMatrix(0.2 / 3600)))
    for exposure, given in ((bare, refs), (moved, refs), (science(), [])):
        result = task.runQuantum(exposure, context, "sky", given)
        assert result.exposure is None and result.area == 0


def test_missingPatchesAreSkippedAndNoPatchesAreAnError():
    tract = skyMap()[0]
    x, y = np.array([0, 180, 180, 0.0]), np.array([0, 0, 180, 180.0])
    corners = list(zip(*field().wcs.pixelToSky(x, y)))
    all_ = {p: e for (t, p), e in patches().items() if t == 0}
    task = GetCoaddAsTemplateTask()
    whole = task.run(tract, list(tract), corners, all_)
    some = dict(list(all_.items())[1:])
    fewer = task.run(tract, list(tract), corners, some)
    assert fewer.bbox == whole.bbox
    assert fewer.mask.isSet("NO_DATA").sum() > whole.mask.isSet("NO_DATA").sum()
    with pytest.raises(RuntimeError, match="No coadd patches"):
        task.run(tract, list(tract), corners, {})
    with pytest.raises(ValueError, match="sensorRef"):
        task.run(tract, list(tract), corners, all_, sensorRef=object())


def test_compatLetsLaterPatchesOverwriteAndKeepsOnePsf():
    config = GetCoaddAsTemplateTask.ConfigClass()
    config.compat = True
    tract, items = skyMap()[0], inputs((0,))
    box = items[-1].bbox.clipped(items[-2].bbox)
    ra, dec = tract.wcs.pixelToSky([box.minX, box.maxX], [box.minY, box.maxY])
    template = makeTractTemplate(items, tract.wcs, list(zip(ra, dec)), config).exposure
    assert template.psf is not None and not hasattr(template.psf, "componentCount")
    inside = items[-1].source[box]
    good = np.isfinite(inside.image.array) & np.isfinite(inside.variance.array)
    assert np.array_equal(template[box].image.array[good], inside.image.array[good])


def test_patchesWithoutCalibrationOrPsfAreRefused():
    items = inputs((0,))
    corners = list(zip(*field().wcs.pixelToSky([0, 180.0], [0, 180.0])))
    for name, error in (("photoCalib", NoDataError), ("psf", MismatchError)):
        changed = []
        for item in items:
            exposure = Exposure(item.source.maskedImage, item.source.info)
            setattr(exposure, name, None)
            changed.append(type(item).of(exposure, item.tract, item.patch))
        with pytest.raises(error) as caught:
            makeTractTemplate(changed, skyMap()[0].wcs, corners)
        assert isinstance(caught.value, RuntimeError)
    behind = [(CENTER[0] + np.pi, -CENTER[1])] * 4
    with pytest.raises(DomainError, match="projected"):
        makeTractTemplate(items, skyMap()[0].wcs, behind)


def test_datasetNamesFollowTheKindOfWarps():
    config = GetCoaddAsTemplateTask.ConfigClass()
    assert GetCoaddAsTemplateTask(config=config).getCoaddDatasetName() == "deepCoadd"
    config.warpType, config.coaddName = "psfMatched", "goodSeeing"
    assert GetCoaddAsTemplateTask(config=config).getCoaddDatasetName() == "goodSeeingCoaddPsfMatched"


# ------------------------------------------------------------------------------------------------ another visit


def test_anotherVisitServesWithItsBackgroundAdded():
    other, sky = science(), np.full(SMALL.shape, 12.5, np.float32)
    before = other.image.array.copy()
    catalogue = object()
    context = FakeQuantumContext({"calexp": other, "background": sky, "sources": catalogue})
    result = GetCalexpAsTemplateTask().runQuantum(science(), context, ["calexp"], ["background"], ["sources"])
    assert np.array_equal(result.exposure.image.array, before + np.float32(12.5))
    assert np.array_equal(other.image.array, before) and result.sources is catalogue


def test_ofSeveralVisitsTheFirstIsUsedAndNoneIsAnError(caplog):
    config = GetCalexpAsTemplateTask.ConfigClass()
    config.doAddCalexpBackground = False
    task = GetCalexpAsTemplateTask(config=config)
    first, second = science(), field()[SMALL.shifted((100, 0))]
    with caplog.at_level("WARNING"):
        assert task.run(science(), [first, second]).exposure is first
    assert "2 template exposures" in caplog.text
    with pytest.raises(StillskyError, match="no template"):
        task.run(science(), [])


def test_anExposureWithoutPsfOrBackgroundIsATaskError():
    bare = Exposure(science().maskedImage, wcs=science().wcs)
    with pytest.raises(pipeBase.TaskError, match="PSF"):
        GetCalexpAsTemplateTask().run(science(), [bare])
    with pytest.raises(pipeBase.TaskError, match="background"):
        GetCalexpAsTemplateTask().run(science(), [science()])
