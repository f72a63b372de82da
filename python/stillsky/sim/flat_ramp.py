"""Ramps of flat fields of detectors with many amplifiers: exposures in memory and raw files."""

from dataclasses import dataclass

import numpy as np

from ..errors import DomainError, OutOfBoundsError
from ..geom import Box2I
from .defects import cosmicRays
from .flats import AmplifierTruth, brighterFatterMatrix, flatLevels, simulateFlatPair

__all__ = ["FlatRamp", "defaultAmplifiers", "simulateFlatRamp"]

_RATE = 1000.0  # electrons per second
_FIRST_ID = 2026030100001


@dataclass(frozen=True)
class AmplifierPlace:
    """Where an amplifier lies: its box in the trimmed detector and the directions it is read in."""

    bbox: Box2I
    flipX: bool
    flipY: bool


def simulateFlatRamp(
    levels=None,
    nPairs=1,
    *,
    shape=(512, 256),
    amplifiers=4,
    seed=1,
    light="gaussian",
    fluxMismatch=0.0,
    badColumns=0,
    cosmicRayRate=0.0,
):
    """A ramp of flat pairs.

    Parameters
    ----------
    levels : sequence of `float`, optional
        Mean levels, electrons; by default `flatLevels`.
    nPairs : `int`
        Pairs per level.
    shape : `tuple` [`int`, `int`]
        Height and width of the science pixels of an amplifier.
    amplifiers : `int` or sequence of `AmplifierTruth`
        A number gives amplifiers of gains around 1.5, read noises around 5 electrons and a common a_ij.
    seed : `int`
        The same arguments give the same pixels, whichever exposures are asked for, in whichever order.
    light : {"gaussian", "poisson"}
        See `simulateFlatPair`.
    fluxMismatch : `float`
        Relative rms of the level of the second exposure of a pair.
    badColumns : `int`
        Columns per amplifier that respond with 30 %; flagged BAD.
    cosmicRayRate : `float`
        Tracks per 1024 x 1024 pixels and exposure; not flagged.

    Returns
    -------
    ramp : `FlatRamp`
        Draws exposures when asked for them.

    Raises
    ------
    DomainError
        An argument is out of range.
    """
    levels = flatLevels() if levels is None else np.asarray(levels, dtype=np.float64)
    if levels.ndim != 1 or not levels.size or not (levels >= 0).all() or nPairs < 1:
        raise DomainError(f"wanted a list of levels >= 0 and nPairs >= 1, given {levels} and {nPairs}")
    if np.ndim(amplifiers) == 0:
        amplifiers = defaultAmplifiers(int(amplifiers), seed, light)
    return FlatRamp(levels, nPairs, shape, amplifiers, seed, light, fluxMismatch, badColumns, cosmicRayRate)


def defaultAmplifiers(n, seed=1, light="gaussian"):
    """Amplifiers C00, C01, ... with gains around 1.5, noises around 5 electrons and one `brighterFatterMatrix`.

    Parameters
    ----------
    n : `int`
    seed : `int`
    light : {"gaussian", "poisson"}
        With "poisson" a_ij is zero.

    Returns
    -------
    amplifiers : `list` [`AmplifierTruth`]
    """
    if n < 1:
        raise DomainError(f"amplifiers: wanted at least 1, given {n}")
    rng = np.random.default_rng([seed, 77])
    a = brighterFatterMatrix() if light == "gaussian" else None
    return [
        AmplifierTruth(
            f"C{k:02d}",
            gain=round(float(rng.uniform(1.4, 1.6)), 3),
            readNoise=round(float(rng.uniform(4.5, 5.5)), 2),
            aMatrix=a,
            offset=float(rng.integers(900, 1100)),
        )
        for k in range(n)
    ]


class FlatRamp:
    """A ramp of flat pairs, exposure by exposure; made by `simulateFlatRamp`.

    Exposures 2k and 2k + 1 are pair k; pairs run over the levels, ``nPairs`` at each. Amplifiers lie in one row, or in
    two when they are an even number of at least four; those of the upper row are read from the top, every second one
    from the right.

    Attributes
    ----------
    levels : `numpy.ndarray`
        Electrons.
    amplifiers : `list` [`AmplifierTruth`]
    places : `list` [`AmplifierPlace`]
    """

    def __init__(self, levels, nPairs, shape, amplifiers, seed, light, fluxMismatch, badColumns, cosmicRayRate):
        self.levels, self.nPairs, self.seed = levels, int(nPairs), int(seed)
        self.shape = int(shape[0]), int(shape[1])
        self.amplifiers = list(amplifiers)
        names = [truth.name for truth in self.amplifiers]
        if not names or len(set(names)) != len(names):
            raise DomainError(f"amplifiers: wanted different names, given {names}")
        self.light, self.fluxMismatch = light, float(fluxMismatch)
        self.badColumns, self.cosmicRayRate = int(badColumns), float(cosmicRayRate)
        self.places = _arrange(len(names), self.shape)
        self._last = None

    def __len__(self):
        return 2 * len(self.levels) * self.nPairs

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    @property
    def detector(self):
        """The detector (`stillsky.meta.Detector`) with the planted gains and noises."""
        from ..meta import Amplifier, Detector

        amps = [
            Amplifier(
                truth.name,
                place.bbox,
                gain=truth.gain,
                readNoise=float(np.sqrt(truth.noiseMatrix[0, 0])),
                saturation=truth.fullWell,
                readoutCorner=("U" if place.flipY else "L") + ("R" if place.flipX else "L"),
                flipX=place.flipX,
                flipY=place.flipY,
            )
            for truth, place in zip(self.amplifiers, self.places)
        ]
        return Detector(0, "SIM_00", amps, serial="simulated")

    ids = property(lambda self: [_FIRST_ID + i for i in range(len(self))], doc="Exposure ids, in order.")

    def level(self, i):
        """Level of exposure ``i``, electrons, as intended."""
        if not -len(self) <= i < len(self):
            raise OutOfBoundsError(f"the ramp has {len(self)} exposures, asked for number {i}")
        return float(self.levels[(i % len(self)) // (2 * self.nPairs)])

    def exposureTime(self, i):
        """Exposure time of exposure ``i``, seconds."""
        return self.level(i) / _RATE

    def arrays(self, i):
        """Science pixels of exposure ``i``, one array per amplifier.

        Returns
        -------
        images : `list` [`numpy.ndarray` (height, width) of `float32`]
            adu above the offset, in the orientation of the detector; cut off at the full well, with bad columns and
            cosmic rays.
        """
        level = self.level(i)
        k, member = divmod(i % len(self), 2)
        if self._last is None or self._last[0] != k:
            self._last = k, [self._pair(k, a, level) for a in range(len(self.amplifiers))]
        images = [pair[member].copy() for pair in self._last[1]]
        for a, (image, truth) in enumerate(zip(images, self.amplifiers)):
            if self.cosmicRayRate:
                rng = np.random.default_rng([self.seed, 3, a, i % len(self)])
                count = rng.poisson(self.cosmicRayRate * image.size / 1024**2)
                image += cosmicRays(rng, image.shape, count) / np.float32(truth.gain)
            for x in self.badColumnsOf(a):
                image[:, x] *= np.float32(0.3)
            np.minimum(image, np.float32(truth.fullWell), out=image)
        return images

    def _pair(self, k, a, level):
        ratio = 1.0
        if self.fluxMismatch:  # the same for all amplifiers
            ratio = max(1.0 + self.fluxMismatch * np.random.default_rng([self.seed, 2, k]).standard_normal(), 0.1)
        rng = np.random.default_rng([self.seed, 1, a, k])
        pair = simulateFlatPair(
            self.shape, level, truth=self.amplifiers[a], light=self.light, fluxRatio=ratio, seed=rng
        )
        return pair.first, pair.second

    def badColumnsOf(self, a):
        """Columns of amplifier number ``a`` that respond weakly (`list` [`int`])."""
        if not self.badColumns:
            return []
        rng = np.random.default_rng([self.seed, 4, a])
        return sorted(rng.choice(self.shape[1], min(self.badColumns, self.shape[1]), replace=False).tolist())

    def cards(self, i):
        """FITS cards of exposure ``i`` (`dict`); numbers from ``len(ramp)`` on are bias frames."""
        isBias = i >= len(self)
        i = i if isBias else i % len(self)
        kind = "bias" if isBias else "flat"
        return {
            "INSTRUME": "SimCam",
            "DETNAME": "SIM_00",
            "DETSER": "simulated",
            "OBSTYPE": kind,
            "IMAGETYP": kind,
            "EXPTIME": 0.0 if isBias else self.exposureTime(i),
            "DATE-OBS": str(np.datetime64("2026-03-01T00:00:00.000") + np.timedelta64(60 * i, "s")),
            "EXPID": _FIRST_ID + i,
            "CCOBFLUX": 0.0 if isBias else self.level(i),
            "BUNIT": "adu",
        }

    def __getitem__(self, i):
        """Exposure ``i`` as after overscan subtraction and assembly (`stillsky.image.Exposure`): BAD and SAT flagged."""
        from ..fits.foreign_visit import foreignVisitInfo
        from ..image import Exposure, Image, Mask, MaskedImage
        from ..meta import Header

        images, detector = self.arrays(i), self.detector
        image = Image(np.zeros(detector.bbox.shape, np.float32))
        mask = Mask(np.zeros(detector.bbox.shape, np.int32))
        header = Header(self.cards(i))
        for a, (pixels, truth, place) in enumerate(zip(images, self.amplifiers, self.places)):
            where = place.bbox.slices()
            image.array[where] = pixels
            mask.array[where][:, self.badColumnsOf(a)] |= mask.bitmask(["BAD"])
            mask.array[where][pixels >= truth.fullWell] |= mask.bitmask(["SAT"])
            noise = float(np.sqrt(truth.noiseMatrix[0, 0])) / truth.gain
            header.set(f"LSST ISR OVERSCAN RESIDUAL SERIAL STDEV {truth.name}", noise)
            header.set(f"LSST ISR OVERSCAN SERIAL MEDIAN {truth.name}", truth.offset)
        return Exposure(
            MaskedImage(image, mask),
            detector=detector,
            visitInfo=foreignVisitInfo(self.cards(i)).copyWith(id=header["EXPID"]),
            metadata=header,
            id=header["EXPID"],
        )

    def truthTable(self):
        """What is planted, an `astropy.table.Table` with one row per amplifier, matrices flat, [dx, dy]."""
        from astropy import units as u
        from astropy.table import Table

        amps = self.amplifiers
        table = Table({"ampName": [t.name for t in amps]})
        columns = {
            "gain": ([t.gain for t in amps], u.electron / u.adu, "gain"),
            "noise": ([float(np.sqrt(t.noiseMatrix[0, 0])) for t in amps], u.electron, "read noise"),
            "a00": ([t.aMatrix[0, 0] for t in amps], 1 / u.electron, "a_00"),
            "offset": ([t.offset for t in amps], u.adu, "bias level"),
            "fullWell": ([t.fullWell for t in amps], u.adu, "level of saturation above the bias"),
            "aMatrix": ([t.aMatrix.ravel() for t in amps], 1 / u.electron, "a_ij"),
            "bMatrix": ([t.bMatrix.ravel() for t in amps], 1 / u.electron, "b_ij"),
            "noiseMatrix": ([t.noiseMatrix.ravel() for t in amps], u.electron**2, "n_ij"),
        }
        for name, (values, unit, doc) in columns.items():
            table[name] = np.array(values)
            table[name].unit, table[name].description = unit, doc
        table.meta.update(levels=self.levels.tolist(), nPairs=self.nPairs, seed=self.seed, light=self.light)
        return table


def _arrange(n, shape):
    height, width = shape
    perRow = n // 2 if n >= 4 and n % 2 == 0 else n
    places = []
    for k in range(n):
        row, column = divmod(k, perRow)
        box = Box2I((column * width, row * height), (width, height))
        places.append(AmplifierPlace(box, flipX=column % 2 == 1, flipY=row == 1))
    return places
