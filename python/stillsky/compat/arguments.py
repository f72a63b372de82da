"""The options of second-generation command-line tasks: repositories, data ids, configuration, logging, how to run."""

import argparse
import ast
import getpass
import os
import shlex
import sys
from types import SimpleNamespace

from ..errors import DomainError
from .chains import (
    beginOutput,
    chainExists,
    inputsOf,
    newestRun,
    newRun,
    refuseCycle,
    refuseRemoval,
    removeOutput,
    umbrellas,
)
from .data_ids import castDataId, expandDataIds, findDataIds
from .log import setLevels, startLog
from .show import show
from .store import DataRef, RunStore

__all__ = ["ArgumentParser", "IdContainer"]


class IdContainer:
    """What one ``--id`` stands for: the ids as they were given, and references to the data that are there.

    Attributes
    ----------
    datasetType : `str`
    idList : `list` [`dict`]
    refList : `list` [`DataRef`]
    """

    def __init__(self, datasetType):
        self.datasetType = datasetType
        self.idList, self.refList = [], []


class ArgumentParser(argparse.ArgumentParser):
    """Options of a command-line task.

    Parameters
    ----------
    name : `str`
        Of the task (``_DefaultName``).
    """

    def __init__(self, name, **kwargs):
        kwargs.setdefault("usage", "%(prog)s REPO [options]")
        kwargs.setdefault("prog", name)
        super().__init__(fromfile_prefix_chars="@", **kwargs)
        self.taskName = name
        self._idArguments = {}
        add = self.add_argument
        add("input", help="repository")
        add(
            "--input",
            dest="inputs",
            metavar="COLL,...",
            help="collections to read [default: those of an output that is there, the repository's, or CAMERA/defaults]",
        )
        add("--calib", metavar="COLL,...", help="calibration collections, searched after the others")
        add("--output", metavar="NAME", help="output chain; its newest run is written to")
        add("--rerun", metavar="[IN:]OUT", help="chains u/USER/IN to read and u/USER/OUT to write")
        add("-c", "--config", nargs="*", action=_Override, metavar="NAME=VALUE", help="configuration, by dotted names")
        add(
            "-C",
            "--config-file",
            "--configfile",
            nargs="*",
            action=_OverrideFile,
            metavar="FILE",
            help="files of overrides (Python)",
        )
        add(
            "-L",
            "--loglevel",
            nargs="*",
            action="append",
            default=[],
            metavar="[COMPONENT=]LEVEL",
            help="trace, debug, info, warn, error or fatal [default: info]",
        )
        add("--longlog", action="store_true", help="verbose format of the log")
        add("--debug", action="store_true", help="import a module named debug")
        add("--doraise", action="store_true", help="let exceptions out")
        add("--noExit", action="store_true", help="do not exit when data ids failed")
        add("--profile", metavar="FILE", help="profile of the run (cProfile)")
        add("--show", nargs="+", default=[], metavar="WHAT", help="config[=PATTERN] history=PATTERN tasks data run")
        add("-j", "--processes", type=int, default=1, metavar="N", help="data ids at a time [default: 1]")
        add(
            "-t",
            "--timeout",
            type=float,
            default=30 * 86400.0,
            metavar="SECONDS",
            help="for all of them [default: 30 d]",
        )
        add("--clobber-output", action="store_true", help="remove the output chain and its runs first")
        add("--clobber-config", action="store_true", help="replace stored configuration and schemas")
        add("--no-backup-config", action="store_true", help="without a copy of the old ones")
        add("--clobber-versions", action="store_true", help="replace stored package versions")
        add("--no-versions", action="store_true", help="store no package versions")

    def add_id_argument(self, name, datasetType, help="data ids: KEY=VALUE[^VALUE...] ...", *, dimensions=None):
        """Add an option such as ``--id``.

        Parameters
        ----------
        name : `str`
        datasetType : `str` or callable
            Ids are expanded to its datasets that are there. A callable takes the configuration with all its overrides.
        help : `str`
        dimensions : iterable of `str`, optional
            Of the references, if others than the dataset type's.
        """
        key = name.lstrip("-")
        self._idArguments[key] = (datasetType, dimensions)
        self.add_argument(name, nargs="*", action="append", default=[], metavar="KEY=VALUE", help=help)

    def addReuseOption(self, choices):
        """Add ``--reuse-outputs-from``, for tasks that can skip the steps named in ``choices`` and those before."""
        self.add_argument(
            "--reuse-outputs-from", dest="reuse", choices=[*choices, "all"], help="skip this step and earlier ones"
        )

    def convert_arg_line_to_args(self, line):
        """The arguments on a line of an @file, split as a shell does; # begins a comment."""
        return shlex.split(line, comments=True)

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n")

    def parse_args(self, config, args=None, log=None, override=None):
        """Parse; the result has ``butler`` (`RunStore`), ``config`` (validated, frozen), ``log``, and an `IdContainer` per id option.

        Nothing is written to the repository, nor removed, before all options proved right, and nothing with ``--show`` alone.

        Parameters
        ----------
        config : `lsst.pex.config.Config`
            Changed in place: overrides of the instrument, ``override``, then the options in their order.
        args : `list` of `str`, optional
            ``sys.argv[1:]`` by default.
        log : `logging.Logger`, optional
            By default that of stillsky, which is shown from info on where the program has not set up its own logging.
        override : callable, optional
            Takes the configuration (``applyOverrides`` of the task).
        """
        args = sys.argv[1:] if args is None else [os.fspath(one) for one in args]
        if not args or (args[0].startswith(("-", "@")) and args[0] not in ("-h", "--help")) or args[0] == "":
            self.print_help()
            self.exit(1, f"{self.prog}: the first argument is the repository\n")
        if args[0] in ("-h", "--help"):
            self.print_help()
            self.exit(0)
        parsed = super().parse_args(args, SimpleNamespace(overrides=[]))
        parsed.config, parsed.butler = config, None
        try:
            parsed.log = startLog(log, longFormat=parsed.longlog)
            setLevels(parsed)
            self._openRepository(parsed)
            self._configure(parsed, override)
            self._findData(parsed)
            parsed.shownOnly = show(parsed.show, parsed.config, [getattr(parsed, key) for key in self._idArguments])
            if not parsed.shownOnly:
                self._beginOutput(parsed)
        except (DomainError, OSError, ValueError) as error:  # a configuration's own errors are ValueErrors
            _close(parsed)
            if parsed.doraise:
                raise
            self.error(" ".join(str(error).split()))
        except BaseException:
            _close(parsed)
            raise
        return parsed

    # ---- repository
    def _openRepository(self, parsed):
        from lsst.daf.butler import Butler

        if not os.path.exists(os.path.join(parsed.input, "butler.yaml")) and os.path.isdir(parsed.input):
            raise DomainError(f"{parsed.input}: no repository (it has no butler.yaml)")
        inputs, output = self._names(parsed)
        butler = Butler.from_config(parsed.input, writeable=True)
        try:
            old = newestRun(butler, output)
            collections = inputs or inputsOf(butler, output) or list(butler.collections.defaults) or umbrellas(butler)
            calib = parsed.calib.split(",") if parsed.calib else []
            for name in [*collections, *calib]:
                if not chainExists(butler, name):
                    raise DomainError(f"--input, --calib: the repository has no collection {name}")
            if old is None or parsed.clobber_output:
                refuseCycle(butler, output, [*collections, *calib])
            if parsed.clobber_output:
                refuseRemoval(butler, output)
        except BaseException:
            butler.close()
            raise
        run = newRun(output) if old is None or parsed.clobber_output else old
        parsed.output = output
        parsed.butler = RunStore(butler, run, [*collections, *calib], owner=True)

    def _beginOutput(self, parsed):
        store = parsed.butler
        if parsed.clobber_output:
            removeOutput(store.butler, parsed.output)
        beginOutput(store.butler, parsed.output, store.run, [one for one in store.collections if one != store.run])

    def _names(self, parsed):
        if parsed.rerun and parsed.output:
            raise DomainError("--rerun and --output: give one of them, not both")
        if not parsed.rerun and not parsed.output:
            raise DomainError("--output (or --rerun) is wanted")
        inputs = parsed.inputs.split(",") if parsed.inputs else []
        if parsed.output:
            return inputs, parsed.output
        first, colon, second = parsed.rerun.partition(":")
        user = f"u/{getpass.getuser()}"
        return ([*inputs, f"{user}/{first}"] if colon else inputs), f"{user}/{second if colon else first}"

    # ---- configuration
    def _configure(self, parsed, override):
        butler = parsed.butler.butler
        for instrument in self._instruments(parsed, butler):
            _applyInstrument(butler, instrument, self.taskName, parsed.config)
        if override is not None:
            override(parsed.config)
        for kind, text in parsed.overrides:
            (_load if kind == "file" else _assign)(parsed.config, text)
        parsed.config.validate()
        parsed.config.freeze()

    def _instruments(self, parsed, butler):
        """Instruments of the ids, all of the repository when the ids leave them open."""
        items = [item for key in self._idArguments for group in getattr(parsed, key) for item in group]
        named = {name for item in items if item.startswith("instrument=") for name in item.partition("=")[2].split("^")}
        known = {one.name for one in butler.registry.queryDimensionRecords("instrument")}
        return sorted(known & named if named else known)

    def _findData(self, parsed):
        for key, (datasetType, dimensions) in self._idArguments.items():
            container = IdContainer(datasetType(parsed.config) if callable(datasetType) else datasetType)
            for items in getattr(parsed, key):
                container.idList += expandDataIds(items)
            for given in container.idList:
                container.refList += self._references(parsed, container.datasetType, dimensions, given)
            setattr(parsed, key, container)

    @staticmethod
    def _references(parsed, datasetType, dimensions, given):
        """References of what is there for a data id; a warning when it is nothing."""
        store = parsed.butler
        known = store.butler.dimensions
        cast = castDataId(given, known, patchesPerRow=_patchesPerRow(store.butler), say=parsed.log.warning)
        wanted = {name: value for name, value in cast.items() if name in known.dimensions.names}
        kind = next((one for one in store.butler.registry.queryDatasetTypes(datasetType)), None)
        if kind is None:
            said = "No data found for dataId=%s: the repository has no dataset type %s; -c connections.NAME=TYPE reads another"
            parsed.log.warning(said, given, datasetType)
            return []
        found = findDataIds(store.butler, wanted, datasetType, dimensions or kind.dimensions.required, store.searched)
        if not found:
            parsed.log.warning(
                "No data found for dataId=%s: no %s of it in %s", given, datasetType, ", ".join(store.searched)
            )
        return [DataRef(store, one) for one in found]


def _close(parsed):
    if parsed.butler is not None:
        parsed.butler.close()


class _Override(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        namespace.overrides += [("value", one) for one in values]


class _OverrideFile(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        namespace.overrides += [("file", one) for one in values]


def _assign(config, text):
    """Set one field by its dotted name: the text itself, or the literal that it spells; nothing else is evaluated.

    Lists and mappings are always literals: of a text a list would take the letters.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise DomainError(f"--config: wanted NAME=VALUE, given {text!r}")
    *path, last = name.strip().split(".")
    target = config
    for part in path:
        target = getattr(target, part, None)
    field = getattr(target, "_fields", {}).get(last)
    if field is None and not (last == "name" and hasattr(target, "name")):  # of a choice among configurations
        raise DomainError(f"--config: there is no field {name}")
    refused = _example(field)
    if refused is None:
        try:
            setattr(target, last, value)
            return
        except (TypeError, ValueError) as error:  # the errors of fields are ValueErrors
            refused = error
    try:
        literal = ast.literal_eval(value)
        if isinstance(literal, str) and _example(field):
            raise ValueError(literal)
        setattr(target, last, literal)
    except (TypeError, ValueError, SyntaxError):
        raise DomainError(f"--config: {name}: cannot use {value!r}: {refused}") from None


def _example(field):
    """What a field of many values wants; None for any other field."""
    from lsst.pex.config import DictField, ListField

    if isinstance(field, ListField):
        return f"wanted a list, such as {['A', 'B'] if field.itemtype is str else [1, 2]}"
    if isinstance(field, DictField):
        return "wanted a mapping, such as {'name': value}"
    return None


def _load(config, path):
    """Assign what a file of overrides does; it is a program, whose errors are those of Python."""
    if not os.path.exists(path):
        raise DomainError(f"--config-file: no file {path}")
    try:
        config.load(path)
    except (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, RuntimeError, SyntaxError,
            TypeError, ValueError) as error:  # fmt: skip
        raise DomainError(f"--config-file: {path}: {type(error).__name__}: {error}") from error


# ---- what the repository has
def _patchesPerRow(butler):
    def ask(dataId):
        tract, named = int(dataId["tract"]), dataId.get("skymap")
        maps = [named] if named else [one.name for one in butler.registry.queryDimensionRecords("skymap")]
        widths = set()
        for name in maps:
            records = list(butler.registry.queryDimensionRecords("patch", skymap=name, tract=tract))
            widths |= {1 + max(record.cell_x for record in records)} if records else set()
        if len(widths) != 1:
            raise DomainError(
                f"--id: patch=X,Y of tract {tract}: {'several sky maps have' if widths else 'no sky map has'} it"
            )
        return widths.pop()

    return ask


def _applyInstrument(butler, name, taskName, config):
    from lsst.pipe.base import Instrument

    try:
        instrument = Instrument.fromName(name, butler.registry)
    except (ImportError, TypeError, RuntimeError):
        return  # a camera of a package that is not here has no overrides to give
    instrument.applyConfigOverrides(taskName, config)
