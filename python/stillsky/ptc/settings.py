"""From the configuration class to the plain settings of one measurement, with ``compat`` resolved."""

from dataclasses import dataclass, fields, replace

__all__ = ["FlatPairSettings", "makeSettings"]


@dataclass(frozen=True)
class FlatPairSettings:
    """What the measurement of one region of one flat pair needs; names and units as in the configuration.

    Attributes
    ----------
    lastRow : `bool`
        Whether the last row counts in the row-mean variance; the reference leaves it out.
    """

    maskNameList: tuple = ("SUSPECT", "BAD", "NO_DATA", "SAT")
    nSigmaClipPtc: float = 5.5
    nIterSigmaClipPtc: int = 3
    minNumberGoodPixelsForCovariance: int = 10000
    binSize: int = 1
    maximumRangeCovariancesAstier: int = 10
    thresholdDiffAfwVarVsCov00: float = 1.0
    doGain: bool = True
    gainCorrectionType: str = "READNOISE"
    doKsHistMeasurement: bool = False
    ksHistNBins: int = 100
    ksHistLimitMultiplier: float = 8.0
    ksHistMinDataValues: int = 100
    covarianceEstimator: str = "auto"
    covarianceQuadrants: str = "equal"
    minPairsPerLag: int = 1
    clipRule: str = "symmetric"
    covarianceMaskPlanes: str = "requested"
    clipCorrection: str = "element"
    fluxMatchedGain: bool = True
    clippedRowMeans: bool = True
    lastRow: bool = True
    binGoodPixels: bool = True
    fluxMatchedHistogram: bool = True


# What the reference does (its version of 2026), whatever the fields say.
_COMPAT = {
    "covarianceEstimator": "fft",
    "covarianceQuadrants": "equal",
    "minPairsPerLag": 1,
    "clipRule": "oneSided",
    "covarianceMaskPlanes": "requested",
    "clipCorrection": "element",
    "fluxMatchedGain": False,
    "clippedRowMeans": False,
    "lastRow": False,
    "binGoodPixels": False,
    "fluxMatchedHistogram": False,
}


def makeSettings(config, **changes):
    """Settings of the measurement.

    Parameters
    ----------
    config : `PhotonTransferCurveExtractConfigBase` or `FlatPairSettings`
    **changes
        Fields to replace.

    Returns
    -------
    settings : `FlatPairSettings`
        With ``compat`` every improvement is off, whatever its field says, and the gain correction READNOISE, which the
        reference does not know, becomes its default FULL.
    """
    if isinstance(config, FlatPairSettings):
        return replace(config, **changes)
    values = {f.name: getattr(config, f.name) for f in fields(FlatPairSettings) if hasattr(config, f.name)}
    values["maskNameList"] = tuple(values["maskNameList"])
    if config.compat:
        values.update(_COMPAT)
        if values["gainCorrectionType"] == "READNOISE":
            values["gainCorrectionType"] = "FULL"
    if config.covAstierRealSpace is not None:
        values["covarianceEstimator"] = "direct" if config.covAstierRealSpace else "fft"
    values.update(changes)
    return FlatPairSettings(**values)
