"""Kernel candidates found by thresholding one of two registered images, without a catalogue."""

from ..detection import Footprint, FootprintSet, SpanSet, Threshold
from ..errors import NoDataError, ShapeError
from ..geom import Box2I
from .candidates_selection import combinedBits

__all__ = ["KernelCandidateDetection"]


class KernelCandidateDetection:
    """Footprints of bright objects that both images show undamaged.

    Parameters
    ----------
    config : `DetectionConfig`
        Threshold (``detThreshold``, ``detThresholdType``) on the template (``detOnTemplate``) or the science image;
        footprints of fewer than ``fpNpixMin`` pixels are dropped, those of more than ``fpNpixMax`` replaced by their
        central pixel; all are grown by ``fpGrowPix`` pixels in Manhattan distance.
    """

    def __init__(self, config):
        self.config = config
        self.footprints = []

    def apply(self, template, science):
        """Find candidates.

        Parameters
        ----------
        template, science : `stillsky.image.MaskedImage`
            On one grid, of equal box, background subtracted. Not modified.

        Returns
        -------
        footprints : `list` [`stillsky.detection.Footprint`]
            Grown; also kept as ``footprints``.

        Raises
        ------
        ShapeError
            The images have different boxes.
        NoDataError
            No footprint is left.
        """
        if template.bbox != science.bbox:
            raise ShapeError(f"KernelCandidateDetection: wanted equal boxes, got {template.bbox} and {science.bbox}")
        config = self.config
        threshold = Threshold(config.detThreshold, config.detThresholdType)
        searched = template if config.detOnTemplate else science
        found = FootprintSet.detect(searched, threshold, "", config.fpNpixMin)
        grown = [self._grown(footprint) for footprint in found]
        self.footprints = [footprint for footprint in grown if self._isClean(footprint.bbox, template, science)]
        if not self.footprints:
            raise NoDataError(
                "no object is fit to be a kernel candidate",
                found=f"{len(grown)} objects above {config.detThreshold} ({config.detThresholdType})",
                remedy="a lower detThreshold, a smaller fpGrowPix, or fewer badMaskPlanes",
            )
        return self.footprints

    def _grown(self, footprint):
        if footprint.area > self.config.fpNpixMax:
            center = footprint.bbox.center
            footprint = _onePixel(int(center.x), int(center.y), footprint)
        return footprint.dilated(self.config.fpGrowPix, "manhattan")

    def _isClean(self, box, template, science):
        if not template.bbox.contains(box):
            return False
        return all(
            combinedBits(image.mask, box) & image.mask.bitmask(list(self.config.badMaskPlanes), ignoreMissing=True) == 0
            for image in (template, science)
        )


def _onePixel(x, y, footprint):
    """A footprint of the pixel alone, without peaks, in the same region."""
    return Footprint(SpanSet.fromBox(Box2I((x, y), (1, 1))), region=footprint.region)
