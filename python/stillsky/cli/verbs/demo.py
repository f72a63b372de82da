"""``stillsky demo``: both jobs on simulated data, in half a minute."""

import click

from ..options import VerbCommand, runOptions
from ..run import runVerb

__all__ = ["demo"]


@click.command(cls=VerbCommand)
@click.argument("folder", default="stillsky-demo", required=False, type=click.Path(file_okay=False))
@click.option(
    "--size", type=click.IntRange(min=256), default=None, show_default="1024; 512 with --butler", help="Side in pixels."
)
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed.")
@click.option(
    "--butler", is_flag=True, help="Instead one night in a Butler repository: photon transfer, coadd, difference."
)
@click.option("--overwrite", is_flag=True, help="Replace existing files.")
@runOptions()
def demo(**options):
    """Show both jobs on simulated data in FOLDER, and say where the pictures are.

    First a pair of images with transients is subtracted, then the flats of a sensor give its photon transfer curves. With
    --butler the tasks of the pipelines do it, in a repository.
    """
    return runVerb("demo", options, _run)


def _run(run):
    import os

    from ..exits import OutputError

    folder = run.options["folder"]
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}", found=error.strerror, remedy="name another") from error
    if run.options["butler"]:
        from .demo_butler import showButler

        return showButler(run)
    run.options["size"] = run.options["size"] or 1024
    _refuseExisting(folder, run.options["overwrite"])
    return _showSubtract(run, dict(run.options)) or _showPtc(run)


def _refuseExisting(folder, overwrite):
    """Refuse what the second job would find in its way before the first one works."""
    import os

    from ..products import StagedProducts
    from .ptc import SUFFIXES

    StagedProducts(os.path.join(folder, "sensor"), SUFFIXES, overwrite).refuse([os.path.join(folder, "flats")])


def _showPtc(run):
    """Flats of a sensor of four amplifiers; its curves, beside the truth."""
    import os

    import numpy as np

    from ...sim import flatLevels, simulateFlatRamp, writeFlatFiles
    from ..run import Run
    from .ptc import ptcFiles

    folder = run.options["folder"]
    flats, prefix = os.path.join(folder, "flats"), os.path.join(folder, "sensor")
    ramp = simulateFlatRamp(flatLevels(12, 200.0, 9e4), shape=(200, 200), amplifiers=4, seed=run.options["seed"])
    os.makedirs(flats, exist_ok=True)
    writeFlatFiles(ramp, os.path.join(flats, ""), overwrite=True)
    run.say(f"simulated: {flats}{os.sep}, {len(ramp)} flats of {len(ramp.places)} amplifiers")
    job = Run("ptc", {**_PTC_OPTIONS, **run.options, "flats": (flats,), "output": prefix, "table": False})
    job.log, job.progress = run.log, run.progress
    code = ptcFiles(job)
    gains = np.array([[amp.gain for amp in ramp.amplifiers], _column(prefix, "gain"), _column(prefix, "gainErr")])
    run.summary["products"] += [flats, *job.summary["products"]]
    run.summary["metadata"]["ptc"] = {**job.summary["metadata"], "gainTruth": gains[0], "gainFound": gains[1]}
    largest = np.max(np.abs(gains[1] / gains[0] - 1.0))
    run.say(f"gains: within {largest:.2%} of the truth, errors {np.median(gains[2] / gains[0]):.2%}")
    run.say(f"same with:  stillsky ptc {flats} -o {prefix}")
    run.say(f"report:     {prefix}.html")
    return code


_PTC_OPTIONS = {
    "pairBy": None, "pairKey": None, "amps": None, "bias": (), "mask": None, "model": None, "perPixel": False,
    "noOverscan": False, "saturation": None, "lagRange": None, "ext": None, "report": True, "dry_run": False,
}  # fmt: skip


def _column(prefix, name):
    from astropy.table import Table

    return Table.read(f"{prefix}.ptc.ecsv")[name]


def _showSubtract(run, options):
    """A pair with transients, subtracted; how many stand out."""
    import os

    from ...sim import simulatePair
    from ..products import StagedProducts
    from .simulate import writePair
    from .subtract import SUFFIXES, subtractFiles

    folder = options["folder"]
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
    run.verb, run.options = "demo", options
    run.summary["products"] = names + run.summary["products"]
    found = _countFound(simulated, folder)
    run.summary["metadata"]["transientsFound"] = found
    run.say(f"transients: {found['found']} of {found['expected']} with S/N above 8 stand out above 5 sigma")
    run.say(f"same with:  stillsky subtract {names[0]} {names[1]} -o {os.path.join(folder, 'demo')}")
    run.say(f"pictures:   {os.path.join(folder, 'demo.png')}")
    run.say(f"report:     {os.path.join(folder, 'demo.html')}")
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
