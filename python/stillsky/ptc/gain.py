"""Gain from one pair of flats, by the ratio of the squared difference to the sum."""

import math

from ..errors import DomainError

__all__ = ["GAIN_CORRECTIONS", "gainFromRatio"]

GAIN_CORRECTIONS = ("NONE", "READNOISE", "SIMPLE", "FULL")


def gainFromRatio(ratio, mean, readNoise=math.nan, correctionType="READNOISE", log=None):
    """Gain of one pair.

    For light with Poisson statistics <(I1 - I2)^2 / (I1 + I2)> is 1/g, exactly, when both exposures have the same level
    (given N = I1 + I2 electrons, I1 is binomial, and (2 I1 - N)^2 has the mean N). Read noise adds sigma^2/mu.

    Parameters
    ----------
    ratio : `float`
        c = <(I1 - I2)^2 / (I1 + I2)>, adu.
    mean : `float`
        mu, the mean of the two levels, adu.
    readNoise : `float`
        sigma of one exposure, adu; NaN when unknown.
    correctionType : {"NONE", "READNOISE", "SIMPLE", "FULL"}
        NONE: g = 1/c. READNOISE: 1/g = c - sigma^2/mu. SIMPLE: 1/g = c - (sigma^2 - 1/(2 g^2))/mu with g = 1/c on the
        right. FULL: the positive root of the same equation. The last two are the reference's as it documents them; their
        second-order term has the wrong sign for Poisson light (-0.5 % at 100 electrons), so use them for comparison only.
    log : `logging.Logger`, optional

    Returns
    -------
    gain : `float`
        Electrons per adu; NaN where the equation has no positive solution. Without a read noise all types but NONE
        warn and become NONE.

    Raises
    ------
    DomainError
        Unknown type; also a `RuntimeError`.
    """
    if correctionType not in GAIN_CORRECTIONS:
        raise DomainError(f"gain correction: wanted one of {', '.join(GAIN_CORRECTIONS)}, given {correctionType!r}")
    if not (ratio > 0 and mean > 0):
        return math.nan
    if correctionType != "NONE" and not math.isfinite(readNoise):
        if log is not None:
            log.warning("No read noise is known: the gain correction %s becomes NONE.", correctionType)
        correctionType = "NONE"
    if correctionType == "NONE":
        return 1.0 / ratio
    noise2 = readNoise**2
    if correctionType == "FULL":
        discriminant = mean**2 - 2.0 * mean * ratio + 2.0 * noise2
        denominator = 2.0 * ratio * mean - 2.0 * noise2
        return (mean + math.sqrt(discriminant)) / denominator if discriminant >= 0 and denominator > 0 else math.nan
    inverse = ratio - noise2 / mean if correctionType == "READNOISE" else ratio - (noise2 - 0.5 * ratio**2) / mean
    return 1.0 / inverse if inverse > 0 else math.nan
