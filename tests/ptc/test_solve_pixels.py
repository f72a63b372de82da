"""From simulated pixels to the photon transfer curve: the planted gain, a_00 and noise come back."""

import logging

import numpy as np
import pytest
from solve_scenes import makeConfig, makeDataset, truth

from stillsky.ptc import measureFlatPair
from stillsky.ptc.settings import FlatPairSettings
from stillsky.ptc.solve import solveDataset
from stillsky.ptc.solve_settings import makeSolveSettings
from stillsky.sim import simulateFlatPair


@pytest.mark.slow
def testPlantedFiguresOfSimulatedFlatsComeBack():
    """20 levels from 50 e to 100 ke; gain to 0.1 %, a_00 and noise to 2 %, or three standard errors of this many pixels."""
    r, gain, noise, nPairs, nAmps = 3, 1.5, 5.0, 6, 8
    a, _ = truth(r)
    config = FlatPairSettings(minNumberGoodPixelsForCovariance=1000, maximumRangeCovariancesAstier=r, doGain=False)
    rng = np.random.default_rng(20)
    means, covariances, weights, variances = {}, {}, {}, {}
    log = logging.getLogger("quiet")
    log.setLevel(logging.ERROR)
    for amp in (f"A{k}" for k in range(nAmps)):
        rows = []
        for level in np.repeat(np.linspace(50, 1e5, 20), nPairs):
            pair = simulateFlatPair((400, 512), level, gain=gain, readNoise=noise, aMatrix=a, seed=rng)
            rows.append(measureFlatPair(pair.first, pair.second, config, log=log))
        means[amp] = np.array([m.mean for m in rows])
        variances[amp] = np.array([m.rawVar for m in rows])
        covariances[amp] = np.array([m.covArray for m in rows])
        weights[amp] = np.array([m.covSqrtWeights for m in rows])
    dataset = makeDataset(means, covariances, weights, "FULLCOVARIANCE_NO_B", r, variances)
    fields = {"maximumRangeCovariancesAstier": r, "maximumRangeCovariancesAstierFullCovFit": r}
    solveDataset(dataset, makeSolveSettings(makeConfig(ptcFitType="FULLCOVARIANCE_NO_B", **fields)))
    assert dataset.badAmps == []
    names = dataset.ampNames
    for values, errors, true, bar in (
        ([dataset.gain[n] for n in names], [dataset.gainErr[n] for n in names], gain, 1e-3),
        ([dataset.noise[n] for n in names], [dataset.noiseErr[n] for n in names], noise, 0.02),
        ([dataset.aMatrix[n][0, 0] for n in names], [dataset.ptcFitParsError[n][0] for n in names], a[0, 0], 0.02),
    ):
        values, errors = np.array(values), np.array(errors)
        standardError = np.sqrt(np.mean(errors**2) / nAmps)
        assert abs(values.mean() - true) < max(bar * abs(true), 3 * standardError)
        assert np.all(np.abs(values - true) < 4.5 * errors)
    chi2 = np.array([dataset.ptcFitChiSq[n] for n in names])
    assert np.abs(chi2 - 1).max() < 0.25
