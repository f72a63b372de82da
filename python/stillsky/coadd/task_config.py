"""Configuration of AssembleCoaddTask with its subtasks."""

import lsst.pipe.base as pipeBase
from lsst.pex.config import ConfigurableField

from .config import AssembleCoaddFields
from .connections import AssembleCoaddConnections
from .input_map_task import HealSparseInputMapTask
from .input_recorder_task import CoaddInputRecorderTask
from .interp_image_task import InterpImageTask
from .scaling_task import ScaleZeroPointTask
from .select_images_task import PsfWcsSelectImagesTask

__all__ = ["AssembleCoaddConfig"]


class AssembleCoaddConfig(
    AssembleCoaddFields, pipeBase.PipelineTaskConfig, pipelineConnections=AssembleCoaddConnections
):
    """Configuration of `AssembleCoaddTask`. Warps must be in nJy unless doScaleZeroPoint is set."""

    select = ConfigurableField(target=PsfWcsSelectImagesTask, doc="Chooses images that overlap the patch.")
    inputRecorder = ConfigurableField(target=CoaddInputRecorderTask, doc="Records what went into the coadd.")
    scaleZeroPoint = ConfigurableField(target=ScaleZeroPointTask, doc="Scales warps to one zero point.")
    inputMapper = ConfigurableField(target=HealSparseInputMapTask, doc="Makes maps of the inputs.")
    interpImage = ConfigurableField(target=InterpImageTask, doc="Interpolates over pixels without data.")

    def setDefaults(self):
        super().setDefaults()
        self.requireUnit = True
