"""What detection on a difference image can fail with; algorithms flag these, pipeline tasks raise them."""

from ..errors import NoDataError, StillskyError

__all__ = ["BadSubtractionError", "NoDiaSourcesError"]


class BadSubtractionError(StillskyError):
    """The kernel stars leave more than they should.

    Attributes
    ----------
    metadata : dict
        ratio, ratioThreshold, variation, variationThreshold.
    """

    def __init__(self, *args, metadata=None, **parts):
        super().__init__(*args, **parts)
        self.metadata = dict(metadata or {})


class NoDiaSourcesError(NoDataError):
    """No source of the difference image is left; `metadata` has the counts."""

    def __init__(self, *args, metadata=None, **parts):
        super().__init__(*args, **parts)
        self.metadata = dict(metadata or {})
