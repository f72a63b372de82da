"""``python -m stillsky``: where the C++ library is, or the command line."""

import sys


def _folder(*parts):
    # importlib.resources, not __file__: an editable install splits the package over two folders.
    from importlib.resources import files

    path = files("stillsky").joinpath(*parts)
    return str(path)


def main(argv=None):
    """Run the command line; ``--cmake-dir`` and ``--include-dir`` answer without loading it."""
    args = sys.argv[1:] if argv is None else list(argv)
    if args == ["--cmake-dir"]:
        print(_folder("lib", "cmake", "stillsky"))
        return 0
    if args == ["--include-dir"]:
        print(_folder("include"))
        return 0
    from .cli import main as run

    return run(args)


if __name__ == "__main__":
    sys.exit(main())
