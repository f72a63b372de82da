"""Amplifier regions from headers and from the user, overscan, bias, assembly (issue 3.5; core data model 14.3)."""

import math

import numpy as np
import pytest
from astropy.io import fits

from stillsky.errors import DomainError, FitsLayoutError, MismatchError
from stillsky.fits.files import openFits
from stillsky.geom import Box2I
from stillsky.ptc import averageBias, findLayout, measureOverscan, parseSection, readAmpRegions, readFlat
from stillsky.sim import AmplifierTruth, rawHdus, simulateFlatRamp, writeFlatFiles

READ_NOISE = "LSST ISR OVERSCAN RESIDUAL SERIAL STDEV {}"
OVERSCAN_MEDIAN = "LSST ISR OVERSCAN SERIAL MEDIAN {}"


def save(path, *hdus):
    """Write extensions; arrays become images, the first one primary."""
    made = []
    for k, hdu in enumerate(hdus):
        array, cards = hdu if isinstance(hdu, tuple) else (hdu, {})
        made.append((fits.ImageHDU if k else fits.PrimaryHDU)(array, fits.Header(list(cards.items()))))
    fits.HDUList(made).writeto(path)
    return str(path)


def layoutOf(path, *args, **kwargs):
    with openFits(path) as hdus:
        return findLayout(hdus, *args, **kwargs)


def numbered(height, width, start=0):
    return np.arange(start, start + height * width, dtype=np.float32).reshape(height, width)


# ---- sections
def test_sectionsCountFromOneWithBothEnds():
    section = parseSection("[51:1074,1:2048]")
    assert section.box == Box2I((50, 0), (1024, 2048)) and not section.flipX and not section.flipY
    section = parseSection(" [ 1074 : 51 , 2048:1 ] ")
    assert section.box == Box2I((50, 0), (1024, 2048)) and section.flipX and section.flipY
    assert parseSection("[5:5,7:7]").box == Box2I((4, 6), (1, 1))


@pytest.mark.parametrize("text", ["", "[1:2]", "[0:0,0:0]", "1:2,3:4", "[a:b,1:2]", "[-1:3,1:2]", None, 7])
def test_otherSectionsAreRefused(text):
    with pytest.raises(FitsLayoutError, match="counted from 1"):
        parseSection(text)


# ---- real layouts
@pytest.mark.parametrize("n", [1, 3, 6])
@pytest.mark.parametrize("layout", ["extensions", "frame"])
def test_simulatedDetectorsAreAssembledAsTheyWere(n, layout, tmp_path):
    """Prescan, overscan, and amplifiers read from all corners: only noise of the row level and rounding is left."""
    ramp = simulateFlatRamp([20000.0], shape=(90, 70), amplifiers=n, seed=3)
    names = writeFlatFiles(ramp, str(tmp_path) + "/", layout)
    shot, truth = readFlat(names[1]), ramp[1]
    assert shot.detector.bbox == truth.detector.bbox and shot.bbox == truth.bbox
    if n > 1:
        assert [(a.name, a.bbox) for a in shot.detector] == [(a.name, a.bbox) for a in truth.detector]
    left = shot.image.array - truth.image.array
    assert abs(left.mean()) < 0.1 and 0.4 < left.std() < 1.2
    assert left.mean(axis=1).std() > 3 * left.mean(axis=0).std() / math.sqrt(90 / 70)  # it is rows that differ
    assert not shot.mask.array.any()
    assert shot.visitInfo.exposureTime == 20.0 and shot.metadata["CCOBFLUX"] == 20000.0
    assert n == 1 or layout == "frame" or [a.flipX for a in shot.detector] == [a.flipX for a in truth.detector]


def test_multiExtensionFileWithFlippedDetectorSections(tmp_path):
    """Two amplifiers read from opposite ends: the second runs against the detector, as does the first in y."""
    first, second = numbered(3, 4), numbered(3, 4, 100)
    path = save(
        tmp_path / "a.fits",
        (None, {"EXPTIME": 5.0}),
        (np.pad(first, ((0, 0), (2, 3))), {"EXTNAME": "left", "DATASEC": "[3:6,1:3]", "BIASSEC": "[7:9,1:3]",
                                           "DETSEC": "[1:4,3:1]"}),
        (np.pad(second, ((0, 0), (2, 3))), {"EXTNAME": "right", "DATASEC": "[3:6,1:3]", "BIASSEC": "[7:9,1:3]",
                                            "DETSEC": "[8:5,1:3]"}),
    )  # fmt: skip
    shot = readFlat(path)
    np.testing.assert_array_equal(shot.image.array, np.hstack([first[::-1], second[:, ::-1]]))
    left, right = shot.detector["left"], shot.detector["right"]
    assert (left.flipX, left.flipY, left.readoutCorner) == (False, True, "UL")
    assert (right.flipX, right.flipY, right.readoutCorner) == (True, False, "LR")
    assert right.bbox == Box2I((4, 0), (4, 3)) and right.rawDataBBox == Box2I((2, 0), (4, 3))
    assert right.rawOverscanBBox == Box2I((6, 0), (3, 3)) and shot.visitInfo.exposureTime == 5.0


def test_sectionsReversedOnBothSidesDoNotFlip(tmp_path):
    path = save(tmp_path / "a.fits", (numbered(3, 4), {"DATASEC": "[4:1,1:3]", "DETSEC": "[4:1,1:3]"}))
    np.testing.assert_array_equal(readFlat(path).image.array, numbered(3, 4))


def test_mosaicDetectorSectionsAreTakenFromTheirCorner(tmp_path):
    """DETSEC counts in the whole focal plane, in unbinned pixels: only its place relative to the others matters."""
    cards = {"DATASEC": "[1:4,1:3]", "CCDSUM": "2 2"}
    path = save(
        tmp_path / "a.fits", None,
        (numbered(3, 4), {**cards, "EXTNAME": "a", "DETSEC": "[2057:2064,4101:4106]"}),
        (numbered(3, 4, 50), {**cards, "EXTNAME": "b", "DETSEC": "[2049:2056,4101:4106]"}),
    )  # fmt: skip
    np.testing.assert_array_equal(readFlat(path).image.array, np.hstack([numbered(3, 4, 50), numbered(3, 4)]))


def test_oneFrameWithLetteredSections(tmp_path):
    """Two amplifiers of one image (DATASECA, BIASSECA, ...): gain, noise and saturation of each are found."""
    frame = np.full((4, 14), 100.0, np.float32)
    frame[:, 3:7], frame[:, 7:11] = 1100.0, 2100.0
    cards = {
        "DATASECA": "[4:7,1:4]", "DATASECB": "[8:11,1:4]", "BIASSECA": "[1:3,1:4]", "BIASSECB": "[12:14,1:4]",
        "GAINA": 4.0, "GAINB": 4.5, "RDNOISEA": 6.0, "SATURATA": 900.0, "SATURATE": 5000.0, "DATASEC": "[4:11,1:4]",
    }  # fmt: skip
    shot = readFlat(save(tmp_path / "a.fits", (frame, cards)))
    assert shot.detector.ampNames == ["A", "B"] and shot.detector.bbox == Box2I((0, 0), (8, 4))
    np.testing.assert_array_equal(shot.image.array, np.repeat([[1000.0] * 4 + [2000.0] * 4], 4, axis=0))
    assert (shot.detector["A"].gain, shot.detector["B"].gain, shot.detector["A"].readNoise) == (4.0, 4.5, 6.0)
    assert (shot.detector["A"].saturation, shot.detector["B"].saturation) == (900.0, 5000.0)
    saturated = shot.mask.array & shot.mask.bitmask(["SAT"]) != 0
    assert saturated[:, :4].all() and not saturated[:, 4:].any()


def test_letteredSectionsInSeveralExtensions(tmp_path):
    cards = {"DATASECA": "[1:2,1:3]", "DATASECB": "[3:4,1:3]", "BIASSECA": "[5:6,1:3]", "BIASSECB": "[5:6,1:3]"}
    image = np.pad(numbered(3, 4), ((0, 0), (0, 2)))
    shot = readFlat(
        save(tmp_path / "a.fits", None, (image, {"EXTNAME": "N1", **cards}), (image, {"EXTNAME": "S1", **cards}))
    )
    assert shot.detector.ampNames == ["N1A", "N1B", "S1A", "S1B"]
    np.testing.assert_array_equal(shot.image.array, np.hstack([numbered(3, 4)] * 2))


def test_frameWithOneDataSection(tmp_path):
    image = np.pad(numbered(5, 6) + 500, ((1, 0), (2, 4)), constant_values=500)
    path = save(tmp_path / "a.fits", (image, {"TRIMSEC": "[3:8,2:6]", "BIASSEC": "[9:12,1:6]"}))
    shot = readFlat(path)
    np.testing.assert_array_equal(shot.image.array, numbered(5, 6))
    assert shot.detector.ampNames == ["frame"] and layoutOf(path).rawBox == Box2I((2, 1), (6, 5))


def test_columnsBesideTheDataAreOverscanWithoutBiassec(tmp_path):
    """Cameras that give DATASEC alone: the wider strip beside it is the overscan."""
    image = np.pad(numbered(5, 6) + 300, ((0, 0), (2, 4)), constant_values=300)
    layout = layoutOf(path := save(tmp_path / "a.fits", (image, {"DATASEC": "[3:8,1:5]"})))
    assert layout.hasOverscan and layout.places[0].bias == Box2I((8, 0), (4, 5))
    np.testing.assert_array_equal(readFlat(path).image.array, numbered(5, 6))


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float64, np.float32])
def test_plainFrameIsOneAmplifier(dtype, tmp_path):
    shot = readFlat(save(tmp_path / "a.fits", np.arange(30, dtype=dtype).reshape(5, 6)))
    assert shot.detector.ampNames == ["frame"] and shot.detector.bbox == Box2I((0, 0), (6, 5))
    assert shot.image.array.dtype == np.float32 and shot.image.array[4, 5] == 29
    assert "1 amplifier, 6x5 px, no overscan" in shot.info.provenance[0]


def test_extensionsWithoutDetectorSectionsLieSideBySide(tmp_path):
    cards = {"DATASEC": "[1:4,1:3]"}
    path = save(tmp_path / "a.fits", None, (numbered(3, 4), cards), (numbered(3, 4, 50), cards))
    layout = layoutOf(path)
    assert layout.sideBySide and layout.detector.ampNames == ["amp1", "amp2"] and "side by side" in layout.describe()
    np.testing.assert_array_equal(readFlat(path).image.array, np.hstack([numbered(3, 4), numbered(3, 4, 50)]))


def test_overlappingDetectorSectionsAreIgnored(tmp_path, caplog):
    """The same CCDSEC in every extension, as files of several sensors have it."""
    cards = {"DATASEC": "[1:4,1:3]", "CCDSEC": "[1:4,1:3]"}
    path = save(tmp_path / "a.fits", None, (numbered(3, 4), cards), (numbered(3, 4, 50), cards))
    assert readFlat(path).detector.bbox == Box2I((0, 0), (8, 3)) and "overlap" in caplog.text


def test_zeroSectionsMeanNone(tmp_path):
    path = save(tmp_path / "a.fits", (numbered(3, 4), {"DATASEC": "[0:0,0:0]", "BIASSEC": "[0:0,0:0]"}))
    np.testing.assert_array_equal(readFlat(path).image.array, numbered(3, 4))


def test_realCmosFlatIsOneFrame(sharedDir):
    shot = readFlat(sharedDir / "data" / "ccd_flats" / "flat1.fits")
    assert shot.detector.bbox == Box2I((0, 0), (1570, 1052)) and shot.visitInfo.exposureTime == 2.0
    assert np.median(shot.image.array) == 17016


def test_filesOfStillskyKeepTheirMask(tmp_path):
    from stillsky.fits import writeExposure
    from stillsky.image import makeExposure

    bad = np.zeros((20, 30), bool)
    bad[3, 4] = True
    writeExposure(makeExposure(numbered(20, 30), mask=bad), tmp_path / "a.fits")
    shot = readFlat(tmp_path / "a.fits")
    assert shot.mask.array[3, 4] == shot.mask.bitmask(["BAD"]) and np.count_nonzero(shot.mask.array) == 1
    assert len(shot.detector) == 1 and shot.image.array[19, 29] == 599


def test_compressedFilesAreRead(tmp_path):
    ramp = simulateFlatRamp([900.0], shape=(40, 30), amplifiers=2, seed=1)
    hdus = rawHdus(ramp, 0)
    fits.HDUList([hdus[0], *[fits.CompImageHDU(h.data, h.header) for h in hdus[1:]]]).writeto(tmp_path / "c.fits")
    fits.HDUList(rawHdus(ramp, 0)).writeto(tmp_path / "p.fits")
    plain, packed = readFlat(tmp_path / "p.fits"), readFlat(tmp_path / "c.fits")
    np.testing.assert_array_equal(plain.image.array, packed.image.array)
    assert plain.detector == packed.detector


# ---- amplifiers of the user
def test_ampsFileGivesTheRegions(tmp_path):
    """0-based, half-open [x0, x1, y0, y1]; the same amplifiers as from the headers of the frame."""
    ramp = simulateFlatRamp([20000.0], shape=(90, 70), amplifiers=4, seed=3)
    names = writeFlatFiles(ramp, str(tmp_path) + "/", "frame")
    amps = readFlat(names[0], amps=str(tmp_path / "amps.yaml"))
    headers = readFlat(names[0])
    assert amps.detector.ampNames == headers.detector.ampNames
    for amp in amps.detector:
        mine, theirs = amps.image[amp.bbox].array, headers.image[headers.detector[amp.name].bbox].array
        np.testing.assert_array_equal(mine, theirs)
        key = READ_NOISE.format(amp.name)
        assert amps.metadata[key] == headers.metadata[key]
    holes = np.isnan(amps.image.array)
    assert holes.mean() > 0.2 and np.array_equal(holes, amps.mask.array == amps.mask.bitmask(["NO_DATA"]))


def test_ampsMayComeAsMappingWithNumbersAndExtension(tmp_path):
    path = save(tmp_path / "a.fits", None, numbered(6, 8), numbered(6, 8, 100))
    amps = {
        "up": {"data": [0, 4, 3, 6], "ext": 2, "gain": 2.0, "readNoise": 5, "saturation": 120},
        "low": {"data": [0, 4, 0, 3], "ext": 2},
    }
    shot = readFlat(path, amps=amps)
    np.testing.assert_array_equal(shot.image.array, numbered(6, 8, 100)[:, :4])
    assert (shot.detector["up"].gain, shot.detector["up"].readNoise) == (2.0, 5.0)
    assert math.isnan(shot.detector["low"].gain) and [r.name for r in readAmpRegions(amps)] == ["up", "low"]
    assert np.count_nonzero(shot.mask.array) == np.count_nonzero(shot.image.array[3:] >= 120)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "wanted amplifiers by name"),
        ("- 1", "wanted amplifiers by name"),
        ("A: [0, 1, 0, 1]", "amplifier A wants an entry data"),
        ("A: {data: [0, 1, 0]}", "amplifier A data: wanted four integers"),
        ("A: {data: [0, 1.5, 0, 2]}", "amplifier A data: wanted four integers"),
        ("A: {data: [5, 5, 0, 2]}", "amplifier A data: wanted x0 < x1"),
        ("A: {data: [0, 5, 0, 2], bias: [3, 1, 0, 2]}", "amplifier A bias: wanted x0 < x1"),
        ("A: {data: [0, 5, 0, 2], bais: [5, 6, 0, 2]}", "amplifier A has unknown entries bais"),
        ("A: {data: [0, 5, 0, 2], gain: -1}", "amplifier A gain: wanted a number above 0"),
        ("A: {data: [0, 5, 0, 2]}\nA: {data: [5, 6, 0, 2]}", "given twice: A"),
        ("A: {data: [0", "not a readable YAML"),
    ],
)
def test_wrongAmpsFilesSayWhatIsWrong(text, message, tmp_path):
    (tmp_path / "amps.yaml").write_text(text)
    with pytest.raises(FitsLayoutError, match=f"amps.yaml: .*{message}"):
        readAmpRegions(tmp_path / "amps.yaml")
    with pytest.raises(FileNotFoundError):
        readAmpRegions(tmp_path / "none.yaml")


# ---- amplifiers outside the frame
def test_anAmplifierOutsideTheFrameIsLeftOutAndTheOthersAreKept(tmp_path, caplog):
    path = save(tmp_path / "a.fits", numbered(6, 8))
    amps = {
        "A": {"data": [0, 4, 0, 6]},
        "B": {"data": [4, 9, 0, 6]},
        "C": {"data": [4, 8, 0, 6], "bias": [8, 12, 0, 6]},
    }
    shot = readFlat(path, amps=amps)
    np.testing.assert_array_equal(shot.image[shot.detector["A"].bbox].array, numbered(6, 8)[:, :4])
    for name in "BC":
        box = shot.detector[name].bbox
        assert np.isnan(shot.image[box].array).all() and (shot.mask[box].array != 0).all()
    layout = layoutOf(path, amps)
    assert set(layout.badAmps) == {"B", "C"} and "data 4:9,0:6 outside the frame of 8 x 6 px" in layout.badAmps["B"]
    assert "bias 8:12,0:6" in layout.badAmps["C"] and "amplifier B is left out" in caplog.text
    assert "outside the frame: B, C" in layout.describe()
    with pytest.raises(MismatchError, match="no amplifier lies inside"):
        readFlat(path, amps={"B": {"data": [4, 9, 0, 6]}})


def test_aFarAwayAmplifierCostsNoMemory(tmp_path):
    path = save(tmp_path / "a.fits", numbered(6, 8))
    shot = readFlat(path, amps={"A": {"data": [0, 4, 0, 6]}, "B": {"data": [10**8, 10**8 + 9, 0, 10**6]}})
    assert shot.image.array.size < 100


def test_headerSectionsOutsideTheFrame(tmp_path, caplog):
    """Science pixels outside: that amplifier is left out. Overscan outside: a trimmed file with the cards of the raw one."""
    cards = {"BIASSEC": "[9:12,1:3]", "DATASEC": "[1:4,1:3]"}
    path = save(
        tmp_path / "a.fits", None,
        (numbered(3, 4), {**cards, "DETSEC": "[1:4,1:3]"}),
        (numbered(3, 4), {**cards, "DATASEC": "[2:5,1:3]", "DETSEC": "[5:8,1:3]"}),
    )  # fmt: skip
    shot = readFlat(path)
    np.testing.assert_array_equal(shot.image.array[:, :4], numbered(3, 4))
    assert np.isnan(shot.image.array[:, 4:]).all() and "amplifier amp2 is left out" in caplog.text
    assert "already trimmed" in caplog.text


def test_aFileOfAnotherSizeThanTheLayoutIsRefused(tmp_path):
    layout = layoutOf(save(tmp_path / "a.fits", numbered(6, 8)))
    with pytest.raises(MismatchError, match="outside this frame of 7 x 6 px"):
        readFlat(save(tmp_path / "b.fits", numbered(6, 7)), layout=layout)


def test_filesWithoutImagesAreRefused(tmp_path):
    with pytest.raises(FitsLayoutError, match="found none"):
        readFlat(save(tmp_path / "a.fits", None))
    path = save(tmp_path / "b.fits", numbered(3, 4))
    with pytest.raises(FitsLayoutError, match="no extension 'SCI'"):
        readFlat(path + "[SCI]")
    with pytest.raises(FitsLayoutError, match="no extension 7"):
        readFlat(path, amps={"A": {"data": [0, 1, 0, 1], "ext": 7}})
    with pytest.raises(DomainError, match="overscan"):
        readFlat(path, overscan="spline")


# ---- overscan and bias
def test_overscanIsTheMedianOfEachRow():
    pixels = np.array([[1, 2, 9], [5, 5, 5], [7, 7, 1]], np.float32)
    result = measureOverscan(pixels)
    assert result.rows.tolist() == [2, 5, 7] and result.level == 5
    assert measureOverscan(pixels, mode="constant").rows.tolist() == [5, 5, 5]
    # regions that are offset: science rows without overscan get the common level
    assert measureOverscan(pixels, 1, 5).rows.tolist() == [5, 2, 5, 7, 5]
    assert measureOverscan(pixels, -1, 2).rows.tolist() == [5, 7]


def test_overscanIgnoresWhatIsNotFinite():
    pixels = np.array([[1, np.nan, 3], [np.nan] * 3, [7, 7, np.inf]])
    result = measureOverscan(pixels)
    assert result.rows.tolist() == [2, 4.5, 7] and result.level == 4.5
    empty = measureOverscan(np.full((2, 3), np.nan))
    assert np.isnan(empty.rows).all() and math.isnan(empty.level) and math.isnan(empty.noise)
    assert math.isnan(measureOverscan(np.ones((5, 1))).noise)


@pytest.mark.parametrize("columns", [3, 8, 33, 64])
def test_readNoiseFromOverscanIsUnbiased(columns, rng):
    """Row levels take away part of the noise, which is corrected; hits are clipped, row-to-row drift does not count."""
    rows = 400000 // columns
    pixels = 4.0 * rng.standard_normal((rows, columns)) + 1000 + rng.normal(0, 20, (rows, 1))
    assert measureOverscan(pixels).noise == pytest.approx(4.0, rel=0.015 if columns == 3 else 0.004)
    pixels[:: rows // 20, 1] += 5000
    assert measureOverscan(pixels).noise == pytest.approx(4.0, rel=0.015 if columns == 3 else 0.005)


@pytest.mark.parametrize("columns", [1, 2, 3, 4, 5, 10, 11, 32, 65])
def test_varianceOfRowMediansIsThatOfOrderStatistics(columns, rng):
    """What subtracting the medians adds to every pixel of a row; hits and drift of the rows do not change the estimate."""
    rows = 100000
    pixels = 3.0 * rng.standard_normal((rows, columns))
    result = measureOverscan(pixels)
    if columns == 1:
        assert math.isnan(result.rowVariance)
        return
    assert result.rowVariance == pytest.approx(np.var(result.rows), rel=0.03)
    assert measureOverscan(pixels, mode="constant").rowVariance == 0.0
    if columns > 8:
        drift = measureOverscan(pixels + rng.normal(0, 20, (rows, 1)))
        assert drift.rowVariance == pytest.approx(result.rowVariance, rel=1e-6)


def test_readNoiseAndLevelGoToTheMetadata(tmp_path):
    truth = AmplifierTruth("A", gain=1.5, readNoise=6.0, offset=1234.0)
    ramp = simulateFlatRamp([5000.0], shape=(1500, 40), amplifiers=[truth], seed=2)
    shot = readFlat(writeFlatFiles(ramp, str(tmp_path) + "/", "frame")[0])
    rounding = math.sqrt(4.0**2 + 1 / 12)
    assert shot.metadata[READ_NOISE.format("A")] == pytest.approx(rounding, rel=0.01)
    assert shot.metadata[OVERSCAN_MEDIAN.format("A")] == pytest.approx(1234.0, abs=0.5)


def test_extractionFindsTheOverscanFigures(tmp_path):
    from stillsky.ptc.headers import OVERSCAN_MEDIAN as level
    from stillsky.ptc.headers import READ_NOISE as noise

    assert (noise, level) == (READ_NOISE, OVERSCAN_MEDIAN)


def test_overscanMayBeLeftOrTakenAsOneLevel(tmp_path):
    image = np.pad(np.zeros((3, 4)), ((0, 0), (0, 3)))
    image += np.array([[10.0], [20.0], [60.0]])
    path = save(tmp_path / "a.fits", (image, {"DATASEC": "[1:4,1:3]", "BIASSEC": "[5:7,1:3]"}))
    assert not readFlat(path).image.array.any()
    assert readFlat(path, overscan="constant").image.array[:, 0].tolist() == [-10, 0, 40]
    assert readFlat(path, overscan="none").image.array[:, 0].tolist() == [10, 20, 60]
    assert not layoutOf(path, overscan="none").hasOverscan and layoutOf(path).hasOverscan


def test_biasFramesAreAveragedAndSubtracted(tmp_path):
    ramp = simulateFlatRamp([20000.0], shape=(60, 50), amplifiers=4, seed=3)
    names = writeFlatFiles(ramp, str(tmp_path) + "/", "plain", nBias=5)
    biases = [str(tmp_path / f"bias{i:04d}.fits") for i in range(5)]
    assert set(biases) < set(names)
    shot = readFlat(names[0], bias=biases, amps=str(tmp_path / "amps.yaml"))
    left = shot.image.array - ramp[0].image.array
    noise = math.sqrt(5 / 1.5**2 * 5 / 5 + 1 / 12)
    for amp in shot.detector:
        part = left[amp.bbox.slices()]
        assert abs(part.mean()) < 0.2 and part.std() < 1.5 * noise
    layout = layoutOf(names[0])
    bias = averageBias(biases[:2], layout)
    first, second = (readFlat(n).image.array for n in biases[:2])
    np.testing.assert_allclose(bias, 0.5 * (first + second), rtol=1e-6)
    with pytest.raises(MismatchError, match="bias: wanted 100 x 120 px like the trimmed flat, given 4 x 3"):
        readFlat(names[0], bias=np.zeros((3, 4), np.float32))
    with pytest.raises(DomainError, match="at least one"):
        averageBias([], layout)


def test_biasPixelsThatAreNotFiniteAreEmpty(tmp_path):
    bias = np.zeros((3, 4), np.float32)
    bias[1, 1] = np.nan
    shot = readFlat(save(tmp_path / "a.fits", numbered(3, 4)), bias=bias)
    assert np.isnan(shot.image.array[1, 1]) and np.argwhere(shot.mask.array).tolist() == [[1, 1]]


def test_saturationIsJudgedOnRawValues(tmp_path):
    image = np.pad(numbered(3, 4) + 1000, ((0, 0), (0, 3)), constant_values=1000)
    path = save(tmp_path / "a.fits", (image, {"DATASEC": "[1:4,1:3]", "BIASSEC": "[5:7,1:3]", "SATURATE": 1010.0}))
    saturated = readFlat(path).mask.array != 0
    assert np.argwhere(saturated).tolist() == [[2, 2], [2, 3]]
    assert readFlat(path, saturation=1005.0).mask.array.astype(bool).sum() == 7


# ---- raw files of the simulator
def test_rawFramesAreIntegersThatHoldTheLevels():
    ramp = simulateFlatRamp([100.0, 2e5], shape=(20, 20), amplifiers=2, seed=1)
    assert rawHdus(ramp, 0)[1].data.dtype == np.uint16 and rawHdus(ramp, 3)[1].data.dtype == np.int32
    assert rawHdus(ramp, 4)[0].header["OBSTYPE"] == "bias" and rawHdus(ramp, 4)[0].header["EXPTIME"] == 0
    with pytest.raises(DomainError, match="layout"):
        rawHdus(ramp, 0, "cube")
    with pytest.raises(DomainError, match="26"):
        rawHdus(simulateFlatRamp([1.0], shape=(20, 20), amplifiers=28), 0, "frame")


def test_simulatedFullWellIsFlaggedThroughTheFile(tmp_path):
    """Every full pixel reaches the level of the header; rounding may bring a few more there."""
    amps = [AmplifierTruth("A", 1.5, 5.0, fullWell=9000.4), AmplifierTruth("B", 1.5, 5.0)]
    ramp = simulateFlatRamp([13500.0], shape=(50, 40), amplifiers=amps, seed=2)
    truth = ramp[0].mask.array != 0
    for layout in ("extensions", "frame", "plain"):
        names = writeFlatFiles(ramp, f"{tmp_path}/{layout}", layout)
        shot = readFlat(names[0], amps=f"{tmp_path}/plainamps.yaml" if layout == "plain" else None)
        saturated = shot.mask.array & shot.mask.bitmask(["SAT"]) != 0
        assert saturated[truth].all() and not saturated[:, 40:].any(), layout
        assert np.count_nonzero(saturated & ~truth) < 25
