"""Subtraction of images that have to be registered by their objects."""

import numpy as np
import pytest

from stillsky.diffim import SubtractConfig, subtract
from stillsky.errors import MismatchError, NoDataError
from stillsky.image import makeExposure
from stillsky.sim import simulatePair


@pytest.fixture(scope="module")
def pair():
    return simulatePair(size=512, seed=5, starDensity=900.0, fluxScale=0.8)


def test_shapesThatDifferWithoutWcsAreRegisteredByTheirObjects(pair):
    science, template = pair.science.toExposure(), pair.template.toExposure()[0:400, 0:512]
    science.wcs = template.wcs = None
    out = subtract(science, template)
    assert out.difference.bbox == science.bbox and out.metadata["skyChi"] < 1.1
    assert out.metadata["registration"]["scale"] == pytest.approx(1, abs=3e-4)
    assert out.metadata["registration"]["shift"] == pytest.approx((0, 0), abs=0.05)


def test_shapesThatDifferNeedAWcsWhereNothingRegistersThem(pair):
    science, template = pair.science.toExposure(), pair.template.toExposure()[0:400, 0:512]
    template.wcs = None
    with pytest.raises(MismatchError, match="different shape and only one"):
        subtract(science, template)
    science.wcs = None
    template = makeExposure(np.random.default_rng(0).normal(0, 5, template.image.array.shape))
    with pytest.raises((MismatchError, NoDataError)) as error:
        subtract(science, template)
    assert error.value.found


def rotated(exposure, degrees, scale, shape):
    """A view of an exposure turned and magnified about its middle, resampled by other code."""
    from scipy.ndimage import affine_transform

    angle = np.radians(degrees)
    matrix = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) / scale
    middle, target = (np.array(exposure.image.array.shape) - 1) / 2, (np.array(shape) - 1) / 2
    planes = [
        affine_transform(plane, matrix, middle - matrix @ target, output_shape=shape, order=order, cval=np.nan)
        for plane, order in ((exposure.image.array.astype(float), 3), (exposure.variance.array, 1))
    ]
    bad = ~np.isfinite(planes[0] + planes[1])
    planes = [np.where(bad, 0, p).astype(np.float32) for p in planes]
    return makeExposure(planes[0], variance=np.where(bad, 1, planes[1]), mask=bad)


@pytest.mark.parametrize(
    "degrees, scale, shape", [(3.0, 1.0, (512, 512)), (178.0, 1.1, (600, 560)), (90.0, 0.8, (512, 512))]
)
def test_rotatedAndScaledTemplatesWithoutWcsAreRegistered(pair, degrees, scale, shape):
    science, template = pair.science.toExposure(), rotated(pair.template.toExposure(), degrees, scale, shape)
    science.wcs = None
    config = SubtractConfig()
    config.doRegister = True
    out = subtract(science, template, config=config)
    found = out.metadata["registration"]
    assert found["scale"] == pytest.approx(1 / scale, rel=1e-3)
    assert abs(found["rotationDegrees"]) == pytest.approx(degrees, abs=0.05)
    assert found["nPairs"] >= 10 and found["rmsPixels"] < 0.5
    assert any("registration: template shifted by" in sentence for sentence in out.decisions)
    # the interpolation of the test correlates the noise, that of the template is halved; the stars are gone
    assert out.metadata["skyChi"] < 1.15
    assert out.metadata["templateCoveragePercent"] > 60


def test_equalShapesThatAreTurnedAreNoticedWithoutAsking(pair):
    science, template = pair.science.toExposure(), rotated(pair.template.toExposure(), 5.0, 1.0, (512, 512))
    science.wcs = None
    out = subtract(science, template)
    assert "W-SHIFT" in [code for code, _ in out.warnings]
    assert abs(out.metadata["registration"]["rotationDegrees"]) == pytest.approx(5.0, abs=0.05)


def test_aWrongWcsIsCorrectedByRegistrationInOneInterpolation(pair):
    science, template = pair.science.toExposure(), pair.template.toExposure()
    good = subtract(science, template).metadata
    template.wcs = template.wcs.shifted((6.3, -4.4))
    with pytest.raises(MismatchError, match="register"):
        subtract(science, template)
    config = SubtractConfig()
    config.doRegister = True
    out = subtract(science, template, config=config)
    assert np.abs(out.metadata["registration"]["shift"]) == pytest.approx((6.3, 4.4), abs=0.1)
    assert out.metadata["skyChi"] < good["skyChi"] + 0.05


def test_registrationOfOtherFieldsIsRefused(pair):
    science, template = pair.science.toExposure(), simulatePair(size=512, seed=99).template.toExposure()
    science.wcs = template.wcs = None
    config = SubtractConfig()
    config.doRegister = True
    with pytest.raises(MismatchError, match="cannot be registered"):
        subtract(science, template, config=config)
