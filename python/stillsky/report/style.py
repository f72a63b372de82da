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
.verdict { border-radius: 10px; padding: 14px 18px; margin: 0 0 16px; font-weight: 600; background: var(--wash); }
.verdict.green { background: var(--greenWash); color: var(--green); }
.verdict.amber { background: var(--amberWash); color: var(--amber); }
.verdict.red { background: var(--redWash); color: var(--red); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(165px, 1fr)); gap: 12px; margin: 0 0 18px; }
.card { background: var(--wash); border-radius: 10px; padding: 12px 16px; }
.card b { display: block; font-size: 22px; font-weight: 600; font-variant-numeric: tabular-nums; line-height: 1.25;
  overflow-wrap: anywhere; }
.card span { color: var(--soft); font-size: 13px; }
.scroll { overflow: auto; max-height: 640px; border: 1px solid var(--line); border-radius: 10px; margin: 0 0 8px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 13.5px; }
th { position: sticky; top: 0; background: var(--wash); text-align: left; font-weight: 600; white-space: nowrap; }
th small { display: block; font-weight: 400; color: var(--soft); }
th, td { padding: 6px 12px; border-bottom: 1px solid var(--line); }
tbody tr:last-child td { border-bottom: 0; }
td.number, th.number { text-align: right; white-space: nowrap; }
td.text { overflow-wrap: anywhere; }
th button { all: unset; cursor: pointer; }
th button:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
tr.green td:first-child { border-left: 4px solid var(--green); }
tr.amber td:first-child { border-left: 4px solid var(--amber); }
tr.red td:first-child { border-left: 4px solid var(--red); }
figure { margin: 0 0 22px; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border: 1px solid var(--line);
  border-radius: 10px; }
figcaption { color: var(--soft); font-size: 13.5px; margin-top: 6px; max-width: 100ch; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 480px), 1fr)); gap: 0 22px; }
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
@media print { nav { display: none; } .scroll { max-height: none; overflow: visible; } section { break-inside: auto; }
  figure { break-inside: avoid; } }
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
  const images = [...frame.querySelectorAll("img")];
  const now = images.findIndex(image => image.classList.contains("shown"));
  images[now].classList.remove("shown");
  const next = images[(now + by + images.length) % images.length];
  next.classList.add("shown");
  frame.querySelector("figcaption").textContent = next.alt + " (click, space or arrows: next)";
};
blinkers.forEach(frame => frame.addEventListener("click", () => step(frame, 1)));
document.addEventListener("keydown", event => {
  const by = {" ": 1, ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!by || !blinkers.length || /^(BUTTON|A|SUMMARY)$/.test(document.activeElement.tagName)) return;
  event.preventDefault();
  blinkers.forEach(frame => step(frame, by));
});
"""
