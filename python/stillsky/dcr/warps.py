"""Warps of visits as the pixels and bits that the solvers read."""

from dataclasses import dataclass

import numpy as np

from ..errors import DomainError, MismatchError, StillskyError
from ..fits.scratch import raiseFaultOfMachine
from ..geom import Box2I
from ..image import HandleReader
from .apply import splitShifts
from .engine import DcrVisit, packBits

__all__ = ["UsedVisit", "WarpReader", "readVisits"]

_BAND_ROWS = 512


class WarpReader(HandleReader):
    """Pixels of a warp, whole or by boxes.

    Parameters
    ----------
    thing : `stillsky.image.Exposure` or handle
        A handle has ``get(component=None, parameters={"bbox": box})`` and ``dataId``.
    name : `str`
    """

    def __init__(self, thing, name=""):
        super().__init__(thing)
        self.name = name or _nameOf(thing, getattr(thing, "dataId", None))


def _nameOf(thing, dataId):
    if dataId is not None:
        try:
            return str(dataId["visit"])
        except (KeyError, TypeError):
            pass
    info = getattr(thing, "visitInfo", None)
    return str(info.id) if info is not None and info.id is not None else ""


@dataclass
class UsedVisit:
    """One visit of a DCR coadd, for tables and reports.

    Attributes
    ----------
    index : `int`
        In the list of warps given.
    name : `str`
    weight : `float`
    airmass, elevation, parallacticAngle : `float`
        Of the patch; degrees where angles.
    maxShift : `float`
        Pixels.
    notes : `tuple` [`str`]
        What was assumed.
    """

    index: int
    name: str
    weight: float
    airmass: float
    elevation: float
    parallacticAngle: float
    maxShift: float
    notes: tuple = ()


def readVisits(warps, model, config, *, weights=None, prepareMask=None, scalers=None, strict=False, exact=True):
    """Bits and shifts of all warps over the box of a model.

    Parameters
    ----------
    warps : sequence of exposures or handles
        On the model's pixel grid; pixels they lack count as bad.
    model : `stillsky.dcr.DcrModel`
    config : `stillsky.dcr.config.DcrConfig`
    weights : sequence of `float`, optional
    prepareMask : callable, optional
        ``prepareMask(index, mask)`` changes the mask of a warp, of any box, in place.
    scalers : sequence, optional
        With ``scaleMaskedImage(maskedImage)``, or None.
    strict : `bool`
        A warp that cannot be used is an error; else it is left out.
    exact : `bool`
        Bring residuals back by the adjoint of the whole forward model; else by one shift per subfilter.

    Returns
    -------
    visits : `list` of `stillsky.dcr.engine.DcrVisit`
        Without ``score``.
    planes : `list` of `numpy.ndarray`
        Packed bits of the convergence planes of each visit's mask.
    used : `list` of `UsedVisit`
    skipped : `list` of (`str`, `str`)
        Names and reasons.

    Notes
    -----
    Pixels of warps in memory are used where they lie if they are float32 and cover the box; those of handles are kept when
    they fit ``config.memory`` together, and else read again in each pass.
    """
    readers = [WarpReader(thing) for thing in warps]
    weights = np.ones(len(readers)) if weights is None else np.asarray(weights, float)
    if len(weights) != len(readers):
        raise DomainError(f"weights: wanted {len(readers)}, given {len(weights)}")
    handles = sum(not r.isExposure for r in readers)
    keep = 4 * model.bbox.area * handles <= config.memory
    visits, planes, used, skipped = [], [], [], []
    for i, (reader, weight) in enumerate(zip(readers, weights, strict=True)):
        try:
            scaler = scalers[i] if scalers is not None else None
            visit, bits, record = _readVisit(i, reader, weight, model, config, prepareMask, scaler, keep, exact)
        except (StillskyError, OSError) as error:
            raiseFaultOfMachine(error)
            if strict:
                raise
            skipped.append((reader.name or f"warp {i}", str(error)))
            continue
        visits.append(visit)
        planes.append(bits)
        used.append(record)
    return visits, planes, used, skipped


def _readVisit(index, reader, weight, model, config, prepareMask, scaler, keep, exact):
    info = reader.component("visitInfo")
    if info is None:
        raise MismatchError("the warp has no visitInfo: its airmass and the direction of the zenith are unknown")
    single = model.shifts(info)
    pairs = model.shifts(info, splitSubfilters=True) if config.splitSubfilters else None
    rule = "reference" if config.compat else "default"
    forward = [[tuple(s)] for s in single] if pairs is None else [
        splitShifts(pair, config.splitThreshold, rule) for pair in pairs
    ]  # fmt: skip
    pointing = single.pointing
    airmass = info.boresightAirmass
    if not np.isfinite(airmass):
        airmass = 1 / np.sin(pointing.elevation)
    if not (np.isfinite(weight) and weight > 0):
        raise DomainError(f"the weight of the warp is {weight}")
    if config.doAirmassWeight:
        weight = weight * airmass
    image, good, bits = _readPixels(index, reader, model.bbox, config, prepareMask, scaler, keep)
    backward = forward if exact else [[tuple(s)] for s in single]
    visit = DcrVisit(image, good, forward, backward, None, float(weight), reader.name or f"warp {index}")
    record = UsedVisit(index, visit.name, float(weight), float(airmass), float(np.degrees(pointing.elevation)),
                       float(np.degrees(pointing.parallacticAngle)), single.maxShift, single.notes)  # fmt: skip
    return visit, bits, record


def _readPixels(index, reader, bbox, config, prepareMask, scaler, keep):
    """Image (array or function of rows), packed good bits, packed bits of the convergence planes."""
    whole = reader.component("bbox")
    inside = bbox.clipped(whole)
    if inside.isEmpty:
        raise MismatchError("the warp does not overlap the patch", found=f"warp {whole}, patch {bbox}")
    shape = bbox.shape
    plain = reader.isExposure and scaler is None and inside == bbox
    image = None
    if not plain and (keep or reader.isExposure):
        image = np.full(shape, np.nan, np.float32)
    good = np.zeros((shape[0], (shape[1] + 7) // 8), np.uint8)
    planes = np.zeros_like(good)
    for begin in range(0, shape[0], _BAND_ROWS):
        box = Box2I((bbox.minX, bbox.minY + begin), (bbox.width, min(_BAND_ROWS, shape[0] - begin))).clipped(inside)
        if box.isEmpty:
            continue
        exposure = reader.box(box)
        mask = exposure.mask
        if prepareMask is not None:
            mask = mask.copy()
            prepareMask(index, mask)
        pixels = _scaled(exposure, scaler)
        flags = np.zeros((2, box.height, shape[1]), bool)
        columns = slice(box.minX - bbox.minX, box.minX - bbox.minX + box.width)
        bad = mask.bitmask(list(config.badMaskPlanes), ignoreMissing=True)
        flags[0][:, columns] = np.isfinite(pixels) & ((mask.array & bad) == 0)
        flags[1][:, columns] = mask.isSet(list(config.convergenceMaskPlanes))
        rows = slice(box.minY - bbox.minY, box.minY - bbox.minY + box.height)
        good[rows], planes[rows] = packBits(flags[0]), packBits(flags[1])
        if image is not None:
            image[rows, columns] = pixels
    if not good.any():
        raise MismatchError("no pixel of the warp is good")
    if plain:
        image = np.require(reader.thing.image.array, np.float32, ["ALIGNED"])
        if image.strides[1] != 4:
            image = np.ascontiguousarray(image)
    elif image is None:
        image = _rowReader(reader, bbox, inside, scaler)
    return image, good, planes


def _scaled(exposure, scaler):
    """Pixels of an exposure, scaled where there is a scaler."""
    if scaler is None:
        return exposure.image.array
    pixels = exposure.maskedImage.copy()
    scaler.scaleMaskedImage(pixels)
    return pixels.image.array


def _rowReader(reader, bbox, inside, scaler):
    """Function of (first row, end row) that reads these rows."""

    def rows(begin, end):
        out = np.full((end - begin, bbox.width), np.nan, np.float32)
        box = Box2I((bbox.minX, bbox.minY + begin), (bbox.width, end - begin)).clipped(inside)
        if not box.isEmpty:
            out[box.slices((bbox.minX, bbox.minY + begin))] = _scaled(reader.box(box), scaler)
        return out

    return rows
