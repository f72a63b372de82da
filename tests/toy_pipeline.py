"""Two small tasks for the tests of execution: multiply every detector image, then average those of a patch, strip by strip."""

import weakref

import numpy as np
from lsst.pex.config import Field
from lsst.pipe.base import NoWorkFound, PipelineTask, PipelineTaskConfig, PipelineTaskConnections, Struct
from lsst.pipe.base import connectionTypes as cT

from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.image import Image
from stillsky.task_base import CommandLineVerbs

_DETECTOR = ("instrument", "visit", "detector")
_PATCH = ("skymap", "tract", "patch", "band")


class ScaleConnections(PipelineTaskConnections, dimensions=_DETECTOR):
    image = cT.Input(name="calexp", doc="In.", storageClass="StillskyExposure", dimensions=_DETECTOR)
    scaled = cT.Output(name="scaled", doc="Out.", storageClass="StillskyExposure", dimensions=_DETECTOR)


class ScaleConfig(PipelineTaskConfig, pipelineConnections=ScaleConnections):
    factor = Field(dtype=float, doc="To multiply with.", default=3.0)
    nothing = Field(dtype=bool, doc="There is no work.", default=False)
    fail = Field(dtype=bool, doc="Something is wrong.", default=False)


class ScaleTask(CommandLineVerbs, PipelineTask):
    """Multiplies an image."""

    ConfigClass = ScaleConfig
    _DefaultName = "scale"

    def run(self, image):
        if self.config.nothing:
            raise NoWorkFound("nothing to do")
        if self.config.fail:
            raise RuntimeError("something is wrong")
        scaled = image.copy()
        scaled.image.array[:] *= self.config.factor
        return Struct(scaled=scaled)


class MeanConnections(PipelineTaskConnections, dimensions=_PATCH):
    scaled = cT.Input(
        name="scaled", doc="In.", storageClass="StillskyExposure", dimensions=_DETECTOR, multiple=True, deferLoad=True
    )
    mean = cT.Output(name="meanCoadd", doc="Out.", storageClass="StillskyImage", dimensions=_PATCH)


class MeanConfig(PipelineTaskConfig, pipelineConnections=MeanConnections):
    rows = Field(dtype=int, doc="Rows of a strip.", default=10)


class MeanTask(CommandLineVerbs, PipelineTask):
    """Averages images, of which it holds a strip of one at a time.

    Attributes
    ----------
    seen : `list` [`int`], of the class
        Detectors of every input that was read.
    mostPixels : `int`, of the class
        The most pixels of inputs that were in memory at once.
    """

    ConfigClass = MeanConfig
    _DefaultName = "mean"
    seen, mostPixels = [], 0
    _read = []

    def run(self, scaled):
        box = scaled[0].get(component="bbox")
        total = np.zeros(box.shape)
        for handle in scaled:
            self.seen.append((handle.dataId["detector"], handle.dataId["visit"]))
            for row in range(0, box.height, self.config.rows):
                strip = Box2I(Point2I(box.minX, box.minY + row), Extent2I(box.width, self.config.rows))
                part = handle.get(parameters={"bbox": strip})
                self._read.append(weakref.ref(part))
                alive = [one().bbox.area for one in self._read if one() is not None]
                type(self).mostPixels = max(self.mostPixels, sum(alive))
                total[row : row + self.config.rows] += part.image.array
                del part
        return Struct(mean=Image((total / len(scaled)).astype(np.float32), box.min))
