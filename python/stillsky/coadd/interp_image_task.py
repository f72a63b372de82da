"""InterpImageTask: interpolation over missing pixels as a subtask."""

import lsst.pipe.base as pipeBase

from ..task_base import SchemaVerbs
from .interp_image import interpImage
from .interp_image_config import InterpImageConfig

__all__ = ["InterpImageConfig", "InterpImageTask"]


class InterpImageTask(SchemaVerbs, pipeBase.Task):
    """Fill missing pixels from their neighbours; the algorithm is `stillsky.coadd.interpImage`."""

    ConfigClass = InterpImageConfig
    _DefaultName = "interpImage"

    def run(self, maskedImage, planeName=None, fwhmPixels=None, defects=None):
        """Interpolate in place.

        Parameters
        ----------
        maskedImage : `stillsky.image.MaskedImage` or `stillsky.image.Exposure`
        planeName : `str`, optional
            Mask plane of the bad pixels.
        fwhmPixels : `float`, optional
            Not used: the weights do not depend on the PSF.
        defects : iterable of `stillsky.geom.Box2I`, optional
            Or boxes of bad pixels; exactly one of the two.

        Raises
        ------
        DomainError
            (a ValueError) Neither or both are given.
        MaskSchemaError
            (a ValueError) No such mask plane.
        """
        result = interpImage(maskedImage, planeName, defects=defects, config=self.config, log=self.log)
        self.metadata["interpolated_pixel_count"] = result.boxCount
        self.metadata["interpolatedPixels"] = result.pixelCount
        what = "defects" if planeName is None else planeName
        self.log.info("Interpolated over %d pixels of %s in %d boxes", result.pixelCount, what, result.boxCount)
