"""What goes to stderr and to the log file."""

import json
import logging
import os
import re
import sys
import time
import warnings
from contextlib import contextmanager

import click

__all__ = ["WARNING_CODE", "LogSetup", "say", "show", "silence"]

WARNING_CODE = re.compile(r"^(?P<code>W-[A-Z0-9]+): (?P<sentence>.*)$", re.DOTALL)
_LOGGER = "stillsky"


class _StderrHandler(logging.Handler):
    """Short lines on stderr; drops allowed warning codes, and remembers what was said."""

    def __init__(self, allowed, asJson):
        super().__init__()
        self.allowed = set(allowed)
        self.asJson = asJson
        self.said = set()
        self.withheld = False

    def emit(self, record):
        message = record.getMessage()
        match = WARNING_CODE.match(message)
        if match and self.withheld:
            return
        self.said.add(message)
        if match and match["code"] in self.allowed:
            return
        if self.asJson:
            message = _jsonLine(record)
        elif match:
            message = f"warning[{match['code']}]: {match['sentence']}"
        elif record.levelno >= logging.WARNING:
            message = f"{record.levelname.lower()}: {message}"
        say(message)


def say(message):
    """A line on stderr; when who read it has gone ("2>&1 | head"), the work goes on in silence."""
    try:
        # click.echo finds sys.stderr anew each time: a progress bar replaces it while it is drawn
        click.echo(message, err=True)
    except BrokenPipeError:
        silence(sys.stderr)


def show(text, nl=True):
    """Text on stdout, or nowhere once its reader has gone ("| head")."""
    try:
        click.echo(text, nl=nl)
    except BrokenPipeError:
        silence(sys.stdout)


def silence(stream):
    """Send what is still written to a stream, also what it has in its buffer, nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _jsonLine(record):
    line = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z",
        "level": record.levelname,
        "logger": record.name,
        "message": record.getMessage(),
    }
    if record.exc_info:
        line["traceback"] = logging.Formatter().formatException(record.exc_info)
    return json.dumps(line)


class _JsonFormatter(logging.Formatter):
    def format(self, record):
        return _jsonLine(record)


class LogSetup:
    """Handlers on the logger ``stillsky`` for the length of a ``with`` block; Python's warnings go there, as DEBUG.

    Parameters
    ----------
    verbosity : `int`
        0: INFO and above; 1: DEBUG; -1: WARNING; -2: ERROR.
    logFile : `str`, optional
        File that gets everything, with times and tracebacks; appended to.
    asJson : `bool`
        JSON lines, in the log file if there is one, else on stderr.
    allowed : iterable of `str`
        Warning codes that are not shown.
    """

    def __init__(self, verbosity=0, logFile=None, asJson=False, allowed=()):
        self._logger = logging.getLogger(_LOGGER)
        levels = {1: logging.DEBUG, 0: logging.INFO, -1: logging.WARNING, -2: logging.ERROR}
        self._stderr = _StderrHandler(allowed, asJson and logFile is None)
        self._stderr.setLevel(levels[max(-2, min(1, verbosity))])
        self._handlers = [self._stderr]
        if logFile is not None:
            handler = logging.FileHandler(logFile, encoding="utf-8", delay=False)
            plain = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
            handler.setFormatter(_JsonFormatter() if asJson else plain)
            handler.setLevel(logging.DEBUG)
            self._handlers.append(handler)

    @property
    def said(self):
        """Messages that went through the handler, shown or not."""
        return self._stderr.said

    @contextmanager
    def withholdWarnings(self):
        """Keep coded warnings off stderr: for a reader that also returns them, so that they can be said with a name."""
        self._stderr.withheld = True
        try:
            yield
        finally:
            self._stderr.withheld = False

    def _show(self, message, category, filename, lineno, file=None, line=None):
        """What Python's `warnings` would print: of use to us, not to who looks for new stars."""
        self._logger.debug("%s: %s (%s:%d)", category.__name__, message, filename, lineno)

    def __enter__(self):
        self._shown = warnings.showwarning
        warnings.showwarning = self._show
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(min(h.level for h in self._handlers))
        self._logger.propagate = False
        for handler in self._handlers:
            self._logger.addHandler(handler)
        return self

    def __exit__(self, *_):
        warnings.showwarning = self._shown
        for handler in self._handlers:
            self._logger.removeHandler(handler)
            handler.close()
        self._logger.level, self._logger.propagate = self._before
