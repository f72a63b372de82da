"""Aperture corrections of a coadd (coadds and DCR, section 2.13)."""

import numpy as np
import pytest

import stillsky
from stillsky.coadd import CoaddBoundedField, CoaddFieldComponent, makeCoaddApCorrMap
from stillsky.geom import Box2D, Box2I, Polygon
from stillsky.image import CoaddInputs
from stillsky.photom import ApCorrMap, ChebyshevBoundedField
from stillsky.wcs import makeTanWcs

LEFT, RIGHT = Box2I((0, 0), (60, 40)), Box2I((40, 0), (60, 40))
COADD = Box2I((0, 0), (100, 40))
NAME = "base_PsfFlux_instFlux"


def _wcs(crpix=(0, 0)):
    return makeTanWcs(crpix, (1.0, -0.5), np.array([[-0.2, 0], [0, 0.2]]) / 3600)


def _inputs():
    inputs = CoaddInputs()
    for number, (box, value, weight) in enumerate(((LEFT, 1.0, 3.0), (RIGHT, 2.0, 1.0))):
        field = ChebyshevBoundedField(box, [[value]])
        inputs.addCcd(number, box, weight=weight, wcs=_wcs(), apCorrMap=ApCorrMap({NAME: field}))
    return inputs


def testWeightedMeanOfTheInputsThatHoldAPosition():
    field = makeCoaddApCorrMap(_inputs(), COADD, _wcs())[NAME]
    values = field.evaluate(np.array([10.0, 50.0, 80.0]), np.array([20.0, 20.0, 20.0]))
    np.testing.assert_allclose(values, [1.0, 1.25, 2.0], rtol=1e-12)
    assert field.evaluate(50, 20) == pytest.approx(1.25) and isinstance(field(50, 20), float)


def testInputsAreEvaluatedInTheirOwnPixels():
    inputs = CoaddInputs()
    box = Box2I((0, 0), (50, 40))
    field = ChebyshevBoundedField(box, [[1.0, 0.5]])  # rises along x
    # the input's pixel (5, 7) is the coadd's (25, 27)
    inputs.addCcd(1, box, weight=1.0, wcs=_wcs((5, 7)), apCorrMap=ApCorrMap({NAME: field}))
    coadd = makeCoaddApCorrMap(inputs, COADD, _wcs((25, 27)))[NAME]
    assert coadd.evaluate(40.0, 30.0) == pytest.approx(field.evaluate(20.0, 10.0), rel=1e-6)


def testPolygonsAndWeightsSelect():
    inputs = _inputs()
    inputs.ccds[0]["validPolygon"] = Polygon(Box2D((0, 0), (45, 40)))
    field = makeCoaddApCorrMap(inputs, COADD, _wcs())[NAME]
    assert [field.evaluate(x, 20) for x in (44, 50)] == [1.25, 2.0]
    inputs.ccds[1]["weight"] = 0.0
    field = makeCoaddApCorrMap(inputs.ccds, COADD, _wcs())[NAME]
    assert field.evaluate(44, 20) == 1.0 and len(field.components) == 1
    inputs.ccds["other"] = [1.0, 1.0]
    assert makeCoaddApCorrMap(inputs, COADD, _wcs(), "other")[NAME].evaluate(44, 20) == 1.5
    with pytest.raises(KeyError, match="no column 'nothing'"):
        makeCoaddApCorrMap(inputs, COADD, _wcs(), "nothing")


def testPositionsThatNobodyHolds():
    field = makeCoaddApCorrMap(_inputs(), COADD, _wcs())[NAME]
    with pytest.raises(stillsky.DomainError, match=r"no input holds 1 of 2 positions, such as \(500, 20\)"):
        field.evaluate(np.array([50.0, 500.0]), 20.0)
    filled = makeCoaddApCorrMap(_inputs(), COADD, _wcs(), default=np.nan)[NAME]
    np.testing.assert_allclose(filled.evaluate([50.0, 500.0], 20.0), [1.25, np.nan])
    assert field.mean() == filled.mean() == pytest.approx(0.4 * 1 + 0.2 * 1.25 + 0.4 * 2, abs=0.05)


def testNamesOfAllInputsAppear():
    inputs = _inputs()
    inputs.ccds[1]["apCorrMap"] = ApCorrMap({"other": ChebyshevBoundedField(RIGHT, [[5.0]])})
    inputs.addCcd(7, LEFT, weight=1.0, wcs=_wcs())
    found = makeCoaddApCorrMap(inputs, COADD, _wcs())
    assert set(found) == {NAME, "other"} and found["other"].evaluate(80, 20) == 5.0
    assert makeCoaddApCorrMap(CoaddInputs(), COADD, _wcs()) == ApCorrMap()


def testScaledFields():
    field = makeCoaddApCorrMap(_inputs(), COADD, _wcs())[NAME]
    assert (2 * field).evaluate(50, 20) == pytest.approx(2.5) and field * 1.0 == field != 2 * field
    corrections = makeCoaddApCorrMap(_inputs(), COADD, _wcs())
    corrections *= 3
    assert corrections[NAME].evaluate(50, 20) == pytest.approx(3.75)


def testImpossibleComponents():
    constant = ChebyshevBoundedField(LEFT, [[1.0]])
    with pytest.raises(stillsky.DomainError, match="weights"):
        CoaddBoundedField(COADD, None, [CoaddFieldComponent(constant, weight=-1.0)])
    with pytest.raises(stillsky.DomainError, match="that of the coadd"):
        CoaddBoundedField(COADD, None, [CoaddFieldComponent(constant, _wcs())])


def testWrittenAsAPolynomialWhereItIsKnown(tmp_path):
    """Smooth fields survive; columns that nobody holds do not matter."""
    inputs = CoaddInputs()
    field = ChebyshevBoundedField(LEFT, [[1.0, 0.05], [0.02, 0.0]])
    inputs.addCcd(1, LEFT, weight=1.0, wcs=_wcs(), apCorrMap=ApCorrMap({NAME: field}))
    coadd = stillsky.exposure(np.zeros((40, 100), np.float32))
    coadd.info.apCorrMap = makeCoaddApCorrMap(inputs, COADD, _wcs())
    stillsky.writeExposure(coadd, tmp_path / "c.fits")
    back = stillsky.read(tmp_path / "c.fits").info.apCorrMap[NAME]
    x, y = np.array([3.0, 30.0, 55.0]), np.array([2.0, 20.0, 37.0])
    np.testing.assert_allclose(back.evaluate(x, y), field.evaluate(x, y), atol=1e-4)


def testFieldsThatHoldNowhereAreNotWritten(tmp_path, caplog):
    coadd = stillsky.exposure(np.zeros((40, 100), np.float32), xy0=(5000, 5000))
    coadd.info.apCorrMap = makeCoaddApCorrMap(_inputs(), coadd.bbox, _wcs())
    stillsky.writeExposure(coadd, tmp_path / "c.fits")
    assert stillsky.read(tmp_path / "c.fits").info.apCorrMap is None and f"{NAME} is not written" in caplog.text
