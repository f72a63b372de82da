"""The report on a real table of sources: figures of stars, candidates, empty sky, planted sources."""

import copy
import re
from types import SimpleNamespace

import numpy as np
import pytest

import stillsky as sky
from stillsky.diffim.detect_measure import detectAndMeasure
from stillsky.diffim.detect_measure_config import DetectAndMeasureAlgorithmConfig
from stillsky.report.drawing import Drawing
from stillsky.report.efficiency_section import efficiencyOf
from stillsky.report.kernel_section import shortNumbers
from stillsky.report.remedies import remedyOf, warningText
from stillsky.report.source_section import sourceFlags
from stillsky.report.star_residuals import starResiduals, summarizeResiduals
from stillsky.report.subtract_numbers import candidateRows, correlationBefore, overallState, skyPulls, verdictRules
from stillsky.report.subtract_report import qualityOf, subtractReport
from stillsky.sim import simulatePair


@pytest.fixture(scope="module")
def found():
    """A subtraction of a simulated pair with its sources."""
    pair = simulatePair(size=320, seed=5, nTransients=12, starDensity=1500.0)
    result = sky.subtract(pair.science.toExposure(), pair.template.toExposure())
    config = DetectAndMeasureAlgorithmConfig()
    config.doSkySources = True
    made = detectAndMeasure(
        result.science,
        result.matchedTemplate,
        result.difference,
        config=config,
        kernelSources=result.candidates,
        seed=1,
    )
    result.sources = made.sources
    return result


@pytest.fixture(scope="module")
def page(found):
    """(result with a dipole made of its first candidate and planted sources, numbers, HTML)."""
    made = copy.copy(found)
    made.sources, made.metadata = found.sources.copy(), dict(found.metadata)
    first = np.flatnonzero(candidateRows(made.sources))[0]
    made.sources["ip_diffim_DipoleFit_classification"][first] = True
    for name, shift in (("pos_x", 1.5), ("pos_y", 0.5), ("neg_x", -1.5), ("neg_y", -0.5)):
        at = made.sources[f"base_SdssCentroid_{name[-1]}"][first]
        made.sources[f"ip_diffim_DipoleFit_{name}"][first] = at + shift
    ratio = np.arange(3.25, 30.0, 0.5)
    n = np.full(ratio.size, 8.0)
    nFound = np.where(ratio > 6, 8.0, 3.0)
    columns = {"signalToNoise": ratio, "n": n, "nDetected": n, "nFound": nFound, "fluxRatio": np.ones(n.size),
               "fluxRatioErr": np.full(n.size, 0.02)}  # fmt: skip
    made.metadata["injection"] = {
        "n": 432, "completeness7": 1.0, "purity": 0.99, "signalToNoise50": 5.0, "width": 1.0, "plateau": 0.99,
        "fluxBias": 0.001, "fluxBiasErr": 0.002,
    }  # fmt: skip
    numbers, entries = qualityOf(made)
    summary = {
        "efficiency": {k: v.tolist() for k, v in columns.items()},
        "products": ["/elsewhere/it's a <b>.sources.reg", "x/r.sources.ecsv"],
        "config": {"values": {"psfmatch.sizeCellX": 128, "psfmatch.sizeCellY": 128}},
    }
    return made, numbers, subtractReport(made, summary, (numbers, entries)).render()


def test_candidatesAreShownFirstAndLinked(page):
    made, _, text = page
    good = int(np.count_nonzero(candidateRows(made.sources)))
    sources = int(np.count_nonzero(~np.asarray(made.sources["sky_source"])))
    assert 3 <= good <= sources
    anchors = re.findall(r'<figure class="cut [a-z]+" tabindex="0" id="source(\d+)"', text)
    assert len(anchors) == min(sources, 60) and len(set(anchors)) == len(anchors)
    flagged = ~candidateRows(made.sources)[[int(a) for a in anchors]]
    assert not flagged[:good].any() and flagged[good:].all()
    for anchor in anchors:  # the table leads to the cut-out
        assert f'href="#source{anchor}"' in text
    assert f"{good} candidates" in text
    assert 'href="./it%27s%20a%20%3Cb%3E.sources.reg"' in text and 'href="./r.sources.ecsv"' in text


def test_lobesOfADipoleAreDrawn(page):
    made, _, text = page
    first = np.flatnonzero(candidateRows(made.sources))[0]
    cut = re.search(rf'<figure class="cut amber" tabindex="0" id="source{first}".*?</figure>', text, re.S).group()
    assert ">+</text>" in cut and ">-</text>" in cut and "dipole" in cut
    # the line between the lobes is 3.16 pixels long, on the third picture
    lines = [[float(v) for v in m] for m in re.findall(r'x1="([\d.]+)" y1="([\d.]+)" x2="([\d.]+)" y2="([\d.]+)"', cut)]
    lengths = [np.hypot(x1 - x0, y1 - y0) for x0, y0, x1, y1 in lines if x0 > 130]
    assert any(abs(length - np.hypot(3, 1)) < 0.02 for length in lengths)


def test_sectionsOfAFullReport(page):
    _, numbers, text = page
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == ["Verdict", "Inputs", "Look", "Kernel", "Noise", "Candidates", "Efficiency"]
    for name in ("significance", "magnitudes", "sky_pulls", "efficiency", "star_residuals", "correlation"):
        assert f'download="{name}.csv"' in text
    assert 'data-name="cells"' in text and 'data-name="candidates"' in text
    assert len(numbers.skyPulls) >= 20


def test_pullsOfEmptySkyAreOfTheSize(page):
    made, numbers, _ = page
    n = len(numbers.skyPulls)
    assert n == np.count_nonzero(np.asarray(made.sources["sky_source"]))
    assert np.std(numbers.skyPulls) == pytest.approx(1.0, abs=4 / np.sqrt(2 * n))
    assert skyPulls(None).size == 0


def test_skySourcesAndArtefactsDoNotCountForTheSigns(page):
    """Of 40 candidates 30 are negative; flagged rows and empty positions are positive and many."""
    made, numbers, _ = page
    from astropy.table import Table

    k = np.arange(140)
    shown = copy.copy(made)
    shown.sources = Table({"is_negative": k < 30, "sky_source": k >= 100, "candidate_flag": (k >= 40) & (k < 100)})
    rule = next(r for r in verdictRules(shown, numbers) if r["name"].startswith("negative"))
    assert rule["value"] == 3.0 and rule["state"] == "green"


def test_flagsSayWhyACandidateWasRejected(found):
    words = sourceFlags(found.sources)
    bad = np.asarray(found.sources["candidate_flag"], bool)
    assert all(words[i] for i in np.flatnonzero(bad))


@pytest.mark.parametrize("convolved", ["template", "science"])
def test_starResidualsFindAPlantedShiftAndFlux(rng, convolved):
    """Stars that are 1 % brighter and 0.05 px to the side leave just that, in science units."""
    size, sigma, scale = 200, 2.0, 0.5 if convolved == "science" else 1.0
    y, x = np.mgrid[0:size, 0:size].astype(float)
    template, science = np.zeros((2, size, size))
    places = [(30 + 45 * (k % 4) + 0.3 * k, 30 + 45 * (k // 4) + 0.2 * k) for k in range(16)]
    for a, b in places:
        template += 2000 * np.exp(-((x - a) ** 2 + (y - b) ** 2) / (2 * sigma**2))
        science += 2020 * np.exp(-((x - a - 0.05) ** 2 + (y - b + 0.02) ** 2) / (2 * sigma**2))
    noise = rng.standard_normal((size, size))
    from astropy.table import Table

    def exposure(pixels):
        return sky.exposure(pixels.astype(np.float32), variance=np.ones(pixels.shape))

    result = SimpleNamespace(
        difference=exposure(science - template + noise), matchedTemplate=exposure(template / scale), convolved=convolved,
        metadata={"sciencePsfSize": 2.355 * sigma},
        candidates=Table({"x": [p[0] for p in places], "y": [p[1] for p in places], "usedInFit": [True] * 16, "rating": [500.0] * 16}),
    )  # fmt: skip
    table = starResiduals(result, scale)
    figures = summarizeResiduals(table)
    assert figures["n"] == 16 and 0 < figures["error"] < 0.002
    # the slope of a star of sigma 2 from four pixels is right to 1 %
    assert figures["dx"] == pytest.approx(0.05, abs=0.0005 + 4 * figures["error"])
    assert figures["dy"] == pytest.approx(-0.02, abs=0.0002 + 4 * figures["error"])
    # second order in the shift: a star that is moved looks fainter by about (d / 2 sigma)^2 at the old place
    assert figures["flux"] == pytest.approx(0.01, abs=0.0005 + 4 * figures["fluxError"])
    pulls = (table["dx"] - figures["dx"]) / table["offsetError"]
    assert 0.5 < np.std(pulls) < 1.6 and figures["scatter"] < 0.005


def test_correlationBeforeDecorrelationHasItsClosedForm():
    """A28: noise in the template alone, Gaussian kernel of sigma s: correlation exp(-r^2 / 4 s^2)."""
    y, x = np.mgrid[-12:13, -12:13]
    kernel = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    metadata = {"decorrelation": {"scienceVariance": 0.0, "templateVariance": 3.0}}
    found = correlationBefore(SimpleNamespace(metadata=metadata, convolved="template"), kernel)
    lag = np.hypot(*np.mgrid[-32:33, -32:33])
    np.testing.assert_allclose(found, np.exp(-(lag**2) / (4 * 1.5**2)), atol=2e-3)
    # the science image convolved: its noise alone is coloured
    white = correlationBefore(SimpleNamespace(metadata=metadata, convolved="science"), kernel)
    assert white[32, 32] == 1.0 and np.abs(white).sum() == pytest.approx(1.0)
    assert correlationBefore(SimpleNamespace(metadata={}, convolved="science"), kernel) is None


def test_verdictSaysWhatIsWrongAndWhatHelps(found):
    numbers, _ = qualityOf(found)
    numbers.skyChi = 1.5
    made = copy.copy(found)
    made.warnings = [("W-NOVAR", "no variance"), ("W-ELSE", "something")]
    rules = verdictRules(made, numbers)
    state, sentence = overallState(rules)
    assert state == "red" and "noise of the sky over its prediction 1.5 (good: 0.95 to 1.05)" in sentence
    assert all(remedyOf(r["name"]) for r in rules)
    text = subtractReport(
        made, {}, (numbers, qualityOf(found)[1] | {"verdict": {"state": state, "sentence": sentence, "rules": rules}})
    ).render()
    assert "what helps" in text and "--sci-variance empirical" in text and "--sci-read-noise" in text
    assert warningText("W-ELSE", "something") == "W-ELSE: something"


def test_aGoodVerdictIsASentence(found):
    state, sentence = overallState([
        {"name": "noise of the sky over its prediction", "value": 1.0, "good": "", "state": "green"},
        {"name": "noise on sources over its prediction", "value": 1.0, "good": "", "state": "green"},
        {"name": "correlation of neighbouring sky pixels", "value": 0.5, "good": "", "state": None},
    ])  # fmt: skip
    assert state == "green" and sentence == "the noise is what the variance plane says, stars leave no more than noise"
    assert overallState([]) == ("amber", "nothing could be judged")


def test_efficiencyOfASummaryReadBackHasGaps():
    columns = efficiencyOf(
        SimpleNamespace(), {"efficiency": {"signalToNoise": [3.0, 4.0], "completeness": [None, 0.5]}}
    )
    assert np.isnan(columns["completeness"][0]) and columns["completeness"][1] == 0.5
    assert efficiencyOf(SimpleNamespace(), {"efficiency": {}}) is None and efficiencyOf(SimpleNamespace(), {}) is None


def test_drawingsCountFromTheBottomAndEscape():
    text = (
        Drawing(10, 20).circle(0, 0, 2, "red", "<b>", "a").circle(np.nan, 0, 1, "red").line(0, 0, 9, 19, '"').render()
    )
    assert '<circle cx="0.50" cy="19.50"' in text and text.count("<circle") == 1
    assert "&lt;b&gt;" in text and 'stroke="&quot;"' in text and 'x2="9.50" y2="0.50"' in text


def test_numbersOfRejectionsAreShort():
    assert (
        shortNumbers("KernelCandidate: only 0.259259 of 25 are good, wanted 0.500000")
        == "only 0.2593 of 25 are good, wanted 0.5"
    )
    assert shortNumbers("1.5 and 12345.678901 at 1.2.3.4") == "1.5 and 1.235e+04 at 1.2.3.4"
