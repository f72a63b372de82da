"""From raw files of simulated flats to a fitted dataset: what is planted is found, one bad amplifier harms no other."""

import math

import numpy as np
import pytest

from stillsky.ptc import ExposureHandle, PhotonTransferCurveDataset, extractFlatPairs, readFlat
from stillsky.ptc.config import PhotonTransferCurveExtractConfigBase
from stillsky.ptc.solve import solve
from stillsky.sim import AmplifierTruth, brighterFatterMatrix, flatLevels, simulateFlatRamp, writeFlatFiles

AMPS = [AmplifierTruth(f"C{k}", 1.4 + 0.1 * k, 5.0 + k, brighterFatterMatrix(-2e-6, 4)) for k in range(4)]


def solved(files, amps=None):
    config = PhotonTransferCurveExtractConfigBase()
    config.matchExposuresType, config.maximumRangeCovariancesAstier = "EXPID", 4
    handles = [ExposureHandle(lambda f=f: readFlat(f, amps=amps)) for f in files]
    result = extractFlatPairs(handles, list(range(len(files))), config)
    return solve(result.datasets)


@pytest.fixture(scope="module")
def rampFolder(tmp_path_factory):
    """Raw files in both layouts: 8 levels, 4 amplifiers of 150 x 160 pixels, unequal illumination."""
    folder = tmp_path_factory.mktemp("ramp")
    ramp = simulateFlatRamp(flatLevels(8, 50, 9e4), shape=(160, 150), amplifiers=AMPS, seed=6, fluxMismatch=0.005)
    for layout in ("extensions", "frame"):
        writeFlatFiles(ramp, f"{folder}/{layout}_", layout)
    return folder


def flatsOf(folder, layout):
    return [str(folder / f"{layout}_flat{i:04d}.fits") for i in range(16)]


@pytest.mark.parametrize("layout", ["extensions", "frame"])
def test_plantedGainAndNoiseAreFoundInRawFiles(layout, rampFolder):
    """Gain within 4 errors; the fitted noise holds what rounding adds, but not what the row medians of the overscan do."""
    dataset = solved(flatsOf(rampFolder, layout))
    assert dataset.badAmps == [] and dataset.ampNames == [t.name for t in AMPS] and dataset.nPairs == 8
    for truth in AMPS:
        amp = truth.name
        assert (
            abs(dataset.gain[amp] - truth.gain) < 4 * dataset.gainErr[amp] and dataset.gainErr[amp] < 0.01 * truth.gain
        )
        planted = (truth.readNoise / truth.gain) ** 2
        raw = truth.gain * math.sqrt(planted + 1 / 12)
        assert abs(dataset.noise[amp] - raw) < 5 * dataset.noiseErr[amp]
        np.testing.assert_allclose(dataset.noiseList[amp] * truth.gain, raw, rtol=0.05)
        assert abs(dataset.ptcFitPars[amp][0] + 2e-6) < 5 * dataset.ptcFitParsError[amp][0]
    assert dataset.metadata["INSTRUME"] == "SimCam" and dataset.metadata["DET_NAME"] == "SIM_00"


def test_anAmplifierOutsideTheFrameIsBadAndTheOthersAreAsBefore(rampFolder, tmp_path):
    """Issue 3.8: flagged; the others' results are bit for bit those without it."""
    import yaml

    files = flatsOf(rampFolder, "frame")
    amps = yaml.safe_load((rampFolder / "frame_amps.yaml").read_text())
    without = solved(files, amps)
    amps["C9"] = {"data": [5000, 5100, 0, 100]}
    dataset = solved(files, amps)
    assert dataset.badAmps == ["C9"] and dataset.ampNames == [*without.ampNames, "C9"]
    assert not dataset.expIdMask["C9"].any() and math.isnan(dataset.gain["C9"])
    for amp in without.ampNames:
        assert dataset.gain[amp] == without.gain[amp] and dataset.noise[amp] == without.noise[amp]
    dataset.writeFits(tmp_path / "a.fits")
    twin = PhotonTransferCurveDataset.readFits(tmp_path / "a.fits")
    assert twin == dataset
    model = twin.evalPtcModel(twin.finalMeans["C0"])["C0"]
    np.testing.assert_array_equal(model, twin.finalModelVars["C0"])
