"""Files of sources: tables in three formats, regions, footprints."""

import re

import numpy as np
import pytest

from stillsky.detection import Footprint, FootprintSet, SpanSet, makePeaks
from stillsky.diffim.ids import sourceIdLayout
from stillsky.diffim.source_io import readFootprints, readSources, writeFootprints, writeRegions, writeSources
from stillsky.diffim.source_schema import completed, sourceSchema
from stillsky.errors import DomainError, FitsLayoutError
from stillsky.geom import Box2I
from stillsky.wcs import makeCdMatrix, makeTanWcs


@pytest.fixture
def table(rng):
    from astropy.table import Table

    n = 7
    out = completed(Table({"base_SdssCentroid_x": rng.uniform(5, 90, n), "base_SdssCentroid_y": rng.uniform(5, 90, n)}))
    out["id"][:] = sourceIdLayout(3, 4, nDetectors=10, nObservations=100).makeFactory().reserve(n)
    out["base_PsfFlux_instFlux"][:] = rng.normal(0, 100, n)
    out["is_negative"][:] = np.asarray(out["base_PsfFlux_instFlux"]) < 0
    out["candidate_flag"][2] = True
    out.meta.update(
        {"slots": {"slot_Centroid": "base_SdssCentroid"}, "threshold": 5.0, "visit": None, "plugins": ["a"]}
    )
    return out


@pytest.mark.parametrize("suffix", ["ecsv", "parquet", "fits"])
def test_tablesComeBackWithUnitsDescriptionsAndMeta(table, suffix, tmp_path):
    path = tmp_path / f"t.{suffix}"
    writeSources(table, path)
    back = readSources(path)
    assert back.colnames == table.colnames
    for name in table.colnames:
        a, b = table[name], back[name]
        assert a.dtype.kind == b.dtype.kind or {a.dtype.kind, b.dtype.kind} == {"U", "O"}, name
        assert a.unit == b.unit, name
        if a.dtype.kind == "U":
            assert np.ma.filled(a, "").tolist() == np.ma.filled(b, "").tolist(), name
        else:
            assert np.array_equal(np.asarray(a), np.asarray(b), equal_nan=a.dtype.kind == "f"), name
    assert back["id"].dtype.itemsize == 8
    assert back.meta["slots"] == table.meta["slots"] and back.meta["threshold"] == 5.0 and back.meta["visit"] is None
    with pytest.raises(FileExistsError):
        writeSources(table, path)
    writeSources(table[:2], path, overwrite=True)
    assert len(readSources(path)) == 2
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_emptyTablesAreWrittenToo(tmp_path):
    for suffix in ("ecsv", "parquet", "fits"):
        writeSources(sourceSchema(), tmp_path / f"e.{suffix}")
        back = readSources(tmp_path / f"e.{suffix}")
        assert len(back) == 0 and back.colnames == sourceSchema().colnames


def test_otherSuffixesAreRefused(table, tmp_path):
    with pytest.raises(DomainError, match=r"\.parquet"):
        writeSources(table, tmp_path / "t.csv")


def test_imageRegionsAreTheTablePlusOne(table, tmp_path):
    """A20 of user-experience 16."""
    writeRegions(table, tmp_path / "r.reg")
    text = (tmp_path / "r.reg").read_text()
    assert "\nimage\n" in text
    found = re.findall(r"circle\(([\d.]+),([\d.]+),[\d.]+\) # color=(\w+)( dash=1)? text=\{(\d+)\}", text)
    assert len(found) == len(table)
    for row, (x, y, color, dash, name) in zip(table, found, strict=True):
        assert float(x) == pytest.approx(row["base_SdssCentroid_x"] + 1, abs=1e-4)
        assert float(y) == pytest.approx(row["base_SdssCentroid_y"] + 1, abs=1e-4)
        assert color == ("magenta" if row["is_negative"] else "green")
        assert bool(dash) == bool(row["candidate_flag"]) and int(name) == row["id"]


def test_skyRegionsAreTheTablesCoordinates(table, tmp_path):
    wcs = makeTanWcs((50, 50), (0.8, -0.3), makeCdMatrix(1e-6))
    table["coord_ra"], table["coord_dec"] = wcs.pixelToSky(table["base_SdssCentroid_x"], table["base_SdssCentroid_y"])
    table["coord_ra"][3] = np.nan
    writeRegions(table, tmp_path / "r.reg", wcs=wcs)
    text = (tmp_path / "r.reg").read_text()
    assert "\nfk5\n" in text
    found = re.findall(r"circle\(([\d.-]+),([\d.-]+),", text)
    assert len(found) == len(table) - 1
    assert float(found[0][0]) == pytest.approx(np.degrees(table["coord_ra"][0]), abs=1e-6)
    assert float(found[0][1]) == pytest.approx(np.degrees(table["coord_dec"][0]), abs=1e-6)


def test_footprintsComeBack(tmp_path):
    region = Box2I((5, 7), (100, 80))
    peaks = makePeaks([(30, 40, 12.5), (33, 41, -3.0)])
    peaks["significance"] = (9, 6)
    made = FootprintSet(
        [
            Footprint(SpanSet.fromShape(4, offset=(31, 40)), peaks, region),
            Footprint(SpanSet.fromShape(2, offset=(70, 60)), makePeaks([(70, 60, 8.0)]), region),
        ],
        region,
    )
    writeFootprints(made, [1000000000001, 1000000000002], tmp_path / "f.fits")
    back, ids = readFootprints(tmp_path / "f.fits")
    assert ids.tolist() == [1000000000001, 1000000000002]
    assert back.region == region
    for a, b in zip(made, back, strict=True):
        assert a.spans == b.spans
        for name in ("i_x", "i_y", "peakValue", "significance"):
            assert np.array_equal(a.peaks[name], b.peaks[name])
    assert back[0].peaks["merge_peak_negative"].tolist() == [False, True]
    with pytest.raises(DomainError, match="ids"):
        writeFootprints(made, [1], tmp_path / "g.fits")
    writeSources(sourceSchema(), tmp_path / "s.fits")
    with pytest.raises(FitsLayoutError, match="FOOTPRINTS"):
        readFootprints(tmp_path / "s.fits")
