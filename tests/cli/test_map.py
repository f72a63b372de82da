"""``stillsky map``."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from stillsky import makeExposure, read, writeExposure
from stillsky.cli import main
from stillsky.fits import writeKernel
from stillsky.fits.components import psfFromHdu
from stillsky.kernel import FixedKernel
from stillsky.psf import CoaddPsf, GaussianPsf

CELLS = ["-c", "cellSizeX=32", "-c", "cellSizeY=32", "-c", "gridStepX=32", "-c", "gridStepY=32"]


@pytest.fixture
def image(tmp_path, rng, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exposure = makeExposure(
        rng.normal(10, 2, (96, 128)),
        variance=np.full((96, 128), 4.0),
        psf=GaussianPsf(21, 21, 2.0, averagePosition=(60, 50)),
    )
    writeExposure(exposure, "in.fits")
    return exposure


def testStatisticsGoToATable(image):
    assert main(["map", "in.fits", "--mapper", "statistics", *CELLS, "-o", "out"]) == 0
    table = Table.read("out.ecsv")
    assert len(table) == 12 and abs(table["mean"] - 10).max() < 0.4 and abs(table["stdev"] - 2).max() < 0.3
    assert list(table["minY"][:4]) == [0, 32, 64, 0] and list(table["cell"]) == list(range(12))
    summary = json.loads(Path("out.json").read_text())
    assert summary["metadata"]["numCells"] == 12 and summary["products"] == ["out.ecsv", "out.json"]


def testPassThroughIsTheImage(image):
    for reducer in ("copy", "average"):
        assert main(["map", "in.fits", "--reducer", reducer, *CELLS, "-o", reducer]) == 0
        out = read(f"{reducer}.fits")
        np.testing.assert_array_equal(out.image.array, image.image.array)
        assert isinstance(out.psf, CoaddPsf)
    assert main(["map", "in.fits", *CELLS, "-o", "copy"]) == 7


def testConvolutionOfCellsIsThatOfTheImage(image):
    whole = ["-c", "cellSizeX=500", "-c", "cellSizeY=500"]
    assert main(["map", "in.fits", "--mapper", "convolve", *whole, "-o", "whole"]) == 0
    assert main(["map", "in.fits", "--mapper", "convolve", *CELLS, "-o", "cells"]) == 0
    one, two = read("whole.fits"), read("cells.fits")
    inner = (slice(8, -8), slice(8, -8))
    np.testing.assert_allclose(one.image.array[inner], two.image.array[inner], rtol=1e-6)
    np.testing.assert_allclose(one.variance.array[inner], two.variance.array[inner], rtol=1e-6)
    assert one.variance.array[inner].mean() == pytest.approx(4 / (4 * np.pi * 4), rel=0.01)
    assert main(["map", "in.fits", "--mapper", "convolve", *CELLS, "-c", "borderSizeX=3", "-o", "thin"]) == 2


def testComposedPsfIsWritten(image):
    from astropy.io import fits

    assert main(["map", "in.fits", "--reducer", "coaddPsf", *CELLS, "-o", "psf"]) == 0
    with fits.open("psf.fits") as hdus:
        psf = psfFromHdu(hdus["SKY_PSF"])
    assert psf.componentCount == 12
    np.testing.assert_allclose(psf.computeKernelImage((40, 40)).array, image.psf.computeKernelImage().array, atol=1e-15)


def testClassOfYourOwn(image, monkeypatch):
    with open("own_mapper.py", "w") as stream:
        stream.write("class Twice:\n    def run(self, cell, wide, box, **keywords):\n        out = cell.copy()\n"
                     "        out.image *= 2\n        return out\n")  # fmt: skip
    monkeypatch.setattr(sys, "path", [".", *sys.path])
    assert main(["map", "in.fits", "--mapper", "own_mapper:Twice", *CELLS, "-o", "twice"]) == 0
    np.testing.assert_array_equal(read("twice.fits").image.array, image.image.array * 2)


def testDecorrelationThroughCells(image, rng):
    """White noise minus convolved white noise is white again, with the variance of the plane."""
    from scipy.ndimage import convolve

    y, x = np.mgrid[-7:8, -7:8]
    kernel = np.exp(-(x**2 + y**2) / (2 * 1.8**2))
    kernel /= kernel.sum()
    size = (512, 512)
    science, template = (rng.normal(0, 2, size).astype(np.float32) for _ in range(2))
    psf = GaussianPsf(31, 31, 2.5, averagePosition=(100, 100))
    for name, pixels in (("sci", science), ("tmpl", template), ("diff", science - convolve(template, kernel))):
        writeExposure(makeExposure(pixels, variance=np.full(size, 4.0), psf=psf), f"{name}.fits")
    writeKernel(FixedKernel(kernel), "k.fits")
    command = ["map", "diff.fits", "--mapper", "decorrelate", "-c", "cellSizeX=128", "-c", "cellSizeY=128"]
    command += ["-c", "gridStepX=128", "-c", "gridStepY=128"]
    assert main([*command, "-o", "none"]) == 2
    assert main([*command, "--science", "sci.fits", "--template", "tmpl.fits", "--kernel", "k.fits", "-o", "d"]) == 0
    out = read("d.fits").image.array[30:-30, 30:-30].astype(float)
    assert out.var() == pytest.approx(8.0, rel=0.02)
    before = (science - convolve(template, kernel))[30:-30, 30:-30].astype(float)
    rho = [(a[:, 1:] * a[:, :-1]).mean() / a.var() for a in (before, out)]
    assert abs(rho[0]) > 0.02 and abs(rho[1]) < 0.01


def testADifferenceThatIsWhiteIsNotDecorrelatedAgain(image, capsys):
    image.metadata.set("DECORR", True)
    writeExposure(image, "diff.fits")
    writeKernel(FixedKernel(np.ones((5, 5)) / 25), "k.fits")
    files = ["--science", "in.fits", "--template", "in.fits", "--kernel", "k.fits"]
    assert main(["map", "diff.fits", "--mapper", "decorrelate", *files, "-o", "d"]) == 4
    err = capsys.readouterr().err
    assert "found: DECORR = T" in err and "-c doDecorrelation=false" in err and not Path("d.fits").exists()


def testStatisticsMakeNoImage(image, capsys):
    assert main(["map", "in.fits", "--mapper", "statistics", "--reducer", "average", *CELLS, "-o", "d"]) == 2
    err = capsys.readouterr().err
    assert "statistics gives numbers" in err and "try: --reducer none" in err


@pytest.mark.parametrize(
    "body, words", [("raise ValueError('no bananas')", "failed in cell 0, .*: no bananas"), ("return 5.0", "got float")]
)
def testAMapperThatFailsIsNamed(image, monkeypatch, capsys, body, words):
    import importlib
    import re

    name = f"failing_mapper_{len(body)}"
    Path(f"{name}.py").write_text(f"def f(cell, wide, box, **keywords):\n    {body}\n")
    monkeypatch.setattr(sys, "path", [".", *sys.path])
    importlib.invalidate_caches()
    assert main(["map", "in.fits", "--mapper", f"{name}:f", *CELLS, "-o", "d"]) == 2
    err = capsys.readouterr().err
    assert re.search(words, err) and f"error[2]: the mapper {name}:f" in err and "report it" not in err


def testAnExampleOfTheHelpWorks(image, capsys):
    import re

    assert main(["map", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    settings = re.findall(r"-c (?:[a-zA-Z]+)=\d+", text)
    assert len(settings) >= 4
    assert main(["map", "in.fits", *" ".join(settings).split(), "-o", "d"]) == 0
    assert json.loads(Path("d.json").read_text())["metadata"]["numCells"] == 1 and "science file" not in text


@pytest.mark.parametrize(
    "options", [["--mapper", "nothing"], ["--mapper", "no.such:Thing"], ["--reducer", "best"], ["-c", "cellSizeX=0"]]
)
def testWrongOptions(image, options, capsys):
    assert main(["map", "in.fits", *options]) == 2
    assert "error[2]" in capsys.readouterr().err


def testDryRunWritesNothing(image, tmp_path):
    before = sorted(p.name for p in tmp_path.iterdir())
    assert main(["map", "in.fits", "--dry-run"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == before


def testTaskFrameworkIsNotLoaded(image):
    code = (
        "import sys; from stillsky.cli import main; "
        "code = main(['map', 'in.fits', '-o', 'x', '-q']); print(code, 'lsst.pipe.base' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=_absolutePath())
    assert done.stdout.split() == ["0", "False"], done.stderr


def _absolutePath():
    import os

    import stillsky

    return {**os.environ, "PYTHONPATH": str(Path(stillsky.__file__).resolve().parents[1])}
