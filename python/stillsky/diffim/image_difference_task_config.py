"""Configuration of ImageDifferenceTask with its subtasks."""

import lsst.pipe.base as pipeBase
from lsst.pex.config import ConfigurableField

from ..background.scale_variance_task import ScaleVarianceTask
from ..errors import DomainError
from ..measure.task import DipoleFitTask, ForcedMeasurementTask
from ..psfmatch.image_psf_match import subtractAlgorithmRegistry
from . import zogy_task  # noqa: F401 (registers "zogy")
from .decorrelate_task import DecorrelateALKernelSpatialTask
from .image_difference_config import ImageDifferenceFields
from .image_difference_connections import (
    ImageDifferenceConnections,
    ImageDifferenceFromTemplateConnections,
    coaddNameOf,
)
from .reference_task import DirectMatchTask
from .register_task import RegisterTask
from .source_finding_task import ApplyApCorrTask, SkyObjectsTask, SourceDetectionTask
from .star_selector_task import ObjectSizeStarSelectorTask
from .template_task import GetCoaddAsTemplateTask

__all__ = ["ImageDifferenceConfig", "ImageDifferenceFromTemplateConfig"]


class ImageDifferenceConfig(
    ImageDifferenceFields, pipeBase.PipelineTaskConfig, pipelineConnections=ImageDifferenceConnections
):
    """Configuration of `ImageDifferenceTask`."""

    astrometer = ConfigurableField(target=DirectMatchTask, doc="Matches sources to reference objects; fits no WCS.")
    sourceSelector = ConfigurableField(target=ObjectSizeStarSelectorTask, doc="Chooses the kernel stars.")
    subtract = subtractAlgorithmRegistry.makeField("Subtraction: Alard-Lupton or proper.", default="al")
    decorrelate = ConfigurableField(target=DecorrelateALKernelSpatialTask, doc="Whitens the difference (al only).")
    detection = ConfigurableField(target=SourceDetectionTask, doc="Finds sources of both signs.")
    measurement = ConfigurableField(
        target=DipoleFitTask,
        doc="Dipole fit: its configuration. The other algorithms are in detectAndMeasure.measurement.plugins.",
    )
    applyApCorr = ConfigurableField(target=ApplyApCorrTask, doc="Applies aperture corrections.")
    forcedMeasurement = ConfigurableField(target=ForcedMeasurementTask, doc="Forced fluxes at the sources.")
    getTemplate = ConfigurableField(target=GetCoaddAsTemplateTask, doc="Makes the template in pipelines.")
    scaleVariance = ConfigurableField(target=ScaleVarianceTask, doc="Scales variance planes.")
    register = ConfigurableField(target=RegisterTask, doc="Relative astrometry of the template.")
    skySources = ConfigurableField(target=SkyObjectsTask, doc="Empty positions.")

    def setDefaults(self):
        super().setDefaults()
        kernel = self.subtract["al"].kernel
        kernel.name = "AL"
        kernel.active.fitForBackground = True
        kernel.active.spatialKernelOrder = 1
        kernel.active.spatialBgOrder = 2
        self.detection.thresholdPolarity = "both"
        self.detection.thresholdValue = 5.0
        self.detection.thresholdType = "pixel_stdev"
        self.detection.reEstimateBackground = False

    def validate(self):
        super().validate()
        try:
            coaddNameOf(self)
        except DomainError as error:
            self._refuse("coaddName", str(error))


class ImageDifferenceFromTemplateConfig(
    ImageDifferenceConfig, pipelineConnections=ImageDifferenceFromTemplateConnections
):
    """Configuration of `ImageDifferenceFromTemplateTask`."""

    def setDefaults(self):
        super().setDefaults()
        self.coaddName = "goodSeeing"
