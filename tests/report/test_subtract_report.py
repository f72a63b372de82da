"""The report of a subtraction: what it measures, what it shows, and that nothing in the files can break it."""

import copy
import json
import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.kernel import FixedKernel, LinearCombinationKernel, PolynomialFunction2
from stillsky.report import subtract_report
from stillsky.report.subtract_numbers import measureDifference, noiseOverPsf, overallState, verdictRules
from stillsky.report.subtract_report import finishReport, qualityOf, subtractReport

HOSTILE = "<script>alert('x')</script>\"'&--><img src=x onerror=alert(1)>"


class Elements(HTMLParser):
    """Every element with its attributes; asserts that what was opened is closed."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.found, self._open = [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag


def _exposure(pixels, variance, mask=None):
    mask = np.zeros(pixels.shape, np.int32) if mask is None else mask
    return Exposure(MaskedImage(Image(pixels.astype(np.float32)), Mask(mask), Image(variance.astype(np.float32))))


def noiseResult(rng, size=256, error=1.0, smooth=False):
    """A difference of pure noise whose variance plane is wrong by ``error`` squared, and one bright star in the template."""
    noise = rng.standard_normal((size, size))
    if smooth:
        noise = (noise + np.roll(noise, 1, axis=1)) / np.sqrt(2.0)
    template = rng.standard_normal((size, size)) * 0.1
    template[100:110, 120:130] += 300.0
    variance = np.full((size, size), error**2)
    return SimpleNamespace(
        difference=_exposure(noise, variance), matchedTemplate=_exposure(template, variance),
        science=_exposure(noise + template, variance), kernel=LinearCombinationKernel([FixedKernel(np.eye(5) / 5)], [1.0]),
        background=None, convolved="template", candidates=None, metadata={"templateCoveragePercent": 100.0},
        decisions=[], warnings=[], timings={},
    )  # fmt: skip


def starTable(n=12):
    """Stars of a fit; the last one was rejected."""
    k = np.arange(n)
    return Table({
        "id": k, "x": 40.0 + 25 * k, "y": 60.0 + 20 * (k % 7), "rating": 500.0 / (1 + k), "status": ["GOOD"] * (n - 1) + ["BAD"],
        "rejection": ["none"] * (n - 1) + ["kernelSum"], "rejectionText": [""] * (n - 1) + [HOSTILE],
        "usedInFit": k < n - 1, "kernelSum": 1.0 + 0.001 * k, "kernelSumError": 0.01 + 0.01 * k, "chi2": np.ones(n),
        "spatialRms": np.ones(n), "looRms": 1.0 + 0.05 * k, "looChi2": np.ones(n),
    })  # fmt: skip


def sourceTable(n=70):
    k = np.arange(n)
    table = Table({
        "id": 2**60 + k, "x": 5.0 + 5 * k, "y": 395.0 - 5 * k, "detectSignificance": 5.0 + k, "is_negative": k % 3 == 0,
        "base_PixelFlags_flag_edge": k < 5, "ip_diffim_DipoleFit_classification": k == 7, "note": [HOSTILE] * n,
    })  # fmt: skip
    return table


@pytest.fixture(scope="module")
def full(result):
    """A subtraction with everything that a report can show, and texts that want to be markup."""
    made = copy.copy(result)
    made.candidates, made.sources = starTable(), sourceTable()
    made.background, made.decisions, made.timings = None, [HOSTILE], {"fit": 0.5}
    made.warnings = [("W-EVIL", HOSTILE)]
    made.metadata = {**result.metadata, "skyChi": 1.0, "nGoodCandidates": 11, "templateCoveragePercent": 100.0}
    return made


@pytest.fixture(scope="module")
def rendered(full):
    """(text of the page, summary)."""
    numbers, entries = qualityOf(full)
    role = {
        "path": f"/x/{HOSTILE}.fits",
        "ext": None,
        "width": 400,
        "height": 400,
        "xy0": [0, 0],
        "provenance": [HOSTILE],
    }
    summary = {
        "inputs": {"science": role, "template": role}, "metadata": {"skyChi": 1.0}, "command": ["stillsky", HOSTILE],
        "config": {"values": {"a": HOSTILE}, "origins": {"a": "-c"}}, "timings": {"fit": 0.5}, **entries,
    }  # fmt: skip
    text = json.dumps(summary, default=str)
    page = subtractReport(full, summary, (numbers, entries))
    return finishReport(page, text, summary).render(), json.loads(text)


def test_whiteNoiseIsGreenAndWrongVarianceIsNot(rng):
    numbers = measureDifference(noiseResult(rng))
    assert numbers.skyChi == pytest.approx(1.0, abs=0.015)
    assert np.abs(numbers.correlation.ravel()[np.arange(66) != 5]).max() < 0.025
    assert numbers.correlation[0, 5] == 1.0
    assert all(v == pytest.approx(1.0, abs=0.12) for v in numbers.apertures["observed"])
    for error, state in ((1.0, "green"), (1.12, "amber"), (2.0, "red")):
        bad = noiseResult(rng, error=error)
        assert overallState(verdictRules(bad, measureDifference(bad)))[0] == state


def test_correlationOfNeighboursIsFoundAndJudgedAfterDecorrelationOnly(rng):
    made = noiseResult(rng, smooth=True)
    numbers = measureDifference(made)
    assert numbers.correlation[1, 5] == pytest.approx(0.5, abs=0.02)
    assert numbers.correlation[0, 6] == pytest.approx(0.0, abs=0.02)
    assert numbers.apertures["observed"][-1] == pytest.approx(np.sqrt(2.0), abs=0.15)

    def state():
        return next(r["state"] for r in verdictRules(made, numbers) if r["name"].startswith("correlation"))

    assert state() is None
    made.metadata["decorrelation"] = {"nTiles": 1}
    assert state() == "red"
    made.metadata = {"zogy": {}}
    assert state() == "red"
    assert "proper difference (ZOGY)" in subtractReport(made, {}).render()


def test_patchesOfNoiseAndOutlyingStarsAreSeenByTheVerdict(rng):
    """White for neighbours and right pixel by pixel, but patches of 16 pixels go together; one star in ten is off."""
    made = noiseResult(rng)
    made.metadata |= {"decorrelation": {"nTiles": 1}, "looRmsMedian": 1.0, "looRms90": 5.0}
    states = {r["name"]: r["state"] for r in verdictRules(made, measureDifference(made))}
    assert states["noise summed over the PSF"] == "green" and states["sharpening by the kernel"] == "green"
    assert states["chi of stars left out of the fit, median"] == "green"
    assert states["chi of stars left out of the fit, 90 %"] == "red"
    assert noiseOverPsf(made) == pytest.approx(1.0, abs=0.08)
    patches = np.kron(rng.standard_normal((16, 16)), np.ones((16, 16)))
    made.difference.image.array[...] += 0.1 * patches
    numbers = measureDifference(made)
    rules = {r["name"]: r for r in verdictRules(made, numbers)}
    assert rules["correlation of neighbouring sky pixels"]["state"] == "green"
    # 64 pixels share 0.1 sigma: sqrt(1 + 64 / 100)
    assert rules["noise summed over the PSF"]["value"] == pytest.approx(np.sqrt(1.64), abs=0.12)
    assert noiseOverPsf(made) == pytest.approx(rules["noise summed over the PSF"]["value"])
    made.metadata["noiseOverPsf"] = 1.2
    assert next(r for r in verdictRules(made, numbers) if r["name"].endswith("the PSF"))["state"] == "amber"


def test_aKernelThatRunsAwayInACornerSharpens(rng):
    made = noiseResult(rng)
    kernel = np.zeros((5, 5))
    kernel[2, 2] = 1.0
    ripple = kernel - np.roll(kernel, 1, axis=1)
    # ((x - 128) / 128)^2: none in the middle
    grow = PolynomialFunction2([1.0, -2.0 / 128, 0.0, 1.0 / 128**2, 0.0, 0.0])
    made.kernel = LinearCombinationKernel(
        [FixedKernel(kernel), FixedKernel(ripple)], [PolynomialFunction2([1.0]), grow]
    )
    numbers = measureDifference(made)
    assert numbers.kernelTransformMax > 1.5
    rules = {r["name"]: r["state"] for r in verdictRules(made, numbers)}
    assert rules["sharpening by the kernel"] == "amber"


def test_noiseBinsFollowTheVariancePlane(rng):
    made = noiseResult(rng)
    sigma = np.geomspace(1.0, 8.0, 256)[:, None] * np.ones((1, 256))
    made.difference = _exposure(rng.standard_normal((256, 256)) * sigma, sigma**2)
    bins = measureDifference(made).noiseBins
    assert len(bins["n"]) == 12
    np.testing.assert_allclose(bins["observed"], bins["predicted"], rtol=0.06)


def test_differenceWithoutAnyPixelStillHasAReport(rng):
    made = noiseResult(rng)
    made.difference.image.array[:] = np.nan
    page = subtractReport(made, {})
    assert "not judged" in page.render()


def test_sectionsAppearWithWhatTheyShow(rendered, rng):
    text, _ = rendered
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == ["Verdict", "Inputs", "Look", "Kernel", "Noise", "Candidates", "Run"]
    assert len(re.findall('<figure class="cut', text)) == 12 + 60
    bare = noiseResult(rng)
    assert "<h2>Candidates</h2>" not in subtractReport(bare, {}).render()
    bare.sources = sourceTable()[:0]
    assert "No source stands out." in subtractReport(bare, {}).render()


def test_hostileTextsAreShownNotRun(rendered):
    """A19: a header value <script> is shown escaped."""
    text, _ = rendered
    elements = Elements(text).found
    assert "<script>alert" not in text and "&lt;script&gt;alert" in text
    assert [attributes for tag, attributes in elements if "onerror" in attributes] == []
    assert sum(tag == "script" for tag, _ in elements) == 2


def test_oneFileWithoutNetworkAndPicturesWithWords(rendered):
    text, _ = rendered
    for tag, attributes in Elements(text).found:
        for name in ("src", "href"):
            assert not (attributes.get(name) or "").startswith(("http", "//"))
        if tag == "img":
            assert attributes["alt"].strip() and attributes["src"].startswith("data:image/png;base64,")
    assert len(text) < 5e6


def test_jsonBlockIsTheSummary(rendered):
    text, summary = rendered
    block = re.search(r'<script type="application/json" id="stillsky-data">(.*?)</script>', text, re.S).group(1)
    assert json.loads(block) == summary
    assert len(summary["kernelStars"]["x"]) == 12 and summary["verdict"]["state"] in ("green", "amber", "red")


def test_sourcesAtTheBorderAndWithoutPositionsAreShown(full):
    made = copy.copy(full)
    made.sources = Table({"x": [-50.0, 0.0, np.nan, 399.0], "y": [10.0, 0.0, 5.0, 399.0], "snr": [9.0, 8.0, 7.0, 6.0]})
    assert subtractReport(made, {}).render().count('<figure class="cut') == 12 + 3
    made.sources = Table({"snr": [9.0, 8.0]})
    assert "<h2>Candidates</h2>" in subtractReport(made, {}).render()


@pytest.mark.slow
def test_reportOfALargeFrameIsSmall(rng):
    """Section 11: at most 5 MB for a 4k frame with 60 sources."""
    made = noiseResult(rng, size=4096)
    made.sources = sourceTable(60)
    made.candidates = starTable()
    assert len(subtractReport(made, {}).render()) < 5e6


def test_reportOfACrowdedFrameIsSmallToo(rng, monkeypatch):
    """Section 11: at most 5 MB, whatever the number of candidates and stars; the previews give way, and say so."""
    made = noiseResult(rng, size=1024)
    made.sources = sourceTable(12000)
    made.candidates = starTable()
    summary = {"kernelStars": {"x": [1.234567890123] * 20000}}
    text = finishReport(subtractReport(made, summary), json.dumps(summary), summary).render()
    assert len(text) < 5e6 and text.count("<circle") <= 2 * 2000 + 100
    assert "means of" not in text
    monkeypatch.setattr(subtract_report, "_LARGEST", len(text) - 200_000)
    smaller = subtractReport(made, summary).render()
    assert len(smaller) < len(text) - 200_000 and "science, means of 2 x 2 px" in smaller
