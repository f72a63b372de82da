"""The README's commands for repositories: those of stillsky are run, the others are read by the programs they call.

That all of them work one after the other is shown by hand; the pipelines themselves are run by the tests beside this one.
"""

import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("lsst.daf.butler")

from stillsky.cli import main
from stillsky.sim import simulateNight

_README = Path(__file__).resolve().parents[2] / "README.md"


def commandsOf(name, folder):
    """Words of every line of a block of shell commands, with its variables put in."""
    text = re.search(rf"<!-- {name} -->\n```sh\n(.*?)```\n<!-- end -->", _README.read_text(), re.S)[1]
    variables = {"PWD": str(folder), "P": "resource://stillsky/pipelines"}
    lines = []
    for line in text.splitlines():
        if not re.match(r"\w+=", line):
            lines.append(shlex.split(re.sub(r"\$(\w+)", lambda found: variables[found[1]], line)))
    return lines


def test_the_commands_of_stillsky_make_a_whole_repository(tmp_path, monkeypatch, capsys):
    commands = commandsOf("butler commands", tmp_path)
    assert commands[0] == ["cd", "night"]
    simulateNight(128, 1, [1e3], sensor=40).write(tmp_path / "night")
    monkeypatch.chdir(tmp_path / "night")
    ours = [words[1:] for words in commands if words[0] == "stillsky"]
    assert [words[1] for words in ours] == ["create", "ingest", "ingest", "skymap", "check"]
    for words in ours:
        assert main(words) in (0, None), words
    said = capsys.readouterr().err
    assert "2 ingested, 0 there already, 0 failed" in said and "0 problems" in said


@pytest.mark.engine
def test_the_commands_of_the_engines_are_understood(tmp_path):
    pytest.importorskip("lsst.ctrl.mpexec", reason='pipetask is not installed (pip install "stillsky[engine]")')
    pytest.importorskip("lsst.ctrl.bps", reason='bps is not installed (pip install "stillsky[engine]")')
    from lsst.ctrl.bps.cli.cmd import submit
    from lsst.ctrl.mpexec.cli.cmd import run
    from lsst.daf.butler.cli.cmd import certify_calibrations

    known = {
        ("pipetask", "run"): run,
        ("bps", "submit"): submit,
        ("butler", "certify-calibrations"): certify_calibrations,
    }
    (tmp_path / "bps.yaml").touch()
    seen = []
    for words in commandsOf("butler commands", tmp_path) + commandsOf("bps commands", tmp_path):
        if words[0] in ("stillsky", "cd", "echo"):
            continue
        arguments = [str(tmp_path / "bps.yaml") if word == "bps.yaml" else word for word in words[2:]]
        with known[tuple(words[:2])].make_context(words[1], arguments):
            seen.append(words[1])
        assert_pipeline(words)
    assert seen == ["run", "certify-calibrations", "run", "run", "submit", "run"]


def assert_pipeline(words):
    """The pipeline of a command exists and takes the parameters that are given."""
    from lsst.pipe.base import Pipeline

    if "-p" not in words:
        return
    pipeline = Pipeline.from_uri(words[words.index("-p") + 1])
    for label, field, value in re.findall(r"(\w+):(\w+)=(\S+)", " ".join(words)):
        pipeline.addConfigOverride(label, field, value)
    assert len(pipeline.to_graph().tasks) >= 3
