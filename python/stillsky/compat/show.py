"""``--show`` of second-generation commands: configuration, its history, subtasks, data."""

import fnmatch
import io
import sys

__all__ = ["show"]


def show(words, config, containers):
    """Print what was asked for.

    Parameters
    ----------
    words : sequence of `str`
        ``config[=PATTERN]``, ``history=PATTERN``, ``tasks``, ``data``, ``run``.
    config : `lsst.pex.config.Config`
    containers : iterable of `stillsky.compat.arguments.IdContainer`

    Returns
    -------
    only : `bool`
        Nothing is to be run.

    Raises
    ------
    SystemExit
        With 1: an unknown word, or a field that is not there.
    """
    for what in words:
        key, _, pattern = what.partition("=")
        if key == "config":
            _showConfig(config, pattern)
        elif key == "history" and pattern:
            _showHistory(config, pattern)
        elif key == "tasks":
            for name, task in sorted(_tasks(config)):
                print(f"{name}: {task}")
        elif key == "data":
            for container in containers:
                for ref in container.refList:
                    print(f"{container.datasetType} {dict(ref.dataId.mapping)}")
        elif key != "run":
            print(
                f"--show: unknown {what!r}; known are config[=PATTERN], history=PATTERN, tasks, data, run",
                file=sys.stderr,
            )
            raise SystemExit(1)
    return bool(words) and "run" not in words


def _matcher(what, pattern):
    """Function (dotted name) -> whether a pattern means it; without regard to case unless it ends in :NOIGNORECASE."""
    exact = pattern.endswith(":NOIGNORECASE")
    pattern = pattern.removesuffix(":NOIGNORECASE") or "*"
    if not exact and pattern != pattern.lower():
        print(
            f"--show {what}: matching {pattern!r} without regard to case; add :NOIGNORECASE to match exactly",
            file=sys.stderr,
        )

    def matches(name):
        names = (name, name.removeprefix("config."))
        if exact:
            return any(fnmatch.fnmatchcase(one, pattern) for one in names)
        return any(fnmatch.fnmatchcase(one.lower(), pattern.lower()) for one in names)

    return matches


def _showConfig(config, pattern):
    stream = io.StringIO()
    config.saveToStream(stream, "config")
    matches = _matcher("config", pattern)
    for line in stream.getvalue().splitlines():
        if line.startswith("config.") and "=" in line and matches(line.partition("=")[0]):
            print(line)


def _showHistory(config, pattern):
    from lsst.pex.config import history

    matches, found = _matcher("history", pattern), False
    for name, owner, field in _fieldsOf(config, "config"):
        if matches(name):
            print(history.format(owner, field))
            found = True
    if not found:
        print(f"--show history: there is no field {pattern}", file=sys.stderr)
        raise SystemExit(1)


def _fieldsOf(config, prefix):
    """(dotted name, configuration, field) of every field that has no fields below it."""
    for name in config._fields:
        below = getattr(config, name)
        full = f"{prefix}.{name}"
        if hasattr(below, "_fields"):
            yield from _fieldsOf(below, full)
        elif hasattr(below, "active") and hasattr(below.active, "_fields"):  # a choice: the one that is chosen
            yield full, config, name
            yield from _fieldsOf(below.active, f"{full}.active")
        else:
            yield full, config, name


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
