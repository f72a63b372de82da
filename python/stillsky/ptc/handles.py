"""Exposures that are read when they are wanted: what the extraction takes instead of a list of images in memory."""

from ..errors import DomainError, NotFoundError

__all__ = ["ExposureHandle", "asHandle"]

_COMPONENTS = ("visitInfo", "metadata", "detector", "bbox")


class ExposureHandle:
    """An exposure, or the recipe to read one, with the part of it that is known without reading pixels.

    Parameters
    ----------
    source : `stillsky.image.Exposure` or callable
        A callable returns the exposure, afresh for each call.
    visitInfo, metadata, detector : optional
        Given for a callable, they spare reading pixels when flats are paired.

    Notes
    -----
    A handle keeps no pixels that its source does not keep. Deferred handles of a butler have the same verb.
    """

    def __init__(self, source, *, visitInfo=None, metadata=None, detector=None):
        self._source = source
        self._known = {"visitInfo": visitInfo, "metadata": metadata, "detector": detector}

    def get(self, *, component=None):
        """The exposure, or one of its components.

        Raises
        ------
        NotFoundError
            Unknown component.
        """
        if component is None:
            return self._source() if callable(self._source) else self._source
        if component not in _COMPONENTS:
            raise NotFoundError(f"exposure component: wanted one of {', '.join(_COMPONENTS)}, given {component!r}")
        if self._known.get(component) is None:
            self._known[component] = getattr(self.get(), component)
        return self._known[component]

    def __repr__(self):
        return f"ExposureHandle({self._source!r})"


def asHandle(item):
    """A handle of anything: handles stay, exposures and callables become handles.

    Raises
    ------
    DomainError
        It is none of these.
    """
    if hasattr(item, "get") and not hasattr(item, "image"):
        return item
    if hasattr(item, "image") or callable(item):
        return ExposureHandle(item)
    raise DomainError(f"flats: wanted exposures, or handles with get(component=...), given {type(item).__name__}")
