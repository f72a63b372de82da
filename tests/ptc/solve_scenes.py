"""Partial datasets of ramps: from arrays, and drawn from the sampling distribution of covariances."""

import numpy as np

from stillsky.ptc import PhotonTransferCurveDataset
from stillsky.ptc.models import evalExpApproximation, evalFullCovariance
from stillsky.ptc.solve_config import PhotonTransferCurveSolveAlgorithmConfig


def makeConfig(**fields):
    config = PhotonTransferCurveSolveAlgorithmConfig()
    config.update(**fields)
    return config


def makePartials(means, variances, covariances=None, sqrtWeights=None, r=1, **perAmp):
    """One PARTIAL dataset per pair from dictionaries by amplifier of arrays over pairs."""
    amps = list(means)
    n = len(means[amps[0]])
    partials = []
    for k in range(n):
        partial = PhotonTransferCurveDataset(amps, "PARTIAL", r)
        for amp in amps:
            cov = np.full((r, r), np.nan) if covariances is None else covariances[amp][k]
            weights = np.full((r, r), np.nan) if sqrtWeights is None else sqrtWeights[amp][k]
            partial.setAmpValuesPartialDataset(
                amp,
                inputExpIdPair=(2 * k, 2 * k + 1),
                rawExpTime=float(k + 1),
                rawMean=means[amp][k],
                rawVar=variances[amp][k],
                covariance=cov,
                covSqrtWeights=weights,
                expIdMask=bool(np.isfinite(means[amp][k]) and np.isfinite(variances[amp][k])),
                **{"kspValue": 1.0, **{name: values[amp][k] for name, values in perAmp.items()}},
            )
        partials.append(partial)
    return partials


def truth(r):
    """Coefficients of a thick sensor: charge is conserved, neighbours in y are stronger."""
    i, j = np.mgrid[:16, :16]
    a = 1.6e-7 / (0.4 + i**2 + 0.6 * j**2) ** 1.6
    weights = np.where(i > 0, 2.0, 1.0) * np.where(j > 0, 2.0, 1.0)
    a[0, 0] = 0.0
    a[0, 0] = -np.sum(weights * a)
    return a[:r, :r], np.full((r, r), -2e-7)


def lagCounts(r, nPixels):
    """Number of pixel pairs of each lag of an unmasked region, for the weights."""
    side = int(np.sqrt(nPixels))
    i, j = np.mgrid[:r, :r]
    return (side - i) * (side - j) * np.where((i > 0) & (j > 0), 2.0, 1.0)


def drawRamp(rng, mu, r, *, gain, noise, nPixels, a=None, b=None, closedForm=False):
    """Measured means (adu), covariances (adu^2) and square-root weights of flat pairs at true levels ``mu`` (adu).

    Covariances scatter as those of N independent Gaussian pixel pairs: V^2/N, the variance twice that.
    """
    if a is None:
        a, b = truth(r)
    noiseMatrix = np.zeros((r, r))
    noiseMatrix[0, 0] = noise**2
    exact = evalFullCovariance(mu, a, a * b, noiseMatrix, gain)
    if closedForm:
        # Eq. 20 is the series of Eq. 16 to third order only, 4e-5 off at 100 ke: a thousand amplifiers would see it
        exact[:, 0, 0] = evalExpApproximation(mu, a[0, 0], gain, noise**2)
    npix = lagCounts(r, nPixels)
    npix[0, 0] /= 2
    v = exact[:, :1, :1]
    data = exact + rng.normal(size=exact.shape) * v / np.sqrt(npix)
    means = mu + rng.normal(size=mu.size) * np.sqrt(exact[:, 0, 0] / (2 * nPixels))
    return means, data, np.sqrt(npix) / data[:, :1, :1]


def makeDataset(means, covariances, sqrtWeights, ptcFitType, r, variances=None):
    """An assembled dataset of dictionaries by amplifier, faster than by way of partial datasets."""
    dataset = PhotonTransferCurveDataset(list(means), ptcFitType, r, r)
    for amp, mu in means.items():
        dataset.setAmpValues(
            amp,
            inputExpIdPair=[(2 * k, 2 * k + 1) for k in range(mu.size)],
            expIdMask=np.ones(mu.size, dtype=bool),
            rawExpTime=np.arange(mu.size) + 1.0,
            rawMean=mu,
            rawVar=covariances[amp][:, 0, 0] if variances is None else variances[amp],
            photoCharge=np.full(mu.size, np.nan),
            finalVar=np.full(mu.size, np.nan),
            finalModelVar=np.full(mu.size, np.nan),
            finalMean=np.full(mu.size, np.nan),
            covArray=covariances[amp],
            covSqrtWeights=sqrtWeights[amp],
            kspValues=np.ones(mu.size),
        )
    return dataset


def rampDataset(seed, nAmps, mu, r, ptcFitType, *, gain=1.5, noise=5.0, nPixels=1e6):
    """Many amplifiers with one truth, drawn from the sampling distribution."""
    rng = np.random.default_rng(seed)
    a, b = truth(r)
    if ptcFitType != "FULLCOVARIANCE":
        b = 0 * b
    closedForm = ptcFitType in ("EXPAPPROXIMATION", "POLYNOMIAL")
    if closedForm:
        a = np.where(np.add.outer(np.arange(r), np.arange(r)) == 0, a, 0.0)
    how = {"gain": gain, "noise": noise, "nPixels": nPixels, "a": a, "b": b, "closedForm": closedForm}
    draws = [drawRamp(rng, mu, r, **how) for _ in range(nAmps)]
    columns = [{f"A{k:03d}": draw[i] for k, draw in enumerate(draws)} for i in range(3)]
    return makeDataset(*columns, ptcFitType, r)
