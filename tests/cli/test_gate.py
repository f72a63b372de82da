"""Conditions of --fail-on: what they may say, what they mean, and exit code 8."""

import json
import math
import os

import pytest

from stillsky.cli.exits import CommandError
from stillsky.cli.gate import Gate

FIGURES = {
    "skyChi": 1.25,
    "nGoodCandidates": 40,
    "converged": True,
    "unknown": None,
    "name": "text",
    "expectedDepth": {"template": {"fluxError": 12.5}, "science": {"fluxError": 10.0}},
}


@pytest.mark.parametrize(
    "text, hit",
    [
        ("skyChi > 1.2", True),
        ("skyChi>1.3", False),
        ("skyChi >= 1.25", True),
        ("1.2 < skyChi < 1.3", True),
        ("skyChi > 1.3 or nGoodCandidates < 50", True),
        ("skyChi > 1.2 and nGoodCandidates < 30", False),
        ("not converged == 1", False),
        ("converged != 1", False),
        ("abs(skyChi - 1) > 0.2", True),
        ("-skyChi < -1.3", False),
        ("expectedDepth.template.fluxError / expectedDepth.science.fluxError > 1.2", True),
        ("nGoodCandidates ** 0.5 * 2 + 1 < 13", False),
        (" skyChi > 1.2 ", True),
        ("unknown < 5", True),  # not a number: never good
    ],
)
def testConditionsMeanWhatTheySay(text, hit):
    reason = Gate(text).check(FIGURES)
    assert (reason is not None) is hit


def testTheReasonNamesTheFigures():
    assert Gate("skyChi > 1.2 or nGoodCandidates < 3").check(FIGURES) == "nGoodCandidates = 40, skyChi = 1.25"
    assert Gate("skyChi > 5").check({"skyChi": math.nan}) == "skyChi = nan"


@pytest.mark.parametrize(
    "text",
    ["", "skyChi", "skyChi >", "skyChi = 3", "open('x') > 1", "abs(skyChi, 2) > 1", "skyChi > 'a'", "[1] > 0",
     "__import__('os').system('true') > 1", "(lambda: 1)() > 0", "skyChi if 1 else 2", "skyChi is 1", "x[0] > 1"],
)  # fmt: skip
def testEverythingElseIsRefused(text):
    with pytest.raises(CommandError, match="--fail-on") as caught:
        Gate(text)
    assert caught.value.exitCode == 2 and caught.value.found and caught.value.remedy


def testUnknownAndTextFiguresAreRefusedWithTheClosestNames():
    for text, close in (("skyChy > 1", "skyChi"), ("expectedDepth.template.flux > 1", "fluxError"), ("name > 1", "")):
        with pytest.raises(CommandError, match="unknown figure") as caught:
            Gate(text).check(FIGURES)
        assert close in caught.value.remedy
    with pytest.raises(CommandError, match="has no value"):
        Gate("skyChi / 0 > 1").check(FIGURES)
    with pytest.raises(CommandError, match="has no value"):
        Gate("9 ** 9 ** 9 > skyChi").check(FIGURES)


@pytest.mark.parametrize("verb", ["subtract", "psfmatch"])
def testAGateThatIsHitExits8AndTheProductsAreWritten(fakeSubtract, work, run, verb):
    gates = ("--fail-on", "spatialKernelSum > 1.03", "--fail-on", "skyChi > 3")
    code, out, err = run(verb, "sci.fits", "tmpl.fits", "-o", "r", "--json", *gates)
    assert code == 8
    lines = err.splitlines()
    assert lines[-3] == "error[8]: a condition of --fail-on holds: spatialKernelSum > 1.03"
    assert lines[-2] == "  found: spatialKernelSum = 1.031" and lines[-1].startswith("  try: ")
    assert {"r.json", "r.kernel.fits"} <= set(os.listdir(work))
    document, saved = json.loads(out), json.loads((work / "r.json").read_text())
    assert document["exit"] == saved["exit"] == 8 and document["products"] == saved["products"] != []
    assert saved["failOn"] == [{"condition": "spatialKernelSum > 1.03", "found": "spatialKernelSum = 1.031"}]


def testAGateThatIsNotHitIsSilent(fakeSubtract, work, run):
    code, out, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--json", "--fail-on", "skyChi > 1.2")
    assert code == 0 and "error" not in err and json.loads(out)["failOn"] == []


def testBadGatesExit2BeforeAnyWork(fakeSubtract, work, run):
    code, _, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--fail-on", "skyChi")
    assert code == 2 and "error[2]: --fail-on" in err
    assert not fakeSubtract.calls and not [name for name in os.listdir(work) if name.startswith("r.")]


def testAGateOfAnUnknownFigureCostsNoProducts(fakeSubtract, work, run):
    """Which figures there are is known after the run only."""
    gates = ("--fail-on", "skyChy > 1", "--fail-on", "skyChi > 1")
    code, out, err = run("subtract", "sci.fits", "tmpl.fits", "-o", "r", "--json", *gates)
    assert code == 2 and "error[2]: --fail-on names an unknown figure: skyChy" in err and "skyChi" in err
    document, saved = json.loads(out), json.loads((work / "r.json").read_text())
    assert (work / "r.diff.fits").exists() and document["products"] == saved["products"] != []
    assert document["exit"] == saved["exit"] == 2
    assert saved["failOn"] == [{"condition": "skyChi > 1", "found": "skyChi = 1.01"}]
