"""The older dipole measurements, and the dipole fit as Rubin's code does it."""

import numpy as np
import pytest

from stillsky.detection import Footprint, FootprintSet, SpanSet, Threshold, makePeaks
from stillsky.errors import DomainError, NotFoundError
from stillsky.image import makeExposure
from stillsky.measure import (
    DipoleAnalysis,
    DipoleOptions,
    SourceFlagChecker,
    classificationDipole,
    fitDipoles,
    measureSources,
    naiveDipoleCentroid,
    naiveDipoleFlux,
    psfDipoleFlux,
)
from stillsky.psf import GaussianPsf

SIGMA, NOISE, SIZE = 2.0, 2.0, 101
FIT, NAIVE, PSF = "ip_diffim_DipoleFit_", "ip_diffim_NaiveDipoleFlux_", "ip_diffim_PsfDipoleFlux_"
#: 27.8 check 1.
POSITIONS, FLUXES = np.array([(65.3, 38.6), (24.2, 78.5)]), np.array([2500.0, 2345.0])


def exposureOf(image, variance, **components):
    plane = np.full(image.shape, variance, np.float32)
    return makeExposure(image, variance=plane, psf=GaussianPsf(29, 29, SIGMA), **components)


def bothSigns(difference, threshold=5.0, grow=3):
    parts = [FootprintSet.detect(difference, Threshold(threshold, "pixel_stdev", sign)) for sign in (True, False)]
    return parts[0].merge(parts[1], grow, grow)


@pytest.fixture(scope="module")
def images():
    """(difference, science, template) with two dipoles on a background gradient."""
    rng = np.random.default_rng(14)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    science, template = rng.normal(0, NOISE, (2, SIZE, SIZE)) + 10 + 3 * columns + 5 * rows
    for (x, y), flux in zip(POSITIONS, FLUXES, strict=True):
        for image, d in ((science, 2), (template, -2)):
            r2 = (columns - x - d) ** 2 + (rows - y - d) ** 2
            image += flux * np.exp(-r2 / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
    variance = NOISE**2
    return exposureOf(science - template, 2 * variance), exposureOf(science, variance), exposureOf(template, variance)


def ordered(table, name):
    """Rows in the order of the truth."""
    return table[[int(np.argmin(np.abs(table[name + "x"] - x))) for x in POSITIONS[:, 0]]]


def test_check27_8_1_legacyPsfDipoleFluxAgrees(images):
    table = ordered(psfDipoleFlux(images[0], bothSigns(images[0])), PSF)
    for lobe, d, sign in (("pos", 2, 1), ("neg", -2, -1)):
        for c, truth in zip("xy", POSITIONS.T, strict=True):
            np.testing.assert_allclose(table[f"{PSF}{lobe}_centroid_{c}"], truth + d, rtol=0.01)
        # The difference alone knows a flux to 1.1 %: within 1 %, or three of its errors where these are more.
        pull = (sign * table[f"{PSF}{lobe}_instFlux"] - FLUXES) / table[f"{PSF}{lobe}_instFluxErr"]
        assert (np.abs(pull) < 3).all() and (table[f"{PSF}{lobe}_instFluxErr"] < 0.015 * FLUXES).all()
    np.testing.assert_allclose(table[PSF + "chi2dof"], 1, atol=0.15)
    assert not table[PSF + "flag"].any()
    fitted = ordered(fitDipoles(images[0], bothSigns(images[0])), FIT)
    np.testing.assert_allclose(table[PSF + "pos_instFlux"], fitted[FIT + "pos_instFlux"], rtol=0.01)
    np.testing.assert_allclose(table[PSF + "x"], fitted[FIT + "x"], atol=0.01)


@pytest.mark.parametrize("missing", ["none", "science", "template", "both"])
def test_referenceFitFindsTheSameDipoles(images, missing):
    """27.8 check 1 for Rubin's way: equal weights, errors scaled by the scatter, one flux."""
    difference, science, template = images
    table = fitDipoles(
        difference, bothSigns(difference), None if missing in ("science", "both") else science,
        None if missing in ("template", "both") else template, config=DipoleOptions.reference(),
    )  # fmt: skip
    table = ordered(table, FIT)
    assert table[FIT + "classification"].all() and table[FIT + "classificationAttempted"].all()
    for lobe, d in (("pos", 2), ("neg", -2)):
        for c, truth in zip("xy", POSITIONS.T, strict=True):
            np.testing.assert_allclose(table[f"{FIT}{lobe}_{c}"], truth + d, rtol=0.01)
        np.testing.assert_allclose(table[f"{FIT}{lobe}_instFlux"], FLUXES, rtol=0.01)
    np.testing.assert_array_equal(table[FIT + "instFlux"], table[FIT + "pos_instFlux"])
    np.testing.assert_array_equal(table[FIT + "pos_instFlux"], table[FIT + "neg_instFlux"])
    # Residuals in counts: the difference has variance 8, the direct images 4, at a weight of a half.
    expected = 8 if missing == "both" else (8 + 1 + 1) / 3
    if missing in ("none", "both"):
        # About 300 pixels, so 8 % for one standard deviation.
        np.testing.assert_allclose(table[FIT + "chi2dof"], expected, rtol=0.25)
        assert np.isnan(table[FIT + "deltaChi2"]).all()


def test_referenceFitKeepsItsDefects(images):
    difference, science, template = (image.copy() for image in images)
    footprints = bothSigns(difference)
    assert fitDipoles(difference, footprints, config=DipoleOptions.reference(maxFootprintArea=0))[FIT + "flag"].all()
    # A masked pixel is fitted: a bright one spoils the flux.
    difference.image.array[41, 67] = 2000
    difference.mask.array[41, 67] |= 1 << difference.mask.bit("SAT")
    spoiled, clean = (
        ordered(fitDipoles(difference, footprints, model=model), FIT)[FIT + "pos_instFlux"][0]
        for model in ("reference", None)
    )
    assert abs(clean / FLUXES[0] - 1) < 0.05 < abs(spoiled / FLUXES[0] - 1)
    for image in (difference, science, template):
        image.image.array[:] = np.nan
    assert not fitDipoles(difference, footprints, model="reference")[FIT + "classificationAttempted"].any()


def test_referenceModelOfMeasureSourcesIsThatOfTheFit(images):
    footprints = bothSigns(images[0])
    ours = measureSources(
        images[0], footprints, ["SdssCentroid", "ip_diffim_DipoleFit"], science=images[1], template=images[2],
        dipoleConfig=DipoleOptions(fitSeparateNegParams=False), model="reference",
    )  # fmt: skip
    wanted = fitDipoles(images[0], footprints, *images[1:], config=DipoleOptions.reference())
    np.testing.assert_array_equal(ours[FIT + "instFlux"], wanted[FIT + "instFlux"])


def test_naiveLobesAreSumsBySign(images):
    footprints = bothSigns(images[0])
    flux, centroid = naiveDipoleFlux(images[0], footprints), naiveDipoleCentroid(images[0], footprints)
    for i, footprint in enumerate(footprints):
        inside = np.zeros((SIZE, SIZE), bool)
        for y, x0, x1 in footprint.spans:
            inside[y, x0 : x1 + 1] = True
        for lobe, sign in (("pos", 1), ("neg", -1)):
            own = inside & (sign * images[0].image.array > 0)
            assert flux[f"{NAIVE}{lobe}_instFlux"][i] == pytest.approx(images[0].image.array[own].sum(), rel=1e-6)
            assert flux[f"{NAIVE}{lobe}_instFluxErr"][i] == pytest.approx(np.sqrt(8 * own.sum()), rel=1e-6)
            assert flux[f"{NAIVE}n{lobe}"][i] == own.sum()
    assert (classificationDipole(flux)["ip_diffim_ClassificationDipole_value"] == 1).all()
    prefix = "ip_diffim_NaiveDipoleCentroid_"
    assert not centroid[prefix + "flag"].any()
    for c, truth in zip("xy", POSITIONS.T, strict=True):
        np.testing.assert_allclose(ordered(centroid, prefix)[prefix + c], truth, atol=0.6)
        # Lobes that are 2.8 sigma apart keep their peaks; these lean away from each other.
        np.testing.assert_allclose(ordered(centroid, prefix)[f"{prefix}pos_{c}"], truth + 2, atol=0.8)


def test_lonePeakIsNoOldDipole(addStars, rng):
    difference = exposureOf(addStars(rng.normal(0, 1, (60, 60)), 30.3, 29.8, 2000.0, SIGMA), 1.0)
    table = measureSources(
        difference, bothSigns(difference),
        ["SdssCentroid", *(f"ip_diffim_{n}" for n in ("NaiveDipoleCentroid", "NaiveDipoleFlux", "PsfDipoleFlux", "ClassificationDipole"))],
    )  # fmt: skip
    assert len(table) == 1
    assert table["ip_diffim_ClassificationDipole_value"][0] == 0
    assert table["ip_diffim_NaiveDipoleCentroid_neg_flag"][0] and not table["ip_diffim_NaiveDipoleCentroid_pos_flag"][0]
    assert np.isnan(table[PSF + "pos_instFlux"][0]) and not table[PSF + "flag"][0]
    assert table["ip_diffim_NaiveDipoleCentroid_x"][0] == pytest.approx(30.3, abs=0.3)


def test_analysisAndFlagCheckerReadTables(images):
    table = ordered(fitDipoles(images[0], bothSigns(images[0]), *images[1:]), FIT)
    sn, (x, y), orientation = DipoleAnalysis()(table)
    np.testing.assert_allclose([x, y], POSITIONS.T, atol=0.1)
    np.testing.assert_allclose(orientation, np.pi / 4, atol=0.05)
    np.testing.assert_allclose(orientation, table[FIT + "orientation"])
    assert (sn > 50).all()
    old = ordered(psfDipoleFlux(images[0], bothSigns(images[0])), PSF)
    np.testing.assert_allclose(DipoleAnalysis(PSF).getOrientation(old), np.pi / 4, atol=0.05)
    table[FIT + "flag_edge"][0] = True
    checker = SourceFlagChecker((FIT + "flag", FIT + "flag_edge"))
    assert checker(table).tolist() == [False, True]
    assert checker(table[1]) is True
    with pytest.raises(NotFoundError, match="noSuch"):
        SourceFlagChecker(("noSuch",))(table)


def test_badInputOfOldDipoles(images):
    difference = images[0]
    empty = FootprintSet([], difference.bbox)
    assert [len(f(difference, empty)) for f in (naiveDipoleFlux, naiveDipoleCentroid, psfDipoleFlux)] == [0, 0, 0]
    with pytest.raises(DomainError, match="PsfDipoleFlux needs footprints"):
        measureSources(difference, [(30.0, 30.0)], ["ip_diffim_PsfDipoleFlux"])
    # Larger than wanted: flagged. Reaching beyond the image: the rest is used.
    big = psfDipoleFlux(difference, bothSigns(difference), maxPixels=5)
    assert big[PSF + "flag"].all() and np.isnan(big[PSF + "chi2dof"]).all()
    spans = SpanSet.fromShape(6, offset=(1, 50))
    corner = FootprintSet([Footprint(spans, makePeaks([(1, 50, 5.0), (3, 50, -4.0)]))], difference.bbox)
    inside = sum(max(0, x1 - max(x0, 0) + 1) for _, x0, x1 in spans)
    flux = naiveDipoleFlux(difference, corner)
    assert flux[NAIVE + "npos"][0] + flux[NAIVE + "nneg"][0] == inside
    assert np.isfinite(psfDipoleFlux(difference, corner)[PSF + "chi2dof"][0])
