"""SnapPsfMatchTask: match and subtract the two exposures (snaps) of one visit."""

from .config import SnapPsfMatchConfig, SnapPsfMatchConfigAL, SnapPsfMatchConfigDF
from .image_psf_match import ImagePsfMatchTask

__all__ = ["SnapPsfMatchConfig", "SnapPsfMatchConfigAL", "SnapPsfMatchConfigDF", "SnapPsfMatchTask"]


class SnapPsfMatchTask(ImagePsfMatchTask):
    """`ImagePsfMatchTask` for exposures taken in a row: one small kernel for the whole field, no background."""

    ConfigClass = SnapPsfMatchConfig
    _DefaultName = "snapPsfMatch"
    _debugName = "lsst.ip.diffim.snapPsfMatch"

    def subtractExposures(
        self,
        templateExposure,
        scienceExposure,
        templateFwhmPix=None,
        scienceFwhmPix=None,
        candidateList=None,
        doWarping=None,
        convolveTemplate=True,
    ):
        """As `ImagePsfMatchTask.subtractExposures`; ``doWarping`` is by default that of the configuration."""
        doWarping = self.config.doWarping if doWarping is None else doWarping
        return super().subtractExposures(
            templateExposure,
            scienceExposure,
            templateFwhmPix,
            scienceFwhmPix,
            candidateList,
            doWarping,
            convolveTemplate,
        )
