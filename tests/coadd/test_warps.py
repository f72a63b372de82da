"""Warps in files of all kinds: mapped, decoded, foreign, behind handles; failures; file handles; memory."""

import gc
import os
import resource
import shutil
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from coadd_scenes import BOX, WCS, constantWarp, skyWarps
from test_assembly import bits, configOf

from stillsky.coadd import DeferredWarp, InMemoryWarp, WarpHandle, assembleCoadd, asWarp, mapped_planes, prepareInputs
from stillsky.errors import FitsLayoutError, MismatchError, NoDataError, NotFoundError, ShapeError
from stillsky.geom import Box2I
from stillsky.image import makeExposure


@pytest.fixture(scope="module")
def warps():
    return skyWarps(5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, warps):
    """Each warp as a plain, a losslessly compressed, a gzip and a bzip2 file."""
    path = tmp_path_factory.mktemp("warps")
    for k, warp in enumerate(warps):
        warp.writeFits(path / f"plain{k}.fits")
        warp.writeFits(path / f"tiles{k}.fits", compress="lossless")
        warp.writeFits(path / f"gzip{k}.fits.gz")
        warp.writeFits(path / f"bzip{k}.fits.bz2")
    return path


@pytest.fixture(scope="module")
def stacked(warps):
    return assembleCoadd(warps, BOX, WCS, configOf())


def paths(folder, pattern):
    return sorted(folder.glob(pattern))


@pytest.mark.parametrize("pattern", ["plain*.fits", "tiles*.fits", "gzip*.fits.gz", "bzip*.fits.bz2"])
@pytest.mark.parametrize("memory", [1 << 31, 1])
def testFilesGiveTheSameBitsAsMemory(folder, stacked, pattern, memory):
    result = assembleCoadd(paths(folder, pattern), BOX, WCS, configOf(memory=memory))
    assert bits(result) == bits(stacked) and result.weights == stacked.weights


def testPlainFilesAreMappedAndOthersDecodedOnce(folder, tmp_path):
    plain = WarpHandle(folder / "plain0.fits", scratch=tmp_path)
    image, mask, variance = plain.block(Box2I((-23, 0), (121, 3)))
    assert (image.dtype.str, mask.dtype.str, variance.dtype.str) == (">f4", ">i4", ">f4")
    assert not image.flags.owndata and not image.flags.writeable and not list(tmp_path.iterdir())
    tiles = WarpHandle(folder / "tiles0.fits", scratch=tmp_path)
    assert not list(tmp_path.iterdir())  # nothing before pixels are asked for
    np.testing.assert_array_equal(tiles.block(Box2I((-23, 0), (121, 3)))[0], image)
    (scratch,) = tmp_path.iterdir()
    assert scratch.stat().st_size == BOX.area * 12
    os.utime(scratch, (1, 1))
    tiles.block(BOX)
    assert scratch.stat().st_mtime == 1
    del tiles, image, mask, variance
    gc.collect()
    assert not list(tmp_path.iterdir())


def testForeignFilesServe(tmp_path, rng):
    names = []
    for k in range(3):
        pixels = rng.normal(100, 5, (40, 50)).astype(np.float32)
        pixels[3, k] = np.nan
        names.append(tmp_path / f"camera{k}.fits")
        fits.PrimaryHDU(pixels, fits.Header({"GAIN": 4.0, "RDNOISE": 0.0})).writeto(names[-1])
    result = assembleCoadd(names, config=configOf())
    assert result.coadd.bbox == Box2I((0, 0), (50, 40)) and len(result.inputs) == 3
    assert abs(result.coadd.image.array.mean() - 100) < 1 and (result.nKept.array[3, :3] == 2).all()


def testHandlesReadBoxByBox(warps, stacked):
    class Handle:
        def __init__(self, exposure, components):
            self.exposure, self.components, self.boxes = exposure, components, []
            self.dataId = {"visit": exposure.visitInfo.id}

        def get(self, *, component=None, parameters=None):
            if not self.components and (component or parameters):
                raise KeyError("no delegate")
            if component:
                return getattr(self.exposure, component)
            self.boxes.append((parameters or {}).get("bbox"))
            return self.exposure[parameters["bbox"]] if parameters else self.exposure

    handles = [Handle(w, True) for w in warps]
    result = assembleCoadd(handles, BOX, WCS, configOf(memory=1))
    assert bits(result) == bits(stacked)
    assert max(b.height for b in handles[0].boxes[-20:]) == 1
    assert bits(assembleCoadd([Handle(w, False) for w in warps], BOX, WCS, configOf())) == bits(stacked)
    assert isinstance(asWarp(handles[0]), DeferredWarp) and asWarp(handles[0]).dataId == {"visit": 1}


def testComponentsAndBoxesOfAWarp(folder, warps):
    for warp in (WarpHandle(folder / "plain1.fits"), WarpHandle(folder / "tiles1.fits"), InMemoryWarp(warps[1])):
        assert warp.bbox == BOX and warp.get(component="bbox") == BOX
        assert warp.get(component="visitInfo").id == 2 and warp.get(component="filter").band == "g"
        assert warp.metadata["BUNIT"] == "nJy" and warp.get(component="psf") == warps[1].psf
        box = Box2I((0, 0), (11, 7))
        part = warp.get(parameters={"bbox": box})
        assert part.maskedImage == warps[1].maskedImage[box] and part.visitInfo.id == 2
        assert warp.get(component="mask", parameters={"bbox": box}) == warps[1].mask[box]
        assert warp.get().maskedImage == warps[1].maskedImage
        with pytest.raises(NotFoundError):
            warp.get(component="colour")
        with pytest.raises(NotFoundError):
            warp.get(parameters={"box": box})
        with pytest.raises(ShapeError):
            warp.get(parameters={"bbox": box.shifted((500, 0))})
    with pytest.raises(TypeError, match="wanted files"):
        asWarp(3)


def testFileHandlesAreLimited(folder, stacked, monkeypatch):
    limit = mapped_planes._RESERVE + 2 * (mapped_planes._nMapped + 8)
    monkeypatch.setattr(mapped_planes, "_descriptors", lambda: limit)
    warps = [WarpHandle(p) for p in paths(folder, "plain*.fits") * 4]
    result = assembleCoadd(warps, BOX, WCS, configOf(statistic="MEAN", memory=1))
    mapped = [w._mapped().isMapped for w in warps]
    assert 0 < sum(mapped) <= 8 < len(mapped)
    plain = assembleCoadd([w.get() for w in warps], BOX, WCS, configOf(statistic="MEAN"))
    assert bits(result) == bits(plain)


@pytest.mark.slow
def testThreeHundredWarpsWithFewFileHandles(tmp_path):
    box = Box2I((0, 0), (64, 32))
    names = [tmp_path / f"w{k:03d}.fits" for k in range(300)]
    constantWarp(1.0, 1.0, box).writeFits(names[0])
    for name in names[1:]:
        shutil.copy(names[0], name)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 60
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 40, hard))
    try:
        result = assembleCoadd(names, config=configOf(statistic="MEAN"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (result.nKept.array == 300).all() and not result.skipped
    np.testing.assert_allclose(result.coadd.variance.array, 1 / 300, rtol=1e-5)


def testBadInputsAreLeftOutAndNamed(folder, warps, tmp_path, caplog):
    names = paths(folder, "plain*.fits")
    short = tmp_path / "short.fits"
    short.write_bytes(names[0].read_bytes()[:20000])
    (tmp_path / "text.fits").write_text("no FITS")
    nan = constantWarp(np.nan, 1.0, visit=20)
    zero = constantWarp(1.0, 0.0, visit=21)
    unknown = constantWarp(1.0, np.nan, visit=22)
    negative = constantWarp(1.0, -2.0, visit=23)
    far = constantWarp(1.0, 1.0, BOX.shifted((5000, 0)), visit=24)
    grid = constantWarp(1.0, 1.0, visit=25, wcs=WCS.shifted((3, 0)))
    unit = constantWarp(1.0, 1.0, visit=26, unit="electron")
    masked = constantWarp(1.0, 1.0, visit=27, mask=1)
    bad = [
        short,
        tmp_path / "text.fits",
        tmp_path / "absent.fits",
        nan,
        zero,
        unknown,
        negative,
        far,
        grid,
        unit,
        masked,
    ]
    result = assembleCoadd([*names[:3], *bad, *names[3:]], BOX, WCS, configOf())
    assert bits(result) == bits(assembleCoadd(warps, BOX, WCS, configOf()))
    reasons = {s.name: s.reason for s in result.skipped}
    assert len(reasons) == len(result.skipped) == len(bad)
    for name, text in {
        "file=short.fits": "truncated", "file=text.fits": "FITS", "file=absent.fits": "no such file",
        "visit=20": "no finite pixel", "visit=21": "mean variance is 0", "visit=22": "mean variance is nan",
        "visit=23": "mean variance is -2", "visit=24": "no pixels in common", "visit=25": "another pixel grid",
        "visit=26": "BUNIT", "visit=27": "mean variance is nan",
    }.items():  # fmt: skip
        assert text in reasons[name], (name, reasons[name])
    assert caplog.text.count("is left out") == len(bad)


@pytest.mark.parametrize(
    ("name", "error"),
    [("short.fits", FitsLayoutError), ("absent.fits", FileNotFoundError)],
)
def testStrictRefusesTheFirstBadInput(folder, tmp_path, name, error):
    (tmp_path / "short.fits").write_bytes((folder / "plain0.fits").read_bytes()[:20000])
    with pytest.raises(error, match=name):
        assembleCoadd([*paths(folder, "plain*.fits"), tmp_path / name], BOX, WCS, configOf(strict=True))


def testNothingLeftSaysWhy(tmp_path):
    with pytest.raises(NoDataError, match="no warp") as caught:
        assembleCoadd([tmp_path / "absent.fits"], BOX, WCS, configOf())
    assert "absent.fits" in caught.value.found
    with pytest.raises(NoDataError):
        assembleCoadd([], BOX, WCS, configOf())


@pytest.mark.parametrize("online", [False, True])
def testAWarpThatFailsInTheMiddleIsTakenOut(warps, online):
    class Failing(InMemoryWarp):
        nBlocks = 0

        def block(self, box):
            self.nBlocks += 1
            if box.minY > 20:
                raise OSError(5, "input/output error")
            return super().block(box)

    config = configOf(memory=1, statistic="MEAN", doOnlineForMean=online)
    failing = Failing(warps[1]) if not online else _FailsWhenWhole(warps[1])
    given = [warps[0], failing, *warps[2:]]
    weights = [1.0] * len(given)
    result = assembleCoadd(_prepared(given, config, weights), BOX, WCS, config)
    rest = [w for k, w in enumerate(warps) if k != 1]
    assert bits(result) == bits(assembleCoadd(rest, BOX, WCS, config, weights=weights[1:]))
    assert [s.reason for s in result.skipped] == ["OSError: [Errno 5] input/output error"]
    config.strict = True
    with pytest.raises(OSError, match="input/output"):
        assembleCoadd(_prepared(given, config, weights), BOX, WCS, config)


class _FailsWhenWhole(InMemoryWarp):
    def block(self, box):
        raise OSError(5, "input/output error")


def _prepared(given, config, weights):
    from stillsky.coadd import PreparedInputs, PreparedWarp

    return PreparedInputs([PreparedWarp(asWarp(w), BOX, weight) for w, weight in zip(given, weights)])


def testUnitsAreDemandedWhereTheyMatter(warps):
    config = configOf(requireUnit=True)
    assert len(prepareInputs(warps, BOX, config).inputs) == len(warps)
    for unit in (None, "electron"):
        with pytest.raises(MismatchError, match="BUNIT") as caught:
            prepareInputs([*warps, constantWarp(1.0, 1.0, unit=unit, visit=9)], BOX, config)
        assert isinstance(caught.value, ValueError)


def testWarpsOfSeveralBandsAreSaid(warps, caplog):
    other = constantWarp(1.0, 1.0, visit=31, band="r")
    result = assembleCoadd([warps[0], other], BOX, WCS, configOf())
    assert result.coadd.filter.band == "g" and any("several bands" in note for note in result.notes)
    with pytest.raises(MismatchError, match="several bands"):
        assembleCoadd([warps[0], other], BOX, WCS, configOf(strict=True))


def testFilesAreNotChangedAndExposuresNeither(folder, warps):
    before = [p.read_bytes() for p in paths(folder, "plain*.fits")]
    copies = [w.maskedImage.copy() for w in warps]
    config = configOf(removeMaskPlanes=["DETECTED"])
    assembleCoadd([*paths(folder, "plain*.fits"), *warps], BOX, WCS, config)
    assert before == [p.read_bytes() for p in paths(folder, "plain*.fits")]
    assert copies == [w.maskedImage for w in warps]


def testMemoryIsBounded(tmp_path):
    box = Box2I((0, 0), (1024, 256))
    constantWarp(1.0, 1.0, box).writeFits(tmp_path / "w.fits")
    names = [tmp_path / "w.fits"]
    for k in range(1, 40):
        os.link(tmp_path / "w.fits", tmp_path / f"w{k}.fits")
        names.append(tmp_path / f"w{k}.fits")
    config = configOf(memory=8 << 20)
    assembleCoadd(names[:2], config=config)
    tracemalloc.start()
    result = assembleCoadd(names, config=config)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(result.inputs) == 40 and result.metadata["nBands"] > 20
    assert peak < 14 << 20  # 4 MB of result, 3 of the weight of one warp; all warps would be 126 MB


def testPlainArraysServe(rng):
    given = [makeExposure(rng.normal(0, 1, (30, 40)).astype(np.float32), variance=1.0) for _ in range(4)]
    given[0] = makeExposure(given[0].image.array.astype(np.float64), variance=1.0)
    result = assembleCoadd(given, config=configOf())
    assert result.coadd.wcs is None and result.nKept.array.max() == 4
    assert result.coadd.image.array.dtype == np.float32
