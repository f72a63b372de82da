"""``stillsky psfmatch``: the kernel only."""

import click

from ..options import VerbCommand, configOptions, gateOption, inputOptions, outputOptions, runOptions
from ..run import runVerb

__all__ = ["psfmatch"]

_SUFFIXES = (".kernel.fits", ".json")


@click.command(cls=VerbCommand)
@click.argument("science", metavar="SCIENCE")
@click.argument("template", metavar="TEMPLATE")
@outputOptions()
@configOptions("psfmatch")
@click.option("--convolve", type=click.Choice(["auto", "template", "science"]), help="Which image is convolved.")
@click.option(
    "--register", is_flag=True, hidden=True, help="Find shift, rotation and scale of TEMPLATE from its objects."
)
@inputOptions()
@gateOption()
@runOptions()
def psfmatch(**options):
    """Fit the kernel that matches the PSFs of SCIENCE and TEMPLATE, and nothing else.

    The kernel is the one that "stillsky subtract" with the same options would use; no image is convolved, subtracted
    or written. Products are PREFIX.kernel.fits, which stillsky.readKernel gives back as a kernel, and PREFIX.json.
    """
    return runVerb("psfmatch", options, _run)


def _run(run):
    from ..inputs import defaultPrefix, readPair, readStars
    from ..products import StagedProducts
    from ..run import toJson
    from .subtract import checkGates, failOn, noteResult, printPlan, readGates, resolveConfig

    options = run.options
    gates = readGates(run)
    resolved = resolveConfig(run)
    prefix = defaultPrefix(options["science"], run.verb, options["output"])
    if not options["dry_run"]:
        output = StagedProducts(prefix, _SUFFIXES, options["overwrite"])
    science, template = readPair(run, options["science"], options["template"])
    stars = readStars(options["stars"], science) if options["stars"] else None
    if options["dry_run"]:
        return printPlan(run, resolved, prefix, _SUFFIXES)

    from stillsky.diffim import matchPsfs
    from stillsky.fits import writeKernel

    result = matchPsfs(science, template, config=resolved.config, stars=stars, progress=run.progress)
    run.progress.close()
    noteResult(run, result)
    hits = checkGates(run, gates)
    with output:
        writeKernel(
            result.kernel, output.path(".kernel.fits"), background=result.background, convolved=result.convolved
        )
        run.summary["products"] = [prefix + suffix for suffix in _SUFFIXES]
        run.summary["timings"]["total"] = run.seconds
        with open(output.path(".json"), "w", encoding="utf-8") as stream:
            stream.write(toJson(run.summary) + "\n")
    kernelSum = result.metadata.get("spatialKernelSum", float("nan"))
    run.say(f"result: kernel of the {result.convolved}; sum {kernelSum:.4g}; {run.seconds:.1f} s; {prefix}.kernel.fits")
    return failOn(hits)
