"""Exposures behind handles: components and boxes where they are offered, else of the whole, read once."""

import numpy as np
import pytest

from stillsky.geom import Box2I
from stillsky.image import HandleReader, makeExposure

BOX = Box2I((3, 4), (5, 2))


class Handle:
    """``offers`` is what ``get`` can do; ``refusal`` what it raises otherwise."""

    def __init__(self, exposure, offers=(), refusal=KeyError):
        self.exposure, self.offers, self.refusal, self.calls = exposure, offers, refusal, []

    def get(self, component=None, parameters=None):
        self.calls.append("component" if component else "box" if parameters else "whole")
        if self.calls[-1] not in ("whole", *self.offers):
            raise self.refusal("not offered")
        if component:
            return getattr(self.exposure, component)
        return self.exposure[parameters["bbox"]] if parameters else self.exposure


class PlainHandle:
    """Reads whole exposures only."""

    def __init__(self, exposure):
        self.exposure = exposure

    def get(self):
        return self.exposure


@pytest.fixture(scope="module")
def exposure():
    return makeExposure(np.arange(120, dtype=np.float32).reshape(10, 12))


def testExposuresAreTheirOwnReaders(exposure):
    reader = HandleReader(exposure)
    assert reader.isExposure and reader.whole is exposure
    assert reader.component("bbox") == exposure.bbox and reader.box(exposure.bbox) is exposure
    assert reader.box(BOX).maskedImage == exposure[BOX].maskedImage


def testComponentsAndBoxesComeWithoutTheRest(exposure):
    reader = HandleReader(Handle(exposure, ("component", "box")))
    assert reader.component("bbox") == exposure.bbox and reader.box(BOX).bbox == BOX
    assert reader.thing.calls == ["component", "box"] and reader.whole is None


@pytest.mark.parametrize("refusal", [KeyError, TypeError, AttributeError, ValueError, NotImplementedError])
def testHandlesWithoutComponentsAreReadOnce(exposure, refusal):
    reader = HandleReader(Handle(exposure, (), refusal))
    assert reader.box(BOX).bbox == BOX
    assert reader.component("bbox") == exposure.bbox and reader.box(BOX).bbox == BOX
    assert reader.thing.calls == ["box", "whole"]


def testHandlesWithoutArguments(exposure):
    reader = HandleReader(PlainHandle(exposure))
    assert reader.component("bbox") == exposure.bbox and reader.box(BOX).bbox == BOX


def testWhatCannotBeReadIsNotReadAgain(exposure):
    reader = HandleReader(Handle(exposure, (), OSError))
    with pytest.raises(OSError, match="not offered"):
        reader.component("bbox")
    assert reader.thing.calls == ["component"]
