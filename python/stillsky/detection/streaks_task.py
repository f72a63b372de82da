"""MaskStreaksTask: the search for streaks as a subtask."""

import lsst.pipe.base as pipeBase

from ..task_base import SchemaVerbs, assignMetadata
from .streaks import findStreaks, maskStreaks
from .streaks_config import MaskStreaksConfig

__all__ = ["MaskStreaksConfig", "MaskStreaksTask"]


class MaskStreaksTask(SchemaVerbs, pipeBase.Task):
    """Find straight trails among the detected pixels of an image and mask them; see `stillsky.detection.findStreaks`."""

    ConfigClass = MaskStreaksConfig
    _DefaultName = "maskStreaks"

    def find(self, maskedImage):
        """Find streaks, changing nothing.

        Parameters
        ----------
        maskedImage : `stillsky.image.MaskedImage` or `stillsky.image.Exposure`

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``lines``: list of `stillsky.detection.Streak`.
        """
        return self._result(findStreaks(maskedImage, self.config))

    def run(self, maskedImage):
        """Find streaks and set their mask plane.

        Parameters
        ----------
        maskedImage : `stillsky.image.MaskedImage` or `stillsky.image.Exposure`
            Its mask is changed in place.

        Returns
        -------
        struct : `lsst.pipe.base.Struct`
            ``lines``: list of `stillsky.detection.Streak`.
        """
        return self._result(maskStreaks(maskedImage, self.config))

    def _result(self, lines):
        assignMetadata(self.metadata, {"nStreaks": len(lines)})
        return pipeBase.Struct(lines=lines)
