"""The error of a kernel fit that runs out of stars."""

from ..errors import NoDataError

__all__ = ["NoKernelCandidatesError"]


class NoKernelCandidatesError(NoDataError):
    """No kernel candidate is left to fit.

    Attributes
    ----------
    metadata : dict
        What was known when the fit was given up.
    """

    def __init__(self, *args):
        super().__init__(*args)
        self.metadata = {}
