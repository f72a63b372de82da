"""Matching of PSF models without stars: cells of model images, padding, and the scale of the kernel."""

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import DomainError, NumericalError, StillskyError
from ..geom import Box2I
from ..image import Image, Mask, MaskedImage
from ..psf import WarpedPsf
from ..psf.base import fitStamp
from . import KernelCandidate, SpatialCellSet
from .psf_fwhm import FWHM_PER_SIGMA

__all__ = [
    "ModelCells",
    "PsfComputeShapeError",
    "WarpedPsfTransformTooBigError",
    "buildModelCellSet",
    "modelFwhm",
    "modelPsfSize",
    "nextOddInteger",
    "planModelCells",
    "resizedModel",
    "scaledKernel",
]

_log = logging.getLogger(__name__)
_JITTER_PIXELS = 2.0
_MAX_JITTERS = 4


class PsfComputeShapeError(NumericalError):
    """A PSF cannot be evaluated where its size is needed.

    Attributes
    ----------
    metadata : `dict`
        ``position``: mapping of x and y, parent pixels.
    """

    def __init__(self, position, reason=""):
        x, y = (float(v) for v in position)
        super().__init__(f"Unable to evaluate the PSF at ({x:.2f}, {y:.2f})" + (f": {reason}" if reason else ""))
        self.metadata = {"position": {"x": x, "y": y}}


class WarpedPsfTransformTooBigError(PsfComputeShapeError):
    """A warped PSF cannot be evaluated because its transform stretches too much."""


def nextOddInteger(x):
    """Least odd integer that is not below x."""
    n = math.ceil(x)
    return n if n % 2 else n + 1


def shapeError(psf, position, error):
    """The error that tells where a PSF failed."""
    # An extreme stretch is a plain DomainError; a PSF that is not defined there is an InvalidPsfError.
    warped = isinstance(psf, WarpedPsf) and type(error) is DomainError
    return (WarpedPsfTransformTooBigError if warped else PsfComputeShapeError)(position, str(error))


def modelFwhm(psf, seed=None):
    """FWHM in pixels from the determinant radius at the average position, or near it.

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
    seed : `int`, optional
        With a seed, up to four positions within two pixels are tried when the first fails.

    Raises
    ------
    PsfComputeShapeError
        Nowhere could the PSF be evaluated.
    """
    position = psf.averagePosition
    positions = [tuple(position)]
    if seed is not None:
        offsets = np.random.default_rng(seed).uniform(-_JITTER_PIXELS, _JITTER_PIXELS, (_MAX_JITTERS, 2))
        positions += [(position[0] + dx, position[1] + dy) for dx, dy in offsets]
    failure = None
    for trial in positions:
        try:
            radius = psf.determinantRadius(trial)
        except (StillskyError, ValueError, ArithmeticError) as error:
            failure = failure or error
            continue
        if math.isfinite(radius) and radius > 0:
            return FWHM_PER_SIGMA * radius
        failure = failure or NumericalError(f"determinant radius {radius}")
    raise shapeError(psf, position, failure) from failure


@dataclass(frozen=True)
class ModelCells:
    """The grid on which two PSF models are compared.

    Attributes
    ----------
    region : `stillsky.geom.Box2I`
        Exposure box, grown by one cell on every side.
    sizeX, sizeY : `int`
        Cell size in pixels.
    centers : `list` of (x, y)
        Parent pixels, row by row.
    """

    region: Box2I
    sizeX: int
    sizeY: int
    centers: list


def planModelCells(bbox, sizeX, sizeY):
    """Cells over an exposure box.

    Raises
    ------
    DomainError
        The box, grown by a cell on every side, holds no whole cell.
    """
    region = Box2I((bbox.minX - sizeX, bbox.minY - sizeY), (bbox.width + 2 * sizeX, bbox.height + 2 * sizeY))
    nx, ny = region.width // sizeX, region.height // sizeY
    if nx == 0 or ny == 0:
        raise DomainError(f"sizeCellX, sizeCellY: wanted cells that fit into {region}, got {sizeX} x {sizeY}")
    centers = [
        (region.minX + i * sizeX + sizeX // 2, region.minY + j * sizeY + sizeY // 2)
        for j in range(ny)
        for i in range(nx)
    ]
    return ModelCells(region, sizeX, sizeY, centers)


def modelPsfSize(psf, cells, kernelSize, *, autoPadTo=None, padBy=0):
    """Side of the PSF images in pixels: the largest PSF at any cell centre, plus padding.

    Parameters
    ----------
    psf : `stillsky.psf.Psf`
    cells : `ModelCells`
    kernelSize : `int`
    autoPadTo : `float`, optional
        Pad to this many kernel sizes; then ``padBy`` is ignored.
    padBy : `int`
        Even, at least 0.

    Raises
    ------
    PsfComputeShapeError
        The PSF is not defined at a cell centre.
    DomainError
        ``padBy`` is odd or negative, or the kernel does not fit into the PSF image.
    """
    size = 0
    for center in cells.centers:
        try:
            size = max(size, *psf.computeBBox(center).dimensions)
        except (StillskyError, ValueError, ArithmeticError) as error:
            raise shapeError(psf, center, error) from error
    if autoPadTo is not None:
        size += max(0, nextOddInteger(kernelSize * autoPadTo) - size)
    else:
        if padBy % 2 or padBy < 0:
            raise DomainError(f"padPsfBy: wanted an even number of pixels, at least 0, got {padBy}")
        size += padBy
    largest = size - 2 if size % 2 else size - 1
    if kernelSize > largest:
        raise DomainError(
            f"kernelSize: wanted at most {largest} for PSF images of {size} pixels, got {kernelSize}",
            found=f"PSF images of {size} pixels, a kernel of {kernelSize}",
            remedy="a smaller kernelSize, a larger padPsfBy, or doAutoPadPsf",
        )
    return size


def resizedModel(psf, size, log=_log):
    """The PSF on square images of a size; itself, with a warning, when its class cannot be resized."""
    if tuple(psf.computeBBox(psf.averagePosition).dimensions) == (size, size):
        return psf
    try:
        return psf.resized(size, size)
    except StillskyError as error:
        log.warning("The reference PSF cannot be resized (%s): its images are padded or cut", error)
        return psf


def buildModelCellSet(psf, referencePsf, cells, psfSize, kernelSize, settings, padTemplate=True):
    """One candidate per cell: the PSF image to convolve and the one to match, with variance 1.

    Parameters
    ----------
    psf, referencePsf : `stillsky.psf.Psf`
    cells : `ModelCells`
    psfSize, kernelSize : `int`
    settings : `PsfMatchSettings`
    padTemplate : `bool`
        Surround the PSF images by zeros, kernelSize - 1 pixels in all, so that all pixels of the reference image are
        fitted. Without, only the pixels on which the kernel fits into the PSF image are.

    Returns
    -------
    cellSet : `SpatialCellSet`

    Raises
    ------
    PsfComputeShapeError
        A PSF is not defined at a cell centre.
    """
    cellSet = SpatialCellSet(cells.region, cells.sizeX, cells.sizeY)
    side = psfSize + kernelSize - 1 if padTemplate else psfSize
    for x, y in cells.centers:
        xy0 = (x - side // 2, y - side // 2)
        stamps = [_modelStamp(model, (x, y), psfSize, side, xy0) for model in (psf, referencePsf)]
        cellSet.insertCandidate(KernelCandidate(float(x), float(y), *stamps, settings, 1.0))
    return cellSet


def _modelStamp(psf, position, psfSize, side, xy0):
    try:
        pixels = psf.computeKernelImage((float(position[0]), float(position[1]))).array
    except (StillskyError, ValueError, ArithmeticError) as error:
        raise shapeError(psf, position, error) from error
    stamp = fitStamp(fitStamp(pixels, psfSize, psfSize, normalise=False), side, side, normalise=False)
    return MaskedImage(
        Image(stamp, xy0), Mask(np.zeros(stamp.shape, np.int32), xy0), Image(np.ones(stamp.shape, np.float32), xy0)
    )


def scaledKernel(kernel, kernelSum, firstOnly=False) -> Any:
    """The kernel with another sum.

    Parameters
    ----------
    kernel : `stillsky.kernel.LinearCombinationKernel`
        Its first basis function has sum 1 and does not vary, all others have sum 0.
    kernelSum : `float`
    firstOnly : `bool`
        Replace the first coefficient alone, which changes the kernel's shape; Rubin's behaviour.

    Raises
    ------
    NumericalError
        The kernel has sum 0.
    """
    varying = kernel.isSpatiallyVarying
    coefficients = np.array(kernel.spatialParameters if varying else kernel.kernelParameters, dtype=float)
    first = coefficients[0, 0] if varying else coefficients[0]
    if not (math.isfinite(first) and first != 0.0):
        raise NumericalError(f"kernelSum: the fitted kernel has the sum {first} and cannot be scaled to {kernelSum}")
    scaled = kernel.clone()
    if firstOnly:
        coefficients[(0, 0) if varying else 0] = kernelSum
    else:
        coefficients *= kernelSum / first
    if varying:
        scaled.setSpatialParameters([list(row) for row in coefficients])
    else:
        scaled.setKernelParameters(list(coefficients))
    return scaled
