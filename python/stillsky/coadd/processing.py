"""The last steps of a coadd: gaps and bright objects."""

import logging

import numpy as np

from .interp_image import interpImage

__all__ = ["processResults"]

_LOG = logging.getLogger("stillsky.coadd")

_ROWS = 256


def processResults(coadd, config, *, brightObjects=None, interpolate=None):
    """Interpolate over pixels without data and mask bright objects, as the configuration says.

    Parameters
    ----------
    coadd : `stillsky.image.Exposure`
        Changed in place.
    config : `AssembleCoaddAlgorithmConfig`
        doInterp, doMaskBrightObjects.
    brightObjects : `astropy.table.Table`, optional
        Regions, see `stillsky.coadd.setBrightObjectMasks`. None is said in the log.
    interpolate : callable, optional
        ``interpolate(exposure, planeName)`` in place of `stillsky.coadd.interpImage`.

    Notes
    -----
    After the interpolation every variance that is not above 0 is +inf.
    """
    if config.doInterp:
        if interpolate is None:
            interpImage(coadd, "NO_DATA", config=config.interpImage)
        else:
            interpolate(coadd, "NO_DATA")
        for start in range(0, coadd.height, _ROWS):
            rows = coadd.variance.array[start : start + _ROWS]
            rows[~(rows > 0)] = np.inf
    if config.doMaskBrightObjects:
        if brightObjects is None:
            _LOG.warning("doMaskBrightObjects is set and no table of bright objects is given")
            return
        from .bright_objects import setBrightObjectMasks

        setBrightObjectMasks(coadd, brightObjects, config.brightObjectMaskName)
