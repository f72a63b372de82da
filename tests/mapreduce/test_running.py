"""How mappers run: acceptance checks 22, 23, 30 of the specification, grids reused, errors, context, views."""

import lsst.pipe.base as pipeBase
import numpy as np
import pytest
from map_scenes import exposureOf, makeTask, pairs
from worker_mappers import ContextMapper, FailingMapper, MetadataMapper, NoisyMapper, StoppingMapper, WideMapper

from stillsky import MapConfig, mapReduce, writeExposure
from stillsky.errors import DomainError, ShapeError
from stillsky.geom import Box2I
from stillsky.mapreduce.deferred import DeferredExposure
from stillsky.mapreduce.mapper_tasks import PassThroughMapper
from stillsky.mapreduce.task import ImageMapper, ImageMapReduceConfig, ImageMapReduceTask, ImageReducer


def same(a, b):
    """Planes equal bit for bit."""
    return all(
        np.array_equal(p.array, q.array, equal_nan=True) for p, q in zip(a.maskedImage.planes, b.maskedImage.planes)
    )


@pytest.fixture
def noisy(rng):
    """300 x 200 random pixels, 5 % NaN, random masks."""
    image = rng.normal(size=(200, 300))
    image[rng.random(image.shape) < 0.05] = np.nan
    return exposureOf(image, variance=2.0, mask=rng.integers(0, 2048, image.shape), xy0=(-7, 1000))


# ---------------------------------------------------------------------- grids of a task


@pytest.mark.parametrize("compat", [True, False])
def testOneTaskForTwoImages(compat, rng):
    task = makeTask(compat=compat)
    for size, xy0 in (((128, 128), (0, 0)), ((96, 160), (30, -40)), ((128, 128), (5, 5))):
        exposure = exposureOf(rng.normal(size=size[::-1]), xy0=xy0)
        assert same(task.run(exposure).exposure, makeTask(compat=compat).run(exposure).exposure)


def testGridFollowsEvennessAndConfig():
    task, exposure = makeTask(**pairs(cell=9, step=9)), exposureOf()
    task.run(exposure)
    assert task.boxes0[0].width == 9
    task.run(exposure, forceEvenSized=True)
    assert task.boxes0[0].width == 10
    task.config.cellSizeX = 20
    task.run(exposure)
    assert task.boxes0[0].width == 20


def testEditedBoxesServeOneRun():
    task, exposure = makeTask(operation="none"), exposureOf()
    task._generateGrid(exposure)
    del task.boxes0[3:], task.boxes1[3:]
    assert len(task.run(exposure).result) == 3
    assert len(task.run(exposure).result) == 169
    task.boxes0 = task.boxes1 = [Box2I((0, 0), (20, 20))]
    assert len(task.run(exposure).result) == 1
    assert len(task.run(exposure).result) == 169
    fresh = makeTask(operation="none")
    fresh.boxes0, fresh.boxes1 = [Box2I((0, 0), (20, 20))], [Box2I((0, 0), (22, 22))]
    assert [len(fresh.run(exposure).result) for _ in range(2)] == [1, 169]


def testPsfIsNeededForScalingOnly():
    exposure = exposureOf(psf=None)
    out = makeTask(compat=False).run(exposure).exposure
    assert out.psf is None and np.all(out.image.array == 5)
    with pytest.raises(ValueError, match="no PSF"):
        makeTask(compat=False, scaleByFwhm=True).run(exposure)


def testCentresOffTheImageAreCounted(caplog):
    fields = {
        "operation": "none",
        "compat": False,
        "cellCentroidsX": [10.0, -90.0, 50.0],
        "cellCentroidsY": [10.0, 5.0, 50.0],
    }
    task = makeTask(**fields)
    assert len(task.run(exposureOf()).result) == 2 and task.metadata["numSkippedCells"] == 1
    assert "1 of 3 cells" in caplog.text
    kept = makeTask(keepEmpty=True, **fields).run(exposureOf()).result
    assert len(kept) == 3 and kept[1] is None and kept[2].subExposure.bbox.contains((50, 50))


# ---------------------------------------------------------------------- executors


@pytest.mark.parametrize("operation", ["copy", "sum", "average", "none", "coaddPsf"])
def testExecutorsAgreeBitForBit(noisy, operation):
    fields = {"mapper": NoisyMapper, "operation": operation, "compat": False, **pairs(cell=60, step=45)}
    reference = makeTask(**fields).run(noisy)
    for executor, workers in (("thread", 1), ("thread", 2), ("thread", 7), ("process", 2)):
        out = makeTask(executor=executor, numWorkers=workers, **fields).run(noisy)
        if operation == "none":
            assert [r.index for r in out.result] == [r.index for r in reference.result]
            assert all(same(a.subExposure, b.subExposure) for a, b in zip(out.result, reference.result))
        elif operation == "coaddPsf":
            assert out.result == reference.result
        else:
            assert same(out.exposure, reference.exposure)
            assert out.exposure.psf == reference.exposure.psf


def testProcessesNameWhatCannotBeSent(noisy):
    with pytest.raises(TypeError, match="keyword 'helper'"):
        makeTask(executor="process", numWorkers=2).run(noisy, helper=lambda: 1)


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def testMetadataOfMappersIsMergedInTheOrderOfTheList(executor):
    task = makeTask(
        mapper=MetadataMapper, executor=executor, numWorkers=2, adjustGridOption="none", **pairs(cell=43, step=43)
    )
    task.mapper.metadata.add("corner", -1.0)  # what was there stays
    task.run(exposureOf())
    assert task.mapper.metadata.getArray("corner") == [-1.0, *(float(b.minX * 1000 + b.minY) for b in task.boxes0)]


def testRandomNumbersDoNotDependOnTheExecutor():
    def numbers(**fields):
        task = makeTask(mapper=ContextMapper, operation="none", **pairs(cell=43, step=43), **fields)
        return [(r.index, r.number, tuple(r.planes)) for r in task.run(exposureOf()).result]

    first = numbers()
    assert [n[0] for n in first] == list(range(len(first))) and len({n[1] for n in first}) == len(first)
    assert "SAT" in first[0][2]
    assert numbers(executor="thread", numWorkers=3) == first and numbers(seed=1) != first


# ---------------------------------------------------------------------- errors


FAILING = {"mapper": FailingMapper, "adjustGridOption": "none", **pairs(cell=43, step=43)}


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
@pytest.mark.parametrize("compat", [True, False])
def testFailedCellIsMaskedAndCounted(executor, compat):
    exposure = exposureOf()
    task = makeTask(
        onMapperError="mask", compat=compat, executor=executor, numWorkers=2, **{**FAILING, **pairs(border=5)}
    )
    out = task.run(exposure, bad=[4]).exposure
    assert len(task.boxes0) == 9
    inside = np.zeros((128, 128), bool)
    inside[task.boxes0[4].slices((0, 0))] = True
    assert inside.sum() == 43 * 43
    np.testing.assert_array_equal(np.isnan(out.image.array), inside)
    np.testing.assert_array_equal(out.mask.isSet("INVALID_MAPREDUCE"), inside)
    assert task.metadata["numFailedCells"] == 1 and task.metadata.getArray("failedCells") == [4]


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def testExceptionOfAMapperNamesTheCell(executor):
    task = makeTask(executor=executor, numWorkers=2, **FAILING)
    with pytest.raises(ZeroDivisionError, match="cell at") as caught:
        task.run(exposureOf(), bad=[2])
    assert any("cell 2" in note for note in getattr(caught.value, "__notes__", [])) or executor == "process"
    assert np.all(task.run(exposureOf(), bad=[]).exposure.image.array == 0)


@pytest.mark.parametrize("executor", ["serial", "thread", "process"])
def testTheFirstErrorInTheListIsRaisedWhateverTheOrderOfWork(executor):
    """7.4: work goes by rows, so that cell 3 fails before cell 1."""
    task = makeTask(executor=executor, numWorkers=2, **FAILING)
    with pytest.raises(ZeroDivisionError) as caught:
        task.run(exposureOf(), bad=[1, 3])
    assert str(tuple(task.boxes0[1].min)) in str(caught.value)


@pytest.mark.parametrize("executor", ["serial", "thread"])
def testFailedCellsKeepTheirPlaceInTheList(executor):
    """9.8: one result for each cell."""
    fields = {"operation": "none", "onMapperError": "mask", "executor": executor, "numWorkers": 2}
    found = makeTask(**fields, **FAILING).run(exposureOf(), bad=[4]).result
    assert [r is None for r in found] == [k == 4 for k in range(9)]


def testFailedAndMissingCellsAreToldApartByTheirPlaces():
    """9.8, keepEmpty: the first centre fails, the second is off the image; the third is in its place."""
    centres = {"cellCentroidsX": [20.0, -90.0, 60.0], "cellCentroidsY": [20.0, 5.0, 60.0]}
    fields = {"onMapperError": "mask", "keepEmpty": True, "scaleByFwhm": False, **centres}
    task = makeTask(operation="none", compat=False, mapper=FailingMapper, **fields)
    config = MapConfig(**fields)
    config.reducer.reduceOperation = "none"
    config.cellSizeX = config.cellSizeY = 10

    def middle(sub, expanded, box):
        if sub.bbox.contains((20, 20)):
            raise ZeroDivisionError
        return {"center": tuple(sub.bbox.center)}

    assert [r and tuple(r.subExposure.bbox.center) for r in task.run(exposureOf(), bad=[0]).result] == [None, None, (59.5, 59.5)]  # fmt: skip
    assert [r and r.center for r in mapReduce(exposureOf(), middle, config).result] == [None, None, (59.5, 59.5)]


def testMappersAreFoundByName():
    """9.18."""
    import stillsky
    from stillsky import mapreduce
    from stillsky.diffim import DecorrelateALKernelMapper

    for name in ("PassThrough", "Statistics", "Convolve", "Callable", "Decorrelate"):
        mapper = getattr(stillsky, f"{name}Mapper")
        assert issubclass(mapper, ImageMapper) and getattr(mapreduce, f"{name}Mapper") is mapper
    assert stillsky.DecorrelateMapper is DecorrelateALKernelMapper
    assert stillsky.DeferredExposure is mapreduce.DeferredExposure is DeferredExposure


def testAllCellsFailing():
    with pytest.raises(ZeroDivisionError):
        makeTask(onMapperError="mask", **FAILING).run(exposureOf(), bad=range(9))


@pytest.mark.parametrize("executor", ["serial", "thread"])
def testNoWorkFoundAlwaysPropagates(executor):
    task = makeTask(mapper=StoppingMapper, onMapperError="mask", executor=executor, numWorkers=2)
    with pytest.raises(pipeBase.NoWorkFound):
        task.run(exposureOf())


def testUntouchedConfigIsAbstract():
    with pytest.raises(TypeError, match="abstract"):
        ImageMapReduceTask(config=ImageMapReduceConfig())


# ---------------------------------------------------------------------- views, copies, memory reuse


class LookingMapper(ImageMapper):
    """Notes what it was given."""

    seen = None

    def run(self, sub, expanded, box, **kwargs):
        type(self).seen.append((sub, expanded, box, kwargs))
        return super().run(sub, expanded, box, **kwargs)


@pytest.mark.parametrize("doClone", [False, True])
def testMappersGetViewsOrCopies(doClone):
    LookingMapper.seen = []
    exposure = exposureOf(xy0=(10, 20))
    makeTask(mapper=LookingMapper).run(exposure, doClone=doClone, other=3)
    sub, expanded, box, kwargs = LookingMapper.seen[0]
    assert sub.image.overlapsMemory(exposure.image) != doClone
    assert expanded.mask.overlapsMemory(exposure.mask) != doClone
    assert box == exposure.bbox and kwargs == {"doClone": doClone, "other": 3} and sub.psf is exposure.psf
    assert (tuple(sub.xy0), tuple(expanded.dimensions)) == ((10, 20), (15, 15))


def testInputsAreAttachedOnRequest():
    exposure = exposureOf()
    results = makeTask(operation="none", returnSubImages=True).run(exposure).result
    assert results[0].inputSubExposure.image.overlapsMemory(exposure.image)
    assert tuple(results[0].inputExpandedSubExposure.dimensions) == (15, 15)
    with pytest.raises(RuntimeError, match="inputSubExposure"):
        makeTask(mapper=WideMapper, operation="none", returnSubImages=True).run(exposure, attach=True)


@pytest.mark.parametrize("operation", ["copy", "sum", "average"])
@pytest.mark.parametrize("option", ["spacing", "size", "none"])
def testInPlaceEqualsACopy(noisy, operation, option):
    fields = {"mapper": NoisyMapper, "compat": False, "adjustGridOption": option, **pairs(cell=31, step=23, border=9)}
    task = makeTask(operation=operation, **fields)
    reference = task.run(noisy).exposure
    own = noisy.copy()
    out = makeTask(operation=operation, **fields).run(own, inPlace=True).exposure
    assert out.image.overlapsMemory(own.image) and same(out, reference)
    assert dict(out.mask.schema) == dict(reference.mask.schema)


def testInPlaceRefusesWhatItCannotDo():
    for operation in ("none", "coaddPsf"):
        with pytest.raises(DomainError, match="inPlace"):
            makeTask(operation=operation).run(exposureOf(), inPlace=True)
    with pytest.raises(ShapeError, match="expanded cell"):
        makeTask(mapper=WideMapper, **pairs(cell=10, border=1)).run(exposureOf(), inPlace=True)


@pytest.mark.parametrize("compat", [True, False])
def testPatchesMayLieAnywhereInTheImage(compat, rng):
    """A patch outside its expanded cell reopens rows; the mean is right to float32 rounding."""
    exposure = exposureOf(rng.normal(size=(128, 128)))
    for operation in ("copy", "sum", "average"):
        task = makeTask(
            mapper=WideMapper, operation=operation, compat=compat, adjustGridOption="none", **pairs(border=1)
        )
        out = task.run(exposure).exposure
        boxes = [b.dilated(30).clipped(exposure.bbox) for b in task.boxes0]
        count = np.zeros((128, 128))
        for box in boxes:
            count[box.slices((0, 0))] += 1
        expected = exposure.image.array * (count if operation == "sum" else 1)
        np.testing.assert_allclose(out.image.array, expected, rtol=1e-5, atol=1e-6)


class AllAtOnce(ImageReducer):
    """Overrides `run` only."""

    def run(self, mapperResults, exposure, **kwargs):
        return pipeBase.Struct(n=len(mapperResults), word=kwargs["word"])


def testReducerThatOverridesRunAlone():
    out = makeTask(reducer=AllAtOnce).run(exposureOf(), word="x")
    assert (out.n, out.word) == (169, "x")


# ---------------------------------------------------------------------- files


def testCellsAreReadFromAFile(noisy, tmp_path):
    path = tmp_path / "in.fits"
    writeExposure(noisy, path)
    deferred = DeferredExposure(path)
    assert deferred.bbox == noisy.bbox
    for operation in ("average", "copy"):
        fields = {"operation": operation, "compat": False, **pairs(cell=60, step=45)}
        out = makeTask(**fields).run(deferred).exposure
        assert same(out, makeTask(**fields).run(noisy).exposure)
    with pytest.raises(ShapeError, match="inside"):
        deferred.subset(Box2I((0, 0), (5, 5)))


# ---------------------------------------------------------------------- without tasks


def testFunctionsNeedNoTask(noisy):
    config = MapConfig()
    config.cellSizeX = config.gridStepX = 50
    config.cellSizeY = config.gridStepY = 40
    out = mapReduce(noisy, lambda sub, expanded, box, **kw: sub, config)
    np.testing.assert_array_equal(out.exposure.image.array, noisy.image.array)
    good = ~np.isnan(noisy.image.array)
    np.testing.assert_array_equal(out.exposure.mask.array[good], noisy.mask.array[good])
    assert out.metadata["numCells"] == len(out.grid.cells) and out.metadata["numFailedCells"] == 0
    assert out.metadata["cellSizeX"] == 50


def testMetadataOfARun():
    task = makeTask(scaleByFwhm=True)
    task.run(exposureOf())
    values = task.metadata
    assert values["numCells"] == 9 and values["cellSizeX"] == 47 and values["borderSizeY"] == 24
    assert values["psfFwhm"] == pytest.approx(4.703809, abs=1e-5)
    assert (values["maxOverlap"], values["minOverlap"], values["numZeroPixels"]) == (4, 1, 0)
    assert values["meanOverlap"] == pytest.approx(1.1963, abs=5e-5) and values["numFailedCells"] == 0
    assert "runStartUtc" in values and "runEndUtc" in values
    assert "maxOverlap" in task.getFullMetadata()["imageMapReduce:reducer"]


def testPlotOfTheBoxes():
    import matplotlib.pyplot as plt

    task, exposure = makeTask(), exposureOf(xy0=(5, 6))
    with pytest.raises(RuntimeError, match="grid"):
        task.plotBoxes(exposure.bbox)
    task.run(exposure)
    figure = plt.figure()
    task.plotBoxes(exposure.bbox, skip=3)
    lines = figure.axes[0].lines
    n = len(range(0, 169, 3))
    assert len(lines) == 2 * n and {line.get_linestyle() for line in lines} == {"--", ":"}
    assert [line.get_color() for line in lines[:n]] == [line.get_color() for line in lines[n:]]
    assert figure.axes[0].get_xlim() == (5, 133)
    plt.close(figure)


def testMetadataAndSchemaVerbs():
    task = makeTask(mapper=PassThroughMapper)
    assert task.getAllSchemaCatalogs() == {} and task.reducer.getSchemaCatalogs() == {}
    assert set(task.getTaskDict()) == {"imageMapReduce", "imageMapReduce.mapper", "imageMapReduce.reducer"}
    assert task.reducer.getFullName() == "imageMapReduce.reducer" and task.reducer.getName() == "reducer"
    with task.reducer.timer("step"):
        pass
    assert "stepStartUtc" in task.reducer.metadata
    task.emptyMetadata()
    assert len(task.reducer.metadata) == 0
    assert ImageReducer.makeField("what it does").doc == "what it does"
