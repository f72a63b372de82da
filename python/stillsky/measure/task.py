"""Measurement tasks: the dipole fit and forced photometry."""

import lsst.pipe.base as pipeBase
from lsst.pex.config import Config, Field, ListField

from ..task_base import SchemaVerbs, assignMetadata
from .algorithms import BAD_PLANES
from .dipole_config import DipoleFitConfig
from .dipoles import fitDipoles
from .forced import addForcedPhotometry
from .schema import emptyTable
from .sources import PLUGINS, measurementSchema, measureSources

__all__ = [
    "DipoleFitConfig",
    "DipoleFitTask",
    "ForcedMeasurementConfig",
    "ForcedMeasurementTask",
    "SingleFrameMeasurementConfig",
    "SingleFrameMeasurementTask",
]


class DipoleFitTask(SchemaVerbs, pipeBase.Task):
    """Fit dipoles to the footprints of a difference image; see `stillsky.measure.fitDipoles`."""

    ConfigClass = DipoleFitConfig
    _DefaultName = "dipoleFit"

    def getSchemaCatalogs(self):
        """The columns of the fit, empty."""
        return {"dipoleFit": emptyTable("ip_diffim_DipoleFit")}

    def run(self, footprints, difference, science=None, template=None, centroids=None):
        """Fit and classify.

        Parameters
        ----------
        footprints : `FootprintSet`
        difference, science, template : Exposure
            The template is the one matched to the science image; either or both may be missing.
        centroids : `astropy.table.Table`, optional
            ``base_SdssCentroid_*``, for the sources that are no dipoles.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``dipoles``: the table, one row per footprint.
        """
        table = fitDipoles(difference, footprints, science, template, centroids=centroids, config=self.config)
        assignMetadata(self.metadata, table.meta)
        return pipeBase.Struct(dipoles=table)


class ForcedMeasurementConfig(Config):
    """Which pixels forced photometry leaves out."""

    badMaskPlanes = ListField(dtype=str, doc="Pixels left out.", default=list(BAD_PLANES))


class ForcedMeasurementTask(SchemaVerbs, pipeBase.Task):
    """PSF fluxes on science image and matched template at the places of other sources."""

    ConfigClass = ForcedMeasurementConfig
    _DefaultName = "forcedMeasurement"

    def run(self, sources, science, template=None, wcs=None, templatePsf=None):
        """Append the columns ``ip_diffim_forced_PsfFlux_*`` and, with a template, ``ip_diffim_forced_template_PsfFlux_*``.

        Parameters
        ----------
        sources : `astropy.table.Table`
            With ``slots`` in its `meta`; changed in place.
        science, template : Exposure
        wcs : SkyWcs, optional
            That of the image on which the sources were measured; default: the same pixels.
        templatePsf : Psf, optional
            Default: that of the science image, to which the template was matched.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``sources``: the same table.
        """
        slot = sources.meta["slots"]["slot_Centroid"]
        addForcedPhotometry(
            sources, science, template, x=sources[slot + "_x"], y=sources[slot + "_y"], wcs=wcs,
            flag=sources[slot + "_flag"], badPlanes=tuple(self.config.badMaskPlanes), templatePsf=templatePsf,
        )  # fmt: skip
        return pipeBase.Struct(sources=sources)


class SingleFrameMeasurementConfig(Config):
    """What is measured on each source of one image."""

    plugins = ListField(dtype=str, doc="Algorithms.", default=list(PLUGINS))
    maxDistToPeak = Field(
        dtype=float, doc="Farthest a centroid may be from its peak, pixels; negative: no limit.", default=-1.0
    )
    badMaskPlanes = ListField(dtype=str, doc="Pixels left out.", default=list(BAD_PLANES))


class SingleFrameMeasurementTask(SchemaVerbs, pipeBase.Task):
    """Measure the sources of an image; see `stillsky.measure.measureSources`."""

    ConfigClass = SingleFrameMeasurementConfig
    _DefaultName = "measurement"

    def getSchemaCatalogs(self):
        """The columns of the measurements, empty."""
        return {"sources": measurementSchema(tuple(self.config.plugins))}

    def run(self, footprints, exposure):
        """Measure.

        Parameters
        ----------
        footprints : `FootprintSet`
        exposure : Exposure
            With a PSF; not changed.

        Returns
        -------
        result : `lsst.pipe.base.Struct`
            ``sources``: a table, one row per footprint.
        """
        plugins = [name for name in self.config.plugins if name != "base_SkyCoord" or exposure.wcs is not None]
        sources = measureSources(
            exposure, footprints, tuple(plugins), badPlanes=tuple(self.config.badMaskPlanes),
            maxDistToPeak=self.config.maxDistToPeak,
        )  # fmt: skip
        return pipeBase.Struct(sources=sources)
