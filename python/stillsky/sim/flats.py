"""Pairs of flat fields whose gain, noise and covariances are known."""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ..errors import DomainError
from .gaussian_field import GaussianField

__all__ = [
    "AmplifierTruth",
    "SimulatedFlatPair",
    "brighterFatterMatrix",
    "flatLevels",
    "simulateFlatPair",
]


@dataclass(frozen=True, eq=False)
class AmplifierTruth:
    """What is planted in the flats of one amplifier.

    Parameters
    ----------
    name : `str`
    gain : `float`
        Electrons per adu.
    readNoise : `float`
        Electrons; element (0, 0) of the noise matrix.
    aMatrix, bMatrix : `numpy.ndarray` (r, r), optional
        a_ij and b_ij of Astier et al. 2019, Eq. 20, 1/electron, at dx = i, dy = j; zero by default.
    noiseMatrix : `numpy.ndarray` (r, r), optional
        n_ij, electron^2; replaces ``readNoise``.
    offset : `float`
        Bias level of raw frames, adu.
    fullWell : `float`
        Level (adu above the offset) beyond which pixels are cut off and flagged SAT.

    Raises
    ------
    DomainError
        If the gain is not positive, the noise negative, or the matrices differ in size.
    """

    name: str = "A"
    gain: float = 1.5
    readNoise: float = 5.0
    aMatrix: np.ndarray | None = None
    bMatrix: np.ndarray | None = None
    noiseMatrix: np.ndarray | None = None
    offset: float = 1000.0
    fullWell: float = np.inf

    def __post_init__(self):
        if not self.gain > 0:
            raise DomainError(f"amplifier {self.name} gain: wanted electrons per adu above 0, given {self.gain}")
        if not self.readNoise >= 0:
            raise DomainError(f"amplifier {self.name} readNoise: wanted electrons >= 0, given {self.readNoise}")
        given = {n: getattr(self, n) for n in ("aMatrix", "bMatrix", "noiseMatrix") if getattr(self, n) is not None}
        shapes = {n: np.shape(v) for n, v in given.items()}
        if len(set(shapes.values())) > 1 or any(len(s) != 2 or s[0] != s[1] for s in shapes.values()):
            raise DomainError(f"amplifier {self.name}: wanted square matrices of one size, given {shapes}")
        shape = next(iter(shapes.values()), (1, 1))
        for name in ("aMatrix", "bMatrix"):
            object.__setattr__(self, name, np.array(given.get(name, np.zeros(shape)), dtype=np.float64))
        noise = np.zeros(shape)
        noise[0, 0] = self.readNoise**2
        object.__setattr__(self, "noiseMatrix", np.array(given.get("noiseMatrix", noise), dtype=np.float64))

    def covariance(self, level):
        """Covariances of a flat, Eq. 20 of Astier et al. 2019.

        Parameters
        ----------
        level : `float`
            Mean, electrons.

        Returns
        -------
        covariance : `numpy.ndarray` (r, r)
            adu^2, of one exposure, at dx = i, dy = j.
        """
        from ..ptc.models import evalFullCovariance

        return evalFullCovariance(
            level / self.gain, self.aMatrix, self.aMatrix * self.bMatrix, self.noiseMatrix, self.gain
        )[0]


@dataclass(frozen=True)
class SimulatedFlatPair:
    """Two flats of one amplifier with their truth.

    Attributes
    ----------
    first, second : `numpy.ndarray` (height, width) of `float32`
        adu.
    levels : `tuple` [`float`, `float`]
        True means, adu, above the offset.
    covariance : `numpy.ndarray` (r, r)
        True covariances at the level of the first exposure, adu^2, at dx = i, dy = j.
    truth : `AmplifierTruth`
    """

    first: np.ndarray
    second: np.ndarray
    levels: tuple
    covariance: np.ndarray
    truth: AmplifierTruth = field(repr=False)


def brighterFatterMatrix(a00=-1.6e-6, side=8, *, anisotropy=2.0, slope=1.35):
    """A pixel-area matrix a_ij as sensors have it.

    Parameters
    ----------
    a00 : `float`
        Own shrinkage of a pixel, 1/electron, negative.
    side : `int`
        Number of lags each way.
    anisotropy : `float`
        Nearest neighbour along a column (dy = 1) over the one along a row.
    slope : `float`
        Decay: a_ij goes as (dx^2 + dy^2)^-slope.

    Returns
    -------
    aMatrix : `numpy.ndarray` (side, side)
        1/electron, at dx = i, dy = j. Over all signed lags the sum is zero, for charge is conserved.
    """
    if side < 2:
        raise DomainError(f"side: wanted at least 2 lags, given {side}")
    i, j = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
    distance2 = (i**2 + j**2).astype(float)
    distance2[0, 0] = 1.0
    angle = j**2 / distance2  # 1 along a column, 0 along a row
    a = distance2**-slope * (1.0 + (anisotropy - 1.0) * angle)
    a[0, 0] = 0.0
    signs = np.where(i > 0, 2, 1) * np.where(j > 0, 2, 1)
    a *= -a00 / np.sum(a * signs)
    a[0, 0] = a00
    return a


def flatLevels(nLevels=20, low=50.0, high=1e5):
    """Levels of a ramp, electrons, in equal ratios (`numpy.ndarray`)."""
    if not (nLevels >= 1 and 0 < low <= high):
        raise DomainError(f"flatLevels: wanted nLevels >= 1 and 0 < low <= high, given {nLevels}, {low}, {high}")
    return np.geomspace(low, high, int(nLevels)) if nLevels > 1 else np.array([float(high)])


def simulateFlatPair(
    shape=(512, 512),
    level=20000.0,
    *,
    gain=1.5,
    readNoise=5.0,
    aMatrix=None,
    bMatrix=None,
    noiseMatrix=None,
    truth=None,
    light="gaussian",
    fluxRatio=1.0,
    offset=0.0,
    seed=1,
):
    """Two flats of equal illumination.

    Parameters
    ----------
    shape : `tuple` [`int`, `int`]
        Height and width.
    level : `float`
        Mean of the first exposure, electrons.
    gain, readNoise, aMatrix, bMatrix, noiseMatrix
        See `AmplifierTruth`.
    truth : `AmplifierTruth`, optional
        Replaces all of these.
    light : {"gaussian", "poisson"}
        "gaussian": a Gaussian field with exactly the covariances of Astier et al. 2019, Eq. 20; "poisson": Poisson
        counts and Gaussian read noise in independent pixels, which admits neither a_ij nor b_ij.
    fluxRatio : `float`
        Level of the second exposure over the first.
    offset : `float`
        adu added to both exposures.
    seed : `int`, `numpy.random.SeedSequence` or `numpy.random.Generator`

    Returns
    -------
    pair : `SimulatedFlatPair`
        Not digitised, not cut off at the full well.

    Raises
    ------
    DomainError
        An argument is out of range, or no field has such covariances.

    Notes
    -----
    Peak memory six float32 planes; cost about 40 ns per pixel of both exposures.
    """
    if truth is None:
        truth = AmplifierTruth("A", gain, readNoise, aMatrix, bMatrix, noiseMatrix, offset=offset)
    if not (level >= 0 and fluxRatio > 0):
        raise DomainError(f"wanted level >= 0 and fluxRatio > 0, given {level} and {fluxRatio}")
    rng = seed if isinstance(seed, np.random.Generator) else np.random.default_rng(seed)
    levels = (float(level), float(level) * fluxRatio)
    images = _draw(rng, shape, levels, truth, light)
    for image, mean in zip(images, levels):
        image += np.float32(mean / truth.gain + offset)
    return SimulatedFlatPair(*images, tuple(v / truth.gain for v in levels), truth.covariance(level), truth)


def _draw(rng, shape, levels, truth, light):
    """Deviations from the mean of both exposures, adu."""
    if light == "poisson":
        return _drawPoisson(rng, shape, levels, truth)
    if light != "gaussian":
        raise DomainError(f"light: wanted 'gaussian' or 'poisson', given {light!r}")
    if levels[0] == levels[1]:
        return fieldFor(shape, truth, levels[0]).pair(rng)
    return tuple(fieldFor(shape, truth, level).pair(rng)[0] for level in levels)


def _drawPoisson(rng, shape, levels, truth):
    noise = truth.noiseMatrix.copy()
    noise[0, 0] = 0.0
    if np.any(truth.aMatrix) or np.any(noise):
        raise DomainError("light 'poisson': independent pixels have neither a_ij nor noise covariances; use 'gaussian'")
    images = []
    for level in levels:
        electrons = rng.poisson(level, shape) - level
        electrons += np.sqrt(truth.noiseMatrix[0, 0]) * rng.standard_normal(shape)
        images.append((electrons / truth.gain).astype(np.float32))
    return tuple(images)


def fieldFor(shape, truth, level):
    """The `GaussianField` of an amplifier at a level (electrons); the last few are remembered."""
    return _cachedField(tuple(shape), truth.covariance(level).tobytes())


@lru_cache(maxsize=4)
def _cachedField(shape, covariance):
    covariance = np.frombuffer(covariance)
    side = round(covariance.size**0.5)
    return GaussianField(shape, covariance.reshape(side, side))
