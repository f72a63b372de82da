"""ZOGY of exposures by tiles: noise, stars under varying PSFs, seams, holes, masks, edges, exchange of the images."""

import numpy as np
import pytest

from stillsky import _core
from stillsky.diffim.polynomial_field import Background
from stillsky.diffim.zogy_arrays import zogy
from stillsky.diffim.zogy_exposures import zogyExposures
from stillsky.diffim.zogy_nodes import KernelPair, PsfPair
from stillsky.diffim.zogy_tiles import tileEdges
from stillsky.errors import DomainError, InvalidPsfError, NoDataError, NumericalError, ShapeError
from stillsky.image import Exposure, Mask, MaskedImage, makeExposure
from stillsky.kernel import Chebyshev1Function2, FixedKernel, LinearCombinationKernel
from stillsky.psf import GaussianPsf, ImageGridPsf, KernelPsf
from stillsky.sim import simulatePair


def gaussian(sigma, size=31):
    g = np.arange(size) - size // 2
    image = np.exp(-0.5 * (g[:, None] ** 2 + g**2) / sigma**2)
    return image / image.sum()


def noisePair(generator, shape, sigmas=(5.0, 3.0), widths=(2.0, 1.5), xy0=(0, 0)):
    return [
        makeExposure(
            generator.normal(0, s, shape).astype(np.float32), variance=np.full(shape, s**2, np.float32),
            psf=KernelPsf(gaussian(w)), xy0=xy0,
        )
        for s, w in zip(sigmas, widths)
    ]  # fmt: skip


def varyingPsf(bbox, low, high, size=31):
    """Gaussian whose sigma grows linearly with x."""
    xs, ys = np.linspace(bbox.minX, bbox.maxX, 33), [bbox.minY, bbox.maxY]
    row = [gaussian(low + (high - low) * (x - xs[0]) / (xs[-1] - xs[0]), size) for x in xs]
    return ImageGridPsf([row, row], xs, ys)


def addStars(exposure, stars):
    for flux, x, y in stars:
        stamp = exposure.psf.computeImage((x, y))
        box = stamp.bbox.clipped(exposure.bbox)
        exposure.image[box].array[...] += (flux * stamp[box].array).astype(np.float32)


def test_tilesAgreeWithTheWholeImage(rng):
    science, template = noisePair(rng, (500, 610))
    result = zogyExposures(science, template, tile=256)
    psfs = [e.psf.computeKernelImage().array for e in (science, template)]
    planes = {"scienceVariancePlane": science.variance.array, "templateVariancePlane": template.variance.array}
    whole = zogy(science.image.array, template.image.array, *psfs, 25.0, 9.0, **planes)
    assert result.metadata["tiles"] == [3, 4]
    inside = np.s_[40:-40, 40:-40]  # the whole image is periodic
    sigma = 1 / whole.fluxScale
    assert abs(result.difference.image.array - whole.calibrated)[inside].max() < 1e-5 * sigma
    np.testing.assert_allclose(result.difference.variance.array[inside], 34.0, rtol=1e-4)
    np.testing.assert_allclose(result.score.image.array[inside], whole.score[inside], atol=1e-4 * whole.score.std())
    np.testing.assert_allclose(result.score.variance.array[inside], whole.scoreFlux, rtol=1e-4)
    np.testing.assert_allclose(result.scoreFluxAt([5.0, 300.0], [5.0, 300.0]), whole.scoreFlux, rtol=1e-5)


def test_exchangedExposuresGiveTheOppositeResult(rng):
    science, template = noisePair(rng, (300, 400), xy0=(50, -20))
    stars = [(20000.0, 150.3, 100.2), (5000.0, 300.7, 200.1), (8000.0, 52.0, 40.0)]
    for exposure in (science, template):
        addStars(exposure, stars)
    addStars(science, [(900.0, 250, 90)])
    science.image.array[60:64, 80:90] = np.nan
    template.image.array[62:70, 85:88] = np.nan
    template.mask.array[200:203, 40] |= template.mask.bitmask(["SAT"])
    forth, back = zogyExposures(science, template, tile=200), zogyExposures(template, science, tile=200)
    for a, b in ((forth.difference, back.difference), (forth.score, back.score)):
        np.testing.assert_array_equal(a.mask.array, b.mask.array)
        scale = np.nanstd(a.image.array)
        np.testing.assert_allclose(a.image.array, -b.image.array, atol=2e-5 * scale)
        np.testing.assert_allclose(a.variance.array, b.variance.array, rtol=1e-5)
    positive, negative = forth.scoreCorr.array > 5, back.scoreCorr.array < -5
    assert positive.any()
    np.testing.assert_array_equal(positive, negative)  # detections map one to one


def test_pureNoiseGivesTheExpectedNumberOfPeaks():
    # rivals.md section 3: A (2 pi)^(-3/2) u exp(-u^2/2) / (2 s^2) per sign, u = 5, s the width of the matched filter
    generator = np.random.default_rng(7)
    size = 2048
    science, template = noisePair(generator, (size, size), widths=(4.2 / 2.3548, 3.4 / 2.3548))
    result = zogyExposures(science, template)
    significance = result.scoreCorr.array
    assert np.std(significance) == pytest.approx(1, abs=0.01)
    s2 = (25 * (4.2 / 2.3548) ** 2 + 9 * (3.4 / 2.3548) ** 2) / 34
    expected = {u: 2 * size**2 * (2 * np.pi) ** -1.5 * u * np.exp(-(u**2) / 2) / (2 * s2) for u in (4.0, 5.0)}
    found = {}
    for u in expected:
        core = abs(significance[1:-1, 1:-1])
        peak = core > u
        for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 1), (1, -1), (1, 0), (1, 1)):
            peak &= core >= abs(significance[1 + dy : size - 1 + dy, 1 + dx : size - 1 + dx])
        found[u] = np.count_nonzero(peak)
    assert found[5.0] <= expected[5.0] + 4 * np.sqrt(expected[5.0])
    assert abs(found[4.0] - expected[4.0]) < 5 * np.sqrt(expected[4.0])


def test_differenceIsWhiteAndItsVariancePlaneTrue():
    generator = np.random.default_rng(11)
    science, template = noisePair(generator, (700, 700))
    difference = zogyExposures(science, template).difference
    pixels = difference.image.array
    assert pixels.var() == pytest.approx(difference.variance.array.mean(), rel=0.01)
    for dy, dx in ((0, 1), (1, 0), (0, 2), (2, 0), (0, 3), (3, 0), (1, 1)):
        shifted = pixels[dy:, dx:] * pixels[: pixels.shape[0] - dy, : pixels.shape[1] - dx]
        assert abs(shifted.mean() / pixels.var()) < 0.01


def test_brightStarsVanishUnderPsfsThatVaryWithinATile(rng):
    shape = (330, 960)
    science, template = noisePair(rng, shape, sigmas=(5.0, 2.0))
    science.psf, template.psf = varyingPsf(science.bbox, 1.8, 2.2), varyingPsf(science.bbox, 1.45, 1.75)
    stars = [(2.0e5, x, y) for x in np.arange(40.4, 940, 45) for y in (60.2, 165.7, 270.4)]
    for exposure in (science, template):
        addStars(exposure, stars)
    result = zogyExposures(science, template)
    difference = result.difference
    chi = difference.image.array / np.sqrt(difference.variance.array)
    near = np.zeros(shape, bool)
    for _, x, y in stars:
        near[round(y) - 4 : round(y) + 5, round(x) - 4 : round(x) + 5] = True
    assert 1.4826 * np.median(abs(chi[near])) == pytest.approx(1, abs=0.06)
    constant = zogyExposures(science, template, spatiallyVarying=False).difference
    worse = constant.image.array / np.sqrt(constant.variance.array)
    assert 1.4826 * np.median(abs(worse[near])) > 2
    # no seams: pixels beside the borders of tiles are as quiet as all others
    edges = tileEdges(shape[1], result.metadata["tileBorder"])[1:-1]
    assert len(edges) >= 2 and np.std(chi[:, np.concatenate([edges - 1, edges])]) < 1.15


def test_varianceFollowsBrightSources(rng):
    science, template = noisePair(rng, (200, 200))
    science.variance.array[90:110, 90:110] = 2500.0
    result = zogyExposures(science, template)
    variance = result.difference.variance.array
    assert variance[100, 100] > 1500 and variance[20, 20] == pytest.approx(34, rel=1e-3)
    assert (variance > 0).all() and (result.score.variance.array > 0).all()
    assert result.score.variance.array[100, 100] > 5 * result.score.variance.array[20, 20]


def test_pixelsWithoutDataAreMarkedInEveryPlane(rng):
    science, template = noisePair(rng, (160, 170))
    science.image.array[50, 60] = np.nan
    template.variance.array[100:103, 30] = np.inf
    before = [p.array.copy() for e in (science, template) for p in e.maskedImage.planes]
    result = zogyExposures(science, template)
    radius = result.metadata["growRadius"]
    for y, x in ((50, 60), (101, 30), (50, 60 + radius)):
        assert "NO_DATA" in result.difference.mask.interpret(result.difference.mask.array[y, x])
        assert np.isnan(result.difference.image.array[y, x]) and np.isinf(result.difference.variance.array[y, x])
        assert result.score.image.array[y, x] == 0 and result.score.variance.array[y, x] == 1
        assert result.scoreCorr.array[y, x] == 0
    clean = ~result.difference.mask.isSet("NO_DATA")
    assert np.isfinite(result.difference.image.array[clean]).all()
    assert np.isfinite(result.score.image.array).all()
    assert np.count_nonzero(~clean) < 3 * (2 * radius + 3) ** 2
    after = [p.array for e in (science, template) for p in e.maskedImage.planes]
    for a, b in zip(before, after):
        np.testing.assert_array_equal(a, b)  # inputs are never modified


def test_wildPixelsUnderAMaskDoNotSpread(rng):
    science, template = noisePair(rng, (200, 200))
    quiet = zogyExposures(science, template).difference.image.array
    for exposure, name, value in ((science, "CR", 1e6), (template, "BAD", -1e7)):
        exposure.image.array[100:102, 100:103] = value
        exposure.mask.array[100:102, 100:103] |= exposure.mask.bitmask([name])
    result = zogyExposures(science, template)
    assert abs(result.difference.image.array - quiet)[~result.difference.mask.isSet(["CR", "BAD"])].max() < 15
    assert result.difference.mask.isSet("CR")[100, 100] and result.difference.mask.isSet("BAD")[100, 100]


def test_noNanPatternMakesItFail(rng):
    for fraction in (0.02, 0.5, 0.97):
        science, template = noisePair(rng, (120, 90))
        for exposure in (science, template):
            exposure.image.array[rng.uniform(size=(120, 90)) < fraction] = np.nan
            exposure.variance.array[rng.uniform(size=(120, 90)) < 0.01] = rng.choice([0, -1, np.nan, np.inf])
        result = zogyExposures(science, template)
        good = ~result.difference.mask.isSet("NO_DATA")
        assert np.isfinite(result.difference.image.array[good]).all()
        assert np.isfinite(result.score.image.array).all() and np.isfinite(result.scoreCorr.array).all()


def test_noiseNearTheFrameIsThatOfTheVariancePlane():
    generator = np.random.default_rng(21)
    rows = []
    for _ in range(12):
        result = zogyExposures(*noisePair(generator, (96, 400)))
        rows.append(
            result.difference.image.array[[0, 1, -2, -1]] ** 2 / result.difference.variance.array[[0, 1, -2, -1]]
        )
        assert result.difference.mask.isSet("EDGE")[0].all()
    assert np.mean(rows) == pytest.approx(1, abs=5 * np.sqrt(2 / (12 * 1600)))


def test_backgroundAndSkyLevelAreRemoved(rng):
    science, template = noisePair(rng, (300, 280))
    v, u = (2 * (np.arange(n) - (n - 1) / 2) / n for n in (300, 280))
    gradient = 4 + 3 * u[None, :] - 5 * v[:, None]
    science.image.array += (2 * 1000 + gradient).astype(np.float32)
    template.image.array /= 2
    template.variance.array /= 4
    template.image.array += 1000
    background = Background(np.array([[4.0, 3.0], [-5.0, 0.0]]), (300, 280))
    difference = zogyExposures(science, template, fluxRatio=2.0, background=background).difference
    assert abs(np.median(difference.image.array)) < 0.1
    slope = np.polyfit(u, np.median(difference.image.array, axis=0), 1)[0]
    assert abs(slope) < 0.3
    assert difference.image.array.std() == pytest.approx(np.sqrt(34), rel=0.02)
    function = Chebyshev1Function2(background.parameters, (-0.5, -0.5, 279.5, 299.5))
    values = function.basisValues([0.0, 100.0], [0.0, 250.0]) @ function.parameters
    np.testing.assert_allclose(values, [gradient[0, 0], gradient[250, 100]], atol=1e-9)


def test_shiftedTemplateIsMovedWithoutLossOfWhiteness(rng):
    shape = (256, 256)
    science, template = noisePair(rng, shape, sigmas=(5.0, 4.0))
    stars = [(3.0e4, 40 + 50.3 * i, 40 + 45.6 * j) for i in range(4) for j in range(4)]
    addStars(science, stars)
    addStars(template, [(f, x + 0.4, y - 0.3) for f, x, y in stars])
    for shift, low, high in (((0.4, -0.3), 0, 1.15), (None, 1.5, 1e9)):
        result = zogyExposures(science, template, shift=shift and (lambda x, y, d=shift: d))
        chi = result.difference.image.array / np.sqrt(result.difference.variance.array)
        assert low < chi.std() < high
        if shift is not None:
            assert abs(np.mean(chi[:, 1:] * chi[:, :-1])) < 0.03
    addStars(science, [(4000.0, 128, 128)])
    result = zogyExposures(science, template, shift=lambda x, y: (0.4, -0.3))
    y, x = np.unravel_index(result.scoreCorr.array.argmax(), shape)
    assert (x, y) == (128, 128)  # in the frame of the science image
    assert result.score.image.array[y, x] / result.scoreFluxAt(x, y) == pytest.approx(4000, rel=0.1)


@pytest.mark.parametrize("scienceConvolved", [False, True])
def test_kernelOfAlardAndLuptonTiesThePsfs(rng, scienceConvolved):
    # the sharper image's PSF correlated with the kernel is the other's, 0.3 px displaced and of another flux scale
    sharp, broad = gaussian(1.5, 31), gaussian(2.0, 31)
    kernel = gaussian(np.sqrt(2.0**2 - 1.5**2), 21)
    science, template = noisePair(rng, (300, 300), widths=(1.5, 2.0) if scienceConvolved else (2.0, 1.5))
    ratio = 1 / 1.25 if scienceConvolved else 0.8
    stars = [(4.0e4, 40.0 + 55 * i, 45.0 + 50 * j) for i in range(5) for j in range(5)]
    addStars(science, [(ratio * f, x, y) for f, x, y in stars])
    addStars(template, [(f, x + 1, y) for f, x, y in stars])  # one pixel: the kernel's centre moves as much
    kernel = 0.8 * np.roll(kernel, 1, axis=1) if not scienceConvolved else 1.25 * np.roll(kernel, -1, axis=1)
    assert sharp.shape == broad.shape
    optics = KernelPair(KernelPsf(sharp), FixedKernel(kernel), scienceConvolved)
    addStars(science, [(3000.0, 150, 120)])
    result = zogyExposures(science, template, optics=optics, fluxRatio=ratio)
    chi = result.difference.image.array / np.sqrt(result.difference.variance.array)
    chi[100:141, 130:171] = 0
    assert chi.std() == pytest.approx(1, abs=0.03)
    variance = 25 + ratio**2 * 9
    np.testing.assert_allclose(result.difference.variance.array, variance, rtol=1e-3)
    y, x = np.unravel_index(result.scoreCorr.array.argmax(), (300, 300))
    assert (x, y) == (150, 120)
    assert result.score.image.array[y, x] / result.scoreFluxAt(x, y) == pytest.approx(3000, abs=250)
    psf = result.difference.psf.computeKernelImage((150, 120)).array
    assert np.unravel_index(psf.argmax(), psf.shape) == (psf.shape[0] // 2, psf.shape[1] // 2)


def test_spatiallyVaryingFluxRatioOfAKernel(rng):
    science, template = noisePair(rng, (200, 600), widths=(1.5, 1.5))
    stars = [(5.0e4, 30.0 + 60 * i, 50.0 + 50 * j) for i in range(10) for j in range(3)]
    addStars(science, [(f * (1 + 0.1 * (x - 299.5) / 600), x, y) for f, x, y in stars])
    addStars(template, stars)
    delta = np.zeros((11, 11))
    delta[5, 5] = 1
    function = Chebyshev1Function2([1.0, 0.05, 0.0], (-0.5, -0.5, 599.5, 199.5))
    kernel = LinearCombinationKernel([FixedKernel(delta)], [function])
    result = zogyExposures(science, template, optics=KernelPair(template.psf, kernel, False))
    chi = result.difference.image.array / np.sqrt(result.difference.variance.array)
    assert chi.std() == pytest.approx(1, abs=0.03)


def test_psfOfTheDifferenceFollowsTheField(rng):
    science, template = noisePair(rng, (300, 900), sigmas=(5.0, 5.0))
    science.psf, template.psf = varyingPsf(science.bbox, 1.6, 2.4), varyingPsf(science.bbox, 1.4, 1.8)
    psf = zogyExposures(science, template, score=False).difference.psf
    for x in (150.0, 450.0, 750.0):
        stamp = psf.computeKernelImage((x, 150.0)).array
        u = np.arange(stamp.shape[1]) - stamp.shape[1] // 2
        wanted = ((1.6 + 0.8 * x / 899) ** 2 + (1.4 + 0.4 * x / 899) ** 2) / 2
        assert stamp.sum() == pytest.approx(1, abs=1e-9)
        assert stamp.sum(0) @ u**2 == pytest.approx(wanted, rel=0.02)


def test_resultDoesNotDependOnTheNumberOfThreads(rng):
    science, template = noisePair(rng, (400, 300))
    science.image.array[100:120, 30:50] = np.nan
    template.image.array[110:130, 30:50] = np.nan
    before = _core.getNumThreads()
    try:
        planes = []
        for n in (1, 3):
            _core.setNumThreads(n)
            result = zogyExposures(science, template, tile=160, astrometricSigma=0.1)
            planes.append((result.difference.image.array, result.difference.variance.array, result.scoreCorr.array))
    finally:
        _core.setNumThreads(before)
    for a, b in zip(*planes):
        np.testing.assert_array_equal(a, b)


def test_astrometricTermLowersOnlyGradients(rng):
    science, template = noisePair(rng, (200, 200))
    for exposure, dx in ((science, 0.0), (template, 0.3)):
        addStars(exposure, [(1.0e5, 100 + dx, 100.0)])
    plain = zogyExposures(science, template)
    corrected = zogyExposures(science, template, astrometricSigma=(0.3, 0.1))
    assert abs(plain.scoreCorr.array[90:111, 90:111]).max() > 50
    assert abs(corrected.scoreCorr.array[90:111, 90:111]).max() < 5
    np.testing.assert_allclose(corrected.scoreCorr.array[20:60], plain.scoreCorr.array[20:60], rtol=0.05, atol=0.05)
    np.testing.assert_array_equal(corrected.score.image.array, plain.score.image.array)


def test_simulatedFieldIsCleanWithTheTruePsfs():
    pair = simulatePair(size=512, seed=3)
    science, template = pair.science.toExposure(), pair.template.toExposure()
    result = zogyExposures(science, template, fluxRatio=1.0)
    chi = result.difference.image.array / np.sqrt(result.difference.variance.array)
    chi = chi[~result.difference.mask.isSet(["NO_DATA", "SAT", "BAD", "CR", "EDGE"])]
    assert 1.4826 * np.median(abs(chi - np.median(chi))) == pytest.approx(1, abs=0.03)


def test_psfUndefinedAtAPositionFallsBackToItsAverage(rng):
    class Holey(GaussianPsf):
        def computeKernelImage(self, position=None):
            if position is not None and position[0] < 60:
                raise InvalidPsfError("no input here")
            return super().computeKernelImage(position)

    science, template = noisePair(rng, (150, 300))
    science.psf = Holey(31, 31, 2.0)
    result = zogyExposures(science, template, tile=160)
    assert result.metadata["nPsfFallbacks"] > 0
    assert np.isfinite(result.difference.image.array).all()


def test_badInputIsRefusedWithAReason(rng):
    science, template = noisePair(rng, (64, 64))
    with pytest.raises(ShapeError, match="one box"):
        zogyExposures(science, template[0:60, 0:64])
    bare = makeExposure(science.image.array)
    with pytest.raises(InvalidPsfError, match="template"):
        zogyExposures(science, bare)
    offset = makeExposure(template.image.array, psf=KernelPsf(np.roll(gaussian(1.5), 1, axis=1)))
    with pytest.raises(ValueError, match="centroids"):
        zogyExposures(science, offset, maxCentroidDistance=0.2)
    blind = makeExposure(science.image.array, variance=np.zeros((64, 64), np.float32), psf=science.psf)
    with pytest.raises(NoDataError, match="variance"):
        zogyExposures(blind, template)
    with pytest.raises(NumericalError, match="sum"):
        zogyExposures(science, template, optics=KernelPair(template.psf, FixedKernel(-np.ones((3, 3))), False))
    with pytest.raises(DomainError):
        PsfPair(science.psf, offset.psf, maxCentroidDistance=0.2).at(0, 0, (64, 64))


def test_masksOfDifferentSchemasKeepTheirNames(rng):
    science, template = noisePair(rng, (64, 64))
    mask = Mask(np.zeros((64, 64), np.int32), schema={"BAD": 4, "CLOUD": 0, "NO_DATA": 2})
    template = Exposure(MaskedImage(template.image, mask, template.variance), psf=template.psf)
    template.mask.array[30, 30] = 1 << template.mask.bit("CLOUD")
    template.mask.array[40, 40] = 1 << template.mask.bit("BAD")
    mask = zogyExposures(science, template).difference.mask
    assert mask.isSet("CLOUD")[30, 30] and not mask.isSet("BAD")[30, 30] and mask.isSet("BAD")[40, 40]
    assert dict(template.mask.schema) == {"BAD": 4, "CLOUD": 0, "NO_DATA": 2}


def test_smallImages(rng):
    for shape in ((1, 1), (3, 40), (33, 17)):
        science, template = noisePair(rng, shape)
        result = zogyExposures(science, template)
        assert result.difference.image.array.shape == shape and np.isfinite(result.scoreCorr.array).all()
