"""Rooms stand in one row and nothing imports to the left; public headers and plain modules stay light."""

import ast
import re
from pathlib import Path

import pytest

import stillsky

ROOT = Path(__file__).resolve().parents[2]
INCLUDE = ROOT / "cpp" / "include" / "stillsky"
# The package as it is imported: these rules hold for an installed copy as well.
PACKAGE = Path(stillsky.__file__).parent

CPP_ROW = ["core", "geom", "math", "image", "spans", "stats", "kernel"]  # then rooms that do not see each other
CPP_LAST = {"stack", "measure", "warp", "psfmatch", "diffim", "dcr", "ptc"}
PYTHON_FLOORS = [
    {"geom", "image", "wcs", "psf", "photom", "meta", "fits"},
    {"stats", "kernel", "background", "detection", "measure"},
    {"warp", "psfmatch", "diffim", "mapreduce", "coadd", "dcr", "ptc", "report", "sim"},
    {"butler", "pipelines", "compat", "cli"},
]


def includesOf(folder, prefix):
    for path in sorted(folder.rglob("*.[hc]pp")):
        for name in re.findall(prefix, path.read_text()):
            yield path, name


@pytest.mark.skipif(not INCLUDE.is_dir(), reason="needs the source tree")
@pytest.mark.parametrize("floor", ["include/stillsky", "src"])
def testCppRoomsIncludeOnlyRoomsToTheirLeft(floor):
    seen = 0
    for room in sorted(p for p in (ROOT / "cpp" / floor).iterdir() if p.is_dir()):
        assert room.name in CPP_ROW or room.name in CPP_LAST, f"room {room.name} has no place in the row"
        if room.name in CPP_LAST:
            allowed = {*CPP_ROW, room.name}
        else:
            allowed = set(CPP_ROW[: CPP_ROW.index(room.name) + 1])
        for path, name in includesOf(room, r'#include "stillsky/([a-z0-9_]+)/'):
            seen += 1
            assert name in allowed, f"{path.relative_to(ROOT)} includes {name}/"
    assert seen > 50


@pytest.mark.skipif(not INCLUDE.is_dir(), reason="needs the source tree")
def testPublicHeadersNeedNothingButTheStandardLibrary():
    """No Eigen and no pybind11: a program that uses the library needs neither."""
    seen = 0
    for path, name in includesOf(INCLUDE, r"#include ([<\"][^>\"]+)"):
        seen += 1
        assert name.startswith('"stillsky/') or re.fullmatch(r"<[a-z_]+(\.h)?", name), f"{path}: {name}"
    for path in INCLUDE.rglob("*.hpp"):
        assert "Eigen::" not in path.read_text(), path
    assert seen > 100


def importsOf(path, package):
    """Absolute names that a module imports when it is loaded: statements inside functions do not count."""
    todo = list(ast.parse(path.read_text()).body)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parts, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        todo.extend(ast.iter_child_nodes(node))


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        yield path, ".".join(parts[:-1])


def floorOf(room):
    return next((i for i, rooms in enumerate(PYTHON_FLOORS) if room in rooms), None)


def testPythonRoomsImportNothingToTheirLeft():
    seen = 0
    for path, package in modules():
        room = package.split(".")[1] if "." in package else None
        if room is None:
            continue
        floor = floorOf(room)
        assert floor is not None, f"room {room} has no floor"
        for name in importsOf(path, package):
            other = name.split(".")[1] if name.startswith("stillsky.") else None
            if other is None or floorOf(other) is None:
                continue
            seen += 1
            assert floorOf(other) <= floor, f"{path.relative_to(PACKAGE)} imports {name}"
    assert seen > 50


def testHeavyPackagesAreImportedWhereTheyBelong():
    """Task classes alone load lsst.pipe.base, config modules lsst.pex.config; pictures load matplotlib when drawn."""
    for path, package in modules():
        names = set(importsOf(path, package))
        tops = {n.split(".")[0] for n in names}
        where = path.relative_to(PACKAGE)
        assert "matplotlib" not in tops, where
        if package in ("stillsky.butler", "stillsky.compat", "stillsky.pipelines"):
            continue
        assert not any(n.startswith("lsst.daf") for n in names), where
        if any(n.startswith("lsst.pipe") for n in names):
            text = path.read_text()
            assert re.search(r"^class \w+\([^)]*Task\b|pipeBase\.(Task|PipelineTask|AlgorithmError)", text, re.M), where
        if package == "stillsky.cli" and path.stem in ("__init__", "app", "main"):
            assert not tops & {"numpy", "astropy", "lsst", "scipy"}, where
