"""Marks over pictures: small SVG drawings of numbers, in pixels of the picture, whose rows count from the bottom."""

import math
from html import escape

__all__ = ["Drawing"]


class Drawing:
    """Circles, lines and words on a picture of some size.

    Parameters
    ----------
    width, height : `float`
        Of the picture, in its pixels; pixel centres have whole coordinates.
    """

    def __init__(self, width, height):
        self.width, self.height = float(width), float(height)
        self._parts = []

    def _at(self, x, y):
        """Coordinates of the drawing: from the upper left corner."""
        return f"{x + 0.5:.2f}", f"{self.height - 0.5 - y:.2f}"

    def circle(self, x, y, radius, colour, words=None, link=None):
        """A circle; positions that are not finite are left out. ``link``: name of an element of the page."""
        if not math.isfinite(x + y):
            return self
        cx, cy = self._at(x, y)
        inner = f"<title>{escape(words)}</title>" if words else ""
        mark = f'<circle cx="{cx}" cy="{cy}" r="{radius:.2f}" stroke="{escape(colour)}">{inner}</circle>'
        self._parts.append(f'<a href="#{escape(link)}">{mark}</a>' if link else mark)
        return self

    def line(self, x0, y0, x1, y1, colour):
        """A line between two positions."""
        if math.isfinite(x0 + y0 + x1 + y1):
            (ax, ay), (bx, by) = self._at(x0, y0), self._at(x1, y1)
            self._parts.append(f'<line x1="{ax}" y1="{ay}" x2="{bx}" y2="{by}" stroke="{escape(colour)}"/>')
        return self

    def cross(self, x, y, inner, outer, colour):
        """An open cross: the middle stays free."""
        for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
            self.line(x + inner * dx, y + inner * dy, x + outer * dx, y + outer * dy, colour)
        return self

    def text(self, x, y, words, colour, size):
        """Words, centred."""
        cx, cy = self._at(x, y)
        self._parts.append(
            f'<text x="{cx}" y="{cy}" fill="{escape(colour)}" font-size="{size:g}" stroke="none" text-anchor="middle" '
            f'dominant-baseline="central">{escape(words)}</text>'
        )
        return self

    def render(self, attributes=""):
        """The drawing as HTML; ``attributes`` are those of its element, escaped by the caller."""
        box = f"0 0 {self.width:g} {self.height:g}"
        return f'<svg {attributes} viewBox="{box}" preserveAspectRatio="none" fill="none">{"".join(self._parts)}</svg>'
