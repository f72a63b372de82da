"""How many threads the compiled core may use."""

from contextlib import contextmanager

from ._core import getNumThreads, setNumThreads

__all__ = ["getNumThreads", "numThreads", "setNumThreads"]


@contextmanager
def numThreads(n):
    """Use ``n`` threads inside a ``with`` block (0: the default number) and restore the former setting after it."""
    before = getNumThreads()
    setNumThreads(n)
    try:
        yield
    finally:
        setNumThreads(before)
