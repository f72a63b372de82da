"""Detection, empty positions and aperture corrections as subtasks of tasks that find sources."""

import lsst.pipe.base as pipeBase
from lsst.pex.config import Config, ListField

from ..detection import detectSources, skySources
from ..detection.config import SourceDetectionConfig, detectionKeywords
from ..errors import DomainError
from ..measure.local_calibration import AP_CORR_FLUXES, applyApCorr
from ..task_base import SchemaVerbs, assignMetadata
from .detect_measure_config import SkyObjectsConfig
from .source_measure import slotPositions

__all__ = [
    "ApplyApCorrConfig",
    "ApplyApCorrTask",
    "SkyObjectsConfig",
    "SkyObjectsTask",
    "SourceDetectionConfig",
    "SourceDetectionTask",
]


class SourceDetectionTask(SchemaVerbs, pipeBase.Task):
    """Find the sources of an image; see `stillsky.detection.detectSources`."""

    ConfigClass = SourceDetectionConfig
    _DefaultName = "sourceDetection"

    def run(self, table, exposure, doSmooth=True, sigma=None, clearMask=True, missingMaskPlanes=()):
        """Detect.

        Parameters
        ----------
        table : `astropy.table.Table` or None
            Schema of the sources; with ``is_negative`` where both polarities are sought.
        exposure : `stillsky.image.Exposure`
            Its mask gets DETECTED and DETECTED_NEGATIVE, and EDGE where it cannot be smoothed.
        doSmooth : `bool`
        sigma : `float`, optional
            Width of the smoothing, pixels; default: the PSF's.
        clearMask : `bool`
            Clear the planes of the detection first.
        missingMaskPlanes : sequence of `str`
            Pixels that count as missing: no source on them.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``sources`` (table, negative ones first), ``positive``, ``negative`` (`FootprintSet`), ``numPos``,
            ``numNeg``, ``numPosPeaks``, ``numNegPeaks``, ``factor``, ``background``, ``metadata``.

        Raises
        ------
        ValueError
            Negative sources are sought and the table has no column for them.
        """
        if table is not None and self.config.thresholdPolarity != "positive" and "is_negative" not in table.colnames:
            raise DomainError("table: wanted a column is_negative, as sources of both polarities are sought")
        found = self._detect(
            exposure, doSmooth=doSmooth, sigma=sigma, clearMask=clearMask, missingMaskPlanes=missingMaskPlanes
        )
        return pipeBase.Struct(sources=found.sources(), **_results(found))

    def detectFootprints(self, exposure, doSmooth=True, sigma=None, clearMask=True, *, factor=1.0):
        """Find footprints, without a table of them.

        Parameters
        ----------
        exposure, doSmooth, sigma, clearMask
            As of `run`; masked images will do where sigma is given.
        factor : `float`
            Multiplies the thresholds.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            As of `run`, without ``sources``.
        """
        found = self._detect(exposure, doSmooth=doSmooth, sigma=sigma, clearMask=clearMask, factor=factor)
        return pipeBase.Struct(**_results(found))

    def _detect(self, exposure, **keywords):
        found = detectSources(exposure, **keywords, **detectionKeywords(self.config))
        assignMetadata(self.metadata, found.metadata)
        return found


def _results(found):
    """What both verbs of detection return."""
    names = (
        "positive",
        "negative",
        "numPos",
        "numNeg",
        "numPosPeaks",
        "numNegPeaks",
        "factor",
        "background",
        "metadata",
    )
    return {name: getattr(found, name) for name in names}


class SkyObjectsTask(SchemaVerbs, pipeBase.Task):
    """Find empty positions of an image; see `stillsky.detection.skySources`."""

    ConfigClass = SkyObjectsConfig
    _DefaultName = "skySources"

    def run(self, exposure, seed):
        """Choose the positions.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            Only its mask is read.
        seed : `int`

        Returns
        -------
        footprints : `stillsky.detection.FootprintSet`
            Discs, with one peak each.
        """
        config = self.config
        found = skySources(
            exposure, seed, config.nSources, radius=config.sourceRadius, avoidPlanes=tuple(config.avoidMask),
            growMask=config.growMask, nTrials=config.trials,
        )  # fmt: skip
        assignMetadata(self.metadata, {"sky_footprint_count": len(found)})
        return found


class ApplyApCorrConfig(Config):
    """Which flux corrections may fail quietly."""

    ignoreList = ListField(dtype=str, doc="Fluxes that are not corrected, e.g. base_GaussianFlux.", default=[])


class ApplyApCorrTask(SchemaVerbs, pipeBase.Task):
    """Multiply fluxes by their aperture corrections; see `stillsky.measure.applyApCorr`."""

    ConfigClass = ApplyApCorrConfig
    _DefaultName = "applyApCorr"

    def run(self, catalog, apCorrMap):
        """Correct fluxes in place and fill the columns that say so.

        Parameters
        ----------
        catalog : `astropy.table.Table`
        apCorrMap : `stillsky.photom.ApCorrMap` or None
            None: no map belongs to the PSF that the fluxes were measured with. They stay, and ``X_flag_apCorr`` is set.
        """
        ignored = {name.removesuffix("_instFlux") for name in self.config.ignoreList}
        names = [name for name in AP_CORR_FLUXES if name not in ignored]
        applyApCorr(catalog, apCorrMap, *slotPositions(catalog), names=names)
