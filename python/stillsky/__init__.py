"""stillsky: image differencing, coaddition and sensor calibration for astronomy.

``import stillsky`` is cheap: every public name below is loaded on first use.
"""

import importlib

from ._version import __version__

# Public name -> module that defines it, or "module:name" where the public name differs. Task classes import lsst.pipe.base, nothing else does.
_LAZY = {
    # errors
    "StillskyError": "errors",
    "ShapeError": "errors",
    "DomainError": "errors",
    "InvalidPsfError": "errors",
    "OutOfBoundsError": "errors",
    "MaskSchemaError": "errors",
    "MismatchError": "errors",
    "NoDataError": "errors",
    "NotFoundError": "errors",
    "NumericalError": "errors",
    "FitsLayoutError": "errors",
    # background
    "Background": "background",
    "BackgroundControl": "background",
    "BackgroundList": "background",
    "SubtractBackgroundConfig": "background",
    "fitBackground": "background",
    "makeBackground": "background",
    "subtractBackground": "background",
    # stats
    "Property": "stats",
    "Statistics": "stats",
    "StatisticsControl": "stats",
    "clippedStats": "stats",
    "makeStatistics": "stats",
    "robustSigma": "stats",
    "stringToStatisticsProperty": "stats",
    # kernel
    "AnalyticKernel": "kernel",
    "Chebyshev1Function2": "kernel",
    "ConvolutionControl": "kernel",
    "DeltaFunctionKernel": "kernel",
    "DoubleGaussianFunction2": "kernel",
    "FixedKernel": "kernel",
    "GaussianFunction2": "kernel",
    "Kernel": "kernel",
    "LinearCombinationKernel": "kernel",
    "PolynomialFunction2": "kernel",
    "SeparableKernel": "kernel",
    "convolve": "kernel",
    "convolveAndSubtract": "kernel",
    # geom
    "Point2I": "geom",
    "Point2D": "geom",
    "Extent2I": "geom",
    "Extent2D": "geom",
    "Box2I": "geom",
    "Box2D": "geom",
    "AffineTransform": "geom",
    "Polygon": "geom",
    # image
    "Image": "image",
    "Mask": "image",
    "MaskSchema": "image",
    "MaskedImage": "image",
    "Exposure": "image",
    "exposure": "image:makeExposure",
    "makeExposure": "image",
    "fromCCDData": "image",
    "toCCDData": "image",
    # wcs
    "SkyWcs": "wcs",
    "makeTanWcs": "wcs",
    "makeCdMatrix": "wcs",
    # threads
    "getNumThreads": "threads",
    "setNumThreads": "threads",
    "numThreads": "threads",
    # meta
    "Amplifier": "meta",
    "Detector": "meta",
    "FilterLabel": "meta",
    "Header": "meta",
    "Observatory": "meta",
    "VisitInfo": "meta",
    "Weather": "meta",
    # fits
    "describeFile": "fits",
    "read": "fits",
    "readExposure": "fits",
    "readKernel": "fits",
    "writeExposure": "fits",
    "writeKernel": "fits",
    # photom
    "ApCorrMap": "photom",
    "ChebyshevBoundedField": "photom",
    "PhotoCalib": "photom",
    # detection, measure
    "detectSources": "detection",
    "findPeaks": "detection",
    "growMask": "detection",
    "Footprint": "detection",
    "FootprintSet": "detection",
    "SpanSet": "detection",
    "Threshold": "detection",
    "MomentsFlag": "measure",
    "gaussianFlux": "measure",
    "measureSources": "measure",
    "measurementSchema": "measure",
    "pixelFlags": "measure",
    "psfFlux": "measure",
    "sdssCentroid": "measure",
    "sdssShape": "measure",
    "sizeExtendedness": "measure",
    "skyCoord": "measure",
    "adaptiveMoments": "measure",
    # diffim
    "SubtractConfig": "diffim",
    "MatchResult": "diffim",
    "SubtractResult": "diffim",
    "matchPsfs": "diffim",
    "subtract": "diffim",
    # ptc
    "PhotonTransferCurveExtractConfig": "ptc.task",
    "PhotonTransferCurveExtractPairConfig": "ptc.task",
    "PhotonTransferCurveExtractPairTask": "ptc.task",
    "PhotonTransferCurveExtractTask": "ptc.task",
    "extractFlatPairs": "ptc",
    "measureFlatPair": "ptc",
    "PhotonTransferCurveDataset": "ptc",
    "PhotonTransferJobConfig": "ptc.job_config",
    "measurePhotonTransfer": "ptc",
    "pixelMaps": "ptc",
    "ptc": "ptc",
    "PhotonTransferCurveSolveConfig": "ptc.solve_task",
    "PhotonTransferCurveSolveTask": "ptc.solve_task",
    "PlotPhotonTransferCurveConfig": "ptc.plot_task",
    "PlotPhotonTransferCurveTask": "ptc.plot_task",
    # sim
    "AmplifierTruth": "sim",
    "simulateFlatPair": "sim",
    "simulateFlatRamp": "sim",
    "simulatePair": "sim",
    # psf
    "DoubleGaussianPsf": "psf",
    "GaussianPsf": "psf",
    "ImageGridPsf": "psf",
    "KernelPsf": "psf",
    "PcaPsf": "psf",
    "Psf": "psf",
    "SingleGaussianPsf": "psf",
    "WarpedPsf": "psf",
    # psfmatch
    "AssessSpatialKernelVisitor": "psfmatch",
    "BuildSingleKernelVisitor": "psfmatch",
    "BuildSpatialKernelVisitor": "psfmatch",
    "CandidateVisitor": "psfmatch",
    "KernelCandidate": "psfmatch",
    "KernelCandidateF": "psfmatch",
    "KernelSumVisitor": "psfmatch",
    "NoKernelCandidatesError": "psfmatch.errors",
    "PsfMatchSettings": "psfmatch",
    "SpatialCell": "psfmatch",
    "SpatialCellCandidate": "psfmatch",
    "SpatialCellSet": "psfmatch",
    "fitSpatialKernel": "psfmatch",
    "makeAlardLuptonBasisList": "psfmatch",
    "makeDeltaFunctionBasisList": "psfmatch",
    "makeKernelCandidate": "psfmatch",
    "ImagePsfMatchConfig": "psfmatch.config",
    "ImagePsfMatchTask": "psfmatch.image_psf_match",
    "MakeKernelConfig": "psfmatch.config",
    "MakeKernelTask": "psfmatch.make_kernel",
    "KernelCandidateDetection": "psfmatch.candidate_detection",
    "DetectionConfig": "psfmatch.config",
    "PsfComputeShapeError": "psfmatch.model_match",
    "WarpedPsfTransformTooBigError": "psfmatch.model_match",
    "nextOddInteger": "psfmatch.model_match",
    "generateAlardLuptonBasisList": "psfmatch.basis",
    "makeKernelBasisList": "psfmatch.basis",
    "KernelCandidateQa": "psfmatch.kernel_candidate_qa",
    "ModelPsfMatchConfig": "psfmatch.config",
    "ModelPsfMatchTask": "psfmatch.model_psf_match",
    "PsfMatch": "psfmatch.task",
    "PsfMatchConfig": "psfmatch.config",
    "PsfMatchConfigAL": "psfmatch.config",
    "PsfMatchConfigDF": "psfmatch.config",
    "PsfMatchTask": "psfmatch.task",
    "SnapPsfMatchConfig": "psfmatch.config",
    "SnapPsfMatchTask": "psfmatch.snap_psf_match",
    "SnapPsfMatchConfigAL": "psfmatch.config",
    "SnapPsfMatchConfigDF": "psfmatch.config",
    "evaluateMeanPsfFwhm": "psfmatch.psf_fwhm",
    "getPsfFwhm": "psfmatch.psf_fwhm",
    "subtractAlgorithmRegistry": "psfmatch.image_psf_match",
    # ptc
    "CovFastFourierTransform": "ptc",
    "CovarianceSums": "ptc",
    "clippedMoments": "ptc",
    "computeCovDirect": "ptc",
    "covDirectValue": "ptc",
    "covarianceSums": "ptc",
    "covariances": "ptc",
    "makeCovArray": "ptc",
    # warp
    "Warper": "warp",
    "WarpingControl": "warp",
    "alignedWithin": "warp",
    "warpExposure": "warp",
    "warpImage": "warp",
    "warpMaskedImage": "warp",
}

__all__ = ["__version__", *_LAZY]


def __getattr__(name):
    if name in _LAZY:
        module, _, attribute = _LAZY[name].partition(":")
        value = getattr(importlib.import_module(f".{module}", __name__), attribute or name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LAZY})
