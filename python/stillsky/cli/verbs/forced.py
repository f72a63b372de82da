"""``stillsky forced``: fluxes at given positions on differences, their science images and templates."""

import os

import click

from ..options import VerbCommand, gateOption, runOptions, sideOptions
from ..run import runVerb

__all__ = ["forced"]

#: Options of planes that can only be of one image -> their names.
_OF_ONE = {
    f"{role}{what}": f"{side}-{what.lower()}"
    for side, role in (("sci", "science"), ("tmpl", "template"))
    for what in ("Mask", "Var", "Weight", "Psf")
}


@click.command(cls=VerbCommand)
@click.argument("images", metavar="DIFF... CATALOG", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Table to write: .ecsv, .parquet or .fits [default: P.forced.ecsv; of several differences that of CATALOG].",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing table.")
@click.option(
    "--calibrate-errors",
    "calibrateErrors",
    is_flag=True,
    help="Scale the errors on each difference by the scatter of fluxes at blank positions.",
)
@click.option(
    "--science", metavar="FILE[EXT]", help="Science image of the difference [default: the one that P.json names]."
)
@click.option("--template", metavar="FILE[EXT]", help="Template as it was subtracted [default: P.matched.fits].")
@click.option("--psf", metavar="FILE[EXT]", hidden=True, help="PSF of the difference, where its file has none.")
@click.option(
    "--baseline",
    metavar="MJD0:MJD1",
    multiple=True,
    help="Epochs whose weighted mean flux on the differences is subtracted, position by position; repeatable, ':' is all.",
)
@sideOptions("sci", "tmpl")
@click.option("--seed", type=int, default=0, hidden=True, help="Of the blank positions.")
@gateOption()
@runOptions()
def forced(**options):
    """Measure PSF fluxes at the positions of CATALOG on each DIFF: light curves.

    DIFF is PREFIX.diff.fits of "stillsky subtract" (or another difference with a PSF). The science image that
    PREFIX.json names, and PREFIX.matched.fits, are measured as well. CATALOG is a table (ECSV, CSV, FITS, Parquet,
    VOTable, text) with x, y (0-based pixels) or ra, dec (degrees), or a table of sources of stillsky. Positions whose
    light overlaps are fitted together: each flux is without that of its neighbours.

    The result has a row for every position and image. Fluxes are in counts of the science image, and in nJy where it is
    calibrated. Where there is no data they are NaN and noCoverage is true. With --baseline the mean of quiet epochs, the
    light of the source in the template, is taken off the fluxes on the differences and written beside them.
    """
    return runVerb("forced", options, forcedFiles)


def forcedFiles(run):
    """Body of the verb."""
    from ..exits import CommandError
    from ..inputs import checkFile
    from ..positions import readPositions
    from .report import refuseTarget
    from .subtract import checkGates, failOn, readGates

    *names, catalog = run.options["images"]
    if not names:
        raise CommandError(
            "forced wants one or more differences and a table of positions", found=catalog,
            remedy="stillsky forced P.diff.fits TABLE",
        )  # fmt: skip
    gates = readGates(run)
    target = _target(run, names, catalog)
    refuseTarget(target, run.options["overwrite"])
    for name in names:
        checkFile(_pathOf(name), "difference")
    _checkSingles(run, names)
    baseline = [_epochs(text) for text in run.options["baseline"]]

    from stillsky.diffim.forced_series import forcedSeries, subtractBaseline
    from stillsky.diffim.source_io import writeSources

    positions = readPositions(catalog)
    run.summary["inputs"]["catalog"] = {"path": os.path.abspath(catalog), "positions": len(positions)}
    with run.timed("measure"):
        images = (_image(run, name, positions) for name in run.progress(names, desc="forced", total=len(names)))
        options = {"calibrateErrors": run.options["calibrateErrors"], "seed": run.options["seed"]}
        table = forcedSeries(images, positions, **options)
    run.progress.close()
    if baseline:
        nWithout = subtractBaseline(table, baseline)
        if nWithout:
            run.warn(
                "W-BASELINE",
                f"{nWithout} of {len(positions)} positions have no good flux in the epochs of the baseline",
            )
    _note(run, table, names, positions)
    hits = checkGates(run, gates)
    table.meta["catalog"] = os.path.basename(catalog)
    with run.timed("write"):
        writeSources(table, target, overwrite=run.options["overwrite"])
    run.summary["products"] = [target]
    figures = run.summary["metadata"]
    run.say(
        f"result: {figures['positions']} position{'s' * (figures['positions'] != 1)} on {figures['images']} image{'s' * (len(names) != 1)}; "
        f"{figures['measured']} of {figures['rows']} fluxes measured, {figures['noCoverage']} without data; "
        f"{run.seconds:.1f} s; {target}"
    )
    return failOn(hits)


def _target(run, names, catalog):
    """The table's name, whose suffix must be known."""
    from ..exits import CommandError

    given = run.options["output"]
    if given is None:
        stem = names[0] if len(names) == 1 else os.path.splitext(catalog)[0]
        return os.path.basename(_pathOf(stem).removesuffix(".fits").removesuffix(".diff")) + ".forced.ecsv"
    if os.path.splitext(given)[1].lower() not in (".ecsv", ".parquet", ".parq", ".fits"):
        raise CommandError(
            "the suffix of the output tells its format", found=given, remedy="FILE.ecsv, FILE.parquet or FILE.fits"
        )
    return given


def _pathOf(name):
    from ..regions import splitExtension

    return splitExtension(name)[0]


def _checkSingles(run, names):
    """Options that can be of one difference only."""
    from ..exits import CommandError

    for option, words in {"science": "science", "template": "template", "psf": "psf", **_OF_ONE}.items():
        given = run.option(option)
        if given is not None and len(names) > 1:
            raise CommandError(
                f"--{words} is of one difference", found=f"{len(names)} differences", remedy="one run for each of them"
            )


def _epochs(text):
    """First and last modified Julian date of ``MJD0:MJD1``; what is missing is open."""
    from ..exits import CommandError

    first, colon, last = text.partition(":")
    try:
        limits = float(first or "-inf"), float(last or "inf")
    except ValueError:
        limits = (1.0, 0.0)
    if not colon or not limits[0] <= limits[1]:
        raise CommandError(
            "--baseline wants MJD0:MJD1",
            found=repr(text),
            remedy="e.g. --baseline 60310:60341.5, or ':' for all epochs",
        )
    return limits


# ---------------------------------------------------------------------- images


def _image(run, name, positions):
    """One difference with its companions."""
    from stillsky.diffim.forced_series import ForcedImage
    from stillsky.diffim.noise_covariance import NoiseCovariance

    from ..exits import CommandError, ReadError

    path = _pathOf(name)
    difference = _read(run, name, "difference", psfPath=run.option("psf"))
    if difference.psf is None:
        raise ReadError(
            f"the difference has no PSF: {path}", found="no PSF in the file",
            remedy="a PREFIX.diff.fits of stillsky subtract, or --psf FILE",
        )  # fmt: skip
    if difference.wcs is None and positions.x is None:
        raise CommandError(
            f"the table has ra and dec, and the difference has no WCS: {path}", found="no WCS",
            remedy="give columns x and y (0-based pixels)", exitCode=4,
        )  # fmt: skip
    if difference.metadata is None or difference.metadata.get("DIFFSIGN") is None:
        run.warn(
            "W-NODIFF",
            f"{os.path.basename(path)} has no DIFFSIGN card: unless it is a difference, its sky and stars are in the fluxes",
        )
    science, template = _companions(run, path)
    header, scale = difference.metadata, 1.0
    scienceConvolved = header is not None and header.get("CONVOLVD") == "science"
    if scienceConvolved:
        scale = 1.0 / float(header.get("KSUM", 1.0))
    label = os.path.basename(path).removesuffix(".fits").removesuffix(".diff")
    psf = _sciencePsf(run, science, template, scienceConvolved, path)
    noise = _templateNoise(run, path, template) if header is not None and header.get("CONVOLVD") == "template" else 1.0
    return ForcedImage(label, difference, science, template, psf, scale, NoiseCovariance.read(path), noise)


def _templateNoise(run, path, template):
    """By how much fluxes of the convolved template scatter more than its variance plane says: P.kernel.fits knows."""
    kernel = path.removesuffix(".diff.fits") + ".kernel.fits"
    if template is None or template.psf is None or not os.path.exists(kernel):
        return 1.0
    from stillsky.diffim.noise_covariance import convolvedNoiseFactor
    from stillsky.fits import readKernel

    center = tuple(float(v) for v in template.bbox.center)
    return convolvedNoiseFactor(readKernel(kernel)[0].imageAt(*center), template.psf.computeKernelImage(center).array)


def _read(run, name, role, **planes):
    from stillsky.fits import readExposure

    from ..inputs import checkFile, sideFiles
    from ..regions import splitExtension

    path, ext = splitExtension(name)
    checkFile(path, role)
    if role in ("science", "template"):
        planes |= sideFiles(run, role)
    given = {k: v for k, v in planes.items() if v is not None}
    with run.log.withholdWarnings():
        exposure, _ = readExposure(path, ext=ext, **given)
    return exposure


def _companions(run, path):
    """Science image and template: those given, else what lies beside the difference and what its summary names."""
    from stillsky.errors import FitsLayoutError
    from stillsky.report.saved import readSummary

    prefix = path.removesuffix(".fits").removesuffix(".diff")
    names = {"science": run.option("science"), "template": run.option("template")}
    if path.endswith(".diff.fits"):
        if names["template"] is None and os.path.exists(f"{prefix}.matched.fits"):
            names["template"] = f"{prefix}.matched.fits"
        if names["science"] is None and os.path.exists(f"{prefix}.json"):
            try:
                facts = readSummary(f"{prefix}.json")[1].get("inputs", {}).get("science", {})
            except FitsLayoutError:
                facts = {}
            names["science"] = _existing(run, facts)
    for role, name in names.items():
        if name is None:
            run.say(f"{os.path.basename(path)}: no {role} image: its fluxes are NaN")
    run.summary["inputs"][os.path.basename(prefix)] = {"path": os.path.abspath(path), **names}
    images = {role: None if name is None else _read(run, name, role) for role, name in names.items()}
    if images["template"] is not None:
        from stillsky.diffim.subtracted_background import withoutBackground

        images["template"] = withoutBackground(images["template"], _pathOf(names["template"]))
    return [None if image is None else _withoutSky(run, image, role) for role, image in images.items()]


def _withoutSky(run, exposure, role):
    from stillsky.diffim.forced_series import withoutSky

    exposure, level = withoutSky(exposure)
    if level:
        run.say(f"{role}: sky of {level:.5g} subtracted before the fluxes are measured")
    return exposure


def _existing(run, facts):
    """Name of the science image that the summary has, if it is still there."""
    path, ext = facts.get("path"), facts.get("ext")
    if path is None:
        return None
    if not os.path.exists(path):
        run.warn("W-NOSCIENCE", f"the science image is gone: {path}")
        return None
    if isinstance(ext, list):
        ext = ",".join(str(part) for part in ext)
    return path if ext is None else f"{path}[{ext}]"


def _sciencePsf(run, science, template, scienceConvolved, path):
    """PSF of a science image that brings none: that of the template matched to it, else one made of its stars."""
    if science is None or science.psf is not None:
        return None
    if template is not None and template.psf is not None and not scienceConvolved:
        return template.psf
    from stillsky.diffim.algorithm import measurePsf
    from stillsky.errors import NoDataError

    try:
        return measurePsf(science)
    except NoDataError as error:
        run.warn("W-NOPSF", f"{os.path.basename(path)}: no PSF of the science image, its fluxes are NaN: {error}")
        return None


# ---------------------------------------------------------------------- figures


def _note(run, table, names, positions):
    """Counts for the summary; catalogue and images that have nothing in common are refused."""
    import numpy as np

    from ..exits import CommandError

    lost = np.asarray(table["noCoverage"], bool)
    if len(positions) and lost.all():
        inside = ~np.asarray(table["base_PixelFlags_flag_offimage"]) & np.isfinite(np.asarray(table["x"], float))
        raise CommandError(
            "no position has data on any image",
            found=f"{len(positions)} positions, {len(names)} images; "
            + (
                "all outside" if not inside.any() else f"{np.count_nonzero(inside)} rows inside, on pixels without data"
            ),
            remedy="x and y are 0-based parent pixels, ra and dec degrees; stillsky info FILE shows the image",
            exitCode=4,
        )
    if lost.any():
        run.warn("W-COVERAGE", f"{np.count_nonzero(lost)} of {len(table)} rows have no data")
    scales = [image["errorScale"] for image in table.meta["images"] if image["errorScale"] is not None]
    run.summary["images"] = table.meta["images"]
    run.summary["metadata"] = {
        "images": len(names),
        "positions": len(positions),
        "rows": len(table),
        "measured": int(np.count_nonzero(~lost & ~np.asarray(table["base_PsfFlux_flag"], bool))),
        "noCoverage": int(np.count_nonzero(lost)),
        "medianErrorScale": float(np.median(scales)) if scales else None,
    }
    if run.options["calibrateErrors"]:
        if len(scales) < len(names):
            run.warn("W-ERRORS", f"{len(names) - len(scales)} images have too little blank sky to calibrate errors")
        run.say("errors scaled by " + ", ".join(f"{scale:.3f}" for scale in scales))
