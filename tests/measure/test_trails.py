import numpy as np
import pytest
from scipy.special import erf

from stillsky.image import makeExposure
from stillsky.measure import sdssShape, trailedSources, trailGeometry
from stillsky.psf import GaussianPsf
from stillsky.wcs import makeCdMatrix, makeTanWcs

SIGMA, ANGLE = 2.0, 0.3
PREFIX = "ext_trailedSources_Naive_"


def trailImage(length, x=60.3, y=59.6, angle=ANGLE, flux=1000.0, shape=(121, 121)):
    py, px = np.mgrid[: shape[0], : shape[1]]
    u = (px - x) * np.cos(angle) + (py - y) * np.sin(angle)
    v = (py - y) * np.cos(angle) - (px - x) * np.sin(angle)
    if length == 0:
        return flux * np.exp(-(u**2 + v**2) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
    ends = erf((u + length / 2) / (np.sqrt(2) * SIGMA)) - erf((u - length / 2) / (np.sqrt(2) * SIGMA))
    return flux * np.exp(-(v**2) / (2 * SIGMA**2)) * ends / (2 * length * np.sqrt(2 * np.pi) * SIGMA)


def measured(image, x=60.3, y=59.6, xErr=0.01, variance=1.0, **components):
    plane = np.full(image.shape, variance, np.float32)
    exposure = makeExposure(image, variance=plane, psf=GaussianPsf(25, 25, SIGMA), **components)
    shapes = sdssShape(exposure, [x], [y], tol1=1e-10, tol2=1e-10, maxIter=2000)
    return trailedSources(exposure, [x], [y], shapes, [xErr], [xErr]), shapes


@pytest.mark.parametrize("length", [3, 6, 10, 20, 40])
def test_check27_7_5_trailsAreRecovered(length):
    table, shapes = measured(trailImage(length))
    row = table[0]
    assert row[PREFIX + "length"] == pytest.approx(length, abs=1e-4 * (1 + length))
    assert row[PREFIX + "angle"] == pytest.approx(ANGLE, abs=1e-5)
    assert row[PREFIX + "flux"] == pytest.approx(1000, rel=1e-4)
    xx, yy, xy = (shapes[f"base_SdssShape_{c}"][0] for c in ("xx", "yy", "xy"))
    large = 0.5 * (xx + yy + np.hypot(xx - yy, 2 * xy))
    assert xx + yy - large == pytest.approx(SIGMA**2, abs=1e-4)
    if length == 20:
        assert large == pytest.approx(52.7306, abs=1e-3)
    assert row[PREFIX + "x1"] - row[PREFIX + "x0"] == pytest.approx(length * np.cos(ANGLE), abs=1e-2)
    assert row[PREFIX + "flag_suspect_long_trail"] == (length > 3 * SIGMA)
    assert not row[PREFIX + "flag"]


def test_check27_7_5_aPointSourceIsFlaggedNotACrash():
    """26 G7: length 0 and no failure to converge; the general flag says that there is no trail."""
    row = measured(trailImage(0))[0][0]
    assert row[PREFIX + "flag"]
    assert not row[PREFIX + "flag_noConverge"]
    assert row[PREFIX + "length"] == 0
    assert row[PREFIX + "flux"] == pytest.approx(1000, rel=1e-4)


def test_errorsOfTrailsAreLinearPropagation(rng):
    """26 G6: derivatives of length and angle against finite differences; ends without a second square root."""
    moments = np.array([[20.0], [11.0], [6.0]])
    errors = np.array([[0.3], [0.2], [0.1]])
    length, lengthErr, angle, angleErr, _, ok = trailGeometry(moments, errors)
    assert ok.all()
    steps = [], []
    for k in range(3):
        h = np.zeros((3, 1))
        h[k] = 1e-5
        plus, minus = trailGeometry(moments + h), trailGeometry(moments - h)
        for out, i in zip(steps, (0, 2), strict=True):
            out.append((plus[i] - minus[i])[0] / 2e-5 * errors[k, 0])
    assert lengthErr[0] == pytest.approx(np.linalg.norm(steps[0]), rel=1e-5)
    assert angleErr[0] == pytest.approx(np.linalg.norm(steps[1]), rel=1e-5)
    row = measured(trailImage(20), xErr=0.5)[0][0]
    cosine, sine, half = np.cos(ANGLE), np.sin(ANGLE), 10.0
    wanted = np.sqrt(
        0.25 + (0.5 * cosine * row[PREFIX + "lengthErr"]) ** 2 + (half * sine * row[PREFIX + "angleErr"]) ** 2
    )
    assert row[PREFIX + "x0Err"] == pytest.approx(wanted, rel=1e-4)


def test_trailFlags():
    wcs = makeTanWcs((60.0, 60.0), (1.0, 0.3), makeCdMatrix(0.2 / 3600))
    row = measured(trailImage(40, x=15.0, angle=0.0), x=15.0, wcs=wcs)[0][0]
    assert row[PREFIX + "flag_off_image"]
    assert row[PREFIX + "flag_edge"]
    ra, dec = wcs.pixelToSky(15.0, 59.6)
    assert row[PREFIX + "ra"] == pytest.approx(np.degrees(ra))
    assert row[PREFIX + "dec"] == pytest.approx(np.degrees(dec))
    row = measured(np.full((121, 121), np.nan))[0][0]
    for name in ("flag", "flag_shape", "flag_noFlux", "flag_nan"):
        assert row[PREFIX + name]
    assert not row[PREFIX + "flag_noConverge"]


def test_trailWithoutPsfHasNoSigma():
    exposure = makeExposure(trailImage(10), variance=np.ones((121, 121), np.float32))
    shapes = sdssShape(exposure, [60.3], [59.6])
    table = trailedSources(exposure, [60.3], [59.6], shapes, apertureFlux=[900.0])
    assert table[PREFIX + "flag_noSigma"][0]
    assert table[PREFIX + "flux"][0] == 900
    assert not table[PREFIX + "flag_noFlux"][0]
