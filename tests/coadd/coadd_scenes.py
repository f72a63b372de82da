"""Warps for tests: stars on a constant sky, or constants, on one pixel grid."""

import numpy as np

from stillsky.geom import Box2I
from stillsky.image import CoaddInputs, Exposure, Image, Mask, MaskedImage
from stillsky.meta import FilterLabel, Header, VisitInfo
from stillsky.photom import PhotoCalib
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs

BOX = Box2I((-23, -15), (121, 83))
WCS = makeTanWcs((0.0, 0.0), np.radians((30.0, -5.0)), makeCdMatrix(np.radians(0.2 / 3600)))


def constantWarp(value, variance, box=BOX, *, visit=1, mask=0, unit="nJy", wcs=WCS, band="g"):
    """A warp with one value and one variance."""
    pixels = MaskedImage(
        Image(np.full(box.shape, value, np.float32), box.min),
        Mask(np.full(box.shape, mask, np.int32), box.min),
        Image(np.full(box.shape, variance, np.float32), box.min),
    )
    return Exposure(
        pixels,
        wcs=wcs,
        psf=GaussianPsf(15, 15, 1.5),
        photoCalib=PhotoCalib(1.0),
        filter=FilterLabel(band=band, physical=f"{band}-sim"),
        visitInfo=VisitInfo(id=visit, exposureTime=30.0),
        metadata=Header({"BUNIT": unit} if unit else {}),
    )


def skyWarp(seed, box=BOX, *, noise=5.0, sigma=2.0, visit=None, nStars=12, background=314.592):
    """A warp with noise, stars at the same places for every seed, NaN, masked and empty corners of its own."""
    rng = np.random.default_rng(seed)
    warp = constantWarp(background, noise**2, box, visit=seed + 1 if visit is None else visit)
    places = np.random.default_rng(77)
    y, x = np.mgrid[0 : box.height, 0 : box.width]
    image = warp.image.array
    for _ in range(nStars):
        cx, cy, flux = places.uniform(0, box.width), places.uniform(0, box.height), places.uniform(500, 2e4)
        image += flux / (2 * np.pi * sigma**2) * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * sigma**2))
    warp.variance.array[...] = noise**2 * (1 + 0.1 * rng.random(box.shape))
    image += rng.normal(0, 1, box.shape) * np.sqrt(warp.variance.array)
    warp.psf = GaussianPsf(25, 25, sigma)
    bit = warp.mask.schema.bitmask
    for name, fraction in (("SAT", 0.02), ("BAD", 0.02), ("EDGE", 0.01), ("CR", 0.02), ("DETECTED", 0.05)):
        warp.mask.array[rng.random(box.shape) < fraction] |= bit(name)
    image[rng.random(box.shape) < 0.01] += 300.0  # outliers
    image[rng.random(box.shape) < 0.005] = np.nan
    corner = slice(0, 10 + 3 * (seed % 5)), slice(0, 40)
    image[corner], warp.variance.array[corner], warp.mask.array[corner] = np.nan, np.inf, bit("NO_DATA")
    everywhere = slice(-7, None), slice(-30, None)  # no warp has pixels here
    image[everywhere], warp.variance.array[everywhere], warp.mask.array[everywhere] = np.nan, np.inf, bit("NO_DATA")
    return warp


def skyWarps(n=7, **options):
    return [skyWarp(seed, **options) for seed in range(n)]


def inputsOf(warp):
    """Record of a warp that is made of one detector, itself."""
    inputs, visit, filterName = CoaddInputs(), warp.visitInfo.id, warp.filter.physical
    objects = {name: getattr(warp.info, name) for name in ("psf", "wcs", "photoCalib", "apCorrMap", "visitInfo")}
    inputs.addVisit(visit, warp.bbox, goodpix=warp.bbox.area, filter=filterName, **objects)
    inputs.addCcd(visit, warp.bbox, ccd=7, visit=visit, goodpix=warp.bbox.area, filter=filterName, **objects)
    return inputs
