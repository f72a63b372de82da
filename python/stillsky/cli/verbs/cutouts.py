"""``stillsky cutouts``: science, template and difference around sources, in one file."""

import os

import click

from ..options import VerbCommand, runOptions
from ..run import runVerb

__all__ = ["cutouts"]


@click.command(cls=VerbCommand)
@click.argument("summary", metavar="P.json")
@click.argument("catalog", metavar="TABLE", required=False)
@click.option(
    "-o", "--output", metavar="FILE",
    help="Where to write: .npz, .parquet, .fits or .png [default: P.cutouts.npz].",
)  # fmt: skip
@click.option("-n", "--number", type=click.IntRange(min=1), help="Only so many, the most significant first.")
@click.option("--size", type=click.IntRange(min=3), default=63, show_default=True, help="Side in pixels; made odd.")
@click.option("--overwrite", is_flag=True, help="Replace an existing file.")
@runOptions()
def cutouts(**options):
    """Cut science, template and difference around sources of a subtraction, for classifiers.

    P.json is the summary that "stillsky subtract" wrote, its products beside it (P.diff.fits serves as well). TABLE has columns x, y (0-based
    pixels), ra, dec (degrees), or is a table of sources of stillsky; by default P.sources.

    The file has science, template, difference, variance (n, size, size) float32, mask int32, x, y, id: arrays (.npz), a
    row for each source (.parquet), image cubes and a table (.fits), or one picture of all triplets (.png). The difference
    is science minus template as subtracted (background included, P.matched.fits), a new source positive; where the
    science image was convolved, the template is divided by the kernel sum. NaN outside the image.
    """
    return runVerb("cutouts", options, cutoutFiles)


def cutoutFiles(run):
    """Body of the verb."""
    from ...report.cutout_files import CUTOUT_SUFFIXES, writeCutouts
    from ...report.saved import readSubtraction, readSummary
    from ..inputs import checkFile, summaryName
    from .report import refuseTarget

    name = summaryName(run.options["summary"])
    prefix = os.path.splitext(name)[0]
    target = run.options["output"] or f"{prefix}.cutouts.npz"
    if not target.lower().endswith(CUTOUT_SUFFIXES):
        raise click.BadParameter(
            f"{target}: wanted a name that ends with {', '.join(CUTOUT_SUFFIXES)}", param_hint="--output"
        )
    refuseTarget(target, run.options["overwrite"])
    checkFile(name, "summary")
    result = readSubtraction(prefix, readSummary(name)[1])
    x, y, ids = (values[: run.options["number"]] for values in _positions(run, result))
    arrays = _cut(result, x, y, run.options["size"] // 2)
    writeCutouts(target, {**arrays, "x": x, "y": y, "id": ids})
    run.summary["products"] = [target]
    run.summary["metadata"] = {"cutouts": len(x), "size": 2 * (run.options["size"] // 2) + 1}
    run.say(f"result: {len(x)} cut-outs of {2 * (run.options['size'] // 2) + 1} px; {target}")
    return 0


def _positions(run, result):
    """Parent pixels and ids of the sources."""
    import numpy as np

    from ...report.source_section import significanceOf, sourcePositions
    from ...report.subtract_numbers import candidateRows, flagColumn
    from ..exits import ReadError
    from ..inputs import readStars

    catalog = run.options["catalog"]
    if catalog is not None:
        x, y = (np.atleast_1d(np.asarray(v, float)) for v in readStars(catalog, result.difference))
        return x, y, np.arange(len(x))
    sources = result.sources
    positions = sourcePositions(sources) if sources is not None else None
    if positions is None:
        raise ReadError(
            "no table of sources beside the summary", found=run.options["summary"], remedy="name a TABLE of positions"
        )
    ids = np.asarray(sources["id"]) if "id" in sources.colnames else np.arange(len(positions[0]))
    if run.options["number"] is None:
        return *positions, ids
    # candidates first, then artefacts, each by falling significance; empty sky positions last
    rank = 2 * flagColumn(sources, "sky_source") + ~candidateRows(sources)
    order = np.lexsort((-np.nan_to_num(significanceOf(sources), nan=-1.0), rank))
    return positions[0][order], positions[1][order], ids[order]


def _cut(result, x, y, half):
    """The stamps; pixels outside have NaN, and NO_DATA in the mask."""
    import numpy as np

    from ...report.previews import cutout

    difference = result.difference
    box, side = difference.bbox, 2 * half + 1
    planes = {
        "science": result.science.image, "template": result.matchedTemplate.image, "difference": difference.image,
        "variance": difference.variance,
    }  # fmt: skip
    x, y = x - box.minX, y - box.minY
    near = np.isfinite(x + y)
    arrays = {}
    for name, plane in planes.items():
        stamps = [
            cutout(plane.array, a, b, half) if k else np.full((side, side), np.nan) for a, b, k in zip(x, y, near)
        ]
        arrays[name] = np.array(stamps, np.float32).reshape(len(x), side, side)
    if result.convolved == "science":  # all three on one flux scale
        arrays["template"] /= np.float32(difference.metadata.get("KSUM", 1.0))
    outside = difference.mask.bitmask(["NO_DATA"], ignoreMissing=True)
    arrays["mask"] = np.full((len(x), side, side), outside, np.int32)
    for k in np.flatnonzero(near):
        left, low = int(round(x[k])) - half, int(round(y[k])) - half
        part = difference.mask.array[max(low, 0) : max(low + side, 0), max(left, 0) : max(left + side, 0)]
        top, start = max(-low, 0), max(-left, 0)
        if not part.size:
            continue
        arrays["mask"][k, top : top + part.shape[0], start : start + part.shape[1]] = part
    return arrays
