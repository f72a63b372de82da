"""What detection on a difference image can fail with; algorithms flag these, pipeline tasks raise them."""

from ..detection.cosmic_rays import CosmicRayLimitError
from ..errors import NoDataError, StillskyError

__all__ = ["BadSubtractionError", "NoDiaSourcesError", "TooManyCosmicRays"]


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


class TooManyCosmicRays(CosmicRayLimitError):
    """More pixels of the difference look like cosmic rays than may; the image is as it was before the search.

    Attributes
    ----------
    metadata : dict
        maxCosmicRays: the limit.
    background : Background or None
        What had been subtracted from the difference before.
    """

    def __init__(self, *args, metadata=None, background=None, **parts):
        super().__init__(*args, **parts)
        self.metadata = dict(metadata or {})
        self.background = background
