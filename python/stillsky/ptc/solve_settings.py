"""From the configuration of the photon-transfer fit to plain settings, with ``compat`` resolved."""

from types import SimpleNamespace

__all__ = ["makeSolveSettings"]

# What the reference does (its version of 2026), whatever the fields say.
_COMPAT = {
    "outlierResiduals": "SQRTVAR",
    "initialLimitOnVariance": True,
    "approximateGainAllPoints": True,
    "adaptStartToData": False,
    "outlierFitUnweighted": True,
    "secondOutlierPass": True,
    "fitWeights": "DATA",
    "fitErrors": "SCALED",
    "fitLoss": "linear",
    "boundNoise": False,
    "maximumRangeB": None,
    "maxIterFullFitCovariancesAstier": 0,  # a field that the reference declares and ignores
}


def makeSolveSettings(config=None, **changes):
    """Settings of the fit as a namespace.

    Parameters
    ----------
    config : `PhotonTransferCurveSolveAlgorithmConfig`, optional
        Validated first. With ``compat`` every improvement is off, whatever its field says. Default: the default configuration.
    **changes
        Fields to set after that.

    Returns
    -------
    settings : `types.SimpleNamespace`
        One attribute per field.
    """
    if config is None:
        from .solve_config import PhotonTransferCurveSolveAlgorithmConfig

        config = PhotonTransferCurveSolveAlgorithmConfig()
    config.validate()
    values = {name: getattr(config, name) for name in config}
    for name in ("minMeanSignal", "maxMeanSignal"):
        values[name] = dict(values[name])
    if config.compat:
        values.update(_COMPAT)
    return SimpleNamespace(**{**values, **changes})
