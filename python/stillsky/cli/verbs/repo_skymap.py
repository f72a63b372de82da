"""``stillsky repo skymap``: tracts and patches for the images at hand."""

import click

from ..options import VerbCommand, runOptions
from ..run import runVerb

__all__ = ["skymap"]


@click.command(cls=VerbCommand)
@click.argument("path", metavar="REPO")
@click.argument("images", metavar="IMG...", nargs=-1, required=True)
@click.option("--name", default="sky", show_default=True, metavar="NAME", help="Of the sky map.")
@click.option("--patch", type=click.IntRange(min=1), default=4000, show_default=True, help="Side of patches in pixels.")
@click.option(
    "--border",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Pixels by which patches overlap others.",
)
@click.option("--reference", metavar="IMG", help="The grid of this image [default: a tangent plane that holds all].")
@click.option(
    "--subfilters", multiple=True, metavar="BAND:N", help="Also register N parts of a band, for dcr.yaml; repeatable."
)
@runOptions()
def skymap(**options):
    """Register a sky map that holds the given FITS images (files, folders, or @LIST with one name per line).

    One tract: the grid of the images where they share one, else a tangent plane, north up, with the scale of the first.
    Coadds are made patch by patch.
    """
    return runVerb("repo skymap", options, _skymap)


def _skymap(run):
    from stillsky.butler.repository import openRepository, registerSkyMap, registerSubfilters
    from stillsky.butler.sky_maps import parseSubfilters, skyMapAround
    from stillsky.fits.file_lists import findFiles

    options = run.options
    bands = [parseSubfilters(text) for text in options["subfilters"]]
    paths = [path for path, _ in findFiles(options["images"])]
    with run.timed("skymap"):
        made = skyMapAround(paths, patch=options["patch"], border=options["border"], reference=options["reference"])
        with openRepository(options["path"], writeable=True) as butler:
            registerSkyMap(butler, options["name"], made)
            for band, number in bands:
                registerSubfilters(butler, band, number)
    (tract,) = made
    columns, rows = tract.numPatches
    run.summary["metadata"] = {
        "name": options["name"], "width": tract.bbox.width, "height": tract.bbox.height, "patches": [columns, rows],
    }  # fmt: skip
    run.say(
        f"result: sky map {options['name']}: {tract.bbox.width}x{tract.bbox.height} px, {columns} x {rows} patches; "
        f"{run.seconds:.1f} s"
    )
    return 0
