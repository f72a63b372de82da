"""Small pictures without a plotting library's axes: previews of images, overlays of masks, cut-outs.

All are PNG of one palette and few levels: sky noise compresses badly, and 48 levels show all that an eye sees.
"""

import struct
import zlib

import numpy as np

from .pixels import asinhStretch, robustScale

__all__ = ["chiPng", "greyPng", "indexedPng", "overlayPng", "tripletPng"]

_LEVELS = 48


def indexedPng(index, palette, alpha=None):
    """A PNG of palette indices.

    Parameters
    ----------
    index : `numpy.ndarray` (height, width)
        Indices into the palette, 0 to 255; row 0 is shown at the bottom, as in astronomy.
    palette : `numpy.ndarray` (n, 3) of `uint8`
        Colours.
    alpha : `numpy.ndarray` (n,) of `uint8`, optional
        Opacity of each colour.

    Returns
    -------
    content : `bytes`
        The file.
    """
    rows = np.ascontiguousarray(index[::-1], np.uint8)
    height, width = rows.shape
    lines = np.zeros((height, width + 1), np.uint8)  # each line begins with its filter: none
    lines[:, 1:] = rows

    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0))]
    parts.append(chunk(b"PLTE", np.ascontiguousarray(palette, np.uint8).tobytes()))
    if alpha is not None:
        parts.append(chunk(b"tRNS", np.ascontiguousarray(alpha, np.uint8).tobytes()))
    # noise has runs but no repeats: looking for those would take ten times as long and give larger files
    packer = zlib.compressobj(6, zlib.DEFLATED, 15, 9, zlib.Z_RLE)
    parts.append(chunk(b"IDAT", packer.compress(lines.tobytes()) + packer.flush()))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + chunk(b"IEND", b"")


def _quantised(values, low, high):
    """Level of each value between the limits, 1 and up; 0 for NaN."""
    with np.errstate(invalid="ignore"):
        level = 1.0 + np.clip((values - low) / (high - low), 0.0, 1.0) * (_LEVELS - 1)
        return np.where(np.isfinite(values), np.rint(np.nan_to_num(level)), 0).astype(np.uint8)


def _greyPalette():
    grey = np.rint(np.linspace(0, 255, _LEVELS)).astype(np.uint8)
    return np.vstack([[59, 47, 79], np.repeat(grey[:, None], 3, axis=1)]).astype(np.uint8)


def _divergingPalette():
    from matplotlib import colormaps

    colours = colormaps["RdBu_r"](np.linspace(0.0, 1.0, _LEVELS))[:, :3]
    return np.vstack([[154, 154, 154], np.rint(255 * colours)]).astype(np.uint8)


def _greyLevels(values, sky, sigma, top=1000.0):
    return _quantised(asinhStretch(values, sky, sigma, top), 0.0, 1.0)


def greyPng(values, sky, sigma, top=1000.0):
    """An image on an asinh stretch about its sky, with the unit ``sigma``, white at ``top`` of them; NaN is violet."""
    return indexedPng(_greyLevels(values, sky, sigma, top), _greyPalette())


def chiPng(chi, limit=5.0, empty="grey"):
    """A difference over its noise from -limit (blue) to limit (red); NaN is grey, or white."""
    palette = _divergingPalette()
    if empty == "white":
        palette[0] = 255
    return indexedPng(_quantised(chi, -limit, limit), palette)


def overlayPng(share, colour):
    """A transparent picture that has ``colour`` where ``share`` (height, width) is above 0."""
    palette = np.array([[0, 0, 0], colour], np.uint8)
    return indexedPng(share > 0, palette, np.array([0, 150], np.uint8))


def tripletPng(science, template, chi, sky, sigma):
    """Science, template and difference over noise side by side, in one picture of one palette.

    Parameters
    ----------
    science, template, chi : `numpy.ndarray` (height, width)
        Cut-outs of one size; NaN outside the image.
    sky : (`float`, `float`)
        Sky level of either image.
    sigma : `float`
        Noise of the science image, the unit of both stretches.
    """
    height = science.shape[0]
    # white is the brightest thing near the middle, of either image, so that faint ones are seen
    part = slice(height // 4, height - height // 4)
    above = np.maximum(science[part, part] - sky[0], template[part, part] - sky[1])
    above = above[np.isfinite(above)]
    top = float(np.clip(np.max(above, initial=0.0) / sigma, 15.0, 1000.0))
    gap = np.full((height, 2), _LEVELS, np.uint8)  # white
    difference = _quantised(chi, -5.0, 5.0) + np.uint8(_LEVELS + 1)
    index = np.hstack([
        _greyLevels(science, sky[0], sigma, top), gap, _greyLevels(template, sky[1], sigma, top), gap, difference,
    ])  # fmt: skip
    return indexedPng(index, np.vstack([_greyPalette(), _divergingPalette()]))


def cutout(array, x, y, half):
    """Pixels around an array position, (2 half + 1) squared; NaN outside."""
    out = np.full((2 * half + 1, 2 * half + 1), np.nan, np.float32)
    cx, cy = int(round(x)), int(round(y))
    x0, y0 = max(cx - half, 0), max(cy - half, 0)
    part = array[y0 : max(cy + half + 1, 0), x0 : max(cx + half + 1, 0)]
    top, left = y0 - (cy - half), x0 - (cx - half)
    if not part.size:
        return out
    out[top : top + part.shape[0], left : left + part.shape[1]] = part
    return out


def localScale(image):
    """Sky and noise of an image for stretches; numbers also when there are none."""
    step = max(1, int(np.sqrt(image.size / 250_000)))
    sky, sigma = robustScale(image[::step, ::step])
    return (sky if np.isfinite(sky) else 0.0), (sigma if np.isfinite(sigma) and sigma > 0 else 1.0)
