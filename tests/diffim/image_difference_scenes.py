"""Pairs of images with known changes, and tasks, for the tests of ImageDifferenceTask."""

import functools

import numpy as np

from stillsky import (
    GaussianPsf,
    ImageDifferenceConfig,
    ImageDifferenceTask,
    PhotoCalib,
    makeCdMatrix,
    makeExposure,
    makeTanWcs,
)

SIZE = 256
WCS = makeTanWcs((SIZE / 2, SIZE / 2), np.radians((45.0, 10.0)), makeCdMatrix(0.2 / 3600))
CALIB = PhotoCalib(2.0)
SCIENCE_SIGMA, TEMPLATE_SIGMA, NOISE = 2.0, 1.6, 5.0
CHANGES = np.array([(79.3, 115.6, 3000.0), (187.7, 43.2, 3000.0), (115.1, 187.4, -3000.0)])


def draw(image, x, y, flux, sigma):
    half = int(6 * sigma) + 1
    i, j = int(round(x)), int(round(y))
    rows, columns = np.mgrid[max(j - half, 0) : j + half + 1, max(i - half, 0) : i + half + 1]
    rows, columns = rows[: image.shape[0] - rows[0, 0]], columns[: image.shape[0] - rows[0, 0]]
    stamp = flux * np.exp(-0.5 * ((columns - x) ** 2 + (rows - y) ** 2) / sigma**2) / (2 * np.pi * sigma**2)
    cut = (slice(rows[0, 0], rows[0, 0] + stamp.shape[0]), slice(columns[0, 0], columns[0, 0] + stamp.shape[1]))
    image[cut] += stamp[:, : image[cut].shape[1]]


def exposureOf(image, sigma, noise=NOISE, wcs=WCS):
    return makeExposure(
        image.astype(np.float32), variance=np.full(image.shape, noise**2, np.float32), psf=GaussianPsf(25, 25, sigma),
        wcs=wcs, photoCalib=CALIB,
    )  # fmt: skip


def stars(size=SIZE, step=36):
    grid = np.arange(25, size - 20, step)
    return np.array([(x + 0.3 * (k % 3 - 1), y - 0.2 * (k % 5 - 2), 2e4 + 1000 * (k % 7))
                     for k, (x, y) in enumerate((x, y) for y in grid for x in grid)])  # fmt: skip


def pair(changes=CHANGES, seed=1, size=SIZE, step=36, sigmas=(SCIENCE_SIGMA, TEMPLATE_SIGMA), noise=NOISE):
    """Science image and template of the same stars; changes are added to the science image, negative ones to the
    template."""
    rng = np.random.default_rng(seed)
    images = [rng.normal(0, noise, (size, size)) for _ in range(2)]
    for x, y, flux in stars(size, step):
        for image, sigma in zip(images, sigmas):
            draw(image, x, y, flux, sigma)
    for x, y, flux in changes:
        k = int(flux < 0)
        draw(images[k], x, y, abs(flux), sigmas[k])
    wcs = makeTanWcs((size / 2, size / 2), np.radians((45.0, 10.0)), makeCdMatrix(0.2 / 3600))
    return [exposureOf(image, sigma, noise, wcs) for image, sigma in zip(images, sigmas)]


def configOf(**values):
    config = ImageDifferenceConfig()
    for name, value in values.items():
        if name == "subtract":
            config.subtract.name = value
        else:
            setattr(config, name, value)
    config.validate()
    return config


def taskOf(**values):
    return ImageDifferenceTask(config=configOf(**values))


def found(table, changes=CHANGES, radius=1.5):
    """Rows of a table by the change that they are, -1 for none."""
    x, y = (np.asarray(table[f"base_SdssCentroid_{c}"]) for c in "xy")
    distance = np.hypot(x[:, None] - changes[:, 0], y[:, None] - changes[:, 1])
    return np.array([int(np.argmin(d)) if np.min(d) < radius else -1 for d in distance])


@functools.cache
def imagePair():
    """The pair that most tests share; nobody changes it."""
    return tuple(pair())


@functools.cache
def plainRun():
    """Task and result of the default configuration with sky sources on that pair; nobody changes them."""
    task = taskOf(doSkySources=True)
    science, template = imagePair()
    return task, task.run(science, templateExposure=template)
