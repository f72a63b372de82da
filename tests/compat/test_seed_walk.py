"""Every name of the five documentation pages is called on real objects, class by class, with what it does."""

import shutil

import pytest

pytest.importorskip("lsst.daf.butler")

from seed_names import CASES, SEEDS
from seed_world import World
from walk_coadd import COADD
from walk_difference import DIFFERENCE
from walk_framework import COMMAND, EARLY, TASK
from walk_others import EXTRACT, REDUCER

from stillsky.butler.repository import openRepository

#: Methods that a class has of its own; those of the framework take the class's name as well.
OWN = {
    "PhotonTransferCurveExtractTask": EXTRACT,
    "ImageDifferenceTask": DIFFERENCE,
    "DcrAssembleCoaddTask": COADD,
    "PsfMatchTask": {},
    "ImageReducer": REDUCER,
}
FRAMEWORK = {**TASK, **COMMAND, **EARLY}


@pytest.fixture(scope="module")
def world(tmp_path_factory, emptyRepository):
    path = tmp_path_factory.mktemp("walk") / "repo"
    shutil.copytree(emptyRepository, path)
    with openRepository(path, writeable=True) as butler:
        yield World(butler, path)


@pytest.mark.parametrize("page, cls, name", CASES, ids=[f"{cls}-{name}" for _, cls, name in CASES])
def test_name_is_called(world, page, cls, name):
    if name in OWN[cls]:
        OWN[cls][name](world)
    else:
        FRAMEWORK[name](world, cls)


def test_no_name_is_without_a_call():
    for cls, names in SEEDS.values():
        assert set(names) - FRAMEWORK.keys() == OWN[cls].keys() - (FRAMEWORK.keys() - set(names))
