"""What was understood of a file, for ``stillsky info``."""

import math
import os

import numpy as np

from .noise import gainCandidates, measureSky, readNoiseOf, saturationOf
from .reader import readExposure

__all__ = ["describeFile"]


def describeFile(path, kind="auto", **options):
    """Describe a file.

    Parameters
    ----------
    path, kind, **options
        As for `readExposure`.

    Returns
    -------
    info : `dict`
        Only plain types (ready for JSON): path, layout, width, height, xy0, planes (per plane: dtype, minimum, median,
        maximum, fraction not finite), mask (plane name to fraction of pixels, planes that occur), sky (median, sigma),
        wcs (pixelScale in arcsec, center in degrees) or None, psf (class, fwhm in pixels) or None, filter (band,
        physical) or None, visit (of exposureTime in s, date (TAI), airmass, instrument, object, id those known) or None,
        calibration, unit, gain, readNoise, saturation (value and card) or None, provenance and warnings (sentences).
    """
    exposure, provenance = readExposure(path, kind, **options)
    header = exposure.metadata
    bits = exposure.mask.array
    fractions = {
        name: float(np.count_nonzero(bits >> bit & 1) / bits.size) for name, bit in exposure.mask.schema.items()
    }
    good = np.isfinite(exposure.image.array)
    sky = measureSky(exposure.image.array, good)
    return {
        "path": os.fspath(path),
        "layout": provenance[0],
        "width": int(exposure.width),
        "height": int(exposure.height),
        "xy0": [int(v) for v in exposure.xy0],
        "planes": {
            "image": _plane(exposure.image.array),
            "mask": {"dtype": str(bits.dtype)},
            "variance": _plane(exposure.variance.array),
        },
        "mask": {name: f for name, f in sorted(fractions.items()) if f > 0},
        "maskPlanes": sorted(fractions),
        "sky": {"median": _number(sky.median), "sigma": _number(sky.sigma)},
        "wcs": _wcs(exposure),
        "psf": _psf(exposure.psf),
        "filter": _filter(exposure.filter),
        "visit": _visit(exposure.visitInfo),
        "calibration": None if exposure.photoCalib is None else {"njyPerCount": exposure.photoCalib.mean},
        "unit": header.get("BUNIT") if header is not None else None,
        "gain": _guess(gainCandidates(header)[:1]),
        "readNoise": _guess([readNoiseOf(header)]),
        "saturation": _guess([saturationOf(header)]),
        "provenance": list(provenance),
        "warnings": [s for s in provenance if s.startswith("W-")],
    }


def _number(value):
    return float(value) if math.isfinite(value) else None


def _plane(array):
    finite = array[np.isfinite(array)]
    stats = [finite.min(), np.median(finite), finite.max()] if finite.size else [math.nan] * 3
    low, middle, high = (_number(float(v)) for v in stats)
    fraction = 1 - finite.size / max(array.size, 1)
    return {"dtype": str(array.dtype), "min": low, "median": middle, "max": high, "notFinite": fraction}


def _guess(found):
    if not found or found[0] is None:
        return None
    return {"value": found[0][0], "card": found[0][1]}


def _wcs(exposure):
    if exposure.wcs is None:
        return None
    x = exposure.bbox.minX + (exposure.width - 1) / 2
    y = exposure.bbox.minY + (exposure.height - 1) / 2
    ra, dec = (math.degrees(float(v)) for v in exposure.wcs.pixelToSky(x, y))
    scale = math.degrees(float(exposure.wcs.pixelScale(x, y))) * 3600
    return {"pixelScale": _number(scale), "center": [_number(ra), _number(dec)]}


def _psf(psf):
    return None if psf is None else {"class": type(psf).__name__, "fwhm": _number(float(psf.fwhm()))}


def _filter(label):
    return None if label is None else {"band": label.band, "physical": label.physical}


def _visit(info):
    if info is None:
        return None
    known = {
        "exposureTime": _number(info.exposureTime),
        "date": None if info.date is None else info.date.isot[:23],
        "airmass": _number(info.boresightAirmass),
        "instrument": info.instrumentLabel or None,
        "object": info.object or None,
        "id": info.id,
    }
    return {name: value for name, value in known.items() if value is not None}
