"""Flats grown on the silicon of GalSim: charge changes the areas of the pixels, which change where charge goes.

``galsim.SiliconSensor`` gives the area of every pixel for the charge collected so far (vertices from electrostatic
simulations of two real sensors, Lage et al. 2017, 2019). A flat is grown in small steps of Poisson light in proportion to
the areas; no covariance is put in by hand.
"""

import numpy as np

BORDER = 8


def growFlats(name, seed, side, step, levels):
    """Images in electrons of one exposure at the given levels, float64 (side, side).

    The generator of the sensor is that of the noise; an image of ``side + 16`` is grown and its border cut.
    """
    import galsim

    rng = galsim.UniformDeviate(seed)
    sensor = galsim.SiliconSensor(name=name, rng=rng)
    noise = galsim.PoissonNoise(rng)
    image = galsim.ImageF(side + 2 * BORDER, side + 2 * BORDER, scale=1.0)
    image.setZero()
    flats = {}
    for k in range(1, int(round(max(levels) / step)) + 1):
        area = sensor.calculate_pixel_areas(image)
        area *= step / area.array.mean()
        area.addNoise(noise)
        image += area
        if k * step in levels:
            flats[k * step] = image.array[BORDER:-BORDER, BORDER:-BORDER].astype(np.float64)
    return flats


def areaDerivatives(name, charge=50000.0, side=41):
    """Relative change of the pixel areas per electron in the central pixel, [dx, dy] from the centre."""
    import galsim

    sensor = galsim.SiliconSensor(name=name, rng=galsim.UniformDeviate(1))
    empty = galsim.ImageF(side, side, scale=1.0)
    empty.setZero()
    before = sensor.calculate_pixel_areas(empty).array.astype(np.float64).copy()
    empty.array[side // 2, side // 2] = charge
    after = sensor.calculate_pixel_areas(empty).array.astype(np.float64)
    change = (after / before - 1.0) / charge
    return change.T  # GalSim's x is our dx


def pairCovariances(first, second, maxLag=2):
    """Mean and half covariances [dx, dy] of two equal exposures, brought to their common mean."""
    from stillsky.ptc import covariances

    mu1, mu2 = first.mean(), second.mean()
    mu = 0.5 * (mu1 + mu2)
    difference = (first * mu2 - second * mu1) / mu
    cov, _ = covariances(difference, np.ones(difference.shape, bool), maxLag)
    return mu, 0.5 * cov
