"""Figures of a subtraction under the names that the metadata of the pipeline tasks have."""

import math

__all__ = ["taskFigures"]


def taskFigures(metadata, difference, method):
    """What the metadata of `subtract` say in its own words, in those of the tasks.

    Parameters
    ----------
    metadata : `dict`
        Of the subtraction so far.
    difference : Exposure
    method : {"al", "zogy"}

    Returns
    -------
    figures : `dict`
        ``psfMatchingAlgorithm``, ``nPsfSources`` (stars of the kernel fit); after a decorrelation
        ``decorrelationVarianceRatio`` (template over science image), ``decorrelationKernelSum, decorrelationTiles,
        noiseWhiteness`` (largest correlation of neighbours); of a proper difference ``zogyBeta, zogyGamma``; of a
        calibrated one ``fiveSigmaDifferenceMagnitude``.
    """
    figures = {"psfMatchingAlgorithm": method, "nPsfSources": metadata.get("nGoodCandidates", 0)}
    found = metadata.get("decorrelation")
    if found:
        science, template = found["scienceVariance"], found["templateVariance"]
        figures |= {
            "decorrelationVarianceRatio": template / science if science > 0 else math.inf,
            "decorrelationKernelSum": found["kernelSum"],
            "decorrelationTiles": found["nTiles"],
            "noiseWhiteness": float(max(abs(v) for v in found["noiseWhiteness"])),
        }
    figures |= {k: metadata["zogy"][k] for k in ("zogyBeta", "zogyGamma") if k in metadata.get("zogy", {})}
    if difference.photoCalib is not None and difference.psf is not None:
        from .alard_lupton_inputs import fiveSigmaMagnitude

        magnitude = fiveSigmaMagnitude(difference)
        if math.isfinite(magnitude):
            figures["fiveSigmaDifferenceMagnitude"] = magnitude
    return figures
