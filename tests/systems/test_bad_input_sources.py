"""Inputs that make detection and measurement hard: each has its error or its flag, and nothing is lost."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from stillsky.diffim import SubtractConfig, detectAndMeasure, subtract
from stillsky.diffim.ids import IdFactory
from stillsky.errors import DomainError, IdOverflowError, InvalidPsfError, NoDataError
from stillsky.psf import GaussianPsf, Psf
from stillsky.sim import simulatePair
from stillsky.wcs import SkyWcs


@pytest.fixture(scope="module")
def pair():
    return simulatePair(size=600, seed=5, starDensity=900.0, fluxScale=0.8, nTransients=12)


@pytest.fixture
def exposures(pair):
    return tuple(image.toExposure(psf=False).copy() for image in (pair.science, pair.template))


@pytest.fixture(scope="module")
def zogy(pair):
    return subtract(
        pair.science.toExposure(psf=False).copy(), pair.template.toExposure(psf=False).copy(), method="zogy"
    )


def _paint(exposure, plane, box):
    exposure.mask.array[box] |= np.int32(1 << exposure.mask.bit(plane))


def test_templateThatCoversOnePercent(exposures):
    science, template = exposures
    template.image.array[60:] = template.image.array[:, 60:] = np.nan
    with pytest.raises(NoDataError, match="covers too little") as caught:
        subtract(science, template)
    assert "1.0 % covered" in caught.value.found and "requiredTemplateFraction" in caught.value.remedy


def test_thousandsOfSaturatedStars(exposures):
    """An eighth of the image saturated: what is left is searched, nothing on saturated pixels is a good candidate."""
    science, template = exposures
    rng = np.random.default_rng(1)
    for y, x in rng.integers(3, 597, (2000, 2)):
        box = np.s_[y - 2 : y + 3, x - 2 : x + 3]
        science.image.array[box] = 6e4
        _paint(science, "SAT", box)
    result = subtract(science, template)
    assert 0.9 < result.metadata["skyChi"] < 1.1
    table = result.sources[~np.asarray(result.sources["candidate_flag"])]
    x, y = (np.round(np.asarray(table[f"base_SdssCentroid_{c}"])).astype(int) for c in "xy")
    assert not science.mask.isSet("SAT")[y, x].any()
    assert np.isfinite(table["base_PsfFlux_instFlux"]).all()


def test_noStarsInNoise(rng):
    noise = [simulated for simulated in rng.normal(0, 5, (2, 256, 256)).astype(np.float32)]
    with pytest.raises(NoDataError) as caught:
        subtract(*noise)
    assert caught.value.found and caught.value.remedy


def test_noCandidateIsNoError(exposures, tmp_path):
    config = SubtractConfig()
    config.detect.detection.thresholdValue = 1e6
    result = subtract(*exposures, config=config)
    assert len(result.sources) == 0 and result.metadata["nDiaSources"] == 0
    names = result.write(tmp_path / "p", picture=False)
    assert any(name.endswith("p.sources.ecsv") for name in names)
    assert len(Table.read(tmp_path / "p.sources.ecsv", format="ascii.ecsv")) == 0


def test_wcsThatCannotBeInverted():
    cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 1.0, "CRPIX2": 1.0, "CRVAL1": 10.0, "CRVAL2": 10.0}
    with pytest.raises(DomainError, match="CD matrix"):
        SkyWcs.fromHeader(fits.Header(cards | {f"CD{i}_{j}": 0.0 for i in (1, 2) for j in (1, 2)}))


class _HalfPsf(Psf):
    """A Gaussian, undefined on the right half of the image."""

    def _kernelArray(self, x, y):
        if x > 300:
            raise InvalidPsfError("no PSF here")
        return np.array(GaussianPsf(31, 31, 2.0).computeKernelImage().array)

    def _dimensionsAt(self, x, y):
        return 31, 31

    def persist(self):
        return type(self).__name__, {}, {}

    @classmethod
    def _restore(cls, header, arrays):
        return cls()


def test_psfUndefinedAtAPositionIsAFlag(zogy):
    """Sources where the PSF is undefined stay in the table, flagged, without a flux; the others are measured."""
    difference = zogy.difference.copy()
    difference.psf = _HalfPsf()
    sources = detectAndMeasure(zogy.science, zogy.matchedTemplate, difference, kernelSources=None).sources
    right = np.asarray(sources["base_SdssCentroid_x"]) > 301
    left = np.asarray(sources["base_SdssCentroid_x"]) < 299
    assert right.sum() >= 3 and left.sum() >= 3
    assert np.asarray(sources["base_PsfFlux_flag"])[right].all()
    assert not np.isfinite(np.asarray(sources["base_PsfFlux_instFlux"])[right]).any()
    assert np.isfinite(np.asarray(sources["base_PsfFlux_instFlux"])[left]).all()


def test_scoreImageWithoutCoverageHasNoSource(zogy):
    score = zogy.score.copy()
    score.image.array[:], score.variance.array[:] = 0.0, np.inf
    _paint(score, "NO_DATA", np.s_[:])
    result = detectAndMeasure(zogy.science, zogy.matchedTemplate, zogy.difference.copy(), score=score)
    assert len(result.sources) == 0 and result.sources.colnames


def test_footprintAtTheBorderIsMeasuredAndFlagged(zogy):
    """A source whose footprint is cut by the border of the data: present, with finite flux, marked by its pixels."""
    difference = zogy.difference.copy()
    good = np.isfinite(difference.image.array) & ~difference.mask.isSet("NO_DATA")
    first = int(np.flatnonzero(good[300])[0])
    y, x = np.mgrid[:600, :600]
    added = 4e3 * np.exp(-((x - first - 8.0) ** 2 + (y - 300.0) ** 2) / 8.0)
    difference.image.array[good] += added[good].astype(np.float32)
    sources = detectAndMeasure(zogy.science, zogy.matchedTemplate, difference).sources
    distance = np.hypot(sources["base_SdssCentroid_x"] - first - 8, sources["base_SdssCentroid_y"] - 300)
    assert len(distance) and distance.min() < 1
    row = sources[int(np.argmin(distance))]
    assert np.isfinite(row["base_PsfFlux_instFlux"])
    assert row["base_PixelFlags_flag_edge"] or row["base_PixelFlags_flag_nodata"]


def test_catalogueWithMissingColumns(zogy):
    with pytest.raises(DomainError, match="wanted columns .*x and y"):
        detectAndMeasure(zogy.science, zogy.matchedTemplate, zogy.difference.copy(), kernelSources=Table({"a": [1.0]}))


def test_idsThatOverflow(zogy):
    """More sources than the counter holds: refused, and no id handed out."""
    ids = IdFactory(1, 2)
    with pytest.raises(IdOverflowError) as caught:
        detectAndMeasure(zogy.science, zogy.matchedTemplate, zogy.difference.copy(), ids=ids)
    assert caught.value.remedy and ids.remaining == 3
