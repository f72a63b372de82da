"""``stillsky simulate flats``: raw flats with their truth."""

import json

import numpy as np
import pytest
import yaml
from astropy.table import Table

from stillsky.cli.app import main
from stillsky.ptc import readFlat

SMALL = ["--size", "60", "40", "--levels", "3", "-q"]


def test_flatsAreWrittenWithTheirTruth(tmp_path):
    assert main(["simulate", "flats", *SMALL, "--gain", "2", "--bias", "2", "-o", f"{tmp_path}/"]) == 0
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["bias0000.fits", "bias0001.fits", *[f"flat{i:04d}.fits" for i in range(6)], "truth.ecsv"]
    truth = Table.read(tmp_path / "truth.ecsv")
    assert truth["gain"].tolist() == [2.0, 2.0] and truth["a00"].tolist() == [-1.6e-6] * 2
    assert truth.meta["levels"][-1] == pytest.approx(80000)
    shot = readFlat(tmp_path / "flat0005.fits")
    assert len(shot.detector) == 2 and tuple(shot.dimensions) == (120, 40)
    assert shot.image.array.mean(dtype=float) == pytest.approx(40000, rel=0.002)
    assert shot.visitInfo.exposureTime == pytest.approx(80.0)


def test_frameLayoutComesWithItsAmpsFile(tmp_path):
    options = ["--layout", "frame", "--amps", "4", "--poisson", "--full-well", "60000", "--defects"]
    assert main(["simulate", "flats", *SMALL, *options, "-o", f"{tmp_path}/run_"]) == 0
    amps = yaml.safe_load((tmp_path / "run_amps.yaml").read_text())
    assert list(amps) == ["C00", "C01", "C02", "C03"] and len(amps["C00"]["bias"]) == 4
    assert amps["C00"]["data"] == [8, 68, 0, 40]
    shot = readFlat(tmp_path / "run_flat0005.fits", amps=tmp_path / "run_amps.yaml")
    saturated = shot.mask.array & shot.mask.bitmask(["SAT"]) != 0
    assert saturated[~np.isnan(shot.image.array)].mean() > 0.9
    assert Table.read(tmp_path / "run_truth.ecsv")["a00"].tolist() == [0.0] * 4


def test_existingFilesAreKept(tmp_path, capsys):
    arguments = ["simulate", "flats", *SMALL, "-o", f"{tmp_path}/"]
    assert main(arguments) == 0
    before = (tmp_path / "flat0000.fits").read_bytes()
    capsys.readouterr()
    assert main(arguments) == 7
    assert "output exists already" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0
    assert (tmp_path / "flat0000.fits").read_bytes() == before


def test_summaryIsJson(tmp_path, capsys):
    assert main(["simulate", "flats", *SMALL[:-1], "--pairs", "2", "--json", "-o", f"{tmp_path}/"]) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["metadata"]["pairs"] == 6 and len(summary["products"]) == 13
