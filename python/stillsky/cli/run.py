"""One run of a verb: logging, the summary, and the way from an exception to an exit code."""

import json
import logging
import math
import signal
import sys
import threading
import time
from contextlib import contextmanager

import click

from .._version import __version__
from .exits import OutputError, describe, explain
from .logs import LogSetup, say, show
from .progress import Progress

__all__ = ["Run", "runVerb", "toJson"]

_log = logging.getLogger("stillsky.cli")


class Run:
    """State of one run of a verb.

    Attributes
    ----------
    verb : `str`
        Verb.
    options : `dict`
        What click parsed.
    progress : `Progress`
        Callable for loops.
    summary : `dict`
        The document of ``--json`` and P.json.
    """

    def __init__(self, verb, options):
        self.verb = verb
        self.options = options
        self.progress = Progress(not options.get("quiet") and not options.get("log_json"))
        self.summary = {
            "version": __version__,
            "verb": verb,
            "command": ["stillsky", *sys.argv[1:]],
            "inputs": {},
            "config": {},
            "metadata": {},
            "products": [],
            "warnings": [],
            "timings": {},
            "exit": 0,
        }
        self._start = time.perf_counter()

    @property
    def seconds(self):
        """Wall time since the start."""
        return time.perf_counter() - self._start

    def option(self, name, default=None):
        """Value of an option, or ``default`` when it was not given."""
        value = self.options.get(name)
        return default if value is None else value

    def warn(self, code, sentence):
        """Note a warning in the summary and say it, unless ``--allow`` silences it or it was said already."""
        allowed = code in self.options.get("allow", ())
        entry = {"code": code, "message": sentence, "allowed": allowed}
        if entry not in self.summary["warnings"]:
            self.summary["warnings"].append(entry)
        if f"{code}: {sentence}" not in self.log.said:
            _log.warning("%s: %s", code, sentence)

    def say(self, sentence):
        """Say something at INFO unless it was said already."""
        if sentence not in self.log.said:
            _log.info("%s", sentence)

    @contextmanager
    def timed(self, name):
        """Note the wall time of a step in the summary."""
        start = time.perf_counter()
        yield
        self.summary["timings"][name] = time.perf_counter() - start


def _plainNumbers(value):
    """What `json` can write: NumPy scalars and arrays become plain, non-finite numbers null, other things text."""
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, dict):
        return {str(k): _plainNumbers(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plainNumbers(v) for v in value]
    if hasattr(value, "tolist"):
        return _plainNumbers(value.tolist())
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value)


def toJson(document):
    """The document as JSON text; NaN and infinity, which JSON does not have, become null."""
    return json.dumps(_plainNumbers(document), indent=2, allow_nan=False)


@contextmanager
def _terminable():
    """Let SIGTERM unwind the stack, so that partial files are removed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number, frame):
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _openLog(options):
    try:
        return LogSetup(
            options.get("verbose", 0) - options.get("quiet", 0),
            options.get("log_file"),
            options.get("log_json", False),
            options.get("allow", ()),
        )
    except OSError as error:
        raise OutputError(
            f"cannot write the log file {options['log_file']}", found=error.strerror, remedy="another --log-file"
        ) from error


def runVerb(verb, options, body):
    """Run ``body(run)`` with logging set up; turn what it raises into the three lines and an exit code.

    Parameters
    ----------
    verb : `str`
        Verb.
    options : `dict`
        What click parsed.
    body : callable
        Takes a `Run`; returns an exit code or None.

    Returns
    -------
    code : `int`
        Exit code.
    """
    run = Run(verb, options)
    with _openLog(options) as run.log, _terminable():
        try:
            _setThreads(options.get("threads"))
            code = body(run) or 0
        except click.ClickException:
            raise
        except (Exception, KeyboardInterrupt) as error:
            code = _fail(run, error)
        finally:
            run.progress.close()
        run.summary["exit"] = code
        if options.get("asJson"):
            show(toJson(run.summary))
    return code


def _setThreads(n):
    if n:
        from ..threads import setNumThreads

        setNumThreads(n)


def _fail(run, error):
    run.progress.close()
    if isinstance(error, KeyboardInterrupt):
        say("interrupted; partial products removed")
        run.summary["error"] = {"code": 130, "message": "interrupted"}
        run.summary["products"] = []
        return 130
    parts = describe(error)
    run.summary["error"] = parts
    if parts["code"] != 8 and not getattr(error, "productsWritten", False):
        run.summary["products"] = []
    # the log file gets the traceback; stderr only with --debug
    _log.debug("%s", parts["message"], exc_info=error)
    say(explain(parts))
    if run.options.get("debug"):
        import traceback

        say("".join(traceback.format_exception(error)))
    return parts["code"]
