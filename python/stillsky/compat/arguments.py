"""The options of second-generation command-line tasks (task-framework 3.2)."""

import argparse
import ast
import fnmatch
import getpass
import os
import shlex
import sys
from types import SimpleNamespace

from ..errors import DomainError
from .data_ids import castDataId, expandDataIds, findDataIds
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
            help="collections to read [default: the repository's, or CAMERA/defaults]",
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
        add("-L", "--loglevel", nargs="*", action="append", default=[], metavar="[COMPONENT=]LEVEL")
        add("--longlog", action="store_true", help="verbose format of the log")
        add("--debug", action="store_true", help="import a module named debug")
        add("--doraise", action="store_true", help="let exceptions out")
        add("--noExit", action="store_true", help="do not exit when data ids failed")
        add("--profile", metavar="FILE", help="profile of the run (cProfile)")
        add("--show", nargs="+", default=[], metavar="WHAT", help="config[=PATTERN] history=PATTERN tasks data run")
        add("-j", "--processes", type=int, default=1, metavar="N")
        add("-t", "--timeout", type=float, default=30 * 86400.0, metavar="SECONDS")
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
        datasetType : `str`
            Ids are expanded to its datasets that are there.
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
        return shlex.split(line, comments=True)

    def error(self, message):
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: error: {message}\n")

    def parse_args(self, config, args=None, log=None, override=None):
        """Parse; the result has ``butler`` (`RunStore`), ``config`` (validated, frozen), ``log``, and an `IdContainer` per id option.

        Parameters
        ----------
        config : `lsst.pex.config.Config`
            Changed in place: overrides of the instrument, ``override``, then the options in their order.
        args : `list` of `str`, optional
            ``sys.argv[1:]`` by default.
        log : `logging.Logger`, optional
        override : callable, optional
            Takes the configuration (``applyOverrides`` of the task).
        """
        import logging

        args = sys.argv[1:] if args is None else list(args)
        if not args or (args[0].startswith(("-", "@")) and args[0] not in ("-h", "--help")) or args[0] == "":
            self.print_help()
            self.exit(1, f"{self.prog}: the first argument is the repository\n")
        if args[0] in ("-h", "--help"):
            self.print_help()
            self.exit(0)
        parsed = super().parse_args(args, SimpleNamespace(overrides=[]))
        parsed.config, parsed.log = config, log or logging.getLogger(f"stillsky.{self.taskName}")
        try:
            self._levels(parsed)
            self._openRepository(parsed)
            self._configure(parsed, override)
            self._findData(parsed)
        except (DomainError, OSError, ValueError, SyntaxError) as error:  # a configuration's own errors are ValueErrors
            if parsed.doraise:
                raise
            self.error(" ".join(str(error).split()))
        parsed.shownOnly = _show(parsed)
        return parsed

    # ---- repository
    def _openRepository(self, parsed):
        from lsst.daf.butler import Butler

        if not os.path.exists(os.path.join(parsed.input, "butler.yaml")) and os.path.isdir(parsed.input):
            raise DomainError(f"{parsed.input}: no repository (it has no butler.yaml)")
        butler = Butler.from_config(parsed.input, writeable=True)
        inputs, output = self._names(parsed)
        collections = inputs or list(butler.collections.defaults) or _umbrellas(butler)
        calib = parsed.calib.split(",") if parsed.calib else []
        if parsed.clobber_output:
            if output in collections:
                raise DomainError(f"--clobber-output: the output {output} is an input too")
            if not _chainExists(butler, output):
                raise DomainError(f"--clobber-output: there is no output {output}")
            _removeChain(butler, output)
        parsed.output = output
        parsed.butler = RunStore(butler, _newestRun(butler, output, [*collections, *calib]), [*collections, *calib])

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
        for instrument in sorted({one.name for one in _instruments(parsed.butler.butler)}):
            _applyInstrument(parsed.butler.butler, instrument, self.taskName, parsed.config)
        if override is not None:
            override(parsed.config)
        for kind, text in parsed.overrides:
            if kind == "file":
                if not os.path.exists(text):
                    raise DomainError(f"--config-file: no file {text}")
                parsed.config.load(text)
            else:
                _assign(parsed.config, text)
        parsed.config.validate()
        parsed.config.freeze()

    def _findData(self, parsed):
        butler = parsed.butler.butler
        for key, (datasetType, dimensions) in self._idArguments.items():
            container = IdContainer(datasetType)
            for items in getattr(parsed, key):
                container.idList += expandDataIds(items)
            for given in container.idList:
                cast = castDataId(
                    given, butler.dimensions, patchesPerRow=_patchesPerRow(butler), say=parsed.log.warning
                )
                unknown = [name for name in cast if name not in butler.dimensions.dimensions.names]
                wanted = {name: value for name, value in cast.items() if name not in unknown}
                found = findDataIds(
                    butler,
                    wanted,
                    datasetType,
                    dimensions or _dimensionsOf(butler, datasetType),
                    parsed.butler.collections,
                )
                if not found:
                    parsed.log.warning("No data found for dataId=%s", given)
                container.refList += [DataRef(parsed.butler, one) for one in found]
            setattr(parsed, key, container)

    @staticmethod
    def _levels(parsed):
        import logging

        for text in (one for group in parsed.loglevel for one in group):
            component, equals, level = text.rpartition("=")
            name = {"trace": "DEBUG", "warn": "WARNING", "fatal": "CRITICAL"}.get(level.lower(), level.upper())
            number = logging.getLevelNamesMapping().get(name)
            if number is None:
                raise DomainError(f"--loglevel: wanted trace, debug, info, warn, error or fatal, given {level!r}")
            (logging.getLogger(component) if equals else parsed.log).setLevel(number)
        if parsed.debug:
            try:
                import debug  # noqa: F401
            except ImportError:
                parsed.log.warning("--debug: there is no module debug")


class _Override(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        namespace.overrides += [("value", one) for one in values]


class _OverrideFile(argparse.Action):
    def __call__(self, parser, namespace, values, option_string=None):
        namespace.overrides += [("file", one) for one in values]


def _assign(config, text):
    """Set one field by its dotted name: the text itself, or the literal that it spells; nothing else is evaluated."""
    name, equals, value = text.partition("=")
    if not equals:
        raise DomainError(f"--config: wanted NAME=VALUE, given {text!r}")
    *path, last = name.strip().split(".")
    target = config
    for part in path:
        target = getattr(target, part, None)
    if not hasattr(target, last):
        raise DomainError(f"--config: there is no field {name}")
    try:
        setattr(target, last, value)
    except Exception as refused:
        try:
            setattr(target, last, ast.literal_eval(value))
        except (ValueError, SyntaxError):
            raise DomainError(f"--config: {name}: cannot use {value!r}: {refused}") from None


# ---- what the repository has
def _instruments(butler):
    return butler.registry.queryDimensionRecords("instrument")


def _umbrellas(butler):
    found = [f"{one.name}/defaults" for one in _instruments(butler)]
    there = [name for name in found if _chainExists(butler, name)]
    if not there:
        raise DomainError("--input: the repository has no default collections; give those to read")
    return there


def _chainExists(butler, name):
    from lsst.daf.butler import MissingCollectionError

    try:
        butler.collections.get_info(name)
    except MissingCollectionError:
        return False
    return True


def _newestRun(butler, output, inputs):
    """The newest run of the output chain, which is made with a first one when it is not there."""
    from datetime import UTC, datetime

    from lsst.daf.butler import CollectionType

    if _chainExists(butler, output):
        info = butler.collections.get_info(output)
        if info.type is CollectionType.RUN:
            return output
        runs = [one for one in info.children if one.startswith(f"{output}/")]
        if runs:
            return runs[0]
    run = f"{output}/{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}"
    butler.collections.register(run, CollectionType.RUN)
    butler.collections.register(output, CollectionType.CHAINED)
    butler.collections.redefine_chain(output, [run, *inputs])
    return run


def _removeChain(butler, output):
    runs = [one for one in butler.collections.get_info(output).children if one.startswith(f"{output}/")]
    butler.collections.redefine_chain(output, [])
    butler.collections.x_remove(output)
    butler.removeRuns(runs)


def _dimensionsOf(butler, datasetType):
    from lsst.daf.butler import MissingDatasetTypeError

    try:
        return butler.get_dataset_type(datasetType).dimensions.required
    except MissingDatasetTypeError:
        raise DomainError(f"--id: the repository has no dataset type {datasetType}") from None


def _patchesPerRow(butler):
    def ask(tract):
        records = butler.registry.queryDimensionRecords("patch", where=f"tract={tract}")
        return max(record.cell_x for record in records) + 1

    return ask


def _applyInstrument(butler, name, taskName, config):
    from lsst.pipe.base import Instrument

    try:
        instrument = Instrument.fromName(name, butler.registry)
    except (ImportError, TypeError, RuntimeError):
        return  # a camera of a package that is not here has no overrides to give
    instrument.applyConfigOverrides(taskName, config)


# ---- --show
def _show(parsed):
    """Print what was asked for; whether nothing is to be run."""
    for what in parsed.show:
        key, _, pattern = what.partition("=")
        if key == "config":
            _showConfig(parsed.config, pattern)
        elif key == "history" and pattern:
            _showHistory(parsed.config, pattern)
        elif key == "tasks":
            for name, task in sorted(_tasks(parsed.config)):
                print(f"{name}: {task}")
        elif key == "data":
            for container in (one for one in vars(parsed).values() if isinstance(one, IdContainer)):
                for ref in container.refList:
                    print(f"{container.datasetType} {dict(ref.dataId.mapping)}")
        elif key != "run":
            print(
                f"--show: unknown {what!r}; known are config[=PATTERN], history=PATTERN, tasks, data, run",
                file=sys.stderr,
            )
            raise SystemExit(1)
    return bool(parsed.show) and "run" not in parsed.show


def _showConfig(config, pattern):
    import io

    stream = io.StringIO()
    config.saveToStream(stream, "config")
    exact = pattern.endswith(":NOIGNORECASE")
    pattern = pattern.removesuffix(":NOIGNORECASE") or "*"
    if not exact and pattern != pattern.lower():
        print(
            f"--show config: matching {pattern!r} without regard to case; add :NOIGNORECASE to match exactly",
            file=sys.stderr,
        )
    for line in stream.getvalue().splitlines():
        name = line.partition("=")[0]
        if not line.startswith("config.") or "=" not in line:
            continue
        matches = fnmatch.fnmatchcase(name, pattern) if exact else fnmatch.fnmatch(name.lower(), pattern.lower())
        if matches or fnmatch.fnmatch(name.removeprefix("config.").lower(), pattern.lower()):
            print(line)


def _showHistory(config, pattern):
    from lsst.pex.config import history

    *path, last = pattern.removeprefix("config.").split(".")
    target = config
    try:
        for part in path:
            target = getattr(target, part)
        print(history.format(target, last))
    except (AttributeError, KeyError):
        print(f"--show history: there is no field {pattern}", file=sys.stderr)
        raise SystemExit(1) from None


def _tasks(config, prefix="config"):
    """(name, class) of every subtask in a configuration."""
    for name in config._fields:
        value = getattr(config, name)
        if hasattr(value, "target"):
            yield f"{prefix}.{name}", getattr(value.target, "__qualname__", value.target)
        if hasattr(value, "_fields"):
            yield from _tasks(value, f"{prefix}.{name}")
        elif hasattr(value, "value") and hasattr(value.value, "_fields"):
            yield from _tasks(value.value, f"{prefix}.{name}")
