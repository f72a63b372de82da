"""The mappers that come along, as tasks for `ImageMapReduceConfig.mapper`."""

import lsst.pipe.base as pipeBase
from lsst.pex.config import Field

from ..errors import StillskyError
from .config import ConvolveMapperConfig, ImageMapperConfig, StatisticsMapperConfig
from .mappers import CallableCell, ConvolveCell, StatisticsCell, passThrough
from .names import loadObject
from .task import ImageMapper

__all__ = [
    "CallableMapper",
    "CallableMapperConfig",
    "ConvolveMapper",
    "PassThroughMapper",
    "StatisticsMapper",
]


class PassThroughMapper(ImageMapper):
    """Every cell as it is."""

    _DefaultName = "passThrough"

    def run(self, subExposure, expandedSubExposure, fullBBox, **kwargs):
        """See `passThrough`."""
        return pipeBase.Struct(**vars(passThrough(subExposure, expandedSubExposure, fullBBox)))


class StatisticsMapper(ImageMapper):
    """Clipped statistics of every cell; see `StatisticsCell`. For reduceOperation "none"."""

    ConfigClass = StatisticsMapperConfig
    _DefaultName = "statistics"
    wantsCellContext = True

    def run(self, subExposure, expandedSubExposure, fullBBox, ignoreMaskPlanes=(), **kwargs):
        """See `StatisticsCell.run`."""
        made = StatisticsCell(self.config).run(subExposure, expandedSubExposure, fullBBox, ignoreMaskPlanes)
        return pipeBase.Struct(**vars(made))


class ConvolveMapper(ImageMapper):
    """Convolution of every cell; see `ConvolveCell`."""

    ConfigClass = ConvolveMapperConfig
    _DefaultName = "convolve"

    def run(self, subExposure, expandedSubExposure, fullBBox, **kwargs):
        """See `ConvolveCell.run`."""
        made = ConvolveCell(self.config).run(subExposure, expandedSubExposure, fullBBox)
        return pipeBase.Struct(**vars(made))


class CallableMapperConfig(ImageMapperConfig):
    """Configuration of `CallableMapper`."""

    function = Field(dtype=str, doc="Function of arrays, module:name.", default=None, optional=True)


class CallableMapper(ImageMapper):
    """A function of arrays; see `CallableCell`.

    Attributes
    ----------
    function : callable or None
        Used instead of the configured one; by the executor "serial" only, since workers make mappers of their own.
    """

    ConfigClass = CallableMapperConfig
    _DefaultName = "callable"

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.function = None if self.config.function is None else loadObject(self.config.function)

    def run(self, subExposure, expandedSubExposure, fullBBox, **kwargs):
        """See `CallableCell.run`."""
        if self.function is None:
            raise StillskyError("CallableMapper: config.function names no function, and none was assigned")
        made = CallableCell(self.function).run(subExposure, expandedSubExposure, fullBBox)
        return pipeBase.Struct(**vars(made))
