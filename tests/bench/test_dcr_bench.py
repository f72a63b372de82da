"""Time of the passes over the visits of a DCR coadd, three subfilters with two wavelengths each, order 1."""

import time

import numpy as np
import pytest

import stillsky
from stillsky.dcr.engine import DcrData, DcrVisit, packBits

N, SIZE, SUBFILTERS = 8, 1024, 3


@pytest.fixture(scope="module")
def field():
    rng = np.random.default_rng(5)
    visits = []
    for _ in range(N):
        image = rng.normal(100, 5, (SIZE, SIZE)).astype(np.float32)
        good = rng.random(image.shape) > 0.01
        shifts = [[tuple(rng.uniform(-1.5, 1.5, 2)) for _ in range(2)] for _ in range(SUBFILTERS)]
        visits.append(DcrVisit(image, packBits(good), shifts, shifts, packBits(rng.random(image.shape) < 0.3), 1.0))
    models = [rng.normal(30, 10, (SIZE, SIZE)).astype(np.float32) for _ in range(SUBFILTERS)]
    return DcrData(visits, (SIZE, SIZE), 1), models


def nanoseconds(function, rounds=3):
    times = []
    for _ in range(rounds):
        start = time.process_time()
        function()
        times.append(time.process_time() - start)
    return 1e9 * min(times) / (N * SIZE * SIZE)


@pytest.mark.parametrize(("accumulate", "bar"), [(False, 4.0), (True, 8.0)])
def test_passOverTheVisits(benchmark, field, machine, accumulate, bar):
    """Bars per pixel and visit on one core: template and metric 4 ns; those and the shifted residuals, an iteration, 8 ns."""
    data, models = field
    significance = np.abs(models[0])
    options = {} if accumulate else {"accumulate": False}

    def once():
        return data.run(models, "residual", significance=significance, **options)

    with stillsky.numThreads(1):
        benchmark(once)
        spent = nanoseconds(once)
    print(f"\n{spent:.2f} ns per pixel and visit (bar {bar:g} on the machine of the specification)")
    assert spent < bar * max(1.0, machine)


@pytest.mark.parametrize("solver", ["conjugateGradients", "published"])
@pytest.mark.parametrize("count", [8, 24])
def test_iterationOfASolver(benchmark, machine, count, solver):
    """The same bar for a whole iteration: with the prior matrix, smoothing, vectors, and the metric of the models; of the
    published one residuals, clamps, mixing, and the metric."""
    from stillsky.dcr.config import DcrConfig
    from stillsky.dcr.solve import DcrProblem, solveConjugateGradients, solvePublished

    rng, visits = np.random.default_rng(7), []
    for angle in np.linspace(0, 6, count):
        image = rng.normal(100, 5, (SIZE, SIZE)).astype(np.float32)
        line = np.outer([1.0, 0.6, 0.15, -0.15, -0.4, -0.7], [1.5 * np.cos(angle), 1.5 * np.sin(angle)])
        shifts = [[tuple(line[2 * k]), tuple(line[2 * k + 1])] for k in range(SUBFILTERS)]
        good, score = rng.random(image.shape) > 0.001, rng.random(image.shape) < 0.3
        visits.append(DcrVisit(image, packBits(good), shifts, shifts, packBits(score), 1.0))
    template = np.full((SIZE, SIZE), 100, np.float32)
    template[::37, ::41] += 30
    detected = rng.random((SIZE, SIZE)) < 0.2
    problem = DcrProblem(DcrData(visits, (SIZE, SIZE), 1), template, detected, detected, 3, 1.7)
    settings = DcrConfig()
    settings.priorStrength, settings.cgTolerance, settings.useModelWeights = 0.1, 0.0, False
    settings.useConvergence = False

    def iterations(n):
        settings.cgIterations = settings.maxNumIter = n
        return (solvePublished if solver == "published" else solveConjugateGradients)(problem, settings)

    with stillsky.numThreads(1):
        benchmark.pedantic(lambda: iterations(1), rounds=1)
        spent = (nanoseconds(lambda: iterations(5), 2) - nanoseconds(lambda: iterations(1), 2)) / 4 * N / count
    print(f"\n{spent:.2f} ns per pixel and visit (bar 8 on the machine of the specification)")
    assert spent < 8 * max(1.0, machine)
