"""CoaddInputRecorderTask: the record of a coadd's inputs as a subtask."""

import lsst.pipe.base as pipeBase

from ..task_base import SchemaVerbs
from .input_recorder import CoaddInputRecorder
from .input_recorder_config import CoaddInputRecorderConfig

__all__ = ["CoaddInputRecorderConfig", "CoaddInputRecorderTask"]


class CoaddInputRecorderTask(SchemaVerbs, pipeBase.Task):
    """Record the inputs of warps and coadds; the algorithm is `stillsky.coadd.CoaddInputRecorder`."""

    ConfigClass = CoaddInputRecorderConfig
    _DefaultName = "inputRecorder"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._recorder = CoaddInputRecorder(self.config, self.log)

    def makeCoaddInputs(self):
        """Empty `stillsky.image.CoaddInputs`."""
        return self._recorder.makeCoaddInputs()

    def makeCoaddTempExpRecorder(self, visitId, num=0):
        """Recorder of one warp (`stillsky.coadd.WarpInputRecorder`)."""
        return self._recorder.makeCoaddTempExpRecorder(visitId, num)

    def addVisitToCoadd(self, coaddInputs, coaddTempExp, weight):
        """Record a warp in a coadd; see `stillsky.coadd.CoaddInputRecorder.addVisitToCoadd`."""
        return self._recorder.addVisitToCoadd(coaddInputs, coaddTempExp, weight)
