"""The section of a report about the noise of the difference image."""

import numpy as np

from . import noise_panels as npan
from .panels import panelDpi
from .subtract_numbers import isProper

__all__ = ["noiseSection"]


def noiseSection(section, result, numbers):
    """Append histogram, noise against the variance plane, correlation before and after decorrelation, maps."""
    box = result.difference.bbox
    maps = npan.chiMaps(numbers.chi)
    histogram = npan.chiHistogram(numbers)
    before = numbers.correlationBefore
    lags = _lagColumns(numbers.correlation, before)
    entries = [
        ("histogramPanel", (numbers, histogram), "Histogram of difference over noise", None, histogram, "residuals"),
        ("noiseBinPanel", (numbers.noiseBins,), "Observed over predicted noise against the prediction",
         "Robust scatter; bright pixels also show what the kernel leaves of stars.", numbers.noiseBins, "noise_by_prediction"),
    ]  # fmt: skip
    words = "after, on the sky" if before is not None else "sky, measured"
    if not result.metadata.get("decorrelation") and not isProper(result.metadata):
        words += "; not decorrelated"
    entries.append(("correlationPanel", (numbers.correlation, before, words), "Correlation of neighbouring sky pixels",
                    "Before the decorrelation: from the kernel and the noise of the inputs." if before is not None else None,
                    lags, "correlation"))  # fmt: skip
    squares = numbers.apertures
    entries.append(("aperturePanel", (squares, numbers.aperturesBefore), "Noise of sums over squares of sky against their side",
                    "1: pixels are independent, and errors of aperture fluxes are right.", squares, "noise_of_squares"))  # fmt: skip
    data = {"mean": maps[0].ravel(), "sigma": maps[1].ravel()}
    entries += [
        ("chiMapPanel", (maps, box, "mean"), "Map of the mean of difference over noise", None, data, "chi_map"),
        ("chiMapPanel", (maps, box, "sigma"), "Map of the scatter of difference over noise", None, None, "figure"),
    ]
    section.figures([_made(entry) for entry in entries])


def _made(entry):
    panel, arguments, alt, caption, data, name = entry
    return {
        "picture": getattr(npan, panel)(*arguments),
        "alt": alt,
        "caption": caption,
        "data": data,
        "name": name,
        "dpi": panelDpi,
    }


def _lagColumns(correlation, before):
    top = correlation.shape[0] - 1
    dx, dy = np.meshgrid(np.arange(top + 1), np.arange(-top, top + 1), indexing="ij")
    columns = {"dx": dx.ravel(), "dy": dy.ravel(), "measured": correlation.ravel()}
    return columns if before is None else columns | {"beforeDecorrelation": before.ravel()}
