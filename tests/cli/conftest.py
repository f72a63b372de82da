"""A small configuration and a fast stand-in for the subtraction: the command line is tested apart from the job."""

import importlib
import os
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from lsst.pex.config import (
    ChoiceField,
    Config,
    ConfigChoiceField,
    ConfigDictField,
    ConfigField,
    Field,
    ListField,
    RangeField,
)
from matplotlib.figure import Figure

import stillsky.cli.config as cliConfig
import stillsky.report
import stillsky.report.subtract_report
from repository_fixtures import runRepo  # noqa: F401 (fixture)
from stillsky.cli import main
from stillsky.diffim.injection_config import InjectionConfig
from stillsky.fits import writeKernel
from stillsky.kernel import FixedKernel, LinearCombinationKernel
from stillsky.report import Page


class BasisConfig(Config):
    kernelSize = RangeField(dtype=int, doc="Side of the kernel.", default=21, min=1)
    widths = ListField(dtype=float, doc="Widths.", default=[0.7, 1.5])


class FitConfig(Config):
    spatialKernelOrder = RangeField(dtype=int, doc="Order over the image.", default=2, min=0)
    spatialBgOrder = RangeField(dtype=int, doc="Order of the background.", default=1, min=0)
    tolerance = Field(dtype=float, doc="Small number.", default=1e-7)
    planes = ListField(dtype=str, doc="Mask planes.", default=["BAD", "SAT"])
    basis = ConfigChoiceField(doc="Basis.", typemap={"AL": BasisConfig, "DF": BasisConfig}, default="AL")

    def validate(self):
        super().validate()
        if self.basis.active.kernelSize % 2 == 0:
            from lsst.pex.config import FieldValidationError

            raise FieldValidationError(BasisConfig._fields["kernelSize"], self.basis.active, "must be odd")


class SmallConfig(Config):
    convolve = ChoiceField(
        dtype=str, doc="Which image.", default="auto", allowed={"auto": "a", "template": "t", "science": "s"}
    )
    psfmatch = ConfigField("The fit.", FitConfig)
    doDetection = Field(dtype=bool, doc="Sources.", default=True)
    inject = ConfigField("Planted sources.", InjectionConfig)
    cells = ConfigDictField(doc="By name.", keytype=str, itemtype=BasisConfig, default={"one": BasisConfig()})
    none = ConfigDictField(doc="Nothing.", keytype=str, itemtype=BasisConfig, default={})
    comment = Field(dtype=str, doc="Text: any; even 'quoted' # text.", default=None, optional=True)


@pytest.fixture
def smallConfig(monkeypatch):
    """`subtract` and `psfmatch` are configured by a small class."""
    module = types.ModuleType("small_config")
    module.SmallConfig = SmallConfig
    monkeypatch.setitem(sys.modules, "small_config", module)
    for verb in ("subtract", "psfmatch"):
        monkeypatch.setitem(cliConfig._CLASSES, verb, ("small_config", "SmallConfig"))
    return SmallConfig


@pytest.fixture
def fresh():
    """``fresh(code)`` runs Python code in an interpreter of its own that finds this stillsky."""

    def call(code, **options):
        paths = [str(Path(stillsky.__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=env, **options
        )

    return call


@pytest.fixture
def run(capsys):
    """``run(*argv)`` gives exit code, stdout and stderr."""

    def call(*argv):
        code = main([str(a) for a in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call


class FakeResult:
    """What a subtraction returns, made from its inputs in no time."""

    def __init__(self, science, template, keepWarped=False, method="al"):
        self.score = science if method == "zogy" else None
        self.warpedTemplate = template if keepWarped else None
        self.science, self.matchedTemplate, self.difference = science, template, science
        self.kernel = LinearCombinationKernel([FixedKernel(np.eye(3) / 3.0)], [1.0])
        self.background = None
        self.convolved = "template"
        self.metadata = {"spatialKernelSum": np.float64(1.031), "skyChi": 1.01, "bad": float("nan")}
        self.decisions = ["kernel: 3x3 px"]
        self.warnings = [("W-DECONV", "the kernel sharpens")]
        self.timings = {"fit": 0.1}

    def write(self, prefix, overwrite=False, compress="none", sources=".ecsv", summary=True, picture=True, report=True):
        names = [prefix + s for s in (".diff.fits", ".matched.fits", ".kernel.fits")]
        texts = [prefix + s for s in (f".sources{sources}", ".sources.reg")]
        for name in texts:
            Path(name).write_text("sources")
        for name in names[:2]:
            fits.PrimaryHDU(self.difference.image.array).writeto(name)
        writeKernel(self.kernel, names[2])
        if self.warpedTemplate is not None:
            names.append(prefix + ".warped.fits")
            fits.PrimaryHDU(self.warpedTemplate.image.array).writeto(names[-1])
            if self.score is not None:
                names.append(prefix + ".score.fits")
                fits.PrimaryHDU(self.score.image.array).writeto(names[-1])
            texts.append(prefix + ".footprints.fits")
            fits.PrimaryHDU(self.difference.mask.array).writeto(texts[-1])
        return names + texts


@pytest.fixture
def fakeSubtract(smallConfig, monkeypatch):
    """A stand-in for `stillsky.diffim.subtract`: ``fake.error`` is raised, ``fake.calls`` remembers."""
    fake = types.ModuleType("stillsky.diffim")
    fake.__path__ = importlib.import_module("stillsky.diffim").__path__  # its modules are the real ones
    fake.error, fake.calls = None, []

    def subtract(science, template, *, config=None, method="al", stars=None, progress=None, keepWarped=False):
        fake.calls.append({"science": science, "template": template, "config": config, "stars": stars})
        fake.calls[-1].update(keepWarped=keepWarped, method=method)
        for _ in progress(range(2), desc="subtract", total=2):
            if fake.error is not None:
                raise fake.error
        return FakeResult(science, template, keepWarped, method)

    def matchPsfs(science, template, *, config=None, stars=None, progress=None):
        return subtract(science, template, config=config, stars=stars, progress=progress)

    fake.subtract, fake.matchPsfs = subtract, matchPsfs
    monkeypatch.setattr(stillsky.report, "subtractFigure", lambda result: Figure(figsize=(1, 1)))
    reports = stillsky.report.subtract_report
    monkeypatch.setattr(reports, "qualityOf", lambda result: (None, {"verdict": {"state": "green"}}))
    monkeypatch.setattr(reports, "subtractReport", lambda result, summary, quality: Page("report"))
    monkeypatch.setitem(sys.modules, "stillsky.diffim", fake)
    return fake


@pytest.fixture(scope="session")
def pairFiles(tmp_path_factory):
    """Folder with a small simulated pair: sci.fits, tmpl.fits, truth.ecsv."""
    folder = tmp_path_factory.mktemp("pair")
    assert main(["simulate", "pair", "--size", "128", "-q", "-o", f"{folder}/"]) == 0
    return folder


@pytest.fixture
def work(tmp_path, pairFiles, monkeypatch):
    """A fresh current folder with links to the pair."""
    for name in ("sci.fits", "tmpl.fits"):
        (tmp_path / name).symlink_to(pairFiles / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path
