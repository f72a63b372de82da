"""Configuration of coadds with differential chromatic refraction (section 7.2), without subtasks."""

from lsst.pex.config import ChoiceField, Config, Field, ListField, RangeField

__all__ = ["DcrConfig", "DcrFields"]


class DcrFields(Config):
    """Fields of the model and of its solution: Rubin's names and defaults, then what Rubin does not have."""

    dcrNumSubfilters = RangeField(dtype=int, doc="Number of subfilters of the band.", default=3, min=2)
    maxNumIter = Field(
        dtype=int, optional=True, doc="Most iterations; None or 0: three times the subfilters.", default=None
    )
    minNumIter = Field(
        dtype=int, optional=True, doc="Fewest iterations; None or 0: the number of subfilters.", default=None
    )
    convergenceThreshold = RangeField(
        dtype=float, doc="Stop when the metric improves by less than this part.", default=0.001, min=0.0
    )
    useConvergence = Field(dtype=bool, doc="Stop by the metric; otherwise after maxNumIter iterations.", default=True)
    baseGain = RangeField(
        dtype=float, optional=True, doc="Smallest gain; None: 1/(dcrNumSubfilters - 1).", default=None, min=0.0,
        inclusiveMin=False,
    )  # fmt: skip
    useProgressiveGain = Field(dtype=bool, doc="Adapt the gain to the metric of the last iterations.", default=True)
    doAirmassWeight = Field(dtype=bool, doc="Multiply the weights of visits by their airmass.", default=False)
    modelWeightsWidth = RangeField(
        dtype=float, doc="Sigma, in pixels, of the taper of the model away from sources.", default=3.0, min=0.0
    )
    useModelWeights = Field(dtype=bool, doc="Let the model go over to the template away from sources.", default=True)
    splitSubfilters = Field(dtype=bool, doc="Two wavelengths per subfilter in the model of a visit.", default=True)
    splitThreshold = RangeField(
        dtype=float, doc="Pixels by which those must lie apart, else one shift serves; 0: never.", default=0.1, min=0.0
    )
    regularizeModelIterations = RangeField(
        dtype=float, doc="Largest relative change of a model in an iteration; 0: any.", default=2.0, min=0.0
    )
    regularizeModelFrequency = RangeField(
        dtype=float, doc="Largest ratio between subfilters; 0: any.", default=4.0, min=0.0
    )
    convergenceMaskPlanes = ListField(
        dtype=str, doc="Planes of the pixels of the metric and of the taper.", default=["DETECTED"]
    )
    regularizationWidth = RangeField(
        dtype=int, doc="Excursions narrower than this many pixels are left alone.", default=2, min=0
    )
    imageInterpOrder = ChoiceField(
        dtype=int, optional=False, doc="Order of the splines that shift images.", default=1,
        allowed={1: "bilinear", 3: "cubic B-spline"},
    )  # fmt: skip
    accelerateModel = RangeField(
        dtype=float, doc="Amplification of the differences between subfilters in the published iteration.", default=3.0,
        min=1.0,
    )  # fmt: skip
    effectiveWavelength = RangeField(
        dtype=float,
        optional=True,
        doc="Effective wavelength of the band, nm.",
        default=None,
        min=0.0,
        inclusiveMin=False,
    )
    bandwidth = RangeField(
        dtype=float, optional=True, doc="Width of the band, nm; it lies symmetrically about the effective wavelength.",
        default=None, min=0.0, inclusiveMin=False,
    )  # fmt: skip
    # Beyond Rubin
    bandLimits = ListField(
        dtype=float, optional=True, default=None, length=2,
        doc="Shortest and longest wavelength of the band, nm, in place of bandwidth; effectiveWavelength, where it is not "
        "given, is their mean.",
    )  # fmt: skip
    throughput = Field(
        dtype=str, optional=True, default=None,
        doc="File of the band's throughput: a table of wavelengths (nm) and transmission. Each subfilter is then where its "
        "light is; limits and effective wavelength follow where they are not given. None: all wavelengths count alike.",
    )  # fmt: skip
    useTransmissionCurve = Field(
        dtype=bool, default=False,
        doc="The throughput is the transmission curve attached to the coadd in the whole band.",
    )  # fmt: skip
    solver = ChoiceField(
        dtype=str, optional=False, default="conjugateGradients",
        doc="How the subfilters are found.",
        allowed={
            "conjugateGradients": "least squares on all visits, with the exact adjoints of the shifts",
            "published": "the iteration of DMTN-037 with gain and regularisations",
        },
    )  # fmt: skip
    cgIterations = RangeField(
        dtype=int, optional=True, default=None, min=1,
        doc="Most iterations of conjugate gradients; None: 30, and 20 without a prior, where to stop early is what keeps the "
        "noise down.",
    )  # fmt: skip
    cgTolerance = RangeField(
        dtype=float,
        doc="Stop when the residual of the normal equations has come down to this part.",
        default=1e-4,
        min=0.0,
    )
    prior = ChoiceField(
        dtype=str, optional=False, default="flux",
        doc="What conjugate gradients take for granted of the subfilters.",
        allowed={
            "flux": "they deviate from equal shares by a fraction of the local flux, smooth over the PSF, as much as the "
            "visits make probable",
            "none": "nothing: least squares",
        },
    )  # fmt: skip
    priorStrength = RangeField(
        dtype=float, optional=True, default=None, min=0.0, inclusiveMin=False,
        doc="Rms of these relative deviations; None: where the marginal likelihood of the visits is highest.",
    )  # fmt: skip
    measureColours = Field(
        dtype=bool, default=False,
        doc="Make a table of the colours of the stars, with errors: takes about as long as the coadd itself.",
    )  # fmt: skip
    smoothness = RangeField(
        dtype=float, default=0.0, min=0.0,
        doc="Penalty, in units of the mean coverage, on differences between adjacent subfilters.",
    )  # fmt: skip
    minCoverage = RangeField(
        dtype=float, doc="Good visits that a pixel needs in every subfilter to be more than the template.",
        default=0.999, min=0.0,
    )  # fmt: skip
    compat = Field(
        dtype=bool, default=False,
        doc="As the Rubin task: its regularisation of colours, weights, thresholds, subregions one after the other, and "
        "its refraction.",
    )  # fmt: skip

    @property
    def band(self):
        """(effective wavelength, bandwidth, limits or None), nm."""
        if self.bandLimits:
            low, high = self.bandLimits
            centre = self.effectiveWavelength if self.effectiveWavelength is not None else (low + high) / 2
            return centre, high - low, (low, high)
        return self.effectiveWavelength, self.bandwidth, None

    def validateBand(self):
        """FieldValidationError unless the band is known, or follows from a throughput."""
        from lsst.pex.config import FieldValidationError

        if self.throughput or self.useTransmissionCurve:
            return
        effective, width, _ = self.band
        for name, value in (("effectiveWavelength", effective), ("bandwidth", width)):
            if value is None:
                raise FieldValidationError(type(self)._fields[name], self, "wanted nm, given None")


class DcrConfig(DcrFields):
    """What `stillsky.dcr.assembleDcr` needs."""

    badMaskPlanes = ListField(
        dtype=str, doc="Mask planes of pixels that are left out.", default=["NO_DATA", "BAD", "SAT"]
    )
    subregionSize = ListField(
        dtype=int, doc="Width and height of the regions that compat solves one after the other, pixels.",
        default=[2000, 2000], length=2, itemCheck=lambda size: size > 0,
    )  # fmt: skip
    memory = RangeField(
        dtype=int, doc="Bytes for pixels of warps; what does not fit is read again in each iteration.",
        default=2 * 1024**3, min=1,
    )  # fmt: skip
