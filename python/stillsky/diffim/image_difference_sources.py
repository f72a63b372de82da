"""Detection and measurement of ImageDifferenceTask: the common engine, with the task's subtasks in it."""

import types

import numpy as np
from astropy.table import Table

from ..detection.sources import sourceTable
from .detect_measure import DetectAndMeasureResult, _clear, _Job, _newIds
from .glints import GlintTrails
from .source_measure import measureAll
from .source_schema import completed

__all__ = ["SourceFinder", "engineConfig"]

_NO_STARS = np.zeros((0, 2))


def engineConfig(config):
    """Configuration of the engine that an `ImageDifferenceConfig` stands for.

    Parameters
    ----------
    config : `ImageDifferenceConfig`

    Returns
    -------
    engine : `DetectAndMeasureAlgorithmConfig`
    """
    engine = config.detectAndMeasure.copy()
    for name in ("doMerge", "growFootprint", "doSkySources"):
        setattr(engine, name, getattr(config, name))
    engine.doForcedMeasurement = engine.doApCorr = False  # by the task's own subtasks
    engine.detection = config.detection.value
    engine.measurement.dipole = config.measurement.value
    return engine


class SourceFinder(_Job):
    """One search of a difference.

    Parameters
    ----------
    science, template, difference, score : `stillsky.image.Exposure`
        As of `stillsky.diffim.detectAndMeasure`; all but the difference may be None.
    config : `ImageDifferenceConfig`
    subtasks : object
        With ``detection``, ``skySources``, ``applyApCorr`` and ``forcedMeasurement``: tasks.
    psfMode : {"science", "decorrelated", "zogy"}
    """

    def __init__(self, science, template, difference, config, subtasks, score=None, psfMode="science"):
        super().__init__(science, template, difference, engineConfig(config), score, psfMode)
        self.task, self.subtasks = config, subtasks

    def measured(self, kernelStars, ids, seed):
        """Find and measure.

        Parameters
        ----------
        kernelStars : array, shape (n, 2)
            Positions of the stars of the fit.
        ids : `IdGenerator` or `IdFactory` or None
        seed : `int`

        Returns
        -------
        result : `DetectAndMeasureResult`
        """
        return self.run(kernelStars, kernelStars, ids, seed, None)

    def detected(self, ids, seed):
        """Find only: the columns of the detection are filled, everything else is as for an unmeasured source."""
        for exposure in filter(None, (self.difference, self.score)):
            _clear(exposure.mask, self.config.clearMaskPlanes)
        footprints, flags = self._find(seed)
        table = sourceTable(footprints, isNegative=flags["negative"] & ~flags["positive"])
        table["merge_footprint_positive"], table["merge_footprint_negative"] = flags["positive"], flags["negative"]
        table["sky_source"] = flags["sky"]
        if self.difference.wcs is not None and len(table):
            table["coord_ra"], table["coord_dec"] = self.difference.wcs.pixelToSky(table["peakX"], table["peakY"])
        table = completed(table, getattr(self.difference, "fluxUnit", None) or "count")
        table["id"][:] = _newIds(ids, len(table))
        table.meta.update(self._meta(ids, seed))
        glints = GlintTrails(np.zeros(len(table), bool))
        return DetectAndMeasureResult(self.difference, table, footprints, None, glints, self.metadata, self.timings)

    # ------------------------------------------------------------ what the engine asks for

    def _meta(self, ids, seed):
        return super()._meta(ids, seed) | {"control_seed": int(self.task.controlRandomSeed)}

    def _search(self, searched, clear):
        table = Table({"is_negative": np.zeros(0, bool)})
        missing = () if self.config.compat == "reference" else tuple(self.config.missingMaskPlanes)
        return self.subtasks.detection.run(
            table,
            searched,
            doSmooth=self.score is None,
            sigma=self.sigma,
            clearMask=clear,
            missingMaskPlanes=missing,
        )

    def _skySources(self, seed):
        if not self.config.doSkySources:
            return None
        found = self.subtasks.skySources.run(self.difference, seed)
        self.metadata["n_skySources"] = self.metadata["sky_footprint_count"] = len(found)
        return found

    def _measure(self, footprints, flags, forcedPsf):
        direct = (self.science, self.template) if self.task.doDipoleFitting else (None, None)
        view = types.SimpleNamespace(
            config=self.config, difference=self.difference, psf=self.psf, score=self.score, metadata=self.metadata,
            science=direct[0], template=direct[1], blends=self.blends, sigma=self.sigma,
        )  # fmt: skip
        table = measureAll(view, footprints, flags, forcedPsf)
        if self.task.doApCorr:
            self.subtasks.applyApCorr.run(table, getattr(self.difference, "apCorrMap", None))
        if self.task.doForcedMeasurement and self.science is not None:
            psf = getattr(self.template, "psf", None)
            self.subtasks.forcedMeasurement.run(
                table, self.science, self.template, wcs=self.difference.wcs, templatePsf=psf
            )
        return table
