"""The section of a report to look at the images: previews, masks, candidates, stars and cells to lay over them."""

import numpy as np

from .drawing import Drawing
from .pixels import blockMean
from .previews import chiPng, greyPng, localScale, overlayPng
from .source_section import significanceOf, sourcePositions
from .subtract_numbers import candidateRows, flagColumn

__all__ = ["Previews", "lookSection", "maskOverlays", "orientationWords"]

_PREVIEW = 1024  # pixels
_SMALLER = (_PREVIEW, _PREVIEW // 2, _PREVIEW // 4)
_MARKED = 2000  # circles, of the most significant candidates: more would hide the picture
_POSITIVE, _NEGATIVE = "#e66100", "#1a85ff"  # seen on black, white and grey, and told apart by everybody
_OVERLAYS = {
    "SAT": (230, 75, 53), "BAD": (240, 180, 40), "CR": (0, 190, 120), "NO_DATA": (70, 120, 255), "EDGE": (120, 200, 230),
    "INTRP": (220, 110, 220), "SUSPECT": (255, 140, 0), "DETECTED": (150, 220, 60), "DETECTED_NEGATIVE": (40, 200, 200),
    "SAT_TEMPLATE": (190, 60, 130), "STREAK": (255, 255, 120), "DIFFDET": (200, 200, 200), "REJECTED": (200, 120, 60),
    "CLIPPED": (120, 80, 250), "SENSOR_EDGE": (90, 160, 160), "INEXACT_PSF": (250, 190, 200), "BRIGHT_OBJECT": (255, 90, 160),
}  # fmt: skip


class Previews:
    """Science, template and difference over noise, at most 1024 pixels wide, as pictures with captions."""

    def __init__(self, result, numbers, scales):
        self.box = result.difference.bbox
        self.science, self.factor = blockMean(result.science.image.array, maxSide=_PREVIEW)
        self.template = blockMean(result.matchedTemplate.image.array, maxSide=_PREVIEW)[0] * scales.factor
        self.chi, _ = blockMean(numbers.chi, maxSide=_PREVIEW)
        self.chi *= np.float32(self.factor)
        self.words = [
            "science",
            "template" if result.convolved == "science" else "matched template",
            "difference / noise",
        ]
        self.sources = getattr(result, "sources", None)

    def pictures(self, maxSide=_PREVIEW):
        """PNGs of the three; smaller ones are means of blocks."""
        (science, n), (template, _), (chi, _) = (
            blockMean(a, maxSide=maxSide) for a in (self.science, self.template, self.chi)
        )
        level, sigma = localScale(science)
        sky, _ = localScale(template)
        return greyPng(science, level, sigma, 400.0), greyPng(template, sky, sigma, 400.0), chiPng(chi * np.float32(n))

    def marks(self, minRadius):
        """Circles around candidates, red for positive ones and blue for negative ones; None without any."""
        positions = sourcePositions(self.sources) if self.sources is not None and len(self.sources) else None
        if positions is None:
            return None
        drawing = self._drawing()
        negative, significance = flagColumn(self.sources, "is_negative"), significanceOf(self.sources)
        rows = np.flatnonzero(candidateRows(self.sources))
        if rows.size > _MARKED:
            rows = rows[np.argsort(-np.nan_to_num(significance[rows], nan=-1.0), kind="stable")[:_MARKED]]
        for i in rows:
            colour = _NEGATIVE if negative[i] else _POSITIVE
            x, y = positions[0][i] - self.box.minX, positions[1][i] - self.box.minY
            words = f"{significance[i]:.1f} sigma at {positions[0][i]:.1f}, {positions[1][i]:.1f}"
            drawing.circle(x, y, minRadius * self.box.width, colour, words, f"source{i}")
        return drawing

    def _drawing(self):
        height, width = self.chi.shape
        return Drawing(width * self.factor, height * self.factor)

    def cells(self, sides):
        """Lines between the cells of the kernel's stars."""
        drawing = self._drawing()
        for x in range(sides[0], int(drawing.width), sides[0]):
            drawing.line(x - 0.5, 0, x - 0.5, drawing.height, "#8fd0ff")
        for y in range(sides[1], int(drawing.height), sides[1]):
            drawing.line(0, y - 0.5, drawing.width, y - 0.5, "#8fd0ff")
        return drawing

    def stars(self, candidates):
        """Circles around the stars of the fit; rejected ones are crossed."""
        drawing = self._drawing()
        radius = 0.009 * self.box.width
        for row in candidates:
            x, y = float(row["x"]) - self.box.minX, float(row["y"]) - self.box.minY
            if row["usedInFit"]:
                drawing.circle(x, y, radius, "#f0e442", f"star {row['id']}, S/N {row['rating']:.0f}")
            elif row["status"] == "BAD":
                drawing.cross(x, y, 0, radius, "#f0e442")
        return drawing


def lookSection(section, result, shown, cell, room=np.inf):
    """Append pictures to blink, of `Previews`, with what can be laid over them.

    Parameters
    ----------
    section : `Section`
    result : `stillsky.diffim.SubtractResult`
    shown : `Previews`
    cell : sequence of `int`, optional
        Sides of the cells of the kernel's stars.
    room : `float`
        Characters that the section may have; the pictures are made smaller until they fit.
    """
    overlays = _overlays(result, shown, cell)
    for side in _SMALLER:
        section.empty()
        section.look(_pictures(shown, side), overlays)
        if section.size <= room:
            break
    hints = ["Click or space: next picture. Enlarge with the buttons or ctrl and wheel, move by dragging."]
    if result.difference.wcs is not None:
        hints.append(orientationWords(result.difference))
    section.paragraph(" ".join(hints))


def _pictures(shown, side):
    """Pictures with their words."""
    science, template, chi = shown.pictures(side)
    factor = shown.factor * max(1, -(-max(shown.chi.shape) // side))
    means = f", means of {factor} x {factor} px" if factor > 1 else ""
    return [
        (science, f"science{means}"),
        (template, f"{shown.words[1]}, on the same stretch{means}"),
        (chi, f"difference over its noise, -5 (blue) to 5 (red); grey: masked{means}"),
    ]


def _overlays(result, shown, cell):
    """Masks, candidates, stars and cells, to be laid over the pictures."""
    overlays = maskOverlays(result.difference, shown.factor)
    marks = shown.marks(0.011)
    candidates = getattr(result, "candidates", None)
    if marks is not None:
        overlays.insert(0, (marks, "candidates", _POSITIVE))
    if candidates is not None and len(candidates):
        overlays.append((shown.stars(candidates), "stars of the fit", "#f0e442?"))
    if cell is not None:
        overlays.append((shown.cells(cell), "cells", "#8fd0ff?"))
    return overlays


def maskOverlays(exposure, factor):
    """A transparent picture for each mask plane that is set anywhere and of interest."""
    array = exposure.mask.array
    height, width = (n // factor for n in array.shape)
    blocks = array[: height * factor, : width * factor].reshape(height, factor, width, factor)
    either = np.bitwise_or.reduce(np.bitwise_or.reduce(blocks, axis=3), axis=1)
    found = []
    for name, colour in _OVERLAYS.items():
        bits = exposure.mask.bitmask([name], ignoreMissing=True)
        share = (either & bits) != 0
        if bits and share.any():
            found.append((overlayPng(share, colour), name, "rgb({}, {}, {})".format(*colour)))
    return found


def orientationWords(exposure):
    """Where north and east are, and the scale, in words."""
    x, y = exposure.bbox.center
    step = 1e-5
    ra, dec = exposure.wcs.pixelToSky(x, y)
    names = []
    for offset in ((0.0, step), (step / np.cos(dec), 0.0)):
        dx, dy = np.array(exposure.wcs.skyToPixel(ra + offset[0], dec + offset[1]), float) - (x, y)
        if not np.isfinite(dx + dy):
            return ""
        names.append(("right", "upper right", "up", "upper left", "left", "lower left", "down", "lower right")[
            int(np.rint(np.arctan2(dy, dx) / (np.pi / 4))) % 8])  # fmt: skip
    scale = np.degrees(exposure.wcs.pixelScale(x, y)) * 3600
    centre = f"centre RA {np.degrees(ra) % 360:.5f}, Dec {np.degrees(dec):+.5f} deg"
    return f"North is {names[0]}, east {names[1]}; {scale:.3g} arcsec per pixel; {centre}."
