"""What a subtraction, and a fit of the matching kernel alone, return."""

import errno
import os
import shutil
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

__all__ = ["MatchResult", "SubtractResult", "candidateTable"]

_CANDIDATE_COLUMNS = {  # name: (unit, description)
    "id": (None, "number of the candidate"),
    "x": ("pix", "position, parent pixels"),
    "y": ("pix", "position, parent pixels"),
    "rating": (None, "rank in its cell; by default the signal-to-noise ratio in the science image"),
    "status": (None, "GOOD, BAD, or UNKNOWN where the candidate was never needed"),
    "rejection": (None, "reason of a rejection, or none"),
    "rejectionText": (None, "the same in words"),
    "usedInFit": (None, "carries the final fit"),
    "kernelSum": (None, "sum of its own kernel"),
    "kernelSumError": (None, "formal error of that sum"),
    "background": (None, "its own differential background, in units of the image that was matched to"),
    "chi2": (None, "variance of the residual of its own kernel, in units of the noise"),
    "singleMean": (None, "mean residual of its own kernel over the noise"),
    "singleRms": (None, "standard deviation of that residual"),
    "spatialMean": (None, "mean residual of the final kernel over the noise"),
    "spatialRms": (None, "standard deviation of that residual"),
    "looMean": (None, "mean residual over the noise of the kernel fitted without this candidate"),
    "looRms": (None, "standard deviation of that residual"),
    "looChi2": (None, "mean square of that residual"),
}


@dataclass(repr=False)
class MatchResult:
    """A matching kernel and what led to it.

    Attributes
    ----------
    kernel, background, convolved, candidates, metadata, decisions, warnings, timings
        As of `SubtractResult`. The metadata lack what only a difference image tells (sky chi).
    sciencePsf, templatePsf : `stillsky.psf.Psf`
        PSFs of the files, or measured.
    """

    kernel: Any
    background: Any
    convolved: str
    candidates: Any
    metadata: dict
    decisions: list = field(default_factory=list)
    warnings: list = field(default_factory=list)
    timings: dict = field(default_factory=dict)
    sciencePsf: Any = None
    templatePsf: Any = None

    def summary(self):
        """One line: whose kernel, its sum, stars, time."""
        return (
            f"kernel of the {self.convolved}; sum {self.metadata['spatialKernelSum']:.5g}; "
            f"{self.metadata['nGoodCandidates']} stars; {sum(self.timings.values()):.1f} s"
        )

    def __str__(self):
        lines = [f"{type(self).__name__}: {self.summary()}"]
        lines += [f"  {sentence}" for sentence in self.decisions]
        lines += [f"  {code}: {sentence}" for code, sentence in self.warnings]
        return "\n".join(lines)

    def __repr__(self):
        return f"<{type(self).__name__}: {self.summary()}>"


@dataclass(repr=False)
class SubtractResult:
    """Products of one subtraction, all in memory.

    Attributes
    ----------
    difference : `stillsky.image.Exposure`
        Science minus template, in science units, with mask, variance, WCS and PSF.
    matchedTemplate : `stillsky.image.Exposure`
        The convolved template; when the science image was convolved, the template itself on the science grid, on its
        own flux scale. Without the differential background (card BKGADDED = F), which `write` adds to its file (T):
        there it is the template as it was subtracted, so that science minus it is the difference before the
        decorrelation. With the science image convolved, the convolved science image minus it is that difference times
        the kernel sum (card KSUM of the difference).
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
        ``methodComparison``: forecasts of both methods and which is the better one, see
        `stillsky.diffim.method_comparison.compareMethods`.
    decisions : `list` [`str`]
        Automatic choices, in words.
    warnings : `list` [(`str`, `str`)]
        Code and sentence.
    timings : `dict`
        Seconds by stage.
    warpedTemplate : `stillsky.image.Exposure` or `None`
        The template on the science grid, before the matching; only when asked for.
    score : `stillsky.image.Exposure` or `None`
        Matched-filter image with its variance; only with the methods "zogy" and "al-preconv".
    significance : `stillsky.image.Image`, object with ``scoreCorr``, or `None`
        What `scoreCorr` is taken from.
    sources : `astropy.table.Table` or `None`
        What the difference shows, by increasing id; columns as `stillsky.diffim.sourceSchema` describes. None when no
        detection was wanted.
    footprints : `stillsky.detection.FootprintSet` or `None`
        One for each row of the sources.
    glints : `stillsky.diffim.GlintTrails` or `None`
        Sources in a row.
    covariance : `stillsky.diffim.noise_covariance.NoiseCovariance` or `None`
        How the noise of neighbouring pixels of the difference is correlated, an HDU of its file. Only when asked for.
    injected, efficiency : `astropy.table.Table` or `None`
        Planted sources, and how completely they are found; see `stillsky.diffim.injection`. Only when asked for.
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
    warpedTemplate: Any = None
    score: Any = None
    significance: Any = None
    sources: Any = None
    footprints: Any = None
    glints: Any = None
    covariance: Any = None
    injected: Any = None
    efficiency: Any = None

    @property
    def scoreCorr(self):
        """Significance of the score in standard deviations, an `Image`; None without score. Of a proper difference it is
        made when it is first asked for: a plane of memory."""
        return getattr(self.significance, "scoreCorr", self.significance)

    def summary(self):
        """One line: what was convolved, kernel sum, sky chi, sources, time."""
        sources = "" if self.sources is None else f"{self.metadata['nDiaSources']} candidates; "
        return (
            f"convolved {self.convolved}; kernel sum {self.metadata['spatialKernelSum']:.5g}; "
            f"sky chi {self.metadata['skyChi']:.3f}; {self.metadata['nGoodCandidates']} stars; {sources}"
            f"{sum(self.timings.values()):.1f} s"
        )

    def productSuffixes(self, tableSuffix=".ecsv"):
        """Suffixes of the files that hold the result itself, in the order of writing."""
        kept = self.warpedTemplate is not None
        suffixes = [".diff.fits", ".matched.fits", ".kernel.fits"]
        suffixes += [".sources" + tableSuffix, ".sources.reg"] * (self.sources is not None)
        suffixes += [".injected.ecsv"] * (self.injected is not None)
        suffixes += [".warped.fits"] * kept + [".score.fits"] * (kept and self.score is not None)
        return suffixes + [".footprints.fits"] * (kept and self.footprints is not None)

    def write(
        self, prefix, *, overwrite=False, compress="none", sources=".ecsv", summary=True, picture=True, report=True
    ):
        """Write the files of the command line.

        Parameters
        ----------
        prefix : `str`
            Files are ``prefix.diff.fits``, ``prefix.matched.fits``, ``prefix.kernel.fits``, ``prefix.sources.ecsv``,
            ``prefix.sources.reg`` (for ds9), with planted sources ``prefix.injected.ecsv``, ``prefix.json``, ``prefix.png`` and ``prefix.html``; with a
            `warpedTemplate` also ``prefix.warped.fits``, ``prefix.footprints.fits`` and, of a method with a score,
            ``prefix.score.fits``. All of them appear, complete, or none.
        overwrite : `bool`
            Replace existing files; otherwise FileExistsError before anything is written.
        compress : {"none", "lossless", "lossy"}
            Of the exposures.
        sources : {".ecsv", ".parquet", ".fits"}
            Suffix, hence format, of the table of sources.
        summary, picture, report : `bool`
            Whether to write the JSON summary, the picture and the HTML report.

        Returns
        -------
        written : `list` [`str`]

        Raises
        ------
        OSError
            A product exists already (FileExistsError), or cannot be written.
        DomainError
            Another suffix for the sources.
        """
        from .source_io import sourceFormat

        sourceFormat("x" + sources)
        prefix = os.fspath(prefix)
        suffixes = self.productSuffixes(sources)
        suffixes += [".json"] * summary + [".png"] * picture
        suffixes += [".html"] * report
        names = [prefix + suffix for suffix in suffixes]
        folder, stem = os.path.split(prefix)
        present = [name for name in names if os.path.lexists(name)]
        if present and not overwrite:
            raise FileExistsError(errno.EEXIST, "output exists; overwrite=True replaces it", ", ".join(present))
        if folder and not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, "the folder of the output does not exist", folder)
        staging = tempfile.mkdtemp(prefix=f".{stem}.partial-", dir=folder or ".")
        try:
            self._asSubtracted()._writeAll(os.path.join(staging, stem), suffixes, names, compress)
            _publish(names, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        return names

    def _asSubtracted(self):
        """The same with the differential background in the matched template, as files and reports have it."""
        from .subtracted_background import withBackground

        return replace(self, matchedTemplate=withBackground(self.matchedTemplate, self.background))

    def _writeAll(self, prefix, suffixes, names, compress):
        from ..fits import writeExposure, writeKernel

        writeExposure(self.difference, f"{prefix}.diff.fits", compress=compress)
        if self.covariance is not None:
            self.covariance.append(f"{prefix}.diff.fits")
        writeExposure(self.matchedTemplate, f"{prefix}.matched.fits", compress=compress)
        writeKernel(self.kernel, f"{prefix}.kernel.fits", self.background, convolved=self.convolved)
        if self.warpedTemplate is not None:
            writeExposure(self.warpedTemplate, f"{prefix}.warped.fits", compress=compress)
        if ".score.fits" in suffixes:
            writeExposure(self.score, f"{prefix}.score.fits", compress=compress)
        self._writeSources(prefix, suffixes)
        if ".json" in suffixes or ".html" in suffixes:
            self._writeSummary(prefix, names, suffixes)
        if ".png" in suffixes:
            from ..report import savePng, subtractFigure

            savePng(subtractFigure(self), f"{prefix}.png")

    def _writeSources(self, prefix, suffixes):
        from .source_io import SOURCE_SUFFIXES, writeFootprints, writeRegions, writeSources

        for suffix in suffixes:
            stem, _, kind = suffix.rpartition(".")
            if stem == ".sources" and f".{kind}" in SOURCE_SUFFIXES:
                writeSources(self.sources, prefix + suffix)
        if ".injected.ecsv" in suffixes:
            writeSources(self.injected, f"{prefix}.injected.ecsv")
        if ".sources.reg" in suffixes:
            writeRegions(self.sources, f"{prefix}.sources.reg", wcs=self.difference.wcs)
        if ".footprints.fits" in suffixes:
            writeFootprints(self.footprints, self.sources["id"], f"{prefix}.footprints.fits")

    def _writeSummary(self, prefix, products, suffixes):
        """The summary, and the report that holds the same."""
        document = self._document(products)
        page = self._reportPage(document) if ".html" in suffixes else None
        text = _jsonText(document)
        if ".json" in suffixes:
            with open(f"{prefix}.json", "w", encoding="utf-8") as stream:
                stream.write(text)
        if page is not None:
            self._finishPage(page, text, document, f"{prefix}.html")

    def _reportPage(self, document):
        """All of the report but its end; what it finds goes into the document."""
        from ..report.subtract_report import qualityOf, subtractReport

        quality = qualityOf(self)
        document |= quality[1]
        return subtractReport(self, document, quality)

    @staticmethod
    def _finishPage(page, text, document, path):
        from ..report.subtract_report import finishReport

        finishReport(page, text, document).write(path)

    def _document(self, products):
        from .._version import __version__

        document = {
            "version": __version__,
            "verb": "subtract",
            "convolved": self.convolved,
            "metadata": self.metadata,
            "decisions": self.decisions,
            "warnings": [{"code": code, "message": sentence} for code, sentence in self.warnings],
            "timings": self.timings,
            "products": products,
        }
        if self.efficiency is not None:
            document["efficiency"] = self.efficiencyColumns()
        return document

    def efficiencyColumns(self):
        """The curve as a dictionary of lists, as P.json has it."""
        return {name: self.efficiency[name].tolist() for name in self.efficiency.colnames}

    def report(self, path):
        """Write the HTML report alone: one file that needs nothing else. An existing one is replaced."""
        document = self._document([])
        page = self._asSubtracted()._reportPage(document)
        self._finishPage(page, _jsonText(document), document, path)

    def __str__(self):
        return MatchResult.__str__(self)

    def __repr__(self):
        return f"<SubtractResult {self.difference.width}x{self.difference.height}: {self.summary()}>"

    def _repr_html_(self):
        from html import escape

        from ..image.html import thumbnail

        pictures = "".join(
            f"<figure style='margin:0'>{thumbnail(exposure.image)}<figcaption>{name}</figcaption></figure>"
            for name, exposure in (
                ("science", self.science),
                ("template as subtracted", self.matchedTemplate),
                ("difference", self.difference),
            )
        )
        rows = "".join(f"<tr><td>{escape(sentence)}</td></tr>" for sentence in self.decisions)
        rows += "".join(f"<tr><td>{escape(f'{code}: {sentence}')}</td></tr>" for code, sentence in self.warnings)
        table = f"<table><tr><th>{escape(self.summary())}</th></tr>{rows}</table>"
        return f"<div style='display:flex;gap:1em'>{pictures}</div>{table}"


def candidateTable(candidates):
    """The records of a fit's candidates as an `astropy.table.Table` with units and descriptions."""
    from astropy.table import Column, Table

    table = Table()
    for name, (unit, description) in _CANDIDATE_COLUMNS.items():
        values = [c[name].name if name == "status" else c[name] for c in candidates]
        kind = None if values else (str if name in ("status", "rejection", "rejectionText") else float)
        table[name] = Column(values, unit=unit, description=description, dtype=kind)
    return table


def _publish(names, staging):
    """Rename files from the staging folder to their final names; remove those that came first when one fails."""
    done = []
    try:
        for name in names:
            os.replace(Path(staging) / os.path.basename(name), name)
            done.append(name)
    except OSError:
        for name in done:
            Path(name).unlink(missing_ok=True)
        raise


def _jsonText(document):
    import json

    return json.dumps(_finite(document), indent=2, allow_nan=False) + "\n"


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
