"""ImageDifferenceConfig: fields of Rubin's task, what it refuses, connections that follow it, the ids."""

import warnings

import lsst.pipe.base as pipeBase
import pytest
from lsst.pex.config import ConfigurableField, FieldValidationError, RegistryField

from stillsky import ImageDifferenceConfig, ImageDifferenceFromTemplateConfig, ImageDifferenceTask
from stillsky.diffim.source_schema import sourceSchema

DEFAULTS = dict(
    doAddCalexpBackground=False, doUseRegister=False, doDebugRegister=False, doSelectSources=False,
    doSelectDcrCatalog=False, doSelectVariableCatalog=False, doSubtract=True, doPreConvolve=False,
    useScoreImageDetection=False, doWriteScoreExp=False, doScaleTemplateVariance=False, doScaleDiffimVariance=True,
    useGaussianForPreConvolution=False, doDetection=True, doDecorrelation=True, doMerge=True, doMatchSources=False,
    doMeasurement=True, doDipoleFitting=True, doForcedMeasurement=True, doWriteSubtractedExp=True,
    doWriteWarpedExp=False, doWriteMatchedExp=False, doWriteSources=True, doAddMetrics=False,
    doApplyFinalizedPsf=False, coaddName="deep", convolveTemplate=True, doSpatiallyVarying=False, doApCorr=True,
    controlStepSize=5, controlRandomSeed=10, kernelSourcesFromRef=False, templateSipOrder=2, growFootprint=2,
    diaSourceMatchRadius=0.5, requiredTemplateFraction=0.1, doSkySources=False,
)  # fmt: skip
SUBTASKS = {
    "astrometer": "DirectMatchTask", "sourceSelector": "ObjectSizeStarSelectorTask",
    "decorrelate": "DecorrelateALKernelSpatialTask", "detection": "SourceDetectionTask", "measurement": "DipoleFitTask",
    "applyApCorr": "ApplyApCorrTask", "forcedMeasurement": "ForcedMeasurementTask",
    "getTemplate": "GetCoaddAsTemplateTask", "scaleVariance": "ScaleVarianceTask", "register": "RegisterTask",
    "skySources": "SkyObjectsTask",
}  # fmt: skip


def made(kind=ImageDifferenceConfig, **values):
    config = kind()
    for name, value in values.items():
        if name == "subtract":
            config.subtract.name = value
        else:
            setattr(config, name, value)
    return config


def test_fieldsHaveTheDefaultsOfTheRubinTask():
    config = made()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    for name, target in SUBTASKS.items():
        assert isinstance(type(config)._fields[name], ConfigurableField)
        assert getattr(config, name).target.__name__ == target
    assert isinstance(type(config)._fields["subtract"], RegistryField) and config.subtract.name == "al"
    assert {"al", "zogy"} <= set(config.subtract.types)
    kernel = config.subtract["al"].kernel
    assert kernel.name == "AL" and kernel.active.fitForBackground
    assert (kernel.active.spatialKernelOrder, kernel.active.spatialBgOrder) == (1, 2)
    detection = config.detection.value
    assert (detection.thresholdPolarity, detection.thresholdValue, detection.thresholdType) == (
        "both",
        5.0,
        "pixel_stdev",
    )
    assert not detection.reEstimateBackground
    plugins = set(config.detectAndMeasure.measurement.plugins)
    assert {"base_PeakLikelihoodFlux", "ext_trailedSources_Naive", "base_LocalPhotoCalib", "base_LocalWcs"} <= plugins
    assert all(field.doc.strip() for field in type(config)._fields.values())
    config.validate()


BROKEN = [
    (dict(doSubtract=False, doDetection=False, doMeasurement=False, doMerge=False, doApCorr=False,
          doForcedMeasurement=False), "doSubtract.*doDetection"),
    (dict(doDetection=False, doMerge=False), "doMeasurement.*doDetection"),
    (dict(doDetection=False, doMeasurement=False, doForcedMeasurement=False, doApCorr=False), "doMerge.*doDetection"),
    (dict(doDetection=False, doMeasurement=False, doForcedMeasurement=False, doApCorr=False, doMerge=False,
          doSkySources=True), "doSkySources.*doDetection"),
    (dict(doUseRegister=True), "doUseRegister.*doSelectSources"),
    (dict(doScaleTemplateVariance=True), "doScaleDiffimVariance.*doScaleTemplateVariance"),
    (dict(subtract="zogy", doWriteMatchedExp=True), "doWriteMatchedExp.*zogy"),
    (dict(subtract="zogy", doAddMetrics=True), "doAddMetrics.*zogy"),
    (dict(subtract="zogy", doDecorrelation=True), "doDecorrelation.*zogy"),
    (dict(subtract="zogy", doSelectSources=True), "doSelectSources.*zogy"),
    (dict(subtract="zogy", useGaussianForPreConvolution=True), "useGaussianForPreConvolution.*zogy"),
    (dict(useScoreImageDetection=True, convolveTemplate=False, doWriteSubtractedExp=False),
     "useScoreImageDetection.*convolveTemplate"),
    (dict(useScoreImageDetection=True), "doWriteSubtractedExp.*useScoreImageDetection"),
    (dict(doWriteScoreExp=True), "doWriteScoreExp.*useScoreImageDetection"),
    (dict(doAddMetrics=True, doSubtract=False), "doAddMetrics.*doSubtract"),
    (dict(useGaussianForPreConvolution=True), "useGaussianForPreConvolution.*useScoreImageDetection"),
    # what the reference meets in run, or never
    (dict(doMeasurement=False, doApCorr=False), "doForcedMeasurement.*doMeasurement"),
    (dict(doMeasurement=False, doForcedMeasurement=False), "doApCorr.*doMeasurement"),
    (dict(doMeasurement=False, doForcedMeasurement=False, doApCorr=False, doMatchSources=True),
     "doMatchSources.*doMeasurement"),
    (dict(doSelectDcrCatalog=True), "doSelectDcrCatalog.*doSelectSources"),
    (dict(doSelectVariableCatalog=True), "doSelectVariableCatalog.*doSelectSources"),
    (dict(doDecorrelation=False), "doDecorrelation.*allowCorrelatedNoise"),
    (dict(controlGrMin=2.0, controlGrMax=1.0), "controlGrMin.*controlGrMax"),
]  # fmt: skip


@pytest.mark.parametrize("values, message", BROKEN, ids=[m for _, m in BROKEN])
def test_aCombinationWithoutMeaningIsRefusedByBothNames(values, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        made(**values).validate()


def test_combinationsWithMeaningPass():
    zogy = made(subtract="zogy")
    zogy.validate()  # the default of doDecorrelation does not count
    assert not zogy.doDecorrelation
    frozen = made(subtract="zogy")
    frozen.freeze()
    frozen.validate()
    made(subtract="zogy", doDecorrelation=False, useScoreImageDetection=True, doWriteScoreExp=True).validate()
    made(useScoreImageDetection=True, doWriteSubtractedExp=False, doWriteScoreExp=True,
         useGaussianForPreConvolution=True).validate()  # fmt: skip
    made(doDecorrelation=False, allowCorrelatedNoise=True).validate()
    made(doSubtract=False).validate()
    made(doScaleTemplateVariance=True, doScaleDiffimVariance=False).validate()


def test_zogyWhitensByItself():
    assert not made(subtract="zogy").decorrelates and made().decorrelates
    assert not hasattr(ImageDifferenceTask(config=made(subtract="zogy")), "decorrelate")


def test_theFlagWithoutEffectWarnsAndIsAccepted():
    config = made()
    with pytest.warns(FutureWarning, match="useScoreImageDetection"):
        config.doPreConvolve = True
    config.validate()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made().validate()


def test_valuesOutsideTheirRangeAreRefused():
    for name, value in (("controlStepSize", 0), ("requiredTemplateFraction", 1.5), ("coaddName", "shallow"),
                        ("diaSourceMatchRadius", 0.0), ("growFootprint", -1)):  # fmt: skip
        with pytest.raises(FieldValidationError):
            made(**{name: value})
    with pytest.raises((FieldValidationError, KeyError)):
        made(subtract="hotpants")


def test_aSavedConfigurationIsTheSameAgain(tmp_path):
    path = str(tmp_path / "config.py")
    score = dict(coaddName="goodSeeing", growFootprint=3, useScoreImageDetection=True, doWriteSubtractedExp=False)
    for config in (made(**score), made(subtract="zogy")):
        config.validate()
        config.save(path)
        again = made()
        again.load(path)
        again.validate()
        assert again.compare(config)


# ------------------------------------------------------------------------------------------------ connections


def connectionsOf(config):
    return config.connections.ConnectionsClass(config=config)


def test_connectionsFollowTheConfiguration():
    plain = connectionsOf(made())
    assert plain.inputs == {"exposure", "skyMap", "coaddExposures"} and not plain.prerequisiteInputs
    assert plain.outputs == {"subtractedExposure", "diaSources"} and plain.initOutputs == {"outputSchema"}
    assert plain.dimensions == {"instrument", "visit", "detector", "skymap"}
    dcr = connectionsOf(made(coaddName="dcr"))
    assert "dcrCoadds" in dcr.inputs and "coaddExposures" not in dcr.inputs
    existing = connectionsOf(made(doSubtract=False))
    assert existing.inputs == {"exposure", "inputDifference"} and existing.outputs == {"diaSources"}
    assert existing.dimensions == {"instrument", "visit", "detector"}
    config = made(doWriteWarpedExp=True, doWriteMatchedExp=True, doWriteSubtractedExp=False, doWriteSources=False)
    assert connectionsOf(config).outputs == {"warpedExposure", "matchedExposure"}
    config = made(useScoreImageDetection=True, doWriteScoreExp=True, doWriteSubtractedExp=False)
    assert connectionsOf(config).outputs == {"scoreExposure", "diaSources"}
    config = made(doSelectSources=True, doAddCalexpBackground=True, doApplyFinalizedPsf=True, doMatchSources=True)
    config.refObjLoader.fromButler = True
    full = connectionsOf(config)
    wanted = {"selectSources", "templateSources", "calexpBackground", "finalizedPsfApCorrCatalog"}
    assert wanted <= full.inputs and full.prerequisiteInputs == {"referenceCatalog"}
    config.kernelSourcesFromRef = True
    assert "templateSources" not in connectionsOf(config).inputs


def test_datasetNamesFollowCoaddName():
    plain = connectionsOf(made())
    names = {
        name: getattr(plain, name).name for name in ("exposure", "coaddExposures", "subtractedExposure", "diaSources")
    }
    assert names == {"exposure": "calexp", "coaddExposures": "deepCoadd", "subtractedExposure": "deepDiff_differenceExp",
                     "diaSources": "deepDiff_diaSrc"}  # fmt: skip
    assert plain.outputSchema.name == "deepDiff_diaSrc_schema"
    config = made(coaddName="goodSeeing")
    config.connections.fakesType = "fakes_"
    other = connectionsOf(config)
    assert other.coaddExposures.name == "fakes_goodSeeingCoadd"
    assert other.diaSources.name == "fakes_goodSeeingDiff_diaSrc"
    assert ImageDifferenceTask(config=config).getSchemaCatalogs().keys() == {"goodSeeingDiff_diaSrc"}


def test_aPipelineKnowsItsDatasets():
    pipeline = pipeBase.Pipeline("difference")
    pipeline.addTask(ImageDifferenceTask, "imageDifference")
    for name, value in (("coaddName", "goodSeeing"), ("doMatchSources", True), ("refObjLoader.fromButler", True)):
        pipeline.addConfigOverride("imageDifference", name, value)
    node = pipeline.to_graph().tasks["imageDifference"]
    names = {edge.parent_dataset_type_name for edge in node.iter_all_inputs()}
    assert names == {"calexp", "goodSeeingCoadd", "reference_catalog", "skyMap", "src"}
    names = {edge.parent_dataset_type_name for edge in node.iter_all_outputs()}
    assert {"goodSeeingDiff_diaSrc", "goodSeeingDiff_differenceExp"} <= names


def test_coaddNameInTwoPlacesMustAgree():
    config = made(coaddName="goodSeeing")
    config.connections.coaddName = "dcr"
    with pytest.raises(ValueError, match="coaddName.*must agree"):
        config.validate()
    config.connections.coaddName = "goodSeeing"
    config.validate()


def test_aTemplateThatExistsReplacesTheCoadds():
    config = ImageDifferenceFromTemplateConfig()
    config.validate()
    found = connectionsOf(config)
    assert found.inputs == {"exposure", "inputTemplate"}
    assert found.inputTemplate.name == "goodSeeingDiff_templateExp"
    assert found.subtractedExposure.name == "goodSeeingDiff_differenceExp"
    assert found.dimensions == {"instrument", "visit", "detector"}
    config.doSubtract = False
    assert connectionsOf(config).inputs == {"exposure", "inputDifference"}


# ------------------------------------------------------------------------------------------------ construction


def test_constructionKnowsTheSchema():
    task = ImageDifferenceTask(butler=object(), config=made())
    assert task.getName() == "imageDifference"
    assert task.outputSchema.colnames == sourceSchema().colnames and task.schema is task.outputSchema
    assert task.outputSchema.colnames[:4] == ["id", "parent", "coord_ra", "coord_dec"]
    assert "base_PsfFlux" in task.algMetadata["plugins"]
    assert {"imageDifference.subtract", "imageDifference.detection"} <= set(task.getTaskDict())
    assert "deepDiff_diaSrc" in task.getAllSchemaCatalogs()
    assert isinstance(task, pipeBase.PipelineTask)


def test_matchingWithoutReferenceObjectsIsRefusedAtConstruction():
    with pytest.raises(ValueError, match="refObjLoader"):
        ImageDifferenceTask(config=made(doMatchSources=True))
    with pytest.raises(ValueError, match="refObjLoader"):
        ImageDifferenceTask(config=made(doSelectSources=True, kernelSourcesFromRef=True))


def test_idsHaveTheExposureAboveTheCounter():
    factory = ImageDifferenceTask.makeIdFactory(0x1234, 24)
    assert factory() == 2561862092718081 == (0x1234 << 39) | 1
    factory.notify((0x1234 << 39) | 100)
    assert factory() == (0x1234 << 39) | 101
    with pytest.raises(ValueError, match="does not belong"):
        factory.notify(5)
    with pytest.raises(RuntimeError, match="bits"):
        ImageDifferenceTask.makeIdFactory(1 << 24, 24)
    small = ImageDifferenceTask.makeIdFactory(1, 60)
    assert [small() for _ in range(7)] == [8 + k for k in range(1, 8)]
    with pytest.raises(OverflowError, match="left in a counter"):
        small()
