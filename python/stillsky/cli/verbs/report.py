"""``stillsky report``: the HTML report again, from the files of a run; of many runs an index."""

import os

import click

from ..options import VerbCommand, runOptions
from ..run import runVerb

__all__ = ["refuseTarget", "report"]


@click.command(cls=VerbCommand)
@click.argument("summaries", metavar="P.json...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="FILE.html",
    help="Where to write; without a suffix .html is added [default: P.html beside P.json; with several summaries an "
    "index.html in the current folder].",
)
@click.option("--overwrite", is_flag=True, help="Replace an existing report.")
@runOptions()
def report(**options):
    """Make the HTML report of a subtraction, a photon transfer, a coadd or a DCR coadd from its files.

    P.json is the summary that the run wrote; its other products must lie beside it. Of several summaries the report is
    one page with a row for each run, which links to their reports.
    """
    return runVerb("report", options, reportFiles)


def reportFiles(run):
    """Body of the verb."""
    from ..inputs import summaryName

    names = [summaryName(name) for name in run.options["summaries"]]
    many = len(names) > 1
    given = run.options["output"]
    target = _withSuffix(given) if given else "index.html" if many else os.path.splitext(names[0])[0] + ".html"
    refuseTarget(target, run.options["overwrite"])
    with run.timed("read"):
        summaries = [_read(name) for name in names]
    page = _index(names, summaries, target) if many else _page(names[0], *summaries[0], target)
    with run.timed("write"):
        page.write(target)
    run.summary["products"] = [target]
    run.say(f"result: {len(names)} runs; {target}" if many else f"result: {target}")
    return 0


def _withSuffix(target):
    """The name of a page: .html where it has no suffix; folders stay, and are refused."""
    bare = os.path.basename(target) and not os.path.splitext(target)[1] and not os.path.isdir(target)
    return target + ".html" if bare else target


def refuseTarget(target, overwrite):
    """Refuse an output that exists, or whose folder does not, before any work."""
    from ..exits import OutputError

    folder = os.path.dirname(target) or "."
    if not os.path.isdir(folder):
        raise OutputError(
            f"the folder of the output does not exist: {folder}", found=target, remedy=f"mkdir -p {folder}"
        )
    if os.path.lexists(target) and not overwrite:
        raise OutputError("output exists already", found=target, remedy="another file with -o, or --overwrite")


def _read(name):
    from ...report.saved import readSummary
    from ..inputs import checkFile

    checkFile(name, "summary")
    return readSummary(name)


def _page(name, text, summary, target):
    """The report of one run, by its verb; files are linked as seen from the target."""
    from ..exits import ReadError

    verb = summary.get("verb", "subtract")
    prefix = os.path.splitext(name)[0]
    if verb in ("subtract", "demo"):
        from ...report.saved import readSubtraction
        from ...report.subtract_report import finishReport, subtractReport

        folder = os.path.relpath(os.path.dirname(os.path.abspath(name)), os.path.dirname(os.path.abspath(target)))
        page = subtractReport(readSubtraction(prefix, summary), summary, folder=folder)
        return finishReport(page, text, summary)
    if verb == "ptc":
        from ...report.saved_ptc import savedPtcReport

        return savedPtcReport(prefix, text, summary)
    if verb == "coadd":
        from ...report.saved_coadd import savedCoaddReport

        return savedCoaddReport(prefix, text, summary)
    if verb == "dcr":
        from ...report.saved_coadd import savedDcrReport

        return savedDcrReport(prefix, text, summary)
    raise ReadError(
        f"no report exists for the verb {verb!r}", found=name, remedy="a summary of subtract, ptc, coadd or dcr"
    )


def _index(names, summaries, target):
    """One row for each run."""
    from ...report.index import indexPage

    folder = os.path.dirname(os.path.abspath(target))
    links = [os.path.relpath(os.path.splitext(os.path.abspath(n))[0] + ".html", folder) for n in names]
    return indexPage(names, [summary for _, summary in summaries], links)
