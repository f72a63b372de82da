"""Small raw flats on disk for the tests of ``stillsky ptc``."""

import numpy as np
from astropy.io import fits

GAIN, NOISE, PEDESTAL = 1.6, 5.0, 500.0
LEVELS = (200.0, 600.0, 1500.0, 4000.0, 9000.0, 18000.0, 30000.0)  # electrons


def electrons(rng, level, shape, noise=NOISE):
    """Poisson light and read noise; electrons."""
    return rng.poisson(level, shape) + noise * rng.standard_normal(shape)


def writeFrame(path, values, **cards):
    """A uint16 frame with some cards."""
    hdu = fits.PrimaryHDU(np.clip(np.rint(values), 0, 65535).astype(np.uint16))
    for key, value in cards.items():
        hdu.header[key.replace("_", "-")] = value
    hdu.writeto(path, overwrite=True)
    return path


def writeRamp(folder, rng, *, levels=LEVELS, shape=(110, 120), gain=GAIN, pedestal=PEDESTAL, edit=None, biases=2,
              cards=None, perLevel=2):  # fmt: skip
    """A ramp of whole-frame flats, two (or more) per level, and bias frames.

    ``edit(values, number)`` changes the counts of frame ``number`` before they are written; ``cards(number, cards)`` its
    header.
    """
    folder.mkdir(exist_ok=True)
    number = 0
    for level in levels:
        for _ in range(perLevel):
            values = electrons(rng, level, shape) / gain + pedestal
            header = {"EXPTIME": level / 1000.0, "IMAGETYP": "flat", "INSTRUME": "testcam"}
            if edit is not None:
                values = edit(values, number)
            if cards is not None:
                header = cards(number, header)
            writeFrame(folder / f"f{number:03d}.fits", values, **header)
            number += 1
    for k in range(biases):
        values = electrons(rng, 0.0, shape) / gain + pedestal
        writeFrame(folder / f"zero{k}.fits", values, IMAGETYP="bias", EXPTIME=0.0, INSTRUME="testcam")
    return folder
