"""Pairs whose grids are whole pixels apart, and pairs that are one image."""

import numpy as np
import pytest

from stillsky.diffim import subtract
from stillsky.diffim.config import SubtractConfig
from stillsky.diffim.inputs import alignTemplate, noteSame, remedyOfFewStars, wholePixels
from stillsky.errors import MismatchError
from stillsky.geom import Box2I
from stillsky.sim import simulatePair


@pytest.fixture(scope="module")
def pair():
    pair = simulatePair(size=160, seed=3)
    return pair.science.toExposure(), pair.template.toExposure()


def align(science, template):
    said = []
    return alignTemplate(science, template, SubtractConfig().warp, said.append), said


def test_regionOfAnAlignedPairIsACutOut(pair):
    """Every pixel up to the edge is the template's own."""
    science, template = pair
    box = Box2I((0, 20), (100, 90))
    found, said = align(science[box], template)
    assert said == ["template: already aligned with the science image"]
    np.testing.assert_array_equal(found.image.array, template.image.array[20:110, :100])
    np.testing.assert_array_equal(found.mask.array, template.mask.array[20:110, :100])
    assert found.bbox == box and found.psf is template.psf
    assert template.bbox == Box2I((0, 0), (160, 160))  # and it is not modified


def test_wholePixelsApartIsACutOutToo(pair):
    """What the template lacks is NO_DATA; its PSF moves along."""
    science, template = pair
    other = template[Box2I((0, 0), (150, 160))].copy()
    other.xy0 = (7, -3)
    found, said = align(science, other)
    assert said == ["template: already aligned with the science image, whole pixels apart (+7, -3)"]
    assert wholePixels(science, other) == (7, -3)
    np.testing.assert_array_equal(found.image.array[:, :150], template.image.array[:, :150])
    assert np.isnan(found.image.array[:, 150:]).all() and found.mask.isSet("NO_DATA")[:, 150:].all()
    assert not found.mask.isSet("NO_DATA")[:, :150].any() and found.wcs == science.wcs
    here, there = found.psf.computeKernelImage((80.0, 70.0)), other.psf.computeKernelImage((87.0, 67.0))
    np.testing.assert_allclose(here.array, there.array, atol=1e-6)
    with pytest.raises(MismatchError, match="overlap"):
        align(science[Box2I((155, 0), (5, 160))], other)


def test_fractionOfAPixelIsResampled(pair):
    science, template = pair
    moved = template.copy()
    moved.wcs = template.wcs.shifted((0.3, 0.0))
    assert wholePixels(science, moved) is None and "resampled" in align(science, moved)[1][0]


def test_noiseOfACutOutIsNotTakenForResampled(monkeypatch):
    def refuse(job, mapping):
        raise AssertionError("the noise of the template was taken for correlated")

    monkeypatch.setattr("stillsky.diffim.algorithm._Job._noteResampling", refuse)
    pair = simulatePair(size=320, seed=5, starDensity=900.0)
    science, template = pair.science.toExposure(), pair.template.toExposure()
    result = subtract(science[Box2I((16, 0), (304, 300))], template)
    assert not any("resampled" in sentence for sentence in result.decisions)
    assert result.difference.bbox == Box2I((16, 0), (304, 300))


def test_oneImageGivenTwiceIsSaid(pair):
    science, template = pair
    said = []
    noteSame(science, template, lambda *words: said.append(words))
    assert said == []
    noteSame(science, science.copy(), lambda *words: said.append(words))
    assert said == [("W-SAME", "science and template are the same image")]


def test_remedyIsNotWhatWasTriedAlready():
    config = SubtractConfig()
    assert "minSignalToNoise=10" in remedyOfFewStars(config)
    config.stars.minSignalToNoise = 8.0
    assert "minSignalToNoise" not in remedyOfFewStars(config) and "--stars FILE" in remedyOfFewStars(config)
