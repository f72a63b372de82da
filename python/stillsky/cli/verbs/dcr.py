"""``stillsky dcr``: a band by colour, from visits at several airmasses."""

import click

from ..options import VerbCommand, configOptions, gateOption, outputOptions, runOptions, stackOptions
from ..run import runVerb

__all__ = ["dcr", "dcrFiles", "dcrSuffixes"]


@click.command(cls=VerbCommand)
@click.argument("images", metavar="IMG...|@LIST", nargs=-1, required=True)
@click.option(
    "--band-limits",
    "bandLimits",
    metavar="LOW,HIGHnm",
    help="Edges of the filter band, e.g. 402.8,549.8nm; needed unless a configuration file or --throughput has them.",
)
@click.option("--subfilters", type=click.IntRange(min=2), metavar="N", help="Parts of the band [default: 3].")
@click.option(
    "--throughput",
    metavar="FILE",
    hidden=True,
    help="Table of the band's throughput, wavelength (nm) and transmission; limits and centre of the band follow from it.",
)
@outputOptions("first file")
@stackOptions()
@configOptions("dcr", "maxSeeingRatio=1.3")
@gateOption()
@runOptions()
def dcr(**options):
    """Solve for what a field looks like in parts of a band, from the colours' refraction by the air.

    The air moves blue light towards the zenith. From visits of one field at several airmasses or hour angles follows an
    image for each of N parts of the band; their sum, each moved as the air of a given moment moves it, is a template
    without the dipoles that a plain coadd leaves (stillsky subtract --dcr PREFIX).

    IMG are FITS files as for stillsky coadd; time, site and position, or azimuth and altitude, tell where the zenith
    was. Products are PREFIX.dcr0.fits (the bluest), PREFIX.dcr1.fits, ..., PREFIX.coadd.fits (their sum),
    PREFIX.nimage.fits, PREFIX.inputs.ecsv, PREFIX.html (report) and PREFIX.json; with -c dcr.measureColours=true also
    PREFIX.colours.ecsv, the colours of the stars with their errors.
    """
    return runVerb("dcr", options, dcrFiles)


def dcrSuffixes(n, report=True, colours=False):
    """Suffixes of all products."""
    return (
        [".coadd.fits", *(f".dcr{k}.fits" for k in range(n)), ".nimage.fits", ".inputs.ecsv"]
        + [".colours.ecsv"] * colours
        + [".html"] * report
        + [".json"]
    )


def dcrFiles(run):
    """Body of the verb: resolve, refuse, measure, solve, write."""
    from ..bands import parseBandLimits
    from ..products import StagedProducts
    from .coadd import jobArguments, resolveStack, runJob, stackPrefix, writeStack
    from .subtract import checkGates, failOn, printPlan, readGates

    options = run.options
    gates = readGates(run)
    limits = parseBandLimits(options["bandLimits"]) if options["bandLimits"] else None
    dedicated = {
        "dcr.bandLimits": (list(limits) if limits else None, "--band-limits"),
        "dcr.throughput": (options["throughput"], "--throughput"),
        "dcr.dcrNumSubfilters": (options["subfilters"], "--subfilters"),
        "dcr.memory": (options["memory"], "--memory"),
    }
    resolved = resolveStack(run, dedicated)
    prefix = stackPrefix(options, "dcr")
    model = resolved.config.dcr
    suffixes = dcrSuffixes(model.dcrNumSubfilters, options.get("report", True), model.measureColours)
    if not options["dry_run"]:
        output = StagedProducts(prefix, suffixes, options["overwrite"])
    from stillsky.dcr.plain import PlainDcr

    with PlainDcr(resolved.config, **jobArguments(run, prefix)) as job:
        runJob(run, job, lambda: job.scan(options["images"]))
        if options["dry_run"]:
            return printPlan(run, resolved, prefix, suffixes)
        result = runJob(run, job, job.run)
        run.summary["metadata"] = dict(result.metadata)
        hits = checkGates(run, gates)
        with output:
            writeStack(run, result, output, suffixes, "dcr_report", "dcrReport")
    run.say(_resultLine(run, result, prefix))
    return failOn(hits)


def _resultLine(run, result, prefix):
    figures = result.metadata
    parts = [
        f"{figures['inputsUsed']} of {figures['inputs']} visits, airmass {figures['airmassMin']:.2f} to "
        f"{figures['airmassMax']:.2f}",
        f"misfit {figures['initialConvergence']:.3g} to {figures['finalConvergence']:.3g} in "
        f"{figures['iterations']} iterations",
        f"{run.seconds:.1f} s",
        f"{prefix}.dcr0.fits ... {prefix}.dcr{len(result.dcrCoadds) - 1}.fits",
    ]
    return "result: " + "; ".join(parts)
