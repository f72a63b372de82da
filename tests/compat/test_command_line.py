"""parseAndRun and the write verbs on a repository (task-framework 12, checks 2 to 4, 15, 17)."""

import logging

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from lsst.pipe.base import Instrument, NoWorkFound
from lsst.utils.packages import Packages

from stillsky.compat.runner import ButlerInitializedTaskRunner
from stillsky.compat.store import RunStore
from toy_task import ToyTask


@pytest.fixture
def butler(filledButler):
    """A repository with visits 1 and 2 of detectors 0 and 1."""
    return filledButler


@pytest.fixture
def repo(butler, tmp_path):
    """Its path."""
    return str(tmp_path / "repo")


IDS = ["--id", "visit=1^2", "detector=0..1"]


def status(*args):
    with pytest.raises(SystemExit) as ended:
        ToyTask.parseAndRun(list(args))
    return ended.value.code


def keys(struct):
    return [(ref.dataId["visit"], ref.dataId["detector"]) for ref in struct.parsedCmd.id.refList]


def test_data_ids_run_in_their_order_and_configuration_is_guarded(butler, repo, capsys, caplog):
    done = ToyTask.parseAndRun([repo, *IDS, "--output", "u/t", "-c", "factor=2"], doReturnResults=True)
    assert keys(done) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert [one.exitStatus for one in done.resultList] == [0, 0, 0, 0]
    assert [one.result.scaled.visitInfo.id for one in done.resultList] == [1, 1, 2, 2]
    assert done.parsedCmd.config.refuse == -2  # applyOverrides came before the options
    butler.registry.refresh()
    whole = butler.get("calexp", instrument="MyCam", visit=2, detector=1, collections="MyCam/calexp")
    scaled = butler.get("scaled", instrument="MyCam", visit=2, detector=1, collections="u/t")
    np.testing.assert_array_equal(scaled.image.array, 2 * whole.image.array)
    stored = butler.get("toy_metadata", instrument="MyCam", visit=2, detector=1, collections="u/t")
    assert stored["toy"]["visit"] == 2

    assert status(repo, *IDS, "--output", "u/t", "-c", "factor=3") == 126
    assert "factor" in caplog.text
    again = ToyTask.parseAndRun([repo, *IDS, "--output", "u/t", "-c", "factor=3", "--clobber-config"])
    butler.registry.refresh()
    assert butler.get("toy_config", collections="u/t").factor == 3
    assert butler.get("toy_config", collections=f"{again.parsedCmd.butler.run}~1").factor == 2
    assert butler.get("scaled", instrument="MyCam", visit=1, detector=0, collections="u/t").image.array.mean() > 290


def test_show_prints_and_runs_nothing(butler, repo, capsys):
    done = ToyTask.parseAndRun([repo, *IDS, "--output", "u/s", "--show", "config=*.factor", "data"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("config.") for line in lines) == 1 and "factor=3.0" in lines[0]
    assert sum("visit" in line for line in lines) == 4
    assert done.resultList == []
    with pytest.raises(SystemExit) as ended:
        ToyTask.parseAndRun([repo, *IDS, "--output", "u/s", "--show", "nothing"])
    assert ended.value.code == 1


def test_a_data_id_that_fails_counts_and_the_others_are_written_with_all_metadata(butler, repo, capsys):
    assert (
        status(repo, *IDS, "--output", "u/f", "--no-versions", "-c", "refuse=2", "--id", "visit=1", "detector=0") == 2
    )
    butler.registry.refresh()
    assert len(set(butler.registry.queryDatasets("scaled", collections="u/f"))) == 2
    assert len(set(butler.registry.queryDatasets("toy_metadata", collections="u/f"))) == 4
    done = ToyTask.parseAndRun(
        [repo, "--id", "visit=2", "detector=0", "--output", "u/g", "--no-versions", "-c", "refuse=2", "--noExit"]
    )
    assert [one.exitStatus for one in done.resultList] == [1]
    with pytest.raises(RuntimeError, match="not this one"):
        ToyTask.parseAndRun(
            [repo, "--id", "visit=2", "detector=0", "--output", "u/h", "--no-versions", "-c", "refuse=2", "--doraise"]
        )
    butler.registry.refresh()
    assert len(set(butler.registry.queryDatasets("toy_metadata", collections="u/h"))) == 1


def test_hundreds_of_failures_do_not_look_like_success():
    from types import SimpleNamespace

    from stillsky.compat.runner import _exitStatus

    failed = [SimpleNamespace(exitStatus=1)] * 256
    assert _exitStatus(None, SimpleNamespace(failedInitialization=None), failed) == 125


def test_an_initialisation_that_fails_is_no_success(repo, monkeypatch, capsys):
    def fail(self, *args, **kwargs):
        raise ValueError("no room")

    monkeypatch.setattr(ToyTask, "writeSchemas", fail)
    assert status(repo, *IDS, "--output", "u/i") == 1


@pytest.mark.slow
def test_several_processes_give_what_one_gives(butler, repo):
    one = ToyTask.parseAndRun([repo, *IDS, "--output", "u/one"])
    two = ToyTask.parseAndRun([repo, *IDS, "--output", "u/two", "-j", "2"])
    assert keys(one) == keys(two) and [r.exitStatus for r in two.resultList] == [0] * 4
    butler.registry.refresh()
    for visit, detector in keys(one):
        where = {"instrument": "MyCam", "visit": visit, "detector": detector}
        a, b = (butler.get("scaled", where, collections=name) for name in ("u/one", "u/two"))
        np.testing.assert_array_equal(a.image.array, b.image.array)


@pytest.mark.parametrize(
    "options, said",
    [
        (["--output", "u/x", "-c", "factr=1"], "factr"),
        (["--output", "u/x", "-c", "factor"], "NAME=VALUE"),
        (["--output", "u/x", "-c", "factor=__import__('os')"], "factor"),
        (["--output", "u/x", "-C", "absent.py"], "absent.py"),
        (["--output", "u/x", "--rerun", "y"], "not both"),
        ([], "--output"),
        (["--output", "u/absent", "--clobber-output"], "u/absent"),
        (["--output", "u/x", "--id", "visit=one"], "visit"),
        (["--output", "u/x", "--loglevel", "loud"], "loud"),
    ],
)
def test_wrong_options_exit_with_2_and_say_which(filledRepository, capsys, options, said):
    assert status(filledRepository, *options) == 2  # and nothing is written
    assert said in capsys.readouterr().err


def test_nothing_is_written_nor_removed_before_all_options_are_right(butler, repo, capsys):
    ToyTask.parseAndRun([repo, "--id", "visit=1", "detector=0", "--output", "u/kept", "--no-versions"])
    for wrong in (["-c", "factr=1"], ["--id", "visit=x"], ["-C", "absent.py"]):
        assert status(repo, "--output", "u/kept", "--clobber-output", *wrong) == 2
        assert status(repo, "--output", "u/new", *wrong) == 2
    ToyTask.parseAndRun([repo, *IDS, "--output", "u/new", "--show", "data"])
    butler.registry.refresh()
    assert not butler.collections.query("u/new*") and butler.get("toy_config", collections="u/kept").factor == 3
    broken = f"{repo}/wrong.py"
    with open(broken, "w") as file:
        file.write("config.noSuchField = 1\n")
    assert status(repo, "--output", "u/new", "-C", broken) == 2
    assert "noSuchField" in capsys.readouterr().err


def test_patterns_of_show_match_exactly_if_they_say_so(filledRepository, capsys):
    where = [filledRepository, "--output", "u/s", "--show"]
    ToyTask.parseAndRun([*where, "config=*FACTOR"])
    shown = capsys.readouterr()
    assert "factor=3.0" in shown.out and "NOIGNORECASE" in shown.err
    ToyTask.parseAndRun([*where, "config=*FACTOR:NOIGNORECASE"])
    assert capsys.readouterr().out == ""
    ToyTask.parseAndRun([*where, "history=factor", "tasks"])
    assert "factor" in capsys.readouterr().out
    assert status(*where, "history=nothing") == 1 and "nothing" in capsys.readouterr().err


def test_the_log_of_a_command_goes_to_the_terminal_with_data_ids_and_warns_once(monkeypatch, capsys):
    from stillsky.compat.log import labelled, startLog

    own = logging.getLogger("own")
    assert startLog(own) is own
    monkeypatch.setattr(logging.root, "handlers", [])
    log, level = startLog(longFormat=True), logging.getLogger("stillsky").level
    with labelled("{visit: 1}"):
        for _ in range(2):
            log.info("begins")
            log.warning("has no variance")
    with labelled("{visit: 2}"):
        log.warning("has no variance")
    logging.getLogger("lsst.utils.packages").warning("Unable to import eups")
    long = capsys.readouterr().err
    assert (
        long.count("begins") == 2 and long.count("no variance") == 2 and "({visit: 2})" in long and "eups" not in long
    )
    startLog().info("short")
    assert capsys.readouterr().err == "stillsky INFO: short\n" and len(logging.root.handlers) == 1
    assert level == logging.INFO
    log.setLevel(logging.NOTSET)


def test_no_work_is_no_failure(butler, repo, monkeypatch, caplog):
    def nothing(self, image):
        raise NoWorkFound("the template does not reach here")

    monkeypatch.setattr(ToyTask, "run", nothing)
    done = ToyTask.parseAndRun([repo, "--id", "visit=1", "detector=0", "--output", "u/e", "--no-versions"])
    assert [one.exitStatus for one in done.resultList] == [0] and "does not reach" in caplog.text
    butler.registry.refresh()
    assert len(set(butler.registry.queryDatasets("toy_metadata", collections="u/e"))) == 1


def test_the_repository_is_closed_with_what_is_returned(filledRepository):
    done = ToyTask.parseAndRun([filledRepository, "--id", "visit=1", "--output", "u/c", "--show", "data"])
    store, butler = done.parsedCmd.butler, done.parsedCmd.butler.butler
    reference = done.parsedCmd.id.refList[0]
    del done, store
    assert reference.get("calexp").visitInfo.id == 1  # who holds a reference holds the repository
    reference.store.close()
    with pytest.raises(RuntimeError):
        butler.get("calexp", instrument="MyCam", visit=1, detector=0, collections="MyCam/calexp")


def test_overrides_of_the_instrument_come_first(filledRepository, tmp_path, monkeypatch):
    (tmp_path / "toy.py").write_text("config.factor = 9.0\nconfig.refuse = 5\n")

    class Camera(Instrument):
        configPaths = (str(tmp_path),)
        getName = classmethod(lambda cls: "MyCam")

        def register(self, registry, *, update=False):
            """It is."""

        def getRawFormatter(self, dataId):
            """There are no raw images."""

    monkeypatch.setattr(Instrument, "fromName", staticmethod(lambda name, registry: Camera()))
    args = [filledRepository, "--output", "u/o", "--show", "data", "--id"]
    config = ToyTask.parseAndRun([*args, "visit=1"]).parsedCmd.config
    assert (config.factor, config.refuse) == (9.0, -2)  # then applyOverrides
    config = ToyTask.parseAndRun([*args, "visit=1", "-c", "factor=4", "refuse=8"]).parsedCmd.config
    assert (config.factor, config.refuse) == (4.0, 8)  # and last the options
    assert ToyTask.parseAndRun([*args, "instrument=Other"]).parsedCmd.config.factor == 3.0


def test_calibrations_are_searched_after_the_inputs_and_a_profile_is_written(butler, repo, tmp_path, caplog):
    where = {"instrument": "MyCam", "visit": 1, "detector": 0}
    other = butler.get("calexp", where, collections="MyCam/calexp")
    other.image.array[:] = 7.0
    butler.collections.register("other")
    butler.put(other, "calexp", where, run="other")
    for inputs, calib, mean in (("MyCam/calexp", "other", 300), ("other", "MyCam/calexp", 21)):
        name = f"u/{inputs.partition('/')[0]}"
        args = [
            "--input",
            inputs,
            "--calib",
            calib,
            "--output",
            name,
            "--no-versions",
            "--profile",
            tmp_path / "profile",
        ]
        ToyTask.parseAndRun([repo, "--id", "visit=1", "detector=0", *args])
        butler.registry.refresh()
        assert butler.get("scaled", where, collections=name).image.array.mean() == pytest.approx(mean, rel=0.05)
    assert (tmp_path / "profile").stat().st_size > 1000
    assert (
        status(repo, "--output", "u/x", "--input", "absent")
        == 2
        == status(repo, "--output", "u/x", "--calib", "absent")
    )


def test_clobbering_with_and_without_a_copy(butler, repo, monkeypatch, caplog):
    args = [repo, "--id", "visit=1", "detector=0", "--output", "u/k"]
    run = ToyTask.parseAndRun([*args, "-c", "factor=2"]).parsedCmd.butler.run
    ToyTask.parseAndRun([*args, "-c", "factor=3", "--clobber-config", "--no-backup-config", "--debug"])
    butler.registry.refresh()
    assert butler.get("toy_config", collections="u/k").factor == 3 and "no module debug" in caplog.text
    assert not butler.collections.query(f"{run}~*")
    store = RunStore(butler, run)
    store.replace(Packages({**store.get("packages"), "numpy": "0.1"}), butler.get_dataset_type("packages"))
    args += ["-c", "factor=3"]
    assert status(*args) == 126 and "numpy" in caplog.text
    ToyTask.parseAndRun([*args, "--clobber-versions"])
    butler.registry.refresh()
    assert butler.get("packages", collections="u/k")["numpy"] == np.__version__


def test_a_task_for_one_process_one_with_a_butler_and_steps_that_are_reused(filledRepository, monkeypatch, caplog):
    base = ToyTask._makeArgumentParser.__func__

    def withSteps(cls):
        parser = base(cls)
        parser.addReuseOption(["first", "second"])
        return parser

    monkeypatch.setattr(ToyTask, "_makeArgumentParser", classmethod(withSteps))
    monkeypatch.setattr(ToyTask, "canMultiprocess", False)
    args = [filledRepository, *IDS, "--id", "visit=1", "colour=red", "--output", "u/r", "--show", "data"]
    done = ToyTask.parseAndRun([*args, "--reuse-outputs-from", "second", "-j", "3"])
    assert done.parsedCmd.reuse == "second" and "colour is no dimension" in caplog.text
    assert done.taskRunner.numProcesses == 1 and "several processes" in caplog.text
    assert status(*args, "--reuse-outputs-from", "third") == 2

    class Wanting:
        def __init__(self, config, log, butler):
            self.butler = butler

    runner = ButlerInitializedTaskRunner(Wanting, done.parsedCmd)
    target = (done.parsedCmd.id.refList[0], {})
    assert runner.makeTask(parsedCmd=done.parsedCmd).butler is done.parsedCmd.butler
    assert runner.makeTask(args=target).butler is target[0].store
    with pytest.raises(RuntimeError, match="parsedCmd or args"):
        runner.makeTask()
    assert runner.getTargetList(done.parsedCmd, more=1)[0] == (target[0], {"more": 1})
    done.parsedCmd.butler.close()


@pytest.mark.slow
def test_a_process_that_dies_takes_no_other_data_id_with_it(butler, repo, caplog):
    args = [
        repo,
        "--no-versions",
        "--noExit",
        "-j",
        "2",
        "-c",
        "kill=1",
        "--id",
        "visit=1",
        "detector=0",
        "--id",
        "visit=2",
    ]
    done = ToyTask.parseAndRun([*args, "--output", "u/d"], doReturnResults=True)
    assert keys(done) == [(1, 0), (2, 0), (2, 1)] and [one.exitStatus for one in done.resultList] == [1, 0, 0]
    assert caplog.text.count("its process died") == 1 and done.resultList[0].result is None
    assert [one.dataRef.dataId["detector"] for one in done.resultList] == [0, 0, 1]
    butler.registry.refresh()
    assert len(set(butler.registry.queryDatasets("scaled", collections="u/d"))) == 2
    late = ToyTask.parseAndRun([*args, "--output", "u/l", "-t", "0.01"])
    assert [one.exitStatus for one in late.resultList] == [1] * 3 and "not done within 0.01 s" in caplog.text


def test_the_repository_comes_first(capsys):
    assert status("--id", "visit=1") == 1
    assert status("-h") == 0
    assert "REPO" in capsys.readouterr().out


def test_ids_that_have_no_data_are_said_and_skipped(repo, caplog):
    done = ToyTask.parseAndRun(
        [repo, "--id", "visit=9", "--id", "visit=2", "detector=1", "--output", "u/n", "--no-versions"]
    )
    assert keys(done) == [(2, 1)] and "No data found" in caplog.text


def test_options_come_from_a_file_and_reruns_chain(butler, repo, tmp_path):
    import getpass

    options = tmp_path / "options.txt"
    options.write_text("# tonight\n--id visit=1 detector=0\n-c 'factor=4'\n")
    ToyTask.parseAndRun([repo, f"@{options}", "--rerun", "first", "--no-versions"])
    butler.registry.refresh()
    name = f"u/{getpass.getuser()}/first"
    assert butler.get("toy_config", collections=name).factor == 4
    ToyTask.parseAndRun([repo, "--id", "visit=1", "detector=0", "--output", name, "--clobber-output", "--no-versions"])
    butler.registry.refresh()
    assert butler.get("toy_config", collections=name).factor == 3
