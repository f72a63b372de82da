"""``stillsky demo``: the whole job on simulated data, in half a minute."""

import click

from ..options import VerbCommand, runOptions
from ..run import runVerb

__all__ = ["demo"]


@click.command(cls=VerbCommand)
@click.argument("folder", default="stillsky-demo", required=False, type=click.Path(file_okay=False))
@click.option("--size", type=click.IntRange(min=256), default=1024, show_default=True, help="Side in pixels.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed.")
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@runOptions()
def demo(**options):
    """Simulate a pair of images with transients in FOLDER, subtract it, and say where the pictures are."""
    return runVerb("demo", options, _run)


def _run(run):
    import os

    from ...sim import simulatePair
    from ..exits import OutputError
    from ..products import StagedProducts
    from .simulate import writePair
    from .subtract import SUFFIXES, subtractFiles

    options = run.options
    folder = options["folder"]
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}", found=error.strerror, remedy="name another") from error
    names = [os.path.join(folder, name) for name in ("sci.fits", "tmpl.fits", "truth.ecsv")]
    output = StagedProducts(os.path.join(folder, "demo"), SUFFIXES, options["overwrite"])
    output.refuse(names)
    simulated = simulatePair(options["size"], options["seed"])
    with output:
        writePair(simulated, [output.beside(name) for name in names], psf=False)
    count = len(simulated.transients["x"])
    run.say(f"simulated: {names[0]} and {names[1]}, {options['size']}x{options['size']} px, {count} transients")

    run.verb = "subtract"
    run.options = {
        **{"preset": None, "convolve": None, "stars": None, "dry_run": False, "compress": "none"},
        **options,
        "science": names[0],
        "template": names[1],
        "output": os.path.join(folder, "demo"),
    }
    code = subtractFiles(run)
    run.verb = "demo"
    run.summary["products"] = names + run.summary["products"]
    found = _countFound(simulated, folder)
    run.summary["metadata"]["transientsFound"] = found
    run.say(f"transients: {found['found']} of {found['expected']} with S/N above 8 stand out above 5 sigma")
    run.say(f"same with:  stillsky subtract {names[0]} {names[1]} -o {os.path.join(folder, 'demo')}")
    run.say(f"pictures:   {os.path.join(folder, 'demo.png')}")
    return code


def _countFound(simulated, folder):
    """How many planted transients stand out: PSF-weighted flux over its noise at the true positions."""
    import os

    import numpy as np

    from stillsky.fits import readExposure

    difference, _ = readExposure(os.path.join(folder, "demo.diff.fits"))
    truth = simulated.transients
    chosen = np.flatnonzero((truth["snr"] >= 8.0) & ~truth["masked"])
    psf = simulated.science.psf
    found = 0
    for i in chosen:
        x, y = truth["x"][i], truth["y"][i]
        r = int(2 * psf.fwhm)
        ys, xs = slice(max(round(y) - r, 0), round(y) + r + 1), slice(max(round(x) - r, 0), round(x) + r + 1)
        stamp = difference.image.array[ys, xs]
        variance = difference.variance.array[ys, xs]
        dx, dy = np.arange(xs.start, xs.start + stamp.shape[1]) - x, np.arange(ys.start, ys.start + stamp.shape[0]) - y
        profile = psf.profile(dx[None, :], dy[:, None], x, y)
        good = np.isfinite(stamp) & np.isfinite(variance) & (variance > 0)
        weight = np.where(good, profile / np.where(good, variance, 1.0), 0.0)
        flux = np.sum(weight * np.where(good, stamp, 0.0))
        error = np.sqrt(np.sum(weight * profile))
        found += bool(error > 0 and np.sign(truth["flux"][i]) * flux / error > 5.0)
    return {"expected": int(chosen.size), "found": int(found)}
