"""``stillsky dcr``, and its subfilters as a template of ``stillsky subtract --dcr``."""

import json

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

import stillsky
from stillsky.dcr.files import matchedTemplateOf, readDcrModel
from stillsky.fits import readExposure, writeExposure
from stillsky.measure import circularApertureFlux
from stillsky.report.dcr_report import dcrVerdict
from stillsky.sim import simulateDcrVisits, writeDcrVisits

BAND = ("--band-limits", "402.8,549.8nm")


@pytest.fixture(scope="module")
def field():
    return simulateDcrVisits(
        144, 6, 4, scienceHourAngle=3.0, numStars=9, numTransients=0, sky=100.0, fluxRange=(2000.0, 4000.0)
    )


@pytest.fixture(scope="module")
def visits(field, tmp_path_factory):
    """Folder with v0.fits ... v5.fits, sci.fits and p0.fits ... p5.fits, the same as bare images."""
    folder = tmp_path_factory.mktemp("visits")
    for stem, plain in (("v", False), ("p", True)):
        names = [*(f"{stem}{k}.fits" for k in range(6)), f"{stem}sci.fits", f"{stem}truth.ecsv"]
        writeDcrVisits(field, [str(folder / n) for n in names], plain=plain)
    return folder


@pytest.fixture(scope="module")
def made(visits, tmp_path_factory):
    """Prefix of a finished run."""
    from stillsky.cli import main

    prefix = tmp_path_factory.mktemp("made") / "cube"
    names = [str(visits / f"v{k}.fits") for k in range(6)]
    assert main(["dcr", *names, "-o", str(prefix), *BAND, "-q"]) == 0
    return prefix


@pytest.fixture
def there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _fluxes(image, field):
    x, y = field.stars["x"], field.stars["y"]
    inside = (np.minimum(x, y) > 12) & (np.maximum(x, y) < 131)
    distance = np.hypot(x[:, None] - x, y[:, None] - y) + 1e3 * np.eye(len(x))
    inside &= distance.min(axis=1) > 20  # no neighbour in the aperture
    table = circularApertureFlux(image, x[inside], y[inside], (9.0,))
    return np.asarray(table["base_CircularApertureFlux_9_0_instFlux"]), inside


def test_subfiltersHaveTheColoursOfTheStars(made, field):
    assert sorted(p.name for p in made.parent.iterdir()) == sorted(
        f"cube.{s}" for s in
        ("coadd.fits", "dcr0.fits", "dcr1.fits", "dcr2.fits", "html", "inputs.ecsv", "json", "nimage.fits")
    )  # fmt: skip
    planes = [readExposure(f"{made}.dcr{k}.fits")[0] for k in range(3)]
    fluxes = np.array([_fluxes(p, field)[0] for p in planes])
    inside = _fluxes(planes[0], field)[1]
    slope = field.stars["slope"][inside]
    found = (fluxes[2] - fluxes[0]) / fluxes.sum(axis=0)
    # red stars are brightest in the last: a wrong sign of the refraction turns this round
    assert np.corrcoef(slope, found)[0, 1] > 0.9
    np.testing.assert_allclose(fluxes.sum(axis=0), field.stars["flux"][inside], rtol=0.04)
    total = readExposure(f"{made}.coadd.fits")[0]
    np.testing.assert_allclose(total.image.array, sum(p.image.array for p in planes), rtol=1e-4, atol=1e-3)


def test_summaryAndTableTellWhatTheVisitsSaw(made, field):
    with open(f"{made}.json", encoding="utf-8") as stream:
        summary = json.load(stream)
    figures, table = summary["metadata"], Table.read(f"{made}.inputs.ecsv")
    assert figures["subfilters"] == 3 and (figures["bandBlue"], figures["bandRed"]) == (402.8, 549.8)
    # precession since 2000 is in the one and not in the other
    airmass = [v.visitInfo.boresightAirmass for v in field.visits]
    np.testing.assert_allclose(table["airmass"], airmass, rtol=0.01)
    angle = np.degrees([v.visitInfo.boresightParAngle for v in field.visits])
    assert np.all(np.abs((table["parallacticAngle"] - angle + 180) % 360 - 180) < 3.0)
    assert len(summary["convergence"]) >= 2 and figures["iterations"] >= 1
    # noisy visits too: the misfit falls from step to step, and ends where the steps end
    assert np.all(np.diff(summary["convergence"]) < 0.01 * summary["convergence"][0])
    assert figures["finalConvergence"] == pytest.approx(summary["convergence"][-1], rel=0.05)
    assert summary["verdict"]["state"] == "green"
    assert np.all(table["residualAfter"] < table["residualBefore"])
    for name in ("residualBefore", "residualAfter"):  # of all visits together, not of a visit in the middle
        assert figures[name] <= np.sqrt(np.mean(np.asarray(table[name]) ** 2)) * (1 + 1e-12)
    assert figures["residualBefore"] > 1.5 * figures["residualAfter"]
    text = (made.parent / "cube.html").read_text(encoding="utf-8")
    for words in ("direction of the zenith", "subfilter 2", "403–452 nm"):
        assert words in text


def test_theReportCanBeMadeAgain(made, there, run):
    assert run("report", f"{made}.json", "-o", "again.html")[0] == 0
    text = (there / "again.html").read_text(encoding="utf-8")
    assert "direction of the zenith" in text and "subfilter 2" in text


def test_theTemplateOfAScienceVisitIsBetterThanTheCoadd(made, field, visits):
    """G12 on files: a visit that the model has not seen."""
    science = readExposure(visits / "vsci.fits")[0]
    template, sentence = matchedTemplateOf(str(made), science)
    assert "3 subfilters of 402.8-549.8 nm at airmass 1.2" in sentence
    coadd = readExposure(f"{made}.coadd.fits")[0]
    bright = coadd.mask.isSet("DETECTED")
    bright[:6] = bright[-6:] = bright[:, :6] = bright[:, -6:] = False
    noise = np.mean(science.variance.array[bright])
    left = [
        max(np.mean((science.image.array - 100.0 - t.image.array)[bright] ** 2) - noise, 0.0) for t in (coadd, template)
    ]
    assert left[1] < left[0] / 3
    assert template.psf is not None and template.wcs == coadd.wcs and len(readDcrModel(str(made))) == 3
    assert readDcrModel(str(made)).order == 1  # of the solution, so that the template has the same splines
    ratio = np.median(template.variance.array / coadd.variance.array)
    assert 0.2 < ratio < 0.8  # what shifts by fractions of a pixel leave of the noise


def test_subtractTakesTheSubfilters(made, visits, there, run):
    code, out, err = run("subtract", visits / "vsci.fits", "--dcr", made, "-o", "d", "--no-report", "--json")
    assert code == 0, err
    summary = json.loads(out)
    assert "3 subfilters" in err and len(summary["inputs"]["template"]["files"]) == 3
    assert summary["metadata"]["skyChi"] == pytest.approx(1.0, abs=0.15)
    for given, expected in (
        ((), 2), (("x.fits", "--dcr", made), 2), (("--dcr", "nothing"), 3),
        (("--dcr", str(made) + "x"), 3),
    ):  # fmt: skip
        assert run("subtract", visits / "vsci.fits", *given, "-o", "e")[0] == expected
    bare = readExposure(visits / "vsci.fits")[0]
    bare.visitInfo = None
    writeExposure(bare, "bare.fits")
    code, _, err = run("subtract", "bare.fits", "--dcr", made, "-o", "e")
    assert code == 4 and "where the zenith was" in err
    assert not list(there.glob("e.*"))


def test_bareImagesTellTheirAirmassByTimeAndPlace(visits, field, there):
    with fits.open(visits / "p3.fits") as opened:
        opened[0].header["AIRMASS"] = 1.9
        opened.writeto(there / "other.fits")
    names = [*(str(visits / f"p{k}.fits") for k in range(3)), "other.fits"]
    result = stillsky.dcr(names, bandLimits=(402.8, 549.8), subfilters=2)
    assert [code for code, sentence in result.warnings if "1 of 4 visits have an airmass" in sentence] == ["W-ZENITH"]
    said = [sentence for sentence in result.decisions if sentence.startswith("zenith")]
    assert len(said) == 1 and "1.9 in the header" in said[0]  # once, not for every step that asks
    result.table["fwhm"][0] *= 2
    for matched, wanted in ((True, "green"), (False, "red")):
        result.metadata["psfMatched"] = matched
        rule = next(r for r in dcrVerdict(result)["rules"] if "seeing" in r["name"])
        assert rule["state"] == wanted
    airmass = [v.visitInfo.boresightAirmass for v in field.visits[:4]]
    np.testing.assert_allclose(result.table["airmass"], airmass, rtol=0.01)
    assert len(result.dcrCoadds) == 2 and "2 subfilters" in str(result)
    assert result.template(field.science.visitInfo).bbox == result.coadd.bbox


def test_badInputCostsOnlyItself(field, there):
    """One run: no weather, no airmass, variance that is not a number here and there, pixels that nobody saw, a visit without
    pixels, a file that is none, another unit."""
    visits = [visit.toExposure().copy() for visit in field.visits]
    visits[0].visitInfo = visits[0].visitInfo.copyWith(weather=None, boresightAirmass=np.nan)
    visits[1].variance.array[40:60, 40:60] = np.nan
    visits[1].variance.array[90:95, 40:60] = 0
    visits[2].image.array[...] = np.nan
    visits[3].metadata["BUNIT"] = "nJy"
    for visit in visits:
        visit.image.array[100:106, 20:26] = np.nan
    (there / "trunc.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 200)
    result = stillsky.dcr([*visits, "trunc.fits", "nowhere.fits"], bandLimits=(402.8, 549.8), subfilters=2)
    assert list(result.table["used"]) == [True, True, False, True, True, True, False, False]
    codes = [code for code, _ in result.warnings]
    assert codes.count("W-SKIPPED") == 3 and "W-UNITS" in codes
    assert sum("assumed, typical" in sentence and "(input 1)" in sentence for sentence in result.decisions) == 3
    for model in result.model:
        assert np.isfinite(model).all()
    np.testing.assert_allclose(result.table["airmass"][0], field.visits[0].visitInfo.boresightAirmass, rtol=0.01)
    with pytest.raises(OSError, match="nowhere"):
        stillsky.dcr([*visits[:2], "nowhere.fits"], bandLimits=(402.8, 549.8), strict=True)


@pytest.mark.parametrize("verb", ["coadd", "dcr"])
def test_anotherClassOfConfigurationIsRefused(verb):
    with pytest.raises(TypeError, match="wanted a stillsky.[A-Z][a-z]*JobConfig, got dict"):
        getattr(stillsky, verb)(["a.fits"], config={"dcr.smoothness": 0.1})


def test_whatCannotBeDoneIsSaid(visits, there, run):
    names = [visits / f"v{k}.fits" for k in range(3)]
    code, _, err = run("dcr", *names, "-o", "x")
    assert code == 2 and "--band-limits" in err
    for limits in ("549.8,402.8nm", "blue,red", "100,150nm"):
        assert run("dcr", *names, "-o", "x", "--band-limits", limits)[0] == 2
    code, _, err = run("dcr", names[0], "-o", "x", *BAND)
    assert code == 5 and "fewer than two visits" in err
    lost, other, low = (readExposure(names[2])[0] for _ in range(3))
    low.image.array[...] += 1.0  # a copy of the other's pixels would be left out for that
    lost.visitInfo = None
    other.filter = stillsky.FilterLabel(band="r")
    low.visitInfo = low.visitInfo.copyWith(boresightAzAlt=(1.0, np.radians(4.0)), date=None, era=np.nan)
    for name, exposure in (("lost", lost), ("other", other), ("low", low)):
        writeExposure(exposure, f"{name}.fits")
    code, _, err = run("dcr", *names[:2], "other.fits", "-o", "x", *BAND)
    assert code == 4 and "several bands" in err and "r (other.fits)" in err
    for name in ("lost", "low"):
        code, _, err = run("dcr", *names[:2], f"{name}.fits", "-o", "x", *BAND, "--strict")
        assert code == 4 and f"{name}.fits" in err
    assert "leave the image out" in err
    assert not list(there.glob("x.*"))
    code, _, err = run("dcr", *names[:2], "lost.fits", "low.fits", "-o", "x", *BAND, "--no-report")
    assert code == 0 and "left out: lost.fits" in err and "left out: low.fits" in err
    assert "lost.fits: lost.fits" not in err
    assert list(Table.read("x.inputs.ecsv")["used"]) == [True, True, False, False]
    code, _, err = run("dcr", "lost.fits", "lost.fits", "-o", "y", *BAND)
    assert code == 5 and "no input is left" in err and "nothing tells when" in err.split("error[5]")[1]


def test_aThroughputTellsTheBand(visits, there, capsys):
    """``--throughput FILE`` needs no limits of the band; the products tell what it was, and make templates with it."""
    from stillsky.cli import main
    from stillsky.dcr.band import readThroughput

    nm = np.linspace(402.8, 549.8, 31)
    Table({"nm": nm, "t": 0.5 + (nm - 476.3) / 200}).write("g.csv")
    names = [str(visits / f"v{k}.fits") for k in (0, 2, 5)]
    options = [
        "--no-report",
        "-c",
        "dcr.cgIterations=2",
        "-c",
        "dcr.priorStrength=0.1",
        "-c",
        "dcr.measureColours=true",
    ]
    assert main(["dcr", *names, "-o", "p", "--throughput", "g.csv", *options]) == 0
    stars = Table.read("p.colours.ecsv")
    assert len(stars) >= 4 and {"ra", "dec", "colour", "colourErr", "response"} <= set(stars.colnames)
    assert np.all(stars["colourErr"] > 0) and stars["x"].unit == "pix" and stars["colour"].description
    figures = json.loads((there / "p.json").read_text())["metadata"]
    # of a straight line a + b (l - c) between c - h and c + h the mean is c + b h^2 / 3a
    assert figures["effectiveWavelength"] == pytest.approx(476.3 + 73.5**2 / (3 * 0.5 * 200)) and figures["throughput"]
    model = readDcrModel("p")
    assert model.throughput == readThroughput("g.csv")[0] and model.bandLimits == pytest.approx((402.8, 549.8))
    science = readExposure(str(visits / "vsci.fits"))[0]
    np.testing.assert_array_equal(
        matchedTemplateOf("p", science)[0].image.array,
        model.buildMatchedTemplate(visitInfo=science.visitInfo, order=1),
    )
    capsys.readouterr()
    assert main(["dcr", *names, "-o", "q", "--throughput", "none.csv"]) == 3
    assert "none.csv" in capsys.readouterr().err
    assert main(["dcr", *names, "-o", "q", "--throughput", names[0]]) == 3
    assert main(["dcr", *names, "-o", "q"]) == 2
    assert "--throughput FILE" in capsys.readouterr().err
