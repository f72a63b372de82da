"""ScaleVarianceTask: the rescaling of variance planes as a subtask."""

import lsst.pipe.base as pipeBase

from ..task_base import SchemaVerbs
from . import scale_variance as algorithm
from .scale_variance_config import ScaleVarianceConfig

__all__ = ["ExceedsMaxVarianceScaleError", "ScaleVarianceConfig", "ScaleVarianceTask"]


class ExceedsMaxVarianceScaleError(algorithm.ExceedsMaxVarianceScaleError, pipeBase.AlgorithmError):
    """The variance plane is off by more than the limit, as a repeatable failure of a pipeline task."""

    def __init__(self, value, limit):
        self._metadata = {}
        super().__init__(value, limit)

    @property
    def metadata(self):
        """``scaleVarianceValue`` and ``scaleVarianceLimit``."""
        return self._metadata

    @metadata.setter
    def metadata(self, values):
        self._metadata = dict(values)


class ScaleVarianceTask(SchemaVerbs, pipeBase.Task):
    """Scale the variance plane of an image to the scatter of its pixels."""

    ConfigClass = ScaleVarianceConfig
    _DefaultName = "scaleVariance"

    def run(self, maskedImage):
        """Scale the variance plane in place.

        Parameters
        ----------
        maskedImage : `stillsky.image.MaskedImage` or `stillsky.image.Exposure`

        Returns
        -------
        factor : `float`

        Raises
        ------
        ExceedsMaxVarianceScaleError
            Both estimates exceed ``limit``.
        """
        try:
            factor = algorithm.scaleVariance(maskedImage, self.config)
        except algorithm.ExceedsMaxVarianceScaleError as error:
            raise ExceedsMaxVarianceScaleError(*error.metadata.values()) from error
        self.log.debug("Variance scaled by %.4g", factor)
        return factor

    def computeScaleFactors(self, maskedImage):
        """Both estimates, changing nothing.

        Parameters
        ----------
        maskedImage : `stillsky.image.MaskedImage` or `stillsky.image.Exposure`

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``pixelFactor`` and ``imageFactor``.
        """
        factors = algorithm.computeScaleFactors(maskedImage, self.config)
        return pipeBase.Struct(pixelFactor=factors.pixelFactor, imageFactor=factors.imageFactor)
