"""The verbs that need no data of the user: doctor and demo."""

import json
import os

import pytest


def test_doctor_finds_this_installation_sound_within_ten_seconds_of_work(run):
    """A1, for this installation; its time on an idle machine is what the self-test prints."""
    code, out, err = run("doctor", "--json")
    assert code == 0 and err == ""
    facts = json.loads(out)
    assert all(facts["metadata"]["checks"].values()) and len(facts["metadata"]["checks"]) == 4
    assert None not in facts["metadata"]["packages"].values()
    text = run("doctor")[1]
    assert "simd" in text and "threads" in text and text.count(": ok (") == 4


def test_doctor_names_what_is_broken(run, monkeypatch):
    import stillsky.diffim

    def broken(*args, **kwargs):
        raise RuntimeError("no such luck")

    monkeypatch.setattr(stillsky.diffim, "subtract", broken, raising=False)
    code, out, err = run("doctor")
    assert code == 1 and "FAILED: RuntimeError: no such luck" in out
    assert "self-test failed: subtraction of a simulated pair" in err and "Traceback" not in err


def test_demo_finds_its_transients_and_says_where_the_pictures_are(run, tmp_path):
    folder = tmp_path / "show"
    code, out, err = run("demo", folder, "--size", "512")
    assert code == 0 and out == ""
    assert f"pictures:   {folder / 'demo.png'}" in err
    assert {"sci.fits", "tmpl.fits", "truth.ecsv", "demo.diff.fits", "demo.json", "demo.png"} <= set(os.listdir(folder))
    document = json.loads((folder / "demo.json").read_text())
    assert document["metadata"]["skyChi"] == pytest.approx(1.0, abs=0.03)
    words = next(line for line in err.splitlines() if line.startswith("transients:")).split()
    assert words[1] == words[3] and int(words[1]) >= 3  # all that should stand out do
    # the second job: flats of a sensor, whose gains are known
    assert {"flats", "sensor.ptc.fits", "sensor.ptc.ecsv", "sensor.html"} <= set(os.listdir(folder))
    assert f"report:     {folder / 'sensor.html'}" in err
    gains = next(line for line in err.splitlines() if line.startswith("gains: within "))
    assert float(gains.split()[2].rstrip("%")) < 2.0
    again = run("demo", folder, "--size", "512")
    assert again[0] == 7 and "--overwrite" in again[2]


@pytest.mark.slow
def test_demo_of_a_night_in_a_repository(run, tmp_path):
    pytest.importorskip("lsst.daf.butler")
    folder = tmp_path / "night"
    code, out, err = run("demo", folder, "--butler", "--size", "256", "--json")
    assert code == 0
    facts = json.loads(out)["metadata"]
    found, truth = facts["gainFound"], facts["gainTruth"]
    assert len(found) == 2 and found == pytest.approx(truth, rel=0.02)
    assert facts["coaddNoise"] == pytest.approx(facts["visitNoise"] / 2, rel=0.05)  # of four visits
    counts = facts["transients"]
    assert counts["expected"] >= 2 and counts["found"] == counts["expected"]
    assert facts["problems"] == [] and "0 problems" in err
    assert (folder / "repo" / "butler.yaml").exists() and (folder / "truth.ecsv").exists()
    image = next(line for line in err.splitlines() if line.startswith("image:")).split(maxsplit=1)[1]
    assert os.path.exists(image)
    again = run("demo", folder, "--butler", "--size", "256")
    assert again[0] == 7 and "--overwrite" in again[2]
