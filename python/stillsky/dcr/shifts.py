"""Shifts of the subfilters of a band by differential chromatic refraction (coadds and DCR, sections 5.5 and 5.6).

DMTN-037 (doi 10.5281/zenodo.1492936); the direction is that of the zenith through the local Jacobian of the WCS.
"""

import functools
import math

import numpy as np

from ..errors import DomainError
from ..geom import Box2D
from ..meta.pointing import pointingOf
from ..meta.site import completeWeather
from .refraction import refraction

__all__ = [
    "DcrShifts",
    "calculateDcr",
    "calculateImageParallacticAngle",
    "dcrAmplitudes",
    "wavelengthGenerator",
    "zenithVector",
]

_NODES = 64  # samples of a throughput curve in each subfilter


class DcrShifts(list):
    """Shifts of the subfilters, bluest first, and where they come from.

    Each item is (dy, dx) in pixels, positive towards larger indices; split ones are ((dy0, dx0), (dy1, dx1)).

    Attributes
    ----------
    pointing : `stillsky.meta.Pointing`
        Elevation, parallactic angle, and how they are known (``pointing.source``).
    position : (`float`, `float`)
        Pixel position at which zenith and WCS were evaluated.
    notes : `tuple` [`str`]
        What was assumed about site and weather.
    """

    def __init__(self, items, pointing, position, notes):
        super().__init__(items)
        self.pointing, self.position, self.notes = pointing, position, tuple(notes)

    @property
    def maxShift(self):
        """Largest component, pixels."""
        return float(np.max(np.abs(np.array(self)), initial=0.0))


def wavelengthGenerator(effectiveWavelength, bandwidth, dcrNumSubfilters, *, bandLimits=None):
    """Limits of the subfilters: equal intervals of wavelength, bluest first.

    Parameters
    ----------
    effectiveWavelength, bandwidth : `float`
        nm; the band is ``effectiveWavelength -/+ bandwidth/2``.
    dcrNumSubfilters : `int`
    bandLimits : (`float`, `float`), optional
        Blue and red edge of the band, nm, instead.

    Yields
    ------
    limits : (`float`, `float`)
        nm.
    """
    low, high = _band(effectiveWavelength, bandwidth, bandLimits)
    count = int(dcrNumSubfilters)
    if count < 1:
        raise DomainError(f"dcrNumSubfilters: wanted at least 1, given {dcrNumSubfilters}")
    edges = np.linspace(low, high, count + 1)
    yield from zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)


def _band(effectiveWavelength, bandwidth, bandLimits):
    if bandLimits is not None:
        low, high = (float(v) for v in bandLimits)
    elif effectiveWavelength is None or bandwidth is None:
        raise DomainError("wanted effectiveWavelength and bandwidth, or bandLimits, in nm")
    else:
        low, high = effectiveWavelength - bandwidth / 2, effectiveWavelength + bandwidth / 2
    if not (math.isfinite(low) and math.isfinite(high) and 0 < low < high):
        raise DomainError(f"band: wanted 0 < blue edge < red edge in nm, given {low} and {high}")
    return low, high


def _curve(throughput, limits):
    """Wavelengths and weights of the throughput in a subfilter, for sums."""
    step = (limits[1] - limits[0]) / _NODES
    wavelengths = limits[0] + step * (np.arange(_NODES) + 0.5)
    curve = np.asarray(throughput[0], float), np.asarray(throughput[1], float)
    if curve[0].shape != curve[1].shape or curve[0].ndim != 1 or not np.all(np.diff(curve[0]) > 0):
        raise DomainError("throughput: wanted increasing wavelengths in nm and as many values")
    weights = np.interp(wavelengths, *curve, left=0.0, right=0.0)
    if not (np.all(weights >= 0) and weights.sum() > 0):
        raise DomainError(f"throughput: wanted transmission between {limits[0]:g} and {limits[1]:g} nm, all is zero")
    return wavelengths, weights / weights.sum()


def dcrAmplitudes(
    elevation, observatory, weather, effectiveWavelength, bandwidth, dcrNumSubfilters, splitSubfilters=False, *,
    bandLimits=None, throughput=None, model="default",
):  # fmt: skip
    """Mean differential refraction of each subfilter.

    Parameters
    ----------
    elevation : `float`
        Apparent, radians.
    observatory, weather, model
        As for `refraction`.
    effectiveWavelength : `float` or None
        nm, light of which is not shifted; None: the mean of the throughput, or the middle of the band limits.
    bandwidth : `float` or None
        nm; may be None with ``bandLimits`` or ``throughput``.
    dcrNumSubfilters : `int`
    splitSubfilters : `bool`
        Two values per subfilter, a quarter and three quarters across.
    bandLimits : (`float`, `float`), optional
        Edges of a band that is not symmetric about its effective wavelength, nm.
    throughput : (array_like, array_like), optional
        Wavelengths (nm, increasing) and transmission: each subfilter is then the mean over its light, or, split, its
        values at the quartiles of its light. Without ``bandLimits`` the band is the span of the positive values.

    Returns
    -------
    amplitudes : `numpy.ndarray`, (n,) or (n, 2)
        Radians towards the zenith.
    """
    if throughput is not None and bandLimits is None and bandwidth is None:
        seen = np.asarray(throughput[0], float)[np.asarray(throughput[1], float) > 0]
        if len(seen) < 2:
            raise DomainError("throughput: wanted at least two wavelengths with transmission")
        bandLimits = seen[0], seen[-1]
    low, high = _band(effectiveWavelength, bandwidth, bandLimits)
    if effectiveWavelength is None:
        effectiveWavelength = (low + high) / 2
        if throughput is not None:
            effectiveWavelength = float(np.dot(*_curve(throughput, (low, high))))

    def amplitude(wavelengths):
        return refraction(wavelengths, elevation, observatory, weather, model) - reference

    reference = refraction(effectiveWavelength, elevation, observatory, weather, model)
    edges = np.linspace(low, high, int(dcrNumSubfilters) + 1) if int(dcrNumSubfilters) >= 1 else None
    if edges is None:
        raise DomainError(f"dcrNumSubfilters: wanted at least 1, given {dcrNumSubfilters}")
    if throughput is None:
        ends = amplitude(edges)
        if not splitSubfilters:
            return 0.5 * (ends[:-1] + ends[1:])
        return np.stack([0.75 * ends[:-1] + 0.25 * ends[1:], 0.25 * ends[:-1] + 0.75 * ends[1:]], axis=1)
    out = []
    for limits in zip(edges[:-1], edges[1:], strict=True):
        wavelengths, weights = _curve(throughput, limits)
        if splitSubfilters:
            out.append(amplitude(np.interp((0.25, 0.75), np.cumsum(weights) - 0.5 * weights, wavelengths)))
        else:
            out.append(float(np.dot(weights, amplitude(wavelengths))))
    return np.array(out)


def zenithVector(wcs, parallacticAngle, position):
    """Pixels per radian towards the zenith.

    Valid for any rotation, parity, distortion and for unequal axes: the inverse Jacobian of the WCS at the position
    applied to the direction on the sky.

    Parameters
    ----------
    wcs : `stillsky.wcs.SkyWcs`
    parallacticAngle : `float`
        Position angle of the zenith, radians from north through east.
    position : (`float`, `float`)
        Pixels (x, y).

    Returns
    -------
    vector : `numpy.ndarray`, (2,)
        (dy, dx), numpy order.
    """
    local = wcs.tanAt(position)
    jacobian = np.radians(np.asarray(local.cdMatrix, float))
    if not (np.all(np.isfinite(jacobian)) and np.linalg.det(jacobian) != 0):
        raise DomainError(f"wcs: has no scale at the pixel ({position[0]:g}, {position[1]:g})")
    x, y = np.linalg.solve(jacobian, [math.sin(parallacticAngle), math.cos(parallacticAngle)])
    return np.array([y, x])


def _centre(wcs, bbox):
    if bbox is None:
        return tuple(wcs.pixelOrigin)
    return tuple(Box2D(bbox).center)


def _pointingAt(visitInfo, wcs, position, model):
    if visitInfo is None:
        raise DomainError("visitInfo: wanted a VisitInfo, given None")
    ra, dec = wcs.pixelToSky(*position)
    if not (math.isfinite(ra) and math.isfinite(dec)):
        raise DomainError(f"wcs: the pixel ({position[0]:g}, {position[1]:g}) has no place on the sky")
    return pointingOf(visitInfo, ra, dec, model=model)


def calculateImageParallacticAngle(visitInfo, wcs, bbox=None, *, model="default"):
    """Angle from +Y towards +X of the direction of the zenith in pixels.

    Parameters
    ----------
    visitInfo : `stillsky.meta.VisitInfo`
    wcs : `stillsky.wcs.SkyWcs`
    bbox : `stillsky.geom.Box2I`, optional
        Evaluated at its centre; default at the reference pixel of the WCS.
    model : {"default", "reference"}

    Returns
    -------
    angle : `float`
        Radians: shifts are amplitude times (cos, sin) as (dy, dx).
    """
    position = _centre(wcs, bbox)
    pointing = _pointingAt(visitInfo, wcs, position, model)
    dy, dx = zenithVector(wcs, pointing.parallacticAngle, position)
    return math.atan2(dx, dy)


def calculateDcr(
    visitInfo, wcs, effectiveWavelength, bandwidth, dcrNumSubfilters, splitSubfilters=False, bbox=None, *,
    bandLimits=None, throughput=None, model="default",
):  # fmt: skip
    """Shifts in pixels by which the light of each subfilter lies off its place.

    Light bluer than the effective wavelength lies towards the zenith. The tract's astrometry is taken to hold for the
    effective wavelength, that is, for a source with a flat spectrum; where the astrometry was fitted to real stars,
    their mean colour is the reference and should be given as ``effectiveWavelength`` with ``bandLimits``.

    Parameters
    ----------
    visitInfo : `stillsky.meta.VisitInfo`
        Unknown weather is replaced field by field by typical values.
    wcs : `stillsky.wcs.SkyWcs`
        Of the pixels in which the shifts are wanted.
    effectiveWavelength, bandwidth : `float` or None
        nm. None where ``bandLimits`` or ``throughput`` say it.
    dcrNumSubfilters : `int`
    splitSubfilters : `bool`
        A pair of shifts per subfilter, for its blue and red half.
    bbox : `stillsky.geom.Box2I`, optional
        Region of interest: elevation, direction and scale are those at its centre. Default: the reference pixel of
        the WCS, which may lie far away.
    bandLimits, throughput
        As for `dcrAmplitudes`.
    model : {"default", "reference"}
        "reference": Rubin's refraction (see `refraction`), elevation and parallactic angle of the boresight.

    Returns
    -------
    shifts : `DcrShifts`
        A list of (dy, dx), or of pairs of them; ``shifts.pointing`` and ``shifts.notes`` say how they are known.

    Raises
    ------
    DomainError
        (a ValueError) Below 10 degrees elevation, wavelengths outside 230.2 to 2058.6 nm, an impossible band, or
        nothing that tells where the zenith is.
    """
    position = tuple(float(v) for v in _centre(wcs, bbox))
    limits = None if bandLimits is None else tuple(float(v) for v in bandLimits)
    band = effectiveWavelength, bandwidth, int(dcrNumSubfilters), bool(splitSubfilters), limits
    calculate = _shifts if throughput is None else _shifts.__wrapped__
    return DcrShifts(*calculate(visitInfo, wcs, position, band, throughput, model))


@functools.lru_cache(maxsize=4096)
def _shifts(visitInfo, wcs, position, band, throughput, model):
    """What `DcrShifts` is made of, remembered: every iteration asks again for the same visits and tiles."""
    effectiveWavelength, bandwidth, count, split, limits = band
    pointing = _pointingAt(visitInfo, wcs, position, model)
    notes, observatory = [*pointing.notes], visitInfo.observatory
    weather, assumed = completeWeather(visitInfo.weather, observatory)
    notes += [note for note in assumed if note not in notes]
    if not math.isfinite(observatory.latitude):
        notes.append("site: latitude 45 degrees assumed for the gravity")
    amplitudes = dcrAmplitudes(
        pointing.elevation, observatory, weather, effectiveWavelength, bandwidth, count, split,
        bandLimits=limits, throughput=throughput, model=model,
    )  # fmt: skip
    vector = zenithVector(wcs, pointing.parallacticAngle, position)
    items = [tuple(map(tuple, a)) if split else tuple(a) for a in (amplitudes[..., None] * vector).tolist()]
    return tuple(items), pointing, position, tuple(notes)
