"""MeasurePsfTask: the PSF of an image from stars chosen among its measured sources."""

import lsst.pipe.base as pipeBase
from lsst.pex.config import Config, ConfigField

from ..task_base import SchemaVerbs
from .algorithm import measurePsf
from .config import PsfModelConfig, StarConfig, SubtractConfig
from .source_measure import slotPositions
from .star_selector_task import sourceSelectorRegistry

__all__ = ["MeasurePsfConfig", "MeasurePsfTask"]


class MeasurePsfConfig(Config):
    """Which sources are stars, and how the PSF is made of them."""

    starSelector = sourceSelectorRegistry.makeField("Chooses stars from the table of sources.", default="objectSize")
    stars = ConfigField("What pixels of a star must be like.", StarConfig)
    psf = ConfigField("Model of the PSF.", PsfModelConfig)


class MeasurePsfTask(SchemaVerbs, pipeBase.Task):
    """Measure the PSF of an exposure; see `stillsky.diffim.measurePsf`."""

    ConfigClass = MeasurePsfConfig
    _DefaultName = "measurePsf"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.makeSubtask("starSelector")

    def run(self, exposure, sources):
        """Choose the stars and fit.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            Not changed.
        sources : `astropy.table.Table`
            Measured on it, with positions, fluxes and shapes.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``psf``, a `stillsky.psf.Psf`; ``selected``, boolean by row of the table.

        Raises
        ------
        NoDataError
            Too few stars.
        """
        selected = self.starSelector.selectSources(sources, exposure=exposure).selected
        config = SubtractConfig()
        config.stars, config.psf = self.config.stars, self.config.psf
        psf = measurePsf(exposure, config=config, stars=slotPositions(sources[selected]))
        self.metadata["numAvailStars"] = int(selected.sum())
        return pipeBase.Struct(psf=psf, selected=selected)
