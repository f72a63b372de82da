"""The differential background in the file of the matched template: there it is part of what was subtracted."""

import os

from ..image import Exposure, Image, MaskedImage
from ..psfmatch.difference import bandsOnBox

__all__ = ["ADDED_CARD", "withBackground", "withoutBackground"]

#: Card of a matched template: F while the background that was subtracted with it is not in its pixels, T when it is.
ADDED_CARD = "BKGADDED"


def withBackground(matched, background):
    """The template as it was subtracted: with the background, when the subtraction took one off beside it.

    Parameters
    ----------
    matched : `stillsky.image.Exposure`
        Of a `stillsky.diffim.SubtractResult`; not modified.
    background : `stillsky.kernel.Function2` or `float`
        In the units of its pixels: what the fit adds to the convolved image, whichever that is.

    Returns
    -------
    exposure : `stillsky.image.Exposure`
        With the card `ADDED_CARD` = T; the same object where no background is due.
    """
    header = matched.metadata
    if header is None or background is None or header.get(ADDED_CARD) is not False:
        return matched
    return _shifted(matched, background, +1)


def withoutBackground(matched, path):
    """The matched template read from ``path`` less the background, which is read from the kernel file beside it.

    Parameters
    ----------
    matched : `stillsky.image.Exposure`
        Not modified.
    path : `str`
        PREFIX.matched.fits.

    Returns
    -------
    exposure : `stillsky.image.Exposure`
        The same object where no background was added, or the kernel file is not there.
    """
    from ..fits import readKernel

    kernelPath = os.fspath(path).removesuffix(".matched.fits") + ".kernel.fits"
    header = matched.metadata
    if header is None or not header.get(ADDED_CARD) or not os.path.exists(kernelPath):
        return matched
    return _shifted(matched, readKernel(kernelPath).background, -1)


def _shifted(matched, background, sign):
    """A copy plus ``sign`` times the background; mask and variance are shared."""
    pixels = matched.image.array.copy()
    added = sign > 0
    if matched.metadata.get("FLUXREF") == "template":  # the background was added to the convolved science image
        sign = -sign
    for rows, values in bandsOnBox(0.0 if background is None else background, matched.bbox):
        pixels[rows] += (sign * values) if isinstance(values, float) else (sign * values).astype(pixels.dtype)
    masked = MaskedImage(Image(pixels, matched.xy0), matched.mask, matched.variance)
    out = Exposure(masked, matched.info, metadata=matched.metadata.copy())
    out.metadata.set(ADDED_CARD, added, "the differential background is in the pixels")
    return out
