"""Style sheet and script of the report: both are put into the page, so that it needs nothing else."""

__all__ = ["SCRIPT", "STYLE"]

STYLE = """
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2530; --soft: #5c6b7a; --line: #dce2e8; --wash: #f4f6f8;
  --accent: #0b62a8; --green: #1b7f4d; --amber: #9a6700; --red: #b3261e; --greenWash: #e3f4ea; --amberWash: #fdf3d8;
  --redWash: #fce8e6; }
@media (prefers-color-scheme: dark) { :root { --paper: #12171d; --ink: #e4e9ee; --soft: #9aa8b6; --line: #2c3641;
  --wash: #1a212a; --accent: #6cb4ee; --green: #63c793; --amber: #e0b050; --red: #f28b82; --greenWash: #16301f;
  --amberWash: #33290f; --redWash: #3a1a18; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto,
  "DejaVu Sans", sans-serif; }
main, header, nav, footer { max-width: 1180px; margin: 0 auto; padding: 0 24px; }
header { padding-top: 30px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0; letter-spacing: -0.01em; overflow-wrap: anywhere; }
header p { color: var(--soft); margin: 6px 0 0; overflow-wrap: anywhere; }
nav { position: sticky; top: 0; z-index: 2; background: var(--paper); padding-top: 12px; padding-bottom: 10px; }
nav div { border-bottom: 1px solid var(--line); padding-bottom: 8px; display: flex; gap: 4px 18px; flex-wrap: wrap; }
a { color: var(--accent); text-decoration: none; }
a:hover, a:focus-visible { text-decoration: underline; }
section { margin: 12px 0 38px; scroll-margin-top: 56px; }
h2 { font-size: 19px; margin: 0 0 12px; }
h3 { font-size: 15px; margin: 22px 0 8px; }
p { margin: 0 0 10px; max-width: 82ch; overflow-wrap: anywhere; }
.verdict { border-radius: 10px; padding: 14px 18px; margin: 0 0 16px; font-weight: 600; background: var(--wash);
  display: flex; gap: 12px; align-items: baseline; font-size: 16px; }
.verdict b { font-size: 20px; line-height: 1; }
.verdict span { overflow-wrap: anywhere; }
.verdict.green { background: var(--greenWash); color: var(--green); }
.verdict.amber { background: var(--amberWash); color: var(--amber); }
.verdict.red { background: var(--redWash); color: var(--red); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: 12px; margin: 0 0 18px; }
.card { background: var(--wash); border-radius: 10px; padding: 12px 16px; }
.card b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.25;
  overflow-wrap: anywhere; }
.card span { color: var(--soft); font-size: 13px; }
.scroll { overflow: auto; max-height: 460px; border: 1px solid var(--line); border-radius: 10px; margin: 0 0 8px;
  width: fit-content; max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th { position: sticky; top: 0; background: var(--wash); text-align: left; font-weight: 600; white-space: nowrap; }
th small { display: block; font-weight: 400; color: var(--soft); }
th, td { padding: 6px 12px; border-bottom: 1px solid var(--line); }
tbody tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.text { overflow-wrap: anywhere; min-width: 16em; }
td.word { white-space: nowrap; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
tr.green td:first-child { border-left: 4px solid var(--green); }
tr.amber td:first-child { border-left: 4px solid var(--amber); }
tr.red td:first-child { border-left: 4px solid var(--red); }
figure { margin: 0 0 22px; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line);
  border-radius: 10px; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 6px; max-width: 100ch; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 0 22px; }
.figures figure { max-width: 700px; }
.figures img { width: 100%; }
.row { display: grid; grid-template-columns: repeat(3, 1fr); gap: 0 12px; margin: 0 0 4px; }
.row img { width: 100%; border-radius: 6px; background: none; }
.row a, .row a:hover { text-decoration: none; }
.sheet { position: relative; }
.marks { position: absolute; inset: 0; width: 100%; height: 100%; pointer-events: none; overflow: hidden; }
.marks circle, .marks line { stroke-width: calc(1.6px / var(--zoom, 1)); vector-effect: non-scaling-stroke; }
.marks a { pointer-events: auto; }
.bars { margin: 0 0 14px; font-size: 13.5px; width: 100%; max-width: 640px; }
.bars th { background: none; font-weight: 400; position: static; color: var(--soft); padding-left: 0; }
.bars th, .bars td { padding: 2px 12px 2px 0; border: 0; }
.bars .bar { width: 55%; }
.bars i { display: block; height: 9px; border-radius: 3px; background: var(--accent); min-width: 1px; }
dl { display: grid; grid-template-columns: minmax(120px, max-content) 1fr; gap: 4px 20px; margin: 0 0 14px; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
ul { margin: 0 0 12px; padding-left: 20px; }
li { overflow-wrap: anywhere; }
pre { background: var(--wash); border-radius: 10px; padding: 12px 16px; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.45 ui-monospace, "DejaVu Sans Mono", monospace; }
details summary { cursor: pointer; color: var(--accent); margin: 0 0 8px; }
footer { color: var(--soft); font-size: 13px; padding-bottom: 40px; }
.blink img { display: none; }
.blink img.shown { display: block; }
.noscript .blink img { display: block; margin-bottom: 12px; }
.look .stage { overflow: hidden; border: 1px solid var(--line); border-radius: 10px; background: #3b2f4f; }
.look .sheet { position: relative; transform-origin: 0 0; }
.look img { width: 100%; max-width: none; border: 0; border-radius: 0; background: none; image-rendering: pixelated; }
.look .overlay { display: none; position: absolute; inset: 0; }
html:not(.noscript) .look .overlay.shown { display: block; }
.noscript .look img.overlay, .noscript .look svg.overlay { display: none; }
.tools { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; margin: 0 0 8px; font-size: 13.5px; }
.tools button, input[type=search] { font: inherit; color: inherit; background: var(--wash); border: 1px solid var(--line);
  border-radius: 7px; padding: 4px 11px; }
.tools button { cursor: pointer; min-width: 36px; }
.tools label { display: inline-flex; gap: 5px; align-items: center; }
.tools i { width: 11px; height: 11px; border-radius: 3px; display: inline-block; }
.cuts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); gap: 16px 18px;
  margin: 0 0 18px; }
.cuts.wide { grid-template-columns: repeat(auto-fill, minmax(min(100%, 500px), 1fr)); }
.cut figcaption { line-height: 1.4; }
.cut figcaption b { color: var(--ink); font-weight: 600; }
.cut:target { outline: 3px solid var(--accent); }
.cut { scroll-margin-top: 70px; }
.cut { margin: 0; padding: 8px; border-radius: 10px; background: var(--wash); border-left: 4px solid var(--line); }
.cut.green { border-left-color: var(--green); }
.cut.amber { border-left-color: var(--amber); }
.cut.red { border-left-color: var(--red); }
.cut:focus-visible { outline: 2px solid var(--accent); }
.cut img { width: 100%; border: 0; border-radius: 4px; image-rendering: pixelated; background: none; }
.pan { overflow-x: auto; }
@media (max-width: 620px) { .wide .pan img { max-width: none; width: 820px; } main, header, nav, footer { padding: 0 14px; } header { padding-top: 18px; }
  nav div { flex-wrap: nowrap; overflow-x: auto; } h1 { font-size: 22px; } dl { grid-template-columns: 1fr; gap: 0; }
  dd { margin: 0 0 6px; } .cards { grid-template-columns: 1fr 1fr; gap: 8px; } .row { gap: 0 5px; }
  td.text { min-width: 10em; } .row figcaption { font-size: 11.5px; line-height: 1.3; } th, td { padding: 5px 9px; } }
@media print { :root { --paper: #ffffff; --ink: #000000; --soft: #444444; --line: #bbbbbb; --wash: #f4f6f8; }
  nav, main .tools { display: none; } .scroll { max-height: none; overflow: visible; }
  table { font-size: 8.5px; } th { position: static; } th, td { padding: 2px 5px; }
  .figures, .cuts.wide { grid-template-columns: 1fr 1fr; } .cuts { grid-template-columns: 1fr 1fr 1fr; }
  section { break-inside: auto; } figure, .card, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  * { print-color-adjust: exact; } }
"""

# Sorting of tables and blinking of pictures; without scripts the page shows everything in the order of the file.
SCRIPT = """
"use strict";
document.documentElement.classList.remove("noscript");
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("th").forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.title = "sort";
    while (head.firstChild) button.appendChild(head.firstChild);
    head.appendChild(button);
    let rising = false;
    button.addEventListener("click", () => {
      rising = !rising;
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const number = text => text === "" ? NaN : Number(text);
      const rows = [...body.rows].sort((a, b) => {
        const x = key(a), y = key(b), p = number(x), q = number(y);
        if (Number.isNaN(p) && Number.isNaN(q)) return x.localeCompare(y, undefined, {numeric: true});
        if (Number.isNaN(p)) return rising ? 1 : -1;
        if (Number.isNaN(q)) return rising ? -1 : 1;
        return p - q;
      });
      if (!rising) rows.reverse();
      body.append(...rows);
    });
  });
}
const blinkers = [...document.querySelectorAll(".blink")];
const step = (frame, by) => {
  const images = [...frame.querySelectorAll("img:not(.overlay)")];
  const now = images.findIndex(image => image.classList.contains("shown"));
  images[now].classList.remove("shown");
  const next = images[(now + by + images.length) % images.length];
  next.classList.add("shown");
  frame.querySelector("figcaption").textContent = next.alt + " (click, space or arrows: next)";
};
blinkers.forEach(frame => {
  if (!frame.classList.contains("look")) frame.addEventListener("click", () => step(frame, 1));
});
for (const frame of document.querySelectorAll(".look")) {
  const stage = frame.querySelector(".stage"), sheet = frame.querySelector(".sheet");
  let zoom = 1, x = 0, y = 0, held = null;
  const place = () => {
    x = Math.min(0, Math.max(x, stage.clientWidth * (1 - zoom)));
    y = Math.min(0, Math.max(y, stage.clientHeight * (1 - zoom)));
    sheet.style.transform = `translate(${x}px, ${y}px) scale(${zoom})`;
    sheet.style.setProperty("--zoom", zoom);
    stage.style.cursor = zoom > 1 ? "grab" : "pointer";
  };
  const scale = (by, cx = stage.clientWidth / 2, cy = stage.clientHeight / 2) => {
    const next = Math.min(16, Math.max(1, zoom * by));
    x = cx - (cx - x) * next / zoom;
    y = cy - (cy - y) * next / zoom;
    zoom = next;
    place();
  };
  stage.addEventListener("pointerdown", event => {
    if (event.target.closest("a")) return;
    held = {x: event.clientX - x, y: event.clientY - y, moved: false};
    event.preventDefault();
  });
  window.addEventListener("pointermove", event => {
    if (!held) return;
    const nx = event.clientX - held.x, ny = event.clientY - held.y;
    held.moved ||= Math.hypot(nx - x, ny - y) > 4;
    if (held.moved) { x = nx; y = ny; place(); }
  });
  window.addEventListener("pointerup", () => {
    if (held && !held.moved) step(frame, 1);
    held = null;
  });
  stage.addEventListener("wheel", event => {
    if (!event.ctrlKey && zoom === 1) return;
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    scale(event.deltaY < 0 ? 1.25 : 0.8, event.clientX - box.left, event.clientY - box.top);
  }, {passive: false});
  const tools = document.createElement("div");
  tools.className = "tools";
  const button = (text, title, act) => {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = text;
    made.title = title;
    made.addEventListener("click", act);
    tools.append(made);
  };
  button("blink", "next picture (space)", () => step(frame, 1));
  button("+", "enlarge (ctrl and wheel)", () => scale(1.6));
  button("−", "make smaller", () => scale(0.625));
  button("whole", "whole image", () => { zoom = 1; x = y = 0; place(); });
  const label = (text, input) => {
    const made = document.createElement("label");
    made.append(...(text ? [text] : []), input);
    tools.append(made);
    return made;
  };
  const stretch = document.createElement("input");
  Object.assign(stretch, {type: "range", min: "0.4", max: "3", step: "0.1", value: "1"});
  stretch.addEventListener("input", () => frame.querySelectorAll("img:not(.overlay)").forEach(image => {
    image.style.filter = `contrast(${stretch.value})`;
  }));
  label("contrast ", stretch);
  frame.querySelectorAll(".overlay").forEach(image => {
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = image.classList.contains("shown");
    box.addEventListener("change", () => image.classList.toggle("shown", box.checked));
    const made = label("", box), patch = document.createElement("i");
    patch.style.background = image.dataset.colour;
    made.append(patch, image.dataset.name);
  });
  frame.prepend(tools);
}
for (const table of document.querySelectorAll("table.sortable")) {
  if (table.tBodies[0].rows.length < 20) continue;
  const search = document.createElement("input");
  search.type = "search";
  search.placeholder = "show rows with ...";
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const row of table.tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(word => text.includes(word));
    }
  });
  const bar = document.createElement("div");
  bar.className = "tools";
  bar.append(search);
  table.parentElement.before(bar);
}
const cuts = [...document.querySelectorAll(".cut")];
document.addEventListener("keydown", event => {
  const by = {" ": 1, ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!by || /^(BUTTON|A|SUMMARY|INPUT)$/.test(document.activeElement.tagName)) return;
  if (event.key !== " " && cuts.length) {
    event.preventDefault();
    const now = cuts.indexOf(document.activeElement);
    const next = cuts[now < 0 ? 0 : (now + by + cuts.length) % cuts.length];
    next.focus();
    next.scrollIntoView({block: "nearest"});
    return;
  }
  if (!blinkers.length) return;
  event.preventDefault();
  blinkers.forEach(frame => step(frame, by));
});
"""
