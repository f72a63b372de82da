"""RegisterTask: relative astrometry as a subtask."""

import lsst.pipe.base as pipeBase
from lsst.utils.timer import timeMethod

from ..task_base import SchemaVerbs, assignMetadata
from .register import fitRelativeWcs, residualsByColour, warpedSources, warpToTarget
from .register_config import RegisterConfig

__all__ = ["RegisterConfig", "RegisterTask"]


class RegisterTask(SchemaVerbs, pipeBase.Task):
    """Refit the WCS of one image so that its sources fall on those of another, and resample it.

    Notes
    -----
    *Input* is the image whose WCS is refitted, for a subtraction the template; *template* in the arguments is the image
    it shall agree with, there the science image.

    Attributes
    ----------
    registration : `stillsky.diffim.register.RegistrationResult` or None
        Everything about the last fit.
    """

    ConfigClass = RegisterConfig
    _DefaultName = "register"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.registration = None

    @timeMethod
    def run(self, inputSources, inputWcs, inputBBox, templateSources):
        """Match and refit; see `stillsky.diffim.register.fitRelativeWcs`.

        Parameters
        ----------
        inputSources : `astropy.table.Table`
        inputWcs : `stillsky.wcs.SkyWcs`
        inputBBox : `stillsky.geom.Box2I`
        templateSources : `astropy.table.Table`

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``matches`` (`SourceMatches`: first = template, second = input) and ``wcs`` (of the input image).

        Raises
        ------
        RuntimeError
            Nothing matches.
        """
        self.registration = fitRelativeWcs(inputSources, inputWcs, inputBBox, templateSources, self.config)
        assignMetadata(self.metadata, self.registration.metadata)
        return pipeBase.Struct(matches=self.registration.matches, wcs=self.registration.wcs)

    def warpExposure(self, inputExp, newWcs, templateWcs, templateBBox):
        """The input image on the template's grid, with its warped PSF."""
        return warpToTarget(inputExp, newWcs, templateWcs, templateBBox, self.config)

    def warpSources(self, inputSources, newWcs, templateWcs, templateBBox):
        """A copy of the input sources with their positions on the template's grid; those outside are left out."""
        return warpedSources(inputSources, newWcs, templateWcs, templateBBox)

    def noteResiduals(self, inputSources, templateSources, colour, grMin, grMax):
        """Put the residuals of the last fit by colour into the metadata; see `residualsByColour`."""
        values, long, lat = residualsByColour(self.registration, inputSources, templateSources, colour, grMin, grMax)
        assignMetadata(self.metadata, values)
        return pipeBase.Struct(long=long, lat=lat)
