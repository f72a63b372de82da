"""``stillsky config``: every option of a verb, with its meaning."""

import click

from ..logs import show
from ..options import VerbCommand, configOptions
from ..run import runVerb

__all__ = ["config"]


@click.command(cls=VerbCommand)
@click.argument("verb", metavar="VERB")
@configOptions()
@click.option("--diff", metavar="FILE.yaml", help="Show what a file changes from the defaults instead.")
@click.option("--json", "asJson", is_flag=True, help="Print keys, values and origins as JSON.")
@click.option("--debug", is_flag=True, hidden=True, help="Show the traceback of an error.")
def config(**options):
    """Print the configuration of VERB as commented YAML, ready for -C.

    With -c, -C or --preset: as these set it.
    """
    return runVerb("config", options, _run)


def _run(run):
    from ... import __version__
    from ..config import resolve, toYaml

    options = run.options
    verb = options["verb"]
    diff = options["diff"]
    resolved = resolve(
        verb,
        preset=options["preset"],
        files=[*options["configFiles"], *([diff] if diff else [])],
        scripts=options["configScripts"],
        assignments=options["assignments"],
    )
    run.summary["config"] = resolved.document()
    if options["asJson"]:
        return 0
    if diff:
        for key, (default, value) in resolved.changed().items():
            show(f"{key}: {default!r} -> {value!r} ({resolved.origins.get(key, 'default')})")
        return 0
    heading = f"stillsky {__version__}, configuration of the verb {verb}.\nUse with: stillsky {verb} -C FILE.yaml ..."
    show(toYaml(resolved.config, heading), nl=False)
    return 0
