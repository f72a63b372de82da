"""``stillsky repo``: Butler repositories: made, filled, checked."""

import click

from ..options import VerbCommand, VerbGroup, runOptions
from ..run import runVerb
from .repo_skymap import skymap

__all__ = ["repo"]


@click.group(cls=VerbGroup)
def repo():
    """Make, fill and check a Butler repository, where pipetask and bps run the tasks of stillsky."""


@repo.command(cls=VerbCommand)
@click.argument("path", metavar="REPO")
@click.option(
    "--instrument", metavar="FILE", help="YAML with name, detectors, filters, headers of a camera to register."
)
@click.option("--db", metavar="URL", help="postgresql://user@host:port/name [default: SQLite in the folder].")
@click.option("--namespace", metavar="NAME", help="Schema of the tables within the PostgreSQL database.")
@runOptions()
def create(**options):
    """Make an empty repository in the folder REPO.

    The definition of an instrument is, for instance: {name: MyCam, detectors: {0: left, 1: right}, filters: {"r.01": r}}; cards
    that are not the common ones go to headers: {exposure: FRAMENO, detector: CHIP, filter: GLASS}. Without one, the first
    ingest registers the instrument that the headers name.
    """
    return runVerb("repo create", options, _create)


def _create(run):
    from stillsky.butler.instruments import InstrumentDefinition
    from stillsky.butler.repository import createRepository, openRepository, registerInstrument

    options = run.options
    definition = InstrumentDefinition.fromYaml(options["instrument"]) if options["instrument"] else None
    with run.timed("create"):
        try:
            createRepository(options["path"], db=options["db"], namespace=options["namespace"])
        except FileExistsError as error:
            raise _exists(error) from error
        if definition is not None:
            with openRepository(options["path"], writeable=True) as butler:
                registerInstrument(butler, definition)
    run.summary["products"] = [options["path"]]
    named = "" if definition is None else f"; instrument {definition.name}"
    run.say(f"result: repository {options['path']}{named}; {run.seconds:.1f} s")
    return 0


def _exists(error):
    from ..exits import OutputError

    return OutputError(
        "a repository needs a folder of its own", found=f"{error.filename} has files", remedy="another folder"
    )


@repo.command(cls=VerbCommand)
@click.argument("path", metavar="REPO")
@click.argument("images", metavar="IMG...", nargs=-1, required=True)
@click.option(
    "--instrument", metavar="NAME|FILE", help="Name of one that is registered, or YAML [default: from INSTRUME]."
)
@click.option("--type", "datasetType", default="calexp", show_default=True, metavar="NAME", help="Dataset type.")
@click.option("--exposures", is_flag=True, help="Identify by exposure, without a visit: flats, darks, raw images.")
@click.option("--run", "collection", metavar="NAME", help="Collection [default: INSTRUMENT/TYPE].")
@click.option(
    "--transfer",
    type=click.Choice(["direct", "copy", "move", "symlink", "hardlink", "link"]),
    default="direct",
    show_default=True,
    help="direct leaves the files where they are.",
)
@runOptions()
def ingest(**options):
    """Bring FITS exposures (files, or @LIST with one name per line) into REPO, with the records of their exposures and visits.

    Repeating it adds what is missing. Files that cannot be read are named, and the exit code is 3; the others are in.
    """
    return runVerb("repo ingest", options, _ingest)


def _ingest(run):
    from stillsky.butler.repository import ingestExposures, openRepository
    from stillsky.fits.file_lists import findFiles

    options = run.options
    paths = [path for path, _ in findFiles(options["images"], missing="keep")]  # to fail alone
    if not paths:
        raise _nothing(options["images"])
    with run.timed("ingest"), openRepository(options["path"], writeable=True) as butler:
        definition = _definition(options["instrument"], butler, paths)
        report = ingestExposures(
            butler,
            paths,
            definition,
            run=options["collection"],
            datasetType=options["datasetType"],
            dimension="exposure" if options["exposures"] else "visit",
            transfer=options["transfer"],
        )
    for path, reason in report.failed:
        run.warn("W-INGEST", f"{path}: {reason.removeprefix(path + ': ')}")
    run.summary["metadata"] = {
        "instrument": definition.name,
        "ingested": len(report.ingested),
        "skipped": report.skipped,
        "failed": [{"path": path, "reason": reason} for path, reason in report.failed],
    }
    counts = f"{len(report.ingested)} ingested, {len(report.skipped)} there already, {len(report.failed)} failed"
    run.say(f"result: {definition.name}: {counts}; {run.seconds:.1f} s")
    return 3 if report.failed else 0


def _nothing(images):
    from ..exits import ReadError

    return ReadError(
        "no FITS file in what is given", found=", ".join(images), remedy="names of files, folders with some, or @LIST"
    )


def _definition(given, butler, paths):
    import os

    from stillsky.butler.instruments import InstrumentDefinition, nameOfInstrument
    from stillsky.butler.repository import definitionOf

    if given and (os.path.exists(given) or given.endswith((".yaml", ".yml"))):
        return InstrumentDefinition.fromYaml(given)
    if given:
        return definitionOf(butler, given)
    return InstrumentDefinition(nameOfInstrument(paths))


repo.add_command(skymap)


@repo.command(cls=VerbCommand)
@click.argument("path", metavar="REPO")
@click.option(
    "--instrument", metavar="FILE", help="YAML of an instrument whose detectors or filters are new or changed."
)
@click.option("--skymap", metavar="FILE", help="YAML of a sky map: name, pixelScale, patch, border, tracts.")
@click.option("--subfilters", metavar="BAND:N", help="Subfilters 0 to N-1 of a band, which DCR coadds need.")
@runOptions()
def update(**options):
    """Bring REPO up to date: stillsky's storage classes always, and what is given of instrument, sky map, subfilters.

    A sky map is, for instance: {name: field, pixelScale: 0.263, patch: 4000, border: 100, tracts: [{center: [189.5, 12.4],
    size: [1.5, 1.5]}]}: arcseconds, pixels, degrees. Without tracts there is one, which holds all visits of REPO.
    """
    return runVerb("repo update", options, _update)


def _update(run):
    from stillsky.butler.definitions import updateStorage
    from stillsky.butler.instruments import InstrumentDefinition
    from stillsky.butler.repository import openRepository, registerInstrument, registerSkyMap, registerSubfilters
    from stillsky.butler.sky_maps import parseSubfilters, skyMapFromYaml

    options, said = run.options, []
    definition = InstrumentDefinition.fromYaml(options["instrument"]) if options["instrument"] else None
    subfilters = parseSubfilters(options["subfilters"]) if options["subfilters"] else None
    with run.timed("update"):
        changes = updateStorage(options["path"])
        with openRepository(options["path"], writeable=True) as butler:
            if definition is not None:
                registerInstrument(butler, definition, update=True)
                said.append(f"instrument {definition.name}")
            if options["skymap"]:
                name, skyMap = skyMapFromYaml(options["skymap"], butler)
                registerSkyMap(butler, name, skyMap)
                patches = sum(len(tract) for tract in skyMap)
                said.append(f"sky map {name} ({len(skyMap)} tracts, {patches} patches)")
            if subfilters is not None:
                registerSubfilters(butler, *subfilters)
                said.append(f"{subfilters[1]} subfilters of {subfilters[0]}")
    for change in changes:
        run.say(change)
    run.summary["metadata"] = {"changes": changes, "registered": said}
    run.say(
        f"result: {len(changes)} definitions changed; {', '.join(said) or 'nothing registered'}; {run.seconds:.1f} s"
    )
    return 0


@repo.command(cls=VerbCommand)
@click.argument("path", metavar="REPO")
@click.option("--read", is_flag=True, help="Also compare checksums, and read every dataset.")
@click.option("--clean", is_flag=True, help="Remove files that no dataset owns. Only while nothing writes into REPO.")
@runOptions()
def check(**options):
    """Prove that REPO is whole: every dataset has its file, of the recorded size; no file is left over.

    Problems are named one by one, and the exit code is 3.
    """
    return runVerb("repo check", options, _check)


def _check(run):
    from stillsky.butler.repository import checkRepository, openRepository

    with run.timed("check"), openRepository(run.options["path"]) as butler:
        report = checkRepository(butler, read=run.options["read"], clean=run.options["clean"])
    for problem in report.problems:
        run.warn("W-REPO", problem)
    run.summary["metadata"] = {"datasets": report.datasets, "problems": report.problems}
    if run.options["clean"]:
        run.summary["metadata"]["removed"] = report.removed
    removed = f", {len(report.removed)} files removed" if report.removed else ""
    run.say(f"result: {report.datasets} datasets, {len(report.problems)} problems{removed}; {run.seconds:.1f} s")
    return 3 if report.problems else 0
