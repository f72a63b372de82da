"""The frame of the reports: self-contained, escaped, complete without scripts."""

import base64
import csv
import io
import json
from html.parser import HTMLParser

import matplotlib.image
import numpy as np
import pytest
from matplotlib.figure import Figure

from stillsky.report import Page, formatNumber
from stillsky.report.kernel_panels import mosaicPanel

HOSTILE = "<script>alert('x')</script>\"'&--><img src=x onerror=alert(1)>"


class Parsed(HTMLParser):
    """Elements of a page in order, and checks that what was opened is closed."""

    VOID = ("meta", "img", "br")

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.elements, self.texts, self._open = [], [], []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append((self._open[-1] if self._open else None, data))

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def textOf(self, tag):
        return "".join(data for name, data in self.texts if name == tag)


def picture():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def fullPage(text="plain", document=None):
    page = Page(f"title {text}", f"subtitle {text}", document)
    first = page.section(f"first {text}")
    first.verdict("green", text).heading(text).paragraph(text).code(text).items([text, 3])
    first.cards({text: text, "gain": 1.5}).facts({text: text, "pairs": 12}).details(text, text)
    table = {text: [text, "b"], "gain": [1.25, np.nan], "n": np.array([3, 12345]), "ok": [True, np.bool_(False)]}
    first.table(table, units={"gain": text}, states=["red", None], csvName=f"x{text}")
    second = page.section("pictures")
    second.figure(picture(), f"alt {text}", text, data={text: [1.5, 2.5], "b": [text]}, name=text)
    second.figures([{"picture": picture(), "alt": "a", "form": "svg"}, {"picture": picture(), "alt": "b"}])
    second.blink([(picture(), f"one {text}"), (picture(), "two")])
    return page


def test_page_isOneFileWithoutNetwork():
    page = Parsed(fullPage().render())
    addresses = [a[k] for _, a in page.elements for k in ("src", "href", "data", "action", "srcset") if k in a]
    assert addresses and all(a.startswith(("data:", "#")) for a in addresses)
    assert not page.all("link") and not page.all("iframe") and not page.all("object")
    assert "url(" not in page.textOf("style") and "import" not in page.textOf("style")
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_page_hostileTextsAreShownNotRun():
    """Everything that a file can name may hold markup; the elements of the page stay the same."""
    document = json.dumps({"header": HOSTILE})
    plain, hostile = Parsed(fullPage(document='{"header": "plain"}').render()), fullPage(HOSTILE, document).render()
    parsed = Parsed(hostile)
    assert [tag for tag, _ in parsed.elements] == [tag for tag, _ in plain.elements]
    assert not any(k.startswith("on") for _, a in parsed.elements for k in a)
    assert "<script>alert" not in hostile and "&lt;script&gt;alert" in hostile
    assert HOSTILE in parsed.textOf("h1") and HOSTILE in parsed.textOf("td")
    assert any(a["alt"] == f"alt {HOSTILE}" for a in parsed.all("img"))


def test_page_jsonBlockEqualsTheDocument():
    document = {"a": HOSTILE, "b": [1.5, None, True], "c": {"\u2028": "</script>"}}
    text = fullPage(document=json.dumps(document, indent=2)).render()
    block = text.split('<script type="application/json" id="stillsky-data">')[1].split("</script>")[0]
    assert json.loads(block) == document
    assert json.loads(block) == json.loads(json.dumps(document))
    assert "<" not in block and "\u2028" not in block
    with pytest.raises(ValueError):
        Page("t", document={"a": float("nan")}).render()


def test_page_onlyItsOwnScriptRuns():
    """The policy names the digest of the script; the JSON block is no script to a browser."""
    import hashlib

    text = fullPage(document="{}").render()
    page = Parsed(text)
    scripts = page.all("script")
    assert [a.get("type") for a in scripts] == ["application/json", None]
    code = text.rsplit("<script>", 1)[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in page.all("meta")[1]["content"]


def test_figures_haveAltTextAndTheirData():
    page = Parsed(fullPage().render())
    assert len(page.all("img")) == 5 and all(a["alt"].strip() for a in page.all("img"))
    links = [a for a in page.all("a") if "download" in a]
    assert [a["download"] for a in links] == ["xplain.csv", "plain.csv"]
    rows = list(csv.reader(io.StringIO(base64.b64decode(links[1]["href"].split(",")[1]).decode())))
    assert rows == [["plain", "b"], ["1.5", "plain"], ["2.5", ""]]
    with pytest.raises(ValueError, match="alt"):
        Page("t").section("s").figure(picture(), " ")


def test_figures_takeFiguresAndFileContents():
    svg = b'<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4"/>'
    page = Page("t")
    page.section("s").figure(svg, "vector").figure(b"\x89PNG\r\n\x1a\n", "pixels")
    kinds = [a["src"].split(";")[0] for a in Parsed(page.render()).all("img")]
    assert kinds == ["data:image/svg+xml", "data:image/png"]


def test_figures_paperIsWhite():
    """The palette of a figure with many pale colours has the white of its paper."""
    y, x = np.mgrid[-7:8, -7:8]
    kernel = 0.2 * np.exp(-(x**2 + y**2) / 4) + 1e-3 * np.exp(-np.hypot(x, y) / 4)
    figure = mosaicPanel(np.broadcast_to(kernel, (5, 5, 15, 15)))
    page = Page("t")
    page.section("s").figure(figure, "pale")
    source = Parsed(page.render()).all("img")[0]["src"]
    pixels = matplotlib.image.imread(io.BytesIO(base64.b64decode(source.split(",")[1])), format="png")[..., :3]
    assert (pixels[:5] == 1).all() and (pixels[:, -10:] == 1).all()


def test_table_numbersAreRightAlignedSortableAndRounded():
    page = Parsed(fullPage().render())
    cells = [a for a in page.all("td")]
    assert cells[1] == {"class": "number", "data-value": "1.25"}
    assert cells[5] == {"class": "number", "data-value": ""}  # NaN is sorted last
    assert cells[6]["data-value"] == "12345"
    assert [a.get("class") for a in page.all("tr")] == [None, "red", None]
    assert page.all("table")[0]["class"] == "sortable"
    with pytest.raises(ValueError, match="equal lengths"):
        Page("t").section("s").table({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="green, amber, red"):
        Page("t").section("s").verdict("blue", "x")


def test_table_withoutRowsIsATable():
    page = Page("t")
    page.section("s").table({"a": [], "b": []}, csvName="none")
    parsed = Parsed(page.render())
    assert parsed.textOf("th") == "ab" and not parsed.all("td")


@pytest.mark.parametrize(
    "value, form, text",
    [
        (1.23456, None, "1.235"),
        (np.float32(0.5), ".3f", "0.500"),
        (float("nan"), ".3f", "–"),
        (None, None, "–"),
        (True, None, "yes"),
        (np.bool_(False), None, "no"),
        (7, None, "7"),
        (65535.0, None, "65\u202f535"),
        (1234.5, None, "1234"),
        (1234567, None, "1\u202f234\u202f567"),
        ("<b>", None, "<b>"),
        (float("inf"), None, "inf"),
    ],
)
def test_formatNumber(value, form, text):
    assert formatNumber(value, form) == text


def test_page_sameResultGivesSameBytes():
    assert fullPage(document='{"a": 1}').render() == fullPage(document='{"a": 1}').render()


def test_write_leavesCompleteFilesOnly(tmp_path, monkeypatch):
    path = tmp_path / "r.html"
    fullPage("\udce9 broken bytes of a header").write(path)
    assert path.read_text(encoding="utf-8").endswith("</html>\n")
    before = path.read_bytes()
    page = fullPage()
    monkeypatch.setattr(Page, "render", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        page.write(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_page_loadsNoMatplotlibByItself():
    """A page of tables is made without it."""
    import subprocess
    import sys

    code = (
        "import sys; from stillsky.report.page import Page; p = Page('t'); p.section('s').table({'a': [1]});"
        "p.render(); sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-W", "error", "-c", code]).returncode == 0
