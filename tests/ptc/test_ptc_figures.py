"""Figures of photon transfer datasets: what they show, and that every type and every gap can be drawn."""

import numpy as np
import pytest
from solve_scenes import drawRamp, makeConfig, makePartials

from stillsky.ptc.figures import FIGURES, figurePages, makeFigures, writePdf, writePngs
from stillsky.ptc.models import evalFullCovariance
from stillsky.ptc.solve import solve

AMPS = ("C00", "C01", "C02")


def solved(fitType, r=4, bad=True, amps=AMPS):
    mu = np.linspace(300, 9e4, 30) / 1.5
    rng = np.random.default_rng(4)
    draws = {amp: drawRamp(rng, mu, r, gain=1.5, noise=5.0, nPixels=1e6) for amp in amps}
    means, covariances, weights = ({amp: draw[k] for amp, draw in draws.items()} for k in range(3))
    variances = {amp: cov[:, 0, 0].copy() for amp, cov in covariances.items()}
    variances["C00"][-3:] *= 0.5
    if bad:
        variances["C02"][:] = np.nan
    config = makeConfig(ptcFitType=fitType, maximumRangeCovariancesAstier=r, maximumRangeCovariancesAstierFullCovFit=r)
    return solve(makePartials(means, variances, covariances, weights, r=r), config)


@pytest.fixture(scope="module")
def full():
    return solved("FULLCOVARIANCE")


def visible(figure):
    return [axes for axes in figure.axes if axes.get_visible()]


@pytest.mark.parametrize("name", FIGURES)
def testEveryFigureOfAFullFitIsDrawn(full, name, tmp_path):
    figure = makeFigures(full, names=[name])[name]
    figure.savefig(tmp_path / "x.png", dpi=30)
    assert (tmp_path / "x.png").stat().st_size > 2000
    assert visible(figure)


@pytest.mark.parametrize("fitType", ["EXPAPPROXIMATION", "POLYNOMIAL", "FULLCOVARIANCE_NO_B"])
def testOtherTypesAreDrawnWithWhatTheyHave(fitType):
    dataset = solved(fitType)
    figures = makeFigures(dataset)
    assert list(figures) == list(FIGURES)
    withPanels = [name for name, figure in figures.items() if visible(figure)]
    if fitType == "FULLCOVARIANCE_NO_B":
        assert withPanels == list(FIGURES)
    else:
        assert withPanels == ["ptcSummary", "ptcVarMean", "ptcVarMeanLog", "ptcNormalizedVar"]
        assert "full covariance fit" in figures["ptcCov01Mean"].texts[-1].get_text()


def testCovariancePanelsShowTheirOwnLag(full):
    for name, (i, j) in (("ptcCov01Mean", (0, 1)), ("ptcCov10Mean", (1, 0))):
        axes = makeFigures(full, names=[name])[name].axes[0]
        points = axes.containers[0].lines[0].get_ydata()
        assert np.array_equal(points, full.covariances["C00"][full.expIdMask["C00"], i, j])


def testRejectedPointsAndBadAmplifiersAreMarked(full):
    figure = makeFigures(full, names=["ptcVarMean"])["ptcVarMean"]
    assert len(visible(figure)) == 3
    rejected, used = figure.axes[0].lines[:2]
    assert rejected.get_xdata().size == 3 and used.get_xdata().size == 27
    assert any("no fit" in text.get_text() for text in figure.axes[2].texts)
    assert any("gain = 1.5" in text.get_text() for text in figure.axes[0].texts)


def testBiasFigureIsAtTheChosenSignal(full):
    axes = makeFigures(full, names=["ptcARelativeBias"])["ptcARelativeBias"].axes[0]
    assert "75000 electron" in axes.get_title()
    mean = axes.containers[-1].lines[0].get_ydata()
    a = [full.aMatrix[amp] for amp in ("C00", "C01")]
    # lag (0, 1) of the form with b = 0, at gain 1
    values = []
    for matrix in a:
        c = evalFullCovariance(75000.0, matrix, 0 * matrix, 0 * matrix, 1.0)[0]
        values.append(c[0, 1] / (c[0, 0] * 75000.0))
    assert mean[0] == pytest.approx(np.mean(values) / np.mean([matrix[0, 1] for matrix in a]) - 1, rel=1e-9)


def testCumulativeSumWeighsQuadrants(full):
    axes = makeFigures(full, names=["ptcACumulativeSum"])["ptcACumulativeSum"].axes[0]
    a = full.aMatrix["C00"]
    two = a[0, 0] + 2 * a[0, 1] + 2 * a[1, 0] + 4 * a[1, 1]
    assert axes.lines[0].get_ydata()[:2] == pytest.approx([1.0, two / a[0, 0]])


def testAllAmplifiersBadStillGivesAllFigures():
    dataset = solved("FULLCOVARIANCE", amps=("C00",), bad=False)
    dataset.badAmps = ["C00"]
    dataset.gain["C00"] = np.nan
    assert list(makeFigures(dataset)) == list(FIGURES)


def testFilesAreCompleteAndNotOverwritten(tmp_path):
    dataset = solved("EXPAPPROXIMATION")
    writePdf(dataset, tmp_path / "p.pdf")
    assert (tmp_path / "p.pdf").read_bytes().rstrip().endswith(b"%%EOF")
    assert (tmp_path / "p.pdf").read_bytes().count(b"/Type /Page ") == 4
    with pytest.raises(FileExistsError):
        writePdf(dataset, tmp_path / "p.pdf")
    paths = writePngs(dataset, tmp_path / "p")
    assert [p.split(".")[-2] for p in paths] == ["ptcSummary", "ptcVarMean", "ptcVarMeanLog", "ptcNormalizedVar"]
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(["p.pdf", *(p.rsplit("/", 1)[1] for p in paths)])


def testManyAmplifiersGoToSeveralPages():
    dataset = solved("EXPAPPROXIMATION", r=1, bad=False, amps=("C00", *(f"D{k:02d}" for k in range(17))))
    pages = [name for name, _ in figurePages(dataset)]
    assert pages.count("ptcVarMean") == 2 and pages.count("ptcSummary") == 1
