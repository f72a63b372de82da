"""Small pairs of science image and template for the tests of the subtraction tasks."""

import functools

import numpy as np
from astropy.table import Table

from stillsky.geom import Box2I
from stillsky.image import Exposure, Mask, makeExposure
from stillsky.kernel import Chebyshev1Function2
from stillsky.meta import FilterLabel
from stillsky.photom import PhotoCalib
from stillsky.psf import GaussianPsf
from stillsky.stats import clippedStats
from stillsky.wcs import makeCdMatrix, makeTanWcs

SIZE = 256
BORDER = 20
KERNEL = 31
CALIB = PhotoCalib(10.0)
WCS = makeTanWcs((128.0, 128.0), np.radians((30.0, -20.0)), makeCdMatrix(0.2 / 3600))


def makeStars(n=25, seed=5, level=500.0, span=2.0, size=SIZE, spacing=0.0):
    """x, y, flux of stars at random positions, not too near the border; fluxes uniform in [1, span] x level."""
    rng = np.random.default_rng(seed)
    margin = KERNEL / 2 + BORDER + 1
    stars = []
    while len(stars) < n:
        x, y = rng.uniform(margin, size - margin, 2)
        if all(np.hypot(x - a, y - b) > spacing for a, b, _ in stars):
            stars.append((x, y, level * rng.uniform(1, span)))
    return np.array(stars)


def makeImage(stars, sigma=2.4, noise=1.0, seed=6, border=0, size=SIZE, background=None, **components):
    """An exposure of stars with a Gaussian PSF.

    The variance plane is sqrt(abs(image)) + noise^2, the noise Gaussian with the mean 0; stars are masked as DETECTED.
    The background is given by the Chebyshev coefficients of order 2 over the image without its border.
    """
    key = (tuple(map(tuple, stars)), sigma, noise, seed, border, size, background)
    exposure = Exposure(_pixels(*key).copy(), psf=GaussianPsf(KERNEL, KERNEL, sigma))
    given = {"wcs": WCS, "photoCalib": CALIB, "filter": FilterLabel(band="r", physical="r-1"), **components}
    for name, value in given.items():
        setattr(exposure, name, value)
    return exposure


@functools.lru_cache(maxsize=64)
def _pixels(stars, sigma, noise, seed, border, size, background):
    rng = np.random.default_rng(seed)
    box = Box2I((-border, -border), (size + 2 * border, size + 2 * border))
    image = np.zeros(box.shape)
    x, y = np.arange(box.minX, box.maxX + 1), np.arange(box.minY, box.maxY + 1)
    for cx, cy, flux in stars:
        gx, gy = (np.exp(-0.5 * ((axis - c) / sigma) ** 2) for axis, c in ((x, cx), (y, cy)))
        image += flux / (2 * np.pi * sigma**2) * np.outer(gy, gx)
    seen = image > 1e-4 * noise
    if background is not None:
        xx, yy = np.meshgrid(x.astype(float), y.astype(float))
        model = Chebyshev1Function2(list(background), Box2I((0, 0), (size, size)))
        image += np.reshape(model(xx.ravel(), yy.ravel()), xx.shape)
    variance = np.sqrt(np.abs(image)) + noise**2
    draws = rng.normal(0, noise, image.shape)
    image += draws - draws.mean()
    mask = Mask(np.zeros(image.shape, np.int32))
    mask.array[seen] |= mask.bitmask("DETECTED")
    return makeExposure(
        image.astype(np.float32), variance=variance.astype(np.float32), mask=mask, xy0=(-border, -border)
    ).maskedImage


def makeSources(stars, noise=1.0, sigma=2.4, **columns):
    """The stars as a measured catalogue."""
    n = len(stars)
    r2 = np.add.outer(np.arange(-15, 16) ** 2, np.arange(-15, 16) ** 2)
    psf = np.exp(-0.5 * r2 / sigma**2) / (2 * np.pi * sigma**2)
    error = np.array([np.sqrt(np.sum(psf**2 * (np.sqrt(f * psf) + noise**2))) / np.sum(psf**2) for f in stars[:, 2]])
    table = Table(
        {
            "id": np.arange(1, n + 1),
            "slot_Centroid_x": stars[:, 0],
            "slot_Centroid_y": stars[:, 1],
            "base_PsfFlux_instFlux": stars[:, 2],
            "base_PsfFlux_instFluxErr": error,
            "base_PsfFlux_flag": np.zeros(n, bool),
            "base_ClassificationSizeExtendedness_value": np.zeros(n),
            "parent": np.zeros(n, int),
            "deblend_nChild": np.zeros(n, int),
            "detect_isPrimary": np.ones(n, bool),
            "sky_source": np.zeros(n, bool),
        }
    )
    for name, values in columns.items():
        table[name] = values
    return table


def clipped(exposure, planes=("NO_DATA", "EDGE", "SAT", "BAD")):
    """Sigma-clipped mean and standard deviation of the image, and mean of the variance plane, without these planes."""
    bits = exposure.mask.bitmask(list(planes), ignoreMissing=True)
    image = clippedStats(exposure.image.array, exposure.mask.array, bits)
    variance = clippedStats(exposure.variance.array, exposure.mask.array, bits)
    return float(image[1]), float(image[2]), float(variance[1])
