"""Differential chromatic refraction: its physics, the shifts of subfilters, and the model that is fitted to many visits."""

import importlib
import sys
import types

from .algorithm import DcrResult, assembleDcr
from .apply import applyDcr
from .model import DcrModel
from .refraction import differentialRefraction, refraction
from .shifts import DcrShifts, calculateDcr, calculateImageParallacticAngle, wavelengthGenerator

__all__ = [
    "DcrModel",
    "DcrResult",
    "DcrShifts",
    "applyDcr",
    "assembleDcr",
    "calculateDcr",
    "calculateImageParallacticAngle",
    "differentialRefraction",
    "refraction",
    "wavelengthGenerator",
]

# Tasks import lsst.pipe.base: only those who use them pay for it.
_LAZY = {}


def __getattr__(name):
    if name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        return getattr(importlib.import_module(module, __name__), attribute)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Room(types.ModuleType):
    """This module, which can be called: ``stillsky.dcr(list)`` is `stillsky.dcr.plain.dcr`."""

    def __call__(self, inputs, **options):
        from .plain import dcr

        return dcr(inputs, **options)


sys.modules[__name__].__class__ = _Room
dcr = sys.modules[__name__]  # so that the top level finds the callable under the name of the room
