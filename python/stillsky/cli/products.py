"""Outputs that exist only when they are complete."""

import os
import secrets
import shutil
import weakref
from pathlib import Path

from .exits import OutputError

__all__ = ["StagedProducts"]


class StagedProducts:
    """The files of one run, written aside and moved into place together.

    A context manager: inside the ``with`` block files are written under `prefix`, which lies in a hidden folder beside
    the final place, hence on the same file system. Leaving the block without an exception renames them all; leaving
    with one removes them. A failed run therefore leaves nothing, whatever it was doing.

    Parameters
    ----------
    prefix : `str` or `~pathlib.Path`
        The final prefix, e.g. ``folder/run1``.
    suffixes : iterable of `str`
        What may be appended to it, e.g. ``.diff.fits``; an existing one is refused at once.
    overwrite : `bool`
        Replace existing files.

    Raises
    ------
    OutputError
        A product exists, or the folder is missing or cannot be written.
    """

    def __init__(self, prefix, suffixes, overwrite=False):
        self._final = Path(prefix)
        self._overwrite = overwrite
        self._staging = None
        self.products = []
        self._check(list(suffixes))

    def _check(self, suffixes):
        folder = self._final.parent
        if not folder.is_dir():
            raise OutputError(
                f"the folder of the output does not exist: {folder}",
                found=f"prefix {self._final}",
                remedy=f"mkdir -p {folder}, or another prefix with -o",
            )
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(f"the folder of the output cannot be written: {folder}", found=f"prefix {self._final}")
        self.refuse([f"{self._final}{s}" for s in suffixes])

    def refuse(self, names):
        """Raise OutputError if one of the final names exists and may not be replaced."""
        present = [str(name) for name in names if os.path.lexists(name)]
        if present and not self._overwrite:
            raise OutputError(
                "output exists already",
                found=", ".join(present),
                remedy="another prefix with -o, or --overwrite to replace these files",
            )

    @property
    def prefix(self):
        """Prefix to write to, as a `str`; only inside the ``with`` block."""
        return str(Path(self._staging) / self._final.name)

    def finalName(self, staged):
        """The final `pathlib.Path` of a file that was written under `prefix`."""
        return self._final.parent / Path(staged).name

    def beside(self, final):
        """Where to write a product of this final name (`str`)."""
        return str(Path(self._staging) / Path(final).name)

    def path(self, suffix):
        """Where to write the product with this suffix (`str`)."""
        return self.prefix + suffix

    def __enter__(self):
        folder = self._final.parent / f".{self._final.name}.partial-{secrets.token_hex(4)}"
        # Armed before the folder exists: an interrupt may come between any two instructions, also before the ``with``
        # block is entered or after it was left.
        self._remove = weakref.finalize(self, shutil.rmtree, str(folder), True)
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise self._writeError(error) from error
        self._staging = str(folder)
        return self

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self._publish()
            elif isinstance(error, OSError):
                raise self._writeError(error) from error
        finally:
            self._remove()
        return False

    def _publish(self):
        staged = sorted(Path(self._staging).iterdir())
        targets = [self.finalName(f) for f in staged]
        self.refuse(targets)  # somebody else may have written one while we worked
        done = []
        try:
            for source, target in zip(staged, targets):
                os.replace(source, target)
                done.append(target)
        except OSError as error:
            for target in done:
                target.unlink(missing_ok=True)
            raise self._writeError(error) from error
        self.products = [str(t) for t in targets]

    def _writeError(self, error):
        reason = error.strerror or str(error)
        folder = self._final.parent.resolve()
        try:
            free = f"{shutil.disk_usage(folder).free / 1e6:.0f} MB free"
        except OSError:
            free = "free space unknown"
        return OutputError(
            f"cannot write {self._final}.*: {reason}",
            found=f"{folder}, {free}; nothing was left behind",
            remedy="make room, or another prefix with -o",
        )
