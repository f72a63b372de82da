"""Exposures behind handles (`lsst.daf.butler.DeferredDatasetHandle` and what looks like it), read by components and boxes."""

from ..errors import StillskyError

__all__ = ["READ_ERRORS", "HandleReader"]

#: What a dataset or file raises that cannot be read; anything else is a defect of the code that reads.
READ_ERRORS = (StillskyError, OSError, EOFError, ValueError, TypeError, LookupError, RuntimeError)

#: What handles raise that have no components or boxes: an unknown name, or no storage class (LookupError), no delegate, or no
#: such argument (TypeError), a delegate that does not know the component (AttributeError) or parameters (ValueError).
_NOT_OFFERED = (LookupError, TypeError, AttributeError, ValueError, NotImplementedError)


class HandleReader:
    """Components and boxes of an exposure, without its other pixels where the handle can do that.

    Parameters
    ----------
    thing : `stillsky.image.Exposure` or handle
        A handle has ``get(component=None, parameters=None)``; of one that offers no components or no boxes the whole
        exposure is read, once, when one is asked for.
    """

    def __init__(self, thing):
        self.thing = thing
        self.isExposure = hasattr(thing, "maskedImage")
        self._whole = thing if self.isExposure else None

    @property
    def whole(self):
        """The whole exposure, where it has been read or was given; else None."""
        return self._whole

    def component(self, name):
        """wcs, bbox, psf, visitInfo, or another attribute of exposures."""
        if self._whole is None:
            try:
                return self.thing.get(component=name)
            except _NOT_OFFERED:
                self._whole = self.thing.get()
        return getattr(self._whole, name)

    def box(self, bbox):
        """Exposure over a box, which is inside it."""
        if self._whole is None:
            try:
                return self.thing.get(parameters={"bbox": bbox})
            except _NOT_OFFERED:
                self._whole = self.thing.get()
        return self._whole if self._whole.bbox == bbox else self._whole[bbox]
