"""Flats, detectors and a quantum for the tests of the extraction."""

from types import SimpleNamespace

import numpy as np

from stillsky.geom import Box2I
from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.meta import Amplifier, Detector, VisitInfo

NAMES = [f"C:{i},{j}" for i in range(2) for j in range(4)]


def mockDetector():
    """200 columns x 204 rows, 8 amplifiers of 100 x 51, named C:column,row."""
    amps = [Amplifier(f"C:{i},{j}", Box2I((100 * i, 51 * j), (100, 51))) for i in range(2) for j in range(4)]
    return Detector(id=0, name="R00_S00", amplifiers=amps, serial="0000011")


def makeFlat(pixels, expTime=1.0, *, detector=None, metadata=None, date=None, mask=None, xy0=(0, 0)):
    """An exposure around pixels in adu; ``mask``: {plane name: boolean array}."""
    pixels = np.ascontiguousarray(pixels, np.float32)
    plane = Mask(np.zeros(pixels.shape, np.int32), xy0)
    for name, where in (mask or {}).items():
        plane.array[where] |= 1 << plane.bit(name)
    image = MaskedImage(Image(pixels, xy0), plane)
    visit = VisitInfo(exposureTime=expTime, date=date, observationType="flat", observationReason="ptc")
    return Exposure(
        image, visitInfo=visit, detector=mockDetector() if detector is None else detector, metadata=metadata or {}
    )


def noisyFlat(rng, level, gain=1.5, noise=3.0, shape=(204, 200), expTime=1.0, **more):
    """A flat of ``level`` electrons with Poisson light and Gaussian read noise (electrons), in adu of ``gain``."""
    electrons = rng.poisson(level, shape) + noise * rng.standard_normal(shape)
    return makeFlat(electrons / gain, expTime, **more)


def unitTestFlats():
    """The two flats of the goldens: legacy generators, whose streams are frozen."""
    return [
        makeFlat(np.random.RandomState(seed).normal(2000, np.sqrt(2000) + 10, (204, 200)), detector=mockDetector())
        for seed in (1984, 666)
    ]


def goldenFlats():
    """The flat pair of ptc_measure.json from its recipe: two images (float32), and the mask planes of each."""
    rng = np.random.default_rng(20220126)
    shape = (256, 320)
    illumination = np.broadcast_to(1 + 0.05 * ((np.arange(320) + 0.5) / 320 - 0.5), shape)
    images = []
    for factor in (1.0, 1.02):
        m = 30000 * factor * illumination
        images.append((m + np.sqrt(m) * rng.standard_normal(shape) + 6 * rng.standard_normal(shape)) / 1.5)
    bad = rng.random(shape) < 0.005
    hits = rng.integers(0, 256 * 320, size=24)
    images[0].flat[hits[:12]] += 5000
    images[1].flat[hits[12:]] += 5000
    saturated, cosmic = np.zeros(shape, bool), np.zeros(shape, bool)
    saturated[40:44, 100:110] = True
    cosmic[200:203] = True
    planes = {"BAD": bad, "SAT": saturated}, {"BAD": bad, "CR": cosmic}
    return [image.astype(np.float32) for image in images], planes


def goldenPair():
    """`goldenFlats` as exposures."""
    return [makeFlat(image, mask=planes) for image, planes in zip(*goldenFlats())]


class FakeHandle:
    """A deferred reference: pixels are handed out by get(), which is counted."""

    alive = 0
    mostAlive = 0

    def __init__(self, exposure, expId, detector=0):
        self.exposure = exposure
        self.dataId = {"exposure": expId, "detector": detector, "instrument": "cam"}
        self.reads = 0

    def get(self, *, component=None):
        if component is not None:
            return getattr(self.exposure, component)
        self.reads += 1
        return self.exposure


class FakeQuantum:
    """A quantum context that knows what its references stand for."""

    def __init__(self, stored):
        self.stored = stored
        self.written = {}

    def get(self, refs):
        return {name: list(self.stored[name]) for name in self.stored}

    def put(self, struct, refs):
        for name, value in struct.getDict().items():
            targets = getattr(refs, name)
            if isinstance(targets, list):
                assert len(value) == len(targets)
                self.written[name] = {t.dataId["exposure"]: v for t, v in zip(targets, value)}
            else:
                self.written[name] = value


def fakeRefs(**byName):
    """References by connection name: lists of ids become lists, one id a single reference."""
    make = lambda i: SimpleNamespace(dataId={"exposure": i, "detector": 0, "instrument": "cam"})  # noqa: E731
    return SimpleNamespace(
        **{name: [make(i) for i in ids] if isinstance(ids, list) else make(ids) for name, ids in byName.items()}
    )
