"""A subtraction read back from its files, to make its report at any later time."""

import hashlib
import json
import os
from types import SimpleNamespace

import numpy as np

from ..errors import FitsLayoutError

__all__ = ["readSubtraction", "readSummary"]

_TABLES = (".sources.ecsv", ".sources.parquet", ".sources.fits")


_REMEDY = "wanted P.json of subtract, coadd, dcr or ptc"


def readSummary(path):
    """Text and content of a summary P.json.

    Raises
    ------
    OSError
        It cannot be read.
    FitsLayoutError
        It is no summary of a run.
    """
    with open(path, encoding="utf-8") as stream:
        try:
            text = stream.read()
            summary = json.loads(text)
        except ValueError as error:
            raise FitsLayoutError(f"no summary of a run: {path}", found=str(error), remedy=_REMEDY) from error
    if not isinstance(summary, dict) or not isinstance(summary.get("metadata"), dict):
        raise FitsLayoutError(f"no summary of a run: {path}", found="JSON without metadata", remedy=_REMEDY)
    return text, summary


def readSubtraction(prefix, summary):
    """What a report needs, from ``prefix.diff.fits`` and its companions.

    The science image is that of the run while its file is there, unchanged; else the difference plus the template as it
    was subtracted: where the template was convolved that is nearly the image itself, else the convolved one.

    Parameters
    ----------
    prefix : `str`
        Prefix of the files.
    summary : `dict`
        Content of P.json.

    Returns
    -------
    result : `types.SimpleNamespace`
        With the attributes of a `stillsky.diffim.SubtractResult`, the differential background in its matched template;
        ``sources`` is None without a table of sources,
        ``candidates`` without the stars of the fit.
    """
    from ..fits import readExposure, readKernel

    difference, _ = readExposure(f"{prefix}.diff.fits")
    matched, _ = readExposure(f"{prefix}.matched.fits")
    kernel = readKernel(f"{prefix}.kernel.fits")
    convolved = summary.get("convolved", "template")
    return SimpleNamespace(
        difference=difference,
        matchedTemplate=matched,
        science=_inputScience(summary, difference) or _science(difference, matched, kernel, convolved),
        kernel=kernel.kernel,
        background=kernel.background,
        convolved=convolved,
        candidates=_candidates(summary.get("kernelStars")),
        metadata=summary["metadata"],
        decisions=summary.get("decisions", []),
        warnings=[(w["code"], w["message"]) for w in summary.get("warnings", [])],
        timings=summary.get("timings", {}),
        sources=_sources(prefix),
    )


def _inputScience(summary, difference):
    """The science image that the run read, if it can be had: same checksum, and it covers the difference; else None."""
    from ..errors import StillskyError
    from ..fits import readExposure

    facts = summary.get("inputs", {}).get("science", {})
    path = facts.get("path")
    if not path or not facts.get("sha256") or not os.path.isfile(path):
        return None
    with open(path, "rb") as stream:
        if hashlib.file_digest(stream, "sha256").hexdigest() != facts["sha256"]:
            return None
    try:
        science, _ = readExposure(path, ext=facts.get("ext"))
    except (StillskyError, OSError):
        return None  # it was read with options that the summary does not tell
    if not science.bbox.contains(difference.bbox):
        return None
    return science[difference.bbox]


def _science(difference, matched, kernel, convolved):
    from ..image import Exposure, Image, MaskedImage

    scale = 1.0 / float(kernel.metadata.get("KSUM", 1.0)) if convolved == "science" else 1.0
    pixels = difference.image.array + np.float32(scale) * matched.image.array
    masked = MaskedImage(Image(pixels, difference.xy0), difference.mask, difference.variance)
    return Exposure(masked, wcs=difference.wcs)


def _candidates(columns):
    from astropy.table import Table

    if not columns:
        return None
    numbers = {k: [np.nan if v is None else v for v in values] for k, values in columns.items()}
    return Table(numbers)


def _sources(prefix):
    from ..diffim.source_io import readSources

    for suffix in _TABLES:
        if os.path.exists(prefix + suffix):
            return readSources(prefix + suffix)
    return None
