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
            f"convolved {self.convolved}; kernel sum {self.metadata['spatialKernelSum']:.5g}; "
            f"sky chi {self.metadata['skyChi']:.3f}; {self.metadata['nGoodCandidates']} stars; "
            f"{sum(self.timings.values()):.1f} s"
        )

    def write(self, prefix, *, overwrite=False, compress="none", summary=True, picture=True):
        """Write the files of the command line.

        Parameters
        ----------
        prefix : `str`
            Files are ``prefix.diff.fits``, ``prefix.matched.fits``, ``prefix.kernel.fits``, ``prefix.json`` and
            ``prefix.png``. Each appears complete or not at all.
        overwrite : `bool`
            Replace existing files; otherwise FileExistsError before anything is written.
        compress : {"none", "lossless", "lossy"}
            Of the two exposures.
        summary, picture : `bool`
            Whether to write the JSON summary and the picture.

        Returns
        -------
        written : `list` [`str`]
        """
        from pathlib import Path

        from ..fits import writeExposure, writeKernel

        names = [f"{prefix}{suffix}" for suffix in (".diff.fits", ".matched.fits", ".kernel.fits")]
        extra = [f"{prefix}.json"] * summary + [f"{prefix}.png"] * picture
        present = [name for name in names + extra if Path(name).exists()]
        if present and not overwrite:
            raise FileExistsError(f"output exists already: {', '.join(present)}")
        writeExposure(self.difference, names[0], overwrite=overwrite, compress=compress)
        writeExposure(self.matchedTemplate, names[1], overwrite=overwrite, compress=compress)
        writeKernel(self.kernel, names[2], self.background, convolved=self.convolved, overwrite=overwrite)
        if summary:
            self._writeSummary(f"{prefix}.json", names + extra)
        if picture:
            from ..report import savePng, subtractFigure

            savePng(subtractFigure(self), f"{prefix}.png")
        return names + extra

    def _writeSummary(self, path, products):
        import json

        from .._version import __version__

        document = {
            "version": __version__,
            "convolved": self.convolved,
            "metadata": self.metadata,
            "decisions": self.decisions,
            "warnings": [{"code": code, "message": sentence} for code, sentence in self.warnings],
            "timings": self.timings,
            "products": products,
        }
        with open(path, "w", encoding="utf-8") as stream:
            json.dump(_finite(document), stream, indent=2, allow_nan=False)
            stream.write("\n")

    def __str__(self):
        lines = [f"SubtractResult: {self.summary()}"]
        lines += [f"  {sentence}" for sentence in self.decisions]
        lines += [f"  {code}: {sentence}" for code, sentence in self.warnings]
        return "\n".join(lines)

    def _repr_html_(self):
        from html import escape

        rows = "".join(f"<tr><td>{escape(sentence)}</td></tr>" for sentence in self.decisions)
        return f"<table><tr><th>{escape(self.summary())}</th></tr>{rows}</table>"


def _finite(value):
    """The same document with NaN and infinity, which JSON lacks, as null."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value - value != 0:
        return None
    return value
