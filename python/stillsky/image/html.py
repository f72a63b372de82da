"""How images show themselves in a notebook: small self-contained tables, everything escaped."""

import base64
import io
from html import escape

import numpy as np

__all__ = ["exposureTable", "imageTable", "maskTable", "maskedImageTable", "thumbnail"]

_THUMBNAIL = 192  # pixels


def imageTable(image):
    """HTML of a notebook for an `Image`."""
    return _table(_imageRows(image), image)


def maskTable(mask):
    """HTML of a notebook for a `Mask`."""
    return _table([("mask", repr(mask)), *_maskRows(mask)])


def maskedImageTable(maskedImage):
    """HTML of a notebook for a `MaskedImage`."""
    return _table(_imageRows(maskedImage.image) + _maskRows(maskedImage.mask), maskedImage.image)


def exposureTable(exposure):
    """HTML of a notebook for an `Exposure`."""
    info = exposure.info
    rows = _imageRows(exposure.image) + _maskRows(exposure.mask)
    rows += [(name, str(getattr(info, name))) for name in info.components]
    rows += [("provenance", sentence) for sentence in info.provenance]
    return _table(rows, exposure.image)


def _imageRows(image):
    values = image.array[np.isfinite(image.array)] if image.array.dtype.kind == "f" else image.array.ravel()
    rows = [("size", f"{image.width} x {image.height} {image.dtype}"), ("xy0", f"({image.xy0.x}, {image.xy0.y})")]
    if values.size:
        low, middle, high = np.percentile(values[:: max(1, values.size // 100000)], [1, 50, 99])
        rows.append(("1 %, median, 99 %", f"{low:.5g}, {middle:.5g}, {high:.5g}"))
    rows.append(("not finite", str(image.array.size - values.size)))
    return rows


def _maskRows(mask):
    return [(f"mask {name}", f"{100 * part:.3g} %") for name, part in mask.fractions().items() if part > 0]


def _table(rows, image=None):
    cells = "".join(
        f"<tr><th style='text-align:left'>{escape(str(k))}</th><td>{escape(str(v))}</td></tr>" for k, v in rows
    )
    picture = thumbnail(image) if image is not None and image.array.size else ""
    return f"<div style='display:flex;gap:1em'>{picture}<table>{cells}</table></div>"


def thumbnail(image):
    """An inline PNG, asinh-stretched about the median, y upwards."""
    from matplotlib.figure import Figure

    step = max(1, max(image.array.shape) // _THUMBNAIL)
    values = np.asarray(image.array[::step, ::step], float)
    good = values[np.isfinite(values)]
    if not good.size:
        return ""
    middle = np.median(good)
    sigma = 1.4826 * np.median(np.abs(good - middle)) or 1.0
    shown = np.arcsinh((values - middle) / (2 * sigma))
    height, width = (max(0.1, 2 * n / max(values.shape)) for n in values.shape)
    figure = Figure(figsize=(width, height), dpi=96)
    axes = figure.add_axes((0, 0, 1, 1))
    brightest = max(float(np.max(shown[np.isfinite(shown)])), 0.0)
    axes.imshow(shown, origin="lower", cmap="gray", aspect="auto", vmin=-1, vmax=brightest)
    axes.set_axis_off()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return f"<img alt='thumbnail' src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
