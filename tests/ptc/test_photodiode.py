"""Charges from photodiode readings."""

import math

import numpy as np
import pytest
from astropy.table import Table

from stillsky.errors import DomainError, ShapeError
from stillsky.ptc import PhotodiodeReadings, integratePhotodiode
from stillsky.ptc.photodiode import photodiodeReadings

TIMES = np.linspace(0, 20, 100)


def pulse(q):
    charges = np.zeros(100)
    charges[50] = -q
    return charges


def test_chargeSum_ofOneChargedSample():
    q = 3.7e-9
    assert integratePhotodiode(TIMES, pulse(q), "CHARGE_SUM", -1.0) == pytest.approx(q, rel=1e-12)


def test_chargeSum_recoversASmallDelta():
    q = 1.0e-9
    a, b = (integratePhotodiode(TIMES, pulse(v), "CHARGE_SUM", -1.0) for v in (q, q + 1e-12))
    assert b - a == pytest.approx(1e-12, rel=1e-9)


def test_chargeSum_subtractsTheBackgroundCurrent():
    background = -0.02e-9 * np.diff(TIMES, prepend=TIMES[0] - 0.2)
    charges = pulse(1e-9) + background
    assert integratePhotodiode(TIMES, charges, "CHARGE_SUM", -1.0) == pytest.approx(1e-9, rel=1e-9)


def test_directSum_isTheTrapeziumRuleWithoutScale():
    assert integratePhotodiode(TIMES, 2.0 * TIMES, "DIRECT_SUM", -1.0) == pytest.approx(400.0)


def test_trimmedSum_removesTheBaseline(rng):
    currents = np.where((TIMES > 5) & (TIMES < 15), 100.0, 0.0)
    clean = integratePhotodiode(TIMES, -currents, "TRIMMED_SUM", -1.0)
    raised = integratePhotodiode(TIMES, -(currents + 3.0 + 0.01 * rng.standard_normal(100)), "TRIMMED_SUM", -1.0)
    assert clean == pytest.approx(np.sum(currents) * (TIMES[1] - TIMES[0]), rel=1e-12)
    assert raised == pytest.approx(clean, rel=1e-4)
    assert integratePhotodiode(TIMES, np.full(100, 2.0), "TRIMMED_SUM", -1.0) == 0.0


def test_mean_isTheMeanCurrentTimesTheExposureTime():
    assert integratePhotodiode(TIMES, np.full(100, -2.0), "MEAN", -1.0, exposureTime=30.0) == pytest.approx(60.0)
    with pytest.raises(ValueError, match="exposure time"):
        integratePhotodiode(TIMES, TIMES, "MEAN")


def test_badInput():
    with pytest.raises(RuntimeError, match="SUM_UP"):
        integratePhotodiode(TIMES, TIMES, "SUM_UP")
    with pytest.raises(DomainError):
        integratePhotodiode(TIMES, TIMES, "SUM_UP")
    with pytest.raises(ShapeError, match="100 and 99"):
        integratePhotodiode(TIMES, TIMES[1:])
    assert math.isnan(integratePhotodiode([], [], "DIRECT_SUM"))


def test_readings_fromWhateverHoldsThem():
    wanted = PhotodiodeReadings(TIMES, pulse(1))
    tables = [Table({"TIME": TIMES, "CURRENT": pulse(1)}), Table({"t": TIMES, "i": pulse(1)})]
    for record in (wanted, (TIMES, pulse(1)), *tables):
        found = photodiodeReadings(record)
        assert np.array_equal(found.timeSamples, TIMES) and np.array_equal(found.currentSamples, pulse(1))
