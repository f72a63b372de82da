"""To and from astropy's CCDData."""

import numpy as np

from ..errors import DomainError, FitsLayoutError
from .exposure import makeExposure
from .mask import Mask

__all__ = ["fromCCDData", "toCCDData"]

BAD_PLANES = ("BAD", "SAT", "CR", "EDGE", "NO_DATA", "INTRP")
_MASK_KEY = "STILLSKY_MASK"


def toCCDData(exposure, badPlanes=BAD_PLANES):
    """An `astropy.nddata.CCDData` that shares the image.

    Its mask is true where any of ``badPlanes`` is set; the full mask goes to ``flags`` (``meta["STILLSKY_MASK"]`` says
    so) and its plane names to ``meta["MP_<NAME>"]``; ``xy0`` to ``meta["LTV1"]``, ``meta["LTV2"]``; the WCS is that of
    the array. astropy cannot write ``flags``: set it to None before ``write``.
    """
    from astropy.nddata import CCDData, VarianceUncertainty

    meta = exposure.metadata.toFits()
    unit = meta.pop("BUNIT", None) or "adu"
    entries = {f"MP_{name}": bit for name, bit in exposure.mask.schema.items()}
    entries.update({_MASK_KEY: "flags", "LTV1": -exposure.xy0.x, "LTV2": -exposure.xy0.y})
    for key, value in entries.items():
        meta[key if len(key) <= 8 else f"HIERARCH {key}"] = value
    return CCDData(
        exposure.image.array,
        uncertainty=VarianceUncertainty(exposure.variance.array, copy=False),
        mask=exposure.mask.isSet(badPlanes),
        flags=exposure.mask.array,
        unit=unit,
        wcs=exposure.wcs.localWcs(exposure.xy0) if exposure.wcs is not None else None,
        meta=meta,
    )


def fromCCDData(ccd, plane="BAD"):
    """An exposure from a CCDData; the inverse of `toCCDData`.

    Standard deviations and inverse variances are converted, a missing uncertainty gives zero variance; a boolean mask
    becomes ``plane``.
    """
    meta = _plainMeta(ccd.meta)
    x0, y0 = (_origin(meta.pop(key, 0), key) for key in ("LTV1", "LTV2"))
    schema = {key[3:]: int(meta.pop(key)) for key in list(meta) if str(key).startswith("MP_")}
    bits = meta.pop(_MASK_KEY, None)
    bits = getattr(ccd, "flags", None) if isinstance(bits, str) else bits
    variance = np.zeros(ccd.data.shape, np.float32) if ccd.uncertainty is None else _variance(ccd)
    if bits is not None and np.shape(bits) == np.shape(ccd.data):
        mask = Mask(np.array(bits), (x0, y0), schema or None)
    else:
        mask = Mask(np.zeros(ccd.data.shape, np.int32), (x0, y0), schema or None)
        if ccd.mask is not None:
            mask.array[np.broadcast_to(np.asarray(ccd.mask, bool), ccd.data.shape)] |= 1 << mask.addPlane(plane)
    exposure = makeExposure(ccd.data, variance=variance, mask=mask, wcs=ccd.wcs, xy0=(x0, y0))
    for key, value in meta.items():
        if isinstance(value, (bool, int, float, str, list, np.generic)) or value is None:
            exposure.metadata[key] = value
    if ccd.unit is not None:
        exposure.metadata["BUNIT"] = ccd.unit.to_string()
    return exposure


def _plainMeta(meta):
    """A dict of any mapping; of an astropy header the commentary as lists, undefined values as None."""
    from astropy.io import fits

    if not isinstance(meta, fits.Header):
        return dict(meta)
    plain = {}
    for key in dict.fromkeys(k for k in meta if k):
        value = meta[key]
        value = None if isinstance(value, fits.card.Undefined) else value
        plain[key] = list(value) if key in ("COMMENT", "HISTORY") else value
    return plain


def _origin(value, key):
    if float(value) != round(float(value)):
        raise FitsLayoutError(f"{key}: wanted a whole number of pixels, got {value}")
    return -int(value)


def _variance(ccd):
    """Variances in the unit of the data, float32."""
    uncertainty, kind = ccd.uncertainty, ccd.uncertainty.uncertainty_type
    power = {"std": 1, "var": 2, "ivar": -2}.get(kind)
    if power is None:
        raise DomainError(f"CCDData: uncertainty of type {kind!r} is not a noise level")
    values = np.asarray(uncertainty.array, float)
    if uncertainty.unit is not None and ccd.unit is not None:
        values = values * uncertainty.unit.to(ccd.unit**power)
    if kind == "std":
        values = np.square(values)
    elif kind == "ivar":
        with np.errstate(divide="ignore"):
            values = 1 / values
    return np.broadcast_to(values, ccd.data.shape).astype(np.float32)
