"""Widths and size of the Alard-Lupton basis from the two PSF widths."""

import pytest

from stillsky.psfmatch.basis import chooseAlardLuptonBasis, makeKernelBasisList
from stillsky.psfmatch.config import PsfMatchConfigAL

WIDTHS = [
    ((3, 4), "convolution", (0.7, 1.4, 2.8), 21),
    ((2, 3), "convolution", (0.7, 1.4, 2.8), 21),
    ((4, 3), "deconvolution", (0.561774, 1.123547, 2.247094), 21),
    ((5, 3), "deconvolution", (0.849322, 1.698644, 3.397287), 21),
    ((2, 6), "convolution", (1.201122, 2.402245, 4.804490), 29),
    ((2, 8), "convolution", (1.644705, 3.289409, 6.578818), 35),
]


@pytest.mark.parametrize(("fwhm", "mode", "sigmas", "size"), WIDTHS)
@pytest.mark.parametrize("compat", [False, True])
def testWidthTable(fwhm, mode, sigmas, size, compat):
    config = PsfMatchConfigAL()
    config.compat = compat
    metadata = {}
    basis = makeKernelBasisList(config, *fwhm, metadata=metadata)
    assert metadata["ALBasisMode"] == mode
    assert metadata["ALBasisSigGauss"] == pytest.approx(sigmas, abs=1e-6)
    assert metadata["ALKernelSize"] == size == basis[0].width
    assert metadata["ALBasisNGauss"] == 3 and metadata["ALBasisDegGauss"] == [4, 2, 2]


def testEqualWidthsUseTheConfiguredOnesWhenCompatible():
    config = PsfMatchConfigAL()
    config.compat = True
    choice = chooseAlardLuptonBasis(config, 4, 4)
    assert (choice["ALBasisMode"], choice.sigmas, choice.kernelSize) == ("config", [0.7, 1.5, 3.0], 21)


def testTheLadderIsContinuousWhereTheWidthsAreEqual():
    choices = [chooseAlardLuptonBasis(PsfMatchConfigAL(), 4.0, 4.0 + d) for d in (0.0, 1e-9)]
    assert choices[0].sigmas == pytest.approx(choices[1].sigmas, abs=1e-6)
    assert choices[0].kernelSize == choices[1].kernelSize


def testOneGaussianHasTheWidthOfTheKernel():
    config = PsfMatchConfigAL()
    config.alardNGauss, config.alardDegGauss, config.alardSigGauss = 1, [2], [1.0]
    choice = chooseAlardLuptonBasis(config, 3.5322300675, 4.70964009)
    assert choice.sigmas == pytest.approx([1.3228756553], abs=1e-8)


@pytest.mark.parametrize("scaleByFwhm", [True, False])
def testConfiguredWidthsWithoutBothFwhms(scaleByFwhm):
    config = PsfMatchConfigAL()
    config.scaleByFwhm, config.kernelSize = scaleByFwhm, 17
    choice = chooseAlardLuptonBasis(config, *((3.0, None) if scaleByFwhm else (3.0, 4.0)))
    assert (choice["ALBasisMode"], choice.sigmas, choice.kernelSize) == ("config", [0.7, 1.5, 3.0], 17)
