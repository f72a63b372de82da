"""The throughput of the band: where the light of each subfilter is, from configuration, file and command line to templates."""

import math

import numpy as np
import pytest
from astropy.table import Table
from dcr_scene import LIMITS, SITE, WEATHER, elevationOf, makeExposures, makeScene, visitInfoOf
from scipy.integrate import quad

from stillsky.dcr import assembleDcr, refraction
from stillsky.dcr.band import bandOf, readThroughput
from stillsky.dcr.config import DcrConfig
from stillsky.dcr.files import readDcrModel
from stillsky.dcr.shifts import dcrAmplitudes
from stillsky.errors import DomainError, FitsLayoutError
from stillsky.fits import writeExposure
from stillsky.meta import TransmissionCurve

LOW, HIGH = LIMITS
CENTRE, HALF = (LOW + HIGH) / 2, (HIGH - LOW) / 2
SKEW = 0.9


def skewed(nm, skew=SKEW):
    """Transmission that rises along a straight line."""
    return 1 + skew * (np.asarray(nm) - CENTRE) / HALF


def meanWavelength(low, high, skew=SKEW):
    """Of the light between two wavelengths, in closed form."""
    middle = (low + high) / 2
    return middle + skew * (high - low) ** 2 / (12 * HALF * skewed(middle, skew))


@pytest.fixture
def curveFile(tmp_path):
    nm = np.linspace(LOW, HIGH, 31)
    path = tmp_path / "g.csv"
    Table({"wavelength": nm, "transmission": 0.5 * skewed(nm)}).write(path)
    return str(path)


def configOf(**fields):
    out = DcrConfig()
    for name, value in fields.items():
        setattr(out, name, value)
    return out


def testBandFollowsFromTheThroughput(curveFile):
    """Limits where the light begins and ends, effective wavelength by the closed form; what is told stands."""
    band = bandOf(configOf(throughput=curveFile))
    assert band.limits == pytest.approx(LIMITS) and band.edges == band.limits
    assert band.effective == pytest.approx(CENTRE + SKEW * HALF / 3, rel=1e-12)  # of the whole band
    assert band.effective == pytest.approx(meanWavelength(LOW, HIGH), rel=1e-12)
    assert "taken as nm" in band.notes[0]
    told = bandOf(configOf(throughput=curveFile, bandLimits=[420.0, 500.0]))
    assert told.limits == (420.0, 500.0) and told.effective == pytest.approx(meanWavelength(420, 500), rel=1e-12)
    assert bandOf(configOf(throughput=curveFile, effectiveWavelength=480.0)).effective == 480.0
    leaks = TransmissionCurve([300, LOW, 475, HIGH, 1000, 1100], [0.002, 0.4, 0.6, 0.5, 0.001, 0.001])
    assert bandOf(configOf(), None, leaks).limits == pytest.approx(LIMITS)
    with pytest.raises(DomainError, match="all is zero"):
        bandOf(configOf(bandLimits=[600.0, 700.0]), None, TransmissionCurve([400, 500], [1, 1]))


@pytest.mark.parametrize("skew", [-0.9, 0.0, 0.9])
def testSkewMovesTheLightOfEachSubfilter(skew):
    """The shift of a subfilter is that at the mean wavelength of its light, in closed form, and the mean refraction by
    quadrature."""
    nm = np.linspace(LOW, HIGH, 50)
    elevation = elevationOf(1.5)
    shift = lambda w: float(refraction(w, elevation, SITE, WEATHER) - refraction(CENTRE, elevation, SITE, WEATHER))  # noqa: E731
    found = dcrAmplitudes(
        elevation, SITE, WEATHER, CENTRE, None, 3, bandLimits=LIMITS, throughput=(nm, skewed(nm, skew))
    )
    edges = np.linspace(LOW, HIGH, 4)
    for k, (low, high) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        light = quad(lambda w: skewed(w, skew), low, high)[0]
        wanted = quad(lambda w: shift(w) * skewed(w, skew), low, high)[0] / light
        assert found[k] == pytest.approx(wanted, abs=1e-3 * math.radians(1 / 3600))
        slope = (shift(high) - shift(low)) / (high - low)
        even = quad(shift, low, high)[0] / (high - low)
        moved = slope * (meanWavelength(low, high, skew) - (low + high) / 2)
        assert found[k] - even == pytest.approx(moved, abs=0.05 * abs(slope * (high - low)) * abs(skew) / 6 + 1e-9)
        assert skew == 0 or np.sign(found[k] - even) == -np.sign(skew)  # redder light lies further from the zenith


def testModelFilesAndTemplatesKnowTheThroughput(curveFile, tmp_path):
    """A solution with a file's throughput, or with the coadd's own curve; its coadds on disk make the same template."""
    warps, template = makeExposures(makeScene())
    result = assembleDcr(warps, template, configOf(throughput=curveFile, cgIterations=1, priorStrength=0.1))
    curve, _ = readThroughput(curveFile)
    assert result.models.throughput == curve and "taken as nm" in result.notes[0]
    info = visitInfoOf(1.7, 60, 7)
    found = [math.hypot(*s) for s in result.models.shifts(info)]
    amplitudes = dcrAmplitudes(elevationOf(1.7), SITE, WEATHER, meanWavelength(LOW, HIGH), None, 3, bandLimits=LIMITS,
                               throughput=(curve.wavelengths, curve.throughput))  # fmt: skip
    np.testing.assert_allclose(found, np.abs(amplitudes) / math.radians(0.2 / 3600), rtol=1e-3)

    template.info.transmissionCurve = curve
    own = assembleDcr(warps, template, configOf(useTransmissionCurve=True, cgIterations=1, priorStrength=0.1))
    for a, b in zip(result.models, own.models, strict=True):
        np.testing.assert_array_equal(a, b)
    template.info.transmissionCurve = None
    with pytest.raises(DomainError, match="no transmission curve"):
        assembleDcr(warps, template, configOf(useTransmissionCurve=True))

    for k, coadd in enumerate(result.dcrCoadds):
        writeExposure(coadd, tmp_path / f"p.dcr{k}.fits")
    again = readDcrModel(str(tmp_path / "p"))
    assert again.throughput == curve and again.effectiveWavelength == result.models.effectiveWavelength
    np.testing.assert_allclose(again.shifts(info, True), result.models.shifts(info, True), rtol=1e-9)


@pytest.mark.parametrize(
    ("text", "first", "words"),
    [
        ("# nm t\n400 0.2\n500 0.9\n600 0.1\n", 400.0, "taken as nm"),
        ("4000 0.2\n5000 0.9\n6000 0.1\n", 400.0, "taken as Angstrom"),
        ("# %ECSV 1.0\n# ---\n# datatype:\n# - {name: w, unit: um, datatype: float64}\n# - {name: t, datatype: float64}\n"
         "w t\n0.6 0.2\n0.5 0.9\n0.4 0.1\n", 400.0, None),
    ],
)  # fmt: skip
def testUnitsOfTheFile(tmp_path, text, first, words):
    path = tmp_path / ("curve.ecsv" if "ECSV" in text else "curve.dat")
    path.write_text(text)
    curve, notes = readThroughput(str(path))
    assert curve.wavelengths[0] == pytest.approx(first) and curve(500.0) == pytest.approx(0.9)
    assert (words is None and notes == ()) or words in notes[0]


def testFilesThatAreNoThroughput(tmp_path):
    for name, text in (("a.dat", "hello\n"), ("b.dat", "400 -1\n500 1\n"), ("c.dat", "400 0\n500 0\n"), ("d.dat", "x y\na b\n"),
                       ("e.dat", "100 1\n200 1\n"), ("f.csv", ""), ("g.fits", "SIMPLE")):  # fmt: skip
        (tmp_path / name).write_text(text)
        with pytest.raises((FitsLayoutError, OSError), match=name):
            readThroughput(str(tmp_path / name))
    with pytest.raises(OSError):
        readThroughput(str(tmp_path / "none.csv"))
