"""A report: one HTML file that opens without a network, a server or scripts.

Every text is escaped on the way in, whatever a FITS header holds. Pictures are inside the file; so are all numbers, as a
JSON block that equals the summary on disk.
"""

import base64
import csv
import hashlib
import io
import json
import math
import os
from html import escape
from urllib.parse import quote

from .style import SCRIPT, STYLE

__all__ = ["Page", "Section", "formatNumber"]

_STATES = ("green", "amber", "red")
_WORD = 28  # characters that stay on one line of a table
_MARKS = 'class="marks" aria-hidden="true"'


def formatNumber(value, form=None):
    """A number for people: ``form`` or four significant figures; a dash for None and NaN; others as they are."""
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        return "yes" if value else "no"
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        if math.isnan(value):
            return "–"
        if form is None and 1e4 <= abs(value) < 1e15:
            return f"{value:,.0f}".replace(",", "\u202f")
        return format(value, form or ".4g")
    if isinstance(value, int):
        grouped = f"{value:,}".replace(",", "\u202f") if abs(value) >= 10000 else str(value)
        return format(value, form) if form else grouped
    return str(value)


def _sortKey(value):
    """What a column is sorted by: the number to nine figures, an integer whole; empty for NaN."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.9g}" if math.isfinite(value) else ""
    return None


def _isNumber(value):
    return not isinstance(value, (str, bool)) and (
        value is None or isinstance(value, (int, float)) or type(value).__module__ == "numpy"
    )


def _pictureData(picture, form, dpi):
    """A data address of a matplotlib figure, or of the bytes of a PNG or SVG file."""
    if hasattr(picture, "savefig"):
        picture = _palettePng(picture, dpi) if form == "png" else _svgText(picture)
    kind = "image/png" if picture.startswith(b"\x89PNG") else "image/svg+xml"
    return f"data:{kind};base64,{base64.b64encode(picture).decode('ascii')}"


def _palettePng(figure, dpi):
    """A figure as a PNG file of at most 256 colours: a quarter of the bytes of one with all."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    # maps keep their colours to 1 %; lines, which have few, need not, and cost a third
    method = Image.Quantize.MAXCOVERAGE if any(a.images for a in figure.axes) else Image.Quantize.FASTOCTREE
    drawn = Image.fromarray(pixels).quantize(256, method, dither=Image.Dither.NONE)
    palette = drawn.getpalette()
    white = np.asarray(drawn)[(pixels == 255).all(axis=-1)]
    if white.size:  # paper is white, and not the tree's mean of all that is nearly so
        k = int(np.bincount(white).argmax())
        palette[3 * k : 3 * k + 3] = [255, 255, 255]
    drawn.putpalette(palette)
    stream = io.BytesIO()
    drawn.save(stream, "png", compress_level=6)
    return stream.getvalue()


def _svgText(figure):
    """A figure as an SVG file; no date and no random names of elements: the same result gives the same page."""
    from matplotlib import rc_context

    stream = io.BytesIO()
    with rc_context({"svg.hashsalt": "stillsky"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": "stillsky"})
    return stream.getvalue()


def _csvData(columns):
    """A data address of CSV text from a `dict` of columns of equal or unequal length."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(columns)
    values = [list(v.tolist() if hasattr(v, "tolist") else v) for v in columns.values()]
    for i in range(max((len(v) for v in values), default=0)):
        cells = [v[i] if i < len(v) else "" for v in values]
        writer.writerow([f"{c:.10g}" if isinstance(c, float) else c for c in cells])
    return "data:text/csv;base64," + base64.b64encode(stream.getvalue().encode("utf-8", "replace")).decode("ascii")


def embedJson(text):
    """JSON text that cannot end the script element it is put into; it parses to the same document."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


class Section:
    """One part of a `Page`. Each method appends one thing and returns the section.

    Texts are plain text: they are escaped here, and nowhere earlier.
    """

    def __init__(self, title, name):
        self.title = title
        self.name = name
        self._parts = []

    @property
    def size(self):
        """Characters so far."""
        return sum(map(len, self._parts))

    def empty(self):
        """Forget what was appended."""
        self._parts.clear()
        return self

    def verdict(self, state, text):
        """A coloured bar: ``state`` is green, amber or red."""
        if state not in _STATES:
            raise ValueError(f"state: one of {', '.join(_STATES)} wanted, {state!r} given")
        word, sign = {"green": ("Good", "\u2713"), "amber": ("Look twice", "!"), "red": ("Bad", "\u2717")}[state]
        self._parts.append(
            f'<div class="verdict {state}" role="status"><b>{sign}</b><span>{word}: {escape(text)}</span></div>'
        )
        return self

    def heading(self, text):
        """A smaller heading."""
        self._parts.append(f"<h3>{escape(text)}</h3>")
        return self

    def paragraph(self, text):
        """Plain text."""
        self._parts.append(f"<p>{escape(text)}</p>")
        return self

    def code(self, text):
        """Text to copy, e.g. a command line."""
        self._parts.append(f"<pre>{escape(text)}</pre>")
        return self

    def items(self, texts):
        """A list of sentences."""
        lines = "".join(f"<li>{escape(str(t))}</li>" for t in texts)
        self._parts.append(f"<ul>{lines}</ul>")
        return self

    def cards(self, values):
        """Large figures: a `dict` of label to value (a number, or text)."""
        lines = "".join(
            f'<div class="card"><b>{escape(formatNumber(v))}</b><span>{escape(str(k))}</span></div>'
            for k, v in values.items()
        )
        self._parts.append(f'<div class="cards">{lines}</div>')
        return self

    def facts(self, values):
        """Name and value on a line each, from a `dict`."""
        lines = "".join(f"<dt>{escape(str(k))}</dt><dd>{escape(formatNumber(v))}</dd>" for k, v in values.items())
        self._parts.append(f"<dl>{lines}</dl>")
        return self

    def table(self, columns, *, units=None, forms=None, states=None, csvName=None, sortable=True, links=None):
        """A table.

        Parameters
        ----------
        columns : `dict` [`str`, sequence]
            Heading to values; all of one length.
        units, forms : `dict` [`str`, `str`], optional
            Unit shown under a heading; format specification of its numbers.
        states : sequence of `str` or None, optional
            Colour of each row: green, amber, red or None.
        csvName : `str`, optional
            Name of the file that a link below the table saves; no link without it.
        sortable : `bool`
            A click on a heading sorts (only with scripts).
        links : `dict` [`str`, sequence of `str`], optional
            Relative addresses that the cells of a column lead to, or "#" and the name of an element; None: no link.
        """
        units, forms = units or {}, forms or {}
        values = {name: list(v) for name, v in columns.items()}
        lengths = {len(v) for v in values.values()}
        if len(lengths) > 1:
            raise ValueError(f"columns: equal lengths wanted, {sorted(lengths)} given")
        numeric = {name: any(_isNumber(v) and v is not None for v in vs) for name, vs in values.items()}
        kinds = {
            name: "number" if numeric[name] else "word" if all(len(str(v)) <= _WORD for v in vs) else "text"
            for name, vs in values.items()
        }
        head = "".join(
            f"<th{' class=number' if numeric[name] else ''} scope=col>{escape(name)}"
            + (f"<small>{escape(units[name])}</small>" if units.get(name) else "")
            + "</th>"
            for name in values
        )
        rows = []
        for i in range(lengths.pop() if lengths else 0):
            state = states[i] if states is not None else None
            to = {name: addresses[i] for name, addresses in (links or {}).items()}
            cells = "".join(self._cell(values[name][i], kinds[name], forms.get(name), to.get(name)) for name in values)
            rows.append(f"<tr{f' class={state}' if state in _STATES else ''}>{cells}</tr>")
        kind = " class=sortable" if sortable and len(rows) > 1 else ""
        self._parts.append(
            f'<div class="scroll" tabindex="0"><table{kind}><thead><tr>{head}</tr></thead>'
            f"<tbody>{''.join(rows)}</tbody></table></div>"
        )
        if csvName:
            self.download(csvName, values)
        return self

    def download(self, name, columns):
        """A link that saves a `dict` of columns as ``name.csv``."""
        self._parts.append(f"<p>{_csvLink(name, columns)}</p>")
        return self

    @staticmethod
    def _cell(value, kind, form, link=None):
        key = _sortKey(value)
        sort = f' data-value="{key}"' if key is not None else ""
        text = escape(formatNumber(value, form))
        if link is not None:  # "./" and quoting: a file name is never taken for another scheme
            address = f"#{quote(link[1:])}" if link.startswith("#") else f"./{quote(link)}"
            text = f'<a href="{escape(address)}">{text}</a>'
        return f"<td class={kind}{sort}>{text}</td>"

    def figure(self, picture, alt, caption=None, *, data=None, name="figure", form="png", dpi=100, wide=False):
        """A picture.

        Parameters
        ----------
        picture : `matplotlib.figure.Figure` or `bytes`
            Figure, or the content of a PNG or SVG file.
        alt : `str`
            What the picture shows, for those who cannot see it.
        caption : `str`, optional
            Text below.
        data : `dict` [`str`, sequence], optional
            What is drawn; saved as ``name.csv`` by a link in the caption.
        name : `str`
            Stem of that file.
        form, dpi : `str`, `float`
            "png" or "svg", and pixels per inch, of a figure.
        wide : `bool`
            Several panels side by side: on a narrow screen it is moved sideways instead of made illegible.
        """
        self._parts.append(_figureHtml(picture, alt, caption, data, name, form, dpi, wide))
        return self

    def figures(self, entries):
        """Small pictures side by side: a sequence of `dict` with the arguments of ``figure``."""
        defaults = {"caption": None, "data": None, "name": "figure", "form": "png", "dpi": 100}
        inner = "".join(_figureHtml(**{**defaults, **entry}) for entry in entries)
        self._parts.append(f'<div class="figures">{inner}</div>')
        return self

    def blink(self, pictures, dpi=100):
        """Pictures of one size in one place; click, space or arrows change them. Without scripts all are shown.

        Parameters
        ----------
        pictures : sequence of (figure or `bytes`, `str`)
            Picture and alternative text.
        """
        images = "".join(
            f'<img{" class=shown" if i == 0 else ""} alt="{escape(alt)}" src="{_pictureData(picture, "png", dpi)}">'
            for i, (picture, alt) in enumerate(pictures)
        )
        first = pictures[0][1]
        self._parts.append(f'<figure class="blink">{images}<figcaption>{escape(first)}</figcaption></figure>')
        return self

    def row(self, entries, link=None):
        """Pictures in one row that share its width, each a link to a place of the page.

        Parameters
        ----------
        entries : sequence of (`bytes`, `str`, `str`, `Drawing` or None)
            Picture, alternative text, caption, marks.
        link : `str`, optional
            Name of the element that a click leads to.
        """
        inner = ""
        for picture, alt, caption, drawing in entries:
            image = f'<img alt="{escape(alt)}" src="{_pictureData(picture, "png", 100)}">'
            image = f'<div class="sheet">{image}{drawing.render(_MARKS) if drawing else ""}</div>'
            image = f'<a href="#{escape(link)}">{image}</a>' if link else image
            inner += f"<figure>{image}<figcaption>{escape(caption)}</figcaption></figure>"
        self._parts.append(f'<div class="row">{inner}</div>')
        return self

    def look(self, pictures, overlays=()):
        """Pictures of one size in one place, as `blink`, to be enlarged, moved and stretched, with masks to lay over.

        Parameters
        ----------
        pictures : sequence of (figure or `bytes`, `str`)
            Picture and alternative text.
        overlays : sequence of (`bytes` or `Drawing`, `str`, `str`)
            Transparent picture of the same size or marks on it, name, and its colour in CSS. With scripts only; pictures
            are shown on demand, marks from the start unless their colour ends with "?".
        """
        images = "".join(
            f'<img{" class=shown" if i == 0 else ""} alt="{escape(alt)}" src="{_pictureData(picture, "png", 100)}">'
            for i, (picture, alt) in enumerate(pictures)
        )
        images += "".join(self._overlay(*overlay) for overlay in overlays)
        self._parts.append(
            f'<figure class="blink look"><div class="stage"><div class="sheet">{images}</div></div>'
            f"<figcaption>{escape(pictures[0][1])}</figcaption></figure>"
        )
        return self

    @staticmethod
    def _overlay(picture, name, colour):
        facts = f'data-name="{escape(name)}" data-colour="{escape(colour.rstrip("?"))}"'
        if hasattr(picture, "render"):
            shown = "" if colour.endswith("?") else " shown"
            return picture.render(f'class="overlay marks{shown}" role="img" aria-label="{escape(name)}" {facts}')
        source = _pictureData(picture, "png", 100)
        return f'<img class="overlay" alt="pixels of {escape(name)}" {facts} src="{source}">'

    def cuts(self, entries, wide=False):
        """Cut-outs side by side, drawn three times as large, pixels visible.

        Parameters
        ----------
        entries : sequence of `dict`
            picture (`bytes`), alt, caption (`str`; the first line is the headline), state (green, amber, red or None),
            drawing (`Drawing` or None), anchor (name of the element, `str` or None).
        wide : `bool`
            Two in a row instead of three.
        """
        inner = "".join(_cutHtml(**entry) for entry in entries)
        self._parts.append(f'<div class="cuts{" wide" if wide else ""}">{inner}</div>')
        return self

    def bars(self, values, unit="", form=".2f", share=True):
        """Numbers as bars, from a `dict` of name to positive number, with the share of their sum."""
        total, largest = sum(values.values()) or 1.0, max(values.values(), default=0.0) or 1.0
        lines = ""
        for name, value in values.items():
            part = f"<td class=number>{100 * value / total:.0f} %</td>" if share else ""
            lines += (
                f"<tr><th scope=row>{escape(str(name))}</th><td class=number>{value:{form}} {escape(unit)}</td>{part}"
                f'<td class=bar><i style="width:{100 * value / largest:.1f}%"></i></td></tr>'
            )
        self._parts.append(f'<table class="bars"><tbody>{lines}</tbody></table>')
        return self

    def links(self, addresses):
        """Links to files beside the page: a `dict` of words to relative addresses."""
        inner = " · ".join(f'<a href="./{escape(quote(a))}">{escape(words)}</a>' for words, a in addresses.items())
        self._parts.append(f"<p>{inner}</p>")
        return self

    def details(self, summary, text):
        """Long text behind a line that opens it."""
        self._parts.append(f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>")
        return self

    def render(self):
        """The section as HTML."""
        body = "\n".join(self._parts)
        return f'<section id="{escape(self.name)}"><h2>{escape(self.title)}</h2>\n{body}\n</section>'


def _cutHtml(picture, alt, caption, state=None, drawing=None, anchor=None):
    first, *others = caption.split("\n")
    words = "<br>".join([f"<b>{escape(first)}</b>", *(escape(line) for line in others)])
    marks = drawing.render(_MARKS) if drawing is not None else ""
    name = f' id="{escape(anchor)}"' if anchor else ""
    return (
        f'<figure class="cut{f" {state}" if state in _STATES else ""}" tabindex="0"{name}>'
        f'<div class="sheet"><img alt="{escape(alt)}" src="{_pictureData(picture, "png", 100)}">{marks}</div>'
        f"<figcaption>{words}</figcaption></figure>"
    )


def _csvLink(name, columns):
    stem = name.removesuffix(".csv")
    return f'<a download="{escape(stem)}.csv" href="{_csvData(columns)}">download CSV</a>'


def _figureHtml(picture, alt, caption, data, name, form, dpi, wide=False):
    if not alt or not alt.strip():
        raise ValueError("alt: a description of the picture wanted, nothing given")
    parts = [escape(caption)] if caption else []
    if data is not None:
        parts.append(_csvLink(name, data))
    below = f"<figcaption>{' '.join(parts)}</figcaption>" if parts else ""
    source = _pictureData(picture, form, dpi)
    image = f'<img alt="{escape(alt)}" src="{source}">'
    if wide:
        return f'<figure class="wide"><div class="pan" tabindex="0">{image}</div>{below}</figure>'
    return f"<figure>{image}{below}</figure>"


class Page:
    """A report.

    Parameters
    ----------
    title, subtitle : `str`
        Heading, and the line below it.
    document : `str` or `object`, optional
        What the JSON block holds: JSON text, or what `json` can write. Non-finite numbers must be gone (``toJson`` of the
        command line does that).
    """

    def __init__(self, title, subtitle="", document=None):
        self.title = title
        self.subtitle = subtitle
        self.document = document
        self._sections = []

    def section(self, title):
        """Append a section and return it."""
        section = Section(title, f"s{len(self._sections) + 1}")
        self._sections.append(section)
        return section

    @property
    def size(self):
        """Characters of the sections so far; style and scripts of the page are another 10 000."""
        return sum(section.size for section in self._sections)

    def render(self):
        """The page as a `str`."""
        from .._version import __version__

        links = "".join(f'<a href="#{s.name}">{escape(s.title)}</a>' for s in self._sections)
        body = "\n".join(s.render() for s in self._sections)
        return (
            '<!DOCTYPE html>\n<html lang="en" class="noscript">\n<head>\n<meta charset="utf-8">\n'
            f'<meta http-equiv="Content-Security-Policy" content="{self._policy()}">\n'
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
            f'<meta name="generator" content="stillsky {escape(__version__)}">\n'
            f"<title>{escape(self.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
            f"<header><h1>{escape(self.title)}</h1><p>{escape(self.subtitle)}</p></header>\n"
            f"<nav><div>{links}</div></nav>\n<main>\n{body}\n</main>\n"
            f"<footer>stillsky {escape(__version__)}. All figures of this page are in its JSON block.</footer>\n"
            f"{self._json()}<script>{SCRIPT}</script>\n</body>\n</html>\n"
        )

    @staticmethod
    def _policy():
        """Nothing is loaded and nothing runs but the script below: also markup that slipped in could do nothing."""
        digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode("ascii")
        return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"

    def _json(self):
        if self.document is None:
            return ""
        text = self.document
        if not isinstance(text, str):
            text = json.dumps(text, allow_nan=False)
        text = text.strip()
        return f'<script type="application/json" id="stillsky-data">{embedJson(text)}</script>\n'

    def write(self, path):
        """Write the page; an existing file is replaced only when the new one is complete."""
        aside = f"{os.fspath(path)}.partial-{os.getpid()}"
        try:
            with open(aside, "w", encoding="utf-8", errors="xmlcharrefreplace") as stream:
                stream.write(self.render())
            os.replace(aside, path)
        finally:
            if os.path.exists(aside):
                os.unlink(aside)
