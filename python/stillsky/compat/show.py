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


def _showConfig(config, pattern):
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
        if not exact:
            name, pattern = name.lower(), pattern.lower()
        if any(fnmatch.fnmatchcase(one, pattern) for one in (name, name.removeprefix("config."))):
            print(line)


def _showHistory(config, pattern):
    from lsst.pex.config import history

    *path, last = pattern.removeprefix("config.").split(".")
    target = config
    try:
        for part in path:
            target = getattr(target, part)
        known = last in target._fields
    except AttributeError:
        known = False
    if not known:
        print(f"--show history: there is no field {pattern}", file=sys.stderr)
        raise SystemExit(1)
    print(history.format(target, last))


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
