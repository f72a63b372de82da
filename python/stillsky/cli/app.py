"""The top level of the command line: verbs that load on use, and one place where every error becomes an exit code."""

import importlib
import os
import sys

import click

from .._version import __version__
from .options import VerbGroup

__all__ = ["cli", "main"]

# Verb -> (module, object, one-line help): the help of the top level needs no import of the verbs.
_VERBS = {
    "subtract": ("subtract", "subtract", "Match the PSFs of two images and subtract the template."),
    "psfmatch": ("psfmatch", "psfmatch", "Fit the PSF-matching kernel of two images only."),
    "forced": ("forced", "forced", "Measure fluxes at given positions on differences: light curves."),
    "coadd": ("coadd", "coadd", "Combine images of one field into a deep one."),
    "dcr": ("dcr", "dcr", "Coadd a band by colour: templates for any airmass."),
    "ptc": ("ptc", "ptc", "Measure gain, noise and covariances of a sensor from pairs of flats."),
    "map": ("map", "map_", "Do something to each cell of an image and put the results together."),
    "repo": ("repo", "repo", "Make, fill and check a Butler repository."),
    "report": ("report", "report", "Make the HTML report of a run from its files; of many runs an index."),
    "cutouts": ("cutouts", "cutouts", "Cut science, template and difference around sources into one file."),
    "info": ("info", "info", "Say what is understood of a file: planes, masks, WCS, guesses."),
    "config": ("config", "config", "Print all options of a verb as commented YAML."),
    "simulate": ("simulate", "simulate", "Make small data whose truth is known."),
    "demo": ("demo", "demo", "Both jobs on simulated data: a subtraction, a sensor's photon transfer."),
    "doctor": ("doctor", "doctor", "Check the installation: versions, SIMD, threads, a self-test."),
}


class _LazyGroup(VerbGroup):
    """A group whose commands are imported when they run."""

    kind = "verb"

    def list_commands(self, ctx):
        return list(_VERBS)

    def get_command(self, ctx, name):
        if name not in _VERBS:
            return None
        module, attribute, _ = _VERBS[name]
        return getattr(importlib.import_module(f".verbs.{module}", __package__), attribute)

    def format_commands(self, ctx, formatter):
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, _, text) in _VERBS.items()])


@click.group(cls=_LazyGroup)
@click.version_option(__version__, prog_name="stillsky")
def cli():
    """stillsky: find what changed between two images of the sky.

    Start with "stillsky demo", or "stillsky subtract SCIENCE.fits TEMPLATE.fits".
    """


def _usage(error):
    """The three lines of a usage error."""
    import shlex

    command = error.ctx.command_path if error.ctx else "stillsky"
    click.echo(f"error[2]: {error.format_message()}", err=True)
    click.echo(f"  found: stillsky {shlex.join(_argv)}".rstrip(), err=True)
    click.echo(f"  try: {command} --help", err=True)
    return 2


_argv = []  # arguments of this run, for the message of a usage error


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : `list` [`str`], optional
        Arguments without the program name; by default those of the process.

    Returns
    -------
    code : `int`
        0 done; 1 a bug; 2 usage or configuration; 3 unreadable file; 4 inputs that do not belong together; 5 not
        enough data; 6 numerical failure; 7 output exists or cannot be written; 130 interrupted.
    """
    _argv[:] = sys.argv[1:] if argv is None else argv
    try:
        result = cli.main(args=list(_argv), prog_name="stillsky", standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        return _usage(error)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader of our output went away ("| head"): nothing is wrong, and nothing can be said any more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from .exits import report

        return report(error)
    return result if isinstance(result, int) else 0
