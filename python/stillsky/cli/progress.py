"""Progress bars: drawn with rich, and only on a terminal."""

import sys

__all__ = ["Progress"]


class Progress:
    """Callable ``progress(iterable, desc=..., total=...)`` that draws a bar on stderr.

    Parameters
    ----------
    enabled : `bool`
        False, or a stderr that is no terminal: the iterable is passed through and rich is not loaded.
    """

    def __init__(self, enabled=True):
        self._enabled = enabled and hasattr(sys.stderr, "isatty") and sys.stderr.isatty()
        self._bars = None

    def __call__(self, iterable, desc="", total=None):
        if not self._enabled:
            return iterable
        return self._draw(iterable, desc, total)

    def _draw(self, iterable, desc, total):
        if total is None:
            total = len(iterable) if hasattr(iterable, "__len__") else None
        bars = self._open()
        task = bars.add_task(desc, total=total)
        for item in iterable:
            yield item
            bars.advance(task)

    def _open(self):
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bars

            columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
            self._bars = Bars(*columns, console=Console(stderr=True), transient=True)
            self._bars.start()
        return self._bars

    def close(self):
        """Remove the bars from the terminal."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None
