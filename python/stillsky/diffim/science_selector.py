"""Choose sources of a science image by what their measurements say: cuts on a catalogue, all of which must hold."""

from dataclasses import dataclass, field

import numpy as np

from ..errors import NotFoundError

__all__ = ["ScienceSelection", "selectScienceSources"]


@dataclass
class ScienceSelection:
    """What `selectScienceSources` chose.

    Attributes
    ----------
    selected : `numpy.ndarray` of bool, (n,)
    counts : `dict`
        How many sources pass each cut alone.
    skipped : `list` [`str`]
        Cuts that were asked for and whose columns the catalogue lacks.
    """

    selected: np.ndarray
    counts: dict = field(default_factory=dict)
    skipped: list = field(default_factory=list)


def selectScienceSources(sources, config):
    """Apply the cuts of a configuration.

    Parameters
    ----------
    sources : `astropy.table.Table`
    config : `stillsky.diffim.science_selector_config.ScienceSourceSelectorConfig`

    Returns
    -------
    selection : `ScienceSelection`

    Raises
    ------
    NotFoundError
        A flux, or the error of one, whose limits are asked for is missing.

    Notes
    -----
    Limits are exclusive: a signal-to-noise ratio of exactly 10 does not exceed 10. NaN passes no limit. A flux whose
    flag is set passes none either.
    """
    cuts = (
        ("doSkySources", _notSky),
        ("doUnresolved", _unresolved),
        ("doSignalToNoise", _signalToNoise),
        ("doFluxLimit", _flux),
        ("doFlags", _flags),
        ("doIsolated", _isolated),
        ("doRequirePrimary", _primary),
    )
    found = ScienceSelection(np.ones(len(sources), bool))
    for name, cut in cuts:
        if not getattr(config, name):
            continue
        passed = cut(sources, config)
        if passed is None:
            found.skipped.append(name)
            continue
        found.counts[name] = int(np.count_nonzero(passed))
        found.selected &= passed
    return found


def _column(sources, name):
    return np.asarray(sources[name]) if name in sources.colnames else None


def _wanted(sources, name):
    values = _column(sources, name)
    if values is None:
        raise NotFoundError(f"sources: wanted a column {name}", found=f"columns {', '.join(sources.colnames)}")
    return values.astype(float)


def _within(values, limits):
    """Strictly between the limits; NaN is not."""
    passed = ~np.isnan(values)
    if limits.minimum is not None:
        passed &= values > limits.minimum
    if limits.maximum is not None:
        passed &= values < limits.maximum
    return passed


def _notSky(sources, config):
    sky = _column(sources, config.skyFlag)
    return None if sky is None else ~sky.astype(bool)


def _unresolved(sources, config):
    extent = _column(sources, config.unresolved.name)
    return None if extent is None else _within(extent.astype(float), config.unresolved)


def _unflagged(sources, fluxField):
    flag = _column(sources, fluxField.rpartition("_")[0] + "_flag")
    return np.ones(len(sources), bool) if flag is None else ~flag.astype(bool)


def _signalToNoise(sources, config):
    cut = config.signalToNoise
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = _wanted(sources, cut.fluxField) / _wanted(sources, cut.errField)
    return _within(ratio, cut) & _unflagged(sources, cut.fluxField)


def _flux(sources, config):
    cut = config.fluxLimit
    return _within(_wanted(sources, cut.fluxField), cut) & _unflagged(sources, cut.fluxField)


def _flags(sources, config):
    passed = np.ones(len(sources), bool)
    for names, wanted in ((config.flags.good, True), (config.flags.bad, False)):
        for name in names:
            values = _column(sources, name)
            if values is not None:
                passed &= values.astype(bool) == wanted
    return passed


def _isolated(sources, config):
    parent, children = (_column(sources, n) for n in (config.isolated.parentName, config.isolated.nChildName))
    return None if parent is None or children is None else (parent == 0) & (children == 0)


def _primary(sources, config):
    primary = _column(sources, config.requirePrimary.primaryColName)
    return None if primary is None else primary.astype(bool)
