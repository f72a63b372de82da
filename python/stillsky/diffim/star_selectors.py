"""Choose kernel stars from a catalogue: by their sizes, or by what a reference catalogue says of them."""

import logging

import numpy as np

from ..errors import DomainError, NoDataError

__all__ = [
    "ObjectSizeNoGoodSourcesError",
    "ObjectSizeNoSourcesError",
    "hasBadFlag",
    "selectByReference",
    "selectBySize",
]

_log = logging.getLogger("stillsky.diffim.star_selectors")
_CLUSTERS = 4
_ROUNDS = 10
_FEW = 5  # members below which a cluster is not clipped
_IQR_TO_SIGMA = 0.741
_SLOTS = {"slot_Centroid_": "base_SdssCentroid_", "slot_Shape_": "base_SdssShape_"}


class ObjectSizeNoSourcesError(NoDataError):
    """The catalogue has no source at all.

    Attributes
    ----------
    metadata : `dict`
        What was known.
    """

    def __init__(self):
        super().__init__("no sources are given to choose stars from")
        self.metadata = {"nSources": 0}


class ObjectSizeNoGoodSourcesError(NoDataError):
    """No source is bright, clean and of a sensible width.

    Attributes
    ----------
    metadata : `dict`
        ``nSources``, and how many passed each cut.
    """

    def __init__(self, counts):
        listed = ", ".join(f"{n} {name}" for name, n in counts.items())
        super().__init__("no good source to choose stars from", found=listed, remedy="lower signalToNoiseMin")
        self.metadata = dict(counts)


def _column(table, name):
    """A column by its name or by the plugin that fills its slot; None when it is absent."""
    if name in table.colnames:
        return np.asarray(table[name])
    for slot, plugin in _SLOTS.items():
        if name.startswith(slot) and plugin + name[len(slot) :] in table.colnames:
            return np.asarray(table[plugin + name[len(slot) :]])
    return None


def _wanted(table, name):
    values = _column(table, name)
    if values is None:
        raise DomainError(f"sources: wanted a column {name}, given {table.colnames}")
    return values.astype(float)


def hasBadFlag(sources, flags):
    """Which rows of a catalogue have any of these flags set; flags that it lacks do not count."""
    bad = np.zeros(len(sources), bool)
    for name in flags:
        values = _column(sources, name)
        if values is not None:
            bad |= values.astype(bool)
    return bad


# ------------------------------------------------------------------------------------------------ by size


def selectBySize(sources, config):
    """Stars are the cluster of smallest widths.

    Parameters
    ----------
    sources : `astropy.table.Table`
        With flux, its error, and second moments (slot_Shape or base_SdssShape xx, yy).
    config : `stillsky.diffim.star_selector_config.ObjectSizeStarSelectorConfig`

    Returns
    -------
    selected : `numpy.ndarray` of bool

    Raises
    ------
    ObjectSizeNoSourcesError, ObjectSizeNoGoodSourcesError
    DomainError
        A column is missing.

    Notes
    -----
    width = sqrt((Ixx + Iyy)/2). Widths are split by k-medians into four clusters, started at the 10th percentile and
    30, 60 and 90 % above it; the first is clipped about its median. Sources without a number as flux, error or width
    are no candidates.
    """
    if not len(sources):
        raise ObjectSizeNoSourcesError()
    flux = _wanted(sources, config.sourceFluxField)
    error = _wanted(sources, config.sourceFluxField + "Err")
    with np.errstate(invalid="ignore", divide="ignore"):
        width = np.sqrt(0.5 * (_wanted(sources, "slot_Shape_xx") + _wanted(sources, "slot_Shape_yy")))
        ratio = flux / error
        bright = np.isfinite(flux)
        if config.doFluxLimit:
            bright &= (flux >= config.fluxMin) & ((config.fluxMax <= 0) | (flux <= config.fluxMax))
        if config.doSignalToNoiseLimit:
            bright &= (ratio >= config.signalToNoiseMin) & (
                (config.signalToNoiseMax <= 0) | (ratio <= config.signalToNoiseMax)
            )
        sized = (width >= config.widthMin) & (width <= config.widthMax)
    clean = ~hasBadFlag(sources, config.badFlags)
    good = bright & sized & clean
    if not good.any():
        counts = {"nSources": len(sources), "nBright": bright, "nSized": sized, "nClean": clean}
        raise ObjectSizeNoGoodSourcesError(
            {k: int(np.count_nonzero(v)) if k != "nSources" else v for k, v in counts.items()}
        )
    selected = np.zeros(len(sources), bool)
    selected[good] = _smallestCluster(width[good], config)
    return selected


def _smallestCluster(width, config):
    start = np.percentile(width, 10)
    centers = start + 2 * 0.15 * start * np.arange(_CLUSTERS)
    while True:
        label = np.argmin(np.abs(width[:, None] - centers), axis=1)
        new = np.array([np.median(width[label == k]) if np.any(label == k) else centers[k] for k in range(_CLUSTERS)])
        if np.array_equal(new, centers):
            break
        centers = new
    return _clipped(width, label == 0, config)


def _clipped(width, members, config):
    """Members within a few standard deviations of their median, in rounds."""
    for _ in range(_ROUNDS):
        values = width[members]
        if len(values) < _FEW:
            break
        low, median, high = np.percentile(values, (25, 50, 75))
        sigma = min(values.std(), _IQR_TO_SIGMA * (high - low))
        if sigma == 0:
            break
        kept = members & (np.abs(width - median) < config.nSigmaClip * sigma)
        done = np.array_equal(kept, members) or sigma < config.widthStdAllowed * median
        members = kept
        if done:
            break
    return members


# ------------------------------------------------------------------------------------------------ by reference


def selectByReference(sources, matches, config):
    """Sources whose reference objects are of the wanted type and colour.

    Parameters
    ----------
    sources : `astropy.table.Table`
    matches : iterable of (reference, source, ...)
        The reference is a row or mapping with ``resolved``, ``photometric`` and the fluxes ``g_flux``, ``r_flux``; the
        source is a row of ``sources`` or its number.
    config : `stillsky.diffim.star_selector_config.DiaCatalogSourceSelectorConfig`

    Returns
    -------
    selected : `numpy.ndarray` of bool
        By row of ``sources``, whatever the order of the matches.

    Raises
    ------
    DomainError
        A source of a match is no row of the catalogue.
    """
    flux = _wanted(sources, config.sourceFluxField)
    with np.errstate(invalid="ignore"):
        usable = ~hasBadFlag(sources, config.badFlags) & (flux >= config.fluxLim)
        usable &= (config.fluxMax <= 0) | (flux <= config.fluxMax)
    selected = np.zeros(len(sources), bool)
    colours = True
    for match in matches:
        reference, source = (match.first, match.second) if hasattr(match, "first") else match[:2]
        row = _rowOf(source, len(sources))
        if not usable[row]:
            continue
        star = not bool(_field(reference, "resolved", False))
        variable = not bool(_field(reference, "photometric", True))
        wanted = config.selectStar if star else config.selectGalaxy
        if colours:
            colour = _colour(reference)
            if colour is None:
                _log.warning("The reference objects have no g_flux and r_flux: every colour is accepted")
                colours = False
        inRange = not colours or config.grMin <= colour <= config.grMax
        selected[row] = wanted and inRange and (config.includeVariable or not variable)
    return selected


def _rowOf(source, n):
    row = getattr(source, "index", source)
    try:
        row = int(row)
    except (TypeError, ValueError):
        raise DomainError(
            f"matches: wanted rows of the catalogue or their numbers, given {type(source).__name__}"
        ) from None
    if not 0 <= row < n:
        raise DomainError(f"matches: row {row} is not one of the {n} sources")
    return row


def _names(reference):
    return reference.colnames if hasattr(reference, "colnames") else reference.keys()


def _field(reference, name, default):
    return reference[name] if name in _names(reference) else default


def _colour(reference):
    """g - r of a reference object; None without the fluxes, NaN where one is not positive."""
    if not {"g_flux", "r_flux"} <= set(_names(reference)):
        return None
    g, r = float(reference["g_flux"]), float(reference["r_flux"])
    return -2.5 * np.log10(g / r) if g > 0 and r > 0 else np.nan
