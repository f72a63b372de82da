"""Photon transfer: covariances of pairs of flat fields, the dataset of their curves, and the fit of gain and noise.

Names are loaded on first use: the algorithms load neither matplotlib nor the task framework.
"""

import importlib
import sys
import types

# Public name -> module of this package that defines it.
_LAZY = {
    # moments: clipped statistics, differences of flats, weights
    "ClippedMoments": "moments",
    "clipVarianceFactor": "moments",
    "clipWeights": "moments",
    "clippedMoments": "moments",
    "differenceOfFlats": "moments",
    # covariance_sums, covariance: masked lag covariances
    "CovarianceSums": "covariance_sums",
    "covarianceSums": "covariance_sums",
    "CovFastFourierTransform": "covariance",
    "CovarianceResult": "covariance",
    "computeCovDirect": "covariance",
    "correctCovArray": "covariance",
    "covDirectValue": "covariance",
    "covariances": "covariance",
    "makeCovArray": "covariance",
    # amplifiers, sections: raw files to trimmed exposures
    "DetectorLayout": "amplifiers",
    "averageBias": "amplifiers",
    "findLayout": "amplifiers",
    "measureOverscan": "amplifiers",
    "parseSection": "sections",
    "readAmpRegions": "sections",
    "readFlat": "amplifiers",
    # dataset
    "PairCountError": "dataset",
    "PhotonTransferCurveDataset": "dataset",
    # extract, measure, pairing and what they use
    "ExposureHandle": "handles",
    "ExtractResult": "extract",
    "FlatPairExtractor": "extract",
    "FlatPairMeasurement": "measure",
    "FlatPairSettings": "settings",
    "PhotodiodeReadings": "photodiode",
    "extractFlatPairs": "extract",
    "gainFromRatio": "gain",
    "gaussianHistogram": "histogram",
    "groupExposures": "pairing",
    "integratePhotodiode": "photodiode",
    "maskEdges": "edges",
    "measureFlatPair": "measure",
    "planarRadius": "edges",
    # padding, pixel_maps: CMOS frames pixel by pixel
    "PixelMaps": "pixel_maps",
    # flat_files, job, summary: from files to a table
    "PhotonTransferJob": "job",
    "PtcResult": "job",
    "measurePhotonTransfer": "job",
    "PhotonTransferJobConfig": "job_config",
    "summarize": "summary",
    "PixelPadding": "padding",
    "detectPadding": "padding",
    "pixelMaps": "pixel_maps",
    # models, fit, fit_covariance: the curve, the covariances, and their fits to plain arrays
    "evalExpApproximation": "models",
    "evalFullCovariance": "models",
    "evalPolynomial": "models",
    "evalRolloff": "models",
    "CurveFit": "fit",
    "CurveModel": "fit",
    "fitBootstrap": "fit",
    "fitCurve": "fit",
    "FullCovarianceFit": "fit_covariance",
    "fitFullCovariance": "fit_covariance",
    "subtractDistantOffset": "fit_covariance",
    # solve, turnoff: from the pairs of a detector to its curves
    "AmplifierSolution": "solve",
    "SolveResult": "solve",
    "solve": "solve",
    "solveWithDetails": "solve",
    "adjustGainsByAmpOffsets": "amp_offsets",
    "makeFigures": "figures",
    "writePdf": "figures",
    "writePngs": "figures",
    "goodPointsByLinearity": "turnoff",
    "goodPointsByVarianceDecrease": "turnoff",
    "selectPoints": "turnoff",
    "PhotonTransferCurveSolveAlgorithmConfig": "solve_config",
    "PlotPhotonTransferCurveAlgorithmConfig": "solve_config",
}

__all__ = [*_LAZY]


def __getattr__(name):
    if name in _LAZY:
        value = getattr(importlib.import_module(f".{_LAZY[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY})


class _Room(types.ModuleType):
    """This module, which can be called: ``stillsky.ptc(folder)`` is `measurePhotonTransfer`."""

    def __call__(self, flats, **options):
        return self.measurePhotonTransfer(flats, **options)


sys.modules[__name__].__class__ = _Room
ptc = sys.modules[__name__]  # so that the top level finds the callable under the name of the room
