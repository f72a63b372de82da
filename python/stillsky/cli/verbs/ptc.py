"""``stillsky ptc``: gain, noise and covariances of a sensor from pairs of flat fields."""

import click

from ..options import VerbCommand, configOptions, gateOption, runOptions
from ..run import runVerb

__all__ = ["SUFFIXES", "ptc", "ptcFiles"]

SUFFIXES = (".ptc.fits", ".ptc.ecsv", ".ptc.pdf", ".html", ".json")
_MODELS = {"eq16": "EXPAPPROXIMATION", "full": "FULLCOVARIANCE", "nob": "FULLCOVARIANCE_NO_B"}


@click.command(cls=VerbCommand)
@click.argument("flats", metavar="FLAT...|DIR", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="PREFIX",
    help="Prefix of the products [default: name of the folder or of the first file, in the current folder].",
)
@click.option(
    "--pair-by",
    "pairBy",
    type=click.Choice(["auto", "time", "key", "name", "order", "level"]),
    help="What the two flats of a pair have in common [default: exposure time, else name or level].",
)
@click.option("--pair-key", "pairKey", metavar="KEY", help="Pair by this header key, e.g. the charge of a photodiode.")
@click.option(
    "--amps", metavar="FILE.yaml", help="Amplifiers: NAME: {data: [x0, x1, y0, y1], bias: [...]}, 0-based half open."
)
@click.option("--bias", multiple=True, metavar="FILE", help="Bias frame to subtract; several are averaged.")
@click.option("--mask", metavar="FILE[EXT]", help="Image of the frame's size that is not 0 where a pixel is bad.")
@click.option(
    "--model",
    type=click.Choice(list(_MODELS)),
    help="eq16: variance only; full: all covariances; nob: these with b = 0.",
)
@click.option(
    "--per-pixel",
    "perPixel",
    is_flag=True,
    help="Also gain and noise of every pixel (CMOS): needs 3 levels of 20 frames. Writes PREFIX.maps.fits.",
)
@click.option("--no-overscan", "noOverscan", is_flag=True, hidden=True, help="Do not subtract the overscan.")
@click.option("--saturation", type=float, metavar="ADU", hidden=True, help="Raw values from here on are saturated.")
@click.option(
    "--range",
    "lagRange",
    type=click.IntRange(min=1),
    metavar="N",
    hidden=True,
    help="Lags of the covariances: 0 to N-1.",
)
@click.option("--ext", metavar="NAME", hidden=True, help="Extension of all files; FILE[NAME] for one of them.")
@click.option("--region", metavar="X0:X1,Y0:Y1", help="Part of the frame, 0-based and half open.")
@click.option("--fits-region", "fitsRegion", metavar="X0:X1,Y0:Y1", hidden=True, help="The same 1-based and inclusive.")
@click.option("--report/--no-report", default=True, help="Write PREFIX.html and PREFIX.ptc.pdf.")
@gateOption()
@click.option("--overwrite", is_flag=True, help="Replace existing products.")
@click.option("--dry-run", is_flag=True, help="Print pairs, amplifiers and configuration; measure and write nothing.")
@configOptions("ptc", "minPairs=3")
@runOptions()
def ptc(**options):
    """Measure gain, read noise, full well and covariances from pairs of flat fields.

    FLAT are FITS files of one sensor, or folders of them; @FILE is a list. Two flats of equal exposure time are a pair.
    Amplifiers come from DETSEC, DATASEC and BIASSEC, from --amps, or the frame is one; overscan or a --bias is
    subtracted. Products are PREFIX.ptc.fits (everything), PREFIX.ptc.ecsv (one row per amplifier), PREFIX.ptc.pdf
    (plots), PREFIX.html (report) and PREFIX.json.
    """  # fmt: skip
    return runVerb("ptc", options, ptcFiles)


def _dedicated(options):
    """Configuration keys that options of their own set."""
    given = {
        "pairBy": (options["pairBy"], "--pair-by"),
        "pairKey": (options["pairKey"], "--pair-key"),
        "solve.ptcFitType": (_MODELS.get(options["model"]), "--model"),
        "subtractOverscan": (False if options["noOverscan"] else None, "--no-overscan"),
        "saturation": (options["saturation"], "--saturation"),
    }
    if options["lagRange"]:
        for key in (
            "extract.maximumRangeCovariancesAstier",
            "solve.maximumRangeCovariancesAstier",
            "solve.maximumRangeCovariancesAstierFullCovFit",
        ):
            given[key] = (options["lagRange"], "--range")
    return {key: pair for key, pair in given.items() if pair[0] is not None}


def _prefix(options):
    """Given prefix, else the name of the folder or the first file: the suffixes say that it is a PTC."""
    import os

    from ..inputs import defaultPrefix

    first = options["flats"][0].lstrip("@")
    name = os.path.basename(os.path.abspath(first)) if os.path.isdir(first) else first
    stem = defaultPrefix(name, "ptc").removesuffix(".ptc")
    given = options["output"]
    if given is None:
        return stem
    return os.path.join(given, stem) if given.endswith(os.sep) or os.path.isdir(given) else given


def ptcFiles(run):
    """Body of the verb: resolve, refuse, scan, pair, measure, fit, write."""
    from ..config import resolveRun
    from ..inputs import readRegion
    from ..products import StagedProducts
    from .subtract import checkGates, failOn, printPlan, readGates

    options = run.options
    region = readRegion(run)
    gates = readGates(run)
    resolved = resolveRun(run, _dedicated(options))
    prefix = _prefix(options)
    suffixes = [s for s in SUFFIXES if options["report"] or s not in (".ptc.pdf", ".html")]
    suffixes += [".maps.fits"] if options["perPixel"] else []
    if not options["dry_run"]:
        output = StagedProducts(prefix, suffixes, options["overwrite"])

    from stillsky.ptc.job import PhotonTransferJob

    job = PhotonTransferJob(
        resolved.config,
        amps=options["amps"], bias=options["bias"], mask=options["mask"], ext=options["ext"], region=region,
        perPixel=options["perPixel"], say=run.say, warn=run.warn, progress=run.progress,
    )  # fmt: skip
    with run.timed("scan"):
        job.scan(options["flats"])
    run.summary["inputs"] = job.describeInputs()
    if options["dry_run"]:
        return printPlan(run, resolved, prefix, suffixes)
    try:
        result = job.measure()
    finally:
        run.progress.close()
        run.summary["timings"].update(job.timings)
        run.summary["metadata"] = job.metadata
    run.summary["decisions"] = list(result.decisions)
    run.summary["cannotMeasure"] = list(result.cannot)
    hits = checkGates(run, gates)
    with output:
        _write(run, result, output, suffixes)
    _print(run, result)
    run.say(_resultLine(run, result, prefix))
    return failOn(hits)


def _write(run, result, output, suffixes):
    """All products under the staging prefix; the summary names the final files."""
    from ...ptc.summary import verdict
    from ..run import toJson
    from .subtract import noteMachine

    figures = ()
    run.summary["verdict"] = dict(zip(("state", "sentence"), verdict(result.table), strict=True))
    with run.timed("write"):
        result.writeTables(output.prefix)
        if ".html" in suffixes:
            from ...report.ptc_report import ptcReport, writePtcPlots

            figures = writePtcPlots(result, output.path(".ptc.pdf"))
    run.summary["products"] = sorted(str(output.finalName(output.path(s))) for s in suffixes)
    noteMachine(run)
    run.summary["timings"]["total"] = run.seconds
    text = toJson(run.summary)
    with open(output.path(".json"), "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
    if ".html" in suffixes:
        ptcReport(result, (text, run.summary), figures).write(output.path(".html"))


_COLUMNS = {
    "ampName": ("amplifier", None), "gain": ("gain", ".4f"), "gainErr": ("±", ".4f"), "noise": ("noise", ".2f"),
    "noiseErr": ("±", ".2f"), "a00": ("a00 [1e-6]", ".3f"), "a00Err": ("±", ".3f"), "ptcTurnoff": ("turn-off", ".0f"),
    "fullWell": ("full well", ".0f"), "chi2Dof": ("chi2/dof", ".2f"), "nPairs": ("pairs", None), "flags": ("flags", None),
}  # fmt: skip


def _print(run, result):
    """The table on stdout; with --json on stderr, where everything else is."""
    import sys

    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ..logs import silence

    if run.options.get("quiet") or not run.options.get("table", True):
        return
    stream = sys.stderr if run.options.get("asJson") else sys.stdout
    shown = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold", caption_justify="left")
    for name, (heading, _) in _COLUMNS.items():
        numeric = name not in ("ampName", "flags")
        shown.add_column(heading, justify="right" if numeric else "left", no_wrap=name != "flags")
    for row in result.table:
        cells = []
        for name, (_, form) in _COLUMNS.items():
            value = row[name] * 1e6 if name in ("a00", "a00Err") else row[name]
            text = "–" if value != value else format(value, form) if form else str(value)
            cells.append(Text(text))
        shown.add_row(*cells)
    # a pipe gets whole lines: rich would cut the table to 80 columns
    console = Console(file=stream, width=None if stream.isatty() else 150, highlight=False)
    try:
        console.print(shown)
    except BrokenPipeError:
        silence(stream)


def _resultLine(run, result, prefix):
    figures = run.summary["metadata"]
    parts = [f"{figures['amplifiers']} amplifier{'s' * (figures['amplifiers'] != 1)}, {figures['pairs']} pairs"]
    well = "full well at least" if any(c.startswith("full well") for c in run.summary["cannotMeasure"]) else "full well"
    for key, words, form in (("gain", "gain", ".4g"), ("noise", "noise", ".3g"), ("fullWell", well, ".0f")):
        value = figures.get(key)
        if value is not None and value == value:
            unit = "e/adu" if key == "gain" else "e"
            parts.append(f"{words} {value:{form}} {unit}")
    parts += [f"{run.seconds:.1f} s", f"{prefix}.ptc.fits"]
    return "result: " + "; ".join(parts)
