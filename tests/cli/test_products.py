"""Outputs exist only when they are complete."""

import errno
import gc
import os
from pathlib import Path

import pytest

from stillsky.cli.exits import OutputError
from stillsky.cli.products import StagedProducts


def _write(path, text="new"):
    with open(path, "w") as stream:
        stream.write(text)


def test_products_appear_together_and_nothing_else(tmp_path):
    output = StagedProducts(tmp_path / "r", [".a", ".b"])
    with output:
        _write(output.path(".a"))
        _write(output.path(".b"))
        assert not (tmp_path / "r.a").exists()
    assert sorted(os.listdir(tmp_path)) == ["r.a", "r.b"]
    assert output.products == [str(tmp_path / "r.a"), str(tmp_path / "r.b")]


def test_existing_product_is_refused_before_any_work(tmp_path):
    _write(tmp_path / "r.b", "old")
    with pytest.raises(OutputError) as caught:
        StagedProducts(tmp_path / "r", [".a", ".b"])
    assert caught.value.exitCode == 7 and "r.b" in caught.value.found and "--overwrite" in caught.value.remedy
    output = StagedProducts(tmp_path / "r", [".a", ".b"], overwrite=True)
    with output:
        _write(output.path(".b"))
    assert (tmp_path / "r.b").read_text() == "new"


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyboardInterrupt(), SystemExit(143)])
def test_any_failure_leaves_nothing_and_old_products_stay(tmp_path, error):
    _write(tmp_path / "r.a", "old")
    output = StagedProducts(tmp_path / "r", [".a"], overwrite=True)
    with pytest.raises(type(error)), output:
        _write(output.path(".a"))
        raise error
    assert os.listdir(tmp_path) == ["r.a"] and (tmp_path / "r.a").read_text() == "old"


def test_full_disk_is_an_output_error_and_leaves_nothing(tmp_path):
    output = StagedProducts(tmp_path / "r", [".a"])
    with pytest.raises(OutputError, match="No space left") as caught, output:
        _write(output.path(".a"))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.exitCode == 7
    assert os.listdir(tmp_path) == []


def test_failure_of_a_rename_removes_what_was_renamed(tmp_path, monkeypatch):
    output = StagedProducts(tmp_path / "r", [".a", ".b"])
    replace = os.replace

    def fail(source, target):
        if str(target).endswith(".b"):
            raise OSError(errno.EIO, "input/output error")
        replace(source, target)

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OutputError), output:
        _write(output.path(".a"))
        _write(output.path(".b"))
    assert os.listdir(tmp_path) == []


def test_file_that_appeared_meanwhile_is_not_replaced(tmp_path):
    output = StagedProducts(tmp_path / "r", [".a"])
    with pytest.raises(OutputError), output:
        _write(output.path(".a"))
        _write(tmp_path / "r.a", "other")
    assert (tmp_path / "r.a").read_text() == "other"


@pytest.mark.parametrize("moment", ["mkdir", "enter", "exit"])
def test_an_interrupt_at_the_edges_of_the_block_leaves_nothing(tmp_path, monkeypatch, moment):
    """Ctrl-C right after the folder was made, before the block is entered, or before its end is seen to."""
    made = []
    mkdir = Path.mkdir

    def interrupted(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        made.append(path)
        if moment == "mkdir":
            raise KeyboardInterrupt

    monkeypatch.setattr(Path, "mkdir", interrupted)
    output = StagedProducts(tmp_path / "r", [".txt"])
    if moment == "mkdir":
        with pytest.raises(KeyboardInterrupt):
            output.__enter__()
    else:
        output.__enter__()
        if moment == "exit":
            Path(output.path(".txt")).write_text("x")
    assert len(made) == 1 and made[0].is_dir() and made[0].parent == tmp_path
    del output  # the end of the process does the same
    gc.collect()
    assert os.listdir(tmp_path) == []


def test_missing_or_closed_folder_is_refused(tmp_path):
    with pytest.raises(OutputError, match="does not exist"):
        StagedProducts(tmp_path / "no" / "r", [".a"])
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        with pytest.raises(OutputError, match="cannot be written"):
            StagedProducts(tmp_path / "r", [".a"])
