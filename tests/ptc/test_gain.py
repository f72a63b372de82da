"""Gain from a single pair of flats."""

import logging
import math

import numpy as np
import pytest

from stillsky.ptc import gainFromRatio, measureFlatPair
from stillsky.ptc.config import PhotonTransferCurveExtractAlgorithmConfig
from stillsky.ptc.settings import makeSettings

TYPES = ("NONE", "READNOISE", "SIMPLE", "FULL")


def settings(kind="READNOISE", **fields):
    return makeSettings(
        PhotonTransferCurveExtractAlgorithmConfig(),
        gainCorrectionType=kind,
        maximumRangeCovariancesAstier=1,
        **fields,
    )


def poissonPair(gain, level, noise, seed, mismatch=1.0):
    """Two flats of 2e6 pixels; the level of the second is ``mismatch`` times that of the first."""
    rng = np.random.default_rng(seed)
    pair = []
    for factor in (1.0, mismatch):
        electrons = rng.poisson(level * factor, (1000, 2000)).astype(np.float32)
        if noise:
            electrons += noise * rng.standard_normal((1000, 2000), dtype=np.float32)
        pair.append(electrons / np.float32(gain))
    return pair


CASES = [
    (0.75, 100, 3),
    (1.0, 1000, 3),
    (1.5, 20000, 3),
    (3.0, 300, 3),
    (3.0, 100, 0),
    (0.75, 20000, 0),
    (1.5, 1000, 0),
]


@pytest.mark.parametrize("gain, level, noise", CASES)
def test_poissonFlats_readNoiseCorrectionIsUnbiased(gain, level, noise):
    pair = poissonPair(gain, level, noise, seed=int(gain * 100) + level)
    found = measureFlatPair(*pair, settings(), readNoise=noise / gain)
    assert found.gain == pytest.approx(gain, rel=0.005)
    if noise == 0:
        assert measureFlatPair(*pair, settings("NONE")).gain == pytest.approx(gain, rel=0.003)


@pytest.mark.parametrize("level, full", [(20, -0.026), (100, -0.005)])
def test_poissonFlats_secondOrderTermOfTheReferenceIsABias(level, full):
    """For Poisson light the plain ratio is unbiased; the reference's FULL, made for Gaussian light, is low by 1/(2 level)."""
    pair = poissonPair(1.5, level, 0, seed=level)
    for kind, wanted in (("NONE", 0.0), ("READNOISE", 0.0), ("FULL", full)):
        assert measureFlatPair(*pair, settings(kind), readNoise=0.0).gain / 1.5 - 1 == pytest.approx(
            wanted, abs=0.003
        ), kind


def test_fluxMismatch_hardlyMatters():
    equal, unequal = (
        measureFlatPair(*poissonPair(1.5, 20000, 3, 11, mismatch), settings(), readNoise=2.0).gain
        for mismatch in (1.0, 1.02)
    )
    assert unequal == pytest.approx(equal, rel=0.003)
    reference = settings("NONE", fluxMatchedGain=False)
    assert measureFlatPair(*poissonPair(1.5, 20000, 3, 11, 1.02), reference).gain < 0.4  # what matching is for


@pytest.mark.parametrize("time", [1, 6, 26, 51, 96])
def test_mockFlats_allCorrectionsWithin4Percent(time):
    """The reference's own test: gain 0.75, 100 e/s, read noise sqrt(1.5) e, Gaussian light."""
    level, noise, gain = 100.0 * time, math.sqrt(1.5), 0.75
    pair = []
    for seed in (1984, 666):
        rng = np.random.RandomState(seed)
        electrons = rng.normal(level, math.sqrt(level), (204, 200)) + rng.normal(0, noise, (204, 200))
        pair.append((electrons / gain).astype(np.float32))
    for kind in TYPES:
        found = measureFlatPair(*pair, settings(kind), readNoise=noise / gain)
        assert abs(found.gain - gain) < 0.04, kind


def test_formulas_asDocumented():
    c, mu, sigma = 0.6655816132853175, 20200.414197233178, 4.0
    assert gainFromRatio(c, mu, sigma, "NONE") == pytest.approx(1.5024453501111457, rel=1e-12)
    assert gainFromRatio(c, mu, sigma, "READNOISE") == pytest.approx(1.5042354373965425, rel=1e-12)
    assert gainFromRatio(c, mu, sigma, "SIMPLE") == pytest.approx(1.5042106268214972, rel=1e-12)
    full = gainFromRatio(c, mu, sigma, "FULL")
    assert full == pytest.approx(1.5042106850215264, rel=1e-12)
    assert 1 / full == pytest.approx(c - (sigma**2 - 1 / (2 * full**2)) / mu, rel=1e-12)


def test_unknownTypeIsARuntimeError():
    with pytest.raises(RuntimeError, match="PARTIALLY"):
        gainFromRatio(0.5, 1000.0, 1.0, "PARTIALLY")


@pytest.mark.parametrize("kind", TYPES[1:])
def test_unknownReadNoiseWarnsAndCorrectsNothing(kind, caplog):
    found = gainFromRatio(0.5, 1000.0, math.nan, kind, logging.getLogger("gain"))
    assert found == 2.0 and len(caplog.records) == 1 and kind in caplog.text


@pytest.mark.parametrize("kind", TYPES)
def test_impossibleNumbersGiveNaN(kind):
    for ratio, mean, noise in ((math.nan, 100, 1), (0.0, 100, 1), (0.5, -1, 1), (0.5, 0, 1)):
        assert math.isnan(gainFromRatio(ratio, mean, noise, kind))
    if kind != "NONE":
        assert math.isnan(gainFromRatio(0.5, 100.0, 1e3, kind))  # more read noise than noise


def test_hitsDoNotCount(rng):
    pair = poissonPair(1.5, 20000, 3, 12)
    clean = measureFlatPair(*pair, settings(), readNoise=2.0).gain
    pair[0].flat[rng.integers(0, 2_000_000, 1000)] += 5000
    assert measureFlatPair(*pair, settings(), readNoise=2.0).gain == pytest.approx(clean, rel=5e-4)
    unclipped = measureFlatPair(*pair, settings("NONE", fluxMatchedGain=False)).gain
    assert unclipped < 0.8 * clean


def test_gainCanBeLeftOut(rng):
    found = measureFlatPair(*poissonPair(1.5, 2000, 3, 13), settings(doGain=False))
    assert found.isGood and math.isnan(found.gain) and not found.warnings
