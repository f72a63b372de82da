import logging

import numpy as np
import pytest

from stillsky.geom import Box2I
from stillsky.image import makeExposure
from stillsky.measure import applyApCorr, localPhotoCalib, localWcs, psfFlux
from stillsky.photom import ApCorrMap, ChebyshevBoundedField, PhotoCalib
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs


def test_check27_7_7_localWcsDeterminantIsThePixelArea():
    wcs = makeTanWcs((500.0, 500.0), (5e-6, -0.7), makeCdMatrix(0.2 / 3600, 0.4))
    exposure = makeExposure(np.zeros((20, 20)), wcs=wcs)
    x, y = np.array([500.0, 3.0, 1000.0]), np.array([500.0, 4.0, 7.0])
    table = localWcs(exposure, x, y)
    cd = np.array([[table[f"base_LocalWcs_CDMatrix_{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
    area = np.abs(np.linalg.det(cd.transpose(2, 0, 1))) * np.degrees(3600) ** 2
    assert area[0] == pytest.approx(0.04, rel=1e-6)
    np.testing.assert_allclose(area, [(wcs.pixelScale(*p) * np.degrees(3600)) ** 2 for p in zip(x, y)], rtol=1e-5)
    # Far from the reference pixel too: the solid angle of a pixel, by differences over 20 pixels of the directions.
    far = np.array([[5000.0, -3000.0, 20.0], [4000.0, 100.0, -6000.0]])
    cd2 = localWcs(exposure, *far)
    cd2 = np.array([[cd2[f"base_LocalWcs_CDMatrix_{i}_{j}"] for j in (1, 2)] for i in (1, 2)])

    def direction(px, py):
        ra, dec = wcs.pixelToSky(px, py)
        return np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])

    steps = [(direction(*(far + d)) - direction(*(far - d))) / 20 for d in ([[10.0], [0.0]], [[0.0], [10.0]])]
    solid = np.linalg.norm(np.cross(*steps, axis=0), axis=0)
    np.testing.assert_allclose(np.abs(np.linalg.det(cd2.transpose(2, 0, 1))), solid, rtol=1e-6)
    # At the reference pixel it is the CD matrix.
    np.testing.assert_allclose(cd[:, :, 0], np.radians(wcs.cdMatrix), rtol=1e-6)
    assert not table["base_LocalWcs_flag"].any()


def test_localCalibrationsWithoutComponentsAreFlagged():
    exposure = makeExposure(np.zeros((20, 20)))
    assert localWcs(exposure, [3.0], [3.0])["base_LocalWcs_flag"].all()
    table = localPhotoCalib(exposure, [3.0], [3.0])
    assert table["base_LocalPhotoCalib_flag"].all()
    assert np.isnan(table["base_LocalPhotoCalib"]).all()


def test_localPhotoCalibFollowsTheField():
    box = Box2I((0, 0), (100, 100))
    field = ChebyshevBoundedField(box, np.array([[2.0, 0.5], [0.25, 0.0]]))
    exposure = makeExposure(np.zeros((100, 100)), photoCalib=PhotoCalib.fromField(field, 0.125))
    x, y = np.array([10.0, 80.0, np.nan]), np.array([20.0, 90.0, 4.0])
    table = localPhotoCalib(exposure, x, y)
    np.testing.assert_allclose(table["base_LocalPhotoCalib"][:2], field.evaluate(x[:2], y[:2]))
    np.testing.assert_array_equal(table["base_LocalPhotoCalibErr"][:2], 0.125)
    np.testing.assert_array_equal(table["base_LocalPhotoCalib_flag"], [False, False, True])


def test_apertureCorrections(addStars, caplog):
    image = addStars(np.zeros((80, 80)), [30.0, 60.0], [30.0, 50.0], [100.0, 100.0], 2.0)
    exposure = makeExposure(image, variance=np.ones((80, 80), np.float32), psf=GaussianPsf(25, 25, 2.0))
    x, y = [30.0, 60.0], [30.0, 50.0]
    table = psfFlux(exposure, x, y)
    before = np.array(table["base_PsfFlux_instFlux"])
    box = Box2I((0, 0), (80, 80))
    # 1.2 in the middle of the first source, negative at the second.
    field = ChebyshevBoundedField(box, np.array([[0.0, -2.0]]))
    applyApCorr(table, ApCorrMap({"base_PsfFlux_instFlux": field}), x, y)
    value = field.evaluate(30.0, 30.0)
    assert table["base_PsfFlux_instFlux"][0] == pytest.approx(before[0] * value)
    assert table["base_PsfFlux_instFlux"][1] == before[1]
    np.testing.assert_array_equal(table["base_PsfFlux_flag_apCorr"], [False, True])
    np.testing.assert_array_equal(table["base_PsfFlux_flag"], [False, True])
    table = psfFlux(exposure, x, y)
    with caplog.at_level(logging.WARNING):
        applyApCorr(table, None, x, y)
    assert "base_PsfFlux" in caplog.text
    assert table["base_PsfFlux_flag_apCorr"].all()
    assert not table["base_PsfFlux_flag"].any()
    np.testing.assert_array_equal(table["base_PsfFlux_instFlux"], before)
    caplog.clear()
    applyApCorr(table, None, x, y, doWarn=False)
    assert not caplog.text
