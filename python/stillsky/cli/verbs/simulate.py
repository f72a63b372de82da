"""``stillsky simulate``: small data whose truth is known."""

import click

from ..options import VerbCommand, runOptions
from ..run import runVerb

__all__ = ["simulate", "writePair"]

_SUFFIXES = ("sci.fits", "tmpl.fits", "truth.ecsv")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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
