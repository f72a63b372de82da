"""Configuration of the dipole fit: Rubin's field names; defaults differ where they repair a defect."""

from lsst.pex.config import ChoiceField, Config, Field, ListField, RangeField

from .algorithms import BAD_PLANES

__all__ = ["DipoleFitConfig"]


class DipoleFitConfig(Config):
    """How dipoles are fitted and classified; the algorithm is `stillsky.measure.fitDipoles`."""

    fitAllDiaSources = Field(
        dtype=bool, doc="Fit all sources, not only those whose peaks are of both signs.", default=False
    )
    maxSeparation = RangeField(
        dtype=float,
        doc="Farthest a lobe may go from its start, and the lobes of a dipole from each other, widths (sigma) of the PSF.",
        default=5.0,
        min=0.0,
        inclusiveMin=False,
    )
    relWeight = RangeField(
        dtype=float, doc="Weight of the science and template images relative to the difference.", default=0.5, min=0.0
    )
    tolerance = RangeField(dtype=float, doc="Relative change that ends the fit.", default=1e-7, min=0.0)
    fitBackground = ChoiceField(
        dtype=int,
        optional=False,
        doc="What to do about the level of the science and template images.",
        default=1,
        allowed={
            0: "nothing",
            1: "subtract a plane from each, fitted outside the footprint",
            2: "fit planes together with the dipole",
        },
    )
    fitSeparateNegParams = Field(
        dtype=bool,
        doc="The negative lobe has a flux of its own (False in Rubin's code, where the ratio test is then void).",
        default=True,
    )
    minSn = RangeField(dtype=float, doc="Least signal-to-noise ratio of a dipole.", default=50**0.5, min=0.0)
    maxFluxRatio = RangeField(
        dtype=float, doc="Greatest share of either lobe in the sum of both fluxes.", default=0.65, min=0.0, max=1.0
    )
    minDeltaChi2 = Field(
        dtype=float,
        doc="Least chi-square by which the dipole fits the difference better than a single PSF (not in Rubin's code).",
        default=25.0,
    )
    maxChi2DoF = Field(dtype=float, doc="Not used.", default=0.05)
    maxFootprintArea = Field(
        dtype=int, doc="Larger footprints are not fitted, pixels; 0 or less: all are.", default=1200
    )
    badMaskPlanes = ListField(dtype=str, doc="Pixels left out.", default=[*BAD_PLANES, "EDGE"])
    compat = ChoiceField(
        dtype=str,
        optional=False,
        doc="Where the fit differs from Rubin's; its defaults also have fitSeparateNegParams False.",
        default="stillsky",
        allowed={
            "stillsky": "each image's own PSF and variance, bad pixels left out, errors of the noise",
            "reference": "the difference's PSF and equal weights everywhere, errors scaled by the scatter",
        },
    )
    maxDipoleSeconds = Field(
        dtype=float,
        doc="Time for all dipoles, seconds; what is left over is flagged and counted. Not positive: unlimited.",
        default=60.0,
    )
