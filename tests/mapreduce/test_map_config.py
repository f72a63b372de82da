"""Fields of map-reduce: names, defaults, allowed values, old names."""

import pickle
import warnings

import pytest
from lsst.pex.config import FieldValidationError

from stillsky import ImageMapReduceConfig, ImageReducerConfig, MapConfig

DEFAULTS = {
    "cellCentroidsX": None,
    "cellCentroidsY": None,
    **{
        stem + axis: value
        for stem, value in (("cellSize", 10.0), ("gridStep", 10.0), ("borderSize", 5.0))
        for axis in "XY"
    },
    "adjustGridOption": "spacing",
    "scaleByFwhm": True,
    "returnSubImages": False,
    "executor": "serial",
    "numWorkers": 0,
    "maxInFlight": 0,
    "onMapperError": "raise",
    "centroidOrigin": "parent",
    "compat": False,
}


def testDefaults():
    config = ImageMapReduceConfig()
    assert {name: getattr(config, name) for name in DEFAULTS} == DEFAULTS
    planes = ["INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE"]
    assert list(config.ignoreMaskPlanes) == planes
    reducer = ImageReducerConfig()
    assert reducer.reduceOperation == "average"
    assert list(reducer.badMaskPlanes) == ["INVALID_MAPREDUCE", "BAD", "NO_DATA"]


@pytest.mark.parametrize("name", [n for n in DEFAULTS if n.endswith(("SizeX", "SizeY", "StepX", "StepY"))])
def testSizesArePositiveNumbers(name):
    config = ImageMapReduceConfig()
    for value in (0, -1.0):
        with pytest.raises(FieldValidationError):
            setattr(config, name, value)
    setattr(config, name, 7)
    assert getattr(config, name) == 7.0 and isinstance(getattr(config, name), float)


@pytest.mark.parametrize("name", ["adjustGridOption", "executor", "onMapperError", "centroidOrigin"])
def testChoicesAreChecked(name):
    for value in ("best", None):
        config = MapConfig()
        with pytest.raises(FieldValidationError):
            setattr(config, name, value)
            config.validate()  # null is refused here
    with pytest.raises(FieldValidationError):
        ImageReducerConfig().reduceOperation = "median"


def testListsOfCentresHaveOneLength():
    config = MapConfig()
    config.cellCentroidsX, config.cellCentroidsY = [1.0, 2.0], [3.0]
    with pytest.raises(ValueError, match="1 and 2"):
        config.validate()


@pytest.mark.parametrize("old", ["gridSizeX", "gridSizeY", "gridCentroidsX", "gridCentroidsY"])
def testOldNamesForward(old):
    new, value = old.replace("grid", "cell"), [5.0] if "Centroids" in old else 5.0
    config = ImageMapReduceConfig()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        setattr(config, old, value)
        assert getattr(config, old) == value == getattr(config, new)


def testOldNameWarnsOnce():
    from stillsky.mapreduce.config import ImageMapReduceFields, _alias

    class Probe(ImageMapReduceFields):
        oldSize = _alias("oldSize", "cellSizeX")

    config = Probe()
    with pytest.warns(DeprecationWarning, match="oldSize is the old name of cellSizeX"):
        config.oldSize = 4
    assert config.oldSize == 4.0  # no second warning: it would be an error here


def testConfigsCanBePickled():
    config = MapConfig()
    config.cellSizeX = 77
    assert pickle.loads(pickle.dumps(config)) == config
