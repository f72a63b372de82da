"""The order of the rooms: nothing imports to its right, and cheap imports stay cheap."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CPP, PYTHON = ROOT / "cpp", ROOT / "python" / "stillsky"

# A room may use itself and the rooms to its left; the last C++ group are peers.
CPP_ROOMS = "core geom math image spans stats kernel".split()
CPP_PEERS = "stack measure warp psfmatch diffim dcr ptc".split()
PYTHON_ROOMS = (
    "_version _core errors threads job_log task_base geom image wcs psf photom meta fits stats kernel background detection "
    "measure warp psfmatch mapreduce diffim coadd dcr ptc butler pipelines compat sim report cli __main__"
).split()

# Conveniences that reach to the right, inside functions only.
ALLOWED_IN_FUNCTIONS = {
    ("task_base", "compat"),  # the second-generation verbs of the task classes
    ("coadd", "compat"),
    ("image", "wcs"),  # makeExposure takes an astropy WCS
    ("image", "psf"),  # makeExposure takes a PSF image
    ("image", "meta"),  # an exposure starts with an empty Header
    ("image", "fits"),  # Exposure.readFits, writeFits
    ("fits", "kernel"),  # readKernel, writeKernel
    ("diffim", "report"),  # result.write
    ("psfmatch", "report"),  # figures behind the debug switches
}


def _cppIncludes():
    for folder in (CPP / "include" / "stillsky", CPP / "src"):
        for path in sorted(folder.rglob("*.[hc]pp")):
            room = path.relative_to(folder).parts[0]
            for line in path.read_text().splitlines():
                found = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
                if found:
                    yield path, room, found[1]


def test_cpp_rooms_include_only_to_their_left():
    wrong, seen = [], 0
    for path, room, name in _cppIncludes():
        if not name.startswith("stillsky/") or name.count("/") < 2:
            continue
        seen += 1
        used = name.split("/")[1]
        assert room in CPP_ROOMS + CPP_PEERS, f"{path}: room {room} has no place in the order"
        left = CPP_ROOMS if room in CPP_PEERS else CPP_ROOMS[: CPP_ROOMS.index(room)]
        if used != room and used not in left:
            wrong.append(f"{path.relative_to(ROOT)} includes {name}")
    assert seen > 50 and not wrong, "\n".join(wrong)


def test_eigen_appears_in_no_public_header():
    headers = [str(p) for p, _, name in _cppIncludes() if "eigen" in name.lower() and p.suffix == ".hpp"]
    assert not [h for h in headers if "include" in Path(h).relative_to(CPP).parts]
    text = [p for p in (CPP / "include").rglob("*.hpp") if "Eigen::" in p.read_text()]
    assert not text, f"Eigen types in public headers: {text}"


def _imports(path):
    """(line, room, inside a function) of every import of stillsky's own rooms."""
    package = ("stillsky", *path.relative_to(PYTHON).parent.parts)

    def visit(node, inside):
        for child in ast.iter_child_nodes(node):
            names = []
            if isinstance(child, ast.Import):
                names = [alias.name.split(".") for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                base = list(package[: len(package) - child.level + 1]) if child.level else []
                base += child.module.split(".") if child.module else []
                names = [base] if len(base) > 1 else [[*base, alias.name] for alias in child.names]
            for name in names:
                if name[0] == "stillsky" and len(name) > 1:
                    yield child.lineno, name[1], inside
            isFunction = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from visit(child, inside or isFunction)

    yield from visit(ast.parse(path.read_text()), False)


def test_python_rooms_import_only_to_their_left():
    wrong, used = [], set()
    for path in sorted(PYTHON.rglob("*.py")):
        room = path.relative_to(PYTHON).parts[0].removesuffix(".py")
        if room == "__init__":
            continue  # the lazy table of all names
        assert room in PYTHON_ROOMS, f"{path}: room {room} has no place in the order"
        for line, other, inside in _imports(path):
            if other not in PYTHON_ROOMS or PYTHON_ROOMS.index(other) <= PYTHON_ROOMS.index(room):
                continue  # a public name of the lazy table, or to the left
            used.add((room, other))
            if not (inside and (room, other) in ALLOWED_IN_FUNCTIONS):
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {other}")
    assert not wrong, "\n".join(wrong)
    assert ("image", "fits") in used  # the walk sees imports inside functions


def _loaded(statement, *names):
    """Which of the modules a fresh interpreter has loaded after a statement."""
    code = f"import sys\n{statement}\nprint(*[n for n in {names!r} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("module", ["stillsky", "stillsky.errors", "stillsky.cli"])
def test_cheap_imports_load_no_heavy_library(module):
    assert _loaded(f"import {module}", "numpy", "astropy", "scipy", "matplotlib", "lsst") == []


def test_algorithms_load_neither_butler_nor_task_framework():
    statement = "import stillsky; stillsky.Exposure; stillsky.subtract; stillsky.read"
    assert _loaded(statement, "lsst.pipe.base", "lsst.daf.butler", "matplotlib", "numpy") == ["numpy"]


def test_every_public_name_of_these_rooms_is_at_the_top():
    import stillsky

    for room in ("geom", "image", "wcs"):
        module = __import__(f"stillsky.{room}", fromlist=["*"])
        for name in set(module.__all__) & set(stillsky.__all__):
            assert getattr(stillsky, name) is getattr(module, name)
    assert stillsky.exposure is stillsky.makeExposure
    with pytest.raises(AttributeError):
        getattr(stillsky, "noSuch" + "Name")
