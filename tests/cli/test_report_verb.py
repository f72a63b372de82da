"""The verbs report and cutouts: from the files of a run."""

import json
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from matplotlib.image import imread
from pyarrow import parquet

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


def _way(target, folder):
    """From the folder of a page to another folder."""
    import os

    return os.path.relpath(folder, target.parent)


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
    # every word, picture and table is that of the run, while its inputs are where they were
    way = f'href="./{_way(target, products)}/r.sources'
    first, again = (products / "r.html").read_text().replace('href="./r.sources', way), target.read_text()
    if first != again:
        k = next(k for k, (a, b) in enumerate(zip(first, again)) if a != b)
        assert first[k - 150 : k + 80] == again[k - 150 : k + 80]
    assert len(first) == len(again)
    assert run("report", products / "r.json", "-o", target)[0] == 7


def test_indexHasARowForEachRun(products, run, tmp_path):
    target = tmp_path / "index.html"
    assert run("report", products / "r.json", products / "r.json", "-o", target, "-q")[0] == 0
    links = re.findall(r'<td[^>]*><a href="(\./[^"]*r\.html)"', target.read_text())
    assert len(links) == 2 and (tmp_path / links[0]).resolve() == (products / "r.html").resolve()
    assert run("report", products / "r.json", products / "r.json", "-o", tmp_path / "nights", "-q")[0] == 0
    assert (tmp_path / "nights.html").read_text() == target.read_text() and not (tmp_path / "nights").exists()
    assert run("report", products / "r.json", products / "r.json", "-o", tmp_path / "index")[0] == 7
    assert run("report", products / "r.json", products / "r.json", "-o", tmp_path)[0] == 7  # a folder is no page


@pytest.mark.parametrize("text", ["no json", "[1]", "{}", '{"metadata": {}, "verb": "doctor"}'])
def test_whatIsNoSummaryIsRefused(run, tmp_path, text):
    (tmp_path / "x.json").write_text(text)
    code, _, err = run("report", tmp_path / "x.json")
    assert code == 3 and ("found: no more is known" not in err) and "--ext" not in err
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


def _cut(run, products, target, *options):
    assert run("cutouts", products / "r.json", "-o", target, "--size", "31", "-n", "5", "-q", *options)[0] == 0
    return target


def test_cutoutsOfTheTableAreTheMostSignificantCandidates(products, run, tmp_path):
    stamps = np.load(_cut(run, products, tmp_path / "c.npz"))
    table = Table.read(products / "r.sources.ecsv")
    good = table[~table["sky_source"] & ~table["candidate_flag"]]
    best = good["id"][np.argsort(-np.abs(good["detectSignificance"]), kind="stable")][:5]
    assert list(stamps["id"][: len(best)]) == list(best) and stamps["science"].shape == (5, 31, 31)


def test_cutoutsAreTheSameInEveryFormat(products, run, tmp_path):
    arrays = np.load(_cut(run, products, tmp_path / "c.npz"))
    with fits.open(_cut(run, products, tmp_path / "c.fits")) as hdus:
        assert hdus[0].header["DIFFSIGN"] == "SCI-TMPL"
        for name in ("science", "template", "difference", "variance", "mask"):
            np.testing.assert_array_equal(hdus[name.upper()].data, arrays[name])
        np.testing.assert_array_equal(hdus["SOURCES"].data["id"], arrays["id"])
    table = parquet.read_table(_cut(run, products, tmp_path / "c.parquet"))
    side = int(table.schema.metadata[b"side"])
    assert side == 31 and table.schema.metadata[b"sign"] == b"SCI-TMPL" and len(table) == 5
    np.testing.assert_array_equal(
        np.stack(table["difference"].to_numpy()).reshape(-1, side, side), arrays["difference"]
    )
    np.testing.assert_array_equal(table["x"].to_numpy(), arrays["x"])
    picture = imread(_cut(run, products, tmp_path / "c.png"))
    # two rows of four triplets, twice as large as their pixels
    assert picture.shape[:2] == (2 * (2 * 31 + 6), 2 * (4 * (3 * 31 + 4) + 30)) and picture[..., :3].std() > 0.05


def test_cutoutsOfAnUnknownFormatAreRefused(products, run, tmp_path):
    code, _, err = run("cutouts", products / "r.json", "-o", tmp_path / "c.jpg")
    assert code == 2 and ".parquet" in err and list(tmp_path.iterdir()) == []


def test_reportWithoutTheInputIsMadeOfTheProducts(products, run, tmp_path):
    """The science image is then the difference plus the template: all texts are the same but those about it."""
    for product in products.glob("r.*"):
        (tmp_path / product.name).write_bytes(product.read_bytes())
    summary = json.loads((products / "r.json").read_text())
    summary["inputs"]["science"]["path"] = str(tmp_path / "moved.fits")
    (tmp_path / "r.json").write_text(json.dumps(summary))
    assert run("report", tmp_path / "r.json", "--overwrite", "-q")[0] == 0
    titles = [re.findall("<h2>(.*?)</h2>", (f / "r.html").read_text()) for f in (tmp_path, products)]
    assert titles[0] == titles[1] and "moved.fits" in (tmp_path / "r.html").read_text()


@pytest.mark.parametrize("convolve", ["template", "science"])
def test_scienceMinusTheFileOfTheMatchedTemplateIsTheDifference(products, run, tmp_path, convolve):
    """With the differential background: where the template was convolved exactly, before the decorrelation."""
    with fits.open(products / "sci.fits") as hdus:
        image = next(h for h in hdus if h.data is not None and h.data.ndim == 2)
        image.data = image.data + np.float32(80)
        hdus.writeto(tmp_path / "sci.fits")
    argv = ["--no-report", "--no-picture", "--sources", "none", "-c", "doDecorrelation=false", "--convolve", convolve]
    code, _, err = run(
        "subtract",
        tmp_path / "sci.fits",
        products / "tmpl.fits",
        "-qq",
        "--allow",
        "W-DECONV",
        "-o",
        tmp_path / "r",
        *argv,
    )
    assert code == 0, err
    science, matched, difference = (sky.read(tmp_path / n) for n in ("sci.fits", "r.matched.fits", "r.diff.fits"))
    assert matched.metadata["BKGADDED"] is True
    assert matched.metadata["FLUXREF"] == {"template": "science", "science": "template"}[convolve]
    scale = 1 / difference.metadata["KSUM"] if convolve == "science" else 1
    good = difference.mask.array == 0
    direct = science.image.array - scale * matched.image.array
    noise = np.std(difference.image.array[good & (np.abs(difference.image.array) < 50)])
    assert abs(np.median(direct[good])) < 0.2 * noise
    if convolve == "template":
        np.testing.assert_allclose(direct[good], difference.image.array[good], atol=2e-3)
    # cut-outs of the files are on one flux scale
    (tmp_path / "p.txt").write_text("100 120\n")
    assert (
        run("cutouts", tmp_path / "r.json", tmp_path / "p.txt", "-o", tmp_path / "c.npz", "--size", "21", "-q")[0] == 0
    )
    stamps = np.load(tmp_path / "c.npz")
    assert abs(np.median(stamps["science"] - stamps["template"])) < noise


def test_otherProductsLeadToTheSummary(products, run, tmp_path):
    assert run("report", products / "r.diff.fits", "-o", tmp_path / "p.html", "-q")[0] == 0
    (tmp_path / "p.txt").write_text("100 120\n")
    command = ["cutouts", products / "r.diff.fits", tmp_path / "p.txt", "-o", tmp_path / "c.npz", "-q"]
    assert run(*command)[0] == 0 and (tmp_path / "c.npz").exists()
    for verb in ("report", "cutouts"):
        code, _, err = run(verb, products / "sci.fits")
        assert code == 2 and "P.json" in err and "try: give P.json" in err
