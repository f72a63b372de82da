"""Which outliers of a warp are artifacts: bad pixels, numbers of epochs, sources of the template, trails."""

from dataclasses import dataclass

import numpy as np

from ..detection import SpanSet
from ..geom import Box2I

__all__ = ["filterArtifacts", "keepTrails", "maxEpochsOfArtifact", "prefilterArtifacts", "trailShapes"]

_TRUNCATION = 1e-9  # 2 + 0.03*100 is 5, whatever the last bit of a float says


class _Pixels:
    """Every pixel of some span sets, as indices of an array over a box, and the set that each belongs to.

    Pixels outside the box are left out; `areas` counts those inside.
    """

    def __init__(self, spanSets, bbox):
        spans = [s.spans for s in spanSets]
        owner = np.repeat(np.arange(len(spans)), [len(s) for s in spans])
        rows = np.concatenate([np.zeros((0, 3), np.int32), *spans]).astype(np.int64)
        y, x0, x1 = (rows[:, i] for i in range(3))
        x0, x1 = np.maximum(x0, bbox.minX), np.minimum(x1, bbox.maxX)
        inside = (y >= bbox.minY) & (y <= bbox.maxY) & (x1 >= x0)
        y, x0, x1, owner = y[inside] - bbox.minY, x0[inside] - bbox.minX, x1[inside] - bbox.minX, owner[inside]
        widths = x1 - x0 + 1
        starts = np.cumsum(widths) - widths
        self.index = np.arange(widths.sum()) + np.repeat(y * bbox.width + x0 - starts, widths)
        self.owner = np.repeat(owner, widths)
        self.n = len(spans)
        self.areas = np.bincount(self.owner, minlength=self.n)

    def values(self, plane):
        return np.take(plane, self.index)

    def sums(self, values):
        """Sum of one value per pixel, or count of true ones, for each set."""
        return np.bincount(self.owner, weights=values, minlength=self.n)

    def insideOne(self, ids):
        """Whether all pixels of a set carry one and the same id above 0."""
        found = self.values(ids)
        low, high = np.full(self.n, np.iinfo(np.int64).max), np.zeros(self.n, np.int64)
        np.minimum.at(low, self.owner, found)
        np.maximum.at(high, self.owner, found)
        return (low == high) & (high > 0)


def prefilterArtifacts(spanSets, exposure, config):
    """Drop candidates that lie mostly on bad pixels.

    Parameters
    ----------
    spanSets : sequence of `stillsky.detection.SpanSet`
    exposure : `stillsky.image.Exposure`, `MaskedImage` or `Mask`
        Whose mask tells bad pixels.
    config : `ArtifactFields`
        ``prefilterArtifactsMaskPlanes`` (planes that the mask lacks are ignored), ``prefilterArtifactsRatio``.

    Returns
    -------
    kept : `list` of `SpanSet`
        Those whose good part exceeds the ratio. The part outside the image does not count (``compat``: as bad).
    """
    return [spanSets[i] for i in np.flatnonzero(mostlyGood(spanSets, getattr(exposure, "mask", exposure), config))]


def mostlyGood(spanSets, mask, config):
    """Boolean array: which of the artifacts `prefilterArtifacts` keeps."""
    bits = mask.bitmask(list(config.prefilterArtifactsMaskPlanes), ignoreMissing=True)
    pixels = _Pixels(spanSets, mask.bbox)
    good = pixels.sums((pixels.values(mask.array) & bits) == 0)
    area = np.array([s.area for s in spanSets]) if config.compat else pixels.areas
    return good > config.prefilterArtifactsRatio * area


def maxEpochsOfArtifact(nEpochs, config):
    """Epochs in which an artifact may be seen at one place.

    Parameters
    ----------
    nEpochs : array_like
        Mean number of epochs that the pixels of a candidate have.
    config : `ArtifactFields`

    Returns
    -------
    maxN : `numpy.ndarray` of int64
        ``min(maxFractionEpochsLow*n, maxNumEpochs + maxFractionEpochsHigh*n)`` without its fraction: 0 for two epochs,
        1 for three, 2 from five, by default.
    """
    nEpochs = np.asarray(nEpochs, float)
    few = config.maxFractionEpochsLow * nEpochs
    many = config.maxNumEpochs + config.maxFractionEpochsHigh * nEpochs
    return np.floor(np.minimum(few, many) + _TRUNCATION).astype(np.int64)


def filterArtifacts(spanSets, epochCountImage, nImage, config, footprintsToExclude=None, bbox=None):
    """Keep the candidates that few epochs show, unless they lie inside one source of the template.

    Parameters
    ----------
    spanSets : sequence of `stillsky.detection.SpanSet`
        Candidates of one epoch.
    epochCountImage, nImage : `stillsky.image.Image` or `numpy.ndarray`, (h, w), integers
        Epochs with a candidate at each pixel, and epochs with good data.
    config : `ArtifactFields`
    footprintsToExclude : `stillsky.detection.FootprintSet` or `numpy.ndarray`, (h, w), optional
        Sources of the template, or the image of their ids (`FootprintSet.toIdImage`).
    bbox : `stillsky.geom.Box2I`, optional
        Of the images; default: their own, plain arrays begin at (0, 0).

    Returns
    -------
    kept : `list` of `SpanSet`
        Those whose count lies between 1 and `maxEpochsOfArtifact` on more than ``spatialThreshold`` of their pixels.
    """
    bbox = _boxOf(epochCountImage) if bbox is None else bbox
    epochs, number = (getattr(plane, "array", plane) for plane in (epochCountImage, nImage))
    return [spanSets[i] for i in np.flatnonzero(fewEpochs(spanSets, epochs, number, config, footprintsToExclude, bbox))]


def fewEpochs(spanSets, epochs, number, config, exclude, bbox):
    """The rule of `filterArtifacts` as a boolean for each candidate."""
    if not len(spanSets):
        return np.zeros(0, bool)
    pixels = _Pixels(spanSets, bbox)
    area = np.maximum(pixels.areas, 1)
    most = maxEpochsOfArtifact(pixels.sums(pixels.values(number)) / area, config)
    count = pixels.values(epochs)
    keep = pixels.sums((count > 0) & (count <= most[pixels.owner])) / area > config.spatialThreshold
    if exclude is not None:
        keep &= ~pixels.insideOne(_idImage(exclude))
    return keep


def _idImage(footprints):
    return footprints.toIdImage() if hasattr(footprints, "toIdImage") else footprints


def _boxOf(plane):
    if hasattr(plane, "bbox"):
        return plane.bbox
    return Box2I((0, 0), (plane.shape[1], plane.shape[0]))


@dataclass(frozen=True)
class TrailShape:
    """Length and mean width (pixels) of a region taken for a straight band of even brightness."""

    length: float
    width: float


def trailShapes(spanSet):
    """Length and width of a region from its second moments.

    A band of length L and width W has second moments L^2/12 and W^2/12 along its axes. A bent region is wider by its
    moments than by its area: the larger width counts.

    Parameters
    ----------
    spanSet : `stillsky.detection.SpanSet`

    Returns
    -------
    shape : `TrailShape`
    """
    xx, yy, xy = spanSet.shape
    mean, split = 0.5 * (xx + yy), np.hypot(0.5 * (xx - yy), xy)
    length = np.sqrt(12 * (mean + split) + 1)
    return TrailShape(float(length), float(max(spanSet.area / length, np.sqrt(max(0.0, 12 * (mean - split))))))


def isTrail(spanSet, config):
    """Whether a candidate is long and thin."""
    if spanSet.area < config.trailLength:
        return False
    shape = trailShapes(spanSet)
    return shape.length >= config.trailLength and shape.length >= config.trailElongation * shape.width


def keepTrails(trails, positives, nImage, config, footprintsToExclude=None, bbox=None):
    """Trails that are artifacts although many epochs have candidates at their pixels.

    Each trail is judged as a whole: an epoch repeats it when its positive candidates cover ``trailOverlap`` of it.
    Trails that cross it do not.

    Parameters
    ----------
    trails : sequence of `stillsky.detection.SpanSet`
        Long thin positive candidates that `filterArtifacts` did not keep.
    positives : sequence of `SpanSet`
        All positive candidates of each epoch, the trails' own among them.
    nImage, config, footprintsToExclude, bbox
        As for `filterArtifacts`.

    Returns
    -------
    kept : `list` of `SpanSet`
        Those repeated in at most `maxEpochsOfArtifact` epochs; once is allowed always.
    """
    if not len(trails):
        return []
    bbox = _boxOf(nImage) if bbox is None else bbox
    pixels = _Pixels(trails, bbox)
    number = pixels.sums(pixels.values(getattr(nImage, "array", nImage))) / np.maximum(pixels.areas, 1)
    most = np.maximum(1, maxEpochsOfArtifact(number, config))
    keep = np.array([_repeats(t, positives, config.trailOverlap) for t in trails]) <= most
    if footprintsToExclude is not None:
        keep &= ~pixels.insideOne(_idImage(footprintsToExclude))
    return [trails[i] for i in np.flatnonzero(keep)]


def _repeats(trail, positives, overlap):
    box = trail.bbox
    return sum(trail.intersect(p.clipped(box)).area >= overlap * trail.area for p in positives)


def joined(spanSets):
    """The union of some sets."""
    return SpanSet(np.concatenate([np.zeros((0, 3), np.int32), *(s.spans for s in spanSets)]))
