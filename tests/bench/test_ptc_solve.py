"""Full covariance fits of a detector: 16 amplifiers, 200 pairs, range 8, beside SciPy's least squares on all the data."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import least_squares

from stillsky.ptc.models import evalFullCovariance
from stillsky.ptc.solve import solveDataset
from stillsky.ptc.solve_settings import makeSolveSettings

sys.path.append(str(Path(__file__).parents[1] / "ptc"))
from solve_scenes import makeConfig, rampDataset, truth  # noqa: E402

BAR = 60.0  # seconds, two idle cores


@pytest.mark.benchmark(group="ptc-solve")
def testFullCovarianceFitsOfADetector(benchmark):
    mu = np.repeat(np.linspace(50, 1e5, 20), 10) / 1.5
    made = rampDataset(1, 16, mu, 8, "FULLCOVARIANCE")
    config = makeConfig(
        ptcFitType="FULLCOVARIANCE", maximumRangeCovariancesAstier=8, maximumRangeCovariancesAstierFullCovFit=8
    )
    settings = makeSolveSettings(config)
    benchmark.pedantic(lambda: solveDataset(made.copy(), settings), rounds=3, iterations=1)
    seconds = benchmark.stats.stats.min
    plain = plainSeconds(made, 8)
    print(f"\n16 amplifiers x 200 pairs, range 8: {seconds:.2f} s (bar {BAR:.0f} s)")
    print(
        f"SciPy with numerical derivatives on all data, one amplifier: {plain:.2f} s; 16 would take {16 * plain / seconds:.0f} times ours"
    )
    benchmark.extra_info.update(bar=BAR, plainOneAmplifier=plain)


def plainSeconds(dataset, r):
    amp = dataset.ampNames[0]
    mu, data = dataset.rawMeans[amp], dataset.covariances[amp][:, :r, :r]
    weights = dataset.covariancesSqrtWeights[amp][:, :r, :r]
    size = r * r

    def residuals(p):
        a, c, noise = (p[k * size : (k + 1) * size].reshape(r, r) for k in range(3))
        return ((evalFullCovariance(mu, a * 1e-6, c * 1e-12, noise, p[-1]) - data) * weights).ravel()

    start = np.concatenate([1e6 * truth(r)[0].ravel() * 0.9, np.zeros(2 * size), [1.45]])
    begin = time.perf_counter()
    least_squares(residuals, start, method="lm")
    return time.perf_counter() - begin
