"""Basis lists and difference matrices against the stored reference figures, and against formulas (4) to (7) spelled
out pixel by pixel."""

import json
import pickle

import numpy as np
import pytest

from stillsky import _core as core
from stillsky.errors import DomainError, NumericalError


@pytest.fixture(scope="module")
def golden(sharedDir):
    with np.load(sharedDir / "golden" / "basis_lists.npz") as arrays:
        return json.loads((sharedDir / "golden" / "basis_lists.json").read_text()), dict(arrays)


def images(kernels):
    return np.array([k.imageAt() for k in kernels])


def bruteForce(halfWidth, sigmas, degrees):
    """Gaussians times monomials, renormalised as a list: equations (4) to (7), zero sums decided by parity."""
    u = np.arange(-halfWidth, halfWidth + 1, dtype=float)
    x, y = np.meshgrid(u, u)
    raw = []
    for sigma, degree in zip(sigmas, degrees, strict=True):
        gauss = np.exp(-(x**2 + y**2) / (2 * sigma**2))
        gauss /= gauss.sum()
        for d in range(degree + 1):
            for b in range(d + 1):
                raw.append((gauss * (x / halfWidth) ** (d - b) * (y / halfWidth) ** b, (d - b) % 2 or b % 2))
    first = raw[0][0] / raw[0][0].sum()
    out = [first]
    for image, odd in raw[1:]:
        q = image if odd else image / image.sum() - first
        out.append(q / np.sqrt((q**2).sum()))
    return np.array(out)


@pytest.mark.shared
def test_alardLuptonListsEqualGoldens(golden):
    recipe, arrays = golden
    for name, case in recipe["al_cases"].items():
        kernels = core.makeAlardLuptonBasisList(case["halfWidth"], case["nGauss"], case["sigmas"], case["degrees"])
        expected = arrays[f"basis_{name}"]
        assert len(kernels) == case["n"] == len(expected)
        tolerance = 1e-12 if expected.dtype == np.float64 else 1e-7  # one case is stored in single precision
        np.testing.assert_allclose(images(kernels), expected, rtol=0, atol=tolerance)


@pytest.mark.shared
def test_deltaListsEqualGoldens(golden):
    _, arrays = golden
    deltas = core.makeDeltaFunctionBasisList(5, 3)
    np.testing.assert_array_equal(images(deltas), arrays["delta_5x3"])
    renormalised = core.renormalizeKernelList(core.makeDeltaFunctionBasisList(3, 3))
    np.testing.assert_allclose(images(renormalised), arrays["renorm_delta_3x3"], rtol=0, atol=1e-12)


@pytest.mark.shared
def test_differenceMatricesEqualGoldens(golden):
    _, arrays = golden
    # The reference rounds the ninths of the 9-point stencil to single precision: 1e-6 there (specified).
    central = core.makeCentralDifferenceMatrix
    np.testing.assert_allclose(central(5, 5, 5, 3.0, False), arrays["centralDiff_5x5_st5"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(central(5, 5, 9, 3.0, False), arrays["centralDiff_5x5_st9"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(central(5, 5, 9, 3.0, True), arrays["centralDiff_5x5_st9_bg"], rtol=0, atol=1e-6)
    for name, orders in (("1", [1]), ("2", [2]), ("3", [3]), ("1_2", [1, 2])):
        b = core.makeForwardDifferenceMatrix(5, 5, orders, 3.0, False)
        np.testing.assert_allclose(b, arrays[f"forwardDiff_5x5_{name}"], rtol=0, atol=1e-12)
    h = core.makeRegularizationMatrix("centralDifference", 5, 5, fitForBackground=False)
    np.testing.assert_allclose(h, arrays["regularization_default_5x5"], rtol=0, atol=1e-5)


def test_defaultBasisTable():
    """The table of the default basis: offsets (0,0), (0,+1), (+1,0), (+2,+1) as (dy, dx)."""
    pixels = images(core.makeAlardLuptonBasisList(10, 3, [0.7, 1.5, 3.0], [4, 2, 2]))
    assert len(pixels) == 27
    table = {
        0: (0.3247241573, 0.1170461044, 0.1170461044, 0.0019757247),
        1: (0, 0.6270923014, 0, 0.0105852454),
        2: (0, 0, 0.6270923014, 0.0211704908),
        3: (-0.7771609237, 0.2929565302, -0.2801259363, 0.0049450723),
        4: (0, 0, 0, 0.0464230454),
        5: (-0.7771609237, -0.2801259363, 0.2929565302, 0.0339657692),
        12: (-0.6621634563, -0.2386753535, -0.2386753535, 0.0634184968),
        14: (-0.7850933115, -0.2829851480, 0.1056721461, 0.1001910850),
        15: (-0.8632058204, -0.2052942162, -0.2052942162, 0.0724238862),
        16: (0, 0.2839537854, 0, 0.1167368911),
        21: (-0.8124822905, -0.2654332414, -0.2654332414, 0.0302497842),
        24: (-0.7818453516, -0.2773089181, -0.2818144280, -0.0011492646),
        26: (-0.7818453516, -0.2818144280, -0.2773089181, 0.0096739264),
    }
    for i, row in table.items():
        got = [pixels[i, 10 + dy, 10 + dx] for dy, dx in ((0, 0), (0, 1), (1, 0), (2, 1))]
        np.testing.assert_allclose(got, row, rtol=0, atol=1e-9)
    assert (pixels[0] ** 2).sum() == pytest.approx(0.167516037253, abs=1e-12)
    assert pixels[0].sum() == pytest.approx(1, abs=1e-14)
    np.testing.assert_allclose(pixels[1:].sum(axis=(1, 2)), 0, atol=1e-14)
    np.testing.assert_allclose((pixels[1:] ** 2).sum(axis=(1, 2)), 1, atol=1e-12)
    flat = pixels.reshape(27, -1)
    assert np.linalg.cond(flat @ flat.T) == pytest.approx(5.4402e4, rel=1e-3)


@pytest.mark.parametrize("case", [(10, [0.7, 1.5, 3.0], [4, 2, 2]), (17, [2.0], [3]), (3, [1.0, 2.0], [0, 3])])
def test_separableFormEqualsBruteForce(case):
    halfWidth, sigmas, degrees = case
    expected = bruteForce(halfWidth, sigmas, degrees)
    basis = core.AlardLuptonBasis(halfWidth, sigmas, degrees)
    assert basis.nFunctions == sum((d + 1) * (d + 2) // 2 for d in degrees)
    got = np.array([basis.imageAt(i) for i in range(basis.nFunctions)])
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-14)
    # and the parts that a candidate fit uses
    filters, first = basis.filters, got[0]
    for i, f in enumerate(basis.functions):
        product = np.outer(filters[f["filterY"]], filters[f["filterX"]])
        np.testing.assert_allclose(f["scale"] * product - f["subtract"] * first, got[i], rtol=0, atol=1e-14)


def test_highDegreeOfNarrowGaussianConservesFlux():
    """Sigma 0.7, degree 6, half-width 17: an absolute threshold on the raw sum leaves sums of about 3 here."""
    pixels = images(core.makeAlardLuptonBasisList(17, 1, [0.7], [6]))
    assert len(pixels) == 28
    assert np.abs(pixels[1:].sum(axis=(1, 2))).max() < 1e-12
    np.testing.assert_allclose((pixels[1:] ** 2).sum(axis=(1, 2)), 1, atol=1e-12)


def test_duplicateGaussianIsDroppedNotNan():
    basis = core.AlardLuptonBasis(8, [1.0, 1.0, 2.0], [0, 0, 0])
    assert basis.nFunctions == 2
    assert [(f["gauss"], f["a"], f["b"]) for f in basis.dropped] == [(1, 0, 0)]
    assert np.isfinite(images(core.makeAlardLuptonBasisList(8, 3, [1.0, 1.0, 2.0], [0, 0, 0]))).all()
    gauss = [core.AnalyticKernel(17, 17, core.GaussianFunction2(s, s)) for s in (1.0, 1.0, 2.0)]
    kept = core.renormalizeKernelList(gauss)
    assert len(kept) == 2
    assert np.isfinite(images(kept)).all()


def test_renormalizedGaussians():
    """Gaussians (2,2), (3,4), (0.2,0.25): sums 1, 0, 0 and unit norms for the last two."""
    gauss = [core.AnalyticKernel(19, 19, core.GaussianFunction2(*s)) for s in ((2, 2), (3, 4), (0.2, 0.25))]
    pixels = images(core.renormalizeKernelList(gauss))
    np.testing.assert_allclose(pixels.sum(axis=(1, 2)), [1, 0, 0], atol=1e-12)
    np.testing.assert_allclose((pixels[1:] ** 2).sum(axis=(1, 2)), 1, atol=1e-12)
    assert core.renormalizeKernelList([]) == []


def test_basisListErrors():
    with pytest.raises(DomainError, match="halfWidth"):
        core.makeAlardLuptonBasisList(0, 1, [1.0], [2])
    with pytest.raises(DomainError, match="sigGauss"):
        core.makeAlardLuptonBasisList(5, 2, [1.0], [2, 2])
    with pytest.raises(DomainError, match="degGauss"):
        core.makeAlardLuptonBasisList(5, 1, [1.0], [2, 2])
    with pytest.raises(DomainError):
        core.makeDeltaFunctionBasisList(0, 3)
    odd = core.FixedKernel(np.array([[1.0, 0.0, -1.0]]))
    with pytest.raises(NumericalError):
        core.renormalizeKernelList([odd])


def test_regularizationTraces():
    """General traces: 20 (or 13) per interior pixel plus penalty squared per border pixel; stored forward traces."""

    def trace(kind, w, **kwargs):
        return np.trace(core.makeRegularizationMatrix(kind, w, w, fitForBackground=False, **kwargs))

    assert trace("centralDifference", 5, centralRegularizationStencil=5) == pytest.approx(324, abs=1e-9)
    assert trace("centralDifference", 21, centralRegularizationStencil=5) == pytest.approx(7940, abs=1e-9)
    assert trace("centralDifference", 5) == pytest.approx(261, abs=1e-9)
    assert trace("centralDifference", 21) == pytest.approx(5413, abs=1e-9)
    assert trace("forwardDifference", 5, sumBeforeSquaring=True) == pytest.approx(868, abs=1e-9)
    assert trace("forwardDifference", 21, sumBeforeSquaring=True) == pytest.approx(15332, abs=1e-9)
    withBackground = core.makeRegularizationMatrix("centralDifference", 5, 5)
    assert withBackground.shape == (26, 26)
    assert not withBackground[25].any()
    assert not withBackground[:, 25].any()


def test_forwardRowsOfTheSummedMatrix():
    b = core.makeForwardDifferenceMatrix(5, 5, [1, 2], 3.0, False)

    def row(x, y):
        values = b[x + 5 * y]
        return {(int(i % 5), int(i // 5)): values[i] for i in np.flatnonzero(values)}

    assert row(0, 0) == {(0, 0): -4, (1, 0): 3, (0, 1): 3, (2, 0): -1, (0, 2): -1}
    assert row(4, 0) == {(4, 0): 4, (4, 1): 3, (4, 2): -1}
    assert row(4, 4) == {(4, 4): 12}


def test_forwardDifferencesDoNotCancelByDefault():
    """Squared apart, a diagonal stripe pattern costs something; summed before squaring it may be free."""
    w = 8
    y, x = np.mgrid[:w, :w]
    stripe = np.where((x - y) % 2 == 0, 1.0, -1.0)
    apart = core.makeRegularizationMatrix(
        "forwardDifference",
        w,
        w,
        forwardRegularizationOrders=[1],
        fitForBackground=False,
        regularizationBorderPenalty=1.0,
    )
    summed = core.makeForwardDifferenceMatrix(w, w, [1], 1.0, False)
    # On x - y the x and y derivatives cancel exactly.
    diagonalRow = (summed @ (x - y).ravel().astype(float)).reshape(w, w)[:-1, :-1]
    assert np.abs(diagonalRow).max() == 0  # the defect: not seen
    full = (x - y).ravel().astype(float)
    assert full @ apart @ full >= 2 * (w - 1) * (w - 1)
    assert stripe.ravel() @ apart @ stripe.ravel() > 0
    # penalty 1, order 1: the border element of the summed form is 1 - 1 = 0; squared apart it is not
    assert summed[w - 1, w - 1] == 0
    assert apart[w - 1, w - 1] > 0
    assert np.linalg.eigvalsh(apart).min() > 0


def test_regularizationErrors():
    make = core.makeRegularizationMatrix
    for bad in (
        dict(regularizationType="centralDifference", centralRegularizationStencil=1),
        dict(regularizationType="centralDifference", regularizationBorderPenalty=-1.0),
        dict(regularizationType="forwardDifference", forwardRegularizationOrders=[0]),
        dict(regularizationType="forwardDifference", forwardRegularizationOrders=[4]),
        dict(regularizationType="forwardDifference", forwardRegularizationOrders=[]),
        dict(regularizationType="forwardDifference", regularizationBorderPenalty=-1.0),
        dict(regularizationType="unknown"),
    ):
        with pytest.raises(DomainError):
            make(width=5, height=5, **bad)


def test_olderDifferenceBuilder():
    make = core.makeFiniteDifferenceRegularization
    # order 1, central, wrapped is the periodic 5-point Laplacian squared: its spectrum is known
    h = make(6, 6, 1, 1, 1)
    assert h.shape == (37, 37)
    assert not h[36].any()
    k = 2 * np.pi * np.arange(6) / 6
    spectrum = (2 * np.cos(k)[:, None] + 2 * np.cos(k)[None, :] - 4) ** 2
    np.testing.assert_allclose(np.linalg.eigvalsh(h[:36, :36]), np.sort(spectrum.ravel()), atol=1e-10)
    # forward order 0: each inner row is {-2, 1, 1}
    assert np.trace(make(4, 4, 0, 1, 0)) == pytest.approx(16 * 6)
    assert np.trace(make(4, 4, 0, 0, 0)) == pytest.approx(16 * 6 - 8)  # eight neighbours fall off
    # tapered: 20 border pixels with 1, then order 1 (sum of squares 14) at distance 1 and beyond for order 1
    assert np.trace(make(6, 6, 1, 2, 0)) == pytest.approx(20 + 16 * (4 + 2 * 4 + 2))
    for bad in ((3, 0, 0), (-1, 0, 0), (0, 3, 0), (0, 0, 2)):
        with pytest.raises(DomainError):
            make(5, 5, *bad)


def test_separableLinkSurvivesPickle():
    kernel = core.makeAlardLuptonBasisList(4, 2, [0.7, 1.5], [2, 1])[3]
    again = pickle.loads(pickle.dumps(kernel))
    assert again == kernel
    assert again.index == 3
    assert again.basis.sigmas == [0.7, 1.5]
