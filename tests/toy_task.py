"""A pipeline task with the second-generation verbs, for the tests of those."""

import os
import signal

import numpy as np
from astropy.table import Table
from lsst.pex.config import Field
from lsst.pipe.base import PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base import connectionTypes as cT

from stillsky.task_base import CommandLineVerbs, EarlyPipelineVerbs

_QUANTUM = ("instrument", "visit", "detector")


class ToyConnections(PipelineTaskConnections, dimensions=_QUANTUM):
    image = cT.Input(name="calexp", doc="In.", storageClass="StillskyExposure", dimensions=_QUANTUM)
    scaled = cT.Output(name="scaled", doc="Out.", storageClass="StillskyExposure", dimensions=_QUANTUM)


class ToyConfig(PipelineTaskConfig, pipelineConnections=ToyConnections):
    factor = Field(dtype=float, doc="To multiply with.", default=3.0)
    refuse = Field(dtype=int, doc="Visit at which it fails.", default=-1)
    kill = Field(dtype=int, doc="Visit at which its process is killed.", default=-1)


class ToyTask(CommandLineVerbs, EarlyPipelineVerbs, PipelineTask):
    """Multiplies an image."""

    ConfigClass = ToyConfig
    _DefaultName = "toy"
    columns = ("id", "flux")

    @classmethod
    def applyOverrides(cls, config):
        config.refuse = -2

    def getSchemaCatalogs(self):
        return {"toySources": Table({name: np.zeros(0) for name in self.columns})}

    def run(self, image):
        self.metadata["visit"] = image.visitInfo.id
        if image.visitInfo.id == self.config.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if image.visitInfo.id == self.config.refuse:
            raise RuntimeError("not this one")
        scaled = image.copy()
        scaled.image.array[:] *= self.config.factor
        return Struct(scaled=scaled)
