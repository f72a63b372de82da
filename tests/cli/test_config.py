"""Configuration of the command line: authority, origins, round trip, unknown keys."""

import json
import re

import pytest
import yaml

from stillsky.cli.config import flatten, resolve
from stillsky.cli.exits import CommandError


def test_order_of_authority_and_origins(smallConfig, tmp_path, monkeypatch):
    key = "psfmatch.spatialKernelOrder"
    preset = {"subtract": {key: 3, "psfmatch.spatialBgOrder": 4, "psfmatch.tolerance": 0.5}}
    monkeypatch.setitem(__import__("stillsky.cli.presets", fromlist=["PRESETS"]).PRESETS, "mine", preset)
    yamlFile = tmp_path / "a.yaml"
    yamlFile.write_text("psfmatch:\n  spatialKernelOrder: 4\n  spatialBgOrder: 5\ncomment: from file\n")
    script = tmp_path / "b.py"
    script.write_text("config.psfmatch.spatialKernelOrder = 5\nconfig.psfmatch.planes = ['CR']\n")
    everything = {
        "preset": "mine",
        "files": [yamlFile],
        "scripts": [script],
        "assignments": [f"{key}=6", "convolve=template"],
        "options": {"convolve": ("science", "--convolve")},
    }
    resolved = resolve("subtract", **everything)
    values, origins = resolved.document()["values"], resolved.document()["origins"]
    assert values[key] == 6 and origins[key] == "-c"
    assert values["convolve"] == "science" and origins["convolve"] == "--convolve"
    assert values["psfmatch.planes"] == ["CR"] and origins["psfmatch.planes"] == "script b.py"
    assert values["psfmatch.spatialBgOrder"] == 5 and origins["psfmatch.spatialBgOrder"] == "file a.yaml"
    assert values["psfmatch.tolerance"] == 0.5 and origins["psfmatch.tolerance"] == "preset mine"
    assert origins["psfmatch.basis.AL.kernelSize"] == "default"
    # each source on its own level: without the strongest, the next one wins
    for drop, expected in (
        (("assignments",), 5),
        (("assignments", "scripts"), 4),
        (("assignments", "scripts", "files"), 3),
    ):
        fewer = {k: v for k, v in everything.items() if k not in drop}
        assert resolve("subtract", **fewer).values()[key] == expected


def test_printed_configuration_fed_back_is_identical(smallConfig, run, tmp_path):
    """A16."""
    code, text, _ = run("config", "subtract")
    assert code == 0
    path = tmp_path / "my.yaml"
    path.write_text(text)
    again = resolve("subtract", files=[path])
    assert again.values() == resolve("subtract").values()
    assert again.changed() == {}
    assert set(again.origins) == set(again.values())  # no key was lost on the way
    assert "Order over the image." in text and "range [0,inf)" in text


def test_changed_configuration_survives_the_round_trip(smallConfig, run, tmp_path):
    given = ["-c", "psfmatch.basis.name=DF", "-c", "psfmatch.basis.DF.widths=[1, 2.5]", "-c", "comment='a: b # c'"]
    given += ["-c", "psfmatch.tolerance=1e-3", "-c", "cells.one.kernelSize=5"]
    _, text, _ = run("config", "subtract", *given)
    path = tmp_path / "my.yaml"
    path.write_text(text)
    values = resolve("subtract", files=[path]).values()
    assert values["psfmatch.basis.name"] == "DF"
    assert values["psfmatch.basis.DF.widths"] == [1.0, 2.5]
    assert values["psfmatch.tolerance"] == 1e-3
    assert values["comment"] == "a: b # c"
    assert values["cells.one.kernelSize"] == 5
    assert yaml.safe_load(text)["psfmatch"]["basis"]["name"] == "DF"


def test_unknown_key_exits_2_and_names_the_closest_three(smallConfig, run):
    """A17."""
    code, out, err = run("config", "subtract", "-c", "psfmatch.spatialKernelOder=1")
    assert code == 2 and out == ""
    lines = err.splitlines()
    assert lines[0] == "error[2]: unknown configuration key: psfmatch.spatialKernelOder"
    assert lines[1].startswith("  found: ") and lines[2].startswith("  try: did you mean psfmatch.spatialKernelOrder,")
    assert lines[2].count(",") == 2


def test_right_name_on_the_wrong_level_is_found(smallConfig, run):
    assert "psfmatch.spatialBgOrder" in run("config", "subtract", "-c", "spatialBgOrder=1")[2]


def test_unknown_key_in_a_file_names_the_file(smallConfig, run, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("psfmatch:\n  tolerence: 1\n")
    code, _, err = run("config", "subtract", "-C", path)
    assert code == 2 and "file x.yaml" in err and "psfmatch.tolerance" in err


@pytest.mark.parametrize(
    "argument, words",
    [
        ("psfmatch.spatialKernelOrder=-1", "outside of valid range"),
        ("psfmatch.spatialKernelOrder=two", "incorrect type"),
        ("convolve=both", "not allowed"),
        ("psfmatch.basis.name=XX", "XX"),
        ("psfmatch.basis.AL.kernelSize=4", "must be odd"),
        ("psfmatch=3", "unknown configuration key"),
        ("noequals", "KEY=VALUE"),
        ("comment=[1", "not YAML"),
    ],
)
def test_refused_values_exit_2_with_three_parts(smallConfig, run, argument, words):
    code, out, err = run("config", "subtract", "-c", argument)
    assert code == 2 and out == ""
    assert words in err
    what, found, remedy = err.splitlines()
    assert what.startswith("error[2]: ") and found.startswith("  found: ") and remedy.startswith("  try: ")
    assert "Traceback" not in err


def test_diff_shows_what_a_file_changes(smallConfig, run, tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("psfmatch:\n  spatialKernelOrder: 1\n  spatialBgOrder: 1\n")
    code, out, _ = run("config", "subtract", "--diff", path)
    assert code == 0
    assert out.splitlines() == ["psfmatch.spatialKernelOrder: 2 -> 1 (file x.yaml)"]


def test_json_has_values_and_origins(smallConfig, run):
    document = json.loads(run("config", "subtract", "--json", "-c", "convolve=science")[1])
    assert document["config"]["origins"]["convolve"] == "-c"
    assert document["config"]["values"]["convolve"] == "science"


def test_missing_and_broken_configuration_files(smallConfig, run, tmp_path):
    assert run("config", "subtract", "-C", tmp_path / "none.yaml")[0] == 3
    broken = tmp_path / "b.yaml"
    broken.write_text("a: [1\n")
    assert run("config", "subtract", "-C", broken)[0] == 2
    broken.write_text("- 1\n- 2\n")
    assert run("config", "subtract", "-C", broken)[0] == 2
    script = tmp_path / "s.py"
    script.write_text("config.psfmatch.spatialOrder = 1\n")
    code, _, err = run("config", "subtract", "--config-script", script)
    assert code == 2 and "spatialKernelOrder" in err
    script.write_text("1 / 0\n")
    assert run("config", "subtract", "--config-script", script)[0] == 2
    code, _, err = run("config", "subtract", "-C", script)
    assert code == 2 and "--config-script" in err


def test_unknown_preset_and_verb(smallConfig, run):
    code, _, err = run("config", "subtract", "--preset", "rubbin")
    assert code == 2 and "hotpants, rubin" in err
    assert run("config", "nothing")[0] == 2


def test_flatten_names_every_leaf(smallConfig):
    keys = [key for key, _, _ in flatten(smallConfig())]
    assert keys[:4] == ["convolve", "psfmatch.spatialKernelOrder", "psfmatch.spatialBgOrder", "psfmatch.tolerance"]
    assert {"psfmatch.basis.name", "psfmatch.basis.AL.kernelSize", "psfmatch.basis.DF.widths"} <= set(keys)
    assert len(keys) == len(set(keys))


def test_values_set_from_python_keep_their_type(smallConfig):
    resolved = resolve("subtract", assignments=["psfmatch.planes=CR", "psfmatch.tolerance=2", "comment=12"])
    values = resolved.values()
    assert values["psfmatch.planes"] == ["CR"]  # one value for a list
    assert values["psfmatch.tolerance"] == 2.0 and isinstance(values["psfmatch.tolerance"], float)
    assert values["comment"] == "12"
    with pytest.raises(CommandError):
        resolve("subtract", assignments=["psfmatch.spatialKernelOrder=1.5"])


def test_preset_hotpants_holds_its_figures():
    """Kernel half width 10, substamp half width 15, orders 2 and 1, Gaussians 0.7/1.5/3.0 with degrees 6/4/2."""
    resolved = resolve("subtract", preset="hotpants")
    values = resolved.values()
    expected = {
        "psfmatch.kernelSize": 21,
        "psfmatch.stampHalfSize": 15,
        "psfmatch.spatialKernelOrder": 2,
        "psfmatch.spatialBgOrder": 1,
        "psfmatch.alardSigGauss": [0.7, 1.5, 3.0],
        "psfmatch.alardDegGauss": [6, 4, 2],
        "psfmatch.scaleByFwhm": False,
    }
    assert {k: values[k] for k in expected} == expected
    assert {resolved.origins[k] for k in expected} == {"preset hotpants"}


def test_preset_rubin_restores_the_reference():
    values = resolve("psfmatch", preset="rubin").values()
    assert values["psfmatch.compat"] is True and values["convolve"] == "template"
    assert (values["psfmatch.spatialKernelOrder"], values["psfmatch.spatialBgOrder"]) == (1, 2)
    detect = {
        k.removeprefix("detect."): v for k, v in resolve("subtract", preset="rubin").values().items() if "detect." in k
    }
    dipole = "measurement.dipole."
    assert detect[dipole + "compat"] == "reference" and detect[dipole + "fitSeparateNegParams"] is False
    assert not detect["doDeblend"] and not detect["doSplitOpposite"]


def test_null_is_no_choice():
    """Null, for choices too, is refused like any other value out of range, but where it is the default."""
    fields = [(key, value) for key, _, value in flatten(resolve("subtract").config)]
    nulls = {"detect.cosmicray.min_DN", "detect.skySources.nTrialSources"}
    assert {key for key, value in fields if value is None} == nulls
    for key in (key for key, value in fields if value is not None):
        with pytest.raises(CommandError) as caught:
            resolve("subtract", assignments=[f"{key}=null"])
        assert caught.value.exitCode == 2 and key in str(caught.value)


def test_ptc_nullIsNoChoice():
    """A choice has one of its values, in the files' configuration and in those of the tasks."""
    from lsst.pex.config import ChoiceField, FieldValidationError

    from stillsky.ptc.config import PhotonTransferCurveExtractPairAlgorithmConfig
    from stillsky.ptc.job_config import PhotonTransferJobConfig

    job = PhotonTransferJobConfig()
    configs = (job, job.extract, job.solve, PhotonTransferCurveExtractPairAlgorithmConfig())
    choices = [(c, name) for c in configs for name, field in c._fields.items() if isinstance(field, ChoiceField)]
    assert len(choices) > 25
    for config, name in choices:
        value = getattr(config, name)
        with pytest.raises(FieldValidationError, match=name):
            setattr(config, name, None)
            config.validate()
        setattr(config, name, value)
    for key in ("pairBy", "extract.matchExposuresType", "solve.ptcFitType"):
        with pytest.raises(CommandError) as caught:
            resolve("ptc", assignments=[f"{key}=null"])
        assert caught.value.exitCode == 2 and key in str(caught.value)


def test_preset_rubin_leaves_no_default_of_our_own():
    """Whatever we set otherwise than Rubin's kernel configuration has Rubin's value again, but for what Rubin's own
    subtraction sets: a background, and the orders 1 and 2."""
    from stillsky.psfmatch.config import PsfMatchConfigAL

    rubin = PsfMatchConfigAL()
    values = {
        k.split(".", 1)[1]: v for k, v in resolve("subtract", preset="rubin").values().items() if "psfmatch." in k
    }
    different = {k for k, v in rubin.toDict().items() if k in values and values[k] != v}
    assert different == {"compat", "fitForBackground", "spatialKernelOrder", "spatialBgOrder"}
    shared = set(values) & set(rubin.toDict())
    assert {"alardNGauss", "kernelSizeFwhmScaling", "badMaskPlanes"} <= shared


def test_preset_yields_to_every_other_source():
    resolved = resolve("subtract", preset="hotpants", assignments=["psfmatch.kernelSize=31"])
    assert resolved.values()["psfmatch.kernelSize"] == 31 and resolved.origins["psfmatch.kernelSize"] == "-c"


def test_choicesOfYesAndNoAreWords():
    for word in ("yes", "no", "auto"):
        values = resolve("dcr", assignments=[f"psfMatch={word}", "dcr.bandLimits=[400,550]"]).values()
        assert values["psfMatch"] == word
    with pytest.raises(CommandError, match="psfmatch.kernelBasisSet"):
        resolve("subtract", assignments=["psfmatch.kernelBasisSet=yes"])


@pytest.mark.parametrize("verb", ["subtract", "psfmatch", "coadd", "dcr", "ptc", "map"])
def test_theExampleOfTheHelpIsAKeyOfTheVerb(run, verb):
    text = " ".join(run(verb, "--help")[1].split())
    example, named = re.search(r'Set a key, e\.g\. (\S+=\S+); "stillsky config (\w+)"', text).groups()
    assert named == verb and run("config", verb, "-c", example)[0] == 0
