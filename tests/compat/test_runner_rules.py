"""Rules of commands that no other test has: order of overrides, levels of the log, what cannot be read (task-framework 3.1 to 3.4)."""

import logging
import os
from types import SimpleNamespace

import pytest

pytest.importorskip("lsst.daf.butler")

from lsst.pipe.base import Struct, TaskError

from stillsky.compat.log import setLevels
from stillsky.compat.runner import TaskRunner, _exitStatus
from stillsky.compat.store import RunStore
from toy_task import ToyTask


def test_overrides_count_in_the_order_of_the_command_line(filledRepository, tmp_path):
    file = tmp_path / "over.py"
    file.write_text("config.factor = 9.0\nconfig.kill = 4\n")
    args = [filledRepository, "--id", "visit=1", "--output", "u/order", "--show", "data"]
    for options, wanted in (
        (["-c", "factor=4", "-C", file, "-c", "refuse=8"], (9.0, 8, 4)),
        (["-C", file, "-c", "factor=4", "kill=5"], (4.0, -2, 5)),  # applyOverrides of the task came before all
        (["-c", "factor=4", "--config", "factor=5", "--configfile", file, "-c", "factor=6"], (6.0, -2, 4)),
    ):
        config = ToyTask.parseAndRun([*args, *options]).parsedCmd.config
        assert (config.factor, config.refuse, config.kill) == wanted
        with pytest.raises(Exception, match="frozen|Cannot modify"):
            config.factor = 1.0


@pytest.fixture
def loggers():
    names = ("stillsky.test_of_levels", "other.test_of_levels")
    yield [logging.getLogger(name) for name in names]
    for name in names:
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_levels_of_the_log_are_set_for_the_command_and_for_components(loggers):
    log, other = loggers
    parsed = SimpleNamespace(log=log, debug=False, loglevel=[["warn", f"{other.name}=TRACE"], [f"{other.name}=error"]])
    setLevels(parsed)
    assert (log.level, other.level) == (logging.WARNING, logging.ERROR)  # the last one counts
    for text, level in (("trace", 10), ("debug", 10), ("INFO", 20), ("fatal", 50)):
        setLevels(SimpleNamespace(log=log, debug=False, loglevel=[[text]]))
        assert log.level == level


def test_results_that_say_no_status_are_a_warning_and_success(caplog):
    parsed, runner = SimpleNamespace(log=logging.getLogger("stillsky")), SimpleNamespace(failedInitialization=None)
    for results in (None, [Struct(value=1)], [3]):
        caplog.clear()
        assert _exitStatus(parsed, runner, results) == 0
        assert "do not say whether they failed" in caplog.text
    good, bad = Struct(exitStatus=0), Struct(exitStatus=1)
    assert [_exitStatus(parsed, runner, one) for one in ([], [good], [good, bad], [bad] * 300)] == [0, 0, 1, 125]
    for error, status in ((TaskError("differs"), 126), (OSError("no room"), 1)):
        assert _exitStatus(parsed, SimpleNamespace(failedInitialization=error), []) == status


def test_a_stored_configuration_that_cannot_be_read_says_how_it_is_replaced(filledButler):
    task, store = ToyTask(), RunStore(filledButler, "u/unread")
    task.writeConfig(store)
    path = filledButler.getURI(store.find("toy_config")).ospath
    size = os.path.getsize(path)
    with open(path, "w") as file:
        file.write("raise RuntimeError('damaged')".ljust(size, "#"))
    with pytest.raises(Exception, match="damaged|toy_config") as caught:
        task.writeConfig(store)
    assert any(
        "clobber it without a backup" in note and "--no-backup-config" in note for note in caught.value.__notes__
    )
    with pytest.raises(Exception, match="damaged|toy_config"):
        task.writeConfig(store, clobber=True)  # there is nothing to back up
    task.writeConfig(store, clobber=True, doBackup=False)
    assert store.get("toy_config").factor == 3.0


def test_a_failure_is_told_with_its_data_id_and_let_out_on_demand(filledButler, caplog, capsys):
    config = ToyTask.ConfigClass()
    config.refuse = 1
    parsed = SimpleNamespace(
        config=config, log=logging.getLogger("stillsky"), doraise=False, clobber_config=False, no_backup_config=False,
        processes=1, timeout=60.0,
    )  # fmt: skip
    from stillsky.compat.store import DataRef

    where = filledButler.registry.expandDataId(instrument="MyCam", visit=1, detector=0)
    reference = DataRef(RunStore(filledButler, "u/fail", ["MyCam/calexp"]), where)
    result = TaskRunner(ToyTask, parsed, doReturnResults=True)((reference, {}))
    assert (result.exitStatus, result.result, result.dataRef) == (1, None, reference)
    assert result.metadata["visit"] == 1  # what was known when it failed
    assert "Failed on dataId={instrument: 'MyCam'" in caplog.text and "RuntimeError: not this one" in caplog.text
    assert "Traceback" in capsys.readouterr().err
    assert reference.get("toy_metadata")["toy"]["visit"] == 1
    parsed.doraise = True
    with pytest.raises(RuntimeError, match="not this one"):
        TaskRunner(ToyTask, parsed)((reference, {}))
