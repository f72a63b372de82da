"""Configuration of proper image subtraction (ZOGY)."""

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, ListField, RangeField

from ..psfmatch.config import ImagePsfMatchConfig
from .zogy_exposures import HOLE_PLANES, STAT_PLANES

__all__ = ["ZogyConfig", "ZogyImagePsfMatchConfig", "ZogySubtractConfig"]


class ZogyConfig(Config):
    """Proper subtraction of two registered exposures."""

    templateFluxScaling = RangeField(
        dtype=float, doc="Template flux scaling factor (Fr in ZOGY paper).", default=1.0, min=0.0, inclusiveMin=False
    )
    scienceFluxScaling = RangeField(
        dtype=float, doc="Science flux scaling factor (Fn in ZOGY paper).", default=1.0, min=0.0, inclusiveMin=False
    )
    scaleByCalibration = Field(
        dtype=bool,
        doc="Compute the flux normalisation scaling based on the image calibration. This overrides "
        "templateFluxScaling and scienceFluxScaling.",
        default=True,
    )
    fitFluxRatio = Field(
        dtype=bool,
        doc="Find the flux ratio and the sky difference from the stars of the images. This overrides the scalings, "
        "and refines the calibrations.",
        default=False,
    )
    correctBackground = Field(
        dtype=bool,
        doc="Subtract the clipped mean of each exposure, without the ignoreMaskPlanes.",
        default=False,
    )
    ignoreMaskPlanes = ListField(
        dtype=str,
        doc="Mask planes to ignore for statistics of the exposures.",
        default=list(STAT_PLANES),
    )
    holeMaskPlanes = ListField(
        dtype=str,
        doc="Mask planes of pixels that are filled before the transforms.",
        default=list(HOLE_PLANES),
    )
    maxPsfCentroidDist = RangeField(
        dtype=float,
        doc="Maximum centroid difference allowed between the two exposure PSFs (pixels).",
        default=0.2,
        min=0.0,
    )
    astrometricSigma = RangeField(
        dtype=float,
        doc="Standard deviation of the relative registration (pixels), for the significance of the score at bright "
        "sources. 0: with fitFluxRatio the scatter of the stars, else none.",
        default=0.0,
        min=0.0,
    )
    doSpatialGrid = Field(
        dtype=bool,
        doc="Split the exposure and follow PSFs and noise over it; otherwise those of the centre serve everywhere.",
        default=True,
    )
    gridInnerSize = RangeField(
        dtype=float,
        doc="Approximate size of a tile's inner part in units of its border, which is 10 sigma of the wider PSF.",
        default=8.0,
        min=1.0,
        max=1000.0,
    )


class ZogyImagePsfMatchConfig(ImagePsfMatchConfig):
    """Proper subtraction of a template that may have to be warped first."""

    zogyConfig = ConfigField("Proper subtraction of the registered exposures.", ZogyConfig)


class ZogySubtractConfig(Config):
    """Method "zogy" of `stillsky.subtract`."""

    psfRatio = ChoiceField(
        dtype=str,
        optional=False,
        doc="Where the ratio of the two PSFs comes from.",
        default="kernel",
        allowed={
            "kernel": "the matching kernel fitted to the stars, which also brings registration and flux ratio",
            "models": "the PSF models of the two images",
        },
    )
    astrometricSigma = RangeField(
        dtype=float,
        doc="Standard deviation of the relative registration (pixels), for the significance of the score at bright "
        "sources. 0: measured at the stars, as what the matching kernel leaves or, with psfRatio 'models', their scatter.",
        default=0.0,
        min=0.0,
    )
    holeMaskPlanes = ListField(
        dtype=str,
        doc="Mask planes of pixels that are filled before the transforms.",
        default=list(HOLE_PLANES),
    )
    gridInnerSize = RangeField(
        dtype=float,
        doc="Approximate size of a tile's inner part in units of its border, which is 10 sigma of the wider PSF.",
        default=8.0,
        min=1.0,
        max=1000.0,
    )
