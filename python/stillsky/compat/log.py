"""The log of second-generation commands: on the terminal, with the data id that is worked on."""

import contextlib
import contextvars
import logging

from ..errors import DomainError

__all__ = ["labelled", "setLevels", "startLog"]

_SHORT = "%(name)s %(levelname)s: %(message)s"
_LONG = "%(levelname)s %(asctime)s %(name)s (%(dataId)s)(%(filename)s:%(lineno)d) - %(message)s"
_NAMES = {"trace": "DEBUG", "warn": "WARNING", "fatal": "CRITICAL"}
_label = contextvars.ContextVar("label", default="")


class _TerminalHandler(logging.StreamHandler):
    """Writes to stderr, and knows the data id."""

    def format(self, record):
        record.dataId = _label.get()
        return super().format(record)


class _Useful:
    """Warnings once for a data id, however often a file is read; none of eups, which only observatories have."""

    def __init__(self):
        self._label, self._said = None, set()

    def filter(self, record):
        """Whether a record is to be shown."""
        if record.levelno != logging.WARNING:
            return True
        if self._label != _label.get():
            self._label, self._said = _label.get(), set()
        said = (record.name, record.getMessage())
        if said in self._said or record.name == "lsst.utils.packages":
            return False
        self._said.add(said)
        return True


def startLog(log=None, *, longFormat=False):
    """The log of a command.

    Parameters
    ----------
    log : `logging.Logger`, optional
        It is returned as it is. Otherwise that of stillsky; where the program has set up no logging, its messages go to
        stderr from info on.
    longFormat : `bool`
        With time, data id and place in the code.

    Returns
    -------
    log : `logging.Logger`
    """
    if log is None:
        log = logging.getLogger("stillsky")
        if not logging.root.handlers:
            handler = _TerminalHandler()
            handler.addFilter(_Useful())
            logging.root.addHandler(handler)
            log.setLevel(logging.INFO)
    for handler in logging.root.handlers:
        if isinstance(handler, _TerminalHandler):
            handler.setFormatter(logging.Formatter(_LONG if longFormat else _SHORT))
    return log


def setLevels(parsed):
    """Levels of ``--loglevel`` and the module of ``--debug``.

    Parameters
    ----------
    parsed : namespace
        ``loglevel``, lists of ``[COMPONENT=]LEVEL``; ``log``; ``debug``.

    Raises
    ------
    DomainError
        A level that is none.
    """
    for text in (one for group in parsed.loglevel for one in group):
        component, equals, level = text.rpartition("=")
        number = logging.getLevelNamesMapping().get(_NAMES.get(level.lower(), level.upper()))
        if number is None:
            raise DomainError(f"--loglevel: wanted trace, debug, info, warn, error or fatal, given {level!r}")
        (logging.getLogger(component) if equals else parsed.log).setLevel(number)
    if parsed.debug:
        try:
            import debug  # noqa: F401
        except ImportError:
            parsed.log.warning("--debug: there is no module debug")


@contextlib.contextmanager
def labelled(label):
    """Context in which messages of the long format bear a data id."""
    token = _label.set(str(label))
    try:
        yield
    finally:
        _label.reset(token)
