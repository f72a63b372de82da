"""Simulated stars for the tests of this room."""

import numpy as np
import pytest


@pytest.fixture
def addStars():
    """Function that adds Gaussian stars, sampled at pixel centres, to an image."""

    def add(image, xs, ys, fluxes, sigma=2.0, radius=None):
        radius = int(7 * sigma) + 2 if radius is None else radius
        height, width = image.shape
        for x, y, flux in zip(np.atleast_1d(xs), np.atleast_1d(ys), np.atleast_1d(fluxes), strict=True):
            ix, iy = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            x0, x1 = max(0, ix - radius), min(width, ix + radius + 1)
            y0, y1 = max(0, iy - radius), min(height, iy + radius + 1)
            yy, xx = np.mgrid[y0:y1, x0:x1]
            star = np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2)) * flux / (2 * np.pi * sigma**2)
            image[y0:y1, x0:x1] += star.astype(image.dtype)
        return image

    return add
