"""``stillsky subtract``: the difference of two images, with everything that tells how good it is."""

import click

from ..options import VerbCommand, configOptions, gateOption, inputOptions, outputOptions, runOptions
from ..run import runVerb

__all__ = ["KEPT", "SUFFIXES", "subtract", "subtractFiles"]

SUFFIXES = (".diff.fits", ".matched.fits", ".kernel.fits", ".json", ".png", ".sources.ecsv", ".sources.reg", ".html")
#: Further products of --keep.
KEPT = (".warped.fits", ".footprints.fits")


@click.command(cls=VerbCommand)
@click.argument("science", metavar="SCIENCE")
@click.argument("template", metavar="TEMPLATE", required=False)
@outputOptions()
@configOptions("subtract")
@click.option(
    "--dcr",
    "dcrTemplate",
    metavar="PREFIX",
    hidden=True,
    help="In place of TEMPLATE the subfilters of a run of stillsky dcr, at the science airmass.",
)
@click.option(
    "--method",
    type=click.Choice(["al", "zogy", "al-preconv"]),
    default="al",
    show_default=True,
    hidden=True,
    help="Matching kernel (Alard & Lupton), proper difference (ZOGY), or the former with detection on a likelihood image.",
)
@click.option("--convolve", type=click.Choice(["auto", "template", "science"]), help="Which image is convolved.")
@click.option(
    "--register", is_flag=True, hidden=True, help="Find shift, rotation and scale of TEMPLATE from its objects."
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SIGMA",
    help="Detect sources of this significance [default: 5].",
)
@click.option(
    "--sources",
    "sourceTable",
    type=click.Choice(["ecsv", "parquet", "fits", "none"]),
    default="ecsv",
    hidden=True,
    show_default=True,
    help="Format of the table of sources; none: no detection.",
)
@click.option(
    "--inject",
    type=click.IntRange(min=1),
    metavar="N",
    help="Plant N sources in memory and report how many are found, and their fluxes.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    hidden=True,
    help="Of everything random: places, fluxes and photon noise of planted sources.",
)
@inputOptions()
@click.option(
    "--keep",
    is_flag=True,
    hidden=True,
    help="Also write PREFIX.warped.fits (the template on the science grid, unmatched), PREFIX.footprints.fits and, with "
    "a method that has one, PREFIX.score.fits.",
)
@gateOption()
@click.option("--report/--no-report", default=True, hidden=True, help="Write PREFIX.html.")
@click.option("--picture/--no-picture", default=True, hidden=True, help="Write PREFIX.png.")
@runOptions()
def subtract(**options):
    """Match the PSFs of two images and subtract TEMPLATE from SCIENCE.

    Files are FITS, of any camera; FILE[EXT] picks an extension. Missing PSF, noise and mask are estimated, and every
    guess is printed. Products are PREFIX.diff.fits (image, mask, variance, PSF), PREFIX.matched.fits (the template as
    it was subtracted, with the differential background), PREFIX.kernel.fits, PREFIX.sources.ecsv and .reg (what changed, measured), PREFIX.json (all
    figures), PREFIX.png (the picture) and PREFIX.html (the report: opens in a browser and tells whether to believe the
    difference). With --inject also PREFIX.injected.ecsv.

    With --dcr PREFIX the template is made of the subfilters of stillsky dcr, as the air of the science exposure moves
    them.

    A new source is positive in the difference, whichever image was convolved.
    """
    if (options["template"] is None) == (options["dcrTemplate"] is None):
        missing = "Missing argument 'TEMPLATE', or --dcr PREFIX." if options["template"] is None else None
        raise click.UsageError(missing or "TEMPLATE and --dcr PREFIX exclude each other.", click.get_current_context())
    return runVerb("subtract", options, subtractFiles)


def resolveConfig(run):
    """The configuration of the run; its values and origins go to the summary."""
    from ..config import resolveRun
    from ..inputs import readRegion

    readRegion(run)  # a bad region is refused like a bad key: before anything else
    convolve, register = run.option("convolve"), run.option("register")
    dedicated = {"convolve": (convolve, "--convolve")} if convolve else {}
    if register:
        dedicated["doRegister"] = (True, "--register")
    if run.option("threshold") is not None:
        dedicated["detect.detection.thresholdValue"] = (run.option("threshold"), "--threshold")
    if run.option("inject") is not None:
        dedicated["inject.n"] = (run.option("inject"), "--inject")
    if run.option("seed") is not None:
        dedicated["inject.seed"] = (run.option("seed"), "--seed")
    if run.option("sourceTable") == "none":
        dedicated["doDetection"] = (False, "--sources")
    return resolveRun(run, dedicated)


def printPlan(run, resolved, prefix, suffixes):
    """What a dry run says: inputs as understood, keys that differ from their defaults, products."""
    run.summary["products"] = []
    run.summary["planned"] = [prefix + suffix for suffix in suffixes]
    lines = ["configuration, where it differs from the defaults:"]
    changed = resolved.changed()
    for key, (default, value) in changed.items():
        lines.append(f"  {key}: {value!r} (default {default!r}; from {resolved.origins.get(key, 'default')})")
    if not changed:
        lines.append("  none")
    lines.append("would write: " + ", ".join(run.summary["planned"]))
    for line in lines:
        run.say(line)
    return 0


def subtractFiles(run):
    """Body of the verb: resolve, refuse, read, subtract, write."""
    from ..inputs import defaultPrefix, readPair, readScienceAndDcr, readStars
    from ..products import StagedProducts

    options = run.options
    gates = readGates(run)
    resolved = resolveConfig(run)
    prefix = defaultPrefix(options["science"], run.verb, options["output"])
    optional = {".png": options.get("picture", True), ".html": options.get("report", True)}
    keep = options.get("keep", False)
    method = options.get("method") or "al"
    suffixes = SUFFIXES
    if keep:
        suffixes += KEPT + ((".score.fits",) if method != "al" else ())
    suffixes = _withSources([s for s in suffixes if optional.get(s, True)], run, resolved.config)
    if not options["dry_run"]:
        output = StagedProducts(prefix, suffixes, options["overwrite"])  # refuses before any work
    if options.get("dcrTemplate"):
        science, template = readScienceAndDcr(run, options["science"], options["dcrTemplate"])
    else:
        science, template = readPair(run, options["science"], options["template"])
    stars = readStars(options["stars"], science) if options["stars"] else None
    if options["dry_run"]:
        return printPlan(run, resolved, prefix, suffixes)

    from stillsky.diffim import subtract as subtractExposures

    result = subtractExposures(
        science,
        template,
        config=resolved.config,
        method=method,
        stars=stars,
        progress=run.progress,
        keepWarped=keep,
    )
    run.progress.close()
    noteResult(run, result)
    hits = checkGates(run, gates)
    with output:
        writeProducts(run, result, output, suffixes)
    run.say(_resultLine(run, result, f"{prefix}.diff.fits"))
    return failOn(hits)


def _withSources(suffixes, run, config):
    """The products with the table of sources in its format, or without anything of sources."""
    if not config.doDetection:
        return [s for s in suffixes if not s.startswith((".sources", ".footprints"))]
    table = f".sources{_tableSuffix(run)}"
    suffixes = [table if s == ".sources.ecsv" else s for s in suffixes]
    return suffixes + [".injected.ecsv"] * (config.inject.n > 0)


def readGates(run):
    """The conditions of --fail-on; a bad one is refused before anything else."""
    from ..gate import Gate

    return [Gate(text) for text in run.option("gates", ())]


class Hits(list):
    """Conditions that hold; ``error`` is that of a condition which has no value, or None."""

    error = None


def checkGates(run, gates):
    """Conditions that hold, with the figures that they name; they go to the summary. `failOn` refuses unknown names."""
    from ..exits import CommandError

    hits, unknown = Hits(), None
    for gate in gates:
        try:
            reason = gate.check(run.summary["metadata"])
        except CommandError as error:
            unknown = unknown or error
            continue
        if reason is not None:
            hits.append({"condition": gate.text, "found": reason})
    hits.error = unknown
    if gates:
        run.summary["failOn"] = list(hits)
        run.summary["exit"] = unknown.exitCode if unknown is not None else 8 if hits else 0
    return hits


def failOn(hits):
    """Raise GateHit when a condition holds, or the error of one without a value; else the exit code 0.

    Called when the products are written: a slip in the name of a figure must not cost the run.
    """
    from ..gate import GateHit

    if hits.error is not None:
        hits.error.productsWritten = True
        raise hits.error
    if not hits:
        return 0
    raise GateHit(
        "a condition of --fail-on holds: " + "; ".join(hit["condition"] for hit in hits),
        found="; ".join(hit["found"] for hit in hits),
        remedy="look at the products, which are written; they are complete",
    )


def noteResult(run, result):
    """Put what a subtraction found into the summary, and say what was not said while it ran."""
    run.summary["convolved"] = result.convolved
    run.summary["metadata"] = dict(result.metadata)
    run.summary["decisions"] = list(result.decisions)
    run.summary["timings"].update(result.timings)
    if getattr(result, "efficiency", None) is not None:
        run.summary["efficiency"] = result.efficiencyColumns()
    for sentence in result.decisions:
        run.say(sentence)
    for code, sentence in result.warnings:
        run.warn(code, sentence)


def writeProducts(run, result, output, suffixes):
    """Write everything under the staging prefix; the summary names the final files."""
    from stillsky.diffim.subtracted_background import withBackground

    with run.timed("write"):
        # the product, the picture and the report show the template as it was subtracted
        result.matchedTemplate = withBackground(result.matchedTemplate, result.background)
        written = result.write(
            output.prefix, overwrite=True, compress=run.option("compress", "none"),
            sources=_tableSuffix(run), summary=False, picture=False, report=False,
        )  # fmt: skip
        if ".png" in suffixes:
            from ...report import savePng, subtractFigure

            savePng(subtractFigure(result), output.path(".png"))
    names = {str(output.finalName(name)) for name in written}
    names |= {str(output.finalName(output.path(s))) for s in (".json", ".png", ".html") if s in suffixes}
    run.summary["products"] = sorted(names)
    _writeSummary(run, result, output, ".html" in suffixes)


def _tableSuffix(run):
    """Of the table of sources; that of none, which is not written, is the default."""
    kind = run.option("sourceTable") or "ecsv"
    return ".ecsv" if kind == "none" else f".{kind}"


def _writeSummary(run, result, output, withReport):
    """P.json, and the report that holds the same."""
    from ..run import toJson

    if withReport:
        from ...report import subtract_report as reports

        with run.timed("report"):
            noteMachine(run)
            quality = reports.qualityOf(result)
            run.summary |= quality[1]
            page = reports.subtractReport(result, run.summary, quality)
    run.summary["timings"]["total"] = run.seconds
    text = toJson(run.summary) + "\n"
    with open(output.path(".json"), "w", encoding="utf-8") as stream:
        stream.write(text)
    if withReport:
        reports.finishReport(page, text, run.summary).write(output.path(".html"))


def noteMachine(run):
    """Checksums of the inputs, versions and the peak of memory, for the report."""
    import hashlib
    import sys

    for facts in run.summary["inputs"].values():
        if isinstance(facts, dict) and "path" in facts:
            with open(facts["path"], "rb") as stream:
                facts["sha256"] = hashlib.file_digest(stream, "sha256").hexdigest()
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in ("numpy", "scipy", "astropy")}
    run.summary["versions"] = {"python": sys.version.split()[0], **{k: v for k, v in loaded.items() if v}}
    try:
        import resource
    except ImportError:  # not on Windows
        return
    unit = 1 if sys.platform == "darwin" else 1024
    run.summary["peakMemoryMB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def _resultLine(run, result, product):
    parts = [f"convolved {result.convolved}"]
    for key, words, form in (("spatialKernelSum", "kernel sum", ".4g"), ("skyChi", "sky chi", ".3f")):
        value = result.metadata.get(key)
        if value is not None:
            parts.append(f"{words} {value:{form}}")
    if "nDiaSources" in result.metadata:
        from stillsky.diffim.subtract_sources import sourceSentence

        parts.append(sourceSentence(result.metadata))
    parts += [f"{run.seconds:.1f} s", product]
    return "result: " + "; ".join(parts)
