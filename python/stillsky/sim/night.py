"""What a small camera brings home: flats of its sensor, exposures of a field, one more with something new in it."""

import os
from dataclasses import dataclass

import numpy as np

from .dcr_visits import simulateDcrVisits
from .flat_ramp import simulateFlatRamp

__all__ = ["Night", "simulateNight"]

_NJY_PER_ADU = 10.0


@dataclass(repr=False)
class Night:
    """Flats and exposures of the sky of the camera ``SimCam``, band g.

    Attributes
    ----------
    flats : `FlatRamp`
    field : `DcrField`
        Its visits for the template, its science visit (id 1000) with the transients.
    """

    flats: object
    field: object

    @property
    def scienceVisit(self):
        """Number of the visit with the transients."""
        return self.field.science.visitInfo.id

    def write(self, folder):
        """Write the files: flats/, visits/ and truth.ecsv.

        Parameters
        ----------
        folder : `str`
            Made when it is not there. Files of the same names are replaced.

        Returns
        -------
        flats, visits : `list` [`str`]
            Flats after overscan subtraction; calibrated exposures without their sky.
        """
        from stillsky.fits import writeExposure

        flats, visits = (os.path.join(folder, name) for name in ("flats", "visits"))
        for path in (flats, visits):
            os.makedirs(path, exist_ok=True)
        named = {os.path.join(flats, f"flat{i:02d}.fits"): flat for i, flat in enumerate(self.flats)}
        for visit in (*self.field.visits, self.field.science):
            named[os.path.join(visits, f"visit{visit.visitInfo.id}.fits")] = calibrated(visit)
        for path, exposure in named.items():
            writeExposure(exposure, path, overwrite=True)
        self.field.truthTable().write(os.path.join(folder, "truth.ecsv"), format="ascii.ecsv", overwrite=True)
        return list(named)[: len(self.flats)], list(named)[len(self.flats) :]


def calibrated(visit):
    """A simulated visit as a calibrated exposure: without its sky, with the flux of a count in nJy."""
    from stillsky.photom import PhotoCalib

    exposure = visit.toExposure()
    exposure.image.array[...] -= np.float32(visit.frame.sky)
    exposure.photoCalib = PhotoCalib(_NJY_PER_ADU)
    return exposure


def simulateNight(size=512, numVisits=4, levels=(500.0, 2e3, 8e3, 2e4, 4e4, 6e4), *, sensor=200, seed=1):
    """Simulate the files of a night.

    Parameters
    ----------
    size : `int`
        Side of the exposures of the sky, pixels.
    numVisits : `int`
        Visits for the template; the science visit comes on top.
    levels : sequence of `float`
        Electrons; a pair of flats at each.
    sensor : `int`
        Side of the two amplifiers of the flats, pixels.
    seed : `int`

    Returns
    -------
    night : `Night`
    """
    field = simulateDcrVisits(
        size, numVisits, seed, scienceHourAngle=3.5, numTransients=max(3, round(12 * (size / 512) ** 2)),
        numStars=max(60, round(600 * (size / 1024) ** 2)),
    )  # fmt: skip
    return Night(simulateFlatRamp(list(levels), shape=(sensor, sensor), amplifiers=2, seed=seed), field)
