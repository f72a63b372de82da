"""Which flats belong together: groups by exposure time, by a header value or by exposure id."""

import logging
import math

from ..errors import DomainError, ShapeError
from .handles import asHandle

__all__ = [
    "exposureTime",
    "groupByFlux",
    "groupById",
    "groupByTime",
    "groupExposures",
    "headerValue",
    "selectFluxPair",
    "timesMatch",
]

_log = logging.getLogger(__name__)
RELATIVE_TOLERANCE = 1e-5


def _checked(exposures, ids):
    exposures, ids = list(exposures), list(ids)
    if len(exposures) != len(ids):
        raise ShapeError(f"flats: wanted one id per exposure, given {len(exposures)} exposures and {len(ids)} ids")
    return [(asHandle(e), i) for e, i in zip(exposures, ids)]


def timesMatch(a, b, tolerance=5e-3):
    """Whether two exposure times in seconds are equal to a tolerance in seconds plus 1e-5 of the second one.

    NaN matches nothing. A tolerance of 0 asks for the very same number.
    """
    if tolerance == 0:
        return a == b
    return abs(a - b) <= tolerance + RELATIVE_TOLERANCE * abs(b)


def exposureTime(handle):
    """Exposure time in seconds; NaN when unknown."""
    visit = handle.get(component="visitInfo")
    time = getattr(visit, "exposureTime", math.nan)
    return math.nan if time is None else float(time)


def headerValue(handle, key, log=_log):
    """A header value as a number; NaN with a warning where it is missing or no number."""
    metadata = handle.get(component="metadata")
    value = metadata[key] if metadata is not None and key in metadata else None
    try:
        return float(value)
    except (TypeError, ValueError):
        log.warning("Header key %s: wanted a number, found %r; the exposure is in no pair.", key, value)
        return math.nan


def _groups(members, keyOf, same):
    """Insertion-ordered groups; keys that are not finite share the one key NaN, whose group is nobody's pair."""
    groups = {}
    for handle, expId in members:
        key = keyOf(handle)
        if math.isfinite(key):
            key = next((k for k in groups if same(key, k)), key)
        else:
            key = math.nan  # the one object: NaN is found again in a dictionary by identity only
        groups.setdefault(key, []).append((handle, expId))
    return groups


def groupByTime(exposures, ids, tolerance=5e-3):
    """Groups of equal exposure time.

    Parameters
    ----------
    exposures : sequence of exposures or handles
    ids : sequence of `int`
    tolerance : `float`
        Seconds; see `timesMatch`.

    Returns
    -------
    groups : `dict` [`float`, `list` [(handle, id)]]
        In order of first appearance, by the time of the first member in seconds.

    Raises
    ------
    ShapeError
        Not one id per exposure.
    """
    return _groups(_checked(exposures, ids), exposureTime, lambda a, b: timesMatch(a, b, tolerance))


def groupByFlux(exposures, ids, keyword, log=_log):
    """Groups of equal header value; arguments, result and errors as `groupByTime`.

    A missing value is a warning, and such exposures share the key NaN.
    """
    return _groups(_checked(exposures, ids), lambda handle: headerValue(handle, keyword, log), lambda a, b: a == b)


def groupById(exposures, ids):
    """Pairs of neighbours in the order of ids, by number 0, 1, 2, ...; an odd last one stays alone.

    Arguments, result and errors as `groupByTime`.
    """
    members = sorted(_checked(exposures, ids), key=lambda member: member[1])
    return {k // 2: members[k : k + 2] for k in range(0, len(members), 2)}


def groupExposures(exposures, ids, config, log=_log):
    """Groups as a configuration wants them.

    Parameters
    ----------
    exposures, ids
        See `groupByTime`.
    config : `PhotonTransferCurveExtractConfigBase`

    Returns
    -------
    groups : `dict` [key, `list` [(handle, id)]]
    """
    kind = "EXPID" if config.matchByExposureId else config.matchExposuresType
    if kind == "EXPID":
        return groupById(exposures, ids)
    if kind == "FLUX":
        return groupByFlux(exposures, ids, config.matchExposuresByFluxKeyword, log)
    if kind == "TIME":
        return groupByTime(exposures, ids, 0.0 if config.compat else config.timeTolerance)
    raise DomainError(f"matchExposuresType: wanted TIME, FLUX or EXPID, given {kind!r}")


def selectFluxPair(ids, values, ownId):
    """The pair that an exposure and its neighbours make, by a header value.

    Parameters
    ----------
    ids : sequence of `int`
        Ascending: two neighbours at the ends of a list, three elsewhere.
    values : sequence of `float`
        NaN equals nothing.
    ownId : `int`
        The exposure in question.

    Returns
    -------
    pair : (`int`, `int`) or None
        Positions of the two members, when the exposure is the first of a pair.
    problem : `str`
        Why there is none; empty for the second member of a pair, which is no problem.
    """
    same = [values[k] == values[k + 1] for k in range(len(ids) - 1)]
    if not any(same):
        return None, f"exposure {ownId} has no neighbour of equal value, {list(values)}"
    if len(ids) > 2 and all(same):
        return None, f"exposures {list(ids)} all have the value {values[0]}: no two of them are a pair"
    first = same.index(True)
    return ((first, first + 1), "") if ids[first] == ownId else (None, "")
