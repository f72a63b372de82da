"""Choice of the kernel's basis functions from the two PSF widths (`psf-matching` rules of Rubin; Israel et al. 2007)."""

import logging
import math

from ..errors import DomainError, StillskyError
from . import makeAlardLuptonBasisList, makeDeltaFunctionBasisList

__all__ = ["BasisChoice", "chooseAlardLuptonBasis", "generateAlardLuptonBasisList", "makeKernelBasisList"]

_log = logging.getLogger(__name__)

FWHM_PER_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))


class BasisChoice(dict):
    """Metadata of an Alard-Lupton basis: ALBasisNGauss, ALBasisDegGauss, ALBasisSigGauss (pixels), ALKernelSize, ALBasisMode."""

    @property
    def sigmas(self):
        """Widths of the Gaussians, pixels."""
        return self["ALBasisSigGauss"]

    @property
    def kernelSize(self):
        """Width of the kernel, pixels."""
        return self["ALKernelSize"]


def makeKernelBasisList(
    config, targetFwhmPix=None, referenceFwhmPix=None, basisDegGauss=None, basisSigmaGauss=None, metadata=None
):
    """Basis functions for the configured basis set.

    Parameters
    ----------
    config : `PsfMatchConfig`
        ``kernelBasisSet`` decides; the delta-function basis ignores the widths.
    targetFwhmPix, referenceFwhmPix : `float`, optional
        FWHM in pixels of the image that is convolved and of the image that is matched to.
    basisDegGauss : `list` [`int`], optional
        Polynomial degrees instead of those of the configuration.
    basisSigmaGauss : `list` [`float`], optional
        Widths in pixels instead of those of the configuration, where these would be used.
    metadata : mapping, optional
        Gets the keys of `BasisChoice`; earlier values are replaced.

    Returns
    -------
    basisList : `list` [`stillsky.kernel.Kernel`]

    Raises
    ------
    DomainError
        Unknown basis set, even kernel size, or list lengths that disagree.
    """
    if config.kernelBasisSet == "alard-lupton":
        return generateAlardLuptonBasisList(
            config, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss, metadata
        )
    if config.kernelBasisSet == "delta-function":
        return makeDeltaFunctionBasisList(config.kernelSize, config.kernelSize)
    raise DomainError(f"kernelBasisSet: wanted alard-lupton or delta-function, got {config.kernelBasisSet!r}")


def generateAlardLuptonBasisList(
    config, targetFwhmPix=None, referenceFwhmPix=None, basisDegGauss=None, basisSigmaGauss=None, metadata=None
):
    """Alard-Lupton functions with the widths of `chooseAlardLuptonBasis`; parameters as `makeKernelBasisList`."""
    choice = chooseAlardLuptonBasis(config, targetFwhmPix, referenceFwhmPix, basisDegGauss, basisSigmaGauss)
    if metadata is not None:
        for key, value in choice.items():
            metadata[key] = value
    degrees = choice["ALBasisDegGauss"]
    basisList = makeAlardLuptonBasisList(choice.kernelSize // 2, choice["ALBasisNGauss"], choice.sigmas, degrees)
    nDropped = sum((degree + 1) * (degree + 2) // 2 for degree in degrees) - len(basisList)
    if nDropped:
        _log.warning(
            "%d basis functions repeat the first one and are left out (widths %s pixels)", nDropped, choice.sigmas
        )
    return basisList


def chooseAlardLuptonBasis(config, targetFwhmPix=None, referenceFwhmPix=None, basisDegGauss=None, basisSigmaGauss=None):
    """Widths, degrees and kernel size of an Alard-Lupton basis.

    With both widths known and ``scaleByFwhm``, the kernel that takes sigma_T to sigma_S has the width
    sigma_K = max(m, sqrt|sigma_S^2 - sigma_T^2|), m being ``alardMinSig`` or, when the kernel sharpens,
    ``alardMinSigDeconv``. The first Gaussian has max(m, sigma_K / beta), each next one beta times more. The kernel size
    is ``kernelSizeFwhmScaling`` times the last width, made odd and clamped.

    Equal widths continue that ladder with sigma_K = m; with ``compat`` they fall back on the configured widths, as the
    reference does. ``alardWidthRule`` "legacy" is the older rule: see `_legacyBasis`.

    Returns
    -------
    choice : `BasisChoice`

    Raises
    ------
    StillskyError
        The configuration asks for another basis set.
    DomainError
        Even kernel size, list lengths that disagree with ``alardNGauss``, a width that is negative or not finite,
        ``alardGaussBeta`` 0, or what the older rule does not define.
    """
    if config.kernelBasisSet != "alard-lupton":
        raise StillskyError(f"kernelBasisSet: wanted alard-lupton, got {config.kernelBasisSet!r}")
    degrees = list(config.alardDegGauss if basisDegGauss is None else basisDegGauss)
    sigmas = [float(sigma) for sigma in (config.alardSigGauss if basisSigmaGauss is None else basisSigmaGauss)]
    for name, values in (("degrees", degrees), ("widths", sigmas)):
        if len(values) != config.alardNGauss:
            raise DomainError(f"basis {name}: wanted {config.alardNGauss} entries (alardNGauss), got {len(values)}")
    if config.kernelSize % 2 == 0:
        raise DomainError(f"kernelSize: wanted an odd number, got {config.kernelSize}")
    size, mode = config.kernelSize, "config"
    if config.scaleByFwhm and targetFwhmPix is not None and referenceFwhmPix is not None:
        for name, fwhm in (("targetFwhmPix", targetFwhmPix), ("referenceFwhmPix", referenceFwhmPix)):
            if not (math.isfinite(fwhm) and fwhm >= 0):
                raise DomainError(f"{name}: wanted a width in pixels, got {fwhm}")
        legacy = config.alardWidthRule == "legacy"
        if (config.alardNGauss > 1 or legacy) and not config.alardGaussBeta > 0:
            raise DomainError(f"alardGaussBeta: wanted a positive ratio of widths, got {config.alardGaussBeta}")
        widths = (targetFwhmPix / FWHM_PER_SIGMA, referenceFwhmPix / FWHM_PER_SIGMA)
        if legacy:
            mode, sigmas, size = _legacyBasis(config, *widths, sigmas)
            if mode == "deconvolution" and basisDegGauss is None:
                degrees = [config.alardDegGaussDeconv] * len(sigmas)
        else:
            mode, sigmas, size = _scaledBasis(config, *widths, sigmas)
    if len(degrees) != len(sigmas):
        raise DomainError(f"basis degrees: wanted {len(sigmas)} entries, got {len(degrees)}")
    if size % 2 == 0:
        raise DomainError(f"kernelSizeMin and kernelSizeMax: wanted odd numbers, got a kernel of {size} pixels")
    return BasisChoice(
        ALBasisNGauss=len(sigmas),
        ALBasisDegGauss=degrees,
        ALBasisSigGauss=sigmas,
        ALKernelSize=size,
        ALBasisMode=mode,
    )


def _scaledBasis(config, targetSigma, referenceSigma, configured):
    """Mode, widths and size for known PSF widths (sigma, pixels)."""
    if targetSigma == referenceSigma and config.compat:
        return "config", configured, _kernelSize(config, configured[-1])
    sharpens = referenceSigma < targetSigma
    smallest = config.alardMinSigDeconv if sharpens else config.alardMinSig
    kernelSigma = max(smallest, math.sqrt(abs(referenceSigma**2 - targetSigma**2)))
    first = kernelSigma if config.alardNGauss == 1 else max(smallest, kernelSigma / config.alardGaussBeta)
    sigmas = [first * config.alardGaussBeta**i for i in range(config.alardNGauss)]
    return "deconvolution" if sharpens else "convolution", sigmas, _kernelSize(config, sigmas[-1])


def _legacyBasis(config, targetSigma, referenceSigma, configured):
    """Mode, widths and size by the older rule, which jumps where sigma_K passes beta m.

    Widths start at sigma_K / beta when that exceeds m, else at sigma_K. Equal widths leave the configuration as it is.
    A kernel that sharpens has Gaussians of the widths sqrt((n - j) s_1^2 + j s_2^2 - (n + 1) s_0^2), (n, j) = (1, 0),
    (2, 0), (2, 1), of the ladder s_0, s_1, s_2, whose last one gives the size.
    """
    if targetSigma == referenceSigma:
        return "config", configured, config.kernelSize
    sharpens = referenceSigma < targetSigma
    n = config.alardNGaussDeconv if sharpens else config.alardNGauss
    smallest = config.alardMinSigDeconv if sharpens else config.alardMinSig
    beta = config.alardGaussBeta
    kernelSigma = max(smallest, math.sqrt(abs(referenceSigma**2 - targetSigma**2)))
    first = kernelSigma / beta if n > 1 and kernelSigma / beta > smallest else kernelSigma
    ladder = [first * beta**i for i in range(n)]
    size = _kernelSize(config, ladder[-1])
    if not sharpens:
        return "convolution", ladder, size
    if n != 3:
        raise DomainError(f"alardNGaussDeconv: the legacy rule wants 3, got {n}")
    s0, s1, s2 = (sigma**2 for sigma in ladder)
    squares = sorted((s1 - 2 * s0, 2 * s1 - 3 * s0, s1 + s2 - 3 * s0))
    if not squares[0] > 0:
        raise DomainError(f"alardGaussBeta: the legacy rule wants more than sqrt(2) to sharpen, got {beta}")
    return "deconvolution", [math.sqrt(value) for value in squares], size


def _kernelSize(config, lastSigma):
    size = int(config.kernelSizeFwhmScaling * lastSigma)
    if size % 2 == 0:
        size += 1
    return min(config.kernelSizeMax, max(size, config.kernelSizeMin))
