"""What is done to the pixels of a warp before they are combined: names of mask bits, cleared planes, artifacts, scale."""

from dataclasses import dataclass, field

import numpy as np

from ..detection import SpanSet
from ..image import Image, Mask, MaskedImage

__all__ = ["PixelChange", "applyAltMaskPlanes", "pixelChange"]


def applyAltMaskPlanes(mask, altMaskSpans, clearPlanes=()):
    """Set planes of a mask on spans, adding planes that it lacks.

    Parameters
    ----------
    mask : `stillsky.image.Mask`
        Changed in place.
    altMaskSpans : mapping of `str` to (iterable of) `stillsky.detection.SpanSet`
        Plane to where it is to be set, clipped to the mask.
    clearPlanes : iterable of `str`
        Planes that are first cleared where ``altMaskSpans["NO_DATA"]`` is: what is masked there counts as absent, not as
        rejected.

    Returns
    -------
    mask : `stillsky.image.Mask`
        The argument.
    """
    for plane in altMaskSpans:
        mask.addPlane(plane)
    noData = altMaskSpans.get("NO_DATA")
    if clearPlanes and noData is not None:
        bits = mask.bitmask(list(clearPlanes), ignoreMissing=True)
        for spans in _spanSets(noData):
            spans.clipped(mask.bbox).clearMask(mask, bits)
    for plane, several in altMaskSpans.items():
        bit = mask.bitmask(plane)
        for spans in _spanSets(several):
            spans.clipped(mask.bbox).setMask(mask, bit)
    return mask


def _spanSets(several):
    return [several] if isinstance(several, SpanSet) else several


def _joined(altMaskSpans):
    """One span set per plane: clipping one large set to a band is quick, testing thousands of small ones is not."""
    joined = {}
    for plane, several in altMaskSpans.items():
        sets = list(_spanSets(several))
        joined[plane] = sets[0] if len(sets) == 1 else SpanSet([span for s in sets for span in s.spans])
    return joined


@dataclass
class PixelChange:
    """Callable for `stillsky.coadd.bands.BandInput`; see `pixelChange`."""

    schema: object
    moves: list = field(default_factory=list)
    removed: int = 0
    altMask: dict = field(default_factory=dict)
    clearPlanes: tuple = ()
    scaler: object = None
    keepBits: int = -1

    def __call__(self, image, mask, variance, box):
        """Changed pixels of a box: new arrays where something changes, native byte order."""
        mask = mask.astype(np.int32)
        if self.moves:
            old, mask = mask, np.zeros_like(mask)
            for bit, target in self.moves:
                mask |= ((old >> bit) & 1) << target
        elif self.keepBits != -1:
            mask &= np.int32(self.keepBits)
        if self.altMask:
            applyAltMaskPlanes(Mask(mask, box.min, self.schema), self.altMask, self.clearPlanes)
        if self.removed:
            mask &= np.int32(~self.removed)
        if self.scaler is None:
            return image.astype(image.dtype.newbyteorder("=")), mask, variance.astype(np.float32)
        pixels = MaskedImage(
            Image(image.astype(image.dtype.newbyteorder("=")), box.min),
            Mask(mask, box.min, self.schema),
            Image(variance.astype(np.float32), box.min),
        )
        self.scaler.scaleMaskedImage(pixels)
        return pixels.image.array, pixels.mask.array, pixels.variance.array


def pixelChange(
    warpSchema, schema, *, removePlanes=(), altMaskSpans=None, clearPlanes=(), scaler=None, hasUnnamed=False
):
    """What must be done to the pixels of a warp.

    Parameters
    ----------
    warpSchema, schema : `stillsky.image.MaskSchema`
        Of the warp and of the coadd, which has all planes of the warp and of ``altMaskSpans``.
    removePlanes : iterable of `str`
        Planes that are cleared; unknown ones are passed over.
    altMaskSpans, clearPlanes
        As for `applyAltMaskPlanes`.
    scaler : object with ``scaleMaskedImage``, optional
    hasUnnamed : `bool`
        Whether bits without a name may be set, which are dropped.

    Returns
    -------
    change : `PixelChange` or None
        None when nothing is to be done: pixels are then combined where they are, without a copy.
    """
    same = all(schema[name] == bit for name, bit in warpSchema.items())
    altMask = _joined(altMaskSpans or {})
    known = {*warpSchema, *altMask}
    removed = schema.bitmask([name for name in removePlanes if name in known])
    if same and not removed and not altMask and scaler is None and not hasUnnamed:
        return None
    moves = [] if same else [(bit, schema[name]) for name, bit in warpSchema.items()]
    keep = schema.bitmask(list(warpSchema)) if hasUnnamed else -1
    return PixelChange(schema, moves, removed, altMask, tuple(clearPlanes), scaler, keep)
