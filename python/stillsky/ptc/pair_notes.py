"""What is said about many flat pairs, in few sentences; and what a single pair tells."""

import logging
import re

import numpy as np

__all__ = ["PairNotes", "gainsOfBoxes", "listed"]

_log = logging.getLogger(__name__)


def listed(names, most=6):
    """Some names, and how many more there are."""
    names = [str(n) for n in names]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def gainsOfBoxes(first, second, boxes, side=200):
    """Gain, mean over variance of the light, in boxes of one pair: what sky gradients that changed between the two cannot spoil.

    Parameters
    ----------
    first, second : `Exposure`
        Trimmed, adu.
    boxes : `dict` [`str`, `Box2I`]
        Amplifiers; each is cut into boxes of ``side`` pixels, a border of the same size is left out if there is room.

    Returns
    -------
    gains : `numpy.ndarray`
        Electrons per adu, one per box that could be measured.
    noiseKnown : `bool`
        Whether the read noise of every amplifier is in the headers, and subtracted.
    """
    from ..geom import Box2I, Extent2I, Point2I
    from .headers import ampHeaderFigures
    from .measure import measureFlatPair
    from .settings import FlatPairSettings

    settings = FlatPairSettings(minNumberGoodPixelsForCovariance=1000, maximumRangeCovariancesAstier=1, doGain=False)
    figures = ampHeaderFigures(first.metadata, second.metadata, boxes, first.detector, PairNotes())
    noises = {amp: figures[amp]["noise"] ** 2 + figures[amp]["rowVariance"] for amp in boxes}
    gains = []
    for amp, box in boxes.items():
        noise = noises[amp] if np.isfinite(noises[amp]) else 0.0
        border = side if min(box.width, box.height) >= 3 * side else 0
        for y in range(box.minY + border, box.maxY + 2 - side - border, side):
            for x in range(box.minX + border, box.maxX + 2 - side - border, side):
                part = Box2I(Point2I(x, y), Extent2I(side, side))
                record = measureFlatPair(first, second, settings, region=part)
                light = record.rawVar - 0.5 * noise * (record.mean1**2 + record.mean2**2) / record.mean**2
                if record.isGood and light > 0:
                    # matching unequal levels to their mean leaves less variance than a flat of that level has
                    gains.append(record.mean1 * record.mean2 / record.mean / light)
    return np.array(gains), bool(np.all(np.isfinite(list(noises.values()))))


class PairNotes:
    """Takes the place of a logger: what is said of many pairs becomes one sentence."""

    _OF_PAIR = re.compile(r"Exposures (?P<first>\S+) and (?P<second>\S+), (?P<rest>.*)", re.DOTALL)

    def __init__(self):
        self._said = {}

    def warning(self, form, *args):
        """Kept for `sentences`; those that differ in numbers alone are one."""
        text = form % args
        match = self._OF_PAIR.fullmatch(text)
        # numbers differ from pair to pair: the first stands for all
        key = re.sub(r"[-+]?\d[\d.e+-]*", "#", match["rest"] if match else text)
        pairs, sentence = self._said.setdefault(key, ([], match["rest"] if match else text))
        if match:
            pairs.append((int(match["second"]) + 1) // 2)

    def info(self, form, *args):
        """Passed on."""
        _log.info(form, *args)

    def sentences(self, skip=()):
        """Every sentence once, with the numbers of the pairs that it is about, but for those to skip."""
        for pairs, text in self._said.values():
            if pairs and set(pairs) <= set(skip):
                continue
            if "read noise is known" in text or text.startswith("No read noise") or "valid date" in text:
                continue  # said by the reader, once; dates are not needed
            yield (
                (f"pair {pairs[0]}: {text}" if len(pairs) == 1 else f"pairs {listed(pairs)}: {text}") if pairs else text
            )
