"""``stillsky simulate``: small data whose truth is known."""

import click

from ..options import VerbCommand, VerbGroup, runOptions
from ..run import runVerb

__all__ = ["simulate", "writePair"]

_SUFFIXES = ("sci.fits", "tmpl.fits", "truth.ecsv")


@click.group(cls=VerbGroup)
def simulate():
    """Make small data whose truth is known."""


@simulate.command(cls=VerbCommand)
@click.option("-o", "--output", metavar="PREFIX", default="", help="Prefix, e.g. a folder/ [default: current folder].")
@click.option("--size", type=click.IntRange(min=64), default=1024, show_default=True, help="Side in pixels.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed.")
@click.option(
    "--sci-fwhm",
    "scienceFwhm",
    type=click.FloatRange(min=1.5),
    default=4.2,
    show_default=True,
    help="FWHM of the science PSF, pixels.",
)
@click.option(
    "--tmpl-fwhm",
    "templateFwhm",
    type=click.FloatRange(min=1.5),
    default=3.2,
    show_default=True,
    help="FWHM of the template PSF, pixels.",
)
@click.option(
    "--transients", "nTransients", type=click.IntRange(min=0), help="Number of transients [default: by area]."
)
@click.option("--offset", nargs=2, type=float, default=(0.0, 0.0), metavar="DX DY", help="Shift of the template grid.")
@click.option("--rotation", type=float, default=0.0, help="Rotation of the template grid, degrees.")
@click.option("--psf/--no-psf", default=True, help="Put the true PSFs into the files.")
@click.option("--plain", is_flag=True, help="Bare images, as from a small camera: no mask, variance or PSF.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@runOptions()
def pair(**options):
    """Write a science image, a template, and the truth of the transients between them.

    Files are PREFIXsci.fits, PREFIXtmpl.fits and PREFIXtruth.ecsv.
    """  # fmt: skip
    return runVerb("simulate", options, _run)


def _run(run):
    import os

    from ...sim import simulatePair
    from ..products import StagedProducts

    options = run.options
    # The names come after the prefix without a separator: "folder/" and "night1_" both do what one expects.
    folder, stem = os.path.split(options["output"])
    output = StagedProducts(os.path.join(folder, stem + "pair"), (), options["overwrite"])
    names = [os.path.join(folder, stem + suffix) for suffix in _SUFFIXES]
    output.refuse(names)
    keys = ("size", "seed", "scienceFwhm", "templateFwhm", "nTransients", "offset", "rotation")
    with run.timed("simulate"):
        simulated = simulatePair(**{k: options[k] for k in keys})
    with output, run.timed("write"):
        writePair(simulated, [output.beside(name) for name in names], psf=options["psf"], plain=options["plain"])
    run.summary["products"] = names
    run.summary["metadata"] = {**simulated.parameters, "nTransients": len(simulated.transients["x"])}
    run.say(f"result: {', '.join(names)}; {len(simulated.transients['x'])} transients; {run.seconds:.1f} s")
    return 0


@simulate.command(cls=VerbCommand)
@click.option("-o", "--output", metavar="PREFIX", default="", help="Prefix, e.g. a folder/ [default: current folder].")
@click.option(
    "--size",
    nargs=2,
    type=click.IntRange(min=16),
    default=(512, 512),
    show_default=True,
    metavar="W H",
    help="Columns and rows of an amplifier.",
)
@click.option("--amps", "amplifiers", type=click.IntRange(min=1), default=2, show_default=True, help="Amplifiers.")
@click.option("--levels", type=click.IntRange(min=1), default=12, show_default=True, help="Number of levels.")
@click.option(
    "--range",
    "span",
    nargs=2,
    type=click.FloatRange(min=1e-3),
    default=(200.0, 80000.0),
    show_default=True,
    metavar="LOW HIGH",
    help="Lowest and highest level, electrons.",
)
@click.option("--pairs", type=click.IntRange(min=1), default=1, show_default=True, help="Pairs at each level.")
@click.option("--bias", "nBias", type=click.IntRange(min=0), default=0, help="Number of bias frames.")
@click.option("--gain", type=click.FloatRange(min=1e-6), help="Electrons per adu [default: around 1.5].")
@click.option("--read-noise", "readNoise", type=click.FloatRange(min=0), help="Electrons [default: around 5].")
@click.option(
    "--a00",
    type=click.FloatRange(max=0),
    default=-1.6e-6,
    show_default=True,
    help="Shrinkage of a pixel per electron; 0: no correlations.",
)
@click.option("--full-well", "fullWell", type=click.FloatRange(min=1), help="Electrons [default: none].")
@click.option(
    "--layout",
    type=click.Choice(["extensions", "frame", "plain"]),
    default="extensions",
    show_default=True,
    help="An extension per amplifier, all in one frame with overscan, or one frame without.",
)
@click.option("--poisson", is_flag=True, help="Poisson light in independent pixels.")
@click.option("--flux-mismatch", "fluxMismatch", type=click.FloatRange(0, 0.5), default=0.0, help="Relative rms.")
@click.option("--defects", is_flag=True, help="Bad columns and cosmic rays.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@runOptions()
def flats(**options):
    """Write raw flat pairs of a sensor whose gain, noise and a_ij are known.

    Files are PREFIXflat0000.fits, ... (2k and 2k+1 make a pair), PREFIXbias0000.fits, ..., PREFIXtruth.ecsv, and
    PREFIXamps.yaml with the amplifier regions where they share a frame.
    """  # fmt: skip
    return runVerb("simulate", options, _runFlats)


def _runFlats(run):
    import os

    from ...sim import flatFileNames, simulateFlatRamp, writeFlatFiles
    from ..products import StagedProducts

    options = run.options
    ramp = simulateFlatRamp(
        _levels(options),
        options["pairs"],
        shape=options["size"][::-1],
        amplifiers=_amplifiers(options),
        seed=options["seed"],
        light="poisson" if options["poisson"] else "gaussian",
        fluxMismatch=options["fluxMismatch"],
        badColumns=2 if options["defects"] else 0,
        cosmicRayRate=20.0 if options["defects"] else 0.0,
    )
    layout, nBias = options["layout"], options["nBias"]
    names = flatFileNames(ramp, options["output"], layout, nBias)
    folder, stem = os.path.split(options["output"])
    output = StagedProducts(os.path.join(folder, stem + "flats"), (), options["overwrite"])
    output.refuse(names)
    with output, run.timed("simulate and write"):
        writeFlatFiles(ramp, options["output"], layout, nBias=nBias, rename=output.beside)
    run.summary["products"] = names
    run.summary["metadata"] = {"pairs": len(ramp) // 2, "levels": ramp.levels.tolist(), "amplifiers": len(ramp.places)}
    more = f"{names[0]} ... {names[len(ramp) - 1]}"
    run.say(f"result: {len(ramp)} flats of {len(ramp.places)} amplifiers, {more}; {names[-1]}; {run.seconds:.1f} s")
    return 0


def _levels(options):
    from ...sim import flatLevels

    return flatLevels(options["levels"], *sorted(options["span"]))


def _amplifiers(options):
    """The amplifiers that the options describe; what they leave open is drawn."""
    import dataclasses

    from ...sim import brighterFatterMatrix, defaultAmplifiers

    changes = {k: options[k] for k in ("gain", "readNoise") if options[k] is not None}
    if options["poisson"] or options["a00"] == 0:
        changes["aMatrix"] = None
    else:
        changes["aMatrix"] = brighterFatterMatrix(options["a00"])
    changes.update(bMatrix=None, noiseMatrix=None)
    made = []
    for truth in defaultAmplifiers(options["amplifiers"], options["seed"]):
        well = (
            {} if options["fullWell"] is None else {"fullWell": options["fullWell"] / changes.get("gain", truth.gain)}
        )
        made.append(dataclasses.replace(truth, **changes, **well))
    return made


@simulate.command(cls=VerbCommand)
@click.option("-o", "--output", metavar="PREFIX", default="", help="Prefix, e.g. a folder/ [default: current folder].")
@click.option("--size", type=click.IntRange(min=64), default=256, show_default=True, help="Side in pixels.")
@click.option(
    "--visits", type=click.IntRange(min=1), default=8, show_default=True, help="Visits, at hour angles -4 to 4."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed.")
@click.option(
    "--band-limits", "bandLimits", default="402.8,549.8nm", show_default=True, metavar="LOW,HIGHnm", help="Of the band."
)
@click.option(
    "--fwhm",
    type=click.FloatRange(min=1.5),
    default=4.0,
    show_default=True,
    help="FWHM of the PSF, pixels of 0.2 arcsec.",
)
@click.option(
    "--seeing-scatter", "seeingScatter", type=click.FloatRange(0, 0.5), default=0.0, help="Relative rms of the FWHM."
)
@click.option("--stars", type=click.IntRange(min=0), help="Number of stars [default: by area].")
@click.option(
    "--science-at", "scienceAt", type=float, default=3.3, show_default=True, metavar="HOURS",
    help="Hour angle of the science visit.",
)  # fmt: skip
@click.option("--no-science", "noScience", is_flag=True, help="No science visit.")
@click.option("--transients", type=click.IntRange(min=0), default=8, show_default=True, help="In the science visit.")
@click.option("--plain", is_flag=True, help="Bare images with a camera's header: no mask, variance, PSF or VisitInfo.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@runOptions()
def dcr(**options):
    """Write visits of one field at several airmasses, whose stars the air disperses towards the zenith.

    Files are PREFIXvisit00.fits, ..., PREFIXsci.fits (a further visit, with transients), and PREFIXtruth.ecsv.
    """  # fmt: skip
    return runVerb("simulate", options, _runDcr)


def _runDcr(run):
    import os

    from ...sim import simulateDcrVisits, writeDcrVisits
    from ..bands import parseBandLimits
    from ..products import StagedProducts

    options = run.options
    folder, stem = os.path.split(options["output"])
    n = options["visits"]
    names = [f"visit{k:02d}.fits" for k in range(n)] + ["sci.fits"] * (not options["noScience"]) + ["truth.ecsv"]
    names = [os.path.join(folder, stem + name) for name in names]
    output = StagedProducts(os.path.join(folder, stem + "dcr"), (), options["overwrite"])
    output.refuse(names)
    field = simulateDcrVisits(
        options["size"], n, options["seed"], bandLimits=parseBandLimits(options["bandLimits"]), fwhm=options["fwhm"],
        seeingScatter=options["seeingScatter"], numStars=options["stars"], numTransients=options["transients"],
        scienceHourAngle=None if options["noScience"] else options["scienceAt"],
    )  # fmt: skip
    with output, run.timed("write"):
        writeDcrVisits(field, [output.beside(name) for name in names], plain=options["plain"])
    airmass = [visit.visitInfo.boresightAirmass for visit in field.visits]
    run.summary["products"] = names
    run.summary["metadata"] = {**field.parameters, "airmasses": airmass, "nStars": len(field.stars["x"])}
    shown = f"airmass {min(airmass):.2f} to {max(airmass):.2f}"
    run.say(f"result: {n} visits, {shown}; {names[0]} ... {names[-1]}; {run.seconds:.1f} s")
    return 0


def writePair(simulated, names, psf=True, plain=False):
    """Write a simulated pair.

    Parameters
    ----------
    simulated : `stillsky.sim.SimulatedPair`
        The pair.
    names : sequence of `str`
        Science file, template file, truth table (ECSV).
    psf : `bool`
        Put the true PSFs into the files.
    plain : `bool`
        Write bare images with a camera-like header instead of image, mask and variance.
    """
    for frame, name in zip((simulated.science, simulated.template), names):
        if plain:
            from astropy.io import fits

            fits.PrimaryHDU(frame.image, frame.toHeader()).writeto(name)
        else:
            from ...fits import writeExposure

            writeExposure(frame.toExposure(psf=psf), name)
    simulated.truthTable().write(names[2], format="ascii.ecsv")
