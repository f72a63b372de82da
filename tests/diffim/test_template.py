"""Templates from patches: merging, warping, coverage, PSF, variance."""

import logging

import numpy as np
import pytest
from template_scenes import CALIB, CENTER, FIELD_BOX, field, inputs, patches, skyMap

from stillsky import Exposure, GaussianPsf, PhotoCalib, makeCdMatrix, makeTanWcs
from stillsky.diffim.template import TemplateInput, makeTemplate, markHighVariance, outlineOverlap, selectInputs
from stillsky.diffim.template_config import GetTemplateAlgorithmConfig
from stillsky.diffim.template_merge import TemplateMerger, mergeMaskedImages
from stillsky.errors import DomainError, MismatchError, NoDataError
from stillsky.fits import readExposure, writeExposure
from stillsky.geom import Box2I, Extent2I, Point2I
from stillsky.image import CoaddInputs, Image, Mask, MaskedImage, MaskSchema
from stillsky.meta import FilterLabel

SMALL = Box2I.fromMinMax(Point2I(0, 0), Point2I(180, 180))
LARGE = Box2I.fromMinMax(Point2I(200, 200), Point2I(600, 600))


def flat(value, variance, box=None):
    box = Box2I(Point2I(0, 0), Extent2I(8, 6)) if box is None else box
    return MaskedImage(
        Image(np.full(box.shape, value, np.float32), box.min), Mask.zeros(box),
        Image(np.full(box.shape, variance, np.float32), box.min),
    )  # fmt: skip


def expectedInputs(box, tracts):
    """Patches of which some pixel lies on the box: every pixel of it projected, independent of polygons."""
    y, x = np.mgrid[box.minY - 0.5 : box.maxY + 0.51 : 1, box.minX - 0.5 : box.maxX + 0.51 : 1]
    ra, dec = field().wcs.pixelToSky(x, y)
    return {key for key in patches() if key[0] in tracts and skyMap()[key[0]].patch(key[1]).contains(ra, dec).any()}


# ------------------------------------------------------------------------------------------------ merge rule


def test_twoConstantInputsMergeByInverseSigma():
    merged, nGood = mergeMaskedImages([flat(1, 1), flat(3, 4)], flat(0, 1).bbox)
    assert nGood == 48
    assert merged.image.array == pytest.approx(5 / 3, rel=1e-6)
    assert merged.variance.array == pytest.approx(2, rel=1e-6)


def test_theOtherWeightings():
    box = flat(0, 1).bbox
    merged, _ = mergeMaskedImages([flat(1, 1), flat(3, 4)], box, "inverse-variance")
    assert merged.image.array == pytest.approx(1.4) and merged.variance.array == pytest.approx(1.6)
    merged, _ = mergeMaskedImages([flat(1, 1), flat(3, 4)], box, "last")
    assert np.all(merged.image.array == 3) and np.all(merged.variance.array == 4)
    with pytest.raises(DomainError, match="weighting"):
        TemplateMerger(box, "best")


@pytest.mark.parametrize(
    "value, variance", [(np.nan, 1), (np.inf, 1), (1e6, np.nan), (1e6, np.inf), (1e6, 0), (1e6, -1)]
)
def test_badPixelsOfOneInputComeFromTheOther(value, variance):
    """A NaN image with good variance must not pull the value towards zero."""
    bad = flat(7, 1)
    bad.image.array[2, 3], bad.variance.array[2, 3] = value, variance
    bad.mask.array[2, 3] = bad.mask.bitmask(["SAT"])
    merged, _ = mergeMaskedImages([bad, flat(5, 1)], bad.bbox)
    assert merged.image.array[2, 3] == 5 and merged.variance.array[2, 3] == 1 and merged.mask.array[2, 3] == 0
    assert np.delete(merged.image.array.ravel(), 2 * 8 + 3) == pytest.approx(6)


def test_pixelsThatNoInputCoversAreNoDataAlone():
    right = flat(5, 1, Box2I(Point2I(4, 0), Extent2I(10, 6)))
    right.mask.array[...] = right.mask.bitmask(["CR"])
    merged, nGood = mergeMaskedImages([right], flat(0, 1).bbox)
    assert nGood == 24
    assert np.all(np.isnan(merged.image.array[:, :4])) and np.all(np.isposinf(merged.variance.array[:, :4]))
    assert np.all(merged.mask.array[:, :4] == merged.mask.bitmask(["NO_DATA"]))
    assert np.all(merged.mask.array[:, 4:] == merged.mask.bitmask(["CR"]))


def test_maskPlanesFollowTheirNames():
    one, two = flat(1, 1), flat(1, 1)
    mask = Mask(np.full(two.bbox.shape, 1 << 2, np.int32), schema=MaskSchema({"GHOST": 2, "SAT": 5}))
    two = MaskedImage(two.image, mask, two.variance)
    one.mask.array[...] = one.mask.bitmask(["SAT"])
    merged, _ = mergeMaskedImages([one, two], one.bbox)
    assert np.all(merged.mask.array == merged.mask.bitmask(["SAT", "GHOST"]))
    assert dict(two.mask.schema) == {"GHOST": 2, "SAT": 5}


# ------------------------------------------------------------------------------------------------ overlap


def test_patchesAreChosenByTheirOverlap():
    for box in (SMALL, LARGE):
        chosen = {(i.tract, i.patch) for i in selectInputs(inputs(), box, field().wcs)}
        assert chosen == expectedInputs(box, (0, 1, 2, 3))


def test_overlapsAreAreasInThePatchFrame():
    wcs = field().wcs
    polygon = outlineOverlap(SMALL, wcs, Box2I(Point2I(-10000, -10000), Extent2I(20000, 20000)), skyMap()[0].wcs)
    assert polygon.area == pytest.approx(SMALL.area * (0.21 / 0.2) ** 2, rel=1e-4)
    antipode = makeTanWcs((0, 0), (CENTER[0] + np.pi, -CENTER[1]), makeCdMatrix(0.2 / 3600))
    assert outlineOverlap(SMALL, wcs, SMALL, antipode) is None


def test_rightAscensionZeroIsNoBorder():
    a = makeTanWcs((50, 50), np.radians((0.001, 0)), makeCdMatrix(0.2 / 3600))
    b = makeTanWcs((50, 50), np.radians((359.999, 0)), makeCdMatrix(0.2 / 3600))
    box = Box2I(Point2I(0, 0), Extent2I(100, 100))
    assert outlineOverlap(box, a, box, b).area == pytest.approx(64 * 100, rel=1e-3)


# ------------------------------------------------------------------------------------------------ the template


@pytest.mark.parametrize("box, tracts", [(SMALL, (0,)), (SMALL, (0, 1, 2, 3)), (LARGE, (0, 1, 2, 3))])
def test_theTemplateHasTheGridCalibrationAndInputsItShould(box, tracts):
    result = makeTemplate(inputs(tracts), box, field().wcs, filter="g-sim")
    template = result.exposure
    assert template.bbox == box.dilated(20)
    assert template.wcs == field().wcs and template.photoCalib == CALIB
    assert template.filter == FilterLabel(band="g", physical="g-sim")
    wanted = expectedInputs(box.dilated(20), tracts)
    rows = template.info.coaddInputs.ccds
    assert {(row["tract"], row["patch"]) for row in rows} == wanted
    assert template.psf.componentCount == len(wanted) == len(rows)


def test_theInputsOfATemplateAreStoredWithIt(tmp_path, caplog):
    template = makeTemplate(inputs(), LARGE, field().wcs, filter="g-sim").exposure
    with caplog.at_level(logging.WARNING):
        writeExposure(template, tmp_path / "template.fits")
    assert "coaddInputs" not in caplog.text
    found = readExposure(tmp_path / "template.fits")[0].info.coaddInputs
    wanted = template.info.coaddInputs
    assert isinstance(found, CoaddInputs) and found == wanted
    for name in ("tract", "patch", "psf", "wcs", "photoCalib", "validPolygon"):
        assert list(found.ccds[name]) == list(wanted.ccds[name])
    assert {0, 1, 2, 3} >= set(found.ccds["tract"]) > {0} and len(found.visits) == 0
    boxes = [found.bboxOf(row) for row in found.ccds]
    assert all(p.bbox.contains(b.center) for p, b in zip(found.ccds["validPolygon"], boxes, strict=True))


@pytest.mark.parametrize("box", [SMALL, LARGE])
def test_theTemplateReproducesTheField(box):
    template = makeTemplate(inputs(), box, field().wcs).exposure
    truth = field()[template.bbox]
    assert not np.any(template.mask.isSet("NO_DATA"))
    assert np.all(np.isfinite(template.image.array)) and np.all(np.isfinite(template.variance.array))
    difference = np.abs(template.image.array - truth.image.array)
    assert np.all(difference <= np.maximum(0.1 * np.abs(truth.image.array), 4))
    assert np.all(np.abs(template.variance.array / truth.variance.array - 1) < 0.55)


def test_thePsfIsThatOfThePatchesAtEachPosition():
    result = makeTemplate(inputs(), LARGE, field().wcs)
    for position in ((210, 210), (400, 400), (590, 230)):
        Ixx, Iyy, _ = result.exposure.psf.computeShape(position)
        # the stars of the field, as resampled twice, are the truth
        assert np.sqrt(0.5 * (Ixx + Iyy)) == pytest.approx(2.2, rel=0.02)
    assert result.exposure.psf.averagePosition == pytest.approx(tuple(LARGE.center), abs=1e-6)


def test_aBoxAwayFromAllPatchesIsRefused():
    box = Box2I.fromMinMax(Point2I(1200, 1200), Point2I(1600, 1600))
    with pytest.raises(NoDataError, match="No patches found"):
        makeTemplate(inputs((0, 1)), box.shifted((5000, 0)), field().wcs)
    with pytest.raises(NoDataError, match="No patches found"):
        makeTemplate([], SMALL, field().wcs)
    with pytest.raises(NoDataError, match="no WCS"):
        makeTemplate(inputs(), SMALL, None)


def test_aMissingPatchLeavesNoDataOnExactlyItsOwnPixels():
    """NaN and +inf mark pixels without data (the reference leaves 0 there): elsewhere everything is finite."""
    only = {i.patch: i for i in inputs((0,))}
    box = Box2I(Point2I(-50, -50), Extent2I(300, 300))
    whole = makeTemplate(only.values(), box, field().wcs).exposure
    missing = sorted(i.patch for i in selectInputs(only.values(), box, field().wcs))[1]
    template = makeTemplate([i for p, i in only.items() if p != missing], box, field().wcs).exposure
    lost = template.mask.isSet("NO_DATA") & ~whole.mask.isSet("NO_DATA")
    y, x = np.mgrid[template.bbox.minY : template.bbox.maxY + 1, template.bbox.minX : template.bbox.maxX + 1]
    ra, dec = field().wcs.pixelToSky(x, y)
    tract = skyMap()[0]
    covered = np.zeros(x.shape, bool)
    for patch in set(only) - {missing}:
        covered |= tract.patch(patch).contains(ra, dec)
    nData = ~whole.mask.isSet("NO_DATA")
    assert lost.sum() > 5000
    # the outline is sharp to half a pixel: at least half of the kernel's weight must have data
    assert np.count_nonzero(lost ^ (nData & ~covered)) <= 0.02 * lost.sum()
    assert np.all(np.isfinite(template.image.array[~template.mask.isSet("NO_DATA")]))
    assert np.all(np.isfinite(template.variance.array[~template.mask.isSet("NO_DATA")]))
    assert np.all(np.isnan(template.image.array[lost])) and np.all(np.isposinf(template.variance.array[lost]))


@pytest.mark.parametrize("plane", ["variance", "image"])
def test_holesOfOnePatchAreFilledByAnother(plane):
    """Blocks of NaN in every patch of the box, at places where another patch covers them, leave no hole and no bias."""
    tract = skyMap()[0]
    mine = {key: exposure.copy() for key, exposure in patches().items() if key[0] == 0}
    left, right = ((k, tract.patch(k[1])) for k in sorted(mine) if tract.patch(k[1]).index[1] == 2)
    overlap = left[1].outerBBox.clipped(right[1].outerBBox)
    for shift, (key, patch) in ((-8, left), (8, right)):
        spot = Box2I.centered(overlap.center, (7, 7)).shifted((0, shift))
        getattr(mine[key], plane).array[spot.slices(patch.outerBBox.min)] = np.nan
    x, y = field().wcs.skyToPixel(*tract.wcs.pixelToSky(*overlap.center))
    box = Box2I.centered((round(x), round(y)), (61, 61))
    holed = makeTemplate([TemplateInput.of(e, *k) for k, e in mine.items()], box, field().wcs).exposure
    whole = makeTemplate(inputs((0,)), box, field().wcs).exposure
    assert np.all(np.isfinite(holed.image.array)) and np.all(np.isfinite(holed.variance.array))
    assert not np.any(holed.mask.isSet("NO_DATA"))
    assert holed.image.array == pytest.approx(whole.image.array, abs=1e-3)


def test_theBoxOfTheCallerIsNotGrown():
    box = Box2I.fromMinMax(Point2I(0, 0), Point2I(180, 180))
    makeTemplate(inputs(), box, field().wcs)
    assert box == SMALL


def test_differentBandsAndCalibrationsAreRefused():
    first, second = (p.source.copy() for p in selectInputs(inputs((0,)), SMALL, field().wcs)[:2])
    for wrong in ({"photoCalib": PhotoCalib(20.0)}, {"filter": FilterLabel(band="r")}, {"psf": None}):
        for name, value in wrong.items():
            other = Exposure(second.maskedImage, second.info)
            setattr(other, name, value)
        with pytest.raises(MismatchError, match="template"):
            makeTemplate([TemplateInput.of(first), TemplateInput.of(other)], SMALL, field().wcs)


def test_calibrationsCanBeBroughtToThatOfTheFirst():
    chosen = selectInputs(inputs((0,)), SMALL, field().wcs)
    items = [TemplateInput.of(chosen[0].source, 0, chosen[0].patch)]
    for item in chosen[1:]:
        pixels = item.source.maskedImage.copy()
        pixels *= 0.5
        other = Exposure(pixels, item.source.info)
        other.photoCalib = PhotoCalib(20.0)
        items.append(TemplateInput.of(other, 0, item.patch))
    config = GetTemplateAlgorithmConfig()
    config.doScalePhotometry = True
    scaled = makeTemplate(items, SMALL, field().wcs, config).exposure
    plain = makeTemplate(chosen, SMALL, field().wcs).exposure
    assert scaled.photoCalib == CALIB
    assert scaled.image.array == pytest.approx(plain.image.array, rel=1e-5, abs=1e-3, nan_ok=True)
    assert scaled.variance.array == pytest.approx(plain.variance.array, rel=1e-5)


# ------------------------------------------------------------------------------------------------ variance


def test_highVarianceIsMarkedWhereTheSmoothLevelIsHigh():
    template = flat(0, 4.0, Box2I(Point2I(10, 20), Extent2I(256, 256)))
    template.variance.array[:, 200:] = 40.0
    template.variance.array[100, 50] = 1e6  # a single pixel is no level
    assert markHighVariance(template, GetTemplateAlgorithmConfig()) is None
    marked = template.mask.isSet("HIGH_VARIANCE")
    assert np.all(marked[:, 224:]) and not np.any(marked[:, :180])


def test_tooFewUsablePixelsMarkNoHighVariance():
    template = flat(0, 4.0, Box2I(Point2I(0, 0), Extent2I(128, 128)))
    template.variance.array[:64] = 400.0
    template.mask.array[:, 10:] = template.mask.bitmask(["NO_DATA"])
    assert "7.8 %" in markHighVariance(template, GetTemplateAlgorithmConfig())
    assert "HIGH_VARIANCE" in template.mask.schema and not np.any(template.mask.isSet("HIGH_VARIANCE"))


def test_inputsAreReadOneAtATimeAndOnlyWhereTheyOverlap():
    reads = []

    def reader(item):
        def read():
            reads.append((item.tract, item.patch))
            return item.source

        return TemplateInput(read, item.wcs, item.bbox, item.tract, item.patch)

    makeTemplate([reader(item) for item in inputs()], SMALL, field().wcs)
    assert len(reads) == len(set(reads)) and set(reads) == expectedInputs(SMALL.dilated(20), (0, 1, 2, 3))


def test_aTemplateWithAnAlreadyMatchedPsfKeepsGaussianWidths():
    exposure = Exposure(field().maskedImage, field().info)
    exposure.psf = GaussianPsf(41, 41, 3.0)
    result = makeTemplate([TemplateInput.of(exposure)], SMALL, field().wcs)
    assert result.exposure.psf.fwhm((90, 90)) == pytest.approx(3.0 * 2.3548, rel=0.01)
    assert FIELD_BOX.contains(result.exposure.bbox)
    assert result.exposure.image.array == pytest.approx(field()[result.exposure.bbox].image.array, rel=1e-5, abs=1e-3)
