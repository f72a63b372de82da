"""Pixels that are left out before anything is measured: borders, and vignetted parts."""

import numpy as np

from ..errors import DomainError

__all__ = ["focalPlaneRadius", "maskEdges", "maskVignetted", "planarRadius", "vignetteRegions", "vignetteSelection"]


def maskEdges(exposure, numEdge, boxes=None):
    """Flag the border of an image, or of each amplifier, as SUSPECT, in place.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure` or `stillsky.image.MaskedImage`
        Its mask gets the bit; other bits stay.
    numEdge : `int`
        Width of the border in pixels, at all four sides. A box with no pixel inside its border is flagged whole.
    boxes : iterable of `stillsky.geom.Box2I`, optional
        In parent coordinates; parts outside the image are left out. Default: the whole image.
    """
    if numEdge <= 0:
        return
    bit = 1 << exposure.mask.addPlane("SUSPECT")
    for box in [exposure.bbox] if boxes is None else boxes:
        inside = box.clipped(exposure.bbox)
        if inside.isEmpty:
            continue
        pixels = exposure.mask[inside].array
        border = np.ones(pixels.shape, bool)
        core = box.eroded(numEdge).clipped(inside)
        if not core.isEmpty:
            border[core.slices(inside.min)] = False
        pixels[border] |= bit


def vignetteSelection(vignetting, minPixels, percent):
    """Part of an amplifier where the vignetting function is within some percent of its maximum.

    Parameters
    ----------
    vignetting : `numpy.ndarray`
        Values of the function at the pixels.
    minPixels : `int`
        The allowed percentage rises by 1 until this many pixels are selected or it reaches 100.
    percent : `float`
        Percentage to start with.

    Returns
    -------
    selected : `numpy.ndarray` of bool
    percent : `float`
        The percentage used.
    """
    ceiling = np.nanmax(vignetting)
    while True:
        selected = vignetting > ceiling * (1.0 - percent / 100.0)
        if percent >= 100.0 or np.count_nonzero(selected) >= minPixels:
            return selected, percent
        percent = min(percent + 1.0, 100.0)


def vignetteRegions(amplifiers, radius, coefficients, minPixels, percent, log=None):
    """The flat part of the vignetting in every amplifier.

    Parameters
    ----------
    amplifiers : `dict` [`str`, `stillsky.geom.Box2I`]
        In parent coordinates.
    radius : callable
        ``radius(x, y)``: distance in metres from the centre of the focal plane, for arrays of parent pixel coordinates.
    coefficients : sequence of `float`
        Polynomial in the radius in metres, highest power first.
    minPixels, percent
        See `vignetteSelection`.
    log : `logging.Logger`, optional
        Warned when the percentage had to rise by more than one step.

    Returns
    -------
    regions : `dict` [`str`, (`stillsky.geom.Box2I`, `numpy.ndarray` of bool)]
        Box, and the pixels of it that are selected.

    Raises
    ------
    DomainError
        No coefficients.
    """
    if coefficients is None or len(coefficients) == 0:
        raise DomainError("vignetting: wanted polynomial coefficients, given none")
    regions = {}
    for name, box in amplifiers.items():
        y, x = np.mgrid[box.minY : box.minY + box.height, box.minX : box.minX + box.width]
        values = np.polyval(np.asarray(coefficients, float), radius(x, y))
        selected, used = vignetteSelection(values, minPixels, percent)
        if used > percent + 1.0 and log is not None:
            log.warning(
                "Amplifier %s: %d of %d wanted pixels are selected by their vignetting, within %g percent instead of %g.",
                name,
                np.count_nonzero(selected),
                minPixels,
                used,
                percent,
            )
        regions[name] = box, selected
    return regions


def maskVignetted(exposure, regions):
    """Flag as SUSPECT, in place, the pixels of amplifiers that `vignetteRegions` did not select.

    Parameters
    ----------
    exposure : `stillsky.image.Exposure`
    regions : `dict`
        Amplifiers that reach out of the image are left alone.
    """
    bit = 1 << exposure.mask.addPlane("SUSPECT")
    for box, selected in regions.values():
        if exposure.bbox.contains(box):
            exposure.mask[box].array[~selected] |= bit


def focalPlaneRadius(detector):
    """The function `vignetteRegions` wants, of a detector with ``pixelToFocalPlane(x, y)`` in millimetres.

    Raises
    ------
    DomainError
        The detector does not know where it is.
    """
    toFocalPlane = getattr(detector, "pixelToFocalPlane", None)
    if toFocalPlane is None:
        raise DomainError(
            "vignetting: wanted a detector with pixelToFocalPlane(x, y) -> (x, y) in mm; "
            f"{type(detector).__name__} has none"
        )

    def radius(x, y):
        u, v = toFocalPlane(x, y)
        return np.hypot(u, v) / 1000.0

    return radius


def planarRadius(pixelSize, center=(0.0, 0.0)):
    """The function `vignetteRegions` wants, for a flat sensor.

    Parameters
    ----------
    pixelSize : `float`
        Millimetres.
    center : (x, y)
        Parent pixel coordinates of the centre of the focal plane.
    """
    x0, y0 = center

    def radius(x, y):
        return np.hypot((x - x0) * pixelSize, (y - y0) * pixelSize) / 1000.0

    return radius
