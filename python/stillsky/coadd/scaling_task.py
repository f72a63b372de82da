"""ScaleZeroPointTask: scaling to a zero point as a subtask."""

import lsst.pipe.base as pipeBase

from ..task_base import SchemaVerbs
from .scaling import computeImageScaler, zeroPointCalib
from .scaling_config import ScaleZeroPointConfig

__all__ = ["ScaleZeroPointConfig", "ScaleZeroPointTask"]


class ScaleZeroPointTask(SchemaVerbs, pipeBase.Task):
    """Scale exposures to the zero point ``config.zeroPoint``."""

    ConfigClass = ScaleZeroPointConfig
    _DefaultName = "scaleZeroPoint"

    def run(self, exposure, dataRef=None):
        """Scale an exposure in place.

        Parameters
        ----------
        exposure : `stillsky.image.Exposure`
            Its calibration becomes that of the zero point.
        dataRef
            Not used.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``imageScaler``, the `stillsky.coadd.ImageScaler` that was applied.
        """
        scaler = self.computeImageScaler(exposure, dataRef)
        scaler.scaleMaskedImage(exposure.maskedImage)
        exposure.photoCalib = self.getPhotoCalib()
        return pipeBase.Struct(imageScaler=scaler)

    def computeImageScaler(self, exposure, dataRef=None):
        """`stillsky.coadd.ImageScaler` that brings an exposure to the zero point; DomainError without calibration."""
        scaler = computeImageScaler(exposure, self.config.zeroPoint)
        self.log.debug("Scale %.6g to zero point %g", scaler.scale, self.config.zeroPoint)
        return scaler

    def getPhotoCalib(self):
        """Calibration of scaled exposures (`stillsky.photom.PhotoCalib`)."""
        return zeroPointCalib(self.config.zeroPoint)

    def scaleFromPhotoCalib(self, calib):
        """Scaler for a calibration.

        Parameters
        ----------
        calib : `stillsky.photom.PhotoCalib`

        Returns
        -------
        scaler : `stillsky.coadd.ImageScaler`
        """
        from .scaling import ImageScaler

        return ImageScaler(1.0 / calib.magToInstFlux(self.config.zeroPoint))
