"""The report in a real browser: nothing is fetched, nothing foreign runs, and it works on a phone and without scripts.

Skipped where no Chromium is installed; the gate installs it where it may.
"""

import json
import re
import shutil
import subprocess
from html import escape
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.table import Table

from stillsky.image import Exposure, Image, Mask, MaskedImage
from stillsky.kernel import FixedKernel, LinearCombinationKernel
from stillsky.report.subtract_report import finishReport, subtractReport

HOSTILE = "<script>alert('x')</script>\"'&--><img src=http://127.0.0.1:9/stolen.png onerror=alert(1)>"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium: reports are not opened in a browser")

# Quiet, and without a way out: what is asked for is written down, but no name is found.
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --hide-scrollbars --enable-logging=stderr"
).split()

# Runs beside two copies of the page, one narrow and without its script, one wide and with it; writes down what it sees.
DRIVER = """
<img src="http://127.0.0.1:9/control.png"><pre id="told"></pre>
<script>
addEventListener("load", () => {
  const [narrow, wide] = [...document.querySelectorAll("iframe")].map(f => f.contentDocument);
  const shown = (d, e) => d.defaultView.getComputedStyle(e).display !== "none";
  const all = (d, s) => [...d.querySelectorAll(s)];
  const rows = () => all(wide, "table.sortable tbody").pop().rows;
  const first = () => rows()[0].cells[0].textContent;
  const key = name => wide.dispatchEvent(new KeyboardEvent("keydown", {key: name, bubbles: true}));
  const look = () => all(wide, ".look img:not(.overlay)").findIndex(i => i.classList.contains("shown"));
  const told = {
    narrowWidth: narrow.documentElement.scrollWidth,
    narrowPictures: all(narrow, ".look img:not(.overlay)").filter(e => shown(narrow, e)).length,
    narrowOverlays: all(narrow, ".look .overlay").filter(e => shown(narrow, e)).length,
    broken: all(wide, "img").filter(i => !i.complete || !i.naturalWidth).length,
    wideWidth: wide.documentElement.scrollWidth,
    widePictures: all(wide, ".look img:not(.overlay)").filter(e => shown(wide, e)).length,
    boxes: all(wide, ".tools input[type=checkbox]").length,
    marks: all(wide, ".look svg.shown circle").length,
    look: [look()],
    order: [first()],
  };
  key(" ");
  told.look.push(look());
  key("ArrowRight");
  told.focus = wide.activeElement.className;
  const head = all(wide, "table.sortable").pop().querySelectorAll("th button")[0];
  head.click();
  told.order.push(first());
  head.click();
  told.order.push(first());
  const search = wide.querySelector("input[type=search]");
  search.value = "edge";
  search.dispatchEvent(new Event("input"));
  told.found = [...rows()].filter(r => !r.hidden).length;
  told.scripts = all(wide, "script").length;
  document.getElementById("told").textContent = JSON.stringify(told);
});
</script>
"""


def _exposure(pixels):
    mask = np.zeros(pixels.shape, np.int32)
    mask[:4] = 1
    return Exposure(MaskedImage(Image(pixels.astype(np.float32)), Mask(mask), Image(np.ones(pixels.shape, np.float32))))


@pytest.fixture(scope="module")
def page():
    """A small report with sources, whose every text wants to be markup."""
    rng = np.random.default_rng(3)
    noise, template = rng.standard_normal((2, 128, 128))
    k = np.arange(30)
    sources = Table({
        "id": 2**60 + k, "x": 4.0 * k, "y": 120.0 - 4 * k, "detectSignificance": 40.0 - k, "is_negative": k % 3 == 0,
        "base_PixelFlags_flag_edge": k < 5,
    })  # fmt: skip
    role = {"path": f"/x/{HOSTILE}.fits", "width": 128, "height": 128, "xy0": [0, 0], "provenance": [HOSTILE]}
    summary = {
        "inputs": {"science": role, "template": role}, "command": ["stillsky", HOSTILE], "timings": {"fit": 0.5},
        "config": {"values": {"a": HOSTILE, "psfmatch.sizeCellX": 32, "psfmatch.sizeCellY": 32}, "origins": {"a": "-c"}},
    }  # fmt: skip
    result = SimpleNamespace(
        difference=_exposure(noise), matchedTemplate=_exposure(template), science=_exposure(noise + template),
        kernel=LinearCombinationKernel([FixedKernel(np.eye(5) / 5)], [1.0]), background=None, convolved="template",
        candidates=None, sources=sources, metadata={}, decisions=[HOSTILE], warnings=[("W-EVIL", HOSTILE)], timings={},
    )  # fmt: skip
    return finishReport(subtractReport(result, summary), json.dumps(summary), summary).render()


def _browse(tmp_path, text, *options):
    """Open a page; returns output, console, and the addresses that it, not the browser itself, asked for."""
    (tmp_path / "r.html").write_text(text, encoding="utf-8")
    log = tmp_path / "net.json"
    call = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}", *options]
    call += ["--host-resolver-rules=MAP * ~NOTFOUND", (tmp_path / "r.html").as_uri()]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    events = [e.get("params", {}) for e in json.loads(log.read_text())["events"]]
    asked = {p["url"] for p in events if p.get("initiator", "not an origin") != "not an origin" and "url" in p}
    return done.stdout, re.findall(r".*CONSOLE.*", done.stderr), {a for a in asked if a.startswith("http")}


def test_nothingIsFetchedAndNothingForeignRuns(page, tmp_path):
    picture = tmp_path / "r.png"
    _, console, asked = _browse(tmp_path, page, f"--screenshot={picture}", "--window-size=1200,1500")
    assert console == []  # no error of a script, nothing refused by the policy of the page
    assert asked == set()
    from matplotlib.image import imread

    pixels = imread(picture)
    assert pixels.shape[:2] == (1500, 1200) and pixels[..., :3].std() > 0.05


def test_keysTablesAndPhonesWorkAndScriptsAreNotNeeded(page, tmp_path):
    """A copy without the policy can be looked into; the picture beside it shows that a request would be noticed."""
    copy = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page, count=1)
    still = re.sub(r"<script>.*?</script>", "", copy, flags=re.S)
    assert len(still) < len(copy) < len(page)
    frames = "".join(
        f'<iframe width="{width}" height="800" srcdoc="{escape(text)}"></iframe>'
        for width, text in ((390, still), (1200, copy))
    )
    out, _, asked = _browse(tmp_path, f"<!DOCTYPE html>{frames}{DRIVER}", "--dump-dom", "--window-size=1700,900")
    assert asked == {"http://127.0.0.1:9/control.png"}
    told = json.loads(re.search(r'<pre id="told">(.*?)</pre>', out, re.S).group(1))
    assert told["narrowWidth"] <= 390 and told["wideWidth"] <= 1200  # nothing sticks out to the side
    assert told["narrowPictures"] == 3 and told["narrowOverlays"] == 0  # without scripts all are there
    assert told["broken"] == 0 and told["scripts"] == 2
    assert told["widePictures"] == 1 and told["look"] == [0, 1] and told["boxes"] >= 3 and told["marks"] == 30
    assert told["focus"].startswith("cut")
    assert told["order"][0] == told["order"][2] == "40.0" and told["order"][1] == "11.0"
    assert told["found"] == 5
