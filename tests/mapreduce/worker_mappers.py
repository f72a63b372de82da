"""Mappers of the tests; a module of its own, so that worker processes can import them."""

import lsst.pipe.base as pipeBase
import numpy as np

from stillsky.mapreduce.task import ImageMapper
from stillsky.psf import GaussianPsf


class NoisyMapper(ImageMapper):
    """A result that depends on pixels, border and place, with invalid pixels and a PSF of its own."""

    wantsCellContext = True

    def run(self, sub, expanded, box, cellIndex, seedSequence, **kwargs):
        patch = sub.copy()
        rng = np.random.default_rng(seedSequence)
        patch.image.array[...] += np.float32(np.nanmean(expanded.image.array)) + rng.normal(
            size=patch.image.array.shape
        )
        patch.variance.array[rng.random(patch.image.array.shape) < 0.02] = np.nan
        patch.mask.array[...] |= 1 << (cellIndex % 11)
        patch.info.psf = GaussianPsf(15, 15, 1.0 + 0.01 * cellIndex, averagePosition=tuple(patch.bbox.center))
        return pipeBase.Struct(subExposure=patch, index=cellIndex)


class ContextMapper(ImageMapper):
    """Draws a number."""

    wantsCellContext = True

    def run(self, sub, expanded, box, cellIndex, seedSequence, ignoreMaskPlanes, **kwargs):
        number = float(np.random.default_rng(seedSequence).random())
        return pipeBase.Struct(index=cellIndex, number=number, planes=ignoreMaskPlanes)


class MetadataMapper(ImageMapper):
    """Leaves a number in its metadata."""

    def run(self, sub, expanded, box, **kwargs):
        self.metadata.add("corner", float(sub.bbox.minX * 1000 + sub.bbox.minY))
        return super().run(sub, expanded, box)


class FailingMapper(ImageMapper):
    """Fails in some cells."""

    wantsCellContext = True

    def run(self, sub, expanded, box, cellIndex, bad, **kwargs):
        if cellIndex in bad:
            raise ZeroDivisionError(f"cell at {tuple(sub.xy0)}")
        return super().run(sub, expanded, box)


class StoppingMapper(ImageMapper):
    """Finds no work."""

    def run(self, sub, expanded, box, **kwargs):
        raise pipeBase.NoWorkFound("nothing here")


class WideMapper(ImageMapper):
    """Returns more than its expanded cell: it was told where the whole is."""

    whole = None

    def run(self, sub, expanded, box, attach=False, **kwargs):
        patch = wholeOf(sub)[sub.bbox.dilated(30).clipped(box)]
        return pipeBase.Struct(subExposure=patch, **({"inputSubExposure": sub} if attach else {}))


def wholeOf(view):
    """The exposure that a view was cut out of."""
    from stillsky.image import Exposure, Image, Mask, MaskedImage

    planes = []
    for plane in view.maskedImage.planes:
        base = plane.array.base
        while base.base is not None and isinstance(base.base, np.ndarray):
            base = base.base
        planes.append(base)
    image, mask, variance = planes
    xy0 = (0, 0)
    return Exposure(MaskedImage(Image(image, xy0), Mask(mask, xy0, view.mask.schema), Image(variance, xy0)), view.info)
