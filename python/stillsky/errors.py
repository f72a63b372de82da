"""The exceptions of stillsky. Each also derives from the builtin that a Python user expects.

A message says what was wanted, what was given, and which file or argument.
"""

__all__ = [
    "DomainError",
    "FitsLayoutError",
    "IdOverflowError",
    "InvalidPsfError",
    "MaskSchemaError",
    "MismatchError",
    "NoDataError",
    "NotFoundError",
    "NumericalError",
    "OutOfBoundsError",
    "ShapeError",
    "StillskyError",
]


class StillskyError(RuntimeError):
    """Base of all stillsky errors, and: the operation is impossible in this state.

    Parameters
    ----------
    *args
        The message: what went wrong, in one line.
    found : `str`, optional
        What was given, with numbers.
    remedy : `str`, optional
        What the user can do about it.

    Notes
    -----
    The command line prints the three parts on a line each; ``str()`` gives the message alone.
    """

    def __init__(self, *args, found=None, remedy=None):
        super().__init__(*args)
        self.found = found
        self.remedy = remedy


class ShapeError(StillskyError, ValueError):
    """Dimensions or boxes do not fit."""


class DomainError(StillskyError, ValueError):
    """A parameter lies outside its allowed set."""


class IdOverflowError(DomainError, OverflowError):
    """An identifier does not fit its bits, or a counter of identifiers is exhausted."""


class InvalidPsfError(DomainError):
    """The PSF is not defined at a position."""


class MismatchError(StillskyError, ValueError):
    """Two inputs do not belong together: no overlap, one WCS missing, shapes, units or registration that differ."""


class OutOfBoundsError(StillskyError, IndexError):
    """A pixel, cell or list index is out of range."""


class MaskSchemaError(StillskyError, ValueError):
    """Unknown mask plane, schemas that differ, or too many planes."""


class NoDataError(StillskyError):
    """Nothing is left after masking, clipping or selecting."""


class NotFoundError(StillskyError, KeyError):
    """A look-up by key found nothing."""

    __str__ = Exception.__str__  # KeyError would show the message quoted


class NumericalError(StillskyError, ArithmeticError):
    """Singular or non-finite where a result is impossible."""


class FitsLayoutError(StillskyError, ValueError):
    """A file does not follow the layout it should."""
