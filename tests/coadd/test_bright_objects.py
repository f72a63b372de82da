"""Masks of bright objects (coadds and DCR, section 3.4 and 10.3.8)."""

import logging
import math

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

import stillsky
from stillsky.coadd import readBrightObjects, setBrightObjectMasks
from stillsky.geom import Box2I, Polygon
from stillsky.wcs import makeTanWcs

SCALE = math.radians(0.2 / 3600)
XY0, SHAPE = (1000, -50), (120, 160)
CENTER = (1080, 10)


def _exposure(orientation=0.0, flipped=False):
    c, s = math.cos(math.radians(orientation)), math.sin(math.radians(orientation))
    x = (c, -s) if flipped else (-c, s)  # east and north of a step along x; +X to the east where flipped
    wcs = makeTanWcs(CENTER, (1.0, -0.5), np.array([[x[0], s], [x[1], c]]) * 0.2 / 3600)
    exposure = stillsky.exposure(np.zeros(SHAPE, np.float32), xy0=XY0, wcs=wcs)
    return exposure


def _table(exposure, x, y, **columns):
    ra, dec = exposure.wcs.pixelToSky(float(x), float(y))
    return Table({"id": [7], "ra": [ra], "dec": [dec], **{k: [v] for k, v in columns.items()}})


def _masked(exposure, plane="BRIGHT_OBJECT"):
    ys, xs = np.nonzero(exposure.mask.isSet(plane))
    return set(zip((xs + XY0[0]).tolist(), (ys + XY0[1]).tolist(), strict=True))


def _pixels(inside):
    return {
        (x, y)
        for y in range(XY0[1], XY0[1] + SHAPE[0])
        for x in range(XY0[0], XY0[0] + SHAPE[1])
        if inside(x - CENTER[0], y - CENTER[1])
    }


def testCirclesHaveTheRadiusRoundedDown():
    exposure = _exposure()
    exposure.mask.array[5, 5] = 3
    table = _table(exposure, 1080.4, 9.6, type="circle", radius=7.9 * SCALE)
    assert setBrightObjectMasks(exposure, table) == 1
    assert _masked(exposure) == _pixels(lambda x, y: x * x + y * y <= 49)
    assert exposure.mask.array[5, 5] == 3


def testBoxesReachFromTruncatedToTruncated():
    exposure = _exposure()
    table = _table(exposure, *CENTER, type="box", width=10.2 * SCALE, height=5 * SCALE, angle=0.0)
    setBrightObjectMasks(exposure, table)
    # x: trunc(1080 -+ 5.1); y: trunc(10 -+ 2.5)
    assert _masked(exposure) == {(x, y) for x in range(1074, 1086) for y in range(7, 13)}
    turned = _exposure()
    setBrightObjectMasks(turned, _table(turned, *CENTER, type="box", width=5 * SCALE, height=10.2 * SCALE,
                                        angle=math.pi / 2))  # fmt: skip
    assert _masked(turned) == {(x, y) for x in range(1074, 1086) for y in range(7, 13)}


@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("orientation, angle", [(0, 30), (25, 0), (25, 30), (100, -55)])
def testTurnedBoxesFollowTheSky(orientation, flipped, angle):
    """Every pixel whose sky offset lies in the turned rectangle, computed on the sky."""
    exposure = _exposure(orientation, flipped)
    width, height = 60.3, 24.7
    table = _table(exposure, *CENTER, type="box", width=width * SCALE, height=height * SCALE, angle=math.radians(angle))
    setBrightObjectMasks(exposure, table)
    ra0, dec0 = exposure.wcs.pixelToSky(*map(float, CENTER))
    x, y = np.meshgrid(np.arange(SHAPE[1]) + XY0[0], np.arange(SHAPE[0]) + XY0[1])
    ra, dec = exposure.wcs.pixelToSky(x.astype(float), y.astype(float))
    east, north = (ra - ra0) * math.cos(dec0) / SCALE, (dec - dec0) / SCALE
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    along, up = east * c - north * s, east * s + north * c  # the height axis at position angle `angle`
    inside = (np.abs(along) <= width / 2) & (np.abs(up) <= height / 2)
    got = exposure.mask.isSet("BRIGHT_OBJECT")
    border = (np.abs(np.abs(along) - width / 2) < 0.02) | (np.abs(np.abs(up) - height / 2) < 0.02)
    assert np.array_equal(got[~border], inside[~border]) and got.sum() == pytest.approx(width * height, rel=0.02)


def testRegionsAreClippedAndThoseOutsideDoNotCount():
    exposure = _exposure()
    cases = [
        (999.0, 10.0, "circle", 5.0, 0.0),
        (1165.0, 75.0, "box", 40.0, 20.0),
        (5000.0, 10.0, "circle", 9.0, 0.0),
        (3000.0, 10.0, "box", 9.0, 9.0),
    ]
    ra, dec = exposure.wcs.pixelToSky(*(np.array([c[i] for c in cases]) for i in (0, 1)))
    sizes = np.array([c[3] for c in cases]) * SCALE
    table = Table({"coord": SkyCoord(ra * u.rad, dec * u.rad), "type": [c[2] for c in cases], "radius": sizes,
                   "width": sizes * u.rad, "height": np.array([c[4] for c in cases]) * SCALE,
                   "angle": [0.0, 0.5, 0.0, 0.0]})  # fmt: skip
    table["radius"] = table["radius"] * 206264.80624709636
    table["radius"].unit = "arcsec"
    assert setBrightObjectMasks(exposure, table) == 2
    masked = _masked(exposure)
    left = {p for p in masked if p[0] < 1050}
    assert left == _pixels(lambda x, y: (x + 81) ** 2 + y * y <= 25)
    assert {p for p in masked if p[0] >= 1100} and max(p[0] for p in masked) == 1159


def testOtherPlaneNamesAndEmptyTables(caplog):
    exposure = _exposure()
    table = _table(exposure, *CENTER, type="circle", radius=3 * SCALE)
    setBrightObjectMasks(exposure, table, "STAR")
    assert len(_masked(exposure, "STAR")) == 29 and "BRIGHT_OBJECT" not in exposure.mask.schema
    assert setBrightObjectMasks(exposure, table[:0]) == 0 and "BRIGHT_OBJECT" in exposure.mask.schema
    with caplog.at_level(logging.WARNING):
        assert setBrightObjectMasks(exposure, None) == 0
    assert "No table of bright objects" in caplog.text


def testOddRegionsAreSkippedWithAWarning(caplog):
    exposure = _exposure()
    ra, dec = exposure.wcs.pixelToSky(1080.0, 10.0)
    table = Table({"id": [1, 2, 3], "ra": [ra, ra + math.pi, ra], "dec": [dec, -dec, dec],
                   "type": ["ellipse", "circle", "circle"], "radius": np.array([1, 1, 2]) * SCALE})  # fmt: skip
    with caplog.at_level(logging.WARNING):
        assert setBrightObjectMasks(exposure, table) == 1
    assert "object 1: unknown region 'ellipse'" in caplog.text and "object 2 cannot be projected" in caplog.text
    assert len(_masked(exposure)) == 13


def testMissingColumnsAndWcs():
    exposure = _exposure()
    table = _table(exposure, *CENTER, type="circle")
    with pytest.raises(KeyError, match="no column 'radius'"):
        setBrightObjectMasks(exposure, table)
    exposure.wcs = None
    with pytest.raises(stillsky.DomainError, match="has no WCS"):
        setBrightObjectMasks(exposure, table)


def testDs9Regions(tmp_path):
    path = tmp_path / "stars.reg"
    path.write_text(
        '# Region file format: DS9\nglobal color=green\nfk5; circle(57.29578,-28.64789,3.2") # ID: 41, mag: 8.2\n'
        "icrs\nbox(3:49:10.99,-28:38:52.4,0.002,0.1',30)\ncircle( 57.3d , -28.6d , 0.001d )\n\n"
    )
    table = readBrightObjects(path)
    assert list(table["id"]) == [41, 1, 2] and list(table["type"]) == ["circle", "box", "circle"]
    assert np.degrees(table["ra"][0]) == pytest.approx(57.29578) and table["ra"].unit == "rad"
    assert np.degrees(table["radius"][0]) * 3600 == pytest.approx(3.2)
    assert np.degrees(table["ra"][1]) == pytest.approx((3 + 49 / 60 + 10.99 / 3600) * 15)
    assert np.degrees(table["dec"][1]) == pytest.approx(-(28 + 38 / 60 + 52.4 / 3600))
    sizes = [np.degrees(table[name][1]) for name in ("width", "height", "angle")]
    assert sizes == pytest.approx([0.002, 0.1 / 60, 30]) and np.isnan(table["radius"][1])
    exposure = _exposure()
    assert setBrightObjectMasks(exposure, table) == 2
    circle = {p for p in _masked(exposure) if math.hypot(p[0] - 1080, p[1] - 10) <= 16}
    assert circle == _pixels(lambda x, y: x * x + y * y <= 256)


@pytest.mark.parametrize(
    "text, message",
    [
        ("image\ncircle(1,2,3)", "ICRS or FK5"),
        ("circle(1,2)", "circle wants 3 numbers"),
        ("polygon(1,2,3,4,5,6)", "wanted circle"),
        ("circle(a,b,3)", "could not convert"),
        ("circle(1:2,3,4)", "no position"),
    ],
)
def testBrokenRegions(tmp_path, text, message):
    path = tmp_path / "stars.reg"
    path.write_text(text)
    with pytest.raises(stillsky.FitsLayoutError, match=message):
        readBrightObjects(path)


def testTablesOfRegions(tmp_path):
    exposure = _exposure()
    table = _table(exposure, *CENTER, type="circle", radius=3 * SCALE)
    table["radius"].unit = "rad"
    table.write(tmp_path / "stars.ecsv")
    back = readBrightObjects(tmp_path / "stars.ecsv")
    assert setBrightObjectMasks(exposure, back) == 1 and len(_masked(exposure)) == 29
    (tmp_path / "none.reg").write_text("# nothing\n")
    assert len(readBrightObjects(tmp_path / "none.reg")) == 0
    assert setBrightObjectMasks(exposure, readBrightObjects(tmp_path / "none.reg")) == 0


def testARotatedBoxIsThePolygonOfItsCorners():
    exposure = _exposure()
    angle = math.radians(30)
    table = _table(exposure, *CENTER, type="box", width=40.2 * SCALE, height=10.2 * SCALE, angle=angle)
    setBrightObjectMasks(exposure, table)
    # east is -x here: the width axis points to (-cos, -sin), the height axis to (-sin, cos)
    w, h = np.array([-math.cos(angle), -math.sin(angle)]) * 20.1, np.array([-math.sin(angle), math.cos(angle)]) * 5.1
    polygon = Polygon([np.array(CENTER) + i * w + j * h for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))])
    box = Box2I(XY0, (SHAPE[1], SHAPE[0]))
    assert _masked(exposure) == {p for p in _pixels(lambda x, y: True) if polygon.contains(p)} and box == exposure.bbox
