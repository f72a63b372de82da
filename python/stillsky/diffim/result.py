"""What a subtraction returns."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["SubtractResult"]


@dataclass
class SubtractResult:
    """Products of one subtraction, all in memory.

    Attributes
    ----------
    difference : `stillsky.image.Exposure`
        Science minus template, in science units, with mask, variance, WCS and PSF.
    matchedTemplate : `stillsky.image.Exposure`
        The convolved template; when the science image was convolved, the template itself on the science grid.
    science : `stillsky.image.Exposure`
        The science image as it was used.
    kernel : `stillsky.kernel.LinearCombinationKernel`
        Matching kernel; ``kernel.imageAt(x, y)`` gives its pixels at a position.
    background : `stillsky.kernel.Function2`
        Differential background in the units of the image that was not convolved.
    convolved : `str`
        ``"template"`` or ``"science"``.
    candidates : `astropy.table.Table`
        One row for each star offered to the fit: position, status, kernel sum, residuals.
    metadata : `dict`
        Numbers that describe the fit and its quality; names as in Rubin's task metadata where these exist.
    decisions : `list` [`str`]
        Automatic choices, in words.
    warnings : `list` [(`str`, `str`)]
        Code and sentence.
    timings : `dict`
        Seconds by stage.
    """

    difference: Any
    matchedTemplate: Any
    science: Any
    kernel: Any
    background: Any
    convolved: str
    candidates: Any
    metadata: dict
    decisions: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    timings: dict = field(default_factory=dict)

    def summary(self):
        """One line: what was convolved, kernel sum, sky chi, time."""
        return (
            f"convolved {self.convolved}; kernel sum {self.metadata['spatialKernelSum']:.4f}; "
            f"sky chi {self.metadata['skyChi']:.3f}; {self.metadata['nGoodCandidates']} stars; "
            f"{sum(self.timings.values()):.1f} s"
        )

    def __str__(self):
        lines = [f"SubtractResult: {self.summary()}"]
        lines += [f"  {sentence}" for sentence in self.decisions]
        lines += [f"  {code}: {sentence}" for code, sentence in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self):
        from html import escape

        rows = "".join(f"<tr><td>{escape(sentence)}</td></tr>" for sentence in self.decisions)
        return f"<table><tr><th>{escape(self.summary())}</th></tr>{rows}</table>"
