"""Artifacts of single inputs in files: as spans, and as masks."""

import numpy as np

from ..detection import SpanSet
from ..errors import FitsLayoutError
from ..fits.files import openFits, readingErrors, writeHdus
from ..fits.layout import originCards
from ..fits.writer import compressedMaskHdu, maskCards
from ..image import Mask
from ..image.mask_schema import MaskSchema

__all__ = ["artifactMask", "readArtifacts", "writeArtifactMasks", "writeArtifacts"]


def writeArtifacts(path, names, artifacts, epochCount=None, *, wcs=None, overwrite=False):
    """Write what was left out of each input.

    Parameters
    ----------
    path : path-like
    names : sequence of `str`
        Of the inputs.
    artifacts : sequence of `dict` or None
        Per input, mask plane to list of `stillsky.detection.SpanSet`; pixels of the coadd.
    epochCount : `stillsky.image.Image`, optional
        Inputs that differ from the static sky.
    wcs : `stillsky.wcs.SkyWcs`, optional
        Of the coadd.
    overwrite : `bool`

    Notes
    -----
    Table SPANS: input (row of the table INPUTS, from 0), plane, candidate (number of the artifact in its input and plane), y, x0,
    x1 (parent pixels, inclusive); table INPUTS: name, artifacts, pixels; image EPOCHS.
    """
    from astropy.io import fits
    from astropy.table import Table

    rows, planes, counts = [], [], []
    for k, byPlane in enumerate(artifacts):
        for plane, spanSets in (byPlane or {}).items():
            for number, spanSet in enumerate(spanSets):
                spans = np.asarray(spanSet.spans, np.int32).reshape(-1, 3)
                rows.append(np.column_stack([np.full((len(spans), 2), (k, number), np.int32), spans]))
                planes += [plane] * len(spans)
        clipped = (byPlane or {}).get("CLIPPED", ())
        counts.append((len(clipped), sum(s.area for s in clipped)))
    rows = np.concatenate(rows) if rows else np.zeros((0, 5), np.int32)
    spans = Table(dict(zip(("input", "candidate", "y", "x0", "x1"), rows.T.copy())))
    spans.add_column(np.array(planes, "U16"), name="plane", index=1)
    inputs = Table(
        {"name": list(map(str, names)), "artifacts": [c[0] for c in counts], "pixels": [c[1] for c in counts]}
    )
    hdus = [fits.PrimaryHDU(), fits.table_to_hdu(spans), fits.table_to_hdu(inputs)]
    hdus[1].name, hdus[2].name = "SPANS", "INPUTS"
    if epochCount is not None:
        header = fits.Header() if wcs is None else wcs.toHeader(tuple(epochCount.bbox.min))
        for card in originCards(epochCount.bbox.min):
            header.append(card)
        hdus.append(fits.ImageHDU(np.asarray(epochCount.array), header, name="EPOCHS"))
    writeHdus(hdus, path, overwrite)


def readArtifacts(path):
    """What `writeArtifacts` wrote.

    Returns
    -------
    artifacts : `dict` [`str`, `dict`]
        Input name to mask plane to list of `stillsky.detection.SpanSet`.

    Raises
    ------
    FitsLayoutError
        Another kind of file.
    """
    with openFits(path) as hdus, readingErrors(path):
        if "SPANS" not in hdus or "INPUTS" not in hdus:
            raise FitsLayoutError(f"{path}: wanted tables SPANS and INPUTS")
        names = [str(name) for name in hdus["INPUTS"].data["name"]]
        data = hdus["SPANS"].data
        number, plane = np.array(data["input"], np.int64), np.array(data["plane"], "U16")
        candidate = np.array(data["candidate"], np.int64)
        spans = np.column_stack([np.array(data[n], np.int32) for n in ("y", "x0", "x1")])
    found = {name: {} for name in names}
    for k, name in enumerate(names):
        for what in dict.fromkeys(plane[number == k].tolist()):
            mine = (number == k) & (plane == what)
            found[name][what] = [SpanSet(spans[mine & (candidate == c)]) for c in np.unique(candidate[mine])]
    return found


def artifactMask(bbox, byPlane):
    """A mask with the planes of one input's artifacts.

    Parameters
    ----------
    bbox : `stillsky.geom.Box2I`
    byPlane : `dict` or None

    Returns
    -------
    mask : `stillsky.image.Mask`
    """
    mask = Mask(np.zeros(bbox.shape, np.int32), bbox.min, MaskSchema.standard())
    for plane, spanSets in (byPlane or {}).items():
        mask.addPlane(plane)
        for spanSet in spanSets:
            spanSet.clipped(bbox).setMask(mask, plane)
    return mask


def writeArtifactMasks(path, names, artifacts, bbox, *, wcs=None, overwrite=False):
    """Write `artifactMask` of every input: a compressed image extension each; card INPUT has its name."""
    from astropy.io import fits

    hdus = [fits.PrimaryHDU()]
    for k, (name, byPlane) in enumerate(zip(names, artifacts, strict=True)):
        mask = artifactMask(bbox, byPlane)
        hdu = compressedMaskHdu(mask.array, maskCards(mask, wcs), f"INPUT{k + 1}")
        hdu.header["INPUT"] = str(name)
        hdus.append(hdu)
    writeHdus(hdus, path, overwrite)
