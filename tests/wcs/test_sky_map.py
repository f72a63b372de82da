"""Sky maps: tracts, patches, look-up by position, files."""

import pickle

import numpy as np
import pytest
from astropy.io import fits

from stillsky import SkyMap, TractInfo, makeCdMatrix, makeTanWcs
from stillsky.errors import DomainError, FitsLayoutError, NoDataError, OutOfBoundsError
from stillsky.geom import Box2I, Extent2I, Point2I

SCALE = 0.2 / 3600


def tract(number=0, ra=0.0, dec=10.0, size=(1000, 700), inner=(300, 200), border=10, corner=(-100, 50)):
    box = Box2I(Point2I(*corner), Extent2I(*size))
    wcs = makeTanWcs(box.center, np.radians((ra, dec)), makeCdMatrix(SCALE))
    return TractInfo(number, wcs, box, inner, border)


def test_innerBoxesTileTheTractOnceAndOuterBoxesReachTheBorder():
    t = tract()
    assert tuple(t.numPatches) == (4, 4) and len(t) == 16
    count = np.zeros((700, 1000), int)
    for patch in t:
        count[patch.innerBBox.slices(t.bbox.min)] += 1
        assert patch.outerBBox == patch.innerBBox.dilated(10).clipped(t.bbox)
    assert np.all(count == 1)
    assert t.patch((3, 3)).innerBBox.dimensions == Extent2I(100, 100)


@pytest.mark.parametrize("index", [6, (2, 1), "2,1"])
def test_patchesHaveThreeNames(index):
    patch = tract().patch(index)
    assert patch.index == (2, 1) and patch.sequentialIndex == 6
    assert patch.innerBBox.min == Point2I(500, 250)


@pytest.mark.parametrize("index", [16, -1, (4, 0), "0,4"])
def test_patchesThatDoNotExistAreRefused(index):
    with pytest.raises(OutOfBoundsError, match="4 x 4"):
        tract().patch(index)


def test_aPatchIsFoundByPositionEvenAtItsEdges():
    t = tract()
    for patch in t:
        box = patch.innerBBox
        for x, y in ((box.minX, box.minY), (box.maxX, box.maxY), box.center):
            assert t.findPatch(*t.wcs.pixelToSky(x, y)) == patch
    with pytest.raises(NoDataError, match="does not hold"):
        t.findPatch(*t.wcs.pixelToSky(t.bbox.maxX + 1, t.bbox.minY))


def test_patchesOfARegionAreThoseWhoseOuterBoxesMeetIt():
    t = tract()
    # 5 pixels beyond the edge between the first columns lies within the border of both
    found = t.findPatchList(*t.wcs.pixelToSky(np.array([150.0, 205.0]), np.array([100.0, 120.0])))
    assert [p.index for p in found] == [(0, 0), (1, 0)]
    assert t.findPatchList(np.pi + 0.1, -0.17) == []


def test_thePositionBelongsToTheTractWithTheNearestMiddle():
    width = 1000 * SCALE / np.cos(np.radians(10))
    skyMap = SkyMap([tract(7, ra=0.0), tract(3, ra=0.8 * width)])
    assert [t.id for t in skyMap] == [3, 7]
    for offset, wanted in ((0.3, 7), (0.5, 3), (-0.45, 7), (1.2, 3)):
        assert skyMap.findTract(*np.radians((offset * width % 360, 10))).id == wanted
    with pytest.raises(NoDataError, match="no tract"):
        skyMap.findTract(np.pi, 0.0)


def test_tractsAndPatchesOfAnImageAreListedTogether():
    width = 1000 * SCALE / np.cos(np.radians(10))
    skyMap = SkyMap([tract(0), tract(1, ra=0.9 * width), tract(2, ra=180.0)])
    ra, dec = skyMap[0].wcs.pixelToSky(np.array([-80.0, -30.0]), np.array([100.0, 200.0]))  # east is left
    found = skyMap.findTractPatchList(ra, dec)
    assert [t.id for t, _ in found] == [0, 1]
    assert {p.index for p in found[0][1]} == {(0, 0)} and {p.index[0] for p in found[1][1]} == {3}


def test_skyPolygonsAreThePixelOutlineOnTheSphere():
    patch = tract().patch(5)
    for polygon, box in ((patch.innerSkyPolygon, patch.innerBBox), (patch.outerSkyPolygon, patch.outerBBox)):
        assert np.linalg.norm(polygon, axis=1) == pytest.approx(1, abs=1e-15)
        ra, dec = np.arctan2(polygon[:, 1], polygon[:, 0]), np.arcsin(polygon[:, 2])
        x, y = patch.wcs.skyToPixel(ra, dec)
        assert (x.min(), x.max()) == pytest.approx((box.minX - 0.5, box.maxX + 0.5), abs=1e-6)
        assert (y.min(), y.max()) == pytest.approx((box.minY - 0.5, box.maxY + 0.5), abs=1e-6)


def test_regionsAreThoseOfTheButlersDimensions():
    from lsst.sphgeom import LonLat, UnitVector3d

    patch = tract().patch(5)
    inside = UnitVector3d(LonLat.fromRadians(*patch.wcs.pixelToSky(*patch.innerBBox.center)))
    corner = UnitVector3d(LonLat.fromRadians(*patch.wcs.pixelToSky(patch.outerBBox.minX, patch.outerBBox.minY)))
    assert patch.innerRegion.contains(inside) and patch.outerRegion.contains(corner)
    assert not patch.innerRegion.contains(corner)


def test_mapsSurviveAFileAndAPickle(tmp_path):
    skyMap = SkyMap([tract(0), tract(12, ra=359.9, dec=-89.0, border=0)])
    path = tmp_path / "map.fits"
    skyMap.writeFits(path)
    for other in (SkyMap.readFits(path), pickle.loads(pickle.dumps(skyMap))):
        assert other == skyMap and hash(other) == hash(skyMap)
        assert [p.outerBBox for t in other for p in t] == [p.outerBBox for t in skyMap for p in t]
        assert other[12].wcs == skyMap[12].wcs
    with pytest.raises(FileExistsError):
        skyMap.writeFits(path)
    skyMap.writeFits(path, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["map.fits"]


def test_theHashTellsMapsApart():
    first = SkyMap([tract()])
    assert len(first.sha1) == 20 and first.sha1 == SkyMap([tract()]).sha1
    others = [tract(1), tract(border=11), tract(inner=(300, 201)), tract(ra=1e-7), tract(size=(1000, 701))]
    assert len({first.sha1, *(SkyMap([t]).sha1 for t in others)}) == 6


def test_damagedFilesAreRefused(tmp_path):
    skyMap = SkyMap([tract()])
    hdu = skyMap.toHdu()
    hdu.data["BORDER"][0] = 3
    with pytest.raises(FitsLayoutError, match="SHA-1"):
        SkyMap.fromHdu(hdu)
    hdu = skyMap.toHdu()
    del hdu.header["SKYMAPV"]
    with pytest.raises(FitsLayoutError, match="version"):
        SkyMap.fromHdu(hdu)
    path = tmp_path / "no.fits"
    fits.PrimaryHDU().writeto(path)
    with pytest.raises(FitsLayoutError, match="SKYMAP"):
        SkyMap.readFits(path)


def test_impossibleTractsAreRefused():
    for wrong in ({"inner": (0, 10)}, {"border": -1}, {"size": (0, 5)}, {"number": -1}):
        with pytest.raises(DomainError):
            tract(**wrong)
    with pytest.raises(DomainError, match="id of its own"):
        SkyMap([tract(), tract()])
    with pytest.raises(DomainError, match="at least one"):
        SkyMap([])
    with pytest.raises(OutOfBoundsError, match="tract"):
        SkyMap([tract()])[1]
