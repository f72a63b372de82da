"""Defect columns and rows that are found in the pixels of files without a mask."""

import numpy as np
import pytest
from astropy.io import fits

from stillsky.fits import readExposure, writeExposure
from stillsky.fits.defects import DefectLine, findDefectLines, markDefectLines

SKY, NOISE = 300.0, 15.0


def _addMoffat(image, x0, y0, flux, fwhm=3.0, beta=2.5, axisRatio=1.0):
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    r2 = (x - x0) ** 2 + ((y - y0) / axisRatio) ** 2
    image += flux * (beta - 1) / (np.pi * alpha**2 * axisRatio) * (1 + r2 / alpha**2) ** -beta


def _scene(seed, shape=(256, 256), stars=30, fwhm=3.0, brightest=6.5):
    """Sky, gradient, Moffat stars up to 10^6.5 counts (saturated at 40000), an edge-on galaxy along each axis."""
    rng = np.random.default_rng(seed)
    image = np.full(shape, SKY)
    image += np.linspace(0, 100, shape[1]) + np.linspace(0, 50, shape[0])[:, None]
    for flux in [*10 ** rng.uniform(2.5, 5.0, stars), 10 ** rng.uniform(5.5, brightest)]:
        _addMoffat(image, rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), flux, fwhm)
    _addMoffat(image, rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), 2e5, fwhm, axisRatio=12.0)
    _addMoffat(image.T, rng.uniform(0, shape[0]), rng.uniform(0, shape[1]), 2e5, fwhm, axisRatio=12.0)
    image += rng.normal(size=shape) * np.sqrt(NOISE**2 + np.maximum(image - SKY, 0) / 2)
    return np.minimum(image, 40000).astype(np.float32)


def _flat(rng, shape=(256, 320)):
    return rng.normal(SKY, NOISE, shape).astype(np.float32)


@pytest.mark.parametrize("fwhm", [1.5, 2.5, 5.0])
def testCleanScenesHaveNoDefects(fwhm):
    for seed in range(20):
        image = _scene(seed, fwhm=fwhm)
        assert findDefectLines(image) == [], seed
        assert findDefectLines(image, image >= 40000) == [], seed


def testStructureOfAmplifiersAndBordersIsNoDefect(rng):
    image = _flat(rng, (512, 512))
    image[:, 200:] += 40  # an amplifier of another offset
    image[:, 350:] *= 1.5
    image[300:] -= 60
    image[:40] = 0
    image[:, -30:] = np.nan
    assert findDefectLines(image) == []
    assert findDefectLines(np.round(rng.normal(100.5, 0.4, (512, 512)))) == []  # less noise than a step
    striped = _flat(rng)
    striped[:, ::2] += 10
    assert findDefectLines(striped) == []


def testImagesWithoutNoiseOrWithoutPixelsHaveNoDefects(rng):
    for image in (
        np.zeros((128, 128)),
        np.full((128, 128), np.nan),
        np.ones((1, 1)),
        _flat(rng, (300, 7)),
        _flat(rng, (40, 40)),
    ):
        assert findDefectLines(image.astype(np.float32)) == []


def testMissingPixelsAreNoDefectsAndHideNone(rng):
    image = _flat(rng, (256, 256))
    image[:, 40] = 0
    image[rng.random((256, 256)) < 0.1] = np.nan
    image[:, 80:120:3] = np.inf
    image[200:, 150:] = np.nan
    assert findDefectLines(image) == [DefectLine(0, 40, 0, 256)]
    image[:, ::3] = np.nan  # no line has all its neighbours
    assert findDefectLines(image) == []


def testUnitsDoNotMatter(rng):
    image = _flat(rng)
    image[:, 40] = 0
    image[100] += 30
    for factor in (1e-30, 1e-9, 1e30):
        assert findDefectLines(image * np.float32(factor)) == findDefectLines(image), factor
    assert len(findDefectLines(image)) == 2
    wide = image.astype(float)
    wide[3, 200] = 1e300
    assert findDefectLines(wide) == findDefectLines(image)


def _columnOf(kind, rng, n):
    return {
        "dead": np.zeros(n),
        "low": rng.normal(SKY - 1.5 * NOISE, NOISE, n),
        "hot": rng.normal(SKY + 10 * NOISE, NOISE, n),
        "noisy": rng.normal(SKY, 4 * NOISE, n),
        "random": rng.uniform(0, 4 * SKY, n),
    }[kind]


@pytest.mark.parametrize("kind", ["dead", "low", "hot", "noisy", "random"])
@pytest.mark.parametrize("index", [0, 1, 120, 255])
def testWholeColumnsAndRowsAreFound(rng, kind, index):
    image = _scene(3)
    image[:, index] = _columnOf(kind, rng, 256)
    if kind == "low":  # on the gradient
        image[:, index] += np.linspace(0, 100, 256)[index] + np.linspace(0, 50, 256)
    assert findDefectLines(image) == [DefectLine(0, index, 0, 256)]
    assert findDefectLines(image.T) == [DefectLine(1, index, 0, 256)]


def testPartsOfColumnsAreFoundToTheirEnds(rng):
    image = _flat(rng, (512, 400))
    image[171:, 90] = 0
    image[150:400, 300] = rng.uniform(0, 4 * SKY, 250)
    lines = findDefectLines(image)
    assert [line.index for line in lines] == [90, 300]
    for line, begin, end in zip(lines, (171, 150), (512, 400)):
        assert begin - 96 <= line.begin <= begin and end <= line.end <= end + 96


def testNeighbouringColumnsAndCrossingLinesAreFound(rng):
    image = _flat(rng)
    image[:, 100:102] = 0
    image[70] = 900
    image[rng.integers(0, 256, 50), rng.integers(0, 320, 50)] = np.nan
    found = {(line.axis, line.index): (line.begin, line.end) for line in findDefectLines(image)}
    assert found == {(0, 100): (0, 256), (0, 101): (0, 256), (1, 70): (0, 320)}


def testWeakButWholeColumnIsFoundAndAWeakerOneDoesNoHarm(rng):
    image = _flat(rng, (1024, 256))
    image[:, 60] += 0.8 * NOISE
    image[:, 160] += 0.2 * NOISE
    assert findDefectLines(image) == [DefectLine(0, 60, 0, 1024)]


def testMarkingCountsThePixels():
    mask = np.zeros((80, 90), np.int32)
    assert markDefectLines(mask, 4, [DefectLine(0, 3, 10, 30), DefectLine(1, 5, 0, 90)]) == 110
    assert markDefectLines(mask, 4, [DefectLine(1, 12, 0, 90)]) == 199  # a crossing is one pixel
    assert np.all(mask[10:30, 3] == 4) and np.all(mask[5] == 4) and np.count_nonzero(mask) == 199


def testColumnOfAFileWithoutMaskIsBad(tmp_path, rng):
    image = _flat(rng)
    image[:, 33] = 0
    fits.PrimaryHDU(image).writeto(tmp_path / "plain.fits")
    exposure, provenance = readExposure(tmp_path / "plain.fits")
    bad = exposure.mask.array & exposure.mask.bitmask(["BAD"]) != 0
    assert bad[:, 33].all() and np.count_nonzero(bad) == 256
    sentence = next(s for s in provenance if s.startswith("W-DEFECTS"))
    assert "1 column (at x = 33)" in sentence and "256 pixels" in sentence
    exposure, provenance = readExposure(tmp_path / "plain.fits", defects=False)
    assert not exposure.mask.array.any() and "W-DEFECTS" not in " ".join(provenance)


def testMaskOfAFileIsLeftAsItIs(tmp_path, rng):
    image = _flat(rng)
    image[:, 33] = 0
    fits.PrimaryHDU(image).writeto(tmp_path / "plain.fits")
    exposure = readExposure(tmp_path / "plain.fits", defects=False)[0]
    writeExposure(exposure, tmp_path / "own.fits")
    again, provenance = readExposure(tmp_path / "own.fits")
    assert not again.mask.array.any() and "W-DEFECTS" not in " ".join(provenance)
