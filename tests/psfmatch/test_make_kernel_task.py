"""MakeKernelTask: selection of kernel sources, widths, the fit."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table
from task_scenes import render, starGrid, starPair, starTable, toExposure, wcsAt

from stillsky.errors import DomainError, InvalidPsfError, NoDataError, StillskyError
from stillsky.geom import Box2I
from stillsky.psf import GaussianPsf
from stillsky.psfmatch import candidates_selection as selection
from stillsky.psfmatch.make_kernel import MakeKernelConfig, MakeKernelTask
from stillsky.psfmatch.psf_fwhm import evaluateMeanPsfFwhm, getPsfFwhm


def makeTask(**fields):
    config = MakeKernelConfig()
    for name, value in fields.items():
        setattr(config.kernel.active, name, value)
    return MakeKernelTask(config=config)


class HalfPsf(GaussianPsf):
    """Defined for x > 100 only; its width grows with y."""

    def _shape(self, x, y):
        if x <= 100:
            raise InvalidPsfError("not defined here")
        s = 2.0 + 0.001 * y
        return s * s, 1.21 * s * s, 0.0


def testSourcesAreVettedInBothImages(rng):
    template, science, _ = starPair(rng, step=96)
    positions = np.array([[5.0, 128.0], [60.3, 60.4], [128.0, 128.0], [190.0, 60.0], [60.0, 190.0], [190.2, 190.7]])
    science.mask.array[128, 140] |= science.mask.bitmask("SAT")
    template.mask.array[60, 190] |= template.mask.bitmask("SAT")
    sources = makeTask().makeCandidateList(template, science, 21, starTable(positions, np.arange(1.0, 7.0)))
    # Gone: near the edge, SAT in the science box, SAT in the template box.
    np.testing.assert_array_equal(sources["psfFlux"], [2.0, 5.0, 6.0])
    assert np.all(sources["stampSize"] == 2 * 21 + 1)
    np.testing.assert_array_equal(sources["stampMinX"] + 21, [60, 60, 190])
    np.testing.assert_array_equal(sources["stampMinY"] + 21, [60, 190, 191])


def testNoSourceLeftIsAnError(rng):
    template, science, _ = starPair(rng, step=96)
    with pytest.raises(NoDataError, match="candidate"):
        makeTask().makeCandidateList(template, science, 21, starTable(np.array([[5.0, 5.0]]), [1.0]))
    with pytest.raises(RuntimeError, match="candidateList"):
        makeTask().makeCandidateList(template, science, 21, starTable(np.zeros((0, 2)), []))


def testPlanesThatAMaskLacksAreIgnored(rng):
    template, science, stars = starPair(rng, step=64)
    config = MakeKernelConfig()
    config.badMaskPlanes = ["NO_DATA", "NEVER_HEARD_OF"]
    assert len(MakeKernelTask(config=config).makeCandidateList(template, science, 21, stars)) > 0


def testSelectedSourcesGiveTheKernel(rng):
    template, science, _ = starPair(rng, scale=0.9)
    task = makeTask(spatialKernelOrder=1)
    sources = task.selectKernelSources(template, science)
    assert len(sources) == 16
    result = task.run(template, science, sources)
    assert result.psfMatchingKernel.sumAt(128.0, 128.0) == pytest.approx(0.9, rel=2e-3)
    assert len(result.candidates) == 16
    assert {c["rating"] for c in result.candidates} == set(np.asarray(sources["base_PsfFlux_instFlux"]))


def testTheRegionIsTheOverlapOfTheTwoBoxes(rng):
    template, science, stars = starPair(rng)
    part = science[Box2I((0, 0), (200, 256))]
    result = makeTask(spatialKernelOrder=0).run(template, part, stars)
    assert result.kernelCellSet.bbox == part.bbox
    assert max(c["x"] for c in result.candidates) < 200 - 21


def testPreconvolvedWidthsAreLargerByTheRootOfTwo(rng):
    template, science, _ = starPair(rng, step=96)
    task = makeTask()
    plain = task._checkPsfWidths(template, science, False, None, None)
    doubled = task._checkPsfWidths(template, science, True, None, None)
    assert plain == pytest.approx((2.354820045 * 1.5, 2.354820045 * 2.0))
    assert doubled[0] == plain[0] and doubled[1] == pytest.approx(np.sqrt(2) * plain[1])


def testAGivenWidthIsKeptWhenTheOtherIsMissing(rng):
    template, science, _ = starPair(rng, step=96)
    assert makeTask()._checkPsfWidths(template, science, False, 5.0, None)[0] == 5.0
    assert makeTask()._checkPsfWidths(template, science, False, 5.0, 6.0) == (5.0, 6.0)
    # As Rubin does: both are computed when either is missing.
    assert makeTask(compat=True)._checkPsfWidths(template, science, False, 5.0, None)[0] == pytest.approx(
        3.5322, abs=1e-3
    )


@pytest.mark.parametrize("widths", [(3.0, None), (None, 3.0), (None, None)])
def testAMissingWidthMeansTheConfiguredBasis(widths, caplog):
    """The line that says which rule applies does not compare None with a number."""
    task = makeTask()
    with caplog.at_level("INFO"):
        assert len(task.makeKernelBasisList(*widths, metadata=task.metadata)) == 27
    assert task.metadata["ALBasisMode"] == "config" and "mode config" in caplog.text


def testWidthsComeFromTheGridWhereTheAveragePositionFails(rng):
    template, science, _ = starPair(rng, step=96)
    science.psf = HalfPsf(21, 21, 2.0)
    widths = makeTask()._checkPsfWidths(template, science, False, None, None)
    assert widths[1] == evaluateMeanPsfFwhm(science, 0.05, 10)
    assert widths[0] == pytest.approx(2.354820045 * 1.5)


def testPsfFwhm():
    psf = HalfPsf(21, 21, 2.0, averagePosition=(200.0, 0.0))
    assert getPsfFwhm(psf) == pytest.approx(2.354820045 * 2.0 * np.sqrt(2.21 / 2), rel=1e-9)
    assert getPsfFwhm(psf, average=False) == pytest.approx((2.354820045 * 2.0, 2.354820045 * 2.2), rel=1e-9)
    assert getPsfFwhm(psf, position=(200.0, 500.0)) == pytest.approx(2.354820045 * 2.5 * np.sqrt(2.21 / 2), rel=1e-9)
    with pytest.raises(InvalidPsfError):
        getPsfFwhm(psf, position=(0.0, 0.0))
    with pytest.raises(InvalidPsfError, match="has none"):
        getPsfFwhm(None)


def testMeanPsfFwhmSkipsPositionsWithoutPsf():
    exposure = toExposure(np.zeros((201, 301)), 2.0)
    exposure.psf = HalfPsf(21, 21, 2.0)
    # Rows of the grid over [0, 200] with a buffer of a tenth: 20 to 180, mean 100.
    expected = 2.354820045 * 2.1 * np.sqrt(2.21 / 2)
    assert evaluateMeanPsfFwhm(exposure, 0.1, 5) == pytest.approx(expected, rel=1e-9)
    exposure.psf = HalfPsf(21, 21, 2.0)
    with pytest.raises(DomainError, match="none of 9"):
        evaluateMeanPsfFwhm(exposure[Box2I((0, 0), (100, 100))], 0.05, 3)


def testSourcesMayBeGivenOnTheSkyInAnyUnit(rng):
    wcs = wcsAt()
    ra, dec = wcs.pixelToSky(np.array([100.2]), np.array([51.7]))
    for table in (
        Table({"coord_ra": ra, "coord_dec": dec}),
        Table({"ra": np.degrees(ra) * u.deg, "dec": np.degrees(dec) * u.deg}),
    ):
        assert selection.sourcePosition(table[0], wcs) == pytest.approx((100.2, 51.7), abs=1e-6)
    both = Table({"coord_ra": ra, "coord_dec": dec, "x": [1.0], "y": [2.0]})
    assert selection.sourcePosition(both[0], wcs) == (1.0, 2.0)
    assert selection.sourcePosition(both[0], wcs, preferSky=True) == pytest.approx((100.2, 51.7), abs=1e-6)
    with pytest.raises(StillskyError, match="position"):
        selection.sourcePosition({"a": 1.0})


def testBitsOfABoxAreCombined(rng):
    # The three layouts: nothing, one plane, two planes in different pixels.
    _, science, _ = starPair(rng, step=96)
    mask = science.mask
    box = Box2I((10, 20), (5, 4))
    assert selection.combinedBits(mask, box) == 0
    mask.array[21, 12] |= mask.bitmask("BAD")
    assert selection.combinedBits(mask, box) == mask.bitmask("BAD")
    mask.array[23, 14] |= mask.bitmask("SAT")
    mask.array[24, 14] |= mask.bitmask("EDGE")  # outside
    assert selection.combinedBits(mask, box) == mask.bitmask(["BAD", "SAT"])
    assert selection.combinedBits(mask) == mask.bitmask(["BAD", "SAT", "EDGE"])


def testDetectionThresholdTypesAndPolarities(rng):
    positions = starGrid(256, 96)
    image = render(256, positions, np.full(len(positions), 3000.0), 2.0, rng)
    image[120:136, 120:136] -= render(16, [(8, 8)], [3000.0], 2.0)
    exposure = toExposure(image, 2.0)
    config = MakeKernelConfig()
    config.kernel.active.afwBackgroundConfig.binSize = 64
    for kind, level in (("pixel_stdev", 10.0), ("stdev", 20.0), ("value", 8.0)):
        config.selectDetection.thresholdType, config.selectDetection.thresholdValue = kind, level
        assert len(MakeKernelTask(config=config).getSelectSources(exposure)) == len(positions)
    config.selectDetection.thresholdPolarity = "negative"
    assert len(MakeKernelTask(config=config).getSelectSources(exposure)) <= 1
    with pytest.raises(InvalidPsfError):
        exposure.psf = None
        MakeKernelTask(config=config).getSelectSources(exposure)


def testABackgroundThatCannotBeFittedIsReplacedByTheMedian(rng, caplog):
    positions = starGrid(256, 96)
    exposure = toExposure(render(256, positions, np.full(len(positions), 3000.0), 2.0, rng, background=40.0), 2.0)
    config = MakeKernelConfig()
    config.kernel.active.afwBackgroundConfig.ignoredPixelMask = ["DETECTED"]
    exposure.mask.array[...] |= exposure.mask.bitmask("DETECTED")
    exposure.mask.array[:40] = 0
    config.kernel.active.afwBackgroundConfig.undersampleStyle = "THROW_EXCEPTION"
    config.kernel.active.afwBackgroundConfig.useApprox = False
    sources = MakeKernelTask(config=config).getSelectSources(exposure)
    assert "median" in caplog.text
    assert len(sources) == len(positions)


def testTheConfiguredMeasurementsAreMade(rng):
    _, science, stars = starPair(rng, step=96)
    y, x = np.mgrid[:256, :256]
    science.image.array[...] += 60.0 * np.exp(-((x - 88) ** 2 + (y - 88) ** 2) / (2 * 6.0**2))  # a galaxy
    config = MakeKernelConfig()
    sources = MakeKernelTask(config=config).getSelectSources(science)
    x, y = (np.asarray(sources[f"base_SdssCentroid_{c}"]) for c in "xy")
    galaxy = np.argmin(np.hypot(x - 88, y - 88))
    isStar = np.arange(len(sources)) != galaxy
    extendedness = np.asarray(sources["base_ClassificationSizeExtendedness_value"])
    assert extendedness[galaxy] > 0.99 and np.all(extendedness[isStar] < 0.05)
    fluxes = (sources[f"base_{name}_instFlux"][isStar] for name in ("GaussianFlux", "PsfFlux"))
    np.testing.assert_allclose(*fluxes, rtol=0.02)
    np.testing.assert_allclose(sources["base_SdssShape_xx"][isStar], 4.0, rtol=0.05)
    assert not sources["base_PixelFlags_flag_saturated"].any()
    config.selectMeasurement.plugins = ["PixelFlags"]
    science.mask.array[int(stars["y"][0]), int(stars["x"][0]) + 2] |= science.mask.bitmask("SAT")
    few = MakeKernelTask(config=config).getSelectSources(science)
    assert few.meta["plugins"] == ["base_PixelFlags"] and "base_PsfFlux_instFlux" not in few.colnames
    hit = np.argmin(np.hypot(few["peakX"] - stars["x"][0], few["peakY"] - stars["y"][0]))
    assert few["base_PixelFlags_flag_saturated"][hit] and few["base_PixelFlags_flag_saturated"].sum() == 1
    config.selectMeasurement.plugins = ["Astrology"]
    with pytest.raises(DomainError, match="Astrology"):
        MakeKernelTask(config=config).getSelectSources(science)


def testAnImageWithoutSourcesGivesAnEmptyTable(rng):
    exposure = toExposure(rng.normal(0.0, 1.0, (128, 128)), 2.0, wcs=wcsAt(size=128))
    sources = makeTask().getSelectSources(exposure)
    assert len(sources) == 0 and "base_PsfFlux_instFlux" in sources.colnames


def testBackgroundsAreRemovedBeforeTheFit(rng):
    template, science, stars = starPair(rng, scale=0.9)
    y, x = np.mgrid[:256, :256]
    science.image.array[...] += 100.0 + 0.3 * x + 0.05 * y
    before = science.image.array.copy()
    task = makeTask(spatialKernelOrder=0, useAfwBackground=True)
    result = task.run(template, science, stars)
    assert result.psfMatchingKernel.sumAt(128.0, 128.0) == pytest.approx(0.9, rel=5e-3)
    np.testing.assert_array_equal(science.image.array, before)
    loose = makeTask(spatialKernelOrder=0, singleKernelClipping=False, spatialKernelClipping=False)
    biased = loose.run(template, science, stars).psfMatchingKernel.sumAt(128.0, 128.0)
    assert abs(biased - 0.9) > 0.05
