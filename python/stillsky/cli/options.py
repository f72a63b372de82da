"""Options that verbs share. The rarely used ones are shown by ``--help-all`` only."""

import click

__all__ = [
    "VerbCommand",
    "configOptions",
    "gateOption",
    "inputOptions",
    "outputOptions",
    "runOptions",
    "sideOptions",
    "stackOptions",
]


class VerbCommand(click.Command):
    """A command whose help hides rarely used options; ``--help-all`` shows them."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "max_content_width": 100})
        super().__init__(*args, **kwargs)
        if any(getattr(p, "hidden", False) for p in self.params):
            self.params.append(
                click.Option(
                    ["--help-all"],
                    is_flag=True,
                    is_eager=True,
                    expose_value=False,
                    callback=_showAll,
                    help="Show all options and exit.",
                )  # fmt: skip
            )


class VerbGroup(click.Group):
    """A group of commands: alone it shows its help, whose sentences are whole; a slip is told the closest names."""

    kind = "command"

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("context_settings", {"help_option_names": ["-h", "--help"], "max_content_width": 100})
        super().__init__(*args, **kwargs)

    def list_commands(self, ctx):
        return list(self.commands)  # in the order in which they are wanted

    def parse_args(self, ctx, args):
        """Without any argument the help is shown, and that is no error."""
        if not args:
            click.echo(ctx.get_help())
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_commands(self, ctx, formatter):
        with formatter.section("Commands"):
            firsts = ((name, (self.commands[name].help or "").split("\n\n")[0]) for name in self.list_commands(ctx))
            formatter.write_dl([(name, " ".join(text.split())) for name, text in firsts])

    def resolve_command(self, ctx, args):
        """The verb of a name; an unknown one is explained."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            names = self.list_commands(ctx)
            close = get_close_matches(args[0], names, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(close)}?" if close else f"{self.kind}s are: {', '.join(names)}"
            raise click.UsageError(f"no {self.kind} {args[0]!r}; {hint}", ctx) from error


def _showAll(ctx, param, value):
    if not value:
        return
    for option in ctx.command.params:
        if isinstance(option, click.Option):
            option.hidden = False
    click.echo(ctx.get_help())
    ctx.exit()


def _apply(*options):
    def decorate(function):
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def runOptions(json=True):
    """Logging, threads, machine-readable summary."""
    options = [
        click.option("-v", "--verbose", count=True, help="Say more; repeat for timings of every step."),
        click.option("-q", "--quiet", count=True, help="Only warnings; twice: only errors."),
        click.option("--threads", type=click.IntRange(min=0), default=None, metavar="N", hidden=True,
                     help="Threads; 0, the default, means all that this process may use."),
        click.option("--allow", multiple=True, metavar="CODE", hidden=True,
                     help="Silence a warning, e.g. W-NOVAR; repeatable."),
        click.option("--log-file", type=click.Path(dir_okay=False), hidden=True, help="Also write a full log here."),
        click.option("--log-json", is_flag=True, hidden=True, help="Log lines as JSON objects."),
        click.option("--debug", is_flag=True, hidden=True, help="Show the traceback of an error."),
    ]  # fmt: skip
    if json:
        options.insert(0, click.option("--json", "asJson", is_flag=True, help="Print a JSON summary on stdout."))
    return _apply(*options)


def gateOption():
    """What makes a run that worked fail nevertheless."""
    return click.option(
        "--fail-on", "gates", multiple=True, metavar="EXPR", hidden=True,
        help='Exit 8, products written, when a figure of PREFIX.json says so, e.g. "skyChi > 1.2 or nGoodDiaSources > 100"; repeatable.',
    )  # fmt: skip


def configOptions(verb="VERB", example="psfmatch.spatialKernelOrder=1"):
    """Configuration; the example is a key that the verb has."""
    return _apply(
        click.option("-c", "--config", "assignments", multiple=True, metavar="KEY=VALUE",
                     help=f'Set a key, e.g. {example}; "stillsky config {verb}" lists all.'),
        click.option("-C", "--config-file", "configFiles", multiple=True, type=click.Path(), metavar="FILE.yaml",
                     help="YAML file of keys; repeatable."),
        click.option("--config-script", "configScripts", multiple=True, type=click.Path(), metavar="FILE.py",
                     hidden=True, help="Python file that changes 'config'; repeatable."),
        click.option("--preset", metavar="NAME", hidden=True, help="Named set of values: rubin, hotpants, ..."),
    )  # fmt: skip


def sideOptions(*sides):
    """From where the other planes of an image come; sides: "sci", "tmpl"."""
    options = []
    for side, name in ((side, {"sci": "science", "tmpl": "template"}[side]) for side in sides):
        for what, doc in (
            ("mask", "mask"),
            ("var", "variance"),
            ("weight", "weight (1/variance)"),
            ("psf", "PSF"),
        ):
            options.append(
                click.option(
                    f"--{side}-{what}",
                    f"{name}{what.capitalize()}",
                    metavar="FILE[EXT]",
                    hidden=True,
                    help=f"File with the {doc} of the {name} image.",
                )  # fmt: skip
            )
        for what, doc in (
            ("gain", "electrons per count"),
            ("read-noise", "electrons"),
            ("saturation", "counts"),
            ("sky-level", "counts that were subtracted"),
        ):
            stem = "".join(part.capitalize() for part in what.split("-"))
            options.append(
                click.option(
                    f"--{side}-{what}",
                    f"{name}{stem}",
                    type=float,
                    metavar="X",
                    hidden=True,
                    help=f"{what.replace('-', ' ').capitalize()} of the {name} image, {doc}.",
                )  # fmt: skip
            )
        options.append(
            click.option(f"--{side}-variance", f"{name}Variance", type=click.Choice(["auto", "model", "empirical"]),
                         hidden=True, help=f"Noise of the {name} image: of the file, of gain and counts, or measured.")
        )  # fmt: skip
    return _apply(*options)


def inputOptions():
    """What to read, and from where the other planes come."""
    return _apply(
        click.option("--ext", metavar="NAME", hidden=True, help="Extension of both files; FILE[NAME] for one of them."),
        click.option("--region", metavar="X0:X1,Y0:Y1", help="Part of the science image, 0-based and half open."),
        click.option("--fits-region", "fitsRegion", metavar="X0:X1,Y0:Y1", hidden=True,
                     help="The same 1-based and inclusive."),
        click.option("--stars", metavar="FILE",
                     help="Table of stars for the kernel: x, y (0-based science pixels) or ra, dec (degrees)."),
        sideOptions("sci", "tmpl"),
    )  # fmt: skip


def outputOptions(first="science file"):
    """Where to write; ``first`` is what the products are named after."""
    return _apply(
        click.option("-o", "--output", metavar="PREFIX",
                     help=f"Prefix of the products [default: stem of the {first} and verb, in the current folder]."),
        click.option("--overwrite", is_flag=True, help="Replace existing products."),
        click.option("--dry-run", is_flag=True, help="Print resolved inputs and configuration; touch nothing."),
        click.option("--compress", type=click.Choice(["none", "lossless", "lossy"]), default="none", hidden=True,
                     show_default=True, help="Compression of the FITS products."),
    )  # fmt: skip


def stackOptions():
    """Which images are stacked, and how they are brought together."""
    from .sizes import MemorySize

    return _apply(
        click.option("--reference", metavar="IMG",
                     help="Grid of the result; if it is one of the inputs, its flux scale and sky too."),
        click.option("--scale", type=click.Choice(["stars", "sky", "none"]),
                     help="Bring flux scale and sky, or sky alone, to those of the first [default: stars]."),
        click.option("--memory", type=MemorySize(), metavar="SIZE",
                     help="For rows of images, e.g. 500M; the result does not depend on it [default: 2GiB]."),
        click.option("--strict", is_flag=True, help="An input that cannot be used is an error, and not just left out."),
        click.option("--work", metavar="DIR", help="Keep finished warps there, and go on from those of a broken-off run."),
        click.option("--ext", metavar="NAME", hidden=True, help="Extension of all files; FILE[NAME] for one of them."),
        click.option("--gain", type=float, metavar="X", hidden=True, help="Electrons per count, of all images."),
        click.option("--read-noise", "readNoise", type=float, metavar="X", hidden=True, help="Electrons."),
        click.option("--saturation", type=float, metavar="X", hidden=True, help="Counts."),
        click.option("--register", is_flag=True, hidden=True,
                     help="Find shift, rotation and scale of the images from their objects."),
        click.option("--site", metavar="LON,LAT,HEIGHT", hidden=True,
                     help="Of the telescope (degrees East, degrees, metres) or its name, where headers do not say it."),
        click.option("--report/--no-report", default=True, hidden=True, help="Write PREFIX.html."),
    )  # fmt: skip
