"""The prior of a DCR model: colours where there is light, none on the sky, and never worse than the plain coadd."""

import math

import numpy as np
import pytest
from dcr_scene import NOISE, SIGMA, config, makeScene
from scipy import ndimage

import stillsky
from stillsky import _core
from stillsky.dcr import assembleDcr
from stillsky.dcr.config import DcrConfig
from stillsky.dcr.engine import DcrData, DcrVisit, packBits
from stillsky.dcr.prior import FluxPrior, NoPrior, makePrior, sourceWidth, visitNoise
from stillsky.dcr.solve import DcrProblem, solveConjugateGradients
from stillsky.detection import detectSources
from stillsky.errors import DomainError, ShapeError
from stillsky.sim import simulateDcrVisits

WIDTH, VISITS = 192, 8


class Field:
    """Visits of faint or bright stars, the plain coadd, and a further visit as it is without noise."""

    def __init__(self, colours, fluxRange, seed=1):
        options = {"numStars": 24, "numTransients": 0, "fluxRange": fluxRange, "scienceHourAngle": 3.3}
        made = simulateDcrVisits(WIDTH, VISITS, seed, **options)
        if not colours:
            made = self._withoutColours(made)
        self.field = made
        self.warps = [visit.toExposure() for visit in made.visits]
        for warp in self.warps:
            warp.image.array[...] -= made.parameters["sky"]
        self.template = self.warps[0].copy()
        self.template.visitInfo = None
        self.template.image.array[...] = np.mean([w.image.array for w in self.warps], axis=0)
        self.template.variance.array[...] /= VISITS
        detectSources(self.template, threshold=5.0)
        self.detected = self.template.mask.isSet("DETECTED")
        self.detected[:6] = self.detected[-6:] = self.detected[:, :6] = self.detected[:, -6:] = False
        self.truth = self._render(made, made.science.visitInfo)
        self._solved = {}

    @staticmethod
    def _render(made, info, slopes=None):
        """A visit without noise."""
        from stillsky.sim.dcr_visits import _VisitMaker
        from stillsky.sim.render import addStars

        stars = made.stars
        slopes = stars["slope"] if slopes is None else slopes
        maker = _VisitMaker(WIDTH, WIDTH, made.visits[0].frame.psf, made.bandLimits, 0.0)
        image = np.zeros((WIDTH, WIDTH))
        steps = maker._dispersion(info)
        for dx, dy, u in steps:
            addStars(
                image, maker.psf, stars["x"] + dx, stars["y"] + dy, stars["flux"] * (1 + slopes * u) / len(steps), 1e-3
            )
        return image

    def _withoutColours(self, made):
        flat = np.zeros_like(made.stars["slope"])
        for visit in made.visits:
            visit.frame.image += self._render(made, visit.visitInfo, flat) - self._render(made, visit.visitInfo)
        made.stars["slope"] = flat
        return made

    def solve(self, **fields):
        """`DcrResult`, made once."""
        key = tuple(fields.items())
        if key not in self._solved:
            self._solved[key] = self._solve(**fields)
        return self._solved[key]

    def _solve(self, **fields):
        settings = DcrConfig()
        settings.bandLimits = list(self.field.bandLimits)
        for name, value in fields.items():
            setattr(settings, name, value)
        weights = [1 / float(np.mean(w.variance.array)) for w in self.warps]
        return assembleDcr(self.warps, self.template, settings, weights=weights)

    def excess(self, image):
        """Mean square error over sources of a template for the visit that nobody saw."""
        return float(np.mean((image - self.truth)[self.detected] ** 2))

    def heldOut(self, result):
        return self.excess(result.models.buildMatchedTemplate(visitInfo=self.field.science.visitInfo, order=1))


@pytest.fixture(scope="module", params=[(True, (40.0, 4000.0)), (False, (40.0, 4000.0)), (True, (20.0, 200.0))],
                ids=["default", "without colour", "faint"])  # fmt: skip
def faint(request):
    return Field(*request.param)


def testHeldOutVisitsAreBetterThanThePlainCoadd(faint):
    """Least squares fit noise in faint sources; the prior takes at least seven parts in eight of that away, and does no harm
    in a field without colour."""
    plain = faint.excess(faint.template.image.array)
    least, found = faint.solve(prior="none"), faint.solve()
    assert faint.heldOut(found) < 0.5 * plain
    assert faint.heldOut(found) < faint.heldOut(least) / 6
    shares = faint.solve(priorStrength=1e-4)  # equal shares, hardly more
    assert faint.heldOut(found) < 1.02 * faint.heldOut(shares)


def testColoursOfStarsAreTheirOwn(faint):
    """Reddest less bluest share of every star in an aperture against the planted slope of its spectrum: less error than with
    no colour at all, and on faint fields and those without colour a fraction of that of least squares."""
    stars = faint.field.stars
    x, y = np.rint(stars["x"]).astype(int), np.rint(stars["y"]).astype(int)
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + 1e3 * np.eye(len(x))
    noise = 3.5 * math.sqrt(float(np.mean(faint.warps[0].variance.array)) * 25 / VISITS)
    chosen = (
        (np.minimum(x, y) > 9) & (np.maximum(x, y) < WIDTH - 10) & (apart.min(axis=1) > 9) & (stars["flux"] > noise)
    )
    assert chosen.sum() >= 7

    def errors(result):
        blue, _, red = ([float(model[j - 2 : j + 3, i - 2 : i + 3].sum()) for i, j in zip(x[chosen], y[chosen], strict=True)]
                        for model in result.models)  # fmt: skip
        total = [
            float(faint.template.image.array[j - 2 : j + 3, i - 2 : i + 3].sum()) for i, j in zip(x[chosen], y[chosen])
        ]
        # of a straight spectrum 4/9 of the slope; the model, whose thirds are flat, wants a ninth more (see assertColours)
        return (np.array(red) - blue) / total - 0.5 * stars["slope"][chosen]

    found, least = (float(np.sqrt(np.mean(errors(r) ** 2))) for r in (faint.solve(), faint.solve(prior="none")))
    none = float(np.sqrt(np.mean((0.5 * stars["slope"][chosen]) ** 2)))
    if none > 0:
        assert found < 0.9 * none
    if none == 0 or stars["flux"].max() < 1e4:
        assert found < 0.7 * least
    assert found < 1.3 * least  # what faint stars lose of their colours, where bright ones have them from the visits


def testEveryStrengthNearTheOneFoundServes(faint):
    """The marginal likelihood finds what the held-out visit would have chosen, to a few parts in a hundred."""
    found = faint.solve()
    best = min(faint.heldOut(faint.solve(priorStrength=tau)) for tau in (0.03, 0.1, 1.0))
    assert faint.heldOut(found) < 1.1 * best


@pytest.mark.parametrize("order", [1, 3])
def testTheBrightSceneDoesNotSuffer(order):
    """G12: no worse than least squares, with the width of the sources for want of a PSF."""
    from dcr_scene import scene, shiftsOf

    from stillsky.dcr.model import matchedTemplate

    made, pair, rms = makeScene(), shiftsOf(1.7, 60, split=True), {}
    for prior in ("none", "flux"):
        c = config(prior=prior, imageInterpOrder=order)
        models = solveConjugateGradients(made.problem(c), c).models
        left = matchedTemplate(models, pair, order, True, 0.1) - scene(1.7, 60)
        rms[prior] = float(np.sqrt(np.mean(left[made.detected] ** 2)))
    assert rms["flux"] < rms["none"]


# ------------------------------------------------------------------ the prior as an operator


def testPriorHasAnAdjointAndItsCovariance(rng):
    """<W z, y> = <z, W^T y>; the deviation by c times its share of a star costs c^2."""
    shape, sigma, n = (70, 90), 2.0, 3
    y, x = np.mgrid[: shape[0], : shape[1]]
    star = 5000 * np.exp(-((x - 44.3) ** 2 + (y - 30.8) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)
    covered = rng.random(shape) > 0.1
    prior = FluxPrior(star.astype(np.float32), sigma, n, covered)
    z, planes = ([rng.normal(size=shape).astype(np.float32) for _ in range(n)] for _ in range(2))
    left = sum(float(np.sum(a.astype(float) * b)) for a, b in zip(prior.expand(z), planes, strict=True))
    right = sum(float(np.sum(a.astype(float) * b)) for a, b in zip(z, prior.collect(planes), strict=True))
    assert left == pytest.approx(right, rel=1e-4)
    free = FluxPrior(star.astype(np.float32), sigma, n, np.ones(shape, bool))
    free.ratio = 1  # of the sum too
    one = [z[0], -z[0], np.zeros_like(z[0])]
    sums = [np.abs(np.sum(prior.expand(y), axis=0)).max() for y in (z, one)]
    prior.ratio = 0.1
    less = [np.abs(np.sum(prior.expand(y), axis=0)).max() for y in (z, one)]
    assert less[0] == pytest.approx(sums[0] / 7, rel=1e-3) and max(sums[1], less[1]) < 1e-4 * sums[0]
    c = 0.3
    r2 = (x - 44.3) ** 2 + (y - 30.8) ** 2
    z = [(c * np.exp(-r2 / (2 * sigma**2)) / (math.sqrt(math.pi) * sigma)).astype(np.float32)] * n
    np.testing.assert_allclose(free.expand(z)[0], c * star / n, atol=2e-3 * star.max() / n)
    assert float(np.sum(z[0].astype(float) ** 2)) == pytest.approx(c**2, rel=1e-3)


def testTheSkyHasNoColour(faint):
    """Where nothing is detected all subfilters are one share, and their noise is that of the coadd over N; where least
    squares amplify noise in sources, the prior does not."""
    found = faint.solve()
    sky = ~ndimage.binary_dilation(faint.template.mask.isSet("DETECTED"), iterations=13)
    assert sky.sum() > 3000
    for model in found.models:
        np.testing.assert_allclose(model[sky], faint.template.image.array[sky] / 3, rtol=1e-5, atol=1e-5)
    noise = math.sqrt(float(np.mean(faint.warps[0].variance.array)) / VISITS) / 3
    assert np.std([model[sky] for model in found.models]) == pytest.approx(noise, rel=0.1)


def testNoiseOfFreeSubfiltersIsWhatTheAlgebraPredicts(rng):
    """Sky of one level of flux, visits of noise: the subfilters deviate as the linear estimator of that prior, propagated in
    Fourier space, says; each plane to 5 %."""
    size, sigma, flux, tau, nu = 128, 2.0, 40.0, 0.2, 5.0
    shifts = [
        [[(a * s, b * s)] for s in (0.7, 0.0, -0.5)] for a, b in ((1, 0), (0, 1), (-1, 0.5), (0.6, -1), (-1.2, -0.3))
    ]
    images = [(flux + rng.normal(0, nu, (size, size))).astype(np.float32) for _ in shifts]
    full = packBits(np.ones((size, size), bool))
    visits = [DcrVisit(image, full, s, s, full, 1.0) for image, s in zip(images, shifts, strict=True)]
    template = np.full((size, size), flux, np.float32)  # without noise: what the visits add is seen alone
    everywhere = np.ones((size, size), bool)
    problem = DcrProblem(DcrData(visits, (size, size)), template, everywhere, everywhere, 2, sigma)
    settings = config(useModelWeights=False, cgTolerance=1e-6, cgIterations=60, priorStrength=tau)
    prior = FluxPrior(template, sigma, 3, everywhere)
    prior.noise, prior.strength, prior.ratio = nu, tau, 0.4
    from stillsky.dcr import solve

    before, solve.makePrior = solve.makePrior, lambda *args: prior
    try:
        models = solveConjugateGradients(problem, settings).models
    finally:
        solve.makePrior = before
    k = 2 * np.pi * np.fft.fftfreq(size)

    def phase(dy, dx):  # a bilinear shift, separable
        def axis(d):
            whole, part = math.floor(d), d - math.floor(d)
            return np.exp(-1j * k * whole) * (1 - part + part * np.exp(-1j * k))

        return axis(dy)[:, None] * axis(dx)[None, :]

    a = np.array([[phase(*s[0]) for s in visit] for visit in shifts])  # (visit, subfilter, ky, kx)
    normal = np.einsum("ikyx,ilyx->yxkl", a.conj(), a)
    smooth = np.exp(-(sigma**2) / 4 * (k[:, None] ** 2 + k[None, :] ** 2)) * float(prior.amplitude[0, 0])
    level, line, bend = (np.array(v) / np.linalg.norm(v) for v in ([1, 1, 1], [-1, 0, 1], [1, -2, 1]))
    mixed = 0.4 * np.outer(level, level) + np.outer(line, line) + 0.5 * np.outer(bend, bend)
    normal = mixed @ normal @ mixed * (smooth**2)[..., None, None]
    gain = mixed @ np.linalg.inv(normal + prior.penalty * np.eye(3)) * smooth[..., None, None]
    spread = np.einsum("yxkl,yxlm,yxkm->yxk", gain, normal, gain.conj()).real
    wanted = nu * np.sqrt(spread.mean(axis=(0, 1)))
    inner = slice(16, -16), slice(16, -16)
    got = [np.std((model - flux / 3)[inner]) for model in models]
    np.testing.assert_allclose(got, wanted, rtol=0.05)
    free = solve_free(problem)
    assert min(free) > 3 * max(got)  # what least squares make of the same noise


def solve_free(problem):
    settings = config(useModelWeights=False, cgTolerance=1e-6, cgIterations=60, prior="none")
    return [np.std(model[16:-16, 16:-16]) for model in solveConjugateGradients(problem, settings).models]


# ------------------------------------------------------------------ its numbers


def testWidthAndNoiseAreThoseOfTheScene():
    made = makeScene()
    problem = made.problem(config())
    # the coadd is wider than the PSF by the refraction
    assert sourceWidth(made.template, made.detected, made.detected) == pytest.approx(SIGMA, rel=0.1)
    assert visitNoise(problem) == pytest.approx(NOISE, rel=0.03)
    for visit in problem.data.visits:
        visit.weight = 4.0
    assert visitNoise(problem) == pytest.approx(2 * NOISE, rel=0.03)
    flat = np.ones((20, 20), np.float32)
    assert sourceWidth(flat, flat > 0, flat > 0) == 20.0
    chequered = np.where(np.indices((20, 20)).sum(0) % 2, 1, -1)
    assert sourceWidth(chequered.astype(np.float32), flat > 0, flat > 0) == 0.6


def testWithoutBackgroundTheNoiseIsThatOfAllPixels():
    """A crowded field."""
    made, c = makeScene(), config()
    everywhere = np.ones_like(made.detected)
    made.detected = everywhere
    problem = made.problem(c)
    assert visitNoise(problem) == pytest.approx(NOISE, rel=0.15)
    # and the prior is there, with hardly any flux on what is sky
    prior = makePrior(problem, c, everywhere, [np.ones(everywhere.shape)])
    usual = makePrior(makeScene().problem(c), c, everywhere, [np.ones(everywhere.shape)])
    assert np.mean(prior.amplitude > 0.05 * prior.amplitude.max()) < 0.5
    np.testing.assert_allclose(prior.amplitude, usual.amplitude, atol=0.15 * usual.amplitude.max())


def testWithoutPixelsOrWhenNotWantedThereIsNoPrior():
    made, c = makeScene(), config()
    everywhere = np.ones_like(made.detected)
    problem = made.problem(c)
    for visit in problem.data.visits:
        visit.good = np.zeros_like(visit.good)
    assert isinstance(makePrior(problem, c, everywhere, [np.ones(everywhere.shape)]), NoPrior)
    c.prior = "none"
    assert isinstance(makePrior(made.problem(c), c, everywhere, []), NoPrior)
    assert np.isnan(solveConjugateGradients(made.problem(c), c).strength)


def testStrengthIsZeroWithoutSignalAndKeptWhenGiven():
    made = makeScene()
    made.images = [np.random.default_rng(i).normal(0, NOISE, (96, 96)).astype(np.float32) for i in range(8)]
    made.template = np.mean(made.images, axis=0).astype(np.float32)
    c = config()
    solution = solveConjugateGradients(made.problem(c), c)
    changed = np.std([model - made.template / 3 for model in solution.models])
    assert changed < 0.05 * np.std(made.template)  # whatever its strength, the prior lets nothing grow out of noise
    c = config(priorStrength=0.25)
    assert solveConjugateGradients(makeScene().problem(c), c).strength == 0.25


# ------------------------------------------------------------------ smoothing


@pytest.mark.parametrize(("shape", "sigma"), [((200, 1050), 1.4), ((3, 5), 2.5), ((70, 16), 0.6), ((1, 1), 1.0)])
def testSmoothingAgreesWithSciPy(rng, shape, sigma):
    image, before, after = (rng.normal(size=shape).astype(np.float32) for _ in range(3))
    out = np.empty(shape, np.float32)
    _core.smoothWeighted(image, sigma, before, after, out)
    options = {"mode": "constant", "radius": math.ceil(4 * sigma)}
    wanted = after * ndimage.gaussian_filter(image.astype(float) * before, sigma, **options)
    np.testing.assert_allclose(out, wanted, atol=2e-6)
    again = np.empty_like(out)
    with stillsky.numThreads(1):
        _core.smoothWeighted(image, sigma, before, after, again)
    np.testing.assert_array_equal(out, again)
    _core.smoothWeighted(image, sigma, None, None, out)
    np.testing.assert_allclose(out, ndimage.gaussian_filter(image.astype(float), sigma, **options), atol=2e-6)


def testSmoothingRefusesWhatItCannotDo():
    image = np.zeros((4, 5), np.float32)
    for sigma in (0.0, -1.0, math.nan, 65.0):
        with pytest.raises(DomainError, match="sigma"):
            _core.smoothWeighted(image, sigma, None, None, image.copy())
    with pytest.raises(ShapeError, match="before"):
        _core.smoothWeighted(image, 1.0, image[:3], None, image.copy())
    with pytest.raises(ShapeError, match="out"):
        _core.smoothWeighted(image, 1.0, None, None, image[:, :4].copy())


def testSpectraBendLessThanTheyTilt():
    """R: the sum by rho, straight lines by 1, all that bends by 1/2, whatever the number of subfilters."""
    amplitude, covered = np.ones((4, 4), np.float32), np.ones((4, 4), bool)
    for n in (2, 3, 5):
        prior = FluxPrior(amplitude, 1.0, n, covered)
        prior.ratio = 0.25
        x = np.linspace(-1, 1, n)
        np.testing.assert_allclose(prior.mixing @ np.ones(n), 0.25 * np.ones(n), atol=1e-12)
        np.testing.assert_allclose(prior.mixing @ x, x, atol=1e-12)
        if n > 2:
            bend = x**2 - np.mean(x**2)
            np.testing.assert_allclose(prior.mixing @ bend, 0.5 * bend, atol=1e-12)


def testMoreIterationsServeTheHeldOutVisitToo():
    """G12: with the prior thirty iterations predict the visit that nobody saw as well as twenty, and put the light twice as
    near to where the air puts it; without a prior there are twenty."""
    from dcr_scene import lightOfAir, scene, shiftsOf, sourceFluxes

    from stillsky.dcr.model import matchedTemplate

    made, rms, off = makeScene(), {}, {}
    amplitudes, truth = lightOfAir()
    for n in (20, None):
        solution = solveConjugateGradients(made.problem(config()), config(cgIterations=n))
        left = matchedTemplate(solution.models, shiftsOf(1.7, 60, split=True), 1, True, 0.1) - scene(1.7, 60)
        rms[n] = float(np.sqrt(np.mean(left[made.detected] ** 2)))
        off[n] = float(np.abs(sourceFluxes(solution.models) @ amplitudes - truth).max())
        assert solution.nIterations == (n or 30)
    assert rms[None] < 1.02 * rms[20] and rms[None] < 5
    assert off[None] < 0.5 * off[20]
    c = config(prior="none")
    assert solveConjugateGradients(made.problem(c), c).nIterations == 20
