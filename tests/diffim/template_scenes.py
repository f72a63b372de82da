"""A field of stars seen through the patches of four adjoining tracts."""

import functools

import numpy as np

from stillsky import GaussianPsf, PhotoCalib, SkyMap, TractInfo, Warper, makeCdMatrix, makeExposure, makeTanWcs
from stillsky.diffim.template import TemplateInput
from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.meta import FilterLabel

CENTER = np.radians((150.0, 2.0))
FIELD_BOX = Box2I(Point2I(-200, -200), Extent2I(1000, 1000))
CALIB = PhotoCalib(10.0)
NOISE = 0.5


@functools.cache
def field():
    """0.21 arcsec a pixel, rotated by 93 degrees; stars of 1e5 counts every 100 pixels, sigma 2.2 pixels."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[-200:800, -200:800]
    image = rng.normal(0, NOISE, (1000, 1000))
    stamp = np.exp(-0.5 * (np.arange(-20, 21) / 2.2) ** 2)
    stamp = np.outer(stamp, stamp)
    stamp *= 1e5 / stamp.sum()
    for cy in range(50, 1000, 100):
        for cx in range(50, 1000, 100):
            image[cy - 20 : cy + 21, cx - 20 : cx + 21] += stamp
    wcs = makeTanWcs((300, 300), CENTER, makeCdMatrix(0.21 / 3600, np.radians(93)))
    return makeExposure(
        image.astype(np.float32), variance=np.full(image.shape, NOISE**2, np.float32), psf=GaussianPsf(41, 41, 2.2),
        wcs=wcs, xy0=FIELD_BOX.min, photoCalib=CALIB, filter=FilterLabel(band="g", physical="g-1"),
    )  # fmt: skip


@functools.cache
def skyMap():
    """Four tracts of 3 x 3 patches (inner 300 pixels of 0.2 arcsec, border 10) that meet, and overlap by 40 pixels, in
    the middle of the field."""
    scale, tracts = 0.2 / 3600, []
    box = Box2I(Point2I(0, 0), Extent2I(900, 900))
    for number, (sx, sy) in enumerate(((-1, -1), (1, -1), (-1, 1), (1, 1))):
        dec = CENTER[1] + np.radians(430 * scale) * sy
        ra = CENTER[0] + np.radians(430 * scale) * sx / np.cos(dec)
        tracts.append(TractInfo(number, makeTanWcs(box.center, (ra, dec), makeCdMatrix(scale)), box, (300, 300), 10))
    return SkyMap(tracts)


@functools.cache
def patches():
    """(tract, patch) -> the field resampled to the outer box of the patch, where the field has pixels."""
    warper, made = Warper("lanczos5"), {}
    for tract in skyMap():
        for patch in tract:
            exposure = warper.warpExposure(tract.wcs, field(), destBBox=patch.outerBBox, warpPsf=True)
            if not np.all(exposure.mask.isSet("NO_DATA")):
                made[tract.id, patch.sequentialIndex] = exposure
    return made


def inputs(tracts=(0, 1, 2, 3), without=()):
    """Template inputs of the patches of some tracts."""
    return [
        TemplateInput.of(exposure, *key)
        for key, exposure in patches().items()
        if key[0] in tracts and key not in without
    ]
