"""Cross-check with hotpants (Becker 2015, ascl:1504.004) on the public synthetic pair: same basis, same stamps, same
figures. Its coefficients differ in the sign of functions of odd parity, because it convolves where we correlate."""

import numpy as np
import pytest
from psfmatch_scenes import FIELDS, stamp

from stillsky.kernel import FixedKernel
from stillsky.psfmatch import (
    KernelCandidate,
    PsfMatchSettings,
    SpatialKernelSolution,
    convolveWithBasis,
    makeAlardLuptonBasisList,
)

pytestmark = pytest.mark.shared

ORDER = [0, 2, 5, 9, 1, 4, 8, 3, 7, 6]
DIVISOR = [1, 0.0886603678, 12.1809545065, 0.0050993181, 0.0886603678, 0.0417977160, 0.0113811998, 12.1809545065,
           0.0113811998, 0.0050993181]  # fmt: skip
CENTRES = [(32, 32), (96, 32), (160, 32), (96, 95), (31, 96), (160, 96), (96, 160), (160, 160), (32, 160)]

FOUR_00 = [0.969559, 0.000223, -0.198374, -0.000012, 0.000010, 0.000036, 0.000004, -0.206751, -0.000012, -0.000004]
FOUR_10 = [
    (0.000082, -0.000185, 0.000620), (-0.197749, -0.003321, 0.001418), (-0.000002, 0.000016, -0.000049),
    (-0.000211, 0.000397, 0.000283), (0.000034, 0.000006, 0.000002), (0.000013, 0.000010, -0.000041),
    (-0.220238, 0.013148, 0.028395), (-0.000019, -0.000003, 0.000025), (-0.000003, -0.000005, 0),
]  # fmt: skip
ALL_02 = [0.968505, 0.000053, -0.206505, -0.000005, -0.000062, 0.000028, 0.000004, -0.206135, -0.000005, -0.000001]
BG_02 = [0.812488, 0.132670, 0.096456, -0.284670, -0.571923, -1.140900]
ALL_20 = [
    (0.000094, -0.000025, 0.000206, -0.000162, 0.000705, 0.000027),
    (-0.188375, 0.008718, 0.001801, -0.033879, 0.016346, -0.027534),
    (-0.000004, -0.000004, -0.000012, 0.000020, -0.000017, -0.000023),
    (-0.000128, 0.000038, 0.000218, 0.000531, 0.000151, -0.000304),
    (-0.000011, -0.000017, -0.000013, 0.000093, 0.000133, 0.000038),
    (0.000003, -0.000008, -0.000003, 0.000010, -0.000002, -0.000006),
    (-0.212235, -0.010893, -0.000856, 0.008249, 0.049302, 0.012246),
    (-0.000014, 0.000001, 0.000002, -0.000020, -0.000030, 0.000050),
    (0.000001, 0.000007, -0.000010, -0.000019, -0.000015, 0.000012),
]  # fmt: skip
SINGLE = [0.959086, 0.000344, -0.197758, -0.000019, 0.000172, 0.000053, -0.000018, -0.192776, 0, -0.000001]


@pytest.fixture(scope="module")
def pair(sharedDir):
    fits = pytest.importorskip("astropy.io.fits")
    folder = sharedDir / "data" / "hotpants_comparison"
    planes = []
    for name in ("templateMI.fits", "scienceMI.fits"):
        with fits.open(folder / name) as hdus:
            arrays = [h.data for h in hdus if h.data is not None]
        planes.append([np.ascontiguousarray(a.astype(a.dtype.newbyteorder("="))) for a in arrays])
    return planes


@pytest.fixture(scope="module")
def bases():
    plain = makeAlardLuptonBasisList(9, 1, [3.0], [3])
    return [FixedKernel(plain[k].imageAt(0, 0) / d) for k, d in zip(ORDER, DIVISOR)]


def _solve(pair, bases, which, kernelOrder, bgOrder):
    fields = PsfMatchSettings({**FIELDS, "compat": True, "fitForBackground": True, "spatialModelType": "polynomial",
                               "spatialKernelOrder": kernelOrder, "spatialBgOrder": bgOrder})  # fmt: skip
    solution = SpatialKernelSolution(bases, (0, 0, 193, 193), fields)
    single = None
    for xc, yc in which:
        cut = (slice(yc - 24, yc + 25), slice(xc - 24, xc + 25))
        stamps = []
        for image, *rest in pair:
            variance = next(a for a in rest if a.dtype.kind == "f")
            stamps.append(stamp(image[cut].astype(np.float32), variance[cut], 0, (xc - 24, yc - 24)))
        candidate = KernelCandidate(xc, yc, *stamps, fields)
        candidate.build(bases)
        single = candidate.getKernelSolution(KernelCandidate.ORIG)
        solution.addConstraint((xc - 96.5) / 96.5, (yc - 96.5) / 96.5, single.getM(), single.getB())
    solution.solve()
    return solution, single


def _check(solution, first, rows, background, tolerance=1e-6):
    a = solution.getA()
    kernel = np.concatenate([[first], np.ravel(rows)])
    np.testing.assert_allclose(a[: kernel.size], kernel, rtol=0, atol=tolerance)
    np.testing.assert_allclose(a[kernel.size :], np.ravel(background), rtol=0, atol=tolerance)


SINGLE_STAMP = [(160, 160)]
FOUR = [c for c in CENTRES if min(c) > 90]


def testTheBasisOfHotpantsIsRecognisedAsSeparable(bases):
    assert convolveWithBasis(bases, np.ones((30, 30)))[1] == 10


def testSingleStamp(pair, bases):
    solution, single = _solve(pair, bases, SINGLE_STAMP, 0, 0)
    _check(solution, SINGLE[0], SINGLE[1:], 0.602642)
    np.testing.assert_allclose(solution.getA(), single.getA(), rtol=0, atol=1e-6)


def testFourStampsConstantKernel(pair, bases):
    assert len(FOUR) == 4
    _check(_solve(pair, bases, FOUR, 0, 0)[0], FOUR_00[0], FOUR_00[1:], 0.452304)


def testFourStampsLinearKernel(pair, bases):
    _check(_solve(pair, bases, FOUR, 1, 0)[0], 0.969559, FOUR_10, 0.452304)


def testFourStampsLinearBackground(pair, bases):
    _check(_solve(pair, bases, FOUR, 0, 1)[0], FOUR_00[0], FOUR_00[1:], (0.782113, -0.106636, -0.910963))


def testFourStampsLinearKernelAndBackground(pair, bases):
    _check(_solve(pair, bases, FOUR, 1, 1)[0], 0.969559, FOUR_10, (0.782113, -0.106636, -0.910963))


def testAllStampsQuadraticBackground(pair, bases):
    _check(_solve(pair, bases, CENTRES, 0, 2)[0], ALL_02[0], ALL_02[1:], BG_02)


@pytest.mark.parametrize("bgOrder, background", [(0, 0.392482), (2, BG_02)])
def testAllStampsQuadraticKernel(pair, bases, bgOrder, background):
    _check(_solve(pair, bases, CENTRES, 2, bgOrder)[0], 0.968505, ALL_20, background)
