"""Padding of 12- and 14-bit values in 16-bit files."""

import numpy as np
import pytest

from stillsky.ptc import PixelPadding, detectPadding
from stillsky.ptc.padding import PaddingDetector


def flat(rng, level=2000, shape=(50, 60)):
    return rng.poisson(level, shape)


@pytest.mark.parametrize("divisor, bits", [(4, 2), (16, 4), (5, None)])
@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int32, np.float32, np.float64])
def test_detectPadding_findsDivisor(rng, divisor, bits, dtype):
    padding = detectPadding((flat(rng) * divisor).astype(dtype))
    assert (padding.divisor, padding.offset, padding.bits) == (divisor, 0, bits)
    assert padding.padded and padding.nativeBits == 12


def test_detectPadding_unpaddedValuesHaveDivisorOne(rng):
    padding = detectPadding(flat(rng).astype(np.uint16))
    assert (padding.divisor, padding.offset, padding.padded) == (1, 0, False)


def test_detectPadding_constantLowBitsNeedNotBeZero(rng):
    padding = detectPadding((flat(rng) * 16 + 7).astype(np.uint16))
    assert (padding.divisor, padding.offset, padding.bits) == (16, 7, 4)
    assert "multiples of 16 plus 7" in str(padding)


def test_detectPadding_saturatedPixelsDoNotHideIt(rng):
    values = (flat(rng) * 16).astype(np.uint16)
    values[3, 4] = 65535
    assert detectPadding(values).divisor == 16


def test_detectPadding_nanIsIgnored(rng):
    values = (flat(rng) * 4).astype(np.float32)
    values[::7] = np.nan
    assert detectPadding(values).divisor == 4
    assert detectPadding(np.full((5, 5), np.nan)).divisor == 1


def test_detectPadding_fractionalValuesHaveNone(rng):
    values = (flat(rng) * 16).astype(np.float32)
    values[0, 0] += 0.5
    assert detectPadding(values).divisor == 1


def test_detectPadding_fewDistinctValuesDecideNothing():
    assert detectPadding(np.full((100, 100), 1600, np.uint16)).divisor == 1
    assert detectPadding((np.arange(900) % 30 * 16).astype(np.uint16)).divisor == 1
    assert detectPadding((np.arange(900) % 33 * 16).astype(np.uint16)).divisor == 16


def test_detectPadding_allFramesCount(rng):
    """A frame of multiples of 48 and one of multiples of 32 have steps of 16."""
    frames = [(flat(rng) * k).astype(np.int32) for k in (48, 32)]
    assert detectPadding(*frames).divisor == 16
    assert detectPadding(*frames, flat(rng)).divisor == 1


def test_detectPadding_largeValues(rng):
    """Beyond the table of values, too."""
    values = rng.integers(0, 2**40, 5000) * 8
    assert detectPadding(values).divisor == 8
    assert detectPadding(values + 1).offset == 1


def test_detector_stopsWhenDecided(rng):
    detector = PaddingDetector().add(flat(rng))
    assert detector.decided

    class Frame:
        def __array__(self, dtype=None, copy=None):
            raise AssertionError("read although nothing can change")

    detector.add(Frame())
    assert detector.padding.divisor == 1


def test_padding_words():
    assert "multiples of 16, the low 4 bits" in str(PixelPadding(16, 0, 100, 65520))
    assert "no padding" in str(PixelPadding())
