"""Maps of what went where on the sky (A11), with the optional package healsparse."""

import sys

import numpy as np
import pytest
from coadd_scenes import constantWarp

from stillsky import AssembleCoaddConfig, AssembleCoaddTask
from stillsky.coadd import InMemoryWarp, InputMapConfig, assembleCoadd, makeInputMap
from stillsky.coadd.task import GivenWarps
from stillsky.errors import NoDataError, NotFoundError
from stillsky.geom import Box2I, Polygon
from stillsky.image import CoaddInputs
from stillsky.wcs import makeCdMatrix, makeTanWcs

BOX = Box2I((0, 0), (240, 200))
WCS = makeTanWcs((120.0, 100.0), (0.5, -0.1), makeCdMatrix(0.2 / 3600))
BAD = Box2I((60, 50), (70, 40))
NSIDE = 262144  # pixels of 0.8 arcsec, four of the coadd's


@pytest.fixture(scope="module")
def warps():
    """Three visits; the second has a bad box, the third two detectors that leave a gap of columns 100 to 119."""
    made = [constantWarp(1.0, 1.0, BOX, visit=visit, wcs=WCS) for visit in (11, 12, 13)]
    made[1].mask.array[BAD.slices(BOX.min)] = made[1].mask.bitmask("BAD")
    made[1].mask.array[10, ::3] |= made[1].mask.bitmask("BAD")  # too few to count
    for warp in made:
        inputs = CoaddInputs()
        inputs.addVisit(warp.visitInfo.id, BOX, weight=1.0, filter="g-sim", wcs=WCS)
        boxes = [BOX] if warp.visitInfo.id != 13 else [Box2I((0, 0), (100, 200)), Box2I((120, 0), (120, 200))]
        for k, box in enumerate(boxes):
            inputs.addCcd(100 * warp.visitInfo.id + k, Box2I((-50, -50), (400, 400)), ccd=k, visit=warp.visitInfo.id,
                          weight=2.0 + k, wcs=WCS, validPolygon=Polygon(box))  # fmt: skip
        warp.info.coaddInputs = inputs
    return made


def _places(found):
    """HEALPix pixels of a map and where their centres lie on the coadd."""
    pixels = found.valid_pixels
    ra, dec = found.valid_pixels_pos(lonlat=True)
    return pixels, *WCS.skyToPixel(np.radians(ra), np.radians(dec))


def _inside(x, y, box, margin):
    grown = (box.minX - margin, box.maxX + margin, box.minY - margin, box.maxY + margin)
    return (x > grown[0]) & (x < grown[1]) & (y > grown[2]) & (y < grown[3])


def test_A11_everyCoveredPixelHasTheBitOfEachVisitExceptInTheBadBox(warps):
    pytest.importorskip("healsparse")
    config = AssembleCoaddConfig()
    config.doInputMap, config.doInterp = True, False
    config.inputMapper.nside = NSIDE
    task = AssembleCoaddTask(config=config)

    class SkyInfo:
        bbox, wcs = BOX, WCS

    made = task.combine(SkyInfo, GivenWarps([InMemoryWarp(w) for w in warps])).inputMap
    pixels, x, y = _places(made)
    assert made.nside_sparse == NSIDE and made.nside_coverage == 128
    # all of the box, and nothing else
    assert _inside(x, y, BOX, 0.51).all()
    assert len(pixels) == pytest.approx(BOX.area * (0.2 / 0.805) ** 2, rel=0.03)
    bits = [made.check_bits_pix(pixels, [bit]) for bit in range(4)]
    assert bits[0].all()
    assert not bits[1][_inside(x, y, BAD, -4)].any() and bits[1][~_inside(x, y, BAD, 4)].all()
    assert (bits[2] == (x < 99.5)).mean() > 0.99 and (bits[3] == (x > 119.5)).mean() > 0.99
    assert not (bits[2] | bits[3])[(x > 101) & (x < 118)].any()
    names = {key: value for key, value in made.metadata.items() if key.startswith("B")}
    assert [names[f"B{bit:04d}VIS"] for bit in range(4)] == [11, 12, 13, 13]
    assert [names[f"B{bit:04d}CCD"] for bit in range(4)] == [0, 0, 0, 1] and names["B0000WT"] > 0


def test_coaddsOfVisitsWithoutDetectorsHaveABitEach(warps):
    healsparse = pytest.importorskip("healsparse")
    bare = [constantWarp(1.0, 1.0, BOX, visit=visit, wcs=WCS) for visit in (5, 6)]
    for warp in bare:
        warp.info.coaddInputs = CoaddInputs()
        warp.info.coaddInputs.addVisit(warp.visitInfo.id, BOX, weight=1.0)
    config = InputMapConfig()
    config.nside = NSIDE
    made = makeInputMap(
        assembleCoadd(bare).coadd.info.coaddInputs, BOX, WCS, [InMemoryWarp(w) for w in bare], ["BAD"], config
    )
    assert isinstance(made, healsparse.HealSparseMap) and made.check_bits_pix(made.valid_pixels, [0, 1]).all()
    assert made.metadata["B0001VIS"] == 6 and made.metadata["B0001CCD"] == -1
    with pytest.raises(NoDataError, match="no record"):
        makeInputMap(None, BOX, WCS, [], ["BAD"], config)


def test_withoutThePackageTheErrorSaysHowToGetIt(warps, monkeypatch):
    monkeypatch.setitem(sys.modules, "healsparse", None)
    config = AssembleCoaddConfig()
    config.doInputMap = True
    with pytest.raises(NotFoundError, match="healsparse") as caught:
        AssembleCoaddTask(config=config)
    assert "stillsky[maps]" in caught.value.remedy


@pytest.mark.parametrize("name, value", [("nside", 1000), ("nsideCoverage", 0), ("nsideCoverage", 65536)])
def test_figuresThatAreNoPowersOfTwoAreRefused(name, value):
    config = InputMapConfig()
    setattr(config, name, value)
    with pytest.raises(ValueError, match=name):
        config.validate()


def test_mapsAreKeptInRepositories(warps, tmp_path):
    healsparse = pytest.importorskip("healsparse")
    from stillsky.butler.formatters import HealSparseMapFormatter

    made = healsparse.HealSparseMap.make_empty(128, NSIDE, healsparse.WIDE_MASK, wide_mask_maxbits=9)
    made.set_bits_pix(np.arange(1000, 1100), [3, 8])

    class Uri:
        ospath = str(tmp_path / "map.hsp")

    HealSparseMapFormatter.write_local_file(None, made, Uri)
    back = HealSparseMapFormatter.read_from_local_file(None, Uri.ospath)
    np.testing.assert_array_equal(back.valid_pixels, made.valid_pixels)
    assert back.check_bits_pix(back.valid_pixels, [8]).all()
