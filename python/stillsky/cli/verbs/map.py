"""``stillsky map``: cells of an image, a mapper for each, a reducer for all."""

import click

from ..options import VerbCommand, configOptions, outputOptions, runOptions
from ..run import runVerb

__all__ = ["map_"]

_REDUCERS = ("none", "copy", "sum", "average", "coaddPsf")


@click.command("map", cls=VerbCommand)
@click.argument("image", metavar="IMAGE")
@click.option(
    "--mapper",
    default="passthrough",
    show_default=True,
    metavar="NAME",
    help="passthrough, statistics, convolve, decorrelate, or module:Class of your own.",
)
@click.option(
    "--reducer",
    type=click.Choice(_REDUCERS),
    help="What is made of the results [default: none for statistics, else average].",
)
@outputOptions("image file")
@configOptions("map", "cellSizeX=128")
@click.option("--science", metavar="FILE", help="decorrelate: science image that the difference was made of.")
@click.option("--template", metavar="FILE", help="decorrelate: template on the same grid, before the matching.")
@click.option("--kernel", metavar="FILE", help="decorrelate: PREFIX.kernel.fits of the subtraction.")
@click.option("--ext", metavar="NAME", hidden=True, help="Extension of the image; FILE[NAME] does the same.")
@click.option("--region", metavar="X0:X1,Y0:Y1", help="Part of the image, 0-based and half open.")
@click.option("--fits-region", "fitsRegion", metavar="X0:X1,Y0:Y1", hidden=True, help="The same 1-based and inclusive.")
@runOptions()
def map_(**options):
    """Cut IMAGE into cells, apply a mapper to each, and reduce the results.

    Writes PREFIX.fits (an image, or the PSF composed of those of the cells), or with --reducer none PREFIX.ecsv with a
    row per cell, and PREFIX.json. Sizes are keys, for both axes: -c cellSizeX=128 -c cellSizeY=128
    -c gridStepX=128 -c gridStepY=128 -c borderSizeX=16 -c borderSizeY=16 (pixels; units of the PSF's FWHM with -c
    scaleByFwhm=true). A class of your own has a method run(cell, cellWithBorder, boxOfTheImage,
    **keywords) that returns an exposure, or an object with attributes.
    """
    return runVerb("map", options, _run)


def _resolve(run):
    from ..config import resolveRun
    from ..inputs import readRegion

    readRegion(run)
    given, mapper = run.option("reducer"), run.options["mapper"]
    if mapper == "statistics" and given not in (None, "none"):
        from ..exits import CommandError

        raise CommandError(
            "statistics gives numbers, of which no image can be made",
            found=f"--reducer {given}",
            remedy="--reducer none",
        )
    reducer = given or ("none" if mapper == "statistics" else None)
    dedicated = {"reducer.reduceOperation": (reducer, "--reducer")} if reducer else {}
    return resolveRun(run, dedicated)


def _run(run):
    from ..inputs import defaultPrefix
    from ..products import StagedProducts
    from .subtract import printPlan

    resolved = _resolve(run)
    config, options = resolved.config, run.options
    operation = config.reducer.reduceOperation
    suffixes = (".ecsv" if operation == "none" else ".fits", ".json")
    prefix = defaultPrefix(options["image"], run.verb, options["output"])
    if not options["dry_run"]:
        output = StagedProducts(prefix, suffixes, options["overwrite"])
    exposure = _readImage(run, options["image"], "image")
    mapper = _mapper(run, exposure, resolved)
    if options["dry_run"]:
        return printPlan(run, resolved, prefix, suffixes)

    from stillsky.mapreduce import mapReduce

    with run.timed("map"):
        try:
            result = mapReduce(exposure, mapper, config)
        except Exception as error:
            raise _ofMapper(run, error) from error
    run.summary["metadata"] = dict(result.metadata)
    with output:
        _write(result, operation, exposure, output)
        run.summary["products"] = [prefix + suffix for suffix in suffixes]
        run.summary["timings"]["total"] = run.seconds
        _writeSummary(run, output.path(".json"))
    cells, failed = result.metadata["numCells"], result.metadata["numFailedCells"]
    run.say(f"result: {cells} cells, {failed} failed; {operation}; {run.seconds:.1f} s; {prefix}{suffixes[0]}")
    return 0


def _readImage(run, name, role):
    """An exposure by name, noted in the summary."""
    from ..inputs import _read, readRegion

    with run.timed(f"read {role}"):
        return _read(run, role, name, readRegion(run))


# ---------------------------------------------------------------------- mappers


def _ofMapper(run, error):
    """What a mapper of somebody's own raised is no error of stillsky: say which mapper, in which cell."""
    from ..exits import CommandError, codeOf

    name = run.options["mapper"]
    if ":" not in name and "." not in name:
        return error
    notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("in cell ")]
    if not notes and codeOf(error) != 1 and not isinstance(error, TypeError):
        return error
    where = f" {notes[0]}" if notes else ""
    return CommandError(
        f"the mapper {name} failed{where}: {error}" if notes else f"the mapper {name}: {error}",
        found=f"a {type(error).__name__} raised by the mapper" if notes else "a result that the reducer cannot take",
        remedy="mend the mapper (--debug shows where), or -c onMapperError=mask leaves such cells out",
        exitCode=2,
    )


def _mapper(run, exposure, resolved):
    """The mapper that the option names."""
    from stillsky.mapreduce import ConvolveCell, StatisticsCell, passThrough

    name, config = run.options["mapper"], resolved.config
    if name == "passthrough":
        return passThrough
    if name == "statistics":
        return StatisticsCell(config.statistics)
    if name == "convolve":
        return ConvolveCell(config.convolve)
    if name == "decorrelate":
        return _decorrelator(run, exposure, resolved)
    return _ownMapper(name)


def _decorrelator(run, exposure, resolved):
    from stillsky.fits import readKernel

    from ..exits import CommandError
    from ..inputs import checkFile
    from ..map_mappers import DecorrelateCell

    missing = [f"--{name}" for name in ("science", "template", "kernel") if run.option(name) is None]
    if missing:
        raise CommandError(
            "the mapper decorrelate needs the images and the kernel of the difference",
            found=f"no {', '.join(missing)}",
            remedy="--science SCI.fits --template P.warped.fits --kernel P.kernel.fits (stillsky subtract --keep)",
        )
    if exposure.metadata is not None and exposure.metadata.get("DECORR"):
        raise CommandError(
            "the noise of this difference is white already: the mapper decorrelate would colour it",
            found="DECORR = T in its header",
            remedy="make one by stillsky subtract -c doDecorrelation=false --keep",
            exitCode=4,
        )
    checkFile(run.option("kernel"), "kernel")
    kernel = readKernel(run.option("kernel"))[0]
    science, template = (_readImage(run, run.option(role), role) for role in ("science", "template"))
    mapper = DecorrelateCell(science, template, kernel)
    # The border follows from the kernel, unless somebody chose one.
    for axis, size in (("X", kernel.width), ("Y", kernel.height)):
        key = f"borderSize{axis}"
        if resolved.origins.get(key, "default") == "default" and not resolved.config.scaleByFwhm:
            setattr(resolved.config, key, float(max(32, 2 * size)))
    return mapper


def _ownMapper(name):
    """A class or function ``module:name``; tasks are made with their own configuration."""
    from ..exits import CommandError

    try:
        from stillsky.mapreduce.names import loadObject

        found = loadObject(name)
    except ValueError as error:
        raise CommandError(
            f"unknown mapper {name!r}",
            found=str(error),
            remedy="passthrough, statistics, convolve, decorrelate, or module:Class found on PYTHONPATH",
        ) from error
    return found() if isinstance(found, type) else found


# ---------------------------------------------------------------------- products


def _write(result, operation, exposure, output):
    if operation == "none":
        _table(result).write(output.path(".ecsv"), format="ascii.ecsv", overwrite=True)
    elif operation == "coaddPsf":
        from astropy.io import fits

        from stillsky.fits.components import psfToHdu

        hdus = fits.HDUList([fits.PrimaryHDU(), psfToHdu(result.result, exposure.bbox)])
        hdus.writeto(output.path(".fits"))
    else:
        from stillsky.fits import writeExposure

        writeExposure(result.exposure, output.path(".fits"))


def _table(result):
    """One row per cell: its box, and all numbers and texts of the result."""
    import numpy as np
    from astropy.table import Table

    table = Table()
    for name, doc in (("minX", "first column"), ("minY", "first row"), ("width", "width"), ("height", "height")):
        table[name] = [getattr(cell.core, name) for cell in result.grid.cells]
        table[name].unit, table[name].description = "pixel", f"{doc} of the cell, parent coordinates"
    table.add_column(np.arange(len(table)), name="cell", index=0)
    # a cell that failed has no result: its row keeps the box
    results = list(result.result)
    for index in result.metadata["failedCells"]:
        results.insert(index, None)
    rows = [{k: v for k, v in _items(r) if isinstance(v, (bool, int, float, str, np.generic))} for r in results]
    for key in dict.fromkeys(k for row in rows for k in row):
        values = [row.get(key) for row in rows]
        if any(v is None for v in values):
            values = [np.nan if v is None else v for v in values]
        table[key if key not in table.colnames else f"result_{key}"] = values
    return table


def _items(result):
    if result is None:
        return ()
    return result.items() if isinstance(result, dict) else vars(result).items()


def _writeSummary(run, path):
    from ..run import toJson

    with open(path, "w", encoding="utf-8") as stream:
        stream.write(toJson(run.summary) + "\n")
