"""PSFs by way of the matching kernel, and stamps on grids."""

from types import SimpleNamespace

import numpy as np
import pytest

from stillsky.diffim import SubtractConfig, subtract
from stillsky.diffim.psf_grid import balanced, gridNodes, halved
from stillsky.diffim.tied_psf import starlight, tiedPsf, tiedWeight
from stillsky.errors import InvalidPsfError
from stillsky.geom import Box2I
from stillsky.kernel import Chebyshev1Function2, FixedKernel, LinearCombinationKernel
from stillsky.psf import KernelPsf
from stillsky.sim import simulatePair

BOX = Box2I((20, -30), (700, 500))


def gaussian(sigma, size=31, x=0.0, y=0.0):
    g = np.arange(size) - size // 2
    image = np.exp(-0.5 * ((g[:, None] - y) ** 2 + (g - x) ** 2) / sigma**2)
    return image / image.sum()


# ---------------------------------------------------------------------- through the kernel


def test_kernelTimesTheSharpPsfIsTheOtherPsf():
    # the kernel scales by 0.7 and moves by (0.4, -0.3) pixels as well: the PSF stays centred and of unit sum
    kernel = FixedKernel(0.7 * gaussian(np.sqrt(2.0**2 - 1.5**2), 21, 0.4, -0.3))
    wrong, sharp = KernelPsf(gaussian(2.1)), KernelPsf(gaussian(1.5))
    found = tiedPsf(wrong, sharp, kernel, 1.0, BOX)
    stamp = found.computeKernelImage((100, 50)).array
    np.testing.assert_allclose(stamp, gaussian(2.0), atol=1e-5)
    mixed = tiedPsf(wrong, sharp, kernel, 0.25, BOX).computeKernelImage((100, 50)).array
    np.testing.assert_allclose(mixed, 0.25 * gaussian(2.0) + 0.75 * gaussian(2.1), atol=1e-5)


def test_tiedPsfVariesAsTheKernelDoes():
    basis = [FixedKernel(gaussian(w, 21)) for w in (1.0, 1.6)]
    box = (BOX.minX - 0.5, BOX.minY - 0.5, BOX.maxX + 0.5, BOX.maxY + 0.5)
    functions = [Chebyshev1Function2(c, box) for c in ([0.5, 0.5, 0.0], [0.5, -0.5, 0.0])]
    kernel = LinearCombinationKernel(basis, functions)
    psf = tiedPsf(KernelPsf(gaussian(2.0)), KernelPsf(gaussian(1.5)), kernel, 1.0, BOX)
    for x, wanted in ((BOX.minX, np.hypot(1.5, 1.6)), (BOX.maxX, np.hypot(1.5, 1.0))):
        stamp = psf.computeKernelImage((x, 0)).array
        u = np.arange(31) - 15
        assert np.sqrt(stamp.sum(0) @ u**2) == pytest.approx(wanted, rel=2e-3)


def test_psfUndefinedSomewhereIsThatOfItsAveragePosition():
    class Holey(KernelPsf):
        def computeKernelImage(self, position=None):
            if position is not None and position[0] < 200:
                raise InvalidPsfError("no input here")
            return super().computeKernelImage(position)

    kernel = FixedKernel(gaussian(np.sqrt(2.0**2 - 1.5**2), 21))
    psf = tiedPsf(Holey(gaussian(2.0)), Holey(gaussian(1.5)), kernel, 0.5, BOX)
    np.testing.assert_allclose(psf.computeKernelImage((50, 0)).array, gaussian(2.0), atol=1e-5)


def test_weightFollowsTheStarlight():
    assert tiedWeight(1e5, 9e5) == pytest.approx(0.9)
    assert tiedWeight(np.inf, 1e9) == 0 and tiedWeight(1e9, np.inf) == 1 and tiedWeight(np.inf, np.inf) == 0
    assert tiedWeight(0.0, 0.0) == 0
    objects = SimpleNamespace(signalToNoise=np.array([30.0, 40.0, 1e6]), isStar=np.array([True, True, False]))
    assert starlight(SimpleNamespace(psf=None), objects) == pytest.approx(900 / 1.09 + 1600 / 1.16)  # 1 % at best
    assert np.isinf(starlight(SimpleNamespace(psf=KernelPsf(gaussian(2.0))), objects))
    psf = KernelPsf(gaussian(2.0))
    assert tiedPsf(psf, psf, FixedKernel(gaussian(1.0, 21)), 0.0, BOX) is psf


def test_subtractionTiesThePsfOfADeepTemplate():
    pair = simulatePair(size=400, seed=12, starDensity=900.0, templateDepth=10.0, defects=False)
    true = pair.science.toExposure().psf
    results = {}
    for tied in (True, False):
        config = SubtractConfig()
        config.psf.tieToKernel, config.doDetection = tied, False
        results[tied] = subtract(pair.science.toExposure(psf=False), pair.template.toExposure(psf=False), config=config)
    assert results[True].metadata["psfTiedWeight"] > 0.6 and "psfTiedWeight" not in results[False].metadata
    np.testing.assert_array_equal(results[True].difference.image.array, results[False].difference.image.array)
    errors = {}
    for tied, result in results.items():
        errors[tied] = []
        for position in ((100, 100), (300, 100), (200, 200), (100, 300), (300, 300)):
            wanted = true.computeKernelImage(position).array
            model = result.matchedTemplate.psf.computeKernelImage(position).array
            h = min(wanted.shape[0], model.shape[0]) // 2
            wanted, model = (
                a[a.shape[0] // 2 - h :, a.shape[1] // 2 - h :][: 2 * h + 1, : 2 * h + 1] for a in (wanted, model)
            )
            errors[tied].append(np.sum(wanted * model) / np.sum(model**2) - 1)
    # what fluxes are wrong by
    rms = {tied: np.sqrt(np.mean(np.square(values))) for tied, values in errors.items()}
    assert rms[True] < 0.02 and rms[True] < 0.7 * rms[False]
    given = subtract(pair.science.toExposure(), pair.template.toExposure(psf=False))
    assert given.metadata["psfTiedWeight"] == 0 and given.matchedTemplate.psf == true


# ---------------------------------------------------------------------- stamps on grids


@pytest.mark.parametrize("nodes", [[0.0, 3, 9, 12], [0.0, 4, 8, 12, 16], [-5.0, 1, 2]])
def test_linearInterpolationOfBalancedNodesHasNoErrorOnAverage(nodes):
    nodes = np.array(nodes)
    values = np.stack([3 - 2 * nodes + 0.7 * nodes**2, 0.1 * nodes], axis=-1)
    fine = np.linspace(nodes[0], nodes[-1], 24001)
    found = balanced(values, nodes)
    errors = np.interp(fine, nodes, found[:, 0]) - (3 - 2 * fine + 0.7 * fine**2)
    plain = np.interp(fine, nodes, values[:, 0]) - (3 - 2 * fine + 0.7 * fine**2)
    assert abs(errors.mean()) < 1e-3 * plain.mean()
    if np.ptp(np.diff(nodes)) == 0:
        assert abs(errors).max() < 0.7 * plain.max()
    np.testing.assert_allclose(found[:, 1], values[:, 1], atol=1e-12)
    np.testing.assert_allclose(balanced(values.T, nodes, axis=1), found.T)


def test_halvedNodesLieOnTheQuadratic():
    nodes = np.array([0.0, 2, 6, 7])
    values, places = halved(5 + nodes - 0.3 * nodes**2, nodes)
    np.testing.assert_allclose(places, [0, 1, 2, 4, 6, 6.5, 7])
    np.testing.assert_allclose(values, 5 + places - 0.3 * places**2)
    table, _ = halved(np.stack([nodes, nodes**2]), nodes, axis=1)
    np.testing.assert_allclose(table, [places, places**2])


def test_fewNodesStayAsTheyAre():
    for nodes in (np.array([4.0]), np.array([0.0, 9.0])):
        values = nodes + 1
        np.testing.assert_array_equal(balanced(values, nodes), values)
        np.testing.assert_array_equal(halved(values, nodes)[0], values)
    assert len(gridNodes(0, 4095)) == 16 and list(gridNodes(3, 3)) == [3.0] and list(gridNodes(0, 90)) == [0.0, 90.0]
