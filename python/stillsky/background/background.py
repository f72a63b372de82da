"""Background: statistics in the cells of a grid, and the image that they make."""

import copy

import numpy as np

from .. import _core
from ..errors import DomainError, ShapeError
from ..stats.statistics import planesOf
from .approximate import ChebyshevApproximation
from .control import BackgroundControl, InterpolateStyle, UndersampleStyle, asEnum, maxInterpStyle, minInterpPoints

__all__ = ["Background", "BackgroundList", "makeBackground"]


def makeBackground(image, control=None, *, rowStep=1, **settings):
    """Measure a background grid.

    Parameters
    ----------
    image : MaskedImage, Exposure, Image or array
        float32 or float64 pixels (integers are converted). Pixels with a bit of ``statControl.andMask`` are left out.
    control : BackgroundControl, optional
        Or give its fields as keywords.
    rowStep : int
        Use every rowStep-th row of each cell only: faster, and noisier by its square root.

    Returns
    -------
    Background

    Raises
    ------
    DomainError
        More cells than pixels along an axis, or none.
    """
    if control is None:
        control = BackgroundControl(**settings)
    elif settings:
        raise TypeError("makeBackground: give a control or its fields, not both")
    pixels, mask, variance = planesOf(image)
    if pixels.dtype.kind != "f":
        pixels = pixels.astype(np.float64)
    values, variances, _ = _core.gridStatistics(
        pixels, mask, variance, control.nx, control.ny, int(control.property), control.statControl, rowStep
    )
    if control.compat:
        variances = np.sqrt(variances)
    xy0 = tuple(getattr(image, "xy0", (0, 0)))
    return Background(values, variances, (pixels.shape[1], pixels.shape[0]), xy0, control)


def _averagedSteps(values):
    """Nodes for the reference's CONSTANT steps: each but the first averaged with the one before."""
    for axis in (0, 1):
        first = values.take([0], axis)
        n = values.shape[axis]
        others = 0.5 * (values.take(range(1, n), axis) + values.take(range(n - 1), axis))
        values = np.concatenate([first, others], axis)
    return values


class Background:
    """A background: cell values and the rule that spreads them over the image.

    Parameters
    ----------
    values, variances : array of shape (ny, nx)
        Value of each cell and its squared standard error; NaN where no pixel was usable.
    dimensions, xy0 : tuple of int
        Width and height of the image, and parent coordinates of its first pixel.
    control : BackgroundControl
    """

    def __init__(self, values, variances, dimensions, xy0, control):
        self.values = np.array(values, dtype=np.float64)
        self.variances = np.array(variances, dtype=np.float64)
        self.dimensions = (int(dimensions[0]), int(dimensions[1]))
        self.xy0 = (int(xy0[0]), int(xy0[1]))
        self.control = copy.deepcopy(control)
        ny, nx = self.values.shape
        self.xBegin, self.xEnd, self.xCentres = _core.gridCells(self.dimensions[0], nx)
        self.yBegin, self.yEnd, self.yCentres = _core.gridCells(self.dimensions[1], ny)

    @property
    def bbox(self):
        """Box of the image in parent coordinates."""
        from ..geom import Box2I

        return Box2I(self.xy0, self.dimensions)

    @property
    def nEmpty(self):
        """Number of cells without a value."""
        return int(np.count_nonzero(~np.isfinite(self.values)))

    @property
    def statsImage(self):
        """The cells as a MaskedImage of nx by ny pixels; NO_DATA where a cell has no value."""
        from ..image import Image, Mask, MaskedImage

        mask = Mask(np.zeros(self.values.shape, np.int32))
        mask.array[~np.isfinite(self.values)] = mask.bitmask(["NO_DATA"])
        return MaskedImage(Image(self.values.astype(np.float32)), mask, Image(self.variances.astype(np.float32)))

    def styleUsed(self, style=None, undersample=None):
        """The interpolation style that `image` will use: lower than asked for where the grid has too few cells.

        Raises
        ------
        DomainError
            Too few cells, and ``undersample`` is not REDUCE_INTERP_ORDER.
        """
        style = asEnum(InterpolateStyle, self.control.style if style is None else style)
        undersample = asEnum(UndersampleStyle, self.control.undersample if undersample is None else undersample)
        fewest = min(self.values.shape)
        if undersample is UndersampleStyle.INCREASE_NXNYSAMPLE:
            raise DomainError("undersample: INCREASE_NXNYSAMPLE is not supported; use REDUCE_INTERP_ORDER")
        if fewest >= minInterpPoints(style):
            return style
        if undersample is UndersampleStyle.THROW_EXCEPTION:
            needed = minInterpPoints(style)
            raise DomainError(f"{style.value} needs at least {needed} cells along each axis, got {fewest}")
        return maxInterpStyle(fewest)

    def approximation(self, approximate=None):
        """`ChebyshevApproximation` of the cells, with the control's orders or the given ApproximateControl."""
        approximate = self.control.approximate if approximate is None else approximate
        return ChebyshevApproximation(
            self.values, self.variances, self.xCentres, self.yCentres, self.dimensions, approximate
        )

    def imageArray(self, box=None, style=None, undersample=None, dtype=np.float32):
        """The background as an array.

        Parameters
        ----------
        box : Box2I, optional
            Part of the image, in parent coordinates; default: all of it. A part equals the crop of the whole.
        style, undersample : optional
            In place of those of the control; giving a style also switches the control's approximation off.
        dtype : numpy.float32 or numpy.float64

        Raises
        ------
        ShapeError
            The box is not inside the image.
        DomainError
            Too few cells for the style, see `styleUsed`.
        """
        x0, y0, width, height = (0, 0, *self.dimensions)
        if box is not None:
            x0, y0, width, height = box.minX - self.xy0[0], box.minY - self.xy0[1], box.width, box.height
        if x0 < 0 or y0 < 0 or x0 + width > self.dimensions[0] or y0 + height > self.dimensions[1]:
            raise ShapeError(f"box: {box} is not inside the image at {self.xy0} of {self.dimensions} pixels")
        out = np.empty((height, width), dtype)
        if style is None and self.control.approximate is not None:
            return self.approximation().fill(x0, y0, out)
        style = self.styleUsed(style, undersample)
        undersample = asEnum(UndersampleStyle, self.control.undersample if undersample is None else undersample)
        steps = self.control.compat and style is InterpolateStyle.CONSTANT
        values = _averagedSteps(self.values) if steps else self.values
        _core.fillFromGrid(values, self.xCentres, self.yCentres, style.value, undersample.value, (x0, y0), out)
        return out

    def image(self, box=None, style=None, undersample=None, dtype=np.float32):
        """The background as an Image of ``box`` with its origin; arguments and errors of `imageArray`."""
        from ..image import Image

        array = self.imageArray(box, style, undersample, dtype)
        return Image(array, self.xy0 if box is None else (box.minX, box.minY))

    def __repr__(self):
        ny, nx = self.values.shape
        return f"Background({nx}x{ny} cells over {self.dimensions} pixels at {self.xy0}, {self.control.style.value})"


class BackgroundList(list):
    """Backgrounds of one image, in the order in which they were subtracted."""

    def imageArray(self, box=None, dtype=np.float32):
        """Sum of the backgrounds, in order."""
        if not self:
            raise DomainError("BackgroundList: no background to evaluate")
        total = self[0].imageArray(box, dtype=dtype)
        for background in self[1:]:
            total += background.imageArray(box, dtype=dtype)
        return total

    def image(self, box=None, dtype=np.float32):
        """Sum of the backgrounds as an Image."""
        from ..image import Image

        return Image(self.imageArray(box, dtype), self[0].xy0 if box is None else (box.minX, box.minY))
