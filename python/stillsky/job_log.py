"""What a job on files notes while it runs."""

import time
from contextlib import contextmanager

__all__ = ["JobLog"]


class JobLog:
    """Decisions, warnings, figures and times of a run, said as they come.

    Parameters
    ----------
    log : `logging.Logger`
        Hears what ``say`` and ``warn`` are not given for.
    say : callable, optional
        Takes a sentence.
    warn : callable, optional
        Takes a code and a sentence.

    Attributes
    ----------
    decisions : `list` [`str`]
    warnings : `list` [(`str`, `str`)]
        Code and sentence.
    metadata : `dict`
    timings : `dict`
        Wall time of each step, s.
    """

    def __init__(self, log, say=None, warn=None):
        self.decisions, self.warnings, self.metadata, self.timings = [], [], {}, {}
        self._say, self._warn = say or log.info, warn or (lambda code, text: log.warning("%s: %s", code, text))

    def say(self, sentence):
        """Note and say a decision."""
        self.decisions.append(sentence)
        self._say(sentence)

    def warn(self, code, sentence):
        """Note and say a warning, once."""
        if (code, sentence) not in self.warnings:
            self.warnings.append((code, sentence))
            self._warn(code, sentence)

    @contextmanager
    def timed(self, name):
        """Add the wall time of a step."""
        start = time.perf_counter()
        yield
        self.timings[name] = self.timings.get(name, 0.0) + time.perf_counter() - start
