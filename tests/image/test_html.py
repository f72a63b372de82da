"""What notebooks show."""

from html.parser import HTMLParser

import numpy as np
import pytest

from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.meta import FilterLabel


class _Checker(HTMLParser):
    """Counts tags and refuses what is not closed or comes from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.open, self.images = [], 0
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        assert tag in ("div", "table", "tr", "th", "td", "img"), tag
        for key, value in attributes:
            assert key in ("style", "alt", "src") and (key != "src" or value.startswith("data:image/png;base64,"))
        if tag == "img":
            self.images += 1
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def arrays():
    wild = np.random.default_rng(3).normal(size=(40, 30)).astype(np.float32)
    wild[0], wild[1, :3] = np.nan, (np.inf, -np.inf, 1e38)
    yield "ordinary", wild, 1
    yield "constant", np.full((5, 7), 3.0), 1
    yield "whole numbers", np.arange(12, dtype=np.uint16).reshape(3, 4), 1
    yield "all NaN", np.full((4, 4), np.nan), 0
    yield "empty", np.zeros((0, 0)), 0
    yield "one pixel", np.ones((1, 1)), 1
    yield "tall", np.ones((5000, 1), np.float32), 1
    yield "wide", np.ones((1, 5000), np.float32), 1


@pytest.mark.parametrize("array, pictures", [a[1:] for a in arrays()], ids=[a[0] for a in arrays()])
def test_html_of_any_image_is_complete_and_self_contained(array, pictures):
    m = MaskedImage(Image(array))
    for shown in (m.image, m, Exposure(m)):
        text = shown._repr_html_()
        assert _Checker(text).images == pictures and len(text) < 100_000
    _Checker(m.mask._repr_html_())


def test_html_escapes_what_comes_from_files():
    mask = Mask(np.ones((3, 3), np.int32), schema={"<script>alert(1)</script>": 0})
    e = Exposure(
        MaskedImage(Image(np.zeros((3, 3), np.float32)), mask),
        filter=FilterLabel(physical="<b>&"),
        provenance=["<i>read"],
    )
    text = e._repr_html_()
    assert "&lt;script&gt;" in text and "&lt;b&gt;&amp;" in text and "&lt;i&gt;read" in text
    _Checker(text)
    _Checker(mask._repr_html_())


def test_html_tells_the_mask_and_the_size():
    m = MaskedImage(Image(np.arange(100, dtype=np.float32).reshape(10, 10), (3, 4)))
    m.mask[3:13, 4:9] = 2
    text = m._repr_html_()
    assert "10 x 10 float32" in text and "(3, 4)" in text and "mask SAT" in text and "50 %" in text
