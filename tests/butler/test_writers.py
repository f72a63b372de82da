"""Several processes write into one repository (task-framework 7; 12, check 13)."""

import shutil

import numpy as np
import pytest

pytest.importorskip("lsst.daf.butler")

from writers import KIND, concurrently, prepare

from stillsky.butler.repository import checkRepository, openRepository


@pytest.fixture
def shared(tmp_path, emptyRepository):
    """Folder of a repository into which processes of their own write."""
    shutil.copytree(emptyRepository, tmp_path / "repo")
    prepare(tmp_path / "repo", 8)
    return tmp_path / "repo"


def test_four_writers_put_eight_datasets_each_without_an_exception(shared):
    runs = [f"u/writer{n}" for n in range(4)]
    found = concurrently(shared, runs, range(8))
    assert [said for outcomes in found.values() for _, said, _ in outcomes] == [""] * 32
    with openRepository(shared) as butler:
        assert len(set(butler.registry.queryDatasets(KIND, collections=runs))) == 32
        for writer, run in enumerate(runs):
            image = butler.get(KIND, instrument="Cam", detector=5, collections=run)
            assert np.all(image.array == 100 * writer + 5)
        report = checkRepository(butler, read=True)
        assert report.datasets == 32 and report.problems == []


def test_of_two_writers_of_one_dataset_one_wins_and_the_other_is_told(shared):
    found = concurrently(shared, ["u/same", "u/same"], range(8))
    with openRepository(shared) as butler:
        for detector in range(8):
            said = {writer: outcomes[detector][1] for writer, outcomes in found.items()}
            assert sorted(said.values()) == ["", "ConflictingDefinitionError"], said
            (winner,) = (writer for writer, name in said.items() if not name)
            image = butler.get(KIND, instrument="Cam", detector=detector, collections="u/same")
            assert np.all(image.array == 100 * winner + detector)  # the loser changed nothing
        report = checkRepository(butler, read=True)
        assert report.datasets == 8 and report.problems == []
