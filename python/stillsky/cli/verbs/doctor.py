"""``stillsky doctor``: what is installed, and whether it works."""

import click

from ..logs import show
from ..options import VerbCommand
from ..run import runVerb

__all__ = ["doctor"]

_PACKAGES = ("numpy", "scipy", "astropy", "click", "rich", "matplotlib", "PyYAML", "lsst-pex-config", "lsst-pipe-base")
_EXTRAS = {
    "lsst-daf-butler": "data repositories",
    "lsst-ctrl-mpexec": "pipetask",
    "lsst-images": "Rubin DP2 files",
    "asdf": "Roman files",
    "gwcs": "Roman coordinates",
    "photutils": "tests only",
}


@click.command(cls=VerbCommand)
@click.option("--json", "asJson", is_flag=True, help="Print the findings as JSON.")
@click.option("--debug", is_flag=True, hidden=True, help="Show the traceback of an error.")
def doctor(**options):
    """Check the installation: versions, SIMD, threads, optional extras, and a self-test of a few seconds."""
    return runVerb("doctor", {**options, "quiet": 1}, _run)


def _run(run):
    import platform

    from ... import __version__, _core
    from ...threads import getNumThreads
    from ..exits import CommandError

    facts = {
        "stillsky": __version__,
        "python": f"{platform.python_version()} on {platform.system()} {platform.machine()}",
        "simd": _simd(_core.simdTargets()),
        "threads": getNumThreads(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "extras": {name: _version(name) for name in _EXTRAS},
    }
    checks = _selfTest()
    facts["checks"] = {name: error is None for name, error, _ in checks}
    run.summary["metadata"] = facts
    run.summary["timings"].update({name: seconds for name, _, seconds in checks})
    if not run.options["asJson"]:
        _print(facts, checks)
    failed = [name for name, error, _ in checks if error is not None]
    missing = [name for name, version in facts["packages"].items() if version is None]
    if failed or missing:
        raise CommandError(
            "the installation is not complete",
            found="; ".join([f"self-test failed: {n}" for n in failed] + [f"not installed: {n}" for n in missing]),
            remedy="pip install --force-reinstall stillsky",
            exitCode=1,
        )
    return 0


def _simd(targets):
    return targets if isinstance(targets, str) else ", ".join(str(t) for t in targets)


def _version(package):
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _print(facts, checks):
    for name in ("stillsky", "python", "simd", "threads"):
        show(f"{name:<12}{facts[name]}")
    show("packages    " + ", ".join(f"{n} {v or 'MISSING'}" for n, v in facts["packages"].items()))
    for name, version in facts["extras"].items():
        show(f"  {name:<18}{version or 'not installed'}  ({_EXTRAS[name]})")
    for name, error, seconds in checks:
        show(f"self-test   {name}: {'ok' if error is None else f'FAILED: {error}'} ({seconds:.2f} s)")


def _selfTest():
    """Run the checks; list of (name, error or None, seconds)."""
    import time

    results = []
    for name, check in (
        ("core and threads", _checkThreads),
        ("FITS round trip", _checkFits),
        ("subtraction of a simulated pair", _checkSubtract),
        ("picture", _checkPicture),
    ):
        start, error = time.perf_counter(), None
        try:
            check()
        except Exception as problem:
            error = f"{type(problem).__name__}: {problem}"
        results.append((name, error, time.perf_counter() - start))
    return results


def _checkThreads():
    from ...threads import getNumThreads, numThreads

    before = getNumThreads()
    with numThreads(1):
        if getNumThreads() != 1:
            raise RuntimeError("the number of threads cannot be set")
    if getNumThreads() != before:
        raise RuntimeError("the number of threads was not restored")


def _checkFits():
    import os
    import tempfile

    import numpy as np

    from stillsky.fits import readExposure, writeExposure

    from ...sim import simulatePair

    exposure = simulatePair(size=96, seed=2).science.toExposure()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "test.fits")
        writeExposure(exposure, path)
        again, _ = readExposure(path)
    for plane in ("image", "mask", "variance"):
        if not np.array_equal(getattr(exposure, plane).array, getattr(again, plane).array, equal_nan=plane != "mask"):
            raise RuntimeError(f"the {plane} plane changed on the way through a file")


def _checkSubtract():
    from stillsky.diffim import subtract

    from ...sim import simulatePair

    pair = simulatePair(size=384, seed=2)
    result = subtract(pair.science.toExposure(), pair.template.toExposure())
    chi = result.metadata["skyChi"]
    if not 0.9 < chi < 1.1:
        raise RuntimeError(f"sky chi of the difference is {chi:.3f}, wanted 1")


def _checkPicture():
    import io

    from matplotlib.figure import Figure

    stream = io.BytesIO()
    figure = Figure(figsize=(1, 1))
    figure.add_subplot().plot([0, 1], [0, 1])
    figure.savefig(stream, format="png")
    if not stream.getvalue().startswith(b"\x89PNG"):
        raise RuntimeError("matplotlib wrote no PNG")
