"""Pairs of exposures full of stars, for the tests of the tasks."""

import numpy as np
from astropy.table import Table

from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs

SCALE = np.radians(0.2 / 3600)


def starGrid(size, step, margin=40):
    """Positions on a grid with fractional offsets, (n, 2)."""
    centres = np.arange(margin, size - margin + 1, step)
    return np.array(
        [
            (x + 0.3 * ((i % 3) - 1), y - 0.25 * ((j % 3) - 1))
            for j, y in enumerate(centres)
            for i, x in enumerate(centres)
        ],
        float,
    )


def wcsAt(offset=(0.0, 0.0), size=256, ra=150.0):
    """TAN WCS of 0.2 arcsec per pixel whose reference pixel is the centre plus an offset."""
    crpix = (size / 2 + offset[0], size / 2 + offset[1])
    return makeTanWcs(crpix, (np.radians(ra), np.radians(2.0)), makeCdMatrix(SCALE))


def render(size, positions, fluxes, sigma, rng=None, variance=1.0, background=0.0):
    """Stars of a round Gaussian PSF, with Gaussian noise when a generator is given."""
    y, x = np.mgrid[:size, :size].astype(float)
    image = np.full((size, size), float(background))
    for (px, py), flux in zip(positions, fluxes, strict=True):
        r2 = (x - px) ** 2 + (y - py) ** 2
        near = r2 < (7 * sigma) ** 2
        image[near] += flux / (2 * np.pi * sigma**2) * np.exp(-r2[near] / (2 * sigma**2))
    if rng is not None:
        image += rng.normal(0.0, np.sqrt(variance), image.shape)
    return image


def toExposure(array, sigma, *, variance=1.0, wcs=None, xy0=(0, 0), psf=True):
    """Exposure with a Gaussian PSF and constant variance."""
    masked = MaskedImage(
        Image(array.astype(np.float32), xy0),
        Mask(np.zeros(array.shape, np.int32), xy0),
        Image(np.full(array.shape, variance, np.float32), xy0),
    )
    return Exposure(masked, wcs=wcs, psf=GaussianPsf(31, 31, sigma) if psf else None)


def starTable(positions, fluxes):
    """Catalogue with columns x, y, psfFlux."""
    return Table({"x": positions[:, 0], "y": positions[:, 1], "psfFlux": np.asarray(fluxes, float)})


def starPair(rng, size=256, step=48, sigmas=(1.5, 2.0), scale=1.0, variance=1.0, background=0.0, flux=2e4):
    """Template and science exposure of the same stars, and their catalogue."""
    positions = starGrid(size, step)
    fluxes = flux * (1 + 0.1 * np.arange(len(positions)))
    template = toExposure(
        render(size, positions, fluxes, sigmas[0], rng, variance), sigmas[0], variance=variance, wcs=wcsAt(size=size)
    )
    science = toExposure(
        render(size, positions, scale * fluxes, sigmas[1], rng, variance, background),
        sigmas[1],
        variance=variance,
        wcs=wcsAt(size=size),
    )
    return template, science, starTable(positions, fluxes)
