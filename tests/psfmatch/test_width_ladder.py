"""Widths and size of the Alard-Lupton basis from the two PSF widths."""

import pytest

from stillsky.errors import DomainError
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


LEGACY = [
    ((3, 4), "convolution", (1.123547, 2.247094, 4.494189), 27),
    ((2, 3), "convolution", (0.949571, 1.899141, 3.798283), 23),
    ((4, 4), "config", (0.7, 1.5, 3.0), 21),
    ((4, 3), "deconvolution", (0.794468, 1.256164, 2.316252), 21),
    ((5, 3), "deconvolution", (1.201122, 1.899141, 3.501843), 21),
    ((2, 6), "convolution", (1.201122, 2.402245, 4.804490), 29),
    ((2, 8), "convolution", (1.644705, 3.289409, 6.578818), 35),
]


@pytest.mark.parametrize(("fwhm", "mode", "sigmas", "size"), LEGACY)
def testWidthTableOfTheOlderRule(fwhm, mode, sigmas, size):
    config = PsfMatchConfigAL()
    config.alardWidthRule = "legacy"
    metadata = {}
    basis = makeKernelBasisList(config, *fwhm, metadata=metadata)
    assert metadata["ALBasisMode"] == mode
    assert metadata["ALBasisSigGauss"] == pytest.approx(sigmas, abs=1e-6)
    assert metadata["ALKernelSize"] == size == basis[0].width
    degrees = [3, 3, 3] if mode == "deconvolution" else [4, 2, 2]
    assert metadata["ALBasisDegGauss"] == degrees
    assert len(basis) == sum((d + 1) * (d + 2) // 2 for d in degrees)


def testTheOlderRuleHasDegreesAndNumbersOfItsOwnToSharpen():
    config = PsfMatchConfigAL()
    config.alardWidthRule, config.kernelSize = "legacy", 25
    assert chooseAlardLuptonBasis(config, 4, 4).kernelSize == 25  # equal widths leave the configuration alone
    config.alardDegGaussDeconv, config.alardMinSigDeconv = 2, 0.6
    choice = chooseAlardLuptonBasis(config, 4, 3)
    assert choice["ALBasisDegGauss"] == [2, 2, 2]
    first = 1.1235472  # half of it is below the smallest width: the ladder starts there
    assert choice.sigmas == pytest.approx([first * r**0.5 for r in (2, 5, 17)], abs=1e-5)
    config.alardNGaussDeconv = 2
    with pytest.raises(DomainError, match="alardNGaussDeconv"):
        chooseAlardLuptonBasis(config, 4, 3)
    config.alardNGaussDeconv, config.alardGaussBeta = 3, 1.4
    with pytest.raises(DomainError, match="alardGaussBeta"):
        chooseAlardLuptonBasis(config, 4, 3)


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
