"""The verbs report and cutouts: from the files of a run."""

import json
import re

import numpy as np
import pytest

import stillsky as sky
from stillsky.cli import main


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    """Folder with the products r.* of a small subtraction."""
    folder = tmp_path_factory.mktemp("products")
    assert main(["simulate", "pair", "--size", "256", "--seed", "4", "-q", "-o", f"{folder}/"]) == 0
    assert main(["subtract", f"{folder}/sci.fits", f"{folder}/tmpl.fits", "-qq", "-o", f"{folder}/r"]) == 0
    return folder


def _block(path):
    return json.loads(re.search(r'id="stillsky-data">(.*?)</script>', path.read_text(), re.S).group(1))


def test_reportOfARunHoldsItsSummaryAndChecksums(products):
    summary = json.loads((products / "r.json").read_text())
    assert _block(products / "r.html") == summary
    assert str(products / "r.html") in summary["products"] and summary["timings"]["report"] > 0
    assert re.fullmatch("[0-9a-f]{64}", summary["inputs"]["science"]["sha256"])
    assert {"state", "sentence", "rules"} == set(summary["verdict"])


def test_reportAgainFromTheFiles(products, run, tmp_path):
    target = tmp_path / "again.html"
    code, out, err = run("report", products / "r.json", "-o", target, "--json")
    assert code == 0 and json.loads(out)["products"] == [str(target)]
    assert _block(target) == _block(products / "r.html")
    titles = [re.findall("<h2>(.*?)</h2>", p.read_text()) for p in (target, products / "r.html")]
    assert titles[0] == titles[1]
    assert run("report", products / "r.json", "-o", target)[0] == 7


def test_indexHasARowForEachRun(products, run, tmp_path):
    target = tmp_path / "index.html"
    assert run("report", products / "r.json", products / "r.json", "-o", target, "-q")[0] == 0
    links = re.findall(r'<td[^>]*><a href="(\./[^"]*r\.html)"', target.read_text())
    assert len(links) == 2 and (tmp_path / links[0]).resolve() == (products / "r.html").resolve()


@pytest.mark.parametrize("text", ["no json", "[1]", "{}", '{"metadata": {}, "verb": "doctor"}'])
def test_whatIsNoSummaryIsRefused(run, tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    assert run("report", tmp_path / "x.json")[0] == 3
    assert not (tmp_path / "x.html").exists()


def test_missingCompanionsAreRefused(products, run, tmp_path):
    (tmp_path / "r.json").write_text((products / "r.json").read_text())
    assert run("report", tmp_path / "r.json")[0] == 3
    assert run("report", tmp_path / "none.json")[0] == 3


def test_noReportWritesNone(products, run, tmp_path):
    argv = ["subtract", products / "sci.fits", products / "tmpl.fits", "-qq", "-o", tmp_path / "r"]
    assert run(*argv, "--no-report", "--no-picture")[0] == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "r.diff.fits", "r.json", "r.kernel.fits", "r.matched.fits", "r.sources.ecsv", "r.sources.reg"
    ]  # fmt: skip


def test_cutoutsAreThePixelsOfTheProducts(products, run, tmp_path):
    (tmp_path / "p.txt").write_text("100 120\n0 0\n-90 5000\n")
    target = tmp_path / "c.npz"
    assert run("cutouts", products / "r.json", tmp_path / "p.txt", "-o", target, "--size", "21", "-q")[0] == 0
    stamps = np.load(target)
    difference, matched = sky.read(products / "r.diff.fits"), sky.read(products / "r.matched.fits")
    cut = (slice(110, 131), slice(90, 111))
    np.testing.assert_array_equal(stamps["difference"][0], difference.image.array[cut])
    np.testing.assert_array_equal(stamps["template"][0], matched.image.array[cut])
    np.testing.assert_array_equal(stamps["mask"][0], difference.mask.array[cut])
    np.testing.assert_array_equal(stamps["variance"][1, 10:, 10:], difference.variance.array[:11, :11])
    assert np.isnan(stamps["science"][1, :10]).all() and np.isnan(stamps["difference"][2]).all()
    assert str(stamps["sign"]) == "SCI-TMPL" and stamps["science"].shape == (3, 21, 21)
    assert run("cutouts", products / "r.json", tmp_path / "p.txt", "-o", target)[0] == 7
