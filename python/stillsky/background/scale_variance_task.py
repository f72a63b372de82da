"""ScaleVarianceTask: the rescaling of variance planes as a subtask."""

import lsst.pipe.base as pipeBase

from ..task_base import ErrorMetadata, SchemaVerbs
from . import scale_variance as algorithm
from .scale_variance_config import ScaleVarianceConfig

__all__ = ["ExceedsMaxVarianceScaleError", "ScaleVarianceConfig", "ScaleVarianceTask"]


class ExceedsMaxVarianceScaleError(ErrorMetadata, algorithm.ExceedsMaxVarianceScaleError, pipeBase.AlgorithmError):
    """The variance plane is off by more than the limit, as a repeatable failure of a pipeline task."""


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
