"""Coadds without the artifacts of single epochs: a mean whose outliers a clipped stack of PSF-matched warps has named."""

from dataclasses import dataclass
from typing import Any

from ..errors import DomainError, NoDataError, StillskyError
from .algorithm import CoaddResult, assembleCoadd, commonBox
from .compare_warp import applyAltEdgeMask, findArtifacts
from .inputs import prepareInputs
from .processing import processResults
from .warps import asWarp

__all__ = ["CompareWarpResult", "compareWarpCoadd", "pairWarps"]


@dataclass
class CompareWarpResult(CoaddResult):
    """A coadd, the static sky that its inputs were compared with, and what was found.

    Attributes
    ----------
    template : `CoaddResult`
        Of the PSF-matched warps.
    artifacts : `stillsky.coadd.ArtifactSearch`
        In the order of ``candidates``.
    candidates : `list` of warps
        The direct warps that were searched; those that could not be combined afterwards are in ``skipped``.
    """

    template: Any = None
    artifacts: Any = None
    candidates: Any = ()


def compareWarpCoadd(
    warps,
    psfMatchedWarps,
    bbox=None,
    wcs=None,
    config=None,
    *,
    template=None,
    weights=None,
    scalers=None,
    psfMatchedScalers=None,
    brightObjects=None,
    process=True,
    strict=None,
    scratch=None,
    progress=None,
):
    """Combine warps without the artifacts that single ones have.

    Parameters
    ----------
    warps : iterable
        As of `assembleCoadd`; not changed.
    psfMatchedWarps : sequence
        The same visits matched to one PSF: by data id, or one for each of ``warps`` in their order. A visit without one
        (None, or not there) has no part in the coadd.
    bbox, wcs : optional
        Of the coadd; default: as of `assembleCoadd`.
    config : `CompareWarpAlgorithmConfig`, optional
    template : `stillsky.image.Exposure`, optional
        Static sky matched to that PSF; default: made of ``psfMatchedWarps`` by ``config.assembleStaticSkyModel``.
    weights, scalers, brightObjects, process, strict, scratch, progress
        As of `assembleCoadd`.
    psfMatchedScalers : sequence, optional
        Of the PSF-matched warps, in their order.

    Returns
    -------
    result : `CompareWarpResult`

    Raises
    ------
    NoDataError
        No warp, or no PSF-matched warp, can be used.
    DomainError
        Warps cannot be paired.

    Notes
    -----
    Memory: that of `assembleCoadd`, and of `findArtifacts` for one warp at a time. Warps are read twice, PSF-matched ones
    three times.
    """
    config = _configOr(config)
    strict = config.strict if strict is None else strict
    warps, matched = pairWarps(warps, psfMatchedWarps, scratch)
    matchedScalers = _scalersOf(matched, psfMatchedWarps, psfMatchedScalers)
    prepared = prepareInputs(
        warps, bbox, config, wcs=wcs, weights=weights, scalers=scalers, strict=strict, scratch=scratch
    )
    if not prepared.inputs:
        raise NoDataError(
            "no warp can be combined", found="; ".join(f"{s.name}: {s.reason}" for s in prepared.skipped[:5])
        )
    bbox = commonBox(i.box for i in prepared.inputs) if bbox is None else bbox
    position = {id(warp): k for k, warp in enumerate(warps)}
    chosen = [position.get(id(item.warp)) for item in prepared.inputs]
    static, kept, shares = _staticSky(template, matched, matchedScalers, bbox, wcs, config, strict, scratch)
    search = findArtifacts(
        static,
        [matched[k] for k in chosen],
        config,
        weights=None if shares is None else [shares.get(id(matched[k]), 0.0) for k in chosen],
        kept=kept,
        scalers=[matchedScalers[k] for k in chosen],
        strict=strict,
    )
    for item, k, altMask, visit in zip(prepared.inputs, chosen, search, search.visits, strict=True):
        item.altMask, item.psfMatched = altMask, matched[k] if visit.isUsable else None
    candidates = list(prepared.warps)
    result = assembleCoadd(
        prepared, bbox, wcs, config, badMaskPlanes=[*config.badMaskPlanes, "CLIPPED"], process=False, strict=strict,
        progress=progress,
    )  # fmt: skip
    applyAltEdgeMask(result.coadd.mask, result.altMaskList)
    if process:
        processResults(result.coadd, config, brightObjects=brightObjects)
    return CompareWarpResult(**vars(result), template=static, artifacts=search, candidates=candidates)


def _configOr(config):
    if config is not None:
        return config
    from .compare_warp_config import CompareWarpAlgorithmConfig

    return CompareWarpAlgorithmConfig()


def pairWarps(warps, psfMatchedWarps, scratch=None):
    """Direct warps and, for each, the PSF-matched warp of its visit or None.

    By data id where the PSF-matched warps have different ones that are those of warps; else by position.

    Parameters
    ----------
    warps, psfMatchedWarps : iterable
        See `stillsky.coadd.asWarp`; what cannot be opened stays as it is, for those who report it.
    scratch : path-like, optional

    Returns
    -------
    warps, matched : `list`

    Raises
    ------
    DomainError
        Neither is possible.
    """
    warps = [_opened(w, scratch) for w in warps]
    others = [_opened(w, scratch) for w in psfMatchedWarps or ()]
    keys = [_key(w) for w in others if w is not None]
    wanted = {_key(w) for w in warps} - {()}
    if keys and () not in keys and len(set(keys)) == len(keys) and set(keys) & wanted:
        found = dict(zip(keys, (w for w in others if w is not None), strict=True))
        return warps, [found.get(_key(w)) for w in warps]
    if len(others) != len(warps):
        raise DomainError(
            f"psfMatchedWarps: wanted data ids of the {len(warps)} warps, or one for each of them, given {len(others)} "
            "without such ids"
        )
    return warps, others


def _opened(thing, scratch):
    if thing is None:
        return None
    try:
        return asWarp(thing, scratch=scratch)
    except (StillskyError, OSError):
        return thing


def _key(warp):
    dataId = getattr(warp, "dataId", None) or {}
    items = dataId.items() if hasattr(dataId, "items") else dict(getattr(dataId, "mapping", {})).items()
    return tuple(sorted((str(k), str(v)) for k, v in items if k != "file"))


def _scalersOf(matched, given, scalers):
    """Scalers in the order of the paired warps."""
    if scalers is None:
        return [None] * len(matched)
    given, scalers = list(given), list(scalers)
    if len(given) != len(scalers):
        raise DomainError(f"psfMatchedScalers: wanted one for each of {len(given)} warps, given {len(scalers)}")
    places = {id(thing): scaler for thing, scaler in zip(given, scalers, strict=True)}
    keys = {_key(thing): scaler for thing, scaler in zip(given, scalers, strict=True)}
    found = []
    for k, warp in enumerate(matched):
        if warp is None:
            found.append(None)
        elif id(warp) in places:
            found.append(places[id(warp)])
        else:
            found.append(keys[_key(warp)] if _key(warp) and _key(warp) in keys else scalers[k])
    return found


def _staticSky(template, matched, scalers, bbox, wcs, config, strict, scratch):
    """The template, the samples that each of its pixels rests on, and the weights of warps in it by identity."""
    if template is not None:
        return template, None, None
    known = [(w, s) for w, s in zip(matched, scalers, strict=True) if w is not None]
    if not known:
        raise NoDataError(
            "no PSF-matched warp is given: there is no static sky to compare with",
            remedy="PSF-matched warps of the same visits, or another method",
        )
    made = assembleCoadd(
        [w for w, _ in known], bbox, wcs, config.assembleStaticSkyModel, scalers=[s for _, s in known], process=False,
        strict=strict, scratch=scratch,
    )  # fmt: skip
    return made.coadd, made.nKept, {id(item.warp): item.weight for item in made.inputs}
