"""``stillsky demo --butler``: one night, from raw files to calibrated sensor, coadd and changes, in a repository."""

import logging
import os
from contextlib import contextmanager

__all__ = ["showButler"]

_CAMERA, _SKY, _BAND = "SimCam", "sky", "g"
_VALIDITY = ("2020-01-01", "2030-01-01")  # in which the photon transfer shall count
_CLEAR = 7.0  # S/N on the difference above which a transient that stands alone should be found


def showButler(run):
    """Simulate a night, make a repository of it, run the pipelines of photon transfer, coadds and differences."""
    from stillsky.butler.repository import checkRepository, openRepository

    folder = run.options["folder"]
    repo = os.path.join(folder, "repo")
    _refuseExisting(repo, run.options["overwrite"])
    night, flats, visits = _simulate(run, folder)
    _fill(run, repo, flats, visits)
    facts = {**_photonTransfer(run, repo, night), **_coadd(run, repo, night), **_difference(run, repo, night)}
    with run.timed("check"), openRepository(repo) as butler:
        report = checkRepository(butler)
    run.say(f"repository: {repo}, {report.datasets} datasets, {len(report.problems)} problems")
    run.summary["products"] = [repo, *flats, *visits]
    run.summary["metadata"] = {**facts, "datasets": report.datasets, "problems": report.problems}
    _sayCommands(run, folder)
    return 3 if report.problems else 0


def _refuseExisting(repo, overwrite):
    """Make way for the repository; `OutputError` when something is there that may not be replaced."""
    import shutil

    from ..exits import OutputError

    if not os.path.exists(repo):
        return
    if not overwrite or not os.path.exists(os.path.join(repo, "butler.yaml")):
        raise OutputError(f"{repo} exists", found="an earlier demo" if not overwrite else "no repository",
                          remedy="another folder, or --overwrite for a repository")  # fmt: skip
    shutil.rmtree(repo)


def _simulate(run, folder):
    from ...sim import simulateNight

    with run.timed("simulate"):
        night = simulateNight(run.options["size"] or 512, seed=run.options["seed"])
        flats, visits = night.write(folder)
    count = len(night.field.transients["x"])
    run.say(f"simulated:  {len(flats)} flats, {len(visits)} visits of a field, {count} transients in the last one")
    return night, flats, visits


def _fill(run, repo, flats, visits):
    from stillsky.butler.instruments import InstrumentDefinition
    from stillsky.butler.repository import createRepository, ingestExposures, openRepository, registerSkyMap
    from stillsky.butler.sky_maps import skyMapAround

    with run.timed("ingest"):
        createRepository(repo)
        camera = InstrumentDefinition(_CAMERA)
        with openRepository(repo, writeable=True) as butler:
            reports = [
                ingestExposures(butler, flats, camera, datasetType="flat", dimension="exposure"),
                ingestExposures(butler, visits, camera),
            ]
            registerSkyMap(butler, _SKY, skyMapAround(visits))
    count = sum(len(report.ingested) for report in reports)
    run.say(f"repository: {count} files of {_CAMERA} ingested, sky map {_SKY}")


def _pipeline(run, repo, name, inputs, output, where):
    """Run a shipped pipeline; the `PipelineRun`, to be closed."""
    from stillsky.butler.run_pipeline import runPipeline

    with run.timed(name), _quiet(name, run.options["verbose"]):
        return runPipeline(repo, name, inputs, output, where=f"instrument='{_CAMERA}'{where}")


@contextmanager
def _quiet(name, verbose):
    """What tasks log is for those who ask for it."""
    from lsst.pipe.base import Pipeline

    from stillsky.butler.run_pipeline import pipelineUri

    names = ["lsst", "stillsky.background", "stillsky.diffim", "stillsky.fits"]
    names += [f"stillsky.{label}" for label in Pipeline.from_uri(pipelineUri(name)).task_labels]
    before = {one: logging.getLogger(one).level for one in names}
    try:
        for one in names:
            logging.getLogger(one).setLevel(logging.INFO if verbose else logging.ERROR)
        yield
    finally:
        for one, level in before.items():
            logging.getLogger(one).setLevel(level)


def _photonTransfer(run, repo, night):
    """Gains of the sensor, certified as a calibration."""
    import numpy as np
    from astropy.time import Time
    from lsst.daf.butler import CollectionType, Timespan

    with _pipeline(run, repo, "ptc", [f"{_CAMERA}/flat"], "demo/ptc", "") as made:
        butler = made.butler
        ref = butler.find_dataset("ptcDatsetProposal", instrument=_CAMERA, detector=0)
        curves = butler.get(ref)
        butler.collections.register(f"{_CAMERA}/calib", CollectionType.CALIBRATION)
        span = Timespan(*(Time(day, scale="tai") for day in _VALIDITY))
        butler.registry.certify(f"{_CAMERA}/calib", [ref], span)
        quanta = len(made.quanta)
    gains = np.array([[amp.gain, curves.gain[amp.name]] for amp in night.flats.amplifiers])
    worst = float(np.max(np.abs(gains[:, 1] / gains[:, 0] - 1)))
    run.say(f"ptc:        {quanta} quanta; gains within {worst:.2%} of the truth; certified in {_CAMERA}/calib")
    return {"gainTruth": gains[:, 0], "gainFound": gains[:, 1]}


def _coadd(run, repo, night):
    """The coadd of all visits but the last."""
    import numpy as np

    where = f" AND skymap='{_SKY}' AND visit > {night.scienceVisit}"
    with _pipeline(run, repo, "coadd", [f"{_CAMERA}/defaults"], "demo/coadd", where) as made:
        coadd = made.butler.get("deepCoadd", skymap=_SKY, tract=0, patch=0, band=_BAND)
        warp = made.butler.get(
            "deepCoadd_directWarp", skymap=_SKY, tract=0, patch=0, instrument=_CAMERA, visit=night.scienceVisit + 1
        )
        quanta = len(made.quanta)
    noise = [float(np.sqrt(np.nanmedian(one.variance.array))) for one in (coadd, warp)]
    visits = len(night.field.visits)
    run.say(f"coadd:      {quanta} quanta; {visits} visits, noise {noise[0]:.0f} nJy (one visit {noise[1]:.0f} nJy)")
    return {"coaddNoise": noise[0], "visitNoise": noise[1]}


def _difference(run, repo, night):
    """Changes of the last visit."""
    where = f" AND skymap='{_SKY}' AND visit = {night.scienceVisit}"
    with _pipeline(run, repo, "difference", ["demo/coadd", f"{_CAMERA}/defaults"], "demo/diff", where) as made:
        sources = made.butler.get("deepDiff_diaSrc", instrument=_CAMERA, visit=night.scienceVisit, detector=0)
        ref = made.butler.find_dataset(
            "deepDiff_differenceExp", instrument=_CAMERA, visit=night.scienceVisit, detector=0
        )
        path, difference = made.butler.getURI(ref).ospath, made.butler.get(ref)
        quanta = len(made.quanta)
    counts = _countFound(sources, difference, night.field)
    run.say(
        f"difference: {quanta} quanta; {counts['found']} of {counts['expected']} transients with S/N above {_CLEAR:g}, "
        f"away from stars, found; {len(sources)} sources"
    )
    run.say(f"image:      {path}")
    return {"transients": counts}


def _countFound(sources, difference, field):
    """How many transients that stand alone should be found, and are."""
    import numpy as np

    truth, stars = field.transients, field.stars
    distance = np.hypot(truth["x"][:, None] - stars["x"], truth["y"][:, None] - stars["y"])
    snr = [
        flux / _fluxError(difference, x, y) for x, y, flux in zip(truth["x"], truth["y"], truth["flux"], strict=True)
    ]
    expected = (np.min(distance, axis=1) > 2 * field.science.frame.psf.fwhm) & (np.array(snr) > _CLEAR)
    x, y = (np.asarray(sources[f"base_SdssCentroid_{c}"], float) for c in "xy")
    nearest = np.min(np.hypot(truth["x"][:, None] - x, truth["y"][:, None] - y), axis=1, initial=np.inf)
    return {"expected": int(expected.sum()), "found": int((expected & (nearest < 2.0)).sum()), "sources": len(sources)}


def _fluxError(difference, x, y):
    """Error of a PSF flux at a position; infinite without data."""
    import numpy as np

    psf = difference.psf.computeImage((x, y))
    box = psf.bbox.clipped(difference.bbox)
    with np.errstate(divide="ignore"):
        return float(1 / np.sqrt(np.sum(psf[box].array ** 2 / difference.variance[box].array)))


def _sayCommands(run, folder):
    """The same from the shell."""
    run.say('the same with pipetask, and with bps, is in the README under "On a Butler"; here, for instance:')
    run.say(f"  cd {folder}")
    run.say(f"  pipetask run -b repo -p resource://stillsky/pipelines/ptc.yaml -i {_CAMERA}/flat -o u/me/ptc "
            "--register-dataset-types")  # fmt: skip
    run.say("  butler query-datasets repo 'deepDiff_*' --collections demo/diff")
