"""``stillsky coadd``: one deep image of many."""

import math

import click

from ..options import VerbCommand, configOptions, gateOption, outputOptions, runOptions, stackOptions
from ..run import runVerb

__all__ = ["SUFFIXES", "coadd", "coaddFiles"]

SUFFIXES = (".coadd.fits", ".nimage.fits", ".inputs.ecsv", ".html", ".json")
ARTIFACTS, MASKS = ".artifacts.fits", ".masks.fits"  # with method compare; the latter with --keep


@click.command(cls=VerbCommand)
@click.argument("images", metavar="IMG...|@LIST", nargs=-1, required=True)
@click.option(
    "--method",
    type=click.Choice(["mean", "meanclip", "median", "compare"]),
    help="compare leaves out what single PSF-matched images have and the static sky has not [default: meanclip].",
)
@click.option("--keep", is_flag=True, hidden=True, help="With compare, also write PREFIX.masks.fits: a mask per input.")
@outputOptions("first file")
@stackOptions()
@configOptions("coadd", "register=never")
@gateOption()
@runOptions()
def coadd(**options):
    """Combine images of one field into a deep one.

    IMG are FITS files of any camera, or folders of them; @LIST is a text file of names. Images on one pixel grid are
    stacked as they are; others are resampled to the grid of --reference, or to a common tangent plane. Flux scale and
    sky of each are brought to those of the first by common stars and by clipped sky (--scale none: not at all).

    Products are PREFIX.coadd.fits (image, mask, variance, PSF), PREFIX.nimage.fits (inputs of each pixel),
    PREFIX.inputs.ecsv (a row per input, used or not), PREFIX.html (report) and PREFIX.json; with --method compare also
    PREFIX.artifacts.fits (what was left out of each input).
    """
    return runVerb("coadd", options, coaddFiles)


def coaddFiles(run):
    """Body of the verb: resolve, refuse, measure, stack, write."""
    from ..products import StagedProducts
    from .subtract import checkGates, failOn, printPlan, readGates

    options = run.options
    gates = readGates(run)
    resolved = resolveStack(run, {"method": (options["method"], "--method")})
    prefix = stackPrefix(options, "coadd")
    suffixes = [s for s in SUFFIXES if options.get("report", True) or s != ".html"]
    if resolved.config.method == "compare":
        suffixes += [ARTIFACTS, MASKS] if options["keep"] else [ARTIFACTS]
    if not options["dry_run"]:
        output = StagedProducts(prefix, suffixes, options["overwrite"])
    from stillsky.coadd.plain import PlainCoadd

    with PlainCoadd(resolved.config, **jobArguments(run, prefix)) as job:
        runJob(run, job, lambda: job.scan(options["images"]))
        if options["dry_run"]:
            run.summary["metadata"] = dict(job.metadata)
            return printPlan(run, resolved, prefix, suffixes)
        result = runJob(run, job, job.run)
        run.summary["metadata"] = dict(result.metadata)
        hits = checkGates(run, gates)
        with output:
            writeStack(run, result, output, suffixes, "coadd_report", "coaddReport")
    run.say(_resultLine(run, result, prefix))
    return failOn(hits)


# ---------------------------------------------------------------------- shared with dcr


def resolveStack(run, dedicated):
    """The configuration of a run, with the options that coadd and dcr share."""
    from ..config import resolveRun

    options, base = run.options, "" if run.verb == "coadd" else "inputs."
    shared = {
        f"{base}scale": (options["scale"], "--scale"),
        f"{base}assemble.memory": (options["memory"], "--memory"),
        f"{base}assemble.strict": (options["strict"] or None, "--strict"),
        f"{base}register": ("always" if options["register"] else None, "--register"),
        f"{base}site": (parseSite(options["site"]) if options["site"] else None, "--site"),
    }
    return resolveRun(run, {k: pair for k, pair in {**shared, **dedicated}.items() if pair[0] is not None})


def parseSite(text):
    """[longitude, latitude, height] of ``LON,LAT,HEIGHT`` or of the name of a known site; DomainError for anything else."""
    import math

    from stillsky.errors import DomainError
    from stillsky.meta.site import KNOWN_SITES

    known = {name.lower(): site for name, site in KNOWN_SITES.items()}.get(text.strip().lower())
    if known is not None:
        return [math.degrees(known.longitude), math.degrees(known.latitude), known.elevation]
    try:
        longitude, latitude, height = (float(part) for part in text.split(","))
    except ValueError:
        longitude = math.nan
    if not (abs(longitude) <= 360 and abs(latitude) <= 90 and -500 <= height <= 9000):
        raise DomainError(
            "--site: wanted longitude (degrees East), latitude (degrees) and height (metres), or the name of a site",
            found=repr(text), remedy="--site=-70.8065,-30.1697,2207, or one of " + ", ".join(sorted(KNOWN_SITES)),
        )  # fmt: skip
    return [longitude, latitude, height]


def stackPrefix(options, verb):
    """Given prefix, else the stem of the first file or the name of the folder or list: the suffixes tell the rest."""
    import os

    from ..inputs import defaultPrefix

    first = options["images"][0].lstrip("@")
    name = os.path.basename(os.path.abspath(first)) if os.path.isdir(first) else os.path.basename(first)
    stem = defaultPrefix(name.removesuffix(".txt").removesuffix(".list"), verb).removesuffix(f".{verb}")
    given = options["output"]
    if given is None:
        return stem
    return os.path.join(given, stem) if given.endswith(os.sep) or os.path.isdir(given) else given


def jobArguments(run, prefix):
    """Keyword arguments of a job from the options; what is misspelt is said before three hundred images are read."""
    import os

    from ..exits import OutputError
    from ..inputs import checkFile
    from ..regions import splitExtension

    options = run.options
    if options["reference"]:
        checkFile(splitExtension(options["reference"])[0], "reference")
    work = options.get("work")
    if work and os.path.exists(work) and not os.path.isdir(work):
        raise OutputError(
            f"--work wants a folder: {work}", found="a file", remedy="name a folder, new or of an earlier run"
        )
    names = {"gain": "gain", "readNoise": "readNoise", "saturation": "saturation"}
    read = {to: options[of] for of, to in names.items() if options.get(of) is not None}
    return {
        "reference": options["reference"], "ext": options.get("ext"), "readOptions": read, "work": options.get("work"),
        "say": run.say, "warn": run.warn, "progress": run.progress, "quietly": run.log.withholdWarnings,
        "prefix": prefix,
    }  # fmt: skip


def runJob(run, job, step):
    """One step of a job, with what it decided in the summary whatever happens."""
    try:
        return step()
    finally:
        run.progress.close()
        run.summary["inputs"] = describeInputs(job)
        run.summary["decisions"] = list(job.decisions)
        run.summary["timings"].update(job.timings)


def describeInputs(job):
    """The inputs as P.json keeps them, by their names."""
    return {
        f"{k + 1}: {item.name}": {
            "file": item.path, "used": item.used, "reason": item.reason, "provenance": list(item.provenance),
        }
        for k, item in enumerate(job.inputs)
    }  # fmt: skip


def writeStack(run, result, output, suffixes, module, function):
    """Everything under the staging prefix; the summary names the final files."""
    import importlib

    from ..run import toJson
    from .subtract import noteMachine

    with run.timed("write"):
        masks = {"masks": True} if MASKS in suffixes else {}
        result.writeFiles(output.prefix, compress=run.option("compress", "none"), **masks)
    run.summary["products"] = sorted(str(output.finalName(output.path(s))) for s in suffixes)
    run.summary |= result.forSummary()
    noteMachine(run)
    page = None
    if ".html" in suffixes:
        with run.timed("report"):
            page = getattr(importlib.import_module(f"stillsky.report.{module}"), function)(result, run.summary)
            run.summary["verdict"] = page.verdict
    run.summary["timings"]["total"] = run.seconds
    text = toJson(run.summary) + "\n"
    with open(output.path(".json"), "w", encoding="utf-8") as stream:
        stream.write(text)
    if page is not None:
        from stillsky.report.run_section import runSection

        runSection(page.section("Run"), run.summary)
        page.document = text
        page.write(output.path(".html"))


def _resultLine(run, result, prefix):
    figures = result.metadata
    parts = [f"{figures['inputsUsed']} of {figures['inputs']} inputs"]
    if figures["inputsUsed"] > 1 and math.isfinite(figures.get("noiseGain", math.nan)):
        best = f"best possible {figures['noiseGainExpected']:.2f}"
        if any(how in ("resampled", "registered") for how in result.table["grid"]):
            best = f"{figures['noiseGainExpected']:.2f} in large apertures at best: resampling has smoothed the pixels"
        parts.append(f"noise 1/{figures['noiseGain']:.2f} of one input ({best})")
    if figures.get("psfFwhm") == figures.get("psfFwhm") and figures.get("psfFwhm") is not None:
        parts.append(f"FWHM {figures['psfFwhm']:.2f} px")
    parts += [f"{100 * figures['rejectedFraction']:.2g} % of the samples rejected"]
    parts += [f"{run.seconds:.1f} s", f"{prefix}.coadd.fits"]
    return "result: " + "; ".join(parts)
