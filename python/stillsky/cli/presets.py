"""Named sets of configuration values. Keys are dotted names of the configuration of the verb."""

__all__ = ["PRESETS"]

_RUBIN = {
    # Current Alard-Lupton subtraction of the Rubin pipelines, and the numerics of its kernel fit.
    "convolve": "template",
    "subtractBackground": False,
    "detect.doSubtractBackground": True,
    "detect.doDeblend": False,
    "detect.doSplitOpposite": False,
    "detect.cosmicray.min_DN": 150.0,
    "detect.measurement.dipole.compat": "reference",
    "detect.measurement.dipole.fitSeparateNegParams": False,
    "doCopyEdge": True,
    "minKernelSources": 3,
    "maxKernelSources": 1000,
    "requiredTemplateFraction": 0.1,
    "stars.minSignalToNoise": 10.0,
    "psfmatch.compat": True,
    "psfmatch.kernelBasisSet": "alard-lupton",
    "psfmatch.alardNGauss": 3,
    "psfmatch.alardDegGauss": [4, 2, 2],
    "psfmatch.alardSigGauss": [0.7, 1.5, 3.0],
    "psfmatch.kernelSizeFwhmScaling": 6.0,
    "psfmatch.fitForBackground": True,
    "psfmatch.spatialKernelOrder": 1,
    "psfmatch.candidatesPerTerm": 2,
    "psfmatch.spatialBgOrder": 2,
    "psfmatch.constantVarianceWeighting": True,
    "psfmatch.iterateSingleKernel": False,
    "psfmatch.badMaskPlanes": ["NO_DATA", "EDGE", "SAT"],
}

_HOTPANTS = {
    # Defaults of hotpants: kernel half width 10, substamp half width 15, orders 2 and 1, three fixed Gaussians.
    "convolve": "auto",
    "psfmatch.kernelBasisSet": "alard-lupton",
    "psfmatch.scaleByFwhm": False,
    "psfmatch.kernelSize": 21,
    "psfmatch.alardNGauss": 3,
    "psfmatch.alardSigGauss": [0.7, 1.5, 3.0],
    "psfmatch.alardDegGauss": [6, 4, 2],
    "psfmatch.spatialModelType": "polynomial",
    "psfmatch.spatialKernelOrder": 2,
    "psfmatch.spatialBgOrder": 1,
    "psfmatch.fitForBackground": True,
    "psfmatch.stampHalfSize": 15,
}

_RUBIN_PTC = {
    # The photon transfer tasks of the Rubin pipelines as they are, defects included.
    "pairBy": "time",
    "extract.compat": True,
    "solve.compat": True,
}

_RUBIN_COADD = {
    # CompareWarpAssembleCoaddTask of the Rubin pipelines, for calibrated inputs.
    "method": "compare",
    "scale": "none",
    "assemble.sigmaClip": 3.0,
    "widenClip": False,
    "register": "never",
    "assemble.clipIter": 2,
    "assemble.badMaskPlanes": ["NO_DATA", "BAD", "SAT", "EDGE"],
    "assemble.doInterp": True,
    "assemble.compat": True,
    "staticSky.compat": True,
    "artifacts.compat": True,
}

_RUBIN_COADD_2019 = {
    # The same of the documentation of 2019.
    **_RUBIN_COADD,
    "artifacts.detect.thresholdValue": 5.0,
    "artifacts.detect.nSigmaToGrow": 2.0,
    "artifacts.detectTemplate.nSigmaToGrow": 2.0,
    "artifacts.detectTemplate.thresholdValue": 5.0,
    "artifacts.detectTemplate.doTempLocalBackground": False,
    "artifacts.detectTemplate.reEstimateBackground": False,
    "artifacts.prefilterArtifactsMaskPlanes": ["NO_DATA", "BAD", "SAT", "SUSPECT"],
    "staticSky.calcErrorFromInputVariance": False,
}

PRESETS = {
    "rubin": {"subtract": _RUBIN, "psfmatch": _RUBIN, "ptc": _RUBIN_PTC, "coadd": _RUBIN_COADD},
    "rubin-2019": {"coadd": _RUBIN_COADD_2019},
    "hotpants": {"subtract": _HOTPANTS, "psfmatch": _HOTPANTS},
}
