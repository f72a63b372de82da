"""Pictures of photon transfer curves and of per-pixel maps."""

import io

import numpy as np
import pytest

from stillsky.ptc import PhotonTransferCurveDataset, PixelMaps
from stillsky.report.pixel_map_figures import pixelMapsFigure
from stillsky.report.ptc_figures import ptcOverviewFigure
from stillsky.sim import simulateFlatRamp


def png(figure):
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=50)
    return stream.getvalue()


@pytest.fixture(scope="module")
def curve():
    """Fit of a small ramp of two amplifiers in memory, one of them dead."""
    from stillsky.ptc.config import PhotonTransferCurveExtractAlgorithmConfig
    from stillsky.ptc.extract import extractFlatPairs
    from stillsky.ptc.solve import solveWithDetails
    from stillsky.ptc.solve_config import PhotonTransferCurveSolveAlgorithmConfig
    from stillsky.ptc.summary import summarize

    ramp = simulateFlatRamp(np.geomspace(300, 60000, 7), shape=(110, 110), amplifiers=2, seed=2)
    box = ramp.detector["C01"].bbox

    def dead(exposure):
        exposure.mask.array[box.slices()] |= exposure.mask.bitmask(["BAD"])
        return exposure

    extract, solve = PhotonTransferCurveExtractAlgorithmConfig(), PhotonTransferCurveSolveAlgorithmConfig()
    extract.maximumRangeCovariancesAstier = solve.maximumRangeCovariancesAstier = 3
    solve.maximumRangeCovariancesAstierFullCovFit = 3
    pairs = extractFlatPairs([dead(e) for e in ramp], config=extract).pairs
    found = {}
    for kind in ("EXPAPPROXIMATION", "FULLCOVARIANCE_NO_B"):
        solve.ptcFitType = kind
        result = solveWithDetails([p.dataset for p in pairs], solve)
        found[kind] = result.dataset, summarize(result)
    return found


@pytest.mark.parametrize("kind", ["EXPAPPROXIMATION", "FULLCOVARIANCE_NO_B"])
def test_overview_drawsEveryPairOfTheLivingAmplifier(curve, kind):
    dataset, table = curve[kind]
    assert dataset.badAmps == ["C01"]
    figure = ptcOverviewFigure(dataset, table)
    titles = [axes.get_title() for axes in figure.axes]
    assert "photon transfer curve" in titles and "covariance of neighbours" in titles
    assert any("a_{ij}" in title for title in titles) == kind.startswith("FULL")
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert len(points) == 1 and len(points[0].get_xdata()) == 7
    np.testing.assert_allclose(np.sort(points[0].get_ydata()), np.sort(dataset.rawVars["C00"]))
    assert png(figure).startswith(b"\x89PNG")


def test_overview_ofNothingIsAPicture():
    """No amplifier has a fit: the panels stay empty, nothing fails."""
    from astropy.table import Table

    dataset = PhotonTransferCurveDataset(["A"], "EXPAPPROXIMATION", 2)
    dataset.badAmps = ["A"]
    table = Table({"ampName": ["A"], **{n: [np.nan] for n in ("gain", "gainErr", "noise", "noiseErr")}})
    assert png(ptcOverviewFigure(dataset, table)).startswith(b"\x89PNG")


@pytest.mark.parametrize("noise", ["measured", "not measured"])
def test_pixelMaps_areDrawn(rng, noise):
    shape = (90, 700)
    gain = (1.0 + 0.1 * rng.standard_normal(shape)).astype(np.float32)
    gain[3, :50] = np.nan
    rms = np.abs(3 + rng.standard_normal(shape)).astype(np.float32) if noise == "measured" else np.full(shape, np.nan)
    maps = PixelMaps(gain, gain, rms.astype(np.float32), gain, gain, np.zeros(shape, np.uint8))
    figure = pixelMapsFigure(maps)
    titles = " ".join(axes.get_title() for axes in figure.axes)
    assert "2 x 2 px means" in titles and f"median {np.nanmedian(gain):.4g}" in titles
    texts = [t.get_text() for axes in figure.axes for t in axes.texts]
    assert ("not measured" in texts) == (noise == "not measured")
    assert png(figure).startswith(b"\x89PNG")
