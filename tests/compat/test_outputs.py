"""What a command reads and writes when its output is there already, and options that are more than one word."""

import getpass

import pytest

pytest.importorskip("lsst.daf.butler")

from lsst.daf.butler import CollectionType

from stillsky import AssembleCoaddTask, ImageDifferenceTask
from stillsky.compat.arguments import _assign
from stillsky.compat.data_ids import castDataId
from stillsky.compat.show import show
from stillsky.errors import DomainError
from toy_task import ToyTask

WHERE = {"instrument": "MyCam", "visit": 1, "detector": 0}
USER = f"u/{getpass.getuser()}"


@pytest.fixture
def run(filledRepository, filledButler, tmp_path):
    """Function (options) -> run that was written, or exit status, of a command for one data id."""

    def run(*options):
        given = [str(tmp_path / "repo"), "--id", "visit=1", "detector=0", "--no-versions", *options]
        try:
            return ToyTask.parseAndRun(given).parsedCmd.butler.run
        except SystemExit as ended:
            return ended.code
        finally:
            filledButler.registry.refresh()

    return run


def test_an_output_that_is_there_keeps_its_inputs(filledButler, run):
    """Task-framework 3.2: with one name the input is what the rerun was made of."""
    other = filledButler.get("calexp", WHERE, collections="MyCam/calexp")
    other.image.array[:] = 7.0
    filledButler.collections.register(f"{USER}/other")
    filledButler.put(other, "calexp", WHERE, run=f"{USER}/other")
    for options in (["--rerun", "other:B"], ["--rerun", "B"], ["--output", f"{USER}/B"],
                    ["--rerun", "B", "--clobber-output"]):  # fmt: skip
        assert str(run(*options)).startswith(f"{USER}/B/")
        assert filledButler.get("scaled", WHERE, collections=f"{USER}/B").image.array.max() == 21
    run("--rerun", "B", "--input", "MyCam/calexp")  # another one on demand
    assert filledButler.get("scaled", WHERE, collections=f"{USER}/B").image.array.mean() > 200


def test_an_output_that_others_read_is_not_removed(filledButler, run, capsys):
    first = run("--rerun", "A")
    run("--rerun", "A:B")
    chains = {name: filledButler.collections.get_info(name).children for name in (f"{USER}/A", f"{USER}/B")}
    assert run("--rerun", "A", "--clobber-output") == 2
    assert f"{USER}/A is an input of {USER}/B" in capsys.readouterr().err
    assert {name: filledButler.collections.get_info(name).children for name in chains} == chains
    assert filledButler.get("scaled", WHERE, collections=first).visitInfo.id == 1
    run("--rerun", "B", "-c", "factor=5", "--clobber-config")
    assert len(filledButler.collections.query(f"{USER}/B/*~1")) == 1
    second = run("--rerun", "B", "--clobber-output")
    assert filledButler.collections.query(f"{USER}/B/*") == [second]  # backups of what is gone went with it
    assert str(run("--rerun", "A", "--clobber-output", "--input", f"{USER}/B")) == "2"  # B would read itself


def test_outputs_of_every_kind_of_collection(filledButler, run, capsys):
    for name, kind in (("u/tag", CollectionType.TAGGED), ("u/calib", CollectionType.CALIBRATION)):
        filledButler.collections.register(name, kind)
        for more in ([], ["--clobber-output"]):
            assert run("--output", name, *more) == 2
            assert f"{name} is a collection of kind {kind.name}" in capsys.readouterr().err
    filledButler.collections.register("u/run")
    assert run("--output", "u/run") == "u/run"
    assert str(run("--output", "u/run", "--clobber-output")).startswith("u/run/")
    filledButler.collections.register("u/mine", CollectionType.CHAINED)
    filledButler.collections.redefine_chain("u/mine", ["MyCam/calexp", "u/run"])
    made = run("--output", "u/mine", "--input", "MyCam/defaults")
    assert filledButler.collections.get_info("u/mine").children == (made, "MyCam/defaults", "MyCam/calexp", "u/run")
    filledButler.collections.register("u/self", CollectionType.CHAINED)
    assert run("--output", "u/self", "--input", "u/self") == 2 and "is an input too" in capsys.readouterr().err
    assert not filledButler.collections.query("u/self/*")


@pytest.mark.parametrize(
    "cls, text, value",
    [
        (AssembleCoaddTask, "badMaskPlanes=['BAD','SAT']", ["BAD", "SAT"]),
        (AssembleCoaddTask, "badMaskPlanes=('BAD',)", ["BAD"]),
        (AssembleCoaddTask, "removeMaskPlanes=[]", []),
        (AssembleCoaddTask, "doInterp=False", False),
        (AssembleCoaddTask, "sigmaClip=2", 2.0),
        (AssembleCoaddTask, "connections.inputWarps=psfWarp", "psfWarp"),
        (ImageDifferenceTask, "subtract.active.kernel.active.kernelSize=11", 11),
        (ImageDifferenceTask, "subtract.name=zogy", "zogy"),
    ],
)
def test_values_of_options_are_texts_or_literals(cls, text, value):
    config = cls.ConfigClass()
    _assign(config, text)
    for name in text.partition("=")[0].split("."):
        config = getattr(config, name)
    assert (list(config) if isinstance(value, list) else config) == value


@pytest.mark.parametrize(
    "text, said",
    [
        ("badMaskPlanes=BAD", r"wanted a list, such as \['A', 'B'\]"),  # of a text a list would take the letters
        ("badMaskPlanes='BAD'", "wanted a list"),
        ("badMaskPlanes=[1]", "badMaskPlanes"),
        ("sigmaClip=wide", "sigmaClip"),
        ("validate=1", "no field validate"),
        ("connections.names=1", "no field connections.names"),
        ("doInterp.more=1", "no field doInterp.more"),
    ],
)
def test_values_that_no_field_takes_are_refused(text, said):
    config = AssembleCoaddTask.ConfigClass()
    before = config.toDict()
    with pytest.raises(DomainError, match=said):
        _assign(config, text)
    assert config.toDict() == before


def test_the_history_is_shown_by_patterns_of_any_case(capsys):
    """Task-framework 3.2: patterns are globs, matched without regard to case unless they say so."""
    config = ImageDifferenceTask.ConfigClass()
    config.subtract.active.kernel.active.kernelSize = 11
    assert show(["history=*.KERNELSIZE"], config, [])
    shown = capsys.readouterr()
    assert "kernelSize" in shown.out and "test_outputs.py" in shown.out and "NOIGNORECASE" in shown.err
    for exact in ("coaddName", "config.coaddName", "*coaddName:NOIGNORECASE", "config.*dName"):
        show([f"history={exact}"], config, [])
        assert capsys.readouterr().out.startswith("coaddName\n")
    with pytest.raises(SystemExit) as ended:
        show(["history=*kernelsize:NOIGNORECASE"], config, [])
    assert ended.value.code == 1


def test_a_patch_is_meant_by_its_column_and_row(filledButler):
    """Task-framework 3.5: patch=x,y is number y * nx + x of its tract."""
    asked = []

    def patchesPerRow(dataId):
        asked.append(dataId["tract"])
        return 5

    given = {"tract": "4", "patch": "2,3", "filter": "r", "ccd": "7"}
    cast = castDataId(given, filledButler.dimensions, patchesPerRow=patchesPerRow)
    assert cast == {"tract": 4, "patch": 17, "physical_filter": "r", "detector": 7} and asked == ["4"]
    with pytest.raises(DomainError, match="whole numbers"):
        castDataId(given | {"patch": "2,x"}, filledButler.dimensions, patchesPerRow=patchesPerRow)


def test_inputs_that_are_not_there_are_named(filledButler, caplog, tmp_path):
    from stillsky.compat.store import DataRef, RunStore
    from stillsky.errors import NoDataError

    task = ImageDifferenceTask()
    where = filledButler.registry.expandDataId(**WHERE)
    reference = DataRef(RunStore(filledButler, "u/none", ["MyCam/calexp"]), where)
    with pytest.raises(NoDataError, match=r"found 0; there is no deepCoadd, skyMap in .*MyCam/calexp$") as caught:
        task.runDataRef(reference)
    assert "--input" in caught.value.remedy
    with pytest.raises(NoDataError, match="found 4; the data id leaves open which"):
        ToyTask().runDataRef(DataRef(reference.store, {"instrument": "MyCam"}))
