"""Configuration of map-reduce: Rubin's field names, types, defaults and allowed values, then what Rubin does not have.

``compat = True`` brings back the reference's grid, masks and PSFs. The fields ``mapper`` and ``reducer`` name tasks and
are therefore declared in task.py.
"""

import warnings

from lsst.pex.config import ChoiceField, Config, ConfigField, Field, FieldValidationError, ListField, RangeField

__all__ = [
    "ConvolveMapperConfig",
    "ImageMapReduceFields",
    "ImageMapperConfig",
    "ImageReducerConfig",
    "MapConfig",
    "StatisticsMapperConfig",
]


def _size(doc, default):
    return RangeField(dtype=float, doc=doc, default=default, min=0, inclusiveMin=False)


def _compat(doc):
    return Field(dtype=bool, doc=doc, default=False)


class ImageMapperConfig(Config):
    """Mappers have no fields in common."""


class StatisticsMapperConfig(ImageMapperConfig):
    """Configuration of the statistics of each cell."""

    numSigmaClip = RangeField(dtype=float, doc="Clip at this many sigma.", default=3.0, min=0, inclusiveMin=False)
    numIter = RangeField(dtype=int, doc="Iterations of clipping.", default=3, min=1)


class ConvolveMapperConfig(ImageMapperConfig):
    """Configuration of the convolution with a Gaussian or with the cell's own PSF."""

    kernel = ChoiceField(
        dtype=str,
        optional=False,
        doc="What to convolve with.",
        default="gaussian",
        allowed={"gaussian": "a Gaussian of the given sigma", "psf": "the PSF at the centre of the cell"},
    )
    sigma = _size("Sigma of the Gaussian, pixels.", 2.0)
    nSigma = _size("Half-width of the Gaussian's kernel in sigma.", 4.0)


class ImageReducerConfig(Config):
    """Configuration of `ImageReducer`."""

    reduceOperation = ChoiceField(
        dtype=str,
        optional=False,
        doc="What is made of the results of the mapper.",
        default="average",
        allowed={
            "none": "the list of results, unchanged",
            "copy": "one exposure; where patches overlap the last of the list wins",
            "sum": "one exposure, the sum of the patches",
            "average": "one exposure, the mean of the patches",
            "coaddPsf": "the PSF composed of the PSFs of the cells",
        },
    )
    badMaskPlanes = ListField(
        dtype=str,
        doc="Planes that are set on pixels without a valid value; added where the mask lacks them.",
        default=["INVALID_MAPREDUCE", "BAD", "NO_DATA"],
    )
    # Beyond Rubin
    outputs = ListField(
        dtype=str,
        doc="Attributes of the results to stitch, each to an exposure of that name; 'exposure' is the first.",
        default=["subExposure"],
    )
    psfMode = ChoiceField(
        dtype=str,
        optional=False,
        doc="PSF of the output.",
        default="coadd",
        allowed={"coadd": "composed of the cells' PSFs", "input": "the input's"},
    )
    overlapWeight = ChoiceField(
        dtype=str,
        optional=False,
        doc="Weights of overlapping patches in 'average'.",
        default="uniform",
        allowed={
            "uniform": "equal",
            "taper": "a cosine ramp over the overlap: no seams",
            "inverseVariance": "1/variance of each pixel",
        },
    )
    overlapVariance = ChoiceField(
        dtype=str,
        optional=False,
        doc="Errors of overlapping patches in 'average'.",
        default="correlated",
        allowed={
            "correlated": "the same noise in all: weighted mean of the variances",
            "independent": "independent noise: sum w^2 v / (sum w)^2",
        },
    )
    compat = _compat("Masks, validity and PSFs as in Rubin's reducer.")


class ImageMapReduceFields(Config):
    """Fields of map-reduce, but for its two subtasks."""

    cellCentroidsX = ListField(
        dtype=float, doc="Centres of the cells in x; empty or null: a regular grid.", default=None, optional=True
    )
    cellCentroidsY = ListField(dtype=float, doc="Centres of the cells in y, one per x.", default=None, optional=True)
    cellSizeX = _size("Width of a cell.", 10.0)
    cellSizeY = _size("Height of a cell.", 10.0)
    gridStepX = _size("Distance between neighbouring centres in x.", 10.0)
    gridStepY = _size("Distance between neighbouring centres in y.", 10.0)
    borderSizeX = _size("Pixels added left and right for the expanded cell.", 5.0)
    borderSizeY = _size("Pixels added below and above for the expanded cell.", 5.0)
    adjustGridOption = ChoiceField(
        dtype=str,
        optional=False,
        doc="How the grid is made to fit the image.",
        default="spacing",
        allowed={
            "spacing": "keep the size of the cells, spread them evenly from edge to edge",
            "size": "tile the image with cells of about a step",
            "none": "keep size and step; the last cells are clipped",
        },
    )
    scaleByFwhm = Field(dtype=bool, doc="Sizes are in units of the PSF's FWHM.", default=True)
    returnSubImages = Field(dtype=bool, doc="Attach the input views to each result of the mapper.", default=False)
    ignoreMaskPlanes = ListField(
        dtype=str,
        doc="Planes whose pixels mappers leave out of clipped statistics.",
        default=["INTRP", "EDGE", "DETECTED", "SAT", "CR", "BAD", "NO_DATA", "DETECTED_NEGATIVE"],
    )
    # Beyond Rubin
    centroidOrigin = ChoiceField(
        dtype=str,
        optional=False,
        doc="What the centres are counted from.",
        default="parent",
        allowed={"parent": "parent coordinates", "local": "the first pixel of the exposure"},
    )
    keepEmpty = Field(
        dtype=bool,
        doc="With centres and reduceOperation none: a null for each centre whose cell is off the image.",
        default=False,
    )
    executor = ChoiceField(
        dtype=str,
        optional=False,
        doc="How mappers run.",
        default="serial",
        allowed={"serial": "one after the other", "thread": "in threads", "process": "in processes of their own"},
    )
    numWorkers = RangeField(dtype=int, doc="Threads or processes; 0: the cores there are.", default=0, min=0)
    maxInFlight = RangeField(
        dtype=int, doc="Results waiting to be reduced; 0: twice the number of workers.", default=0, min=0
    )
    onMapperError = ChoiceField(
        dtype=str,
        optional=False,
        doc="What a mapper's exception does.",
        default="raise",
        allowed={"raise": "stop", "mask": "the cell contributes nothing and its pixels are flagged"},
    )
    seed = RangeField(dtype=int, doc="Seed of the random numbers of mappers that ask for some.", default=0, min=0)
    compat = _compat("Grid, masks, validity and PSFs as in Rubin's task.")

    def validate(self):
        super().validate()
        nx, ny = len(self.cellCentroidsX or ()), len(self.cellCentroidsY or ())
        if nx != ny:
            field = type(self).cellCentroidsY
            raise FieldValidationError(field, self, f"as many centres in y as in x are wanted, got {ny} and {nx}")


def _alias(old, new):
    told = []

    def warn():
        if not told:
            told.append(True)
            warnings.warn(f"{old} is the old name of {new}", DeprecationWarning, stacklevel=3)

    def get(self):
        warn()
        return getattr(self, new)

    def set(self, value):
        warn()
        setattr(self, new, value)

    return property(get, set, doc=f"Old name of ``{new}``.")


# Names of 2017, still found in configuration files.
for _old, _new in (
    ("gridSizeX", "cellSizeX"),
    ("gridSizeY", "cellSizeY"),
    ("gridCentroidsX", "cellCentroidsX"),
    ("gridCentroidsY", "cellCentroidsY"),
):
    setattr(ImageMapReduceFields, _old, _alias(_old, _new))


class MapConfig(ImageMapReduceFields):
    """Configuration of ``stillsky map`` and of `stillsky.mapReduce`: the grid, the reducer, the mappers that come along.

    Its sizes are in pixels: cells of 256 with a border of 32.
    """

    reducer = ConfigField(dtype=ImageReducerConfig, doc="Reduction.")
    statistics = ConfigField(dtype=StatisticsMapperConfig, doc="Mapper statistics.")
    convolve = ConfigField(dtype=ConvolveMapperConfig, doc="Mapper convolve.")

    def setDefaults(self):
        super().setDefaults()
        self.scaleByFwhm = False
        self.cellSizeX = self.cellSizeY = self.gridStepX = self.gridStepY = 256.0
        self.borderSizeX = self.borderSizeY = 32.0
