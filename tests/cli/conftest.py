"""A small configuration and a fast stand-in for the subtraction: the command line is tested apart from the job."""

import sys
import types

import pytest
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

import stillsky.cli.config as cliConfig
from stillsky.cli import main


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
def run(capsys):
    """``run(*argv)`` gives exit code, stdout and stderr."""

    def call(*argv):
        code = main([str(a) for a in argv])
        out, err = capsys.readouterr()
        return code, out, err

    return call
