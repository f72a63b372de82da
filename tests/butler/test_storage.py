"""Storage classes, formatters, delegate (task-framework 12, checks 5 to 7 and 14)."""

import warnings

import numpy as np
import pytest
from astropy.table import Table

pytest.importorskip("lsst.daf.butler")

from lsst.daf.butler import DatasetType, StorageClassFactory
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.pipe.base import InMemoryDatasetHandle

from stillsky import read
from stillsky.butler.repository import STORAGE
from stillsky.fits import writeExposure
from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.image import Image, Mask, MaskedImage, MaskSchema, makeExposure

BOX = Box2I(Point2I(65, 25), Extent2I(4, 3))


@pytest.fixture
def put(butler):
    """Function (object, storage class) -> reference of the dataset that it was put as."""
    butler.registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "stillsky.butler.instruments.Cam"})
    butler.collections.register("u/test")

    def put(thing, storageClass, name="thing"):
        kind = DatasetType(name, ("instrument",), storageClass, universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)
        return butler.put(thing, kind, instrument="Cam", run="u/test")

    return put


@pytest.fixture
def exposure(makeCalexp):
    made = makeCalexp(7)
    made.mask.array[3, 4] = made.mask.bitmask(["NO_DATA"])
    return made


def test_an_exposure_comes_back_bit_by_bit_with_its_origin_planes_and_components(butler, put, exposure):
    back = butler.get(put(exposure, "StillskyExposure"))
    for plane in ("image", "mask", "variance"):
        np.testing.assert_array_equal(getattr(back, plane).array, getattr(exposure, plane).array)
    assert back.xy0 == exposure.xy0 == Point2I(60, 20)
    assert dict(back.mask.schema.items()) == dict(exposure.mask.schema.items())
    assert back.psf == exposure.psf and back.filter == exposure.filter and back.visitInfo == exposure.visitInfo


def test_each_component_is_read_alone(butler, put, exposure):
    ref = put(exposure, "StillskyExposure")
    for name in ("bbox", "xy0", "dimensions", "psf", "filter", "visitInfo"):
        whole = {"xy0": exposure.bbox.min, "dimensions": exposure.bbox.dimensions}.get(
            name, getattr(exposure, name, None)
        )
        assert butler.get(ref.makeComponentRef(name)) == whole, name
    assert butler.get(ref.makeComponentRef("wcs")).pixelScale() == pytest.approx(exposure.wcs.pixelScale(), rel=1e-12)
    for name in ("image", "mask", "variance"):
        part = butler.get(ref.makeComponentRef(name), parameters={"bbox": BOX})
        np.testing.assert_array_equal(part.array, getattr(exposure, name)[BOX].array)
    assert butler.get(ref.makeComponentRef("photoCalib")) is None


def test_the_box_is_read_without_pixels(butler, put, exposure, monkeypatch):
    ref = put(exposure, "StillskyExposure")

    def refuse(*args, **kwargs):
        raise AssertionError("pixels were read")

    monkeypatch.setattr("stillsky.fits.parts.readPixels", refuse)
    monkeypatch.setattr("stillsky.fits.native.readPixels", refuse)
    assert butler.get(ref.makeComponentRef("bbox")) == exposure.bbox


def test_a_sub_box_equals_the_slice(butler, put, exposure):
    ref = put(exposure, "StillskyExposure")
    for part in (butler.get(ref, parameters={"bbox": BOX}), butler.getDeferred(ref).get(parameters={"bbox": BOX})):
        assert part.bbox == BOX
        np.testing.assert_array_equal(part.image.array, exposure.image.array[5:8, 5:9])


def test_wrong_parameters_types_and_second_puts_are_refused(butler, put, exposure):
    with pytest.raises(TypeError):
        put(3, "StillskyExposure")
    ref = put(exposure, "StillskyExposure")
    with pytest.raises(KeyError, match="box"):
        butler.get(ref, parameters={"box": BOX})
    with pytest.raises(ConflictingDefinitionError):
        put(exposure, "StillskyExposure")


def test_a_file_of_the_repository_is_a_plain_file(butler, put, exposure):
    from astropy.io import fits

    path = butler.getURI(put(exposure, "StillskyExposure")).ospath
    np.testing.assert_array_equal(read(path).image.array, exposure.image.array)
    with fits.open(path) as hdus:
        np.testing.assert_array_equal(hdus["IMAGE"].data, exposure.image.array)


def test_no_shipped_mask_plane_makes_a_warning(butler, put, exposure):
    names = ["REJECTED", "CLIPPED", "SENSOR_EDGE", "INEXACT_PSF", "BRIGHT_OBJECT", "NOT_DEBLENDED", "INJECTED_CORE"]
    for name in names:
        exposure.mask.addPlane(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        back = butler.get(put(exposure, "StillskyExposure"))
    assert set(names) <= set(back.mask.schema)


def test_handles_in_memory_know_components_and_boxes(exposure):
    StorageClassFactory().addFromConfig(STORAGE)
    handle = InMemoryDatasetHandle(exposure, storageClass="StillskyExposure", copy=False, visit=7)
    assert handle.get(component="bbox") == exposure.bbox
    assert handle.get(component="visitInfo").id == 7
    part = handle.get(parameters={"bbox": BOX})
    np.testing.assert_array_equal(part.image.array, exposure[BOX].image.array)
    assert handle.get(component="image", parameters={"bbox": BOX}).bbox == BOX


def test_images_masks_and_masked_images_keep_type_origin_and_planes(butler, put):
    counts = Image(np.arange(12, dtype=np.uint16).reshape(3, 4), xy0=(65, 25))
    mask = Mask(np.arange(12, dtype=np.int32).reshape(3, 4), xy0=(65, 25), schema=MaskSchema({"BAD": 0, "NO_DATA": 8}))
    real = Image(np.arange(12, dtype=np.float32).reshape(3, 4) / 7, xy0=(65, 25))
    for i, thing in enumerate((counts, real)):
        back = butler.get(put(thing, "StillskyImage", f"image{i}"))
        assert back.array.dtype.newbyteorder("=") == thing.array.dtype and back.xy0 == thing.xy0
        np.testing.assert_array_equal(back.array, thing.array)
    back = butler.get(put(mask, "StillskyMask", "mask"))
    assert dict(back.schema.items()) == {"BAD": 0, "NO_DATA": 8}
    np.testing.assert_array_equal(back.array, mask.array)
    both = butler.get(put(MaskedImage(real, mask, real), "StillskyMaskedImage", "masked"))
    np.testing.assert_array_equal(both.variance.array, real.array)
    assert both.bbox == BOX


def test_psfs_kernels_boxes_wcs_and_sky_maps_come_back_equal(butler, put, exposure):
    from stillsky.kernel import FixedKernel
    from stillsky.wcs import SkyMap, TractInfo

    kernel = FixedKernel(np.random.default_rng(3).normal(size=(5, 5)))
    skyMap = SkyMap([TractInfo(0, exposure.wcs, exposure.bbox, (20, 25), 2)])
    assert butler.get(put(exposure.psf, "StillskyPsf", "psf")) == exposure.psf
    assert butler.get(put(BOX, "StillskyBox", "box")) == BOX
    assert butler.get(put(skyMap, "StillskySkyMap", "map")) == skyMap
    np.testing.assert_allclose(butler.get(put(kernel, "StillskyKernel", "kernel")).imageAt(0, 0), kernel.imageAt(0, 0))
    wcs = butler.get(put(exposure.wcs, "StillskyWcs", "wcs"))
    np.testing.assert_allclose(wcs.pixelToSky(70.0, 33.0), exposure.wcs.pixelToSky(70.0, 33.0), rtol=0, atol=1e-13)


def test_a_table_keeps_units_meta_and_the_callers_table(butler, put):
    table = Table({"id": np.arange(3), "flux": np.array([1.0, 2.0, np.nan])}, meta={"b": True, "i": 3, "s": "12"})
    table["flux"].unit = "nJy"
    ref = put(table, "StillskyTable")
    assert dict(table.meta) == {"b": True, "i": 3, "s": "12"}  # a put changes nothing of the caller's
    back = butler.get(ref)
    assert {key: back.meta[key] for key in table.meta} == {"b": True, "i": 3, "s": "12"}
    assert back["flux"].unit == "nJy" and back["id"].dtype == np.int64
    np.testing.assert_array_equal(back["flux"], table["flux"])
    assert butler.get(ref, parameters={"columns": "flux"}).colnames == ["flux"]
    assert butler.get(ref.makeComponentRef("rowcount")) == 3
    assert butler.get(ref.makeComponentRef("columns")) == ["id", "flux"]


def test_a_photon_transfer_dataset_comes_back_equal(butler, put):
    from stillsky.ptc import PhotonTransferCurveDataset

    made = PhotonTransferCurveDataset(["A", "B"], "EXPAPPROXIMATION", 2)
    assert butler.get(put(made, "StillskyPtc")) == made


def test_a_plain_file_is_ingested_where_it_is_and_reads_the_same(butler, tmp_path, rng):
    from lsst.daf.butler import DatasetRef, FileDataset

    plain = makeExposure(rng.normal(size=(8, 9)).astype(np.float32), variance=np.ones((8, 9), np.float32))
    path = str(tmp_path / "plain.fits")
    writeExposure(plain, path)
    butler.registry.insertDimensionData("instrument", {"name": "Cam", "class_name": "stillsky.butler.instruments.Cam"})
    kind = DatasetType("plain", ("instrument",), "StillskyExposure", universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    ref = DatasetRef(kind, butler.registry.expandDataId(instrument="Cam"), run="u/files")
    butler.collections.register("u/files")
    butler.ingest(FileDataset(path, [ref]), transfer="direct")
    np.testing.assert_array_equal(butler.get(ref).image.array, plain.image.array)
    assert butler.getURI(ref).ospath == path


def test_a_file_damaged_in_the_repository_is_named(butler, put, exposure):
    ref = put(exposure, "StillskyExposure")
    path = butler.getURI(ref).ospath
    with open(path, "r+b") as file:
        file.truncate(3000)
    with pytest.raises(Exception, match="bytes|size|[Tt]runcated"):
        butler.get(ref)


def test_inputs_of_a_coadd_come_back_with_their_objects(butler, put, exposure):
    from stillsky.image import CoaddInputs

    inputs = CoaddInputs()
    objects = {"psf": exposure.psf, "wcs": exposure.wcs, "visitInfo": exposure.visitInfo}
    inputs.addVisit(7, exposure.bbox, goodpix=1900, weight=0.25, filter="r", **objects)
    inputs.addCcd(7001, exposure.bbox, ccd=1, visit=7, goodpix=1900, weight=0.25, filter="r", **objects)
    back = butler.get(put(inputs, "StillskyCoaddInputs"))
    assert back == inputs and back.visits["weight"][0] == 0.25
    assert back.ccds["psf"][0] == exposure.psf and back.bboxOf(back.ccds[0]) == exposure.bbox


def test_kernels_that_vary_and_psfs_of_every_kind_come_back(butler, put):
    from stillsky.kernel import FixedKernel, LinearCombinationKernel, PolynomialFunction2
    from stillsky.psf import GaussianPsf, ImageGridPsf, KernelPsf, PcaPsf

    rng = np.random.default_rng(4)
    basis = [FixedKernel(rng.normal(size=(5, 5))) for _ in range(2)]
    functions = [PolynomialFunction2([1.0, 0.01, 0.002]), PolynomialFunction2([0.3, 0.0, -0.01])]
    kernel = LinearCombinationKernel(basis, functions)
    back = butler.get(put(kernel, "StillskyKernel", "kernel"))
    for x, y in ((0.0, 0.0), (30.5, 12.25)):
        np.testing.assert_allclose(back.imageAt(x, y), kernel.imageAt(x, y), rtol=1e-12, atol=1e-13)
    y, x = np.mgrid[-5:6, -5:6]
    stamps = [np.exp(-(x**2 + y**2) / (2 * s**2)) for s in (1.2, 1.5)]
    box = Box2I(Point2I(0, 0), Extent2I(50, 40))
    for i, psf in enumerate((
        GaussianPsf(9, 9, 1.3), KernelPsf(stamps[0]), ImageGridPsf([stamps], [0.0, 49.0], [20.0]),
        PcaPsf(stamps, [[0.5, -0.5, 0.0], [0.5, 0.5, 0.0]], box),
    )):  # fmt: skip
        again = butler.get(put(psf, "StillskyPsf", f"psf{i}"))
        assert type(again) is type(psf)
        for at in ((0.0, 0.0), (48.0, 35.5)):
            np.testing.assert_array_equal(again.computeKernelImage(at).array, psf.computeKernelImage(at).array)


def test_a_table_of_the_repository_is_a_plain_table_and_the_reverse(butler, put, tmp_path):
    """Parquet that other programs read, with meta of every type; ECSV and FITS tables are ingested."""
    from lsst.daf.butler import DatasetRef, FileDataset
    from pyarrow import parquet

    from stillsky.diffim import writeSources

    table = Table({"id": [1, 2]}, meta={"list": [1, 2.5], "text": "r12", "none": None, "nan": float("nan")})
    table["id"].unit, table["id"].description = "pix", "number"
    path = butler.getURI(put(table, "StillskyTable", "t0")).ospath
    assert parquet.read_table(path).to_pydict() == {"id": [1, 2]}
    butler.collections.register("u/files")
    for i, suffix in enumerate(("ecsv", "fits", "parquet"), 1):
        plain = str(tmp_path / f"plain.{suffix}")
        writeSources(table["id",], plain)
        kind = DatasetType(f"t{i}", ("instrument",), "StillskyTable", universe=butler.dimensions)
        butler.registry.registerDatasetType(kind)
        ref = DatasetRef(kind, butler.registry.expandDataId(instrument="Cam"), run="u/files")
        butler.ingest(FileDataset(plain, [ref]), transfer="direct")
        back = butler.get(ref)
        assert back["id"].tolist() == [1, 2] and str(back["id"].unit) == "pix"
        assert suffix == "fits" or back["id"].description == "number"  # FITS tables have no place for it


def test_butler_ingest_files_takes_plain_files_of_other_programs(butler, put, tmp_path, rng):
    """Task-framework 12, check 6: the command of Rubin's butler, with a table of files, where they are."""
    from astropy.io import fits
    from click.testing import CliRunner
    from lsst.daf.butler.cli.butler import cli

    from stillsky.butler.instruments import InstrumentDefinition

    InstrumentDefinition("Cam2", {0: "a", 1: "b"}).register(butler.registry)
    kind = DatasetType("raw2", ("instrument", "detector"), "StillskyExposure", universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    pixels = [rng.normal(size=(8, 9)).astype(np.float32) for _ in range(2)]
    native, foreign = str(tmp_path / "native.fits"), str(tmp_path / "foreign.fits")
    writeExposure(makeExposure(pixels[0], variance=np.ones((8, 9), np.float32), xy0=(3, 4)), native)
    fits.writeto(foreign, pixels[1], fits.Header({"EXPTIME": 5.0}))
    Table({"file": [native, foreign], "detector": [0, 1]}).write(tmp_path / "files.ecsv")
    done = CliRunner().invoke(cli, [
        "ingest-files", str(tmp_path / "repo"), "raw2", "u/raw", str(tmp_path / "files.ecsv"),
        "--formatter", "stillsky.butler.formatters.ExposureFormatter", "--data-id", "instrument=Cam2", "-t", "direct",
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    butler.registry.refresh()
    for detector, path in enumerate((native, foreign)):
        ref = butler.find_dataset("raw2", instrument="Cam2", detector=detector, collections="u/raw")
        assert butler.getURI(ref).ospath == path
        np.testing.assert_array_equal(butler.get(ref).image.array, pixels[detector])
    assert butler.get("raw2.xy0", instrument="Cam2", detector=0, collections="u/raw") == Point2I(3, 4)


def test_the_other_components_are_read_alone_from_files_plain_or_foreign_and_from_memory(
    butler, put, exposure, tmp_path
):
    from astropy.io import fits
    from lsst.daf.butler import DatasetRef, FileDataset

    from stillsky.geom import Polygon
    from stillsky.image import CoaddInputs
    from stillsky.meta import Detector
    from stillsky.photom import ApCorrMap, ChebyshevBoundedField, PhotoCalib

    StorageClassFactory().addFromConfig(STORAGE)
    corrections = ApCorrMap()
    corrections["base_PsfFlux_instFlux"] = ChebyshevBoundedField(exposure.bbox, [[1.25, 0.01], [0.0, 0.0]])
    inputs = CoaddInputs()
    inputs.addVisit(7, exposure.bbox, weight=0.25, filter="r", psf=exposure.psf, wcs=exposure.wcs)
    exposure.photoCalib = PhotoCalib(2.5)
    exposure.info.apCorrMap, exposure.info.coaddInputs = corrections, inputs
    exposure.info.validPolygon = Polygon(exposure.bbox)
    exposure.info.detector = Detector(3, "three")
    exposure.metadata["NOTE"] = "of tonight"
    stored = butler.getDeferred(put(exposure, "StillskyExposure"))
    memory = InMemoryDatasetHandle(exposure, storageClass="StillskyExposure", copy=False)
    for handle in (stored, memory):
        assert handle.get(component="photoCalib") == exposure.photoCalib
        assert handle.get(component="validPolygon") == Polygon(exposure.bbox)
        assert handle.get(component="coaddInputs").visits["weight"].tolist() == [0.25]
        assert handle.get(component="detector").id == 3 and handle.get(component="metadata")["NOTE"] == "of tonight"
        found = handle.get(component="apCorrMap")["base_PsfFlux_instFlux"]
        assert found.evaluate(80.0, 40.0) == corrections["base_PsfFlux_instFlux"].evaluate(80.0, 40.0)
    foreign = str(tmp_path / "foreign.fits")
    cards = {"EXPTIME": 5.0, "DATE-OBS": "2026-01-01T00:00:00", "FILTER": "r", "NOTE": "of another camera", "EXPNUM": 9}
    fits.writeto(foreign, exposure.image.array, fits.Header(cards))
    kind = DatasetType("foreign", ("instrument",), "StillskyExposure", universe=butler.dimensions)
    butler.registry.registerDatasetType(kind)
    butler.collections.register("u/files")
    ref = DatasetRef(kind, butler.registry.expandDataId(instrument="Cam"), run="u/files")
    butler.ingest(FileDataset(foreign, [ref]), transfer="direct")
    handle = butler.getDeferred(ref)
    assert handle.get(component="dimensions") == exposure.bbox.dimensions and handle.get(component="xy0") == Point2I(
        0, 0
    )
    assert handle.get(component="visitInfo").exposureTime == 5.0 and handle.get(component="filter").band == "r"
    assert handle.get(component="metadata")["NOTE"] == "of another camera"
    np.testing.assert_array_equal(handle.get(component="image").array, exposure.image.array)
    assert [handle.get(component=name) for name in ("psf", "wcs", "coaddInputs", "validPolygon", "apCorrMap")] == [
        None
    ] * 5
