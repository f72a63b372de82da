"""Exit codes, and the three lines (what, found, remedy) that explain them."""

import errno
import os

__all__ = ["CommandError", "OutputError", "ReadError", "codeOf", "describe", "explain", "report"]


class CommandError(Exception):
    """An error of the command line itself, with its exit code and the three parts of its message."""

    exitCode = 2

    def __init__(self, message, *, found=None, remedy=None, exitCode=None):
        super().__init__(message)
        self.found = found
        self.remedy = remedy
        if exitCode is not None:
            self.exitCode = exitCode


class ReadError(CommandError):
    """A file is missing, unreadable, or breaks a layout rule."""

    exitCode = 3


class OutputError(CommandError):
    """An output exists or cannot be written."""

    exitCode = 7


# Class name -> exit code; by name, so that the classes need not be imported. The most derived known class decides.
_CODES = {
    "FitsLayoutError": 3,
    "NotFoundError": 3,
    "OSError": 3,
    "EOFError": 3,
    "MismatchError": 4,
    "ShapeError": 4,
    "MaskSchemaError": 4,
    "UnitConversionError": 4,
    "NoDataError": 5,
    "NumericalError": 6,
    "InvalidPsfError": 6,
    "LinAlgError": 6,
    "DomainError": 2,
    "OutOfBoundsError": 2,
    "FieldValidationError": 2,
    "KeyboardInterrupt": 130,
}

_NO_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # nobody who reads is told these

_REMEDIES = {
    1: "run again with --debug for the traceback, and report it with the log file",
    2: "stillsky config VERB lists every key with its meaning and range",
    3: "stillsky info FILE shows what is understood of a file; --ext NAME or FILE[NAME] picks an extension",
    4: "check that both files show the same field in the same units; stillsky info FILE shows size and WCS",
    5: "check masks and saturation with stillsky info FILE, or give kernel stars with --stars FILE",
    6: "lower the order of the kernel model, or raise the number of stars with --stars FILE",
    7: "give another prefix with -o, or --overwrite",
    130: "run again",
}


def codeOf(error):
    """The exit code of an exception."""
    own = getattr(error, "exitCode", None)
    if isinstance(own, int):
        return own
    if isinstance(error, OSError) and error.errno in _NO_WRITING:
        return 7
    for cls in type(error).__mro__:
        if cls.__name__ in _CODES:
            return _CODES[cls.__name__]
    return 1


def _foundOf(error, code):
    if isinstance(error, OSError) and error.filename is not None:
        return f"{os.fspath(error.filename)}: {error.strerror or error}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if code == 1:
        return f"raised in {_origin(error)}"
    for word in (", got ", ", given ", ", found ", ": got ", ": found "):
        _, _, given = str(error).partition(word)
        if given:
            return given
    return "no more is known than the line above says"


def _origin(error):
    trace = error.__traceback__
    where = "unknown place"
    while trace is not None:
        code = trace.tb_frame.f_code
        where = f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} ({code.co_name})"
        trace = trace.tb_next
    return where


def describe(error):
    """The parts of an error as a `dict`: code, class, message, found, remedy (each part one line)."""
    code = codeOf(error)
    message, found, remedy = (
        str(error) or type(error).__name__,
        getattr(error, "found", None),
        getattr(error, "remedy", None),
    )
    if isinstance(error, OSError):
        message = _osMessage(error, code)
        if error.errno in _NO_WRITING:
            remedy = remedy or "make room, or name another place with -o"
    elif isinstance(error, MemoryError):
        message, found = "not enough memory", str(error) or "no more was to be had"
        remedy = "smaller images or --region, fewer --threads, or a machine with more memory"
    elif code == 1:
        said = "" if message == type(error).__name__ else f": {message}"
        message = f"unexpected error: {type(error).__name__}{said}"
    line = {
        "message": message,
        "found": found or _foundOf(error, code),
        "remedy": remedy or _REMEDIES.get(code, _REMEDIES[1]),
    }
    return {"code": code, "class": type(error).__name__, **{k: " ".join(str(v).split()) for k, v in line.items()}}


def _osMessage(error, code):
    """Without the number, and as a sentence."""
    if error.strerror and error.filename is not None:
        return f"cannot {'write' if code == 7 else 'open'} {os.fspath(error.filename)}"
    if error.errno in _NO_WRITING and error.strerror:
        return "cannot write the output"
    return str(error).strip() or os.strerror(error.errno or errno.EIO)


def explain(parts):
    """The three lines of an error that ``describe`` gave."""
    return f"error[{parts['code']}]: {parts['message']}\n  found: {parts['found']}\n  try: {parts['remedy']}"


def report(error):
    """Print the three lines of an error on stderr and return its exit code."""
    from .logs import say

    parts = describe(error)
    say(explain(parts))
    return parts["code"]
