"""One night by one executor in Python and by the engines of the middleware: what the tests of pipetask and bps share."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table
from night import WHERE

import stillsky

# All pipelines at once: a process for each quantum is dear.
PIPELINE = """\
description: Photon transfer, coadds, DCR coadds and differences of a night.
parameters:
  bandLimits: [402.8, 549.8]
  subfilters: 3
imports:
  - resource://stillsky/pipelines/ptc.yaml
  - resource://stillsky/pipelines/coadd.yaml
  - location: resource://stillsky/pipelines/dcr.yaml
    include: dcrAssembleCoadd
  - resource://stillsky/pipelines/difference.yaml
tasks:
  cpPtcExtract:
    class: stillsky.ptc.task.PhotonTransferCurveExtractTask
    config: {maximumRangeCovariancesAstier: 2}
  cpPtcSolve:
    class: stillsky.ptc.solve_task.PhotonTransferCurveSolveTask
    config: {maximumRangeCovariancesAstier: 2}
"""
SMALL = {"size": 200, "numVisits": 1, "levels": [1e3, 1e4, 4e4], "sensor": 110, "patch": 200}
QUANTA = 3 + 2 + 1 + 1 + 1 + 2 * 3
_OWN = ("_log", "_metadata", "_config", "packages")  # of the engines themselves: times and versions


def makeNight(folder, emptyRepository):
    """The repository ``folder/repo``, its night, and the run ``u/here`` made in this process."""
    import shutil

    from night import fillRepository

    from stillsky.butler.run_pipeline import runPipeline

    shutil.copytree(emptyRepository, folder / "repo")
    fillRepository(folder, **SMALL)
    (folder / "night.yaml").write_text(PIPELINE)
    with runPipeline(folder / "repo", str(folder / "night.yaml"), ["SimCam/defaults"], "u/here", where=WHERE) as run:
        assert len(run.quanta) == QUANTA
    return folder


def command(name, *arguments, folder):
    """Run a program of this environment in a folder; its output. AssertionError with all of it when it fails."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    package = str(Path(stillsky.__file__).parents[1])
    environment["PYTHONPATH"] = os.pathsep.join([package, environment.get("PYTHONPATH", "")]).strip(os.pathsep)
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    # where the releases of bps for Python 3.11 look for their commands
    environment["CTRL_MPEXEC_DIR"] = environment["DAF_BUTLER_DIR"] = sys.prefix
    environment["PWD"] = str(folder)  # bps puts its submit folder there
    done = subprocess.run(
        [name, *map(str, arguments)], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, f"{name} {arguments}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout + done.stderr


def outputs(butler, chain):
    """Data set type and data id to reference, of what the tasks wrote in the newest run of a chain."""
    run = butler.collections.get_info(chain).children[0]
    refs = [ref for kind in butler.registry.queryDatasetTypes("*") if not kind.name.endswith(_OWN)
            for ref in butler.registry.queryDatasets(kind, collections=run)]  # fmt: skip
    return {(ref.datasetType.name, str(ref.dataId)): ref for ref in refs}


def assertSameNumbers(folder, chain):
    """Every dataset of the chain equals that of ``u/here``, to the last bit."""
    from stillsky.butler.repository import checkRepository, openRepository

    with openRepository(folder / "repo") as butler:
        wanted, found = outputs(butler, "u/here"), outputs(butler, chain)
        assert set(found) == set(wanted)
        assert {"ptcDatsetProposal", "deepCoadd", "dcrCoadd", "deepDiff_differenceExp", "deepDiff_diaSrc"} <= {
            k[0] for k in wanted
        }
        for key, ref in found.items():
            kind = ref.datasetType.storageClass_name
            if kind == "Plot":
                continue
            assertSame(butler.get(ref), butler.get(wanted[key]), str(key))
        assert len(butler.get(wanted["deepDiff_diaSrc", _visit(wanted)])) > 0
        assert checkRepository(butler).problems == []


def _visit(refs):
    """Data id of the visit with the transients, as `outputs` writes it."""
    return next(key[1] for key in refs if key[0] == "deepDiff_diaSrc" and "visit: 1000" in key[1])


def assertSame(one, other, what):
    """Two datasets are equal, by what their types hold."""
    assert type(one) is type(other), what
    if isinstance(one, stillsky.Exposure):
        for plane in ("image", "mask", "variance"):
            np.testing.assert_array_equal(getattr(one, plane).array, getattr(other, plane).array, err_msg=what)
        assert one.bbox == other.bbox and one.wcs == other.wcs and one.psf == other.psf, what
    elif isinstance(one, stillsky.Image):
        np.testing.assert_array_equal(one.array, other.array, err_msg=what)
        assert one.bbox == other.bbox, what
    elif isinstance(one, Table):
        assert one.colnames == other.colnames and len(one) == len(other), what
        for name in one.colnames:
            np.testing.assert_array_equal(np.asarray(one[name]), np.asarray(other[name]), err_msg=f"{what} {name}")
    elif isinstance(one, stillsky.PhotonTransferCurveDataset):
        assert one == other, what
    elif isinstance(one, stillsky.Kernel):
        np.testing.assert_array_equal(one.imageAt(100.0, 100.0), other.imageAt(100.0, 100.0), err_msg=what)
    else:
        raise AssertionError(f"{what}: no way to compare {type(one).__name__}")
