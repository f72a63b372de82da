"""Proper subtraction of exposures (ZOGY): PSFs, noise, registration that vary, masks, holes, edges.

Zackay, Ofek & Gal-Yam (2016, ApJ 830, 27); the formulas are at `stillsky.diffim.zogy_transfer`.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ..detection import growMask
from ..errors import InvalidPsfError, ShapeError
from ..image import Exposure, Image, Mask, MaskedImage
from ..psf import ImageGridPsf, KernelPsf
from .inputs import describedLike
from .psf_grid import balanced, halved, isCurved
from .zogy_arrays import scoreCorr
from .zogy_nodes import PsfPair, makeNodes
from .zogy_tiles import TiledZogy, tileEdges

__all__ = ["HOLE_PLANES", "STAT_PLANES", "ZogyResult", "zogyExposures"]

#: Planes of pixels whose values must not enter the transforms.
HOLE_PLANES = ("NO_DATA", "BAD", "SAT", "CR")
#: Planes left out of the noise statistics.
STAT_PLANES = ("INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE")

_SIGMAS = 10  # the border of a tile, in widths of the broader PSF
_CURVED = 3e-4  # of a PSF's peak: smaller deviations from linear interpolation need no finer nodes
_BAND = 64  # rows handled at once where temporaries of their size are made
_ENERGY = 0.99  # of the filters, within the radius by which holes grow


@dataclass
class ZogyResult:
    """Proper difference and score of two exposures.

    Attributes
    ----------
    difference : `stillsky.image.Exposure`
        D / F_D, science minus template in science units, white noise; its PSF is that of the difference.
    score : `stillsky.image.Exposure` or None
        S with its variance V_S; pixels without data are 0 with variance 1.
    astrometricFactor : `numpy.ndarray` of float16, or None
        sqrt(V_S / (V_S + V_ast)), of the shape of the images; None without a registration error.
    fluxScales, scoreFluxes : `numpy.ndarray`, (ny, nx)
        F_D and F_S at the centres of the tiles.
    xs, ys : `numpy.ndarray`
        These centres, parent pixels.
    metadata : `dict`
        Numbers about the pair: zogyBeta (flux ratio used), scienceNoise and templateNoise (median standard deviations in
        science units), zogyFluxScale, zogyScoreFlux (medians), psfCentroidOffset, nPsfFallbacks, growRadius,
        astrometricSigma, tiles.
    """

    difference: Exposure
    score: Any
    astrometricFactor: Any
    fluxScales: np.ndarray
    scoreFluxes: np.ndarray
    xs: np.ndarray
    ys: np.ndarray
    metadata: dict = field(default_factory=dict)

    @cached_property
    def scoreCorr(self):
        """S / sqrt(V_S + V_ast) in standard deviations, an `Image`: threshold it directly; None without score.

        Made of the score when it is first asked for: a plane of memory.
        """
        if self.score is None:
            return None
        score, variance = self.score.image.array, self.score.variance.array
        out = np.empty_like(score)
        for start in range(0, len(out), _BAND):  # bands of rows need no planes of work
            band = slice(start, start + _BAND)
            out[band] = scoreCorr(score[band], variance[band])
            if self.astrometricFactor is not None:
                out[band] *= self.astrometricFactor[band]
        return Image(out, self.score.xy0)

    def scoreFluxAt(self, x, y):
        """F_S at positions, parent pixels: of the tile that holds each."""
        j, i = (
            np.argmin(np.abs(np.subtract.outer(np.atleast_1d(np.asarray(v, float)), nodes)), axis=1)
            for v, nodes in ((y, self.ys), (x, self.xs))
        )
        return self.scoreFluxes[j, i].reshape(np.shape(x))


def zogyExposures(
    science,
    template,
    *,
    optics=None,
    fluxRatio=1.0,
    background=None,
    shift=None,
    astrometricSigma=0.0,
    score=True,
    holePlanes=HOLE_PLANES,
    statPlanes=STAT_PLANES,
    maxCentroidDistance=None,
    spatiallyVarying=True,
    tile=384,
    innerSize=None,
    saturationGrowth=None,
    templateCorrelation=None,
    shareMask=False,
):
    """Proper difference of two registered exposures by overlapping tiles.

    Parameters
    ----------
    science, template : `stillsky.image.Exposure`
        Of one box. Not modified.
    optics : `stillsky.diffim.zogy_nodes.PsfPair` or `stillsky.diffim.zogy_nodes.KernelPair`, optional
        What the PSFs are, everywhere; default: a `PsfPair` of the exposures' PSFs, ``fluxRatio`` and ``shift``.
    fluxRatio : `float`
        beta: science counts over template counts of a constant star; the template and its noise are scaled by it.
    background : `stillsky.diffim.zogy_tiles.Background`, optional
        gamma: differential background, science minus scaled template, in science units.
    shift : callable, optional
        ``shift(x, y) -> (dx, dy)``: the template shows at (x + dx, y + dy) what the science image has at (x, y), parent
        pixels. The template is moved by it within the filters, without loss of whiteness.
    astrometricSigma : `float` or (`float`, `float`)
        Standard deviation of the remaining relative registration, pixels (x and y): raises the noise of the corrected
        score at bright static sources.
    score : `bool`
        Compute the score.
    holePlanes, statPlanes : sequence of `str`
        Planes of pixels that are filled, and of pixels left out of the noise statistics.
    maxCentroidDistance : `float`, optional
        DomainError when the PSFs' centroids are farther apart, pixels.
    spatiallyVarying : `bool`
        False: PSFs at the centre and one noise level for the whole image.
    tile : `int`
        Wanted side of the transforms, pixels.
    innerSize : `float`, optional
        Instead of ``tile``: wanted side of the tiles' inner parts in units of their borders.
    saturationGrowth : `float`, optional
        Radius in pixels by which SAT grows in the result; default: that of the other holes plus the FWHM of the
        difference's PSF, since clipped cores leave bright residuals.
    templateCorrelation : `numpy.ndarray` or callable, optional
        Autocorrelation of the template's noise, [dy, dx] with 1 at its centre, or a function (x, y) that gives it, as
        `stillsky.diffim.resampling_noise.ResamplingNoise` for a resampled template. Default: white noise.
    shareMask : `bool`
        Difference and score have one mask object, which saves a plane of memory.

    Returns
    -------
    result : `ZogyResult`

    Raises
    ------
    ShapeError
        Different boxes.
    InvalidPsfError
        An exposure without PSF.
    NoDataError
        No positive variance.

    Notes
    -----
    Holes (masked, not finite, without variance) are filled with the scaled pixels of the other image, common holes with
    a common value or with noise, the outside of the frame with noise. In the result NO_DATA grows by the radius that
    holds 99 % of the filters' energy and is NaN with infinite variance; other hole planes grow likewise and keep their
    values; within that radius of the frame's border EDGE is set. The noise of D is white whatever the PSFs.

    Cost: about 20 real transforms of each tile. Memory: the inputs, the results (image, variance, mask; score, its
    variance, its mask; the significance once it is asked for), one plane of work.
    """
    if science.bbox != template.bbox:
        raise ShapeError(f"zogyExposures: wanted exposures of one box, got {science.bbox} and {template.bbox}")
    centre = science.bbox.center
    if optics is None:
        psfs = [_requirePsf(exposure, name) for exposure, name in ((science, "science"), (template, "template"))]
        if not spatiallyVarying:
            psfs = [KernelPsf(np.array(psf.computeKernelImage(centre).array)) for psf in psfs]
        optics = PsfPair(*psfs, fluxRatio, shift, maxCentroidDistance)
    halfSize = tileMargin(optics, centre)
    if innerSize is not None:
        tile = int(round((innerSize + 2) * halfSize))
    pixels = (science.maskedImage, template.maskedImage)
    bits = [[p.mask.bitmask(list(planes), ignoreMissing=True) for p in pixels] for planes in (holePlanes, statPlanes)]
    xEdges, yEdges = (tileEdges(n, halfSize, tile) for n in (science.width, science.height))
    nodes = makeNodes(
        *pixels,
        optics,
        xEdges,
        yEdges,
        halfSize,
        fluxRatio=fluxRatio,
        badBits=bits[1],
        oneNoiseLevel=not spatiallyVarying,
        templateCorrelation=templateCorrelation,
    )
    sigma = tuple(np.broadcast_to(np.asarray(astrometricSigma, float), 2).tolist())
    engine = TiledZogy(*pixels, tuple(bits[0]), nodes, xEdges, yEdges, halfSize, fluxRatio, background, sigma)
    planes = engine.run(score)
    middle = nodes.at((len(yEdges) - 1) // 2, (len(xEdges) - 1) // 2)
    radius = max(_energyRadius(middle.science), _energyRadius(middle.template))
    if saturationGrowth is None:
        saturationGrowth = radius + 2.3548 / np.sqrt(4 * np.pi * np.sum(middle.psf**2))
    mask = _resultMask(*pixels, holePlanes, radius, saturationGrowth)
    tiles, psfHalfSize = (len(yEdges) - 1, len(xEdges) - 1), _psfHalfSize(optics, centre, halfSize)
    return _result(science, planes, mask, shareMask, nodes, tiles, psfHalfSize, {
        "zogyBeta": float(fluxRatio), "psfCentroidOffset": optics.centroidOffset, "nPsfFallbacks": optics.fallbacks,
        "growRadius": radius, "astrometricSigma": list(sigma), "tileBorder": halfSize,
    })  # fmt: skip


def _requirePsf(exposure, name):
    if exposure.psf is None:
        raise InvalidPsfError(f"zogyExposures: the {name} exposure has no PSF")
    return exposure.psf


def tileMargin(optics, centre):
    """Margin of the tiles: 10 sigma of the broader PSF, or its stamp and the kernel; a multiple of 16."""
    widest = 0.0
    for psf in optics.psfs:
        stamp = psf.computeKernelImage(centre).array
        sigma = np.sqrt(psf.effectiveArea(centre) / (4 * np.pi))
        widest = max(widest, _SIGMAS * sigma, max(stamp.shape) // 2, optics.kernelHalfSize + 4 * sigma)
    return 16 * int(np.ceil(widest / 16))


def _psfHalfSize(optics, centre, halfSize):
    """Half width of the difference's PSF: what PSFs and kernel reach to, or 6 sigma; within the tiles' margin."""
    stamps = max(max(psf.computeKernelImage(centre).array.shape) // 2 for psf in optics.psfs)
    sigma = max(np.sqrt(psf.effectiveArea(centre) / (4 * np.pi)) for psf in optics.psfs)
    return min(halfSize, max(stamps + optics.kernelHalfSize, int(np.ceil(6 * sigma))))


def _energyRadius(kernel):
    """Radius in pixels of the circle that holds 99 % of a kernel's energy."""
    h, w = kernel.shape
    radius = np.hypot(np.arange(h)[:, None] - h // 2, np.arange(w) - w // 2).ravel()
    order = np.argsort(radius, kind="stable")
    energy = np.cumsum(kernel.ravel()[order] ** 2)
    return int(np.ceil(radius[order][np.searchsorted(energy, _ENERGY * energy[-1])]))


def _resultMask(science, template, holePlanes, radius, saturationGrowth):
    """Both masks; planes of holes grown; NO_DATA where a pixel has no value; EDGE at the border."""
    schema = science.mask.schema.merged(template.mask.schema)
    out = Mask(science.mask.array.copy(), science.xy0, schema)
    other = template.mask
    if other.schema != schema:
        other = Mask(other.array.copy(), other.xy0, other.schema).conformTo(schema)
        schema = other.schema
        out.conformTo(schema)
    out.array |= other.array
    noData, edge = (1 << out.addPlane(name) for name in ("NO_DATA", "EDGE"))
    for image in (science, template):
        for plane in (image.image.array, image.variance.array):
            for start in range(0, len(plane), _BAND):
                good = np.isfinite(plane[start : start + _BAND])
                if not good.all():
                    out.array[start : start + _BAND][~good] |= noData
    grown = out.bitmask([p for p in holePlanes if p in out.schema])
    saturated = out.bitmask(["SAT"], ignoreMissing=True) & grown
    growMask(out.array, saturated, int(np.ceil(saturationGrowth)))
    grown &= ~saturated
    growMask(out.array, grown, radius)
    for border in (np.s_[:radius], np.s_[-radius:], np.s_[:, :radius], np.s_[:, -radius:]):
        if radius:
            out.array[border] |= edge
    return out


def _result(science, planes, mask, shareMask, nodes, tiles, psfHalfSize, metadata):
    """Exposures of the planes, with holes as the design has them."""
    fills = {"difference": np.nan, "variance": np.inf, "score": 0, "scoreVariance": 1}
    bit = np.int32(mask.bitmask(["NO_DATA"]))
    for start in range(0, len(mask.array), _BAND):
        band = slice(start, start + _BAND)
        noData = (mask.array[band] & bit) != 0
        for name in fills.keys() & planes.keys():
            planes[name][band][noData] = fills[name]
    made = [[nodes.at(j, i) for i in range(tiles[1])] for j in range(tiles[0])]
    fluxScales, scoreFluxes = (
        np.array([[getattr(node, name) for node in row] for row in made]) for name in ("fluxScale", "scoreFlux")
    )
    noise = np.sqrt(np.median([[node.variances for node in row] for row in made], axis=(0, 1)))
    metadata.update(
        scienceNoise=float(noise[0]),
        templateNoise=float(noise[1]),
        zogyFluxScale=float(np.median(fluxScales)),
        zogyScoreFlux=float(np.median(scoreFluxes)),
        tiles=list(tiles),
    )
    psf = _differencePsf(nodes, psfHalfSize)
    difference = _exposure(science, planes["difference"], mask, planes["variance"], psf)
    score = None
    if "score" in planes:
        scoreMask = mask if shareMask else Mask(mask.array.copy(), science.xy0, mask.schema)
        score = _exposure(science, planes["score"], scoreMask, planes["scoreVariance"], psf)
    xs, ys = nodes.xs[1:-1], nodes.ys[1:-1]
    return ZogyResult(difference, score, planes.get("astrometricFactor"), fluxScales, scoreFluxes, xs, ys, metadata)


def _exposure(science, image, mask, variance, psf):
    return describedLike(science, MaskedImage(Image(image, science.xy0), mask, Image(variance, science.xy0)), psf)


def _differencePsf(nodes, halfSize):
    """PSF of the difference: stamps at the nodes and between them, or one kernel where they are all alike.

    Quadratics through the nodes give stamps halfway between them where PSFs curve within a tile.
    """
    xs, xIndex = np.unique(nodes.xs, return_index=True)
    ys, yIndex = np.unique(nodes.ys, return_index=True)
    stamps = np.array([[_middle(nodes.nodes[j][i].psf, halfSize) for i in xIndex] for j in yIndex])
    if np.abs(stamps - stamps[0, 0]).max() < 1e-9 * stamps[0, 0].max():
        return KernelPsf(stamps[0, 0])
    for axis in (0, 1):
        nodes = (ys, xs)[axis]
        if isCurved(stamps, nodes, axis, _CURVED):
            stamps, nodes = halved(stamps, nodes, axis)
        stamps = balanced(stamps, nodes, axis)
        xs, ys = (xs, nodes) if axis == 0 else (nodes, ys)
    return ImageGridPsf(stamps, xs, ys)


def _middle(stamp, halfSize):
    h, w = (n // 2 for n in stamp.shape)
    return stamp[max(h - halfSize, 0) : h + halfSize + 1, max(w - halfSize, 0) : w + halfSize + 1]
