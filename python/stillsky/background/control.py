"""How a background is measured and interpolated."""

from dataclasses import dataclass, field
from enum import StrEnum

from .. import _core
from ..errors import DomainError
from ..stats import Property, StatisticsControl, stringToStatisticsProperty
from .approximate import ApproximateControl

__all__ = [
    "BackgroundControl",
    "InterpolateStyle",
    "UndersampleStyle",
    "interpolate",
    "maxInterpStyle",
    "minInterpPoints",
]


class InterpolateStyle(StrEnum):
    """Shape of the curve through the nodes, and beyond the outermost ones.

    CONSTANT: nearest node. LINEAR: straight lines, end slopes continued. CUBIC_SPLINE: natural cubic spline, straight
    lines beyond; NATURAL_SPLINE is another name of the same. AKIMA_SPLINE: Akima (1970), parabolas beyond.
    """

    CONSTANT = "CONSTANT"
    LINEAR = "LINEAR"
    NATURAL_SPLINE = "NATURAL_SPLINE"
    CUBIC_SPLINE = "CUBIC_SPLINE"
    AKIMA_SPLINE = "AKIMA_SPLINE"


class UndersampleStyle(StrEnum):
    """What to do where there are fewer nodes than a style needs; INCREASE_NXNYSAMPLE is not supported."""

    THROW_EXCEPTION = "THROW_EXCEPTION"
    REDUCE_INTERP_ORDER = "REDUCE_INTERP_ORDER"
    INCREASE_NXNYSAMPLE = "INCREASE_NXNYSAMPLE"


def asEnum(kind, value):
    """The member of an Enum that ``value`` names; DomainError if there is none."""
    try:
        return kind(value)
    except ValueError:
        names = ", ".join(kind.__members__)
        raise DomainError(f"{kind.__name__}: wanted one of {names}, got {value!r}") from None


def minInterpPoints(style):
    """Fewest nodes that an interpolation style needs: 1, 2, 3, 3 or 5."""
    return _core.minInterpPoints(asEnum(InterpolateStyle, style).value)


def maxInterpStyle(n):
    """The highest style that ``n`` nodes allow: 1 CONSTANT, 2 LINEAR, 3 and 4 CUBIC_SPLINE, from 5 on AKIMA_SPLINE."""
    return InterpolateStyle(_core.maxInterpStyle(n))


def interpolate(x, y, style, at):
    """Values at ``at`` of the curve of the given style through the nodes (x ascending, y); float64 array."""
    return _core.interpolate(x, y, asEnum(InterpolateStyle, style).value, at)


@dataclass
class BackgroundControl:
    """How a background is measured and evaluated.

    Parameters
    ----------
    nx, ny : int
        Number of cells along x and y.
    style : InterpolateStyle or str
        Interpolation between cell centres.
    undersample : UndersampleStyle or str
        What to do with fewer usable cells than the style needs.
    property : Property or str
        Statistic of a cell: MEANCLIP, MEAN, MEDIAN, ...
    statControl : StatisticsControl
        How it is computed (mask bits to ignore, clipping, NaN).
    approximate : ApproximateControl, optional
        Fit one smooth function to the cells instead of interpolating.
    compat : bool
        Reproduce the Rubin pipelines: the variance of a cell holds the standard error, so that fits weight by 1/error,
        and the steps of CONSTANT have the mean of the two nodes to the left and right of the step's left end.
    """

    nx: int = 10
    ny: int = 10
    style: InterpolateStyle = InterpolateStyle.AKIMA_SPLINE
    undersample: UndersampleStyle = UndersampleStyle.THROW_EXCEPTION
    property: Property = Property.MEANCLIP
    statControl: StatisticsControl = field(default_factory=StatisticsControl)
    approximate: ApproximateControl | None = None
    compat: bool = False

    def __post_init__(self):
        self.style = asEnum(InterpolateStyle, self.style)
        self.undersample = asEnum(UndersampleStyle, self.undersample)
        if isinstance(self.property, str):
            self.property = stringToStatisticsProperty(self.property)
        for name in ("nx", "ny"):
            if getattr(self, name) < 1:
                raise DomainError(f"{name}: wanted a number of cells >= 1, got {getattr(self, name)}")
