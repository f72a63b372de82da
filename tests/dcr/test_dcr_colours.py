"""Colours of stars and their errors: the algebra, planted stars, and what has no errors."""

import math

import numpy as np
import pytest
from dcr_scene import LIMITS, SITE, WEATHER, config, elevationOf, makeExposures, makeScene, sceneWcs
from scipy.integrate import quad

from stillsky.dcr import DcrModel, assembleDcr, refraction
from stillsky.dcr.colours import measureColours, zeroPoint
from stillsky.dcr.config import DcrConfig
from stillsky.dcr.engine import DcrData, DcrVisit, packBits
from stillsky.dcr.prior import FluxPrior
from stillsky.dcr.solve import Posterior, solveConjugateGradients
from stillsky.detection import detectSources
from stillsky.image import MaskedImage
from stillsky.sim import simulateDcrVisits

WIDTH, VISITS = 192, 8


def testPosteriorIsTheInverseOfTheNormalMatrix(rng):
    """Against dense matrices: C = nu^2 W (H + p)^-1 W^T, and the information A^T w A / nu^2."""
    shape, n, size = (7, 9), 3, 63
    visits = []
    for angle in (0.3, 1.7, 3.9):
        line = np.outer(np.linspace(1.2, -0.9, n), [math.cos(angle), math.sin(angle)])
        shifts = [[tuple(s)] for s in line.tolist()]
        visits.append(
            DcrVisit(np.zeros(shape, np.float32), packBits(rng.random(shape) > 0.1), shifts, shifts, None, angle)
        )
    data = DcrData(visits, shape, 1)
    prior = FluxPrior(rng.uniform(0.5, 2, shape).astype(np.float32), 1.0, n, np.ones(shape, bool), 3.0)
    prior.noise, prior.strength, prior.ratio = 2.0, 0.5, 0.7
    posterior = Posterior(lambda planes, out=None: data.run(planes, "model", normal=True, out=out)[0], prior)
    posterior.iterations, posterior.tolerance = 400, 1e-7

    def dense(function):
        columns = []
        for i in range(n * size):
            unit = np.zeros(n * size, np.float32)
            unit[i] = 1
            columns.append(np.concatenate([p.ravel() for p in function(list(unit.reshape(n, *shape)))]))
        return np.array(columns, float).T

    a, w = dense(lambda p: data.run(p, "model")[0]), dense(prior.expand)
    wanted = 4 * w @ np.linalg.inv(w.T @ a @ w + prior.penalty * np.eye(n * size)) @ w.T
    np.testing.assert_allclose(dense(posterior.apply), wanted, atol=2e-3 * np.abs(wanted).max())
    np.testing.assert_allclose(dense(posterior.information), a / 4, atol=1e-5)
    assert posterior.deviation([-1, 0, 1]) == pytest.approx(0.5 * math.sqrt(2))


@pytest.fixture(scope="module")
def fields():
    """A field of faint stars and one of brighter ones, and their tables."""
    out = []
    for seed, fluxRange in ((2, (20.0, 200.0)), (3, (400.0, 4e4))):
        options = {"numStars": 24, "numTransients": 0, "fluxRange": fluxRange, "scienceHourAngle": 3.3}
        made = simulateDcrVisits(WIDTH, VISITS, seed, **options)
        warps = [visit.toExposure() for visit in made.visits]
        for warp in warps:
            warp.image.array[...] -= made.parameters["sky"]
        template = warps[0].copy()
        template.visitInfo = None
        template.image.array[...] = np.mean([w.image.array for w in warps], axis=0)
        template.variance.array[...] /= VISITS
        detectSources(template, threshold=5.0)
        settings = DcrConfig()
        settings.bandLimits, settings.measureColours = list(made.bandLimits), True
        weights = [1 / float(np.mean(w.variance.array)) for w in warps]
        out.append((made.stars, assembleDcr(warps, template, settings, weights=weights)))
    return out


def matched(stars, table):
    """Rows of isolated stars off the edges, and what the air makes of their slopes."""
    rows, truth = [], []
    for row in table:
        distance = np.sort(np.hypot(stars["x"] - row["x"], stars["y"] - row["y"]))
        edge = min(row["x"], row["y"]) < 9 or max(row["x"], row["y"]) > WIDTH - 10
        if distance[0] < 1.5 and distance[1] > 9 and row["separation"] > 10 and not edge:
            rows.append(row)
            star = np.argmin(np.hypot(stars["x"] - row["x"], stars["y"] - row["y"]))
            truth.append(0.5 * stars["slope"][star])  # see measureColours
    return rows, np.array(truth)


def testErrorsOfColoursAreThoseOfPlantedStars(fields):
    """Pulls have the rms 1: of faint stars, whose colours the prior takes a part of, and of bright ones, which the model does
    not describe to their noise. Within three standard errors of the rms of so many, and a tenth for what the errors leave out:
    neighbours, and that kappa is known from as few stars."""
    pulls = []
    for stars, result in fields:
        rows, truth = matched(stars, result.colours)
        assert len(rows) >= 12
        ofField = (np.array([r["colour"] for r in rows]) - truth) / np.array([r["colourErr"] for r in rows])
        assert np.sqrt(np.mean(ofField**2)) < 1.1 + 3 / math.sqrt(2 * len(rows))
        assert result.colours.meta["colourRms"] == pytest.approx(np.sqrt(np.mean(truth**2)), rel=0.35)
        pulls += ofField.tolist()
    assert abs(np.sqrt(np.mean(np.square(pulls))) - 1) < 0.1 + 3 / math.sqrt(2 * len(pulls))
    assert abs(np.mean(pulls)) < 0.1 + 3 / math.sqrt(len(pulls))


def testFaintStarsAreMoreUncertainAndLessThemselves(fields):
    """The response falls, and the error grows to the rms of the field, as the flux does."""
    table = fields[0][1].colours
    table.sort("flux")
    response, error, rms = table["response"], table["colourErr"], table.meta["colourRms"]
    assert np.all((response > -0.05) & (response < 1.1))
    faint, bright = slice(0, len(table) // 3), slice(-(len(table) // 3), None)
    assert np.mean(response[faint]) < 0.7 * np.mean(response[bright])
    assert np.mean(error[faint]) > np.mean(error[bright]) and np.mean(error[faint]) < 1.3 * rms
    sums = np.sum(table["shares"], axis=1)
    np.testing.assert_allclose(sums, 1, atol=1e-5)


def testWithoutAPriorThereAreNoErrors():
    made = makeScene()
    c = config(prior="none", cgIterations=2)
    problem = made.problem(c)
    solution = solveConjugateGradients(problem, c)
    assert solution.posterior is None
    table = measureColours(problem, solution.models)
    assert len(table) == 3 and np.all(np.isnan(table["colourErr"])) and np.all(np.isfinite(table["colour"]))
    for level in (0.0, 500.0):  # no light, and light without a star
        made.template[...] = level
        assert len(measureColours(problem, solution.models)) == 0


def testGreyStarsHaveTheZeroPointOfTheModel():
    """Where evenly spread light is, by quadrature, is where the model of that colour puts it."""
    image = MaskedImage(makeExposures(makeScene())[1].image)
    model = DcrModel.fromImage(image, 3, (LIMITS[0] + LIMITS[1]) / 2, LIMITS[1] - LIMITS[0], sceneWcs())
    centre, elevation = (LIMITS[0] + LIMITS[1]) / 2, elevationOf(1.6)
    shift = lambda w: float(refraction(w, elevation, SITE, WEATHER) - refraction(centre, elevation, SITE, WEATHER))  # noqa: E731
    even = quad(shift, *LIMITS)[0] / (LIMITS[1] - LIMITS[0])
    ends = np.array([shift(w) for w in np.linspace(*LIMITS, 4)])
    taken = (ends[1:] + ends[:-1]) / 2
    colour = zeroPoint(model, math.degrees(elevation))
    assert np.dot(taken, 1 / 3 + colour * np.array([-0.5, 0, 0.5])) == pytest.approx(
        even, abs=0.02 * abs(taken.mean() - even)
    )
    assert 0.005 < colour < 0.05
    assert colour == pytest.approx(zeroPoint(model, 80.0), rel=0.05)  # whatever the airmass
